"""Simulated VC2 dump files: the telemetry that carries the readouts of a dark calibration.

File written: ``YYYY_DOY_VC2_Replica<N>_SFDU_<digits>.gz`` (dark-cal B2), a sequence of 1134-byte
frames. The readouts become half-row records, the records go down in bursts, and fill frames go
between the bursts. `Faults` names what may happen to a file on its way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from isal import igzip

from acaflow import times
from acaflow.archive.aca_dark.ccd import HALF, SIZE, cut
from acaflow.errors import InputError
from acaflow.simulate.dark_frames import INTEG_UNIT_S, RawFrame, read_times

__all__ = ["FRAME", "RECORD", "Faults", "cal_records", "readout_order", "vc2_bytes", "write_vc2"]

Records = npt.NDArray[np.void]
Frames = npt.NDArray[np.void]
Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

RECORD = np.dtype(
    [
        ("sync", ">u2"),
        ("adc_bias", ">u2"),
        ("integ", ">u2"),
        ("flags", "u1"),
        ("row", "u1"),
        ("sci_hdr_ctr", ">u2"),
        ("two_us_clk", ">u4"),
        ("marker", ">u2"),
        ("pixels", ">u2", HALF),
    ]
)
"""A half row, 1040 bytes (dark-cal B2)."""
SYNC, MARKER = 0xFF00, 0xAAAA
CALTYPE, COLNEG = 0x80, 0x08
"""Bits of `flags`; CALTYPE is always set, its meaning is not known."""
REPLICA_SHIFT = 4
ROW_BITS = 11
FILLER_ROW = 700
"""Row of a record between readouts: 600 and more are no data."""
SCI_HDR_S, CLOCK_S = 2.05, 2e-6
"""Units of the two camera clocks (s)."""
FRAME_PAUSE_S = 100.0
"""From the start of the short integration to that of the long one (s); ours."""

FRAME = np.dtype(
    [
        ("njpl", "S4"),
        ("header1", "V38"),
        ("days", ">u2"),
        ("ms", ">u4"),
        ("us", ">u2"),
        ("header2", "V54"),
        ("sync", ">u4"),
        ("channel", "u1", 2),
        ("counter", "u1", 3),
        ("secondary", "u1"),
        ("zone", "u1", 1019),
        ("unused", "u1"),
    ]
)
"""A frame with its SFDU header, 1134 bytes (dark-cal B2)."""
FRAME_SYNC = 0x1ACFFC1D
CHANNEL = (0x41, 0x93)
FOREIGN_CHANNEL = (0x41, 0x92)
COUNTERS = 1 << 24
SECONDARY = 0x80
FILL = 0xAA
PAYLOAD = 1018
"""Payload bytes of a frame; the other byte of the data zone tells the kind of frame."""
FIRST_KIND, LAST_KIND = 0xCD, 0xAB
"""Kinds of frames: the mark is the first byte of the data zone, or the last one."""
FRAME_S = 0.064
"""Time between frames: 1024 bytes at 128 kbit/s (inferred)."""
UNIX_DAY = 4383
"""1970-01-01 in days since 1958-01-01."""
DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Faults:
    """What happens to the file of one replica; numbers count from 0 in the undamaged file.

    Attributes
    ----------
    missing : bool
        The file is not delivered.
    dropped_frames, dropped_bursts : sequence of int
        Frames, and bursts without their fill frames, that are lost.
    repeated_frames : sequence of int
        Frames that come twice.
    foreign_frames : sequence of int
        Frames that a frame of another channel follows.
    single_frames : sequence of int
        Bursts with a lone frame of data amid the fill frames behind them.
    bad_channel : sequence of int
        Frames with a wrong byte 108.
    bad_sync : sequence of int
        Frames with a wrong frame sync (odd numbers) or without NJPL (even numbers).
    first_counter : int
        Counter of the first frame; near 2**24 it wraps.
    false_sync : sequence of int
        Records with the pattern of a record sync inside their pixels.
    repeated_records, changed_records : sequence of int
        Records that come twice: equal, or the second time with another first pixel.
    wrong_replica : sequence of int
        Records whose REPLICA is one too high.
    saturated : sequence of (row, col)
        Pixels, in CCD row and column, that are 65535 in both readouts.
    truncate_at : int, optional
        Bytes before compression that are left; negative counts from the end.
    cut_gz : int
        Bytes missing at the end of the compressed file.
    garbage : int
        Bytes of rubbish behind the compressed file.
    """

    missing: bool = False
    dropped_frames: Sequence[int] = ()
    dropped_bursts: Sequence[int] = ()
    repeated_frames: Sequence[int] = ()
    foreign_frames: Sequence[int] = ()
    single_frames: Sequence[int] = ()
    bad_channel: Sequence[int] = ()
    bad_sync: Sequence[int] = ()
    first_counter: int = 34757
    false_sync: Sequence[int] = ()
    repeated_records: Sequence[int] = ()
    changed_records: Sequence[int] = ()
    wrong_replica: Sequence[int] = ()
    saturated: Sequence[tuple[int, int]] = ()
    truncate_at: int | None = None
    cut_gz: int = 0
    garbage: int = 0


NO_FAULTS = Faults()


def _checked(name: str, numbers: Sequence[int], n: int) -> Ints:
    """Return the numbers of a fault as an array; InputError if one does not exist."""
    found = np.asarray(numbers, np.int64)
    if np.any((found < 0) | (found >= n)):
        raise InputError(f"fault {name} asks for {found.min()} to {found.max()}; there are {n}")
    return found


# --- Records ------------------------------------------------------------------------------------


def readout_order() -> tuple[Ints, Ints]:
    """Return COLNEG and CCD row of the half rows of one readout, shape (2048,) each.

    Quadrants A, B, C, D in turn, rows from the outer edge inward (dark-cal E11).
    """
    below, above = np.arange(-HALF, 0), np.arange(HALF - 1, -1, -1)
    return np.repeat([0, 1, 0, 1], HALF), np.concatenate([below, below, above, above])


def cal_records(frames: Sequence[RawFrame], replica: int, *, filler: int = 1) -> Records:
    """Return the records that carry the readouts of a replica.

    Parameters
    ----------
    frames : sequence of RawFrame
        In order of time.
    replica : int
        The REPLICA field, 0 to 7.
    filler : int
        Records that are no data between one quadrant and the next.

    Returns
    -------
    structured array of `RECORD`
    """
    parts: list[Records] = []
    for number, frame in enumerate(frames):
        for quadrant in np.split(_half_rows(frame, replica, number * FRAME_PAUSE_S), 4):
            between = np.repeat(quadrant[-1:], filler)
            _set_row(between, np.full(filler, FILLER_ROW))
            parts += [quadrant, between]
    # Without its type the result would have the byte order of this machine.
    return np.concatenate(parts[:-1], dtype=RECORD)


def _half_rows(frame: RawFrame, replica: int, start_s: float) -> Records:
    """Return the records of one readout, shape (2048,)."""
    colneg, row = readout_order()
    records = np.zeros(len(row), RECORD)
    records["sync"], records["marker"] = SYNC, MARKER
    records["adc_bias"] = frame.bias[colneg, row + HALF]
    records["integ"] = frame.integ
    records["flags"] = CALTYPE | replica << REPLICA_SHIFT | COLNEG * colneg
    _set_row(records, row)
    clock_s = start_s + frame.integ * INTEG_UNIT_S + read_times()[row + HALF]
    records["sci_hdr_ctr"] = clock_s // SCI_HDR_S
    records["two_us_clk"] = np.rint(clock_s % SCI_HDR_S / CLOCK_S)
    records["pixels"] = cut(frame.raw, colneg, row)
    return records


def _set_row(records: Records, row: Ints) -> None:
    """Write an 11-bit two's complement over two bytes."""
    code = row % (1 << ROW_BITS)
    records["flags"] = records["flags"] & ~np.uint8(0x07) | code >> 8
    records["row"] = code & 0xFF


