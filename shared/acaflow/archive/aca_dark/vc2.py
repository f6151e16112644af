"""Decode the raw dump of one dark-calibration replica: frames, records, full images.

File read: ``YYYY_DOY_VC2_Replica<N>_SFDU_<digits>[.gz]``, SFDUs of 1134 bytes that carry a minor
frame each (dark-cal B2). Most are fill. The others carry, cut in payloads of 1018 bytes, records
of half a CCD row; a replica holds two full images of different integration times. Times are CXC
seconds, pixels raw counts (DN).

>>> replica = read_vc2(Path("2016_125_VC2_Replica2_SFDU_31088.gz"))  # doctest: +SKIP
>>> replica.frame(5.0).signal  # doctest: +SKIP
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from acaflow import paths, times
from acaflow.archive.aca_dark import ccd
from acaflow.archive.aca_dark.replica import Counts, Replica
from acaflow.archive.aca_dark.torn_gzip import read_blocks
from acaflow.errors import CorruptFileError, SchemaError

__all__ = ["read_vc2"]

ByteArray = npt.NDArray[np.uint8]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# --- The bytes of a file (dark-cal B2) -------------------------------------------------------

FRAME_BYTES = 1134
NJPL, FRAME_SYNC = 0x4E4A504C, 0x1ACFFC1D
CHANNEL_ID, CHANNEL = 0x4193, 0x93
"""Channel id of the frames; its first byte is sometimes corrupted, so only the second decides."""
FRAME_HEAD = np.dtype(
    {
        "names": ["njpl", "days", "ms", "us", "sync", "channel", "counter", "begin"],
        "formats": [">u4", ">u2", ">u4", ">u2", ">u4", ">u2", ">u4", ">u4"],
        # The counter has three bytes; it is read with the channel's second byte before it.
        "offsets": [0, 42, 44, 48, 104, 108, 109, 114],
        "itemsize": 118,
    }
)
COUNTERS = 1 << 24
"""The frame counter starts again after this many frames."""
EPOCH_DAY, UNIX_DAY = 14610, 4383
"""Earth-receive-time days of 1998-01-01 and 1970-01-01."""

ZONE = slice(114, 1133)
"""Data zone of a frame: a payload and, before it (kind CD) or behind it (AB), a marker."""
FILL, CD, AB = 0xAA, 0xCD, 0xAB
FILL_TOLERANCE = 3
"""A fill frame has at most this many bytes that are not `FILL`; one is its marker."""
PAYLOAD = 1018

RECORD_BYTES = 1040
RECORD_HEAD = np.dtype(
    [
        ("sync", ">u2"),
        ("bias", ">u2"),
        ("integ", ">u2"),
        ("flags", ">u2"),  # CALTYPE 1 bit, REPLICA 3, COLNEG 1, ROW 11
        ("sci_hdr_ctr", ">u2"),
        ("two_us_clk", ">u4"),
        ("marker", ">u2"),
    ]
)
PIXEL_BYTES = RECORD_BYTES - RECORD_HEAD.itemsize
INTEG_UNIT_S = 0.016
BLOCK = 256 * FRAME_BYTES
"""Bytes looked at together: whole frames that fit the processor's cache."""
FILLER_ROW = 600
"""Records of this ROW and above stand between readouts and hold no data."""


