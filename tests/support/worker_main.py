"""A relay or worker with tasks for tests: ``python -m tests.support.worker_main worker|relay``.

Their steps do what a test asks for: wait, write, raise, or kill their own process.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded

from acaflow import config
from acaflow.runtime import logs, messages, queue, relay, runs
from acaflow.runtime.records import NewEvent, NewJob
from acaflow.runtime.runs import Context

FOLDER = "try"
"""Archive folder of what the tasks publish."""


@dataclass(frozen=True)
class TryArgs:
    """What the step does: sleep `seconds`, wait for a file if `held`, publish ``<key>.txt``."""

    key: str
    seconds: float = 0.0
    held: bool = False


@dataclass(frozen=True)
class LimitedArgs:
    """Whether the step ignores its soft time limit."""

    key: str
    deaf: bool = False


TASK = messages.Task("ingest.try", "ingest", TryArgs, "Publish a small file, for tests")
LIMITED = messages.Task(
    "ingest.try_limited", "ingest", LimitedArgs, "Run too long, for tests", soft_s=1, hard_s=2
)


def try_step(ctx: Context, key: str, seconds: float, held: bool) -> None:
    """Publish a file that tells which attempt wrote it."""
    if held:
        # The test lets each attempt go by itself.
        go = gate(ctx.home.root, key, ctx.claim.n)
        while not go.exists():
            time.sleep(0.01)
    time.sleep(seconds)
    staged = ctx.stage(f"{key}.txt")
    staged.write_text(f"{key} attempt {ctx.claim.n}", encoding="utf-8")
    target = ctx.home.archive / FOLDER / staged.name
    ctx.fence(f"{FOLDER}:{key}")
    ctx.place(staged, target)
    ctx.publish("try", target)


def limited_step(ctx: Context, key: str, deaf: bool) -> None:
    """Run until a limit ends it."""
    while True:
        try:
            time.sleep(60.0)
        except SoftTimeLimitExceeded:
            if not deaf:
                raise


def gate(home: Path, key: str, n: int) -> Path:
    """Return the file whose appearance lets attempt `n` of a held job go on."""
    return home / f"go.{key}.{n}"


def try_event(key: str, task: messages.Task = TASK, **args: Any) -> NewEvent:
    """Make the event of one such job."""
    job = NewJob(task.name, "ingest", {"key": key, **args}, f"try:{key}", 3)
    return NewEvent("try.wanted", 1, f"try|{key}", f"try:{key}", {}, "test", [job])


@contextmanager
def test_tasks() -> Iterator[None]:
    """Know the tasks of this module."""
    ours = {task.name: task for task in (TASK, LIMITED)}
    messages.TASKS.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del messages.TASKS[name]


test_tasks.__test__ = False  # type: ignore[attr-defined]


def main(kind: str) -> int:
    """Run one process until it is told to stop."""
    settings = config.current()
    logs.configure(kind, settings.log_format)
    with test_tasks():
        if kind == "relay":
            relay.run_relay(settings, watching=True)
            return 0
        runs.bind(TASK.name, try_step)
        runs.bind(LIMITED.name, limited_step)
        return queue.run_worker(settings, ["ingest"], int(os.environ.get("TRY_CONCURRENCY", "2")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
