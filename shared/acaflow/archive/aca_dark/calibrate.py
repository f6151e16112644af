"""One dark calibration from its decoded replicas: what the service runs, and a notebook can.

`Inputs` says what there is, `Parameters` how to combine it; `calibrate` returns the master image
with its properties and quality. Nothing is written and no clock is read: the same inputs give the
same calibration.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from acaflow import __version__, times
from acaflow.archive.aca_dark import ccd, dark_quality
from acaflow.archive.aca_dark.ccd_temp import replica_temperature
from acaflow.archive.aca_dark.combine import FEW, MISSING, Master, combine
from acaflow.archive.aca_dark.dark_cal import dark_id_to_date
from acaflow.archive.aca_dark.dark_events import (
    ReplicaEvent,
    event_of,
    get_dark_cals,
    replicas_of,
)
from acaflow.archive.aca_dark.dark_files import IMAGE, Calibration
from acaflow.archive.aca_dark.dark_model import dark_temp_scale, get_warm_fracs
from acaflow.archive.aca_dark.dark_quality import Finding, Level
from acaflow.archive.aca_dark.dark_stats import compute_stats
from acaflow.archive.aca_dark.info import Info
from acaflow.archive.aca_dark.replica import Replica
from acaflow.archive.aca_dark.zodi import ZODI_E_PER_S, ZODI_PROPERTIES, zodi_properties
from acaflow.errors import InputError, MissingDataError, QualityError
from acaflow.telemetry.samples import Samples

__all__ = [
    "Inputs",
    "Parameters",
    "calibrate",
    "describe",
    "find_replicas",
    "with_stats",
    "would_change",
]

FloatImage = npt.NDArray[np.float32]

DAY_S = 86400.0

TREND_T_CCD = -15.0
"""Temperature (degC) to which statistics are scaled, so that years can be compared."""
PREVIOUS_S = 2 * 365.25 * 86400.0
"""A calibration older than that says nothing about this one (s; dark-cal B4, Q12)."""
MODEL_START = "2007"
"""From then on the warm-pixel model holds (dark-cal C4)."""


@dataclass(frozen=True)
class Parameters:
    """How frames are combined.

    Parameters
    ----------
    combine : {'median', 'clipmean'}
        See `combine.combine`.
    gain : dict of str to float
        Of each quadrant (e-/DN).
    read_noise : float
        Of one frame (e-).
    """

    combine: str = "median"
    gain: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(ccd.QUADRANTS, 5.0))
    read_noise: float = 25.0

    def __post_init__(self) -> None:
        if self.combine not in ("median", "clipmean"):
            raise InputError(f"combine is {self.combine!r}; expected 'median' or 'clipmean'")
        if set(self.gain) != set(ccd.QUADRANTS) or not all(
            0 < value < math.inf for value in self.gain.values()
        ):
            raise InputError(f"gain is {dict(self.gain)}; expected e-/DN > 0 for A, B, C and D")


@dataclass(frozen=True)
class Inputs:
    """What a calibration is made from.

    Attributes
    ----------
    dark_id : str
        YYYYDOY of the file names.
    replicas : list of Replica
        Decoded, by number.
    files : list of dict
        ``path``, ``sha256``, ``size`` of each delivered file, usable or not.
    unusable : dict of int to str
        Replicas whose file cannot be decoded, and why.
    expected : int
        Replicas that there should be where telemetry does not say.
    info : Info or None
        Attitude and time of the first star catalogue.
    samples : Samples
        Engineering telemetry.
    archive : Path
        Holds ``aca0``, for header 3.
    owned : collection of str
        Ids of other calibrations: an event belongs to one only.
    history : list of dict
        Properties of the published calibrations, by id.
    """

    dark_id: str
    replicas: Sequence[Replica]
    files: Sequence[Mapping[str, Any]]
    expected: int
    info: Info | None
    samples: Samples
    archive: Path
    unusable: Mapping[int, str] = field(default_factory=dict)
    owned: Sequence[str] = ()
    history: Sequence[Mapping[str, Any]] = ()


def calibrate(inputs: Inputs, parameters: Parameters) -> Calibration:
    """Combine, date, and judge one dark calibration.

    Parameters
    ----------
    inputs : Inputs
        What there is.
    parameters : Parameters
        How to combine.

    Returns
    -------
    Calibration
        `properties` lack ``revision`` and ``report``, which publication adds.

    Raises
    ------
    MissingDataError
        No replica can be used: there is no image at all.
    QualityError
        The dumps were taken during a calibration that has another id.

    Notes
    -----
    Source: dark-cal B4 to B7.
    """
    events = find_replicas(inputs.dark_id, inputs.samples, inputs.owned)
    if not events:
        _refuse_foreign(inputs)
    expected = len(events) or inputs.expected
    of_files = _judge_files(inputs)
    usable = [
        replica
        for replica in inputs.replicas
        if replica.number <= expected
        and dark_quality.is_usable([item for item in of_files if item.replica == replica.number])
    ]
    if not usable:
        why = [item.text for item in of_files if item.level == Level.FAIL]
        why += [f"replica {number}: {text}" for number, text in inputs.unusable.items()]
        raise MissingDataError(
            f"dark calibration {inputs.dark_id}: no replica can be used; {'; '.join(why)}"
        )
    master = _combine(usable, parameters)
    rows = _replica_rows(inputs, events, {replica.number for replica in usable})
    known = [row["ccd_temp"] for row in rows if row["ccd_temp"] is not None]
    ccd_temp = float(np.mean(known)) if known else None
    start, stop = min(row["start"] for row in rows), max(row["stop"] for row in rows)
    zodi_now = _zodi(inputs, start)
    previous = _previous(inputs)
    stats = describe(master.image, master.mask, master.quantum, ccd_temp, zodi_now["zodib"])
    stats["n_cosmic"] = master.n_cosmic
    of_calibration = dark_quality.check_calibration(
        usable=len(usable),
        expected=expected,
        temperatures=[row["ccd_temp"] for row in rows],
        sources=[row["ccd_temp_source"] for row in rows],
        times_sources=[row["times_source"] for row in rows],
        few_fraction=float(np.mean((master.mask & (MISSING | FEW)) > 0)),
        n100=stats["n100"],
        n100_model=_model_n100(start, ccd_temp),
        median=stats["median"],
        previous_median=_scaled_median(previous, ccd_temp),
    )
    complete = dark_quality.complete_percent([one.rows() for one in inputs.replicas], expected)
    level = dark_quality.overall(of_files, of_calibration)
    properties: dict[str, Any] = {
        "id": inputs.dark_id,
        "start": start,
        "stop": stop,
        "dur": round(times.secs(stop) - times.secs(start), 3),
        "datestart": start,
        "datestop": stop,
        "ccd_temp": ccd_temp,
        "t_ccd": ccd_temp,
        "n_ccd_img": 2 * len(usable),
        "filename": IMAGE,
        "replicas": rows,
        "integ": [master.t_short, master.t_long],
        "stats": stats,
        "versions": {"acaflow": __version__},
        "inputs": [dict(item) for item in inputs.files],
        "previous": previous,
        "quality": str(level),
        "complete": complete,
        "combine": parameters.combine,
        "gain": dict(parameters.gain),
        "read_noise": parameters.read_noise,
        **zodi_now,
    }
    quality = {
        "level": str(level),
        "complete": complete,
        "findings": dark_quality.to_json([*of_files, *of_calibration]),
        "forced": None,
    }
    return Calibration(master.image, master.sigma, master.mask, master.nsamp, properties, quality)


def find_replicas(
    dark_id: str, samples: Samples, owned: Collection[str] = ()
) -> list[ReplicaEvent]:
    """Return the replicas of a calibration that telemetry knows; none if it knows no event.

    Parameters
    ----------
    dark_id : str
        YYYYDOY.
    samples : Samples
        With CIUMACAC.
    owned : collection of str
        Ids of other calibrations, whose events are theirs.
    """
    day = times.secs(f"{dark_id[:4]}:{dark_id[4:]}")
    events = get_dark_cals(samples, day - 2 * DAY_S, day + 4 * DAY_S)
    event = event_of(dark_id, events, owned)
    return replicas_of(event, samples) if event else []


def _refuse_foreign(inputs: Inputs) -> None:
    """Raise QualityError if the dumps came during the event of another calibration."""
    day = times.secs(dark_id_to_date(inputs.dark_id))
    events = get_dark_cals(inputs.samples, day - 2 * DAY_S, day + 4 * DAY_S)
    for event in events:
        owners = [other for other in inputs.owned if event_of(other, [event]) is not None]
        inside = [one for one in inputs.replicas if event.tstart <= one.ert[0] <= event.tstop]
        if owners and inside:
            raise QualityError(
                f"the dumps named {inputs.dark_id} were received during the calibration of"
                f" {event.start}, which is {owners[0]}: deliver them under its day, and remove"
                f" {inside[0].name}"
            )


def _judge_files(inputs: Inputs) -> list[Finding]:
    """Return the findings of all files, first to last."""
    if not inputs.replicas:
        return []
    median_size = float(np.median([replica.counts.size for replica in inputs.replicas]))
    return [
        finding
        for replica in inputs.replicas
        for finding in dark_quality.check_replica(replica, median_size)
    ]


def _combine(replicas: Sequence[Replica], parameters: Parameters) -> Master:
    """Combine the short and the long frames of replicas."""
    pairs = [[replica.frame(group) for group in replica.groups] for replica in replicas]
    short, long = zip(*pairs, strict=True)
    return combine(
        [frame.signal for frame in short],
        [frame.signal for frame in long],
        float(np.median([frame.integ for frame in short])),
        float(np.median([frame.integ for frame in long])),
        saturated=([frame.saturated for frame in short], [frame.saturated for frame in long]),
        gain=_gain(parameters),
        method=cast(Literal["median", "clipmean"], parameters.combine),
        read_noise=parameters.read_noise,
    )


def _gain(parameters: Parameters) -> Any:
    """Return one number if the quadrants have one gain: only then is the image on a grid."""
    values = set(parameters.gain.values())
    return values.pop() if len(values) == 1 else ccd.per_quadrant(dict(parameters.gain))


def _replica_rows(
    inputs: Inputs, events: Sequence[ReplicaEvent], usable: Collection[int]
) -> list[dict[str, Any]]:
    """Return what ``properties.json`` says of each replica, delivered or not."""
    delivered = {replica.number: replica for replica in inputs.replicas}
    spans = {n: (item.tstart, item.tstop) for n, item in enumerate(events, start=1)}
    known = {number: replica.ert for number, replica in delivered.items()} | spans
    rows = []
    for number, span in sorted(known.items()):
        replica = delivered.get(number)
        start, stop = map(times.date, span)
        row = {
            "count": number,
            "start": start,
            "stop": stop,
            "times_source": "CIUMACAC" if number in spans else "ERT",
            "downlink": replica is not None or number in inputs.unusable,
            "used": number in usable,
            "attitude": None,
            **_temperature(start, stop, inputs.samples, inputs.archive),
            **_telemetry_of(replica),
        }
        if number == 1 and inputs.info:
            row["attitude"] = {"ra": inputs.info.ra, "dec": inputs.info.dec, "roll": None}
        rows.append(row)
    return rows


def _temperature(start: str, stop: str, samples: Samples, archive: Path) -> dict[str, Any]:
    # From the dates as published, so that the same telemetry gives the same value again.
    tstart, tstop = times.secs(start), times.secs(stop)
    try:
        degc, source = replica_temperature(tstart, tstop, samples, archive)
    except MissingDataError:
        return {"ccd_temp": None, "ccd_temp_source": None}
    return {"ccd_temp": degc, "ccd_temp_source": source}


def _telemetry_of(replica: Replica | None) -> dict[str, Any]:
    """Return what there is of a replica's file."""
    if replica is None:
        names = ("file", "size", "frames", "pixel_frames", "lost_percent", "n_rows")
        return dict.fromkeys(names) | {"n_rows": 0}
    counts = replica.counts
    sent = counts.lost + counts.frames - counts.duplicate_frames
    return {
        "file": replica.name,
        "size": counts.size,
        "frames": counts.frames,
        "pixel_frames": counts.pixel_frames,
        "lost_percent": 100.0 * counts.lost / sent if sent else 0.0,
        "n_rows": replica.rows(),
    }


