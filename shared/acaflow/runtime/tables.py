"""The six tables of the ledger (with ``alembic_version``) and their indexes.

Times are UTC epoch seconds; ids are UUIDv7; JSON columns are text with sorted keys. A change
here needs a migration; a test compares both.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import text

__all__ = ["SCHEMA_VERSION", "attempt", "event", "job", "metadata", "process", "product"]

SCHEMA_VERSION = "0001"
"""Newest migration; a process refuses any other."""

metadata = sa.MetaData()
_T, _R, _I = sa.Text, sa.Double, sa.Integer

event = sa.Table(
    "event",
    metadata,
    sa.Column("id", _T, primary_key=True),
    sa.Column("kind", _T, nullable=False),
    sa.Column("schema", _I, nullable=False),
    sa.Column("dedupe_key", _T, nullable=False, unique=True),
    sa.Column("subject", _T, nullable=False),
    sa.Column("payload", _T, nullable=False),
    sa.Column("source", _T, nullable=False),
    sa.Column("parent_event_id", _T),
    sa.Column("cause_job_id", _T),
    sa.Column("occurred_at", _R, nullable=False),
    sa.Column("recorded_at", _R, nullable=False),
    sa.Index("event_kind", "kind", "recorded_at"),
    sa.Index("event_recorded", "recorded_at", "id"),
)
job = sa.Table(
    "job",
    metadata,
    sa.Column("id", _T, primary_key=True),
    sa.Column("event_id", _T, sa.ForeignKey("event.id"), nullable=False),
    sa.Column("task", _T, nullable=False),
    sa.Column("queue", _T, nullable=False),
    sa.Column("args", _T, nullable=False),
    sa.Column("subject", _T, nullable=False),
    sa.Column("lock_key", _T),
    sa.Column("coalesce_key", _T),
    sa.Column("priority", _I, nullable=False),
    sa.Column("state", _T, nullable=False),
    sa.Column("attempts", _I, nullable=False),
    sa.Column("max_attempts", _I, nullable=False),
    sa.Column("not_before", _R, nullable=False),
    sa.Column("sent_at", _R),
    sa.Column("sends", _I, nullable=False),
    sa.Column("owner", _T),
    sa.Column("error_class", _T),
    sa.Column("error_text", _T),
    sa.Column("created_at", _R, nullable=False),
    sa.Column("started_at", _R),
    sa.Column("finished_at", _R),
    sa.Column("batch_id", _T),
    sa.Column("requested_by", _T),
)
_waiting = text("state = 'waiting' AND sent_at IS NULL")
_sent = text("state = 'waiting' AND sent_at IS NOT NULL")
_running = text("state = 'running'")
_fresh = text("state = 'waiting' AND attempts = 0")
_dead = text("state = 'dead'")
_odd = text("state IN ('dead', 'skipped', 'cancelled')")

_caused = text("cause_job_id IS NOT NULL")


def _partial(name: str, *columns: Any, where: Any, unique: bool = False) -> sa.Index:
    return sa.Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


_partial("event_cause", event.c.cause_job_id, where=_caused)
_partial("job_release", job.c.queue, job.c.priority, job.c.not_before, where=_waiting)
_partial("job_sent", job.c.queue, job.c.sent_at, where=_sent)
_partial("job_running", job.c.owner, where=_running)
_partial("job_lock", job.c.lock_key, where=_running, unique=True)
_partial("job_coalesce", job.c.coalesce_key, where=_fresh, unique=True)
_partial("job_dead", job.c.queue, job.c.error_class, where=_dead)
_partial("job_next", job.c.lock_key, job.c.priority, where=text("state = 'waiting'"))
sa.Index("job_subject", job.c.subject, job.c.created_at)
sa.Index("job_created", job.c.created_at, job.c.id)
sa.Index("job_event", job.c.event_id)
sa.Index("job_task", job.c.task, job.c.created_at, job.c.id)
sa.Index("job_tail", sa.func.substr(job.c.id, 29))  # pages show the last 8 digits of an id
_partial(
    "job_ended", job.c.queue, job.c.finished_at, job.c.state, where=text("finished_at IS NOT NULL")
)
# Queries that use it say the same words; done jobs are found by date, open ones by the above.
_partial("job_odd", job.c.state, job.c.created_at, job.c.id, where=_odd)

attempt = sa.Table(
    "attempt",
    metadata,
    sa.Column("job_id", _T, sa.ForeignKey("job.id"), primary_key=True),
    sa.Column("n", _I, primary_key=True),
    sa.Column("owner", _T),
    sa.Column("code_version", _T),
    sa.Column("started_at", _R),
    sa.Column("finished_at", _R, nullable=False),
    sa.Column("outcome", _T, nullable=False),
    sa.Column("error_class", _T),
    sa.Column("traceback", _T),
    sa.Column("log_path", _T),
    sa.Column("cpu_s", _R),
    sa.Column("max_rss_kb", _I),
)
product = sa.Table(
    "product",
    metadata,
    sa.Column("id", _T, primary_key=True),
    sa.Column("job_id", _T, sa.ForeignKey("job.id"), nullable=False),
    sa.Column("n", _I, nullable=False),
    sa.Column("role", _T, nullable=False),
    sa.Column("kind", _T, nullable=False),
    sa.Column("path", _T, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sha256", _T, nullable=False),
    sa.Column("created_at", _R, nullable=False),
    sa.Index("product_path", "path", "created_at"),
    sa.Index("product_job", "job_id"),
    sa.Index("product_created", "created_at", "role"),
)
process = sa.Table(
    "process",
    metadata,
    sa.Column("name", _T, primary_key=True),
    sa.Column("kind", _T, nullable=False),
    sa.Column("queues", _T, nullable=False),
    sa.Column("host", _T, nullable=False),
    sa.Column("pid", _I, nullable=False),
    sa.Column("pid_start", _R, nullable=False),
    sa.Column("started", _R, nullable=False),
    sa.Column("beat", _R, nullable=False),
    sa.Column("version", _T, nullable=False),
)