def read_vc2(path: Path, name: str | None = None) -> Replica:
    """Decode the raw dump of one replica, whatever faults it has.

    Parameters
    ----------
    path : Path
        The file, gzip or plain, told apart by content.
    name : str, optional
        Name under which it was delivered; default that of `path`.

    Returns
    -------
    Replica

    Raises
    ------
    SchemaError
        The name is not that of a raw dump, or no SFDU has both syncs.
    CorruptFileError
        Not one whole SFDU, or not one record of a row that exists.

    Notes
    -----
    Source: dark-cal B2. Of a damaged gzip stream the frames before the damage are used.
    """
    path = Path(path)
    name = name or path.name
    number = paths.parse_vc2_name(name).replica
    tally: Counter[str] = Counter()
    trouble: list[str] = []
    with path.open("rb") as stream:
        frames = _read_frames(read_blocks(stream, BLOCK, trouble), tally)
    found = ", ".join([f"{name}: {tally['size']} bytes", *trouble])
    if not tally["frames"]:
        raise CorruptFileError(f"{found}; expected SFDUs of {FRAME_BYTES}", path)
    if tally["bad_sync"] == tally["frames"]:
        raise SchemaError(f"{found}; none of {tally['frames']} SFDUs has both syncs", path)
    frames = _drop_repeated(frames, tally)
    _count_frames(frames, tally)
    records = _read_records(frames, tally)
    if not len(records.head):
        raise CorruptFileError(f"{found}; no record in {tally['pixel_frames']} pixel frames", path)
    ert = _receive_times(frames.head[frames.is_pixel])
    return Replica(
        name=name,
        number=number,
        columns={
            "TIME_ERT": ert[records.frame],
            "REC_CTR": frames.counter[frames.is_pixel][records.frame].astype(np.int32),
            **_columns(records.head),
        },
        pixels=records.pixels,
        counts=Counts(gz_error="; ".join(trouble), **{key: tally[key] for key in _TALLIES}),
        # Telemetry has microseconds; so rounded, the times survive a FITS header.
        ert=_span(ert),
    )


_TALLIES = [field.name for field in fields(Counts) if field.name != "gz_error"]


# --- Frames ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Frames:
    """Frames in the order of the file.

    Attributes
    ----------
    head : structured array of `FRAME_HEAD`, shape (n,)
    is_pixel : ndarray of bool, shape (n,)
        Not fill.
    zones : ndarray of uint8, shape (is_pixel.sum(), 1019)
        Data zones of the pixel frames.
    """

    head: npt.NDArray[np.void]
    is_pixel: BoolArray
    zones: ByteArray

    @cached_property
    def counter(self) -> IntArray:
        """Frame counters."""
        return (self.head["counter"] % COUNTERS).astype(np.int64)


def _read_frames(blocks: Iterator[bytes], tally: Counter[str]) -> _Frames:
    """Take the file apart and keep the frames of the calibration channel."""
    heads, is_pixel, zones = [], [], []
    for block in blocks:
        number = len(block) // FRAME_BYTES
        data = np.frombuffer(block, np.uint8)[: number * FRAME_BYTES].reshape(-1, FRAME_BYTES)
        head = data[:, : FRAME_HEAD.itemsize].copy()
        is_ours = _is_ours(head.view(FRAME_HEAD)[:, 0], tally)
        if not is_ours.all():
            data, head = data[is_ours], head[is_ours]
        # Most frames end here. Sums of 16 bits hold 1019 and are the fastest way to count.
        differing = (data[:, ZONE] != FILL).view(np.uint8).sum(axis=1, dtype=np.uint16)
        is_pixel.append(differing > FILL_TOLERANCE)
        heads.append(head)
        zones.append(data[is_pixel[-1], ZONE])
        tally["size"] += len(block)
    tally["truncated"] = tally["size"] % FRAME_BYTES
    return _Frames(
        np.concatenate(heads).view(FRAME_HEAD)[:, 0],
        np.concatenate(is_pixel),
        np.concatenate(zones),
    )


def _is_ours(head: npt.NDArray[np.void], tally: Counter[str]) -> BoolArray:
    """Tell which frames belong to the calibration channel, and count the others."""
    is_synced = (head["njpl"] == NJPL) & (head["sync"] == FRAME_SYNC)
    is_ours = np.asarray(is_synced & (head["channel"] % 256 == CHANNEL))
    tally["frames"] += len(head)
    tally["bad_sync"] += _count(~is_synced)
    tally["other_channel"] += _count(is_synced & ~is_ours)
    tally["mismatched_channel"] += _count(is_ours & (head["channel"] != CHANNEL_ID))
    return is_ours


def _count(flags: BoolArray) -> int:
    return int(np.count_nonzero(flags))


