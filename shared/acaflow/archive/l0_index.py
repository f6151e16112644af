"""The index of the level-0 archive: which files are accepted, and which of them are active.

Files live under ``<data_root>/YYYY/DDD``; ``<data_root>/archfiles.db3`` has one row per active
file in ``archfiles`` (the public table, 18 columns) and one per file ever accepted in
``all_files``. Both are a function of the *set* of files accepted: a file whose rows are covered
by files of higher rank is superseded, in whatever order they arrived (aca-archive 3.4).

`read_l0_file` decides whether a delivery is acceptable, `L0Index` keeps the tables. Whoever
changes them holds the lock of the slot.
"""

from __future__ import annotations

import json
import logging
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from acaflow import paths, storage, times
from acaflow.archive.l0_fits import (
    GZIP_MAGIC,
    ImageTable,
    computed_checksum,
    inflate,
    read_table,
    verify_checksums,
)
from acaflow.errors import (
    ArchiveConflictError,
    DataError,
    MissingDataError,
    SchemaError,
    StorageBusyError,
)

__all__ = [
    "COLUMNS",
    "INDEX_NAME",
    "NEAR_S",
    "Audit",
    "Change",
    "L0File",
    "L0Index",
    "Status",
    "Verdict",
    "covered_rows",
    "frame_runs",
    "read_l0_file",
    "row_keys",
]

log = logging.getLogger(__name__)

INDEX_NAME = "archfiles.db3"

WIDEN_S = 60.0
"""Seconds by which TIME may leave the header interval, and files be apart and still compared."""
NEAR_S = 2 * WIDEN_S
"""Gap between two files (s) up to which their row keys are compared: both are widened."""

# fmt: off
COLUMNS = (
    "filename", "filetime", "year", "doy", "tstart", "tstop", "startmjf", "startmnf", "stopmjf",
    "stopmnf", "checksum", "tlmver", "ascdsver", "revision", "date", "rows", "imgsize", "slot",
)
# fmt: on
"""The 18 columns of ``archfiles`` (aca-archive 3.2)."""

TABLE = """
    filename text not null primary key, filetime int not null, year int not null,
    doy int not null, tstart float not null, tstop float not null, startmjf int, startmnf int,
    stopmjf int, stopmnf int, checksum text, tlmver text, ascdsver text, revision int,
    date text not null, rows int not null, imgsize int not null, slot int not null
"""
SCHEMA = (
    f"CREATE TABLE IF NOT EXISTS archfiles ({TABLE})",
    "CREATE INDEX IF NOT EXISTS idx_archfiles_filetime ON archfiles (filetime)",
    "CREATE INDEX IF NOT EXISTS idx_archfiles_slot_tstart ON archfiles (slot, tstart)",
    "CREATE INDEX IF NOT EXISTS idx_archfiles_slot_tstop ON archfiles (slot, tstop)",
    f"""CREATE TABLE IF NOT EXISTS all_files ({TABLE},
        status text not null, superseded_at text, sha256 text not null,
        time_min float not null, time_max float not null, frames text)""",
    # Holds all that an interval query compares, so that old files cost no table look-up.
    "CREATE INDEX IF NOT EXISTS idx_all_files_times ON all_files (slot, time_min, time_max)",
    storage.PROVENANCE_SCHEMA,
)

Frames = tuple[tuple[int, int, int], ...]
"""Runs of ``(first VCDU counter, number of rows, step)``."""
COUNTERS = 1 << 24
"""The VCDU counter starts again after this many minor frames (49.76 days)."""
FRAME_STEP = {4: 4, 6: 8, 8: 16}
"""Minor frames from one image to the next, by image size."""


class Status(StrEnum):
    """Whether an accepted file is shown."""

    ACTIVE = "active"
    SUPERSEDED = "superseded"


class Verdict(StrEnum):
    """What a delivery is, compared with what is accepted under its name."""

    NEW = "new"
    SAME = "same"
    REPLACES = "replaces"
    CONFLICT = "conflict"


