"""What a person does to jobs: submit, cancel, requeue, undo, raise, drop.

Each action is an event with the person's name; web, command line and tests use these functions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import text

from acaflow.errors import InputError
from acaflow.runtime import messages, quarantine
from acaflow.runtime.core import Runtime

__all__ = ["Submitted", "cancel", "drop", "raise_priority", "requeue", "submit", "undo"]

UNDO_S = 10.0
"""A bulk requeue can be undone for so long."""

MORE_ATTEMPTS = 2

_CHANGES = {
    "cancel": """
        UPDATE job SET state = 'cancelled', finished_at = :now
        WHERE id = :id AND state = 'waiting' RETURNING id""",
    "requeue": """
        UPDATE job SET state = 'waiting', max_attempts = attempts + :more, sent_at = NULL,
            not_before = :now + :delay_s, finished_at = NULL, batch_id = :event
        WHERE id = :id AND state = 'dead' RETURNING id""",
    "undo": """
        UPDATE job SET state = 'dead', finished_at = :now
        WHERE id = :id AND batch_id = :batch AND state = 'waiting' AND not_before > :now
        RETURNING id""",
    "drop": """
        UPDATE job SET state = 'cancelled', finished_at = :now
        WHERE id = :id AND state = 'dead' RETURNING id""",
    "priority": """
        UPDATE job SET priority = :priority, sent_at = NULL
        WHERE id = :id AND state = 'waiting' RETURNING id""",
}
"""What each action does to a job that is in the right state; it returns those that were."""

_CANCEL_RUNNING = text("UPDATE job SET max_attempts = 0 WHERE id = :id AND state = 'running'")
_FRESH_JOB = text("""
SELECT id FROM job WHERE coalesce_key = :key AND state = 'waiting' AND attempts = 0
""")
_DELIVERY = text("SELECT event_id, args FROM job WHERE id = :id")
_BATCH = text("SELECT id FROM job WHERE batch_id = :batch AND state = 'waiting'")
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
    more: Any = {"force": force, "not_before": not_before, "delay_s": delay_s}
    wanted = messages.manual_event(task, values, user, f"{source}:{user}", **more)
    recorded = runtime.record([wanted])
    event_id = recorded.new[0] if recorded.new else recorded.known[wanted.dedupe_key]
    jobs = runtime.ledger.jobs_of(event_id)
    if not jobs and wanted.jobs[0].coalesce_key:
        # The request joined a job that waits already.
        jobs = runtime.ledger.read(_FRESH_JOB, key=wanted.jobs[0].coalesce_key)
    return Submitted(event_id, tuple(row["id"] for row in jobs), bool(recorded.new))


def _act(
    runtime: Runtime,
    action: str,
    job_ids: Sequence[str],
    user: str,
    source: str,
    reason: str = "",
    **values: Any,
) -> tuple[str, list[str]]:
    """Record an action and do it to each job, in one transaction; return event and changed jobs."""
    said = messages.operator_event(action, tuple(job_ids), user, f"{source}:{user}", reason)
    change = text(_CHANGES[action])

    def work(connection: sa.Connection, now: float) -> list[str]:
        runtime.ledger.record_within(connection, now, [said])
        changed: list[str] = []
        for job_id in sorted(job_ids):
            key = {**values, "id": job_id, "event": said.id, "now": now}
            changed += connection.execute(change, key).scalars()
        return changed

    return said.id, runtime.ledger.transact(work)


def cancel(runtime: Runtime, job_id: str, user: str, reason: str = "", source: str = "web") -> str:
    """Cancel a waiting job at once, a running one at its next checkpoint; return its state."""
    _, changed = _act(runtime, "cancel", [job_id], user, source, reason)
    if changed:
        quarantine.dispose(runtime, *_delivery(runtime, job_id))
        return "cancelled"
    runtime.ledger.write(_CANCEL_RUNNING, id=job_id)
    (found,) = runtime.ledger.read(_STATE, id=job_id)
    return str(found["state"])


def _delivery(runtime: Runtime, job_id: str) -> tuple[str, str]:
    """Return event id and home-relative path of the file that a job works on ('' for none)."""
    found = runtime.ledger.read(_DELIVERY, id=job_id)
    return (
        (found[0]["event_id"], json.loads(found[0]["args"]).get("path", "")) if found else ("", "")
    )


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
        quarantine.restore(runtime.home, *_delivery(runtime, job_id))
    return _act(
        runtime, "requeue", job_ids, user, source, reason, more=MORE_ATTEMPTS, delay_s=delay_s
    )


def undo(runtime: Runtime, batch_id: str, user: str, source: str = "web") -> int:
    """Make the jobs of a requeue dead again, as far as none of them was due; count them."""
    ids = [row["id"] for row in runtime.ledger.read(_BATCH, batch=batch_id)]
    if not ids:
        raise InputError(f"no requeue {batch_id}, or nothing of it waits")
    _, changed = _act(runtime, "undo", ids, user, source, batch=batch_id)
    for job_id in changed:
        quarantine.dispose(runtime, *_delivery(runtime, job_id))
    return len(changed)


def drop(
    runtime: Runtime, job_ids: Sequence[str], user: str, reason: str = "", source: str = "web"
) -> list[str]:
    """Take dead jobs off the list: they end cancelled; return those that were dead."""
    return _act(runtime, "drop", job_ids, user, source, reason)[1]


def raise_priority(runtime: Runtime, job_id: str, user: str, source: str = "web") -> bool:
    """Let a waiting job go before all others; tell whether it still waited."""
    _, changed = _act(runtime, "priority", [job_id], user, source, priority=messages.PERSON)
    return bool(changed)
