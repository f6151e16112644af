"""Models of the dark current: how it follows temperature, how many warm pixels a date has.

Dark current is in e-/s, temperature in degC. The warm-pixel model describes the years from 2007
on and was fitted to images scaled to -14 degC.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from acaflow import times
from acaflow.errors import InputError

__all__ = [
    "DARK_SCALE_4C",
    "DarkBins",
    "dark_temp_scale",
    "dark_temp_scale_img",
    "darkbins",
    "get_dark_hist",
    "get_sbp_pars",
    "get_warm_fracs",
    "smooth_twice_broken_pow",
    "synthetic_dark_image",
    "temp_scalefac",
]

FloatArray = npt.NDArray[np.float64]

DARK_SCALE_4C = 1.0 / 0.70
"""Growth of the dark current per 4 degC, one number for all pixels (dark-cal C1)."""

MODEL_T_CCD = -14.0
"""Temperature of the images that the warm-pixel model was fitted to (degC)."""
N_PIXELS = 1024**2


# --- Temperature -------------------------------------------------------------------------------


def dark_temp_scale(
    t_ccd: npt.ArrayLike, t_ccd_ref: npt.ArrayLike = -19.0, scale_4c: float | None = None
) -> Any:
    """Return the factor that turns dark current at `t_ccd` into dark current at `t_ccd_ref`.

    Parameters
    ----------
    t_ccd : float or array_like
        Temperature of the measurement (degC).
    t_ccd_ref : float or array_like
        Wanted temperature (degC); a colder one makes the factor smaller than 1.
    scale_4c : float, optional
        Growth per 4 degC; default `DARK_SCALE_4C`.

    Returns
    -------
    float or ndarray of float64
        Of the broadcast shape.

    Notes
    -----
    Source: dark-cal C1.

    Examples
    --------
    >>> float(dark_temp_scale(-18, -10, scale_4c=2.0))
    4.0
    """
    growth = DARK_SCALE_4C if scale_4c is None else scale_4c
    return growth ** ((np.asarray(t_ccd_ref) - np.asarray(t_ccd)) / 4.0)


def temp_scalefac(T_ccd: npt.ArrayLike) -> Any:
    """Return the factor from -19 degC to `T_ccd`; deprecated, see `dark_temp_scale`."""
    warnings.warn(
        "temp_scalefac is deprecated; use dark_temp_scale(-19, T_ccd)",
        DeprecationWarning,
        stacklevel=2,
    )
    return dark_temp_scale(-19.0, T_ccd)


def dark_temp_scale_img(img: npt.ArrayLike, t_ccd: float, t_ccd_ref: float) -> Any:
    """Scale dark current from `t_ccd` to `t_ccd_ref`, each pixel with a slope of its own.

    Parameters
    ----------
    img : float or array_like
        Dark current at `t_ccd` (e-/s).
    t_ccd, t_ccd_ref : float
        Temperature of the measurement, and wanted one (degC); no arrays.

    Returns
    -------
    float or ndarray
        Dark current at `t_ccd_ref` (e-/s), of the shape of `img`; float32 for float32 images, else
        float64. NaN stays NaN.

    Raises
    ------
    InputError
        A temperature is not a single number.

    Notes
    -----
    Source: dark-cal C2. The slope belongs to the value at `t_ccd`, so scaling there and back does
    not give exactly the same image.
    """
    for value in (t_ccd, t_ccd_ref):
        if np.ndim(value):
            raise InputError(f"the CCD temperature of an image is one number; got {value!r}")
    values = np.asarray(img)
    dtype = values.dtype if values.dtype == np.float32 else np.float64
    a, b, c, d, e = -4.88802057, -1.66791619e-4, -0.222596103, -2.45720364e-3, 0.190718453
    kelvin = 265.15  # of the fit, not of the image
    y = np.log(np.clip(values, 20.0, 1e4, dtype=np.float64)) - e * kelvin
    slope = a + b * kelvin + c * y + d * y * y
    scaled = values * np.exp(slope * (float(t_ccd_ref) - float(t_ccd)))
    return scaled.astype(dtype) if scaled.ndim else float(scaled)


# --- Warm pixels -------------------------------------------------------------------------------


class DarkBins(NamedTuple):
    """Bins of the model histograms (e-/s)."""

    bins: FloatArray
    """Edges, shape (75,)."""
    bin_centers: FloatArray
    """Geometric centres, shape (74,)."""


def _make_bins() -> DarkBins:
    edges = 2.0 * np.logspace(0.0, 3.7, 75)  # 60 bins from 2 to 2000, 14 more of that width
    return DarkBins(edges, np.sqrt(edges[1:] * edges[:-1]))


darkbins = _make_bins()
"""Bins of the warm-pixel model at -14 degC (dark-cal C3)."""

_MID_YEAR = 2012.0
_PARS = np.array(
    [
        # at the middle year, slope before, slope after (per year)
        (0.075, -0.00692, -0.0207),  # g1
        (3.32, 0.0203, 0.0),  # g2
        (2.40, 0.061, 0.061),  # g3
        (192.0, 0.1, 0.1),  # x_b
        (18400.0, 1450.0, 742.0),  # ampl
    ]
)
"""Parameters of the model as functions of the year (dark-cal C4)."""

_STEPS = -0.75 + 0.1 * np.arange(15)
_KERNEL = np.exp(-0.5 * (_STEPS / 0.30) ** 2)
_KERNEL /= _KERNEL.sum()


def get_sbp_pars(dates: times.TimeLike) -> Any:
    """Return the parameters of the warm-pixel model.

    Parameters
    ----------
    dates : date, or array or sequence of dates
        The model describes 2007 and later.

    Returns
    -------
    list of float, or list of such lists
        ``[g1, g2, g3, x_b, ampl]`` of `smooth_twice_broken_pow`; for many dates one list each.

    Notes
    -----
    Source: dark-cal C4.
    """
    years = np.asarray(times.convert(dates, "frac_year"))[..., np.newaxis] - _MID_YEAR
    middle, before, after = _PARS.T
    pars: list[Any] = (middle + np.where(years < 0, before, after) * years).tolist()
    return pars


def smooth_twice_broken_pow(pars: npt.ArrayLike, x: npt.NDArray[Any]) -> FloatArray:
    """Return a histogram of the warm pixels: three power laws, smoothed.

    Parameters
    ----------
    pars : array_like of float, shape (5,)
        ``g1, g2, g3``, exponents below ``x_b``, up to 1000 e-/s, and above; ``x_b``, first break
        (e-/s); ``ampl``, pixels per bin at 50 e-/s.
    x : ndarray, shape (n,)
        Consecutive bin centres out of ``darkbins.bin_centers`` (e-/s).

    Returns
    -------
    ndarray of float64, shape (n,)
        Pixels of the CCD in each bin.

    Notes
    -----
    Source: dark-cal C4. Smoothing takes zeros beyond both ends of the bins and shifts by half a
    bin; the published numbers contain both.
    """
    g1, g2, g3, x_b, ampl = np.asarray(pars, dtype=np.float64)
    x_b2, x_r = 1000.0, 50.0
    centers = darkbins.bin_centers
    first, second = np.searchsorted(centers, [x_b, x_b2])
    ampl2 = ampl * (x_b / x_r) ** (g2 - g1)
    ampl3 = ampl2 * (x_b2 / x_r) ** (g3 - g2)
    y = ampl * (centers / x_r) ** -g1
    y[first:second] = ampl2 * (centers[first:second] / x_r) ** -g2
    y[second:] = ampl3 * (centers[second:] / x_r) ** -g3
    start, stop = np.searchsorted(centers, [x[0] - 1e-3, x[-1] + 1e-3])
    return np.convolve(y, _KERNEL, mode="same")[start:stop]


def get_dark_hist(date: times.TimeLike, t_ccd: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the model histogram of the warm pixels.

    Parameters
    ----------
    date : date
        2007 or later.
    t_ccd : float
        CCD temperature (degC). The bins move with it, the counts stay.

    Returns
    -------
    centers, edges, counts : ndarray of float64, shapes (74,), (75,), (74,)
        Bins (e-/s) and pixels of the CCD in each.

    Notes
    -----
    Source: dark-cal C4.
    """
    scale = dark_temp_scale(MODEL_T_CCD, t_ccd)
    counts = smooth_twice_broken_pow(get_sbp_pars(date), darkbins.bin_centers)
    return darkbins.bin_centers * scale, darkbins.bins * scale, counts


