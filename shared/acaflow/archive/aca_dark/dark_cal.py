"""Read the archive of dark calibrations: which one belongs to a date, its image, its properties.

Files read: ``<dark_cals_dir>/<YYYYDOY>/image.fits`` and ``properties.json``. Dark current is in
e-/s, temperature in degC. Functions find the archive in the configured home unless
`dark_cals_dir` says otherwise; a folder that does not exist is an empty archive.

>>> from acaflow.archive.aca_dark import dark_cal
>>> dark_cal.get_dark_cal_image("2009:280", t_ccd_ref=-15.0)  # doctest: +SKIP
>>> dark_cal.get_dark_cal_props("2009:280")["ccd_temp"]  # doctest: +SKIP
"""

from __future__ import annotations

import copy
import functools
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from acaflow import times
from acaflow.archive.aca_dark.ccd import HALF, SIZE
from acaflow.archive.aca_dark.dark_files import IMAGE, PROPERTIES, read_image, read_json
from acaflow.archive.aca_dark.dark_model import (
    DARK_SCALE_4C,
    dark_temp_scale,
    dark_temp_scale_img,
)
from acaflow.archive.aca_image import ACAImage
from acaflow.errors import DataError, InputError, MissingDataError, StorageBusyError
from acaflow.paths import DARK_ID

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = [
    "DARK_SCALE_4C",
    "dark_id_to_date",
    "dark_temp_scale",
    "date_to_dark_id",
    "get_dark_cal_dirs",
    "get_dark_cal_id",
    "get_dark_cal_ids",
    "get_dark_cal_image",
    "get_dark_cal_props",
    "get_dark_cal_props_table",
    "history",
]

log = logging.getLogger(__name__)

Select = Literal["before", "nearest", "after"]
Scale = Literal["global", "pixel"]
Folder = Path | str | None

CACHED_IMAGES = 6
"""Images kept in memory (4 MB each)."""
ATTEMPTS, PAUSE_S = 3, 0.05
"""Readings of a calibration that is just being replaced."""


# --- Ids and dates -----------------------------------------------------------------------------


def date_to_dark_id(date: times.TimeLike) -> Any:
    """Return the id of the calibration that a date would have.

    Parameters
    ----------
    date : date, or array or sequence of dates
        Any time form; an integer YYYYDOY is an id already, None is now.

    Returns
    -------
    str or ndarray of str
        ``YYYYDOY`` (UTC), of the shape of `date`.

    Examples
    --------
    >>> date_to_dark_id("2011-01-15T12:00:00")
    '2011015'
    """
    return _each(lambda text: text[:4] + text[5:8], "U7", times.date(_readable(date)))


def dark_id_to_date(dark_id: Any) -> Any:
    """Return the date of an id, not checked.

    Parameters
    ----------
    dark_id : str, or array or sequence of str
        ``YYYYDOY``.

    Returns
    -------
    str or ndarray of str
        ``YYYY:DOY``, of the shape of `dark_id`.

    Examples
    --------
    >>> dark_id_to_date("2011015")
    '2011:015'
    """
    return _each(lambda text: f"{text[:4]}:{text[4:]}", "U8", dark_id)


def _each(function: Any, dtype: str, texts: Any) -> Any:
    """Apply a function of text to one or many."""
    if np.ndim(texts) == 0:
        return function(str(texts))
    array = np.asarray(texts, dtype=np.str_)
    return np.array([function(text) for text in array.flat], dtype).reshape(array.shape)


def _readable(date: Any) -> Any:
    """Turn None into now, and integers YYYYDOY, which would be seconds, into text."""
    if date is None:
        return times.now()
    if isinstance(date, (list, tuple)):
        return [_readable(one) for one in date]
    if isinstance(date, (int, np.integer, np.ndarray)):
        array = np.asarray(date)
        if array.dtype.kind in "iu" and ((array >= 1000000) & (array <= 2999999)).all():
            return array.astype("U7")
    return date


