"""Simulated packets: what comes out of the stream is what level 0 says, mishaps are counted."""

import sqlite3

import numpy as np
import pytest
from astropy.io import fits

from acaflow.archive.aca_packets import (
    RECORD,
    assemble_images,
    decode_packets,
    read_packets,
)
from acaflow.archive.l0_write import l0_files
from acaflow.errors import InputError
from acaflow.simulate.aca_l0 import Func, L0Scenario, Readout, simulate_l0
from acaflow.simulate.aca_packets import Mishaps, packet_records, simulate_packets, stream_bytes
from tests.support.l0 import deliver

T0 = 685829300.0
"""Four minutes before the VCDU counter wraps."""
SCENARIO = L0Scenario(
    T0,
    T0 + 400,
    file_s=150,
    seed=3,
    plan={
        1: [Readout(T0 + 100, 4, Func.NULL), Readout(T0 + 200, 8, Func.SEARCH)],
        4: [Readout(T0 + 120, 4), Readout(T0 + 240, 6, Func.REACQUIRE)],
        7: [Readout(T0, 8), Readout(T0 + 300, 6)],
    },
    gaps=[(T0 + 330, T0 + 360)],
    integ=[(T0 + 50, T0 + 60, 0.704)],
)
STEPS = {4: 1, 6: 2, 8: 4}


@pytest.fixture(scope="module")
def delivered(tmp_path_factory):
    """The level-0 files of the scenario."""
    return simulate_l0(SCENARIO, tmp_path_factory.mktemp("l0"))


@pytest.fixture(scope="module")
def level0(delivered):
    """Their rows: (slot, size) -> columns, joined in time order."""
    parts = {}
    for path in delivered:
        data = fits.getdata(path, 1)
        key = int(data["IMGNUM1"][0]), data["IMGRAW"].shape[1]
        parts.setdefault(key, []).append(data)
    joined = {}
    for key, tables in parts.items():
        tables.sort(key=lambda data: data["TIME"][0])
        names = tables[0].names
        joined[key] = {n: np.concatenate([data[n] for data in tables]) for n in names}
    return joined


@pytest.fixture(scope="module")
def clean(delivered):
    """The records of the packets without any mishap."""
    return packet_records(delivered)


def images_of(stream):
    return assemble_images(decode_packets(stream.packets, stream.time, stream.mjf, stream.mnf))


def check(images, level0, clean, lost=()):
    """Compare images with level 0: all and only those with no packet among the `lost` records."""
    lost = set(clean["counter"][list(lost)].tolist())
    n_incomplete = np.zeros(8, int)
    for (slot, size), rows in level0.items():
        begin = rows["MJF"].astype(np.int64) * 128 + rows["MNF"]
        packets = (begin[:, None] + 4 * np.arange(STEPS[size])) % 2**24
        n_lost = np.isin(packets, list(lost)).sum(axis=1)
        n_incomplete[slot] += ((n_lost > 0) & (n_lost < STEPS[size])).sum()
        values = images.columns[slot, size]
        assert set(values) == {*rows, "PIXTLM", "BGDTYP"}
        for name, column in rows.items():
            assert np.array_equal(values[name], column[n_lost == 0]), name
        assert set(values["PIXTLM"]) == {b"ORIG"}
        assert set(values["BGDTYP"]) == {b"FLAT"}
    assert images.incomplete.tolist() == n_incomplete.tolist()


def test_all_images_come_back_bit_by_bit(tmp_path, level0, clean):
    path = simulate_packets(SCENARIO, tmp_path)
    stream = read_packets(path)
    # 97 cycles of 4.1 s begin in 400 s. The 30 s of loss hit fifteen 6x6 images.
    assert path.name == "aca_packets_685829303_685829702.bin"
    assert (stream.report.kept, stream.report.missing) == (97 * 4 - 30, 30)
    assert str(stream.report) == f"{path.name}: 358 packets; 30 missing"
    assert path.stat().st_size == 358 * 236
    assert set(level0) == {
        *((0, 8), (1, 8), (1, 4), (2, 8), (3, 6), (4, 6), (4, 4), (5, 6), (6, 6), (7, 8), (7, 6))
    }
    check(images_of(stream), level0, clean)
    assert {path.name for path in tmp_path.iterdir()} == {path.name}


@pytest.mark.real
def test_packets_of_real_level_0_are_the_real_packets(real_data):
    """Eight slots for 37 s, made into packets, give the bytes that the spacecraft sent."""
    folder = real_data / "real"
    made = packet_records(sorted((folder / "aca_l0_small").glob("*.fits.gz")))
    real = fits.getdata(folder / "aca_packets" / "aca_packets_686111010_686111040.fits", 1)
    counter, ours, theirs = np.intersect1d(
        made["counter"], real["VCDUCTR"].astype(np.uint32), return_indices=True
    )
    assert len(counter) == 26
    made, real = made[ours], real[theirs]
    differing = made["packet"] != real["PACKET"]
    # COMMPROG of packets with which no image begins is in no level-0 row.
    assert np.flatnonzero(differing.any(axis=0)).tolist() == [4]
    assert not differing[counter % 8 == 4].any()
    assert np.abs(made["time"] - real["TIME"]).max() < 0.0002


