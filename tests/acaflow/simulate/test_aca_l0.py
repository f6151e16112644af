"""Simulated level-0 files: the laws of flight files hold, and the truth is in them."""

import gzip
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time

from acaflow.errors import InputError
from acaflow.simulate.aca_l0 import (
    Func,
    L0Scenario,
    Readout,
    Reissue,
    Target,
    realistic_scenario,
    simulate_l0,
    truth,
)
from acaflow.simulate.header3 import HEADER3_MSIDS, header3_truth, thermistor_counts

T0 = 685829000.0
"""Ten minutes before the VCDU counter wraps (685829558.57)."""
STEP = {4: 4, 6: 8, 8: 16}
TIMEDEL = {4: 1.025, 6: 2.05, 8: 4.1}
WRAP = 1 << 24
GARBAGE = [0, 122, 0, 236, 0, 122, 0, 236, 0, 0, 0, 0]
HEADER3 = [f"HD3TLM{kind}{word}" for kind in (6, 7) for word in range(2, 8)]

BUSY = L0Scenario(
    T0,
    T0 + 1500,
    file_s=500,
    seed=7,
    plan={
        1: [Readout(T0 + 700, 4, Func.NULL), Readout(T0 + 900, 8)],
        4: [
            Readout(T0 + 200, 6, Func.REACQUIRE),
            Readout(T0 + 300, 4, Func.NULL),
            Readout(T0 + 800, 8, Func.SEARCH),
            Readout(T0 + 850, 8),
            Readout(T0 + 950, 6),
        ],
        6: [Readout(T0, 8, Func.NULL), Readout(T0 + 400, 6, Func.NULL)],
        7: [Readout(T0 - 5000, 4), Readout(T0 + 1200, 6)],
    },
    gaps=[(T0 + 100, T0 + 130), (T0 + 1100, T0 + 1101)],
    bad=[(T0 + 60, T0 + 70)],
    integ=[(T0 + 600, T0 + 602.05, 0.704)],
    reissues=[Reissue(T0 + 40, T0 + 300, 1), Reissue(T0 + 300, T0 + 700, 2)],
)
"""Every event that a scenario can have."""


@dataclass
class L0File:
    name: str
    primary: fits.Header
    header: fits.Header
    data: fits.FITS_rec
    table_checksums: tuple[int, int]
    primary_checksum: int

    @property
    def size(self):
        return self.data["IMGRAW"].shape[1]

    @property
    def count(self):
        """VCDU counts, unwrapped."""
        count = self.data["MJF"].astype(np.int64) * 128 + self.data["MNF"]
        return count + WRAP * np.concatenate([[0], np.cumsum(np.diff(count) < 0)])


