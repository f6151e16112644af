"""Simulated deliveries of dark calibrations: the truth comes out of what was written."""

import json
import math
import shutil

import numpy as np
import pytest
from astropy.io import fits

from acaflow import times
from acaflow.archive.aca_dark.ccd import QUADRANTS
from acaflow.archive.aca_dark.ccd_temp import replica_temperature
from acaflow.archive.aca_dark.combine import combine
from acaflow.archive.aca_dark.dark_cal import history
from acaflow.archive.aca_dark.dark_events import get_dark_cals, replicas_of
from acaflow.archive.aca_dark.dark_files import read_calibration
from acaflow.archive.aca_dark.info import Info, read_info
from acaflow.archive.aca_dark.vc2 import read_vc2
from acaflow.errors import InputError
from acaflow.paths import parse_samples_name
from acaflow.simulate.aca_l0 import L0Scenario
from acaflow.simulate.aca_l0 import truth as l0_truth
from acaflow.simulate.dark_cal import (
    MARKERS,
    DarkCalScenario,
    simulate_archive,
    simulate_dark_cal,
)
from acaflow.simulate.vc2 import Faults
from acaflow.telemetry.samples import SampleFiles, stored_path
from tests.support.l0 import deliver

START = "2009:279:04:00:00.000"
SMALL = {"replicas": 1, "fill": 0, "n_stars": 3, "markers": {}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("delivery")


@pytest.fixture(scope="module")
def truth(folder):
    scenario = DarkCalScenario(START, seed=4, t_ccd=-18.9, zodi=2.5, flicker_s=math.inf)
    return simulate_dark_cal(folder, scenario)


@pytest.fixture(scope="module")
def archive(folder, truth, tmp_path_factory):
    """An archive that has taken the telemetry in."""
    root = tmp_path_factory.mktemp("archive")
    for path in truth.files:
        if path.name.startswith("eng_"):
            target = root / stored_path(parse_samples_name(path.name))
            target.parent.mkdir(parents=True)
            shutil.copyfile(path, target)
        elif path.name.startswith("acaf"):
            deliver(root / "aca0", path)
    return root


@pytest.fixture(scope="module")
def master(folder, truth):
    """The combined image."""
    decoded = [read_vc2(folder / one.file) for one in truth.replicas]
    pairs = [[replica.frame(group) for group in replica.groups] for replica in decoded]
    short, long = zip(*pairs, strict=True)
    return combine(
        [frame.signal for frame in short],
        [frame.signal for frame in long],
        short[0].integ,
        long[0].integ,
    )


def test_what_is_delivered(folder, truth):
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted([path.name for path in truth.files] + ["truth.json", "truth.npz"])
    vc2 = [name for name in names if "VC2" in name]
    assert vc2 == [f"2009_279_VC2_Replica{n}_SFDU_{31086 + n}.gz" for n in range(1, 6)]
    assert vc2 == [one.file for one in truth.replicas]
    assert sum(name.startswith("acaf") for name in names) == 20
    assert [name.split("_")[1] for name in names if name.startswith("eng_")] == [
        "AACCCDPT",
        "CIUMACAC",
    ]


def test_info(folder, truth):
    assert read_info(folder / "2009_279_info.csv") == Info(START, -18.9, 190.0233, 53.4529)


def test_truth_on_disk(folder, truth):
    with np.load(folder / "truth.npz") as arrays:
        for name in ("dark", "flickered", "stars", "hits"):
            assert (arrays[name] == getattr(truth, name)).all()
    facts = json.loads((folder / "truth.json").read_text())
    assert (facts["dark_id"], facts["zodi"], facts["gain"]) == ("2009279", 2.5, 5.0)
    assert facts["integ_s"] == [5.008, 10.0]
    assert facts["replicas"][1]["t_ccd"] == truth.replicas[1].t_ccd
    assert facts["replicas"][1]["offset"] == [24, 0]
    assert [-500, 500, 3100.0] in facts["markers"]


def test_temperatures_scatter_about_a_drift(truth):
    degc = [one.t_ccd for one in truth.replicas]
    assert degc == pytest.approx(-18.9 + 0.02 * np.arange(5), abs=0.08)
    assert len(set(degc)) == 5
    assert truth.t_ccd == pytest.approx(np.mean(degc))


# --- Telemetry beside the dumps --------------------------------------------------------------


def test_header3_gives_the_temperature_of_each_replica(archive, truth):
    samples = SampleFiles(archive)
    for one in truth.replicas:
        degc, source = replica_temperature(one.tstart, one.tstop, samples, archive)
        # Telemetry cuts to steps of 0.01 degC.
        assert (degc, source) == (pytest.approx(one.t_ccd - 0.005, abs=0.006), "HDR3")


def test_header3_lasts_ten_minutes_and_ends_broken(folder, truth):
    files = [fits.getdata(path) for path in sorted(folder.glob("acaf*"))]
    stretches = [rows for rows in files if rows["IMGRAW"].shape[1] == 8]
    edges = sorted(edge for one in truth.replicas for edge in (one.tstart, one.tstop))
    assert len(stretches) == 10
    for number, (rows, edge) in enumerate(zip(stretches, edges, strict=True)):
        begin = edge - 600 if number % 2 == 0 else edge
        assert begin < rows["TIME"][0] < begin + 5
        assert begin + 580 < rows["TIME"][-1] < begin + 600
        assert np.diff(rows["TIME"]) == pytest.approx(4.1, abs=1e-3)
        counts = rows["HD3TLM76"].astype("i1").astype(int) * 256 + rows["HD3TLM77"]
        assert len(set(counts[:-1])) == 1
        assert counts[-1] == 0


def test_header3_may_be_held_at_a_value():
    rows = l0_truth(L0Scenario(0.0, 10_000.0, (6,), header3={"ccd_temp": -18.9}), 6)
    assert set(rows.header3("ccd_temp")) == {-18.9}
    assert np.ptp(rows.header3("aca_temp")) > 0.1


def test_events_begin_and_end_with_the_replicas(archive, truth):
    first, last = truth.replicas[0].tstart, truth.replicas[-1].tstop
    samples = SampleFiles(archive)
    (event,) = get_dark_cals(samples, first - 20_000, last + 90_000)
    assert (event.tstart, event.tstop) == (
        pytest.approx(first, abs=2e-3),
        pytest.approx(last, abs=2e-3),
    )
    assert first == times.secs(START)
    found = [(one.tstart, one.tstop) for one in replicas_of(event, samples)]
    true = [(one.tstart, one.tstop) for one in truth.replicas]
    assert np.array(found) == pytest.approx(np.array(true), abs=2e-3)


def test_engineering_temperature_without_header3(archive, truth, tmp_path):
    one = truth.replicas[2]
    degc, source = replica_temperature(one.tstart, one.tstop, SampleFiles(archive), tmp_path)
    assert (degc, source) == (pytest.approx(truth.t_ccd, abs=0.05), "AACCCDPT")


def test_dumps_are_received_within_their_replica(folder, truth):
    for one in truth.replicas[:2]:
        begin, end = read_vc2(folder / one.file).ert
        assert begin == pytest.approx(one.tstart + 30, abs=1e-3)
        assert begin + 2000 < end < one.tstop


# --- The image -------------------------------------------------------------------------------


def test_the_dark_map_comes_back(truth, master):
    residual = master.image - truth.dark
    assert residual.mean() == pytest.approx(0, abs=0.03)
    # A few stars coincide in several replicas; the median does not see them.
    deviation = np.abs(residual / master.sigma)
    assert np.median(deviation) == pytest.approx(0.6745, abs=0.01)
    assert (deviation > 5).mean() < 1e-3


def test_markers_show_the_orientation(truth, master):
    for (row, col), rate in MARKERS.items():
        assert truth.dark[row + 512, col + 512] == pytest.approx(rate)
        assert master.image[row + 512, col + 512] == pytest.approx(rate, abs=50)
    of_quadrant = {
        name: [rate for (row, col), rate in MARKERS.items() if _is_in(where, row, col)]
        for name, where in QUADRANTS.items()
    }
    assert of_quadrant == {
        "A": [3100.0, 3200.0, 3300.0],
        "B": [4100.0, 4200.0, 4300.0],
        "C": [5100.0, 5200.0, 5300.0],
        "D": [6100.0, 6200.0, 6300.0],
    }


def _is_in(where, row, col):
    return all(
        part.start <= at + 512 < part.stop for part, at in zip(where, (row, col), strict=True)
    )


def test_stars_and_hits_are_where_the_truth_says(folder, truth):
    replica = read_vc2(folder / truth.replicas[1].file)
    read_s = np.concatenate([np.linspace(0, 8, 512), np.linspace(8, 0, 512)])
    excess = 5 * replica.frame(10.0).signal - truth.dark * (10 + read_s[:, None])
    star = truth.stars[0]
    row, col = (round(star[name]) for name in ("row", "col"))
    assert excess[row + 24 + 512, col + 512] > 5000
    hits = truth.hits[(truth.hits["replica"] == 2) & (truth.hits["integ"] == 625)]
    assert len(hits) == pytest.approx(30 * 14 * 4.52, rel=0.2)
    left = excess[hits["row"] + 512, hits["col"] + 512] - hits["electrons"]
    assert np.median(left) == pytest.approx(0, abs=5)
    assert np.median(np.abs(left)) < 50


# --- Parameters ------------------------------------------------------------------------------


def test_equal_scenarios_give_equal_bytes(tmp_path):
    def contents(name, **changes):
        simulate_dark_cal(tmp_path / name, DarkCalScenario(START, **SMALL | changes))
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    first = contents("first")
    assert contents("second") == first
    other = contents("other", seed=1)
    for name in ("2009_279_VC2_Replica1_SFDU_31087.gz", "truth.npz", "truth.json"):
        assert other[name] != first[name]


def test_faults_act_on_their_replica(tmp_path):
    scenario = DarkCalScenario(
        START,
        **SMALL | {"replicas": 3},
        faults={2: Faults(missing=True), 3: Faults(truncate_at=1134 * 2000)},
    )
    truth = simulate_dark_cal(tmp_path / "inbox", scenario, tmp_path / "truth")
    vc2 = sorted((tmp_path / "inbox").glob("*VC2*"))
    assert [path.name[13:21] for path in vc2] == ["Replica1", "Replica3"]
    assert [one.file is None for one in truth.replicas] == [False, True, False]
    assert read_vc2(vc2[1]).counts.frames == 2000
    assert not list((tmp_path / "inbox").glob("truth*"))
    assert len(list((tmp_path / "truth").iterdir())) == 2


def test_id_of_the_files_may_be_the_day_before(tmp_path):
    scenario = DarkCalScenario("2009:280:00:05:00", **SMALL, dark_id="2009279")
    truth = simulate_dark_cal(tmp_path, scenario)
    assert truth.replicas[0].file == "2009_279_VC2_Replica1_SFDU_31087.gz"
    assert times.date(truth.replicas[0].tstart) == "2009:280:00:05:00.000"


def test_ccd_of_the_scenario(tmp_path):
    scenario = DarkCalScenario(
        "2002:338", seed=2, t_ccd=-10.0, cool=7.0, mult=1.12, zodi=2.0, integ=(312, 625), **SMALL
    )
    truth = simulate_dark_cal(tmp_path, scenario)
    # The run of dark-cal E4; noise lifts about one percent of the pixels over the threshold.
    assert (truth.dark > 100).sum() == pytest.approx(68_931, rel=0.03)
    assert truth.dark.mean() == pytest.approx(32.2, abs=0.3)
    assert truth.integ_s == pytest.approx((4.992, 10.0))


def test_sky_by_date_and_attitude(tmp_path):
    """The darkest sky is 60 to 80 S10 units, 0.0134 e-/s each; near the ecliptic it is brighter."""
    zodi = {
        dec: simulate_dark_cal(tmp_path / str(dec), DarkCalScenario(START, **SMALL, dec=dec)).zodi
        for dec in (53.4529, -5.0)
    }
    assert 60 * 0.0134 < zodi[53.4529] < 250 * 0.0134
    assert zodi[-5.0] > 10


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"faults": {6: Faults()}}, r"faults of replicas \[6\]; there are 5"),
        ({"replicas": 6}, "6 replicas; expected 1 to 5"),
    ],
)
def test_scenarios_that_cannot_be(values, message):
    with pytest.raises(InputError, match=message):
        DarkCalScenario(START, **values)


