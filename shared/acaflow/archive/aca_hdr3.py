"""Read header 3: the camera's housekeeping that rides on 8x8 images, as time series.

Files read: those of the level-0 archive (`acaflow.archive.aca_l0`). A quantity is telemetered
in one fixed slot and exists only while that slot is read out 8x8. Times are CXC seconds, units
those of `HDR3_DEF`. Samples that cannot be trusted are masked.

>>> from acaflow.archive import aca_hdr3
>>> ccd_temp = aca_hdr3.MSID("ccd_temp", "2019:272", "2019:282")  # doctest: +SKIP
>>> aca_hdr3.HDR3_DEF[aca_hdr3.MSID_ALIASES["ccd_temp"]]["unit"]
'degC'
"""

from __future__ import annotations

import copy as copying
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acaflow import times
from acaflow.archive import aca_l0
from acaflow.archive.hdr3_def import (
    HDR3_DEF,
    MSID_ALIASES,
    STATUS_FIELDS,
    ZERO_OFF32_QUAD_C_MSB,
    Byte,
    Coding,
    Hdr3Entry,
    slots_of,
)
from acaflow.archive.l0_format import CADENCE_S
from acaflow.archive.l0_rows import Rows
from acaflow.errors import InputError, MissingDataError

__all__ = [
    "HDR3_DEF",
    "MSID",
    "MSID_ALIASES",
    "MSIDset",
    "MissingDataError",
    "Msid",
    "get_status_fields",
]

log = logging.getLogger(__name__)

READOUT_TOLERANCE_S = 1e-3
"""Most that the time between 8x8 images may differ from 4.1 s (s)."""
PADDING_S = 33.0
"""Read beyond the end of an interval, a major frame (s): its last sample needs a successor."""
JOIN_S = 2.1
"""Most that the halves of a value in two slots may lie apart (s; aca-archive 6.6)."""

THERMISTOR_COUNTS = np.array(
    [
        *(0x0825, 0x094D, 0x0A9F, 0x0C22, 0x0DD8, 0x0FC5, 0x11EF, 0x1454, 0x16F4, 0x19CC),
        *(0x1CD3, 0x2000, 0x2340, 0x2688, 0x29C5, 0x2CDF, 0x2FCB, 0x3279, 0x34E1, 0x36FD),
        *(0x38CD, 0x3A55, 0x3B98, 0x3C9E, 0x3D70),
    ]
)
"""A/D counts of the thermistors at 80, 75 ... -40 degC (aca-archive 6.4)."""
THERMISTOR_DEGC = np.arange(80.0, -41.0, -5.0)

BLOCK = 1 << 16
"""Samples decoded at once: small enough for the processor's cache."""

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
ByteColumn = npt.NDArray[np.uint8]


