"""Everything about one job or one event, and about products; read only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import text

from acaflow.runtime.ledger import Ledger
from acaflow.status.because import Situation, Why, because
from acaflow.status.rows import Attempt, Event, Job, Product, events_where, jobs_where

__all__ = [
    "EventDetail",
    "JobDetail",
    "Link",
    "event_detail",
    "event_of_key",
    "job_detail",
    "latest_products",
    "newest_products",
    "producer_of",
]


@dataclass(frozen=True)
class Link:
    """An event with the job that emitted it (None: it came from outside) and those it caused."""

    event: Event
    cause: Job | None
    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class JobDetail:
    """Everything about one job.

    Attributes
    ----------
    attempts : list of Attempt
        Newest first; a running one has outcome ``running``.
    inputs, products : list of Product
        What it read and made.
    chain : list of Link
        Events that led to it, the arrival first, its own last.
    effects : list of Link
        Events it emitted with the jobs they caused.
    siblings : list of Job
        Newest other jobs of the same subject.
    usual_s : float or None
        Median run of the task (s).
    """

    job: Job
    why: Why
    attempts: list[Attempt]
    inputs: list[Product]
    products: list[Product]
    chain: list[Link]
    effects: list[Link]
    siblings: list[Job]
    usual_s: float | None


FEW = 50
"""Rows of the lists on the page of one job or event."""
DEPTH = 12
"""Longest chain of events (task-queue 5)."""


def job_detail(ledger: Ledger, job: Job) -> JobDetail:
    """Look up everything about a job."""
    now = ledger.now()
    with ledger.look() as connection:
        at = Situation(connection, now)
        files = _products(
            connection, "p.job_id = :id ORDER BY p.path LIMIT :few", id=job.id, few=FEW
        )
        siblings = jobs_where(
            connection,
            at.now,
            "WHERE subject = :subject AND id <> :id ORDER BY created_at DESC LIMIT 6",
            subject=job.subject,
            id=job.id,
        )
        return JobDetail(
            job,
            because(at, job),
            _attempts(connection, job),
            [item for item in files if item.role == "in"],
            [item for item in files if item.role == "out"],
            _chain(connection, at.now, job.event_id),
            _effects(connection, at.now, [job.id]),
            siblings,
            at.usual_run_s(job.task),
        )


def _attempts(connection: sa.Connection, job: Job) -> list[Attempt]:
    columns = tuple(item.name for item in fields(Attempt))
    rows = connection.execute(
        text(
            f"SELECT {', '.join(columns)} FROM attempt WHERE job_id = :id"
            " ORDER BY n DESC LIMIT :few"
        ),
        {"id": job.id, "few": FEW},
    )
    ended = [Attempt(*row) for row in rows]
    if job.state != "running":
        return ended
    blank: dict[str, Any] = dict.fromkeys(columns)
    running = {"n": job.attempts, "owner": job.owner, "started_at": job.started_at}
    return [Attempt(**{**blank, **running, "outcome": "running"}), *ended]


def _one_job(connection: sa.Connection, now: float, identity: str | None) -> Job | None:
    found = jobs_where(connection, now, "WHERE id = :id", id=identity) if identity else []
    return found[0] if found else None


def _chain(connection: sa.Connection, now: float, event_id: str | None) -> list[Link]:
    """Return the events that led to one, the first cause first."""
    chain: list[Link] = []
    while event_id and len(chain) < DEPTH:
        found = events_where(connection, "WHERE id = :id", id=event_id)
        if not found:
            break
        cause = _one_job(connection, now, found[0].cause_job_id)
        chain.insert(0, Link(found[0], cause, ()))
        event_id = found[0].parent_event_id or (cause.event_id if cause else None)
    return chain


def _effects(connection: sa.Connection, now: float, job_ids: Sequence[str]) -> list[Link]:
    links = []
    for job_id in job_ids:
        tail = "WHERE cause_job_id = :id ORDER BY recorded_at LIMIT :few"
        for event in events_where(connection, tail, id=job_id, few=FEW):
            links.append(Link(event, None, _caused(connection, now, event.id)))
    return links[:FEW]


def _caused(connection: sa.Connection, now: float, event_id: str) -> tuple[Job, ...]:
    tail = "WHERE event_id = :id ORDER BY created_at, id LIMIT :few"
    return tuple(jobs_where(connection, now, tail, id=event_id, few=FEW))


@dataclass(frozen=True)
class EventDetail:
    """One event, what led to it (itself last), its jobs, and the events of those."""

    event: Event
    chain: list[Link]
    jobs: list[Job]
    effects: list[Link]


def event_detail(ledger: Ledger, event_id: str) -> EventDetail | None:
    """Look up everything about an event; None if there is none."""
    now = ledger.now()
    with ledger.look() as connection:
        found = events_where(connection, "WHERE id = :id", id=event_id.strip().lower())
        if not found:
            return None
        jobs = list(_caused(connection, now, found[0].id))
        return EventDetail(
            found[0],
            _chain(connection, now, found[0].id),
            jobs,
            _effects(connection, now, [job.id for job in jobs]),
        )


def event_of_key(ledger: Ledger, dedupe_key: str) -> EventDetail | None:
    """Look up the event that has a dedupe key already; None if there is none."""
    with ledger.look() as connection:
        found = events_where(connection, "WHERE dedupe_key = :key", key=dedupe_key)
    return event_detail(ledger, found[0].id) if found else None


# --- products ---


def _products(connection: sa.Connection, tail: str, **parameters: Any) -> list[Product]:
    rows = connection.execute(
        text(
            "SELECT p.id, p.job_id, p.role, p.kind, p.path, p.size, p.sha256, p.created_at,"
            f" j.task, j.subject FROM product AS p JOIN job AS j ON j.id = p.job_id WHERE {tail}"
        ),
        parameters,
    )
    return [Product(*row) for row in rows]


def producer_of(ledger: Ledger, path: str) -> Product | None:
    """Return the newest row that made an archive-relative path; None if no job of ours did."""
    with ledger.look() as connection:
        tail = "p.path = :path AND p.role = 'out' ORDER BY p.created_at DESC LIMIT 1"
        found = _products(connection, tail, path=path)
    return found[0] if found else None


_ARRIVALS = text("""
WITH RECURSIVE up(product, event, depth) AS (
    SELECT p.id, j.event_id, 0 FROM product AS p JOIN job AS j ON j.id = p.job_id
    WHERE p.id IN :ids
    UNION ALL
    SELECT up.product, e.parent_event_id, up.depth + 1 FROM up JOIN event AS e ON e.id = up.event
    WHERE e.parent_event_id IS NOT NULL AND up.depth < 12
)
SELECT up.product, e.recorded_at FROM up JOIN event AS e ON e.id = up.event
WHERE e.parent_event_id IS NULL AND e.kind LIKE 'file.%'
""").bindparams(sa.bindparam("ids", type_=sa.Text(), expanding=True))


def latest_products(ledger: Ledger, limit: int = 50, before: float | None = None) -> list[Product]:
    """Return the newest products with the time from the arrival of their file (s)."""
    with ledger.look() as connection:
        return newest_products(connection, limit, before)


def newest_products(
    connection: sa.Connection, limit: int, before: float | None = None, since: float = 0.0
) -> list[Product]:
    """Return the newest products made between two times, as `latest_products` does."""
    until = "" if before is None else "AND p.created_at < :before"
    found = _products(
        connection,
        f"p.role = 'out' AND p.created_at >= :since {until}"
        " ORDER BY p.created_at DESC, p.id DESC LIMIT :limit",
        since=since,
        limit=limit,
        **({} if before is None else {"before": before}),
    )
    rows = connection.execute(_ARRIVALS, {"ids": [item.id for item in found]})
    arrived = {row.product: row.recorded_at for row in rows}
    return [
        replace(item, after_arrival_s=max(item.created_at - arrived[item.id], 0.0))
        if item.id in arrived
        else item
        for item in found
    ]
