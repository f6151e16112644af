"""A calibration from decoded replicas: the injected truth comes back, each fault has its rule."""

import numpy as np
import pytest

from acaflow.archive.aca_dark.calibrate import Inputs, Parameters, calibrate, would_change
from acaflow.archive.aca_dark.ccd import QUADRANTS
from acaflow.archive.aca_dark.combine import COSMIC, FEW, MISSING, SATURATED, SCATTER
from acaflow.archive.aca_dark.info import read_info
from acaflow.archive.aca_dark.vc2 import read_vc2
from acaflow.errors import DataError, InputError, MissingDataError, QualityError
from acaflow.paths import VC2_NAME, parse_samples_name
from acaflow.simulate.dark_cal import MARKERS, DarkCalScenario, simulate_dark_cal
from acaflow.simulate.vc2 import Faults
from acaflow.telemetry.samples import SampleFiles, stored_path
from tests.support import l0

DATE = "2024:100:06:00:00"
DARK_ID = "2024100"
LOST_BURST = 57 * 2
"""Rows of two bursts."""


def deliver(folder, truth):
    """Put telemetry where an archive has it; return what a calibration is made from."""
    for path in truth.files:
        if path.name.startswith("eng_"):
            target = folder / stored_path(parse_samples_name(path.name))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
        elif path.name.startswith("acaf"):
            l0.deliver(folder / "aca0", path)
    return inputs_of(folder, truth)


def inputs_of(folder, truth, **more):
    replicas, unusable = [], {}
    for path in truth.files:
        if VC2_NAME.fullmatch(path.name):
            try:
                replicas.append(read_vc2(path))
            except DataError as err:
                unusable[int(path.name.split("Replica")[1][0])] = str(err)
    info = next(path for path in truth.files if path.name.endswith("info.csv"))
    plain = {
        "dark_id": truth.dark_id,
        "replicas": replicas,
        "unusable": unusable,
        "files": [],
        "expected": 5,
        "info": read_info(info),
        "samples": SampleFiles(folder),
        "archive": folder,
    }
    return Inputs(**{**plain, **more})


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """A calibration without flicker, and what was put into it."""
    folder = tmp_path_factory.mktemp("quiet")
    scenario = DarkCalScenario(DATE, seed=1, fill=0.0, flicker_s=np.inf)
    truth = simulate_dark_cal(folder / "delivered", scenario)
    inputs = deliver(folder / "archive", truth)
    return truth, inputs, calibrate(inputs, Parameters())


@pytest.fixture
def damaged(tmp_path, quiet):
    """Give the findings above PASS of a calibration with faults, by rule and replica."""

    def findings(faults=None, **more):
        scenario = DarkCalScenario(
            DATE, seed=1, fill=0.2, flicker_s=np.inf, faults=faults or {}, **more
        )
        truth = simulate_dark_cal(tmp_path / "delivered", scenario)
        found = calibrate(inputs_of(quiet[1].archive, truth), Parameters())
        return found, {
            (item["rule"], item["replica"]): item["level"]
            for item in found.quality["findings"]
            if item["level"] != "PASS"
        }

    return findings


# --- Truth --------------------------------------------------------------------------------------


def test_nothing_is_wrong_with_a_complete_calibration(quiet):
    _, _, found = quiet
    assert [x for x in found.quality["findings"] if x["level"] != "PASS"] == []
    assert found.quality["level"] == "PASS"
    assert found.quality["complete"] == 100.0


@pytest.mark.parametrize("quadrant", QUADRANTS)
def test_image_is_unbiased_in_every_quadrant(quiet, quadrant):
    truth, _, found = quiet
    where = QUADRANTS[quadrant]
    difference = (found.image - truth.dark)[where]
    assert abs(np.median(difference)) < 0.5
    assert abs(np.mean(difference[truth.dark[where] < 500])) < 0.1


def test_scatter_is_the_predicted_sigma(quiet):
    truth, _, found = quiet
    good = (found.mask & (COSMIC | SCATTER)) == 0
    pull = ((found.image - truth.dark) / found.sigma)[good & (truth.dark < 1000)]
    assert 0.9 < np.std(pull) < 1.1


def test_markers_are_in_their_places(quiet):
    _, _, found = quiet
    for (row, col), rate in MARKERS.items():
        sigma = float(found.sigma[row + 512, col + 512])
        assert found.image[row + 512, col + 512] == pytest.approx(rate, abs=6 * sigma)


