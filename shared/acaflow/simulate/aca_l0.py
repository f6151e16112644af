"""Simulated ACA level-0 image files that look like flight files, with known truth.

Writes ``acaf<TSTART>N<VVV>_<S>_img0.fits.gz`` (aca-archive 2): one slot and one image size per
file. `truth` gives back what was put into them. The same scenario always gives the same bytes.

All slots share one absolute grid of 4.1 s cycles, and every pixel draws its noise from its own
place in the random stream. So neighbouring scenarios of equal seed join without a seam, and a
reissued stretch repeats the pixels of the first delivery.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import IntEnum
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from acaflow.archive.l0_format import (
    CADENCE_S,
    COUNTERS,
    FRAME_STEP,
    HEADER3_COLUMNS,
    IMGSIZES,
    KELVIN,
    PACKET_S,
)
from acaflow.archive.l0_write import BTIMRATE, Value, l0_keywords, l0_name, write_l0_file
from acaflow.errors import InputError
from acaflow.simulate.header3 import header3_bytes, header3_truth

__all__ = [
    "GARBAGE_HEADER3",
    "Func",
    "L0Scenario",
    "Readout",
    "Reissue",
    "SlotTruth",
    "Target",
    "realistic_scenario",
    "simulate_l0",
    "truth",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Interval = tuple[float, float]

BTIMNULL = 681530396.715541
"""Time of VCDU count zero (CXC s): the flight clock of September 2019."""
CYCLE_COUNTS = 16
"""VCDU counts in one cycle, the time of an 8x8 image."""
CYCLE_PHASE = 12
"""VCDU count of cycle zero; flight files of 2019 have this phase too."""

INTEG_UNIT_S = 0.016
"""Telemetry unit of the integration time (s)."""
NOMINAL_INTEG_S = 1.696
"""Integration time of normal operation (s)."""
GAIN = 5.0
"""Electrons per DN."""
READ_NOISE_E = 25.0
"""Noise of an unlit pixel (electrons, rms); our choice."""

DITHER_PIX = 1.6
"""Amplitude of the dither, 8 arcsec (pixels)."""
DITHER_ROW_PERIOD_S = 707.1
"""Period of the dither along rows (s)."""
DITHER_COL_PERIOD_S = 1000.0
"""Period of the dither along columns (s)."""
DAY_S = 86400.0

DELIVERY_DELAY_S = 32400.0
"""From the end of a file to its creation (s); nine hours, as in the flight files of 2019."""
REISSUE_DELAY_S = 30 * DAY_S
"""From a first delivery to the n-th reissue of the same data: n times this (s)."""

NULL_RAW, NULL_SCALE, NULL_BGDAVG, NULL_WINDOW = 682, 1, 511, 511
"""What telemetry holds for a slot without image (aca-archive 2.5)."""
MIN_SCALE = 32
"""Smallest IMGSCALE of a slot with image; raw counts are then DN + 50."""
MAX_RAW = 1023
"""Largest 10-bit pixel value."""
PEDESTAL_DN = 50.0
"""Subtracted from scaled raw counts to give IMGRAW (DN)."""

GARBAGE_HEADER3 = (0, 122, 0, 236, 0, 122, 0, 236, 0, 0, 0, 0)
"""Header-3 bytes of the last 8x8 image before a change of image size (real, 2019:272)."""
COMMANDING = 96
"""COMMCNT while the change of image size is being commanded: 24 commands (real, 2019:272)."""


class Func(IntEnum):
    """Image functions: values of IMGFUNC1."""

    NULL = 0
    TRACK = 1
    SEARCH = 2
    REACQUIRE = 3


@dataclass(frozen=True)
class Target:
    """What a slot looks at.

    Parameters
    ----------
    row, col : float
        Position without dither (pixels, integer at the pixel centre).
    rate_e_per_s : float
        Light of the whole image (electrons per second).
    bgd_e_per_s : float
        Background per pixel (electrons per second).
    sigma : float
        Width of the Gaussian image (pixels).
    is_fid : bool
        A fid light: it does not follow the dither, and its slot is read 8x8 unless planned.
    """

    row: float
    col: float
    rate_e_per_s: float
    bgd_e_per_s: float = 60.0
    sigma: float = 0.95
    is_fid: bool = False


TARGETS = (
    Target(-179.51, -165.76, 98_000.0, 70.0, 0.8, is_fid=True),
    Target(112.22, -203.35, 91_000.0, 70.0, 0.8, is_fid=True),
    Target(-71.48, 344.62, 96_000.0, 90.0, 0.8, is_fid=True),
    Target(132.07, 281.86, 40_000.0, 55.0),
    Target(-301.64, 88.13, 26_500.0, 40.0),
    Target(411.71, -99.82, 14_200.0, 15.0),
    Target(298.48, 273.09, 37_000.0, 50.0),
    Target(-55.16, -388.90, 7_400.0, 30.0),
)
"""Default sky, by slot: three fid lights and five guide stars of about magnitude 7 to 10."""


@dataclass(frozen=True)
class Readout:
    """From `start` on (CXC s) a slot delivers images of `size` with image function `func`.

    The change takes place at the first cycle that starts at `start` or later. Only while
    tracking (`Func.TRACK`) is the target in the image.
    """

    start: float
    size: int
    func: int = Func.TRACK


@dataclass(frozen=True)
class Reissue:
    """A second delivery of the data between `start` and `stop` (CXC s), made later."""

    start: float
    stop: float
    revision: int


@dataclass(frozen=True)
class L0Scenario:
    """Everything that decides the content of the simulated files.

    Parameters
    ----------
    tstart, tstop : float
        Span (CXC s): every 4.1 s cycle that begins inside, so the last file may end up to
        4.1 s after `tstop`, where a scenario that starts there goes on.
    slots : sequence of int
        Slots to write.
    file_s : float
        Length of a file (s), rounded to whole cycles.
    seed : int
        Selects the noise.
    revision : int
        REVISION keyword and the version in the file name.
    targets : sequence of Target
        One per slot 0 to 7.
    plan : mapping of int to sequence of Readout
        Readouts of a slot in time order; before the first one, and for a slot that is not in
        the plan, it tracks at 8x8 (fid) or 6x6 (star).
    gaps : sequence of (start, stop)
        Telemetry losses (CXC s): images with a packet in between are missing in all slots.
    bad : sequence of (start, stop)
        Rows with TIME in between have QUALITY 1.
    integ : sequence of (start, stop, seconds)
        Images that end in between have this integration time; nominal is 1.696 s.
    reissues : sequence of Reissue
        Further files over the same data; an equal or a higher revision.
    has_type_columns : bool
        Write the columns PIXTLM and BGDTYP, which only newer files have.
    header3 : mapping of str to float
        Header-3 MSIDs that stay at one value; the others follow a daily wave.

    Raises
    ------
    InputError
        A value is out of range; the message names it.
    """

    tstart: float
    tstop: float
    slots: Sequence[int] = tuple(range(8))
    file_s: float = 7200.0
    seed: int = 0
    revision: int = 1
    targets: Sequence[Target] = TARGETS
    plan: Mapping[int, Sequence[Readout]] = field(default_factory=dict)
    gaps: Sequence[Interval] = ()
    bad: Sequence[Interval] = ()
    integ: Sequence[tuple[float, float, float]] = ()
    reissues: Sequence[Reissue] = ()
    has_type_columns: bool = False
    header3: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _cycle_at(self.tstart) < _cycle_at(self.tstop):
            raise InputError(f"no 4.1 s cycle begins between {self.tstart} and {self.tstop}")
        if self.file_s < CADENCE_S[8]:
            raise InputError(f"file_s {self.file_s} is less than one 8x8 image, 4.1 s")
        if len(self.targets) != 8:
            raise InputError(f"{len(self.targets)} targets given; expected 8, one per slot")
        for slot in {*self.slots, *self.plan}:
            if slot not in range(8):
                raise InputError(f"slot {slot} does not exist; expected 0 to 7")
        for readout in (one for readouts in self.plan.values() for one in readouts):
            if readout.size not in IMGSIZES or readout.func not in range(4):
                raise InputError(f"{readout} does not exist; size is 4, 6 or 8, func 0 to 3")
        for revision in (self.revision, *(reissue.revision for reissue in self.reissues)):
            if revision not in range(1000):
                raise InputError(f"revision {revision} does not fit a file name; expected 0 to 999")
        for _, _, seconds in self.integ:
            if round(seconds / INTEG_UNIT_S) not in range(1024):
                raise InputError(f"integration time {seconds} s does not fit ten bits of 0.016 s")


def realistic_scenario(tstart: float, tstop: float, seed: int = 0) -> L0Scenario:
    """Return a scenario with the events of normal operation.

    A maneuver every 25 to 45 ks: the light is lost (reacquisition, 820 s), the slots idle at
    4x4 with two short integrations near the end, search at 8x8 for 123 s, and track again.
    Twice a day on average a minute of telemetry is lost.

    Parameters
    ----------
    tstart, tstop : float
        Span (CXC s).
    seed : int
        Selects noise and events.

    Returns
    -------
    L0Scenario
    """
    rng = np.random.default_rng([seed, int(tstart)])
    plan: dict[int, list[Readout]] = {slot: [] for slot in range(8)}
    integ = []
    begin = tstart + rng.uniform(10_000.0, 30_000.0)
    while begin < tstop:
        settled = begin + rng.uniform(1_800.0, 3_000.0)
        for slot, target in enumerate(TARGETS):
            size = 8 if target.is_fid else 6
            plan[slot] += [
                Readout(begin, size, Func.REACQUIRE),
                Readout(begin + 820.0, 4, Func.NULL),
                Readout(settled - 123.0, 8, Func.SEARCH),
                Readout(settled, size),
            ]
        integ.append((settled - 130.0, settled - 130.0 + 2 * PACKET_S, 0.704))
        begin = settled + rng.uniform(25_000.0, 45_000.0)
    losses = rng.uniform(tstart, tstop, rng.poisson(2 * (tstop - tstart) / DAY_S))
    gaps = [(float(start), float(start) + 60.0) for start in np.sort(losses)]
    return L0Scenario(tstart, tstop, seed=seed, plan=plan, gaps=gaps, integ=integ)


# --- Time grid -----------------------------------------------------------------------------


def _packet_time(count: IntArray) -> FloatArray:
    """Time at which the packet of an extended VCDU count begins (CXC s)."""
    return (BTIMNULL + BTIMRATE * count).astype(np.float64)


def _cycle_at(time: float) -> int:
    """First cycle that begins at `time` or later; negative before the zero of the clock."""
    return math.ceil(((time - BTIMNULL) / BTIMRATE - CYCLE_PHASE) / CYCLE_COUNTS)


@dataclass(frozen=True)
class _File:
    """Cycles `first` to `stop` (exclusive) of one slot at one size, delivered together."""

    slot: int
    size: int
    first: int
    stop: int
    is_mode_end: bool
    revision: int
    delay_s: float

    @property
    def counts(self) -> IntArray:
        """Extended VCDU count of each image, lost ones included."""
        first, stop = (c * CYCLE_COUNTS + CYCLE_PHASE for c in (self.first, self.stop))
        return np.arange(first, stop, FRAME_STEP[self.size])

    def is_mode_last(self, count: IntArray) -> BoolArray:
        """Tell which image is the last before a change of image size."""
        return np.asarray(self.is_mode_end & (count == self.counts[-1]))


def _readouts(scenario: L0Scenario, slot: int) -> dict[int, Readout]:
    """Return the readouts of a slot by the cycle they begin with, in time order."""
    first = _cycle_at(scenario.tstart)
    readouts = {first: Readout(scenario.tstart, 8 if scenario.targets[slot].is_fid else 6)}
    for readout in sorted(scenario.plan.get(slot, ()), key=lambda one: one.start):
        readouts[max(first, _cycle_at(readout.start))] = readout
    return readouts


def _slot_files(scenario: L0Scenario, slot: int) -> Iterator[_File]:
    """Cut the span of a slot where the size changes and where a file is full."""
    first, stop = _cycle_at(scenario.tstart), _cycle_at(scenario.tstop)
    # Rounded up, so that a span of n times `file_s` never needs one file more than n.
    per_file = math.ceil(scenario.file_s / CADENCE_S[8])
    sizes: dict[int, int] = {}
    size = 0
    for cycle, readout in _readouts(scenario, slot).items():
        if readout.size != size and cycle <= stop:
            size = sizes[cycle] = readout.size
    for begin, end in pairwise(sorted({*range(first, stop, per_file), *sizes, stop})):
        size = sizes.get(begin, size)
        yield _File(slot, size, begin, end, end in sizes, scenario.revision, DELIVERY_DELAY_S)


def _reissued(scenario: L0Scenario, number: int, original: _File) -> Iterator[_File]:
    """Yield the part of a file that reissue `number` (from 0) repeats, if any."""
    reissue = scenario.reissues[number]
    first = max(original.first, _cycle_at(reissue.start))
    stop = min(original.stop, _cycle_at(reissue.stop))
    if first < stop:
        is_mode_end = original.is_mode_end and stop == original.stop
        delay_s = DELIVERY_DELAY_S + (number + 1) * REISSUE_DELAY_S
        yield _File(
            original.slot, original.size, first, stop, is_mode_end, reissue.revision, delay_s
        )


def _files(scenario: L0Scenario) -> list[_File]:
    """Return all files in order of delivery."""
    originals = [file for slot in scenario.slots for file in _slot_files(scenario, slot)]
    originals.sort(key=lambda file: (file.stop, file.slot))
    again = [
        file
        for number in range(len(scenario.reissues))
        for original in originals
        for file in _reissued(scenario, number, original)
    ]
    return originals + again


# --- Truth ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class SlotTruth:
    """What was put into the rows of one slot, in time order; arrays have one entry per row.

    Attributes
    ----------
    slot : int
        Image slot.
    vcdu : ndarray of int64
        VCDU counter without wrap; modulo 2**24 it is MJF * 128 + MNF.
    time, end_integ_time, integ : ndarray of float64
        The columns TIME, END_INTEG_TIME (CXC s) and INTEG (s).
    size, func, quality : ndarray of int64
        Image size (4, 6, 8), IMGFUNC1 and QUALITY.
    row, col : ndarray of float64
        Position of the light (pixels, integer at the pixel centre); NaN when not tracking.
    signal_dn, bgd_dn : ndarray of float64
        Light of the whole target, and background per pixel, before noise (DN).
    row0, col0, scale : ndarray of int64
        The columns IMGROW0, IMGCOL0 and IMGSCALE.
    raw10 : ndarray of int16, shape (n, 8, 8)
        Raw pixel counts, anchored at [0, 0]; -1 where an image has no pixel.
    is_header3_good : ndarray of bool
        8x8 rows whose header-3 bytes are those of `header3`.
    held : mapping of str to float
        Header-3 MSIDs that stay at one value.
    """

    slot: int
    held: Mapping[str, float]
    vcdu: IntArray
    time: FloatArray
    end_integ_time: FloatArray
    integ: FloatArray
    size: IntArray
    func: IntArray
    quality: IntArray
    row: FloatArray
    col: FloatArray
    signal_dn: FloatArray
    bgd_dn: FloatArray
    row0: IntArray
    col0: IntArray
    scale: IntArray
    raw10: npt.NDArray[np.int16]
    is_header3_good: BoolArray

    def __len__(self) -> int:
        return len(self.time)

    def header3(self, msid: str) -> FloatArray:
        """Return the injected values of a header-3 MSID at the rows, in its decoded unit.

        See `acaflow.simulate.header3.header3_truth`.
        """
        return header3_truth(msid, self.time, self.vcdu, self.held)


def truth(scenario: L0Scenario, slot: int) -> SlotTruth:
    """Return what the first deliveries of a slot hold, all files joined.

    Parameters
    ----------
    scenario : L0Scenario
        As given to `simulate_l0`.
    slot : int
        One of the slots of the scenario.

    Returns
    -------
    SlotTruth
    """
    parts = [_compute_rows(scenario, file) for file in _slot_files(scenario, slot)]
    joined = {
        one.name: np.concatenate([getattr(part, one.name) for part in parts])
        for one in fields(SlotTruth)
        if one.name not in ("slot", "held")
    }
    return SlotTruth(slot=slot, held=scenario.header3, **joined)


def _inside(time: FloatArray, intervals: Sequence[Interval], width: float = 0.0) -> BoolArray:
    """Tell which spans [time, time + width] touch one of the intervals [start, stop)."""
    touched = np.zeros(len(time), dtype=bool)
    for start, stop in intervals:
        touched |= (time < stop) & (time + width >= start)
    return touched


def _integration_times(scenario: L0Scenario, end_integ_time: FloatArray) -> FloatArray:
    integ = np.full(len(end_integ_time), NOMINAL_INTEG_S)
    for start, stop, seconds in scenario.integ:
        integ[_inside(end_integ_time, [(start, stop)])] = seconds
    # INTEG is a 32-bit column, and TIME is computed from the stored value.
    stored = (np.rint(integ / INTEG_UNIT_S) * INTEG_UNIT_S).astype(np.float32)
    return stored.astype(np.float64)


def _functions(scenario: L0Scenario, slot: int, count: IntArray) -> IntArray:
    """Return IMGFUNC1 of the images that begin at `count`."""
    readouts = _readouts(scenario, slot)
    cycle = (count - CYCLE_PHASE) // CYCLE_COUNTS
    current = np.searchsorted(list(readouts), cycle, side="right") - 1
    return np.array([readout.func for readout in readouts.values()])[current]


def _quantise(pixels: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return IMGSCALE of each image, so that its brightest pixel just fits, and raw counts."""
    scale = np.maximum(MIN_SCALE, np.ceil((pixels.max(axis=1) + PEDESTAL_DN) * 32 / MAX_RAW))
    raw = np.clip(np.rint((pixels + PEDESTAL_DN) * 32 / scale[:, None]), 0, MAX_RAW)
    return scale, raw