# --- Archive ---------------------------------------------------------------------------------


def test_archive_over_the_mission(tmp_path):
    ids = simulate_archive(tmp_path, 4, start="2001:001", stop="2022:001")
    properties = history(tmp_path)
    assert [one["id"] for one in properties] == ids == ["2001001", "2008001", "2015001", "2022001"]
    assert [one["report"] for one in properties] == ["2001_jan", "2008_jan", "2015_jan", "2022_jan"]
    assert [one["ccd_temp"] for one in properties] == pytest.approx([-10, -19, -15.8, -6], abs=0.1)
    scaled = [one["stats"]["scaled"]["n100"] for one in properties]
    assert scaled == sorted(scaled)
    # Warm fractions at -15 degC off the plot of the mica documentation: .023 in 2000.9, .070 in
    # 2007.0 and .145 in 2013.8.
    assert 0.07 < scaled[1] / 1024**2 < 0.121
    for one in properties:
        assert len(one["replicas"]) == 5
        assert one["stats"]["intrinsic"]["mean"] == pytest.approx(
            one["stats"]["mean"] - 0.0134 * one["zodib"]
        )


def test_archive_is_of_one_ccd(tmp_path):
    ids = simulate_archive(tmp_path, 2, seed=3, start="2010:001", stop="2010:012")
    first, second = (read_calibration(tmp_path / one) for one in ids)
    assert ids == ["2010001", "2010012"]
    assert second.properties["report"] == "2010_jan_2"
    warm = first.image > 200
    assert (second.image[warm] > 180).mean() > 0.98
    quantum = 5 / (312 * 0.016)
    np.testing.assert_allclose(first.image / quantum, np.rint(first.image / quantum), atol=1e-3)