def get_dark_cal_dirs(dark_cals_dir: Folder = None) -> dict[str, str]:
    """Return the folders of all calibrations.

    Parameters
    ----------
    dark_cals_dir : path, optional
        The archive; default ``archive/aca_dark`` of the configured home.

    Returns
    -------
    dict of str to str
        Absolute path of each id, sorted by id. Looked up at each call (0.1 ms), so that a new
        calibration is seen at once.
    """
    root = _root(dark_cals_dir)
    try:
        names = [path.name for path in root.iterdir()]
    except FileNotFoundError:
        return {}
    return {name: f"{root}/{name}" for name in sorted(filter(DARK_ID.fullmatch, names))}


def get_dark_cal_ids(dark_cals_dir: Folder = None) -> dict[str, str]:
    """Return the ids of all calibrations.

    Parameters
    ----------
    dark_cals_dir : path, optional
        As `get_dark_cal_dirs`.

    Returns
    -------
    dict of str to str
        Id of each date ``YYYY:DOY:00:00:00.000``, sorted.
    """
    return {
        f"{dark_id_to_date(dark_id)}:00:00:00.000": dark_id
        for dark_id in get_dark_cal_dirs(dark_cals_dir)
    }


def _root(dark_cals_dir: Folder) -> Path:
    """Return the folder of the archive; the home of the settings has the default one."""
    if dark_cals_dir is not None:
        return Path(dark_cals_dir).absolute()
    from acaflow import config, paths

    return paths.Home(config.current().home).archive / "aca_dark"


def get_dark_cal_id(
    date: times.TimeLike,
    select: Select = "before",
    dark_cal_ids: Sequence[str] | None = None,
    *,
    dark_cals_dir: Folder = None,
) -> Any:
    """Return the id of the calibration that belongs to a date.

    Parameters
    ----------
    date : date, or array or sequence of dates
        Any time form; an integer YYYYDOY is an id, None is now. If there is a calibration of that
        very day, that is it, whatever `select`.
    select : {'before', 'nearest', 'after'}
        Which one otherwise; calibrations count from 00:00 UTC of their day, and of two equally
        near ones the earlier is meant.
    dark_cal_ids : sequence of str, optional
        Ids to select from; default all of the archive.
    dark_cals_dir : path, optional
        As `get_dark_cal_dirs`.

    Returns
    -------
    str or ndarray of str
        Of the shape of `date`.

    Raises
    ------
    InputError
        `select` is unknown.
    MissingDataError
        No calibration before or after `date`, or none at all.

    Notes
    -----
    Source: dark-cal A4.
    """
    if select not in ("before", "nearest", "after"):
        raise InputError('select arg must be one of "nearest", "before", or "after"')
    chosen = [] if dark_cal_ids is None else list(dark_cal_ids)
    ids = np.sort(np.array(chosen or list(get_dark_cal_dirs(dark_cals_dir)), "U7"))
    if not ids.size:
        raise MissingDataError(f"No dark cal found in {_root(dark_cals_dir)}")
    date = _readable(date)
    day = np.asarray(date_to_dark_id(date))
    index = np.searchsorted(ids, day)
    before, after = (index - 1).clip(min=0), index.clip(max=ids.size - 1)
    is_same = ids[after] == day
    if select == "before":
        index = np.where(is_same, index, index - 1)
    elif select == "nearest":
        earlier, later = (times.secs(dark_id_to_date(ids[near])) for near in (before, after))
        is_later = later - times.secs(date) < times.secs(date) - earlier
        index = np.where(is_same | is_later, after, before)
    if (index < 0).any():
        raise MissingDataError(
            f"No dark cal found before {dark_id_to_date(ids[0])};"
            f" {dark_id_to_date(day[index < 0][0])} was asked for"
        )
    if (index >= ids.size).any():
        raise MissingDataError(
            f"No dark cal found {select} {dark_id_to_date(day[index >= ids.size][0])}"
        )
    return ids[index] if index.ndim else str(ids[index])


# --- Image and properties ----------------------------------------------------------------------


