"""What pages and the command line read from the ledger: lists, details, counts, reasons.

Read only, through `Ledger.look`. No statement looks at more rows than a page can need: pages go
by key, counts stop at `MANY`, and a filter without an index of its own examines `WINDOW` rows
and says how far it came. Times are UTC epoch seconds.
"""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import text

from acaflow.errors import InputError
from acaflow.runtime.ledger import Ledger
from acaflow.runtime.messages import ARRIVAL, DERIVED, EVENTS, HOUSEKEEPING, PERSON, QUEUES, TASKS

__all__ = [
    "HOPELESS",
    "MANY",
    "SHOWN_STATES",
    "Attention",
    "Check",
    "Code",
    "Event",
    "Job",
    "JobRef",
    "Listing",
    "Moment",
    "Overview",
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
    "routing_rates",
    "state_counts",
    "why",
    "whys",
]

MANY = 100_000
"""Counts stop here; a page then says "more than"."""
WINDOW = 10_000
"""Rows that a filter without an index of its own examines before it gives up for this page."""
MEDIAN_OF = 50
"""Newest finished jobs that a usual duration is the median of (design 6)."""
SLOW = 5
"""A run longer than this many usual ones is called slow (design 6)."""
LIVE_S = {"relay": 30.0, "inprocess": 30.0}
"""Age of the last beat (s) from which a process counts as silent; other kinds: 45 s."""
HOPELESS = ("BadInput", "Poison")
SAME_BYTES = "The same bytes will fail again: requeue only after the file is replaced."
LONGEST = 200
"""Characters of a message that a list shows."""
FORGOTTEN_S = 86400.0
"""Silent processes are shown for a day."""
COALESCE_MAX_WAIT_S = 600.0
SHOWN_STATES = ("waiting", "queued", "running", "done", "skipped", "dead", "cancelled")


# --- records ---


def _host(owner: str | None) -> str:
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
        return _host(self.owner)

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
        return _host(self.owner)


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


# --- words ---


@dataclass(frozen=True)
class JobRef:
    """A job inside a sentence."""

    id: str


@dataclass(frozen=True)
class Moment:
    """A time inside a sentence."""

    at: float


@dataclass(frozen=True)
class Code:
    """Something to copy inside a sentence."""

    text: str


Part = str | JobRef | Moment | Code
Sentence = tuple[Part, ...]


@dataclass(frozen=True)
class Check:
    """One of the six things a job can wait for (task-queue 12.1)."""

    name: str
    passed: bool
    active: bool
    sentence: Sentence


@dataclass(frozen=True)
class Why:
    """The because line of a job (design 6).

    Attributes
    ----------
    cause : str
        lock, not_before, priority, no_worker, no_relay, sent, running, slow, done, skipped,
        dead or cancelled.
    css : str
        Class of the notice.
    bold, more : Sentence
        What is and since when; what happens next or what to do (may be empty).
    checks : tuple of Check
        All six, for waiting jobs.
    short : Sentence
        What a list says where it shows state and times anyway; empty: the whole line.
    """

    cause: str
    css: str
    bold: Sentence
    more: Sentence = ()
    checks: tuple[Check, ...] = ()
    short: Sentence = ()

    @property
    def text(self) -> str:
        """The whole line as plain text."""
        return " ".join(filter(None, (plain(self.bold), plain(self.more))))

    @property
    def brief(self) -> Sentence:
        """The line for a list of jobs."""
        return self.short or (self.bold if not self.more else (*self.bold, " ", *self.more))


def moment(at: float) -> str:
    """Return a time as the pages write it.

    Examples
    --------
    >>> moment(1795156872.0)
    '2026:324 06:41:12'
    """
    return time.strftime("%Y:%j %H:%M:%S", time.gmtime(at))


def duration(seconds: float) -> str:
    """Return a duration in at most two units (design 7).

    Examples
    --------
    >>> [duration(value) for value in (0.003, 0.42, 12.4, 192, 7500, 356400)]
    ['3 ms', '0.42 s', '12.4 s', '3 min 12 s', '2 h 05 min', '4 d 3 h']
    """
    if seconds < 0.0095:
        return f"{max(seconds, 0.0) * 1000:.0f} ms"
    if seconds < 0.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    if seconds < 3599.5:
        return "{} min {:02d} s".format(*divmod(round(seconds), 60))
    if seconds < 86370:
        return "{} h {:02d} min".format(*divmod(round(seconds / 60), 60))
    return "{} d {} h".format(*divmod(round(seconds / 3600), 24))


def _about(seconds: float) -> str:
    if seconds < 1:
        return "1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.0f} h"


