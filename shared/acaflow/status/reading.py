"""What pages and the command line read from the ledger: lists, details, counts, the overview.

Read only, through `Ledger.look`. No statement looks at more rows than a page can need: pages go
by key, counts stop at `MANY`, and a filter without an index of its own examines `WINDOW` rows
and says how far it came. Times are UTC epoch seconds. Lists are here; records are in `rows`,
reasons in `because`, one job or event in `details`, the first page in `overview`; readers find
the names of all here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import text

from acaflow.errors import InputError
from acaflow.runtime.ledger import Ledger
from acaflow.runtime.messages import EVENTS, QUEUES
from acaflow.status.because import (
    HOPELESS,
    Check,
    Code,
    JobRef,
    Moment,
    Sentence,
    Why,
    counted,
    duration,
    moment,
    plain,
    why,
    whys,
)
from acaflow.status.details import (
    JobDetail,
    event_detail,
    event_of_key,
    job_detail,
    latest_products,
    producer_of,
)
from acaflow.status.overview import (
    Overview,
    QueueRow,
    arrivals_per_hour,
    dead_groups,
    overview,
    queue_rows,
)
from acaflow.status.rows import (
    JOB_COLUMNS,
    MANY,
    ODD,
    Attempt,
    Event,
    Job,
    Process,
    Product,
    count,
    count_jobs,
    count_queued,
    events_where,
    job_of,
    jobs_where,
    processes_at,
)

__all__ = [
    "HOPELESS",
    "MANY",
    "SHOWN_STATES",
    "WINDOW",
    "Attempt",
    "Check",
    "Code",
    "Event",
    "Job",
    "JobDetail",
    "JobRef",
    "Listing",
    "Moment",
    "Overview",
    "Process",
    "Product",
    "QueueRow",
    "Sentence",
    "Why",
    "arrivals_per_hour",
    "counted",
    "dead_count",
    "dead_groups",
    "duration",
    "event_detail",
    "event_of_key",
    "find_job",
    "find_jobs",
    "job_detail",
    "latest_products",
    "list_events",
    "list_jobs",
    "moment",
    "overview",
    "plain",
    "processes",
    "producer_of",
    "queue_rows",
    "routing_rates",
    "state_counts",
    "why",
    "whys",
]

WINDOW = 5_000
"""Rows that a filter without an index of its own examines before it gives up for this page."""
SHOWN_STATES = ("waiting", "queued", "running", "done", "skipped", "dead", "cancelled")


@dataclass(frozen=True)
class Listing:
    """One page of a list.

    Attributes
    ----------
    rows : list
        `Job` or `Event`, newest first.
    older : str or None
        Value of ``before`` for the next page, None at the end.
    examined_to : float or None
        Creation time of the last row looked at when the page is short only because the search
        stopped after `WINDOW` rows.
    """

    rows: list[Any]
    older: str | None
    examined_to: float | None = None


# --- jobs: lists ---

_KEY = re.compile(r"(\d+(?:\.\d+)?),([0-9a-f-]{1,36})")


def _cursor_of(at: float, identity: str) -> str:
    """Return the ``before`` of the page that follows a row."""
    return f"{at!r},{identity}"


def _after_cursor(before: str | None, column: str) -> tuple[str, dict[str, Any]]:
    if before is None:
        return "", {}
    match = _KEY.fullmatch(before)
    if match is None:
        raise InputError(f"before = {before!r} is no position in a list; expected <time>,<id>")
    return f"AND ({column}, id) < (:at, :id)", {"at": float(match[1]), "id": match[2]}


def list_jobs(
    ledger: Ledger,
    *,
    state: str | None = None,
    queue: str | None = None,
    task: str | None = None,
    subject: str | None = None,
    error: str | None = None,
    start: float | None = None,
    stop: float | None = None,
    before: str | None = None,
    limit: int = 50,
) -> Listing:
    """List jobs, newest first.

    Parameters
    ----------
    ledger : Ledger
        Where.
    state : str, optional
        One of `SHOWN_STATES`; ``queued`` is waiting, due and with its message sent, ``waiting``
        everything else that waits.
    queue, task, subject, error : str, optional
        Exact values; error is the class.
    start, stop : float, optional
        Bounds of the creation time (epoch s), stop excluded.
    before : str, optional
        `Listing.older` of the page before.
    limit : int
        Rows of the page.

    Raises
    ------
    InputError
        Unknown state or malformed `before`.
    """
    if state is not None and state not in SHOWN_STATES:
        raise InputError(f"no state {state!r}; there are: {', '.join(SHOWN_STATES)}")
    after, parameters = _after_cursor(before, "created_at")
    wanted = {"subject": subject, "state": state, "task": task, "queue": queue, "error": error}
    given = {**wanted, "start": start, "stop": stop}
    parameters |= {name: value for name, value in given.items() if value is not None}
    span = ("AND created_at >= :start " if start is not None else "") + (
        "AND created_at < :stop " if stop is not None else ""
    )
    now = ledger.now()
    with ledger.look() as connection:
        backlog = (
            state == "waiting" and count_jobs(connection, "state = 'waiting'", WINDOW) == WINDOW
        )
        path, rest = _access_path({name for name, value in wanted.items() if value}, state, backlog)
        order = "ORDER BY created_at DESC, id DESC"
        window = f"SELECT {{}} FROM job WHERE {path} {after} {span}{order} LIMIT :window"
        parameters |= {"now": now, "window": WINDOW if rest else limit + 1, "limit": limit + 1}
        # SQLite hands the window's rows on as they come, but would sort them all again if told
        # their order; PostgreSQL knows the order and sorts nothing.
        again = "" if ledger.is_sqlite else order
        page = text(
            f"SELECT {JOB_COLUMNS} FROM ({window.format(JOB_COLUMNS)}) AS w"
            f" WHERE {rest or '1 = 1'} {again} LIMIT :limit"
        )
        found = [job_of(row, now) for row in connection.execute(page, parameters)]
        if len(found) > limit:
            last = found[limit - 1]
            return Listing(found[:limit], _cursor_of(last.created_at, last.id))
        if not rest:
            return Listing(found, None)
        keys = window.format("created_at, id")
        examined = connection.scalar(text(f"SELECT count(*) FROM ({keys}) AS w"), parameters)
        if (examined or 0) < WINDOW:
            return Listing(found, None)
        end = connection.execute(
            text(f"SELECT created_at, id FROM ({keys}) AS w ORDER BY created_at, id LIMIT 1"),
            parameters,
        ).one()
        return Listing(found, _cursor_of(end.created_at, end.id), end.created_at)


_CLAUSES = {
    "subject": "subject = :subject",
    "task": "task = :task",
    "queue": "queue = :queue",
    "error": "error_class = :error",
}
_QUEUED = "sent_at IS NOT NULL AND not_before <= :now"


def _access_path(wanted: set[str], state: str | None, backlog: bool) -> tuple[str, str]:
    """Split the filters into the one that an index answers and those that follow.

    The most selective one with an index leads, so that neither database has to guess. States
    are written out because the partial indexes are found by the same words.
    """
    rest = {name: clause for name, clause in _CLAUSES.items() if name in wanted}
    after = {"waiting": [f"NOT ({_QUEUED})"], "queued": [_QUEUED]}.get(state or "", [])
    plain_state = "waiting" if state == "queued" else state
    if "subject" in wanted:
        path = rest.pop("subject")
        after += [f"state = '{plain_state}'"] if state else []
    elif state is not None and state != "done" and not backlog:
        path = _STATES[state]
    else:
        path = rest.pop("task", "1 = 1")
        after += [f"state = '{plain_state}'"] if state else []
    return path, " AND ".join([*rest.values(), *after])


_SENT_IDS = " UNION ALL ".join(
    f"SELECT id FROM job WHERE state = 'waiting' AND queue = '{name}' AND sent_at > 0"
    for name in QUEUES
)
_STATES = {
    "waiting": "id IN (SELECT id FROM job WHERE state = 'waiting')",
    "queued": f"id IN ({_SENT_IDS})",
    "running": "id IN (SELECT id FROM job WHERE state = 'running')",
    **{name: f"state = '{name}' AND {ODD}" for name in ("dead", "skipped", "cancelled")},
}
"""The open ones have small indexes of their own; asked plainly, SQLite walks all jobs instead."""


def find_jobs(ledger: Ledger, identity: str) -> list[Job]:
    """Return the jobs with this id or these last 8 digits of one (two at most)."""
    key = identity.strip().lower()
    where = "id = :key" if len(key) == 36 else "substr(id, 29) = :key"
    now = ledger.now()
    with ledger.look() as connection:
        return jobs_where(connection, now, f"WHERE {where} LIMIT 2", key=key)


def find_job(ledger: Ledger, identity: str) -> Job | None:
    """Return the job with this id or these last 8 digits; None if there is none.

    Raises
    ------
    InputError
        Two jobs end in these digits.
    """
    found = find_jobs(ledger, identity)
    if len(found) > 1:
        both = ", ".join(job.id for job in found)
        raise InputError(f"more than one job ends in {identity}: {both}")
    return found[0] if found else None


# --- counts ---


def state_counts(ledger: Ledger) -> dict[str, int]:
    """Return how many jobs are unfinished or dead, by shown state; counts stop at `MANY`."""
    now = ledger.now()
    with ledger.look() as connection:
        queued = sum(count_queued(connection, queue, now) for queue in QUEUES)
        waiting = count_jobs(connection, "state = 'waiting'")
        return {
            "waiting": waiting if waiting == MANY else waiting - queued,
            "queued": queued,
            "running": count_jobs(connection, "state = 'running'"),
            "dead": count_jobs(connection, "state = 'dead'"),
        }


def dead_count(ledger: Ledger) -> int:
    """Return how many jobs are dead; stops at `MANY`."""
    with ledger.look() as connection:
        return count_jobs(connection, "state = 'dead'")


def routing_rates(ledger: Ledger, hours: float = 24) -> dict[str, tuple[int, float | None]]:
    """Return for each event kind how many were recorded lately, and when the last one was.

    Kinds that the routing table does not know any more are listed if the ledger has them.
    """
    since = ledger.now() - hours * 3600
    with ledger.look() as connection:
        kinds = {*EVENTS, *_distinct(connection, "event", "kind")}
        return {kind: _rate(connection, kind, since) for kind in sorted(kinds)}


def _rate(connection: sa.Connection, kind: str, since: float) -> tuple[int, float | None]:
    recent = "event WHERE kind = :kind AND recorded_at >= :since"
    last = text("SELECT max(recorded_at) FROM event WHERE kind = :kind")
    n = count(connection, recent, kind=kind, since=since)
    return n, connection.scalar(last, {"kind": kind})


def _distinct(connection: sa.Connection, table: str, column: str) -> list[str]:
    """Return the distinct values of an indexed column, one index step each."""
    found: list[str] = []
    following = text(f"SELECT min({column}) FROM {table} WHERE {column} > :last")
    while (value := connection.scalar(following, {"last": found[-1] if found else ""})) is not None:
        found.append(value)
    return found


# --- events ---


def list_events(
    ledger: Ledger, *, kind: str | None = None, before: str | None = None, limit: int = 50
) -> Listing:
    """List events, newest first; `kind` may end in ``.`` for all kinds that begin so."""
    after, parameters = _after_cursor(before, "recorded_at")
    found: list[Event] = []
    with ledger.look() as connection:
        for name in _kinds(connection, kind):
            clause = "kind = :kind" if name else "1 = 1"
            tail = f"WHERE {clause} {after} ORDER BY recorded_at DESC, id DESC LIMIT :limit"
            found += events_where(connection, tail, **parameters, kind=name, limit=limit + 1)
    found.sort(key=lambda event: (event.recorded_at, event.id), reverse=True)
    older = None
    if len(found) > limit:
        older = _cursor_of(found[limit - 1].recorded_at, found[limit - 1].id)
    return Listing(found[:limit], older)


def _kinds(connection: sa.Connection, kind: str | None) -> Sequence[str | None]:
    """Return the kinds that a filter means; one None for no filter."""
    if kind is None or not kind.endswith("."):
        return [kind]
    known = {*EVENTS, *_distinct(connection, "event", "kind")}
    return sorted(name for name in known if name.startswith(kind))


# --- processes ---


def processes(ledger: Ledger) -> list[Process]:
    """Return the processes that beat within the last day, live ones first."""
    now = ledger.now()
    with ledger.look() as connection:
        return processes_at(connection, now)
