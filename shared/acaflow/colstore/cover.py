"""Which rows of overlapping sources are visible in cut mode: pure interval work.

A row is visible where no source of higher rank covers its time. That depends on the set of
sources alone, so every order of arrival gives the same rows. Merging drops hidden rows but never
forgets what a source covers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from acaflow.colstore.manifest import Piece
from acaflow.colstore.records import TIME, Cover, DamagedStoreError, Source

__all__ = ["cleaned", "coverage", "divide", "joined", "subtract", "uncovered"]

log = logging.getLogger(__name__)

HOLE_PERIODS = 3.0
HOLE_S = 60.0
"""A step of more than both (periods, s) is a hole, which a source does not cover."""

FloatArray = npt.NDArray[np.float64]
Ranges = list[tuple[int, int]]


def cleaned(source: Source) -> Source:
    """Return the rows sorted by TIME; of equal stamps the last row stays."""
    time = source.columns[TIME]
    order = np.argsort(time, kind="stable")
    stamps = time[order]
    keep = order[np.append(stamps[1:] != stamps[:-1], True)]
    if len(keep) == len(time) and (np.diff(order) == 1).all():
        return source
    log.warning(
        "%s: %d rows out of order, %d of equal stamps dropped",
        source.name,
        np.count_nonzero(np.diff(order) != 1),
        len(time) - len(keep),
    )
    return replace(
        source,
        columns={name: values[keep] for name, values in source.columns.items()},
        bads={name: values[keep] for name, values in source.bads.items()},
    )


def coverage(time: FloatArray) -> Cover:
    """Return the closed intervals that stamps cover: half a period to both sides, no holes."""
    if len(time) == 1:
        return ((float(time[0]), float(time[0])),)
    steps = np.diff(time)
    period = float(np.median(steps))
    holes = np.flatnonzero(steps > max(HOLE_PERIODS * period, HOLE_S))
    first = np.append(0, holes + 1)
    last = np.append(holes, len(time) - 1)
    half = period / 2
    return tuple(
        (float(a) - half, float(b) + half) for a, b in zip(time[first], time[last], strict=True)
    )


def uncovered(time: FloatArray, own: Cover, covers: Iterable[Cover]) -> Ranges:
    """Return the ranges of rising stamps that lie in none of `covers`, divided at holes.

    `own` is the coverage of the stamps themselves. Rows of others may lie in the holes.
    """
    hidden = [_rows(time, a, b) for cover in covers for a, b in cover]
    return subtract([_rows(time, a, b) for a, b in own], hidden)


def _rows(time: FloatArray, first: float, last: float) -> tuple[int, int]:
    """Return the range of rising stamps in a closed interval."""
    return int(np.searchsorted(time, first, "left")), int(np.searchsorted(time, last, "right"))


def subtract(ranges: Ranges, removed: Iterable[tuple[int, int]]) -> Ranges:
    """Return what is left of row ranges."""
    return _without(ranges, [(a, b) for a, b in removed if a < b])


def divide(ranges: Ranges, ends: Iterable[int]) -> Ranges:
    """Return row ranges divided before rows."""
    return _without(ranges, [(row, row) for row in ends])


def _without(ranges: Ranges, removed: Iterable[tuple[int, int]]) -> Ranges:
    """Return what lies before and behind each removed range, which may be empty."""
    for a, b in removed:
        ranges = [
            part
            for r0, r1 in ranges
            for part in ((r0, min(r1, a)), (max(r0, b), r1))
            if part[0] < part[1]
        ]
    return ranges


def joined(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """Return the pieces by time, neighbouring rows of a file as one.

    Raises
    ------
    DamagedStoreError
        Two pieces overlap in time.
    """
    result: list[Piece] = []
    for piece in sorted(pieces, key=lambda piece: piece.t_first):
        before = result[-1] if result else None
        if before and before.t_last >= piece.t_first:
            raise DamagedStoreError(
                f"{piece.file} and {before.file} both show {piece.t_first}", piece.file
            )
        if before and (before.file, before.row1) == (piece.file, piece.row0):
            result[-1] = replace(before, row1=piece.row1, t_last=piece.t_last)
        else:
            result.append(piece)
    return tuple(result)