def counted(n: int, noun: str) -> str:
    """Return "1 job", "12 jobs", "more than 100 000 jobs"."""
    shown = f"{n:,}".replace(",", "\u202f") if n >= 10_000 else str(n)
    more = "more than " if n >= MANY else ""
    return f"{more}{shown} {noun}{'' if n == 1 else 's'}"


def plain(sentence: Sentence) -> str:
    """Return a sentence as plain text: jobs by their last 8 digits, times as `moment`."""

    def say(part: Part) -> str:
        match part:
            case JobRef(id=identity):
                return identity[-8:]
            case Moment(at=at):
                return moment(at)
            case Code(text=words):
                return words
            case words:
                return words

    return "".join(say(part) for part in sentence)


def _stop(words: str | None) -> str:
    """Return the first line of a message as a sentence."""
    line = (words or "").strip().partition("\n")[0].strip()
    return line if not line or line[-1] in ".!?" else f"{line}."


# --- jobs: lists ---

_JOB_COLUMNS = tuple(item.name for item in fields(Job) if item.name != "shown")
_COLUMNS = ", ".join(_JOB_COLUMNS)
_EVENT_COLUMNS = tuple(item.name for item in fields(Event))
_KEY = re.compile(r"(\d+(?:\.\d+)?),([0-9a-f-]{1,36})")


def _job(row: Any, now: float) -> Job:
    values = {name: getattr(row, name) for name in _JOB_COLUMNS}
    values["args"] = json.loads(row.args)
    queued = row.state == "waiting" and row.sent_at is not None and row.not_before <= now
    return Job(**values, shown="queued" if queued else row.state)


