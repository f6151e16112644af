"""From the words of an address to a question to the ledger; pages and JSON ask alike."""

from __future__ import annotations

from collections.abc import Mapping

from acaflow.errors import InputError, MissingDataError, TimeFormatError
from acaflow.status import reading
from acaflow.status.reading import Event, Job, Listing, Overview, QueueRow
from services.web.words import runtime

__all__ = ["FILTERS", "actions", "events", "job", "jobs", "overview", "queues", "seconds"]

FILTERS = ("state", "queue", "task", "subject", "error", "start", "stop")
"""What `/jobs` can be narrowed by, in the order of its form."""


def seconds(written: str) -> float:
    """Return a time in any documented format as epoch seconds.

    Raises
    ------
    InputError
        With an example, if the text is no time.
    """
    try:
        from acaflow import times

        return float(times.convert(written.strip(), "unix"))
    except (TimeFormatError, InputError) as err:
        examples = "2026:324:06:00, 2026-11-20T06:00 or -2d"
        raise InputError(f"“{written}” is no time. Write for example {examples}.") from err


def overview() -> Overview:
    """Ask for the 24 hours that end with the running one."""
    return reading.overview(runtime().ledger, _since())


def queues() -> list[QueueRow]:
    """Ask for the queues alone."""
    return reading.queue_rows(runtime().ledger, _since())


def _since() -> float:
    return runtime().ledger.now() // 3600 * 3600 - 23 * 3600


def jobs(query: Mapping[str, str], limit: int = 50) -> Listing:
    """Ask for the jobs of a query string; empty values do not filter."""
    wanted = {name: query.get(name, "").strip() or None for name in FILTERS}
    start, stop = wanted.pop("start"), wanted.pop("stop")
    return reading.list_jobs(
        runtime().ledger,
        **wanted,
        start=seconds(start) if start else None,
        stop=seconds(stop) if stop else None,
        before=query.get("before") or None,
        limit=limit,
    )


def events(query: Mapping[str, str]) -> Listing:
    """Ask for the events of a query string."""
    kind = query.get("kind", "").strip() or None
    return reading.list_events(runtime().ledger, kind=kind, before=query.get("before") or None)


def job(identity: str) -> Job:
    """Ask for one job; MissingDataError in words if there is none."""
    found = reading.find_job(runtime().ledger, identity)
    if found is None:
        raise MissingDataError(
            f"No job has the id {identity}. A job id has 36 characters; its last 8 are enough."
        )
    return found


def actions(job: Job, examined: int = 100) -> list[Event]:
    """Ask for the last 3 things people did to a job, among the newest `examined` of all jobs."""
    made = reading.list_events(runtime().ledger, kind="operator.", limit=examined).rows
    return [event for event in made if job.id in event.payload.get("jobs", ())][:3]
