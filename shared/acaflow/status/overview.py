"""The first page: what arrived and was made, queues in numbers, what needs a person; read only."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import text

from acaflow.runtime.ledger import Ledger
from acaflow.runtime.messages import ARRIVAL, DERIVED, EVENTS, HOUSEKEEPING, PERSON, QUEUES
from acaflow.status.because import MEDIAN_OF, duration, first_line
from acaflow.status.details import newest_products
from acaflow.status.rows import (
    MANY,
    ODD,
    SENT,
    WAITING,
    Process,
    Product,
    count,
    count_jobs,
    count_queued,
    processes_at,
)

__all__ = [
    "Attention",
    "Overview",
    "QueueRow",
    "arrivals_per_hour",
    "dead_groups",
    "overview",
    "queue_rows",
]

MOST_DEAD = 10_000
"""Dead jobs that are grouped, the newest."""


@dataclass(frozen=True)
class Attention:
    """Something that waits for a person.

    ``kind`` is dead (a group of jobs), silent (a process), stuck (a queue nobody serves) or
    no_relay; ``what`` the task, process or queue.
    """

    kind: str
    what: str
    why: str
    since: float | None
    jobs: int
    error_class: str = ""


@dataclass(frozen=True)
class QueueRow:
    """A queue in numbers; medians over the last 50 done, None where there is nothing to say."""

    name: str
    waiting: int
    queued: int
    running: int
    dead: int
    done: int
    oldest_due_s: float | None
    wait_s: float | None
    run_s: float | None
    done_per_hour: list[int]
    live: int
    known: int


@dataclass(frozen=True)
class Overview:
    """What the first page says about the time from `since` to `now`."""

    now: float
    since: float
    arrivals: int
    products: int
    median_delay_s: float | None
    slowest: Product | None
    attention: list[Attention]
    queues: list[QueueRow]
    latest: list[Product]
    processes: list[Process]
    per_hour: Mapping[str, list[int]] = field(default_factory=dict)


def overview(ledger: Ledger, since: float) -> Overview:
    """Look up the overview.

    Parameters
    ----------
    ledger : Ledger
        Where.
    since : float
        Start of the first of 24 hours (epoch s).
    """
    per_hour = arrivals_per_hour(ledger, since)
    dead = dead_groups(ledger)
    queues = queue_rows(ledger, since)
    now = ledger.now()
    with ledger.look() as connection:
        living = processes_at(connection, now)
        made = count(connection, "product WHERE created_at >= :t AND role = 'out'", t=since)
        latest = newest_products(connection, 200, since=since)
    delayed = [item for item in latest if item.after_arrival_s is not None]
    delays = [item.after_arrival_s or 0.0 for item in delayed]
    return Overview(
        now,
        since,
        sum(map(sum, per_hour.values())),
        made,
        statistics.median(delays) if delays else None,
        max(delayed, key=lambda item: item.after_arrival_s or 0.0, default=None),
        [*dead, *_unserved(now, queues, living), *_silent(living)],
        queues,
        latest[:8],
        living,
        per_hour,
    )


def queue_rows(ledger: Ledger, since: float) -> list[QueueRow]:
    """Look up the queues in numbers; done ones in 24 hours from `since` on."""
    now = ledger.now()
    with ledger.look() as connection:
        living = processes_at(connection, now)
        return [_queue_row(ledger, connection, now, since, name, living) for name in QUEUES]


def dead_groups(ledger: Ledger) -> list[Attention]:
    """Return the dead jobs grouped by task and error class, the newest group first."""
    groups = text(
        "SELECT task, error_class, count(*) AS n, min(finished_at) AS first, max(id) AS newest"
        " FROM (SELECT id, task, error_class, finished_at FROM job"
        f" WHERE state = 'dead' AND {ODD} ORDER BY created_at DESC, id DESC LIMIT :many) AS w"
        " GROUP BY task, error_class ORDER BY newest DESC"
    )
    words = text("SELECT error_text FROM job WHERE id = :id")
    with ledger.look() as connection:
        return [
            Attention(
                "dead",
                row.task,
                first_line(connection.scalar(words, {"id": row.newest})),
                row.first,
                row.n,
                row.error_class or "",
            )
            for row in connection.execute(groups, {"many": MOST_DEAD}).all()
        ]


def _queue_row(
    ledger: Ledger,
    connection: sa.Connection,
    now: float,
    since: float,
    name: str,
    living: Sequence[Process],
) -> QueueRow:
    key: dict[str, Any] = {"queue": name}
    sent = count_queued(connection, name, now)
    unsent = count_jobs(connection, f"queue = :queue AND {WAITING}", **key)
    held = count_jobs(connection, f"queue = :queue AND {SENT}", **key) - sent
    per_hour = _per_hour(ledger, connection, now, _DONE, name, since)
    last = connection.execute(
        text(
            "SELECT created_at, started_at, finished_at FROM job WHERE queue = :queue"
            " AND state = 'done' AND finished_at > 0 ORDER BY finished_at DESC LIMIT :n"
        ),
        {**key, "n": MEDIAN_OF},
    ).all()
    serving = [process for process in living if process.serves(name)]
    return QueueRow(
        name,
        unsent + held,
        sent,
        sum(job.queue == name for process in living for job in process.jobs),
        count_jobs(connection, "queue = :queue AND state = 'dead'", **key),
        sum(per_hour),
        _oldest_due_s(connection, now, name),
        statistics.median([row.started_at - row.created_at for row in last]) if last else None,
        statistics.median([row.finished_at - row.started_at for row in last]) if last else None,
        per_hour,
        sum(process.live for process in serving),
        len(serving),
    )


_FIRST = """
SELECT not_before FROM (SELECT not_before, lock_key FROM job WHERE queue = :queue
    AND {where} AND not_before <= :now ORDER BY {order} LIMIT {few}) AS w
