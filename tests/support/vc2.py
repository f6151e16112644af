"""Raw dumps of dark-calibration replicas, built byte by byte from the text of dark-cal B2."""

from __future__ import annotations

import struct

import numpy as np

NAME = "2016_125_VC2_Replica2_SFDU_31088"
SFDU = 1134
DAY = 21308
"""2016:125 as days since 1958-01-01."""
SHORT, LONG = 313, 625
"""Integration times (counts of 0.016 s)."""


def row_pixels(row, colneg=0, integ=LONG):
    """Return 512 raw counts that differ from row to row."""
    return 2000 + (np.arange(512) * 7 + row * 31 + colneg * 5 + integ) % 997


def record(
    row, colneg=0, pixels=None, *, integ=LONG, bias=2000, caltype=0, replica=2, sci=7, clock=9
):
    """Return the 1040 bytes of half a CCD row; default pixels are those of `row_pixels`."""
    pixels = row_pixels(row, colneg, integ) if pixels is None else pixels
    row_bits = row if row >= 0 else row + 2048
    flags = (caltype << 7) | (replica << 4) | (colneg << 3) | (row_bits >> 8)
    head = b"\xff\x00" + struct.pack(">HHBB", bias, integ, flags, row_bits & 0xFF)
    head += struct.pack(">HI", sci, clock) + b"\xaa\xaa"
    return head + np.asarray(pixels).astype(">u2").tobytes()


def half_row(image, row, colneg):
    """Return the pixels of a record: the outermost column first."""
    if colneg:
        return image[row + 512, :512]
    return image[row + 512, 1023:511:-1]


def image_records(image, integ):
    """Return the 2048 records of a full image of raw counts."""
    return [
        record(row, colneg, half_row(image, row, colneg), integ=integ)
        for colneg in (0, 1)
        for row in range(-512, 512)
    ]


def frame(counter, zone, *, channel=b"\x41\x93", ert=(DAY, 0, 0)):
    """Return one SFDU around a data zone of 1019 bytes."""
    head = bytearray(104)
    head[:4] = b"NJPL"
    struct.pack_into(">HIH", head, 42, *ert)
    counter = (counter % 2**24).to_bytes(3, "big")
    made = bytes(head) + b"\x1a\xcf\xfc\x1d" + channel + counter + b"\x80" + zone + b"\x00"
    assert len(made) == SFDU
    return made


def zone(counter, payload, cd):
    """Return the data zone that carries 1018 bytes; `cd` is the parity of kind CD."""
    return b"\xcd" + payload if counter % 2 == cd else payload + b"\xab"


class Dump:
    """A file in the making: `frames` may be changed, dropped and repeated at will.

    Frames follow each other by 10 ms from 12:00 of the day on.
    """

    def __init__(self, counter=34757, cd=0):
        self.counter = counter
        self.cd = cd
        self.frames = []

    def add(self, data_zone, **more):
        """Append a frame with the next counter."""
        ms = 43_200_000 + 10 * len(self.frames)
        self.frames.append(bytearray(frame(self.counter, data_zone, ert=(DAY, ms, 0), **more)))
        self.counter += 1

    def fill(self, number=1):
        """Append fill frames, with their marker."""
        for _ in range(number):
            self.add(zone(self.counter, b"\xaa" * 1018, self.cd))
        return self

    def burst(self, records):
        """Append frames that carry records or other bytes; the last is padded."""
        data = records if isinstance(records, bytes) else b"".join(records)
        for start in range(0, len(data), 1018):
            payload = data[start : start + 1018].ljust(1018, b"\xaa")
            self.add(zone(self.counter, payload, self.cd))
        return self

    def bursts(self, records, size, fill=1):
        """Append all records in bursts of `size`, each followed by fill frames."""
        for start in range(0, len(records), size):
            self.burst(records[start : start + size]).fill(fill)
        return self

    def __bytes__(self):
        return b"".join(map(bytes, self.frames))
