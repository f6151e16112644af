"""Named places where a test makes a process die or a disk fill: ``ACAFLOW_FAULT=<point>[:n]``.

The process ends by SIGKILL at the n-th pass of the point (default the first), or, for points
that begin with ``disk.``, the call fails once as on a full disk. Without the variable nothing
happens.
"""

from __future__ import annotations

import errno
import os
import signal

__all__ = ["fault"]

_passes = 0


def fault(point: str) -> None:
    """Die or fail here if ``ACAFLOW_FAULT`` says so."""
    global _passes
    wanted = os.environ.get("ACAFLOW_FAULT")
    if not wanted:
        return
    name, _, number = wanted.partition(":")
    if name != point:
        return
    _passes += 1
    if _passes != int(number or 1):
        return
    if point.startswith("disk."):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.kill(os.getpid(), signal.SIGKILL)
