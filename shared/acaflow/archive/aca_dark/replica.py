"""One decoded replica of a dark calibration: its half rows, its full images, what was found.

Times are CXC seconds, pixels raw counts (DN).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from acaflow.archive.aca_dark import ccd
from acaflow.errors import MissingDataError

__all__ = ["SATURATED_DN", "Counts", "Frame", "Replica"]

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

SATURATED_DN = 65535
"""Raw count at which a pixel is only known to be at least as bright."""


@dataclass(frozen=True)
class Counts:
    """What was found in a file.

    Attributes
    ----------
    size : int
        Uncompressed bytes.
    truncated : int
        Bytes after the last whole SFDU.
    gz_error : str
        What is wrong with the gzip stream; empty if nothing is.
    frames : int
        Whole SFDUs: the sum of the next two, of duplicate, fill and pixel frames.
    bad_sync, other_channel : int
        SFDUs without one of the two syncs, and of other channels: both not used.
    mismatched_channel : int
        Frames of the calibration channel whose first id byte is wrong: used all the same.
    fill, pixel_frames : int
        Frames without and with a payload, duplicates left out.
    duplicate_frames : int
        Frames dropped because counter and content are those of the frame before.
    backward : int
        Steps of the counter that do not go forward, within half a turn.
    lost : int
        Frames that the counter skips, fill included.
    segments, single_frame_segments : int
        Unbroken runs of pixel frames, and those of one frame, which are dropped.
    parity_doubts : int
        Segments in which the votes for the two kinds of frames were even.
    resyncs : int
        Times the next record was not where the one before it ends.
    partial_records : int
        Pieces of records at begin and end of segments, lost.
    filler_records, bad_rows : int
        Records between readouts, and with a row that does not exist: both dropped.
    records : int
        Records kept.
    """

    size: int
    truncated: int
    gz_error: str
    frames: int
    bad_sync: int
    other_channel: int
    mismatched_channel: int
    fill: int
    pixel_frames: int
    duplicate_frames: int
    backward: int
    lost: int
    segments: int
    single_frame_segments: int
    parity_doubts: int
    resyncs: int
    partial_records: int
    filler_records: int
    bad_rows: int
    records: int


@dataclass(frozen=True)
class Frame:
    """A full image of the CCD.

    Attributes
    ----------
    integ : float
        Median integration time of its records (s).
    signal : ndarray of float32, shape (1024, 1024)
        Raw counts less bias (DN), pixel [0, 0] at CCD row and column -512; NaN where a row is
        missing.
    saturated : ndarray of bool, shape (1024, 1024)
        Where `signal` is a lower limit.
    """

    integ: float
    signal: npt.NDArray[np.float32]
    saturated: BoolArray


@dataclass(frozen=True)
class Replica:
    """The decoded records of one file.

    Attributes
    ----------
    name : str
        Name under which the file was delivered.
    number : int
        Replica number of the name.
    columns : dict of str to ndarray of shape (n,)
        TIME_ERT (float64, CXC s, earth receive time of the record's first byte), REC_CTR (int32,
        frame counter of the same), ADC_BIAS (uint16, DN), INTEG (float32, s), CALTYPE, REPLICA,
        COLNEG, ROW (int16), SCI_HDR_CTR (uint16, 2.05 s), TWO_US_CLK (uint32, 2 us); one entry
        per kept record, in the order of the file.
    pixels : ndarray of uint16, shape (n, 512)
        Raw counts (DN); pixel 0 is the outermost column.
    counts : Counts
        What was found, dropped and lost.
    ert : (float, float)
        Earth receive times of the pixel frames, first and last (CXC s).
    """

    name: str
    number: int
    columns: dict[str, npt.NDArray[Any]]
    pixels: npt.NDArray[np.uint16]
    counts: Counts
    ert: tuple[float, float]

    @property
    def groups(self) -> list[float]:
        """Integration times that occur, rounded to 0.1 s, ascending."""
        return [float(tenths) / 10 for tenths in np.unique(self._tenths)]

    @cached_property
    def _tenths(self) -> IntArray:
        """Integration time of each record (0.1 s)."""
        return np.rint(self.columns["INTEG"] * 10.0).astype(np.int64)

    @cached_property
    def _first(self) -> IntArray:
        """Index of the first record of the same half row and group, for each record."""
        half_row = (self.columns["ROW"] + ccd.HALF) * 2 + self.columns["COLNEG"]
        key = self._tenths * (2 * ccd.SIZE) + half_row
        _, first, same = np.unique(key, return_index=True, return_inverse=True)
        return np.asarray(first[same])

    def rows(self) -> int:
        """Return the number of distinct half rows; a complete replica has 4096."""
        return len(np.unique(self._first))

    def duplicates(self) -> tuple[int, int]:
        """Return how many records repeat an earlier half row, identical and different ones."""
        again = np.flatnonzero(self._first != np.arange(len(self._first)))
        first, bias = self._first[again], self.columns["ADC_BIAS"]
        is_same = (self.pixels[again] == self.pixels[first]).all(axis=1)
        is_same &= bias[again] == bias[first]
        identical = int(np.count_nonzero(is_same))
        return identical, len(again) - identical

    def frame(self, group: float) -> Frame:
        """Return the image of one integration time; of repeated half rows the first counts.

        Parameters
        ----------
        group : float
            One of `groups` (s).

        Raises
        ------
        MissingDataError
            No record has this integration time.
        """
        is_chosen = self._first == np.arange(len(self._first))
        chosen = np.flatnonzero(is_chosen & (self._tenths == round(group * 10)))
        if not len(chosen):
            raise MissingDataError(
                f"{self.name} has no records of {group} s integration; it has {self.groups} s"
            )
        where = self.columns["COLNEG"][chosen], self.columns["ROW"][chosen]
        raw = self.pixels[chosen]
        bias = self.columns["ADC_BIAS"][chosen].astype(np.float32)
        signal = np.full((ccd.SIZE, ccd.SIZE), np.nan, np.float32)
        saturated = np.zeros((ccd.SIZE, ccd.SIZE), bool)
        ccd.place(signal, *where, raw - bias[:, None])
        ccd.place(saturated, *where, raw == SATURATED_DN)
        return Frame(float(np.median(self.columns["INTEG"][chosen])), signal, saturated)