def describe(
    image: FloatImage,
    mask: npt.NDArray[np.int16] | None,
    quantum: float | None,
    ccd_temp: float | None,
    zodib: float | None,
) -> dict[str, Any]:
    """Return ``stats`` of the properties of a calibration (dark-cal A7, B6 and D2).

    Parameters
    ----------
    image, mask, quantum
        As for `dark_stats.compute_stats`, e-/s.
    ccd_temp : float, optional
        Temperature of the image (degC).
    zodib : float, optional
        Zodiacal brightness, S10(sun).

    Returns
    -------
    dict
        The statistics; ``scaled``, the same at -15 degC; ``zodi_level``, the zodiacal light
        (e-/s), and ``intrinsic`` without it; ``quantum``. None where an input is not known.
    """
    stats = compute_stats(image, mask, quantum)
    scaled = None
    if ccd_temp is not None:
        factor = dark_temp_scale(ccd_temp, TREND_T_CCD)
        step = None if quantum is None else quantum * factor
        scaled = compute_stats(image * np.float32(factor), mask, step, quadrants=False)
    level = None if zodib is None else ZODI_E_PER_S * zodib
    names = ("mean", "median", "peak", "mean_near_peak")
    intrinsic = {} if level is None else {name: _less(stats[name], level) for name in names}
    return stats | {
        "scaled": scaled,
        "zodi_level": level,
        "intrinsic": intrinsic or None,
        "quantum": quantum,
    }


