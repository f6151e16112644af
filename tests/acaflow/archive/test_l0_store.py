"""The fast copy of the level-0 archive gives exactly what the files give."""

import itertools
import logging
import multiprocessing
import random
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from acaflow.archive import aca_hdr3, aca_l0, l0_store
from acaflow.archive.l0_file import read_l0_content
from acaflow.archive.l0_index import L0Index
from acaflow.colstore import Store
from tests.support.l0 import BASE_TIME, MINOR_FRAME_S, counters, deliver, make_l0_file

SPAN = (BASE_TIME - 1000, BASE_TIME + 5000)
REAL = {
    "acaf285114427N001_4_img0.fits.gz": "aca4x4.fits.gz",
    "acaf285116120N001_0_img0.fits.gz": "aca8x8.fits.gz",
    **{
        name: name
        for name in (f"acaf686111014N001_{slot}_img0.fits.gz" for slot in (0, 2, 3, 5, 6))
    },
}
"""Archive name and name in the folder of real files."""


def store(root, path, name=None):
    """Append an archived file to its store, as ingest does after the commit."""
    l0_store.add(root, [read_l0_content(path, name or path.name)])


def rebuild(root, slot, imgsize, staged):
    with L0Index(root) as index:
        l0_store.build(Store(staged, "keep", l0_store.CODEC), root, index.active(slot, imgsize))
    l0_store.replace(root, slot, imgsize, staged)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "aca0"


def copy_without_store(root, plain):
    """Return the same archive, with files and index only."""
    shutil.copytree(root, plain, ignore=shutil.ignore_patterns("store"))
    return plain


