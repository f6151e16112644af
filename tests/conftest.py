"""Fixtures of the whole suite: a home, a clock, ledgers, servers, and no network."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from acaflow import config
from acaflow.paths import Home
from acaflow.runtime.ledger import Ledger
from acaflow.runtime.schema import upgrade
from tests.support import servers

NOON = 1_700_000_000.0
"""Where the fake clock starts (2023-11-14, epoch s)."""


class Clock:
    """A clock that tests set and move."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """Refuse connections beyond this host."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if self.family != socket.AF_UNIX and not _is_loopback(str(address[0])):  # type: ignore[index]
            raise RuntimeError(f"a test wanted to connect to {address}")
        connect(self, address)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True, scope="session")
def no_settings_from_outside() -> Iterator[None]:
    """Forget the developer's own settings, also for child processes."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(config.PREFIX)]:
            if name != "ACAFLOW_REAL_DATA":
                patch.delenv(name)
        yield


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty home that is the home of this process."""
    monkeypatch.setattr(config, "_current", None)
    made = Home(tmp_path / "home")
    made.create()
    config.use(config.load(home=made.root))
    return made


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real files; never part of the repository."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ACAFLOW_REAL_DATA", beside))
    if not folder.is_dir():
        servers.missing(f"the folder of real files (ACAFLOW_REAL_DATA={folder})")
    return folder


@pytest.fixture
def clock() -> Clock:
    """The time of the ledger fixtures."""
    return Clock()


@pytest.fixture(scope="session")
def _upgraded_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("upgraded") / "ledger.db"
    _upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def _upgraded_postgres(postgres_server: servers.Postgres) -> Iterator[str]:
    with postgres_server.database() as url:
        _upgrade(url)
        yield url


def _upgrade(url: str) -> None:
    ledger = Ledger(url)
    upgrade(ledger)
    ledger.engine.dispose()


@pytest.fixture
def sqlite_ledger(tmp_path: Path, clock: Clock, _upgraded_file: Path) -> Iterator[Ledger]:
    """An up-to-date, empty SQLite ledger."""
    path = shutil.copy(_upgraded_file, tmp_path / "ledger.db")
    made = Ledger(f"sqlite:///{path}", clock=clock)
    yield made
    made.engine.dispose()


@pytest.fixture
def postgres_ledger(_upgraded_postgres: str, clock: Clock) -> Iterator[Ledger]:
    """An up-to-date, empty PostgreSQL ledger."""
    made = Ledger(_upgraded_postgres, clock=clock)
    with made.engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE event, job, attempt, product, process")
    yield made
    made.engine.dispose()


BOTH_DATABASES = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(params=BOTH_DATABASES)
def ledger(request: pytest.FixtureRequest) -> Ledger:
    """An up-to-date, empty ledger, once on each database."""
    made: Ledger = request.getfixturevalue(f"{request.param}_ledger")
    return made


@pytest.fixture(params=BOTH_DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    made: str = request.getfixturevalue("postgres_url")
    return made


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[servers.Postgres]:
    """A private PostgreSQL server."""
    with servers.postgres_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: servers.Postgres) -> Iterator[str]:
    """The URL of a fresh PostgreSQL database."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture(scope="session")
def _redis_process() -> Iterator[servers.Redis]:
    with servers.redis_server() as server:
        yield server


@pytest.fixture
def redis_server(_redis_process: servers.Redis) -> servers.Redis:
    """A private, empty Redis server."""
    with _redis_process.client() as client:
        client.flushall()
    return _redis_process
