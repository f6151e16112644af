"""Zodiacal light at the attitude of a dark calibration.

Angles are in degrees, ecliptic coordinates those of J2000, brightness in S10(sun) units: stars of
V = 10 with the spectrum of the Sun per square degree.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acaflow import times
from acaflow.errors import InputError

__all__ = ["ZODI_E_PER_S", "ZODI_PROPERTIES", "write_table", "zodi_brightness", "zodi_properties"]

ZODI_PROPERTIES = ("date", "ra", "dec", "el", "eb", "sun_el", "l_l0", "zodib")
"""Names and order of the columns of ``zodi.csv`` (dark-cal B7)."""

ZODI_E_PER_S = 0.0134
"""Dark current that one S10(sun) looks like in a pixel (e-/s; inferred in dark-cal B6)."""

_LATITUDES = [0, 5, 10, 15, 20, 25, 30, 45, 60, 75]
_GRID = """
  0      -     -     -  3140  1610   985   640   275   150   100
  5      -     -     -  2940  1540   945   625   271   150   100
 10      -     -  4740  2470  1370   865   590   264   148   100
 15  11500  6780  3440  1860  1110   755   525   251   146   100
 20   6400  4480  2410  1410   910   635   454   237   141    99
 25   3840  2830  1730  1100   749   545   410   223   136    97
 30   2480  1870  1220   845   615   467   365   207   131    95
 35   1650  1270   910   680   510   397   320   193   125    93
 40   1180   940   700   530   416   338   282   179   120    92
 45    910   730   555   442   356   292   250   166   116    90
 60    505   442   352   292   243   209   183   134   104    86
 75    338   317   269   227   196   172   151   116    93    82
 90    259   251   225   193   166   147   132   104    86    79
105    212   210   197   170   150   133   119    96    82    77
120    188   186   177   154   138   125   113    90    77    74
135    179   178   166   147   134   122   110    90    77    73
150    179   178   165   148   137   127   116    96    79    72
165    196   192   179   165   151   141   131   104    82    72
180    230   212   195   178   163   148   134   105    83    72
"""
"""Brightness by longitude from the Sun (first column) and latitude.

Source: Leinert et al. 1998, A&AS 127, 1, Table 17; blank near the Sun."""

_J2000 = 2451545.0
"""Julian date (TT) of J2000."""
_SECONDS_0 = -730.5
"""The zero of CXC seconds, in days from J2000."""


@functools.cache
def _table() -> npt.NDArray[np.float64]:
    """Return the brightness by whole degrees, shape (181, 91).

    Near the Sun the two nearest latitudes are extrapolated, and the last column is held to the
    pole, as in the table of earlier calibrations (dark-cal B7).
    """
    grid = np.array([line.replace("-", "nan").split() for line in _GRID.split("\n")[1:-1]], float)
    longitudes, values = grid[:, 0], grid[:, 1:]
    for row in values:
        blank = np.flatnonzero(np.isnan(row))
        slope = 0.0 if not blank.size else row[blank.size + 1] - row[blank.size]
        row[blank] = row[blank.size] + slope * (blank - blank.size)
    by_latitude = np.array([np.interp(np.arange(91), _LATITUDES, row) for row in values])
    degrees = np.arange(181)
    return np.array([np.interp(degrees, longitudes, column) for column in by_latitude.T]).T


def zodi_brightness(l_l0: npt.ArrayLike, eb: npt.ArrayLike) -> Any:
    """Return the brightness of the zodiacal light.

    Parameters
    ----------
    l_l0 : float or array_like
        Ecliptic longitude minus that of the Sun (deg), -360 to 360.
    eb : float or array_like
        Ecliptic latitude (deg).

    Returns
    -------
    float or ndarray of float64
        S10(sun) units, of the whole degree below both distances; not interpolated.

    Raises
    ------
    InputError
        An angle is out of range or NaN.

    Notes
    -----
    Source: dark-cal B7.

    Examples
    --------
    >>> float(zodi_brightness(-60.5, 20.0))
    243.0
    """
    away = np.abs(np.asarray(l_l0, dtype=np.float64))
    away = np.where(away > 180.0, 360.0 - away, away)
    up = np.abs(np.asarray(eb, dtype=np.float64))
    for name, angle, limit in (("longitude from the Sun", away, 180.0), ("latitude", up, 90.0)):
        bad = ~((angle >= 0.0) & (angle <= limit))
        if bad.any():
            raise InputError(f"ecliptic {name} is {angle[bad][0]} deg; expected 0 to {limit:g}")
    return _table()[away.astype(int), up.astype(int)]


def zodi_properties(ra: float, dec: float, date: times.TimeLike) -> dict[str, Any]:
    """Return where an attitude lies relative to ecliptic and Sun, and how bright it is there.

    Parameters
    ----------
    ra, dec : float
        Attitude (deg).
    date : date
        Any time form.

    Returns
    -------
    dict
        ``date`` (YYYY:DOY), ``ra``, ``dec``; ``el``, ``eb``, ecliptic position; ``sun_el``,
        ecliptic longitude of the Sun; ``l_l0``, ``el - sun_el`` (deg, not folded); ``zodib``,
        S10(sun).

    Notes
    -----
    Source: dark-cal B7. The Sun is that of the ERFA ephemeris, geometric, from the centre of the
    Earth: within 0.011 deg of where it is seen. No Earth orientation data are needed.
    """
    import erfa

    el, eb = np.degrees(erfa.eqec06(_J2000, 0.0, np.radians(ra), np.radians(dec)))
    from_sun, _ = erfa.epv00(_J2000, _SECONDS_0 + times.secs(date) / 86400.0)
    sun_el, _ = np.degrees(erfa.eqec06(_J2000, 0.0, *erfa.c2s(-from_sun["p"])))
    return {
        "date": times.convert(date, "year_doy"),
        "ra": float(ra),
        "dec": float(dec),
        "el": float(el),
        "eb": float(eb),
        "sun_el": float(sun_el),
        "l_l0": float(el - sun_el),
        "zodib": float(zodi_brightness(el - sun_el, eb)),
    }


def write_table(path: Path, history: Iterable[Mapping[str, Any]]) -> None:
    """Write ``zodi.csv``: a row for every calibration whose attitude is known.

    Parameters
    ----------
    path : Path
        Written in place: stage it.
    history : iterable of mappings
        Properties of the calibrations.
    """
    rows = [item for item in history if item.get("zodib") is not None]
    with path.open("w", newline="", encoding="ascii") as stream:
        table = csv.DictWriter(stream, ZODI_PROPERTIES, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