class MSID:
    """A header-3 quantity as a time series.

    Parameters
    ----------
    msid : str
        Name or key of `HDR3_DEF`, in any case; also ``zero_off32_quad_c_msb``.
    start, stop : time
        Any time form; samples with ``start <= TIME <= stop`` are returned.
    msid_data : MSID or mapping, optional
        Take ``vals`` and ``times`` from here instead of the archive.
    filter_bad : bool
        Drop masked samples.
    data_root : path, optional
        Folder of the level-0 archive; default ``archive/aca0`` of the configured home.

    Attributes
    ----------
    msid : str
        Name as requested.
    hdr3_msid : str
        Key of `HDR3_DEF`.
    vals : MaskedArray, shape (n,)
        int64 for counts, words and avg_bkg, else float64. The half words
        ``zero_off32_quad_c_msb`` and ``_lsb`` are uint8 of shape (n, 2). An ndarray after
        `filter_bad`.
    times : ndarray of float64, shape (n,)
        TIME of the samples (CXC seconds), of all 8x8 images of the slot.
    desc, longdesc : str
        What it is, short and long.
    tstart, tstop : float
        The interval asked for (CXC seconds).
    datestart, datestop : str
        The same as dates.

    Raises
    ------
    MissingDataError
        There is no such quantity, or no archive.
    FileNotFoundError, CorruptFileError
        An indexed file is missing or unreadable.

    Notes
    -----
    Masked are: the last image before a break of the 4.1 s cadence, because its bytes may come
    from another readout (of contiguous images always the last one that the archive has); images
    with QUALITY not 0; temperatures outside the thermistor curve; quadrant C offsets whose other
    half is missing. Without any 8x8 image the arrays are empty and a warning is logged.

    Source: aca-archive 6.

    Examples
    --------
    >>> dac = MSID("dac", "2019:272", "2019:282")  # doctest: +SKIP
    >>> dac = MSID("776", 0, 20, msid_data={"vals": np.array([417, 418]), "times": [4.1, 8.2]})
    >>> dac.hdr3_msid, dac.desc
    ('776', 'Control level of the thermoelectric cooler')
    """

    def __init__(
        self,
        msid: str,
        start: Any,
        stop: Any,
        msid_data: MSID | Mapping[str, Any] | None = None,
        filter_bad: bool = False,
        *,
        data_root: Path | str | None = None,
    ) -> None:
        self.msid = msid
        self.hdr3_msid, entry = _find(msid)
        self.desc, self.longdesc = entry["desc"], entry["longdesc"]
        self.tstart, self.tstop = times.secs(start), times.secs(stop)
        self.datestart, self.datestop = times.date(self.tstart), times.date(self.tstop)
        if msid_data is None:
            shared_times, (vals,) = _read([entry], self.tstart, self.tstop, data_root)
            msid_data = {"vals": vals, "times": shared_times}
        data = msid_data if isinstance(msid_data, Mapping) else vars(msid_data)
        self.vals: npt.NDArray[Any] = data["vals"]
        self.times: FloatArray = np.asarray(data["times"], dtype=np.float64)
        if filter_bad:
            self.filter_bad()

    def filter_bad(self, copy: bool = False) -> MSID | None:
        """Drop masked samples.

        Parameters
        ----------
        copy : bool
            Leave this object alone and return a filtered copy.

        Returns
        -------
        MSID or None
            The copy, if asked for; its `vals` are an ndarray without mask.

        Examples
        --------
        >>> vals = np.ma.MaskedArray([417, 0], mask=[False, True])
        >>> dac = MSID("dac", 0, 20, msid_data={"vals": vals, "times": [4.1, 8.2]})
        >>> dac.filter_bad(copy=True).vals
        array([417])
        """
        if copy:
            filtered = self.copy()
            filtered.filter_bad()
            return filtered
        masked = np.ma.getmaskarray(self.vals)
        good = ~masked.any(axis=tuple(range(1, masked.ndim)))
        self.vals, self.times = np.ma.getdata(self.vals)[good], self.times[good]
        return None

    def copy(self) -> MSID:
        """Return a copy that shares no array with this object."""
        return copying.deepcopy(self)


class Msid(MSID):
    """A header-3 quantity without its masked samples: `MSID` with `filter_bad` on.

    Parameters
    ----------
    msid, start, stop, data_root
        As for `MSID`.

    Examples
    --------
    >>> ccd_temp = Msid("ccd_temp", "2019:272", "2019:282")  # doctest: +SKIP
    """

    def __init__(
        self, msid: str, start: Any, stop: Any, *, data_root: Path | str | None = None
    ) -> None:
        super().__init__(msid, start, stop, filter_bad=True, data_root=data_root)


class MSIDset(dict[str, MSID]):
    """Several header-3 quantities on common times: an ordered mapping name to `MSID`.

    `times` is one array for all of them, the sorted union of the times of their slots. Where
    the slot of a quantity has no 8x8 image its value is masked.

    Parameters
    ----------
    msids : iterable of str
        Names or keys; the keys of the mapping, as given.
    start, stop, data_root
        As for `MSID`; the same errors.

    Examples
    --------
    >>> dat = MSIDset(["ccd_temp", "aca_temp"], "2019:272", "2019:282")  # doctest: +SKIP
    >>> difference = dat["aca_temp"].vals - dat["ccd_temp"].vals  # doctest: +SKIP
    """

    def __init__(
        self,
        msids: Iterable[str],
        start: Any,
        stop: Any,
        *,
        data_root: Path | str | None = None,
    ) -> None:
        names = list(msids)
        tstart, tstop = times.secs(start), times.secs(stop)
        entries = [_find(msid)[1] for msid in names]
        shared_times, values = _read(entries, tstart, tstop, data_root)
        super().__init__(
            (msid, MSID(msid, tstart, tstop, {"vals": vals, "times": shared_times}))
            for msid, vals in zip(names, values, strict=True)
        )