def get_warm_fracs(
    warm_threshold: npt.ArrayLike,
    date: times.TimeLike = "2013:001:12:00:00",
    T_ccd: float = -19.0,
) -> Any:
    """Return the fraction of pixels above a threshold, after the model.

    Parameters
    ----------
    warm_threshold : float or array_like
        Threshold (e-/s).
    date : date
        2007 or later.
    T_ccd : float
        CCD temperature (degC).

    Returns
    -------
    float or ndarray of float64
        Fraction of all 1024 x 1024 pixels.

    Raises
    ------
    InputError
        A threshold outside the bins of the model at that temperature.

    Notes
    -----
    Source: dark-cal C4. The share of the bin that holds the threshold is no integral of a power
    law, but the published numbers were made so.

    Examples
    --------
    >>> round(get_warm_fracs(100, "2020:001:12:00:00", -11) * 1024**2)
    294302
    """
    _, edges, counts = get_dark_hist(date, T_ccd)
    threshold = np.asarray(warm_threshold, dtype=np.float64)
    above = np.searchsorted(edges, threshold)
    bad = (above == 0) | (above >= counts.size)
    if bad.any():
        raise InputError(
            f"warm threshold {threshold[bad][0]} e-/s at {T_ccd} degC; expected more than"
            f" {edges[0]:.3g} and at most {edges[-2]:.6g}"
        )
    low, here, high = np.log(edges[above - 1]), np.log(threshold), np.log(edges[above])
    power = (np.log(counts[above]) - np.log(counts[above - 1])) / (high - low)
    part = counts[above] * (high**power - here**power) / (high**power - low**power)
    beyond = np.cumsum(counts[::-1])[::-1][above]
    return (beyond + part) / N_PIXELS


