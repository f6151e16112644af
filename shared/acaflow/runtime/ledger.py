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

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import text
from sqlalchemy.dialects import postgresql, sqlite

from acaflow import storage
from acaflow.errors import ConfigError, InputError, LeaseLostError, PipelineError, StorageBusyError
from acaflow.runtime.logs import mask
from acaflow.runtime.records import (
    TERMINAL,
    Claim,
    Hint,
    NewEvent,
    NewJob,
    NewProduct,
    Recorded,
    Result,
    canonical_json,
    new_id,
)
from acaflow.runtime.tables import SCHEMA_VERSION, attempt, event, job, product

__all__ = ["Ledger"]

MAX_PAYLOAD = 16 * 1024
"""Bytes of an event's payload: ids and paths only, never data."""

BUSY_S = 30.0
"""How long a statement waits for a busy SQLite file."""

SEND_AT_ONCE = 10
"""Jobs of one record call that get their hint at once; the relay sends the rest."""

_CLAIM = text("""
UPDATE job SET state = 'running', attempts = attempts + 1, owner = :owner, started_at = :now
WHERE id = :id AND state = 'waiting' AND not_before <= :now
RETURNING attempts, max_attempts, task, queue, args, subject, lock_key, event_id, priority
""")
_UNSEND = text("UPDATE job SET sent_at = NULL WHERE id = :id AND state = 'waiting'")
_FENCE = "id = :id AND state = 'running' AND attempts = :n"
_HOLD = text(f"SELECT id FROM job WHERE {_FENCE} FOR UPDATE")
_IS_MINE = text(f"SELECT max_attempts FROM job WHERE {_FENCE}")
_FINISH = text(f"""
UPDATE job SET state = :state, not_before = :not_before, sent_at = NULL, owner = NULL,
    max_attempts = max_attempts + :more, error_class = :error_class, error_text = :error_text,
    finished_at = :finished_at
WHERE {_FENCE} RETURNING lock_key
""")
_NEXT = """
SELECT id FROM job WHERE lock_key = :lock_key AND state = 'waiting' AND not_before <= :now
ORDER BY priority, not_before LIMIT 1
"""
_HANDOVER = text("""
UPDATE job SET sent_at = :now, sends = sends + 1 WHERE id = :id AND state = 'waiting'
RETURNING id, task, queue, priority, error_class
""")
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
_INSERT_COALESCED = text("""
INSERT INTO job (id, event_id, task, queue, args, subject, lock_key, coalesce_key, priority, state,
    attempts, max_attempts, not_before, sent_at, sends, created_at, batch_id, requested_by)
VALUES (:id, :event_id, :task, :queue, :args, :subject, :lock_key, :coalesce_key, :priority,
    'waiting', 0, :max_attempts, :not_before, :sent_at, :sends, :created_at, :batch_id,
    :requested_by)
ON CONFLICT (coalesce_key) WHERE state = 'waiting' AND attempts = 0 DO UPDATE SET sent_at = NULL,
    not_before = CASE WHEN excluded.not_before < job.created_at + :max_wait
        THEN excluded.not_before ELSE job.created_at + :max_wait END
RETURNING id
""")
_MARK_SENT = text("""
UPDATE job SET sent_at = :now, sends = sends + 1
WHERE id = :id AND state = 'waiting' AND sends = :sends
RETURNING id, task, queue, priority, error_class
""")
_EVENT_OF_KEY = text("SELECT id FROM event WHERE dedupe_key = :key")
_DATABASE_NOW = text("SELECT extract(epoch FROM clock_timestamp())")
_JOBS_OF = text("SELECT id, state, error_class, error_text FROM job WHERE event_id = :id")
_FORGET_HINTS = text("""
UPDATE job SET sent_at = NULL WHERE state = 'waiting' AND sent_at IS NOT NULL
""")
_HURRY = text("""
UPDATE job SET not_before = :now, sent_at = NULL WHERE coalesce_key IS NOT NULL
AND state = 'waiting' AND attempts = 0 AND not_before > :now RETURNING id
""")
_FRESH_JOB = text("""
SELECT id FROM job WHERE coalesce_key = :key AND state = 'waiting' AND attempts = 0
""")
_DELIVERY = text("SELECT event_id, args FROM job WHERE id = :id")
_BATCH = text("SELECT id FROM job WHERE batch_id = :batch AND state = 'waiting'")
_PAST = text("""
SELECT n, outcome, error_class, started_at FROM attempt WHERE job_id = :id ORDER BY n
""")
_DEATHS = text("""
SELECT count(*) FROM job JOIN attempt ON attempt.job_id = job.id
WHERE job.subject = :subject AND (job.id = :id OR job.args LIKE :sha)
AND attempt.outcome = 'lost' AND attempt.error_class IN ('ProcessDied', 'Timeout')
""")
_ANCESTORS = text("""
WITH RECURSIVE chain (id, kind, subject, parent, depth) AS (
    SELECT id, kind, subject, parent_event_id, 1 FROM event WHERE id = :id
    UNION ALL
    SELECT e.id, e.kind, e.subject, e.parent_event_id, chain.depth + 1
    FROM event AS e JOIN chain ON e.id = chain.parent WHERE chain.depth < :depth
)
SELECT kind, subject FROM chain ORDER BY depth
""")
_PRUNABLE = text("""
SELECT id, event_id FROM job WHERE queue = :queue AND finished_at IS NOT NULL
AND finished_at < :before AND EXISTS (SELECT 1 FROM attempt WHERE attempt.job_id = job.id)
LIMIT :batch
""")
_LOGS_OF = text("SELECT log_path FROM attempt WHERE job_id = :id AND log_path IS NOT NULL")
_PRUNE = (
    text("DELETE FROM attempt WHERE job_id = :id"),
    text("DELETE FROM product WHERE job_id = :id AND role = 'in'"),
    text("UPDATE job SET args = '{}', error_text = NULL WHERE id = :id"),
    text("UPDATE event SET payload = '{}' WHERE id = :event"),
)
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
        engine = sa.create_engine(self.url, connect_args={"timeout": BUSY_S})

        @sa.event.listens_for(engine, "connect")
        def configure(connection: Any, _record: Any) -> None:
            connection.isolation_level = None  # BEGIN is issued below, never by the driver
            _switch_to_wal(connection)
            for pragma in (f"synchronous={synchronous}", "foreign_keys=ON"):
                connection.execute(f"PRAGMA {pragma}")

        @sa.event.listens_for(engine, "begin")
        def begin(connection: sa.Connection) -> None:
            looking = connection.get_execution_options().get("look", False)
            connection.exec_driver_sql("BEGIN" if looking else "BEGIN IMMEDIATE")

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
                parameters = {**row, "max_wait": wanted.max_wait_s}
                at_once &= connection.scalar(_INSERT_COALESCED, parameters) == row["id"]
            if at_once:
                hints.append(Hint(row["id"], wanted.task, wanted.queue, wanted.priority))
        if plain:
            connection.execute(job.insert(), plain)
        return hints

    # --- 3. claim (2 is the send, which changes no state) ---

    def claim(self, job_id: str, owner: str) -> Claim | str:
        """Take a waiting, due job; else return 'duplicate' or 'busy' (its lock is held)."""

        def work(connection: sa.Connection, now: float) -> Claim | str:
            row = connection.execute(_CLAIM, {"id": job_id, "owner": owner, "now": now}).first()
            if row is None:
                return "duplicate"
            return Claim(
                job_id=job_id,
                n=row.attempts,
                max_attempts=row.max_attempts,
                task=row.task,
                queue=row.queue,
                args=json.loads(row.args),
                subject=row.subject,
                lock_key=row.lock_key,
                event_id=row.event_id,
                priority=row.priority,
                started_at=now,
                owner=owner,
            )

        try:
            return self.transact(work)
        except sa.exc.IntegrityError:
            # Whoever ends the holder hands over to the next waiting job; the relay does too.
            self.transact(lambda connection, _now: connection.execute(_UNSEND, {"id": job_id}))
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
        key = {"id": claim.job_id, "n": claim.n}
        open_queues = self._open_queues(result.events)

        def work(connection: sa.Connection, now: float) -> list[Hint]:
            if not self.is_sqlite and connection.execute(_HOLD, key).first() is None:
                raise LeaseLostError(f"job {claim.job_id}: attempt {claim.n} was taken over")
            if result.products:
                rows = [_product_row(item, claim, now) for item in result.products]
                connection.execute(product.insert(), rows)
            hints = self.record_within(connection, now, result.events, open_queues).hints
            # The own row is written last but for the history, so that on PostgreSQL nobody who
            # holds a follow-up's row waits for ours while we wait for theirs.
            ended = connection.execute(_FINISH, {**key, **_new_state(result, now)}).first()
            if ended is None:
                raise LeaseLostError(f"job {claim.job_id}: attempt {claim.n} was taken over")
            connection.execute(attempt.insert(), _attempt_row(claim, result, now))
            if ended.lock_key is not None:
                hints += self._hand_over(connection, now, ended.lock_key)
            return hints

        return self.transact(work)

    def _hand_over(self, connection: sa.Connection, now: float, lock_key: str) -> list[Hint]:
        following = connection.scalar(self._next, {"lock_key": lock_key, "now": now})
        if following is None:
            return []
        rows = connection.execute(_HANDOVER, {"id": following, "now": now})
        return [_hint(row) for row in rows]

    def holds(self, claim: Claim) -> int | None:
        """Return max_attempts while the attempt still owns its job (0: cancel asked), else None."""
        with self.look() as connection:
            limit: int | None = connection.scalar(_IS_MINE, {"id": claim.job_id, "n": claim.n})
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
        def work(connection: sa.Connection, now: float) -> list[Hint]:
            hints, locks = [], set()
            for row in connection.execute(select, {**parameters, "now": now}).all():
                if row.lock_key in locks:
                    continue
                if row.lock_key is not None:
                    locks.add(row.lock_key)
                key = {"id": row.id, "sends": row.sends, "now": now}
                hints += [_hint(marked) for marked in connection.execute(_MARK_SENT, key)]
            return hints

        if parameters["room"] <= 0:
            return []
        return self.transact(work)

    def hurry_coalesced(self) -> int:
        """Make every fresh coalesced job due at once (a run in one process); count them."""
        return self.transact(
            lambda connection, now: len(connection.execute(_HURRY, {"now": now}).all())
        )

    def forget_hints(self) -> None:
        """Count no waiting job as sent: whoever held the hints is gone (a run in one process)."""
        self.transact(lambda connection, _now: connection.execute(_FORGET_HINTS))

    # --- looked up while working ---

    def jobs_of(self, event_id: str) -> list[dict[str, Any]]:
        """Return id, state, error_class and error_text of the jobs that an event caused."""
        with self.look() as connection:
            return [dict(row) for row in connection.execute(_JOBS_OF, {"id": event_id}).mappings()]

    def fresh_job(self, coalesce_key: str) -> list[dict[str, Any]]:
        """Return the never claimed waiting job of a coalesce key, if there is one."""
        with self.look() as connection:
            rows = connection.execute(_FRESH_JOB, {"key": coalesce_key})
            return [dict(row) for row in rows.mappings()]

    def delivery_of(self, job_id: str) -> tuple[str, str] | None:
        """Return event id and home-relative path of the file that a job works on, if any."""
        with self.look() as connection:
            row = connection.execute(_DELIVERY, {"id": job_id}).first()
        path = json.loads(row.args).get("path", "") if row else ""
        return (row.event_id, path) if row and path.startswith("inbox/.taken/") else None

    def batch(self, batch_id: str) -> list[str]:
        """Return the waiting jobs of a batch."""
        with self.look() as connection:
            return list(connection.execute(_BATCH, {"batch": batch_id}).scalars())

    def past(self, job_id: str) -> list[dict[str, Any]]:
        """Return the ended attempts of a job (n, outcome, error_class, started_at)."""
        with self.look() as connection:
            return [dict(row) for row in connection.execute(_PAST, {"id": job_id}).mappings()]

    def deaths_of_input(self, subject: str, sha256: str | None, job_id: str) -> int:
        """Count the attempts on the same input that took their process along."""
        key = {"subject": subject, "id": job_id, "sha": f'%"{sha256 or job_id}"%'}
        with self.look() as connection:
            return int(connection.scalar(_DEATHS, key) or 0)

    def ancestors(self, event_id: str, depth: int) -> list[tuple[str, str]]:
        """Return kind and subject of an event and of those that caused it, newest first."""
        with self.look() as connection:
            rows = connection.execute(_ANCESTORS, {"id": event_id, "depth": depth})
            return [(row.kind, row.subject) for row in rows]

    # --- retention ---

    def prunable(self, queue: str, before: float, batch: int) -> list[tuple[str, str]]:
        """Return job and event ids of ended jobs older than `before` that still have attempts."""
        key = {"queue": queue, "before": before, "batch": batch}
        with self.look() as connection:
            return [(row.id, row.event_id) for row in connection.execute(_PRUNABLE, key)]

    def prune(self, pairs: Sequence[tuple[str, str]]) -> list[str]:
        """Drop attempts, inputs, arguments, error texts and payloads; return the log paths.

        Event and job rows stay for ever: they are the dedupe and the permalinks.
        """

        def work(connection: sa.Connection, _now: float) -> list[str]:
            logs: list[str] = []
            for job_id, event_id in pairs:
                key = {"id": job_id, "event": event_id}
                logs += connection.execute(_LOGS_OF, key).scalars()
                for statement in _PRUNE:
                    connection.execute(statement, key)
            return logs

        return self.transact(work)

    # --- processes ---

    def beat(self, row: Mapping[str, Any]) -> None:
        """Write the sign of life of one process (the columns of ``process`` but ``beat``)."""
        self.transact(lambda connection, now: connection.execute(_BEAT, {**row, "now": now}))

    def leave(self, name: str) -> None:
        """Forget a process that ended by itself."""
        self.transact(lambda connection, _now: connection.execute(_LEAVE, {"name": name}))


