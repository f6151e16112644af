"""A runtime without processes: a home, a ledger with a clock of ours, and a list as transport."""

from __future__ import annotations

import os
import time
from pathlib import Path

from acaflow import config
from acaflow.paths import Home
from acaflow.runtime.core import MemoryTransport, Runtime
from acaflow.runtime.ledger import Ledger
from acaflow.runtime.processes import Me


def open_in_memory(home: Home, ledger: Ledger) -> Runtime:
    """Give the runtime of one worker process, which the ledger knows to be alive."""
    me = Me.here("worker", "ingest", "ingest")
    runtime = Runtime(config.current(), home, ledger, MemoryTransport(), me)
    ledger.beat(me.row())
    return runtime


def drop(home: Home, name: str, content: bytes, age_s: float = 60.0) -> Path:
    """Put a file into the inbox that has not been written to for `age_s`."""
    path = home.inbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path