WHERE lock_key IS NULL OR NOT EXISTS
    (SELECT 1 FROM job AS r WHERE r.state = 'running' AND r.lock_key = w.lock_key)
ORDER BY not_before LIMIT 1
"""
_FIRST_DUE = text(
    _FIRST.format(where=f"{WAITING} AND priority = :priority", order="not_before", few=200)
)
_FIRST_SENT = text(_FIRST.format(where=SENT, order="sent_at", few=MANY))


def _oldest_due_s(connection: sa.Connection, now: float, queue: str) -> float | None:
    """Return the age (s) of the oldest job that could run now and does not."""
    key = {"queue": queue, "now": now}
    firsts = [connection.scalar(_FIRST_SENT, key)]
    for priority in (PERSON, ARRIVAL, DERIVED, HOUSEKEEPING):
        firsts.append(connection.scalar(_FIRST_DUE, {**key, "priority": priority}))
    due = [first for first in firsts if first is not None]
    return now - min(due) if due else None


def _unserved(now: float, queues: Sequence[QueueRow], living: Sequence[Process]) -> list[Attention]:
    found = []
    open_jobs = sum(row.waiting + row.queued for row in queues)
    relays = [p for p in living if p.kind in ("relay", "inprocess")]
    if open_jobs and not any(process.live for process in relays):
        last = max((process.beat for process in relays), default=None)
        words = "nothing is being sent; start one: acaflow relay"
        found.append(Attention("no_relay", "relay", words, last, open_jobs))
    for row in queues:
        if row.oldest_due_s is not None and row.live == 0:
            words = f"no live worker; start one: acaflow worker {row.name}"
            since = now - row.oldest_due_s
            found.append(Attention("stuck", row.name, words, since, row.waiting + row.queued))
    return found


def _silent(living: Sequence[Process]) -> list[Attention]:
    """Return silent processes that no live one of the same kind and queues has replaced."""

    def replaced(silent: Process) -> bool:
        return any(
            other.live and other.kind == silent.kind and set(silent.queues) <= set(other.queues)
            for other in living
        )

    return [
        Attention(
            "silent", item.name, f"no beat for {duration(item.age_s)}", item.beat, len(item.jobs)
        )
        for item in living
        if not item.live and not replaced(item)
    ]


# --- 24 hours, one by one ---

_closed: WeakKeyDictionary[Ledger, dict[tuple[Any, ...], int]] = WeakKeyDictionary()
"""Counts of hours that are over; nothing is recorded into the past."""
SETTLED_S = 600.0
"""An hour is over when even a transaction that waited for the database has ended."""


def _per_hour(
    ledger: Ledger, connection: sa.Connection, now: float, source: str, key: str, since: float
) -> list[int]:
    """Count rows in each of 24 hours; `source` names table, condition on ``:key``, and time."""
    known = _closed.setdefault(ledger, {})
    counts = []
    for start in (since + 3600 * hour for hour in range(24)):
        place = (source, key, start)
        found = known.get(place)
        if found is None:
            span: dict[str, Any] = {"key": key, "start": start, "stop": start + 3600}
            found = count(connection, source, **span) if start <= now else 0
            if start + 3600 + SETTLED_S < now:
                known[place] = found
        counts.append(found)
    for place in [place for place in known if place[2] < since - 3600]:
        del known[place]
    return counts


_ARRIVED = "event WHERE kind = :key AND recorded_at >= :start AND recorded_at < :stop"
_DONE = (
    "job WHERE queue = :key AND state = 'done' AND finished_at >= :start AND finished_at < :stop"
)


def arrivals_per_hour(ledger: Ledger, since: float) -> dict[str, list[int]]:
    """Return for each kind of arriving file the events in each of 24 hours from `since` on."""
    kinds = [kind for kind in EVENTS if kind.startswith("file.")]
    now = ledger.now()
    with ledger.look() as connection:
        return {kind: _per_hour(ledger, connection, now, _ARRIVED, kind, since) for kind in kinds}
