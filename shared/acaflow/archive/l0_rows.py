"""Rows of one slot of the level-0 archive, column by column: what every reader uses.

`read_rows` asks the index which files hold an interval, takes their columns from the column
store where it has them and from the delivered files where not, and leaves out what a file of
higher rank has too. Both ways give the same arrays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from acaflow.archive import l0_store
from acaflow.archive.l0_archive import Archive, OutOfStep
from acaflow.archive.l0_file import L0File, covered_rows, row_keys
from acaflow.archive.l0_fits import ImageTable
from acaflow.archive.l0_format import COLUMNS, IMGSIZES
from acaflow.archive.l0_store import Part, physical

__all__ = ["IMGSIZES", "Block", "Rows", "read_rows", "stream_rows"]

PIECE_ROWS = 1 << 20
"""Rows of a piece of a stream: its columns are a few megabytes each."""
TRIES = 100
"""Most reads of one request: each but the first follows the replacement of a file."""

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Block:
    """Rows of one image size, file after file.

    Attributes
    ----------
    imgsize : int
        Image size 4, 6, 8 (pixels).
    columns : dict of str to ndarray, shape (n,); IMGRAW (n, imgsize, imgsize)
        What these files have of the columns asked for; IMGRAW in DN. Rows of delivered files are
        views of them, in their byte order.
    files : list of (str, int)
        Base names of the files and how many rows are of each.
    """

    imgsize: int
    columns: dict[str, Array]
    files: list[tuple[str, int]]

    def __len__(self) -> int:
        return sum(count for _, count in self.files)


@dataclass(frozen=True)
class Rows:
    """Rows of one slot.

    Attributes
    ----------
    blocks : list of Block
        In file order.
    order : ndarray of intp, shape (n,), or None
        Sorts the rows of all blocks by TIME; None if they are sorted, or need not be.
    """

    blocks: list[Block]
    order: npt.NDArray[np.intp] | None

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    def column(self, name: str) -> tuple[Array, Mask | None]:
        """Return a column of rows of one image size, and where it is missing.

        Returns
        -------
        values : ndarray, shape (n, ...)
            In native byte order, 0 or blank where missing; not to be changed.
        missing : ndarray of bool, shape (n,), or None
            None if every row has it.
        """
        if not self.blocks:
            return np.empty(0, COLUMNS[name]), None
        values = [_values(block, name) for block in self.blocks]
        joined = values[0] if len(values) == 1 else np.concatenate(values)
        joined = joined.astype(COLUMNS[name].base, copy=False)
        missing = None
        if not all(name in block.columns for block in self.blocks):
            counts = [len(block) for block in self.blocks]
            missing = np.repeat([name not in block.columns for block in self.blocks], counts)
        if self.order is not None:
            joined = joined[self.order]
            missing = None if missing is None else missing[self.order]
        return joined, missing


def _values(block: Block, name: str) -> Array:
    if name in block.columns:
        return block.columns[name]
    return np.zeros(len(block), COLUMNS[name])


def read_rows(
    archive: Archive,
    slot: int,
    tstart: float,
    tstop: float,
    columns: Collection[str],
    imgsizes: Collection[int] = IMGSIZES,
    *,
    unique: bool = True,
    good: bool = False,
) -> Rows:
    """Return the rows of a slot in a time interval.

    Parameters
    ----------
    archive : Archive
        Where.
    slot : int
        Image slot, 0 to 7.
    tstart, tstop : float
        CXC seconds; rows with ``tstart <= TIME <= tstop`` are returned.
    columns : collection of str
        Names of `l0_format.COLUMNS`; TIME is always read.
    imgsizes : collection of int
        Image sizes 4, 6, 8 (pixels).
    unique : bool
        Leave out rows that a file of higher rank has too, and order by TIME, rows of equal TIME
        in file order; False gives every row of every active file in file order.
    good : bool
        Only rows with QUALITY 0.

    Returns
    -------
    Rows
        BGDAVG and BGDRMS in DN, temperatures in kelvin.

    Raises
    ------
    FileNotFoundError, CorruptFileError, SchemaError
        An indexed file is missing, unreadable or not the one that was indexed.

    Notes
    -----
    The index is asked first and the files are read after, so a file may be replaced or withdrawn
    in between. Then all is read anew, once the index knows.
    """
    wanted = _wanted(columns, good)
    tries = TRIES
    while True:
        try:
            chosen, hidden = _choose(archive, slot, tstart, tstop, imgsizes, unique)
            blocks = _read(archive, chosen, hidden, tstart, tstop, wanted, good)
            return Rows(blocks, _order(blocks) if unique else None)
        except OutOfStep as found:
            tries -= 1
            if not tries or not archive.catches_up(found):
                raise found.error from None


def stream_rows(
    archive: Archive,
    slot: int,
    tstart: float,
    tstop: float,
    columns: Collection[str],
    imgsize: int,
) -> Iterator[Rows]:
    """Yield the rows of `read_rows`, unique, in pieces of about `PIECE_ROWS` that follow in TIME.

    Years of data pass through memory that is used again and again: what a piece holds is gone
    with the next one.
    """
    wanted = _wanted(columns)
    buffers: dict[str, Array] = {}
    tries = TRIES
    while True:
        try:
            chosen, hidden = _choose(archive, slot, tstart, tstop, [imgsize], unique=True)
            for group in _groups(chosen):
                blocks = _read(archive, group, hidden, tstart, tstop, wanted, buffers=buffers)
                if blocks:
                    yield Rows(blocks, _order(blocks))
                # Should a later file be replaced meanwhile, this is where reading goes on.
                tstart = np.nextafter(max(record.time_max for record in group), np.inf)
            return
        except OutOfStep as found:
            tries -= 1
            if not tries or not archive.catches_up(found):
                raise found.error from None


def _wanted(columns: Collection[str], good: bool = False) -> list[str]:
    required = {"TIME", "QUALITY"} if good else {"TIME"}
    return [name for name in COLUMNS if name in columns or name in required]


def _choose(
    archive: Archive,
    slot: int,
    tstart: float,
    tstop: float,
    imgsizes: Collection[int],
    unique: bool,
) -> tuple[list[L0File], dict[str, Mask]]:
    """Return the files of an interval, and which of their rows are superseded."""
    near = archive.near(slot, tstart, tstop) if tstart <= tstop else []
    chosen = [
        record
        for record in near
        if record.imgsize in imgsizes and record.time_min <= tstop and record.time_max >= tstart
    ]
    return chosen, _superseded(near, archive) if unique else {}


def _groups(records: Sequence[L0File]) -> Iterator[list[L0File]]:
    """Cut files into groups, each in file order, that do not overlap in TIME."""
    group: list[int] = []
    rows, last = 0, -np.inf
    for i in sorted(range(len(records)), key=lambda i: records[i].time_min):
        if rows >= PIECE_ROWS and records[i].time_min > last:
            yield [records[j] for j in sorted(group)]
            group, rows = [], 0
        group.append(i)
        rows += records[i].rows
        last = max(last, records[i].time_max)
    if group:
        yield [records[j] for j in sorted(group)]


def _read(
    archive: Archive,
    records: Sequence[L0File],
    hidden: Mapping[str, Mask],
    tstart: float,
    tstop: float,
    columns: Sequence[str],
    good: bool = False,
    buffers: dict[str, Array] | None = None,
) -> list[Block]:
    parts = l0_store.read_parts(archive.root, records, tstart, tstop, columns, buffers)
    kept = []
    for record in records:
        part = parts.get(record.filename) or _part_of_file(archive.read(record), columns)
        keep = _keep(record, part, tstart, tstop, hidden.get(record.filename), good)
        kept.append((record, part, keep))
    return list(_blocks(kept))


def _part_of_file(table: ImageTable, columns: Sequence[str]) -> Part:
    stored = {}
    for name in columns:
        if name in table.names:
            values = table.rows[name]
            as_stored = name not in table.scaling and values.dtype.kind in "uif"
            is_alike = as_stored and values.dtype.newbyteorder("=") == COLUMNS[name]
            stored[name] = values if is_alike else physical(table, name)
    return Part(stored, 0, len(table.rows), 0)


def _keep(
    record: L0File, part: Part, tstart: float, tstop: float, hidden: Mask | None, good: bool
) -> Mask | None:
    """Tell which rows of a part are wanted; None if all are."""
    inside = tstart <= record.time_min and record.time_max <= tstop
    if inside and hidden is None and not good:
        return None
    rows = slice(part.start, part.stop)
    time = part.columns["TIME"][rows]
    keep = (time >= tstart) & (time <= tstop)
    if good:
        keep &= part.columns["QUALITY"][rows] == 0
    if hidden is not None:
        keep &= ~hidden[part.first : part.first + len(time)]
    return None if keep.all() else keep


def _blocks(kept: Sequence[tuple[L0File, Part, Mask | None]]) -> Iterator[Block]:
    """Join parts that lie behind each other in the same arrays, without copying them."""
    runs: list[list[tuple[L0File, Part, Mask | None]]] = []
    for item in kept:
        part = item[1]
        last = runs[-1][-1][1] if runs else None
        if last is not None and last.columns is part.columns and last.stop == part.start:
            runs[-1].append(item)
        else:
            runs.append([item])
    for run in runs:
        rows = slice(run[0][1].start, run[-1][1].stop)
        columns = {name: values[rows] for name, values in run[0][1].columns.items()}
        files = [
            (record.filename, len(part) if keep is None else int(keep.sum()))
            for record, part, keep in run
        ]
        if any(keep is not None for _, _, keep in run):
            keeps = [np.ones(len(part), bool) if keep is None else keep for _, part, keep in run]
            columns = _picked(columns, np.concatenate(keeps))
        block = Block(run[0][0].imgsize, columns, [item for item in files if item[1]])
        if block.files:
            yield block


def _picked(columns: dict[str, Array], keep: Mask) -> dict[str, Array]:
    """Return the rows to keep: a view where they are neighbours."""
    rows = np.flatnonzero(keep)
    gapless = len(rows) == 0 or rows[-1] - rows[0] + 1 == len(rows)
    pick: Any = slice(rows[0], rows[-1] + 1) if gapless and len(rows) else keep
    return {name: values[pick] for name, values in columns.items()}


def _order(blocks: Sequence[Block]) -> npt.NDArray[np.intp] | None:
    """Return what sorts the rows stably by TIME; None if they are sorted."""
    times = [block.columns["TIME"] for block in blocks]
    rising = all((time[1:] >= time[:-1]).all() for time in times)
    if rising and all(a[-1] <= b[0] for a, b in pairwise(times)):
        return None
    return np.argsort(np.concatenate(times), kind="stable")


def _superseded(near: Sequence[L0File], archive: Archive) -> dict[str, Mask]:
    """Tell which rows of the files also occur in an active file of higher rank."""
    rivals: dict[str, list[L0File]] = {}
    records = {record.filename: record for record in near}
    waiting = sorted(near, key=lambda record: record.time_min)
    for i, record in enumerate(waiting):
        for j in range(i + 1, len(waiting)):
            other = waiting[j]
            if not record.is_near(other):
                break
            if record.may_share_rows(other):
                low, high = sorted((record, other), key=lambda item: item.rank)
                rivals.setdefault(low.filename, []).append(high)
    hidden = {}
    for name, others in rivals.items():
        keys = row_keys(records[name], archive.read)
        covered = covered_rows(keys, (row_keys(other, archive.read) for other in others))
        if covered.any():
            hidden[name] = covered
    return hidden
