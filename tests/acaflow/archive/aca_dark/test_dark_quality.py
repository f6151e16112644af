"""Every rule at its limits, by hand-made counts (dark-cal B4)."""

import json

import numpy as np
import pytest

from acaflow.archive.aca_dark.dark_quality import (
    Finding,
    Level,
    check_calibration,
    check_replica,
    complete_percent,
    is_usable,
    overall,
    to_json,
    worst,
)
from acaflow.archive.aca_dark.replica import Counts, Replica

PASS, WARN, FAIL = Level
FILE_RULES = ["Q2", "Q3", "Q4", "Q5", "Q6", "Q7", "Q8", "Q9"]
SIZE = 1134 * 33_273
"""Bytes of the one real file that is described (dark-cal B2)."""

GOOD = {
    "usable": 5,
    "expected": 5,
    "temperatures": [-14.1, -14.1, -14.0, -14.0, -14.0],
    "sources": ["HDR3"] * 5,
    "times_sources": ["CIUMACAC"] * 5,
    "few_fraction": 0.0,
    "n100": 200_000,
    "n100_model": 200_000.0,
    "median": 20.0,
    "previous_median": 20.0,
}


def make_replica(number=3, integ=(5.008, 10.0), rows=4096, repeat=0, **counts):
    """Return a replica with so many of its half rows, of which the last `repeat` come twice."""
    frame, colneg, row = np.unravel_index(np.arange(4096), (2, 2, 1024))
    columns = {
        "INTEG": np.take(integ, frame).astype(np.float32),
        "COLNEG": colneg.astype(np.int16),
        "ROW": (row - 512).astype(np.int16),
        "ADC_BIAS": np.full(4096, 2000, np.uint16),
        "REPLICA": np.full(4096, 2, np.int16),
    }
    kept = np.append(np.arange(rows), np.arange(rows - repeat, rows))
    found = {
        **dict.fromkeys(Counts.__dataclass_fields__, 0),
        **{"gz_error": "", "size": SIZE, "frames": 33_273, "fill": 29_015, "pixel_frames": 4258},
        **counts,
    }
    return Replica(
        name=f"2016_125_VC2_Replica{number}_SFDU_31088",
        number=number,
        columns={name: column[kept] for name, column in columns.items()},
        pixels=np.zeros((len(kept), 512), np.uint16),
        counts=Counts(**found),
        ert=(0.0, 1.0),
    )


def find(rule, replica, median_size=SIZE):
    """Return what one rule says, if the others are content."""
    findings = {finding.rule: finding for finding in check_replica(replica, median_size)}
    assert list(findings) == FILE_RULES
    return findings[rule]


def judge(rule, **changes):
    """Return what one rule says of a calibration."""
    findings = {finding.rule: finding for finding in check_calibration(**{**GOOD, **changes})}
    assert list(findings) == ["Q1", "Q10", "Q11", "Q12"]
    return findings[rule]


# --- Files -------------------------------------------------------------------------------------


def test_good_file():
    findings = check_replica(make_replica(), SIZE)
    assert [finding.rule for finding in findings] == FILE_RULES
    assert {(f.scope, f.replica, f.level) for f in findings} == {("file", 3, PASS)}
    assert [finding.text for finding in findings] == [
        "Q2 replica 3: 37 731 582 bytes",
        "Q3 replica 3: size is 1 of the median of the set",
        "Q4 replica 3: 0 of 33 273 frames without sync (0 %)",
        "Q5 replica 3: 0 of 33 273 frames lost (0 %)",
        "Q6 replica 3: 4 096 of 4 096 rows (100 %)",
        "Q7 replica 3: integration times 5.0 and 10.0 s",
        "Q8 replica 3: bias differs by 0 DN within a quadrant of a frame",
        "Q9 replica 3: 0 repeated rows are equal, 0 differ (0 %)",
    ]
    assert [finding.value for finding in findings] == [0, 1, 0, 0, 100, 0, 0, 0]
    assert [finding.limit for finding in findings] == [0, 0.8, 0.1, 0, 100, 0.1, 50, 0]


