"""``acaflow up``: Redis, ledger, relay with watcher, workers and web on one host.

One parent, one child per service, each in its own process group and told by the kernel when the
parent dies; a child that ends is started again after 1, 2, 4 … 30 s. The parent holds a lock for
its whole life, so that a home has one set of processes.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil

from acaflow import config, storage
from acaflow.errors import AcaflowError, ConfigError
from acaflow.paths import Home
from acaflow.runtime import messages, redis_server, schema
from acaflow.runtime.ledger import Ledger
from acaflow.runtime.processes import die_with_parent, is_alive, pid_start

__all__ = ["Instance", "gunicorn_command", "running", "up"]

log = logging.getLogger(__name__)

READY_S, STOP_S, REDIS_STOP_S = 20.0, 35.0, 5.0
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
HEALTHY_S = 60.0
"""A child that lived so long starts again without a pause."""

SMALL_HOST_CORES, SMALL_HOST_BYTES = 4, 8 << 30


@dataclass(frozen=True)
class Instance:
    """A running ``acaflow up``."""

    pid: int
    url: str
    redis_url: str


@dataclass
class Child:
    """One supervised process."""

    name: str
    command: Sequence[str]
    ready: str
    environment: dict[str, str]
    log_path: Path
    log_start: int = 0
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    restart_at: float | None = None

    def start(self) -> None:
        """Start the process; its output goes to its log file."""
        parent = os.getpid()

        def prepare() -> None:
            die_with_parent(signal.SIGTERM, parent)

        with self.log_path.open("ab") as out:
            self.log_start = out.tell()
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **self.environment},
                start_new_session=True,
                preexec_fn=prepare,
            )
        self.started = time.monotonic()
        self.restart_at = None

    @property
    def alive(self) -> bool:
        """Tell whether the process runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def is_ready(self) -> bool:
        """Tell whether it has written its readiness line."""
        with self.log_path.open("rb") as stream:
            stream.seek(self.log_start)
            return self.ready.encode() in stream.read()

    def signal(self, number: int) -> None:
        """Send a signal to the process alone; it tells its own children."""
        if self.process is not None and self.alive:
            self.process.send_signal(number)

    def kill_group(self) -> None:
        """Leave nothing of the process and its descendants."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)


def gunicorn_command(host: str, port: int) -> list[str]:
    """Return the command of the web server."""
    return [
        *(sys.executable, "-m", "gunicorn", "services.web:create_app()"),
        *("--bind", f"{host}:{port}"),
        *("--workers", "1", "--worker-class", "gthread", "--threads", "8"),
        *("--timeout", "30", "--graceful-timeout", "10"),
        *("--max-requests", "2000", "--max-requests-jitter", "200"),
        *("--worker-tmp-dir", tempfile.gettempdir()),
        "--no-control-socket",
    ]


def worker_groups(*, solo: bool = False, spread: bool = False) -> list[list[str]]:
    """Return the queues of each worker process: few on a small host, one each on a bigger one."""
    present = messages.with_tasks(messages.QUEUES)
    small = (os.cpu_count() or 1) <= SMALL_HOST_CORES
    small |= psutil.virtual_memory().total <= SMALL_HOST_BYTES
    if solo:
        return [present]
    if spread or not small:
        return [[name] for name in present]
    shared = [name for name in present if name != "missions"]
    return [group for group in (shared, [n for n in present if n == "missions"]) if group]


def running(home: Home) -> Instance | None:
    """Return the instance that holds the lock of this home, None if nobody does."""
    path = home.run / "acaflow.lock"
    if not path.exists():
        return None
    with path.open() as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = stream.read()
            return Instance(**json.loads(text)) if text else Instance(0, "", "")
    return None


# --- up ---


@dataclass
class Supervisor:
    """The parent of all processes of a home."""

    settings: config.Settings
    home: Home
    children: list[Child] = field(default_factory=list)
    stopping: int = 0

    def environment(self, redis_url: str) -> dict[str, str]:
        """Return what every child is told beyond the parent's environment."""
        return {
            "ACAFLOW_HOME": str(self.home.root),
            "ACAFLOW_REDIS_URL": redis_url,
            "ACAFLOW_LOG_FORMAT": "text",
            "PYTHONUNBUFFERED": "1",
        }

    def add(self, name: str, command: Sequence[str], ready: str, redis_url: str) -> Child:
        """Start a child and remember it, also on disk for the next start."""
        child = Child(
            name, command, ready, self.environment(redis_url), self.home.logs / f"{name}.log"
        )
        child.start()
        self.children.append(child)
        self.write_pids()
        return child

    def write_pids(self) -> None:
        """Write down who was started, so that the next start can sweep."""
        pids = [
            [child.process.pid, pid_start(child.process.pid)]
            for child in self.children
            if child.process is not None
        ]
        storage.write_text(self.home.run / "pids.json", json.dumps(pids))

    def wait_ready(self) -> None:
        """Wait until every child has written its readiness line."""
        deadline = time.monotonic() + READY_S
        waiting = list(self.children)
        while waiting and not self.stopping:
            waiting = [child for child in waiting if not child.is_ready]
            for child in waiting:
                if not child.alive:
                    raise AcaflowError(
                        f"{child.name} ended before it was ready: {_last_line(child.log_path)};"
                        f" its log is {child.log_path}"
                    )
            if time.monotonic() > deadline:
                names = ", ".join(child.name for child in waiting)
                raise AcaflowError(
                    f"not ready after {READY_S:.0f} s: {names}; see {self.home.logs}"
                )
            time.sleep(0.02)

    def watch_children(self) -> None:
        """Start again what has ended, with growing pauses."""
        for child in self.children:
            if child.alive or self.stopping:
                continue
            now = time.monotonic()
            if child.restart_at is None:
                status = child.process.returncode if child.process else None
                child.kill_group()  # what it left behind
                healthy = now - child.started > HEALTHY_S
                child.failures = 0 if healthy else child.failures + 1
                pause_s = PAUSES_S[min(child.failures, len(PAUSES_S)) - 1] if not healthy else 0.0
                child.restart_at = now + pause_s
                log.warning("%s ended (%s); again in %.0f s", child.name, status, pause_s)
            elif now >= child.restart_at:
                child.start()
                self.write_pids()
                log.info("%s started again", child.name)

    def stop(self) -> bool:
        """Stop web, relay, workers, then Redis; tell whether all ended by themselves."""
        redis = [child for child in self.children if child.name == "redis"]
        others = [child for child in reversed(self.children) if child.name != "redis"]
        clean = self._end(others, STOP_S)
        return self._end(redis, REDIS_STOP_S) and clean

    def _end(self, children: list[Child], limit_s: float) -> bool:
        for child in children:
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + limit_s
        while any(child.alive for child in children):
            if time.monotonic() > deadline or self.stopping > 1:
                break
            time.sleep(0.02)
        left = [child for child in children if child.alive]
        for child in children:
            child.kill_group()
        for child in left:
            if child.process is not None:
                child.process.wait(5)
            log.warning("%s had to be killed", child.name)
        return not left


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
    return lines[-1] if lines else "it wrote nothing"