def _compute_rows(scenario: L0Scenario, file: _File) -> SlotTruth:
    """Compute the rows of one file; the heart of the simulation."""
    size, target = file.size, scenario.targets[file.slot]
    count = file.counts
    packet_time = _packet_time(count)
    received = ~_inside(packet_time, scenario.gaps, CADENCE_S[size])
    noise = _noise(scenario.seed, file, len(count))[received]
    count, packet_time = count[received], packet_time[received]
    end_integ_time = packet_time - PACKET_S
    integ = _integration_times(scenario, end_integ_time)
    time = end_integ_time - integ / 2
    func = _functions(scenario, file.slot, count)
    is_tracking, is_null = func == Func.TRACK, func == Func.NULL

    row, col = _position(target, time)
    # A slot that tracks keeps its window on the light; otherwise the window stays in place.
    centre = (size - 1) / 2
    row0 = np.rint(np.where(is_tracking, row, target.row) - centre).astype(np.int64)
    col0 = np.rint(np.where(is_tracking, col, target.col) - centre).astype(np.int64)
    signal_dn = np.where(is_tracking, target.rate_e_per_s, 0.0) * integ / GAIN
    bgd_dn = target.bgd_e_per_s * integ / GAIN
    pixels = _expose(size, row - row0, col - col0, signal_dn, bgd_dn, target.sigma, noise)
    scale, raw = _quantise(pixels)
    raw[is_null] = NULL_RAW
    raw10 = np.full((len(count), 8, 8), -1, dtype=np.int16)
    raw10[:, *_live_pixels(size)] = raw

    return SlotTruth(
        slot=file.slot,
        held=scenario.header3,
        vcdu=count,
        time=time,
        end_integ_time=end_integ_time,
        integ=integ,
        size=np.full(len(count), size),
        func=func,
        quality=_inside(time, scenario.bad).astype(np.int64),
        row=np.where(is_tracking, row, np.nan),
        col=np.where(is_tracking, col, np.nan),
        signal_dn=signal_dn,
        bgd_dn=np.where(is_null, 0.0, bgd_dn),
        row0=np.where(is_null, NULL_WINDOW, row0),
        col0=np.where(is_null, NULL_WINDOW, col0),
        scale=np.where(is_null, NULL_SCALE, scale).astype(np.int64),
        raw10=raw10,
        is_header3_good=(size == 8) & ~file.is_mode_last(count),
    )


