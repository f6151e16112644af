"""What all commands share: the session, common options, tables, progress, and messages."""

from __future__ import annotations

import getpass
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from acaflow.errors import InputError, MissingDataError

if TYPE_CHECKING:
    from acaflow.config import Settings
    from acaflow.paths import Home
    from acaflow.runtime.core import Runtime
    from acaflow.runtime.ledger import Ledger

__all__ = [
    "HOME",
    "VERBOSE",
    "Group",
    "Session",
    "TimeText",
    "check_interval",
    "complain",
    "is_absent",
    "json_option",
    "pass_session",
    "print_json",
    "print_rows",
    "print_table",
    "progress",
    "size_text",
    "user_name",
]


@dataclass
class Session:
    """The common options of one command line, and what is opened from them."""

    home_option: Path | None = None
    verbose: bool = False

    @cached_property
    def settings(self) -> Settings:
        """Settings with the options of the command line; from now on those of the process."""
        return self.load()

    def load(self, service: str = "", **overrides: Any) -> Settings:
        """Read the settings, make them those of the process, and set up its log.

        Parameters
        ----------
        service : str
            Name of a process that logs what it does; empty: a command, which is quiet.
        **overrides
            Settings given as options of the command.
        """
        from acaflow import config
        from acaflow.runtime import logs

        if self.home_option is not None:
            overrides.setdefault("home", self.home_option)
        settings = config.use(config.load(**overrides))
        self.__dict__["settings"] = settings
        logs.configure(service or "cli", settings.log_format if service else "text")
        if not service and not self.verbose:
            # The command says itself what failed. The root logger stays at INFO: the log file
            # of a job that runs in this process is made of it.
            for handler in logging.getLogger().handlers:
                handler.setLevel(logging.CRITICAL)
        return settings

    @cached_property
    def home(self) -> Home:
        """The folders; nothing is made."""
        from acaflow.paths import Home

        return Home(self.settings.home)

    def ledger(self) -> Ledger:
        """Open the ledger to look into it; nothing is made.

        Raises
        ------
        MissingDataError
            There is none.
        """
        from acaflow.runtime.ledger import Ledger

        ledger = Ledger(self.settings.database_url, self.settings.sqlite_synchronous)
        if is_absent(ledger):
            raise MissingDataError(
                f"no ledger at {ledger.url.database}; acaflow up or acaflow ingest makes one,"
                " --home names another home"
            )
        ledger.check_schema()
        return ledger

    def runtime(self) -> Runtime:
        """Open a home that exists to change something; sending is left to its relay.

        Raises
        ------
        MissingDataError
            It has no ledger yet.
        """
        from acaflow.cli.work import LeftToRelay
        from acaflow.runtime import core

        self.ledger().engine.dispose()
        return core.open_runtime("cli", self.settings, LeftToRelay())


pass_session = click.make_pass_decorator(Session)


def is_absent(ledger: Ledger) -> bool:
    """Tell whether the ledger is an SQLite file that does not exist yet."""
    file = ledger.url.database if ledger.is_sqlite else None
    return bool(file) and not Path(str(file)).exists()


# --- options and commands ---


def _set_home(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.ensure_object(Session).home_option = value


def _set_verbose(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Session).verbose = True


HOME = click.Option(
    ["--home"],
    type=click.Path(path_type=Path),
    metavar="DIR",
    expose_value=False,
    callback=_set_home,
    help="Folder that holds everything (default: ACAFLOW_HOME).",
)
VERBOSE = click.Option(
    ["-v", "--verbose"],
    is_flag=True,
    expose_value=False,
    callback=_set_verbose,
    help="Show the log, and where an error comes from.",
)


def _keep_example(attributes: dict[str, Any]) -> dict[str, Any]:
    """Mark the example at the end of a help text as lines that click must not join."""
    text = attributes.get("help") or ""
    return {**attributes, "help": re.sub(r"(?m)^( *)(?=Example:$)", "\\1\b\n\\1", text)}


class Command(click.Command):
    """A command that takes the common options after its name too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **_keep_example(kwargs))
        self.params += [HOME, VERBOSE]


class Group(click.Group):
    """A group whose commands take the common options.

    Parameters
    ----------
    default : str, optional
        Subcommand that is meant where none is named.
    """

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, default: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **_keep_example(kwargs))
        self.default = default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default subcommand in front of bare options."""
        named = bool(args) and (not args[0].startswith("-") or args[0] == "--help")
        if self.default is not None and not named:
            args = [self.default, *args]
        return super().parse_args(ctx, args)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--json``, which the command receives as ``as_json``."""
    option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
    return option(command)


class TimeText(click.ParamType[float]):
    """A time in any documented format, as CXC seconds."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read the text."""
        from acaflow import times

        try:
            return float(times.secs(value))
        except InputError as err:
            self.fail(str(err), param, ctx)


def check_interval(start: float, stop: float) -> None:
    """Refuse an inverted interval, which the library answers with nothing."""
    if start > stop:
        from acaflow import times

        raise InputError(
            f"--start {times.date(start)} is after --stop {times.date(stop)}; exchange them"
        )


def user_name() -> str:
    """Return who works here, for the ledger; a container may have no name for its user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


# --- output ---


def complain(words: str) -> None:
    """Write one line of message to standard error."""
    click.echo(f"acaflow: {_printable(' '.join(words.split()))}", err=True)


def _printable(text: str) -> str:
    """Replace what no terminal should get: a file name may hold any byte."""
    return "".join(char if char.isprintable() else "?" for char in text)


def print_json(value: Any) -> None:
    """Write a value to standard output as JSON."""
    click.echo(json.dumps(value, default=_plain, indent=1))


def _plain(value: Any) -> Any:
    """Return what JSON knows instead of a record, a path or a number of numpy."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: getattr(value, item.name) for item in fields(value)}
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def print_table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write a table to standard output: drawn on a terminal, aligned text elsewhere.

    Columns of numbers are aligned to the right; None is an empty cell.
    """
    right = [
        bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        for index in range(len(headers))
    ]
    cells = [["" if cell is None else _printable(str(cell)) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw_table(headers, cells, right)
        return
    lines = [list(headers), *cells]
    widths = [max(len(line[index]) for line in lines) for index in range(len(headers))]
    for line in lines:
        padded = [
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(line, widths, right, strict=True)
        ]
        click.echo("  ".join(padded).rstrip())


def print_rows(
    headers: Sequence[str],
    rows: Sequence[Sequence[Any]],
    nothing: str,
    as_json: bool,
    value: Any,
) -> int:
    """Write a list as a table, or `value` as JSON; return the exit code.

    Of an empty list `nothing` says so, and the code is 3.
    """
    if as_json:
        print_json(value)
    elif rows:
        print_table(headers, rows)
    if not rows:
        complain(nothing)
    return 0 if rows else 3


def _draw_table(
    headers: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool]
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for header, is_right in zip(headers, right, strict=True):
        table.add_column(header, justify="right" if is_right else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def size_text(size: int) -> str:
    """Return a number of bytes for people.

    Examples
    --------
    >>> [size_text(value) for value in (812, 68_300, 1_250_000)]
    ['812 B', '68.3 kB', '1.2 MB']
    """
    if size < 1000:
        return f"{size} B"
    value = size / 1000
    for unit in ("kB", "MB", "GB"):
        if value < 999.95:
            return f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Give a function that shows how many of `total` are done; silent off a terminal."""
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