def _sweep(home: Home) -> None:
    """End processes that a killed parent left behind (only those it wrote down)."""
    path = home.run / "pids.json"
    if not path.exists():
        return
    for pid, start in json.loads(path.read_text(encoding="utf-8")):
        if start is not None and is_alive(pid, start):
            log.warning("ending process %d of an earlier start", pid)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
    path.unlink()


@contextlib.contextmanager
def _lock(home: Home) -> Iterator[IO[str]]:
    path = home.run / "acaflow.lock"
    with path.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            other = running(home)
            url = other.url if other else "unknown address"
            raise AcaflowError(f"acaflow is up already for {home.root}: {url}") from err
        stream.truncate(0)
        yield stream


def up(
    settings: config.Settings,
    *,
    solo: bool = False,
    spread: bool = False,
    web: bool = True,
    on_ready: Callable[[Instance], None] | None = None,
    meanwhile: Callable[[], bool] | None = None,
) -> int:
    """Run everything until a signal comes; return the exit status.

    Parameters
    ----------
    settings : Settings
        Of the home to serve.
    solo, spread : bool
        One worker for all queues, or one for each; default by the size of the host.
    web : bool
        Serve the pages.
    on_ready : callable, optional
        Called once when every process is ready.
    meanwhile : callable, optional
        Called about four times a second; returning True stops everything.

    Returns
    -------
    int
        0 if every child ended by itself, else 1.

    Raises
    ------
    ConfigError
        No usable Redis, ledger of another version, home that cannot be written.
    AcaflowError
        Another instance runs, or a process did not become ready.
    """
    home = Home(settings.home)
    home.create()
    with _lock(home) as lock:
        _sweep(home)
        boss = Supervisor(settings, home)
        socket: Path | None = None

        def on_signal(_number: int, _frame: Any) -> None:
            boss.stopping += 1

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, on_signal)
        clean = False
        try:
            redis_url = settings.redis_url
            if redis_url:
                redis_server.check(redis_url)
            else:
                socket = redis_server.socket_path(home)
                redis_url = _start_redis(boss, socket)
            schema.upgrade(Ledger(settings.database_url, settings.sqlite_synchronous))
            instance = _start_services(boss, redis_url, solo=solo, spread=spread, web=web)
            lock.write(json.dumps(instance.__dict__))
            lock.flush()
            if on_ready is not None and not boss.stopping:
                on_ready(instance)
            while not boss.stopping:
                boss.watch_children()
                if meanwhile is not None and meanwhile():
                    break
                time.sleep(0.25)
        finally:
            clean = boss.stop()
            lock.truncate(0)
            (home.run / "pids.json").unlink(missing_ok=True)
            if socket is not None:
                socket.unlink(missing_ok=True)
    return 0 if clean else 1


