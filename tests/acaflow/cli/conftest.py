"""The command line, run in this process."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acaflow import config
from acaflow.cli import run
from acaflow.runtime import core
from tests.acaflow.cli.programs import Answer, call
from tests.support.l0 import make_l0_file


class Shell:
    """Runs command lines on one home, in this process."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> Answer:
        self._capsys.readouterr()
        code = run([str(item) for item in arguments])
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Answer(code, captured.out, captured.err)

    def good(self, *arguments: str | Path) -> Answer:
        """Run what must succeed."""
        answer = self(*arguments)
        assert answer.code == 0, answer
        return answer

    def json(self, *arguments: str | Path) -> Any:
        """Run with ``--json`` what must succeed, and return what it printed."""
        return json.loads(self.good(*arguments, "--json").out)

    def refused(self, *arguments: str | Path, code: int) -> str:
        """Run what must fail with one line of message, and return it."""
        answer = self(*arguments)
        assert answer.code == code, answer
        assert answer.err.startswith("acaflow: "), answer
        assert answer.err.count("\n") == 1, answer
        return answer.err


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Shell]:
    """Command lines on a home that does not exist yet."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(config, "_current", None)
    monkeypatch.setattr(core, "_runtime", None)
    monkeypatch.setenv("ACAFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    yield Shell(tmp_path / "home", capsys)
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def worked_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one done job (slot 3) and one dead one (slot 2); do not change it."""
    folder = tmp_path_factory.mktemp("worked")
    good = make_l0_file(folder, slot=3)
    bad = make_l0_file(folder, slot=2)
    bad.write_bytes(bad.read_bytes()[:-500])
    assert call("ingest", good, bad, home=folder / "home").code == 1
    return folder / "home"


@pytest.fixture
def worked(shell: Shell, worked_home: Path) -> Shell:
    """Command lines on a home with one done job (slot 3) and one dead one (slot 2)."""
    shutil.copytree(worked_home, shell.home)
    return shell
