"""The store: what goes in comes out, in any order, before and after merging."""

from __future__ import annotations

import errno
import json
import os
import random
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from acaflow import storage
from acaflow.colstore import DamagedStoreError, Source, Store
from acaflow.errors import (
    ArchiveConflictError,
    InputError,
    MissingDataError,
    SchemaError,
    StorageBusyError,
)
from tests.acaflow.colstore.truth import START, STEP_S, check, delivery, shown


def plain(name, time, **columns):
    """Return a source of revision 1."""
    time = np.asarray(time, float)
    return Source(
        name, 1, int(time[0]) if len(time) else 0, f"sha-{name}", {"TIME": time, **columns}
    )


def everything(store, columns):
    """Return all rows of a store in keep mode, source by source by name."""
    items = sorted(store.sources(), key=lambda item: item.name)
    ranges = [(item.segment, item.row0, item.row1) for item in items]
    return [item.name for item in items], store.read_rows(ranges, columns)


def overlapping(n_files, rows=300, seed=1):
    """Return sources that overlap by three rows, each with images and an integration change."""
    rng = np.random.default_rng(seed)
    sources = []
    for i in range(n_files):
        time = 7e8 + 4.1 * (np.arange(rows) + i * (rows - 3))
        image = rng.integers(0, 1000, (rows, 16)).astype(">f4")
        sources.append(plain(f"f{i:02d}", time, IMG=image, N=rng.integers(0, 9, rows).astype("u1")))
    return sources


# --- keep mode ---


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_keep_returns_every_row_of_every_source(tmp_path, codec):
    sources = overlapping(20)
    store = Store(tmp_path / "s", "keep", codec, fanin=4)
    order = random.Random(2).sample(sources, len(sources))
    for i, source in enumerate(order):
        assert store.append([source]) == [source.name]
        assert store.append([source]) == []
        if i % 5 == 4:
            merged = store.merge()
            assert merged >= 4 or (merged == 0 and i > 4)
            assert store.merge() == 0
        names, out = everything(store, ["IMG", "TIME", "N"])
        expected = sorted(order[: i + 1], key=lambda source: source.name)
        assert names == [source.name for source in expected]
        for column in ("IMG", "TIME", "N"):
            values = np.concatenate([source.columns[column] for source in expected])
            assert out[column].dtype == values.dtype.newbyteorder("=")
            assert (out[column] == values).all()
    assert len({item.segment for item in store.sources()}) < 12
    assert store.merge(everything=True) > 1
    assert len({item.segment for item in store.sources()}) == 1
    assert store.columns(store.sources()[0].segment) == ("IMG", "N", "TIME")
    assert store.merge(everything=True) == 0
    assert Store(tmp_path / "s", "keep").append(sources) == []
    assert (everything(store, ["IMG"])[1]["IMG"] == out["IMG"]).all()


def test_real_level_0_files_come_back(tmp_path, real_data):
    """Every column of three flight files of one image size, bit for bit."""
    from astropy.io import fits

    store = Store(tmp_path / "s", "keep")
    expected = {}
    for path in sorted(real_data.glob("real/aca_l0/acaf*_[356]_img0.fits.gz")):
        with fits.open(path) as hdus:
            table = hdus[1].data
            columns = {name: np.asarray(table[name]) for name in table.columns.names}
        columns["IMGRAW"] = columns["IMGRAW"].reshape(len(table), -1)
        source = Source(path.name, 1, 686111014, storage.sha256_file(path), columns)
        assert store.append([source]) == [path.name]
        expected[path.name] = columns
    store.merge(everything=True)
    assert len(expected) == 3
    for item in store.sources():
        columns = expected[item.name]
        out = store.read_rows([(item.segment, item.row0, item.row1)], list(columns))
        for name, values in columns.items():
            native = values.astype(values.dtype.newbyteorder("="))
            assert out[name].tobytes() == native.tobytes(), name


def test_one_name_with_two_contents_is_stored_twice(tmp_path):
    store = Store(tmp_path / "s", "keep")
    first = plain("a", [1.0, 2.0], V=np.array([1, 2], "i4"))
    second = Source("a", 1, 1, "other", {"TIME": np.array([1.0, 2.0]), "V": np.array([3, 4], "i4")})
    assert store.append([first, second, first]) == ["a", "a"]
    found = {
        item.sha256: store.read_rows([(item.segment, item.row0, item.row1)], ["V"])["V"].tolist()
        for item in store.sources()
    }
    assert found == {"sha-a": [1, 2], "other": [3, 4]}