# --- Synthetic images --------------------------------------------------------------------------


def synthetic_dark_image(
    date: times.TimeLike,
    t_ccd_ref: float | None = None,
    *,
    cool: npt.NDArray[Any] | None = None,
    rng: np.random.Generator | int | None = None,
) -> FloatArray:
    """Make up a dark image of a date: cool pixels of 1999 with warm pixels of the model.

    Parameters
    ----------
    date : date
        2007 or later.
    t_ccd_ref : float, optional
        CCD temperature (degC); default -14.
    cool : ndarray, shape (1024, 1024), optional
        Image before all damage at -14 degC (e-/s); pixels above 40 e-/s are not used. Default the
        calibration 1999223 of the archive or, if it has none, a log-normal distribution.
    rng : Generator or int, optional
        Random numbers or their seed.

    Returns
    -------
    ndarray of float64, shape (1024, 1024)
        Dark current (e-/s). The places of the pixels are random.

    Notes
    -----
    Source: dark-cal C5.
    """
    random = np.random.default_rng(rng)
    base = _cool_image(random) if cool is None else np.asarray(cool)
    usable = base[base <= 40.0]
    dark = np.where(base <= 40.0, base, random.choice(usable, base.shape)).astype(np.float64)
    counts = smooth_twice_broken_pow(get_sbp_pars(date), darkbins.bin_centers)
    drawn = random.poisson(counts.clip(min=0.0))
    edges = np.log(darkbins.bins)
    warm = np.exp(random.uniform(np.repeat(edges[:-1], drawn), np.repeat(edges[1:], drawn)))
    flat = dark.ravel()
    # From about 2025 on the model has more warm pixels than the CCD: some get two values.
    for start in range(0, warm.size, flat.size):
        some = warm[start : start + flat.size]
        flat[: some.size] += some
    dark = random.permutation(flat).reshape(dark.shape)
    return dark if t_ccd_ref is None else dark * dark_temp_scale(MODEL_T_CCD, t_ccd_ref)


def _cool_image(random: np.random.Generator) -> Any:
    """Return the image of 1999:223 at -14 degC, or one like it."""
    from acaflow.archive.aca_dark import dark_cal  # which imports this module

    if "1999223" in dark_cal.get_dark_cal_dirs():
        return dark_cal.get_dark_cal_image("1999223", t_ccd_ref=MODEL_T_CCD)
    # With this median the published counts of C5 come out; 7 e-/s is too dim by ten sigma.
    return random.lognormal(np.log(10.0), 0.25, (1024, 1024))