def _drop_repeated(frames: _Frames, tally: Counter[str]) -> _Frames:
    """Leave out frames with the counter and the content of the frame before."""
    is_same = frames.counter[1:] == frames.counter[:-1]
    is_same &= frames.is_pixel[1:] == frames.is_pixel[:-1]
    # Fill frames need no more than this: their first bytes may be the last ones of a burst.
    begin = frames.head["begin"]
    is_same &= begin[1:] == begin[:-1]
    again = np.flatnonzero(is_same) + 1
    pixel_again = again[frames.is_pixel[again]]
    place = np.cumsum(frames.is_pixel)[pixel_again] - 1
    differs = (frames.zones[place] != frames.zones[place - 1]).any(axis=1)
    is_kept = np.ones(len(frames.head), bool)
    is_kept[again] = False
    is_kept[pixel_again[differs]] = True
    tally["duplicate_frames"] = _count(~is_kept)
    if is_kept.all():
        return frames
    zones = frames.zones[is_kept[frames.is_pixel]]
    return _Frames(frames.head[is_kept], frames.is_pixel[is_kept], zones)


def _count_frames(frames: _Frames, tally: Counter[str]) -> None:
    tally["pixel_frames"] = len(frames.zones)
    tally["fill"] = len(frames.head) - len(frames.zones)
    steps = np.diff(frames.counter) % COUNTERS
    is_forward = (steps > 0) & (steps <= COUNTERS // 2)
    tally["lost"] = int((steps[is_forward] - 1).sum())
    tally["backward"] = _count(~is_forward)


def _span(ert: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return first and last receive time; a frame a day off has a broken time."""
    near = ert[np.abs(ert - np.median(ert)) < 86400.0]
    return round(float(near.min()), 6), round(float(near.max()), 6)


def _receive_times(head: npt.NDArray[np.void]) -> npt.NDArray[np.float64]:
    """Return the earth receive times of frames (CXC s)."""
    # An impossible day, which nothing else needs, must not cost the replica.
    days = np.maximum(head["days"], EPOCH_DAY).astype(np.float64)
    midnight = times.secs((days - UNIX_DAY) * 86400.0, format="unix")
    return np.asarray(midnight + head["ms"] / 1e3 + head["us"] / 1e6)


# --- Records ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Segment:
    """An unbroken run of pixel frames.

    Attributes
    ----------
    frame : int
        Index of its first frame among the pixel frames.
    start : int
        Where its bytes begin among those of all segments.
    size : int
        Bytes of its payloads.
    data : ndarray of uint8, shape (size,) or (size + 3,)
        The payloads, and what a next frame that looks like fill may hold of the last record.
    """

    frame: int
    start: int
    size: int
    data: ByteArray


@dataclass(frozen=True)
class _Records:
    """Records of rows that exist.

    Attributes
    ----------
    head : structured array of `RECORD_HEAD`, shape (n,)
    pixels : ndarray of uint16, shape (n, 512)
    frame : ndarray of int64, shape (n,)
        Index of the pixel frame in which each begins.
    """

    head: npt.NDArray[np.void]
    pixels: npt.NDArray[np.uint16]
    frame: IntArray


def _read_records(frames: _Frames, tally: Counter[str]) -> _Records:
    """Carve the records out of all segments and keep those of rows that exist."""
    data, segments = _join_payloads(frames, tally)
    begins = [_find_records(segment.data) for segment in segments]
    places, frame = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    confirmed = [segment.start + found for segment, found in zip(segments, begins, strict=True)]
    integs = np.unique(_heads(data, np.concatenate([*places, *confirmed]))["integ"])
    for segment, found in zip(segments, begins, strict=True):
        at = _add_last_record(segment.data, found, integs)
        _count_gaps(segment, at, tally)
        places.append(segment.start + at)
        frame.append(segment.frame + at // PAYLOAD)
    place = np.concatenate(places)
    head = _heads(data, place)
    row = _rows(head["flags"])
    is_kept = _is_row(row)
    tally["records"] = _count(is_kept)
    tally["filler_records"] = _count(row >= FILLER_ROW)
    tally["bad_rows"] = len(row) - tally["records"] - tally["filler_records"]
    pixels = _windows(data, place[is_kept] + RECORD_HEAD.itemsize, PIXEL_BYTES).view(">u2")
    return _Records(head[is_kept], pixels.astype(np.uint16), np.concatenate(frame)[is_kept])


def _join_payloads(frames: _Frames, tally: Counter[str]) -> tuple[ByteArray, list[_Segment]]:
    """Return the bytes of all segments of two and more frames, and these segments."""
    counter = frames.counter[frames.is_pixel]
    firsts = np.flatnonzero(np.diff(counter, prepend=counter[:1]) % COUNTERS != 1)
    lengths = np.diff(np.append(firsts, len(counter)))
    is_used = lengths > 1
    votes = _votes(frames.zones, counter, firsts)[is_used]
    tally["segments"] = len(firsts)
    tally["single_frame_segments"] = _count(~is_used)
    tally["parity_doubts"] = _count(votes == 0)
    firsts, lengths = firsts[is_used], lengths[is_used]
    is_cd = (counter[firsts] % 2 == 0) == _decide(votes)
    tails = _tails(frames, firsts + lengths - 1, is_cd == (lengths % 2 == 0))
    data = np.empty(int((lengths * PAYLOAD + FILL_TOLERANCE).sum()), np.uint8)
    segments = []
    start = 0
    for first, length, cd, tail in zip(
        firsts.tolist(), lengths.tolist(), (~is_cd).tolist(), tails, strict=True
    ):
        size = length * PAYLOAD
        zones = frames.zones[first : first + length]
        payloads = data[start : start + size].reshape(length, PAYLOAD)
        payloads[cd::2] = zones[cd::2, 1:]
        payloads[1 - cd :: 2] = zones[1 - cd :: 2, :-1]
        stop = start + size + len(tail)
        data[start + size : stop] = tail
        segments.append(_Segment(first, start, size, data[start:stop]))
        start = stop
    return data, segments


def _tails(frames: _Frames, last: IntArray, is_cd: BoolArray) -> list[ByteArray]:
    """Return what may stand of the end of a segment in the next frame, which looks like fill.

    Parameters
    ----------
    last : ndarray of int
        Index of the last frame of each segment among the pixel frames.
    is_cd : ndarray of bool
        Its next frame is of kind CD.

    Returns
    -------
    list of ndarray of uint8
        The first three bytes of the next payload; nothing if the next frame is not there.
    """
    last = np.flatnonzero(frames.is_pixel)[last]
    after = np.minimum(last + 1, len(frames.head) - 1)
    is_there = (frames.counter[after] - frames.counter[last]) % COUNTERS == 1
    begin = frames.head["begin"][after].view(np.uint8).reshape(-1, 4)
    tails = np.where(is_cd[:, None], begin[:, 1:], begin[:, :-1])
    return [
        tail[: FILL_TOLERANCE * there] for tail, there in zip(tails, is_there.tolist(), strict=True)
    ]


def _votes(zones: ByteArray, counter: IntArray, firsts: IntArray) -> IntArray:
    """Return for each segment how many frames say that even counters are kind CD, less the rest.

    Pixels imitate either marker by chance, 1 in 256.
    """
    sign = 1 - 2 * (counter % 2)
    votes = sign * (zones[:, 0] == CD) - sign * (zones[:, -1] == AB)
    return np.asarray(np.add.reduceat(votes, firsts))


def _decide(votes: IntArray) -> BoolArray:
    """Tell for each segment whether even counters are kind CD; a tie asks its neighbours."""
    decided = np.flatnonzero(votes)
    if not len(decided):
        return np.ones(len(votes), bool)
    # The last decision so far; before the first one, that.
    source = np.searchsorted(decided, np.arange(len(votes)), side="right") - 1
    return np.asarray(votes[decided[np.maximum(source, 0)]] > 0)


def _find_records(data: ByteArray) -> IntArray:
    """Return where the records of a segment begin, but for a last one that stands alone.

    A sync counts if there is another where the next record must begin, or if it stands where
    the record before it ends: pixels imitate a single sync by chance.
    """
    syncs = _find_syncs(data)
    linked = np.intersect1d(syncs, syncs - RECORD_BYTES, assume_unique=True)
    chains = [np.empty(0, np.int64)]
    while len(linked):
        same = syncs[(syncs >= linked[0]) & ((syncs - linked[0]) % RECORD_BYTES == 0)]
        chain = same[same == linked[0] + RECORD_BYTES * np.arange(len(same))]
        chains.append(chain[chain + RECORD_BYTES <= len(data)])
        linked = linked[linked >= chains[-1][-1] + RECORD_BYTES]
    return np.concatenate(chains)


def _add_last_record(data: ByteArray, begins: IntArray, integs: npt.NDArray[Any]) -> IntArray:
    """Append the begin of a last whole record that no other one before or behind it confirms.

    Its row must exist, and confirmed records of the file must have its integration time.
    """
    rest = int(begins[-1]) + RECORD_BYTES if len(begins) else 0
    start = max(rest, len(data) - 2 * RECORD_BYTES + 1)
    places = start + _find_syncs(data[start:-PIXEL_BYTES])
    if not len(places):
        return begins
    head = _heads(data, places)
    is_good = np.isin(head["integ"], integs) & _is_row(_rows(head["flags"]))
    return np.append(begins, places[is_good][:1])


def _find_syncs(data: ByteArray) -> IntArray:
    """Return the places of all whole record heads with both sync words."""
    places = np.flatnonzero(data[: max(0, len(data) - RECORD_HEAD.itemsize + 1)] == 0xFF)
    for offset, byte in ((1, 0x00), (14, 0xAA), (15, 0xAA)):
        places = places[data[places + offset] == byte]
    return places


def _heads(data: ByteArray, places: IntArray) -> npt.NDArray[np.void]:
    return _windows(data, places, RECORD_HEAD.itemsize).view(RECORD_HEAD)[:, 0]


def _windows(data: ByteArray, places: IntArray, size: int) -> ByteArray:
    """Return the bytes from each place on, shape (n, size)."""
    if not len(places):
        return np.empty((0, size), np.uint8)
    return sliding_window_view(data, size)[places]


def _rows(flags: npt.NDArray[Any]) -> IntArray:
    """Return ROW, a number of 11 bits with sign."""
    return np.asarray(((flags.astype(np.int64) & 0x7FF) ^ 0x400) - 0x400)


def _is_row(row: IntArray) -> BoolArray:
    return (row >= -ccd.HALF) & (row < ccd.HALF)


def _count_gaps(segment: _Segment, begins: IntArray, tally: Counter[str]) -> None:
    """Count what stands between records and at both ends of a segment, padding left out."""
    tally["resyncs"] += _count(np.diff(begins) != RECORD_BYTES)
    # With no record at all the segment is one piece.
    first, last = (begins[0], begins[-1] + RECORD_BYTES) if len(begins) else (segment.size,) * 2
    for piece in segment.data[:first], segment.data[last : segment.size]:
        tally["partial_records"] += bool((piece != FILL).any())


def _columns(head: npt.NDArray[np.void]) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of a replica that come out of the records."""
    flags = head["flags"].astype(np.int64)
    return {
        "ADC_BIAS": head["bias"].astype(np.uint16),
        "INTEG": (head["integ"] * INTEG_UNIT_S).astype(np.float32),
        "CALTYPE": (flags >> 15).astype(np.int16),
        "REPLICA": (flags >> 12 & 7).astype(np.int16),
        "COLNEG": (flags >> 11 & 1).astype(np.int16),
        "ROW": _rows(flags).astype(np.int16),
        "SCI_HDR_CTR": head["sci_hdr_ctr"].astype(np.uint16),
        "TWO_US_CLK": head["two_us_clk"].astype(np.uint32),
    }
