"""Read the ACA level-0 archive: image telemetry of the eight slots, any interval.

Files read: ``<data_root>/archfiles.db3`` and ``<data_root>/YYYY/DDD/acaf*_img0.fits.gz``. Times
are CXC seconds, pixels DN, temperatures kelvin unless a function says otherwise. What a row does
not have (a 4x4 image has no temperatures) is masked.

>>> from acaflow.archive import aca_l0
>>> data = aca_l0.get_slot_data("2019:272:03:00", "2019:272:03:10", slot=3)  # doctest: +SKIP
>>> images = aca_l0.get_l0_images("2019:272:03:00", "2019:272:03:10", slot=3)  # doctest: +SKIP
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from acaflow import storage, times
from acaflow.archive import l0_index
from acaflow.archive.aca_image import ACAImage
from acaflow.archive.l0_fits import ImageTable, inflate, read_table
from acaflow.archive.l0_index import L0File
from acaflow.errors import CorruptFileError, InputError, MissingDataError

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = [
    "MSID",
    "MSIDset",
    "get_aca_images",
    "get_coverage",
    "get_files",
    "get_l0_images",
    "get_slot_data",
    "obsid_times",
]

# fmt: off
DTYPE = np.dtype([
    ("TIME", ">f8"), ("QUALITY", ">i4"), ("MJF", ">i4"), ("MNF", ">i4"),
    ("END_INTEG_TIME", ">f8"), ("INTEG", ">f4"), ("PIXTLM", "<U4"), ("BGDTYP", "<U4"),
    ("GLBSTAT", "u1"), ("COMMCNT", "u1"), ("COMMPROG", "u1"),
    ("IMGFID1", "u1"), ("IMGNUM1", "u1"), ("IMGFUNC1", "u1"), ("IMGSTAT", "u1"),
    ("IMGROW0", ">i2"), ("IMGCOL0", ">i2"), ("IMGSCALE", ">i2"), ("BGDAVG", ">i2"),
    ("IMGFID2", "u1"), ("IMGNUM2", "u1"), ("IMGFUNC2", "u1"), ("BGDRMS", ">i2"),
    ("TEMPCCD", ">f4"), ("TEMPHOUS", ">f4"), ("TEMPPRIM", ">f4"), ("TEMPSEC", ">f4"),
    ("BGDSTAT", "u1"),
    ("IMGFID3", "u1"), ("IMGNUM3", "u1"), ("IMGFUNC3", "u1"),
    ("IMGFID4", "u1"), ("IMGNUM4", "u1"), ("IMGFUNC4", "u1"),
    ("IMGRAW", ">f4", (64,)),
    *((f"HD3TLM{word}", "u1") for word in (62, 63, 64, 65, 66, 67, 72, 73, 74, 75, 76, 77)),
    ("IMGSIZE", ">i4"), ("FILENAME", "<U128"),
])
# fmt: on
"""One row of slot data (aca-archive 2.3): every column of every image size, big-endian."""

FIELDS = DTYPE.names or ()
DEFAULT_WORDS = {"PIXTLM": "ORIG", "BGDTYP": "FLAT"}
"""Values of the columns that older files lack."""

ELECTRONS_PER_DN = 5.0
"""Gain of the camera (e-/DN; aca-archive 2.5)."""
KELVIN = 273.15
"""0 degC in kelvin."""
TEMPERATURES = ("TEMPCCD", "TEMPHOUS", "TEMPPRIM", "TEMPSEC")

SLOTS = range(8)
IMGSIZES = (4, 6, 8)

LONGEST_LEAD_S = 9.3
"""Most that a first row TIME lies before the header TSTART (s; aca-archive 2.2)."""
MINOR_FRAME_S = 0.25625

SlotData = np.ma.MaskedArray[Any, np.dtype[np.void]]
Database = str | Path | Mapping[str, Any]


# --- Which files -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Archive:
    """A level-0 archive: its folder and its index, open for reading."""

    root: Path
    index: sqlite3.Connection

    @classmethod
    def open(cls, db: Database | None, data_root: Path | str | None) -> _Archive:
        file = db["server"] if isinstance(db, Mapping) else db
        path = Path(file) if file is not None else _root(data_root) / l0_index.INDEX_NAME
        root = Path(data_root) if data_root is not None else path.parent
        return cls(root, storage.read_sqlite(path))

    @cached_property
    def is_ours(self) -> bool:
        """Whether the index knows row times; a tree written by public tools does not."""
        query = "SELECT 1 FROM sqlite_master WHERE name = 'all_files'"
        return self.index.execute(query).fetchone() is not None

    def near(self, slot: int, start: float, stop: float) -> list[L0File]:
        """Return the active files of a slot with rows in or near an interval, in file order."""
        if self.is_ours:
            rows = self.index.execute(
                "SELECT * FROM all_files WHERE slot = ? AND time_min <= ? AND time_max >= ?"
                " AND status = 'active' ORDER BY filetime, filename",
                (slot, stop + l0_index.NEAR_S, start - l0_index.NEAR_S),
            )
            return [L0File.from_row(row) for row in rows]
        # The first rows lie before TSTART; an interval widened by that finds a superset.
        rows = self.index.execute(
            "SELECT *, '' AS sha256, tstart - ? AS time_min, tstop AS time_max, NULL AS frames"
            " FROM archfiles WHERE slot = ? AND tstart - ? <= ? AND tstop >= ?"
            " ORDER BY filetime, filename",
            (
                LONGEST_LEAD_S,
                slot,
                LONGEST_LEAD_S,
                stop + l0_index.NEAR_S,
                start - l0_index.NEAR_S,
            ),
        )
        return [self._with_frames(L0File.from_row(row)) for row in rows]

    def _with_frames(self, record: L0File) -> L0File:
        return replace(record, frames=l0_index.frame_runs(self.read(record)))

    def read(self, record: L0File) -> ImageTable:
        """Return the table of an indexed file; it must be the one that was indexed."""
        path = self.root / record.path
        table = read_table(inflate(path), path)
        if len(table.rows) != record.rows:
            raise CorruptFileError(
                f"{path} has {len(table.rows)} rows, the index says {record.rows}", path
            )
        return table

    def close(self) -> None:
        self.index.close()


def _root(data_root: Path | str | None) -> Path:
    """Return the folder of the archive; the home of the settings has the default one."""
    if data_root is not None:
        return Path(data_root)
    from acaflow import config, paths

    return paths.Home(config.current().home).archive / "aca0"


def _slot(slot: int) -> int:
    if slot not in SLOTS:
        raise InputError(f"slot {slot!r} does not exist; slots are 0 to 7")
    return int(slot)


def _slots(slots: int | Iterable[int] | None) -> list[int]:
    if slots is None:
        return list(SLOTS)
    return [_slot(slot) for slot in (slots if isinstance(slots, Iterable) else [slots])]


def _imgsizes(imgsize: int | Iterable[int] | None) -> list[int]:
    if imgsize is None:
        return list(IMGSIZES)
    sizes = [int(size) for size in (imgsize if isinstance(imgsize, Iterable) else [imgsize])]
    for size in sizes:
        if size not in IMGSIZES:
            raise InputError(f"image size {size} does not exist; sizes are 4, 6 and 8")
    return sizes


def _interval(start: Any, stop: Any) -> tuple[float, float]:
    if start is None or stop is None:
        raise InputError(f"start and stop are both required, got {start!r} and {stop!r}")
    return times.secs(start), times.secs(stop)


def get_files(
    obsid: int | None = None,
    start: Any = None,
    stop: Any = None,
    slots: int | Iterable[int] | None = None,
    imgsize: int | Iterable[int] | None = None,
    db: Database | None = None,
    data_root: Path | str | None = None,
) -> list[str]:
    """Return the active files whose header interval overlaps a time interval.

    Parameters
    ----------
    obsid : int, optional
        Observation; its interval is used instead of `start` and `stop`.
    start, stop : time, optional
        Any time form. A file matches if ``TSTART < stop and TSTOP > start``; its first rows may
        lie up to 9.3 s before TSTART.
    slots : int or list of int, optional
        Image slots 0 to 7; default all.
    imgsize : int or list of int, optional
        Image sizes 4, 6, 8 (pixels); default all.
    db : mapping with key ``server``, or path, optional
        The index; default ``<data_root>/archfiles.db3``.
    data_root : path, optional
        Folder of the archive; default ``archive/aca0`` of the configured home.

    Returns
    -------
    list of str
        Full paths, ordered by time in the name, slot and name; empty if there are none.

    Raises
    ------
    TypeError
        Neither `obsid` nor both times.
    InputError
        No such slot or image size.
    MissingDataError
        No archive there, or unknown `obsid`.
    """
    if obsid is None and (start is None or stop is None):
        raise TypeError("Must supply either obsid or start and stop")
    slot_list, size_list = _slots(slots), _imgsizes(imgsize)
    with closing(_Archive.open(db, data_root)) as archive:
        if obsid is not None:
            tstart, tstop = _obsid_times(obsid, archive.root)
        else:
            tstart, tstop = _interval(start, stop)
        if tstart > tstop:
            return []
        rows = archive.index.execute(
            "SELECT filename, year, doy FROM archfiles WHERE tstart < ? AND tstop > ?"
            f" AND slot IN ({_marks(slot_list)}) AND imgsize IN ({_marks(size_list)})"
            " ORDER BY filetime, slot, filename",
            (tstop, tstart, *slot_list, *size_list),
        )
        return [
            str(archive.root / f"{row['year']:04d}/{row['doy']:03d}/{row['filename']}")
            for row in rows
        ]


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


def obsid_times(obsid: int) -> tuple[float, float]:
    """Return start and stop of an observation from the observation parameter archive.

    Parameters
    ----------
    obsid : int
        Observation.

    Returns
    -------
    tstart, tstop : float
        CXC seconds, of the default revision; of all its intervals if there are several.

    Raises
    ------
    MissingDataError
        No parameter archive, or it has no default revision for `obsid`.
    """
    return _obsid_times(obsid, _root(None))


def _obsid_times(obsid: int, root: Path) -> tuple[float, float]:
    path = root.absolute().parent / "obspar" / "archfiles.db3"
    with closing(storage.read_sqlite(path)) as index:
        tstart, tstop = index.execute(
            "SELECT min(tstart), max(tstop) FROM archfiles WHERE obsid = ? AND isdefault = 1",
            (int(obsid),),
        ).fetchone()
    if tstart is None or tstop is None:
        raise MissingDataError(f"obsid {obsid} has no default observation parameters in {path}")
    return float(tstart), float(tstop)


# --- Rows --------------------------------------------------------------------------------------


def get_slot_data(
    start: Any,
    stop: Any,
    slot: int,
    imgsize: int | Iterable[int] | None = None,
    db: Database | None = None,
    data_root: Path | str | None = None,
    columns: Sequence[str] | None = None,
    centered_8x8: bool = False,
    *,
    unique: bool = True,
    quality: Literal["all", "good"] = "all",
    units: Literal["DN", "e-/s"] = "DN",
) -> SlotData:
    """Return all rows of a slot in a time interval, whatever their image size.

    Parameters
    ----------
    start, stop : time
        Any time form; rows with ``start <= TIME <= stop`` are returned.
    slot : int
        Image slot, 0 to 7.
    imgsize : int or list of int, optional
        Image sizes 4, 6, 8 (pixels); default all.
    db : mapping with key ``server``, or path, optional
        The index; default ``<data_root>/archfiles.db3``.
    data_root : path, optional
        Folder of the archive; default ``archive/aca0`` of the configured home.
    columns : list of str, optional
        Fields wanted; their order does not matter. Default: all 49.
    centered_8x8 : bool
        Put small images in the middle of an (8, 8) field, not at its first pixel.
    unique : bool
        Leave out rows that a file of higher rank has too, and sort by TIME; False gives every
        row of every active file in file order.
    quality : {'all', 'good'}
        ``good`` keeps rows with QUALITY 0.
    units : {'DN', 'e-/s'}
        Unit of IMGRAW; BGDAVG and BGDRMS are always DN.

    Returns
    -------
    MaskedArray, structured, shape (n,)
        Fields in the order and with the types of `DTYPE`. IMGRAW has shape (64,), pixel [r, c]
        of an image at ``8 * r + c``; with `centered_8x8` shape (8, 8). What a row does not have
        is masked, and so are pixels outside a small image.

    Raises
    ------
    InputError
        No such slot, image size, column, quality or unit.
    MissingDataError
        No archive there.
    FileNotFoundError, CorruptFileError
        An indexed file is missing or unreadable.
    """
    tstart, tstop = _interval(start, stop)
    slot, sizes = _slot(slot), _imgsizes(imgsize)
    _one_of("quality", quality, ("all", "good"))
    _one_of("units", units, ("DN", "e-/s"))
    dtype = _dtype(columns, centered_8x8)
    with closing(_Archive.open(db, data_root)) as archive:
        near = archive.near(slot, tstart, tstop) if tstart <= tstop else []
        chosen = [
            record
            for record in near
            if record.imgsize in sizes and record.time_min <= tstop and record.time_max >= tstart
        ]
        output = _Rows(dtype, sum(record.rows for record in chosen), electrons=units == "e-/s")
        for record in chosen:
            table = archive.read(record)
            time = table.column("TIME")
            keep = (time >= tstart) & (time <= tstop)
            if quality == "good":
                keep &= table.column("QUALITY") == 0
            if unique:
                keep &= ~_superseded(record, near, archive.root)
            output.add(table, keep, record.filename)
    return output.by_time() if unique else output.in_file_order()


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{what} is {value!r}; expected one of {', '.join(allowed)}")


def _dtype(columns: Sequence[str] | None, centered_8x8: bool) -> np.dtype[np.void]:
    """Return the fields asked for, in the fixed order."""
    wanted = FIELDS if columns is None else tuple(columns)
    unknown = [name for name in wanted if name not in FIELDS]
    if unknown:
        raise InputError(f"no column {', '.join(map(repr, unknown))}; known: {', '.join(FIELDS)}")
    if not wanted:
        raise InputError("columns is empty; name at least one, or leave it out for all")
    image = (">f4", (8, 8)) if centered_8x8 else DTYPE["IMGRAW"]
    return np.dtype(
        [(name, image if name == "IMGRAW" else DTYPE[name]) for name in FIELDS if name in wanted]
    )


def _superseded(record: L0File, near: Sequence[L0File], root: Path) -> npt.NDArray[np.bool_]:
    """Tell which rows of a file also occur in an active file of higher rank."""
    rivals = [other for other in near if other.rank > record.rank and record.is_near(other)]
    if not rivals:
        return np.zeros(record.rows, bool)
    keys = l0_index.row_keys(record, root)
    return l0_index.covered_rows(keys, (l0_index.row_keys(other, root) for other in rivals))


def _window(images: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """Return a view of the pixels that images of `size` fill, shape (n, size, size).

    Images of shape (n, 64) hold them from the first pixel on, (n, 8, 8) in the middle.
    """
    first = (8 - size) // 2 if images.ndim == 3 else 0
    pixels = slice(first, first + size)
    return images.reshape(-1, 8, 8)[:, pixels, pixels]


def _as_bytes(rows: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return a view of structured rows as bytes, shape (n, bytes per row)."""
    return rows.view(np.uint8).reshape(len(rows), rows.dtype.itemsize)


