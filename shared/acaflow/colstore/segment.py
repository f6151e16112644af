"""Reading a segment: any rows of its columns, straight into the caller's arrays."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from acaflow.colstore.axis import Axis
from acaflow.colstore.image import FORMAT, RESIDUAL, Place, Spec
from acaflow.colstore.records import TIME, Array, DamagedStoreError, SegmentGoneError, SourceRange

__all__ = ["Head", "Segment"]

PROBE_ROWS = 1 << 16
"""Rows of an irregular TIME that are decoded at once in the search for a stamp."""


@dataclass(frozen=True)
class Head:
    """What a segment says about itself; kept in memory.

    Parameters
    ----------
    path : Path
        The file.
    n : int
        Number of rows.
    specs : dict of str to Spec
        Its columns, also the hidden ones.
    places : dict of str to dict
        Where their values are (`acaflow.colstore.image`).
    axes : dict of str to Axis
        The columns of straight runs.
    chunks : ndarray of int64, shape (n_chunk, 3)
        Offset, size (bytes), and CRC-32 of the compressed chunks.
    sources : tuple of SourceRange
        Where the rows come from, in row order.
    """

    path: Path
    n: int
    specs: dict[str, Spec]
    places: dict[str, dict[str, Any]]
    axes: dict[str, Axis]
    chunks: npt.NDArray[np.int64]
    sources: tuple[SourceRange, ...]


class Segment:
    """A segment that is open for reading.

    Parameters
    ----------
    path : Path
        The file.
    places : pair of Place
        Where its head and its list of chunks begin.
    head : Head, optional
        What was read before; otherwise it is read now, as attribute ``head``.

    Raises
    ------
    SegmentGoneError
        There is no such file.
    DamagedStoreError
        It cannot be read, here and in every method.
    """

    def __init__(self, path: Path, places: tuple[Place, Place], head: Head | None = None) -> None:
        self.path = path
        try:
            self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as err:
            raise SegmentGoneError(f"segment {path} is not there", path) from err
        except OSError as err:
            raise DamagedStoreError(f"segment {path} does not open: {err}", path) from err
        self._inflated: tuple[int, Array] | None = None
        try:
            self.head = head or self._read_head(*places)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_head(self, head: Place, chunks: Place) -> Head:
        text = json.loads(self._stored(head, "the head"))
        if text["format"] != FORMAT:
            raise DamagedStoreError(
                f"segment {self.path} has format {text['format']}, expected {FORMAT}", self.path
            )
        n, columns = text["n"], text["columns"]
        sources = [
            replace(SourceRange(**item), cover=tuple((a, b) for a, b in item["cover"]))
            for item in text["sources"]
        ]
        return Head(
            self.path,
            n,
            {name: Spec(place["dtype"], place["width"]) for name, place in columns.items()},
            columns,
            {
                name: Axis.from_json(place["runs"], n)
                for name, place in columns.items()
                if "runs" in place
            },
            np.frombuffer(self._stored(chunks, "the list of chunks"), "<i8").reshape(-1, 3),
            tuple(replace(item, segment=self.path.name) for item in sources),
        )

    def read(self, column: str, row0: int, row1: int) -> Array:
        """Return rows of a column as a new array."""
        out = self.head.specs[column].empty(row1 - row0)
        self.read_into(column, row0, out)
        return out

    def read_into(self, column: str, row0: int, out: Array) -> None:
        """Fill `out`, contiguous, of any dtype that holds the values, from row `row0` on."""
        spec, place = self.head.specs[column], self.head.places[column]
        if "const" in place:
            value = np.frombuffer(bytes.fromhex(place["const"]), spec.dtype)
            out[:] = value if spec.width else value[0]
        elif "runs" in place:
            self._fill_axis(column, row0, out)
        else:
            for number, start, stop, first in self._parts(column, row0, row0 + len(out)):
                part = out[first : first + stop - start]
                if stop - start == place["rows"] and out.dtype == spec.dtype:
                    self._inflate(number, part, column)
                else:
                    part[:] = self._chunk(number, column)[start:stop]

    def _fill_axis(self, column: str, row0: int, out: Array) -> None:
        """Add the residuals to the model, as the integers that the bit patterns are."""
        exact = out if out.dtype == np.float64 else np.empty(len(out))
        self.head.axes[column].fill(row0, exact)
        bits = exact.view(np.int64)
        name = column + RESIDUAL
        place = self.head.places[name]
        if "const" in place:
            bits += np.frombuffer(bytes.fromhex(place["const"]), np.int8)[0]
        else:
            for number, start, stop, first in self._parts(name, row0, row0 + len(out)):
                bits[first : first + stop - start] += self._chunk(number, name)[start:stop]
        if exact is not out:
            out[:] = exact

    def _parts(self, column: str, row0: int, row1: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield the number of each chunk, the rows of it that are wanted, and where they go."""
        place = self.head.places[column]
        rows, at = place["rows"], place["at"]
        row = row0 + at
        while row < row1 + at:
            chunk, start = divmod(row, rows)
            stop = min(rows, row1 + at - chunk * rows)
            yield place["chunk"] + chunk, start, stop, row - at - row0
            row += stop - start

    def _chunk(self, number: int, column: str) -> Array:
        """Return a whole chunk; the last one is kept, for the next column or the next rows."""
        if self._inflated is None or self._inflated[0] != number:
            out = self.head.specs[column].empty(self.head.places[column]["rows"])
            self._inflate(number, out, column)
            self._inflated = (number, out)
        return self._inflated[1]

    def _inflate(self, number: int, out: Array, column: str) -> None:
        import blosc2  # type: ignore[import-untyped]

        stored = self._stored(Place(*self.head.chunks[number].tolist()), column)
        blosc2.decompress2(stored, dst=out, nthreads=1)

    def _stored(self, place: Place, what: str) -> bytes:
        """Return bytes of the file, checked."""
        from isal import isal_zlib

        try:
            stored = os.pread(self._handle, place.size, place.offset)
        except OSError as err:
            raise DamagedStoreError(
                f"{what} of {self.path} is not readable: {err}", self.path
            ) from err
        if isal_zlib.crc32(stored) != place.crc:
            name = what.split("'")[0]
            raise DamagedStoreError(
                f"{what} of {self.path} fails its checksum",
                self.path,
                (name,) if " " not in what else (),
            )
        return stored

    def verify(self) -> None:
        """Read every chunk; DamagedStoreError names the first bad one."""
        for number, chunk in enumerate(self.head.chunks.tolist()):
            self._stored(Place(*chunk), f"chunk {number}")

    def search(self, time: float, side: Literal["left", "right"], row0: int, row1: int) -> int:
        """Return the first of the rows row0 to row1 with TIME >= `time` (right: > `time`).

        TIME must not fall within these rows. Only few of them are decoded.
        """
        axis = self.head.axes.get(TIME)
        if axis is not None:
            row0, row1 = axis.window(time, row0, row1)
        while row1 - row0 > PROBE_ROWS:
            middle = (row0 + row1) // 2
            if np.searchsorted(self.read(TIME, middle, middle + 1), time, side):
                row0 = middle + 1
            else:
                row1 = middle
        return row0 + int(np.searchsorted(self.read(TIME, row0, row1), time, side))

    def time_of(self, row: int) -> float:
        """Return TIME of one row (s)."""
        return float(self.read(TIME, row, row + 1)[0])
