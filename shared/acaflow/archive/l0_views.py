"""Numbers behind pictures of level-0 data: lines for plots, statistics, gaps, sums, centroids.

Pure functions on arrays; nothing is read here. Times are CXC seconds. A sample is bad if it is
masked or NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from acaflow.archive import star_images
from acaflow.archive.l0_format import CADENCE_S, PACKET_S

__all__ = [
    "GAP_S",
    "Line",
    "Statistics",
    "choose_evenly",
    "compute_centroids",
    "compute_colour_limits",
    "compute_gaps",
    "compute_statistics",
    "compute_sums",
    "decimate",
    "find_runs",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

GAP_S = 1.5 * CADENCE_S[8]
"""A line breaks where samples lie further apart (s): more than one image of any size is absent."""
HALF_PACKET_S = PACKET_S / 2
"""Less than the shortest image; a change of the integration time, 0.704 to 1.696 s in flight,
moves TIME by less."""


@dataclass(frozen=True)
class Line:
    """What a plot draws of a series.

    Attributes
    ----------
    times : ndarray of float64, shape (n,)
        CXC seconds, not decreasing.
    values : ndarray of float64, shape (n,)
        Values, none of them bad.
    begins : ndarray of bool, shape (n,)
        True where a stroke begins: at the first point and after each gap.
    """

    times: FloatArray
    values: FloatArray
    begins: BoolArray


def decimate(
    times: npt.ArrayLike,
    values: npt.ArrayLike,
    start: float,
    stop: float,
    columns: int = 500,
    gap_s: float = GAP_S,
) -> Line:
    """Reduce a series to the lowest and highest sample of each column of a plot.

    Parameters
    ----------
    times : array_like of float, shape (n,)
        CXC seconds, not decreasing.
    values : array_like, shape (n,)
        Samples; bad ones are left out and interrupt the line as a gap does.
    start, stop : float
        Ends of the time axis (CXC seconds), stop after start.
    columns : int
        Columns of equal width on the axis.
    gap_s : float
        Good samples further apart than this, and than the width of a column, are not joined (s).

    Returns
    -------
    Line
        At most ``2 * columns`` points, samples all of them, in order of time. Up to
        ``2 * columns`` good samples come back complete.
    """
    samples = np.ma.masked_invalid(np.ma.asarray(values, dtype=np.float64), copy=False)
    good = ~np.ma.getmaskarray(samples)
    time, value = np.asarray(times, dtype=np.float64)[good], samples.data[good]
    width = (stop - start) / columns
    begins = np.ones(len(time), dtype=bool)
    if len(time) <= 2 * columns:
        begins[1:] = np.diff(time) > gap_s
        return Line(time, value, begins)
    begins[1:] = np.diff(time) > max(gap_s, width)
    column = np.clip((time - start) / width, 0, columns - 1).astype(np.int64)
    first = np.flatnonzero(np.diff(column, prepend=-1))
    counts = np.diff(first, append=len(time))
    ends = [
        _first_equal(value, np.repeat(extreme.reduceat(value, first), counts), column)
        for extreme in (np.minimum, np.maximum)
    ]
    kept = np.unique(np.concatenate(ends))
    # The first sample of a column tells whether it is joined to the column before.
    begins_column = np.zeros(columns, dtype=bool)
    begins_column[column[first]] = begins[first]
    is_first = np.diff(column[kept], prepend=-1) != 0
    return Line(time[kept], value[kept], begins_column[column[kept]] & is_first)


def _first_equal(value: FloatArray, extreme: FloatArray, column: IntArray) -> IntArray:
    """Return for each column the place of the first sample that equals its extreme."""
    hits = np.flatnonzero(value == extreme)
    return hits[np.flatnonzero(np.diff(column[hits], prepend=-1))]


@dataclass(frozen=True)
class Statistics:
    """Statistics of the good samples of a series, in its unit; NaN without any.

    Attributes
    ----------
    samples, bad : int
        Number of all samples, and of bad ones among them.
    low, p5, median, mean, p95, high, sigma : float
        Minimum, 5 %, median, mean, 95 %, maximum, standard deviation (of the samples themselves:
        no Bessel correction). Percentiles between two samples are interpolated linearly.
    """

    samples: int
    bad: int
    low: float
    p5: float
    median: float
    mean: float
    p95: float
    high: float
    sigma: float


def compute_statistics(values: npt.ArrayLike) -> Statistics:
    """Compute the statistics of a series.

    Parameters
    ----------
    values : array_like, shape (n,)
        Samples; bad ones are counted and otherwise left out.

    Examples
    --------
    >>> found = compute_statistics(np.ma.MaskedArray([1, 2, 3, 99], mask=[0, 0, 0, 1]))
    >>> found.samples, found.bad, found.median, found.high
    (4, 1, 2.0, 3.0)
    """
    samples = np.ma.masked_invalid(np.ma.asarray(values, dtype=np.float64), copy=False)
    good = samples.compressed()
    counts = len(samples), len(samples) - len(good)
    if not len(good):
        return Statistics(*counts, *[np.nan] * 7)
    low, p5, median, p95, high = map(float, np.percentile(good, [0, 5, 50, 95, 100]))
    return Statistics(*counts, low, p5, median, float(good.mean()), p95, high, float(good.std()))


def compute_gaps(
    tstart: npt.ArrayLike, tstop: npt.ArrayLike, imgsize: npt.ArrayLike, start: float, stop: float
) -> FloatArray:
    """Find where one slot has no images.

    Parameters
    ----------
    tstart, tstop : array_like of float, shape (n,)
        First and last TIME of each contiguous run of images (CXC seconds), in order of time, as
        `aca_l0.get_coverage` lists them; runs should reach a few seconds beyond both ends.
    imgsize : array_like of int, shape (n,)
        Image size of each run (pixels).
    start, stop : float
        The interval to look at (CXC seconds).

    Returns
    -------
    ndarray of float64, shape (m, 2)
        From and to of each gap: from where the next image was due to the first that came. An
        image covers the time up to the next one, `l0_format.CADENCE_S`.

    Notes
    -----
    Runs that differ in image size only, and not in time, have no gap between them: contiguous
    rows of a slot follow each other after the cadence of the earlier one.
    """
    begin = np.asarray(tstart, dtype=np.float64)
    sizes = np.asarray(imgsize)
    end = np.asarray(tstop, dtype=np.float64) + np.select(
        [sizes == size for size in CADENCE_S], list(CADENCE_S.values())
    )
    # Runs may overlap (files of two sizes at a change): what counts is the latest end so far.
    due = np.concatenate(([start], np.maximum(np.maximum.accumulate(end), start)))
    came = np.minimum(np.append(np.maximum(begin, start), stop), stop)
    is_gap = came - np.minimum(due, stop) > HALF_PACKET_S
    return np.column_stack((due[is_gap], came[is_gap]))


def find_runs(flags: npt.ArrayLike) -> IntArray:
    """Find where a condition holds.

    Parameters
    ----------
    flags : array_like of bool, shape (n,)
        The condition.

    Returns
    -------
    ndarray of int64, shape (m, 2)
        First and last index of each stretch of True.

    Examples
    --------
    >>> find_runs([True, True, False, True]).tolist()
    [[0, 1], [3, 3]]
    """
    edges = np.diff(np.asarray(flags, dtype=np.int8), prepend=0, append=0)
    return np.column_stack((np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1))


def choose_evenly(n: int, most: int) -> IntArray:
    """Return the indices of at most `most` of `n` things, evenly spaced, both ends included.

    Examples
    --------
    >>> choose_evenly(7, 3).tolist(), choose_evenly(2, 3).tolist()
    ([0, 3, 6], [0, 1])
    """
    return np.rint(np.linspace(0, n - 1, min(n, most))).astype(np.int64)


# --- Images -------------------------------------------------------------------------------------


def compute_sums(images: npt.ArrayLike) -> FloatArray:
    """Add up the pixels of images.

    Parameters
    ----------
    images : array_like, shape (n, 8, 8)
        Images; pixels outside small ones masked.

    Returns
    -------
    ndarray of float64, shape (n,)
        Sum in the unit of the images; NaN for an image without any pixel.
    """
    pixels = np.ma.asarray(images, dtype=np.float64)
    return np.asarray(pixels.sum(axis=(1, 2)).filled(np.nan))


def compute_centroids(
    images: npt.ArrayLike, imgrow0: npt.ArrayLike, imgcol0: npt.ArrayLike, imgsize: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Compute first-moment centroids of many images at once, without background.

    Parameters
    ----------
    images : array_like, shape (n, 8, 8)
        Images, small ones in the middle, pixels outside them masked
        (``get_slot_data(centered_8x8=True)``).
    imgrow0, imgcol0 : array_like of int, shape (n,)
        Row and column of the lower left pixel of each image as telemetered (pixels).
    imgsize : array_like of int, shape (n,)
        4, 6 or 8 (pixels).

    Returns
    -------
    row, col : ndarray of float64, shape (n,)
        CCD coordinates, an integer in the centre of its pixel; NaN where the sum of the pixels
        is not positive.
    """
    fields = np.ma.asarray(images, dtype=np.float64).filled(0.0)
    rows, cols, sizes = map(np.asarray, (imgrow0, imgcol0, imgsize))
    row, col = np.full((2, len(fields)), np.nan)
    for size in np.unique(sizes):
        those = sizes == size
        first = (8 - size) // 2
        part = slice(first, first + size)
        row[those], col[those], _ = star_images.compute_centroids(
            fields[those, part, part], rows[those], cols[those]
        )
    return row, col


FAINTEST = 30.0
"""Lower end of the colour scale (e-/s), about the noise of a pixel in flight; our choice."""


def compute_colour_limits(pixels: npt.ArrayLike) -> tuple[float, float]:
    """Choose the ends of one logarithmic colour scale for many images.

    Parameters
    ----------
    pixels : array_like
        Pixel values (e-/s).

    Returns
    -------
    low, high : float
        `FAINTEST`, and the brightest pixel rounded up to one digit; at least ten times `low`.

    Examples
    --------
    >>> compute_colour_limits([-84.6, 5281.5])
    (30.0, 6000.0)
    """
    values: Any = np.ma.masked_invalid(np.ma.asarray(pixels, dtype=np.float64))
    brightest = float(values.max()) if values.count() else 0.0
    high = max(brightest, 10 * FAINTEST)
    step = 10.0 ** np.floor(np.log10(high))
    return FAINTEST, float(np.ceil(high / step) * step)