def _byte_runs(
    names: Iterable[str], target: np.dtype[np.void], source: np.dtype[np.void]
) -> list[tuple[int, int, int]]:
    """Join columns that are neighbours in both types: (to, from, size) in bytes.

    Copying a few wide runs instead of some 45 columns touches every row a few times only.
    """
    runs: list[tuple[int, int, int]] = []
    for name in names:
        to, start, size = _offset(target, name), _offset(source, name), target[name].itemsize
        if runs and (runs[-1][0] + runs[-1][2], runs[-1][1] + runs[-1][2]) == (to, start):
            to, start, size = runs[-1][0], runs[-1][1], runs.pop()[2] + size
        runs.append((to, start, size))
    return runs


def _offset(dtype: np.dtype[np.void], name: str) -> int:
    fields: Any = dtype.fields
    return int(fields[name][1])


class _Rows:
    """Rows of slot data, filled file by file.

    One allocation holds what all files could give; rows that are not wanted leave its end
    untouched, which costs address space and no memory.

    Parameters
    ----------
    dtype : dtype
        Fields wanted.
    capacity : int
        Most rows that will be added.
    electrons : bool
        Convert IMGRAW from DN to e-/s.
    """

    def __init__(self, dtype: np.dtype[np.void], capacity: int, electrons: bool) -> None:
        self.electrons = electrons
        self.wanted = dtype.names or ()
        self.filled = 0
        self.data: npt.NDArray[Any] = np.empty(capacity, dtype)
        self.mask: npt.NDArray[Any] = np.empty(capacity, np.ma.make_mask_descr(dtype))
        self.times: list[npt.NDArray[np.float64]] = []

    def add(self, table: ImageTable, keep: npt.NDArray[np.bool_], filename: str) -> None:
        """Append the wanted rows of one file."""
        rows = np.flatnonzero(keep)
        if not len(rows):
            return
        # A slice reads the file's rows in place; picking single rows copies them first.
        gapless = rows[-1] - rows[0] + 1 == len(rows)
        select = slice(rows[0], rows[-1] + 1) if gapless else rows
        part = slice(self.filled, self.filled + len(rows))
        self.filled = part.stop
        self.times.append(table.column("TIME", select).astype(np.float64))
        self._add_constants(table, part, filename)
        same = [name for name in self.wanted if self._is_stored_alike(name, table)]
        target, source = _as_bytes(self.data)[part], _as_bytes(table.rows)[select]
        for to, start, size in _byte_runs(same, self.data.dtype, table.rows.dtype):
            target[:, to : to + size] = source[:, start : start + size]
        for name in self.wanted:
            if name == "IMGRAW" and name not in same:
                self._add_images(table, select, part)
            elif name in table.names and name not in same:
                self.data[name][part] = table.column(name, select)

    def _add_constants(self, table: ImageTable, part: slice, filename: str) -> None:
        """Write what all rows of a file have in common: derived fields and the mask."""
        row, mask = np.zeros(1, self.data.dtype), np.ones(1, self.mask.dtype)
        constants = DEFAULT_WORDS | {"IMGSIZE": table.imgsize, "FILENAME": filename}
        for name in self.wanted:
            if name in constants:
                row[name] = constants[name]
            if name == "IMGRAW":
                _window(mask[name], table.imgsize)[:] = False
            else:
                mask[name] = name not in constants and name not in table.names
        _as_bytes(self.data)[part] = _as_bytes(row)
        _as_bytes(self.mask)[part] = _as_bytes(mask)

    def _is_stored_alike(self, name: str, table: ImageTable) -> bool:
        """Tell whether the bytes of a column are those of the field."""
        if name not in table.names or name in table.scaling:
            return False
        field, column = self.data.dtype[name], table.rows.dtype[name]
        converts = self.electrons and name == "IMGRAW"
        return field.base == column.base and field.itemsize == column.itemsize and not converts

    def _add_images(self, table: ImageTable, select: Any, part: slice) -> None:
        """Place the pixels of small images, or of any size in e-/s."""
        images, size = self.data["IMGRAW"][part], table.imgsize
        counts = table.column("IMGRAW", select)
        if not self.electrons:
            _window(images, size)[:] = counts
            return
        seconds = table.column("INTEG", select).astype(np.float32)[:, None, None]
        known = seconds > 0
        factor = np.divide(np.float32(ELECTRONS_PER_DN), seconds, where=known, out=0 * seconds)
        _window(images, size)[:] = counts * factor
        _window(self.mask["IMGRAW"][part], size)[:] = ~known

    def in_file_order(self) -> SlotData:
        """Return the rows as they were added."""
        data, mask = self.data[: self.filled], self.mask[: self.filled]
        if self.filled < len(self.data) // 2:
            # Keep no large allocation alive behind a small result.
            data, mask = data.copy(), mask.copy()
        return np.ma.MaskedArray(data, mask=mask, keep_mask=False, copy=False)

    def by_time(self) -> SlotData:
        """Return the rows sorted by TIME; rows of equal TIME stay in file order."""
        rows = self.in_file_order()
        time = np.concatenate([np.empty(0), *self.times])
        if (np.diff(time) >= 0).all():
            return rows
        return rows[np.argsort(time, kind="stable")]


