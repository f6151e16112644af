"""Replicas and calibrations in telemetry, and their ids (dark-cal B1, B8, F)."""

import doctest
import itertools

import numpy as np
import pytest
from astropy.table import Table

from acaflow import times
from acaflow.archive.aca_dark import dark_events
from acaflow.archive.aca_dark.dark_events import (
    DarkCalEvent,
    event_of,
    get_dark_cal_replicas,
    get_dark_cals,
    id_of,
    replicas_of,
)
from acaflow.errors import MissingDataError
from acaflow.telemetry.samples import SampleFiles
from tests.support.samples import MAJOR_FRAME_S, archive_samples, archive_states

DAY = 86400.0
BASE = 708_750_000.0
"""2020:169:02:58:50.816"""
STEP = 32.0
"""Spacing of the samples below (s); all times are exact in binary."""


def replica(start, length=512.0):
    """An interval after BASE, its ends halfway between samples."""
    return (BASE + start + STEP / 2, BASE + start + STEP / 2 + length)


DARK_CAL = [replica(0), replica(2560), replica(5120), replica(7680), replica(10240)]
"""Five replicas, 10752 s."""


def grid(first, last, without=()):
    """Times of samples from `first` to `last` after BASE, `without` some intervals."""
    time = BASE + np.arange(first, last, STEP)
    for start, stop in without:
        time = time[(time < BASE + start) | (time > BASE + stop)]
    return time


@pytest.fixture
def find(tmp_path):
    """Write states and search them, by default in all of their interval."""

    def search(kind, on, time, tstart=None, tstop=None):
        archive_states(tmp_path, time, on)
        tstart = time[0] if tstart is None else BASE + tstart
        tstop = time[-1] + STEP if tstop is None else BASE + tstop
        return [(e.tstart, e.tstop) for e in kind(SampleFiles(tmp_path), tstart, tstop)]

    return search


# --- Replicas


def test_a_replica_begins_and_ends_between_samples(tmp_path):
    archive_states(tmp_path, grid(-960, 9600), [replica(0)])
    (event,) = get_dark_cal_replicas(SampleFiles(tmp_path), BASE - 960, BASE + 9600)
    assert (event.start, event.stop) == ("2020:169:02:59:06.816", "2020:169:03:07:38.816")
    assert (event.tstart, event.tstop, event.dur) == (BASE + 16, BASE + 528, 512.0)
    assert event.obsid == -999


def test_shortest_replica(find):
    time = BASE + np.arange(-1000.0, 4000.0, 4.0)
    on = [(BASE + 2, BASE + 298), (BASE + 1002, BASE + 1302), (BASE + 2002, BASE + 2306)]
    assert find(get_dark_cal_replicas, on, time) == on[1:]  # 296, 300 and 304 s


def test_only_complete_replicas(find):
    on = [replica(0), replica(3200), replica(6400)]
    time = grid(-960, 9600)
    assert find(get_dark_cal_replicas, on, time) == on
    assert find(get_dark_cal_replicas, on, time, 32, 6848) == on[1:2]  # on at both ends
    assert find(get_dark_cal_replicas, on, time, 0, 6945) == on  # one sample beyond each
    assert find(get_dark_cal_replicas, on, time, 64, 256) == []  # on all the time
    assert find(get_dark_cal_replicas, on, time, 992, 3000) == []  # off all the time
    assert find(get_dark_cal_replicas, on, time, 20_000, 30_000) == []  # no sample


def test_a_gap_ends_a_replica(find):
    """164.05 s after the last sample before it; the next one begins as long before its end."""
    on, half = [(BASE - 16, BASE + 4112)], 164.05
    time = grid(-960, 9600, without=[(1000, 1900), (3000, 3200)])
    expected = [(BASE - 16, BASE + 992 + half), (BASE + 1920 - half, BASE + 4112)]
    assert find(get_dark_cal_replicas, on, time) == expected


@pytest.mark.parametrize(("gap", "n"), [(328.0, 1), (328.25, 2)])
def test_longest_gap_inside_a_replica(find, gap, n):
    on = [(BASE - 16, BASE + 2000)]
    time = np.append(grid(-960, 801), BASE + 800 + gap + np.arange(0, 4000, STEP))
    assert len(find(get_dark_cal_replicas, on, time)) == n


def test_a_gap_before_a_replica(find):
    """Off before the gap, on after it: nobody saw the start, the gap makes one."""
    time = grid(-960, 9600, without=[(-500, 300)])
    ((tstart, tstop),) = find(get_dark_cal_replicas, [replica(0, 1024)], time)
    assert (tstart, tstop) == (BASE + 320 - 164.05, BASE + 1040)


