"""Raw ACA telemetry packets: read a stream of them, decode them, make level-0 images of them.

A packet is 224 bytes and carries one sub-packet of each of the eight image slots; an image takes
one, two or four of them (aca-archive 2.4). Files read, names ``aca_packets_<tstart>_<tstop>``:

- ``.fits[.gz]``: a table ``RAWPACKETS`` with the columns TIME, MJF, MNF and PACKET;
- ``.bin[.gz]``: records of `RECORD`, one after another, in which bytes may have been lost.

Times are CXC seconds. Sub-packets hold raw counts, images the units of level 0.

>>> stream = read_packets("aca_packets_686111010_686111040.fits")  # doctest: +SKIP
>>> decoded = decode_packets(stream.packets, stream.time, stream.mjf, stream.mnf)  # doctest: +SKIP
>>> l0_files(assemble_images(decoded).columns, folder)  # doctest: +SKIP
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acaflow.archive.l0_fits import inflate
from acaflow.archive.l0_format import (
    COUNTERS,
    HEADER3_COLUMNS,
    KELVIN,
    MAJOR_FRAME,
    MINOR_FRAME_S,
    PACKET_S,
    TEMPERATURES,
)
from acaflow.errors import CorruptFileError, InputError, SchemaError

__all__ = [
    "CHAINS",
    "MISSING",
    "PACKET_BYTES",
    "RECORD",
    "SUBPACKET",
    "PacketReport",
    "PacketStream",
    "SlotImages",
    "assemble_images",
    "decode_packets",
    "encode_packets",
    "read_packets",
]

Column = npt.NDArray[Any]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]
Records = npt.NDArray[np.void]

SLOTS = 8
PACKET_BYTES = 224
"""Bytes of a packet: 8 of its own and 27 of each slot."""
FRAMES_PER_PACKET = 4
"""Minor frames that carry one packet; the VCDU counter grows by as many."""
CHAINS = {4: (0,), 6: (1, 2), 8: (4, 5, 6, 7)}
"""Image types of the successive sub-packets of an image, by image size."""
NO_IMAGE = 3
"""Image type of a memory download."""

# --- The bits of a packet --------------------------------------------------------------------

Field = tuple[int, int, bool]
"""Place of the lowest bit, number of bits, whether signed."""

# fmt: off
PACKET_FIELDS: dict[str, Field] = {
    "PIXTLM": (62, 2, False), "BGDTYP": (61, 1, False), "INTEG": (48, 10, False),
    "GLBSTAT": (40, 8, False), "COMMCNT": (32, 8, False), "COMMPROG": (24, 8, False),
}
"""First 8 bytes of a packet as one number; eight image types of three bits follow, slot 0 first."""
NAME_FIELDS: dict[str, Field] = {
    "IMGFID": (55, 1, False), "IMGNUM": (52, 3, False), "IMGFUNC": (50, 2, False),
}
HEADER_1: dict[str, Field] = NAME_FIELDS | {
    "IMGSTAT": (44, 6, False), "IMGROW0": (34, 10, True), "IMGCOL0": (24, 10, True),
    "IMGSCALE": (10, 14, False), "BGDAVG": (0, 10, False),
}
HEADER_2: dict[str, Field] = NAME_FIELDS | {
    "BGDRMS": (40, 10, False), "TEMPCCD": (32, 8, True), "TEMPHOUS": (24, 8, True),
    "TEMPPRIM": (16, 8, True), "TEMPSEC": (8, 8, True), "BGDSTAT": (0, 8, False),
}
HEADER_3: dict[str, Field] = NAME_FIELDS | {
    f"DIAGNOSTIC{byte}": (40 - 8 * byte, 8, False) for byte in range(6)
}
DUMP: dict[str, Field] = {"DUMP": (0, 56, False)}
LAYOUTS = (
    ((0, 1, 4), HEADER_1), ((2, 5), HEADER_2), ((6, 7), HEADER_3), ((NO_IMAGE,), DUMP),
)
"""Seven header bytes of a sub-packet as one number, by image type."""
HEADER_FIELDS = tuple(HEADER_1 | HEADER_2 | HEADER_3 | DUMP)

SUBPACKET = np.dtype([
    ("TIME", "f8"), ("MJF", "i4"), ("MNF", "i4"), ("IMGTYPE", "u1"),
    ("PIXTLM", "u1"), ("BGDTYP", "u1"), ("GLBSTAT", "u1"), ("COMMCNT", "u1"), ("COMMPROG", "u1"),
    ("INTEG", "i2"),
    *((name, "i8" if name == "DUMP" else "i2") for name in HEADER_FIELDS),
    ("PIXELS", "i2", (16,)),
])
# fmt: on
"""Raw counts of one slot in one packet; `MISSING` in fields that its image type does not have.