# --- Images -------------------------------------------------------------------------------------

IMAGE_META = ("TIME", "BGDAVG", "IMGSTAT", "IMGFUNC1", "IMGSIZE", "IMGSCALE", "INTEG")
"""Metadata of an image unless the caller names other columns; the corner is always added."""
CORNER = ("IMGROW0", "IMGCOL0")


def get_l0_images(
    start: Any,
    stop: Any,
    slot: int,
    imgsize: int | Iterable[int] | None = None,
    columns: Sequence[str] | None = None,
    *,
    data_root: Path | str | None = None,
) -> list[ACAImage]:
    """Return the good images of a slot, each knowing where on the CCD it lies.

    Parameters
    ----------
    start, stop : time
        Any time form; images with ``start <= TIME <= stop`` and QUALITY 0 are returned.
    slot : int
        Image slot, 0 to 7.
    imgsize : int or list of int, optional
        Image sizes 4, 6, 8 (pixels); default all.
    columns : list of str, optional
        Metadata wanted; default `IMAGE_META`. IMGROW0 and IMGCOL0 are always added.
    data_root : path, optional
        Folder of the archive; default ``archive/aca0`` of the configured home.

    Returns
    -------
    list of ACAImage
        Pixels in DN (float32, size x size; the corners of a 6x6 image are 0). ``meta`` has the
        columns that the row has; temperatures there are degC.

    Raises
    ------
    As `get_slot_data`.
    """
    meta = [name for name in (IMAGE_META if columns is None else columns) if name != "IMGRAW"]
    meta += [name for name in CORNER if name not in meta]
    rows = get_slot_data(
        start,
        stop,
        slot,
        imgsize,
        data_root=data_root,
        columns=[*meta, "IMGRAW", "IMGSIZE"],
        quality="good",
    )
    images = rows["IMGRAW"].data.reshape(-1, 8, 8)
    values = {name: _meta_values(rows, name) for name in meta}
    masks = {name: np.ma.getmaskarray(rows[name]) for name in meta}
    return [
        ACAImage(
            images[i, :size, :size],
            meta={name: values[name][i] for name in meta if not masks[name][i]},
        )
        for i, size in enumerate(rows["IMGSIZE"].data)
    ]


