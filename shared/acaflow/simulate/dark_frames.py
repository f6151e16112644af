"""Simulated full-frame readouts of the dark CCD: what the camera digitises in a dark calibration.

Each replica, a pointing of its own, has a short and a long integration. Electrons come from the
dark current, stars, cosmic rays and the read noise; some warm pixels change their level between
replicas. Everything that was put in is given back.

Full images have shape (1024, 1024), pixel [i, j] is CCD row i - 512, column j - 512.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acaflow.archive.aca_dark.ccd import HALF, SIZE
from acaflow.errors import InputError

__all__ = [
    "GAIN",
    "INTEG_UNIT_S",
    "OFFSETS",
    "READ_NOISE_E",
    "RawFrame",
    "ReplicaFrames",
    "draw_cosmic_hits",
    "draw_flicker",
    "draw_stars",
    "read_times",
    "simulate_frames",
    "star_light",
]

Image = npt.NDArray[np.float32]
Table = npt.NDArray[np.void]
Rng = np.random.Generator

INTEG_UNIT_S = 0.016
"""Telemetry unit of the integration time (s)."""
GAIN = 5.0
"""Electrons per DN (dark-cal B6)."""
READ_NOISE_E = 25.0
"""Noise of an unlit pixel (electrons, rms; dark-cal E6)."""
READOUT_S = 8.0
"""From the first to the last row of a quadrant (s; dark-cal E6)."""
BIAS_DN = ((1970, 2015), (2000, 2040))
"""Level of the quadrants, by COLNEG and row >= 0 (DN); about 2000 (dark-cal E6)."""
BIAS_DRIFT_DN = 20
"""Most that a quadrant moves between replicas (DN; dark-cal E6)."""
MAX_RAW = 65535

STAR = np.dtype([("row", "f8"), ("col", "f8"), ("mag", "f8")])
"""A star; row and column are integer at pixel centres."""
OFFSETS = ((0, 0), (24, 0), (-24, 0), (0, 24), (0, -24))
"""Shift of the stars in each replica, rows and columns (dark-cal E7)."""
MAG_LIMITS = (9.0, 11.5)
"""Brightest and faintest star; attitudes with brighter ones are avoided (dark-cal B7)."""
MAG_SLOPE = 0.5
"""Stars brighter than m grow as 10**(this * m); ours."""
MAG_RATE = (10.32, 5263.0)
"""A star of this magnitude gives this many e-/s (dark-cal E7)."""
PSF_SIGMA = 1.8 / 2.3548
"""Width of a star image (pixels; dark-cal E7 gives the full width at half maximum)."""
PSF_REACH = 6
"""A star lights pixels up to this far (pixels)."""

HIT = np.dtype([("row", "i2"), ("col", "i2"), ("electrons", "f4")])
"""Charge that a cosmic ray left in a pixel, CCD row and column."""
TRACK_PIX = 4.0
"""Mean length of a cosmic-ray track (pixels; dark-cal E8)."""
HIT_E = (500.0, 3000.0)
"""Charge in a pixel of a track (electrons; dark-cal E8)."""

FLICKER_EDGES = (50.0, 100.0, 200.0, 300.0, 400.0, 500.0, 600.0, 800.0, 1000.0)
"""Lower edges of the brightness bins (e-/s); fainter pixels do not flicker (dark-cal E9)."""
FLICKER_WIDTHS = (0.091, 0.077, 0.066, 0.058, 0.054, 0.048, 0.043, 0.037, 0.029)
"""Scale of the distribution of log10(new/base) in each bin; see `draw_flicker`."""
FLICKER_CENTRE = 0.09
"""Its centre, in units of its scale."""
FLICKER_LIMIT = 0.35
"""Largest change, up or down."""


@dataclass(frozen=True, eq=False)
class RawFrame:
    """One readout of the whole CCD.

    Attributes
    ----------
    integ : int
        Integration time in units of 0.016 s.
    raw : ndarray of uint16, shape (1024, 1024)
        What telemetry carries (DN); 65535 is saturated.
    bias : ndarray of uint16, shape (2, 1024)
        Bias of each half row, by COLNEG and CCD row + 512 (DN).
    hits : structured array of row, col, electrons
        Pixels that cosmic rays hit.
    """

    integ: int
    raw: npt.NDArray[np.uint16]
    bias: npt.NDArray[np.uint16]
    hits: Table


@dataclass(frozen=True, eq=False)
class ReplicaFrames:
    """The two readouts of a replica.

    Attributes
    ----------
    short, long : RawFrame
        In order of time.
    change : ndarray of float32, shape (1024, 1024)
        Factor that flicker has put on the dark current; 1 where a pixel has not jumped.
    """

    short: RawFrame
    long: RawFrame
    change: Image


def read_times() -> npt.NDArray[np.float64]:
    """Return how long after the integration each CCD row is read (s), shape (1024,).

    Quadrants are read at the same time, from the outer edge to row 0.
    """
    inward = np.linspace(0.0, READOUT_S, HALF)
    return np.concatenate([inward, inward[::-1]])


def draw_stars(rng: Rng, n_stars: int) -> Table:
    """Return a star field that covers the CCD at every offset, brightest first."""
    bright, faint = MAG_LIMITS
    stars = np.empty(n_stars, STAR)
    reach = HALF + max(max(offset) for offset in OFFSETS)
    stars["row"], stars["col"] = rng.uniform(-reach, reach, (2, n_stars))
    rank = rng.uniform(10 ** (MAG_SLOPE * (bright - faint)), 1.0, n_stars)
    stars["mag"] = np.sort(faint + np.log10(rank) / MAG_SLOPE)
    return stars


def star_light(stars: Table, offset: tuple[float, float] = (0, 0)) -> Image:
    """Return the light of stars (e-/s), shape (1024, 1024).

    Parameters
    ----------
    stars : structured array of row, col, mag
        Stars outside the CCD light nothing.
    offset : tuple of float
        Shift in rows and columns (pixels).
    """
    reach = np.arange(-PSF_REACH, PSF_REACH + 1)
    row = stars["row"][:, None] + offset[0]
    col = stars["col"][:, None] + offset[1]
    rows, cols = np.rint(row).astype(int) + reach, np.rint(col).astype(int) + reach
    along_rows = np.exp(-0.5 * ((rows - row) / PSF_SIGMA) ** 2)
    along_cols = np.exp(-0.5 * ((cols - col) / PSF_SIGMA) ** 2)
    mag, rate = MAG_RATE
    peak = rate * 10 ** ((mag - stars["mag"]) / 2.5) / (2 * np.pi * PSF_SIGMA**2)
    light = peak[:, None, None] * along_rows[:, :, None] * along_cols[:, None, :]
    image = np.zeros((SIZE + 2 * PSF_REACH,) * 2, np.float32)
    margin = HALF + PSF_REACH
    inside = (np.abs(rows + 0.5) < margin)[:, :, None] & (np.abs(cols + 0.5) < margin)[:, None, :]
    place = np.broadcast_arrays(rows[:, :, None] + margin, cols[:, None, :] + margin)
    np.add.at(image, tuple(index[inside] for index in place), light[inside])
    return image[PSF_REACH:-PSF_REACH, PSF_REACH:-PSF_REACH]


def draw_cosmic_hits(rng: Rng, rate_per_s: float, exposure_s: float) -> Table:
    """Return the pixels that cosmic rays hit: straight tracks in all directions.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    rate_per_s : float
        Cosmic rays on the whole CCD (1/s).
    exposure_s : float
        Time in which they are collected (s).

    Returns
    -------
    structured array of row, col, electrons
        A pixel may occur more than once.
    """
    n_tracks = rng.poisson(rate_per_s * exposure_s)
    begin = rng.uniform(-HALF, HALF, (n_tracks, 2))
    angle = rng.uniform(0, 2 * np.pi, n_tracks)
    length = np.ceil(rng.exponential(TRACK_PIX, n_tracks)).astype(int)
    track = np.repeat(np.arange(n_tracks), length)
    step = np.arange(len(track)) - np.repeat(np.cumsum(length) - length, length)
    along = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    place = np.floor(begin[track] + step[:, None] * along[track])
    hits = np.empty(len(track), HIT)
    hits["row"], hits["col"] = place.T
    hits["electrons"] = rng.uniform(*HIT_E, len(track))
    inside = ((place >= -HALF) & (place < HALF)).all(axis=1)
    return np.asarray(hits[inside])


def draw_flicker(rng: Rng, base: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return new levels of flickering pixels, as factors on their base.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    base : ndarray, shape (n,)
        Undisturbed dark current (e-/s), 50 or more.

    Returns
    -------
    ndarray of float64, shape (n,)

    Notes
    -----
    log10(new/base) follows a Laplace distribution about 0.09 of its scale, cut at -0.35 and 0.35,
    with one scale for each bin of brightness. Fitted to the measured distributions of dark-cal
    E9: the cumulative ones differ by at most 0.032 (50 to 100 e-/s), 0.021 (100 to 200 e-/s) and
    0.018 (above), rms 0.021, 0.014 and 0.010.
    """
    width = np.asarray(FLICKER_WIDTHS)[np.searchsorted(FLICKER_EDGES, base, side="right") - 1]
    low = 0.5 * np.exp(-FLICKER_LIMIT / width - FLICKER_CENTRE)
    high = 1.0 - 0.5 * np.exp(-FLICKER_LIMIT / width + FLICKER_CENTRE)
    centred = rng.uniform(low, high) - 0.5
    x = width * (FLICKER_CENTRE - np.sign(centred) * np.log1p(-2 * np.abs(centred)))
    return np.asarray(10**x)


