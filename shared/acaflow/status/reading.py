"""What pages and the command line read from the ledger: lists, details, counts, the overview.

Read only, through `Ledger.look`. No statement looks at more rows than a page can need: pages go
by key, counts stop at `MANY`, and a filter without an index of its own examines `WINDOW` rows
and says how far it came. Times are UTC epoch seconds. Records are in `rows`, reasons in `because`;
readers find the names of both here.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import text

from acaflow.errors import InputError
from acaflow.runtime.ledger import Ledger
from acaflow.runtime.messages import ARRIVAL, DERIVED, EVENTS, HOUSEKEEPING, PERSON, QUEUES
from acaflow.status.because import (
    HOPELESS,
    MEDIAN_OF,
    Check,
    Code,
    JobRef,
    Moment,
    Sentence,
    Situation,
    Why,
    because,
    counted,
    duration,
    first_line,
    moment,
    plain,
    why,
    whys,
)
from acaflow.status.rows import (
    JOB_COLUMNS,
    MANY,
    SENT,
    WAITING,
    Attempt,
    Event,
    Job,
    Process,
    Product,
    count_jobs,
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
    "Attention",
    "Check",
    "Code",
    "Event",
    "EventDetail",
    "Job",
    "JobDetail",
    "JobRef",
    "Link",
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
    "cursor_of",
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
MOST_DEAD = 10_000
"""Dead jobs that are grouped, the newest."""
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

_EVENT_COLUMNS = tuple(item.name for item in fields(Event))
_KEY = re.compile(r"(\d+(?:\.\d+)?),([0-9a-f-]{1,36})")


def cursor_of(at: float, identity: str) -> str:
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
            return Listing(found[:limit], cursor_of(last.created_at, last.id))
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
        return Listing(found, cursor_of(end.created_at, end.id), end.created_at)


_CLAUSES = {
    "subject": "subject = :subject",
    "task": "task = :task",
    "queue": "queue = :queue",
    "error": "error_class = :error",
}
_QUEUED = "sent_at IS NOT NULL AND not_before <= :now"
_ODD = "state IN ('dead', 'skipped', 'cancelled')"


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
    **{name: f"state = '{name}' AND {_ODD}" for name in ("dead", "skipped", "cancelled")},
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
        queued = sum(
            count_jobs(
                connection, f"queue = :queue AND {SENT} AND not_before <= :now", queue=q, now=now
            )
            for q in QUEUES
        )
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


_closed: WeakKeyDictionary[Ledger, dict[tuple[Any, ...], int]] = WeakKeyDictionary()
"""Counts of hours that are over; nothing is recorded into the past."""
SETTLED_S = 600.0
"""An hour is over when even a transaction that waited for the database has ended."""


def _per_hour(
    ledger: Ledger, connection: sa.Connection, now: float, source: str, key: str, since: float
) -> list[int]:
    """Count rows in each of 24 hours; `source` names table, condition on ``:key``, and time."""
    statement = text(f"SELECT count(*) FROM (SELECT 1 AS one FROM {source} LIMIT :many) AS w")
    known = _closed.setdefault(ledger, {})
    counts = []
    for start in (since + 3600 * hour for hour in range(24)):
        place = (source, key, start)
        count = known.get(place)
        if count is None:
            span = {"key": key, "start": start, "stop": start + 3600, "many": MANY}
            count = int(connection.scalar(statement, span) or 0) if start <= now else 0
            if start + 3600 + SETTLED_S < now:
                known[place] = count
        counts.append(count)
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


def routing_rates(ledger: Ledger, hours: float = 24) -> dict[str, tuple[int, float | None]]:
    """Return for each event kind how many were recorded lately, and when the last one was.

    Kinds that the routing table does not know any more are listed if the ledger has them.
    """
    since = ledger.now() - hours * 3600
    with ledger.look() as connection:
        kinds = {*EVENTS, *_distinct(connection, "event", "kind")}
        return {kind: _rate(connection, kind, since) for kind in sorted(kinds)}


def _rate(connection: sa.Connection, kind: str, since: float) -> tuple[int, float | None]:
    recent = text(
        "SELECT count(*) FROM (SELECT 1 AS one FROM event WHERE kind = :kind"
        " AND recorded_at >= :since LIMIT :many) AS w"
    )
    last = text("SELECT max(recorded_at) FROM event WHERE kind = :kind")
    count = connection.scalar(recent, {"kind": kind, "since": since, "many": MANY})
    return int(count or 0), connection.scalar(last, {"kind": kind})


def _distinct(connection: sa.Connection, table: str, column: str) -> list[str]:
    """Return the distinct values of an indexed column, one index step each."""
    found: list[str] = []
    following = text(f"SELECT min({column}) FROM {table} WHERE {column} > :last")
    while (value := connection.scalar(following, {"last": found[-1] if found else ""})) is not None:
        found.append(value)
    return found


# --- processes ---


def processes(ledger: Ledger) -> list[Process]:
    """Return the processes that beat within the last day, live ones first."""
    now = ledger.now()
    with ledger.look() as connection:
        return processes_at(connection, now)


# --- one job, one event ---


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


def _events(connection: sa.Connection, tail: str, **parameters: Any) -> list[Event]:
    rows = connection.execute(
        text(f"SELECT {', '.join(_EVENT_COLUMNS)} FROM event {tail}"), parameters
    )
    return [replace(Event(*row), payload=json.loads(row.payload)) for row in rows]


def _one_job(connection: sa.Connection, now: float, identity: str | None) -> Job | None:
    found = jobs_where(connection, now, "WHERE id = :id", id=identity) if identity else []
    return found[0] if found else None


def _chain(connection: sa.Connection, now: float, event_id: str | None) -> list[Link]:
    """Return the events that led to one, the first cause first."""
    chain: list[Link] = []
    while event_id and len(chain) < DEPTH:
        found = _events(connection, "WHERE id = :id", id=event_id)
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
        for event in _events(connection, tail, id=job_id, few=FEW):
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
        found = _events(connection, "WHERE id = :id", id=event_id.strip().lower())
        if not found:
            return None
        jobs = list(_caused(connection, now, found[0].id))
        return EventDetail(
            found[0],
            _chain(connection, now, found[0].id),
            jobs,
            _effects(connection, now, [job.id for job in jobs]),
        )


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
            found += _events(connection, tail, **parameters, kind=name, limit=limit + 1)
    found.sort(key=lambda event: (event.recorded_at, event.id), reverse=True)
    older = None
    if len(found) > limit:
        older = cursor_of(found[limit - 1].recorded_at, found[limit - 1].id)
    return Listing(found[:limit], older)


def _kinds(connection: sa.Connection, kind: str | None) -> Sequence[str | None]:
    """Return the kinds that a filter means; one None for no filter."""
    if kind is None or not kind.endswith("."):
        return [kind]
    known = {*EVENTS, *_distinct(connection, "event", "kind")}
    return sorted(name for name in known if name.startswith(kind))


# --- products ---

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


def event_of_key(ledger: Ledger, dedupe_key: str) -> EventDetail | None:
    """Look up the event that has a dedupe key already; None if there is none."""
    with ledger.look() as connection:
        found = _events(connection, "WHERE dedupe_key = :key", key=dedupe_key)
    return event_detail(ledger, found[0].id) if found else None


def latest_products(ledger: Ledger, limit: int = 50, before: float | None = None) -> list[Product]:
    """Return the newest products with the time from the arrival of their file (s)."""
    with ledger.look() as connection:
        return _latest_products(connection, limit, before)


def _latest_products(
    connection: sa.Connection, limit: int, before: float | None = None, since: float = 0.0
) -> list[Product]:
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


# --- overview ---


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
        made = connection.scalar(
            text(
                "SELECT count(*) FROM (SELECT 1 AS one FROM product WHERE created_at >= :since"
                " AND role = 'out' LIMIT :many) AS w"
            ),
            {"since": since, "many": MANY},
        )
        latest = _latest_products(connection, 200, since=since)
    delayed = [item for item in latest if item.after_arrival_s is not None]
    delays = [item.after_arrival_s or 0.0 for item in delayed]
    return Overview(
        now,
        since,
        sum(map(sum, per_hour.values())),
        int(made or 0),
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
        f" WHERE {_STATES['dead']} ORDER BY created_at DESC, id DESC LIMIT :many) AS w"
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
    sent = count_jobs(
        connection, f"queue = :queue AND {SENT} AND not_before <= :now", **key, now=now
    )
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
