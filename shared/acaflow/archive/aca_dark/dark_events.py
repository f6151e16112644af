"""When dark calibrations happened, found in engineering telemetry, and which id each of them has.

While a replica is taken the state ``CIUMACAC`` is ``ON``. Samples come from any
`acaflow.telemetry.samples.Samples`; times are CXC seconds.

Source: dark-cal B1, B8 and F; times at changes and gaps and the obsid: vv-stats-starcheck 7.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from acaflow import times
from acaflow.errors import MissingDataError
from acaflow.telemetry.samples import Samples

__all__ = [
    "DarkCalEvent",
    "ReplicaEvent",
    "event_of",
    "get_dark_cal_replicas",
    "get_dark_cals",
    "id_of",
    "replicas_of",
]

DAY_S = 86400.0
MIN_REPLICA_S = 300.0
"""Shortest replica (s)."""
MIN_DARK_CAL_S = 8000.0
"""Shortest calibration (s), from the start of its first to the end of its last interval."""
MAX_BREAK_S = DAY_S
"""Intervals with less than this between them are one calibration (s)."""
MAX_GAP_S = 328.1
"""Longest telemetry gap that an interval may span, ten major frames (s)."""
OBSID_S = 200.0
"""The obsid of an event is the first one telemetered within this time (s)."""
NO_OBSID = -999
SLOP_DAYS = (0, -1, 1)
"""Where the id of an event may lie, in days from its start, the preferred first."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Event:
    """An interval of telemetry.

    Attributes
    ----------
    start, stop : str
        Dates, ``YYYY:DDD:hh:mm:ss.sss``.
    tstart, tstop : float
        The same (CXC seconds).
    dur : float
        Length (s).
    obsid : int
        Telemetered obsid; -999 if there is none, 0 if it is above 65535.
    """

    start: str
    stop: str
    tstart: float
    tstop: float
    dur: float
    obsid: int


class ReplicaEvent(_Event):
    """The camera was in calibration mode for 300 s or more: one replica."""


class DarkCalEvent(_Event):
    """Intervals of calibration mode close together that span 8000 s or more: one calibration."""


E = TypeVar("E", ReplicaEvent, DarkCalEvent)


def get_dark_cal_replicas(samples: Samples, tstart: float, tstop: float) -> list[ReplicaEvent]:
    """Find replicas.

    Parameters
    ----------
    samples : Samples
        With CIUMACAC and COBSRQID.
    tstart, tstop : float
        Interval to search (CXC seconds).

    Returns
    -------
    list of ReplicaEvent
        Those whose start and stop lie in the interval, in time order.

    Notes
    -----
    An event begins and ends halfway between the samples around the change of state. A telemetry
    gap above 328.1 s ends it 164.05 s after the last sample before the gap, and begins another
    one 164.05 s before the first sample after it.
    """
    starts, stops, _ = _on_intervals(samples, tstart, tstop)
    long = stops - starts >= MIN_REPLICA_S
    return _events(ReplicaEvent, samples, starts[long], stops[long])


def get_dark_cals(samples: Samples, tstart: float, tstop: float) -> list[DarkCalEvent]:
    """Find calibrations.

    Parameters
    ----------
    samples, tstart, tstop
        As for `get_dark_cal_replicas`.

    Returns
    -------
    list of DarkCalEvent
        Those whose start and stop lie in the interval, in time order. One is held back until a
        day of telemetry within the interval follows it, for it may go on.

    Notes
    -----
    Intervals of every length count, also those too short for a replica. Telemetry from before
    the interval is looked at too (ours), so that a calibration which is under way at `tstart`
    is not reported with a later start.
    """
    # A day for the break, another one for the interval before it.
    starts, stops, end = _on_intervals(samples, tstart - 2 * DAY_S, tstop)
    is_first = np.ones(len(starts), bool)
    is_first[1:] = starts[1:] - stops[:-1] >= MAX_BREAK_S
    starts, stops = starts[is_first], stops[np.roll(is_first, -1)]
    keep = (stops - starts >= MIN_DARK_CAL_S) & (starts >= tstart) & (end - stops >= MAX_BREAK_S)
    return _events(DarkCalEvent, samples, starts[keep], stops[keep])


def replicas_of(event: DarkCalEvent, samples: Samples) -> list[ReplicaEvent]:
    """Find the replicas of a calibration: from half a day before its start to a day after it.

    Notes
    -----
    Source: dark-cal B5.
    """
    return get_dark_cal_replicas(samples, event.tstart - 0.5 * DAY_S, event.tstart + DAY_S)