def _damage_records(records: Records, faults: Faults) -> Records:
    """Return the records as they leave the camera."""
    records = records.copy()
    n = len(records)
    # Sync and marker of a record are 14 bytes apart.
    false_sync = _checked("false_sync", faults.false_sync, n)
    records["pixels"][false_sync, 100] = SYNC
    records["pixels"][false_sync, 107] = MARKER
    other = _checked("wrong_replica", faults.wrong_replica, n)
    replica = (records["flags"][other] >> REPLICA_SHIFT) + 1 & 0x07
    records["flags"][other] = records["flags"][other] & 0x8F | replica << REPLICA_SHIFT
    if faults.saturated:
        _saturate(records, faults.saturated)
    repeated = _checked("repeated_records", faults.repeated_records, n)
    changed = _checked("changed_records", faults.changed_records, n)
    sent = np.sort(np.concatenate([np.arange(n), repeated, changed]))
    second = np.flatnonzero((np.diff(sent) == 0) & np.isin(sent[1:], changed)) + 1
    records = records[sent]
    records["pixels"][second, 0] ^= 0x0100
    return records


def _saturate(records: Records, pixels: Sequence[tuple[int, int]]) -> None:
    where = np.zeros((SIZE, SIZE), bool)
    rows, cols = np.transpose([(row + HALF, col + HALF) for row, col in pixels])
    where[rows, cols] = True
    row = (records["flags"].astype(np.int64) & 0x07) << 8 | records["row"]
    row -= (row >> ROW_BITS - 1) << ROW_BITS
    data = np.flatnonzero(row < HALF)
    is_negative = records["flags"][data] & COLNEG != 0
    halves = records["pixels"]
    halves[data] = np.where(cut(where, is_negative, row[data]), 0xFFFF, halves[data])