def _meta_values(rows: SlotData, name: str) -> npt.NDArray[Any]:
    values = rows[name].data
    return np.asarray(values - np.float32(KELVIN)) if name in TEMPERATURES else values


COPIED = (
    *("TIME", "MJF", "MNF", "END_INTEG_TIME", "INTEG", "PIXTLM", "BGDTYP", "GLBSTAT"),
    *("COMMCNT", "COMMPROG", "IMGSTAT", "IMGROW0", "IMGCOL0", "IMGSCALE", "BGDAVG", "BGDRMS"),
    *(*TEMPERATURES, "BGDSTAT", "IMGRAW", *(name for name in FIELDS if name[:6] == "HD3TLM")),
    *("IMGSIZE", "IMGFID1", "IMGFUNC1", "IMGNUM1"),
)
"""Fields of slot data in `get_aca_images`, in the order of its columns."""
RENAMED = {
    "PIXTLM": "AAPIXTLM",
    "BGDTYP": "AABGDTYP",
    "IMGRAW": "IMG",
    "IMGFID1": "IMGFID",
    "IMGFUNC1": "IMGFUNC",
    "IMGNUM1": "IMGNUM",
}
# fmt: off
GLBSTAT_BITS = (
    "SYNTAX_ERROR", "RESET", "COMM_CHECKSUM_FAIL", "CAL_FAIL",
    "POWER_FAIL", "ROM_FAIL", "RAM_FAIL", "HIGH_BGD",
)
IMGSTAT_BITS = ("ION_RAD", "MULTI_STAR", "COMMON_COL", "QUAD_BOUND", "DEF_PIXEL", "SAT_PIXEL")
# fmt: on
"""Names of the status bits, the least significant first (aca-archive 2.4)."""


