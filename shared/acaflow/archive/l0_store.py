"""The fast copy of the level-0 archive: decoded columns, one column store per slot and size.

Files::

    <data_root>/store/<slot>/<size>/    an `acaflow.colstore.Store` in keep mode
    <data_root>/store/<slot>/<size>/damaged.json    a reader found it damaged; rebuild it

A source of a store is one level-0 file, known by its name and the SHA-256 of its content, with
all its rows in file order. Which files count is decided by the index alone, so a store may lack
files (they are read from the tree) and may hold superseded ones (nobody asks for them). It can
be deleted at any time.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from acaflow import storage
from acaflow.archive.l0_file import L0File, read_l0_content
from acaflow.archive.l0_fits import ImageTable
from acaflow.archive.l0_format import COLUMNS
from acaflow.colstore import DamagedStoreError, Source, SourceRange, Store
from acaflow.errors import AcaflowError

__all__ = [
    "BATCH",
    "CODEC",
    "DAMAGE_NOTE",
    "Part",
    "add",
    "build",
    "merge",
    "missing",
    "physical",
    "read_parts",
    "replace",
    "store_of",
]

log = logging.getLogger(__name__)

DAMAGE_NOTE = "damaged.json"
"""Left in a damaged store by whoever met the damage; its content says what is wrong."""

CODEC: Literal["zstd"] = "zstd"
"""Compressor of the stores; lz4 inflates in half the time but takes more than the gz files."""
BATCH = 32
"""Most files to append in one commit: their rows are in memory together."""

Array = npt.NDArray[Any]


def physical(table: ImageTable, name: str) -> Array:
    """Return a column of a file, contiguous, with its type of `l0_format.COLUMNS`."""
    values = table.column(name)
    return np.ascontiguousarray(values.astype(COLUMNS[name], copy=False))


@dataclass(frozen=True)
class Part:
    """Rows of one file inside arrays that may hold rows of others too.

    Attributes
    ----------
    columns : dict of str to ndarray
        Columns that the file has, of those asked for.
    start, stop : int
        The rows in these arrays.
    first : int
        Number of the first of them in the file.
    """

    columns: dict[str, Array]
    start: int
    stop: int
    first: int

    def __len__(self) -> int:
        return self.stop - self.start


@lru_cache(maxsize=256)
def _cached(root: Path) -> Store:
    """Return the same store each time: it remembers its manifest and heads."""
    return Store(root, "keep", CODEC)


def store_of(data_root: Path, slot: int, imgsize: int) -> Store:
    """Return the store of a slot and image size; it may not exist yet."""
    return _cached(data_root / "store" / str(slot) / str(imgsize))


# --- Reading ------------------------------------------------------------------------------------


def read_parts(
    data_root: Path,
    records: Sequence[L0File],
    tstart: float,
    tstop: float,
    columns: Sequence[str],
    buffers: dict[str, Array] | None = None,
) -> dict[str, Part]:
    """Return what the stores have of some files of one slot.

    Parameters
    ----------
    data_root : Path
        Folder of the level-0 archive.
    records : sequence of L0File
        The files, in file order.
    tstart, tstop : float
        Rows outside this interval may be left out (CXC seconds).
    columns : sequence of str
        Names of `l0_format.COLUMNS`, TIME among them.
    buffers : dict, optional
        Memory to use again (`Store.read_rows`); for files of one image size.

    Returns
    -------
    dict of str to Part
        By file name; a file that is not stored, or not readable there, is absent.
    """
    parts: dict[str, Part] = {}
    for size in sorted({record.imgsize for record in records}):
        those = [record for record in records if record.imgsize == size]
        store = store_of(data_root, those[0].slot, size)
        read = partial(_read, store, those, tstart, tstop, columns, buffers)
        with _noting(store, "the level-0 files are read instead"):
            parts |= store.repeat(read)
    return parts


def _read(
    store: Store,
    records: Sequence[L0File],
    tstart: float,
    tstop: float,
    columns: Sequence[str],
    buffers: dict[str, Array] | None,
) -> dict[str, Part]:
    known = {
        (item.name, item.sha256): item
        for item in store.sources(
            max(tstart, min(record.time_min for record in records)),
            min(tstop, max(record.time_max for record in records)),
        )
    }
    found = [
        (record, item)
        for record in records
        if (item := known.get((record.filename, record.sha256)))
    ]
    parts: dict[str, Part] = {}
    groups = groupby(found, lambda pair: store.columns(pair[1].segment))
    alike = [(present, list(group)) for present, group in groups]
    for present, group in alike:
        parts |= _read_alike(
            store,
            group,
            tstart,
            tstop,
            [name for name in columns if name in present],
            buffers if len(alike) == 1 else None,
        )
    return parts


def _read_alike(
    store: Store,
    found: Sequence[tuple[L0File, SourceRange]],
    tstart: float,
    tstop: float,
    columns: Sequence[str],
    buffers: dict[str, Array] | None,
) -> dict[str, Part]:
    """Read files that have the same columns into common arrays."""
    ranges = [store.rows_between(item, tstart, tstop, closed=True) for _, item in found]
    arrays = store.read_rows(
        [(item.segment, *rows) for (_, item), rows in zip(found, ranges, strict=True)],
        columns,
        buffers,
    )
    if "IMGRAW" in arrays:
        size = found[0][0].imgsize
        arrays["IMGRAW"] = arrays["IMGRAW"].reshape(-1, size, size)
    stops = np.cumsum([row1 - row0 for row0, row1 in ranges]).tolist()
    return {
        record.filename: Part(arrays, stop - (row1 - row0), stop, row0 - item.row0)
        for (record, item), (row0, row1), stop in zip(found, ranges, stops, strict=True)
    }


@contextmanager
def _noting(store: Store, consequence: str) -> Iterator[None]:
    """Go on behind the block if the store is damaged; log that and what comes of it, and note it.

    The note lies beside the manifest; where nothing can be written, the log has it.
    """
    try:
        yield
    except DamagedStoreError as err:
        log.warning("%s; %s", err, consequence)
        path = store.root / DAMAGE_NOTE
        if path.exists():
            return  # told already
        note = {"segment": err.path.name if err.path else "", "error": str(err)}
        with suppress(OSError, AcaflowError):
            storage.write_text(path, json.dumps(note, sort_keys=True))


# --- Writing ------------------------------------------------------------------------------------


def source_of(record: L0File, table: ImageTable) -> Source:
    """Return the columns of a file as a source."""
    columns = {name: physical(table, name) for name in COLUMNS if name in table.names}
    columns["IMGRAW"] = columns["IMGRAW"].reshape(len(table.rows), -1)
    return Source(record.filename, record.revision or 0, record.filetime, record.sha256, columns)


def missing(data_root: Path, slot: int, imgsize: int, wanted: Mapping[str, str]) -> list[str]:
    """Return which files, given as name and SHA-256, a store lacks; none if it is damaged."""
    store = store_of(data_root, slot, imgsize)
    with _noting(store, "nothing is added before a rebuild"):
        known = {(item.name, item.sha256) for item in store.sources()}
        return [name for name, sha256 in wanted.items() if (name, sha256) not in known]
    return []


def add(data_root: Path, files: Sequence[tuple[L0File, ImageTable]]) -> int:
    """Append files of one slot and image size to their store, in one commit.

    Returns
    -------
    int
        Number of those that were new there; 0 too if the store is damaged, which is noted.
    """
    if not files:
        return 0
    store = store_of(data_root, files[0][0].slot, files[0][0].imgsize)
    with _noting(store, "nothing is added before a rebuild"):
        return len(store.append(source_of(record, table) for record, table in files))
    return 0


def merge(data_root: Path, slot: int, imgsize: int, wanted: Mapping[str, str]) -> int:
    """Merge small segments, leaving out files that are not wanted (name and SHA-256).

    Returns
    -------
    int
        Segments rewritten; 0 too if the store is damaged, which is noted.
    """
    store = store_of(data_root, slot, imgsize)
    with _noting(store, "it is not merged"):
        return store.merge(lambda item: wanted.get(item.name) == item.sha256)
    return 0


def build(store: Store, data_root: Path, records: Sequence[L0File]) -> None:
    """Append files of one slot and size to an empty store, and merge it.

    Raises
    ------
    DataError, FileNotFoundError
        A file cannot be read, or is not the one that was indexed.
    """
    for first in range(0, len(records), BATCH):
        store.append(
            source_of(*read_l0_content(data_root / record.path, record.filename))
            for record in records[first : first + BATCH]
        )
    store.merge(everything=True)


def replace(data_root: Path, slot: int, imgsize: int, staged: Path) -> None:
    """Put a built store in the place of the present one; none if nothing was built.

    Between the two renames readers find no store, and read the files.
    """
    root = store_of(data_root, slot, imgsize).root
    discarded = staged.with_name(f"{staged.name}.old")
    with storage.translated(root):
        if root.exists():
            root.rename(discarded)
        if staged.exists():
            storage.make_dirs(root.parent)
            staged.rename(root)
            storage.fsync_dir(root.parent)
        shutil.rmtree(discarded, ignore_errors=True)
