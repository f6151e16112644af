"""Rows of a slot: the one function that all readers use, also while files are replaced."""

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from acaflow import storage
from acaflow.archive import aca_l0, l0_archive, l0_rows
from acaflow.archive.l0_file import read_l0_file
from acaflow.archive.l0_index import L0Index
from acaflow.errors import CorruptFileError, MissingDataError
from tests.support.l0 import BASE_COUNTER, BASE_TIME, deliver, make_l0_file, pixels

ALL = (0, 1e9)
EARLY, LATE = "2020-01-01T00:00:00", "2020-01-02T00:00:00"


@pytest.fixture
def root(tmp_path):
    return tmp_path / "aca0"


def place(root, path):
    """Put a file into the tree, as ingest does, and return what is to be committed."""
    record = read_l0_file(path, path.name)
    staged = root / path.name
    shutil.copyfile(path, staged)
    storage.place(staged, root / record.path)
    return record


def commit(root, record):
    with L0Index(root) as index:
        index.commit(record, ([], "test", "0"))


def withdraw(root, path):
    with L0Index(root) as index:
        record = index.get(path.name)
        index.withdraw(path.name)
    (root / record.path).unlink()


# --- Rows


def test_rows_are_columns_in_time_order_with_the_file_of_each(root, tmp_path):
    low = make_l0_file(tmp_path / "a", imgsize=6, rows=24)
    high = make_l0_file(tmp_path / "b", imgsize=6, rows=6, frame=8 * 8, revision=2)
    for path in (low, high):
        deliver(root, path)
    rows = aca_l0.get_rows(*ALL, 0, ("TEMPCCD", "IMGRAW", "TIME", "HD3TLM62"), data_root=root)
    assert [block.files for block in rows.blocks] == [[(low.name, 18)], [(high.name, 6)]]
    time, missing = rows.column("TIME")
    np.testing.assert_allclose(time, BASE_TIME - 0.848 + 2.05 * np.arange(24), rtol=0, atol=1e-6)
    assert missing is None
    temperatures, missing = rows.column("TEMPCCD")
    assert temperatures.tolist() == [np.float32(263.55)] * 24
    images, missing = rows.column("IMGRAW")
    np.testing.assert_array_equal(images, pixels(BASE_COUNTER + 8 * np.arange(24), 6))
    header_3, missing = rows.column("HD3TLM62")
    assert header_3.tolist() == [0] * 24
    assert missing.tolist() == [True] * 24


def test_file_names_follow_the_rows(root, tmp_path):
    low = make_l0_file(tmp_path / "a", rows=24)
    high = make_l0_file(tmp_path / "b", rows=6, frame=8 * 16, revision=2)
    for path in (low, high):
        deliver(root, path)
    names = aca_l0.get_slot_data(*ALL, 0, data_root=root)["FILENAME"].tolist()
    assert names == [low.name] * 8 + [high.name] * 6 + [low.name] * 10
    assert aca_l0.get_slot_data(*ALL, 1, data_root=root)["FILENAME"].tolist() == []


def test_an_index_without_tables_is_no_archive(root):
    root.mkdir()
    storage.connect_sqlite(root / "archfiles.db3").execute("CREATE TABLE other (x int)")
    with pytest.raises(MissingDataError, match=r"archfiles\.db3 has no table archfiles"):
        aca_l0.get_files(start=0, stop=1, data_root=root)


# --- A file is replaced while somebody reads


@pytest.fixture
def old(tmp_path):
    """A file of 20 rows."""
    return make_l0_file(tmp_path / "old", rows=20, date=EARLY)


@pytest.fixture
def new(tmp_path):
    """A later copy of the same name, 24 rows."""
    return make_l0_file(tmp_path / "new", rows=24, date=LATE)


def test_reader_waits_for_the_index_row_of_a_file_in_the_tree(root, old, new):
    deliver(root, old)
    record = place(root, new)
    later = threading.Timer(0.2, commit, (root, record))
    later.start()
    assert len(aca_l0.get_slot_data(*ALL, 0, data_root=root)) == 24
    later.join()


@pytest.fixture
def at_first_read(monkeypatch):
    """Do something once, when the index has been asked and the first file is about to be read."""

    def arrange(action):
        inflate, actions = l0_archive.inflate, [action]

        def interrupted(path):
            if actions:
                actions.pop()()
            return inflate(path)

        monkeypatch.setattr(l0_archive, "inflate", interrupted)

    return arrange


def test_file_replaced_after_the_index_was_asked(root, old, new, at_first_read):
    deliver(root, old)
    at_first_read(lambda: commit(root, place(root, new)))
    assert len(aca_l0.get_slot_data(*ALL, 0, data_root=root)) == 24


def test_file_without_frame_counters_replaced_after_the_index_was_asked(
    root, tmp_path, at_first_read
):
    low, later, high = (
        make_l0_file(tmp_path / name, drop=["MJF", "MNF"], **options)
        for name, options in {
            "low": {"rows": 20, "date": EARLY},
            "later": {"rows": 24, "date": LATE},
            "high": {"rows": 4, "frame": 16, "revision": 2},
        }.items()
    )
    for path in (high, low):
        deliver(root, path)
    at_first_read(lambda: commit(root, place(root, later)))
    assert len(aca_l0.get_slot_data(*ALL, 0, data_root=root)) == 24