def _position(target: Target, time: FloatArray) -> tuple[FloatArray, FloatArray]:
    amplitude = 0.0 if target.is_fid else DITHER_PIX
    row = target.row + amplitude * np.sin(2 * np.pi * time / DITHER_ROW_PERIOD_S)
    col = target.col + amplitude * np.sin(2 * np.pi * time / DITHER_COL_PERIOD_S)
    return row, col


def _live_pixels(size: int) -> tuple[IntArray, IntArray]:
    """Return row and column indices of the telemetered pixels: all but the corners of a 6x6."""
    mask = np.ones((size, size), dtype=bool)
    if size == 6:
        mask[[0, 0, 5, 5], [0, 5, 0, 5]] = False
    rows, cols = np.nonzero(mask)
    return rows, cols


def _noise(seed: int, file: _File, n_rows: int) -> FloatArray:
    """Return standard normal deviates, shape (n_rows, live pixels).

    Every packet carries sixteen pixels at any image size, and draws sixteen numbers at its own
    place of the slot's stream; hence Box-Muller, which uses a fixed number of them.
    """
    n_packets = n_rows * FRAME_STEP[file.size] // 4
    stream = np.random.PCG64(np.random.SeedSequence([seed, file.slot]))
    stream.advance(file.first * CYCLE_COUNTS // 4 * 16 % (1 << 128))
    uniform = np.random.Generator(stream).random((n_packets, 16))
    radius = np.sqrt(-2 * np.log1p(-uniform[:, :8]))
    angle = 2 * np.pi * uniform[:, 8:]
    normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return normal.reshape(n_rows, -1)


def _expose(
    size: int,
    row: FloatArray,
    col: FloatArray,
    signal_dn: FloatArray,
    bgd_dn: FloatArray,
    sigma: float,
    noise: FloatArray,
) -> FloatArray:
    """Return noisy pixel values (DN), shape (n, live pixels); `row`, `col` count from [0, 0]."""
    index = np.arange(size)
    along_rows = np.exp(-0.5 * ((index - row[:, None]) / sigma) ** 2)
    along_cols = np.exp(-0.5 * ((index - col[:, None]) / sigma) ** 2)
    rows, cols = _live_pixels(size)
    amplitude = signal_dn / (2 * np.pi * sigma**2)
    clean = (along_rows * amplitude[:, None])[:, rows] * along_cols[:, cols] + bgd_dn[:, None]
    return clean + noise * np.sqrt(clean * GAIN + READ_NOISE_E**2) / GAIN


def _values(scenario: L0Scenario, file: _File, rows: SlotTruth) -> dict[str, npt.ArrayLike]:
    """Return the values of the columns; a column that is not here is zero in all rows."""
    size = file.size
    count = rows.vcdu % COUNTERS
    is_null = rows.func == Func.NULL
    bgd_rms = np.sqrt(rows.bgd_dn * GAIN + READ_NOISE_E**2) / GAIN
    pixels = rows.raw10[:, :size, :size]
    image = pixels * (rows.scale[:, None, None] / 32) - PEDESTAL_DN
    values: dict[str, npt.ArrayLike] = {
        "TIME": rows.time,
        "QUALITY": rows.quality,
        "MJF": count // 128,
        "MNF": count % 128,
        "END_INTEG_TIME": rows.end_integ_time,
        "INTEG": rows.integ,
        "COMMCNT": np.where(_is_commanded(scenario, rows.vcdu), COMMANDING, 0),
        "IMGROW0": rows.row0,
        "IMGCOL0": rows.col0,
        "IMGSCALE": rows.scale,
        "BGDAVG": np.where(is_null, NULL_BGDAVG, np.rint(rows.bgd_dn)),
        "BGDRMS": np.where(is_null, 0, np.rint(bgd_rms)),
        "BGDSTAT": np.where(is_null, 0, 255),
        "TEMPCCD": _temperature(rows.header3("ccd_temp")),
        "TEMPHOUS": _temperature(rows.header3("ad_achhs_therm")),
        "TEMPPRIM": _temperature(rows.header3("ad_lc_therm")),
        "TEMPSEC": _temperature(rows.header3("ad_smhs_therm")),
        "IMGRAW": np.where(pixels < 0, 0.0, image),
    }
    if scenario.has_type_columns:
        values |= {"PIXTLM": b"ORIG", "BGDTYP": b"FLAT"}
    for number in range(1, 5):
        values[f"IMGFID{number}"] = ~is_null & scenario.targets[file.slot].is_fid
        values[f"IMGNUM{number}"] = rows.slot
        values[f"IMGFUNC{number}"] = rows.func
    if size == 8:
        header3 = header3_bytes(rows.slot, rows.time, rows.vcdu, rows.held)
        header3[~rows.is_header3_good] = GARBAGE_HEADER3
        values |= zip(HEADER3_COLUMNS, header3.T, strict=True)
    return values


def _is_commanded(scenario: L0Scenario, count: IntArray) -> BoolArray:
    """Tell which images begin in the last cycle before any slot changes its image size.

    A packet has one command count, which is that of all eight slots.
    """
    files = [file for slot in range(8) for file in _slot_files(scenario, slot)]
    last_cycles = [file.stop - 1 for file in files if file.is_mode_end]
    return np.isin((count - CYCLE_PHASE) // CYCLE_COUNTS, last_cycles)


def _temperature(t_degc: FloatArray) -> FloatArray:
    """Return kelvin as telemetered, in steps of 0.4 K."""
    return np.rint(t_degc / 0.4) * 0.4 + KELVIN


def _keywords(file: _File, values: Mapping[str, npt.ArrayLike]) -> dict[str, Value]:
    """Return the header values that differ from file to file (aca-archive 2.2)."""
    return l0_keywords(file.size, values, file.revision, file.delay_s) | {
        "BTIMNULL": BTIMNULL,
        "CREATOR": "aise",
        "ASCDSVER": "10.8",
        "TLMVER": "P014",
        "HISTORY": "simulated by acaflow; not flight data",
    }


def simulate_l0(scenario: L0Scenario, folder: Path) -> list[Path]:
    """Write the files of a scenario.

    Each file appears whole: it is written as ``<name>.part`` and renamed, so `folder` may be a
    watched inbox.

    Parameters
    ----------
    scenario : L0Scenario
        What to simulate.
    folder : Path
        Where to; made if absent. Files of the same name are replaced.

    Returns
    -------
    list of Path
        The files in order of delivery: by end of file, then slot; reissues last. A stretch
        that is lost as a whole has no file.

    Raises
    ------
    InputError
        A reissue would have the name of another file: same start and revision.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths: dict[Path, None] = {}
    for file in _files(scenario):
        rows = _compute_rows(scenario, file)
        if not len(rows):
            continue
        values = _values(scenario, file, rows)
        keywords = _keywords(file, values)
        name = l0_name(file.slot, keywords)
        if folder / name in paths:
            raise InputError(f"reissue of {name} has the name of an earlier file; shift its start")
        paths[write_l0_file(folder / name, file.size, values, keywords)] = None
    return list(paths)