def get_dark_cal_image(
    date: times.TimeLike,
    select: Select = "before",
    t_ccd_ref: float | None = None,
    aca_image: bool = False,
    allow_negative: bool = False,
    *,
    scale: Scale = "global",
    dark_cals_dir: Folder = None,
) -> Any:
    """Return the dark image that belongs to a date.

    Parameters
    ----------
    date, select, dark_cals_dir
        As `get_dark_cal_id`, one date.
    t_ccd_ref : float, optional
        CCD temperature to scale to (degC); default that of the calibration.
    aca_image : bool
        Return an `ACAImage`, which knows CCD rows and columns.
    allow_negative : bool
        Keep negative values, which are noise; else they are set to 0.
    scale : {'global', 'pixel'}
        One factor for all pixels (`dark_temp_scale`) or a slope for each
        (`dark_temp_scale_img`).

    Returns
    -------
    ndarray of float32 or ACAImage, shape (1024, 1024)
        Dark current (e-/s), pixel [0, 0] at CCD row and column -512. The caller's own copy.

    Raises
    ------
    InputError
        `select` or `scale` is unknown.
    MissingDataError
        No such calibration, one of its files does not exist, or there is no temperature to scale
        from.
    StorageBusyError
        Image and properties are of different revisions, and stay so.
    CorruptFileError, SchemaError
        A file cannot be read, or is not what it should be.

    Notes
    -----
    Source: dark-cal A5. The last six images are kept in memory.
    """
    folder = _folder(date, select, dark_cals_dir)
    return _image_props(folder, t_ccd_ref, aca_image, allow_negative, scale)[0]


def get_dark_cal_props(
    date: times.TimeLike,
    select: Select = "before",
    include_image: bool = False,
    t_ccd_ref: float | None = None,
    aca_image: bool = False,
    allow_negative: bool = False,
    *,
    scale: Scale = "global",
    dark_cals_dir: Folder = None,
) -> dict[str, Any]:
    """Return the properties of the calibration that belongs to a date.

    Parameters
    ----------
    date, select, t_ccd_ref, aca_image, allow_negative, scale, dark_cals_dir
        As `get_dark_cal_image`; those of the image do not change the properties.
    include_image : bool
        Add the image as ``image``.

    Returns
    -------
    dict
        Content of ``properties.json`` (dark-cal A7).

    Raises
    ------
    AcaflowError
        As `get_dark_cal_image`.
    """
    folder = _folder(date, select, dark_cals_dir)
    if not include_image:
        return read_json(folder / PROPERTIES)
    image, properties = _image_props(folder, t_ccd_ref, aca_image, allow_negative, scale)
    return {**copy.deepcopy(properties), "image": image}


def _folder(date: times.TimeLike, select: Select, dark_cals_dir: Folder) -> Path:
    dark_id = get_dark_cal_id(date, select, dark_cals_dir=dark_cals_dir)
    if not isinstance(dark_id, str):
        raise InputError(f"an image belongs to one date; got {date!r}")
    return _root(dark_cals_dir) / dark_id


def _image_props(
    folder: Path, t_ccd_ref: float | None, aca_image: bool, allow_negative: bool, scale: Scale
) -> tuple[Any, dict[str, Any]]:
    """Return the caller's own image, and properties that belong to the cache."""
    if scale not in ("global", "pixel"):
        raise InputError(f"scale is {scale!r}; expected 'global' or 'pixel'")
    for attempt in range(ATTEMPTS):
        try:
            image, properties = _cached(
                folder, _stamp(folder), t_ccd_ref, bool(allow_negative), scale
            )
            break
        except StorageBusyError:
            if attempt + 1 == ATTEMPTS:
                raise
            time.sleep(PAUSE_S)
    own = image.copy()
    if aca_image:
        own = ACAImage.over(own, dict.fromkeys(("IMGROW0", "IMGCOL0"), np.int64(-HALF)))
    return own, properties


def _stamp(folder: Path) -> tuple[int, ...]:
    """Return what changes when one of the files of a calibration is replaced."""
    stamp: list[int] = []
    for path in (folder / IMAGE, folder / PROPERTIES):
        try:
            status = path.stat()
        except FileNotFoundError as err:
            raise MissingDataError(f"dark calibration file {path} does not exist") from err
        stamp += [status.st_ino, status.st_size, status.st_mtime_ns]
    return tuple(stamp)


