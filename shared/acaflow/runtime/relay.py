"""What keeps jobs moving: lost ones back, due ones sent, the schedule fired, old rows pruned.

Each duty is one function of a short transaction of its own; each of its changes is conditional,
so a second relay is harmless and nobody is elected.
"""

from __future__ import annotations

import logging
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import sqlalchemy as sa
from sqlalchemy import text

from acaflow import config
from acaflow.errors import AcaflowError, LeaseLostError
from acaflow.runtime import core, messages, quarantine, runs
from acaflow.runtime.processes import host_id, is_alive
from acaflow.runtime.records import CLAIMED, Claim
from acaflow.runtime.watch import Watcher

__all__ = ["Relay", "run_relay"]

log = logging.getLogger(__name__)

TICK_S = 1.0
BEAT_S = 10.0
SILENT_S = 60.0
"""A worker on another host that has not beaten for so long is gone."""

GRACE_S = 60.0
"""Added to the hard limit of a queue before a running job counts as lost."""

PRUNE_S = 3600.0
PRUNE_BATCH = 1000

_RUNNING = text(f"SELECT {CLAIMED} FROM job WHERE state = 'running'")
_PROCESS = text("SELECT name, host, pid, pid_start, beat FROM process")
_PRUNABLE = text("""
SELECT id, event_id AS event FROM job WHERE queue = :queue AND finished_at IS NOT NULL
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
"""Event and job rows stay for ever: they are the dedupe and the permalinks."""


class Relay:
    """The duties of the relay process.

    Parameters
    ----------
    runtime : Runtime
        Ledger and transport.
    clock : callable, optional
        Epoch seconds for the schedule; tests replace it.
    """

    def __init__(self, runtime: core.Runtime, clock: Callable[[], float] = time.time) -> None:
        self.runtime = runtime
        self.clock = clock
        self._ticked: dict[str, int] = {}
        self._next_beat = self._next_look = self._next_prune = 0.0
        self.stop = threading.Event()

    def run(self, *, only_beat: bool = False) -> None:
        """Tick once a second until `stop` is set; a watcher alone only shows that it lives."""
        log.info("beating" if only_beat else "relay ready")
        while not self.stop.wait(TICK_S):
            if only_beat:
                self._guarded(self.beat)
            else:
                self.tick()
        self._guarded(self.leave)

    def leave(self) -> None:
        """Forget this process in the ledger."""
        self.runtime.ledger.leave(self.runtime.me.name)

    def tick(self) -> None:
        """Do each duty once; a failing one is logged and does not stop the others."""
        for duty in (
            self.beat,
            self.return_lost,
            self.send_due,
            self.fire_schedule,
            self.look_for_notes,
            self.prune,
        ):
            self._guarded(duty)

    def _guarded(self, duty: Callable[[], Any]) -> None:
        try:
            duty()
        except (AcaflowError, OSError) as err:
            log.warning("relay: %s: %s", duty.__name__, err)
        except Exception:
            log.exception("relay: %s", duty.__name__)

    def beat(self) -> None:
        """Show that the relay lives."""
        if time.monotonic() >= self._next_beat:
            self.runtime.ledger.beat(self.runtime.me.row())
            self._next_beat = time.monotonic() + BEAT_S

    # --- (a) lost jobs ---

    def return_lost(self) -> int:
        """Give back jobs whose process is gone; return how many."""
        ledger = self.runtime.ledger
        running = [Claim.of(row) for row in ledger.read(_RUNNING)]
        if not running:
            return 0
        processes = {row["name"]: row for row in ledger.read(_PROCESS)}
        now = ledger.now()
        count = 0
        for claim in running:
            cause = _loss(claim, processes.get(claim.owner.split("|")[0]), now)
            if cause is not None:
                count += self._give_back(claim, cause)
        return count

    def _give_back(self, claim: Claim, cause: str) -> int:
        result = runs.judge_loss(self.runtime, claim, cause)
        try:
            hints = self.runtime.ledger.finish(claim, result)
        except LeaseLostError:
            return 0  # it ended in between: its own word counts
        log.warning("job %s, attempt %d: %s; now %s", claim.job_id, claim.n, cause, result.state)
        self.runtime.transport.send(hints)
        if result.state != "waiting":
            quarantine.dispose(self.runtime, claim.event_id, claim.args.get("path", ""))
        return 1

    # --- (b) due jobs, (c) lost messages ---

    def send_due(self) -> int:
        """Send what is due and has no hint, and what was sent and never answered."""
        sent = 0
        for queue in messages.QUEUES:
            depth = self.runtime.transport.depth(queue)
            if depth is None:
                continue  # no transport: the hints would be lost again
            hints = self.runtime.ledger.release(queue, core.FULL - depth)
            hints += self.runtime.ledger.resend(queue, core.FULL - depth - len(hints), depth == 0)
            sent += self.runtime.transport.send(hints)
        return sent

    # --- (d) schedule ---

    def fire_schedule(self) -> None:
        """Record the tick of each entry whose slot has come; only the latest missed one."""
        for name, period_s in messages.SCHEDULE.items():
            slot = int(self.clock() // period_s)
            if self._ticked.get(name) != slot:
                self.runtime.record([messages.tick_event(name, slot)])
                self._ticked[name] = slot

    # --- (e) notes of readers ---

    def look_for_notes(self) -> None:
        """Record what readers without a ledger have left beside products."""
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + BEAT_S
            record_notes(self.runtime)

    # --- (f) housekeeping ---

    def prune(self) -> None:
        """Hourly: drop what retention does not keep, and staged files of ended attempts."""
        if time.monotonic() < self._next_prune:
            return
        self._next_prune = time.monotonic() + PRUNE_S
        self.prune_ledger()
        sweep_work(self.runtime)

    def prune_ledger(self) -> int:
        """Prune ended jobs beyond retention, with their logs; return how many."""
        ledger = self.runtime.ledger
        before = ledger.now() - 86400.0 * self.runtime.settings.retention_days
        total = 0

        def drop(connection: sa.Connection, _now: float) -> list[str]:
            logs: list[str] = []
            for job in jobs:
                logs += connection.execute(_LOGS_OF, job).scalars()
                for statement in _PRUNE:
                    connection.execute(statement, job)
            return logs

        for queue in messages.QUEUES:
            key = {"queue": queue, "before": before, "batch": PRUNE_BATCH}
            while jobs := ledger.read(_PRUNABLE, **key):
                for path in ledger.transact(drop):
                    (self.runtime.home.root / path).unlink(missing_ok=True)
                total += len(jobs)
        return total


def _loss(claim: Claim, process: Any, now: float) -> str | None:
    """Tell how a running job was lost, None if it was not."""
    if now > claim.started_at + messages.QUEUES[claim.queue].hard_s + GRACE_S:
        return "Timeout"
    _, pid, start = claim.owner.split("|")
    if process is None or process["pid_start"] > float(start) + 0.05:
        # A worker that ended in order forgets itself; a container that was started again may
        # have the name and pid of the one before. Whatever they left running is lost.
        return "WorkerGone"
    if process["host"] != host_id():
        return "WorkerGone" if now - process["beat"] > SILENT_S else None
    if is_alive(int(pid), float(start)):
        return None
    return "ProcessDied" if is_alive(process["pid"], process["pid_start"]) else "WorkerGone"


def record_notes(runtime: core.Runtime) -> None:
    """Record an event for each note (`messages.NOTES`); one that was recorded changes nothing."""
    root = runtime.home.root
    for pattern, kind, describe in messages.NOTES:
        for path in root.glob(pattern):
            subject, payload = describe(PurePosixPath(path.relative_to(root)))
            identity = f"{path.stat().st_mtime_ns}|{path.read_text(errors='replace')}"
            event = messages.new_event(kind, subject, payload, "note", identity)
            runtime.record([event])


def sweep_work(runtime: core.Runtime) -> int:
    """Remove the staging folders of attempts that no longer run."""
    running = {f"{row['job_id']}.{row['n']}" for row in runtime.ledger.read(_RUNNING)}
    count = 0
    for folder in runtime.home.work.iterdir():
        old = folder.stat().st_mtime < time.time() - GRACE_S
        if folder.name not in running and old and "." in folder.name:
            shutil.rmtree(folder, ignore_errors=True)
            count += 1
    return count


def _watch(runtime: core.Runtime, stop: threading.Event) -> None:
    """Watch until `stop` is set; whatever ends the watcher ends the process."""
    try:
        watcher = Watcher(runtime)
        watcher.stop = stop
        watcher.run()
    finally:
        stop.set()


def run_relay(settings: config.Settings, *, relaying: bool = True, watching: bool = False) -> int:
    """Run the relay, the watcher, or both in one process until SIGTERM or Ctrl-C.

    Returns
    -------
    int
        0 if told to stop; 1 if a part ended by itself, which ends the others too.
    """
    runtime = core.open_runtime("relay" if relaying else "watcher", settings)
    relay = Relay(runtime)
    told = threading.Event()

    def on_signal(_number: int, _frame: Any) -> None:
        told.set()
        relay.stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    watcher = threading.Thread(target=_watch, args=(runtime, relay.stop), daemon=True)
    if watching:
        watcher.start()
    relay.run(only_beat=not relaying)
    if watching:
        watcher.join()
    if not told.is_set():
        log.error("the watcher ended by itself")
    return 0 if told.is_set() else 1
