"""Files that appear whole or not at all: staging, checksums, locks, small SQLite databases.

Publishing is always the same three moves: write beside the target's file system, fsync, rename
and fsync the folder. Whoever reads sees the old state or the new one, never part of it.
"""

from __future__ import annotations

import errno
import fcntl
import gzip
import hashlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from acaflow.errors import AcaflowError, MissingDataError, StorageBusyError

__all__ = [
    "NETWORK_FILE_SYSTEMS",
    "PROVENANCE_SCHEMA",
    "connect_sqlite",
    "file_lock",
    "file_system",
    "fsync_dir",
    "gzip_file",
    "link_into",
    "make_dirs",
    "place",
    "place_dir",
    "read_sqlite",
    "record_provenance",
    "sha256_file",
    "translated",
    "write_text",
]

BLOCK = 1 << 20
"""Bytes read or copied at a time."""

PROVENANCE_SCHEMA = """
CREATE TABLE IF NOT EXISTS provenance (
    path text NOT NULL, sha256 text NOT NULL, inputs text NOT NULL, job text NOT NULL,
    code_version text NOT NULL, created_at float NOT NULL, PRIMARY KEY (path, sha256)
)
"""
"""Who made which product from what; lives in the index database of each archive."""


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fsync_dir(folder: Path) -> None:
    """Make renames and links inside `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _fsync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_dirs(folder: Path) -> None:
    """Make `folder` and its parents, each durable in its parent."""
    if folder.is_dir():
        return
    make_dirs(folder.parent)
    folder.mkdir(exist_ok=True)
    fsync_dir(folder.parent)


def place(staged: Path, target: Path) -> None:
    """Publish `staged` as `target`: fsync, rename, fsync the folder.

    Both must be on one file system. An existing target is replaced in one step.
    """
    with translated(target):
        _fsync_file(staged)
        make_dirs(target.parent)
        staged.replace(target)
        fsync_dir(target.parent)


def place_dir(staged: Path, target: Path, discard: Path) -> None:
    """Publish a folder with all its files: fsync each, rename, fsync the parent.

    Parameters
    ----------
    staged, target : Path
        On one file system.
    discard : Path
        Where an existing target goes, on the same file system; it is removed. Between the two
        renames there is no target.
    """
    with translated(target):
        for path in sorted(staged.rglob("*")):
            _fsync_file(path)
        if target.exists():
            make_dirs(discard.parent)
            target.rename(discard)
        place(staged, target)
        shutil.rmtree(discard, ignore_errors=True)


def link_into(source: Path, target: Path) -> None:
    """Give `source` a second name, durable; an existing target is kept (a crash left it)."""
    with translated(target):
        make_dirs(target.parent)
        try:
            os.link(source, target)
        except FileExistsError:
            return
        except OSError as err:
            if err.errno not in (errno.EXDEV, errno.EPERM, errno.ENOTSUP):
                raise
            # An inbox on another file system, or one without hard links: copy, then rename.
            part = target.with_name(f".{target.name}.part")
            shutil.copyfile(source, part)
            _fsync_file(part)
            part.replace(target)
        fsync_dir(target.parent)


def write_text(path: Path, text: str) -> None:
    """Replace a small text file in one step."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with translated(path):
        make_dirs(path.parent)
        try:
            part.write_text(text, encoding="utf-8")
            place(part, path)
        except OSError:
            part.unlink(missing_ok=True)
            raise


def gzip_file(source: Path, target: Path) -> None:
    """Compress `source` into `target` with no time and no name inside: same bytes every time."""
    with (
        source.open("rb") as plain,
        target.open("wb") as out,
        gzip.GzipFile(filename="", mode="wb", fileobj=out, compresslevel=6, mtime=0) as packed,
    ):
        shutil.copyfileobj(plain, packed, BLOCK)


NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "ceph"}
"""Where inotify sees nothing of other hosts and SQLite's WAL is not safe."""