def test_unwanted_sources_are_dropped_and_come_back(tmp_path):
    sources = overlapping(6)
    store = Store(tmp_path / "s", "keep")
    store.append(sources)
    _, before = everything(store, ["IMG"])
    assert store.merge(lambda item: item.name not in ("f01", "f04"), everything=True) == 1
    assert [item.name for item in store.sources()] == ["f00", "f02", "f03", "f05"]
    assert store.append(sources) == ["f01", "f04"]
    assert (everything(store, ["IMG"])[1]["IMG"] == before["IMG"]).all()
    assert store.merge(lambda item: False, everything=True) == 2
    assert store.sources() == []
    assert store.append(sources[:1]) == ["f00"]


def test_rows_of_an_interval(tmp_path):
    """Against numpy, at and beside stamps; the last source is not in order of TIME."""
    sources = overlapping(4)
    back = np.array([5.0, 6.0, 9.0, 8.0, 7.0, 10.0]) + 8e8
    sources.append(plain("g", back, IMG=np.zeros((6, 16), ">f4"), N=np.arange(6, dtype="u1")))
    store = Store(tmp_path / "s", "keep")
    store.append(sources)
    by_name = {source.name: source.columns["TIME"] for source in sources}
    stamps = np.concatenate([*by_name.values(), [0.0, 1e10, -np.inf, np.inf]])
    rng = np.random.default_rng(3)
    for tstart, tstop in rng.choice(stamps, (300, 2)):
        for closed in (True, False):
            for item in store.sources():
                time = by_name[item.name]
                below = time <= tstop if closed else time < tstop
                rows = np.flatnonzero((time >= tstart) & below)
                row0, row1 = store.rows_between(item, tstart, tstop, closed=closed)
                assert item.row0 <= row0 <= row1 <= item.row1
                assert row1 - row0 == (rows[-1] - rows[0] + 1 if len(rows) else 0)
                if len(rows):
                    assert row0 - item.row0 == rows[0]
    assert [item.name for item in store.sources() if not item.ascending] == ["g"]
    touched = store.sources(7e8 + 4.1 * 300, 7e8 + 4.1 * 594)
    assert [item.name for item in touched] == ["f01", "f02"]


def test_steps_answer_whether_the_next_sample_is_near(tmp_path):
    store = Store(tmp_path / "s", "keep")
    time = np.cumsum([7e8] + [4.1] * 499 + [900.0] + [4.1] * 499)
    irregular = np.sort(np.random.default_rng(1).uniform(0, 1e5, 1000))
    store.append([plain("a", time), plain("b", irregular, OTHER=np.arange(1000))])
    regular, other = sorted(store.sources(), key=lambda item: item.name)
    row0, row1, t0, step = store.steps(regular.segment, 100, 900)
    assert (row0.tolist(), row1.tolist()) == ([100, 500], [500, 900])
    assert t0 == pytest.approx(time[[100, 500]], abs=1e-6)
    assert step == pytest.approx([4.1, 4.1], abs=1e-6)
    assert store.steps(other.segment, 0, 1000) is None


