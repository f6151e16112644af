"""Work the ledger's jobs in this process: no Redis, no daemon, the same ledger and steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from acaflow.runtime import core, relay, runs
from acaflow.runtime.core import MemoryTransport, Runtime
from acaflow.runtime.messages import QUEUES

__all__ = ["Outcome", "run"]


@dataclass
class Outcome:
    """What a run did: answers of `run_job` by job id, and jobs that were put off."""

    ended: dict[str, str] = field(default_factory=dict)
    put_off: list[str] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Return how many jobs came to a good end."""
        return sum(word in ("ok", "skipped") for word in self.ended.values())


def run(runtime: Runtime, on_progress: Callable[[str, str], None] | None = None) -> Outcome:
    """Run every due job of the ledger, with all that follows, in order of priority.

    Coalesced jobs do not wait for their debounce: they run when nothing else is left. What a
    failure or a missing input puts off is listed and stays for the next run.

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
    runs.load_steps(list(QUEUES))
    core.use(runtime)
    keeper = relay.Relay(runtime)
    runtime.ledger.beat(runtime.me.row())
    try:
        keeper.return_lost()
        runtime.ledger.forget_hints()
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
            if not transport.hints and not runtime.ledger.hurry_coalesced():
                break
    finally:
        runtime.ledger.leave(runtime.me.name)
    outcome.put_off = [key for key, answer in outcome.ended.items() if answer == "retry"]
    return outcome