def test_obsid_of_the_first_200_s(tmp_path):
    archive_states(tmp_path, grid(-960, 20_000), DARK_CAL)
    starts = [start for start, _ in DARK_CAL]
    obsids = {
        starts[0] - 0.5: 1,  # before
        starts[0]: 50001,  # at once
        starts[1] + 199.5: 50002,
        starts[1] + 199.75: 50003,  # the second
        starts[2] + 200.0: 50004,  # too late
        starts[3] + 10.0: 65535,
        starts[4] + 10.0: 65536,
    }
    archive_samples(tmp_path, "COBSRQID", list(obsids), list(obsids.values()))
    events = get_dark_cal_replicas(SampleFiles(tmp_path), BASE - 960, BASE + 20_000)
    assert [event.obsid for event in events] == [50001, 50002, -999, 65535, 0]
    assert all(type(event.obsid) is int for event in events)


# --- Calibrations


def test_dark_cal(tmp_path):
    archive_states(tmp_path, grid(-960, 2 * DAY), DARK_CAL)
    archive_samples(tmp_path, "COBSRQID", [BASE + 20, BASE + 3000], [47129, 47128])
    samples = SampleFiles(tmp_path)
    (event,) = get_dark_cals(samples, BASE - 960, BASE + 2 * DAY)
    assert (event.tstart, event.tstop, event.dur) == (BASE + 16, BASE + 10768, 10752.0)
    assert (event.start, event.stop) == ("2020:169:02:59:06.816", "2020:169:05:58:18.816")
    assert event.obsid == 47129
    assert [(r.tstart, r.tstop) for r in replicas_of(event, samples)] == DARK_CAL


def test_short_intervals_belong_to_a_dark_cal(find):
    """The 300 s rule is for replicas: the raw intervals are merged."""
    short = [replica(0, 32), *DARK_CAL[1:4], replica(10240, 32)]
    time = grid(-960, 2 * DAY)
    assert find(get_dark_cals, short, time) == [(short[0][0], short[-1][1])]
    assert find(get_dark_cal_replicas, short, time) == short[1:4]


@pytest.mark.parametrize(("length", "n"), [(7968, 0), (8000, 1)])
def test_shortest_dark_cal(find, length, n):
    assert len(find(get_dark_cals, [replica(0, length)], grid(-960, 2 * DAY))) == n


@pytest.mark.parametrize(("gap", "n"), [(DAY - 32, 1), (DAY, 2)])
def test_a_day_between_two_dark_cals(find, gap, n):
    on = [replica(0, 9600), replica(9600 + gap, 9600)]
    expected = on if n == 2 else [(on[0][0], on[1][1])]
    assert find(get_dark_cals, on, grid(-960, 4 * DAY)) == expected


def test_isolated_replicas_are_no_dark_cal(find):
    on = [replica(1.5 * DAY * i, 320) for i in range(6)]
    time = grid(-960, 10 * DAY)
    assert find(get_dark_cals, on, time) == []
    assert find(get_dark_cal_replicas, on, time) == on


def test_held_back_until_a_day_of_telemetry_follows(find):
    """All of it: the first replicas are never reported as a shorter calibration."""
    last = DARK_CAL[-1][1] - BASE  # 10768
    time = grid(-960, 3 * DAY)
    whole = [(DARK_CAL[0][0], DARK_CAL[-1][1])]
    # The last sample is the one before the end of the search.
    assert find(get_dark_cals, DARK_CAL, time, -960, last + DAY) == []
    assert find(get_dark_cals, DARK_CAL, time, -960, last + DAY - 512) == []
    assert find(get_dark_cals, DARK_CAL, time, -960, last + DAY + 32) == whole


def test_held_back_where_telemetry_ends_before_the_search(find):
    assert find(get_dark_cals, DARK_CAL, grid(-960, DAY), -960, 3 * DAY) == []


def test_search_that_begins_inside_a_dark_cal(find):
    time = grid(-3 * DAY, 3 * DAY)
    whole = [(DARK_CAL[0][0], DARK_CAL[-1][1])]
    assert find(get_dark_cals, DARK_CAL, time, 16, 3 * DAY) == whole
    assert find(get_dark_cals, DARK_CAL, time, 17, 3 * DAY) == []  # not one of four replicas
    assert find(get_dark_cals, DARK_CAL, time, 2560, 3 * DAY) == []


def test_dark_cal_over_a_gap(find):
    time = grid(-960, 2 * DAY, without=[(2600, 2950)])
    assert find(get_dark_cals, DARK_CAL, time) == [(DARK_CAL[0][0], DARK_CAL[-1][1])]


# --- Ids


def dark_cal(start, obsid=0):
    tstart = times.secs(start)
    return DarkCalEvent(start, "", tstart, tstart + 10752.0, 10752.0, obsid)


NOON, LATE, EARLY = (
    dark_cal(f"2009:{t}") for t in ("279:12:00:00", "278:23:50:00", "280:00:10:00")
)