def test_a_column_that_is_not_everywhere(tmp_path):
    store = Store(tmp_path / "s", "keep")
    a, b = plain("a", [1.0, 2.0], V=np.array([1, 2], "i2")), plain("b", [3.0, 4.0])
    store.append([a])
    store.append([b])
    store.merge(everything=True)
    assert len({item.segment for item in store.sources()}) == 2
    with pytest.raises(MissingDataError, match="no column V"):
        everything(store, ["V"])
    assert everything(store, ["TIME"])[1]["TIME"].tolist() == [1, 2, 3, 4]
    c = plain("c", [5.0, 6.0], V=np.array([0.5, 3], "f8"))
    store.append([c])
    ranges = [(i.segment, 0, 2) for i in store.sources() if i.name != "b"]
    assert store.read_rows(ranges, ["V"])["V"].tolist() == [1, 2, 0.5, 3]
    assert store.read_rows([], ["V", "TIME"])["V"].shape == (0,)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"V": np.zeros(2)}, "x has no column TIME"),
        ({"TIME": np.array([1.0, np.nan])}, "TIME of x is not a finite"),
        ({"TIME": np.zeros(2, "f4")}, "TIME of x is not a finite"),
        ({"TIME": np.zeros(2), "V": np.zeros(3)}, r"V of x has shape \(3,\)"),
        ({"TIME": np.zeros(2), "V": np.zeros((2, 2, 2))}, r"V of x has shape \(2, 2, 2\)"),
        ({"TIME": np.zeros(2), "V": np.array(["a", "b"])}, "V of x is <U1"),
        ({"TIME": np.zeros(2), "../V": np.zeros(2)}, "'../V' of x"),
    ],
)
def test_columns_that_no_store_holds(tmp_path, columns, message):
    store = Store(tmp_path / "s", "keep")
    with pytest.raises(SchemaError, match=message):
        store.append([Source("x", 1, 1, "x", columns)])
    assert store.sources() == []


def test_sources_without_rows_leave_nothing(tmp_path):
    store = Store(tmp_path / "s", "cut")
    assert store.append([plain("x", [])]) == []
    assert store.sources() == []


# --- cut mode ---


def deliveries():
    """Thirty overlapping files, seven reprocessed ones, two of them with holes."""
    files = [delivery(f"n{i:02d}", i * 100, 120) for i in range(30)]
    files += [delivery(f"n{i:02d}r", i * 100 - 7, 130, 2) for i in (3, 4, 11, 25, 29)]
    # 5 samples (20.5 s) missing are covered, 30 (123 s) are not.
    files.append(delivery("hole", 700, 250, 2, holes=[(760, 765), (800, 830)]))
    files.append(delivery("best", 790, 25, 3))
    return files


def at_random(shuffled):
    """Files anywhere in 3000 samples, with holes of all lengths."""
    files = []
    for i in range(40):
        first, count = shuffled.randrange(3000), shuffled.randrange(20, 400)
        begin = first + shuffled.randrange(count)
        holes = [(begin, begin + shuffled.randrange(1, 40))] if i % 2 else []
        files.append(delivery(f"r{i}", first, count, shuffled.randrange(1, 4), holes=holes))
    return files


@pytest.mark.parametrize("seed", range(4))
def test_any_order_shows_the_same_rows(tmp_path, seed):
    shuffled = random.Random(seed)
    files = deliveries() if seed < 2 else at_random(shuffled)
    order = shuffled.sample(files, len(files)) + shuffled.choices(files, k=8)
    store = Store(tmp_path / "s", "cut", fanin=4, max_rows=1500, grace_s=0)
    for i, source in enumerate(order):
        store.append([source] if seed % 2 else order[i : i + 3])
        if shuffled.random() < 0.4:
            store.merge(everything=shuffled.random() < 0.1)
    for _ in range(2):
        rows = store.read(["V", "W", "X", "LATE"])
        check(rows)
        time, value = shown(files)
        assert rows.times.tolist() == time.tolist()
        assert rows.columns["V"].tolist() == value.tolist()
        reprocessed = value % 10 > 1
        assert (rows.bads["LATE"] == ~reprocessed).all()
        k = value // 10
        assert (rows.columns["LATE"] == np.where(reprocessed, k % 5, 0)).all()
        part = store.read(["V"], time[500], time[900])
        assert part.columns["V"].tolist() == value[500:900].tolist()
        store.merge(everything=True)
        assert store.append(files) == []
    assert store.merge(everything=True) == 0
    items = store.sources()
    assert all(a.t_last < b.t_first for a, b in pairwise(items))
    assert sum(item.row1 - item.row0 for item in items) == len(time)
    assert len({item.segment for item in items}) <= 3


def test_rows_out_of_order_and_equal_stamps(tmp_path):
    """Sorted; of equal stamps the last row stays, with its bad flag."""
    store = Store(tmp_path / "s", "cut")
    columns = {"TIME": np.array([3.0, 1.0, 2.0, 1.0]), "V": np.array([0, 1, 2, 3], "i2")}
    bad = np.array([False, True, True, False])
    store.append([Source("a", 1, 1, "x", columns, {"V": bad})])
    rows = store.read(["V"])
    assert rows.times.tolist() == [1, 2, 3]
    assert rows.columns["V"].tolist() == [3, 2, 0]
    assert rows.bads["V"].tolist() == [False, True, False]