def assert_same(found, expected):
    """Compare two masked structured arrays: dtype, mask and every byte."""
    assert found.dtype == expected.dtype
    assert found.mask.tobytes() == expected.mask.tobytes()
    assert found.data.tobytes() == expected.data.tobytes()


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Files of all sizes of slot 0: gaps, overlaps, revisions, odd columns; most are stored.

    The archive, and a copy without the store.
    """
    tmp_path = tmp_path_factory.mktemp("both")
    root = tmp_path / "aca0"
    paths = [
        make_l0_file(tmp_path / "a", imgsize=8, frame=0, rows=50),
        make_l0_file(tmp_path / "b", imgsize=8, frame=16 * 50, rows=50),
        make_l0_file(tmp_path / "c", imgsize=6, frame=16 * 100, rows=60),
        make_l0_file(tmp_path / "d", imgsize=4, frame=2100, rows=80),
        make_l0_file(tmp_path / "e", imgsize=8, frame=2420, rows=40),
        make_l0_file(tmp_path / "f", imgsize=8, frame=2420 + 16 * 20, rows=40, revision=2),
        make_l0_file(
            tmp_path / "g",
            imgsize=8,
            frame=4000,
            rows=30,
            values={
                "QUALITY": np.arange(30) % 5 == 0,
                "INTEG": np.where(np.arange(30) == 7, 0.0, 1.696),
            },
        ),
        make_l0_file(
            tmp_path / "h",
            imgsize=8,
            frame=5000,
            rows=30,
            values={"PIXTLM": ("4A", ["ORIG"] * 29 + ["DYNB"]), "BGDTYP": ("4A", ["FLAT"] * 30)},
        ),
        make_l0_file(tmp_path / "i", imgsize=8, frame=6000, rows=30, drop=["MJF", "MNF"]),
        make_l0_file(tmp_path / "j", imgsize=6, frame=7000, rows=30, drop=["TEMPCCD"]),
    ]
    for path in paths:
        deliver(root, path)
    for path in paths:
        if path.parent.name != "b":  # read from its file, between two that are stored
            store(root, path)
    return root, copy_without_store(root, tmp_path / "plain")


OPTIONS = [
    {},
    {"unique": False},
    {"quality": "good"},
    {"units": "e-/s"},
    {"centered_8x8": True},
    {"imgsize": [8]},
    {"imgsize": [4, 6], "columns": ["IMGRAW", "TEMPCCD", "FILENAME"]},
    {"columns": ["QUALITY", "HD3TLM62"]},
    {"imgsize": 8, "columns": ["IMGRAW"], "units": "e-/s", "centered_8x8": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_slot_data_equal_the_files(both, options):
    many, plain = both
    expected = aca_l0.get_slot_data(*SPAN, 0, data_root=plain, **options)
    assert_same(aca_l0.get_slot_data(*SPAN, 0, data_root=many, **options), expected)
    assert len(expected) > 50


def test_any_interval_equals_the_files(both):
    (many, plain), chance = both, random.Random(3)
    ends = [BASE_TIME + MINOR_FRAME_S * frame - 0.848 for frame in (0, 16, 800, 1600, 2420, 4000)]
    ends += [chance.uniform(BASE_TIME - 50, BASE_TIME + 2000) for _ in range(10)]
    for start, stop in itertools.combinations(sorted(ends), 2):
        expected = aca_l0.get_slot_data(start, stop, 0, data_root=plain)
        assert_same(aca_l0.get_slot_data(start, stop, 0, data_root=many), expected)


def test_every_reader_gives_the_same(both):
    many, plain = both
    for found, expected in zip(
        aca_l0.get_l0_images(*SPAN, 0, data_root=many),
        aca_l0.get_l0_images(*SPAN, 0, data_root=plain),
        strict=True,
    ):
        assert found.tobytes() == expected.tobytes()
        assert found.meta == expected.meta
    found, expected = (aca_l0.get_aca_images(*SPAN, data_root=each) for each in (many, plain))
    assert found.colnames == expected.colnames
    for name in found.colnames:
        assert np.ma.getdata(found[name]).tobytes() == np.ma.getdata(expected[name]).tobytes()
        assert (np.ma.getmaskarray(found[name]) == np.ma.getmaskarray(expected[name])).all()
    found, expected = (aca_l0.MSID("TEMPCCD", 0, *SPAN, data_root=r) for r in (many, plain))
    assert found.vals.tolist() == expected.vals.tolist()
    assert found.times.tolist() == expected.times.tolist()
    found, expected = (aca_hdr3.MSID("064", *SPAN, data_root=each) for each in (many, plain))
    assert found.vals.tolist() == expected.vals.tolist()
    assert found.times.tolist() == expected.times.tolist()
    coverage = [list(aca_l0.get_coverage(*SPAN, 0, data_root=each)) for each in (many, plain)]
    assert [tuple(row) for row in coverage[0]] == [tuple(row) for row in coverage[1]]


def test_the_store_is_what_answers(root, tmp_path):
    path = make_l0_file(tmp_path / "a", rows=40)
    deliver(root, path)
    store(root, path)
    (archived,) = root.glob("*/*/*.gz")
    archived.unlink()
    rows = aca_l0.get_slot_data(*SPAN, 0, data_root=root)
    assert (rows["MJF"] * 128 + rows["MNF"]).tolist() == counters(0, 40, 8).tolist()


def test_another_content_under_the_same_name_is_not_taken_from_the_store(root, tmp_path):
    old = make_l0_file(tmp_path / "old", rows=20, date="2020-01-01T00:00:00")
    new = make_l0_file(tmp_path / "new", rows=24, date="2020-01-02T00:00:00")
    deliver(root, old)
    store(root, old)
    deliver(root, new)
    assert len(aca_l0.get_slot_data(*SPAN, 0, data_root=root)) == 24
    store(root, new)
    assert len(aca_l0.get_slot_data(*SPAN, 0, data_root=root)) == 24


def test_merge_and_rebuild_change_no_answer_and_drop_superseded_files(root, tmp_path):
    for i in range(17):
        path = make_l0_file(tmp_path / "a", frame=16 * 20 * i, rows=20)
        deliver(root, path)
        store(root, path)
    better = make_l0_file(tmp_path / "b", frame=0, rows=40, revision=2)
    deliver(root, better)
    store(root, better)
    expected = aca_l0.get_slot_data(
        *SPAN, 0, data_root=copy_without_store(root, tmp_path / "plain")
    )
    assert len(expected) == 17 * 20
    with L0Index(root) as index:
        assert l0_store.merge(root, 0, 8, index.active_sums(0, 8)) > 0
    assert_same(aca_l0.get_slot_data(*SPAN, 0, data_root=root), expected)
    names = {item.name for item in l0_store.store_of(root, 0, 8).sources()}
    assert "acaf686000001N001_0_img0.fits.gz" not in names
    assert better.name in names
    rebuild(root, 0, 8, tmp_path / "staged")
    assert_same(aca_l0.get_slot_data(*SPAN, 0, data_root=root), expected)
    assert len(list((root / "store" / "0" / "8" / "seg").iterdir())) == 1


def test_damage_is_noted_and_the_files_answer(root, tmp_path, caplog):
    path = make_l0_file(tmp_path / "a", rows=2000)
    deliver(root, path)
    store(root, path)
    plain = copy_without_store(root, tmp_path / "plain")
    (segment,) = (root / "store" / "0" / "8" / "seg").iterdir()
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 0xFF
    segment.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        found = aca_l0.get_slot_data(*SPAN, 0, data_root=root)
    assert_same(found, aca_l0.get_slot_data(*SPAN, 0, data_root=plain))
    assert "the level-0 files are read instead" in caplog.text
    assert segment.name in (root / "store" / "0" / "8" / "damaged.json").read_text()
    rebuild(root, 0, 8, tmp_path / "staged")
    assert not (root / "store" / "0" / "8" / "damaged.json").exists()
    caplog.clear()
    assert_same(aca_l0.get_slot_data(*SPAN, 0, data_root=root), found)
    assert not caplog.text


def append(root, paths):
    for path in paths:
        store(root, path)


@pytest.mark.fault
def test_fifty_kills_while_appending(root, tmp_path):
    paths = [make_l0_file(tmp_path / "a", frame=16 * 300 * i, rows=300) for i in range(12)]
    for path in paths:
        deliver(root, path)
    span = (BASE_TIME - 100, BASE_TIME + 20_000)
    expected = aca_l0.get_slot_data(
        *span, 0, data_root=copy_without_store(root, tmp_path / "plain")
    )
    chance = random.Random(50)
    complete = 0
    for _ in range(50):
        child = multiprocessing.get_context("fork").Process(target=append, args=(root, paths))
        child.start()
        time.sleep(chance.uniform(0, 0.2))
        child.kill()
        child.join()
        assert_same(aca_l0.get_slot_data(*span, 0, data_root=root), expected)
        if len(l0_store.store_of(root, 0, 8).sources()) == len(paths):
            complete += 1
            shutil.rmtree(root / "store")
    assert complete < 50
    append(root, paths)
    assert l0_store.store_of(root, 0, 8).verify() == []
    left = [path for path in (root / "store").rglob("*") if "part" in path.name]
    assert left == []
    (archived, *_) = sorted(root.glob("*/*/*.gz"))
    archived.unlink()  # the store answers
    assert_same(aca_l0.get_slot_data(*span, 0, data_root=root), expected)


@pytest.mark.real
@pytest.mark.parametrize("seed", range(4))
def test_real_files_in_any_order(real_data, root, tmp_path, seed):
    names = list(REAL)
    random.Random(seed).shuffle(names)
    for name in names:
        source = real_data / "real" / "aca_l0" / REAL[name]
        deliver(root, source, name)
        store(root, source, name)
    plain = copy_without_store(root, tmp_path / "plain")
    for slot in (0, 2, 3, 4, 5, 6):
        for options in ({}, {"columns": ["TIME", "TEMPCCD", "IMGRAW"]}, {"units": "e-/s"}):
            found, expected = (
                aca_l0.get_slot_data(0, 1e9, slot, data_root=each, **options)
                for each in (root, plain)
            )
            assert_same(found, expected)
    found, expected = (
        aca_hdr3.MSID("ccd_det_therm", 0, 1e9, data_root=each) for each in (root, plain)
    )
    assert found.vals.data.tobytes() == expected.vals.data.tobytes()
    assert found.vals.mask.tobytes() == expected.vals.mask.tobytes()
    assert len(found.vals) == 1568 + 201
    shutil.rmtree(next(Path(root).glob("2019")))  # the store answers
    assert len(aca_l0.get_slot_data("2019:272", "2019:273", 3, data_root=root)) == 3135
