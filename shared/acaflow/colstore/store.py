"""The store as a whole, and merging.

Layers, each a class: `Reader` (no locks, nothing written), `Writer` (lock, commit, sweep),
`Appender`, `Store`. A commit writes segments first and the manifest last; whatever a dead writer
leaves is not named by the manifest, and the next writer sweeps it away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from acaflow.colstore import merging
from acaflow.colstore.appending import Appender
from acaflow.colstore.image import Codec, Spec
from acaflow.colstore.manifest import File, Manifest, Piece
from acaflow.colstore.reader import Mode, Range
from acaflow.colstore.records import BAD, Array, SourceRange

__all__ = ["Store"]


class Store(Appender):
    """A folder of time-ordered columns.

    Parameters
    ----------
    root : Path
        The folder; made by the first append.
    mode : 'keep' or 'cut'
        See `acaflow.colstore`.
    codec : 'zstd' or 'lz4'
        Compressor of new segments: small, or inflated in half the time.
    fanin : int
        Neighbouring pieces of one tier that are merged into one.
    max_rows : int
        Largest segment that a merge makes; less where rows of a column are wide
        (`merging.COLUMN_BYTES`).
    grace_s : float
        How long replaced segments stay for readers that know them (s).

    Raises
    ------
    DamagedStoreError
        From every method: a file is damaged; names it.
    StorageBusyError
        From `append` and `merge`: the disk is full, or somebody else has been writing for a
        minute. Nothing has changed.
    """

    def __init__(
        self,
        root: Path,
        mode: Mode,
        codec: Codec = "zstd",
        *,
        fanin: int = 8,
        max_rows: int = 16_000_000,
        grace_s: float = 3600.0,
    ) -> None:
        super().__init__(root, mode, codec, grace_s)
        self.fanin = fanin
        self.max_rows = max_rows

    def merge(
        self,
        wanted: Callable[[SourceRange], bool] | None = None,
        *,
        everything: bool = False,
    ) -> int:
        """Rewrite small neighbouring segments as larger ones, a commit each.

        Parameters
        ----------
        wanted : callable, optional
            In keep mode: rows of sources for which it is False are dropped from the segments
            that are rewritten. In cut mode hidden rows are.
        everything : bool
            Make as few segments as `max_rows` allows; otherwise only what is due.

        Returns
        -------
        int
            Number of segments that were replaced.
        """
        replaced = 0
        while True:
            with self._writing() as current:
                limit = self._limit(current)
                if everything:
                    runs = _by_schema(current)
                    return sum(self._merge(run, wanted, limit) for run in runs)
                due = merging.plan(current.pieces, current.files, self.fanin, limit)
                if due is None:
                    return replaced
                replaced += self._merge(due[0], wanted, due[1])

    def _limit(self, current: Manifest) -> int:
        widest_row = max((file.row_bytes for file in current.files.values()), default=1)
        return min(self.max_rows, merging.COLUMN_BYTES // widest_row)

    def _merge(
        self, run: list[Piece], wanted: Callable[[SourceRange], bool] | None, limit: int
    ) -> int:
        """Rewrite pieces in one commit; return how many files are replaced."""
        current = self._manifest()
        items = [item for piece in run for item in self._visible(piece, current)]
        if wanted and self.mode == "keep":
            items = [item for item in items if wanted(item)]
        items.sort(key=lambda item: item.t_first)
        groups = list(merging.groups(items, limit))
        # What is one file from its first row to its last stays as it is.
        whole = {
            group[0].segment for group in groups if _is_whole(group, current.files, current.pieces)
        }
        groups = [group for group in groups if group[0].segment not in whole]
        kept = [piece for piece in current.pieces if piece not in run or piece.file in whole]
        gone = {piece.file for piece in run} - {piece.file for piece in kept}
        if self.mode == "cut" and groups:
            gone |= _hidden(current, run)
        if not groups and not gone:
            return 0
        tier = 1 + max(current.files[piece.file].tier for piece in run)
        made = []
        for i, group in enumerate(groups, start=1):
            number = current.generation + i
            # The last one takes in the sources that have no rows any more: they still cover.
            rest = self._without_rows(gone, items, current) if i == len(groups) else []
            name, file = self._merged_segment(number, tier, group, rest, current)
            made.append((name, file))
            kept.append(
                Piece(
                    name,
                    0,
                    file.rows,
                    min(item.t_first for item in group),
                    max(item.t_last for item in group),
                )
            )
        self._commit(current, made, self._ordered(kept), current.columns, gone)
        return len(gone)

    def _without_rows(
        self, gone: Iterable[str], items: Sequence[SourceRange], current: Manifest
    ) -> list[SourceRange]:
        """Return the sources of files, in cut mode, of which no visible row is left."""
        if self.mode == "keep":
            return []
        seen = {(item.name, item.sha256) for item in items}
        found = {
            (item.name, item.sha256): item
            for name in gone
            for item in self._head(name, current).sources
        }
        return [item for key, item in sorted(found.items()) if key not in seen]

    def _merged_segment(
        self,
        number: int,
        tier: int,
        group: Sequence[SourceRange],
        rest: Sequence[SourceRange],
        current: Manifest,
    ) -> tuple[str, File]:
        """Write rows of sources as one segment; `rest` are sources without rows."""
        ranges = [(item.segment, item.row0, item.row1) for item in group]
        heads = [self._head(name, current) for name in dict.fromkeys(x.segment for x in group)]
        names = dict.fromkeys(name for head in heads for name in head.specs)
        plain = [name for name in names if "'" not in name]
        specs = {name: self._spec(name, heads, current) for name in plain}
        for name in plain if self.mode == "cut" else ():
            if any(name + BAD in head.specs or name not in head.specs for head in heads):
                specs[name + BAD] = self._spec(name + BAD, heads, current)
        row = 0
        items: list[SourceRange] = []
        for item in group:
            end = row + item.row1 - item.row0
            last = items[-1] if items else None
            if last and (last.name, last.sha256) == (item.name, item.sha256):
                items[-1] = replace(last, row1=end, t_last=item.t_last)
            else:
                items.append(replace(item, row0=row, row1=end))
            row = end
        items += [replace(item, row0=row, row1=row) for item in rest]
        schema = current.files[group[0].segment].schema
        load = self._loader(ranges, specs, row, current)
        return self._write(number, tier, specs, load, items, schema)

    def _loader(
        self, ranges: Sequence[Range], specs: Mapping[str, Spec], n: int, current: Manifest
    ) -> Callable[[str], Array]:
        """Return what gives the columns: all read at once if that is little, or one by one."""
        if n * sum(spec.row_bytes for spec in specs.values()) <= merging.COLUMN_BYTES:
            return self._read(ranges, list(specs), current).pop
        return lambda name: self._read(ranges, [name], current)[name]


def _is_whole(
    group: Sequence[SourceRange], files: Mapping[str, File], pieces: Iterable[Piece]
) -> bool:
    """Tell whether sources are all the rows of one file, in their order, and it is shown whole."""
    name = group[0].segment
    rows = files[name].rows
    ends = [0, *(item.row1 for item in group)]
    return (
        all(item.segment == name for item in group)
        and [item.row0 for item in group] == ends[:-1]
        and ends[-1] == rows
        and any(piece.file == name and piece.rows == rows for piece in pieces)
    )


def _hidden(current: Manifest, run: Sequence[Piece]) -> set[str]:
    """Return the files within the time of pieces that show no row."""
    shown = {piece.file for piece in current.pieces}
    return {
        name
        for name, file in current.files.items()
        if name not in shown and file.t_first <= run[-1].t_last and file.t_last >= run[0].t_first
    }


def _by_schema(current: Manifest) -> list[list[Piece]]:
    """Return the pieces that may be merged, by time within each group."""
    runs: dict[str, list[Piece]] = {}
    for piece in current.pieces:
        runs.setdefault(current.files[piece.file].schema, []).append(piece)
    return list(runs.values())