@dataclass(frozen=True)
class L0File:
    """One accepted level-0 file; the first 18 fields are the columns of ``archfiles``.

    Attributes
    ----------
    filename : str
        Name in the archive, ending in ``.fits.gz``.
    filetime : int
        Time in the name (CXC seconds).
    year, doy : int
        UTC date of `filetime`; names the folder.
    tstart, tstop : float
        Header interval (CXC seconds).
    startmjf, startmnf, stopmjf, stopmnf : int or None
        Major and minor frame of the header interval.
    checksum, tlmver, ascdsver : str or None
        Header keywords; `checksum` is computed where the header has none.
    revision : int
        Processing revision: header, else the number of the name.
    date : str
        Header DATE, when the file was made.
    rows, imgsize, slot : int
        Number of rows, image edge (pixels), image slot.
    sha256 : str
        Of the uncompressed file.
    time_min, time_max : float
        Smallest and largest row TIME (CXC seconds).
    frames : tuple of (int, int, int) or None
        Runs of VCDU counters of the rows, in row order; None without MJF and MNF.
    """

    filename: str
    filetime: int
    year: int
    doy: int
    tstart: float
    tstop: float
    startmjf: int | None
    startmnf: int | None
    stopmjf: int | None
    stopmnf: int | None
    checksum: str | None
    tlmver: str | None
    ascdsver: str | None
    revision: int | None
    date: str
    rows: int
    imgsize: int
    slot: int
    sha256: str
    time_min: float
    time_max: float
    frames: Frames | None

    @property
    def rank(self) -> tuple[int, str, str]:
        """Order of preference among files with the same rows: revision, DATE, name."""
        return (self.revision or 0, self.date, self.filename)

    @property
    def path(self) -> str:
        """Path below the data root, ``YYYY/DDD/<filename>``."""
        return f"{self.year:04d}/{self.doy:03d}/{self.filename}"

    def is_near(self, other: L0File) -> bool:
        """Tell whether the rows of two files of one slot are to be compared."""
        return self.time_min - NEAR_S <= other.time_max and other.time_min - NEAR_S <= self.time_max

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Make a record from a row of ``all_files``."""
        values = {field.name: row[field.name] for field in fields(cls)}
        if row["frames"] is not None:
            values["frames"] = tuple(tuple(run) for run in json.loads(row["frames"]))
        return cls(**values)


# --- Acceptance of one file ------------------------------------------------------------------


def read_l0_file(path: Path, name: str) -> L0File:
    """Read a delivery whole and check everything that acceptance demands (aca-archive 3.2).

    Parameters
    ----------
    path : Path
        The file; may be staged under any name.
    name : str
        Name under which it was delivered; tells time, version and slot.

    Returns
    -------
    L0File
        What the index records about it.

    Raises
    ------
    CorruptFileError
        Damaged, truncated or wrong checksum.
    SchemaError
        Name, keyword, column or row order not as expected.
    """
    named = paths.parse_l0_name(name)
    path = Path(path)
    try:
        buffer = inflate(path)
        _check_packing(path, name)
        table = read_table(buffer, path)
        verify_checksums(table, path)
        tstart, tstop = _interval(table)
        _check_name_time(named, tstart)
        time = _check_times(table, tstart, tstop)
        _check_slot(table, named.slot)
        year, doy = paths.l0_dir(named.filetime).split("/")
        return L0File(
            filename=paths.l0_stored_name(name),
            filetime=named.filetime,
            year=int(year),
            doy=int(doy),
            tstart=tstart,
            tstop=tstop,
            startmjf=_count(table, "STARTMJF"),
            startmnf=_count(table, "STARTMNF"),
            stopmjf=_count(table, "STOPMJF"),
            stopmnf=_count(table, "STOPMNF"),
            checksum=_text(table, "CHECKSUM") or computed_checksum(table),
            tlmver=_text(table, "TLMVER"),
            ascdsver=_text(table, "ASCDSVER"),
            revision=_revision(table, named.version, name),
            date=_required_text(table, "DATE"),
            rows=len(table.rows),
            imgsize=table.imgsize,
            slot=named.slot,
            sha256=sha256(buffer).hexdigest(),
            time_min=float(time.min()),
            time_max=float(time.max()),
            frames=frame_runs(table),
        )
    except _Refusal as refusal:
        raise SchemaError(f"{name}: {refusal}", path) from None


class _Refusal(Exception):
    """Why a readable table is not acceptable; becomes a SchemaError with the file's name."""


