"""Work the ledger's jobs in this process: no Redis, no daemon, the same ledger and steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import text

from acaflow.runtime import core, relay, runs
from acaflow.runtime.core import MemoryTransport, Runtime
from acaflow.runtime.messages import QUEUES

__all__ = ["Outcome", "run"]


_FORGET_HINTS = text("""
UPDATE job SET sent_at = NULL WHERE state = 'waiting' AND sent_at IS NOT NULL
""")
_HURRY = text("""
UPDATE job SET not_before = :now, sent_at = NULL WHERE coalesce_key IS NOT NULL
AND state = 'waiting' AND attempts = 0 AND not_before > :now RETURNING id
""")


@dataclass
class Outcome:
    """What a run did: the answer of `run_job` by job id."""

    ended: dict[str, str] = field(default_factory=dict)


def run(runtime: Runtime, on_progress: Callable[[str, str], None] | None = None) -> Outcome:
    """Run every due job of the ledger, with all that follows, in order of priority.

    Coalesced jobs do not wait for their debounce: they run when nothing else is left. What a
    failure or a missing input puts off stays for the next run.

    Parameters
    ----------
    runtime : Runtime
        With a `MemoryTransport`.
    on_progress : callable, optional
        Called with job id and answer after each job.
    """
    if not isinstance(runtime.transport, MemoryTransport):
        raise TypeError("a run in one process needs a MemoryTransport")
    transport = runtime.transport
    outcome = Outcome()
    runs.load_steps(QUEUES)
    core.use(runtime)
    keeper = relay.Relay(runtime)
    runtime.ledger.beat(runtime.me.row())
    try:
        keeper.return_lost()
        keeper.look_for_notes()
        runtime.ledger.write(_FORGET_HINTS)  # whoever held the hints is gone
        while True:
            while transport.hints:
                hint = transport.hints.pop(0)
                answer = runs.run_job(hint.job_id, runs.step_of(hint.task))
                if answer != "duplicate":
                    outcome.ended[hint.job_id] = answer
                if on_progress is not None:
                    on_progress(hint.job_id, answer)
            keeper.beat()
            keeper.send_due()
            if not transport.hints and not runtime.ledger.write(_HURRY):
                break
    finally:
        runtime.ledger.leave(runtime.me.name)
    return outcome