def _less(value: float | None, level: float) -> float | None:
    return None if value is None else value - level


def _zodi(inputs: Inputs, start: str) -> dict[str, Any]:
    """Return the zodiacal properties; without attitude only the date."""
    date = dark_id_to_date(inputs.dark_id)
    if inputs.info is None:
        return {**dict.fromkeys(ZODI_PROPERTIES), "date": date}
    return zodi_properties(inputs.info.ra, inputs.info.dec, start) | {"date": date}


def _model_n100(date: str, ccd_temp: float | None) -> float | None:
    """Return how many pixels above 100 e-/s the model expects; None where it does not hold."""
    if ccd_temp is None or date < MODEL_START:
        return None
    return float(get_warm_fracs(100.0, date, ccd_temp)) * ccd.SIZE**2


def _previous(inputs: Inputs) -> dict[str, Any] | None:
    """Return id, median and temperature of the calibration before, if that is not too old."""
    before = [item for item in inputs.history if item["id"] < inputs.dark_id]
    if not before:
        return None
    last = before[-1]
    days = [times.secs(dark_id_to_date(item)) for item in (inputs.dark_id, last["id"])]
    if days[0] - days[1] > PREVIOUS_S:
        return None
    median = (last.get("stats") or {}).get("median")
    return {"id": last["id"], "median": median, "ccd_temp": last.get("ccd_temp")}


