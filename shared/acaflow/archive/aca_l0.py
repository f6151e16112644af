"""Read the ACA level-0 archive: image telemetry of the eight slots, any interval.

Files read: ``<data_root>/archfiles.db3`` and ``<data_root>/YYYY/DDD/acaf*_img0.fits.gz``. Times
are CXC seconds, pixels DN, temperatures kelvin unless a function says otherwise. What a row does
not have (a 4x4 image has no temperatures) is masked.

>>> from acaflow.archive import aca_l0
>>> data = aca_l0.get_slot_data("2019:272:03:00", "2019:272:03:10", slot=3)  # doctest: +SKIP
>>> images = aca_l0.get_l0_images("2019:272:03:00", "2019:272:03:10", slot=3)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from acaflow import storage, times
from acaflow.archive import l0_rows
from acaflow.archive.aca_image import ACAImage
from acaflow.archive.l0_archive import Archive
from acaflow.archive.l0_format import (
    COUNTERS,
    FRAME_STEP,
    IMGSIZES,
    KELVIN,
    MAJOR_FRAME,
    MINOR_FRAME_S,
    SLOTS,
    TEMPERATURES,
)
from acaflow.archive.l0_index import INDEX_NAME
from acaflow.archive.l0_rows import Block, Rows, read_rows
from acaflow.archive.l0_table import FIELDS, SlotData, make_table
from acaflow.errors import InputError, MissingDataError

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

Database = str | Path | Mapping[str, Any]
"""Path of an index, or the handle that older programs pass: ``server`` is the path."""


# --- Which files -------------------------------------------------------------------------------


def _open(db: Database | None, data_root: Path | str | None) -> Archive:
    file = db["server"] if isinstance(db, Mapping) else db
    index = Path(file) if file is not None else _root(data_root) / INDEX_NAME
    return Archive.open(index, Path(data_root) if data_root is not None else index.parent)


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
    with closing(_open(db, data_root)) as archive:
        if obsid is not None:
            tstart, tstop = _obsid_times(obsid, archive.root)
        else:
            tstart, tstop = _interval(start, stop)
        if tstart > tstop:
            return []
        return [str(path) for path in archive.paths(tstart, tstop, slot_list, size_list)]


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
        Fields in the order and with the types of `l0_table.DTYPE`. IMGRAW has shape (64,), pixel
        [r, c] of an image at ``8 * r + c``; with `centered_8x8` shape (8, 8). What a row does
        not have is masked, and so are pixels outside a small image.

    Raises
    ------
    InputError
        No such slot, image size, column, quality or unit.
    MissingDataError
        No archive there.
    FileNotFoundError, CorruptFileError
        An indexed file is missing, unreadable, or not the one that was indexed.
    """
    _one_of("quality", quality, ("all", "good"))
    _one_of("units", units, ("DN", "e-/s"))
    names = FIELDS if columns is None else tuple(columns)
    electrons = units == "e-/s"
    rows = get_rows(
        start,
        stop,
        slot,
        (*names, "INTEG") if electrons and names else names,
        imgsize,
        db=db,
        data_root=data_root,
        unique=unique,
        good=quality == "good",
    )
    return make_table(rows, names, centered=centered_8x8, electrons=electrons)


def get_rows(
    start: Any,
    stop: Any,
    slot: int,
    columns: Sequence[str],
    imgsize: int | Iterable[int] | None = None,
    *,
    db: Database | None = None,
    data_root: Path | str | None = None,
    unique: bool = True,
    good: bool = False,
) -> Rows:
    """Return rows of a slot column by column, as they are stored: the fast way to few columns.

    Parameters
    ----------
    start, stop, slot, columns, imgsize, db, data_root, unique
        As for `get_slot_data`.
    good : bool
        Only rows with QUALITY 0.

    Returns
    -------
    Rows
        See `l0_rows.Rows`; arrays in native byte order.

    Raises
    ------
    As `get_slot_data`.
    """
    tstart, tstop = _interval(start, stop)
    slot, sizes = _slot(slot), _imgsizes(imgsize)
    unknown = [name for name in columns if name not in FIELDS]
    if unknown:
        raise InputError(f"no column {', '.join(map(repr, unknown))}; known: {', '.join(FIELDS)}")
    if not columns:
        raise InputError("columns is empty; name at least one, or leave it out for all")
    with closing(_open(db, data_root)) as archive:
        return read_rows(archive, slot, tstart, tstop, columns, sizes, unique=unique, good=good)