@functools.lru_cache(maxsize=CACHED_IMAGES)
def _cached(
    folder: Path,
    stamp: tuple[int, ...],
    t_ccd_ref: float | None,
    allow_negative: bool,
    scale: Scale,
) -> tuple[Any, dict[str, Any]]:
    """Return image and properties; `stamp` makes replaced files another entry of the cache."""
    image, header = read_image(folder / IMAGE)
    properties = read_json(folder / PROPERTIES)
    revisions = header.get("REVISION"), properties.get("revision")
    if None not in revisions and revisions[0] != revisions[1]:
        raise StorageBusyError(
            f"{folder} is just being replaced: {IMAGE} has revision {revisions[0]},"
            f" {PROPERTIES} {revisions[1]}"
        )
    if t_ccd_ref is not None:
        t_ccd = properties.get("ccd_temp")
        if t_ccd is None:
            raise MissingDataError(f"{folder / PROPERTIES} has no ccd_temp to scale from")
        if scale == "pixel":
            image = dark_temp_scale_img(image, t_ccd, t_ccd_ref)
        else:
            image *= float(dark_temp_scale(t_ccd, t_ccd_ref))
    if not allow_negative:
        np.maximum(image, np.zeros(SIZE, np.float32), out=image)  # twice as fast as a number
    return image, properties


# --- Many calibrations -------------------------------------------------------------------------


def history(dark_cals_dir: Folder = None) -> list[dict[str, Any]]:
    """Return the properties of all calibrations, sorted by id.

    Parameters
    ----------
    dark_cals_dir : path, optional
        As `get_dark_cal_dirs`.

    Returns
    -------
    list of dict
        As `get_dark_cal_props`, without images; every one has ``id``.

    Notes
    -----
    A folder that holds no readable properties is left out, with a warning in the log.
    """
    rows = []
    for name, path in get_dark_cal_dirs(dark_cals_dir).items():
        try:
            rows.append({"id": name, **read_json(Path(path) / PROPERTIES)})
        except (MissingDataError, DataError) as err:
            log.warning("left out: %s", err)
    return rows


def get_dark_cal_props_table(
    start: times.TimeLike = None,
    stop: times.TimeLike = None,
    include_image: bool = False,
    as_table: bool = True,
    *,
    dark_cals_dir: Folder = None,
) -> Table | list[dict[str, Any]]:
    """Return the properties of the calibrations of an interval.

    Parameters
    ----------
    start, stop : date, optional
        First and last day, both included; default 1999:001 and now.
    include_image : bool
        Add the images, negative values set to 0, as ``image``.
    as_table : bool
        Return a table, else a list.
    dark_cals_dir : path, optional
        As `get_dark_cal_dirs`.

    Returns
    -------
    astropy Table or list of dict
        A table has a row for each calibration and a column for each property that is a single
        value, in the order in which they appear; where a calibration has none (or null) it is
        masked. A list has all properties.

    Raises
    ------
    AcaflowError
        As `get_dark_cal_image`.

    Notes
    -----
    Source: dark-cal A6; ``id`` stays text.
    """
    first = date_to_dark_id("1999:001:12:00:00" if start is None else start)
    last = date_to_dark_id(stop)
    ids = [one for one in get_dark_cal_dirs(dark_cals_dir) if first <= one <= last]
    rows = [
        get_dark_cal_props(one, include_image=include_image, dark_cals_dir=dark_cals_dir)
        for one in ids
    ]
    return _table(rows) if as_table else rows


def _table(rows: list[dict[str, Any]]) -> Table:
    from astropy.table import Table

    plain = [
        {key: value for key, value in row.items() if not isinstance(value, (list, tuple, dict))}
        for row in rows
    ]
    names = dict.fromkeys(name for row in plain for name in row)
    return Table({name: _column([row.get(name) for row in plain]) for name in names})


def _column(values: list[Any]) -> Any:
    """Return a column of the values; one without gaps has no mask."""
    from astropy.table import Column, MaskedColumn

    missing = np.array([value is None for value in values])
    present = np.array([value for value in values if value is not None])
    if not missing.any():
        return Column(present)
    filled = np.zeros(missing.size, present.dtype)
    filled[~missing] = present
    return MaskedColumn(filled, mask=missing)
