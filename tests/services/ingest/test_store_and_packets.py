"""The column store and raw packets, as ingest feeds them: plain calls, no queue."""

import json
import shutil

import numpy as np
import pytest
from astropy.io import fits

from acaflow.archive import aca_l0, l0_store
from acaflow.runtime import inprocess, messages
from acaflow.runtime.watch import deliver
from tests.support.facts import jobs
from tests.support.l0 import counters, make_l0_file
from tests.support.memory import open_in_memory

ALL = (0, 1e9)


@pytest.fixture
def runtime(home, sqlite_ledger, clock):
    return open_in_memory(home, sqlite_ledger)


@pytest.fixture
def root(runtime):
    return runtime.home.archive / "aca0"


def give(runtime, path):
    """Deliver a file and run all that follows."""
    deliver(runtime, path, "test")
    inprocess.run(runtime)


def tasks(runtime, state="done"):
    return [row.task for row in jobs(runtime.ledger) if row.state == state]


def sources(root, slot=0, imgsize=8):
    return sorted(item.name for item in l0_store.store_of(root, slot, imgsize).sources())


def test_ingest_fills_the_store(runtime, root, tmp_path):
    path = make_l0_file(tmp_path / "made")
    give(runtime, path)
    assert sources(root) == [path.name]
    assert l0_store.store_of(root, 0, 8).columns("00000001.h5").index("HD3TLM62") >= 0


def test_eight_small_segments_are_merged(runtime, root, tmp_path):
    for i in range(8):
        give(runtime, make_l0_file(tmp_path / "made", frame=16 * 24 * i))
    assert tasks(runtime).count("ingest.update_l0_store") == 8
    assert len({item.segment for item in l0_store.store_of(root, 0, 8).sources()}) == 1
    rows = aca_l0.get_slot_data(*ALL, 0, data_root=root)
    assert (rows["MJF"] * 128 + rows["MNF"]).tolist() == counters(0, 8 * 24, 8).tolist()


def test_damage_found_by_a_reader_is_mended(runtime, root, tmp_path):
    path = make_l0_file(tmp_path / "made", rows=300)
    give(runtime, path)
    (segment,) = (root / "store/0/8/seg").iterdir()
    segment.write_bytes(segment.read_bytes()[:-2000])
    expected = counters(0, 300, 8).tolist()
    for _ in range(2):  # the note is written once
        rows = aca_l0.get_slot_data(*ALL, 0, data_root=root)
        assert (rows["MJF"] * 128 + rows["MNF"]).tolist() == expected
    assert json.loads((root / "store/0/8/damaged.json").read_text())["segment"] == segment.name
    inprocess.run(runtime)
    inprocess.run(runtime)
    assert tasks(runtime).count("ingest.rebuild_l0_store") == 1
    assert not (root / "store/0/8/damaged.json").exists()
    assert l0_store.store_of(root, 0, 8).verify() == []
    assert sources(root) == [path.name]


def test_a_file_arrives_while_the_store_is_damaged(runtime, root, tmp_path):
    give(runtime, make_l0_file(tmp_path / "made", rows=300))
    (segment,) = (root / "store/0/8/seg").iterdir()
    segment.write_bytes(b"no segment")
    l0_store.store_of(root, 0, 8).reset()
    give(runtime, make_l0_file(tmp_path / "made", frame=16 * 290, rows=300, revision=2))
    assert tasks(runtime, "dead") == []
    inprocess.run(runtime)
    assert l0_store.store_of(root, 0, 8).verify() == []
    assert len(sources(root)) == 2
    assert len(aca_l0.get_slot_data(*ALL, 0, data_root=root)) == 590


def test_a_deleted_store_comes_back_by_a_job(runtime, root, tmp_path):
    for slot in (0, 1):
        give(runtime, make_l0_file(tmp_path / "made", slot=slot))
    shutil.rmtree(root / "store")
    assert len(aca_l0.get_slot_data(*ALL, 1, data_root=root)) == 24
    rebuild = {"slot": 1, "imgsize": 8}
    event = messages.manual_event("ingest.rebuild_l0_store", rebuild, "test", "test")
    runtime.record([event])
    inprocess.run(runtime)
    assert len(sources(root, 1)) == 1
    assert sources(root, 0) == []


def test_no_such_store(runtime):
    for task, arguments in (
        ("ingest.rebuild_l0_store", {"slot": 9, "imgsize": 6}),
        ("ingest.rebuild_l0_store", {"slot": 0, "imgsize": 5}),
        ("ingest.update_l0_store", {"slot": -1}),
    ):
        runtime.record([messages.manual_event(task, arguments, "test", "test")])
    inprocess.run(runtime)
    dead = [row.error_class for row in jobs(runtime.ledger) if row.state == "dead"]
    assert dead == ["InputError"] * 3


def test_garbage_under_the_name_of_packets(runtime, tmp_path):
    path = tmp_path / "aca_packets_686111010_686111040.bin"
    path.write_bytes(bytes(range(256)) * 20)
    give(runtime, path)
    (row,) = jobs(runtime.ledger)
    assert (row.state, row.error_class) == ("dead", "BadInput")
    assert row.error_text.startswith(f"{path.name}: none of its 5120 bytes belongs to a packet")
    assert list(runtime.home.work.iterdir()) == []


REAL = "aca_packets_686111010_686111040.fits"


@pytest.mark.real
def test_real_packets_serve_until_level_0_arrives(runtime, root, real_data, tmp_path):
    packets = tmp_path / REAL
    shutil.copyfile(real_data / "real" / "aca_packets" / REAL, packets)
    give(runtime, packets)
    assert tasks(runtime, "dead") == []
    kept = next((root / "packets").rglob("*.fits"))
    assert kept.read_bytes() == packets.read_bytes()
    made = aca_l0.get_slot_data(*ALL, 0, data_root=root)
    assert len(made) == 7
    assert sources(root) == [made["FILENAME"][0]]
    delivered = real_data / "real" / "aca_l0" / "acaf686111014N001_0_img0.fits.gz"
    with fits.open(delivered) as hdus:
        truth = hdus[1].data
        key = truth["MJF"].astype(int) * 128 + truth["MNF"]
        mine = (made["MJF"].astype(int) * 128 + made["MNF"]).tolist()
        both = np.isin(key, mine)
        images = np.array(truth["IMGRAW"][both])
    shared = np.isin(mine, key[both])
    assert both.sum() == 6  # level 0 begins with the second image
    found = made["IMGRAW"].data.reshape(-1, 8, 8)[shared]
    np.testing.assert_array_equal(found, images)
    copy = tmp_path / delivered.name
    shutil.copyfile(delivered, copy)
    give(runtime, copy)
    rows = aca_l0.get_slot_data("2019:272", "2019:273", 0, data_root=root)
    assert rows["FILENAME"].tolist() == [delivered.name] * 1568