def test_a_column_that_widens(tmp_path):
    """Bytes grow longer and integers become floats; a vector never becomes a scalar."""
    store = Store(tmp_path / "s", "cut")
    store.append([plain("a", [1.0, 2.0], S=np.array([b"ON", b"OFF"]), V=np.array([1, 2], "i2"))])
    store.append([plain("b", [9.0], S=np.array([b"STANDBY"]), V=np.array([0.5]))])
    for _ in range(2):
        rows = store.read(["S", "V"])
        assert rows.columns["S"].tolist() == [b"ON", b"OFF", b"STANDBY"]
        assert rows.columns["V"].tolist() == [1, 2, 0.5]
        store.merge(everything=True)
    with pytest.raises(SchemaError, match="column V"):
        store.append([plain("c", [20.0], V=np.zeros((1, 2)))])


def test_cut_mode_refuses_other_content_under_a_name(tmp_path):
    store = Store(tmp_path / "s", "cut")
    store.append([plain("a", [1.0, 2.0])])
    with pytest.raises(ArchiveConflictError, match="a is in"):
        store.append([Source("a", 1, 1, "other", {"TIME": np.array([2.0])})])
    with pytest.raises(DamagedStoreError, match="mode keep"):
        Store(tmp_path / "s", "keep").sources()
    with pytest.raises(InputError):
        Store(tmp_path / "t", "keep").read(["V"])
    with pytest.raises(MissingDataError):
        store.read(["V"])


# --- tiers ---


def test_each_row_is_rewritten_once_per_tier(tmp_path):
    """64 deliveries, fan-in 4: three tiers, so four times 64 x 100 rows are written."""
    store = Store(tmp_path / "s", "cut", fanin=4, grace_s=1e6)
    for i in range(64):
        store.append([delivery(f"n{i}", i * 100, 100)])
        store.merge()
    document = json.loads((tmp_path / "s" / "manifest.json").read_text())
    assert [piece[2] for piece in document["pieces"]] == [6400]
    assert document["generation"] == 64 + 16 + 4 + 1


def test_large_segments_are_left_alone_until_many_small_ones_lie_between(tmp_path):
    """Sealed segments of 1000 rows with a late delivery after each: joined beyond 32."""
    store = Store(tmp_path / "s", "cut", fanin=2, max_rows=1000)
    for i in range(36):
        store.append([delivery(f"big{i}", i * 2000, 1000)])
    assert store.merge() == 0
    for i in range(32):
        store.append([delivery(f"late{i}", i * 2000 + 1200, 10)])
    assert store.merge() == 0
    store.append([delivery("late32", 32 * 2000 + 1200, 10)])
    assert store.merge() == 2
    rows = store.read(["V", "W", "X"])
    check(rows)
    assert len(rows.times) == 36 * 1000 + 33 * 10


# --- readers, damage, full disks ---


def files_of(root):
    return sorted(path.name for path in (root / "seg").iterdir())


def test_replaced_segments_stay_for_the_grace_time(tmp_path):
    root = tmp_path / "s"
    sources = overlapping(8)
    store = Store(root, "keep")
    for source in sources:
        store.append([source])
    reader = Store(root, "keep")
    _, before = everything(reader, ["IMG"])
    ranges = [(item.segment, item.row0, item.row1) for item in reader.sources()]
    store.merge()
    assert len(files_of(root)) == 9
    assert (reader.read_rows(ranges, ["IMG"])["IMG"] == before["IMG"]).all()
    impatient = Store(root, "keep", grace_s=0)
    impatient.append(overlapping(1, seed=9))
    assert files_of(root) == ["00000009.h5"]
    with pytest.raises(DamagedStoreError, match=r"not there|no part"):
        reader.read_rows(ranges, ["IMG"])


def test_repeat_begins_anew_when_a_merge_took_the_segments(tmp_path):
    root = tmp_path / "s"
    store = Store(root, "keep", grace_s=0)
    for source in overlapping(3):
        store.append([source])
    reader = Store(root, "keep")
    tries = []

    def work():
        ranges = [(item.segment, item.row0, item.row1) for item in reader.sources()]
        if not tries:
            store.merge(everything=True)
            store.append([plain("z", [1e9])])
        tries.append(len(ranges))
        return len(reader.read_rows(ranges, ["TIME"])["TIME"])

    assert reader.repeat(work) == 901
    assert tries == [3, 4]


