"""What the report of a dark calibration says, as plain values: for the report and for web pages.

`report_tables` gives rows of JSON values; `TABLES` says how each table is headed and written.
Nothing here knows HTML.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from acaflow import times
from acaflow.archive.aca_dark.ccd import HALF, quadrant_of
from acaflow.archive.aca_dark.combine import HOT_RATE, is_measured
from acaflow.archive.aca_dark.dark_stats import PERCENTILES
from acaflow.archive.aca_dark.dark_text import Column, dark_id_of
from acaflow.archive.aca_dark.dark_trend import COUNTS, LEVELS, MISSION, history_rows

if TYPE_CHECKING:
    from acaflow.archive.aca_dark.dark_files import Calibration

__all__ = ["HOT_ROWS", "TABLES", "config_hash", "report_tables"]

Row = dict[str, Any]

HOT_ROWS = 100
"""Pixels that a list of hot pixels names at most."""

RULES = {
    "Q1": "replica set",
    "Q2": "frame size",
    "Q3": "relative size",
    "Q4": "bad syncs",
    "Q5": "lost frames",
    "Q6": "half rows",
    "Q7": "integration",
    "Q8": "bias spread",
    "Q9": "duplicates",
    "Q10": "temperature",
    "Q11": "pixels",
    "Q12": "sanity",
}
"""Rules of quality by name (dark-cal B4)."""

SETPOINTS = (
    ("1999204", "launch", -10.0),
    ("2003182", "July 2003", -15.0),
    ("2006305", "November 2006 to January 2007", -19.0),
    ("2011182", "mid-2011, without margin of cooling", None),
)
"""First day, in words, and temperature (degC) of each commanded CCD temperature (dark-cal 0).

None: the CCD is as cold as it gets. That it began in mid-2011 is inferred (dark-cal E10).
"""

_SUMMARY = ("id", "t_ccd", "mean", "median", "peak", "mean_near_peak", "n100", "n200", "n2000")
TABLES: dict[str, tuple[Column, ...]] = {
    "summary": tuple(
        column for column in MISSION if column.key in (*_SUMMARY, "n3000", "warm", "quality")
    ),
    "mission": MISSION,
    "statistics": (
        Column("name", "Image", kind="text"),
        *LEVELS,
        *COUNTS,
        Column("negative_fraction", "Below 0", "%", 2),
    ),
    "percentiles": (
        Column("name", "Image", kind="text"),
        *(Column(f"p{share}", f"{share} %", "e⁻/s", 1) for share in PERCENTILES),
    ),
    "quadrants": (Column("name", "Quadrant", kind="text"), *LEVELS[:3], Column("n100", "N > 100")),
    "setpoints": (
        Column("since", "Since", kind="text"),
        Column("setpoint", "Setpoint", "°C"),
        Column("count", "Calibrations"),
        Column("coldest", "Coldest", "°C", 1),
        Column("warmest", "Warmest", "°C", 1),
    ),
    "replicas": (
        Column("count", "No."),
        Column("start", "Start, UTC", kind="time"),
        Column("duration", "Duration", "s"),
        Column("times_source", "Times", kind="text"),
        Column("file", "File", kind="code"),
        Column("megabytes", "Size", "MB", 2),
        Column("frames", "Frames"),
        Column("pixel_frames", "With pixels"),
        Column("lost_percent", "Lost", "%", 2),
        Column("n_rows", "Half rows", "of 4096"),
        Column("ccd_temp", "T_CCD", "°C", 2),
        Column("ccd_temp_source", "Source", kind="text"),
        Column("ra", "RA", "deg", 4),
        Column("dec", "Dec", "deg", 4),
        Column("used", "Used", kind="text"),
    ),
    "rules": (
        Column("title", "Rule", kind="text"),
        Column("level", "Result", kind="level"),
        Column("text", "What was found", kind="text"),
    ),
    "hot": (
        Column("row", "Row"),
        Column("column", "Column"),
        Column("quadrant", "Quadrant", kind="text"),
        Column("value", "Now", "e⁻/s"),
        Column("previous", "Before", "e⁻/s"),
        Column("sigma", "σ", "e⁻/s"),
    ),
    "inputs": (
        Column("path", "File", kind="code"),
        Column("size", "Size", "bytes"),
        Column("sha256", "SHA-256", kind="code"),
    ),
}
"""Columns of each table. "hot" serves two: newly hot and recovered pixels."""


def report_tables(
    calibration: Calibration,
    history: Iterable[Mapping[str, Any]],
    previous: Calibration | None = None,
    config: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the content of the report.

    Parameters
    ----------
    calibration : Calibration
        The subject.
    history : iterable of mappings
        Properties of the archive. Those of the subject itself, an older revision perhaps, and of
        later calibrations do not count, so reports can be remade in any order.
    previous : Calibration, optional
        The one before, whose pixels are compared.
    config : mapping, optional
        What the calibration was made with; default what its properties say of that.

    Returns
    -------
    dict
        Plain JSON values: lists of rows for the tables ``summary`` (newest first; and ``change``,
        one row), ``mission``, ``statistics``, ``percentiles``, ``quadrants``, ``setpoints``,
        ``replicas``, ``rules``, ``newly_hot``, ``recovered`` (at most `HOT_ROWS`; ``n_newly_hot``,
        ``n_recovered`` all of them, None without a previous calibration) and ``inputs``; lists of
        known facts (name, value, unit, decimals) ``background`` and ``provenance``; single values
        ``id``, ``date``, ``start``, ``stop``, ``ccd_temp``, ``level``, ``complete`` (percent),
        ``forced``, ``revision``, ``combine``, ``integ``, ``n_replicas``, ``n_used``, ``previous``.

    Notes
    -----
    Source: dark-cal D2, D3.
    """
    properties, quality = calibration.properties, calibration.quality
    dark_id = dark_id_of(properties)
    earlier = [item for item in history if dark_id_of(item) < dark_id]
    mission = history_rows([*earlier, properties])
    summary = mission[:-4:-1]
    replicas = properties.get("replicas") or []
    values = ("start", "stop", "ccd_temp", "revision", "combine", "integ")
    return {
        "id": dark_id,
        "date": f"{dark_id[:4]}:{dark_id[4:]}",
        **{key: properties.get(key) for key in values},
        "level": quality.get("level") or properties.get("quality"),
        "complete": quality.get("complete", properties.get("complete")),
        "forced": quality.get("forced"),
        "n_replicas": len(replicas),
        "n_used": sum(bool(item.get("used", True)) for item in replicas),
        "summary": summary,
        "change": _change(*summary[:2]),
        "mission": mission,
        **_statistics(properties.get("stats") or {}),
        "setpoints": _setpoints(mission),
        "replicas": [_replica(item) for item in replicas],
        "rules": _rules(quality.get("findings") or []),
        **_hot_pixels(calibration, previous),
        "background": _background(properties),
        "inputs": [
            {key: item.get(key) for key in ("path", "size", "sha256")}
            for item in properties.get("inputs") or []
        ],
        "provenance": _provenance(properties, config),
    }


