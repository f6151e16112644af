"""Write series as CSV, FITS and HDF5, piece by piece.

A piece is a few thousand rows: beside the arrays themselves little memory is used, and a
download begins at once. TIME is CXC seconds (TT since 1998.0) in all three.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from acaflow import times
from acaflow.archive.l0_fits import BLOCK
from acaflow.colstore.image import TABLES

__all__ = ["Column", "write_csv", "write_fits", "write_hdf5"]

ROWS = 8192
"""Rows of a piece."""
TNULL = {"i2": -(2**15), "i4": -(2**31), "i8": -(2**63)}
"""What stands for a masked integer in FITS."""
FITS_FORMATS = {"u1": "B", "i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D"}


@dataclass(frozen=True)
class Column:
    """One series of an export.

    Attributes
    ----------
    name : str
        Letters, digits and underscores.
    unit : str
        ASCII; empty if the values have none.
    description : str
        One line, ASCII.
    values : ndarray or MaskedArray, shape (n,) or (n, ...)
        Numbers; what there is none of is masked, or NaN.
    """

    name: str
    unit: str
    description: str
    values: npt.NDArray[Any]


def _native(column: Column) -> Any:
    """Return the values in native byte order, masked floats as NaN; integers keep their mask."""
    values: Any = np.ma.asarray(column.values)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if values.dtype.kind == "f":
        return np.asarray(values.filled(np.nan))
    return values if np.ma.is_masked(values) else np.asarray(values)


def write_csv(time: npt.NDArray[np.float64], columns: Sequence[Column]) -> Iterator[bytes]:
    """Write series as comma-separated text.

    Parameters
    ----------
    time : ndarray of float64, shape (n,)
        CXC seconds.
    columns : sequence of Column
        Scalar series of n rows each.

    Yields
    ------
    bytes
        First the header: ``UTC``, ``TIME [s]``, then each name with its unit. Then a line for
        each row: UTC as ISO text to the millisecond with Z, numbers to full precision, nothing
        where there is no value. ASCII, lines end in LF.
    """
    heads = [f"{item.name} [{item.unit}]" if item.unit else item.name for item in columns]
    yield (",".join(["UTC", "TIME [s]", *heads]) + "\n").encode("ascii")
    series = [_native(item) for item in columns]
    for first in range(0, len(time), ROWS):
        part = slice(first, first + ROWS)
        stamps = times.convert(time[part], "isot").tolist()
        fields = [_texts(values[part]) for values in (time, *series)]
        rows = zip(stamps, *fields, strict=True)
        yield "".join(f"{stamp}Z,{','.join(row)}\n" for stamp, *row in rows).encode("ascii")


def _texts(values: npt.NDArray[Any]) -> list[str]:
    """Return shortest texts that read back as the same numbers."""
    if values.dtype.kind == "f":
        # float32 has fewer digits than the float64 that tolist would make of it.
        texts = (
            list(map(str, values))
            if values.dtype.itemsize == 4
            else list(map(repr, values.tolist()))
        )
        return ["" if text == "nan" else text for text in texts]
    return ["" if value is None else str(value) for value in values.tolist()]


def write_fits(
    time: npt.NDArray[np.float64],
    columns: Sequence[Column],
    keywords: Mapping[str, str | int | float],
) -> Iterator[bytes]:
    """Write series as a FITS binary table.

    Parameters
    ----------
    time : ndarray of float64, shape (n,)
        CXC seconds.
    columns : sequence of Column
        Series of n rows each, vectors and images included.
    keywords : mapping
        Put into the header of the table as they are.

    Yields
    ------
    bytes
        The file: an empty primary HDU and a table with TIME and the columns. Without value are
        NaN, and integers that equal TNULL.
    """
    series = {"TIME": Column("TIME", "s", "CXC seconds", time)}
    series |= {item.name: item for item in columns}
    native = {name: _native(item) for name, item in series.items()}
    dtype = np.dtype(
        [
            (name, values.dtype.newbyteorder(">"), values.shape[1:])
            for name, values in native.items()
        ]
    )
    yield _fits_heads(series, native, dtype, len(time), keywords)
    for first in range(0, len(time), ROWS):
        part = slice(first, first + ROWS)
        rows = np.empty(len(time[part]), dtype)
        for name, values in native.items():
            piece = values[part]
            rows[name] = (
                piece.filled(TNULL[piece.dtype.str[1:]]) if np.ma.is_masked(piece) else piece
            )
        yield rows.tobytes()
    yield bytes(-len(time) * dtype.itemsize % BLOCK)


def _fits_heads(
    series: Mapping[str, Column],
    native: Mapping[str, npt.NDArray[Any]],
    dtype: np.dtype[np.void],
    n_rows: int,
    keywords: Mapping[str, str | int | float],
) -> bytes:
    """Return both headers; astropy writes those of a table without rows."""
    from astropy.io import fits

    made = []
    for name, values in native.items():
        shape, kind = values.shape[1:], values.dtype.str[1:]
        repeat = int(np.prod(shape)) if shape else 1
        made.append(
            fits.Column(
                name,
                f"{repeat if shape else ''}{FITS_FORMATS[kind]}",
                unit=series[name].unit or None,
                null=TNULL[kind] if isinstance(values, np.ma.MaskedArray) else None,
                dim=str(shape[::-1]).replace(" ", "") if len(shape) > 1 else None,
                array=np.empty((0, *shape), dtype[name].base),
            )
        )
    header = fits.BinTableHDU.from_columns(made).header
    header["NAXIS2"] = n_rows
    for number, item in enumerate(series.values(), 1):
        header.comments[f"TTYPE{number}"] = item.description[:46]
    header["TIMESYS"], header["TIMEUNIT"], header["MJDREF"] = "TT", "s", 50814.0
    for key, value in keywords.items():
        header[key] = value
    primary = fits.PrimaryHDU().header
    return bytes(primary.tostring() + header.tostring(), "ascii")


def write_hdf5(
    time: npt.NDArray[np.float64], columns: Sequence[Column], attributes: Mapping[str, str]
) -> bytes:
    """Write series as an HDF5 file.

    Parameters
    ----------
    time : ndarray of float64, shape (n,)
        CXC seconds.
    columns : sequence of Column
        Series of n rows each.
    attributes : mapping of str to str
        Attributes of the root group.

    Returns
    -------
    bytes
        The file: ``/TIME`` and one array per column with attributes ``unit`` and
        ``description``. Floats without value are NaN; where integers lack some, ``/<name>_bad``
        is True there. Compressed with zlib, which every HDF5 library reads.
    """
    import tables

    filters = tables.Filters(complevel=1, complib="zlib", shuffle=True)
    with (
        TABLES,
        tables.open_file("export.h5", "w", driver="H5FD_CORE", driver_core_backing_store=0) as file,
    ):
        for key, text in attributes.items():
            file.root._v_attrs[key] = text
        for item in (Column("TIME", "s", "CXC seconds", time), *columns):
            values = _native(item)
            plain = np.ma.getdata(values)
            arrays = {item.name: plain}
            if np.ma.is_masked(values):
                arrays = {
                    item.name: np.where(values.mask, plain.dtype.type(0), plain),
                    f"{item.name}_bad": np.ma.getmaskarray(values),
                }
            for name, array in arrays.items():
                atom = tables.Atom.from_dtype(array.dtype)
                # An extendable array, because only that may be empty.
                node = file.create_earray(
                    "/", name, atom, (0, *array.shape[1:]), filters=filters, expectedrows=len(time)
                )
                node.append(array)
                node.attrs["unit"], node.attrs["description"] = item.unit, item.description
        return bytes(file.get_file_image())
