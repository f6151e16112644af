"""Rows of the ledger as records, and the few queries that reasons and pages share.

Read only. Times are UTC epoch seconds; counts stop at `MANY`, so that none walks a table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import text

from acaflow.runtime.messages import original_name

__all__ = [
    "JOB_COLUMNS",
    "MANY",
    "ODD",
    "SENT",
    "WAITING",
    "Attempt",
    "Event",
    "Job",
    "Process",
    "Product",
    "count",
    "count_jobs",
    "count_queued",
    "events_where",
    "host_of",
    "job_of",
    "jobs_where",
    "processes_at",
]

MANY = 100_000
"""Counts stop here; a page then says "more than"."""
LIVE_S = {"relay": 30.0, "inprocess": 30.0}
"""Age of the last beat (s) from which a process counts as silent; other kinds: 45 s."""
FORGOTTEN_S = 86400.0
"""Silent processes are shown for a day."""


def host_of(owner: str | None) -> str:
    """Return the host in ``label@host:pid|pid|start``, empty for none."""
    return (owner or "").partition("|")[0].partition("@")[2].rpartition(":")[0]


@dataclass(frozen=True)
class Job:
    """A row of ``job``; `shown` is its state in the words of the pages (`SHOWN_STATES`)."""

    id: str
    event_id: str
    task: str
    queue: str
    args: Mapping[str, Any]
    subject: str
    lock_key: str | None
    coalesce_key: str | None
    priority: int
    state: str
    attempts: int
    max_attempts: int
    not_before: float
    sent_at: float | None
    sends: int
    owner: str | None
    error_class: str | None
    error_text: str | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    batch_id: str | None
    requested_by: str | None
    shown: str = ""

    @property
    def host(self) -> str:
        """Host of the running attempt."""
        return host_of(self.owner)

    @property
    def file(self) -> str:
        """Name of the delivered file that the job works on, empty if it works on none."""
        path = str(self.args.get("path", ""))
        return original_name(path) if path.startswith("inbox/.taken/") else ""

    def wait_s(self, now: float) -> float:
        """Return the seconds from its creation to its last start, or to now if it waits."""
        waits = self.state == "waiting" or self.started_at is None
        end = (self.finished_at or now) if waits else self.started_at
        return max((end or now) - self.created_at, 0.0)

    def run_s(self, now: float) -> float | None:
        """Return how long the last attempt ran (s); None if none did or the job waits again."""
        if self.started_at is None or self.state == "waiting":
            return None
        end = now if self.state == "running" else self.finished_at
        return None if end is None else max(end - self.started_at, 0.0)


@dataclass(frozen=True)
class Event:
    """A row of ``event``."""

    id: str
    kind: str
    schema: int
    subject: str
    payload: Mapping[str, Any]
    source: str
    parent_event_id: str | None
    cause_job_id: str | None
    occurred_at: float
    recorded_at: float


@dataclass(frozen=True)
class Attempt:
    """A row of ``attempt``, or the running attempt as the job row describes it."""

    n: int
    owner: str | None
    code_version: str | None
    started_at: float | None
    finished_at: float | None
    outcome: str
    error_class: str | None
    traceback: str | None
    log_path: str | None
    cpu_s: float | None
    max_rss_kb: int | None

    @property
    def host(self) -> str:
        """Where it ran."""
        return host_of(self.owner)


@dataclass(frozen=True)
class Product:
    """A row of ``product`` with its job; `after_arrival_s` is None for jobs without a file."""

    id: str
    job_id: str
    role: str
    kind: str
    path: str
    size: int
    sha256: str
    created_at: float
    task: str
    subject: str
    after_arrival_s: float | None = None


@dataclass(frozen=True)
class Process:
    """A row of ``process`` with what its attempts do now."""

    name: str
    kind: str
    queues: tuple[str, ...]
    started: float
    beat: float
    version: str
    age_s: float
    live: bool
    jobs: tuple[Job, ...] = ()

    def serves(self, queue: str) -> bool:
        """Tell whether it runs jobs of a queue."""
        return self.kind in ("worker", "inprocess") and queue in self.queues


# --- queries ---

JOB_NAMES = tuple(item.name for item in fields(Job) if item.name != "shown")
JOB_COLUMNS = ", ".join(JOB_NAMES)
EVENT_COLUMNS = ", ".join(item.name for item in fields(Event))


def job_of(row: Any, now: float) -> Job:
    """Make a job of its row; its shown state depends on the time."""
    values = {name: getattr(row, name) for name in JOB_NAMES}
    values["args"] = json.loads(row.args)
    queued = row.state == "waiting" and row.sent_at is not None and row.not_before <= now
    return Job(**values, shown="queued" if queued else row.state)


def jobs_where(connection: sa.Connection, now: float, tail: str, **parameters: Any) -> list[Job]:
    """Return the jobs that the end of a statement selects."""
    rows = connection.execute(text(f"SELECT {JOB_COLUMNS} FROM job {tail}"), parameters)
    return [job_of(row, now) for row in rows]


WAITING = "state = 'waiting' AND sent_at IS NULL"
"""Due or not, no message is out; in the words of the index ``job_release``."""
SENT = "state = 'waiting' AND sent_at > 0"
"""A message is out; in words that lead to the index ``job_sent``."""
ODD = "state IN ('dead', 'skipped', 'cancelled')"
"""In the words of the index ``job_odd``."""


def events_where(connection: sa.Connection, tail: str, **parameters: Any) -> list[Event]:
    """Return the events that the end of a statement selects."""
    rows = connection.execute(text(f"SELECT {EVENT_COLUMNS} FROM event {tail}"), parameters)
    return [replace(Event(*row), payload=json.loads(row.payload)) for row in rows]


def count(connection: sa.Connection, source: str, many: int = MANY, **parameters: Any) -> int:
    """Count rows of a table under a condition that an index answers; stop at `many`."""
    rows = f"SELECT count(*) FROM (SELECT 1 AS one FROM {source} LIMIT :many) AS w"
    return int(connection.scalar(text(rows), {**parameters, "many": many}) or 0)


def count_jobs(connection: sa.Connection, where: str, many: int = MANY, **parameters: Any) -> int:
    """Count jobs by such a condition."""
    return count(connection, f"job WHERE {where}", many, **parameters)


def count_queued(connection: sa.Connection, queue: str, now: float) -> int:
    """Count the jobs of a queue that are due and have their message out."""
    where = f"queue = :queue AND {SENT} AND not_before <= :now"
    return count_jobs(connection, where, queue=queue, now=now)


def processes_at(connection: sa.Connection, now: float) -> list[Process]:
    """Return the processes that beat within a day, with the jobs they run."""
    running = jobs_where(connection, now, "WHERE state = 'running' ORDER BY started_at LIMIT 1000")
    rows = connection.execute(text("SELECT * FROM process"))
    found = []
    for row in rows:
        age = max(now - row.beat, 0.0)
        if age > FORGOTTEN_S:
            continue
        mine = tuple(job for job in running if (job.owner or "").split("|")[0] == row.name)
        queues = tuple(filter(None, row.queues.split(",")))
        live = age < LIVE_S.get(row.kind, 45.0)
        found.append(
            Process(row.name, row.kind, queues, row.started, row.beat, row.version, age, live, mine)
        )
    return sorted(found, key=lambda process: (not process.live, process.kind, process.name))