def _change(this: Row, before: Row | None = None) -> Row:
    """Return the differences of all numbers of two rows; an empty row if there is only one."""
    if before is None:
        return {}
    both = {key: (this[key], before[key]) for key in this if isinstance(this[key], int | float)}
    return {key: new - old for key, (new, old) in both.items() if old is not None}


def _statistics(stats: Mapping[str, Any]) -> dict[str, list[Row]]:
    images = {
        "as measured": stats,
        "at −15 °C": stats.get("scaled") or {},
        "without zodiacal light": stats.get("intrinsic") or {},
    }
    known = {name: item for name, item in images.items() if item}
    shown = {column.key for column in TABLES["statistics"]}
    return {
        "statistics": [
            {"name": name} | {key: _in_percent(key, item[key]) for key in item if key in shown}
            for name, item in known.items()
        ],
        "percentiles": [
            {"name": name} | {f"p{share}": value for share, value in item["percentiles"].items()}
            for name, item in known.items()
            if item.get("percentiles")
        ],
        "quadrants": [
            {"name": name, **item} for name, item in sorted((stats.get("quadrants") or {}).items())
        ],
    }


def _in_percent(key: str, value: Any) -> Any:
    return 100.0 * value if key == "negative_fraction" and value is not None else value


def _setpoints(mission: Sequence[Row]) -> list[Row]:
    """Return the commanded temperatures, each with the range that its calibrations measured."""
    rows = []
    ends = [day for day, _, _ in SETPOINTS[1:]] + ["9999"]
    for (start, since, setpoint), stop in zip(SETPOINTS, ends, strict=True):
        measured = [row["t_ccd"] for row in mission if start <= row["id"] < stop]
        known = [value for value in measured if value is not None]
        if measured:
            rows.append(
                {
                    "since": since,
                    "setpoint": setpoint,
                    "count": len(measured),
                    "coldest": min(known, default=None),
                    "warmest": max(known, default=None),
                }
            )
    return rows


def _replica(item: Mapping[str, Any]) -> Row:
    attitude = item.get("attitude") or {}
    start, stop, size = item.get("start"), item.get("stop"), item.get("size")
    return {
        **{column.key: item.get(column.key) for column in TABLES["replicas"]},
        "duration": times.secs(stop) - times.secs(start) if start and stop else None,
        "megabytes": None if size is None else size / 1e6,
        "ra": attitude.get("ra"),
        "dec": attitude.get("dec"),
    }