def get_aca_images(start: Any, stop: Any, *, data_root: Path | str | None = None) -> Table:
    """Return the good images of all slots in the columns of the telemetry decoder.

    Parameters
    ----------
    start, stop : time
        Any time form; rows with ``start <= TIME <= stop`` and QUALITY 0 are returned.
    data_root : path, optional
        Folder of the archive; default ``archive/aca0`` of the configured home.

    Returns
    -------
    Table
        One row per image, sorted by TIME and IMGNUM. IMG (DN) has shape (8, 8), small images in
        the middle, the rest masked. Status bits are columns of their own; temperatures kelvin.

    Raises
    ------
    As `get_slot_data`.
    """
    from astropy.table import Table

    slots = [
        get_slot_data(
            start,
            stop,
            slot,
            data_root=data_root,
            columns=COPIED,
            centered_8x8=True,
            quality="good",
        )
        for slot in SLOTS
    ]
    columns = {RENAMED.get(name, name): _joined([rows[name] for rows in slots]) for name in COPIED}
    columns |= _placement(columns) | _status(columns)
    order = np.lexsort((columns["IMGNUM"].filled(0), columns["TIME"].filled(0)))
    return Table(
        {
            name: values[order] if name == "IMG" or values.mask.any() else values.data[order]
            for name, values in columns.items()
        }
    )


