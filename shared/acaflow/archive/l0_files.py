"""What the index of the level-0 archive says about its files, for people who look at them.

Files read: ``<data_root>/archfiles.db3``, the public table ``archfiles`` and, where a tree has
it, ``all_files`` (aca-archive 3.2). No level-0 file is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from acaflow import storage
from acaflow.archive.l0_index import INDEX_NAME

__all__ = ["FileFacts", "Holdings", "get_holdings", "get_newest", "list_files"]

IMGSIZES = (4, 6, 8)
LEAD_S = 9.3
"""Most that the first image of a file lies before its TSTART (s; aca-archive 2.2)."""


@dataclass(frozen=True)
class FileFacts:
    """One active file.

    Attributes
    ----------
    filename : str
        Base name.
    path : str
        Relative to the root of the archive of level 0.
    imgsize, rows, revision : int
        Image size (pixels), number of images, processing revision.
    first, last : float
        First and last TIME; in a tree without ``all_files`` TSTART and TSTOP (CXC seconds).
    """

    filename: str
    path: str
    imgsize: int
    rows: int
    revision: int | None
    first: float
    last: float


@dataclass(frozen=True)
class Holdings:
    """How much there is of something: files, images, first TSTART and last TSTOP."""

    files: int
    images: int
    first: float
    last: float


def list_files(
    data_root: Path, slot: int, start: float, stop: float, imgsizes: Sequence[int] = IMGSIZES
) -> list[FileFacts]:
    """List the active files of a slot that have images in an interval.

    Parameters
    ----------
    data_root : Path
        Folder of the archive.
    slot : int
        Image slot, 0 to 7.
    start, stop : float
        CXC seconds.
    imgsizes : sequence of int
        Image sizes (pixels).

    Returns
    -------
    list of FileFacts
        In order of time.

    Raises
    ------
    MissingDataError
        No archive there.
    """
    sizes = ", ".join(str(int(size)) for size in imgsizes)
    with closing(storage.read_sqlite(data_root / INDEX_NAME)) as index:
        named = index.execute("SELECT 1 FROM sqlite_master WHERE name = 'all_files'").fetchone()
        source = (
            ("all_files", "time_min", "time_max", "AND status = 'active'")
            if named
            else ("archfiles", "tstart", "tstop", "")
        )
        table, first, last, active = source
        lead = 0.0 if named else LEAD_S
        rows = index.execute(
            f"SELECT filename, year, doy, imgsize, rows, revision, {first}, {last} FROM {table}"
            f" WHERE slot = ? AND {first} <= ? AND {last} >= ? AND imgsize IN ({sizes}) {active}"
            f" ORDER BY {first}, filename",
            (slot, stop + lead, start),
        ).fetchall()
    return [
        FileFacts(name, f"{year:04d}/{doy:03d}/{name}", *facts) for name, year, doy, *facts in rows
    ]


def get_newest(data_root: Path, slots: Sequence[int] = range(8)) -> float | None:
    """Return the largest TSTOP (CXC seconds) of the active files of some slots; None if none.

    Raises
    ------
    MissingDataError
        No archive there.
    """
    with closing(storage.read_sqlite(data_root / INDEX_NAME)) as index:
        # One step in the index (slot, tstop) for each slot, however many files there are.
        query = "SELECT max(tstop) FROM archfiles WHERE slot = ?"
        found = [index.execute(query, (slot,)).fetchone()[0] for slot in slots]
    return max((stop for stop in found if stop is not None), default=None)


def get_holdings(data_root: Path, slots: Sequence[int], imgsize: int) -> Holdings | None:
    """Count the active files of some slots and one image size; None if there are none.

    Parameters
    ----------
    data_root : Path
        Folder of the archive.
    slots : sequence of int
        Image slots, 0 to 7.
    imgsize : int
        Image size (pixels).

    Raises
    ------
    MissingDataError
        No archive there.
    """
    marks = ", ".join("?" * len(slots))
    with closing(storage.read_sqlite(data_root / INDEX_NAME)) as index:
        files, images, first, last = index.execute(
            "SELECT count(*), sum(rows), min(tstart), max(tstop) FROM archfiles"
            f" WHERE slot IN ({marks}) AND imgsize = ?",
            (*slots, imgsize),
        ).fetchone()
    return Holdings(files, images, first, last) if files else None