@pytest.mark.parametrize(
    ("size", "gz_error", "level", "value", "limit"),
    [
        (SIZE, "", PASS, 0, 0),
        (SIZE + 1, "", WARN, 1, 0),
        (SIZE - 1, "", WARN, 1133, 0),
        (SIZE, "the gzip stream ends early", WARN, 0, 0),
        (1134, "", PASS, 0, 0),
        (1133, "", FAIL, 1133, 1134),
    ],
)
def test_q2_frame_size(size, gz_error, level, value, limit):
    finding = find("Q2", make_replica(size=size, gz_error=gz_error))
    assert (finding.level, finding.value, finding.limit) == (level, value, limit)
    assert gz_error in finding.text


@pytest.mark.parametrize(
    ("size", "level", "limit"),
    [(800, PASS, 0.8), (799, WARN, 0.8), (500, WARN, 0.8), (499, FAIL, 0.5), (2000, PASS, 0.8)],
)
def test_q3_relative_size(size, level, limit):
    finding = find("Q3", make_replica(size=size), median_size=1000)
    assert (finding.level, finding.value, finding.limit) == (level, size / 1000, limit)


@pytest.mark.parametrize(
    ("bad", "level", "limit"),
    [(0, PASS, 0.1), (10, PASS, 0.1), (11, WARN, 0.1), (500, WARN, 0.1), (501, FAIL, 5)],
)
def test_q4_bad_syncs(bad, level, limit):
    finding = find("Q4", make_replica(frames=10_000, bad_sync=bad))
    assert (finding.level, finding.limit) == (level, limit)
    assert finding.value == pytest.approx(bad / 100)


@pytest.mark.parametrize(
    ("lost", "level", "limit"), [(0, PASS, 0), (1, WARN, 0), (200, WARN, 0), (201, FAIL, 2)]
)
def test_q5_lost_frames(lost, level, limit):
    """Of those lost and those there, fill included."""
    finding = find("Q5", make_replica(lost=lost, fill=6000, pixel_frames=4000 - lost))
    assert (finding.level, finding.limit) == (level, limit)
    assert finding.value == pytest.approx(lost / 100)


def test_q5_text():
    finding = find("Q5", make_replica(lost=12, pixel_frames=4246))
    assert finding.text == "Q5 replica 3: 12 of 33 273 frames lost (0.0361 %); limit 0 %"


@pytest.mark.parametrize(
    ("rows", "level", "value", "limit"),
    [
        (4096, PASS, 100, 100),
        (4095, WARN, 99.97, 100),
        (3892, WARN, 95.01, 100),
        (3891, FAIL, 94.99, 95),
    ],
)
def test_q6_rows(rows, level, value, limit):
    finding = find("Q6", make_replica(rows=rows, repeat=3))
    assert (finding.level, finding.value, finding.limit) == (level, value, limit)


@pytest.mark.parametrize(
    ("integ", "level", "value", "limit"),
    [
        ((4.992, 10.0), PASS, 0, 0.1),
        ((5.104, 9.904), PASS, 0.1, 0.1),
        ((5.2, 10.0), WARN, 0.2, 0.1),
        ((5.008, 9.808), WARN, 0.2, 0.1),
        ((5.104, 6.096), WARN, 3.9, 0.1),
        ((5.104, 6.0), FAIL, 0.9, 1),
        ((5.008, 5.008), FAIL, 1, 2),
    ],
)
def test_q7_integration(integ, level, value, limit):
    finding = find("Q7", make_replica(integ=integ))
    assert (finding.level, finding.value, finding.limit) == (level, value, limit)


def test_q7_third_integration_time():
    replica = make_replica()
    replica.columns["INTEG"][7] = 1.696
    finding = find("Q7", replica)
    assert (finding.level, finding.value, finding.limit) == (FAIL, 3, 2)
    assert finding.text == (
        "Q7 replica 3: integration times 1.7, 5.0 and 10.0 s; limit 2 different ones"
    )