def simulate_frames(
    dark: Image,
    stars: Table,
    seed: Sequence[int],
    *,
    scales: Sequence[float] = (1.0,) * len(OFFSETS),
    zodi: float = 0.0,
    integ: tuple[int, int] = (313, 625),
    cosmic_rate: float = 30.0,
    flicker_s: float = 10_000.0,
    period_s: float = 4_200.0,
) -> Iterator[ReplicaFrames]:
    """Yield the readouts of each replica of a dark calibration.

    Parameters
    ----------
    dark : ndarray of float32, shape (1024, 1024)
        Dark current (e-/s) at the beginning.
    stars : structured array of row, col, mag
        Of `draw_stars`; positions in the first replica.
    seed : sequence of int
        Selects all noise.
    scales : sequence of float
        For each replica the factor that its temperature puts on `dark`; at most five.
    zodi : float
        Light of the sky (e-/s per pixel), the same in all replicas.
    integ : tuple of int
        Integration times in units of 0.016 s.
    cosmic_rate : float
        Cosmic rays on the CCD (1/s).
    flicker_s : float
        Mean time between the jumps of a pixel (s); infinity for none.
    period_s : float
        Time between replicas (s).

    Raises
    ------
    InputError
        More replicas than pointings.

    Notes
    -----
    A pixel that jumps returns to its base first: new levels do not add up.

    Source: dark-cal E6 to E9.
    """
    if len(scales) > len(OFFSETS):
        raise InputError(f"{len(scales)} replicas asked for; there are {len(OFFSETS)} pointings")
    rng = np.random.default_rng(seed)
    can_flicker = np.flatnonzero(dark >= FLICKER_EDGES[0])
    change = np.ones(dark.shape, np.float32)
    for number, scale in enumerate(scales):
        if number:
            chance = -np.expm1(-period_s / flicker_s)
            jumping = can_flicker[rng.random(len(can_flicker)) < chance]
            change.flat[jumping] = draw_flicker(rng, dark.flat[jumping])
        rate = dark * change * np.float32(scale) + np.float32(zodi)
        light = star_light(stars, OFFSETS[number])
        bias = _draw_bias(rng)
        short, long = (_expose(rng, rate, light, bias, counts, cosmic_rate) for counts in integ)
        yield ReplicaFrames(short, long, change.copy())


