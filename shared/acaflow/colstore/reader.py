"""Reading a store: which rows there are, and their columns. No locks, nothing written."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from acaflow.colstore import manifest
from acaflow.colstore.image import Spec
from acaflow.colstore.manifest import File, Manifest, Piece
from acaflow.colstore.records import (
    BAD,
    TIME,
    Array,
    DamagedStoreError,
    Rows,
    SegmentGoneError,
    SourceRange,
)
from acaflow.colstore.segment import Head, Segment
from acaflow.errors import InputError, MissingDataError, SchemaError

__all__ = ["Mode", "Range", "Reader", "Steps", "widest"]

Mode = Literal["keep", "cut"]
Range = tuple[str, int, int]
"""A segment, first row, end row."""
IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
Steps = tuple[IntArray, IntArray, FloatArray, FloatArray]
Result = TypeVar("Result")

TRIES = 5
"""How often a reader begins anew when a merge took its segments away."""


class Reader:
    """The reading half of `Store`."""

    def __init__(self, root: Path, mode: Mode) -> None:
        self.root = root
        self.mode: Mode = mode
        self.reset()

    def reset(self) -> None:
        """Forget what was read of manifest and heads. No file stays open between calls."""
        self._known: tuple[object, Manifest] = (None, Manifest(self.mode))
        self._heads: dict[str, tuple[File, Head]] = {}

    def repeat(self, work: Callable[[], Result]) -> Result:
        """Return what `work` gives; again, at most 5 times, if a segment is gone meanwhile.

        `work` is a reader's whole sequence of `sources`, `rows_between` and `read_rows`.
        """
        for _ in range(TRIES - 1):
            try:
                return work()
            except SegmentGoneError:
                self.reset()
        return work()

    def sources(self, tstart: float = -math.inf, tstop: float = math.inf) -> list[SourceRange]:
        """Return the visible rows of every source that touch [tstart, tstop] (s), by t_first."""
        return self.repeat(lambda: self._sources(tstart, tstop))

    def _sources(self, tstart: float, tstop: float) -> list[SourceRange]:
        current = self._manifest()
        found = [
            item
            for piece in current.pieces
            if piece.t_last >= tstart and piece.t_first <= tstop
            for item in self._visible(piece, current, tstart, tstop)
        ]
        found = [item for item in found if item.t_last >= tstart and item.t_first <= tstop]
        return sorted(found, key=lambda item: item.t_first)

    def rows_between(
        self, item: SourceRange, tstart: float, tstop: float, *, closed: bool
    ) -> tuple[int, int]:
        """Return the rows of a source with TIME in [tstart, tstop), or with its end if `closed`.

        Returns
        -------
        tuple of int
            First and end row in the segment. If TIME falls within the source (``ascending`` is
            False) the range goes from the first such row to the last, and holds others too.
        """
        side: Literal["left", "right"] = "right" if closed else "left"
        row0, row1 = item.row0, item.row1
        if tstop < item.t_first or tstart > item.t_last:
            return row0, row0
        if item.t_first >= tstart and (item.t_last < tstop or (closed and item.t_last == tstop)):
            return row0, row1
        with self._open(item.segment, self._manifest()) as segment:
            if not item.ascending:
                time = segment.read(TIME, row0, row1)
                inside = np.flatnonzero(
                    (time >= tstart) & ((time <= tstop) if closed else (time < tstop))
                )
                return (
                    (row0 + int(inside[0]), row0 + int(inside[-1]) + 1)
                    if len(inside)
                    else (row0, row0)
                )
            if item.t_last >= tstop:
                row1 = segment.search(tstop, side, row0, row1)
            if item.t_first < tstart and row0 < row1:
                row0 = segment.search(tstart, "left", row0, row1)
        return row0, row1

    def read_rows(
        self,
        ranges: Sequence[Range],
        columns: Sequence[str],
        buffers: dict[str, Array] | None = None,
    ) -> dict[str, Array]:
        """Return rows of columns, one range after the other.

        Parameters
        ----------
        ranges : sequence of (str, int, int)
            Segment, first row, end row.
        columns : sequence of str
            Names.
        buffers : dict of str to ndarray, optional
            Memory of earlier calls, by column: used again where it fits, and renewed where not.
            The arrays returned are then parts of it.

        Returns
        -------
        dict of str to ndarray, shapes (n,) or (n, k)
            Native byte order; the widest dtype of the segments. In cut mode zero or blank where
            a segment has no such column.

        Raises
        ------
        MissingDataError
            A segment has no such column (keep mode), or no segment ever had (cut mode).
        SegmentGoneError
            A segment was merged and deleted meanwhile: `repeat` all.
        """
        return self._read(ranges, columns, self._manifest(), buffers)

    def _read(
        self,
        ranges: Sequence[Range],
        columns: Sequence[str],
        current: Manifest,
        buffers: dict[str, Array] | None = None,
    ) -> dict[str, Array]:
        """Read columns, among them hidden ones of bad samples."""
        parts = _joined(ranges)
        n = sum(row1 - row0 for _, row0, row1 in parts)
        # No rows still have a dtype: that of any segment.
        files = dict.fromkeys(name for name, _, _ in parts) or list(current.files)[:1]
        heads = [self._head(name, current) for name in files]
        out = {name: _room(buffers, name, self._spec(name, heads, current), n) for name in columns}
        row = 0
        for file, row0, row1 in parts:
            with self._open(file, current) as segment:
                places = segment.head.places
                # Columns that share a chunk come one after the other: it is inflated once.
                for name in sorted(out, key=lambda name: places.get(name, {}).get("chunk", -1)):
                    part = out[name][row : row + row1 - row0]
                    if name in places:
                        segment.read_into(name, row0, part)
                    elif name.endswith(BAD):
                        part[:] = name.removesuffix(BAD) not in places
                    else:
                        part[:] = np.zeros((), part.dtype)
            row += row1 - row0
        return out

    def _spec(self, name: str, heads: Sequence[Head], current: Manifest) -> Spec:
        """Return the kind of a column that holds the values of all these segments."""
        if name.endswith(BAD):
            return Spec("|b1", 0)
        specs = [head.specs[name] for head in heads if name in head.specs]
        if name in current.columns:
            return current.columns[name]
        if not specs or (self.mode == "keep" and len(specs) < len(heads)):
            raise MissingDataError(f"a segment of {self.root} has no column {name}")
        return widest(name, specs)

    def read(
        self, columns: Sequence[str], tstart: float = -math.inf, tstop: float = math.inf
    ) -> Rows:
        """Return the visible rows of [tstart, tstop) (s), in cut mode.

        Raises
        ------
        MissingDataError
            No segment ever had a column.
        """
        if self.mode != "cut":
            raise InputError(f"{self.root} is a store in keep mode: choose among its sources")
        return self.repeat(lambda: self._rows(columns, tstart, tstop))

    def _rows(self, columns: Sequence[str], tstart: float, tstop: float) -> Rows:
        current = self._manifest()
        pieces = [
            piece for piece in current.pieces if piece.t_last >= tstart and piece.t_first < tstop
        ]
        ranges = [
            (item.segment, *self.rows_between(item, tstart, tstop, closed=False))
            for item in map(_unnamed, pieces)
        ]
        hidden = [name + BAD for name in columns]
        out = self._read(ranges, [TIME, *columns, *hidden], current)
        return Rows(
            out[TIME],
            {name: out[name] for name in columns},
            {name: out[name + BAD] for name in columns},
        )

    def columns(self, segment: str) -> tuple[str, ...]:
        """Return the names of the columns of a segment, sorted."""
        specs = self._head(segment, self._manifest()).specs
        return tuple(sorted(name for name in specs if "'" not in name))

    def steps(self, segment: str, row0: int, row1: int) -> Steps | None:
        """Return the straight runs of TIME in rows of a segment, without decoding it.

        Returns
        -------
        row0, row1 : ndarray of int64
            First and end rows; the next sample after every row but the last of a run comes
            `step` later, to a millisecond.
        t0, step : ndarray of float64
            TIME of the first row (within 127 units in the last place) and step (s).
        None
            TIME of this segment is irregular.
        """
        axis = self._head(segment, self._manifest()).axes.get(TIME)
        return axis.steps(row0, row1) if axis else None

    def verify(self) -> list[str]:
        """Read every byte that matters; return the names of damaged segments."""
        return self.repeat(self._verify)

    def _verify(self) -> list[str]:
        damaged = []
        self._heads = {}
        current = self._manifest()
        for name in current.files:
            try:
                with self._open(name, current) as segment:
                    segment.verify()
            except DamagedStoreError:
                damaged.append(name)
        return damaged

    # --- state ---

    def _manifest(self) -> Manifest:
        """Return the present state, read only if it has changed."""
        found = manifest.identity(self.root)
        if found is None:
            return Manifest(self.mode)
        # The file may be replaced between the two steps: then it is read once more next time.
        if self._known[0] != found:
            current = manifest.load(self.root, self.mode)
            self._known = (found, current)
            # Replaced segments can be read until they are deleted.
            self._heads = {
                name: (file, head)
                for name, (file, head) in self._heads.items()
                if current.files.get(name, file) == file
                and (name in current.files or name in current.trash)
            }
        return self._known[1]

    def _open(self, name: str, current: Manifest) -> Segment:
        """Open a segment, with its head from memory."""
        path = self.root / "seg" / name
        file, head = self._heads.get(name, (None, None))
        if name in current.files and current.files[name] != file:
            file, head = current.files[name], None
        if file is None:
            raise SegmentGoneError(f"segment {path} is no part of the store", path)
        segment = Segment(path, file.places, head)
        self._heads[name] = (file, segment.head)
        return segment

    def _head(self, name: str, current: Manifest) -> Head:
        file, head = self._heads.get(name, (None, None))
        if head is not None and current.files.get(name, file) == file:
            return head
        with self._open(name, current) as segment:
            return segment.head

    def _visible(
        self,
        piece: Piece,
        current: Manifest,
        tstart: float = -math.inf,
        tstop: float = math.inf,
    ) -> list[SourceRange]:
        """Return the sources of a piece, cut to its rows, that touch [tstart, tstop] (s)."""
        return [
            _cut(item, piece)
            for item in self._head(piece.file, current).sources
            if item.t_last >= tstart
            and item.t_first <= tstop
            and max(item.row0, piece.row0) < min(item.row1, piece.row1)
        ]


def _room(buffers: dict[str, Array] | None, name: str, spec: Spec, n: int) -> Array:
    """Return an array for rows of a column, from `buffers` if that is given."""
    if buffers is None:
        return spec.empty(n)
    wanted = spec.empty(0)
    known = buffers.get(name)
    if known is None or len(known) < n or known.dtype != wanted.dtype or known.ndim != wanted.ndim:
        buffers[name] = spec.empty(n + n // 4)
    return buffers[name][:n]


def _cut(item: SourceRange, piece: Piece) -> SourceRange:
    """Return the rows of a source that a piece shows."""
    if item.row0 >= piece.row0 and item.row1 <= piece.row1:
        return item
    return replace(
        item,
        row0=max(item.row0, piece.row0),
        row1=min(item.row1, piece.row1),
        t_first=piece.t_first if item.row0 < piece.row0 else item.t_first,
        t_last=piece.t_last if item.row1 > piece.row1 else item.t_last,
    )


def _joined(ranges: Sequence[Range]) -> list[Range]:
    """Return the ranges with neighbours made one, so that no chunk is inflated twice."""
    joined: list[Range] = []
    for name, row0, row1 in ranges:
        if row0 == row1:
            continue
        if joined and joined[-1][0] == name and joined[-1][2] == row0:
            joined[-1] = (name, joined[-1][1], row1)
        else:
            joined.append((name, row0, row1))
    return joined


def _unnamed(piece: Piece) -> SourceRange:
    """Return a piece as rows of one source."""
    return SourceRange(
        "", 0, 0, "", piece.file, piece.row0, piece.row1, piece.t_first, piece.t_last
    )


def widest(name: str, specs: Sequence[Spec]) -> Spec:
    """Return the kind that holds the values of all; SchemaError if there is none."""
    if len(set(specs)) == 1:
        return specs[0]
    dtypes = [np.dtype(spec.dtype) for spec in specs]
    if len({spec.width for spec in specs}) > 1 or len({dtype.kind == "S" for dtype in dtypes}) > 1:
        raise SchemaError(f"column {name} is of kinds that do not go together: {set(specs)}")
    return Spec(np.result_type(*dtypes).str, specs[0].width)
