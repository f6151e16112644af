"""Read one ACA level-0 image file (aca-archive 2) without copying its rows.

A file is a gzip stream (or plain FITS) of two HDUs; the second is a binary table of big-endian
rows. It is inflated once, and the rows are a structured view of those bytes. General FITS readers
spend more time on the header than the inflation takes; this one knows the few forms that occur.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from acaflow.errors import CorruptFileError, SchemaError

__all__ = [
    "BLOCK",
    "GZIP_MAGIC",
    "ImageTable",
    "computed_checksum",
    "encode_checksum",
    "inflate",
    "ones_sum",
    "read_table",
    "verify_checksums",
]

BLOCK = 2880
"""HDUs are multiples of this (bytes)."""
CARD = 80
GZIP_MAGIC = b"\x1f\x8b"
"""First bytes of a gzip stream."""
GZIP_WBITS = 31
"""zlib's word for "a gzip header and trailer, which are checked"."""

MAX_RATIO = 100
"""Largest inflated size per packed byte; real files have 3 to 8."""
ALWAYS_ALLOWED = 64 << 20
"""Inflated bytes that are fine at any ratio."""

FORMATS = {"L": "S1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
"""Numpy type of one element, by TFORM letter; ``A`` is handled apart."""
OPAQUE_BYTES = {"C": 8, "M": 16, "P": 8, "Q": 16}
"""Width of TFORM letters whose columns are stepped over."""

REQUIRED = ("TIME", "QUALITY", "INTEG", "IMGROW0", "IMGCOL0", "IMGRAW")
"""Columns without which a table is no level-0 image table (aca-archive 3.2)."""
IMAGE_SHAPES = ((4, 4), (6, 6), (8, 8))

Value = str | int | float | bool


@dataclass(frozen=True)
class ImageTable:
    """HDU 1 of a level-0 file.

    Attributes
    ----------
    header : mapping of str to value
        Keywords of HDU 1; comments and history left out.
    rows : structured array, shape (n,)
        Stored values, a read-only view of the inflated file.
    scaling : mapping of str to (float, float)
        TSCAL and TZERO of the columns that have any.
    buffer : bytes
        The uncompressed file.
    start, data, end : int
        Byte offsets of HDU 1, of its rows, and of what follows its padding.
    """

    header: Mapping[str, Value]
    rows: npt.NDArray[np.void]
    scaling: Mapping[str, tuple[float, float]]
    buffer: bytes
    start: int
    data: int
    end: int

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in file order."""
        return self.rows.dtype.names or ()

    @property
    def imgsize(self) -> int:
        """First axis of IMGRAW in pixels."""
        return int(self.rows.dtype["IMGRAW"].shape[0])

    def column(self, name: str, select: Any = slice(None)) -> npt.NDArray[Any]:
        """Return the physical values of a column for the selected rows."""
        values = self.rows[name][select]
        if name in self.scaling:
            scale, zero = self.scaling[name]
            return np.asarray(values * scale + zero)
        if values.dtype.kind == "S":
            return np.char.rstrip(values.astype(f"U{values.dtype.itemsize}"))
        return np.asarray(values)


def inflate(path: Path) -> bytes:
    """Return the uncompressed bytes of a level-0 file, gzip or plain, told apart by content.

    Raises
    ------
    CorruptFileError
        Truncated stream, wrong CRC, bytes after the stream, or an absurd inflated size.
    """
    packed = path.read_bytes()
    if packed[:2] != GZIP_MAGIC:
        return packed
    stream = isal_zlib.decompressobj(wbits=GZIP_WBITS)
    limit = max(ALWAYS_ALLOWED, MAX_RATIO * len(packed))
    try:
        plain: bytes = stream.decompress(packed, limit)
    except isal_zlib.IsalError as err:  # type: ignore[misc]  # its stub declares an instance
        raise CorruptFileError(f"{path.name}: damaged gzip stream ({err})", path) from err
    if stream.unconsumed_tail and not stream.eof:
        raise CorruptFileError(
            f"{path.name}: {len(packed)} bytes inflate to more than {limit}; refused", path
        )
    if not stream.eof:
        raise CorruptFileError(f"{path.name}: gzip stream ends early, file is truncated", path)
    if stream.unused_data:
        raise CorruptFileError(
            f"{path.name}: {len(stream.unused_data)} bytes follow the gzip stream", path
        )
    return plain


def read_table(buffer: bytes, path: Path) -> ImageTable:
    """Find HDU 1 in the bytes of a file.

    Parameters
    ----------
    buffer : bytes
        The uncompressed file.
    path : Path
        Named in messages and carried by errors.

    Raises
    ------
    CorruptFileError
        Not FITS, or it ends within HDU 1.
    SchemaError
        HDU 1 is no binary table, lacks one of `REQUIRED`, or IMGRAW is not an image of 4x4, 6x6
        or 8x8 pixels.
    """
    if buffer[:9] != b"SIMPLE  =":
        raise CorruptFileError(f"{path.name} is not a FITS file: starts {buffer[:9]!r}", path)
    primary, offset = _header(buffer, 0, path)
    start = offset + _padded(_data_size(primary))
    if start >= len(buffer):
        raise SchemaError(f"{path.name} has no HDU 1; expected a binary table there", path)
    header, data = _header(buffer, start, path)
    if header.get("XTENSION") != "BINTABLE":
        raise SchemaError(
            f"{path.name}: HDU 1 is {header.get('XTENSION')!r}, expected a BINTABLE", path
        )
    size = _data_size(header)
    if data + size > len(buffer):
        raise CorruptFileError(
            f"{path.name} ends at byte {len(buffer)}; HDU 1 needs {data + size}", path
        )
    dtype, scaling = _columns(header, path)
    rows = np.frombuffer(buffer, dtype, count=_integer(header, "NAXIS2"), offset=data)
    return ImageTable(header, rows, scaling, buffer, start, data, data + _padded(size))


def _header(buffer: bytes, offset: int, path: Path) -> tuple[dict[str, Value], int]:
    """Parse the header at `offset`; return its keywords and the offset of its data."""
    header: dict[str, Value] = {}
    for position in range(offset, len(buffer) - CARD + 1, CARD):
        card = buffer[position : position + CARD]
        if card[8:10] == b"= ":
            header[card[:8].decode("latin-1").rstrip()] = _value(card[10:].decode("latin-1"))
        elif card[:8] == b"END     ":
            return header, offset + _padded(position + CARD - offset)
    raise CorruptFileError(f"{path.name}: the header at byte {offset} has no END", path)


STRING = re.compile(r"\s*'((?:[^']|'')*)'")


def _value(text: str) -> Value:
    """Read the value part of a card; what is no number or logical stays text."""
    if quoted := STRING.match(text):
        return quoted[1].replace("''", "'").rstrip()
    word = text.partition("/")[0].strip()
    if word in ("T", "F"):
        return word == "T"
    for number in (int, float):
        try:
            return number(word.replace("D", "E"))
        except ValueError:
            continue
    return word


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _integer(header: Mapping[str, Value], key: str, default: int = 0) -> int:
    value = header.get(key, default)
    return value if isinstance(value, int) and value >= 0 else default


def _data_size(header: Mapping[str, Value]) -> int:
    """Bytes of the data unit, without padding (FITS standard 4.4.1)."""
    axes = [_integer(header, f"NAXIS{i + 1}") for i in range(_integer(header, "NAXIS"))]
    if not axes:
        return 0
    size = _word_bytes(header) * math.prod(axes)
    return _integer(header, "GCOUNT", 1) * (size + _integer(header, "PCOUNT"))


def _word_bytes(header: Mapping[str, Value]) -> int:
    bits = header.get("BITPIX")
    return abs(bits) // 8 if isinstance(bits, int) else 1


def _columns(
    header: Mapping[str, Value], path: Path
) -> tuple[np.dtype[np.void], dict[str, tuple[float, float]]]:
    """Return the numpy type of a table row and the scaling of its columns."""
    fields: list[tuple[str, str, tuple[int, ...]]] = []
    scaling: dict[str, tuple[float, float]] = {}
    try:
        for i in range(1, _integer(header, "TFIELDS") + 1):
            name = str(header.get(f"TTYPE{i}", f"COLUMN{i}")).upper()
            form, dim = str(header.get(f"TFORM{i}")), str(header.get(f"TDIM{i}"))
            fields.append((name, *_format(form, dim, name, path)))
            scale, zero = header.get(f"TSCAL{i}", 1), header.get(f"TZERO{i}", 0)
            if (scale, zero) != (1, 0):
                scaling[name] = (float(scale), float(zero))
        dtype: np.dtype[np.void] = np.dtype(fields)
    except ValueError as err:
        raise SchemaError(f"{path.name}: columns of HDU 1 are not usable ({err})", path) from err
    if dtype.itemsize != header.get("NAXIS1"):
        raise SchemaError(
            f"{path.name}: columns take {dtype.itemsize} bytes a row,"
            f" NAXIS1 says {header.get('NAXIS1')}",
            path,
        )
    _check_required(dtype, path)
    return dtype, scaling


def _check_required(dtype: np.dtype[np.void], path: Path) -> None:
    """Refuse a table that lacks what every level-0 image row has."""
    for name in REQUIRED:
        if name not in (dtype.names or ()):
            raise SchemaError(f"{path.name}: HDU 1 has no column {name}", path)
        if name != "IMGRAW" and (dtype[name].shape or dtype[name].kind not in "iuf"):
            raise SchemaError(
                f"{path.name}: column {name} is {dtype[name]}, expected one number a row", path
            )
    image = dtype["IMGRAW"]
    if image.shape not in IMAGE_SHAPES or image.base.kind != "f":
        raise SchemaError(
            f"{path.name}: IMGRAW holds {image.base} of shape {image.shape},"
            " expected float images of 4x4, 6x6 or 8x8 pixels (TFORM nE with TDIM)",
            path,
        )


TFORM = re.compile(r"(\d*)([LXBIJKAEDCMPQ])")
TDIM = re.compile(r"\(\s*(\d+)\s*,\s*(\d+)\s*\)")


def _format(form: str, dim: str, name: str, path: Path) -> tuple[str, tuple[int, ...]]:
    """Return the numpy element type and the shape of one column."""
    match = TFORM.match(form)
    if match is None:
        raise SchemaError(f"{path.name}: column {name} has the unknown format {form!r}", path)
    repeat, letter = int(match[1] or 1), match[2]
    if letter == "A":
        return f"S{repeat}", ()
    if letter not in FORMATS:
        size = -(-repeat // 8) if letter == "X" else repeat * OPAQUE_BYTES[letter]
        return f"V{size}", ()
    axes = TDIM.fullmatch(dim.strip())
    if axes and int(axes[1]) * int(axes[2]) == repeat:
        # FITS counts the fastest axis first.
        return FORMATS[letter], (int(axes[2]), int(axes[1]))
    return FORMATS[letter], (() if repeat == 1 else (repeat,))


def verify_checksums(table: ImageTable, path: Path) -> None:
    """Check DATASUM and CHECKSUM of HDU 1 and that whole HDUs reach the end of the file.

    A blank or absent keyword means "not stated". The primary HDU is left alone: real files have
    a blank DATASUM there.

    Raises
    ------
    CorruptFileError
        A stated sum differs, or the file ends within an HDU.
    """
    _reach_end(table, path)
    stated = str(table.header.get("DATASUM", "")).strip()
    data_sum = ones_sum(memoryview(table.buffer)[table.data : table.end])
    if stated and stated != str(data_sum):
        raise CorruptFileError(
            f"{path.name}: DATASUM of HDU 1 is {stated}, its data sum to {data_sum}", path
        )
    stated = str(table.header.get("CHECKSUM", "")).strip()
    hdu_sum = ones_sum(memoryview(table.buffer)[table.start : table.end])
    if stated and hdu_sum not in (0, 0xFFFFFFFF):
        raise CorruptFileError(
            f"{path.name}: CHECKSUM {stated!r} of HDU 1 does not fit its bytes"
            f" (sum {hdu_sum:#010x}, expected 0xffffffff)",
            path,
        )


def _reach_end(table: ImageTable, path: Path) -> None:
    offset = table.end
    while offset < len(table.buffer):
        header, data = _header(table.buffer, offset, path)
        if "XTENSION" not in header:
            raise CorruptFileError(f"{path.name}: no HDU at byte {offset}, after HDU 1", path)
        offset = data + _padded(_data_size(header))
    if offset > len(table.buffer):
        raise CorruptFileError(
            f"{path.name} ends at byte {len(table.buffer)}; its HDUs need {offset}", path
        )


def ones_sum(block: bytes | memoryview, start: int = 0) -> int:
    """Return the 32-bit ones'-complement sum of big-endian words (FITS standard, appendix J)."""
    total = start + int(np.frombuffer(block, ">u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def computed_checksum(table: ImageTable) -> str:
    """Return the CHECKSUM of HDU 1 as it stands, for files that state none."""
    return encode_checksum(ones_sum(memoryview(table.buffer)[table.start : table.end]))


def encode_checksum(total: int) -> str:
    """Return the text that brings the sum of an HDU from `total` to minus zero.

    Each byte of the complement is spread over four characters of the code, moved in pairs off
    the punctuation marks, and the text is rotated one place (FITS standard, appendix J).
    """
    code = np.empty((4, 4), np.int64)
    for place, byte in enumerate((0xFFFFFFFF - total).to_bytes(4, "big")):
        quotient, remainder = divmod(byte, 4)
        zero = quotient + ord("0")
        code[:2, place] = _off_punctuation(zero + remainder, zero)
        code[2:, place] = _off_punctuation(zero, zero)
    text = "".join(map(chr, code.ravel()))
    return text[-1] + text[:-1]


def _off_punctuation(first: int, second: int) -> tuple[int, int]:
    """Move two characters apart, their sum kept, until both are letters or digits."""
    while not (chr(first).isalnum() and chr(second).isalnum()):
        first, second = first + 1, second - 1
    return first, second