def _rules(findings: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return one row per rule: its worst level and what was found at that level."""
    rows = []
    for rule, name in RULES.items():
        of_rule = [item for item in findings if item["rule"] == rule]
        for level in ("FAIL", "WARN", "PASS"):
            found = [item for item in of_rule if item["level"] == level]
            if found:
                shown = found if level != "PASS" else [min(found, key=_margin)]
                texts = [item["text"].removeprefix(rule).lstrip(": ") for item in shown]
                rows.append(
                    {
                        "rule": rule,
                        "title": f"{rule} {name}",
                        "level": level,
                        "count": len(found),
                        "text": "; ".join(texts),
                        "texts": texts,
                    }
                )
                break
    return rows


def _margin(finding: Mapping[str, Any]) -> float:
    value, limit = finding.get("value"), finding.get("limit")
    return np.inf if value is None or limit is None else abs(value - limit)


def _hot_pixels(calibration: Calibration, previous: Calibration | None) -> dict[str, Any]:
    """Return the pixels that crossed the limit of hot ones, each image at its own temperature."""
    if previous is None:
        none: list[Row] = []
        return {
            "previous": None,
            "newly_hot": none,
            "recovered": none,
            "n_newly_hot": None,
            "n_recovered": None,
        }
    now, before = _measured(calibration), _measured(previous)
    was_hot = before > HOT_RATE
    newly = (now > HOT_RATE) & ~was_hot
    recovered = (now <= HOT_RATE) & was_hot
    return {
        "previous": dark_id_of(previous.properties),
        "newly_hot": _pixels(newly, now, before, now, calibration.sigma),
        "recovered": _pixels(recovered, now, before, before, calibration.sigma),
        "n_newly_hot": int(newly.sum()),
        "n_recovered": int(recovered.sum()),
    }


def _measured(calibration: Calibration) -> npt.NDArray[np.floating[Any]]:
    """Return the image, NaN where nothing was measured."""
    measured = is_measured(calibration.image, calibration.mask)
    return np.where(measured, calibration.image, np.float32(np.nan))


def _pixels(
    which: npt.NDArray[np.bool_],
    now: npt.NDArray[np.floating[Any]],
    before: npt.NDArray[np.floating[Any]],
    order: npt.NDArray[np.floating[Any]],
    sigma: npt.NDArray[np.floating[Any]] | None,
) -> list[Row]:
    """Return a row for each of some pixels, the brightest by `order` first."""
    places = np.argwhere(which)
    brightest = places[np.argsort(-order[which], kind="stable")][:HOT_ROWS]
    return [
        {
            "row": int(i) - HALF,
            "column": int(j) - HALF,
            "quadrant": quadrant_of(int(i) - HALF, int(j) - HALF),
            "value": float(now[i, j]),
            "previous": float(before[i, j]) if np.isfinite(before[i, j]) else None,
            "sigma": None if sigma is None or not np.isfinite(sigma[i, j]) else float(sigma[i, j]),
        }
        for i, j in brightest
    ]


def _fact(name: str, value: float | str | None, unit: str = "", decimals: int = 0) -> Row:
    return {"name": name, "value": value, "unit": unit, "decimals": decimals}


def _background(properties: Mapping[str, Any]) -> list[Row]:
    def fact(name: str, key: str, unit: str, decimals: int) -> Row:
        return _fact(name, properties.get(key), unit, decimals)

    stats = properties.get("stats") or {}
    intrinsic = stats.get("intrinsic") or {}
    facts = [
        fact("Right ascension", "ra", "deg", 4),
        fact("Declination", "dec", "deg", 4),
        fact("Ecliptic longitude", "el", "deg", 2),
        fact("Ecliptic latitude", "eb", "deg", 2),
        fact("Longitude of the Sun", "sun_el", "deg", 2),
        fact("Longitude from the Sun", "l_l0", "deg", 2),
        fact("Zodiacal brightness", "zodib", "S10", 1),
        _fact("Zodiacal light in the image", stats.get("zodi_level"), "e⁻/s", 2),
        _fact("Peak without it", intrinsic.get("peak"), "e⁻/s", 1),
        _fact("Mean near peak without it", intrinsic.get("mean_near_peak"), "e⁻/s", 1),
    ]
    return _known(facts)


def _known(facts: Iterable[Row]) -> list[Row]:
    return [fact for fact in facts if fact["value"] is not None]


def _provenance(properties: Mapping[str, Any], config: Mapping[str, Any] | None) -> list[Row]:
    stats = properties.get("stats") or {}
    used = _config(properties) if config is None else config
    versions = properties.get("versions") or {}
    gains = properties.get("gain") or {}
    facts = [
        *(_fact(f"Version of {name}", str(version)) for name, version in sorted(versions.items())),
        _fact("Revision", properties.get("revision")),
        _fact("Combination", properties.get("combine")),
        *(
            _fact(f"Gain of quadrant {name}", gain, "e⁻/DN", 2)
            for name, gain in sorted(gains.items())
        ),
        _fact("Read noise", properties.get("read_noise"), "e⁻", 1),
        _fact("Quantum of the image", stats.get("quantum"), "e⁻/s", 4),
        _fact("Samples hit by cosmic rays", stats.get("n_cosmic")),
        _fact("Configuration, SHA-256", config_hash(used) if used else None),
    ]
    return _known(facts)


def _config(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {key: properties[key] for key in ("combine", "gain", "read_noise") if key in properties}


def config_hash(config: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a configuration: equal for equal values, whatever their order."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