def test_readers_need_no_write_access(tmp_path):
    root = tmp_path / "s"
    Store(root, "keep").append(overlapping(2))
    (root / "seg" / ".00000009.h5.part").write_bytes(b"left by a dead writer")
    before = sorted(root.rglob("*"))
    for path in [root, *before]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert len(everything(Store(root, "keep"), ["IMG"])[1]["IMG"]) == 600
        assert sorted(root.rglob("*")) == before
    finally:
        for path in [root, *before]:
            path.chmod(0o755)


def test_many_threads_read_one_store(tmp_path):
    sources = overlapping(8)
    store = Store(tmp_path / "s", "keep")
    for source in sources:
        store.append([source])
    expected = np.concatenate([source.columns["IMG"] for source in sources])
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: everything(store, ["IMG"])[1]["IMG"], range(40)))
    assert all((values == expected).all() for values in found)


def test_damage_is_named_and_the_rest_is_served(tmp_path):
    root = tmp_path / "s"
    sources = overlapping(3)
    store = Store(root, "keep")
    for source in sources:
        store.append([source])
    assert store.verify() == []
    path = root / "seg" / "00000002.h5"
    content = bytearray(path.read_bytes())
    with store._open(path.name, store._manifest()) as segment:
        number = segment.head.places["IMG"]["chunk"]
        offset, size, _ = segment.head.chunks[number].tolist()
    content[offset + size - 1] ^= 1
    path.write_bytes(content)
    assert store.verify() == ["00000002.h5"]
    with pytest.raises(DamagedStoreError, match=r"IMG of .*00000002\.h5 fails") as caught:
        everything(store, ["N", "IMG"])
    assert (caught.value.path, caught.value.columns) == (path, ("IMG",))
    _, out = everything(store, ["N"])
    assert (out["N"] == np.concatenate([source.columns["N"] for source in sources])).all()
    path.unlink()
    assert store.verify() == ["00000002.h5"]
    (root / "manifest.json").write_text("{")
    with pytest.raises(DamagedStoreError, match="manifest"):
        store.sources()


def test_a_store_that_was_rebuilt_under_a_reader(tmp_path):
    """The same segment name, other content: the head in memory is not believed."""
    root = tmp_path / "s"
    reader = Store(root, "keep")
    for seed in (1, 2):
        source = overlapping(1, seed=seed)
        Store(root, "keep").append(source)
        assert (everything(reader, ["IMG"])[1]["IMG"] == source[0].columns["IMG"]).all()
        for path in sorted(root.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
    assert reader.sources() == []


@pytest.mark.fault
@pytest.mark.parametrize("victim", ["write_bytes", "write_text", "fsync"])
def test_a_full_disk_leaves_the_old_generation(tmp_path, monkeypatch, victim):
    """The kernel's answer, after half of the bytes, wherever a commit writes."""
    root = tmp_path / "s"
    store = Store(root, "cut")
    for i in range(8):
        store.append([delivery(f"n{i}", i * 100, 100)])
    before = files_of(root), (root / "manifest.json").read_bytes(), sorted(root.iterdir())

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def half(path, content, **kwargs):
        with path.open("wb") as stream:
            stream.write(b"x" * (len(content) // 2))
        full()

    with monkeypatch.context() as patch:
        if victim == "fsync":
            patch.setattr(os, "fsync", full)
        else:
            patch.setattr(Path, victim, half)
        with pytest.raises(StorageBusyError, match="No space left"):
            store.append([delivery("n9", 900, 100)])
        with pytest.raises(StorageBusyError, match="No space left"):
            store.merge()
    assert (files_of(root), (root / "manifest.json").read_bytes(), sorted(root.iterdir())) == before
    assert len(store.read(["V"]).times) == 800
    assert store.merge() == 8
    assert store.append([delivery("n9", 900, 100)]) == ["n9"]
    assert store.read([]).times.tolist() == [
        START + STEP_S * k for k in range(1000) if not 800 <= k < 900
    ]
