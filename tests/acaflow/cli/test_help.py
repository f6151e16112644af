"""Help texts: complete, true to the commands, and quick."""

from __future__ import annotations

import shlex
from unittest.mock import ANY

import click
import pytest

from acaflow import __version__
from acaflow.cli import root
from tests.acaflow.cli.programs import Answer, end, python

PROMISED = """
up demo simulate ingest submit jobs events quarantine status health db worker relay watch web
"""


def tree(command=root, path=()):
    """Return path and command of every command and group."""
    found = [(path, command)]
    for name, child in getattr(command, "commands", {}).items():
        found += tree(child, (*path, name))
    return found


def named(words):
    """Return the command that the words of a command line name, defaults filled in."""
    command = root
    for word in [*words, "--"]:
        if isinstance(command, click.Group):
            if word in command.commands:
                command = command.commands[word]
            elif default := getattr(command, "default", None):
                command = command.commands[default]
    return command


def test_every_promised_command_is_there():
    assert set(PROMISED.split()) <= set(root.commands)


@pytest.mark.parametrize("path", [path for path, _ in tree()], ids=" ".join)
def test_help_has_an_example(shell, path):
    answer = shell.good(*path, "--help")
    assert "Example:\n  " in answer.out
    assert f"  acaflow{''.join(f' {word}' for word in path)}" in answer.out


@pytest.mark.parametrize("command", [command for _, command in tree()], ids=lambda it: it.name)
def test_examples_name_commands_and_options_that_exist(command):
    lines = [line.strip() for line in command.help.splitlines()]
    examples = [line for line in lines if line.startswith("acaflow ")]
    assert examples
    for example in examples:
        words = shlex.split(example)[1:]
        # Options of the whole program come before the command.
        while words[0].startswith("--"):
            words = words[2:]
        options = {option for item in named(words).params for option in item.opts}
        assert {word for word in words if word.startswith("--")} <= options, example


def test_no_command_at_all_shows_the_help(shell):
    answer = shell()
    assert answer.code == 2
    assert answer.err.startswith("Usage: acaflow")


def test_version(shell):
    assert shell.good("--version").out == f"acaflow, version {__version__}\n"


def test_help_loads_nothing_slow():
    code = (
        "import sys; from acaflow.cli import run; run(['--help']); run(['jobs', 'list', '--help']);"
        "slow = {'numpy', 'astropy', 'celery', 'sqlalchemy', 'pydantic', 'rich', 'redis'};"
        "sys.exit(' '.join(slow & set(sys.modules)) or 0)"
    )
    assert end(python(["-c", code])) == Answer(0, ANY, "")