# --- Mishaps ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mishaps", "lost", "expected"),
    [
        (Mishaps(dropped=[10, 11, 57]), [10, 11, 57], {"missing": 3}),
        (
            Mishaps(wrong_counter={20: 4, 90: -8, 91: 1, 200: 1 << 30}),
            [20, 90, 91, 200],
            {"missing": 4, "wrong_counter": 4},
        ),
        (Mishaps(duplicated=[0, 33, 34]), [], {"duplicates": 3}),
        (Mishaps(swapped=[0, 40, 44]), [], {"out_of_order": 3}),
        # Bytes of the packet; bytes of the head, of which the first two are there; a loss over
        # three records; the end of the last record.
        (Mishaps(cut={50: (100, 7)}), [50], {"missing": 1, "bytes_skipped": 229}),
        (Mishaps(cut={50: (3, 5)}), [50], {"missing": 1, "bytes_skipped": 231}),
        (Mishaps(cut={50: (9, 2)}), [50], {"missing": 1, "bytes_skipped": 234}),
        (
            Mishaps(cut={50: (200, 300)}),
            [50, 51, 52],
            {"missing": 3, "bytes_skipped": 3 * 236 - 300},
        ),
        (Mishaps(cut={-1: (235, 1)}), [-1], {"bytes_skipped": 235}),
        # A loss from the first byte of a record on takes the one before with it.
        (Mishaps(cut={50: (0, 4)}), [49, 50], {"missing": 2, "bytes_skipped": 2 * 236 - 4}),
    ],
)
def test_mishaps_are_counted_and_the_rest_is_whole(
    tmp_path, level0, clean, mishaps, lost, expected
):
    if -1 in mishaps.cut:
        mishaps = Mishaps(cut={len(clean) - 1: mishaps.cut[-1]})
    path = tmp_path / "a.bin"
    path.write_bytes(stream_bytes(clean, mishaps))
    assert_report(path, clean, lost, expected)
    check(images_of(read_packets(path)), level0, clean, lost)


def assert_report(path, clean, lost, expected):
    path_of_clean = path.with_name("clean.bin")
    path_of_clean.write_bytes(clean.tobytes())
    in_gap = read_packets(path_of_clean).report.missing
    report = vars(read_packets(path).report)
    nothing = dict.fromkeys(
        ("missing", "bytes_skipped", "wrong_counter", "duplicates", "out_of_order"), 0
    )
    found = {name: report[name] for name in nothing}
    found["missing"] -= in_gap
    assert found == nothing | expected
    assert report["kept"] == len(clean) - len(lost)


def test_any_mixture_of_mishaps(tmp_path, level0, clean):
    """Places at random; nothing that was damaged is believed, all else is there."""
    rng = np.random.default_rng(5)
    path = tmp_path / "a.bin"
    for _ in range(30):
        dropped, cut, wrong, twice, swapped = (
            rng.permutation(np.arange(1, len(clean) - 3, 3))[:30].reshape(5, 6).tolist()
        )
        lost_bytes = dict(
            zip(
                cut, zip(rng.integers(2, 100, 6), rng.integers(1, 137, 6), strict=True), strict=True
            )
        )
        mishaps = Mishaps(dropped, lost_bytes, dict.fromkeys(wrong, 4), twice, swapped)
        path.write_bytes(stream_bytes(clean, mishaps))
        lost = [*dropped, *cut, *wrong]
        expected = {
            "missing": len(lost),
            "bytes_skipped": int(sum(RECORD.itemsize - n for _, n in lost_bytes.values())),
            "wrong_counter": 6,
            "duplicates": 6,
            "out_of_order": 6,
        }
        assert_report(path, clean, lost, expected)
        check(images_of(read_packets(path)), level0, clean, lost)


def test_a_mishap_to_no_record(clean):
    for mishaps in (Mishaps(dropped=[len(clean)]), Mishaps(swapped=[len(clean) - 1])):
        expected = f"record {len(clean)} does not exist; the stream has {len(clean)}"
        with pytest.raises(InputError, match=expected):
            stream_bytes(clean, mishaps)


# --- Level-0 files ---------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["packets", "delivery"])
def test_the_delivery_supersedes_files_made_of_packets(tmp_path, delivered, clean, first):
    path = tmp_path / "a.bin"
    path.write_bytes(clean.tobytes())
    made = l0_files(images_of(read_packets(path)).columns, tmp_path / "made")
    assert {path.name[13:17] for path in made} == {"N000"}
    order = [*made, *delivered] if first == "packets" else [*delivered, *made]
    for path in order:
        deliver(tmp_path / "aca0", path)
    with sqlite3.connect(tmp_path / "aca0" / "archfiles.db3") as db:
        active = [name for (name,) in db.execute("SELECT filename FROM archfiles ORDER BY 1")]
        (n_all,) = db.execute("SELECT count(*) FROM all_files").fetchone()
    assert active == sorted(path.name for path in delivered)
    assert n_all == len(made) + len(delivered)


def test_one_file_for_each_run_of_one_size(tmp_path, clean):
    path = tmp_path / "a.bin"
    path.write_bytes(clean.tobytes())
    made = l0_files(images_of(read_packets(path)).columns, tmp_path / "made")
    sizes = {}
    for path in made:
        data = fits.getdata(path, 1)
        sizes.setdefault(int(path.name[18]), []).append(data["IMGRAW"].shape[1])
        assert set(data["IMGNUM1"]) == {int(path.name[18])}
    # The gap of 30 s ends no file.
    assert sizes == {
        **{0: [8], 2: [8], 3: [6], 5: [6], 6: [6]},
        **{1: [8, 4, 8], 4: [6, 4, 6], 7: [8, 6]},
    }