def _draw_bias(rng: Rng) -> npt.NDArray[np.int64]:
    """Return the bias of the quadrants in one replica (DN), by COLNEG and row >= 0."""
    return np.asarray(BIAS_DN) + rng.integers(-BIAS_DRIFT_DN, BIAS_DRIFT_DN + 1, (2, 2))


def _expose(
    rng: Rng,
    rate: Image,
    light: Image,
    quadrant_bias: npt.NDArray[np.int64],
    counts: int,
    cosmic_rate: float,
) -> RawFrame:
    """Return one readout."""
    integ_s = counts * INTEG_UNIT_S
    expected = rate * (integ_s + read_times()[:, None]) + light * integ_s
    hits = draw_cosmic_hits(rng, cosmic_rate, integ_s + READOUT_S / 2)
    np.add.at(expected, (hits["row"] + HALF, hits["col"] + HALF), hits["electrons"])
    electrons = rng.poisson(expected) + READ_NOISE_E * rng.standard_normal(
        expected.shape, dtype=np.float32
    )
    bias = np.repeat(quadrant_bias, HALF, axis=1) + rng.integers(-1, 2, (2, SIZE))
    raw = np.rint(electrons / GAIN)
    raw[:, :HALF] += bias[1][:, None]
    raw[:, HALF:] += bias[0][:, None]
    return RawFrame(counts, raw.clip(0, MAX_RAW).astype(np.uint16), bias.astype(np.uint16), hits)
