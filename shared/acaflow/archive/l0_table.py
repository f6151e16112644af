"""Rows of slot data as one structured array, the form that `get_slot_data` documents."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from acaflow.archive.l0_format import COLUMNS, DEFAULT_WORDS
from acaflow.archive.l0_rows import Block, Rows

__all__ = ["DTYPE", "FIELDS", "SlotData", "make_table", "pixels"]


def _field(name: str) -> tuple[Any, ...]:
    if name == "IMGRAW":
        return (name, ">f4", (64,))
    kind = COLUMNS[name]
    return (name, f"<U{kind.itemsize}" if kind.kind == "S" else kind.newbyteorder(">"))


DTYPE = np.dtype([*map(_field, COLUMNS), ("IMGSIZE", ">i4"), ("FILENAME", "<U128")])
"""One row of slot data (aca-archive 2.3): every column of every image size, big-endian."""

FIELDS = DTYPE.names or ()
ELECTRONS_PER_DN = 5.0
"""Gain of the camera (e-/DN; aca-archive 2.5)."""

STEP = 512
"""Rows filled at once: they stay in the processor's cache while field after field is written."""

SlotData = np.ma.MaskedArray[Any, Any]
"""Rows of slot data: a masked structured array."""
Array = npt.NDArray[Any]


def make_table(
    rows: Rows, columns: Collection[str], *, centered: bool = False, electrons: bool = False
) -> SlotData:
    """Return rows as a masked structured array.

    Parameters
    ----------
    rows : Rows
        Read with these columns, and with INTEG if `electrons`.
    columns : collection of str
        Names of `FIELDS`.
    centered : bool
        IMGRAW has shape (8, 8) with small images in the middle; else shape (64,), with pixel
        [r, c] of an image at ``8 * r + c``.
    electrons : bool
        IMGRAW in e-/s, masked where INTEG is 0; else in DN.

    Returns
    -------
    MaskedArray, structured, shape (n,)
        Fields in the order and with the types of `DTYPE`. Masked is what a row does not have,
        pixels outside a small image included; PIXTLM and BGDTYP are never.
    """
    image = (">f4", (8, 8)) if centered else DTYPE["IMGRAW"]
    dtype = np.dtype(
        [(name, image if name == "IMGRAW" else DTYPE[name]) for name in FIELDS if name in columns]
    )
    data: Array = np.zeros(len(rows), dtype)
    mask: Array = np.zeros(len(rows), np.ma.make_mask_descr(dtype))
    start = 0
    for block in rows.blocks:
        part = slice(start, start + len(block))
        _fill(data[part], mask[part], block, electrons)
        start = part.stop
    if rows.order is not None:
        data, mask = data[rows.order], mask[rows.order]
    return np.ma.MaskedArray(data, mask=mask, keep_mask=False, copy=False)


def _fill(data: Array, mask: Array, block: Block, electrons: bool) -> None:
    names = data.dtype.names or ()
    values = {name: block.columns[name] for name in names if name in block.columns}
    if electrons and "IMGRAW" in values:
        values["IMGRAW"], unknown = _in_electrons(block)
    for first in range(0, len(data), STEP):
        step = slice(first, first + STEP)
        rows = data[step]
        for name, column in values.items():
            if name != "IMGRAW":
                rows[name] = column[step]
            elif block.imgsize == 8:  # one run of 64 pixels is copied faster than 8 of 8
                rows[name].reshape(-1, 64)[:] = column[step].reshape(-1, 64)
            else:
                pixels(rows[name], block.imgsize)[:] = column[step]
    if "IMGSIZE" in names:
        data["IMGSIZE"] = block.imgsize
    for name in DEFAULT_WORDS:
        if name in names and name not in values:
            _write_letters(data, name, DEFAULT_WORDS[name])
    if "FILENAME" in names:
        _write_filenames(data, block)
    _fill_mask(mask, block)
    if electrons and "IMGRAW" in values:
        pixels(mask["IMGRAW"], block.imgsize)[:] |= unknown


def _in_electrons(block: Block) -> tuple[Array, Array]:
    """Return the images in e-/s, and which are unknown because INTEG is 0."""
    seconds = block.columns["INTEG"][:, None, None]
    known = seconds > 0
    factor = np.divide(np.float32(ELECTRONS_PER_DN), seconds, where=known, out=0 * seconds)
    return block.columns["IMGRAW"] * factor, ~known


def _fill_mask(mask: Array, block: Block) -> None:
    """Mask what no row of a block has."""
    row = np.zeros(1, mask.dtype)
    for name in mask.dtype.names or ():
        if name == "IMGRAW":
            row[name] = True
            pixels(row[name], block.imgsize)[:] = False
        else:
            row[name] = name not in block.columns and name not in (
                *DEFAULT_WORDS,
                "IMGSIZE",
                "FILENAME",
            )
    if _as_bytes(row).any():
        _as_bytes(mask)[:] = _as_bytes(row)


def _write_filenames(data: Array, block: Block) -> None:
    """Write the letters of the names; the rest of the wide field is blank already."""
    start = 0
    for name, count in block.files:
        _write_letters(data[start : start + count], "FILENAME", name)
        start += count


def _write_letters(rows: Array, field: str, text: str) -> None:
    """Write a text into a blank field of all rows: as bytes, several times faster than as text."""
    fields: Any = rows.dtype.fields
    first = fields[field][1]
    letters = np.frombuffer(text.encode("utf-32-le"), np.uint8)
    _as_bytes(rows)[:, first : first + len(letters)] = letters


def pixels(images: Array, size: int) -> Array:
    """Return a view of the pixels that images of `size` fill, shape (n, size, size).

    Images of shape (n, 64) hold them from the first pixel on, (n, 8, 8) in the middle.
    """
    first = (8 - size) // 2 if images.ndim == 3 else 0
    part = slice(first, first + size)
    return images.reshape(-1, 8, 8)[:, part, part]


def _as_bytes(rows: Array) -> npt.NDArray[np.uint8]:
    """Return a view of structured rows as bytes, shape (n, bytes per row)."""
    return rows.view(np.uint8).reshape(len(rows), rows.dtype.itemsize)