def test_q7_expected_times_may_be_others():
    replica = make_replica(integ=(2.0, 8.0))
    levels = [
        next(f.level for f in check_replica(replica, SIZE, **times) if f.rule == "Q7")
        for times in ({}, {"integ": (2.0, 8.0)})
    ]
    assert levels == [WARN, PASS]


@pytest.mark.parametrize(
    ("bias", "level", "limit"),
    [(2050, PASS, 50), (2051, WARN, 50), (3000, WARN, 50), (3001, FAIL, 1000)],
)
def test_q8_bias(bias, level, limit):
    replica = make_replica()
    replica.columns["ADC_BIAS"][1500] = bias
    finding = find("Q8", replica)
    assert (finding.level, finding.value, finding.limit) == (level, bias - 2000, limit)


def test_q8_quadrants_and_frames_have_biases_of_their_own():
    replica = make_replica()
    columns = replica.columns
    columns["ADC_BIAS"] += (
        (columns["INTEG"] > 7) * 4000 + columns["COLNEG"] * 2000 + (columns["ROW"] >= 0) * 8000
    ).astype(np.uint16)
    assert find("Q8", replica).value == 0


@pytest.mark.parametrize(
    ("different", "level", "limit"),
    [(0, PASS, 0), (1, WARN, 0), (40, WARN, 0), (41, FAIL, 1)],
)
def test_q9_duplicates(different, level, limit):
    replica = make_replica(repeat=50)
    replica.pixels[4096 : 4096 + different, 100] = 7
    finding = find("Q9", replica)
    assert (finding.level, finding.limit) == (level, limit)
    assert finding.value == pytest.approx(100 * different / 4096)
    assert f"{50 - different} repeated rows are equal, {different} differ" in finding.text


def test_q9_records_of_another_replica():
    replica = make_replica()
    replica.columns["REPLICA"][9] = 3
    finding = find("Q9", replica)
    assert finding.level == WARN
    assert finding.text.endswith("; records name replicas 2 and 3")


# --- Calibration -------------------------------------------------------------------------------


def test_good_calibration():
    findings = check_calibration(**GOOD)
    assert [finding.text for finding in findings] == [
        "Q1: 5 of 5 replicas usable",
        "Q10: CCD temperatures differ by 0.10 degC",
        "Q11: 0 % of the pixels have fewer than 3 samples in a group",
        "Q12: 200 000 pixels above 100 e-/s: 1 of the model,"
        " median 20.0 e-/s: 1 of the previous one",
    ]
    assert {(f.scope, f.replica, f.level) for f in findings} == {("cal", None, PASS)}


@pytest.mark.parametrize(
    ("usable", "level", "limit"), [(5, PASS, 5), (4, WARN, 5), (3, WARN, 5), (2, FAIL, 3)]
)
def test_q1_replica_set(usable, level, limit):
    finding = judge("Q1", usable=usable)
    assert (finding.level, finding.value, finding.limit) == (level, usable, limit)


def test_q1_times_of_the_dump():
    finding = judge("Q1", times_sources=["CIUMACAC", "ERT", "ERT", "CIUMACAC", "CIUMACAC"])
    assert finding.level == WARN
    assert finding.text == "Q1: 5 of 5 replicas usable; times of 2 by earth receive time"


@pytest.mark.parametrize(
    ("temperatures", "level", "value"),
    [
        ([-10.2, -10.7], PASS, 0.5),
        ([-10.2, -10.71], WARN, 0.51),
        ([-10.2, None], WARN, 0.0),
        ([None, None], FAIL, None),
        ([], FAIL, None),
    ],
)
def test_q10_temperature(temperatures, level, value):
    sources = [None if degc is None else "HDR3" for degc in temperatures]
    finding = judge("Q10", temperatures=temperatures, sources=sources)
    assert (finding.level, finding.value) == (level, value)


