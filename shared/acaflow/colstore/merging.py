"""Which pieces of a store are worth merging."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from acaflow.colstore.manifest import File, Piece
from acaflow.colstore.records import SourceRange

__all__ = ["COLUMN_BYTES", "groups", "plan"]

COLUMN_BYTES = 256 << 20
"""Largest column of a merged segment (bytes): what a merge holds in memory beside the compressed
segment (our choice)."""
SLACK = 2
"""A merged segment may have so many times the wanted number of rows, to take in small ones."""
MAX_STUCK = 32
"""So many small pieces may lie between large ones before they are joined to these."""

Run = list[Piece]


def plan(
    pieces: Sequence[Piece], files: Mapping[str, File], fanin: int, limit: int
) -> tuple[Run, int] | None:
    """Return neighbouring pieces to merge next and the largest result (rows), or None.

    The lowest tier goes first, so that each row is rewritten once per tier. Pieces of half of
    `limit` rows are left alone.
    """
    tiers = {piece: files[piece.file].tier for piece in pieces}
    runs = _runs(pieces, lambda piece: (piece.rows * 2 >= limit, files[piece.file].schema))
    small = [run for run in runs if run[0].rows * 2 < limit]
    for tier in sorted({tiers[piece] for run in small for piece in run}):
        for run in small:
            for part in _runs(run, lambda piece, tier=tier: tiers[piece] <= tier):  # type: ignore[misc]
                if tiers[part[0]] <= tier and sum(tiers[x] == tier for x in part) >= fanin:
                    return part, limit
    return _stuck(runs, files, limit)


def _stuck(runs: list[Run], files: Mapping[str, File], limit: int) -> tuple[Run, int] | None:
    """Return small pieces and the smaller of the large ones beside them."""
    # Those after the last large piece will have company by and by.
    found = [i for i, run in enumerate(runs[:-1]) if run[0].rows * 2 < limit]
    if sum(len(runs[i]) for i in found) <= MAX_STUCK:
        return None
    for i in found:
        beside = [[runs[i - 1][-1], *runs[i]]] if i else []
        beside.append([*runs[i], runs[i + 1][0]])
        fitting = [
            run
            for run in beside
            if len({files[piece.file].schema for piece in run}) == 1
            and sum(piece.rows for piece in run) <= SLACK * limit
        ]
        if fitting:
            return min(fitting, key=lambda run: sum(piece.rows for piece in run)), SLACK * limit
    return None


def _runs(pieces: Iterable[Piece], key: Callable[[Piece], object]) -> list[Run]:
    """Return neighbours of equal key."""
    return [list(run) for _, run in groupby(pieces, key)]


def groups(items: Iterable[SourceRange], limit: int) -> Iterator[list[SourceRange]]:
    """Yield sources that go into one segment, by time; a source is never divided."""
    group: list[SourceRange] = []
    rows = 0
    for item in items:
        if group and rows + item.row1 - item.row0 > limit:
            yield group
            group, rows = [], 0
        group.append(item)
        rows += item.row1 - item.row0
    if group:
        yield group
