"""The index of the level-0 archive: which files are accepted, and which of them are active.

Files live under ``<data_root>/YYYY/DDD``; ``<data_root>/archfiles.db3`` has one row per active
file in ``archfiles`` (the public table, 18 columns) and one per file ever accepted in
``all_files``. Both are a function of the *set* of files accepted: a file whose rows are covered
by files of higher rank is superseded, in whatever order they arrived (aca-archive 3.4).

`l0_file.read_l0_file` decides whether a delivery is acceptable, `L0Index` keeps the tables.
Whoever changes them holds the lock of the slot.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from acaflow import paths, storage, times
from acaflow.archive.l0_file import (
    NEAR_S,
    L0File,
    covered_rows,
    read_l0_file,
    row_keys,
    stored_path,
)
from acaflow.archive.l0_fits import ImageTable, inflate, read_table
from acaflow.errors import ArchiveConflictError, DataError, MissingDataError, StorageBusyError

__all__ = [
    "COLUMNS",
    "INDEX_NAME",
    "Audit",
    "Change",
    "L0Index",
    "Provenance",
    "Status",
    "Verdict",
]

log = logging.getLogger(__name__)

INDEX_NAME = "archfiles.db3"

COLUMNS = tuple(field.name for field in fields(L0File))[:18]
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
            ``new``: place and commit. ``same``: already archived, nothing to do.
            ``replaces``: link the old copy into quarantine, place and commit the new one.
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

    def commit(
        self, record: L0File, provenance: Provenance, place: Callable[[], None] | None = None
    ) -> Change:
        """Enter a file that is in the tree and settle the status of every file it meets.

        One transaction: nothing of it is seen before all of it is. A file of the same name
        is replaced. Entering the same record twice leaves the same tables.

        Parameters
        ----------
        record : L0File
            The file at `L0File.path`.
        provenance : (inputs, job, code_version)
            Recorded with the file's path and its SHA-256 (uncompressed).
        place : callable, optional
            Puts the file into the tree. It is called when the tables are locked already: a
            reader that finds a replaced file then waits for its row some milliseconds only.

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
            if place is not None:
                place()
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

    def active(self, slot: int, imgsize: int) -> list[L0File]:
        """Return the active files of a slot and image size, in file order."""
        rows = self._db.execute(
            f"SELECT * FROM all_files WHERE slot = ? AND imgsize = ? AND status = '{Status.ACTIVE}'"
            " ORDER BY filetime, filename",
            (slot, imgsize),
        )
        return [L0File.from_row(row) for row in rows]

    def active_sums(self, slot: int, imgsize: int) -> dict[str, str]:
        """Return name and SHA-256 (uncompressed) of the active files of a slot and size."""
        rows = self._db.execute(
            "SELECT filename, sha256 FROM all_files"
            f" WHERE slot = ? AND imgsize = ? AND status = '{Status.ACTIVE}' ORDER BY filetime",
            (slot, imgsize),
        )
        return {row["filename"]: row["sha256"] for row in rows}

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
            rows = self._db.execute("SELECT year, doy, filename FROM archfiles").fetchall()
            found = [read_l0_file(self.root / stored_path(*row), row["filename"]) for row in rows]
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
        if self._has_sum(record):
            return False
        with self._transaction():  # nobody is replacing it now
            current = self.get(record.filename)
            return current is not None and not self._has_sum(current)

    def _has_sum(self, record: L0File) -> bool:
        try:
            return sha256(inflate(self.root / record.path)).hexdigest() == record.sha256
        except (DataError, FileNotFoundError):
            return False

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
            row_keys(record, self._read), (row_keys(other, self._read) for other in rivals)
        )
        # Processing versions treat the partial readout at the ends of a run differently.
        is_covered = covered.any() and covered[1:-1].all()
        return Status.SUPERSEDED if is_covered else Status.ACTIVE

    def _read(self, record: L0File) -> ImageTable:
        path = self.root / record.path
        return read_table(inflate(path), path)

    def _set_status(self, filename: str, status: Status) -> None:
        if status is Status.ACTIVE:
            self._show(filename)
        else:
            self._db.execute("DELETE FROM archfiles WHERE filename = ?", (filename,))
        self._db.execute(
            "UPDATE all_files SET status = ?, superseded_at = ? WHERE filename = ?",
            (status, None if status is Status.ACTIVE else times.date(times.now()), filename),
        )
