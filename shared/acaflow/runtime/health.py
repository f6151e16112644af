"""Whether this host is fit to work, and whether each process gets on with it."""

from __future__ import annotations

import os
import shutil
from typing import Any

from sqlalchemy import text

from acaflow.errors import AcaflowError
from acaflow.runtime.core import Runtime

__all__ = ["WORKER_SILENT_S", "process_problem", "ready"]

WORKER_SILENT_S, RELAY_SILENT_S = 45.0, 30.0
STUCK_S = 120.0
LEAST_FREE = 0.1

_PROCESSES = text("SELECT name, kind, queues, beat FROM process ORDER BY beat DESC")
_STUCK = text("""
SELECT count(*) AS n FROM job WHERE queue = :queue AND state = 'waiting' AND sent_at IS NOT NULL
AND sent_at < :before AND not_before < :before
""")
_BUSY = text("SELECT id FROM job WHERE state = 'running' AND owner LIKE :name LIMIT 1")


def ready(runtime: Runtime) -> dict[str, str]:
    """Check what work needs; the value is the problem, empty if there is none."""
    return {
        "ledger": _problem(_check_ledger, runtime),
        "transport": "" if runtime.transport.depth("ingest") is not None else "Redis is silent",
        "archive": _problem(_check_writable, runtime),
        "disk": _problem(_check_disk, runtime),
    }


def _problem(check: Any, runtime: Runtime) -> str:
    try:
        return str(check(runtime))
    except (AcaflowError, OSError) as err:
        return str(err)


def _check_ledger(runtime: Runtime) -> str:
    runtime.ledger.check_schema()
    runtime.ledger.transact(lambda connection, now: now)
    return ""


def _check_writable(runtime: Runtime) -> str:
    folder = runtime.home.archive
    if runtime.me.kind == "web":  # which only reads it, perhaps from a read-only mount
        return "" if os.access(folder, os.R_OK) else f"{folder} cannot be read"
    return "" if os.access(folder, os.W_OK) else f"{folder} cannot be written"


def _check_disk(runtime: Runtime) -> str:
    usage = shutil.disk_usage(runtime.home.root)
    share = usage.free / usage.total
    return (
        "" if share >= LEAST_FREE else f"{share:.0%} of the disk is free, {LEAST_FREE:.0%} wanted"
    )


def process_problem(runtime: Runtime, kind: str, name: str = "") -> str:
    """Return what is wrong with the processes of a kind, empty if one of them is well.

    Parameters
    ----------
    kind : {'worker', 'relay', 'web'}
        What to look for.
    name : str
        Part of the process name (a host name, say); empty: any.

    Notes
    -----
    A worker is well if it has beaten within 45 s, and if it runs something or nothing has been
    waiting, sent, for its queues for two minutes.
    """
    now = runtime.ledger.now()
    known = runtime.ledger.read(_PROCESSES)
    found = [row for row in known if row["kind"] == kind and name in row["name"]]
    if not found:
        return f"no {kind} {name}".rstrip() + " is known to the ledger"
    newest = found[0]
    silent_s = now - newest["beat"]
    limit_s = WORKER_SILENT_S if kind == "worker" else RELAY_SILENT_S
    if silent_s > limit_s:
        return f"{newest['name']} has not beaten for {silent_s:.0f} s (limit {limit_s:.0f} s)"
    if kind != "worker" or runtime.ledger.read(_BUSY, name=f"{newest['name']}|%"):
        return ""
    for queue in newest["queues"].split(","):
        (stuck,) = runtime.ledger.read(_STUCK, queue=queue, before=now - STUCK_S)
        if stuck["n"]:
            return f"{newest['name']} runs nothing while {stuck['n']} jobs of {queue} wait for it"
    return ""
