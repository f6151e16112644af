"""What a person does to jobs: submit, cancel, requeue, undo, raise, drop.

Each action is an event with the person's name; web, command line and tests use these functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import text

from acaflow.errors import InputError
from acaflow.runtime import messages, quarantine
from acaflow.runtime.core import Runtime
from acaflow.runtime.records import NewEvent

__all__ = ["Submitted", "cancel", "drop", "raise_priority", "requeue", "submit", "undo"]

UNDO_S = 10.0
"""A bulk requeue can be undone for so long."""

MORE_ATTEMPTS = 2

_CANCEL_WAITING = text("""
UPDATE job SET state = 'cancelled', finished_at = :now WHERE id = :id AND state = 'waiting'
RETURNING id
""")
_CANCEL_RUNNING = text("UPDATE job SET max_attempts = 0 WHERE id = :id AND state = 'running'")
_STATE = text("SELECT state FROM job WHERE id = :id")
_REQUEUE = text("""
UPDATE job SET state = 'waiting', max_attempts = attempts + :more, not_before = :not_before,
    sent_at = NULL, finished_at = NULL, batch_id = :batch
WHERE id = :id AND state = 'dead' RETURNING id
""")
_UNDO = text("""
UPDATE job SET state = 'dead', finished_at = :now
WHERE id = :id AND batch_id = :batch AND state = 'waiting' AND not_before > :now RETURNING id
""")
_DROP = text("""
UPDATE job SET state = 'cancelled', finished_at = :now WHERE id = :id AND state = 'dead'
RETURNING id
""")
_PRIORITY = text("""
UPDATE job SET priority = :priority, sent_at = NULL WHERE id = :id AND state = 'waiting'
RETURNING id
""")


@dataclass(frozen=True)
class Submitted:
    """A manual request: its event, its jobs, and whether it is new."""

    event_id: str
    job_ids: tuple[str, ...]
    is_new: bool


def submit(
    runtime: Runtime,
    task: str,
    values: Mapping[str, Any],
    user: str,
    source: str = "cli",
    *,
    force: bool = False,
    not_before: float | None = None,
) -> Submitted:
    """Queue one manual job; the same request again answers with the job that did or does it.

    Raises
    ------
    InputError
        Unknown task or wrong arguments.
    """
    delay_s = 0.0 if not_before is None else not_before - runtime.ledger.now()
    wanted = messages.manual_event(
        task,
        values,
        user,
        f"{source}:{user}",
        force=force,
        not_before=not_before,
        delay_s=delay_s,
    )
    recorded = runtime.record([wanted])
    event_id = recorded.new[0] if recorded.new else recorded.known[wanted.dedupe_key]
    jobs = runtime.ledger.jobs_of(event_id)
    if not jobs and wanted.jobs[0].coalesce_key:
        # The request joined a job that waits already.
        jobs = runtime.ledger.fresh_job(wanted.jobs[0].coalesce_key)
    return Submitted(event_id, tuple(row["id"] for row in jobs), bool(recorded.new))


def _act(
    runtime: Runtime,
    announce: NewEvent,
    statement: sa.TextClause,
    rows: Sequence[Mapping[str, Any]],
) -> list[str]:
    """Record the action and run its statement for each job, in one transaction."""

    def work(connection: sa.Connection, now: float) -> list[str]:
        runtime.ledger.record_within(connection, now, [announce])
        changed: list[str] = []
        for row in sorted(rows, key=lambda item: str(item["id"])):
            values = {**row, "now": now}
            if "delay_s" in values:
                values["not_before"] = now + values.pop("delay_s")
            changed += connection.execute(statement, values).scalars().all()
        return [str(item) for item in changed]

    return runtime.ledger.transact(work)


def cancel(runtime: Runtime, job_id: str, user: str, reason: str = "", source: str = "web") -> str:
    """Cancel a waiting job at once, a running one at its next checkpoint; return its state."""
    announce = messages.operator_event("cancel", (job_id,), user, f"{source}:{user}", reason)
    if _act(runtime, announce, _CANCEL_WAITING, [{"id": job_id}]):
        _file_away(runtime, job_id)
        return "cancelled"
    runtime.ledger.transact(lambda conn, _now: conn.execute(_CANCEL_RUNNING, {"id": job_id}))
    with runtime.ledger.look() as connection:
        return str(connection.scalar(_STATE, {"id": job_id}))


def _file_away(runtime: Runtime, job_id: str) -> None:
    found = runtime.ledger.delivery_of(job_id)
    if found is not None:
        quarantine.dispose(runtime, *found)


def requeue(
    runtime: Runtime,
    job_ids: Sequence[str],
    user: str,
    reason: str = "",
    delay_s: float = 0.0,
    source: str = "web",
) -> tuple[str, list[str]]:
    """Give dead jobs new attempts; attempt numbers go on, so old attempts stay fenced.

    Returns
    -------
    batch_id : str
        For `undo`.
    job_ids : list of str
        The jobs that wait again (those that were dead).
    """
    for job_id in job_ids:
        found = runtime.ledger.delivery_of(job_id)
        if found is not None:
            quarantine.restore(runtime.home, *found)
    announce = messages.operator_event("requeue", tuple(job_ids), user, f"{source}:{user}", reason)
    rows = [
        {"id": job_id, "more": MORE_ATTEMPTS, "delay_s": delay_s, "batch": announce.id}
        for job_id in job_ids
    ]
    return announce.id, _act(runtime, announce, _REQUEUE, rows)


def undo(runtime: Runtime, batch_id: str, user: str, source: str = "web") -> int:
    """Make the jobs of a requeue dead again, as far as none of them was due; count them."""
    ids = runtime.ledger.batch(batch_id)
    if not ids:
        raise InputError(f"no requeue {batch_id}, or nothing of it waits")
    announce = messages.operator_event("undo", tuple(ids), user, f"{source}:{user}")
    rows = [{"id": job_id, "batch": batch_id} for job_id in ids]
    changed = _act(runtime, announce, _UNDO, rows)
    for job_id in changed:
        _file_away(runtime, job_id)
    return len(changed)


def drop(
    runtime: Runtime, job_ids: Sequence[str], user: str, reason: str = "", source: str = "web"
) -> list[str]:
    """Take dead jobs off the list: they end cancelled; return those that were dead."""
    announce = messages.operator_event("drop", tuple(job_ids), user, f"{source}:{user}", reason)
    return _act(runtime, announce, _DROP, [{"id": job_id} for job_id in job_ids])


def raise_priority(runtime: Runtime, job_id: str, user: str, source: str = "web") -> bool:
    """Let a waiting job go before all others; tell whether it still waited."""
    announce = messages.operator_event("priority", (job_id,), user, f"{source}:{user}")
    row = {"id": job_id, "priority": messages.PERSON}
    return bool(_act(runtime, announce, _PRIORITY, [row]))