def read(path):
    # The files have a blank DATASUM in the primary HDU, so checksums are asked for one by one.
    with fits.open(path, memmap=False) as hdus:
        table = hdus[1]
        checks = (table.verify_checksum(), table.verify_datasum())
        return L0File(
            path.name,
            hdus[0].header,
            table.header,
            table.data.copy(),
            checks,
            hdus[0].verify_checksum(),
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("busy")


@pytest.fixture(scope="module")
def busy(folder):
    """The files of the busy scenario, in order of delivery."""
    return [read(path) for path in simulate_l0(BUSY, folder)]


@pytest.fixture(scope="module")
def flight(real_data):
    """The flight files."""
    return [read(path) for path in sorted((real_data / "real" / "aca_l0").glob("*.fits.gz"))]


def is_first_delivery(file):
    """Files are made nine hours after their data; reissues a month or more later."""
    age = Time(file.header["DATE"], scale="utc") - Time(file.header["TSTOP"], format="cxcsec")
    return age.to_value("day") < 1


def originals(busy, slot):
    """First deliveries of a slot, in time order."""
    return [f for f in busy if f.data["IMGNUM1"][0] == slot and is_first_delivery(f)]


# --- Laws: true for every level-0 file, simulated or real ------------------------------------


def law_checksums(file):
    assert file.table_checksums == (1, 1)
    assert file.primary_checksum == 1
    assert file.primary["DATASUM"].strip() == ""
    for header in (file.primary, file.header):
        assert header.comments["CHECKSUM"].startswith("HDU checksum updated 20")


def law_structure(file):
    assert file.header["EXTNAME"] == "ACA_IMG0"
    width = {4: 111, 6: 213, 8: 343}[file.size]
    columns = {4: 18, 6: 27, 8: 45}[file.size]
    assert (file.header["NAXIS1"], file.header["TFIELDS"]) == (width, columns)
    assert file.header["TIMEDEL"] == TIMEDEL[file.size]
    unsigned = [c.name for c in file.data.columns if c.bzero == 32768]
    assert unsigned == ["IMGSCALE", "BGDAVG", *(["BGDRMS"] if file.size > 4 else [])]
    assert all(file.data[name].dtype == np.uint16 for name in unsigned)
    assert np.all(file.data["IMGNUM1"] == file.data["IMGNUM1"][0])


def law_end_of_integration(file):
    integ = file.data["INTEG"].astype(np.float64)
    assert np.abs(file.data["END_INTEG_TIME"] - integ / 2 - file.data["TIME"]).max() < 1e-6
    counts = integ / 0.016
    assert np.abs(counts - np.rint(counts)).max() < 1e-4


def law_header_times(file):
    end = file.data["END_INTEG_TIME"]
    assert abs(file.header["TSTART"] - (end[0] + 1.025)) < 1e-6
    assert abs(file.header["TSTOP"] - (end[-1] + 1.025 + TIMEDEL[file.size])) < 1e-6
    for header in (file.primary, file.header):
        for key, seconds in (("DATE-OBS", "TSTART"), ("DATE-END", "TSTOP")):
            whole = Time(round(header[seconds]), format="cxcsec", scale="tt")
            assert header[key] == whole.isot[:19]
    # Created on the ground, hours later.
    assert Time(file.header["DATE"], scale="utc").cxcsec > file.header["TSTOP"]


def law_frames(file):
    header, count = file.header, file.count
    start = header["STARTMJF"] * 128 + header["STARTMNF"]
    stop = header["STOPMJF"] * 128 + header["STOPMNF"]
    assert start == count[0]
    assert (stop - count[-1]) % WRAP == {4: 3, 6: 7, 8: 15}[file.size]
    assert file.data["MJF"].max() <= 131071
    assert set(file.data["MNF"]) <= set(range(0, 128, 4))


def law_time_grid(file):
    steps = np.diff(file.count)
    assert np.all(steps > 0)
    assert np.all(steps % STEP[file.size] == 0)
    n_steps = steps // STEP[file.size]
    spacing = np.diff(file.data["END_INTEG_TIME"])
    assert np.all(np.abs(spacing - n_steps * TIMEDEL[file.size]) < 1e-6 * n_steps)


def law_pixels(file):
    scale = file.data["IMGSCALE"].astype(np.float64)[:, None, None]
    raw10 = (file.data["IMGRAW"].astype(np.float64) + 50) * 32 / scale
    live = np.ones((file.size, file.size), dtype=bool)
    if file.size == 6:
        live[[0, 0, 5, 5], [0, 5, 0, 5]] = False
        assert np.all(file.data["IMGRAW"][:, ~live] == 0.0)
    assert np.abs(raw10[:, live] - np.rint(raw10[:, live])).max() < 1e-3
    assert raw10[:, live].min() >= 0
    assert raw10[:, live].max() < 1023.001


def law_null_rows(file):
    null = file.data[file.data["IMGFUNC1"] == 0]
    for column, value in (("IMGROW0", 511), ("IMGCOL0", 511), ("IMGSCALE", 1), ("BGDAVG", 511)):
        assert np.all(null[column] == value)
    assert set(np.unique(null["IMGRAW"])) <= ({-28.6875, 0.0} if file.size == 6 else {-28.6875})


def law_temperatures(file):
    if file.size > 4:
        for column in ("TEMPCCD", "TEMPHOUS", "TEMPPRIM", "TEMPSEC"):
            steps = (file.data[column].astype(np.float64) - 273.15) / 0.4
            assert np.abs(steps - np.rint(steps)).max() < 1e-3
            assert set(np.abs(np.diff(np.rint(steps)))) <= {0, 1}


def law_garbage_means_commanding(file):
    """Garbage header-3 bytes are in the last row only, which says that commands came in."""
    if file.size == 8:
        header3 = np.stack([file.data[name] for name in HEADER3], axis=1)
        garbage = np.all(header3 == GARBAGE, axis=1)
        assert not garbage[:-1].any()
        assert not garbage[-1] or file.data["COMMCNT"][-1] == 96


LAWS = [function for name, function in sorted(globals().items()) if name.startswith("law_")]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_law_holds_in_simulated_files(law, busy):
    assert {file.size for file in busy} == {4, 6, 8}
    for file in busy:
        law(file)


@pytest.mark.real
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_law_holds_in_flight_files(law, flight):
    assert [file.size for file in flight] == [4, 8, 8, 8, 6, 6, 6]
    for file in flight:
        law(file)


@pytest.mark.real
@pytest.mark.parametrize("size", [4, 6, 8])
def test_same_keywords_and_columns_as_a_flight_file(size, busy, flight):
    ours = next(file for file in busy if file.size == size)
    theirs = next(file for file in flight[::-1] if file.size == size)

    def keywords(header):
        return [key for key in header if key not in ("COMMENT", "HISTORY", "")]

    assert keywords(ours.primary) == keywords(theirs.primary)
    assert keywords(ours.header) == keywords(theirs.header)
    differing = {
        *("DATE", "DATE-OBS", "DATE-END", "TSTART", "TSTOP", "CHECKSUM", "DATASUM", "NAXIS2"),
        *("STARTMJF", "STARTMNF", "STOPMJF", "STOPMNF", "HISTNUM", "ASCDSVER", "TLMVER"),
        *("BTIMNULL", "BTIMRATE", "BTIMDRFT"),
    }
    for key in set(keywords(ours.header)) - differing:
        assert (key, ours.header[key]) == (key, theirs.header[key])
        assert type(ours.header[key]) is type(theirs.header[key])


# --- Files ---------------------------------------------------------------------------------


def test_names_follow_start_revision_and_slot(busy):
    for file in busy:
        start, revision = int(file.header["TSTART"]), file.header["REVISION"]
        assert file.name == f"acaf{start}N{revision:03d}_{file.data['IMGNUM1'][0]}_img0.fits.gz"


def test_an_early_time_is_padded_to_nine_digits(tmp_path):
    (path,) = simulate_l0(L0Scenario(98585000.0, 98585010.0, slots=[3]), tmp_path)
    file = read(path)
    assert file.name.startswith("acaf09858500")
    law_frames(file)
    law_header_times(file)


def test_gzip_holds_no_name_and_no_time_and_no_part_file_stays(folder, busy):
    assert sorted(path.name for path in folder.iterdir()) == sorted(file.name for file in busy)
    for path in folder.iterdir():
        head = path.read_bytes()[:8]
        assert head == b"\x1f\x8b\x08\x00\x00\x00\x00\x00"


def test_files_touch_and_sizes_change_between_files(busy):
    """First deliveries of a slot follow each other without a seam, at any image size."""
    for slot in range(8):
        for before, after in pairwise(originals(busy, slot)):
            assert abs(before.header["TSTOP"] - after.header["TSTART"]) < 2e-6
    # Cut after 500 s and 1000 s, and where the plan changes the size.
    assert [file.size for file in originals(busy, 4)] == [6, 4, 4, 8, 6, 6]


def test_file_length_splits_a_span_evenly(tmp_path):
    """Benchmarks count on 31 files of 7.75 h in ten days; here both are a hundredth."""
    scenario = L0Scenario(T0, T0 + 8640, slots=[0], file_s=279)
    starts = [read(path).header["TSTART"] for path in simulate_l0(scenario, tmp_path)]
    assert len(starts) == 31
    # 279 s are 68.05 cycles, so every file has 69.
    assert np.diff(starts) == pytest.approx(69 * 4.1, abs=1e-4)


def test_all_slots_share_the_grid(busy):
    """6x6 images begin at every second tick of the 4x4 images, 8x8 at every fourth."""
    phase = {4: set(), 6: set(), 8: set()}
    for file in busy:
        phase[file.size] |= set((file.count % 16).tolist())
    assert phase == {4: {0, 4, 8, 12}, 6: {4, 12}, 8: {12}}


def test_the_counter_wraps(busy):
    wrapped = [f for f in busy if np.any(np.diff(f.data["MJF"]) < 0)]
    assert {f.data["IMGNUM1"][0] for f in wrapped} == set(range(8))
    for file in wrapped:
        assert (file.data["MJF"].max(), file.data["MJF"].min()) == (131071, 0)
        assert file.header["STARTMJF"] > file.header["STOPMJF"]


def test_same_scenario_same_bytes(tmp_path, folder, busy):
    again = simulate_l0(BUSY, tmp_path)
    assert [path.name for path in again] == [file.name for file in busy]
    for path in again:
        assert path.read_bytes() == (folder / path.name).read_bytes()


def test_the_seed_changes_pixels_and_nothing_else(tmp_path):
    scenario = L0Scenario(T0, T0 + 60, slots=[3])
    one = read(simulate_l0(scenario, tmp_path / "a")[0])
    other = read(simulate_l0(replace(scenario, seed=1), tmp_path / "b")[0])
    assert not np.array_equal(one.data["IMGRAW"], other.data["IMGRAW"])
    for column in set(one.data.names) - {"IMGRAW", "IMGSCALE"}:
        assert np.array_equal(one.data[column], other.data[column]), column


def test_neighbouring_scenarios_join_without_a_seam():
    whole = truth(L0Scenario(T0, T0 + 120), 4)
    parts = [truth(L0Scenario(T0, T0 + 47), 4), truth(L0Scenario(T0 + 47, T0 + 120), 4)]
    for name in ("vcdu", "time", "raw10", "row", "scale"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        assert np.array_equal(joined, getattr(whole, name)), name


def test_type_columns_are_optional(tmp_path):
    scenario = L0Scenario(T0, T0 + 20, slots=[0], has_type_columns=True)
    file = read(simulate_l0(scenario, tmp_path)[0])
    assert file.data.names[5:9] == ["INTEG", "PIXTLM", "BGDTYP", "GLBSTAT"]
    assert set(file.data["PIXTLM"]) == {"ORIG"}
    assert set(file.data["BGDTYP"]) == {"FLAT"}
    assert file.table_checksums == (1, 1)


# --- Events --------------------------------------------------------------------------------


def test_gap_loses_every_image_with_a_lost_packet(busy):
    """Packets of an image last from END_INTEG_TIME + 1.025 s for TIMEDEL."""
    for slot in (0, 3, 7):
        for file in originals(busy, slot):
            first = file.data["END_INTEG_TIME"] + 1.025
            for start, stop in BUSY.gaps:
                assert not np.any((first < stop) & (first + TIMEDEL[file.size] > start))
    (file, *_) = originals(busy, 0)
    lost = np.diff(file.count)[np.diff(file.count) != 16]
    # 30 s of loss hit 30 / 4.1 = 7.3 images: eight or nine of them are gone.
    assert lost.tolist() in ([9 * 16], [10 * 16])


def test_no_file_for_a_span_that_is_lost_as_a_whole(tmp_path):
    scenario = L0Scenario(T0, T0 + 30, slots=[0, 5], file_s=10, gaps=[(T0 + 5, T0 + 25)])
    files = [read(path) for path in simulate_l0(scenario, tmp_path)]
    assert len({int(file.header["TSTART"]) for file in files}) == 2


def test_short_integrations_shift_time_and_not_the_grid(busy):
    file = next(f for f in originals(busy, 7) if f.size == 4 and np.ptp(f.data["INTEG"]) > 0)
    short = np.flatnonzero(np.abs(file.data["INTEG"] - 0.704) < 1e-6)
    assert short.tolist() == [short[0], short[0] + 1]
    steps = np.diff(file.data["TIME"])
    # The values of the flight file of 2007 with the same change.
    assert steps[short[0] - 1] == pytest.approx(1.521, abs=1e-6)
    assert steps[short[0]] == pytest.approx(1.025, abs=1e-6)
    assert steps[short[1]] == pytest.approx(0.529, abs=1e-6)


@pytest.mark.real
def test_the_flight_file_with_short_integrations_has_the_same_steps(flight):
    steps = np.diff(flight[0].data["TIME"])[1624 - 1 : 1624 + 2]
    assert steps == pytest.approx([1.521, 1.025, 0.529], abs=1e-6)


def test_bad_rows_are_flagged(busy):
    (file, *_) = originals(busy, 3)
    is_bad = (file.data["TIME"] >= T0 + 60) & (file.data["TIME"] < T0 + 70)
    assert is_bad.sum() in (4, 5)
    assert np.array_equal(file.data["QUALITY"], is_bad.astype(int))


def test_garbage_header3_before_every_change_of_size_and_nowhere_else(busy):
    found = {}
    for slot in range(8):
        for file in originals(busy, slot):
            if file.size == 8:
                header3 = np.stack([file.data[name] for name in HEADER3], axis=1)
                garbage = np.flatnonzero(np.all(header3 == GARBAGE, axis=1))
                end = file.data["END_INTEG_TIME"][garbage] + 1.025 + 4.1
                found.setdefault(slot, []).extend(np.floor(end - T0).tolist())
    # Slot 1 leaves 8x8 at T0 + 700, slot 4 at T0 + 950, slot 6 at T0 + 400: rounded up to 4.1 s.
    assert {slot: len(ends) for slot, ends in found.items() if ends} == {1: 1, 4: 1, 6: 1}
    for slot, change in ((1, 700), (4, 950), (6, 400)):
        assert change <= found[slot][0] < change + 5


@pytest.mark.real
def test_flight_files_end_with_the_same_garbage(flight):
    for file in flight:
        if file.size == 8 and file.header["REVISION"] == 1 and file.header["TSTART"] > 6e8:
            assert [file.data[name][-1] for name in HEADER3] == GARBAGE


def test_image_function_follows_the_plan(busy):
    functions = []
    for file in originals(busy, 4):
        for size, func in zip([file.size] * len(file.data), file.data["IMGFUNC1"], strict=True):
            if not functions or functions[-1] != (size, func):
                functions.append((size, func))
    assert functions == [(6, 1), (6, 3), (4, 0), (8, 2), (8, 1), (6, 1)]


def test_fid_flag(busy):
    for file in busy:
        is_fid = file.data["IMGNUM1"][0] <= 2
        assert np.array_equal(file.data["IMGFID1"], (file.data["IMGFUNC1"] > 0) & is_fid)


def test_reissues_repeat_the_data_later(busy):
    again = [file for file in busy if not is_first_delivery(file)]
    assert {file.header["REVISION"] for file in again} == {1, 2}
    for revision, start, stop in ((1, T0 + 40, T0 + 300), (2, T0 + 300, T0 + 700)):
        for slot in range(8):
            files = originals(busy, slot)
            known = np.concatenate([f.data["TIME"] for f in files])
            begin = np.concatenate([f.data["END_INTEG_TIME"] + 1.025 for f in files])
            repeated = [
                f
                for f in again
                if f.header["REVISION"] == revision and f.data["IMGNUM1"][0] == slot
            ]
            found = np.concatenate([f.data["TIME"] for f in repeated])
            # Whole cycles: an image belongs to the reissue if its 4.1 s cycle begins inside.
            surely = known[(begin >= start + 4.1) & (begin < stop)]
            assert set(surely) <= set(found) <= set(known[(begin >= start) & (begin < stop + 4.1)])
            for file in repeated:
                same = next(f for f in files if np.isin(file.data["TIME"], f.data["TIME"]).all())
                rows = np.searchsorted(same.data["TIME"], file.data["TIME"])
                assert np.array_equal(same.data[rows].tobytes(), file.data.tobytes())


def test_a_reissue_may_not_take_the_name_of_another_file(tmp_path):
    scenario = L0Scenario(T0, T0 + 60, slots=[0], reissues=[Reissue(T0, T0 + 30, 1)])
    with pytest.raises(InputError, match="name of an earlier file"):
        simulate_l0(scenario, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tstop": T0}, "no 4.1 s cycle begins between"),
        ({"file_s": 4.0}, "less than one 8x8 image"),
        ({"slots": [8]}, "slot 8 does not exist"),
        ({"plan": {9: [Readout(T0, 4)]}}, "slot 9 does not exist"),
        ({"plan": {0: [Readout(T0, 5)]}}, "size is 4, 6 or 8"),
        ({"plan": {0: [Readout(T0, 4, 4)]}}, "func 0 to 3"),
        ({"revision": 1000}, "revision 1000"),
        ({"reissues": [Reissue(T0, T0 + 1, -1)]}, "revision -1"),
        ({"integ": [(T0, T0 + 1, 20.0)]}, "integration time 20.0 s"),
        ({"targets": [Target(0, 0, 1)]}, "1 targets given"),
    ],
)
def test_impossible_scenarios_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        L0Scenario(**{"tstart": T0, "tstop": T0 + 100, **change})


# --- Truth ---------------------------------------------------------------------------------


@pytest.mark.parametrize("slot", range(8))
def test_truth_is_what_the_files_hold(busy, slot):
    known = truth(BUSY, slot)
    files = originals(busy, slot)
    assert sum(len(file.data) for file in files) == len(known)
    first = 0
    for file in files:
        here = slice(first, first + len(file.data))
        first += len(file.data)
        size = file.size
        assert np.array_equal(known.size[here], np.full(len(file.data), size))
        assert np.array_equal(known.time[here], file.data["TIME"])
        assert np.array_equal(known.end_integ_time[here], file.data["END_INTEG_TIME"])
        assert np.array_equal(known.vcdu[here] % WRAP, file.count % WRAP)
        assert np.array_equal(known.integ[here].astype("f4"), file.data["INTEG"])
        assert np.array_equal(known.func[here], file.data["IMGFUNC1"])
        assert np.array_equal(known.quality[here], file.data["QUALITY"])
        assert np.array_equal(known.row0[here], file.data["IMGROW0"])
        assert np.array_equal(known.col0[here], file.data["IMGCOL0"])
        assert np.array_equal(known.scale[here], file.data["IMGSCALE"])
        raw10 = known.raw10[here]
        n_live = {4: 16, 6: 32, 8: 64}[size]
        assert np.all((raw10 >= 0).sum(axis=(1, 2)) == n_live)
        scale = file.data["IMGSCALE"].astype(float)[:, None, None]
        image = np.where(raw10[:, :size, :size] < 0, 0.0, raw10[:, :size, :size] * scale / 32 - 50)
        assert np.array_equal(image.astype("f4"), file.data["IMGRAW"])


@pytest.mark.parametrize(("slot", "tolerance"), [(0, 0.02), (3, 0.05), (5, 0.08), (7, 0.15)])
def test_the_light_is_where_the_truth_says(tmp_path, slot, tolerance):
    """First moments find the position; the tolerance grows with the noise of fainter stars."""
    scenario = L0Scenario(T0, T0 + 1200, slots=[slot])
    (path,) = simulate_l0(scenario, tmp_path)
    file, known = read(path), truth(scenario, slot)
    light = file.data["IMGRAW"].astype(float) - known.bgd_dn[:, None, None]
    inner = slice(1, 7) if file.size == 8 else slice(0, 6)
    light = light[:, inner, inner]
    light[:, [0, 0, 5, 5], [0, 5, 0, 5]] = 0
    place = np.arange(inner.start, inner.stop)
    norm = light.sum(axis=(1, 2))
    row = light.sum(axis=2) @ place / norm + file.data["IMGROW0"] - known.row
    col = light.sum(axis=1) @ place / norm + file.data["IMGCOL0"] - known.col
    for error in (row, col):
        assert np.abs(error).max() < tolerance
        assert abs(error.mean()) < 0.005
    assert abs((norm / known.signal_dn).mean() - 1) < 0.006


def test_stars_dither_eight_arcsec_and_fids_do_not():
    scenario = L0Scenario(T0, T0 + 7200)
    star, fid = truth(scenario, 3), truth(scenario, 0)
    assert np.ptp(star.row) == pytest.approx(3.2, abs=0.01)
    assert np.ptp(star.col) == pytest.approx(3.2, abs=0.01)
    assert np.ptp(fid.row) == np.ptp(fid.col) == 0
    crossings = np.flatnonzero(
        np.diff(np.sign(star.row - np.mean([star.row.max(), star.row.min()])))
    )
    assert np.diff(star.time[crossings]).mean() == pytest.approx(707.1 / 2, abs=2)


def test_positions_are_unknown_without_a_lock():
    known = truth(BUSY, 4)
    assert np.array_equal(np.isnan(known.row), known.func != Func.TRACK)


# Kind and place of header-3 values with a decoder, from the reference table: key STW.
I16 = {
    "076": ("ad_5v_ps", 0.30518e-3),
    "162": ("ad_15v_ps", 0.61035e-3),
    "164": ("ad_m15v_ps", 0.61035e-3),
    "166": ("ad_27v_ps", 1.04597e-3),
    "172": ("ad_analog_gnd", 0.30518e-3),
    "576": ("avg_bkg", 5.0),
    "676": ("ccd_temp", 0.01),
    "764": ("ccd_setpoint", 0.01),
    "772": ("aca_temp", 1 / 256),
    "776": ("dac", 1.0),
}
THERMISTORS = {
    **{"066": "ccd_molyb_therm_1", "072": "ccd_molyb_therm_2", "074": "ccd_det_therm"},
    **{"174": "ad_converter_therm", "176": "ad_smhs_therm", "262": "ad_smohs_therm"},
    **{"264": "ad_pmhs_therm", "266": "ad_pmohs_therm", "272": "ad_achhs_therm"},
    **{"274": "ad_achohs_therm", "276": "ad_lc_therm"},
}
OFFSET16 = {
    **{"372": "zero_off16_quad_a", "374": "zero_off16_quad_b"},
    **{"376": "zero_off16_quad_c", "462": "zero_off16_quad_d"},
}
OFFSET32 = {
    **{"464": "zero_off32_quad_a", "472": "zero_off32_quad_b"},
    **{"476": "zero_off32_quad_c", "564": "zero_off32_quad_d"},
}
UNSIGNED = {
    "062": ("ac_status_word", 2, 1),
    "064": ("misc_status_bits", 2, 1),
    "362": ("proc_stack_telem_ctr", 2, 1),
    "364": ("sci_hdr_pulse_period", 4, 2e-6),
    "572": ("ccd_flush_dur", 2, 2e-6),
    "574": ("ccd_row_shift_period", 2, 1e-6),
    "662": ("dsn_hdr1", 6, 1),
    "672": ("dsn_hdr2", 4, 1),
    "774": ("last_ram_fail_addr", 2, 1),
}
ALL_8X8 = L0Scenario(T0, T0 + 600, plan={slot: [Readout(T0, 8)] for slot in range(8)}, file_s=7200)


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    """All header-3 bytes, shape (n, 96): twelve per slot, slot 0 first."""
    paths = simulate_l0(ALL_8X8, tmp_path_factory.mktemp("hdr3"))
    files = [read(path) for path in paths]
    return np.concatenate(
        [np.stack([f.data[name] for name in HEADER3], axis=1) for f in files], axis=1
    ).astype(np.int64)


def unsigned(frame, key, n_bytes=2):
    slot, kind, word = (int(digit) for digit in key)
    first = slot * 12 + (kind - 6) * 6 + word - 2
    return frame[:, first : first + n_bytes] @ 256 ** np.arange(n_bytes)[::-1]


def signed(frame, key):
    value = unsigned(frame, key)
    return np.where(value >= 32768, value - 65536, value)


def known_value(msid):
    return truth(ALL_8X8, 0).header3(msid)


def test_every_msid_is_decoded_below():
    decoded = [name for name, *_ in (*I16.values(), *UNSIGNED.values())]
    decoded += [*THERMISTORS.values(), *OFFSET16.values(), *OFFSET32.values()]
    assert sorted(decoded) == sorted(HEADER3_MSIDS)
    assert len(decoded) == 38


@pytest.mark.parametrize(("key", "msid", "lsb"), [(key, *rest) for key, rest in I16.items()])
def test_signed_words(frame, key, msid, lsb):
    step = 1.0001 * lsb if msid == "ccd_temp" else 0.5001 * lsb  # its low half is cut off
    assert np.abs(signed(frame, key) * lsb - known_value(msid)).max() <= step


@pytest.mark.parametrize(("key", "msid"), THERMISTORS.items())
def test_thermistor_words(frame, key, msid):
    assert np.array_equal(unsigned(frame, key), thermistor_counts(known_value(msid)))


@pytest.mark.parametrize(
    ("t_degc", "counts"),
    [
        *((-40, 0x3D70), (-35, 0x3C9E), (0, 0x2FCB), (25, 0x2000), (75, 0x094D), (80, 0x0825)),
        *((-17.692171854612916, 0x3800), (-9.67304153787128, 0x34BB), (72.26736224422304, 0x0A00)),
        *((-0.36975167822362226, 0x3000), (30.484651689509214, 0x1C86)),
        *((41.0937033802342, 0x165C), (38.79920380251045, 0x179E)),
    ],
)
def test_thermistor_curve(t_degc, counts):
    assert thermistor_counts(t_degc) == counts


@pytest.mark.parametrize(("key", "msid"), OFFSET16.items())
def test_sixteen_bit_offsets(frame, key, msid):
    value = unsigned(frame, key) - 0x8000
    assert np.abs(value - known_value(msid)).max() <= 0.5


@pytest.mark.parametrize(("key", "msid"), OFFSET32.items())
def test_thirty_two_bit_offsets(frame, key, msid):
    value = (unsigned(frame, key, 4) - 0x80000000) / 65536
    assert np.abs(value - known_value(msid)).max() <= 2**-17
    short = msid.replace("32", "16")
    assert np.abs(known_value(short) - known_value(msid)).max() < 1


@pytest.mark.parametrize(
    ("key", "msid", "n_bytes", "lsb"), [(key, *rest) for key, rest in UNSIGNED.items()]
)
def test_unsigned_words(frame, key, msid, n_bytes, lsb):
    value = unsigned(frame, key, n_bytes) * lsb
    assert np.abs(value - known_value(msid)).max() <= lsb / 2 * 1.0001


def test_counters_count_packets(frame):
    """Four packets per 8x8 image, in the low byte and in the three high bytes."""
    assert set(np.diff(unsigned(frame, "362") & 0xFF) % 256) == {4}
    assert set(np.diff(unsigned(frame, "672", 4) >> 8)) == {4}
    assert set(unsigned(frame, "362") >> 8) == {0x7A}
    assert set(unsigned(frame, "672", 4) & 0xFF) == {0x2C}


def test_real_status_words(frame):
    assert set(unsigned(frame, "062")) == {0x02B4}
    assert set(unsigned(frame, "064")) == {0x01A4}


def test_unknown_msid():
    with pytest.raises(InputError, match="'nonsense' does not exist"):
        header3_truth("nonsense", np.zeros(1), np.zeros(1, dtype=np.int64))


def test_temperature_columns_are_the_housekeeping_in_kelvin(busy):
    (file, *_) = originals(busy, 0)
    known = truth(BUSY, 0)
    for column, msid in (
        *(("TEMPCCD", "ccd_temp"), ("TEMPHOUS", "ad_achhs_therm")),
        *(("TEMPPRIM", "ad_lc_therm"), ("TEMPSEC", "ad_smhs_therm")),
    ):
        kelvin = known.header3(msid)[: len(file.data)] + 273.15
        assert np.abs(file.data[column] - kelvin).max() <= 0.2001


def test_realistic_day(tmp_path):
    scenario = realistic_scenario(T0, T0 + 86400, seed=3)
    assert scenario == realistic_scenario(T0, T0 + 86400, seed=3)
    known = truth(scenario, 5)
    assert set(known.size) == {4, 6, 8}
    assert set(known.func) == {0, 1, 2, 3}
    assert set(np.rint(known.integ * 1000)) == {704, 1696}
    assert 0.8 < np.mean(known.func[known.size == 6] == Func.TRACK) <= 1
    assert np.array_equal(known.size == 4, known.func == Func.NULL)


def test_compressed_content_is_a_whole_number_of_fits_blocks(folder, busy):
    for file in busy[:4]:
        assert len(gzip.decompress(Path(folder, file.name).read_bytes())) % 2880 == 0
