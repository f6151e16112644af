"""``info.csv``: when and where a dark calibration was planned, and at what temperature.

The file holds the line ``time,temperature,ra,dec`` and one row: time and attitude of the first
star catalog of the calibration, and the CCD temperature that was expected. The columns are ours;
those of the original file are not public (dark-cal B3).
"""

from __future__ import annotations

import csv
import math
import re
from dataclasses import astuple, dataclass
from pathlib import Path

from acaflow import storage, times
from acaflow.errors import InputError, SchemaError

__all__ = ["Info", "info_from_starcheck", "read_info", "write_info"]

COLUMNS = ["time", "temperature", "ra", "dec"]
LIMITS = {"temperature": (-50.0, 50.0), "ra": (0.0, 360.0), "dec": (-90.0, 90.0)}
"""What a CCD temperature (degC) and an attitude (deg) can be."""

_CHUNKS = re.compile(r"^={20,}\s*$", re.MULTILINE)
_FIRST_REPLICA = re.compile(r"^>> INFO.*No star catalog .*\(DC_T0\)", re.MULTILINE)
"""Marks the pointing of the first replica: it is dumped without a star catalog."""
_ATTITUDE = re.compile(r"^RA, Dec, Roll \(deg\): +(\S+) +(\S+) +\S+ *$", re.MULTILINE)
_CATALOG = re.compile(r"^MP_STARCAT at (\S+)", re.MULTILINE)
_TEMPERATURE = re.compile(r"^Predicted Max CCD temperature: *(\S+) C\b", re.MULTILINE)
SAME_ATTITUDE_DEG = 0.01
"""The offsets between replicas are larger, 0.03 deg; rounding of the reports is smaller."""


@dataclass(frozen=True)
class Info:
    """The one row of ``info.csv``.

    Parameters
    ----------
    time : str
        Start of the first star catalog, any date; kept as ``YYYY:DDD:hh:mm:ss.sss``.
    temperature : float
        Expected CCD temperature (degC).
    ra, dec : float
        Attitude of the first star catalog (deg).

    Raises
    ------
    InputError
        A time that cannot be read, or a number that is none or out of range.
    """

    time: str
    temperature: float
    ra: float
    dec: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "time", times.date(self.time))
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high or math.isnan(value):
                raise InputError(f"{name} {value} of a dark calibration is not in {low} to {high}")


def read_info(path: Path) -> Info:
    """Read and check an ``info.csv``.

    Raises
    ------
    SchemaError
        Another header, not exactly one row, or a value that `Info` refuses.
    """
    try:
        with path.open(newline="", encoding="ascii") as stream:
            header, row = csv.reader(stream)
        if header != COLUMNS:
            raise ValueError(f"header {','.join(header)}")
        time, *numbers = row
        temperature, ra, dec = map(float, numbers)
        return Info(time, temperature, ra, dec)
    except ValueError as err:
        raise SchemaError(
            f"{path.name}: {err}; expected the line {','.join(COLUMNS)} and one row", path
        ) from err


def write_info(info: Info, path: Path) -> None:
    """Write an ``info.csv``, in one step; equal contents give equal bytes."""
    row = ",".join(map(str, astuple(info)))
    storage.write_text(path, f"{','.join(COLUMNS)}\n{row}\n")


def info_from_starcheck(path: Path, temperature: float | None = None) -> Info:
    """Take the first star catalog of a dark calibration out of a starcheck report.

    Parameters
    ----------
    path : Path
        A ``starcheck.txt``.
    temperature : float, optional
        Use this (degC), not the maximum that the report predicts for the observation.

    Returns
    -------
    Info

    Raises
    ------
    SchemaError
        The report holds no dark calibration, or not what is needed of it.

    Notes
    -----
    A report says of the pointing of the first replica that it has no star catalog, being
    ``DC_T0``. The catalog of the pointing just before it has the same attitude and is the first
    one of the calibration (inferred). The reports of 2007:006 and 2007:069 confirm it: their
    attitudes have the ecliptic latitudes 24.6 and 25.89 deg that the archive gives for these
    calibrations; those of the pointings before have others.
    """
    chunks = _CHUNKS.split(path.read_text(encoding="ascii", errors="replace"))
    first = next((i for i, text in enumerate(chunks) if _FIRST_REPLICA.search(text)), 0)
    if not first:
        raise SchemaError(f"{path.name}: no pointing DC_T0, so no dark calibration", path)
    catalog, replica = chunks[first - 1 : first + 1]
    time = _find(_CATALOG, catalog, "star catalog before DC_T0", path)[1]
    attitudes = [_find(_ATTITUDE, text, "attitude", path) for text in (catalog, replica)]
    if temperature is None:
        temperature = float(_find(_TEMPERATURE, catalog, "predicted temperature", path)[1])
    (ra, dec), (ra0, dec0) = [(float(match[1]), float(match[2])) for match in attitudes]
    east = ((ra - ra0 + 180) % 360 - 180) * math.cos(math.radians(dec))
    if math.hypot(east, dec - dec0) > SAME_ATTITUDE_DEG:
        raise SchemaError(
            f"{path.name}: the star catalog of {time} is at {ra} {dec}, not at DC_T0, {ra0} {dec0}",
            path,
        )
    return Info(time, temperature, ra, dec)


def _find(pattern: re.Pattern[str], text: str, what: str, path: Path) -> re.Match[str]:
    """Find a line of a section; SchemaError if it is not there."""
    match = pattern.search(text)
    if match is None:
        raise SchemaError(f"{path.name}: the dark calibration has no {what}", path)
    return match