def _check_packing(path: Path, name: str) -> None:
    """Refuse a name that promises the wrong packing: a plain delivery is packed when stored."""
    with path.open("rb") as stream:
        is_packed = stream.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    if is_packed != name.endswith(".gz"):
        raise _Refusal(f"is {'a' if is_packed else 'no'} gzip stream, its name says otherwise")


def _interval(table: ImageTable) -> tuple[float, float]:
    tstart, tstop = _seconds(table, "TSTART"), _seconds(table, "TSTOP")
    if not tstart < tstop:
        raise _Refusal(f"TSTART {tstart} is not before TSTOP {tstop}")
    return tstart, tstop


def _seconds(table: ImageTable, key: str) -> float:
    value = table.header.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _Refusal(f"header {key} is {value!r}, expected finite CXC seconds")
    return float(value)


def _count(table: ImageTable, key: str) -> int | None:
    value = table.header.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise _Refusal(f"header {key} is {value!r}, expected an integer")
    return value


def _text(table: ImageTable, key: str) -> str | None:
    value = table.header.get(key)
    return None if value is None or value == "" else str(value)


def _required_text(table: ImageTable, key: str) -> str:
    value = _text(table, key)
    if value is None:
        raise _Refusal(f"header {key} is missing or blank")
    return value


def _revision(table: ImageTable, version: int, name: str) -> int:
    revision = _count(table, "REVISION")
    if revision is None:
        return version
    if revision != version:
        log.warning("%s: header REVISION %d counts, not the name's N%03d", name, revision, version)
    return revision


def _check_name_time(named: paths.L0Name, tstart: float) -> None:
    if named.filetime != int(tstart):
        raise _Refusal(f"the name says {named.filetime}, header TSTART is {tstart}")


def _check_times(table: ImageTable, tstart: float, tstop: float) -> npt.NDArray[np.float64]:
    """Return TIME, checked to be finite, inside the header interval and in readout order."""
    if not len(table.rows):
        raise _Refusal("HDU 1 has no rows")
    time = table.column("TIME").astype(np.float64)
    finite = np.isfinite(time)
    if not finite.all():
        raise _Refusal(f"TIME of row {np.argmin(finite)} is not finite")
    outside = (time < tstart - WIDEN_S) | (time > tstop + WIDEN_S)
    if outside.any():
        row = int(np.argmax(outside))
        raise _Refusal(
            f"TIME {time[row]} of row {row} is more than {WIDEN_S:g} s outside"
            f" TSTART {tstart} to TSTOP {tstop}"
        )
    order = "END_INTEG_TIME" if "END_INTEG_TIME" in table.names else "TIME"
    rising = np.diff(table.column(order).astype(np.float64)) > 0
    if not rising.all():
        row = int(np.argmin(rising)) + 1
        raise _Refusal(f"{order} of row {row} does not grow: rows must be in readout order")
    return time


def _check_slot(table: ImageTable, slot: int) -> None:
    if "IMGNUM1" not in table.names:
        return
    numbers, counts = np.unique(table.column("IMGNUM1"), return_counts=True)
    number = int(numbers[counts.argmax()])
    if number != slot:
        raise _Refusal(f"the name says slot {slot}, most rows have IMGNUM1 {number}")


# --- Row keys and coverage --------------------------------------------------------------------


def frame_runs(table: ImageTable) -> Frames | None:
    """Return the VCDU counters of the rows as runs of the nominal step."""
    counters = table.frame_counters()
    if counters is None:
        return None
    step = FRAME_STEP[table.imgsize]
    broken = np.flatnonzero(np.diff(counters) % COUNTERS != step) + 1
    starts = np.concatenate(([0], broken))
    lengths = np.diff(np.concatenate((starts, [len(counters)])))
    return tuple(
        (int(first), int(length), step)
        for first, length in zip(counters[starts], lengths, strict=True)
    )