def event_of(
    dark_id: str, events: Sequence[DarkCalEvent], dark_ids: Collection[str] = ()
) -> DarkCalEvent | None:
    """Return the event of a calibration.

    Parameters
    ----------
    dark_id : str
        Its id, YYYYDDD, as in the names of its files.
    events : sequence of DarkCalEvent
        Those around it; a day on either side is enough.
    dark_ids : collection of str
        Other ids that exist. An event that belongs to one of them is left to it.

    Returns
    -------
    DarkCalEvent or None
        The event of the same day, else of the day after, else of the day before.
    """
    owners = _owners([event.tstart for event in events], {dark_id, *dark_ids})
    return events[owners[dark_id]] if dark_id in owners else None


def id_of(tstart: float, dark_ids: Collection[str], others: Sequence[float] = ()) -> str:
    """Return the id of the calibration that started at a time.

    Parameters
    ----------
    tstart : float
        Its start (CXC seconds).
    dark_ids : collection of str
        Ids that exist, YYYYDDD.
    others : sequence of float
        Starts of other calibrations, which may own ids.

    Returns
    -------
    str
        The id of the day of `tstart`, else of the day before, else of the day after.

    Raises
    ------
    MissingDataError
        None of the three exists, or those that do belong to other calibrations.

    Examples
    --------
    >>> id_of(times.secs("2009:280:00:10:00"), ["2009279", "2009113"])
    '2009279'
    """
    owners = _owners([tstart, *others], dark_ids)
    for dark_id, owner in owners.items():
        if owner == 0:
            return dark_id
    near = [_id(tstart, days) for days in SLOP_DAYS]
    owned = [dark_id for dark_id in near if dark_id in owners]
    raise MissingDataError(
        f"No dark calibration directory for {times.date(tstart)}; looked for {', '.join(near)}"
        + (f", and {', '.join(owned)} belongs to another calibration" if owned else "")
    )


def _owners(tstarts: Sequence[float], dark_ids: Collection[str]) -> dict[str, int]:
    """Give each id at most one event (by its place), and each event at most one id.

    All exact days go first: so the order of the events does not matter, and a slop never takes
    the id of another event.
    """
    owners: dict[str, int] = {}
    for days in SLOP_DAYS:
        for place in sorted(range(len(tstarts)), key=lambda i: tstarts[i]):
            dark_id = _id(tstarts[place], days)
            if dark_id in dark_ids and place not in owners.values():
                owners.setdefault(dark_id, place)
    return owners


def _id(tstart: float, days: int) -> str:
    """Return the id of a day near a time."""
    date = times.date(tstart + days * DAY_S)
    return date[:4] + date[5:8]


def _on_intervals(
    samples: Samples, tstart: float, tstop: float
) -> tuple[FloatArray, FloatArray, float]:
    """Return starts and stops of calibration mode, and the time of the last sample."""
    time, state = samples.get("CIUMACAC", tstart, tstop)
    if not len(time):
        return time, time, tstart
    on = np.char.rstrip(state.astype(str)) == "ON"
    step = np.diff(time)
    is_gap = step > MAX_GAP_S
    reach = np.where(is_gap, MAX_GAP_S / 2, step / 2)
    starts = (time[1:] - reach)[on[1:] & (is_gap | ~on[:-1])]
    stops = (time[:-1] + reach)[on[:-1] & (is_gap | ~on[1:])]
    # The first interval has no start if it was on already, the last no stop if it still is.
    return starts[: len(starts) - int(on[-1])], stops[int(on[0]) :], float(time[-1])


def _events(kind: type[E], samples: Samples, starts: FloatArray, stops: FloatArray) -> list[E]:
    """Make events of intervals."""
    return [
        kind(times.date(start), times.date(stop), start, stop, stop - start, obsid)
        for start, stop, obsid in zip(
            starts.tolist(), stops.tolist(), _obsids(samples, starts), strict=True
        )
    ]


def _obsids(samples: Samples, starts: FloatArray) -> list[int]:
    """Return the obsids at the starts of events."""
    if not len(starts):
        return []
    time, obsid = samples.get("COBSRQID", starts[0], starts[-1] + OBSID_S)
    # A last sample that is never near enough stands for none.
    time, obsid = np.append(time, np.inf), np.append(obsid, NO_OBSID)
    first = np.searchsorted(time, starts)
    found = np.where(time[first] < starts + OBSID_S, obsid[first], NO_OBSID)
    return [0 if value > 65535 else int(value) for value in found.tolist()]