@pytest.mark.parametrize(
    ("dark_id", "events", "expected"),
    [
        ("2009279", [NOON], NOON),
        ("2009279", [EARLY], EARLY),  # filed under the day before its start
        ("2009279", [LATE], LATE),  # filed under the day after its start
        ("2009279", [LATE, EARLY], EARLY),
        ("2009279", [LATE, NOON, EARLY], NOON),
        ("2009279", [EARLY, NOON, LATE], NOON),
        ("2009279", [], None),
        ("2009277", [NOON], None),
        ("2009281", [NOON], None),
    ],
)
def test_event_of_an_id(dark_id, events, expected):
    assert event_of(dark_id, events) is expected


def test_event_of_another_id():
    """Two calibrations on consecutive days: each id has its own."""
    events = [NOON, EARLY]
    assert event_of("2009279", [EARLY], ["2009280"]) is None
    assert event_of("2009279", [LATE], ["2009278"]) is None
    assert event_of("2009280", events, ["2009279"]) is EARLY
    assert event_of("2009279", events, ["2009280"]) is NOON
    # The exact day of one id goes before the slop of another.
    assert event_of("2009278", [NOON], ["2009279"]) is None
    assert event_of("2009278", [NOON]) is NOON


@pytest.mark.parametrize(
    ("dark_ids", "expected"),
    [
        (["2009278", "2009279", "2009280"], "2009279"),
        (["2009278", "2009280"], "2009278"),
        (["2009280", "2009113"], "2009280"),
    ],
)
def test_id_of_an_event(dark_ids, expected):
    assert id_of(NOON.tstart, dark_ids) == expected


def test_id_owned_by_another_event():
    assert id_of(EARLY.tstart, ["2009279"]) == "2009279"
    message = (
        r"^No dark calibration directory for 2009:280:00:10:00\.000; looked for 2009280, 2009279,"
        r" 2009281, and 2009279 belongs to another calibration$"
    )
    with pytest.raises(MissingDataError, match=message):
        id_of(EARLY.tstart, ["2009279"], [NOON.tstart])
    with pytest.raises(
        MissingDataError, match=r"^No dark .* looked for 2009280, 2009279, 2009281$"
    ):
        id_of(EARLY.tstart, ["2009278"], [NOON.tstart])


def test_every_event_has_its_own_id():
    """Whatever ids exist, no two events get the same, and both directions agree."""
    days = [f"2009{day}" for day in range(277, 282)]
    for events in itertools.permutations([LATE, NOON, EARLY], 2):
        for dark_ids in itertools.chain.from_iterable(
            itertools.combinations(days, n) for n in range(6)
        ):
            found = {}
            for event, other in (events, events[::-1]):
                try:
                    found[id_of(event.tstart, dark_ids, [other.tstart])] = event
                except MissingDataError:
                    continue
            for dark_id in dark_ids:
                assert event_of(dark_id, events, dark_ids) is found.get(dark_id)
            # An event without id has none to take within a day.
            free = set(dark_ids) - set(found)
            for event in set(events) - set(found.values()):
                day = int(times.date(event.tstart)[5:8])
                assert not free & {f"2009{day + d}" for d in (-1, 0, 1)}


def test_ids_around_new_year():
    assert id_of(times.secs("2009:001:00:10:00"), ["2008366"]) == "2008366"
    assert event_of("2008366", [dark_cal("2009:001:00:10:00")]).start == "2009:001:00:10:00"


def test_examples_in_docstrings():
    assert doctest.testmod(dark_events).failed == 0


# --- Real events


@pytest.mark.real
def test_real_replicas(real_data, tmp_path):
    """Telemetry made of the real intervals gives the real tables of kadi back: all but telemetry.

    The times of that telemetry are a major frame apart; between two events the phase shifts by
    some milliseconds.
    """
    folder = real_data / "real" / "events"
    replicas = Table.read(folder / "dark_cal_replicas.txt", format="ascii.fixed_width")
    assert len(replicas) == 6
    time = []
    for row in replicas:
        later = row["tstart"] + MAJOR_FRAME_S * (np.arange(-3000, 3600) + 0.5)
        time = [*(t for t in time if t < later[0] - 1), *later]
    on = list(zip(replicas["tstart"], replicas["tstop"], strict=True))
    archive_states(tmp_path, time, on)
    obsids = Table.read(folder / "obsids.txt", format="ascii.fixed_width")
    place = np.searchsorted(obsids["tstart"], time, "right") - 1
    archive_samples(tmp_path, "COBSRQID", time, np.asarray(obsids["obsid"])[place])
    samples = SampleFiles(tmp_path)
    tstart, tstop = times.secs("2020:161"), times.secs("2020:187")
    events = get_dark_cal_replicas(samples, tstart, tstop)
    assert [event.start for event in events] == list(replicas["start"])
    assert [event.stop for event in events] == list(replicas["stop"])
    assert [event.obsid for event in events] == list(replicas["obsid"])
    for name in ("tstart", "tstop", "dur"):
        found = [getattr(event, name) for event in events]
        np.testing.assert_allclose(found, replicas[name], rtol=0, atol=1e-3)
    assert len(Table.read(folder / "dark_cals.ecsv")) == 0
    assert get_dark_cals(samples, tstart, tstop) == []
