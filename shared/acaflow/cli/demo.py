"""``acaflow demo``: a home of its own, a day of files, and what becomes of them."""

from __future__ import annotations

import os
import random
import shutil
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from acaflow.cli.base import (
    Command,
    Session,
    complain,
    pass_session,
    print_table,
    progress,
    size_text,
)
from acaflow.errors import AcaflowError, DataError, InputError

if TYPE_CHECKING:
    from acaflow.paths import Home
    from acaflow.runtime.ledger import Ledger
    from acaflow.runtime.supervise import Instance
    from acaflow.status.reading import Product

__all__ = ["archive_name", "demo"]

DEMO_HOME = Path(".demo")
START = "2026:100"
"""Begin of the simulated day."""
DARK_START = "2026:098:06:00:00"
"""Begin of the simulated dark calibration."""
STANDSTILL_S = 90.0
"""Without a terminal: give up if nothing ends for so long."""
MANY_PRODUCTS = 5000


@click.command(cls=Command)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of FITS files to feed instead of simulated ones.",
)
@click.option("--hours", type=click.FloatRange(0.1, 720.0), help="Simulated hours (default: 24).")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port (default: any free).")
@pass_session
def demo(session: Session, data: Path | None, hours: float | None, port: int) -> int:
    """Start everything, feed files, show what comes out.

    Works in the folder .demo, made anew each time, or in --home, which is kept. At a terminal it
    stays up until Ctrl-C; without one it stops by itself, with exit code 1 if a job is not done.

    Example:
      acaflow demo --hours 6
      acaflow demo --data ~/flight/aca_l0
    """
    from acaflow.runtime import supervise

    if data is not None and hours is not None:
        raise click.UsageError("--hours is the length of the simulation; it excludes --data")
    # Never into a ledger or through a Redis that serves something else, whatever the settings.
    os.environ.update(ACAFLOW_LEDGER_URL="", ACAFLOW_REDIS_URL="")
    fresh = session.home_option is None
    if fresh:
        session.home_option = DEMO_HOME
    settings = session.load("demo", web_port=port)
    if fresh:
        _remove(session.home)
    session.home.create()
    files = _copied(data, session.home) if data else _simulated(hours or 24.0, session.home)
    random.Random(START).shuffle(files)  # the order of arrival does not matter
    show = Show(session.home, files, stays=sys.stdin.isatty() and sys.stdout.isatty())
    with show.bar:
        status = supervise.up(settings, on_ready=show.begin, meanwhile=show.look)
    return status or (0 if show.is_good else 1)


def _remove(home: Home) -> None:
    """Remove the home of an earlier demo, and nothing else."""
    from acaflow.runtime import supervise

    if not home.root.exists():
        return
    instance = supervise.running(home)
    if instance is not None:
        raise AcaflowError(f"a demo runs already: {instance.url} (process {instance.pid})")
    if not home.inbox.is_dir() or not home.state.is_dir():
        raise InputError(f"{home.root} is not the home of an earlier demo; remove it yourself")
    shutil.rmtree(home.root)


# --- files to feed ---


def _simulated(hours: float, home: Home) -> list[Path]:
    from acaflow import times
    from acaflow.simulate.aca_l0 import realistic_scenario, simulate_l0
    from acaflow.simulate.dark_cal import DarkCalScenario, simulate_dark_cal

    start, folder = times.secs(START), home.work / "demo"
    click.echo(f"simulating {hours:g} h of level-0 images from {START} on")
    files = simulate_l0(realistic_scenario(start, start + hours * 3600.0), folder)
    click.echo(f"simulating a dark calibration of {DARK_START}")
    return [*files, *simulate_dark_cal(folder, DarkCalScenario(DARK_START), home.work).files]


def _copied(data: Path, home: Home) -> list[Path]:
    """Copy the FITS files of a folder beside the inbox, under the names they will have there."""
    folder = home.work / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    copies: dict[Path, None] = {}  # a file may be there under both of its names
    for source in sorted(data.iterdir()):
        is_fits = source.is_file() and source.name.endswith((".fits", ".fits.gz"))
        if not is_fits or source.name.startswith("."):
            complain(f"left out, not a FITS file: {source.name}")
            continue
        name = archive_name(source)
        if name != source.name:
            click.echo(f"{source.name} is delivered as {name}")
        copies[Path(shutil.copyfile(source, folder / name))] = None
    if not copies:
        raise InputError(f"{data} has no FITS files")
    return list(copies)


def archive_name(path: Path) -> str:
    """Return the name under which to deliver a file.

    A level-0 image table under a foreign name gets the archive name of its TSTART, REVISION and
    IMGNUM1 (aca-archive 2.6); every other file keeps its name.
    """
    from acaflow.archive.l0_fits import inflate, read_table
    from acaflow.paths import L0_NAME

    if L0_NAME.fullmatch(path.name):
        return path.name
    try:
        table = read_table(inflate(path), path)
        slots = set(table.column("IMGNUM1").tolist())
        tstart, revision = float(table.header["TSTART"]), int(table.header["REVISION"])
    except (DataError, KeyError, ValueError):
        return path.name  # ingest will say what is wrong with it
    if table.header.get("EXTNAME") != "ACA_IMG0" or len(slots) != 1:
        return path.name
    return f"acaf{int(tstart):09d}N{revision:03d}_{slots.pop()}_img0.fits.gz"