def _joined(parts: Sequence[np.ma.MaskedArray[Any, Any]]) -> np.ma.MaskedArray[Any, Any]:
    """Concatenate masked arrays into one of native byte order."""
    data = np.concatenate([part.data for part in parts])
    mask = np.concatenate([np.ma.getmaskarray(part) for part in parts])
    return np.ma.MaskedArray(data.astype(data.dtype.newbyteorder("=")), mask)


Columns = dict[str, np.ma.MaskedArray[Any, Any]]


def _placement(columns: Columns) -> Columns:
    """Return where pixel A1 and the 8x8 frame lie, the image type and the frame counter."""
    size = columns["IMGSIZE"].data
    added: Columns = {}
    for axis in ("ROW", "COL"):
        corner = columns[f"IMG{axis}0"]
        added |= {
            f"IMG{axis}_A1": corner + (size == 6).astype(np.int16),
            f"IMG{axis}0_8X8": corner - ((8 - size) // 2).astype(np.int16),
        }
    added["IMGTYPE"] = np.ma.MaskedArray(np.select([size == 8, size == 6], [4, 1], 0))
    added["VCDUCTR"] = columns["MJF"] * np.int32(128) + columns["MNF"]
    added["IMG_VCDUCTR"] = added["VCDUCTR"].copy()
    return added


def _status(columns: Columns) -> Columns:
    """Return the decoded status bytes (aca-archive 2.4)."""
    count, progress = columns["COMMCNT"], columns["COMMPROG"]
    added: Columns = {}
    for byte, names in (("GLBSTAT", GLBSTAT_BITS), ("IMGSTAT", IMGSTAT_BITS)):
        added |= {name: columns[byte] & (1 << bit) != 0 for bit, name in enumerate(names)}
    return added | {
        "COMMCNT": count >> 2,
        "COMMPROG": progress >> 2,
        "COMMCNT_CHECKSUM_FAIL": count & 1 != 0,
        "COMMCNT_SYNTAX_ERROR": count & 2 != 0,
        "COMMPROG_REPEAT": progress & 3,
    }


# --- Single columns and coverage ----------------------------------------------------------------


class MSID:
    """One column of the 8x8 images of a slot as a time series.

    Parameters
    ----------
    msid : str
        Name of a level-0 column, in any case.
    slot : int
        Image slot, 0 to 7.
    start, stop : time
        Any time form.
    data_root : path, optional
        Folder of the archive; default ``archive/aca0`` of the configured home.

    Attributes
    ----------
    msid : str
        Name in lower case.
    vals : MaskedArray, shape (n, ...)
        Values as in `get_slot_data`.
    times : ndarray of float64, shape (n,)
        CXC seconds.
    slot : int
    tstart, tstop : float
        The interval asked for (CXC seconds).
    datestart, datestop : str
        The same as dates.

    Raises
    ------
    MissingDataError
        There is no such column, or no archive.
    """

    def __init__(
        self, msid: str, slot: int, start: Any, stop: Any, *, data_root: Path | str | None = None
    ) -> None:
        column = msid.upper()
        if column not in FIELDS:
            raise MissingDataError(f"msid {msid} not found")
        self.msid = msid.lower()
        self.slot = _slot(slot)
        self.tstart, self.tstop = _interval(start, stop)
        self.datestart, self.datestop = times.date(self.tstart), times.date(self.tstop)
        rows = get_slot_data(
            self.tstart, self.tstop, slot, 8, data_root=data_root, columns=["TIME", column]
        )
        self.vals = rows[column]
        self.times = rows["TIME"].data.astype(np.float64)


class MSIDset(dict[str, MSID]):
    """Several columns of the 8x8 images of a slot: an ordered mapping name to `MSID`.

    Parameters
    ----------
    msids : list of str
        Names of level-0 columns; the keys, as given.
    slot, start, stop, data_root
        As for `MSID`.
    """

    def __init__(
        self,
        msids: Iterable[str],
        slot: int,
        start: Any,
        stop: Any,
        *,
        data_root: Path | str | None = None,
    ) -> None:
        super().__init__(
            (msid, MSID(msid, slot, start, stop, data_root=data_root)) for msid in msids
        )


def get_coverage(
    start: Any,
    stop: Any,
    slots: int | Iterable[int] | None = None,
    data_root: Path | str | None = None,
) -> Table:
    """List the contiguous runs of images of each slot; what lies between them are gaps.

    Parameters
    ----------
    start, stop : time
        Any time form; runs are cut to the interval.
    slots : int or list of int, optional
        Image slots 0 to 7; default all.
    data_root : path, optional
        Folder of the archive; default ``archive/aca0`` of the configured home.

    Returns
    -------
    Table
        slot, imgsize, tstart, tstop (CXC seconds, first and last row TIME), n_rows, n_bad
        (QUALITY not 0); one row per run, by slot and time. A run ends where the image size
        changes or the frame counter does not step by one image.

    Raises
    ------
    As `get_slot_data`.
    """
    from astropy.table import Table, vstack

    columns = ["TIME", "QUALITY", "MJF", "MNF", "IMGSIZE"]
    tables = []
    for slot in _slots(slots):
        rows = get_slot_data(start, stop, slot, columns=columns, data_root=data_root)
        tables.append(Table(_runs(rows, slot)))
    return vstack(tables)


def _runs(rows: SlotData, slot: int) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of the coverage table for one slot."""
    time, size = rows["TIME"].data.astype(np.float64), rows["IMGSIZE"].data.astype(np.int64)
    counter = rows["MJF"].data.astype(np.int64) * 128 + rows["MNF"].data
    counted = ~(np.ma.getmaskarray(rows["MJF"]) | np.ma.getmaskarray(rows["MNF"]))
    # Rows without frame counters: the spacing in TIME, in minor frames, says the same.
    spacing = np.rint(np.diff(time) / MINOR_FRAME_S)
    steps = np.where(counted[1:] & counted[:-1], np.diff(counter) % l0_index.COUNTERS, spacing)
    nominal = np.select([size == 4, size == 6], [4, 8], 16)[1:]
    broken = (steps != nominal) | (np.diff(size) != 0)
    first = np.flatnonzero(np.concatenate((np.ones(min(len(time), 1), bool), broken)))
    last = np.append(first, len(time))[1:] - 1
    bad = np.concatenate(([0], np.cumsum(rows["QUALITY"].data != 0)))
    return {
        "slot": np.full(len(first), slot),
        "imgsize": size[first],
        "tstart": time[first],
        "tstop": time[last],
        "n_rows": last - first + 1,
        "n_bad": bad[last + 1] - bad[first],
    }