def _start_redis(boss: Supervisor, socket: Path) -> str:
    """Start the embedded server and wait until it answers."""
    server = redis_server.find(boss.settings)
    socket.unlink(missing_ok=True)  # we hold the lock of the home: nobody listens there
    url = f"redis+socket://{socket}"
    command = redis_server.command(server, socket, boss.home.state / "redis")
    child = boss.add("redis", command, "", url)
    deadline = time.monotonic() + READY_S
    while True:
        try:
            redis_server.check(url)
            return url
        except ConfigError:
            if not child.alive or time.monotonic() > deadline:
                raise ConfigError(
                    f"{server} did not start: {_last_line(child.log_path)};"
                    f" its log is {child.log_path}"
                ) from None
        time.sleep(0.005)


def _start_services(
    boss: Supervisor, redis_url: str, *, solo: bool, spread: bool, web: bool
) -> Instance:
    """Start relay, workers and web at the same time and wait for all of them."""
    settings = boss.settings
    us = [sys.executable, "-m", "acaflow"]
    wanted = [("relay", [*us, "relay", "--watch"], "watcher ready")]
    cores = str(max(2, os.cpu_count() or 1))
    for queues in worker_groups(solo=solo, spread=spread):
        command = [*us, "worker", ",".join(queues)]
        if len(queues) > 1 or solo:
            command += ["--concurrency", cores]
        wanted.append((f"worker-{queues[0]}", command, "worker ready"))
    url = ""
    if web:
        port = settings.web_port or _free_port(settings.web_host)
        url = f"http://{settings.web_host}:{port}/"
        wanted.append(("web", gunicorn_command(settings.web_host, port), "Booting worker"))
    for name, command, ready in wanted:
        boss.add(name, command, ready, redis_url)
    boss.wait_ready()
    return Instance(os.getpid(), url, redis_url)


def _free_port(host: str) -> int:
    import socket

    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
