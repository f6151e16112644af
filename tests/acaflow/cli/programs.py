"""``acaflow`` as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
PATH = os.pathsep.join([str(REPOSITORY / "shared"), str(REPOSITORY)])
"""Where Python finds acaflow and its services in a plain checkout."""


@dataclass(frozen=True)
class Answer:
    """What a command line did."""

    code: int
    out: str
    err: str


def python(
    arguments: Sequence[str | Path], cwd: Path | None = None, **environment: str
) -> subprocess.Popen[str]:
    """Start Python with acaflow on its path, its output piped, and nothing to read."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": PATH, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start(
    *arguments: str | Path, home: Path, cwd: Path | None = None, **environment: str
) -> subprocess.Popen[str]:
    """Start ``acaflow``."""
    return python(["-m", "acaflow", *arguments], cwd, ACAFLOW_HOME=str(home), **environment)


def end(process: subprocess.Popen[str], timeout_s: float = 120) -> Answer:
    """Wait for a process to end."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    finally:
        process.kill()
    assert "Traceback" not in out + err
    return Answer(process.returncode, out, err)


def call(*arguments: str | Path, home: Path, cwd: Path | None = None, **environment: str) -> Answer:
    """Run ``acaflow`` to its end."""
    return end(start(*arguments, home=home, cwd=cwd, **environment))