def get_status_fields(msid: str, words: npt.ArrayLike) -> dict[str, npt.NDArray[Any]]:
    """Take a status word apart.

    Parameters
    ----------
    msid : str
        ``ac_status_word``, ``misc_status_bits``, or their keys.
    words : array_like of int
        Values of that MSID.

    Returns
    -------
    dict of str to ndarray
        Fields by name, masked where `words` are: bool for single bits, else int. The CCD
        readout mode is a sum of 1 (input grounded during pixel readout), 2 (reset pulsed in
        column flush), 4 (reset pulsed in row shifts) and 8 (multiplexer grounded when the A/D
        converter is idle). The clock period is ``6 << clock_period_code`` us.

    Raises
    ------
    InputError
        `msid` is no status word.

    Notes
    -----
    Source: aca-archive 6.2.

    Examples
    --------
    >>> fields = get_status_fields("ac_status_word", [0x02B4])
    >>> {name: values.tolist() for name, values in fields.items()}
    ... # doctest: +NORMALIZE_WHITESPACE
    {'readout_mode': [10], 'test_signal': [3], 'command_error': [False],
     'clock_period_code': [2], 'eeprom_write': [False]}
    """
    key, _ = _find(msid)
    if key not in STATUS_FIELDS:
        raise InputError(f"{msid} is no status word; ac_status_word and misc_status_bits are")
    words = np.asanyarray(words)
    fields = {}
    for name, (lowest, width) in STATUS_FIELDS[key].items():
        field = (words >> lowest) & ((1 << width) - 1)
        fields[name] = field != 0 if width == 1 else field
    return fields


def _find(msid: str) -> tuple[str, Hdr3Entry]:
    """Return key and description of a quantity."""
    name = msid.lower()
    if name == ZERO_OFF32_QUAD_C_MSB["msid"]:
        return "476", ZERO_OFF32_QUAD_C_MSB
    key = MSID_ALIASES.get(name, name)
    if key not in HDR3_DEF:
        raise MissingDataError(f"msid {msid} not found")
    return key, HDR3_DEF[key]