def _scaled_median(previous: Mapping[str, Any] | None, ccd_temp: float | None) -> float | None:
    """Return the median of the calibration before, at the temperature of this one."""
    if previous is None or ccd_temp is None or previous["median"] is None:
        return None
    if previous["ccd_temp"] is None:
        return None
    return float(previous["median"] * dark_temp_scale(previous["ccd_temp"], ccd_temp))


def would_change(
    dark_id: str,
    properties: Mapping[str, Any],
    samples: Samples,
    archive: Path,
    owned: Collection[str] = (),
) -> bool:
    """Tell whether telemetry now gives other times or temperatures of the replicas.

    Parameters
    ----------
    dark_id : str
        YYYYDOY.
    properties : mapping
        Of the calibration as it is; one without replicas would change.
    samples, archive, owned
        As in `Inputs`.
    """
    rows = properties.get("replicas") or []
    events = find_replicas(dark_id, samples, owned)
    spans = [(row["start"], row["stop"]) for row in rows]
    if not rows or (events and [(item.start, item.stop) for item in events] != spans):
        return True
    now = [_temperature(*span, samples, archive) for span in spans]
    return any(
        row[name] != value
        for row, new in zip(rows, now, strict=True)
        for name, value in new.items()
    )


def with_stats(cal: Calibration) -> Calibration:
    """Give a calibration of another archive the statistics of its image, if it has none."""
    known = cal.properties
    if known.get("stats"):
        return cal
    stats = describe(cal.image, cal.mask, None, known.get("ccd_temp"), known.get("zodib"))
    return replace(cal, properties=known | {"stats": stats})
