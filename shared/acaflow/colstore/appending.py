"""Adding sources to a store, and in cut mode deciding what they hide."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from acaflow.colstore import cover
from acaflow.colstore.image import Spec
from acaflow.colstore.manifest import File, Manifest, Piece
from acaflow.colstore.reader import Mode, widest
from acaflow.colstore.records import BAD, TIME, Array, Source, SourceRange, native
from acaflow.colstore.writer import Writer
from acaflow.errors import ArchiveConflictError

__all__ = ["Appender"]


class Appender(Writer):
    """The part of `Store` that takes sources in."""

    def append(self, sources: Iterable[Source]) -> list[str]:
        """Add sources, in one commit.

        Parameters
        ----------
        sources : iterable of Source
            One known by name and sha256 changes nothing, nor does one without rows.

        Returns
        -------
        list of str
            Names of those that were new.

        Raises
        ------
        SchemaError
            A column that the store cannot hold.
        ArchiveConflictError
            In cut mode: a source of this name with other bytes. (In keep mode both are stored.)
        """
        given = [native(source) for source in sources]
        with self._writing() as current:
            new = self._new(current, [source for source in given if len(source.columns[TIME])])
            if not new:
                return []
            if self.mode == "cut":
                new = [cover.cleaned(source) for source in new]
            new.sort(key=lambda source: (_schema(source), float(source.columns[TIME].min())))
            made = [
                self._append_segment(current.generation + i, list(group))
                for i, (_, group) in enumerate(groupby(new, key=_schema), start=1)
            ]
            pieces = self._with_new(current, made, new)
            columns = _all_columns(current.columns, new) if self.mode == "cut" else {}
            self._commit(current, [(name, file) for name, file, _ in made], pieces, columns)
        return [source.name for source in new]

    def _new(self, current: Manifest, sources: Sequence[Source]) -> list[Source]:
        """Return the sources that the store does not have, each once."""
        new: dict[tuple[str, str], Source] = {}
        for source in sources:
            time = source.columns[TIME]
            known = {
                (item.name, item.sha256)
                for name, file in current.files.items()
                if file.t_first <= time.max() and file.t_last >= time.min()
                for item in self._head(name, current).sources
            } | set(new)
            if (source.name, source.sha256) in known:
                continue
            if self.mode == "cut" and source.name in {name for name, _ in known}:
                raise ArchiveConflictError(
                    f"{source.name} is in {self.root} with other content than {source.sha256}"
                )
            new[source.name, source.sha256] = source
        return list(new.values())

    def _append_segment(
        self, number: int, sources: Sequence[Source]
    ) -> tuple[str, File, list[SourceRange]]:
        """Write sources of equal columns as one segment."""
        first = sources[0].columns
        specs = {name: Spec.of(values) for name, values in first.items()}
        for name in first:
            if any(name in source.bads and source.bads[name].any() for source in sources):
                specs[name + BAD] = Spec("|b1", 0)

        def load(name: str) -> Array:
            parts = [
                source.columns[name]
                if name in source.columns
                else source.bads.get(
                    name.removesuffix(BAD), np.zeros(len(source.columns[TIME]), bool)
                )
                for source in sources
            ]
            return parts[0] if len(parts) == 1 else np.concatenate(parts)

        items: list[SourceRange] = []
        for source in sources:
            row0 = items[-1].row1 if items else 0
            items.append(_item(source, row0, self.mode))
        # In cut mode segments of other columns are merged too: they differ in nothing else.
        schema = _schema(sources[0]) if self.mode == "keep" else ""
        name, file = self._write(number, 0, specs, load, items, schema)
        return name, file, items

    def _with_new(
        self,
        current: Manifest,
        made: Sequence[tuple[str, File, list[SourceRange]]],
        sources: Sequence[Source],
    ) -> tuple[Piece, ...]:
        """Return the pieces with those of the new segments."""
        if self.mode == "keep":
            whole = [Piece(name, 0, file.rows, file.t_first, file.t_last) for name, file, _ in made]
            return self._ordered([*current.pieces, *whole])
        items = [replace(item, segment=name) for name, _, found in made for item in found]
        old = [
            item
            for name, file in current.files.items()
            if any(file.t_first <= new.t_last and file.t_last >= new.t_first for _, new, _ in made)
            for item in self._head(name, current).sources
        ]
        pieces: list[Piece] = []
        for item, source in zip(items, sources, strict=True):
            time = source.columns[TIME]
            higher = [other.cover for other in (*old, *items) if other.rank > item.rank]
            for a, b in cover.uncovered(time, item.cover, higher):
                edges = float(time[a]), float(time[b - 1])
                pieces.append(Piece(item.segment, item.row0 + a, item.row0 + b, *edges))
        kept = [part for piece in current.pieces for part in self._cut(piece, items, pieces)]
        return self._ordered([*kept, *pieces])

    def _cut(self, piece: Piece, items: Sequence[SourceRange], new: Sequence[Piece]) -> list[Piece]:
        """Return what new sources of higher rank leave of a piece, divided around new pieces."""
        current = self._manifest()
        near = [
            item
            for item in items
            if item.cover[0][0] <= piece.t_last and item.cover[-1][1] >= piece.t_first
        ]
        if not near:
            return [piece]
        removed = [
            self.rows_between(part, a, b, closed=True)
            for part in self._visible(piece, current)
            for item in near
            if item.rank > part.rank
            for a, b in item.cover
        ]
        left = cover.subtract([(piece.row0, piece.row1)], removed)
        with self._open(piece.file, current) as segment:
            ends = [
                segment.search(other.t_first, "left", piece.row0, piece.row1)
                for other in new
                if piece.t_first < other.t_first < piece.t_last
            ]
            return [
                Piece(piece.file, a, b, segment.time_of(a), segment.time_of(b - 1))
                for a, b in cover.divide(left, ends)
            ]


def _item(source: Source, row0: int, mode: Mode) -> SourceRange:
    """Return the entry of a new source whose rows begin at `row0`."""
    time = source.columns[TIME]
    return SourceRange(
        source.name,
        source.revision,
        source.filetime,
        source.sha256,
        "",
        row0,
        row0 + len(time),
        float(time.min()),
        float(time.max()),
        bool((np.diff(time) >= 0).all()),
        cover.coverage(time) if mode == "cut" else (),
    )


def _columns(source: Source) -> dict[str, Spec]:
    return {name: Spec.of(values) for name, values in sorted(source.columns.items())}


def _schema(source: Source) -> str:
    """Return a short text that is equal for equal columns."""
    return hashlib.sha256(repr(_columns(source)).encode()).hexdigest()[:16]


def _all_columns(known: Mapping[str, Spec], sources: Iterable[Source]) -> dict[str, Spec]:
    """Return the columns of a store after these sources."""
    columns = dict(known)
    for source in sources:
        for name, spec in _columns(source).items():
            columns[name] = widest(name, [columns.get(name, spec), spec])
    return columns
