"""Prometheus text of what the ledger knows, computed when asked: no counters in processes.

Totals of events and outcomes are those of the last 24 hours; everything else is the present
state. So any number of web processes give the same answer, and a restart loses nothing.
"""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from sqlalchemy import text

from acaflow.runtime.core import Runtime
from acaflow.runtime.messages import QUEUES

__all__ = ["render"]

DAY_S = 86400.0

_GAUGES: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    (
        "acaflow_events",
        "events recorded in 24 h",
        ("kind",),
        "SELECT kind, count(*) FROM event WHERE recorded_at > :day GROUP BY kind",
    ),
    (
        "acaflow_jobs_ended",
        "jobs ended in 24 h",
        ("queue", "state"),
        "SELECT queue, state, count(*) FROM job WHERE finished_at IS NOT NULL AND"
        " finished_at > :day AND queue = :queue GROUP BY queue, state",
    ),
    (
        "acaflow_jobs_waiting",
        "jobs that wait",
        ("queue",),
        "SELECT queue, count(*) FROM job WHERE state = 'waiting' AND queue = :queue GROUP BY queue",
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
        "SELECT queue, :now - min(not_before) FROM job WHERE state = 'waiting'"
        " AND not_before <= :now AND queue = :queue GROUP BY queue",
    ),
    (
        "acaflow_jobs_resent",
        "waiting jobs whose hint was sent more than once",
        ("queue",),
        "SELECT queue, count(*) FROM job WHERE state = 'waiting' AND sent_at IS NOT NULL"
        " AND sends > 1 AND queue = :queue GROUP BY queue",
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
    with runtime.ledger.look() as connection:
        for name, meaning, labels, statement in _GAUGES:
            gauge = Gauge(name, meaning, labels, registry=registry)
            for row in _rows(connection, statement, now):
                gauge.labels(*(str(value) for value in row[:-1])).set(float(row[-1]))
    messages = Gauge("acaflow_queue_messages", "messages in Redis", ("queue",), registry=registry)
    for queue in QUEUES:
        depth = runtime.transport.depth(queue)
        if depth is not None:
            messages.labels(queue).set(depth)
    return bytes(generate_latest(registry))


def _rows(connection: Any, statement: str, now: float) -> list[Any]:
    times = {"now": now, "day": now - DAY_S}
    used = {key: value for key, value in times.items() if f":{key}" in statement}
    if ":queue" not in statement:
        return list(connection.execute(text(statement), used))
    return [
        row
        for queue in QUEUES
        for row in connection.execute(text(statement), {**used, "queue": queue})
    ]