def stream_rows(
    start: Any,
    stop: Any,
    slot: int,
    columns: Sequence[str],
    imgsize: int,
    *,
    data_root: Path | str | None = None,
) -> tuple[int, Iterator[Rows]]:
    """Return rows like `get_rows` in pieces that follow in TIME, for intervals of years.

    Returns
    -------
    most : int
        About as many rows there are at most, to allocate once.
    pieces : iterator of Rows
        Each of one image size and sorted; none is empty.

    Raises
    ------
    As `get_slot_data`.
    """
    tstart, tstop = _interval(start, stop)
    (imgsize,) = _imgsizes(imgsize)
    slot, archive = _slot(slot), _open(None, data_root)

    def pieces() -> Iterator[Rows]:
        with closing(archive):
            yield from l0_rows.stream_rows(archive, slot, tstart, tstop, columns, imgsize)

    return archive.most_rows(slot, tstart, tstop, imgsize), pieces()


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{what} is {value!r}; expected one of {', '.join(allowed)}")


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
    rows = get_rows(start, stop, slot, [*meta, "IMGRAW"], imgsize, data_root=data_root, good=True)
    images = [image for block in rows.blocks for image in _images(block, meta)]
    return images if rows.order is None else [images[i] for i in rows.order]


def _images(block: Block, meta: Sequence[str]) -> Iterator[ACAImage]:
    """Make the images of a block, with the metadata that its files have."""
    table = make_table(Rows([block], None), meta)
    mask: Any = table.mask
    names = [name for name in meta if not mask[name].any()]
    columns = [_meta_values(table.data[name], name) for name in names]
    pixels = block.columns["IMGRAW"].astype(">f4")
    for image, *values in zip(pixels, *columns, strict=True):
        yield ACAImage.over(image, dict(zip(names, values, strict=True)))


def _meta_values(values: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
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
        make_table(
            get_rows(start, stop, slot, COPIED, data_root=data_root, good=True),
            COPIED,
            centered=True,
        )
        for slot in SLOTS
    ]
    columns = {RENAMED.get(name, name): _joined(slots, name) for name in COPIED}
    columns |= _placement(columns) | _status(columns)
    order = np.lexsort((columns["IMGNUM"].filled(0), columns["TIME"].filled(0)))
    return Table(
        {
            name: values[order] if name == "IMG" or values.mask.any() else values.data[order]
            for name, values in columns.items()
        }
    )


def _joined(slots: Sequence[SlotData], name: str) -> np.ma.MaskedArray[Any, Any]:
    """Join a column of all slots into one of native byte order."""
    data = np.concatenate([rows.data[name] for rows in slots])
    masks: list[Any] = [rows.mask for rows in slots]
    mask = np.concatenate([rows[name] for rows in masks])
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
    added["VCDUCTR"] = columns["MJF"] * np.int32(MAJOR_FRAME) + columns["MNF"]
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
        names = ("TIME", column)
        rows = get_rows(self.tstart, self.tstop, slot, names, 8, data_root=data_root)
        table = make_table(rows, names)
        self.vals = table[column]
        self.times = table.data["TIME"].astype(np.float64)


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

    columns = ("TIME", "QUALITY", "MJF", "MNF", "IMGSIZE")
    return vstack(
        [
            Table(
                _runs(
                    make_table(get_rows(start, stop, slot, columns, data_root=data_root), columns),
                    slot,
                )
            )
            for slot in _slots(slots)
        ]
    )


def _runs(rows: SlotData, slot: int) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of the coverage table for one slot."""
    data: Any = rows.data
    mask: Any = rows.mask
    time, size = data["TIME"].astype(np.float64), data["IMGSIZE"].astype(np.int64)
    counter = data["MJF"].astype(np.int64) * MAJOR_FRAME + data["MNF"]
    counted = ~(mask["MJF"] | mask["MNF"])
    # Rows without frame counters: the spacing in TIME, in minor frames, says the same.
    spacing = np.rint(np.diff(time) / MINOR_FRAME_S)
    steps = np.where(counted[1:] & counted[:-1], np.diff(counter) % COUNTERS, spacing)
    nominal = np.select([size == edge for edge in FRAME_STEP], list(FRAME_STEP.values()))[1:]
    broken = (steps != nominal) | (np.diff(size) != 0)
    first = np.flatnonzero(np.concatenate((np.ones(min(len(time), 1), bool), broken)))
    last = np.append(first, len(time))[1:] - 1
    bad = np.concatenate(([0], np.cumsum(data["QUALITY"] != 0)))
    return {
        "slot": np.full(len(first), slot),
        "imgsize": size[first],
        "tstart": time[first],
        "tstop": time[last],
        "n_rows": last - first + 1,
        "n_bad": bad[last + 1] - bad[first],
    }