PIXTLM, BGDTYP, GLBSTAT, COMMCNT (whole byte), COMMPROG (whole byte) and INTEG are the packet's.
IMGROW0 and IMGCOL0 are those of pixel A1. DIAGNOSTIC0 to 5 are header-3 bytes. DUMP holds the
seven header bytes of a memory download.
"""
MISSING = -32768

PIXTLM_WORDS = np.array([b"ORIG", b"DYNB", b"DIFF", b"ERR3"])
BGDTYP_WORDS = np.array([b"FLAT", b"DYNB"])


def decode_packets(
    packets: ByteArray, time: npt.ArrayLike, mjf: npt.ArrayLike, mnf: npt.ArrayLike
) -> Records:
    """Take packets apart.

    Parameters
    ----------
    packets : ndarray of uint8, shape (n, 224)
        Packets.
    time : array_like of float, shape (n,)
        Time of the first of the four minor frames of each (CXC s).
    mjf, mnf : array_like of int, shape (n,)
        Major and minor frame of the same.

    Returns
    -------
    structured array of `SUBPACKET`, shape (n, 8)
        One sub-packet per packet and slot.

    Notes
    -----
    Source: aca-archive 2.4, which real packets confirm bit by bit. Spare bits are not kept.
    """
    blank = np.zeros(1, SUBPACKET)
    for name in HEADER_FIELDS:
        blank[name] = MISSING
    records = np.full((len(packets), SLOTS), blank[0])
    for name, column in (("TIME", time), ("MJF", mjf), ("MNF", mnf)):
        records[name] = np.asarray(column)[:, None]
    head = _words(packets, np.zeros(1, np.int64))
    for name, field in PACKET_FIELDS.items():
        records[name] = _unpack(head, field)
    types = head >> 3 * np.arange(SLOTS)[::-1] & 7
    records["IMGTYPE"] = types

    # The eight bytes that end with the seven of a header; what is before them is masked away.
    headers = _words(packets, 7 + 27 * np.arange(SLOTS))
    for kinds, layout in LAYOUTS:
        owned = np.isin(types, kinds)
        words = headers[owned]
        for name, field in layout.items():
            records[name][owned] = _unpack(words, field)

    # Four pixels of ten bits lie in five bytes: each pixel in two neighbours of them.
    body = packets[:, 8:].reshape(-1, SLOTS, 27)[:, :, 7:].reshape(-1, SLOTS, 4, 5)
    pairs = body[..., :4].astype(np.uint16) << 8 | body[..., 1:]
    pixels = pairs >> np.array([6, 4, 2, 0], np.uint16) & 0x3FF
    records["PIXELS"] = pixels.reshape(-1, SLOTS, 16)
    return records


def _words(packets: ByteArray, places: IntArray) -> IntArray:
    """Return the eight bytes at each place as one number, shape (n, len(places))."""
    eight = np.ascontiguousarray(packets[:, places[:, None] + np.arange(8)])
    return eight.view(">i8")[..., 0].astype(np.int64)


def _unpack(words: IntArray, field: Field) -> IntArray:
    shift, bits, is_signed = field
    values = words >> shift & (1 << bits) - 1
    sign = 1 << bits - 1 if is_signed else 0
    return np.asarray((values ^ sign) - sign, dtype=np.int64)


def encode_packets(subpackets: Records) -> ByteArray:
    """Put packets together again: the inverse of `decode_packets`.

    Parameters
    ----------
    subpackets : structured array of `SUBPACKET`, shape (n, 8)
        As `decode_packets` returns them. The packet's own fields are taken from slot 0.

    Returns
    -------
    ndarray of uint8, shape (n, 224)
        Packets; spare bits are zero.

    Raises
    ------
    InputError
        A value does not fit its bits.
    """
    packets = np.empty((len(subpackets), PACKET_BYTES), np.uint8)
    types = subpackets["IMGTYPE"].astype(np.int64)
    head = (types << 3 * np.arange(SLOTS)[::-1]).sum(axis=1)
    for name, field in PACKET_FIELDS.items():
        head |= _pack(subpackets[:, 0], name, field)
    packets[:, :8] = _bytes(head)

    headers = np.zeros_like(types)
    for kinds, layout in LAYOUTS:
        owned = np.isin(types, kinds)
        part = subpackets[owned]
        headers[owned] = sum(_pack(part, name, field) for name, field in layout.items())
    body = packets[:, 8:].reshape(-1, SLOTS, 27)
    body[:, :, :7] = _bytes(headers)[..., 1:]
    four = subpackets["PIXELS"].astype(np.int64).reshape(-1, SLOTS, 4, 4)
    forty_bits = (four << np.array([30, 20, 10, 0])).sum(axis=-1)
    body[:, :, 7:] = _bytes(forty_bits)[..., 3:].reshape(-1, SLOTS, 20)
    return packets


def _pack(records: Records, name: str, field: Field) -> IntArray:
    shift, bits, _ = field
    values = records[name].astype(np.int64)
    packed = values & (1 << bits) - 1
    is_lost = _unpack(packed, (0, bits, field[2])) != values
    if is_lost.any():
        raise InputError(f"{name} {values[is_lost][0]} does not fit the {bits} bits it has")
    return packed << shift


def _bytes(words: IntArray) -> ByteArray:
    """Return the eight bytes of each number, most significant first."""
    return words.astype(">i8")[..., None].view(np.uint8)


# --- Images ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class SlotImages:
    """Images made of packets.

    Attributes
    ----------
    columns : mapping of (slot, imgsize) to mapping of str to ndarray
        Level-0 columns (aca-archive 2.3) of the images of that slot and size, in the order of
        the packets; only what has images. IMGRAW has the shape (rows, imgsize, imgsize).
    incomplete : ndarray of int64, shape (8,)
        By slot, images of which some packets are there and some are not; they have no row.
    """

    columns: dict[tuple[int, int], dict[str, Column]]
    incomplete: IntArray


def assemble_images(subpackets: Records) -> SlotImages:
    """Make level-0 images of sub-packets.

    Parameters
    ----------
    subpackets : structured array of `SUBPACKET`, shape (n, 8)
        In time order, every packet once.

    Returns
    -------
    SlotImages

    Notes
    -----
    An image needs all sub-packets of its chain (`CHAINS`) one after the other, the VCDU counter
    growing by 4; its time, status and scale are those of the first. Source: aca-archive 2.4.
    """
    types = subpackets["IMGTYPE"]
    counter = _counters(subpackets["MJF"][:, 0], subpackets["MNF"][:, 0])
    columns: dict[tuple[int, int], dict[str, Column]] = {}
    complete = np.zeros(SLOTS, np.int64)
    for size, chain in CHAINS.items():
        is_first = _has_chain(types, counter, chain)
        complete += is_first.sum(axis=0)
        for slot in np.flatnonzero(is_first.any(axis=0)).tolist():
            first = np.flatnonzero(is_first[:, slot])
            columns[slot, size] = _image_columns(size, subpackets[:, slot], first)
    return SlotImages(columns, _count_images(types, counter) - complete)


def _counters(mjf: Column, mnf: Column) -> IntArray:
    return np.asarray(mjf.astype(np.int64) * MAJOR_FRAME + mnf, dtype=np.int64)


def _has_chain(types: ByteArray, counter: IntArray, chain: tuple[int, ...]) -> BoolArray:
    """Tell at which packets, by slot, an image begins whose other packets all follow."""
    found = types == chain[0]
    for step, kind in enumerate(chain[1:], 1):
        follows = np.zeros_like(found)
        is_next = (counter[step:] - counter[:-step]) % COUNTERS == FRAMES_PER_PACKET * step
        follows[:-step] = (types[step:] == kind) & is_next[:, None]
        found &= follows
    return np.asarray(found)


def _count_images(types: ByteArray, counter: IntArray) -> IntArray:
    """Count by slot the images of which at least one sub-packet is there."""
    sizes, places = np.zeros(8, np.int64), np.zeros(8, np.int64)
    for size, chain in CHAINS.items():
        sizes[list(chain)], places[list(chain)] = size, np.arange(len(chain))
    # The counter of an image's first packet follows from any of its packets.
    begin = (counter[:, None] - FRAMES_PER_PACKET * places[types]) % COUNTERS
    image = begin * 16 + sizes[types]
    found = np.zeros(SLOTS, np.int64)
    for slot in range(SLOTS):
        one = image[types[:, slot] != NO_IMAGE, slot]
        found[slot] = np.count_nonzero(np.diff(one)) + (len(one) > 0)
    return found


INTEG_UNIT_S = 0.016
"""Seconds per count of INTEG."""
PEDESTAL_DN = 50
"""Subtracted from scaled raw counts to give IMGRAW (DN)."""
KELVIN_STEP = 0.4
"""Kelvin per count; count zero is 0 degC."""


def _image_columns(size: int, subpackets: Records, first: IntArray) -> dict[str, Column]:
    """Return the level-0 columns of the images of one slot, given their first sub-packets."""

    def get(name: str, step: int = 0) -> Column:
        # Field by field: whole sub-packets would be copied with all they hold.
        return np.asarray(subpackets[name][first + step])

    # INTEG is a 32-bit column, and TIME follows from the stored value.
    integ = (get("INTEG") * INTEG_UNIT_S).astype(np.float32)
    end_integ_time = get("TIME") - PACKET_S
    # Pixel A1 of a 6x6 image is one pixel inside its corner.
    border = int(size == 6)
    values: dict[str, Column] = {
        "TIME": end_integ_time - integ.astype(np.float64) / 2,
        "QUALITY": np.zeros(len(first), np.int32),
        "END_INTEG_TIME": end_integ_time,
        "INTEG": integ,
        "PIXTLM": PIXTLM_WORDS[get("PIXTLM")],
        "BGDTYP": BGDTYP_WORDS[get("BGDTYP")],
        "IMGROW0": get("IMGROW0") - border,
        "IMGCOL0": get("IMGCOL0") - border,
    }
    same = ("MJF", "MNF", "GLBSTAT", "COMMCNT", "COMMPROG", "IMGSTAT", "IMGSCALE", "BGDAVG")
    values |= {name: get(name) for name in same}
    packets = range(len(CHAINS[size]))
    for step in packets:
        values |= {f"{name}{step + 1}": get(name, step) for name in NAME_FIELDS}
    if size > 4:
        values |= {name: get(name, 1) for name in ("BGDRMS", "BGDSTAT")}
        for name in TEMPERATURES:
            values[name] = (get(name, 1) * KELVIN_STEP + KELVIN).astype(np.float32)
    if size == 8:
        bytes_of = [(step, byte) for step in (2, 3) for byte in range(6)]
        for name, (step, byte) in zip(HEADER3_COLUMNS, bytes_of, strict=True):
            values[name] = get(f"DIAGNOSTIC{byte}", step)
    counts = np.concatenate([get("PIXELS", step) for step in packets], axis=1)
    image = np.zeros((len(first), size * size), np.float32)
    # Ten bits times fourteen fit a 32-bit float, so only the last operation rounds.
    scaled = counts.astype(np.float32) * get("IMGSCALE").astype(np.float32)[:, None]
    image[:, pixel_places(size)] = scaled / 32 - PEDESTAL_DN
    return values | {"IMGRAW": image.reshape(-1, size, size)}


def pixel_places(size: int) -> IntArray:
    """Return where the pixels of successive packets stand in an image that is read row by row.

    Examples
    --------
    >>> pixel_places(6)[[0, 15, 16, 19, 20, 31]].tolist()  # inner 4x4, then round the border
    [7, 28, 1, 4, 11, 6]
    """
    if size != 6:
        return np.arange(size * size)
    inner, edge = np.arange(16), np.arange(1, 5)
    # Clockwise from the top; the corners are not telemetered and stay 0.
    border = [edge, 6 * edge + 5, 30 + edge[::-1], 6 * edge[::-1]]
    return np.concatenate([6 * (inner // 4 + 1) + inner % 4 + 1, *border])


# --- Streams ---------------------------------------------------------------------------------

RECORD = np.dtype([("time", ">f8"), ("counter", ">u4"), ("packet", "u1", (PACKET_BYTES,))])
"""One packet in a ``.bin`` file: CXC seconds, VCDU counter (MJF * 128 + MNF), packet."""

HEAD = np.dtype([("time", ">f8"), ("counter", ">u4"), ("begin", ">u2")])
"""Begin of a record, up to what is checked of the packet itself."""
TIME_BYTE = 0x41
"""First byte of every time between 1.5 days and 272 years after 1998.0."""
SPARE_BITS, INTEG_BITS = 0x1C00, 0x03FF
"""In the first two bytes of a packet: three unused bits, and INTEG."""
CLOCK_TOLERANCE_S = 0.1
"""Most that a time may differ from counter times 0.25625 s (s); a day of real drift is 0.005 s."""
TURN_S = COUNTERS * MINOR_FRAME_S
"""Time after which the counter starts again (s)."""
MARGIN_S = 60.0
"""A packet with wrong counter is known by its time, if so close to the believed ones (s)."""


@dataclass(frozen=True)
class PacketReport:
    """What was found in a file of packets.

    Attributes
    ----------
    name : str
        The file.
    kept : int
        Packets that are believed, each once.
    missing : int
        Packets that the counter tells of, between the first and the last, and that are not there.
    bytes_skipped : int
        Bytes that belong to no whole record.
    wrong_counter : int
        Whole records whose counter does not fit their time; dropped.
    duplicates : int
        Repeated packets; the first is kept.
    out_of_order : int
        Packets that stood after a later one; put back.
    """

    name: str
    kept: int
    missing: int
    bytes_skipped: int
    wrong_counter: int
    duplicates: int
    out_of_order: int

    def __str__(self) -> str:
        """Return one sentence; what did not happen is left out.

        Examples
        --------
        >>> print(PacketReport("aca_packets_0_9.bin", 95, 5, 0, 3, 0, 1))
        aca_packets_0_9.bin: 95 packets; 5 missing, 3 with a wrong counter, 1 out of order
        """
        found = {
            "missing": self.missing,
            "bytes skipped": self.bytes_skipped,
            "with a wrong counter": self.wrong_counter,
            "duplicates dropped": self.duplicates,
            "out of order": self.out_of_order,
        }
        faults = ", ".join(f"{count} {what}" for what, count in found.items() if count)
        return f"{self.name}: {self.kept} packets; {faults or 'no faults'}"


@dataclass(frozen=True)
class PacketStream:
    """The believed packets of a file in time order.

    Attributes
    ----------
    packets : ndarray of uint8, shape (n, 224)
        Packets.
    time : ndarray of float64, shape (n,)
        Time of the first minor frame of each (CXC s).
    mjf, mnf : ndarray of int64, shape (n,)
        Major and minor frame of the same.
    report : PacketReport
        What was dropped.
    """

    packets: ByteArray
    time: npt.NDArray[np.float64]
    mjf: IntArray
    mnf: IntArray
    report: PacketReport


def read_packets(path: Path) -> PacketStream:
    """Read a file of packets, FITS or byte stream, gzip or plain, told apart by content.

    A record is believed if its time and counter run with the clock of most records of the file,
    the counter is a multiple of 4, the spare bits of the packet are zero and INTEG is not, and
    if nothing is missing from it: another record, or the end of the file, must follow 236 bytes
    after its begin (or a whole number of records later, should those be unreadable).

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    PacketStream

    Raises
    ------
    CorruptFileError
        Damaged gzip stream or FITS file, wrong checksum, or no record that can be believed.
    SchemaError
        A FITS file without a table RAWPACKETS of the expected columns.

    Notes
    -----
    Packets have no checksum. If exactly one record's length is lost, or a multiple of it, the
    record of which a part remains cannot be told from a whole one. And if the loss begins with
    the first or second byte of a record, the whole record before it is dropped too: it might be
    the damaged one.
    """
    path = Path(path)
    buffer = inflate(path)
    if buffer.startswith(b"SIMPLE  ="):
        buffer = _fits_records(buffer, path)
    data = np.frombuffer(buffer, np.uint8)
    begins, frames, is_good = _find_records(data)
    is_whole = _is_whole(data, begins)
    is_kept = is_whole & is_good
    records = _cut(data, begins[is_kept], RECORD)
    if not len(records):
        raise CorruptFileError(
            f"{path.name}: none of its {len(data)} bytes belongs to a packet that can be believed;"
            f" expected records of {RECORD.itemsize} bytes whose times and counters run together",
            path,
        )
    # First occurrences in the order of the file, then the order of the counter.
    frames, arrival = np.unique(frames[is_kept], return_index=True)
    in_file_order = frames[np.argsort(arrival)]
    is_late = in_file_order < np.maximum.accumulate(in_file_order)
    kept = records[arrival]
    counter = kept["counter"].astype(np.int64)
    report = PacketReport(
        name=path.name,
        kept=len(kept),
        missing=int(frames[-1] - frames[0]) // FRAMES_PER_PACKET + 1 - len(kept),
        bytes_skipped=len(data) - RECORD.itemsize * int(is_whole.sum()),
        wrong_counter=int((is_whole & ~is_good).sum()),
        duplicates=len(records) - len(kept),
        out_of_order=int(is_late.sum()),
    )
    return PacketStream(
        packets=kept["packet"],
        time=kept["time"].astype(np.float64),
        mjf=counter // MAJOR_FRAME,
        mnf=counter % MAJOR_FRAME,
        report=report,
    )


def _cut(data: ByteArray, begins: IntArray, dtype: np.dtype[np.void]) -> Records:
    """Return what stands at each place."""
    if not len(begins):
        return np.empty(0, dtype)
    windows = np.lib.stride_tricks.sliding_window_view(data, dtype.itemsize)
    return np.ascontiguousarray(windows[begins]).view(dtype)[:, 0]


def _find_records(data: ByteArray) -> tuple[IntArray, IntArray, BoolArray]:
    """Find where records seem to begin.

    Returns
    -------
    begins : ndarray of int64
        Byte offsets of all heads whose time is on the clock of the file.
    frames : ndarray of int64
        VCDU counter of each, without wrap, from some packet of the file on.
    is_good : ndarray of bool
        The counter fits the time.
    """
    begins = np.flatnonzero(data[: max(0, len(data) - RECORD.itemsize + 1)] == TIME_BYTE)
    heads = _cut(data, begins, HEAD)
    is_possible = (heads["begin"] & SPARE_BITS == 0) & (heads["begin"] & INTEG_BITS > 0)
    begins, heads = begins[is_possible], heads[is_possible]
    time, counter = heads["time"].astype(np.float64), heads["counter"].astype(np.int64)
    is_counter = (counter < COUNTERS) & (counter % FRAMES_PER_PACKET == 0)
    if not is_counter.any():
        return begins[:0], counter[:0], is_counter[:0]

    reference = np.flatnonzero(is_counter)[_densest(time[is_counter], counter[is_counter])]
    elapsed = time - time[reference]
    half = COUNTERS // 2
    frames = (counter - counter[reference] + half) % COUNTERS - half
    is_good = is_counter & (np.abs(elapsed - MINOR_FRAME_S * frames) < CLOCK_TOLERANCE_S)
    first, last = elapsed[is_good].min(), elapsed[is_good].max()
    off_tick = np.abs(elapsed - PACKET_S * np.rint(elapsed / PACKET_S))
    is_near = (elapsed > first - MARGIN_S) & (elapsed < last + MARGIN_S)
    on_clock = is_near & (off_tick < CLOCK_TOLERANCE_S)
    return begins[on_clock], frames[on_clock], is_good[on_clock]


def _densest(time: npt.NDArray[np.float64], counter: IntArray) -> int:
    """Return the index of a packet whose clock, time less counter, most packets share."""
    zero = (time - MINOR_FRAME_S * counter) % TURN_S
    order = np.argsort(zero)
    ordered = zero[order]
    sharing = np.searchsorted(ordered, ordered + CLOCK_TOLERANCE_S) - np.arange(len(zero))
    place = int(sharing.argmax())
    return int(order[place + sharing[place] // 2])


def _is_whole(data: ByteArray, begins: IntArray) -> BoolArray:
    """Tell from what follows it that no byte of a record was lost."""
    size = RECORD.itemsize
    # Pixels that look like a head stand inside a record that another one follows.
    is_chained = np.isin(begins + size, np.append(begins, len(data)))
    chained = np.append(-size, begins[is_chained])
    is_inside = begins - chained[np.searchsorted(chained, begins) - 1] < size
    is_whole = np.zeros(len(begins), bool)
    heads = begins[~is_inside]
    room = np.diff(np.append(heads, len(data)))
    # A record with a damaged head may follow: the first bytes of all times are the same.
    behind = np.minimum(heads + size, len(data) - 2)
    is_next_time = (data[behind] == data[heads]) & (data[behind + 1] == data[heads + 1])
    is_whole[~is_inside] = (room >= size) & ((room % size == 0) | is_next_time)
    return is_whole


# --- FITS form -------------------------------------------------------------------------------

RAW_COLUMNS = {"TIME": (), "MJF": (), "MNF": (), "PACKET": (PACKET_BYTES,)}
"""Columns of RAWPACKETS that are read, and the shape of a row."""


def _fits_records(buffer: bytes, path: Path) -> bytes:
    """Return the rows of a RAWPACKETS table as records."""
    from astropy.io import fits  # slow to load, and the byte stream needs none of it

    try:
        with fits.open(io.BytesIO(buffer), memmap=False) as hdus:
            named = [hdu for hdu in hdus if hdu.name == "RAWPACKETS"]
            if not named or not isinstance(named[0], fits.BinTableHDU):
                raise SchemaError(f"{path.name} has no table RAWPACKETS", path)
            table = named[0]
            # 0 is a wrong sum; 2 stands for a file that states none.
            if 0 in (table.verify_datasum(), table.verify_checksum()):
                raise CorruptFileError(f"{path.name}: CHECKSUM or DATASUM is wrong", path)
            rows = table.data
            for name, shape in RAW_COLUMNS.items():
                found = rows[name].shape[1:] if name in rows.names else None
                if found != shape:
                    raise SchemaError(
                        f"{path.name}: column {name} of RAWPACKETS has rows of shape {found},"
                        f" expected {shape}",
                        path,
                    )
            records = np.empty(len(rows), RECORD)
            records["time"], records["packet"] = rows["TIME"], rows["PACKET"]
            records["counter"] = _counters(rows["MJF"], rows["MNF"]) & 0xFFFFFFFF
    except (OSError, TypeError, ValueError, LookupError, AttributeError, fits.VerifyError) as err:
        raise CorruptFileError(f"{path.name} is no readable FITS file ({err})", path) from err
    return records.tobytes()