def _event_row(item: NewEvent, now: float) -> dict[str, Any]:
    payload = canonical_json(item.payload)
    if len(payload.encode()) > MAX_PAYLOAD:
        raise InputError(f"event {item.kind} of {item.subject}: payload above {MAX_PAYLOAD} bytes")
    return {
        "id": item.id,
        "kind": item.kind,
        "schema": item.schema,
        "dedupe_key": item.dedupe_key,
        "subject": item.subject,
        "payload": payload,
        "source": item.source,
        "parent_event_id": item.parent_event_id,
        "cause_job_id": item.cause_job_id,
        "occurred_at": now if item.occurred_at is None else item.occurred_at,
        "recorded_at": now,
    }


def _job_row(cause: NewEvent, wanted: NewJob, now: float, at_once: bool) -> dict[str, Any]:
    return {
        "id": new_id(now),
        "event_id": cause.id,
        "task": wanted.task,
        "queue": wanted.queue,
        "args": canonical_json(wanted.args),
        "subject": wanted.subject,
        "lock_key": wanted.lock_key,
        "coalesce_key": wanted.coalesce_key,
        "priority": wanted.priority,
        "state": "waiting",
        "attempts": 0,
        "max_attempts": wanted.max_attempts,
        "not_before": now + wanted.delay_s,
        "sent_at": now if at_once else None,
        "sends": int(at_once),
        "created_at": now,
        "batch_id": wanted.batch_id,
        "requested_by": wanted.requested_by,
    }


def _product_row(item: NewProduct, claim: Claim, now: float) -> dict[str, Any]:
    row = {"id": new_id(now), "job_id": claim.job_id, "n": claim.n, "created_at": now}
    return row | asdict(item)


def _new_state(result: Result, now: float) -> dict[str, Any]:
    return {
        "state": result.state,
        "not_before": now + result.delay_s,
        "more": result.more_attempts,
        "error_class": result.error_class,
        "error_text": result.error_text,
        "finished_at": now if result.state in TERMINAL else None,
    }


def _attempt_row(claim: Claim, result: Result, now: float) -> dict[str, Any]:
    return {
        "job_id": claim.job_id,
        "n": claim.n,
        "owner": claim.owner,
        "code_version": result.code_version,
        "started_at": claim.started_at,
        "finished_at": now,
        "outcome": result.outcome,
        "error_class": result.error_class,
        "traceback": result.traceback,
        "log_path": result.log_path,
        "cpu_s": result.cpu_s,
        "max_rss_kb": result.max_rss_kb,
    }


def _hint(row: Any) -> Hint:
    return Hint(row.id, row.task, row.queue, row.priority, row.error_class == "Timeout")


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