def test_stars_and_cosmic_rays_are_gone(quiet):
    truth, _, found = quiet
    rows, cols = (np.rint(truth.stars[name]).astype(int) for name in ("row", "col"))
    inside = (abs(rows) < 500) & (abs(cols) < 500)
    residual = (found.image - truth.dark)[rows[inside] + 512, cols[inside] + 512]
    assert inside.sum() > 10
    assert np.abs(residual / found.sigma[rows[inside] + 512, cols[inside] + 512]).max() < 6
    at = truth.hits["row"] + 512, truth.hits["col"] + 512
    assert np.abs((found.image - truth.dark)[at]).mean() < 1.5 * found.sigma[at].mean()
    assert found.properties["stats"]["n_cosmic"] == pytest.approx(len(truth.hits), rel=0.05)


def test_warm_pixels_are_counted_within_a_percent(quiet):
    truth, _, found = quiet
    expected = np.sum(truth.dark > 100)
    assert found.properties["stats"]["n100"] == pytest.approx(expected, rel=0.01)


def test_replicas_have_their_own_times_and_temperatures(quiet):
    truth, _, found = quiet
    for row, true in zip(found.properties["replicas"], truth.replicas, strict=True):
        assert row["ccd_temp_source"] == "HDR3"
        assert row["times_source"] == "CIUMACAC"
        assert row["ccd_temp"] == pytest.approx(true.t_ccd, abs=0.01)  # a count
        assert row["n_rows"] == 4096
        assert row["used"]
    starts = {row["start"] for row in found.properties["replicas"]}
    assert len(starts) == 5
    temperatures = [row["ccd_temp"] for row in found.properties["replicas"]]
    assert found.properties["ccd_temp"] == pytest.approx(np.mean(temperatures), abs=1e-9)
    assert found.properties["integ"] == [pytest.approx(313 * 0.016), pytest.approx(10.0)]


def test_clipmean_is_less_noisy(quiet):
    truth, inputs, found = quiet
    other = calibrate(inputs, Parameters(combine="clipmean"))
    cool = truth.dark < 100
    noise = [np.std((cal.image - truth.dark)[cool]) for cal in (other, found)]
    assert noise[0] / noise[1] == pytest.approx(0.83, abs=0.03)  # dark-cal B6
    assert other.properties["combine"] == "clipmean"


def test_gain_of_a_quadrant_scales_it(quiet):
    _, inputs, found = quiet
    gain = {"A": 5.0, "B": 10.0, "C": 5.0, "D": 5.0}
    other = calibrate(inputs, Parameters(gain=gain))
    assert np.array_equal(other.image[QUADRANTS["C"]], found.image[QUADRANTS["C"]])
    assert np.allclose(other.image[QUADRANTS["B"]], 2 * found.image[QUADRANTS["B"]])
    assert other.properties["stats"]["quantum"] is None


# --- Faults (dark-cal E11) ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        pytest.param(Faults(bad_channel=(5, 9)), {}, id="byte 108"),
        pytest.param(Faults(false_sync=(100, 101, 2000)), {}, id="false sync"),
        pytest.param(Faults(repeated_records=(10, 11)), {}, id="records twice, equal"),
        pytest.param(Faults(repeated_frames=(50, 51)), {}, id="frames twice"),
        pytest.param(Faults(first_counter=2**24 - 2000), {}, id="counter wrap"),
        pytest.param(Faults(single_frames=(3,)), {}, id="single-frame segment"),
        pytest.param(Faults(foreign_frames=(20, 300)), {}, id="another channel"),
        pytest.param(Faults(saturated=((10, 20), (-300, -100))), {}, id="saturated pixel"),
        pytest.param(
            Faults(changed_records=(10,)), {("Q9", 2): "WARN"}, id="records twice, different"
        ),
        pytest.param(Faults(wrong_replica=(7, 8)), {("Q9", 2): "WARN"}, id="wrong replica number"),
        pytest.param(Faults(garbage=500), {("Q2", 2): "WARN"}, id="garbage behind the gz"),
        pytest.param(
            Faults(dropped_frames=(100, 2000)),
            {("Q5", 2): "WARN", ("Q6", 2): "WARN"},
            id="lost frames",
        ),
        pytest.param(
            Faults(dropped_bursts=(3, 30)),
            {("Q5", 2): "FAIL", ("Q6", 2): "WARN", ("Q1", None): "WARN"},
            id="lost bursts",
        ),
        pytest.param(Faults(missing=True), {("Q1", None): "WARN"}, id="missing replica"),
    ],
)
def test_each_fault_has_its_rule_and_no_other(damaged, faults, expected):
    _, found = damaged({2: faults})
    assert found == expected


def test_half_a_file_is_excluded_and_the_others_go_on(damaged):
    found, findings = damaged({2: Faults(truncate_at=2_400_000)})
    assert findings[("Q6", 2)] == "FAIL"
    assert findings[("Q1", None)] == "WARN"
    assert found.quality["level"] == "WARN"
    assert [row["used"] for row in found.properties["replicas"]] == [True, False, True, True, True]
    assert found.properties["n_ccd_img"] == 8


