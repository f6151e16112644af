"""The ledger: events, jobs, attempts and products in one SQL database.

Six tables (with ``alembic_version``) and five statements: `Ledger.record`, the send that the
caller does after COMMIT with the returned hints, `Ledger.claim`, `Ledger.finish`, and the
relay's `Ledger.release`. Everything a worker, the relay or a page knows about work is here.

Guards, each with a test that fails without it: the unique ``event.dedupe_key``; RETURNING
instead of a row count; ``state='waiting' AND not_before<=now`` in the claim; ``attempts`` that
only grow and are the fence of finish; one running row per ``lock_key``; one fresh
(``attempts=0``) waiting row per ``coalesce_key``; ``sends`` in the relay's marking.

Times are UTC epoch seconds; ids are UUIDv7 (sortable by time).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import text
from sqlalchemy.dialects import postgresql, sqlite

from acaflow import storage
from acaflow.errors import ConfigError, InputError, LeaseLostError, PipelineError, StorageBusyError
from acaflow.runtime.logs import mask
from acaflow.runtime.records import (
    CLAIMED,
    Claim,
    Hint,
    NewEvent,
    NewJob,
    Recorded,
    Result,
    canonical_json,
    new_id,
)
from acaflow.runtime.tables import SCHEMA_VERSION, event, product

__all__ = ["Ledger"]

MAX_PAYLOAD = 16 * 1024
"""Bytes of an event's payload: ids and paths only, never data."""

BUSY_S = 30.0
"""How long a statement waits for a busy SQLite file."""

SEND_AT_ONCE = 10
"""Jobs of one record call that get their hint at once; the relay sends the rest."""

# A statement takes what it names of the values it is given; records are handed over whole.
_CLAIM = text(f"""
UPDATE job SET state = 'running', attempts = attempts + 1, owner = :owner, started_at = :now
WHERE id = :id AND state = 'waiting' AND not_before <= :now
RETURNING {CLAIMED}
""").columns(*(sa.column(item.name) for item in fields(Claim)))  # else looked up at each claim
_UNSEND = text("UPDATE job SET sent_at = NULL WHERE id = :id AND state = 'waiting'")
_FENCE = "id = :job_id AND state = 'running' AND attempts = :n"
_HOLD = text(f"SELECT id FROM job WHERE {_FENCE} FOR UPDATE")
_IS_MINE = text(f"SELECT max_attempts FROM job WHERE {_FENCE}")
_FINISH = text(f"""
UPDATE job SET state = :state, not_before = :now + :delay_s, sent_at = NULL, owner = NULL,
    max_attempts = max_attempts + :more_attempts, error_class = :error_class,
    error_text = :error_text, finished_at = :finished_at
WHERE {_FENCE} RETURNING lock_key
""")
_INSERT_ATTEMPT = text("""
INSERT INTO attempt (job_id, n, owner, code_version, started_at, finished_at, outcome, error_class,
    traceback, log_path, cpu_s, max_rss_kb)
VALUES (:job_id, :n, :owner, :code_version, :started_at, :now, :outcome, :error_class,
    :traceback, :log_path, :cpu_s, :max_rss_kb)
""")
_NEXT = """
SELECT id, sends, lock_key FROM job
WHERE lock_key = :lock_key AND state = 'waiting' AND not_before <= :now
ORDER BY priority, not_before LIMIT 1
"""
_DUE = """
SELECT id, sends, lock_key FROM job
WHERE queue = :queue AND state = 'waiting' AND sent_at IS NULL AND not_before <= :now
AND (lock_key IS NULL OR NOT EXISTS
    (SELECT 1 FROM job AS r WHERE r.state = 'running' AND r.lock_key = job.lock_key))
ORDER BY priority, not_before LIMIT :room
"""
_UNANSWERED = """
SELECT id, sends, lock_key FROM job
WHERE queue = :queue AND state = 'waiting' AND sent_at IS NOT NULL AND sent_at < :now - :first_s *
    CASE WHEN :doubles = 0 THEN 1 WHEN sends > 7 THEN 120 ELSE 1 << (sends - 1) END
ORDER BY sent_at LIMIT :room
"""
_INSERT = """
INSERT INTO job (id, event_id, task, queue, args, subject, lock_key, coalesce_key, priority, state,
    attempts, max_attempts, not_before, sent_at, sends, created_at, batch_id, requested_by)
VALUES (:id, :event_id, :task, :queue, :args, :subject, :lock_key, :coalesce_key, :priority,
    'waiting', 0, :max_attempts, :not_before, :sent_at, :sends, :now, :batch_id, :requested_by)
"""
_INSERT_PLAIN = text(_INSERT)
_INSERT_COALESCED = text(f"""{_INSERT}
ON CONFLICT (coalesce_key) WHERE state = 'waiting' AND attempts = 0 DO UPDATE SET sent_at = NULL,
    not_before = CASE WHEN excluded.not_before < job.created_at + :max_wait_s
        THEN excluded.not_before ELSE job.created_at + :max_wait_s END
RETURNING id
""")
_MARK_SENT = text("""
UPDATE job SET sent_at = :now, sends = sends + 1
WHERE id = :id AND state = 'waiting' AND sends = :sends
RETURNING id, task, queue, priority, error_class
""")
_EVENT_OF_KEY = text("SELECT id FROM event WHERE dedupe_key = :key")
_DATABASE_NOW = text("SELECT extract(epoch FROM clock_timestamp())")
_JOBS_OF = text("""
SELECT id, state, attempts, not_before, error_class, error_text FROM job WHERE event_id = :id
""")
_BEAT = text("""
INSERT INTO process (name, kind, queues, host, pid, pid_start, started, beat, version)
VALUES (:name, :kind, :queues, :host, :pid, :pid_start, :now, :now, :version)
ON CONFLICT (name) DO UPDATE SET beat = :now, queues = excluded.queues, host = excluded.host,
    pid_start = excluded.pid_start, version = excluded.version, started = CASE
    WHEN process.host = excluded.host AND abs(process.pid_start - excluded.pid_start) < 0.05
    THEN process.started ELSE :now END
""")
_LEAVE = text("DELETE FROM process WHERE name = :name")
_FAILED_IN_TURN = ("40P01", "40001")
"""PostgreSQL: deadlock, serialization failure; every transaction here may be repeated."""