def row_keys(record: L0File, root: Path) -> npt.NDArray[np.int64]:
    """Return what identifies each row of a file among all files of its slot.

    Parameters
    ----------
    record : L0File
        The file.
    root : Path
        Data root; the file is read only if it has no frame counters.

    Returns
    -------
    ndarray of int64, shape (rows,)
        VCDU counters, 0 to 2**24 - 1; for a file without them −1 − TIME in milliseconds, so
        that keys of the two kinds are never equal.
    """
    if record.frames is None:
        path = root / record.path
        time = read_table(inflate(path), path).column("TIME").astype(np.float64)
        return np.asarray(-1 - np.rint(time * 1000), dtype=np.int64)
    runs = [first + step * np.arange(rows) for first, rows, step in record.frames]
    return np.asarray(np.concatenate(runs) % COUNTERS, dtype=np.int64)


def covered_rows(
    keys: npt.NDArray[np.int64], rivals: Iterable[npt.NDArray[np.int64]]
) -> npt.NDArray[np.bool_]:
    """Tell which rows also occur in a file of higher rank.

    Parameters
    ----------
    keys : ndarray of int64, shape (n,)
        Row keys of one file.
    rivals : iterable of ndarray of int64
        Row keys of each file of higher rank near it.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    covered = np.zeros(len(keys), bool)
    for other in rivals:
        # Neighbours that only touch are the usual case; the wrap of the counter may be inside.
        if keys.min() <= other.max() and other.min() <= keys.max():
            covered |= np.isin(keys, other)
    return covered


# --- The tables --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """File names whose status a transaction changed, the new file's included."""

    activated: tuple[str, ...]
    superseded: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """Where tree and tables disagree.

    Attributes
    ----------
    unindexed : tuple of Path
        Level-0 files of the tree that no table knows; a crash between rename and commit leaves
        one. `L0Index.commit` them.
    missing : tuple of str
        Paths of indexed files that the tree does not have.
    altered : tuple of str
        Paths of files that can no longer be read or have another SHA-256 than recorded.
    inconsistent : tuple of str
        File names for which ``archfiles`` is not what ``all_files`` says.
    """

    unindexed: tuple[Path, ...]
    missing: tuple[str, ...]
    altered: tuple[str, ...]
    inconsistent: tuple[str, ...]


Provenance = tuple[Sequence[Mapping[str, Any]], str, str]
"""Inputs, job and code version, as `acaflow.storage.record_provenance` takes them."""


