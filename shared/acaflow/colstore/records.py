"""What goes into a store and what comes out: sources, row ranges, results, errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acaflow.errors import CorruptFileError, SchemaError

__all__ = [
    "BAD",
    "TIME",
    "Array",
    "Cover",
    "DamagedStoreError",
    "Rows",
    "SegmentGoneError",
    "Source",
    "SourceRange",
    "native",
]

Array = npt.NDArray[Any]
Cover = tuple[tuple[float, float], ...]
"""Closed time intervals (s), rising."""

TIME = "TIME"
"""The column that every source must have."""
BAD = "'bad"
"""Suffix of the hidden bool column that marks the bad samples of a column: a column without one
is good throughout. (The design's list of bad runs saves nothing over a compressed bool column.)"""
COLUMN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.]*\Z")


class DamagedStoreError(CorruptFileError):
    """A file of the store fails its checksum or does not open.

    Parameters
    ----------
    message : str
        What is wrong.
    path : Path
        The file.
    columns : tuple of str
        The columns concerned; empty if all are.
    """

    def __init__(self, message: str, path: Path | str, columns: tuple[str, ...] = ()) -> None:
        super().__init__(message, path)
        self.columns = columns


class SegmentGoneError(DamagedStoreError):
    """A segment is not there: merged and deleted since its name was read, or lost."""


@dataclass(frozen=True)
class Source:
    """What one delivered file contributes.

    Parameters
    ----------
    name, revision, filetime, sha256
        Who it is; (revision, filetime, name) is its rank in cut mode.
    columns : mapping of str to ndarray, shapes (n,) or (n, k)
        ``TIME`` (float64, s) is required; numbers, bools or bytes, in any byte order.
    bads : mapping of str to ndarray of bool, shape (n,)
        True marks bad samples of a column; columns not named are good. Cut mode only.
    """

    name: str
    revision: int
    filetime: int
    sha256: str
    columns: Mapping[str, Array]
    bads: Mapping[str, npt.NDArray[np.bool_]] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceRange:
    """Where rows of a source lie now.

    Parameters
    ----------
    name, revision, filetime, sha256
        As in `Source`.
    segment : str
        The file in ``seg/``.
    row0, row1 : int
        First row and end row in the segment; equal if no row is left.
    t_first, t_last : float
        Smallest and largest TIME of these rows (s).
    ascending : bool
        TIME never falls within the source. (ACA rows are in readout order; where the
        integration time changes, the middle of an integration may fall behind.)
    cover : tuple of (float, float)
        Time intervals that the whole source covers (s); cut mode only.
    """

    name: str
    revision: int
    filetime: int
    sha256: str
    segment: str
    row0: int
    row1: int
    t_first: float
    t_last: float
    ascending: bool = True
    cover: Cover = ()

    @property
    def rank(self) -> tuple[int, int, str]:
        """Which source wins; independent of the order of arrival."""
        return (self.revision, self.filetime, self.name)


@dataclass(frozen=True)
class Rows:
    """Rows of a store in cut mode.

    Parameters
    ----------
    times : ndarray of float64, shape (n,)
        Strictly increasing (s).
    columns : dict of str to ndarray, shapes (n,) or (n, k)
        Native byte order; zero or blank where a segment has no such column.
    bads : dict of str to ndarray of bool, shape (n,)
        True marks bad samples.
    """

    times: npt.NDArray[np.float64]
    columns: dict[str, Array]
    bads: dict[str, npt.NDArray[np.bool_]]


def native(source: Source) -> Source:
    """Return the source in native byte order, checked.

    Raises
    ------
    SchemaError
        A bad name, dtype or shape, or a TIME that is not finite.
    """
    columns = {}
    if TIME not in source.columns:
        raise SchemaError(f"{source.name} has no column {TIME}")
    n = len(source.columns[TIME])
    for name, given in {**source.columns, **source.bads}.items():
        if not COLUMN_NAME.match(name):
            raise SchemaError(f"column {name!r} of {source.name}: not letters, digits, _ and .")
        if given.dtype.kind not in "biufS" or not given.dtype.itemsize:
            raise SchemaError(
                f"column {name} of {source.name} is {given.dtype}: no number or bytes"
            )
        if given.ndim not in (1, 2) or len(given) != n:
            raise SchemaError(
                f"column {name} of {source.name} has shape {given.shape}, expected"
                f" ({n},) or ({n}, k)"
            )
    for name, given in source.columns.items():
        columns[name] = np.ascontiguousarray(given, given.dtype.newbyteorder("="))
    time = columns[TIME]
    if time.dtype != np.float64 or time.ndim != 1 or not np.isfinite(time).all():
        raise SchemaError(f"{TIME} of {source.name} is not a finite float64 column")
    return replace(source, columns=columns)
