"""Building a segment: columns become compressed chunks of one HDF5 image in memory.

Nodes, all under the root of the file:

========================  ======================================================================
``f8``, ``u1``, ``S4`` …  1-D array of all scalar columns of that dtype, column after column
``f4x64`` …               the same for vector columns of that dtype and width, row after row
``chunks``                int64 (n_chunk, 3): place in the file, size (bytes), CRC-32 of each chunk
``head``                  bytes: JSON with the columns, their places, and the sources
========================  ======================================================================

Any HDF5 library with the blosc2 filter reads the arrays. Our reader does without: the place of
every chunk is in ``chunks``, and a chunk is inflated straight from the file. This takes 0.02 ms
to open a segment instead of 1.4, needs no lock, and reads from many threads.

A column of one single value is in the head alone; a float64 column of straight runs is there too,
but for its residuals (`acaflow.colstore.axis`).
"""

from __future__ import annotations

import json
import math
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import numpy as np

from acaflow.colstore import axis
from acaflow.colstore.records import TIME, Array, SourceRange

__all__ = ["FORMAT", "RESIDUAL", "TABLES", "Codec", "Image", "Place", "Spec", "build"]

Codec = Literal["zstd", "lz4"]

FORMAT = 1
CHUNK_BYTES = 256 * 1024
"""Upper limit of a chunk, inflated (bytes)."""
SMALL_BYTES = 32 * 1024
"""Columns of less share chunks …"""
PACK_BYTES = 64 * 1024
"""… of about this size (bytes)."""
RESIDUAL = "'residual"
"""Suffix of the hidden column of residuals."""
LEVELS = {"zstd": 1, "lz4": 5}
"""Compression level of each codec."""

TABLES = threading.Lock()
"""To be held by whoever uses PyTables, which is not safe in threads."""


@dataclass(frozen=True)
class Spec:
    """Kind of a column: dtype text, and width of a vector (0: scalar)."""

    dtype: str
    width: int

    @classmethod
    def of(cls, values: Array) -> Spec:
        """Return the kind of an array."""
        return cls(values.dtype.str, values.shape[1] if values.ndim == 2 else 0)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return np.dtype(self.dtype).itemsize * max(self.width, 1)

    def empty(self, n: int) -> Array:
        """Return an array for n rows."""
        return np.empty((n, self.width) if self.width else n, self.dtype)


@dataclass(frozen=True)
class Place:
    """A stretch of a file: offset, size (bytes), CRC-32."""

    offset: int
    size: int
    crc: int


@dataclass(frozen=True)
class Image:
    """A segment before it is a file, and where its head and list of chunks begin."""

    content: bytes
    head_place: Place
    chunks_place: Place


def build(
    n: int,
    specs: Mapping[str, Spec],
    load: Callable[[str], Array],
    sources: Sequence[SourceRange],
    codec: Codec,
) -> Image:
    """Make a segment, in memory, a column at a time.

    Parameters
    ----------
    n : int
        Number of rows, at least 1.
    specs : mapping of str to Spec
        All columns.
    load : callable
        Gives a column: native byte order, shape (n,) or (n, width).
    sources : sequence of SourceRange
        Where its rows come from.
    codec : 'zstd' or 'lz4'
        Compressor.
    """
    import tables

    columns: dict[str, dict[str, Any]] = {}
    with (
        TABLES,
        tables.open_file(
            "segment.h5",
            "w",
            driver="H5FD_CORE",
            driver_core_backing_store=0,
            driver_core_increment=1 << 20,
            pytables_sys_attrs=False,
        ) as file,
    ):
        writer = _Writer(file, n, codec, columns)
        for name, spec in specs.items():
            values = load(name)
            runs = None
            if spec == Spec("<f8", 0) and (name == TIME or not _is_const(values)):
                runs = axis.encode(values)
            if runs is None:
                writer.put(name, values, spec)
            else:
                columns[name] = vars(spec) | {"runs": runs[0].to_json()}
                writer.put(name + RESIDUAL, runs[1], Spec("|i1", 0))
        writer.finish()
        table = np.array(writer.chunks, "<i8")
        text = json.dumps(
            {
                "format": FORMAT,
                "n": n,
                "columns": columns,
                "sources": [vars(item) for item in sources],
            }
        ).encode()
        if len(table):
            file.create_array("/", "chunks", table)
        file.create_array("/", "head", np.frombuffer(text, np.uint8))
        file.flush()
        content = file.get_file_image()
    return Image(content, _find(content, text), _find(content, table.tobytes()))


def _find(content: bytes, part: bytes) -> Place:
    """Return where the library put an array: it has no call for that."""
    from isal import isal_zlib

    return Place(content.rindex(part), len(part), isal_zlib.crc32(part))


def _is_const(values: Array) -> bool:
    """Tell whether all rows have the same bits."""
    rows = values.view(np.uint8).reshape(len(values), -1)
    return bool((rows[-1] == rows[0]).all() and (rows == rows[0]).all())