def file_system(folder: Path) -> str:
    """Return the type of the file system that holds `folder` (Linux; '' elsewhere)."""
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    best, kind = 0, ""
    folder = folder.resolve()
    for line in mounts:
        point, fstype = line.split()[1:3]
        point = point.replace("\\040", " ")
        if folder.is_relative_to(point) and len(point) >= best:
            best, kind = len(point), fstype
    return kind


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn a full or failing disk into an error that a worker retries, naming the file."""
    try:
        yield
    except OSError as err:
        if err.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE):
            raise StorageBusyError(f"{err.strerror} while writing {path}") from err
        raise


@contextmanager
def file_lock(path: Path, timeout_s: float | None = None) -> Iterator[None]:
    """Hold the kernel lock of `path`; a dead holder frees it by itself.

    Parameters
    ----------
    path : Path
        Lock file, made if absent and never removed.
    timeout_s : float, optional
        Seconds to wait; None waits for ever, 0 tries once.

    Raises
    ------
    StorageBusyError
        Somebody else held it all the time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _lock(handle, path, timeout_s)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, path: Path, timeout_s: float | None) -> None:
    if timeout_s is None:
        fcntl.flock(handle, fcntl.LOCK_EX)
        return
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as err:
            if time.monotonic() >= deadline:
                raise StorageBusyError(f"{path} is locked by another process") from err
        time.sleep(0.02)


def connect_sqlite(path: Path, schema: Sequence[str] = ()) -> sqlite3.Connection:
    """Open an archive index for writing and make its tables.

    Rows come as `sqlite3.Row`; transactions are explicit (``BEGIN IMMEDIATE``) and durable;
    a busy database is waited for 30 s.
    """
    make_dirs(path.parent)
    connection = sqlite3.connect(path, timeout=30.0, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA synchronous=FULL")
    if schema and not _has_tables(connection, schema):
        connection.execute("BEGIN IMMEDIATE")
        for statement in schema:
            connection.execute(statement)
        connection.execute("COMMIT")
    return connection


def _has_tables(connection: sqlite3.Connection, schema: Sequence[str]) -> bool:
    """Tell without a write lock whether every statement of `schema` has its table or index."""
    (found,) = connection.execute(
        "SELECT count(*) FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
    ).fetchone()
    return bool(found >= len(schema))


def read_sqlite(path: Path) -> sqlite3.Connection:
    """Open an archive index read-only; MissingDataError naming the path if there is none."""
    if not path.exists():
        raise MissingDataError(f"no archive at {path.parent}: {path.name} does not exist")
    try:
        return _open(f"file:{path}?mode=ro")
    except sqlite3.OperationalError as err:
        if "readonly" not in str(err):
            raise AcaflowError(f"archive index {path} cannot be read: {err}") from err
    except sqlite3.Error as err:
        raise AcaflowError(f"archive index {path} cannot be read: {err}") from err
    # A killed writer left a journal, which only a connection that may write can roll back.
    try:
        _open(f"file:{path}?mode=rw").close()
        return _open(f"file:{path}?mode=ro")
    except sqlite3.Error as err:
        raise AcaflowError(f"archive index {path} needs recovery: {err}") from err


def _open(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, timeout=30.0)
    connection.row_factory = sqlite3.Row
    connection.execute("SELECT 1 FROM sqlite_master LIMIT 1")
    return connection


def record_provenance(
    connection: sqlite3.Connection,
    path: str,
    sha256: str,
    inputs: Sequence[Mapping[str, Any]],
    job: str,
    code_version: str,
) -> None:
    """Write down, inside the caller's transaction, what a product was made from.

    Parameters
    ----------
    connection : sqlite3.Connection
        The archive's index, with `PROVENANCE_SCHEMA`.
    path, sha256 : str
        The product: archive-relative path and checksum.
    inputs : sequence of mappings
        ``path``, ``sha256`` of each file read.
    job, code_version : str
        The job and the acaflow version that made it. The first maker of the same bytes stays.
    """
    connection.execute(
        "INSERT INTO provenance VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (path, sha256, json.dumps(list(inputs), sort_keys=True), job, code_version, time.time()),
    )