# --- Frames -------------------------------------------------------------------------------------


def vc2_bytes(
    records: Records,
    start: Any,
    *,
    fill: float = 6.8,
    burst: int = 57,
    seed: int | Sequence[int] = 0,
    faults: Faults = NO_FAULTS,
) -> bytes:
    """Return a VC2 file, not compressed.

    Parameters
    ----------
    records : structured array of `RECORD`
        Of `cal_records`.
    start : time
        Earth-receive time of the first frame.
    fill : float
        Fill frames for each frame of data, after each burst. With 0 the records run through from
        the first to the last.
    burst : int
        Records that go down together.
    seed : int or sequence of int
        Selects the kind that even frames have in each burst.
    faults : Faults
        What happens to the file. `missing`, `cut_gz` and `garbage` are not for here.

    Raises
    ------
    InputError
        A fault names a record, frame or burst that does not exist.
    """
    payloads, content, burst_of = _lay_out(_damage_records(records, faults), fill, burst, faults)
    frames = np.zeros(len(content), FRAME)
    frames["njpl"], frames["sync"], frames["channel"] = b"NJPL", FRAME_SYNC, CHANNEL
    frames["secondary"] = SECONDARY
    _set_receive_time(frames, start)
    counter = (faults.first_counter + np.arange(len(frames))) % COUNTERS
    frames["counter"] = counter[:, None] >> [16, 8, 0] & 0xFF
    turn = np.random.default_rng(seed).integers(0, 2, burst_of[-1] + 1)
    _fill_zones(frames["zone"], payloads, content, (counter + turn[burst_of]) % 2 == 0)
    is_lost = (content >= 0) & np.isin(burst_of, faults.dropped_bursts)
    return _damage_frames(frames, is_lost, faults).tobytes()[: faults.truncate_at]