@dataclass
class _Writer:
    """Writes columns of `n` rows into the nodes of an open file and enters them in `columns`.

    An entry has ``const``, the bytes of the one value; or ``node`` and ``start``, the first row
    there, ``chunk``, the number of the first chunk, ``rows`` per chunk, and ``at``, the row of
    that chunk where the column begins.
    """

    file: Any
    n: int
    codec: Codec
    columns: dict[str, dict[str, Any]]
    chunks: list[tuple[int, int, int]] = field(default_factory=list)
    nodes: dict[Spec, Any] = field(default_factory=dict)
    waiting: dict[Spec, dict[str, Array]] = field(default_factory=dict)

    def put(self, name: str, values: Array, spec: Spec) -> None:
        """Store a column, at once or, if small, with the others at the end."""
        size = self.n * spec.row_bytes
        if _is_const(values):
            self.columns[name] = vars(spec) | {"const": values[:1].tobytes().hex()}
        elif size < SMALL_BYTES:
            self.waiting.setdefault(spec, {})[name] = values
        else:
            self._store([name], values, math.ceil(self.n / math.ceil(size / CHUNK_BYTES)), spec)

    def finish(self) -> None:
        """Store the small columns, several in a chunk."""
        for spec, columns in self.waiting.items():
            names = list(columns)
            pack = min(len(names), PACK_BYTES // (self.n * spec.row_bytes))
            for i in range(0, len(names), pack):
                group = names[i : i + pack]
                values = np.concatenate([columns[name] for name in group])
                self._store(group, values, pack * self.n, spec)

    def _store(self, names: list[str], values: Array, rows: int, spec: Spec) -> None:
        """Append chunks of `rows` rows that hold columns one after the other."""
        import blosc2  # type: ignore[import-untyped]
        from isal import isal_zlib

        node = self._node(spec, rows)
        width = max(spec.width, 1)
        start = int(node.nrows) // width
        for i, name in enumerate(names):
            self.columns[name] = vars(spec) | {
                "node": node.name,
                "start": start + i * self.n,
                "chunk": len(self.chunks),
                "rows": rows,
                "at": i * self.n,
            }
        node.truncate((start + math.ceil(len(values) / rows) * rows) * width)
        for row in range(0, len(values), rows):
            part = values[row : row + rows].reshape(-1)
            if len(part) < rows * width:
                part = np.append(part, np.zeros(rows * width - len(part), part.dtype))
            chunk = blosc2.compress2(part, **self._cparams(spec))
            place = ((start + row) * width,)
            node.write_chunk(place, _framed(chunk, part))
            offset = node.chunk_info(place).offset + len(_frame_ends()[0])
            self.chunks.append((offset, len(chunk), isal_zlib.crc32(chunk)))

    def _node(self, spec: Spec, rows: int) -> Any:
        """Return the array for a kind of column, made when first needed."""
        import tables

        if spec not in self.nodes:
            dtype = np.dtype(spec.dtype)
            self.nodes[spec] = self.file.create_earray(
                "/",
                f"{dtype.kind}{dtype.itemsize}" + f"x{spec.width}" * (spec.width > 0),
                tables.Atom.from_dtype(dtype),
                shape=(0,),
                chunkshape=(rows * max(spec.width, 1),),
                filters=tables.Filters(
                    complib=f"blosc2:{self.codec}", complevel=LEVELS[self.codec], shuffle=True
                ),
            )
        return self.nodes[spec]

    def _cparams(self, spec: Spec) -> dict[str, Any]:
        """Return the compressor's settings."""
        import blosc2

        # Measured: transposed bits make scalar telemetry smaller (by 0-30 %) and LZ4 good at all;
        # images under zstd are 15 % smaller with transposed bytes.
        by_bytes = self.codec == "zstd" and spec.width
        itemsize = np.dtype(spec.dtype).itemsize
        return {
            "codec": blosc2.Codec[self.codec.upper()],
            "clevel": LEVELS[self.codec],
            "typesize": itemsize if itemsize < 256 else 1,
            "nthreads": 1,
            "filters": [blosc2.Filter.SHUFFLE if by_bytes else blosc2.Filter.BITSHUFFLE],
            "filters_meta": [0],
        }


@cache
def _frame_ends() -> tuple[bytes, bytes]:
    """Return what HDF5's blosc2 filter expects before a chunk (sizes to be set) and after it.

    The library makes every frame with a pool of threads of its own, which takes longer than to
    compress the chunk; so one is made per process.
    """
    import blosc2

    made = blosc2.SChunk(chunksize=64, data=np.arange(16.0, dtype="f4"), contiguous=True)
    header, tail = made.to_cframe().split(made.get_chunk(0))
    return header, tail


def _framed(chunk: bytes, content: Array) -> bytes:
    """Return a chunk that holds `content` in its frame.

    Source of the places: C-Blosc2, "Blosc2 contiguous frame format"; big-endian.
    """
    before, tail = _frame_ends()
    header = bytearray(before)
    struct.pack_into(">Q", header, 16, len(header) + len(chunk) + len(tail))
    struct.pack_into(">q", header, 30, content.nbytes)
    struct.pack_into(">q", header, 39, len(chunk))
    struct.pack_into(">i", header, 48, content.itemsize)
    struct.pack_into(">i", header, 58, content.nbytes)
    return bytes(header) + chunk + tail
