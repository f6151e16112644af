"""``acaflow up`` on this host: start, idle memory and processor time; the cost of an import."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import psutil

from acaflow.paths import Home
from acaflow.runtime import supervise
from benchmarks.table import Row

IDLE_S = 20.0


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


@contextmanager
def running(home: Home) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``acaflow up`` on a home, with its own ledger and Redis; give it when it is ready."""
    environment = {**os.environ, "ACAFLOW_HOME": str(home.root), "ACAFLOW_WEB_PORT": "0"}
    for name in ("ACAFLOW_REDIS_URL", "ACAFLOW_LEDGER_URL"):
        environment.pop(name, None)
    log = home.root.with_name(f"{home.root.name}.log")
    started = time.perf_counter()
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "acaflow", "up"], stdout=out, stderr=out, env=environment
        )
    try:
        while (instance := supervise.running(home)) is None or not instance.url:
            if process.poll() is not None or time.perf_counter() - started > 30:
                raise RuntimeError(log.read_text())
            time.sleep(0.02)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def cases(folder: Path) -> Iterator[Row]:
    """Measure a start, twenty idle seconds, and a fresh import."""
    started = time.perf_counter()
    with running(Home(folder / "home")) as process:
        ready = time.perf_counter() - started
        yield Row("acaflow up: ready, new home", f"{ready:.1f} s", "", ready, 4, "<= 4 s")
        time.sleep(8)  # scheduled jobs of a new home
        members = family(process.pid)
        before = sum(sum(member.cpu_times()[:2]) for member in members)
        time.sleep(IDLE_S)
        share = 100 * (sum(sum(m.cpu_times()[:2]) for m in members) - before) / IDLE_S
        memory = sum(member.memory_full_info().pss for member in members) / 1e6
        count = len(members)
        yield Row(
            f"acaflow up: idle memory (PSS), {count} processes",
            f"{memory:.0f} MB",
            "",
            memory,
            450,
            "<= 450 MB",
        )
        yield Row("acaflow up: idle CPU, of one core", f"{share:.2f} %", "", share, 2, "<= 2 %")

    command = [sys.executable, "-c", "import time; t=time.perf_counter(); import acaflow;"]
    command[-1] += " print(time.perf_counter() - t)"
    spent = [float(subprocess.check_output(command)) * 1e3 for _ in range(5)]
    value = median(spent)
    yield Row("import acaflow", f"{value:.2f} ms", "", value, 50, "<= 50 ms")
