"""What every process of the runtime holds: settings, folders, ledger, and a way to send hints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from acaflow import config
from acaflow.errors import PipelineError
from acaflow.paths import Home
from acaflow.runtime.faults import fault
from acaflow.runtime.ledger import Ledger
from acaflow.runtime.processes import Me
from acaflow.runtime.records import Hint, NewEvent, Recorded

__all__ = ["FULL", "MemoryTransport", "Runtime", "Transport", "current", "open_runtime", "use"]


FULL = 2000
"""Messages per queue; more stay in the ledger until the relay sees room."""


class Transport(Protocol):
    """Carries hints to workers; may lose, repeat and reorder them."""

    def send(self, hints: Sequence[Hint]) -> int:
        """Send what can be sent, never raise, and return how many went out."""

    def depth(self, queue: str) -> int | None:
        """Return the number of messages that wait, None if nobody knows."""

    def has_room(self, queue: str) -> bool:
        """Tell whether another message should be sent now (looked up once a second)."""


class MemoryTransport:
    """A list, for tests and for a run in one process."""

    def __init__(self) -> None:
        self.hints: list[Hint] = []

    def send(self, hints: Sequence[Hint]) -> int:
        """Append the hints, the best priority first."""
        self.hints = sorted([*self.hints, *hints], key=lambda hint: hint.priority)
        return len(hints)

    def depth(self, queue: str) -> int:
        """Count the hints of a queue."""
        return sum(hint.queue == queue for hint in self.hints)

    def has_room(self, queue: str) -> bool:
        """Say yes: memory is not the limit here."""
        return True


@dataclass
class Runtime:
    """What every process of the runtime holds: settings, folders, ledger, transport, itself."""

    settings: config.Settings
    home: Home
    ledger: Ledger
    transport: Transport
    me: Me

    def record(self, events: Sequence[NewEvent]) -> Recorded:
        """Record events and send the hints of their jobs."""
        recorded = self.ledger.record(events)
        fault("record.committed")
        self.transport.send(recorded.hints)
        return recorded


def open_runtime(
    kind: str = "web",
    settings: config.Settings | None = None,
    transport: Transport | None = None,
    *,
    label: str = "",
    queues: str = "",
) -> Runtime:
    """Open home and ledger for a process of the given kind.

    Raises
    ------
    ConfigError
        The home cannot be written, or the ledger is absent, of another version or unreachable.
    """
    settings = settings or config.current()
    home = Home(settings.home)
    home.create()
    if transport is None:
        from acaflow.runtime.queue import CeleryTransport, make_app

        transport = CeleryTransport(make_app(settings))
    ledger = Ledger(settings.database_url, settings.sqlite_synchronous, has_room=transport.has_room)
    ledger.check_schema()
    return Runtime(settings, home, ledger, transport, Me.here(kind, label or kind, queues))


_runtime: Runtime | None = None


def use(runtime: Runtime | None) -> None:
    """Make `runtime` the one that `run_job` works with in this process."""
    global _runtime
    _runtime = runtime


def current() -> Runtime:
    """Return the runtime of this process."""
    if _runtime is None:
        raise PipelineError("no runtime is open in this process")
    return _runtime
