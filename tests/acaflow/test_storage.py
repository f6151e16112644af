"""Files that appear whole or not at all, locks, and small databases."""

from __future__ import annotations

import errno
import gzip
import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from acaflow import storage
from acaflow.errors import AcaflowError, MissingDataError, StorageBusyError
from tests.support.servers import missing

# --- checksums and publishing ---


def test_sha256(tmp_path):
    """FIPS 180 examples: 'abc', and a million times 'a' (more than one block)."""
    (tmp_path / "abc").write_bytes(b"abc")
    (tmp_path / "many").write_bytes(b"a" * 1_000_000)
    assert storage.sha256_file(tmp_path / "abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    assert storage.sha256_file(tmp_path / "many") == (
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
    )


def test_place_makes_folders_and_replaces(tmp_path):
    target = tmp_path / "a" / "b" / "product"
    for content in ("first", "second"):
        staged = tmp_path / "staged"
        staged.write_text(content)
        storage.place(staged, target)
        assert target.read_text() == content and not staged.exists()


def test_write_text_leaves_nothing_beside(tmp_path):
    path = tmp_path / "new" / "reason.json"
    storage.write_text(path, "µ")
    storage.write_text(path, "two")
    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]


def test_link_gives_a_second_name(tmp_path):
    source, target = tmp_path / "source", tmp_path / "processed" / "name"
    source.write_text("x")
    storage.link_into(source, target)
    assert target.samefile(source)


def test_link_keeps_what_a_crash_left(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("x")
    target.write_text("older")
    storage.link_into(source, target)
    assert target.read_text() == "older"


def test_link_copies_between_file_systems(tmp_path):
    shared_memory = Path("/dev/shm")
    if not shared_memory.is_dir() or shared_memory.stat().st_dev == tmp_path.stat().st_dev:
        missing("a second file system at /dev/shm")
    source = shared_memory / f"acaflow-test-{os.getpid()}"
    source.write_text("x")
    try:
        storage.link_into(source, tmp_path / "target")
    finally:
        source.unlink()
    assert (tmp_path / "target").read_text() == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_gzip_has_no_time_and_no_name(tmp_path):
    """RFC 1952: magic, deflate, no flags (no name), mtime 0, no extra flags, unknown system."""
    source = tmp_path / "source"
    source.write_bytes(b"abc" * 1000)
    storage.gzip_file(source, tmp_path / "one.gz")
    os.utime(source, (0, 0))
    storage.gzip_file(source.rename(tmp_path / "renamed"), tmp_path / "two.gz")
    packed = (tmp_path / "one.gz").read_bytes()
    assert packed[:10].hex() == "1f8b08000000000000ff"
    assert packed == (tmp_path / "two.gz").read_bytes()
    assert gzip.decompress(packed) == b"abc" * 1000


# --- disks that fail ---


def test_full_disk_is_busy():
    """/dev/full is a device on which no byte has room."""
    device = Path("/dev/full")
    if not device.exists():
        missing("/dev/full")
    with (
        pytest.raises(StorageBusyError, match=r"No space left on device while writing /dev/full"),
        storage.translated(device),
        device.open("wb", buffering=0) as full,
    ):
        full.write(b"x")


@pytest.mark.parametrize("code", [errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE])
def test_failing_disk_is_busy(code):
    with (
        pytest.raises(StorageBusyError, match="while writing product"),
        storage.translated(Path("product")),
    ):
        raise OSError(code, os.strerror(code))


def test_mistakes_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError):
        storage.place(tmp_path / "absent", tmp_path / "target")


# --- file systems ---


def test_file_system_of_a_folder():
    if not Path("/proc/mounts").exists():
        missing("/proc/mounts")
    assert storage.file_system(Path("/proc/self")) == "proc"
    assert "nfs4" in storage.NETWORK_FILE_SYSTEMS and "ext4" not in storage.NETWORK_FILE_SYSTEMS


