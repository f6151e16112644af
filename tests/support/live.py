"""A home worked by real processes: Redis, a relay that watches, prefork workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import text

from acaflow import config
from acaflow.paths import Home
from acaflow.runtime import core, schema
from acaflow.runtime.ledger import Ledger
from acaflow.runtime.records import TERMINAL
from tests.support import servers
from tests.support.servers import wait_until
from tests.support.worker_main import FOLDER, gate, test_tasks

REPOSITORY = Path(__file__).parents[2]
READY_S = 20.0
MAIN = [sys.executable, "-m", "tests.support.worker_main"]
READY = {"relay": "watcher ready", "worker": "worker ready"}


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return the environment of a process of that home that runs from the source tree."""
    path = os.pathsep.join([str(REPOSITORY / "shared"), str(REPOSITORY)])
    settings = {"ACAFLOW_HOME": str(home), "ACAFLOW_LOG_FORMAT": "text", "PYTHONPATH": path}
    return {**os.environ, "PYTHONUNBUFFERED": "1", **settings, **more}


class Process:
    """One process in a session of its own; its output goes to a log file."""

    def __init__(self, argv: Sequence[str], log: Path, variables: dict[str, str]) -> None:
        self.argv, self.log, self.variables = argv, log, variables
        self.popen: subprocess.Popen[bytes] | None = None
        self._offset = 0

    def start(self) -> None:
        """Start it."""
        self._offset = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as out:
            self.popen = subprocess.Popen(
                self.argv, stdout=out, stderr=out, env=self.variables, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.popen is not None
        return self.popen.pid

    @property
    def alive(self) -> bool:
        """Tell whether it runs."""
        return self.popen is not None and self.popen.poll() is None

    def output(self) -> str:
        """Return what it has written since its last start."""
        return self.log.read_bytes()[self._offset :].decode(errors="replace")

    def wait_line(self, line: str, patience_s: float = READY_S) -> None:
        """Wait for a line of its output."""
        wait_until(
            lambda: line in self.output() or not self.alive, f"{line!r} in {self.log}", patience_s
        )
        assert line in self.output(), f"{self.argv} ended: {self.output()[-2000:]}"

    def kill(self) -> None:
        """SIGKILL the process alone, as a crash would; what it leaves behind is the point."""
        if self.popen is not None:
            self.popen.kill()
            self.popen.wait()

    def end(self, patience_s: float = 40.0) -> int:
        """SIGTERM and wait; return the exit status."""
        assert self.popen is not None
        self.popen.terminate()
        return self.popen.wait(patience_s)

    def sweep(self) -> None:
        """Leave nothing of its session behind."""
        if self.popen is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait()


@dataclass
class System:
    """A home with its ledger, a Redis, and the processes that a test starts."""

    runtime: core.Runtime
    redis: servers.Redis
    variables: dict[str, str]
    processes: list[Process] = field(default_factory=list)
    supervised: list[Process] = field(default_factory=list)

    @property
    def home(self) -> Home:
        """The folders."""
        return self.runtime.home

    # --- processes ---

    def start(self, kind: str, *, ready: bool = True, **variables: str) -> Process:
        """Start a relay (with watcher) or a worker with the test tasks."""
        log = self.home.root / f"{kind}.{len(self.processes)}.log"
        process = Process([*MAIN, kind], log, {**self.variables, **variables})
        self.processes.append(process)
        process.start()
        if ready:
            process.wait_line(READY[kind])
        return process

    def supervise(self, *processes: Process) -> None:
        """Start these again, while the test waits, whenever they end, as `acaflow up` does."""
        self.supervised += processes

    def wait_until(self, ready: Callable[[], bool], what: str, patience_s: float) -> None:
        """Wait, and keep the supervised processes alive."""

        def look() -> bool:
            for process in self.supervised:
                if not process.alive:
                    process.start()
            return ready()

        wait_until(look, what, patience_s)

    # --- the ledger ---

    def rows(self, statement: str, **values: Any) -> list[Any]:
        """Read from the ledger."""
        with self.runtime.ledger.look() as connection:
            return list(connection.execute(text(statement), values))

    def job(self, key: str) -> Any:
        """Return the job row of a test task."""
        (row,) = self.rows("SELECT * FROM job WHERE subject = :s", s=f"try:{key}")
        return row

    def outcomes(self, key: str) -> list[str]:
        """Return how the attempts of a test task ended."""
        query = "SELECT outcome FROM attempt WHERE job_id = :id ORDER BY n"
        return [row.outcome for row in self.rows(query, id=self.job(key).id)]

    def states(self, task: str) -> dict[str, int]:
        """Count the jobs of a task by state."""
        query = "SELECT state, count(*) AS n FROM job WHERE task = :task GROUP BY state"
        return {row.state: row.n for row in self.rows(query, task=task)}

    def wait_ended(self, task: str, number: int, patience_s: float) -> None:
        """Wait until `number` jobs of the task exist and every one has ended."""

        def ended() -> bool:
            states = self.states(task)
            return sum(states.values()) == number and set(states) <= set(TERMINAL)

        self.wait_until(ended, f"{number} jobs of {task} ended", patience_s)

    def wait_running(self, key: str, n: int = 1) -> Any:
        """Wait until attempt `n` of a test task runs; return the row."""

        def runs_now() -> bool:
            row = self.job(key)
            return bool(row.state == "running" and row.attempts == n)

        wait_until(runs_now, f"attempt {n} of {key} runs")
        return self.job(key)

    def let_go(self, key: str, n: int) -> None:
        """Let attempt `n` of a held test task go on."""
        gate(self.home.root, key, n).touch()

    def published(self, key: str) -> str:
        """Return what a test task published."""
        return (self.home.archive / FOLDER / f"{key}.txt").read_text(encoding="utf-8")

    def done_twice(self) -> list[Any]:
        """Return jobs with two good ends, and paths that were published twice."""
        return [
            *self.rows(
                "SELECT job_id FROM attempt WHERE outcome = 'ok' GROUP BY job_id"
                " HAVING count(*) > 1"
            ),
            *self.rows(
                "SELECT path FROM product WHERE role = 'out' GROUP BY path HAVING count(*) > 1"
            ),
        ]


@contextmanager
def open_system(root: Path, redis: servers.Redis, **variables: str) -> Iterator[System]:
    """Give a fresh home with an empty ledger on that Redis; end every process afterwards."""
    settings = config.use(config.load(home=root, redis_url=redis.url))
    Home(root).create()
    ledger = Ledger(settings.database_url)
    schema.upgrade(ledger)
    ledger.engine.dispose()
    runtime = core.open_runtime("test", settings)
    made = environment(root, ACAFLOW_REDIS_URL=redis.url, **variables)
    system = System(runtime, redis, made)
    with test_tasks():
        try:
            yield system
        finally:
            for process in system.processes:
                process.sweep()
            runtime.ledger.engine.dispose()


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    """An empty home on a Redis that keeps its data, as `acaflow up` starts it."""
    monkeypatch.setattr(config, "_current", None)
    durable = ("--appendonly", "yes", "--appendfsync", "everysec")
    with (
        servers.redis_server(*durable) as redis,
        open_system(tmp_path / "home", redis, ACAFLOW_SETTLE_S="1") as made,
    ):
        yield made


def processes_of(home: Path, marker: str) -> list[psutil.Process]:
    """Return the processes that have `marker` in their environment or work in that home."""
    found = []
    for process in psutil.process_iter():
        folder = Path(f"/proc/{process.pid}")
        try:
            # Redis writes its title over its environment, but works in its data folder.
            ours = marker in (folder / "environ").read_text(errors="replace")
            if ours or (folder / "cwd").readlink().is_relative_to(home):
                found.append(process)
        except OSError:
            continue
    return found


def steadily(condition: Callable[[], bool], seconds: float) -> bool:
    """Tell whether a condition holds all the time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not condition():
            return False
        time.sleep(0.02)
    return True


class Up(Process):
    """An ``acaflow up`` of a home that has nothing yet."""

    def __init__(self, home: Path, *options: str, **variables: str) -> None:
        home.mkdir(parents=True, exist_ok=True)
        # The marker finds whatever it leaves behind, in whichever session.
        self.marker = f"TEST_UP={home}"
        made = environment(home, TEST_UP=str(home), ACAFLOW_WEB_PORT="0", **variables)
        argv = [sys.executable, "-m", "acaflow", "up", *options]
        super().__init__(argv, home / "up.log", made)
        self.home = Home(home)

    def start(self) -> None:
        """Start it and wait until it says that it is up."""
        super().start()
        self.wait_line("acaflow is up", 2 * READY_S)

    def child(self, word: str) -> psutil.Process | None:
        """Return the supervised process whose command line has that word."""
        for process in psutil.Process(self.pid).children():
            try:
                if any(word in part for part in process.cmdline()):
                    return process
            except psutil.Error:
                continue
        return None

    def processes(self) -> list[psutil.Process]:
        """Return every process that belongs to it, orphans included."""
        return processes_of(self.home.root, self.marker)

    def sweep(self) -> None:
        """Leave nothing behind."""
        for process in self.processes():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        if self.popen is not None:
            self.popen.wait()