# --- what is seen ---


class Show:
    """Feeds the files as soon as everything is up, follows them, and prints the summary.

    Parameters
    ----------
    home : Home
        Where the demo happens.
    files : list of Path
        On the file system of the inbox.
    stays : bool
        Stay up after the summary.
    """

    def __init__(self, home: Home, files: list[Path], *, stays: bool) -> None:
        self.home = home
        self.files = files
        self.stays = stays
        self.is_good = False
        self.bar = ExitStack()
        self._url = ""
        self._ledger: Ledger | None = None
        self._names = {path.name for path in files}
        self._open: list[str] = []
        self._ended = self._told = 0
        self._since = time.time()
        self._moved_at = time.monotonic()
        self._finished = False

    def begin(self, instance: Instance) -> None:
        """Move the files into the inbox."""
        from acaflow.config import current
        from acaflow.runtime.ledger import Ledger

        self._url = instance.url
        self._ledger = Ledger(current().database_url)
        click.echo(f"up: {instance.url}\nfeeding {len(self.files)} files into {self.home.inbox}")
        self._show = self.bar.enter_context(progress("files", len(self.files)))
        for path in self.files:
            path.rename(self.home.inbox / path.name)
        self._moved_at = time.monotonic()

    def look(self) -> bool:
        """See how far things are; tell whether the demo is over."""
        if self._finished or self._ledger is None:
            return False
        self._find_arrivals(self._ledger)
        still_open = [key for key in self._open if not _has_ended(self._ledger, key)]
        ended = self._ended + len(self._open) - len(still_open)
        self._open = still_open
        if ended != self._ended:
            self._ended, self._moved_at = ended, time.monotonic()
            self._tell()
        stuck = time.monotonic() - self._moved_at > STANDSTILL_S and not self.stays
        if self._is_busy(self._ledger) and not stuck:
            return False
        self._finished = True
        self.bar.close()
        self._summarize(self._ledger)
        return not self.stays

    def _find_arrivals(self, ledger: Ledger) -> None:
        """Find the arrival events of the files that the watcher has taken since the last look."""
        for event_id, name in _arrivals(ledger) if self._names else ():
            if name in self._names:
                self._names.discard(name)
                self._open.append(event_id)

    def _is_busy(self, ledger: Ledger) -> bool:
        """Tell whether a file or any other job, such as the first reconciliation, is open."""
        from acaflow.status import reading

        counts = reading.state_counts(ledger)
        is_open = any(counts[state] for state in ("waiting", "queued", "running"))
        return is_open or self._ended < len(self.files)

    def _tell(self) -> None:
        self._show(self._ended)
        tenth = 10 * self._ended // len(self.files)
        if tenth != self._told and not sys.stderr.isatty():
            self._told = tenth
            click.echo(f"{self._ended} of {len(self.files)} files processed")

    def _summarize(self, ledger: Ledger) -> None:
        from acaflow.status import reading

        products = reading.latest_products(ledger, MANY_PRODUCTS)
        groups = sorted({(item.kind, item.subject) for item in products})
        click.echo()
        print_table(
            ("PRODUCT", "SUBJECT", "FILES", "SIZE", "AFTER ARRIVAL (MEDIAN)"),
            [
                _group_row(*group, [p for p in products if (p.kind, p.subject) == group])
                for group in groups
            ],
        )
        jobs = reading.list_jobs(ledger, start=self._since, limit=MANY_PRODUCTS).rows
        counts = Counter(job.shown for job in jobs)
        click.echo("\njobs: " + ", ".join(f"{n} {state}" for state, n in sorted(counts.items())))
        for job in jobs:
            if job.state == "dead":
                complain(f"{job.subject}: {job.error_class}: {job.error_text}")
        self.is_good = self._ended == len(self.files) and not counts.keys() - {"done", "skipped"}
        click.echo(f"pages: {self._url}\nhome:  {self.home.root}")
        if self.stays:
            click.echo("Ctrl-C stops")


def _group_row(kind: str, subject: str, items: list[Product]) -> tuple[object, ...]:
    from acaflow.status.reading import duration

    delays = [item.after_arrival_s for item in items if item.after_arrival_s is not None]
    delay = duration(statistics.median(delays)) if delays else ""
    return kind, subject, len(items), size_text(sum(item.size for item in items)), delay


def _arrivals(ledger: Ledger) -> Iterator[tuple[str, str]]:
    """Give event id and name of every file that arrived, newest first."""
    from acaflow.runtime import messages
    from acaflow.status import reading

    before = None
    while True:
        page = reading.list_events(ledger, kind="file.", before=before, limit=1000)
        for event in page.rows:
            yield event.id, messages.original_name(event.payload.get("path", "/.?"))
        before = page.older
        if before is None:
            return


def _has_ended(ledger: Ledger, event_id: str) -> bool:
    """Tell whether the jobs of an event, and all that followed, have ended."""
    from acaflow.cli.work import caused
    from acaflow.runtime.records import TERMINAL

    if any(row["state"] not in TERMINAL for row in ledger.jobs_of(event_id)):
        return False
    return all(job.state in TERMINAL for job in caused(ledger, event_id))
