"""Combine the full frames of a calibration into its master image, with uncertainty and mask.

Frames are signals (DN, bias subtracted), NaN where a half row is missing; images are dark current
(e-/s) at the temperature of the calibration. Pixels are combined in pieces small enough for the
processor's cache, so nothing beside the frames and the results is large.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from acaflow.errors import InputError

__all__ = [
    "COSMIC",
    "FEW",
    "FEWEST",
    "FILLED",
    "GAIN",
    "HOT",
    "LOW",
    "MISSING",
    "READ_NOISE",
    "SATURATED",
    "SCATTER",
    "WARM",
    "MaskBit",
    "Master",
    "combine",
    "combine_frames",
    "is_measured",
]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Frames = Sequence[npt.NDArray[Any]]
Count = npt.NDArray[np.uint8]


class MaskBit(IntFlag):
    """What the bits of a mask say (dark-cal B6)."""

    MISSING = 1
    """No sample in the short or in the long group."""
    FEW = 2
    """Fewer than three replicas with a sample in both groups."""
    SATURATED = 4
    """At least one raw sample is 65535."""
    SCATTER = 8
    """At least two replicas lie more than 5 sigma off: a star pair or a flickering pixel."""
    WARM = 16
    """Above 100 e-/s."""
    HOT = 32
    """Above 3000 e-/s, or every long sample saturated."""
    COSMIC = 64
    """At least one sample hit by a cosmic ray."""
    LOW = 128
    """More than 5 sigma below zero."""
    FILLED = 256
    """Missing, and given the median of its neighbours."""


# Plain integers: numpy would widen an int16 mask that meets a member of an enumeration.
MISSING, FEW, SATURATED, SCATTER, WARM, HOT, COSMIC, LOW, FILLED = map(int, MaskBit)


def is_measured(image: npt.NDArray[Any], mask: npt.NDArray[Any] | None = None) -> BoolArray:
    """Tell which pixels were measured: not NaN, nor missing or filled in by the mask."""
    measured: BoolArray = np.isfinite(image)
    if mask is not None:
        measured &= (mask & (MISSING | FILLED)) == 0
    return measured


GAIN = 5.0
"""Nominal gain (e-/DN)."""
READ_NOISE = 25.0
"""Read noise (e-; inferred in dark-cal B6)."""
WARM_RATE, HOT_RATE = 100.0, 3000.0
"""Dark current above which a pixel is warm, hot (e-/s)."""
FEWEST = 3
"""Replicas that a pixel needs."""
COSMIC_SIGMA, SCATTER_SIGMA, LOW_SIGMA, CLIP_SIGMA = 8.0, 5.0, 5.0, 4.0
MEDIAN_ERROR = (np.nan, 1.0, 0.7071, 0.6698, 0.5461, 0.5356)
"""Standard error of a median of n normal samples of sigma 1; more: `LARGE_N_ERROR` / sqrt(n)."""
LARGE_N_ERROR = 1.2533
MAD_SIGMA = 1.4826
"""Sigma of normal samples by their median absolute deviation."""
PIECE = 1 << 15
"""Pixels combined at once."""


@dataclass(frozen=True)
class Master:
    """The result of a calibration; arrays have the shape of a frame."""

    image: FloatArray
    """Dark current (e-/s), no NaN."""
    sigma: FloatArray
    """Its standard error (e-/s); NaN where missing or where every long sample is saturated."""
    mask: npt.NDArray[np.int16]
    """Sum of `MaskBit`."""
    nsamp: Count
    """Samples used: the smaller number of the two groups."""
    t_short: float
    """Integration time of the short frames (s)."""
    t_long: float
    """Integration time of the long frames (s)."""
    n_cosmic: int
    """Samples hit by a cosmic ray."""
    quantum: float | None
    """Step of the image (e-/s), None where it is not on a grid (dark-cal D2)."""


@dataclass(frozen=True)
class _Piece:
    """The samples of some pixels, shape (replicas, pixels), and what is common to all pieces."""

    short: FloatArray
    long: FloatArray
    saturated: tuple[BoolArray, BoolArray] | None
    gain: FloatArray
    t_short: float
    t_long: float
    read_noise: float
    method: str


def combine(
    short: Frames,
    long: Frames,
    t_short: float,
    t_long: float,
    *,
    saturated: tuple[Frames, Frames] | None = None,
    gain: npt.ArrayLike = GAIN,
    method: Literal["median", "clipmean"] = "median",
    read_noise: float = READ_NOISE,
) -> Master:
    """Combine the short and long frames of all replicas.

    Parameters
    ----------
    short, long : sequence of ndarray, each of shape (rows, cols)
        Frames (DN, bias subtracted), one of each per replica in the same order; NaN where missing.
    t_short, t_long : float
        Actual integration times (s).
    saturated : tuple of sequence of bool ndarray, optional
        For the short and the long frames: where the raw sample was 65535. The frames hold there
        65535 DN minus bias, a lower limit.
    gain : float or array_like that broadcasts to (rows, cols)
        Gain (e-/DN).
    method : {'median', 'clipmean'}
        Difference of the medians, or mean of the differences of the replicas without those
        farther than 4 sigma from their median.
    read_noise : float
        Read noise (e-).

    Returns
    -------
    Master

    Raises
    ------
    InputError
        No frames, frames of different number or shape, times that do not differ or are not
        positive, or an unknown method.

    Notes
    -----
    Source: dark-cal B6. A pixel uses only replicas with both samples; where these are fewer than
    three it uses all samples and is flagged FEW. There 'clipmean' is the difference of the
    medians too. Cosmic rays and scatter are judged on replicas with both samples. Missing pixels
    have the bits MISSING, FEW, FILLED and SATURATED only: a value filled in is not measured.

    Examples
    --------
    >>> frames = [np.full((2, 2), dn, np.float32) for dn in (100, 102, 110)]
    >>> master = combine(frames, [frame + 20 for frame in frames], 5.0, 10.0)
    >>> master.image[0], master.nsamp[0], master.quantum
    (array([20., 20.], dtype=float32), array([3, 3], dtype=uint8), 1.0)
    """
    if len(short) != len(long):
        raise InputError(
            f"{len(short)} short and {len(long)} long frames; expected one per replica"
        )
    shape = _shape([*short, *long])
    if len(shape) != 2 or not 0 < t_short < t_long:
        raise InputError(
            f"frames of shape {shape}, integration times {t_short} and {t_long} s;"
            " expected images, and 0 < short < long"
        )
    if method not in ("median", "clipmean"):
        raise InputError(f"method is {method!r}; expected 'median' or 'clipmean'")
    gains = np.broadcast_to(np.asarray(gain, np.float32), shape).ravel()
    image, sigma = np.empty((2, *shape), np.float32)
    mask, nsamp = np.empty(shape, np.int16), np.empty(shape, np.uint8)
    results = [array.reshape(-1) for array in (image, sigma, mask, nsamp)]
    short, long = _flat(short), _flat(long)
    full = saturated and (_flat(saturated[0]), _flat(saturated[1]))
    n_cosmic = 0
    for where in _pieces(image.size):
        parts, hits = _combine_piece(
            _Piece(
                _stack(short, where),
                _stack(long, where),
                full and (_stack(full[0], where, bool), _stack(full[1], where, bool)),
                gains[where],
                t_short,
                t_long,
                read_noise,
                method,
            )
        )
        for result, part in zip(results, parts, strict=True):
            result[where] = part
        n_cosmic += hits
    _fill_missing(image, mask)
    on_grid = method == "median" and gains.min() == gains.max() and _mode(nsamp) % 2 == 1
    quantum = float(np.ravel(gain)[0]) / (t_long - t_short) if on_grid else None
    return Master(image, sigma, mask, nsamp, t_short, t_long, n_cosmic, quantum)


def combine_frames(frames: Frames, *, saturated: Frames | None = None) -> tuple[FloatArray, Count]:
    """Compute the median of equal frames, pixel by pixel.

    Parameters
    ----------
    frames : sequence of ndarray of one shape
        NaN where missing.
    saturated : sequence of bool ndarray, optional
        Samples not to use.

    Returns
    -------
    median : ndarray of float32
        Equal to that of numpy; NaN where no sample is left.
    nsamp : ndarray of uint8
        Samples used.

    Raises
    ------
    InputError
        No frames, or frames of different shape.
    """
    shape = _shape(frames)
    frames, saturated = _flat(frames), saturated and _flat(saturated)
    median, nsamp = np.empty(frames[0].size, np.float32), np.empty(frames[0].size, np.uint8)
    for where in _pieces(median.size):
        samples = _stack(frames, where)
        if saturated:
            samples[_stack(saturated, where, bool)] = np.nan
        nsamp[where] = _number(~np.isnan(samples))
        median[where] = _median(samples, nsamp[where])
    return median.reshape(shape), nsamp.reshape(shape)


def _combine_piece(piece: _Piece) -> tuple[tuple[npt.NDArray[Any], ...], int]:
    """Return image, sigma, mask, nsamp and number of cosmic-ray samples."""
    short, long, gain = piece.short, piece.long, piece.gain
    spoilt, blown, limit = _drop_saturated(piece)
    valid = ~np.isnan(short + long)
    pairs = _number(valid)
    unpaired = ~valid & (pairs >= FEWEST)
    short[unpaired] = long[unpaired] = np.nan
    n_short, n_long = _number(~np.isnan(short)), _number(~np.isnan(long))
    median_short, median_long = _median(short, n_short), _median(long, n_long)
    noise_short, noise_long = (
        np.sqrt(np.float32(piece.read_noise**2) + np.maximum(gain * median, 0))
        for median in (median_short, median_long)
    )
    interval = np.float32(piece.t_long - piece.t_short)
    to_rate = gain / interval
    image = to_rate * (median_long - median_short)
    error = _error_of_median(len(short))
    sigma = np.hypot(error[n_short] * noise_short, error[n_long] * noise_long) / interval
    noise = np.hypot(noise_short, noise_long) / interval
    rates = to_rate * (long - short)
    if piece.method == "clipmean":
        clipped, kept = _clipped_mean(rates, pairs, noise)
        enough = pairs >= FEWEST
        image = np.where(enough, clipped, image)
        sigma = np.where(enough, noise / np.sqrt(np.maximum(kept, 1, dtype=np.float32)), sigma)
    far = np.abs(rates - image) > SCATTER_SIGMA * noise
    # A star is high in both frames of a replica, a cosmic ray in one.
    hits = valid & (
        (short > median_short + COSMIC_SIGMA / gain * noise_short)
        != (long > median_long + COSMIC_SIGMA / gain * noise_long)
    )
    nsamp = np.minimum(n_short, n_long)
    image = np.where(blown, limit, image)
    mask = _bits(
        (MISSING, (nsamp == 0) & ~blown),
        (FEW, pairs < FEWEST),
        (SATURATED, spoilt),
        (SCATTER, _number(far) >= 2),
        (WARM, image > WARM_RATE),
        (HOT, (image > HOT_RATE) | blown),
        (COSMIC, hits.any(axis=0)),
        (LOW, image < -LOW_SIGMA * sigma),
    )
    return (image, sigma, mask, nsamp), int(np.count_nonzero(hits))


def _drop_saturated(piece: _Piece) -> tuple[BoolArray, BoolArray, FloatArray]:
    """Make saturated samples NaN.

    Returns where a sample is saturated, where every long sample is (such a pixel must not come
    out as a cool or missing one), and for these the rate of the short frames or, with those
    saturated too, the lower limit of the long ones (e-/s).
    """
    short, long = piece.short, piece.long
    spoilt, blown = np.zeros((2, short.shape[1]), np.bool_)
    limit = np.empty(short.shape[1], np.float32)
    if piece.saturated is None or not (piece.saturated[0].any() or piece.saturated[1].any()):
        return spoilt, blown, limit
    short_full, long_full = piece.saturated
    spoilt |= (short_full | long_full).any(axis=0)
    blown |= long_full.any(axis=0) & (long_full | np.isnan(long)).all(axis=0)
    lowest = _nanmedian(long[:, blown]) / np.float32(piece.t_long)
    short[short_full] = long[long_full] = np.nan
    usual = _nanmedian(short[:, blown]) / np.float32(piece.t_short)
    limit[blown] = piece.gain[blown] * np.where(np.isnan(usual), lowest, usual)
    return spoilt, blown, limit


def _clipped_mean(rates: FloatArray, pairs: Count, noise: FloatArray) -> tuple[FloatArray, Count]:
    """Return the mean of the replicas near their median, and their number."""
    off = np.abs(rates - _median(rates, pairs))
    scale = np.maximum(np.float32(MAD_SIGMA) * _median(off, pairs), noise)
    near = off <= CLIP_SIGMA * scale
    kept = _number(near)
    return np.where(near, rates, 0).sum(axis=0) / np.maximum(kept, 1, dtype=np.float32), kept


def _fill_missing(image: FloatArray, mask: npt.NDArray[np.int16]) -> None:
    """Give missing pixels the median of their valid neighbours, else 0."""
    rows, cols = np.nonzero(mask & MISSING)
    image[rows, cols] = np.nan
    padded = np.pad(image, 1, constant_values=np.nan)
    neighbours = [
        padded[rows + row, cols + col]
        for row in range(3)
        for col in range(3)
        if (row, col) != (1, 1)
    ]
    values = _nanmedian(np.stack(neighbours))
    image[rows, cols] = np.nan_to_num(values)
    mask[rows, cols] |= np.where(np.isnan(values), 0, FILLED).astype(np.int16)


def _nanmedian(samples: FloatArray) -> FloatArray:
    return _median(samples, _number(~np.isnan(samples)))


def _median(samples: FloatArray, count: Count) -> FloatArray:
    """Return the median over the first axis of `count` samples that are not NaN, or NaN.

    Sorting by exchange of neighbours: for a handful of samples some ten minima and maxima of
    whole arrays, several times faster than numpy's median.
    """
    n = len(samples)
    complete = bool((count == n).all())
    ranked = (
        samples.copy() if complete else np.where(np.isnan(samples), np.float32(np.inf), samples)
    )
    smaller = np.empty_like(ranked[0])
    for turn in range(n):
        for i in range(turn % 2, n - 1, 2):
            np.minimum(ranked[i], ranked[i + 1], out=smaller)
            np.maximum(ranked[i], ranked[i + 1], out=ranked[i + 1])
            ranked[i] = smaller
    if complete:
        return cast(FloatArray, (ranked[(n - 1) // 2] + ranked[n // 2]) * np.float32(0.5))
    last = count.astype(np.intp)
    low, high = (
        np.take_along_axis(ranked, middle[None], axis=0)[0]
        for middle in (np.maximum(last - 1, 0) // 2, last // 2)
    )
    return np.where(count > 0, (low + high) * np.float32(0.5), np.float32(np.nan))


def _number(where: BoolArray) -> Count:
    """Return how many along the first axis are true."""
    return cast(Count, where.view(np.uint8).sum(axis=0, dtype=np.uint8))


def _error_of_median(n: int) -> FloatArray:
    """Return the standard errors of medians of 0 to n samples of sigma 1."""
    more = LARGE_N_ERROR / np.sqrt(np.arange(len(MEDIAN_ERROR), n + 1))
    return np.concatenate([MEDIAN_ERROR, more]).astype(np.float32)


def _bits(*bits: tuple[int, BoolArray]) -> npt.NDArray[np.int16]:
    """Return a mask; a missing pixel has no property that needs a value."""
    mask = np.zeros(bits[0][1].shape, np.int16)
    for bit, where in bits:
        mask |= np.multiply(where, bit, dtype=np.int16)
    return mask


def _mode(nsamp: Count) -> int:
    return int(np.bincount(nsamp.reshape(-1)).argmax())


def _shape(frames: Frames) -> tuple[int, ...]:
    """Return the common shape."""
    shapes = sorted({frame.shape for frame in frames})
    if len(shapes) != 1:
        raise InputError(
            f"frames of shapes {shapes}; expected at least one frame, all of one shape"
        )
    return shapes[0]


def _flat(frames: Frames) -> Frames:
    return [frame.reshape(-1) for frame in frames]


def _pieces(size: int) -> Iterator[slice]:
    return (slice(start, start + PIECE) for start in range(0, size, PIECE))


def _stack(frames: Frames, where: slice, dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
    """Return some pixels of all frames, shape (n, pixels)."""
    return np.stack([frame[where] for frame in frames]).astype(dtype, copy=False)