Answer = TypeVar("Answer")


class Ledger:
    """One database of events and jobs.

    Parameters
    ----------
    url : str
        SQLAlchemy URL, SQLite or PostgreSQL.
    synchronous : {'FULL', 'NORMAL'}
        SQLite only: NORMAL may lose the last commits on power failure, never on a process kill.
    clock : callable, optional
        Returns epoch seconds; default the host's clock on SQLite (one host), the database's on
        PostgreSQL, so that worker clocks never matter.
    has_room : callable, optional
        Tells for a queue name whether its jobs may be sent at once; default yes.
    """

    def __init__(
        self,
        url: str,
        synchronous: str = "FULL",
        clock: Callable[[], float] | None = None,
        has_room: Callable[[str], bool] | None = None,
    ) -> None:
        try:
            self.url = sa.make_url(url)
            self.url.get_dialect().import_dbapi()
        except (sa.exc.ArgumentError, ImportError) as err:
            raise ConfigError(
                f"ACAFLOW_LEDGER_URL={mask(url)} cannot be used: {err}; expected"
                " sqlite:///<path> or postgresql+psycopg://<user>@<host>/<database>"
            ) from err
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._clock = clock or (time.time if self.is_sqlite else None)
        self.has_room = has_room or (lambda _queue: True)
        skip_locked = "" if self.is_sqlite else " FOR UPDATE SKIP LOCKED"
        self._next, self._due, self._unanswered = (
            text(statement + skip_locked) for statement in (_NEXT, _DUE, _UNANSWERED)
        )
        insert = sqlite.insert if self.is_sqlite else postgresql.insert
        self._insert_event = insert(event).on_conflict_do_nothing().returning(event.c.id)
        self.engine = self._make_engine(synchronous)

    def _make_engine(self, synchronous: str) -> sa.Engine:
        if not self.is_sqlite:
            return sa.create_engine(self.url, isolation_level="READ COMMITTED", pool_recycle=1800)
        if self.url.database:
            _refuse_network_file_system(Path(self.url.database))
        # Every transaction below ends by itself: a connection comes back with nothing to undo.
        engine = sa.create_engine(
            self.url, connect_args={"timeout": BUSY_S}, pool_reset_on_return=None
        )

        @sa.event.listens_for(engine, "connect")
        def configure(connection: Any, _record: Any) -> None:
            connection.isolation_level = None  # BEGIN is issued below, never by the driver
            _switch_to_wal(connection)
            for pragma in (f"synchronous={synchronous}", "foreign_keys=ON"):
                connection.execute(f"PRAGMA {pragma}")

        @sa.event.listens_for(engine, "begin")
        def begin(connection: sa.Connection) -> None:
            looking = connection.get_execution_options().get("look", False)
            # Straight to the driver: two of the five statements of a job are these.
            driver: Any = connection.connection.dbapi_connection
            try:
                driver.execute("BEGIN" if looking else "BEGIN IMMEDIATE")
            except sqlite3.OperationalError as err:
                raise StorageBusyError(f"ledger {self.describe()}: {err}") from err

        return engine

    # --- transactions ---

    def transact(self, work: Callable[[sa.Connection, float], Answer]) -> Answer:
        """Run ``work(connection, now)`` in one write transaction, repeated after a deadlock."""
        for last in (False, False, True):
            try:
                with self.engine.begin() as connection:
                    return work(connection, self._now(connection))
            except sa.exc.OperationalError as err:
                if getattr(err.orig, "sqlstate", None) in _FAILED_IN_TURN and not last:
                    continue
                raise StorageBusyError(f"ledger {self.describe()}: {err.orig}") from err
        raise AssertionError("unreachable")

    @contextmanager
    def look(self) -> Iterator[sa.Connection]:
        """Give a connection that only reads, with one consistent view on SQLite."""
        try:
            with self.engine.connect().execution_options(look=True) as connection:
                yield connection
        except sa.exc.OperationalError as err:
            raise StorageBusyError(f"ledger {self.describe()}: {err.orig}") from err

    def read(self, statement: sa.TextClause, **values: Any) -> list[dict[str, Any]]:
        """Return the rows of a statement that only reads."""
        with self.look() as connection:
            return [dict(row) for row in connection.execute(statement, values).mappings()]

    def write(self, statement: sa.TextClause, **values: Any) -> list[Any]:
        """Run one statement with the time as ``now``; return its first column, if it has any."""

        def work(connection: sa.Connection, now: float) -> list[Any]:
            done = connection.execute(statement, {**values, "now": now})
            return list(done.scalars()) if done.returns_rows else []

        return self.transact(work)

    def now(self) -> float:
        """Return the ledger's time (epoch s)."""
        if self._clock is not None:
            return self._clock()
        with self.look() as connection:
            return self._now(connection)

    def _now(self, connection: sa.Connection) -> float:
        if self._clock is not None:
            return self._clock()
        return float(connection.scalar(_DATABASE_NOW) or 0.0)

    def describe(self) -> str:
        """Return the URL without credentials."""
        return self.url.render_as_string(hide_password=True)

    def check_schema(self) -> None:
        """Refuse a ledger of another version, an absent one, and an unreachable one."""
        try:
            with self.look() as connection:
                found = connection.scalar(text("SELECT version_num FROM alembic_version"))
        except (sa.exc.DatabaseError, StorageBusyError) as err:
            absent = "no such table" in str(err) or "does not exist" in str(err)
            if not absent or "alembic_version" not in str(err):
                raise ConfigError(
                    f"ledger {self.describe()} cannot be opened: {getattr(err, 'orig', err)}"
                ) from err
            found = None
        if found is None:
            raise ConfigError(f"ledger {self.describe()} is empty; run: acaflow db upgrade")
        if found != SCHEMA_VERSION:
            remedy = "install a newer acaflow" if found > SCHEMA_VERSION else "acaflow db upgrade"
            raise ConfigError(
                f"ledger {self.describe()} has schema {found}, this acaflow needs"
                f" {SCHEMA_VERSION}; remedy: {remedy}"
            )

    # --- 1. record ---

    def record(self, events: Sequence[NewEvent]) -> Recorded:
        """Write events and the jobs they cause; a known dedupe key changes nothing."""
        open_queues = self._open_queues(events)
        return self.transact(
            lambda connection, now: self.record_within(connection, now, events, open_queues)
        )

    def _open_queues(self, events: Sequence[NewEvent]) -> set[str]:
        """Ask the transport which queues have room: before BEGIN, because it may be slow."""
        queues = {wanted.queue for item in events for wanted in item.jobs}
        return {queue for queue in queues if self.has_room(queue)}

    def record_within(
        self,
        connection: sa.Connection,
        now: float,
        events: Sequence[NewEvent],
        open_queues: Set[str] = frozenset(),
    ) -> Recorded:
        """Record inside a transaction of the caller."""
        if not events:
            return Recorded([], {}, [])
        # Always in one order: two recorders of the same keys cannot deadlock.
        ordered = sorted(events, key=lambda item: item.dedupe_key)
        returned = connection.execute(
            self._insert_event, [_event_row(item, now) for item in ordered]
        )
        new = set(returned.scalars())
        known = {}
        for item in ordered:
            if item.id not in new:
                found = connection.scalar(_EVENT_OF_KEY, {"key": item.dedupe_key})
                if found is None:
                    raise PipelineError(f"event {item.id} exists already with another key")
                known[item.dedupe_key] = str(found)
        pairs = [(item, wanted) for item in ordered if item.id in new for wanted in item.jobs]
        hints = self._insert_jobs(connection, now, pairs, open_queues)
        return Recorded([item.id for item in ordered if item.id in new], known, hints)

    def _insert_jobs(
        self,
        connection: sa.Connection,
        now: float,
        pairs: Sequence[tuple[NewEvent, NewJob]],
        open_queues: Set[str],
    ) -> list[Hint]:
        few = len(pairs) <= SEND_AT_ONCE
        hints = []
        plain = []
        for cause, wanted in sorted(pairs, key=lambda pair: pair[1].coalesce_key or ""):
            at_once = few and wanted.delay_s <= 0 and wanted.queue in open_queues
            row = _job_row(cause, wanted, now, at_once)
            if wanted.coalesce_key is None:
                plain.append(row)
            else:
                at_once &= connection.scalar(_INSERT_COALESCED, row) == row["id"]
            if at_once:
                hints.append(Hint(row["id"], wanted.task, wanted.queue, wanted.priority))
        if plain:
            connection.execute(_INSERT_PLAIN, plain)
        return hints

    # --- 3. claim (2 is the send, which changes no state) ---

    def claim(self, job_id: str, owner: str) -> Claim | str:
        """Take a waiting, due job; else return 'duplicate' or 'busy' (its lock is held)."""

        def work(connection: sa.Connection, now: float) -> Claim | str:
            values = {"id": job_id, "owner": owner, "now": now}
            row = connection.execute(_CLAIM, values).mappings().first()
            return "duplicate" if row is None else Claim.of(dict(row))

        try:
            return self.transact(work)
        except sa.exc.IntegrityError:
            # Whoever ends the holder hands over to the next waiting job; the relay does too.
            self.write(_UNSEND, id=job_id)
            return "busy"

    # --- 4. finish ---

    def finish(self, claim: Claim, result: Result) -> list[Hint]:
        """End an attempt: products, follow-up events, job state, history, hand-over.

        Returns
        -------
        list of Hint
            To send after COMMIT.

        Raises
        ------
        LeaseLostError
            The job is no longer running under this attempt number; nothing was written.
        """
        open_queues = self._open_queues(result.events)
        taken_over = LeaseLostError(f"job {claim.job_id}: attempt {claim.n} was taken over")

        def work(connection: sa.Connection, now: float) -> list[Hint]:
            ended_at = None if result.state == "waiting" else now
            values = {**vars(claim), **vars(result), "now": now, "finished_at": ended_at}
            if not self.is_sqlite and connection.execute(_HOLD, values).first() is None:
                raise taken_over
            if result.products:
                made = {"job_id": claim.job_id, "n": claim.n, "created_at": now}
                rows = [{"id": new_id(now), **made, **vars(item)} for item in result.products]
                connection.execute(product.insert(), rows)
            hints = self.record_within(connection, now, result.events, open_queues).hints
            # The own row is written last but for the history, so that on PostgreSQL nobody who
            # holds a follow-up's row waits for ours while we wait for theirs.
            ended = connection.execute(_FINISH, values).first()
            if ended is None:
                raise taken_over
            connection.execute(_INSERT_ATTEMPT, values)
            if ended.lock_key is not None:
                hints += _mark_within(connection, now, self._next, {"lock_key": ended.lock_key})
            return hints

        return self.transact(work)

    def holds(self, claim: Claim) -> int | None:
        """Return max_attempts while the attempt still owns its job (0: cancel asked), else None."""
        with self.look() as connection:
            limit: int | None = connection.scalar(_IS_MINE, vars(claim))
            return limit

    # --- 5. what the relay sends ---

    def release(self, queue: str, room: int) -> list[Hint]:
        """Mark due jobs without a hint as sent, at most one per lock key, best first."""
        return self._mark(self._due, {"queue": queue, "room": room})

    def resend(self, queue: str, room: int, all_empty: bool) -> list[Hint]:
        """Mark jobs whose hint went unanswered as sent again.

        A hint counts as lost after 2 s when the queue holds no message at all, else after
        30 s, doubled with every send, at most 1 h.
        """
        wait = {"first_s": 2.0, "doubles": 0} if all_empty else {"first_s": 30.0, "doubles": 1}
        return self._mark(self._unanswered, {"queue": queue, "room": room, **wait})

    def _mark(self, select: sa.TextClause, parameters: Mapping[str, Any]) -> list[Hint]:
        if parameters["room"] <= 0:
            return []
        return self.transact(
            lambda connection, now: _mark_within(connection, now, select, parameters)
        )

    def jobs_of(self, event_id: str) -> list[dict[str, Any]]:
        """Return what a waiting command needs of the jobs that an event caused."""
        return self.read(_JOBS_OF, id=event_id)

    # --- processes ---

    def beat(self, row: Mapping[str, Any]) -> None:
        """Write the sign of life of one process (the columns of ``process`` but ``beat``)."""
        self.write(_BEAT, **row)

    def leave(self, name: str) -> None:
        """Forget a process that ended by itself."""
        self.write(_LEAVE, name=name)


