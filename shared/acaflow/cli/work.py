"""Jobs that a command causes: who works them, waiting for them, and how they ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from acaflow.cli.base import Session, complain, is_absent
from acaflow.errors import AcaflowError
from acaflow.paths import Home
from acaflow.runtime import core, inprocess, schema, supervise
from acaflow.runtime.ledger import Ledger
from acaflow.runtime.messages import HOUSEKEEPING, QUEUES
from acaflow.runtime.records import TERMINAL, Hint
from acaflow.status import reading

__all__ = ["LeftToRelay", "Worksite", "caused", "is_good", "job_words"]

LOOK_S = 0.1
"""Pause between two looks at a job that is waited for."""
DOUBT_S = 5.0
"""After so long without an end, say why, and check that anybody still works."""
PUT_OFF_S = 60.0
"""A job that is tried again only after this is not waited for."""


class LeftToRelay:
    """A transport that sends nothing: the relay of the home looks for due jobs every second.

    So a command needs no connection to Redis to hand over work.
    """

    def send(self, hints: Sequence[Hint]) -> int:
        """Send nothing."""
        return 0

    def depth(self, queue: str) -> int | None:
        """Know nothing."""
        return None

    def has_room(self, queue: str) -> bool:
        """Say no, which marks the jobs as not sent yet."""
        return False


def is_served(home: Home, ledger: Ledger) -> bool:
    """Tell whether an ``acaflow up`` or a relay is there to have jobs worked."""
    if supervise.running(home) is not None:
        return True
    return any(item.live and item.kind == "relay" for item in reading.processes(ledger))


class Worksite:
    """A home where jobs get done: by the processes that serve it, or by this one.

    Parameters
    ----------
    session : Session
        Of the command; a home without ledger gets one.
    works : bool
        This process will call `finish`.

    Attributes
    ----------
    runtime : Runtime
        To record events with.
    served : bool
        Other processes work here; this one only waits.
    """

    def __init__(self, session: Session, *, works: bool = True) -> None:
        settings, home = session.settings, session.home
        home.create()
        ledger = Ledger(settings.database_url, settings.sqlite_synchronous)
        if is_absent(ledger):
            schema.upgrade(ledger)  # the first command of a new home
        ledger.check_schema()
        self.served = is_served(home, ledger)
        ledger.engine.dispose()
        if self.served or not works:
            self.runtime = core.open_runtime("cli", settings, LeftToRelay())
        else:
            self.runtime = core.open_runtime(
                "inprocess", settings, core.MemoryTransport(), queues=",".join(QUEUES)
            )

    def finish(
        self, event_ids: Sequence[str], show: Callable[[int], None] = lambda _done: None
    ) -> None:
        """Return when the jobs of these events, and all that follow from them, have ended.

        Parameters
        ----------
        event_ids : sequence of str
            What was recorded.
        show : callable
            Called with the number of events that are finished.

        Raises
        ------
        AcaflowError
            Whoever worked here has gone.
        """
        if not self.served:
            self._work(event_ids, show)
            return
        for done, event_id in enumerate(event_ids, 1):
            self._wait(event_id)
            show(done)

    def _work(self, event_ids: Sequence[str], show: Callable[[int], None]) -> None:
        first_jobs = {
            row["id"] for event_id in event_ids for row in self.runtime.ledger.jobs_of(event_id)
        }
        total = len(first_jobs)

        def ended(job_id: str, _answer: str) -> None:
            first_jobs.discard(job_id)
            show(total - len(first_jobs))

        inprocess.run(self.runtime, ended)

    def _wait(self, event_id: str) -> None:
        ledger = self.runtime.ledger
        doubt_at, told = time.monotonic() + DOUBT_S, ""
        while open_jobs := [
            row["id"]
            for row in ledger.jobs_of(event_id)
            if row["state"] not in TERMINAL and not _is_put_off(row, ledger.now())
        ]:
            time.sleep(LOOK_S)
            if time.monotonic() < doubt_at:
                continue
            doubt_at = time.monotonic() + DOUBT_S
            if not is_served(self.runtime.home, ledger):
                raise AcaflowError(
                    f"nothing works on {self.runtime.home.root} any more; its jobs wait for the"
                    " next acaflow up"
                )
            job = reading.find_job(ledger, open_jobs[0])
            because = reading.why(ledger, job) if job else None
            if because is not None and because.cause != told:
                told = because.cause
                complain(f"waiting for job {open_jobs[0][-8:]}: {because.text}")
        detail = reading.event_detail(ledger, event_id)
        for link in detail.effects if detail else ():
            self._wait(link.event.id)


def _is_put_off(row: Mapping[str, Any], now: float) -> bool:
    """Tell whether a job was tried and waits for longer than a person would."""
    return bool(row["attempts"]) and row["not_before"] > now + PUT_OFF_S


def caused(ledger: Ledger, event_id: str) -> list[reading.Job]:
    """Return the jobs of an event and of every event that followed, but for housekeeping."""
    detail = reading.event_detail(ledger, event_id)
    if detail is None:
        return []
    following = [job for link in detail.effects for job in caused(ledger, link.event.id)]
    return [*detail.jobs, *(job for job in following if job.priority < HOUSEKEEPING)]


def job_words(ledger: Ledger, jobs: Iterable[reading.Job]) -> dict[str, str]:
    """Return for each job in one line why it is in its state."""
    return {key: because.text for key, because in reading.whys(ledger, list(jobs)).items()}


def is_good(jobs: Iterable[Any]) -> bool:
    """Tell whether every job came to a good end, or waits for what is still to arrive."""
    return all(
        job.state in ("done", "skipped")
        or (job.state == "waiting" and job.error_class == "NotReadyError")
        for job in jobs
    )