# --- locks ---

HOLDER = """
import sys, time
from pathlib import Path
from acaflow import storage
with storage.file_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock ``tmp_path / 'locks' / 'x'``."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER), str(tmp_path / "locks" / "x")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("timeout_s", [0, 0.05])
def test_lock_of_another_process(holder, tmp_path, timeout_s):
    with (
        pytest.raises(StorageBusyError, match=r"locks/x is locked by another process"),
        storage.file_lock(tmp_path / "locks" / "x", timeout_s),
    ):
        pytest.fail("two hold one lock")


def test_stopped_holder_keeps_the_lock_and_a_dead_one_frees_it(holder, tmp_path):
    path = tmp_path / "locks" / "x"
    holder.send_signal(signal.SIGSTOP)
    with pytest.raises(StorageBusyError), storage.file_lock(path, 0):
        pytest.fail("two hold one lock")
    holder.send_signal(signal.SIGKILL)
    with storage.file_lock(path):
        assert holder.wait() == -signal.SIGKILL


def test_lock_is_free_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), storage.file_lock(tmp_path / "x"):
        _ = 1 / 0
    with storage.file_lock(tmp_path / "x", 0):
        assert (tmp_path / "x").exists()


# --- small databases ---

SCHEMA = ("CREATE TABLE IF NOT EXISTS files (name text)", storage.PROVENANCE_SCHEMA)


def test_index_is_made_once_and_read_by_name(tmp_path):
    path = tmp_path / "aca_l0" / "archfiles.db3"
    for name in ("one", "two"):
        with storage.connect_sqlite(path, SCHEMA) as connection:
            connection.execute("INSERT INTO files VALUES (?)", [name])
        connection.close()
    reader = storage.read_sqlite(path)
    assert [row["name"] for row in reader.execute("SELECT name FROM files")] == ["one", "two"]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("INSERT INTO files VALUES ('three')")
    reader.close()


def test_opening_a_made_index_takes_no_lock(tmp_path):
    path = tmp_path / "archfiles.db3"
    writer = storage.connect_sqlite(path, SCHEMA)
    writer.execute("BEGIN IMMEDIATE")
    other = storage.connect_sqlite(path, SCHEMA)
    assert other.execute("SELECT count(*) FROM files").fetchone()[0] == 0
    assert other.execute("PRAGMA synchronous").fetchone()[0] == 2
    other.close()
    writer.close()


def test_no_archive(tmp_path):
    with pytest.raises(MissingDataError) as caught:
        storage.read_sqlite(tmp_path / "archfiles.db3")
    assert str(caught.value) == f"no archive at {tmp_path}: archfiles.db3 does not exist"
    assert list(tmp_path.iterdir()) == []


def test_index_that_is_no_database(tmp_path):
    path = tmp_path / "archfiles.db3"
    path.write_bytes(b"this is no database, and it is longer than a header" * 40)
    with pytest.raises(
        AcaflowError, match=r"archfiles\.db3 cannot be read: file is not a database"
    ):
        storage.read_sqlite(path)


def test_first_maker_of_the_same_bytes_stays(tmp_path):
    connection = storage.connect_sqlite(tmp_path / "x.db3", SCHEMA)
    inputs = [{"path": "in", "sha256": "1" * 64}]
    for job in ("job1", "job2"):
        storage.record_provenance(connection, "2019/272/x", "0" * 64, inputs, job, "1.0")
    storage.record_provenance(connection, "2019/272/x", "f" * 64, [], "job3", "1.1")
    rows = connection.execute("SELECT * FROM provenance ORDER BY job").fetchall()
    assert [(row["sha256"][0], row["job"], row["code_version"]) for row in rows] == [
        ("0", "job1", "1.0"),
        ("f", "job3", "1.1"),
    ]
    assert json.loads(rows[0]["inputs"]) == inputs
    connection.close()