def test_file_withdrawn_after_the_index_was_asked(root, tmp_path, at_first_read):
    path = make_l0_file(tmp_path / "in")
    deliver(root, path)
    at_first_read(lambda: withdraw(root, path))
    assert len(aca_l0.get_slot_data(*ALL, 0, data_root=root)) == 0


def test_file_superseded_after_the_index_was_asked_is_read_whole(root, tmp_path, at_first_read):
    low = make_l0_file(tmp_path / "low", revision=1)
    high = make_l0_file(tmp_path / "high", revision=2)
    deliver(root, low)
    at_first_read(lambda: deliver(root, high))
    names = [aca_l0.get_slot_data(*ALL, 0, data_root=root)["FILENAME"].tolist() for _ in range(2)]
    assert names == [[low.name] * 24, [high.name] * 24]


OTHER = {
    "rows": ({"rows": 7}, "has 7 rows, the index says 24"),
    "DATE": ({"date": LATE}, f"has DATE '{LATE}', the index says '{EARLY}'"),
    "CHECKSUM": (
        {"values": {"QUALITY": np.ones(24)}},
        "has CHECKSUM '.{16}', the index says '.{16}'",
    ),
}


@pytest.mark.parametrize("what", OTHER)
def test_reader_gives_up_where_the_index_never_follows(root, tmp_path, monkeypatch, what):
    options, message = OTHER[what]
    monkeypatch.setattr(l0_archive, "SETTLE_S", 0.05)
    deliver(root, make_l0_file(tmp_path / "in", date=EARLY))
    record = place(root, make_l0_file(tmp_path / "other", **{"date": EARLY} | options))
    with pytest.raises(CorruptFileError, match=f"{record.filename} {message}") as caught:
        aca_l0.get_slot_data(*ALL, 0, data_root=root)
    assert caught.value.path == root / record.path


def test_damaged_and_missing_files_are_not_waited_for(root, tmp_path, monkeypatch):
    deliver(root, make_l0_file(tmp_path / "in"))
    (path,) = root.glob("*/*/*.gz")

    def waits(_):
        raise AssertionError("the reader waits")

    monkeypatch.setattr(time, "sleep", waits)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(CorruptFileError, match=f"{path.name}.*truncated"):
        aca_l0.get_slot_data(*ALL, 0, data_root=root)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=path.name):
        aca_l0.get_slot_data(*ALL, 0, data_root=root)


def test_reader_does_not_try_for_ever(root, old, new, at_first_read, monkeypatch):
    deliver(root, old)
    monkeypatch.setattr(l0_rows, "TRIES", 1)
    at_first_read(lambda: commit(root, place(root, new)))
    with pytest.raises(CorruptFileError, match="has 24 rows, the index says 20"):
        aca_l0.get_slot_data(*ALL, 0, data_root=root)


WRITER = """
import itertools, shutil, sys, time
from pathlib import Path
from acaflow import storage
from acaflow.archive.l0_file import read_l0_file
from acaflow.archive.l0_index import L0Index
mode, root, *files = sys.argv[1], *map(Path, sys.argv[2:])
records = [read_l0_file(path, path.name) for path in files]
with L0Index(root) as index:
    print("ready", flush=True)
    for turn in itertools.count():
        if (root / "stop").exists():
            break
        path, record = files[turn % len(files)], records[turn % len(files)]
        shutil.copyfile(path, root / "staged")
        target = root / record.path
        index.commit(record, ([], "test", "0"), lambda: storage.place(root / "staged", target))
        time.sleep(0.005)  # readers have their turn
        if mode == "withdraw":
            index.withdraw(record.filename)
            target.unlink()
            time.sleep(0.005)
print(turn)
"""


@pytest.fixture
def writer(root):
    """Start a process that changes the archive over and over; return what ends it."""
    started = []

    def start(mode, *files):
        words = [sys.executable, "-c", WRITER, mode, str(root), *map(str, files)]
        child = subprocess.Popen(
            words, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": ":".join(sys.path)}
        )
        started.append(child)
        assert child.stdout.readline() == "ready\n"

        def end():
            (root / "stop").touch()
            return int(child.communicate(timeout=30)[0])

        return end

    yield start
    for child in started:
        child.kill()
        child.communicate()


def looks(seconds=2.0):
    """Count for some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield


def test_reader_never_sees_a_replacement_half_done(root, tmp_path, writer):
    copies = [make_l0_file(tmp_path / str(rows), rows=rows) for rows in range(20, 32)]
    deliver(root, copies[0])
    end = writer("replace", *copies)
    lengths = set()
    for _ in looks():
        lengths.add(len(aca_l0.get_slot_data(*ALL, 0, data_root=root)))
        (path,) = aca_l0.get_files(start=0, stop=1e9, data_root=root)
        assert Path(path).exists()
    assert end() > 10
    assert lengths <= set(range(20, 32))
    assert len(lengths) > 3


def test_reader_never_sees_a_new_revision_half_shown(root, tmp_path, writer):
    low = make_l0_file(tmp_path / "low", revision=1)
    high = make_l0_file(tmp_path / "high", revision=2)
    deliver(root, low)
    end = writer("withdraw", high)
    seen = set()
    for _ in looks():
        names = aca_l0.get_slot_data(*ALL, 0, data_root=root)["FILENAME"].tolist()
        assert len(names) == 24
        seen.add(tuple(set(names)))
        assert len(aca_l0.get_files(start=0, stop=1e9, data_root=root)) == 1
    assert end() > 10
    assert seen == {(low.name,), (high.name,)}
