"""The reading side of the level-0 index: which files hold an interval, and are they the ones.

Files read: ``<data_root>/archfiles.db3`` and the level-0 files that it names.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from acaflow import storage
from acaflow.archive.l0_file import NEAR_S, L0File, disagreement, frame_runs, stored_path
from acaflow.archive.l0_fits import ImageTable, inflate, read_table
from acaflow.archive.l0_format import SLOTS
from acaflow.errors import CorruptFileError, MissingDataError

__all__ = ["Archive", "Holdings", "OutOfStep"]

LONGEST_LEAD_S = 9.3
"""Most that a first row TIME lies before the header TSTART (s; aca-archive 2.2)."""

SETTLE_S = 2.0
"""Longest wait for the index row of a replaced file (s); eight writers made it 0.4 s."""
LOOK_S = 0.01
"""From one look at that row to the next (s)."""


class OutOfStep(Exception):
    """A file is not the one of its index row: just replaced or withdrawn, or spoiled."""

    def __init__(self, record: L0File, error: CorruptFileError | FileNotFoundError) -> None:
        super().__init__(str(error))
        self.record = record
        self.error = error


@dataclass(frozen=True)
class Holdings:
    """How much there is of something: files, images, first TSTART and last TSTOP."""

    files: int
    images: int
    first: float
    last: float


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

    def most_rows(self, slot: int, tstart: float, tstop: float, imgsize: int) -> int:
        """Return the number of rows of all active files of a size in an interval, and near it."""
        (rows,) = self.index.execute(
            "SELECT coalesce(sum(rows), 0) FROM archfiles WHERE slot = ? AND imgsize = ?"
            " AND tstart <= ? AND tstop >= ?",
            (slot, imgsize, tstop + NEAR_S, tstart - NEAR_S),
        ).fetchone()
        return int(rows)

    def files(self, slot: int, tstart: float, tstop: float) -> list[L0File]:
        """Return the active files of a slot with rows in an interval, in file order.

        Without ``all_files`` it is a few more, SHA-256 and frames are not known, and TSTART and
        TSTOP stand for the first and last TIME.
        """
        if "all_files" in self.tables:
            rows = self.index.execute(
                "SELECT * FROM all_files WHERE slot = ? AND time_min <= ? AND time_max >= ?"
                " AND status = 'active' ORDER BY filetime, filename",
                (slot, tstop, tstart),
            )
        else:
            rows = self.index.execute(
                "SELECT *, '' AS sha256, tstart AS time_min, tstop AS time_max, NULL AS frames"
                " FROM archfiles WHERE slot = ? AND tstart <= ? AND tstop >= ?"
                " ORDER BY filetime, filename",
                (slot, tstop + LONGEST_LEAD_S, tstart),
            )
        return [L0File.from_row(row) for row in rows]

    def near(self, slot: int, tstart: float, tstop: float) -> list[L0File]:
        """Return the active files of a slot with rows in or near an interval, in file order."""
        records = self.files(slot, tstart - NEAR_S, tstop + NEAR_S)
        if "all_files" in self.tables:
            return records
        return [
            replace(
                record,
                time_min=record.time_min - LONGEST_LEAD_S,
                frames=frame_runs(self.read(record)),
            )
            for record in records
        ]

    def newest(self, slots: Sequence[int] = SLOTS) -> float | None:
        """Return the largest TSTOP (CXC seconds) of the active files of some slots; None if none.

        One step in the index (slot, tstop) for each slot, however many files there are.
        """
        query = "SELECT max(tstop) FROM archfiles WHERE slot = ?"
        found = [self.index.execute(query, (slot,)).fetchone()[0] for slot in slots]
        return max((stop for stop in found if stop is not None), default=None)

    def holdings(self, slot: int, imgsize: int) -> Holdings | None:
        """Count the active files of a slot and image size; None if there are none."""
        found = self.index.execute(
            "SELECT count(*), sum(rows), min(tstart), max(tstop) FROM archfiles"
            " WHERE slot = ? AND imgsize = ?",
            (slot, imgsize),
        ).fetchone()
        return Holdings(*found) if found[0] else None

    def read(self, record: L0File) -> ImageTable:
        """Return the table of an indexed file; it must be the one that was indexed."""
        path = self.root / record.path
        try:
            table = read_table(inflate(path), path)
        except FileNotFoundError as err:
            raise OutOfStep(record, err) from err
        if difference := disagreement(record, table):
            raise OutOfStep(record, CorruptFileError(f"{path} {difference}", path))
        return table

    def catches_up(self, found: OutOfStep) -> bool:
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
