"""The ``acaflow`` command: parse, call the library, print.

Results go to standard output, messages to standard error. Exit codes: 0 done, 1 failed, 2 wrong
usage, 3 nothing found, 130 interrupted. Every library import is inside the command that needs
it, so that ``acaflow --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from acaflow import __version__
from acaflow.cli import archive, dark_cal, demo, events, ingest, jobs, processes, state
from acaflow.cli.base import HOME, VERBOSE, Group, Session, complain
from acaflow.errors import AcaflowError, ConfigError, InputError, MissingDataError

__all__ = ["main", "run"]

FAILED, WRONG_USAGE, NOTHING_FOUND, INTERRUPTED = 1, 2, 3, 130


@click.group(cls=Group)
@click.version_option(__version__, prog_name="acaflow")
def root() -> None:
    """Telemetry files in, archives, pages and reports out.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 nothing found.

    Example:
      acaflow demo
      acaflow --home ~/flight up
      acaflow ingest acaf686111014N001_0_img0.fits.gz
      acaflow jobs --state dead --json
    """


root.params += [HOME, VERBOSE]
for command in (
    processes.up,
    demo.demo,
    archive.simulate,
    ingest.ingest,
    jobs.submit,
    jobs.jobs,
    events.events,
    events.quarantine,
    archive.archive,
    dark_cal.dark_cal,
    state.status,
    state.health,
    state.db,
    processes.worker,
    processes.relay,
    processes.watch,
    processes.web,
):
    root.add_command(command)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; nothing escapes but that code."""
    session = Session()
    try:
        status = root.main(list(arguments), prog_name="acaflow", standalone_mode=False, obj=session)
        sys.stdout.flush()
        return int(status or 0)
    except click.exceptions.NoArgsIsHelpError as err:
        click.echo(err.format_message(), err=True)
        return WRONG_USAGE
    except click.UsageError as err:
        path = err.ctx.command_path if err.ctx else "acaflow"
        complain(f"{err.format_message()} (see: {path} --help)")
        return WRONG_USAGE
    except click.ClickException as err:
        complain(err.format_message())
        return err.exit_code
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not try to flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (ConfigError, InputError) as err:
        return _failed(session, err, WRONG_USAGE)
    except MissingDataError as err:
        return _failed(session, err, NOTHING_FOUND)
    except AcaflowError as err:
        return _failed(session, err, FAILED)
    except OSError as err:
        where = f": {err.filename}" if err.filename else ""
        return _failed(session, err, FAILED, f"{err.strerror or err}{where}")
    except Exception as err:  # noqa: BLE001 - the boundary to a person, who gets one line
        words = f"unforeseen {type(err).__name__}: {err} (acaflow --verbose shows where)"
        return _failed(session, err, FAILED, words)


def _failed(session: Session, error: Exception, status: int, words: str = "") -> int:
    if session.verbose:
        click.echo("".join(traceback.format_exception(error)), err=True)
    complain(words or str(error))
    return status


def main() -> None:
    """Run the command line of this process and end it."""
    sys.exit(run(sys.argv[1:]))
