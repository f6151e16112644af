"""Simulated real-time packets: the packets that carried given level-0 images, and their mishaps.

Writes ``aca_packets_<tstart>_<tstop>.bin`` (`acaflow.archive.aca_packets`). The images may come
from the simulator or from a flight file: what level 0 says of an image is what its packets said.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from acaflow.archive.aca_packets import (
    BGDTYP_WORDS,
    CHAINS,
    FRAMES_PER_PACKET,
    INTEG_UNIT_S,
    KELVIN_STEP,
    NO_IMAGE,
    PACKET_FIELDS,
    PEDESTAL_DN,
    PIXTLM_WORDS,
    RECORD,
    SLOTS,
    SUBPACKET,
    encode_packets,
    pixel_places,
)
from acaflow.archive.l0_fits import ImageTable, inflate, read_table
from acaflow.archive.l0_format import (
    COUNTERS,
    HEADER3_COLUMNS,
    KELVIN,
    MAJOR_FRAME,
    PACKET_S,
    TEMPERATURES,
)
from acaflow.errors import InputError
from acaflow.simulate.aca_l0 import L0Scenario, simulate_l0

__all__ = ["Mishaps", "packet_records", "simulate_packets", "stream_bytes"]

Records = npt.NDArray[np.void]


@dataclass(frozen=True)
class Mishaps:
    """What happens to the records of a stream; indices count those of the clean stream from 0.

    Parameters
    ----------
    dropped : sequence of int
        Records that are lost as a whole.
    cut : mapping of int to (int, int)
        Records that lose bytes: offset in the record of the first one, and how many. A loss may
        reach into the records that follow.
    wrong_counter : mapping of int to int
        Records whose counter is wrong by that much.
    duplicated : sequence of int
        Records that are sent twice in a row.
    swapped : sequence of int
        Records that change places with the next one.
    """

    dropped: Sequence[int] = ()
    cut: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    wrong_counter: Mapping[int, int] = field(default_factory=dict)
    duplicated: Sequence[int] = ()
    swapped: Sequence[int] = ()


NONE = Mishaps()


def simulate_packets(scenario: L0Scenario, folder: Path, mishaps: Mishaps = NONE) -> Path:
    """Write the packets that carry the images of a scenario.

    Parameters
    ----------
    scenario : L0Scenario
        What to simulate; slots that it leaves out, and images that are lost, have no image in
        the packets. Reissues and QUALITY do not exist in packets.
    folder : Path
        Where to; made if absent.
    mishaps : Mishaps
        What happens to them on their way.

    Returns
    -------
    Path
        The file; it appears whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        records = packet_records(simulate_l0(replace(scenario, reissues=()), Path(scratch)))
    first, last = records["time"][[0, -1]]
    path = folder / f"aca_packets_{math.floor(first):09d}_{math.ceil(last + PACKET_S):09d}.bin"
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(stream_bytes(records, mishaps))
    part.replace(path)
    return path


def stream_bytes(records: Records, mishaps: Mishaps) -> bytes:
    """Return the stream of records after all mishaps.

    Parameters
    ----------
    records : structured array of `acaflow.archive.aca_packets.RECORD`
        The clean stream.
    mishaps : Mishaps
        What happens to them.

    Raises
    ------
    InputError
        An index is no record.
    """
    followers = [index + 1 for index in mishaps.swapped]
    concerned = (mishaps.dropped, mishaps.cut, mishaps.wrong_counter, mishaps.duplicated)
    for index in (*chain.from_iterable(concerned), *mishaps.swapped, *followers):
        if index not in range(len(records)):
            raise InputError(f"record {index} does not exist; the stream has {len(records)}")
    records = records.copy()
    for index, error in mishaps.wrong_counter.items():
        records["counter"][index] = (int(records["counter"][index]) + error) % (1 << 32)
    order = np.arange(len(records))
    for index in mishaps.swapped:
        order[[index, index + 1]] = order[[index + 1, index]]
    is_there = np.ones((len(records), RECORD.itemsize), bool)
    for index, (offset, n_bytes) in mishaps.cut.items():
        begin = index * RECORD.itemsize + offset
        is_there.reshape(-1)[begin : begin + n_bytes] = False
    is_there[list(mishaps.dropped)] = False
    sent = np.repeat(order, np.where(np.isin(order, mishaps.duplicated), 2, 1))
    content = records.view(np.uint8).reshape(len(records), -1)
    return content[sent][is_there[sent]].tobytes()