@pytest.mark.parametrize("source", ["AACCCDPT", "GUESS"])
def test_q10_source(source):
    finding = judge("Q10", sources=["HDR3", "HDR3", source, "HDR3", "HDR3"])
    assert finding.level == WARN
    assert finding.text.endswith(f"; 1 of 5 not from header 3: {source}")


@pytest.mark.parametrize(
    ("fraction", "level", "limit"),
    [(0, PASS, 0), (1e-6, WARN, 0), (0.01, WARN, 0), (0.010001, FAIL, 1)],
)
def test_q11_pixels(fraction, level, limit):
    finding = judge("Q11", few_fraction=fraction)
    assert (finding.level, finding.limit) == (level, limit)
    assert finding.value == pytest.approx(100 * fraction)


@pytest.mark.parametrize(
    ("ratio", "level", "limit"),
    [
        *[(1.3, PASS, 1.3), (1 / 1.3, PASS, 1.3), (1.31, WARN, 1.3), (0.76, WARN, 1.3)],
        *[(3.0, WARN, 1.3), (1 / 3, WARN, 1.3), (3.01, FAIL, 3), (0.33, FAIL, 3), (0, FAIL, 3)],
    ],
)
def test_q12_sanity(ratio, level, limit):
    by_model = judge("Q12", n100=ratio, n100_model=1.0)
    by_previous = judge("Q12", median=ratio, previous_median=1.0)
    for finding in (by_model, by_previous):
        assert (finding.level, finding.value, finding.limit) == (level, ratio, limit)


def test_q12_the_worse_ratio_counts():
    finding = judge("Q12", n100=320_000, median=10.0)
    assert (finding.level, finding.value) == (WARN, 0.5)
    assert finding.text == (
        "Q12: 320 000 pixels above 100 e-/s: 1.6 of the model, median 10.0 e-/s: 0.5 of the"
        " previous one; limit 1.3 times more or less"
    )
    assert judge("Q12", median=-1.0).level == FAIL


def test_q12_nothing_to_compare_with():
    finding = judge("Q12", n100_model=None, previous_median=None)
    assert (finding.level, finding.value) == (PASS, None)
    assert judge("Q12", n100_model=None, median=27.0).level == WARN
    assert judge("Q12", n100=270_000, previous_median=None).level == WARN


# --- Together ----------------------------------------------------------------------------------


def finding_of(level, scope="cal"):
    return Finding("Q1", scope, None, level, 1, 2, "made up")


def test_a_file_that_fails_is_a_warning_of_the_calibration():
    passed, warned, failed = (finding_of(level) for level in Level)
    assert [worst(some) for some in ([], [warned, passed], [warned, failed, passed])] == [
        *(PASS, WARN, FAIL)
    ]
    assert [is_usable([passed, other]) for other in (passed, warned, failed)] == [True, True, False]
    assert overall([passed], [passed]) == PASS
    assert overall([warned], [passed]) == WARN
    assert overall([failed], [passed]) == WARN
    assert overall([failed], [failed]) == FAIL
    assert overall([passed], [warned]) == WARN


def test_complete_percent():
    assert complete_percent([4096] * 5, 5) == 100
    assert complete_percent([4096] * 4, 5) == 80
    assert complete_percent([4096] * 4 + [4095], 5) == 99.99
    assert complete_percent([4096] * 5 + [4000], 5) < 100
    assert complete_percent([], 5) == 0


def test_findings_survive_json():
    replica = make_replica(lost=3)
    findings = [*check_replica(replica, SIZE), *check_calibration(**{**GOOD, "usable": 4})]
    items = json.loads(json.dumps(to_json(findings)))
    assert items[3] == {
        "rule": "Q5",
        "scope": "file",
        "replica": 3,
        "level": "WARN",
        "value": pytest.approx(100 * 3 / 33_276),
        "limit": 0.0,
        "text": "Q5 replica 3: 3 of 33 276 frames lost (0.00902 %); limit 0 %",
    }
