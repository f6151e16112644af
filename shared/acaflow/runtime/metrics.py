"""Prometheus text of what the ledger knows, computed when asked: no counters in processes.

Totals of events and outcomes are those of the last 24 hours; everything else is the present
state. So any number of web processes give the same answer, and a restart loses nothing.

Each count is a range of an index, so that history costs nothing: a day of half a million events
takes less than a tenth of a second.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from sqlalchemy import text

from acaflow.runtime.core import Runtime
from acaflow.runtime.messages import ARRIVAL, DERIVED, HOUSEKEEPING, PERSON, QUEUES

__all__ = ["render"]

DAY_S = 86400.0

# In the words of the indexes job_release, job_sent and job_ended.
_UNSENT = "FROM job WHERE queue = :queue AND state = 'waiting' AND sent_at IS NULL"
_SENT = "FROM job WHERE queue = :queue AND state = 'waiting' AND sent_at > 0"
_ENDED = "FROM job WHERE queue = :queue AND finished_at IS NOT NULL AND finished_at > :day"
_KINDS = """
WITH RECURSIVE known (kind) AS (
    SELECT min(kind) FROM event
    UNION ALL
    SELECT (SELECT min(e.kind) FROM event AS e WHERE e.kind > known.kind) FROM known
    WHERE known.kind IS NOT NULL
)
SELECT kind, (SELECT count(*) FROM event AS e WHERE e.kind = known.kind AND e.recorded_at > :day)
FROM known WHERE kind IS NOT NULL
"""
_FIRST_DUE = " UNION ALL ".join(
    f"SELECT min(not_before) AS first {which} AND not_before <= :now"
    for which in (
        *(f"{_UNSENT} AND priority = {n}" for n in (PERSON, ARRIVAL, DERIVED, HOUSEKEEPING)),
        _SENT,
    )
)

_GAUGES: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("acaflow_events", "events recorded in 24 h", ("kind",), _KINDS),
    (
        "acaflow_jobs_ended",
        "jobs ended in 24 h",
        ("queue", "state"),
        f"SELECT queue, 'done', count(*) {_ENDED} AND state = 'done' GROUP BY queue UNION ALL"
        f" SELECT queue, state, count(*) {_ENDED} AND state <> 'done' GROUP BY queue, state",
    ),
    (
        "acaflow_jobs_waiting",
        "jobs that wait",
        ("queue",),
        f"SELECT :queue, (SELECT count(*) {_UNSENT}) + (SELECT count(*) {_SENT})",
    ),
    (
        "acaflow_jobs_running",
        "jobs that run",
        ("queue",),
        "SELECT queue, count(*) FROM job WHERE state = 'running' GROUP BY queue",
    ),
    (
        "acaflow_dead_jobs",
        "dead jobs",
        ("queue", "error_class"),
        "SELECT queue, coalesce(error_class, ''), count(*) FROM job WHERE state = 'dead'"
        " GROUP BY queue, error_class",
    ),
    (
        "acaflow_oldest_due_job_seconds",
        "age of the oldest job that could run and does not",
        ("queue",),
        f"SELECT :queue, :now - min(first) FROM ({_FIRST_DUE}) AS due",
    ),
    (
        "acaflow_jobs_resent",
        "waiting jobs whose hint was sent more than once",
        ("queue",),
        f"SELECT queue, count(*) {_SENT} AND sends > 1 GROUP BY queue",
    ),
    (
        "acaflow_process_last_beat_seconds",
        "seconds since a process has shown life",
        ("process",),
        "SELECT name, :now - beat FROM process",
    ),
)


def render(runtime: Runtime) -> bytes:
    """Return the metrics page."""
    registry = CollectorRegistry()
    now = runtime.ledger.now()
    times = {"now": now, "day": now - DAY_S}
    with runtime.ledger.look() as connection:
        for name, meaning, labels, statement in _GAUGES:
            gauge = Gauge(name, meaning, labels, registry=registry)
            for queue in QUEUES if ":queue" in statement else ("",):
                for row in connection.execute(text(statement), {**times, "queue": queue}):
                    if row[-1] is not None:
                        gauge.labels(*(str(value) for value in row[:-1])).set(float(row[-1]))
    messages = Gauge("acaflow_queue_messages", "messages in Redis", ("queue",), registry=registry)
    for queue in QUEUES:
        depth = runtime.transport.depth(queue)
        if depth is not None:
            messages.labels(queue).set(depth)
    return bytes(generate_latest(registry))
