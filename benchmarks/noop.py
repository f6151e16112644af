"""A process of the benchmarks: the real relay or worker, plus a task that does nothing.

``python -m benchmarks.noop worker|relay``; files named ``noop-*`` cause the ledgered task, and
``bench.bare`` is a plain Celery task in the same worker.
"""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from typing import Any

from acaflow import config
from acaflow.runtime import logs, messages

TASK = messages.Task("ingest.noop", "ingest", messages.FileArgs, "Do nothing", manual=False)


def register() -> None:
    """Add the no-op task, its event kind and its file name to the routing table."""
    messages.TASKS[TASK.name] = TASK
    # A child is replaced after 200 tasks, which costs the pool about a second: with tasks of a
    # millisecond that would hide what is compared here.
    messages.QUEUES["ingest"] = replace(messages.QUEUES["ingest"], max_tasks_per_child=1_000_000)
    kind = messages.EventKind("file.noop.arrived", messages.FileArgs, "watcher", (TASK.name,))
    messages.EVENTS[kind.kind] = kind
    rule: Any = (re.compile(r"noop-.*"), kind.kind, lambda name: (f"file:{name}", {}))
    messages.ARRIVALS = (*messages.ARRIVALS, rule)


def nothing(_ctx: Any, path: str, sha256: str, size: int) -> None:
    """Do nothing."""


def bare(job_id: str) -> str:
    """Do nothing, without the ledger."""
    return job_id


def main() -> int:
    """Run one process until it is told to stop."""
    register()
    settings = config.use(config.load())
    logs.configure("bench", "text")
    if sys.argv[1] == "relay":
        from acaflow.runtime.relay import run_relay

        run_relay(settings, watching=True)
        return 0
    from celery import shared_task

    from acaflow.runtime.queue import run_worker
    from acaflow.runtime.runs import bind

    bind(TASK.name, nothing)
    shared_task(name="bench.bare", ignore_result=True)(bare)
    return run_worker(settings, ["ingest"], 2)


if __name__ == "__main__":
    sys.exit(main())
