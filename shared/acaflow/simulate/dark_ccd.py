"""The simulated CCD: its dark current at any date and temperature; one seed is one CCD.

Every pixel has a place in a smooth cool floor, a time at which it turns warm, and a place in the
distribution of warm pixels at that time. So the maps of two dates belong to one ageing CCD: who
is warm stays warm. Full images have shape (1024, 1024), pixel [i, j] is CCD row i - 512, column
j - 512.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from acaflow import times
from acaflow.archive.aca_dark.ccd import SIZE
from acaflow.archive.aca_dark.dark_model import MODEL_T_CCD, dark_temp_scale, get_dark_hist

__all__ = ["Ccd", "compute_dark_map", "make_ccd", "nominal_t_ccd"]

Image = npt.NDArray[np.float32]

COOL_SIGMA = 0.25
"""Width of the cool floor (natural logarithm; dark-cal E1)."""
COOL_E_PER_S = ((2005.0, 7.0), (2009.0, 6.0))
"""Median of the cool floor at -14 degC by year (e-/s; dark-cal E1)."""
MULT = ((1999.6, 0.70), (2000.9, 1.33), (2002.9, 1.12), (2007.0, 1.0))
"""Factor on the counts of the warm-pixel model by year, which holds from 2007 on (dark-cal E2)."""
SETPOINTS = ((2003.5, -10.0), (2006.9, -15.0))
"""Temperature (degC) of the CCD before a year (dark-cal E10)."""
T_CCD = ((2011.5, -19.0), (2017.5, -13.5), (2019.4, -11.0), (2021.0, -6.5), (2026.0, -4.0))
"""The same by year after the setpoints (degC); the last year is ours (E10: -6.5 to -4)."""


@dataclass(frozen=True, eq=False)
class Ccd:
    """What never changes in a CCD; arrays have shape (1024, 1024).

    Attributes
    ----------
    cool : ndarray of float32
        Place in the cool floor, in standard deviations.
    onset : ndarray of float64
        A pixel is warm when the warm fraction of the CCD exceeds this, 0 to 1.
    place : ndarray of float64
        Fraction of the warm pixels that are brighter, 0 to 1.
    """

    cool: Image
    onset: npt.NDArray[np.float64]
    place: npt.NDArray[np.float64]


def make_ccd(seed: int) -> Ccd:
    """Return the CCD of a seed."""
    rng = np.random.default_rng([seed, 0xCCD])  # unlike any stream that a user may start
    shape = (SIZE, SIZE)
    return Ccd(rng.standard_normal(shape, dtype=np.float32), rng.random(shape), rng.random(shape))


def _at(year: float, nodes: tuple[tuple[float, float], ...]) -> float:
    years, values = np.transpose(nodes)
    return float(np.interp(year, years, values))


def _frac_year(date: Any) -> float:
    return float(times.convert(date, "frac_year"))


def nominal_t_ccd(date: Any) -> float:
    """Return the usual CCD temperature at a date (degC; dark-cal E10)."""
    year = _frac_year(date)
    return next((t for before, t in SETPOINTS if year < before), _at(year, T_CCD))


def compute_dark_map(
    ccd: Ccd,
    date: Any,
    t_ccd: float,
    *,
    cool: float | None = None,
    mult: float | None = None,
) -> Image:
    """Return the true dark current of a CCD, without light.

    Parameters
    ----------
    ccd : Ccd
        Of `make_ccd`.
    date : time
        Any time form; from mid-1999 on there are warm pixels.
    t_ccd : float
        Temperature of the CCD (degC).
    cool : float, optional
        Median of the cool floor at -14 degC (e-/s); default by date.
    mult : float, optional
        Factor on the number of warm pixels of the model; default by date, 1 from 2007 on.

    Returns
    -------
    ndarray of float32, shape (1024, 1024)
        e-/s at `t_ccd`.

    Notes
    -----
    The number of pixels in each bin of the model is binomial, with the expectation of the model;
    values lie log-uniform in their bin. When the model has more warm pixels than the CCD has
    pixels (from 2025 on) the faintest are left out. Temperature acts by the global law.

    Source: dark-cal E1 to E3.
    """
    year = _frac_year(date)
    cool = _at(year, COOL_E_PER_S) if cool is None else cool
    _, edges, counts = get_dark_hist(date, MODEL_T_CCD)
    counts = np.maximum(counts, 0.0) * (_at(year, MULT) if mult is None else mult)
    brighter = np.concatenate([[0.0], np.cumsum(counts[::-1])])
    n_warm = min(brighter[-1], SIZE * SIZE)
    dark = cool * np.exp(COOL_SIGMA * ccd.cool)
    is_warm = ccd.onset < n_warm / SIZE**2
    dark[is_warm] += np.exp(np.interp(ccd.place[is_warm] * n_warm, brighter, np.log(edges[::-1])))
    return np.asarray(dark * dark_temp_scale(MODEL_T_CCD, t_ccd), np.float32)