def _jobs(connection: sa.Connection, now: float, tail: str, **parameters: Any) -> list[Job]:
    rows = connection.execute(text(f"SELECT {_COLUMNS} FROM job {tail}"), parameters)
    return [_job(row, now) for row in rows]


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
        backlog = state == "waiting" and _count(connection, "state = 'waiting'", WINDOW) == WINDOW
        path, rest = _access_path({name for name, value in wanted.items() if value}, state, backlog)
        window = (
            f"SELECT {_COLUMNS} FROM job WHERE {path} {after} {span}"
            "ORDER BY created_at DESC, id DESC LIMIT :window"
        )
        parameters |= {"now": now, "window": WINDOW if rest else limit + 1, "limit": limit + 1}
        page = text(
            f"SELECT {_COLUMNS} FROM ({window}) AS w WHERE {rest or '1 = 1'}"
            " ORDER BY created_at DESC, id DESC LIMIT :limit"
        )
        found = [_job(row, now) for row in connection.execute(page, parameters)]
        if len(found) > limit:
            last = found[limit - 1]
            return Listing(found[:limit], cursor_of(last.created_at, last.id))
        if not rest:
            return Listing(found, None)
        examined = connection.scalar(text(f"SELECT count(*) FROM ({window}) AS w"), parameters)
        if (examined or 0) < WINDOW:
            return Listing(found, None)
        end = connection.execute(
            text(f"SELECT created_at, id FROM ({window}) AS w ORDER BY created_at, id LIMIT 1"),
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
        return _jobs(connection, now, f"WHERE {where} LIMIT 2", key=key)


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

_WAITING = "state = 'waiting' AND sent_at IS NULL"
_SENT = "state = 'waiting' AND sent_at > 0"


def _count(connection: sa.Connection, where: str, many: int = MANY, **parameters: Any) -> int:
    counted_rows = f"SELECT count(*) FROM (SELECT 1 AS one FROM job WHERE {where} LIMIT :many) AS w"
    return int(connection.scalar(text(counted_rows), {**parameters, "many": many}) or 0)


def state_counts(ledger: Ledger) -> dict[str, int]:
    """Return how many jobs are unfinished or dead, by shown state; counts stop at `MANY`."""
    now = ledger.now()
    with ledger.look() as connection:
        queued = sum(
            _count(
                connection, f"queue = :queue AND {_SENT} AND not_before <= :now", queue=q, now=now
            )
            for q in QUEUES
        )
        waiting = _count(connection, "state = 'waiting'")
        return {
            "waiting": waiting if waiting == MANY else waiting - queued,
            "queued": queued,
            "running": _count(connection, "state = 'running'"),
            "dead": _count(connection, "state = 'dead'"),
        }


def dead_count(ledger: Ledger) -> int:
    """Return how many jobs are dead; stops at `MANY`."""
    with ledger.look() as connection:
        return _count(connection, "state = 'dead'")


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
        return _processes(connection, now)


def _processes(connection: sa.Connection, now: float) -> list[Process]:
    running = _jobs(connection, now, "WHERE state = 'running' ORDER BY started_at LIMIT 1000")
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


# --- why ---


class _Situation:
    """What the because lines of one page share, each thing looked up once."""

    def __init__(self, connection: sa.Connection, now: float) -> None:
        self.connection = connection
        self.now = now
        self.processes = _processes(connection, now)
        self._ahead: dict[tuple[str, int], int] = {}
        self._usual: dict[str, float | None] = {}

    def serving(self, queue: str) -> list[Process]:
        """Return the live processes that run jobs of a queue, the last beat first."""
        found = [p for p in self.processes if p.live and p.serves(queue)]
        return sorted(found, key=lambda process: process.age_s)

    def relays(self) -> list[Process]:
        return [p for p in self.processes if p.live and p.kind in ("relay", "inprocess")]

    def last_beat(self, wanted: list[Process]) -> Sentence:
        beats = [process.beat for process in wanted]
        return (" since ", Moment(max(beats))) if beats else ()

    def usual_run_s(self, task: str) -> float | None:
        """Return the median run of the task's last 50 finished jobs (s)."""
        if task not in self._usual:
            rows = self.connection.execute(
                text(
                    "SELECT started_at, finished_at FROM (SELECT state, started_at, finished_at"
                    " FROM job WHERE task = :task ORDER BY created_at DESC, id DESC LIMIT :window)"
                    " AS w WHERE state = 'done' LIMIT :n"
                ),
                {"task": task, "window": 20 * MEDIAN_OF, "n": MEDIAN_OF},
            )
            runs = [row.finished_at - row.started_at for row in rows]
            self._usual[task] = statistics.median(runs) if runs else None
        return self._usual[task]

    def ahead(self, job: Job) -> int:
        """Return how many due jobs of better priority wait in its queue."""
        key = (job.queue, job.priority)
        if key not in self._ahead:
            better = "queue = :queue AND {} AND priority < :priority AND not_before <= :now"
            self._ahead[key] = sum(
                _count(
                    self.connection,
                    better.format(kind),
                    queue=job.queue,
                    priority=job.priority,
                    now=self.now,
                )
                for kind in (_WAITING, _SENT)
            )
        return self._ahead[key]

    def holder(self, job: Job) -> Job | None:
        if job.lock_key is None:
            return None
        found = _jobs(
            self.connection,
            self.now,
            "WHERE state = 'running' AND lock_key = :key",
            key=job.lock_key,
        )
        return found[0] if found else None

    def products(self, job: Job) -> int:
        count = text("SELECT count(*) FROM product WHERE job_id = :id AND role = 'out'")
        return int(self.connection.scalar(count, {"id": job.id}) or 0)

    def last_end(self, job: Job) -> Any:
        """Return outcome and end of the attempt before the running one."""
        return self.connection.execute(
            text("SELECT n, outcome, finished_at FROM attempt WHERE job_id = :id AND n = :n"),
            {"id": job.id, "n": job.attempts - 1},
        ).first()


def why(ledger: Ledger, job: Job) -> Why:
    """Return the because line of a job."""
    return whys(ledger, [job])[job.id]


def whys(ledger: Ledger, jobs: Sequence[Job]) -> dict[str, Why]:
    """Return the because lines of the jobs of one page by id."""
    now = ledger.now()
    with ledger.look() as connection:
        situation = _Situation(connection, now)
        return {job.id: _why(situation, job) for job in jobs}


def _why(at: _Situation, job: Job) -> Why:
    match job.state:
        case "waiting":
            return _why_waiting(at, job)
        case "running":
            return _why_running(at, job)
        case "dead":
            since: Sentence = (f": {job.error_class}.",)
            if job.finished_at is not None:
                since = (" since ", Moment(job.finished_at), *since)
            said = _stop(job.error_text)
            advice = f" {SAME_BYTES}" if job.error_class in HOPELESS else ""
            short = (f"{job.error_class}: {said[:LONGEST]}",)
            return Why("dead", "dead", ("Dead", *since), (said + advice,), short=short)
        case "done":
            return _why_done(at, job)
        case "skipped":
            return Why(
                "skipped", "skipped", (f"Skipped: {_stop(job.error_text) or 'no reason given.'}",)
            )
    ended: Sentence = () if job.finished_at is None else (" ", Moment(job.finished_at))
    return Why("cancelled", "cancelled", ("Cancelled", *ended, "."))


def _why_done(at: _Situation, job: Job) -> Why:
    made = counted(at.products(job), "product")
    took = duration(job.run_s(at.now) or 0.0)
    return Why("done", "done", (f"Done in {took}, try {job.attempts}; {made}.",))


_ENDED = {"lost": "was lost", "timeout": "ran into its time limit"}


def _why_running(at: _Situation, job: Job) -> Why:
    bold: Sentence = (
        "Runs since ",
        Moment(job.started_at or at.now),
        *((f" on {job.host}",) if job.host else ()),
        f", try {job.attempts} of {max(job.max_attempts, job.attempts)}.",
    )
    more: list[Part] = []
    if job.max_attempts == 0:
        more.append("Cancel asked for; it stops at its next checkpoint. ")
    previous = at.last_end(job)
    if previous is not None:
        ended = _ENDED.get(previous.outcome, "failed")
        more += [f"Try {previous.n} {ended} at ", Moment(previous.finished_at)]
        more.append(f": {_stop(job.error_text)} " if job.error_text else ". ")
    slow = _slow(at, job)
    if slow:
        more.append(f"This job is slow: {slow}. ")
    worker = next((p for p in at.processes if job in p.jobs), None)
    if worker is not None and not worker.live:
        more += ["Its worker is silent since ", Moment(worker.beat), "; the job will be returned."]
    sentence = _trimmed(more)
    return Why("slow" if slow else "running", "running", bold, sentence)


def _trimmed(parts: list[Part]) -> Sentence:
    if parts and isinstance(parts[-1], str):
        parts[-1] = parts[-1].rstrip()
    return tuple(parts)


def _slow(at: _Situation, job: Job) -> str:
    usual, run = at.usual_run_s(job.task), job.run_s(at.now)
    if usual is None or run is None or run <= SLOW * max(usual, 1.0):
        return ""
    return f"{duration(run)}, usually {duration(usual)}"


def _why_waiting(at: _Situation, job: Job) -> Why:
    """Compute all six reasons; the first that holds, in this order, is the reason."""
    reasons = [
        _lock(at, job),
        _not_before(at, job),
        _priority(at, job),
        _no_worker(at, job),
        _no_relay(at, job),
        _sent(at, job),
    ]
    active = next(index for index, (_, reason) in enumerate(reasons) if reason is not None)
    checks = tuple(
        replace(check, active=index == active) for index, (check, _) in enumerate(reasons)
    )
    reason = reasons[active][1]
    assert reason is not None
    return replace(reason, checks=checks)


_Reason = tuple[Check, Why | None]


def _lock(at: _Situation, job: Job) -> _Reason:
    holder = at.holder(job)
    if holder is None:
        note = f"Lock {job.lock_key}: free" if job.lock_key else "Lock: none needed"
        return Check("lock", True, False, (note,)), None
    since = holder.started_at or at.now
    latest = since + _hard_limit_s(holder)
    more: list[Part] = [
        f"Only one job at a time may work on {job.lock_key}."
        " It starts as soon as that job ends, by ",
        Moment(latest),
        f" at the latest (hard limit {_hard_limit_s(holder)} s).",
    ]
    slow = _slow(at, holder)
    if slow:
        more.append(f" That job is slow: {slow}.")
    bold: Sentence = (
        "Waits for ",
        JobRef(holder.id),
        f", which has the lock {job.lock_key} since ",
        Moment(since),
        ".",
    )
    held = (f"Lock {job.lock_key}: held by ", JobRef(holder.id), f" for {duration(at.now - since)}")
    return Check("lock", False, False, held), Why("lock", "waiting", bold, tuple(more), short=bold)


def _hard_limit_s(job: Job) -> int:
    task = TASKS.get(job.task)
    if task is not None:
        return task.limits(after_timeout=job.error_class == "Timeout")[1]
    return QUEUES[job.queue].hard_s if job.queue in QUEUES else 0


def _not_before(at: _Situation, job: Job) -> _Reason:
    if job.not_before <= at.now:
        delayed = job.not_before > job.created_at
        note: Sentence = ("Not before ", Moment(job.not_before), ": passed")
        return Check(
            "not_before", True, False, note if delayed else ("Not before: no delay set",)
        ), None
    more: Sentence = ()
    if job.attempts and job.error_class in ("NotReady", "NotReadyError"):
        times = "once" if job.attempts == 1 else f"{job.attempts} times"
        more = (f"Looked {times}: {_stop(job.error_text)}",)
    elif job.attempts and job.error_text:
        more = (f"Try {job.attempts} failed: {_stop(job.error_text)}",)
    elif job.coalesce_key:
        latest = max(job.created_at + COALESCE_MAX_WAIT_S, job.not_before)
        more = ("Gathers further triggers, until ", Moment(latest), " at the latest.")
    note = ("Not before ", Moment(job.not_before), f": in {duration(job.not_before - at.now)}")
    bold: Sentence = ("Not before ", Moment(job.not_before), ".")
    return Check("not_before", False, False, note), Why("not_before", "waiting", bold, more)


def _priority(at: _Situation, job: Job) -> _Reason:
    ahead = at.ahead(job)
    jobs = counted(ahead, "job")
    check = Check(
        "priority", ahead == 0, False, (f"Queue {job.queue}: {jobs} of better priority ahead",)
    )
    if ahead == 0:
        return check, None
    bold = f"{jobs} of better priority {'is' if ahead == 1 else 'are'} ahead"
    each = at.usual_run_s(job.task)
    workers = len(at.serving(job.queue))
    if each is not None and workers and job.queue in QUEUES:
        total = ahead * each / (workers * QUEUES[job.queue].concurrency)
        bold += f"; at {duration(each)} each about {_about(total)}"
    return check, Why("priority", "waiting", (f"{bold}.",))


def _no_worker(at: _Situation, job: Job) -> _Reason:
    live = at.serving(job.queue)
    if live:
        beat = duration(live[0].age_s)
        note = f"Workers for {job.queue}: {len(live)} live, last beat {beat} ago"
        return Check("no_worker", True, False, (note,)), None
    since = at.last_beat([p for p in at.processes if p.serves(job.queue)])
    bold: Sentence = (f"No live worker for queue {job.queue}", *since, ".")
    more: Sentence = ("Start one: ", Code(f"acaflow worker {job.queue}"))
    check = Check("no_worker", False, False, (f"Workers for {job.queue}: none live",))
    return check, Why("no_worker", "waiting", bold, more)


def _no_relay(at: _Situation, job: Job) -> _Reason:
    live = at.relays()
    if live:
        newest = min(live, key=lambda process: process.age_s)
        note = f"Relay on {_host(newest.name)}: last beat {duration(newest.age_s)} ago"
        return Check("no_relay", True, False, (note,)), None
    since = at.last_beat([p for p in at.processes if p.kind == "relay"])
    beaten: Sentence = ("no relay has beaten", *since, ".")
    bold: Sentence = ("Nothing is being sent: ", *beaten)
    check = Check("no_relay", False, False, ("Relay: none live",))
    more: Sentence = ("Start one: ", Code("acaflow relay"))
    return check, Why("no_relay", "waiting", bold, more)


def _sent(at: _Situation, job: Job) -> _Reason:
    if job.sent_at is None:
        bold = "No message sent yet; the relay sends one as soon as the queue has room."
        return (
            Check("sent", False, False, ("Message: not sent yet",)),
            Why("sent", "queued", (bold,)),
        )
    ago = duration(at.now - job.sent_at)
    again = "" if job.sends <= 1 else f", send {job.sends}"
    return (
        Check("sent", False, False, (f"Message: sent {ago} ago{again}",)),
        Why(
            "sent", "queued", (f"Message sent {ago} ago; a worker should take it within seconds.",)
        ),
    )


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
        at = _Situation(connection, now)
        files = _products(
            connection, "p.job_id = :id ORDER BY p.path LIMIT :few", id=job.id, few=FEW
        )
        siblings = _jobs(
            connection,
            at.now,
            "WHERE subject = :subject AND id <> :id ORDER BY created_at DESC LIMIT 6",
            subject=job.subject,
            id=job.id,
        )
        return JobDetail(
            job,
            _why(at, job),
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
    found = _jobs(connection, now, "WHERE id = :id", id=identity) if identity else []
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
    return tuple(_jobs(connection, now, tail, id=event_id, few=FEW))


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
""").bindparams(sa.bindparam("ids", expanding=True))


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
    now = ledger.now()
    with ledger.look() as connection:
        living = _processes(connection, now)
        queues = [_queue_row(ledger, connection, now, since, name, living) for name in QUEUES]
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
                _stop(connection.scalar(words, {"id": row.newest})),
                row.first,
                row.n,
                row.error_class or "",
            )
            for row in connection.execute(groups, {"many": WINDOW}).all()
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
    sent = _count(connection, f"queue = :queue AND {_SENT} AND not_before <= :now", **key, now=now)
    unsent = _count(connection, f"queue = :queue AND {_WAITING}", **key)
    held = _count(connection, f"queue = :queue AND {_SENT}", **key) - sent
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
        _count(connection, "queue = :queue AND state = 'dead'", **key),
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
    _FIRST.format(where=f"{_WAITING} AND priority = :priority", order="not_before", few=200)
)
_FIRST_SENT = text(_FIRST.format(where=_SENT, order="sent_at", few=MANY))


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
