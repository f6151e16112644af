"""Rows of one slot of the level-0 archive, in order, column by column: what every reader uses.

`read_rows` decides which files hold an interval, reads them, leaves out what a file of higher
rank has too, and returns arrays and masks. It takes them from the delivered files; another store
of the same rows belongs beside `_rows_of_files` and returns the same `Rows`.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acaflow import storage
from acaflow.archive.l0_file import (
    NEAR_S,
    L0File,
    covered_rows,
    disagreement,
    frame_runs,
    row_keys,
    stored_path,
)
from acaflow.archive.l0_fits import ImageTable, inflate, read_table
from acaflow.errors import CorruptFileError, MissingDataError

__all__ = ["DTYPE", "FIELDS", "IMGSIZES", "Archive", "Rows", "read_rows"]

# fmt: off
DTYPE = np.dtype([
    ("TIME", ">f8"), ("QUALITY", ">i4"), ("MJF", ">i4"), ("MNF", ">i4"),
    ("END_INTEG_TIME", ">f8"), ("INTEG", ">f4"), ("PIXTLM", "<U4"), ("BGDTYP", "<U4"),
    ("GLBSTAT", "u1"), ("COMMCNT", "u1"), ("COMMPROG", "u1"),
    ("IMGFID1", "u1"), ("IMGNUM1", "u1"), ("IMGFUNC1", "u1"), ("IMGSTAT", "u1"),
    ("IMGROW0", ">i2"), ("IMGCOL0", ">i2"), ("IMGSCALE", ">i2"), ("BGDAVG", ">i2"),
    ("IMGFID2", "u1"), ("IMGNUM2", "u1"), ("IMGFUNC2", "u1"), ("BGDRMS", ">i2"),
    ("TEMPCCD", ">f4"), ("TEMPHOUS", ">f4"), ("TEMPPRIM", ">f4"), ("TEMPSEC", ">f4"),
    ("BGDSTAT", "u1"),
    ("IMGFID3", "u1"), ("IMGNUM3", "u1"), ("IMGFUNC3", "u1"),
    ("IMGFID4", "u1"), ("IMGNUM4", "u1"), ("IMGFUNC4", "u1"),
    ("IMGRAW", ">f4", (64,)),
    *((f"HD3TLM{word}", "u1") for word in (62, 63, 64, 65, 66, 67, 72, 73, 74, 75, 76, 77)),
    ("IMGSIZE", ">i4"), ("FILENAME", "<U128"),
])
# fmt: on
"""One row of slot data (aca-archive 2.3): every column of every image size, big-endian."""

FIELDS = DTYPE.names or ()
DEFAULT_WORDS = {"PIXTLM": "ORIG", "BGDTYP": "FLAT"}
"""Values of the columns that older files lack."""
IMGSIZES = (4, 6, 8)
ELECTRONS_PER_DN = 5.0
"""Gain of the camera (e-/DN; aca-archive 2.5)."""

LONGEST_LEAD_S = 9.3
"""Most that a first row TIME lies before the header TSTART (s; aca-archive 2.2)."""

TRIES = 100
"""Most reads of one request: each but the first follows the replacement of a file."""
SETTLE_S = 2.0
"""Longest wait for the index row of a replaced file (s); eight writers made it 0.4 s."""
LOOK_S = 0.01
"""From one look at that row to the next (s)."""


# --- Files and their index -----------------------------------------------------------------------


class _OutOfStep(Exception):
    """A file is not the one of its index row: just replaced or withdrawn, or spoiled."""

    def __init__(self, record: L0File, error: CorruptFileError | FileNotFoundError) -> None:
        super().__init__(str(error))
        self.record = record
        self.error = error


@dataclass(frozen=True)
class Archive:
    """A level-0 archive, open for reading.

    Attributes
    ----------
    root : Path
        Its folder.
    index : sqlite3.Connection
        Its index; each query sees the state of one instant.
    """

    root: Path
    index: sqlite3.Connection

    @classmethod
    def open(cls, index: Path, root: Path) -> Archive:
        """Open the index read-only; MissingDataError if there is none."""
        archive = cls(root, storage.read_sqlite(index))
        if "archfiles" not in archive.tables:
            archive.close()
            raise MissingDataError(f"no archive at {root}: {index.name} has no table archfiles")
        return archive

    @cached_property
    def tables(self) -> frozenset[str]:
        """Names of the tables; a tree written by public tools has no ``all_files``."""
        return frozenset(
            row["name"]
            for row in self.index.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        )

    def paths(
        self, tstart: float, tstop: float, slots: Sequence[int], imgsizes: Sequence[int]
    ) -> list[Path]:
        """Return the active files with ``TSTART < tstop and TSTOP > tstart``, in file order."""
        rows = self.index.execute(
            "SELECT year, doy, filename FROM archfiles WHERE tstart < ? AND tstop > ?"
            f" AND slot IN ({_marks(slots)}) AND imgsize IN ({_marks(imgsizes)})"
            " ORDER BY filetime, slot, filename",
            (tstop, tstart, *slots, *imgsizes),
        )
        return [self.root / stored_path(*row) for row in rows]

    def near(self, slot: int, tstart: float, tstop: float) -> list[L0File]:
        """Return the active files of a slot with rows in or near an interval, in file order."""
        tstart, tstop = tstart - NEAR_S, tstop + NEAR_S
        if "all_files" in self.tables:
            rows = self.index.execute(
                "SELECT * FROM all_files WHERE slot = ? AND time_min <= ? AND time_max >= ?"
                " AND status = 'active' ORDER BY filetime, filename",
                (slot, tstop, tstart),
            )
            return [L0File.from_row(row) for row in rows]
        # The first rows lie before TSTART; an interval widened by that finds a superset.
        rows = self.index.execute(
            "SELECT *, '' AS sha256, tstart - :lead AS time_min, tstop AS time_max, NULL AS frames"
            " FROM archfiles WHERE slot = :slot AND tstart - :lead <= :stop AND tstop >= :start"
            " ORDER BY filetime, filename",
            {"lead": LONGEST_LEAD_S, "slot": slot, "start": tstart, "stop": tstop},
        )
        records = [L0File.from_row(row) for row in rows]
        return [replace(record, frames=frame_runs(self.read(record))) for record in records]

    def read(self, record: L0File) -> ImageTable:
        """Return the table of an indexed file; it must be the one that was indexed."""
        path = self.root / record.path
        try:
            table = read_table(inflate(path), path)
        except FileNotFoundError as err:
            raise _OutOfStep(record, err) from err
        if difference := disagreement(record, table):
            raise _OutOfStep(record, CorruptFileError(f"{path} {difference}", path))
        return table

    def catches_up(self, found: _OutOfStep) -> bool:
        """Wait until the index drops the row that a file does not fit; False if it keeps it.

        A file enters the tree before its row, so a replaced one is waited for. It leaves the
        tree after its row, so a missing one is not.
        """
        patience_s = SETTLE_S if isinstance(found.error, CorruptFileError) else 0.0
        deadline = time.monotonic() + patience_s
        while self._has(found.record):
            if time.monotonic() >= deadline:
                return False
            time.sleep(LOOK_S)
        return True

    def _has(self, record: L0File) -> bool:
        query = (
            "SELECT 1 FROM archfiles WHERE filename = ? AND rows = ? AND date = ? AND checksum IS ?"
        )
        row = (record.filename, record.rows, record.date, record.checksum)
        return self.index.execute(query, row).fetchone() is not None

    def close(self) -> None:
        """Release the index."""
        self.index.close()


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


# --- Rows ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """Rows of one slot, column by column.

    Attributes
    ----------
    data : structured array, shape (n,)
        A field for each column asked for, in the order and with the types of `DTYPE`; 0 or blank
        where masked.
    mask : structured array of bool, shape (n,)
        True for what a row does not have, pixels outside a small image included.
    code : ndarray of intp, shape (n,)
        The file of each row, a position in `filenames`.
    filenames : tuple of str
        Base names of the files.
    """

    data: npt.NDArray[Any]
    mask: npt.NDArray[Any]
    code: npt.NDArray[np.intp]
    filenames: tuple[str, ...]


def read_rows(
    archive: Archive,
    slot: int,
    tstart: float,
    tstop: float,
    columns: Collection[str] = FIELDS,
    imgsizes: Collection[int] = IMGSIZES,
    *,
    unique: bool = True,
    good: bool = False,
    centered: bool = False,
    electrons: bool = False,
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
        Names of `DTYPE`.
    imgsizes : collection of int
        Image sizes 4, 6, 8 (pixels).
    unique : bool
        Leave out rows that a file of higher rank has too, and sort by TIME, rows of equal TIME
        in file order; False gives every row of every active file in file order.
    good : bool
        Only rows with QUALITY 0.
    centered : bool
        IMGRAW has shape (8, 8) with small images in the middle; else shape (64,), with pixel
        [r, c] of an image at ``8 * r + c``.
    electrons : bool
        IMGRAW in e-/s, masked where INTEG is 0; else in DN.

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
    image = (">f4", (8, 8)) if centered else DTYPE["IMGRAW"]
    dtype = np.dtype(
        [(name, image if name == "IMGRAW" else DTYPE[name]) for name in FIELDS if name in columns]
    )
    tries = TRIES
    while True:
        try:
            rows = _rows_of_files(
                archive, slot, tstart, tstop, dtype, imgsizes, unique, good, electrons
            )
            break
        except _OutOfStep as found:
            tries -= 1
            if not tries or not archive.catches_up(found):
                raise found.error from None
    if "FILENAME" in columns:
        _write_filenames(rows)
    return rows


def _write_filenames(rows: Rows) -> None:
    """Fill the FILENAME field, one run of rows of a file at a time."""
    starts = np.flatnonzero(np.diff(rows.code, prepend=-1))
    stops = np.append(starts, len(rows.code))[1:]
    target, first = _as_bytes(rows.data), _offset(rows.data.dtype, "FILENAME")
    for start, stop in zip(starts, stops, strict=True):
        # The field is wide and blank; only the letters are written.
        name = rows.filenames[rows.code[start]]
        letters = np.frombuffer(name.encode("utf-32-le"), np.uint8)
        target[start:stop, first : first + len(letters)] = letters


def _rows_of_files(
    archive: Archive,
    slot: int,
    tstart: float,
    tstop: float,
    dtype: np.dtype[np.void],
    imgsizes: Collection[int],
    unique: bool,
    good: bool,
    electrons: bool,
) -> Rows:
    """Read the rows from the delivered files."""
    near = archive.near(slot, tstart, tstop) if tstart <= tstop else []
    chosen = [
        record
        for record in near
        if record.imgsize in imgsizes and record.time_min <= tstop and record.time_max >= tstart
    ]
    output = _Output(dtype, sum(record.rows for record in chosen), electrons)
    for record in chosen:
        table = archive.read(record)
        time = table.column("TIME")
        keep = (time >= tstart) & (time <= tstop)
        if good:
            keep &= table.column("QUALITY") == 0
        if unique:
            keep &= ~_superseded(record, near, archive)
        output.add(table, keep, record.filename)
    return output.rows(by_time=unique)


def _superseded(record: L0File, near: Sequence[L0File], archive: Archive) -> npt.NDArray[np.bool_]:
    """Tell which rows of a file also occur in an active file of higher rank."""
    rivals = [other for other in near if other.rank > record.rank and record.is_near(other)]
    if not rivals:
        return np.zeros(record.rows, bool)
    keys = row_keys(record, archive.read)
    return covered_rows(keys, (row_keys(other, archive.read) for other in rivals))


class _Output:
    """Rows filled file by file; FILENAME stays blank.

    One allocation holds what all files could give; rows that are not wanted leave its end
    untouched, which costs address space and no memory.

    Parameters
    ----------
    dtype : dtype
        Fields wanted.
    capacity : int
        Most rows that will be added.
    electrons : bool
        Convert IMGRAW from DN to e-/s.
    """

    def __init__(self, dtype: np.dtype[np.void], capacity: int, electrons: bool) -> None:
        self.electrons = electrons
        self.names = [name for name in dtype.names or () if name != "FILENAME"]
        self.data: npt.NDArray[Any] = np.zeros(capacity, dtype)
        self.mask: npt.NDArray[Any] = np.zeros(capacity, np.ma.make_mask_descr(dtype))
        self.filled = 0
        self.counts: list[int] = []
        self.filenames: list[str] = []
        self.times: list[npt.NDArray[np.float64]] = [np.empty(0)]

    def add(self, table: ImageTable, keep: npt.NDArray[np.bool_], filename: str) -> None:
        """Append the wanted rows of one file."""
        rows = np.flatnonzero(keep)
        if not len(rows):
            return
        # A slice reads the file's rows in place; picking single rows copies them first.
        gapless = rows[-1] - rows[0] + 1 == len(rows)
        select = slice(rows[0], rows[-1] + 1) if gapless else rows
        part = slice(self.filled, self.filled + len(rows))
        self.filled = part.stop
        self.counts.append(len(rows))
        self.filenames.append(filename)
        self.times.append(table.column("TIME", select).astype(np.float64))
        alike = [name for name in self.names if self._is_stored_alike(name, table)]
        target, source = _as_bytes(self.data)[part], _as_bytes(table.rows)[select]
        for to, start, size in _byte_runs(alike, self.data.dtype, table.rows.dtype):
            target[:, to : to + size] = source[:, start : start + size]
        self._add_mask(table, part)
        for name in self.names:
            if name in alike:
                continue
            if name == "IMGRAW":
                self._add_images(table, select, part)
            elif name in table.names:
                self.data[name][part] = table.column(name, select)
            elif name in DEFAULT_WORDS:
                self.data[name][part] = DEFAULT_WORDS[name]
            elif name == "IMGSIZE":
                self.data[name][part] = table.imgsize

    def _add_mask(self, table: ImageTable, part: slice) -> None:
        """Mask what no row of a file has."""
        row = np.zeros(1, self.mask.dtype)
        for name in self.names:
            if name == "IMGRAW":
                row[name] = True
                _window(row[name], table.imgsize)[:] = False
            else:
                row[name] = name not in table.names and name not in ("IMGSIZE", *DEFAULT_WORDS)
        if _as_bytes(row).any():
            _as_bytes(self.mask)[part] = _as_bytes(row)

    def _is_stored_alike(self, name: str, table: ImageTable) -> bool:
        """Tell whether the bytes of a column are those of the field."""
        if name not in table.names or name in table.scaling:
            return False
        field, column = self.data.dtype[name], table.rows.dtype[name]
        converts = self.electrons and name == "IMGRAW"
        return field.base == column.base and field.itemsize == column.itemsize and not converts

    def _add_images(self, table: ImageTable, select: Any, part: slice) -> None:
        """Place the pixels of small images, or of any size in e-/s."""
        images, size = self.data["IMGRAW"][part], table.imgsize
        counts = table.column("IMGRAW", select)
        if not self.electrons:
            _window(images, size)[:] = counts
            return
        seconds = table.column("INTEG", select).astype(np.float32)[:, None, None]
        known = seconds > 0
        factor = np.divide(np.float32(ELECTRONS_PER_DN), seconds, where=known, out=0 * seconds)
        _window(images, size)[:] = counts * factor
        _window(self.mask["IMGRAW"][part], size)[:] = ~known

    def rows(self, by_time: bool) -> Rows:
        """Return what was added, sorted by TIME or as added."""
        data, mask = self.data[: self.filled], self.mask[: self.filled]
        code = np.repeat(np.arange(len(self.counts)), self.counts)
        time = np.concatenate(self.times)
        if by_time and not (np.diff(time) >= 0).all():
            order = np.argsort(time, kind="stable")
            data, mask, code = data[order], mask[order], code[order]
        elif self.filled < len(self.data) // 2:
            # Keep no large allocation alive behind a small result.
            data, mask = data.copy(), mask.copy()
        return Rows(data, mask, code, tuple(self.filenames))


def _window(images: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """Return a view of the pixels that images of `size` fill, shape (n, size, size).

    Images of shape (n, 64) hold them from the first pixel on, (n, 8, 8) in the middle.
    """
    first = (8 - size) // 2 if images.ndim == 3 else 0
    pixels = slice(first, first + size)
    return images.reshape(-1, 8, 8)[:, pixels, pixels]


def _as_bytes(rows: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return a view of structured rows as bytes, shape (n, bytes per row)."""
    return rows.view(np.uint8).reshape(len(rows), rows.dtype.itemsize)


def _byte_runs(
    names: Iterable[str], target: np.dtype[np.void], source: np.dtype[np.void]
) -> list[tuple[int, int, int]]:
    """Join columns that are neighbours in both types: (to, from, size) in bytes.

    Copying a few wide runs instead of some 45 columns touches every row a few times only.
    """
    runs: list[tuple[int, int, int]] = []
    for name in names:
        to, start, size = _offset(target, name), _offset(source, name), target[name].itemsize
        if runs and (runs[-1][0] + runs[-1][2], runs[-1][1] + runs[-1][2]) == (to, start):
            to, start, size = runs[-1][0], runs[-1][1], runs.pop()[2] + size
        runs.append((to, start, size))
    return runs


def _offset(dtype: np.dtype[np.void], name: str) -> int:
    fields: Any = dtype.fields
    return int(fields[name][1])
