"""Who a process is, and whether it still lives.

A pid means something on one host and in one pid namespace only, and only together with its start
time; the start is counted from boot, so that a step of the clock does not change it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from acaflow import __version__

__all__ = ["Me", "die_with_parent", "host_id", "is_alive", "pid_start"]

_PR_SET_PDEATHSIG = 1


@cache
def host_id() -> str:
    """Return the host name with its pid namespace: where pids of ours can be compared."""
    try:
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        namespace = 0
    return f"{socket.gethostname()}/{namespace}"


def pid_start(pid: int) -> float | None:
    """Return when a process started (s after boot), None if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        after_name = fields.rpartition(")")[2].split()
        if after_name[0] in "ZX":
            return None
        return int(after_name[19]) / os.sysconf("SC_CLK_TCK")
    except FileNotFoundError:
        pass
    except (OSError, IndexError, ValueError):
        return None
    if Path("/proc/self/stat").exists():
        return None
    try:  # no /proc: macOS
        return float(psutil.Process(pid).create_time() - psutil.boot_time())
    except psutil.Error:
        return None


def is_alive(pid: int, start: float) -> bool:
    """Tell whether the process that started then still runs (zombies do not)."""
    found = pid_start(pid)
    return found is not None and abs(found - start) < 0.05


@dataclass(frozen=True)
class Me:
    """A process as the ledger's ``process`` table and ``job.owner`` name it.

    Attributes
    ----------
    name : str
        ``kind@host:pid`` of the process that beats; children of a worker share it.
    """

    name: str
    kind: str
    queues: str

    @classmethod
    def here(cls, kind: str, label: str, queues: str = "") -> Me:
        """Describe the calling process."""
        return cls(f"{label}@{socket.gethostname()}:{os.getpid()}", kind, queues)

    def row(self) -> dict[str, Any]:
        """Return the row that a beat writes."""
        return {
            "name": self.name,
            "kind": self.kind,
            "queues": self.queues,
            "host": host_id(),
            "pid": os.getpid(),
            "pid_start": pid_start(os.getpid()),
            "version": __version__,
        }

    def owner(self) -> str:
        """Return the mark that a claim leaves: who beats, and the pid that works."""
        return f"{self.name}|{_pid_and_start(os.getpid())}"


@cache
def _pid_and_start(pid: int) -> str:
    return f"{pid}|{pid_start(pid)}"


def die_with_parent(signal_number: int = signal.SIGTERM, parent: int | None = None) -> None:
    """Have the kernel signal this process when the thread that forked it ends (Linux).

    Parameters
    ----------
    signal_number : int
        What to send.
    parent : int, optional
        Expected parent pid; if it is gone already, end at once.
    """
    try:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    except (OSError, AttributeError):
        return
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal_number)