def test_two_usable_replicas_fail(damaged):
    found, findings = damaged({n: Faults(missing=True) for n in (1, 2, 3)})
    assert findings[("Q1", None)] == "FAIL"
    assert findings[("Q11", None)] == "FAIL"
    assert found.quality["level"] == "FAIL"
    assert np.all(found.mask & FEW)


def test_without_any_usable_replica_there_is_no_image(quiet, tmp_path):
    inputs = Inputs(**{**vars(quiet[1]), "replicas": [], "unusable": {1: "no frame"}})
    with pytest.raises(MissingDataError, match="no replica can be used; replica 1: no frame"):
        calibrate(inputs, Parameters())


def test_a_row_missing_everywhere_is_filled_and_left_out(damaged):
    found, _ = damaged({n: Faults(dropped_bursts=(3,)) for n in range(1, 6)})
    missing = (found.mask & MISSING) > 0
    assert missing.sum() >= 50 * 512
    assert np.isfinite(found.image).all()
    assert np.isnan(found.sigma[missing]).all()
    assert found.properties["stats"]["n_pixels"] == 1024**2 - missing.sum()


def test_saturated_everywhere_is_a_hot_lower_limit(damaged):
    found, _ = damaged({n: Faults(saturated=((10, 20),)) for n in range(1, 6)})
    row, col = 10 + 512, 20 + 512
    assert found.mask[row, col] & SATURATED
    # The bias is about 2000 DN, the gain 5 e-/DN, the long integration 10 s.
    assert found.image[row, col] == pytest.approx(5.0 * (65535 - 2000) / 10.0, rel=0.01)


# --- Telemetry and inputs -----------------------------------------------------------------------


def test_without_telemetry_times_are_those_of_reception_and_it_fails(quiet, tmp_path):
    _, inputs, _ = quiet
    bare = Inputs(**{**vars(inputs), "samples": SampleFiles(tmp_path), "archive": tmp_path})
    found = calibrate(bare, Parameters())
    findings = {x["rule"]: x["level"] for x in found.quality["findings"] if x["level"] != "PASS"}
    assert findings == {"Q1": "WARN", "Q10": "FAIL"}
    assert found.properties["ccd_temp"] is None
    assert {row["times_source"] for row in found.properties["replicas"]} == {"ERT"}
    assert would_change(DARK_ID, found.properties, inputs.samples, inputs.archive)


def test_engineering_telemetry_is_the_second_choice(quiet, tmp_path):
    truth, inputs, _ = quiet
    found = calibrate(Inputs(**{**vars(inputs), "archive": tmp_path}), Parameters())
    findings = {x["rule"]: x["level"] for x in found.quality["findings"] if x["level"] != "PASS"}
    assert findings == {"Q10": "WARN"}
    assert found.properties["ccd_temp"] == pytest.approx(truth.t_ccd, abs=0.05)


def test_the_same_telemetry_changes_nothing(quiet):
    _, inputs, found = quiet
    assert not would_change(DARK_ID, found.properties, inputs.samples, inputs.archive)


def test_without_catalogue_there_is_no_zodi(quiet):
    _, inputs, _ = quiet
    found = calibrate(Inputs(**{**vars(inputs), "info": None}), Parameters())
    assert found.properties["zodib"] is None
    assert found.properties["stats"]["zodi_level"] is None
    assert found.quality["level"] == "PASS"


def test_another_calibration_owns_the_event_of_its_day(quiet):
    _, inputs, _ = quiet
    later = Inputs(**{**vars(inputs), "dark_id": "2024101", "owned": [DARK_ID]})
    with pytest.raises(QualityError, match=r"named 2024101 were received during .* is 2024100"):
        calibrate(later, Parameters())


def test_a_previous_calibration_four_times_cooler_fails_sanity(quiet):
    _, inputs, first = quiet
    stats = first.properties["stats"] | {"median": first.properties["stats"]["median"] / 4}
    before = first.properties | {"id": "2024001", "stats": stats}
    found = calibrate(Inputs(**{**vars(inputs), "history": [before]}), Parameters())
    findings = {x["rule"]: x["level"] for x in found.quality["findings"] if x["level"] != "PASS"}
    assert findings == {"Q12": "FAIL"}


@pytest.mark.parametrize(
    "wrong", [{"combine": "mean"}, {"gain": {"A": 5.0}}, {"gain": dict.fromkeys("ABCD", 0.0)}]
)
def test_parameters_are_checked(wrong):
    with pytest.raises(InputError, match="expected"):
        Parameters(**wrong)
