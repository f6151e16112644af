"""One level-0 image file: what is known about it, whether it is acceptable, and its row keys.

`read_l0_file` checks all that acceptance demands (aca-archive 3.2); `row_keys` and `covered_rows`
tell which rows of a slot are the same ones, whatever file they stand in (aca-archive 3.4).
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from acaflow import paths
from acaflow.archive.l0_fits import (
    GZIP_MAGIC,
    ImageTable,
    computed_checksum,
    inflate,
    read_table,
    verify_checksums,
)
from acaflow.archive.l0_format import COUNTERS, FRAME_STEP, MAJOR_FRAME
from acaflow.errors import SchemaError

__all__ = [
    "NEAR_S",
    "L0File",
    "covered_rows",
    "disagreement",
    "frame_runs",
    "read_l0_content",
    "read_l0_file",
    "row_keys",
    "stored_path",
]

log = logging.getLogger(__name__)

WIDEN_S = 60.0
"""Seconds by which TIME may leave the header interval, and files be apart and still compared."""
NEAR_S = 2 * WIDEN_S
"""Gap between two files (s) up to which their row keys are compared: both are widened."""

Frames = tuple[tuple[int, int, int], ...]
"""Runs of ``(first VCDU counter, number of rows, step)``."""


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
        return stored_path(self.year, self.doy, self.filename)

    def is_near(self, other: L0File) -> bool:
        """Tell whether the rows of two files of one slot are to be compared."""
        return self.time_min - NEAR_S <= other.time_max and other.time_min - NEAR_S <= self.time_max

    def may_share_rows(self, other: L0File) -> bool:
        """Tell, from the frame counters alone, whether a row may occur in both files."""
        if self.frames is None or other.frames is None:
            return self.frames is other.frames
        return any(_meet(run, rival) for run in self.frames for rival in other.frames)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Make a record from a row of ``all_files``."""
        values = {name: row[name] for name in _NAMES}
        if row["frames"] is not None:
            values["frames"] = tuple(tuple(run) for run in json.loads(row["frames"]))
        return cls(**values)


_NAMES = tuple(field.name for field in fields(L0File))


def _meet(run: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    """Tell whether the counters of two runs overlap, across the wrap as well."""
    (first, rows, step), (other_first, other_rows, other_step) = run, other
    return (other_first - first) % COUNTERS < rows * step or (
        first - other_first
    ) % COUNTERS < other_rows * other_step


def stored_path(year: int, doy: int, filename: str) -> str:
    """Return where below the data root a file is kept, ``YYYY/DDD/<filename>``."""
    return f"{year:04d}/{doy:03d}/{filename}"


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
    return read_l0_content(path, name)[0]


def read_l0_content(path: Path, name: str) -> tuple[L0File, ImageTable]:
    """Do what `read_l0_file` does, and return the table too."""
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
        record = L0File(
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
    return record, table


class _Refusal(Exception):
    """Why a readable table is not acceptable; becomes a SchemaError with the file's name."""


def disagreement(record: L0File, table: ImageTable) -> str | None:
    """Say in what a file differs from the one that was indexed; None if it is that file.

    Compared are the number of rows, and DATE and CHECKSUM of HDU 1 where both sides state them.
    """
    if len(table.rows) != record.rows:
        return f"has {len(table.rows)} rows, the index says {record.rows}"
    for key, indexed in (("DATE", record.date), ("CHECKSUM", record.checksum)):
        found = _text(table, key)
        if found and indexed and found != indexed:
            return f"has {key} {found!r}, the index says {indexed!r}"
    return None


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
    """Return the VCDU counters of the rows as runs of the nominal step; None without MJF, MNF."""
    if not {"MJF", "MNF"} <= set(table.names):
        return None
    counters = table.column("MJF").astype(np.int64) * MAJOR_FRAME + table.column("MNF")
    counters %= COUNTERS
    step = FRAME_STEP[table.imgsize]
    broken = np.flatnonzero(np.diff(counters) % COUNTERS != step) + 1
    starts = np.concatenate(([0], broken))
    lengths = np.diff(np.concatenate((starts, [len(counters)])))
    return tuple(
        (int(first), int(length), step)
        for first, length in zip(counters[starts], lengths, strict=True)
    )


def row_keys(record: L0File, read: Callable[[L0File], ImageTable]) -> npt.NDArray[np.int64]:
    """Return what identifies each row of a file among all files of its slot.

    Parameters
    ----------
    record : L0File
        The file.
    read : callable
        Reads the table of a file; called only if it has no frame counters.

    Returns
    -------
    ndarray of int64, shape (rows,)
        VCDU counters, 0 to 2**24 - 1; for a file without them −1 − TIME in milliseconds, so
        that keys of the two kinds are never equal.
    """
    if record.frames is None:
        time = read(record).column("TIME").astype(np.float64)
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