def _lay_out(records: Records, fill: float, burst: int, faults: Faults) -> tuple[Bytes, Ints, Ints]:
    """Return payloads, shape (n, 1018), and for each frame its payload (-1: fill) and its burst."""
    burst = burst if fill else len(records)
    stream = records.view(np.uint8).reshape(len(records), -1)
    full = len(records) // burst
    bursts = [stream[: full * burst].reshape(full, -1), stream[full * burst :].reshape(1, -1)]
    parts = [_payloads(some) for some in bursts if some.size]
    n_data = np.concatenate([np.full(len(part), part.shape[1]) for part in parts])
    n_fill = round(fill * n_data[0])
    ends = np.cumsum(n_data + n_fill)
    burst_of = np.repeat(np.arange(len(n_data)), n_data + n_fill)
    is_data = np.arange(len(burst_of)) < (ends - n_fill)[burst_of]
    content = np.where(is_data, np.cumsum(is_data) - 1, -1)
    lone = _checked("single_frames", faults.single_frames, len(n_data))
    if lone.size and n_fill < 3:
        raise InputError(f"single_frames needs 3 fill frames behind a burst; there are {n_fill}")
    content[ends[lone] - 1 - n_fill // 2] = 0
    _checked("dropped_bursts", faults.dropped_bursts, len(n_data))
    return np.concatenate([part.reshape(-1, PAYLOAD) for part in parts]), content, burst_of


def _payloads(bursts: Bytes) -> npt.NDArray[np.uint8]:
    """Cut bursts of equal length, shape (k, bytes), into payloads, shape (k, n, 1018)."""
    n_payloads = -(-bursts.shape[1] // PAYLOAD)
    padded = np.full((len(bursts), n_payloads * PAYLOAD), FILL, np.uint8)
    padded[:, : bursts.shape[1]] = bursts
    return padded.reshape(len(bursts), n_payloads, PAYLOAD)


def _set_receive_time(frames: Frames, start: Any) -> None:
    received = times.secs(start) + FRAME_S * np.arange(len(frames))
    days, us = np.divmod(np.rint(times.convert(received, "unix") * 1e6).astype(np.int64), DAY_US)
    frames["days"], frames["ms"], frames["us"] = days + UNIX_DAY, us // 1000, us % 1000


def _fill_zones(
    zone: Bytes, payloads: Bytes, content: Ints, is_first_kind: npt.NDArray[np.bool_]
) -> None:
    """Write data zones, shape (n, 1019): the mark of the frame's kind, and its payload."""
    zone[:] = FILL
    zone[is_first_kind, 0] = FIRST_KIND
    zone[~is_first_kind, -1] = LAST_KIND
    for kind, place in ((is_first_kind, slice(1, None)), (~is_first_kind, slice(None, -1))):
        frame = np.flatnonzero(kind & (content >= 0))
        zone[frame, place] = payloads[content[frame]]


def _damage_frames(frames: Frames, is_lost: npt.NDArray[np.bool_], faults: Faults) -> Frames:
    """Return the frames as they reach the ground."""
    n = len(frames)
    frames["channel"][_checked("bad_channel", faults.bad_channel, n), 0] ^= 0x10
    bad_sync = _checked("bad_sync", faults.bad_sync, n)
    frames["sync"][bad_sync[bad_sync % 2 == 1]] ^= 1
    frames["njpl"][bad_sync[bad_sync % 2 == 0]] = b"NJPK"
    is_lost[_checked("dropped_frames", faults.dropped_frames, n)] = True
    repeated = _checked("repeated_frames", faults.repeated_frames, n)
    foreign = _checked("foreign_frames", faults.foreign_frames, n)
    if not (is_lost.any() or repeated.size or foreign.size):
        return frames
    order = np.concatenate([np.flatnonzero(~is_lost), repeated, foreign])
    is_foreign = np.arange(len(order)) >= len(order) - len(foreign)
    sent = np.argsort(order, kind="stable")
    frames = frames[order[sent]]
    frames["channel"][is_foreign[sent]] = FOREIGN_CHANNEL
    return frames


def write_vc2(
    path: Path,
    records: Records,
    start: Any,
    *,
    fill: float = 6.8,
    burst: int = 57,
    seed: int | Sequence[int] = 0,
    faults: Faults = NO_FAULTS,
) -> Path:
    """Write a compressed VC2 file; parameters as `vc2_bytes`.

    It appears whole: it is written as ``<name>.part`` and renamed, so its folder may be a watched
    inbox.

    Returns
    -------
    Path
        The file.
    """
    content = vc2_bytes(records, start, fill=fill, burst=burst, seed=seed, faults=faults)
    packed = igzip.compress(content, compresslevel=1, mtime=0)
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(packed[: len(packed) - faults.cut_gz] + b"\xff" * faults.garbage)
    part.replace(path)
    return path
