"""What appending and merging have in common: the lock, new segments, the commit, the sweep."""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from acaflow import storage
from acaflow.colstore import cover, manifest
from acaflow.colstore.image import Codec, Spec, build
from acaflow.colstore.manifest import File, Manifest, Piece
from acaflow.colstore.reader import Mode, Reader
from acaflow.colstore.records import Array, SourceRange

__all__ = ["Writer"]

LOCK_WAIT_S = 60.0
"""How long a writer waits for another one (s)."""


class Writer(Reader):
    """The part of `Store` between reading and deciding what to write."""

    def __init__(self, root: Path, mode: Mode, codec: Codec, grace_s: float) -> None:
        super().__init__(root, mode)
        self.codec: Codec = codec
        self.grace_s = grace_s

    def _write(
        self,
        number: int,
        tier: int,
        specs: Mapping[str, Spec],
        load: Callable[[str], Array],
        items: Sequence[SourceRange],
        schema: str,
    ) -> tuple[str, File]:
        """Make a segment and put it in its place, durable but not yet named by the manifest."""
        n = max(item.row1 for item in items)
        image = build(n, specs, load, items, self.codec)
        name = f"{number:08d}.h5"
        part = self.root / "seg" / f".{name}.part"
        with storage.translated(part):
            part.write_bytes(image.content)
        storage.place(part, self.root / "seg" / name)
        times = [
            edge for item in items for edge in (item.t_first, item.t_last, *sum(item.cover, ()))
        ]
        return name, File(
            n,
            len(image.content),
            tier,
            schema,
            min(times),
            max(times),
            max(spec.row_bytes for spec in specs.values()),
            (image.head_place, image.chunks_place),
        )

    def _commit(
        self,
        current: Manifest,
        made: Sequence[tuple[str, File]],
        pieces: tuple[Piece, ...],
        columns: dict[str, Spec],
        gone: Iterable[str] = (),
    ) -> None:
        trash = {
            name: when
            for name, when in current.trash.items()
            if (self.root / "seg" / name).exists()
        }
        now = clock.time()
        manifest.write(
            self.root,
            Manifest(
                self.mode,
                current.generation + len(made),
                {k: v for k, v in current.files.items() if k not in gone} | dict(made),
                pieces,
                columns,
                trash | dict.fromkeys(sorted(gone), now),
            ),
        )

    def _ordered(self, pieces: Iterable[Piece]) -> tuple[Piece, ...]:
        if self.mode == "cut":
            return cover.joined(pieces)
        return tuple(sorted(pieces, key=lambda piece: (piece.t_first, piece.file)))

    @contextmanager
    def _writing(self) -> Iterator[Manifest]:
        """Hold the writer's lock; sweep before, and after a failure."""
        with storage.translated(self.root):
            storage.make_dirs(self.root / "seg")
            with storage.file_lock(self.root / "writer.lock", LOCK_WAIT_S):
                self._sweep()
                try:
                    yield self._manifest()
                except BaseException:
                    with suppress(OSError):
                        self._sweep()
                    raise

    def _sweep(self) -> None:
        """Delete what no manifest names, and replaced segments after the grace time."""
        current = self._manifest()
        spared = {
            name for name, when in current.trash.items() if clock.time() - when < self.grace_s
        } | set(current.files)
        for path in (self.root / "seg").iterdir():
            if path.name not in spared and path.suffix in (".h5", ".part"):
                path.unlink(missing_ok=True)
        for path in self.root.glob(f".{manifest.NAME}.*.part"):
            path.unlink(missing_ok=True)