def packet_records(paths: Iterable[Path]) -> Records:
    """Return the packets that carried the images of level-0 files.

    Parameters
    ----------
    paths : iterable of Path
        Files of any slots and image sizes, simulated or flight; no two with the same rows.

    Returns
    -------
    structured array of `acaflow.archive.aca_packets.RECORD`
        Every packet that carried some of the images, in time order. A slot without image in it
        has image type 3, a memory download. Times follow from the clock in the headers.

    Raises
    ------
    InputError
        A value has no place in telemetry (IMGROW0 511 of a 6x6 image, whose pixel A1 would be
        in row 512), or the clock in a header does not fit its rows.
    """
    tables = [read_table(inflate(path), path) for path in paths]
    begins = [_frames(table) for table in tables]
    first = min(int(frames[0]) for frames in begins)
    last = max(
        int(frames[-1]) + FRAMES_PER_PACKET * (len(CHAINS[table.imgsize]) - 1)
        for frames, table in zip(begins, tables, strict=True)
    )
    packets = np.zeros(((last - first) // FRAMES_PER_PACKET + 1, SLOTS), SUBPACKET)
    packets["IMGTYPE"] = NO_IMAGE
    for table, frames in zip(tables, begins, strict=True):
        _fill(packets, table, (frames - first) // FRAMES_PER_PACKET)
    # Level 0 has the packet's own fields where images begin; in between they stay as they were.
    begun = np.isin(packets["IMGTYPE"], [kinds[0] for kinds in CHAINS.values()]).any(axis=1)
    latest = np.maximum.accumulate(np.where(begun, np.arange(len(packets)), 0))
    for name in PACKET_FIELDS:
        packets[name] = packets[name][latest]
    has_image = (packets["IMGTYPE"] != NO_IMAGE).any(axis=1)
    count = np.arange(first, last + 1, FRAMES_PER_PACKET)
    records = np.empty(has_image.sum(), RECORD)
    header = tables[0].header
    records["time"] = float(header["BTIMNULL"]) + float(header["BTIMRATE"]) * count[has_image]
    records["counter"] = count[has_image] % COUNTERS
    records["packet"] = encode_packets(packets[has_image])
    return records


def _frames(table: ImageTable) -> npt.NDArray[np.int64]:
    """Return the VCDU count of each image on the clock of the header, without wrap."""
    begin = table.column("END_INTEG_TIME") + PACKET_S
    zero, rate = float(table.header["BTIMNULL"]), float(table.header["BTIMRATE"])
    frames = np.rint((begin - zero) / rate).astype(np.int64)
    counter = table.column("MJF").astype(np.int64) * MAJOR_FRAME + table.column("MNF")
    if not np.array_equal(frames % COUNTERS, counter):
        raise InputError("BTIMNULL and BTIMRATE do not lead from MJF and MNF to END_INTEG_TIME")
    return frames


def _fill(packets: Records, table: ImageTable, first: npt.NDArray[np.int64]) -> None:
    """Write the images of a file into the sub-packets of its slot."""
    size = table.imgsize
    slot = int(table.column("IMGNUM1")[0])
    get = table.column
    pixels = _raw_pixels(table)
    head = packets[first]
    for name in ("GLBSTAT", "COMMCNT", "COMMPROG"):
        head[name] = get(name)[:, None]
    head["INTEG"] = np.rint(get("INTEG").astype(np.float64) / INTEG_UNIT_S)[:, None]
    for name, words in (("PIXTLM", PIXTLM_WORDS), ("BGDTYP", BGDTYP_WORDS)):
        if name in table.names:
            head[name] = (get(name)[:, None] == words.astype("U4")).argmax(axis=1)[:, None]
    packets[first] = head
    for step, kind in enumerate(CHAINS[size]):
        part = packets[first + step, slot]
        part["IMGTYPE"] = kind
        part["PIXELS"] = pixels[:, 16 * step : 16 * step + 16]
        for name in ("IMGFID", "IMGNUM", "IMGFUNC"):
            part[name] = get(f"{name}{step + 1}")
        if step == 0:
            for name in ("IMGSTAT", "IMGSCALE", "BGDAVG"):
                part[name] = get(name)
            for name in ("IMGROW0", "IMGCOL0"):
                part[name] = get(name) + int(size == 6)
        elif step == 1:
            for name in ("BGDRMS", "BGDSTAT"):
                part[name] = get(name)
            for name in TEMPERATURES:
                part[name] = np.rint((get(name).astype(np.float64) - KELVIN) / KELVIN_STEP)
        else:
            for byte, name in enumerate(HEADER3_COLUMNS[6 * step - 12 : 6 * step - 6]):
                part[f"DIAGNOSTIC{byte}"] = get(name)
        packets[first + step, slot] = part


def _raw_pixels(table: ImageTable) -> npt.NDArray[np.int64]:
    """Return the ten-bit counts of the images in the order of packets."""
    image = table.column("IMGRAW").astype(np.float64).reshape(len(table.rows), -1)
    scale = table.column("IMGSCALE").astype(np.float64)[:, None]
    counts = np.rint((image + PEDESTAL_DN) * 32 / scale).astype(np.int64)
    return counts[:, pixel_places(table.imgsize)]
