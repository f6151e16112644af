"""The CCD temperature while a replica was taken.

The camera does not telemeter its temperature while it dumps the CCD, so it is taken from header 3
before and after, else from engineering telemetry around it.

Source: dark-cal B5.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from acaflow import times
from acaflow.archive import aca_hdr3
from acaflow.errors import MissingDataError
from acaflow.telemetry.samples import Samples

__all__ = ["TempSource", "interval_temperature", "replica_temperature"]

TempSource = Literal["HDR3", "AACCCDPT", "GUESS"]
"""Header 3, engineering telemetry, or before either existed."""

PAD_S = 600.0
"""Before and after a replica (s): there header 3 is telemetered."""
MIN_HDR3 = 5
"""Fewest header-3 samples that make a mean."""
HALF_SPAN_S = 20000.0
"""Engineering telemetry is fitted over this time before and after the midpoint (s)."""
MIN_AACCCDPT = 101
"""Fewest engineering samples that are fitted."""
GUESS_DEGC = -10.0
"""The set point until July 2003 (degC)."""
GUESS_BEFORE = "2000:001"


def replica_temperature(
    tstart: float, tstop: float, samples: Samples, root: Path
) -> tuple[float, TempSource]:
    """Return the temperature of one replica: of its interval and ten minutes on either side.

    Parameters
    ----------
    tstart, tstop : float
        The replica (CXC seconds).
    samples, root
        As for `interval_temperature`; the same result and errors.
    """
    return interval_temperature(tstart - PAD_S, tstop + PAD_S, samples, root)


def interval_temperature(
    tstart: float, tstop: float, samples: Samples, root: Path
) -> tuple[float, TempSource]:
    """Return the best estimate of the CCD temperature in an interval.

    Parameters
    ----------
    tstart, tstop : float
        CXC seconds.
    samples : Samples
        With AACCCDPT (degC).
    root : Path
        The archive, which holds the level-0 archive ``aca0``.

    Returns
    -------
    temperature : float
        degC: -10 before 2000:001; the mean of the valid header-3 samples if there are more than
        four; else the value at the midpoint of a parabola through more than 100 samples of
        AACCCDPT within 20000 s of it.
    source : str
        'GUESS', 'HDR3' or 'AACCCDPT'.

    Raises
    ------
    MissingDataError
        Too few samples of both.
    CorruptFileError, SchemaError
        A file is damaged.
    """
    if tstart < times.secs(GUESS_BEFORE):
        return GUESS_DEGC, "GUESS"
    header3 = _header3(tstart, tstop, root)
    if len(header3) >= MIN_HDR3:
        return float(np.mean(header3)), "HDR3"
    middle = (tstart + tstop) / 2
    time, degc = samples.get("AACCCDPT", middle - HALF_SPAN_S, middle + HALF_SPAN_S)
    if len(time) >= MIN_AACCCDPT:
        return float(np.polyfit((time - middle) / HALF_SPAN_S, degc, 2)[2]), "AACCCDPT"
    raise MissingDataError(
        f"Unable to determine CCD temperature between {times.date(tstart)} and"
        f" {times.date(tstop)}: {len(header3)} samples of header 3, {MIN_HDR3} needed, and"
        f" {len(time)} of AACCCDPT, {MIN_AACCCDPT} needed"
    )


def _header3(tstart: float, tstop: float, root: Path) -> npt.NDArray[Any]:
    """Return the valid header-3 temperatures (degC) of an interval; empty without an archive."""
    try:
        return aca_hdr3.Msid("ccd_temp", tstart, tstop, data_root=root / "aca0").vals
    except MissingDataError:
        return np.empty(0)