class L0Index:
    """The tables of one level-0 archive, opened for writing.

    Parameters
    ----------
    data_root : Path
        Folder of the archive; made if absent. A tree of public tools, which has no
        ``all_files``, is taken over first: every file it indexes is read (`adopt`).

    Notes
    -----
    Call `compare` and `commit` under the lock of the slot (``aca0:<slot>``); the tables
    themselves are protected by SQLite, the order of file and row by the lock.
    """

    def __init__(self, data_root: Path | str) -> None:
        self.root = Path(data_root)
        self._db = storage.connect_sqlite(self.root / INDEX_NAME)
        if not self._has("all_files"):
            self.adopt()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the database."""
        self._db.close()

    def _has(self, table: str) -> bool:
        found = self._db.execute(
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)
        )
        return found.fetchone() is not None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
        except sqlite3.OperationalError as err:
            if err.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_FULL", "SQLITE_IOERR")):
                raise StorageBusyError(f"{self.root / INDEX_NAME}: {err}") from err
            raise

    def get(self, filename: str) -> L0File | None:
        """Return the accepted file of that name (with or without ``.gz``), or None."""
        row = self._db.execute(
            "SELECT * FROM all_files WHERE filename = ?", (paths.l0_stored_name(filename),)
        ).fetchone()
        return None if row is None else L0File.from_row(row)

    def compare(self, record: L0File) -> Verdict:
        """Say what a delivery is, before its file enters the tree.

        Parameters
        ----------
        record : L0File
            The validated delivery.

        Returns
        -------
        Verdict
            ``new``: place the file, then commit. ``same``: already archived, nothing to do.
            ``replaces``: link the old copy into quarantine, place the new one, commit.
            ``conflict``: quarantine the delivery.

        Raises
        ------
        ArchiveConflictError
            The tree has an unindexed file of that name which is no acceptable file.

        Notes
        -----
        A crash between rename and commit leaves an unindexed file in the tree. The same content
        is ``new`` again, and placing and committing it finishes the work; other content is
        committed as found and then compared with.
        """
        known = self.get(record.filename) or self._index_leftover(record)
        if known is None:
            return Verdict.NEW
        if known.sha256 == record.sha256:
            return Verdict.SAME
        if (record.date, record.sha256) > (known.date, known.sha256):
            return Verdict.REPLACES
        return Verdict.CONFLICT

    def _index_leftover(self, record: L0File) -> L0File | None:
        path = self.root / record.path
        if not path.exists():
            return None
        try:
            found = read_l0_file(path, path.name)
        except DataError as err:
            raise ArchiveConflictError(
                f"{record.filename}: {path} is in the tree, in no table, and unusable: {err}"
            ) from err
        if found.sha256 == record.sha256:
            return None
        log.warning("%s was in the tree but in no table; indexed as found", path)
        self.commit(found, ([], "recovered", ""))
        return found

    def commit(self, record: L0File, provenance: Provenance) -> Change:
        """Enter a file that is in the tree and settle the status of every file it meets.

        One transaction: nothing of it is seen before all of it is. A file of the same name
        is replaced. Entering the same record twice leaves the same tables.

        Parameters
        ----------
        record : L0File
            The file, already placed at `L0File.path`.
        provenance : (inputs, job, code_version)
            Recorded with the file's path and its SHA-256 (uncompressed).

        Returns
        -------
        Change
            Which files became active and which superseded.

        Raises
        ------
        StorageBusyError
            The database stayed locked for 30 s, or the disk is full.
        """
        inputs, job, code_version = provenance
        with self._transaction():
            affected = {record.filename: record}
            for version in (record, self.get(record.filename)):
                affected |= {f.filename: f for f in self._near(version)} if version else {}
            self._delete(record.filename)
            self._insert(record)
            change = self._settle(affected.values(), new={record.filename})
            storage.record_provenance(
                self._db, record.path, record.sha256, inputs, job, code_version
            )
        return change

    def withdraw(self, filename: str) -> Change:
        """Forget a file and settle those it covered; then remove or move the file itself.

        The file must leave the tree afterwards, else reconciling indexes it again.

        Raises
        ------
        MissingDataError
            No such file is indexed.
        """
        with self._transaction():
            record = self.get(filename)
            if record is None:
                raise MissingDataError(f"{filename} is not in {self.root / INDEX_NAME}")
            affected = self._near(record)
            self._delete(record.filename)
            return self._settle(affected, new=set())

    def adopt(self) -> int:
        """Make the tables; for a tree of public tools, from the files that it indexes.

        Returns
        -------
        int
            Number of files read; 0 for an empty tree or if the tables were there already.

        Raises
        ------
        DataError, FileNotFoundError
            An indexed file is unusable or missing; nothing is changed.
        """
        with self._transaction():
            if self._has("all_files"):
                return 0
            for statement in SCHEMA:
                self._db.execute(statement)
            rows = self._db.execute("SELECT filename, year, doy FROM archfiles").fetchall()
            found = [
                read_l0_file(
                    self.root / f"{row['year']:04d}/{row['doy']:03d}/{row['filename']}",
                    row["filename"],
                )
                for row in rows
            ]
            self._db.execute("DELETE FROM archfiles")
            for record in found:
                self._insert(record)
            self._settle(found, new={record.filename for record in found})
        if found:
            log.info("%s: read %d files of a tree made by other tools", self.root, len(found))
        return len(found)

    def audit(self, contents: bool = False) -> Audit:
        """Compare tree and tables without changing either.

        Parameters
        ----------
        contents : bool
            Also read every file and compare its SHA-256 (about 5 ms each).
        """
        known = [L0File.from_row(row) for row in self._db.execute("SELECT * FROM all_files")]
        expected = {record.path for record in known}
        on_disk = {
            str(path.relative_to(self.root))
            for path in self.root.glob("[0-9][0-9][0-9][0-9]/[0-9][0-9][0-9]/acaf*")
            if paths.L0_NAME.fullmatch(path.name)
        }
        present = [record for record in known if record.path in on_disk]
        return Audit(
            unindexed=tuple(self.root / path for path in sorted(on_disk - expected)),
            missing=tuple(sorted(expected - on_disk)),
            altered=tuple(r.path for r in present if contents and self._is_altered(r)),
            inconsistent=self._inconsistent(),
        )

    def _is_altered(self, record: L0File) -> bool:
        try:
            return sha256(inflate(self.root / record.path)).hexdigest() != record.sha256
        except DataError:
            return True

    def _inconsistent(self) -> tuple[str, ...]:
        columns = ", ".join(COLUMNS)
        shown = f"SELECT {columns} FROM archfiles"
        active = f"SELECT {columns} FROM all_files WHERE status = '{Status.ACTIVE}'"
        differing = self._db.execute(
            f"SELECT filename FROM ({shown} EXCEPT {active})"
            f" UNION SELECT filename FROM ({active} EXCEPT {shown}) ORDER BY filename"
        )
        return tuple(row["filename"] for row in differing)

    def _near(self, record: L0File) -> list[L0File]:
        """Return the other accepted files of the slot whose rows are to be compared."""
        rows = self._db.execute(
            "SELECT * FROM all_files WHERE slot = ? AND time_min <= ? AND time_max >= ?"
            " AND filename != ?",
            (record.slot, record.time_max + NEAR_S, record.time_min - NEAR_S, record.filename),
        )
        return [L0File.from_row(row) for row in rows]

    def _delete(self, filename: str) -> None:
        for table in ("archfiles", "all_files"):
            self._db.execute(f"DELETE FROM {table} WHERE filename = ?", (filename,))

    def _insert(self, record: L0File) -> None:
        """Enter a file as active; `_settle` decides."""
        values = asdict(record) | {
            "status": Status.ACTIVE,
            "frames": None if record.frames is None else json.dumps(record.frames),
        }
        names = ", ".join(values)
        marks = ", ".join(f":{name}" for name in values)
        self._db.execute(f"INSERT INTO all_files ({names}) VALUES ({marks})", values)
        self._show(record.filename)

    def _show(self, filename: str) -> None:
        columns = ", ".join(COLUMNS)
        self._db.execute(
            f"INSERT INTO archfiles ({columns}) SELECT {columns} FROM all_files WHERE filename = ?",
            (filename,),
        )

    def _settle(self, affected: Iterable[L0File], new: set[str]) -> Change:
        """Bring the status of the given files in line with all files near each of them."""
        changed: dict[Status, list[str]] = {Status.ACTIVE: [], Status.SUPERSEDED: []}
        for record in affected:
            name = record.filename
            (had,) = self._db.execute(
                "SELECT status FROM all_files WHERE filename = ?", (name,)
            ).fetchone()
            status = self._evaluate(record)
            if status != had:
                self._set_status(name, status)
            if status != had or name in new:
                changed[status].append(name)
        return Change(
            activated=tuple(sorted(changed[Status.ACTIVE])),
            superseded=tuple(sorted(changed[Status.SUPERSEDED])),
        )

    def _evaluate(self, record: L0File) -> Status:
        """Apply the supersede rule to one file (aca-archive 3.4)."""
        rivals = [other for other in self._near(record) if other.rank > record.rank]
        if not rivals:
            return Status.ACTIVE
        covered = covered_rows(
            row_keys(record, self.root), (row_keys(other, self.root) for other in rivals)
        )
        # Processing versions treat the partial readout at the ends of a run differently.
        is_covered = covered.any() and covered[1:-1].all()
        return Status.SUPERSEDED if is_covered else Status.ACTIVE

    def _set_status(self, filename: str, status: Status) -> None:
        if status is Status.ACTIVE:
            self._show(filename)
        else:
            self._db.execute("DELETE FROM archfiles WHERE filename = ?", (filename,))
        self._db.execute(
            "UPDATE all_files SET status = ?, superseded_at = ? WHERE filename = ?",
            (status, None if status is Status.ACTIVE else times.date(times.now()), filename),
        )
