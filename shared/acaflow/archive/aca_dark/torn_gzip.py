"""Read a gzip file for all it is worth: cut short, damaged, or with rubbish behind it."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO

from isal import igzip_lib

from acaflow.archive.l0_fits import GZIP_MAGIC

__all__ = ["read_blocks"]

PACKED_BLOCK = 1 << 16
"""Compressed bytes read at a time."""


def read_blocks(stream: BinaryIO, block: int, trouble: list[str]) -> Iterator[bytes]:
    """Yield a file, inflated if need be, in pieces of `block` bytes and a last one.

    Parameters
    ----------
    stream : binary file
        Plain or gzip; several members are read.
    block : int
        Bytes.
    trouble : list of str
        Gets a sentence for everything that is wrong with the packing.
    """
    is_packed = stream.read(2) == GZIP_MAGIC
    stream.seek(0)
    parts: list[bytes] = []
    size = 0
    for part in (
        _inflate(stream, block, trouble) if is_packed else iter(lambda: stream.read(block), b"")
    ):
        parts.append(part)
        size += len(part)
        if size % block == 0:
            yield b"".join(parts)
            parts.clear()
    yield b"".join(parts)


def _inflate(stream: BinaryIO, block: int, trouble: list[str]) -> Iterator[bytes]:
    """Yield all that a gzip file gives, then tell `trouble` what is wrong with it."""
    good = 0
    try:
        for part in _members(stream, block, trouble):
            good += len(part)
            yield part
    except _DAMAGE as err:
        trouble.append(f"the gzip stream is damaged ({err})")
        yield from _up_to_damage(stream, good)


_DAMAGE: Any = igzip_lib.IsalError  # its stub declares an instance


def _up_to_damage(stream: BinaryIO, good: int) -> Iterator[bytes]:
    """Yield what the first gzip member holds between byte `good` and its damage.

    The fast inflater drops what it made before the damage; this one, in steps of one byte, not.
    """
    stream.seek(0)
    inflater = zlib.decompressobj(wbits=31)
    size = 0
    with suppress(zlib.error):
        while packed := inflater.unconsumed_tail or stream.read(64):
            is_new = size >= good
            plain = inflater.decompress(packed, 1 if is_new else min(good - size, PACKED_BLOCK))
            size += len(plain)
            if is_new:
                yield plain


def _members(stream: BinaryIO, block: int, trouble: list[str]) -> Iterator[bytes]:
    """Yield the gzip members of a file in parts, none across a multiple of `block`."""
    size = 0
    is_member = True
    while is_member:
        begin = size
        _skip_gzip_header(stream)
        # This kind of inflater leaves the checksum to us; others drop bytes when it is wrong.
        inflater = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP_NO_HDR)
        while not inflater.eof:
            packed = stream.read(PACKED_BLOCK) if inflater.needs_input else b""
            if inflater.needs_input and not packed:
                trouble.append("the gzip stream ends early")
                return
            plain = inflater.decompress(packed, block - size % block)
            size += len(plain)
            yield plain
        stream.seek(-len(inflater.unused_data), os.SEEK_CUR)
        if stream.read(8) != struct.pack("<II", inflater.crc, (size - begin) % (1 << 32)):
            trouble.append("the gzip checksum is wrong")
        rest = stream.read(PACKED_BLOCK)
        is_member = rest.startswith(GZIP_MAGIC)
        if is_member:
            stream.seek(-len(rest), os.SEEK_CUR)
        elif rest.strip(b"\0"):
            trouble.append("other bytes follow the gzip stream")


def _skip_gzip_header(stream: BinaryIO) -> None:
    """Step over the header of a gzip member (RFC 1952)."""
    flags = stream.read(10)[3:4] or b"\0"
    has_crc, has_extra, has_name, has_comment = (flags[0] & bit for bit in (2, 4, 8, 16))
    if has_extra:
        stream.read(int.from_bytes(stream.read(2), "little"))
    for is_there in (has_name, has_comment):
        while is_there and stream.read(1) not in (b"\0", b""):
            pass
    if has_crc:
        stream.read(2)