# --- Samples ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Samples:
    """Header-3 bytes in time order; all arrays are contiguous and have one entry per sample.

    `valid` tells which samples may be decoded.
    """

    times: FloatArray
    valid: BoolArray
    columns: Mapping[Byte, ByteColumn]

    def between(self, start: float, stop: float) -> _Samples:
        """Return the samples of an interval, both ends included."""
        first, last = np.searchsorted(self.times, start), np.searchsorted(self.times, stop, "right")
        part = slice(int(first), int(last))
        columns = {byte: column[part] for byte, column in self.columns.items()}
        return _Samples(self.times[part], self.valid[part], columns)

    def on(self, shared_times: FloatArray) -> _Samples:
        """Return the samples at other times, which include their own; invalid elsewhere."""
        if _are_equal(shared_times, self.times):
            return self
        place = np.searchsorted(shared_times, self.times)

        def spread(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
            result = np.zeros(len(shared_times), values.dtype)
            result[place] = values
            return result

        columns = {byte: spread(column) for byte, column in self.columns.items()}
        return _Samples(shared_times, spread(self.valid), columns)


def _samples(
    slot: int, start: float, stop: float, columns: Sequence[str], data_root: Path | str | None
) -> _Samples:
    """Read header-3 columns of the 8x8 images of a slot, ``start <= TIME <= stop``.

    A sample is valid if its QUALITY is 0 and the next one follows after 4.1 s.
    """
    most, pieces = aca_l0.stream_rows(
        start,
        stop + PADDING_S,
        slot,
        ["TIME", "QUALITY", "END_INTEG_TIME", *columns],
        8,
        data_root=data_root,
    )
    collected = _Collected(most, columns)
    for rows in pieces:
        collected.add(rows)
    time, valid, *values = collected.arrays()
    stored = {(slot, name): column for name, column in zip(columns, values, strict=True)}
    return _Samples(time, valid, stored).between(start, stop)


class _Collected:
    """Samples taken from pieces of rows into arrays that are allocated once.

    Parameters
    ----------
    most : int
        How many samples are expected at most.
    names : sequence of str
        The header-3 columns.
    """

    def __init__(self, most: int, names: Sequence[str]) -> None:
        self.names = names
        self.n = 0
        self._arrays: list[npt.NDArray[Any]] = [np.empty(most), np.empty(most, bool)]
        self._arrays += [np.empty(most, np.uint8) for _ in names]
        self._last = (0.0, 0.0, False)

    def add(self, rows: Rows) -> None:
        """Append a piece; that its last sample is valid is known with the next piece."""
        time, _ = rows.column("TIME")
        # A change of the integration time moves TIME, the middle, but not the end of integration.
        end, has_none = rows.column("END_INTEG_TIME")
        if has_none is not None:
            end = np.where(has_none, np.nan, end)
        quality, _ = rows.column("QUALITY")
        good = quality == 0
        first, self.n = self.n, self.n + len(time)
        for array in self._arrays:
            if len(array) < self.n:  # a file was replaced by a longer one meanwhile
                array.resize(2 * self.n, refcheck=False)
        times, valid, *columns = (array[first : self.n] for array in self._arrays)
        for name, target in zip(self.names, columns, strict=True):
            target[:], missing = rows.column(name)
            good = good if missing is None else good & ~missing
        times[:] = time
        for row in range(0, len(time) - 1, BLOCK):  # block by block: this stays in the cache
            here, there = slice(row, row + BLOCK), slice(row + 1, row + BLOCK + 1)
            n = len(time[there])
            follows = _follows(end[here][:n], end[there], time[here][:n], time[there])
            valid[here][:n] = follows & good[here][:n]
        valid[-1] = False
        if first:
            last_end, last_time, last_good = self._last
            follows = _follows(np.array([last_end]), end[:1], np.array([last_time]), time[:1])
            self._arrays[1][first - 1] = last_good and follows[0]
        self._last = float(end[-1]), float(time[-1]), bool(good[-1])

    def arrays(self) -> list[npt.NDArray[Any]]:
        """Return TIME, validity and the columns."""
        parts = [array[: self.n] for array in self._arrays]
        # Keep no large allocation alive behind a small result.
        return [part.copy() for part in parts] if self.n < len(self._arrays[0]) // 2 else parts


def _follows(
    end: FloatArray, next_end: FloatArray, time: FloatArray, next_time: FloatArray
) -> BoolArray:
    """Tell whether a sample comes 4.1 s after another, in TIME where an end is unknown (NaN)."""
    spacing = next_end - end
    unknown = np.isnan(spacing)
    if unknown.any():
        spacing[unknown] = (next_time - time)[unknown]
    spacing -= CADENCE_S[8]
    return np.abs(spacing, out=spacing) <= READOUT_TOLERANCE_S


def _read(
    entries: Sequence[Hdr3Entry], start: float, stop: float, data_root: Path | str | None
) -> tuple[FloatArray, list[np.ma.MaskedArray[Any, Any]]]:
    """Return the common times of some quantities and the values of each."""
    slots = _read_slots(entries, start, stop, data_root)
    groups = {slots_of(entry): entry["columns"] for entry in entries}
    sources = {
        group: slots[group[0]] if len(group) == 1 else _joined(columns, slots)
        for group, columns in groups.items()
    }
    sources = {group: samples.between(start, stop) for group, samples in sources.items()}
    shared_times = _union([samples.times for samples in sources.values()])
    sources = {group: samples.on(shared_times) for group, samples in sources.items()}
    return shared_times, [_values(entry, sources[slots_of(entry)]) for entry in entries]


def _read_slots(
    entries: Sequence[Hdr3Entry], start: float, stop: float, data_root: Path | str | None
) -> dict[int, _Samples]:
    """Read what some quantities need of each slot; say once which slots have nothing."""
    needed: dict[int, set[str]] = {}
    for slot, name in (byte for entry in entries for byte in entry["columns"]):
        needed.setdefault(slot, set()).add(name)
    # The halves of a value in two slots may lie on either side of an end of the interval.
    margin = JOIN_S if any(len(slots_of(entry)) > 1 for entry in entries) else 0.0
    slots = {
        slot: _samples(slot, start - margin, stop + margin, sorted(names), data_root)
        for slot, names in sorted(needed.items())
    }
    empty = [slot for slot, samples in slots.items() if not len(samples.between(start, stop).times)]
    if empty:
        log.warning(
            "no 8x8 images of slot %s between %s and %s; header 3 exists only in 8x8 images",
            ", ".join(map(str, empty)),
            times.date(start),
            times.date(stop),
        )
    return slots


def _union(parts: Sequence[FloatArray]) -> FloatArray:
    """Return the sorted union of times; slots share one grid, so equal means equal."""
    if all(_are_equal(part, parts[0]) for part in parts):
        return parts[0] if parts else np.empty(0)
    return np.unique(np.concatenate(parts))


def _are_equal(times: FloatArray, others: FloatArray) -> bool:
    return times is others or np.array_equal(times, others)


def _joined(columns: Sequence[Byte], slots: Mapping[int, _Samples]) -> _Samples:
    """Join a value that runs over two slots: each sample of the first, the nearest of the second.

    At equal distance the later one counts; without a valid one near it the sample is invalid.
    """
    (high_slot, _), (low_slot, _) = columns[0], columns[-1]
    high, low = slots[high_slot], slots[low_slot]
    good = np.flatnonzero(low.valid)
    # Padding gives every sample a neighbour on both sides.
    low_times = np.pad(low.times[good], 1, constant_values=(-np.inf, np.inf))
    after = np.searchsorted(low_times[1:-1], high.times) + 1
    is_after = low_times[after] - high.times <= high.times - low_times[after - 1]
    nearest = np.where(is_after, after, after - 1)
    joined = {
        (slot, name): high.columns[slot, name]
        if slot == high_slot
        else np.pad(low.columns[slot, name][good], 1)[nearest]
        for slot, name in columns
    }
    is_near = np.abs(low_times[nearest] - high.times) <= JOIN_S
    return _Samples(high.times, high.valid & is_near, joined)


# --- Decoding -----------------------------------------------------------------------------------


def _values(entry: Hdr3Entry, samples: _Samples) -> np.ma.MaskedArray[Any, Any]:
    """Return the decoded samples, invalid ones and those without value masked."""
    columns, n_samples = [samples.columns[byte] for byte in entry["columns"]], len(samples.times)
    if entry["coding"] == Coding.BYTES:
        mask = np.repeat(~samples.valid[:, None], len(columns), axis=1)
        return np.ma.MaskedArray(np.stack(columns, axis=1), mask)
    vals = np.empty(n_samples, np.int64 if isinstance(entry["scale"], int) else np.float64)
    _decode(entry, columns, vals)
    mask = ~samples.valid
    if entry["coding"] == Coding.THERMISTOR:
        mask |= np.isnan(vals)
    return np.ma.MaskedArray(vals, mask)


def _decode(entry: Hdr3Entry, columns: Sequence[ByteColumn], vals: npt.NDArray[Any]) -> None:
    """Decode bytes, the most significant column first, into `vals`; block by block."""
    width = next(width for width in (1, 2, 4, 8) if width >= len(columns))
    words = np.zeros(BLOCK, f"<u{width}")
    parts = words.view(np.uint8).reshape(BLOCK, width)
    sign_bit = words.dtype.type(1 << (8 * len(columns) - 1))
    for first in range(0, len(vals), BLOCK):
        block = vals[first : first + BLOCK]
        n = len(block)
        for place, column in enumerate(reversed(columns)):
            parts[:n, place] = column[first : first + n]
        if entry["coding"] == Coding.THERMISTOR:
            np.take(_thermistor_curve(), words[:n], out=block, mode="clip")
            continue
        if entry["coding"] == Coding.OFFSET:  # zero is the sign bit alone
            words[:n] ^= sign_bit
        counts = words if entry["coding"] == Coding.UNSIGNED else words.view(f"<i{width}")
        # In the type of the values: telemetry words overflow.
        np.multiply(counts[:n], entry["scale"], out=block, dtype=block.dtype, casting="unsafe")


@cache
def _thermistor_curve() -> FloatArray:
    """Return the temperature (degC) for each of the 65536 A/D words; NaN outside the curve.

    Cubic spline, not-a-knot, through the points of aca-archive 6.4.
    """
    from scipy.interpolate import CubicSpline

    curve = np.full(1 << 16, np.nan)
    counts = np.arange(THERMISTOR_COUNTS[0], THERMISTOR_COUNTS[-1] + 1)
    curve[counts] = CubicSpline(THERMISTOR_COUNTS, THERMISTOR_DEGC)(counts)
    curve.setflags(write=False)
    return curve