def _event_row(item: NewEvent, now: float) -> dict[str, Any]:
    payload = canonical_json(item.payload)
    if len(payload.encode()) > MAX_PAYLOAD:
        raise InputError(f"event {item.kind} of {item.subject}: payload above {MAX_PAYLOAD} bytes")
    row = {**vars(item), "payload": payload, "recorded_at": now}
    del row["jobs"]
    if item.occurred_at is None:
        row["occurred_at"] = now
    return row


def _job_row(cause: NewEvent, wanted: NewJob, now: float, at_once: bool) -> dict[str, Any]:
    return {
        **vars(wanted),
        "id": new_id(now),
        "event_id": cause.id,
        "args": canonical_json(wanted.args),
        "not_before": now + wanted.delay_s,
        "sent_at": now if at_once else None,
        "sends": int(at_once),
        "now": now,
    }


def _mark_within(
    connection: sa.Connection, now: float, select: sa.TextClause, parameters: Mapping[str, Any]
) -> list[Hint]:
    """Mark the selected jobs as sent, at most one per lock key."""
    hints, locks = [], set()
    for row in connection.execute(select, {**parameters, "now": now}).all():
        if row.lock_key is not None and row.lock_key in locks:
            continue
        locks.add(row.lock_key)
        for job in connection.execute(_MARK_SENT, {**row._mapping, "now": now}):
            late = job.error_class == "Timeout"
            hints.append(Hint(job.id, job.task, job.queue, job.priority, late))
    return hints


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Turn the journal to WAL; on a new file that does not wait for others by itself."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as err:
            if "locked" not in str(err) or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _refuse_network_file_system(database: Path) -> None:
    """WAL needs memory shared by all processes, which network file systems do not give."""
    kind = storage.file_system(database.absolute().parent)
    if kind in storage.NETWORK_FILE_SYSTEMS:
        raise ConfigError(
            f"the SQLite ledger {database} is on {kind}, where it would be damaged;"
            " set ACAFLOW_LEDGER_URL to PostgreSQL or to a local disk"
        )
