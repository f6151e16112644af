"""The one time module: every time format of the archive and telemetry tools, in and out.

Formats (aca-archive 1.1, telemetry-archive 2.2); UTC unless said otherwise::

    secs       63072064.184               seconds since 1998-01-01T00:00:00 TT ("CXC seconds")
    date       2000:001:00:00:00.000      input down to YYYY:DDD
    greta      2000001.000000000          YYYYDDD.hhmmssfff; input also as a number
    maude      2000001000000000           YYYYDDDhhmmssfff, an integer
    caldate    2000Jan01 at 00:00:00.000
    fits       2000-01-01T00:01:04.184    TT
    iso, isot  2000-01-01 00:00:00.000    with a blank, with a T
    numday     730:0:1:3.184              days:h:m:s since secs = 0, leap seconds not counted
    year_doy   2000:001
    unix       946684800.0                POSIX: leap seconds not counted
    frac_year  2000.0                     year and the part of its seconds, leap second included

and whatever else `astropy.time.Time` knows (jd, mjd, datetime, plot_date, ...), always in UTC.

Inside, a time is a pair (ms, rest): whole milliseconds since 1998.0 TT (int or int64 array) and
the rest of a millisecond in [0, 1). Every TT-UTC difference since 1972 is a whole number of
milliseconds, so calendars and leap seconds are exact integer arithmetic, one code for scalars and
arrays. astropy, slow to import, is loaded only for the formats that need it; its `Time` gets the
formats greta, maude, caldate and numday from `acaflow.time_formats`.
"""

from __future__ import annotations

import functools
import math
import os
import re
import string
import sys
import time as clock
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from datetime import date as calendar_date
from typing import Any, Final, Literal, NoReturn, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from acaflow import utc
from acaflow.errors import InputError, TimeFormatError

__all__ = ["IsoT", "TimeLike", "convert", "date", "now", "secs"]

IsoT: TypeAlias = Literal["utc", "tt"]
"""How ISO text with a T is read where no format is given: UTC, or TT as the telemetry tools do."""

TimeScalar: TypeAlias = str | bytes | float | datetime | np.number[Any]
TimeLike: TypeAlias = TimeScalar | NDArray[Any] | Sequence[Any] | Any
"""Number, text, datetime or astropy Time (the Any: astropy has no types), or many of them."""

# A quantity that is an int or float for one time and an array for many; the arithmetic is the same.
_Ints: TypeAlias = Any
_Floats: TypeAlias = Any
_Flags: TypeAlias = Any
_Fields: TypeAlias = dict[str, Any]
_Ticks: TypeAlias = tuple[_Ints, _Floats]


_CLOCK = r"(?P<hour>\d\d?):(?P<minute>\d\d?)"
_SECOND = r":(?P<second>\d\d?)(?:\.(?P<frac>\d*))?"
_YMD = r"(?P<year>\d{4})-(?P<month>\d\d?)-(?P<day>\d\d?)"
_PATTERNS: Final = {
    name: re.compile(pattern, re.ASCII)
    for name, pattern in {
        "date": r"(?P<year>\d{4}):(?P<doy>\d{3})"
        r"(?::(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<frac>\d*))?)?)?",
        "greta": r"(?P<year>\d{4})(?P<doy>\d{3})(?:\.(?P<hour>\d\d?)?(?P<minute>\d\d?)?"
        r"(?P<second>\d\d?)?(?P<frac>\d{1,3})?)?",
        "maude": r"(?P<year>\d{4})(?P<doy>\d{3})(?P<hour>\d\d)(?P<minute>\d\d)"
        r"(?:(?P<second>\d\d)(?P<frac>\d{0,3}))?",
        "caldate": r"(?P<year>\d{4})(?P<mon>[A-Za-z]{3})(?P<day>\d\d?) +at +" + _CLOCK + _SECOND,
        "iso": f"{_YMD}(?: {_CLOCK}(?:{_SECOND})?)?",
        "isot": f"{_YMD}(?:T{_CLOCK}(?:{_SECOND})?)?",
        "fits": f"{_YMD}(?:T{_CLOCK}(?:{_SECOND})?)?",
        "numday": r"(?P<minus>-)?(?P<days>\d{1,6}):" + _CLOCK + _SECOND,
        "year_doy": r"(?P<year>\d{4}):(?P<doy>\d{3})",
    }.items()
}
_DETECTION: Final = {
    "utc": ("date", "greta", "maude", "caldate", "iso", "isot", "numday"),
    "tt": ("date", "greta", "maude", "caldate", "iso", "fits", "numday"),
}
"""Order in which text without a format is tried, by the reading of T (aca-archive 1.2)."""
_RELATIVE: Final = re.compile(
    r"[+-]?\s*\d+(\.\d*)?\s*(yr|d|hr|min|s)([\s\d.]|yr|d|hr|min|s)*", re.ASCII
)
_FLOAT: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

_TEMPLATES: Final = {
    "date": "{year:04d}:{doy:03d}:{hour:02d}:{minute:02d}:{second:02d}.{milli:03d}",
    "greta": "{year:04d}{doy:03d}.{hour:02d}{minute:02d}{second:02d}{milli:03d}",
    "caldate": "{year:04d}{mon}{day:02d} at {hour:02d}:{minute:02d}:{second:02d}.{milli:03d}",
    "iso": "{year:04d}-{month:02d}-{day:02d} {hour:02d}:{minute:02d}:{second:02d}.{milli:03d}",
    "isot": "{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}.{milli:03d}",
    "fits": "{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}.{milli:03d}",
    "year_doy": "{year:04d}:{doy:03d}",
}
_NUMDAY_TEMPLATE: Final = "{}:{}:{}:{}.{:03d}"
_NUMBERS: Final = ("secs", "unix", "frac_year")
_ALIASES: Final = {"cxcsec": "secs", "yday": "date"}
_EXPECTED: Final = (
    "expected seconds since 1998.0 TT, YYYY:DDD[:hh:mm[:ss.sss]], YYYYDDD[.hhmmsssss] (greta),"
    " YYYYDDDhhmm[sssss] (maude), YYYYMonDD at hh:mm:ss.sss, YYYY-MM-DD[ hh:mm[:ss.sss]],"
    " YYYY-MM-DDThh:mm[:ss.sss], days:hh:mm:ss.sss or a span from now like -2d"
)


_MJD_1970 = 40587.0
"""MJD of 1970-01-01, where plot dates begin; astropy counts from the year 1 without matplotlib."""

# ---- the public functions ------------------------------------------------------------------


@overload
def secs(time: TimeScalar, *, format: str | None = None, iso_t: IsoT = "utc") -> float: ...
@overload
def secs(
    time: NDArray[Any] | Sequence[Any], *, format: str | None = None, iso_t: IsoT = "utc"
) -> NDArray[np.float64]: ...
@overload
def secs(time: Any, *, format: str | None = None, iso_t: IsoT = "utc") -> Any: ...
def secs(time: TimeLike, *, format: str | None = None, iso_t: IsoT = "utc") -> Any:
    """Convert any accepted time to CXC seconds.

    Parameters
    ----------
    time : number, str, bytes, datetime, astropy Time, or an array or sequence of them
        A number is seconds; text is detected in the order of aca-archive 1.2 (date, greta, maude,
        caldate, ISO, numday, span from now such as ``-2d``, any other number); each element on
        its own. A datetime without time zone is UTC. A bare day is midnight UTC.
    format : str, optional
        Format of numbers and text (module docstring, or any astropy format); objects know theirs.
    iso_t : {"utc", "tt"}
        Reading of ISO text with a ``T`` where no format is given: UTC, or TT as the telemetry
        tools take it. ISO text with a blank, or without clock time, is UTC either way.

    Returns
    -------
    float or ndarray of float64
        Seconds since 1998-01-01T00:00:00 TT; same shape as the input. A float64 array of seconds
        is returned as it is, not copied.

    Raises
    ------
    TimeFormatError
        A time that cannot be read, named (the first one of an array).
    InputError
        Unknown format name.

    Examples
    --------
    >>> secs("2012:001")
    441763266.184
    >>> secs("2012-01-01T00:00:00", iso_t="tt")
    441763200.0
    """
    return convert(time, "secs", format, iso_t=iso_t)


@overload
def date(time: TimeScalar, *, format: str | None = None, iso_t: IsoT = "utc") -> str: ...
@overload
def date(
    time: NDArray[Any] | Sequence[Any], *, format: str | None = None, iso_t: IsoT = "utc"
) -> NDArray[np.str_]: ...
@overload
def date(time: Any, *, format: str | None = None, iso_t: IsoT = "utc") -> Any: ...
def date(time: TimeLike, *, format: str | None = None, iso_t: IsoT = "utc") -> Any:
    """Convert any accepted time to ``YYYY:DDD:hh:mm:ss.sss`` (UTC).

    Parameters
    ----------
    time, format, iso_t
        As in `secs`.

    Returns
    -------
    str or ndarray of str
        Rounded half up to the millisecond, with carry; the seconds of a leap second are 60.

    Raises
    ------
    TimeFormatError
        A time that cannot be read, or outside 1972 to 9999.
    InputError
        Unknown format name.

    Examples
    --------
    >>> date(686111014)
    '2019:272:02:22:24.816'
    """
    return convert(time, "date", format, iso_t=iso_t)


def convert(time: TimeLike, fmt_out: str, fmt_in: str | None = None, *, iso_t: IsoT = "utc") -> Any:
    """Convert any accepted time to any format.

    Parameters
    ----------
    time, iso_t
        As in `secs`.
    fmt_out : str
        Format of the result: one of the module docstring, or any astropy format (in UTC).
    fmt_in : str, optional
        Format of `time`; detected if not given.

    Returns
    -------
    float, int, str or object, or ndarray of them
        Text is rounded half up to the millisecond. `maude` is int (int64). Inside a leap second
        `unix` repeats the following second; `jd` and `mjd` stretch the day as astropy does.

    Raises
    ------
    TimeFormatError
        A time that cannot be read, or that the output format cannot express.
    InputError
        Unknown format name.

    Examples
    --------
    >>> convert("2006-11-25 23:00:00", "greta")
    '2006329.230000000'
    >>> convert(2006329.23, "fits", "greta")
    '2006-11-25T23:01:05.184'
    """
    if iso_t not in _DETECTION:
        raise InputError(f"iso_t {iso_t!r} is unknown; expected 'utc' or 'tt'")
    fmt_in = _known_format(fmt_in) if fmt_in is not None else None
    fmt_out = _known_format(fmt_out)
    time, fmt_in = _normalise(time, fmt_in)
    if fmt_out == "secs" and fmt_in in (None, "secs") and _is_numeric(time):
        return _finite(time)
    ms, rest = _read(time, fmt_in, iso_t)
    if fmt_out == "secs":
        return _to_seconds(ms, rest)
    _check_range(ms, time)
    return _write(ms, rest, fmt_out)


def now() -> float:
    """Return the current time (CXC seconds), or the time in the environment's ``CXOTIME_NOW``.

    Raises
    ------
    TimeFormatError
        ``CXOTIME_NOW`` holds no time, or a span from now.
    """
    text = os.environ.get("CXOTIME_NOW", "")
    if not text:
        return secs(clock.time(), format="unix")
    if _RELATIVE.fullmatch(text.strip()):
        raise TimeFormatError(f"time {text!r} in CXOTIME_NOW is a span from now; expected a time")
    try:
        return secs(text)
    except TimeFormatError as err:
        raise TimeFormatError(f"CXOTIME_NOW: {err}") from None


def _known_format(name: str) -> str:
    """Return the name by which this module knows a format."""
    name = _ALIASES.get(name, name)
    if name in _PATTERNS or name in _NUMBERS or name in _astropy_time().FORMATS:
        return name
    known = ", ".join([*_PATTERNS, *_NUMBERS])
    raise InputError(f"time format {name!r} is unknown; expected {known} or an astropy format")


# ---- what kind of argument it is -----------------------------------------------------------


def _normalise(time: Any, fmt: str | None) -> tuple[Any, str | None]:
    """Reduce an argument to str, int, float, datetime or an ndarray, and its format."""
    kind = type(time)
    if kind in (str, float, int) or isinstance(time, datetime):
        return time, fmt
    if isinstance(time, bytes):
        return time.decode("latin-1"), fmt
    if _is_from(time, "astropy.time", "Time"):
        return _astropy_secs(time), "secs"
    if _is_from(time, "astropy.units", "Quantity"):
        raise TimeFormatError(f"time {time!r} is a quantity, not a time; give seconds or text")
    if isinstance(time, str):
        return str(time), fmt
    if time is None or isinstance(time, (bool, np.bool_, calendar_date)):
        return _refuse(time)
    array = time if isinstance(time, np.ndarray) else _asarray(time)
    if np.ma.is_masked(array):
        raise TimeFormatError(_at(_first(np.ma.getmaskarray(array)), "time is masked"))
    array = np.asarray(array)
    if array.ndim == 0 and array.dtype.kind != "M":
        item = array.item()
        if isinstance(item, (str, bytes, float, int)):
            return _normalise(item, fmt)
        return _refuse(time)
    return _typed(array, fmt)


def _typed(array: NDArray[Any], fmt: str | None) -> tuple[Any, str | None]:
    """Reduce an array to numbers, text or (mixed) objects."""
    match array.dtype.kind:
        case "f" | "i" | "u" | "U":
            return array.astype(array.dtype.newbyteorder("="), copy=False), fmt
        case "S":
            return np.char.decode(array, "latin-1"), fmt
        case "M":
            if np.isnat(array).any():
                raise TimeFormatError(_at(_first(np.isnat(array)), "time is NaT"))
            return array.astype("M8[us]").astype(np.int64) / 1e6, "unix"
        case "O":
            types = set(map(type, array.flat))
            if types <= {str, np.str_}:
                return array.astype(np.str_), fmt
            if types <= {int, float, np.float64}:
                return array.astype(np.float64), fmt
            return array, fmt
        case _:
            return _refuse(array.flat[0].item() if array.size else array)


def _asarray(time: Any) -> NDArray[Any]:
    """Make an array of anything else; a sequence keeps its elements' own types."""
    if not isinstance(time, (list, tuple)):
        return np.asarray(time)
    array = np.empty(len(time), dtype=object)
    if any(isinstance(element, (list, tuple, np.ndarray)) for element in time):
        try:
            return np.array(time, dtype=object)
        except ValueError:
            raise TimeFormatError(f"times {time!r} are ragged; expected a regular array") from None
    # Element by element: numpy would ask an astropy Time for its length, and turn numbers to text.
    array[:] = time
    return array


def _is_from(obj: Any, module: str, name: str) -> bool:
    """Tell whether an object is of a class whose module may not even be loaded."""
    cls = getattr(sys.modules.get(module), name, None)
    return cls is not None and isinstance(obj, cls)


def _is_numeric(time: Any) -> bool:
    if isinstance(time, np.ndarray):
        return bool(time.dtype.kind in "fiu")
    return isinstance(time, (int, float)) and not isinstance(time, bool)


def _refuse(time: Any) -> NoReturn:
    name = "no time" if time is None else f"a {type(time).__name__}, not a time"
    raise TimeFormatError(f"time {time!r} is {name}; {_EXPECTED}")


def _finite(time: Any) -> Any:
    """Return numbers as float or float64 array; NaN and infinity are refused."""
    if not isinstance(time, np.ndarray):
        if not math.isfinite(time):
            raise TimeFormatError(f"time {time!r} is not a finite number")
        return float(time)
    values = np.asarray(time, dtype=np.float64)
    good = np.isfinite(values)
    if not good.all():
        where = _first(~good)
        raise TimeFormatError(_at(where, f"time {values[where].item()!r} is not a finite number"))
    return values


def _first(flags: NDArray[np.bool_]) -> tuple[int, ...]:
    """Return the index of the first flag set."""
    return tuple(int(k) for k in np.unravel_index(int(np.argmax(flags)), flags.shape))


def _at(index: tuple[int, ...], message: str) -> str:
    """Name the element of an array that a message is about."""
    return message if not index else f"element {', '.join(map(str, index))}: {message}"


# ---- reading -------------------------------------------------------------------------------


def _read(time: Any, fmt: str | None, iso_t: IsoT) -> _Ticks:
    """Read what `_normalise` returned."""
    if isinstance(time, str):
        return _read_text(time, fmt, iso_t)
    if isinstance(time, datetime):
        return _read_datetime(time)
    if _is_numeric(time):
        return _read_numbers(time, fmt)
    if time.dtype.kind == "U":
        return _read_texts(time, fmt, iso_t)

    def read_element(value: Any) -> _Ticks:
        one, its_fmt = _normalise(value, fmt)
        return _refuse(value) if isinstance(one, np.ndarray) else _read(one, its_fmt, iso_t)

    ms, rest = _read_each(time, read_element)
    return ms.reshape(time.shape), rest.reshape(time.shape)


def _read_each(
    times: NDArray[Any], read: Callable[[Any], _Ticks], which: NDArray[np.int64] | None = None
) -> _Ticks:
    """Read elements of an array one by one (all, or the flat indices `which`).

    Returns the flat times in that order; an error names the first bad element.
    """
    flat = np.arange(times.size) if which is None else which
    ms, rest = np.zeros(flat.size, dtype=np.int64), np.zeros(flat.size)
    for k, index in enumerate(flat):
        value = times.flat[index]
        try:
            ms[k], rest[k] = read(value.item() if isinstance(value, np.generic) else value)
        except TimeFormatError as err:
            where = np.unravel_index(index, times.shape)
            raise TimeFormatError(_at(tuple(map(int, where)), str(err))) from None
    return ms, rest


def _read_numbers(time: Any, fmt: str | None) -> _Ticks:
    """Read a number or an array of numbers."""
    if fmt == "greta" or (fmt == "maude" and np.all(np.mod(time, 1) == 0)):
        spec = "%.9f" if fmt == "greta" else "%d"
        _finite(time)
        # A greta number is its digits: nine decimals resolve the ms and hide the float's error.
        if isinstance(time, np.ndarray):
            return _read_texts(np.char.mod(spec, time), fmt, "utc")
        return _read_text(spec % time, fmt, "utc")
    if fmt in _PATTERNS:
        offending = time.flat[0].item() if isinstance(time, np.ndarray) and time.size else time
        raise TimeFormatError(f"time {offending!r} is a number, not text in format {fmt!r}")
    values = _finite(time)
    if fmt == "unix":
        _check_range((values - utc.UNIX_EPOCH) * 1000.0, time)
        ms, rest = _split(values)
        return utc.from_uniform_utc(ms - utc.UNIX_EPOCH * 1000), rest
    if fmt == "frac_year":
        _check_range(values, time, (utc.YEARS[0], utc.YEARS[1] + 1))
        year = _integers(values // 1)
        start, length = utc.year_span(year)
        part = (values - year) * length
        return start + _integers(part // 1), part % 1
    if fmt == "plot_date":
        values = _through_astropy(values + _MJD_1970, "mjd")
    elif fmt not in (None, "secs"):
        values = _through_astropy(values, str(fmt))
    _check_range(values * 1000.0, time)
    return _split(values)


def _split(values: _Floats) -> _Ticks:
    """Split seconds into whole milliseconds and the rest of one."""
    # Seconds first: the fraction of a float is exact, a product with 1000 is not.
    whole = values // 1
    ms = (values - whole) * 1000.0
    low = ms // 1
    return _integers(whole) * 1000 + _integers(low), ms - low


def _integers(values: _Floats) -> _Ints:
    return values.astype(np.int64) if isinstance(values, np.ndarray) else int(values)


def _read_datetime(time: datetime) -> _Ticks:
    utc = time if time.tzinfo is None else time.astimezone(UTC)
    names = ("year", "month", "day", "hour", "minute", "second")
    fields: _Fields = {name: getattr(utc, name) for name in names}
    fields["milli"], us = divmod(utc.microsecond, 1000)
    return _from_fields(fields, "isot", repr(time)), us / 1000


def _match(text: str, fmt: str | None, iso_t: IsoT) -> tuple[str, re.Match[str]] | None:
    """Return the calendar form of a text and its fields, or None if it has none."""
    for name in _DETECTION[iso_t] if fmt is None else (fmt,):
        match = _PATTERNS[name].fullmatch(text)
        if match is not None:
            return name, match
    return None


def _read_text(text: str, fmt: str | None, iso_t: IsoT) -> _Ticks:
    """Read one text."""
    stripped = text.strip()
    if not stripped:
        raise TimeFormatError(f"time {text!r} is empty; {_EXPECTED}")
    if fmt is None or fmt in _PATTERNS:
        found = _match(stripped, fmt, iso_t)
        if found is not None:
            name, match = found
            spans = {k: v for k in match.re.groupindex if (v := match[k])}
            fields: _Fields = {
                k: v if k in ("mon", "minus") else int(v[:15]) for k, v in spans.items()
            }
            if "mon" in fields:
                fields["month"] = _month_number(fields["mon"])
            rest = _scale_fields(fields, name, {k: len(v) for k, v in spans.items()})
            return _from_fields(fields, name, repr(text)), rest
    if fmt is None and _RELATIVE.fullmatch(stripped):
        return _split(now() + _span(stripped, text))
    if (fmt is None or fmt in _NUMBERS) and _FLOAT.fullmatch(stripped):
        return _read_numbers(float(stripped), fmt)
    if fmt is None:
        raise TimeFormatError(f"time {text!r} is in no known format; {_EXPECTED}")
    if fmt in _PATTERNS or fmt in _NUMBERS:
        raise TimeFormatError(f"time {text!r} is not in format {fmt!r}")
    return _split(_through_astropy(stripped, fmt))


def _span(stripped: str, text: str) -> float:
    """Return the length (s) of a span like ``-2d`` or ``1d 2hr``."""
    _astropy_time()
    from astropy.time import TimeDelta

    try:
        return float(TimeDelta(stripped, format="quantity_str").sec)
    except ValueError:
        raise TimeFormatError(
            f"time {text!r} is not a span from now; expected yr, d, hr, min, s in that order"
        ) from None


def _month_number(name: str) -> int:
    """Return 1-12, or 0 for a word that is no month."""
    name = name.capitalize()
    return utc.MONTHS.index(name) + 1 if name in utc.MONTHS else 0


def _scale_fields(fields: _Fields, form: str, widths: dict[str, int]) -> _Floats:
    """Complete the fields read as bare digits; return the rest of a millisecond."""
    if form == "greta":
        # The clock is decimals of a number, so a missing last digit is a zero.
        for name in {"hour", "minute", "second"} & {k for k, w in widths.items() if w == 1}:
            fields[name] = fields[name] * 10
    if fields.pop("minus", None) is not None:
        fields["days"] = -fields["days"]
    digits = fields.pop("frac", 0)
    width = min(widths.get("frac", 0), 15)
    if width <= 3:
        fields["milli"] = digits * 10 ** (3 - width)
        return 0.0
    unit = 10 ** (width - 3)
    fields["milli"] = digits // unit
    return (digits % unit) / unit


def _read_texts(texts: NDArray[np.str_], fmt: str | None, iso_t: IsoT) -> _Ticks:
    """Read an array of text, all elements of one layout at a time as columns of digits."""
    flat = np.ascontiguousarray(texts).reshape(-1)
    ms, rest = np.zeros(flat.size, dtype=np.int64), np.zeros(flat.size)
    todo = np.arange(flat.size)
    while todo.size and (fmt is None or fmt in _PATTERNS):
        found = _match(str(flat[todo[0]]), fmt, iso_t)
        if found is None:
            break
        good, some_ms, some_rest = _read_columns(flat[todo], *found)
        if not good[0]:
            break
        ms[todo[good]], rest[todo[good]] = some_ms[good], some_rest[good]
        todo = todo[~good]
    ms[todo], rest[todo] = _read_each(texts, lambda text: _read_text(text, fmt, iso_t), todo)
    return ms.reshape(texts.shape), rest.reshape(texts.shape)


def _read_columns(
    texts: NDArray[np.str_], form: str, match: re.Match[str]
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.float64]]:
    """Read all texts with the layout of one.

    Parameters
    ----------
    texts : ndarray of str, shape (n,)
        The texts, contiguous.
    form : str
        Calendar form of the layout.
    match : re.Match
        The text that shows where the fields are.

    Returns
    -------
    good : ndarray of bool, shape (n,)
        False where a text has another layout or is no valid time; ms and rest mean nothing there.
    ms, rest : ndarray of int64, ndarray of float64, shape (n,)
        The times.
    """
    model = match.string
    codes = texts.view(np.uint32).reshape(texts.size, -1)
    spans = {k: match.span(k) for k in match.re.groupindex if match[k]}
    free = set(range(*spans.get("mon", (0, 0))))
    good = np.ones(texts.size, dtype=bool)
    if codes.shape[1] > len(model):
        good &= codes[:, len(model)] == 0
    fields: _Fields = {}
    for name, (start, stop) in spans.items():
        if name in ("mon", "minus"):
            fields[name] = name
            continue
        value = np.zeros(texts.size, dtype=np.int64)
        free |= set(range(start, stop))
        for column in range(start, stop):
            digit = codes[:, column] - np.uint32(ord("0"))
            good &= digit < 10
            if column < start + 15:
                value = value * 10 + digit
        fields[name] = value
    for column in set(range(len(model))) - free:
        good &= codes[:, column] == ord(model[column])
    if "mon" in fields:
        fields["month"] = _month_numbers(codes[:, slice(*spans["mon"])])
    rest = _scale_fields(fields, form, {k: stop - start for k, (start, stop) in spans.items()})
    valid, ms = utc.to_ticks(fields, form)
    return good & valid, ms, np.broadcast_to(rest, ms.shape).copy()


def _month_numbers(codes: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return month numbers of three-letter names in the usual spelling; 0 for other words."""
    names = np.ascontiguousarray(codes).view("U3").reshape(-1)
    months = np.zeros(len(names), dtype=np.int64)
    for month, name in enumerate(utc.MONTHS, 1):
        months[names == name] = month
    return months


def _from_fields(fields: _Fields, form: str, subject: str) -> _Ints:
    """Return the milliseconds of one time, or say which of its fields is wrong."""
    valid, ms = utc.to_ticks(fields, form)
    if not valid:
        raise TimeFormatError(f"time {subject} has {_complaint(fields, form)}")
    return ms


def _complaint(fields: _Fields, form: str) -> str:
    """Describe the first field that is out of range."""
    year, month = fields.get("year", utc.YEARS[0]), fields.get("month", 1)
    length = 366 if utc.is_leap(year) else 365
    month_length = utc.MONTH_LENGTHS[int(utc.is_leap(year)), month] if 1 <= month <= 12 else 31
    limits = (
        ("year", *utc.YEARS, ""),
        ("month", 1, 12, ""),
        ("day", 1, month_length, f" of {year:04d}-{month:02d}"),
        ("doy", 1, length, f" of {year}"),
        ("hour", 0, 23, ""),
        ("minute", 0, 59, ""),
        ("second", 0, 59, ", for there is no leap second"),
    )
    if month == 0 and "mon" in fields:
        return f"month {fields['mon']}; expected Jan to Dec"
    for name, low, high, why in limits:
        value = fields.get(name, low)
        if not low <= value <= high:
            word = "day" if name == "doy" else name
            return f"{word} {value}; expected {low} to {high}{why}"
    return f"a time in format {form!r} before {utc.YEARS[0]}"


def _check_range(values: _Floats, time: Any, limits: tuple[int, int] | None = None) -> None:
    """Refuse times outside the years that UTC text can express; limits in ms if not given."""
    low, high = limits or (
        int(utc.leap_table().start[0]),
        utc.new_year(utc.YEARS[1] + 1) * utc.DAY_MS - 1000,
    )
    bad = (values < low) | (values >= high)
    message = f"is outside the years {utc.YEARS[0]} to {utc.YEARS[1]}"
    if not isinstance(bad, np.ndarray):
        if bad:
            raise TimeFormatError(f"time {time!r} {message}")
    elif bad.any():
        where = _first(bad)
        value = time[where]
        shown = value.item() if isinstance(value, np.generic) else value
        raise TimeFormatError(_at(where, f"time {shown!r} {message}"))


# ---- writing -------------------------------------------------------------------------------


def _write(ms: _Ints, rest: _Floats, fmt: str) -> Any:
    """Write times in any format but seconds."""
    if fmt == "unix":
        return _to_seconds(_to_uniform_utc(ms) + utc.UNIX_EPOCH * 1000, rest)
    if fmt == "frac_year":
        year = utc.to_fields(ms, utc=True)["year"]
        start, length = utc.year_span(year)
        return year + (ms - start + rest) / length
    if fmt == "plot_date":
        return _from_astropy(ms, rest, "mjd") - _MJD_1970
    if fmt not in _PATTERNS:
        return _from_astropy(ms, rest, fmt)
    ms = ms + (rest >= 0.5)
    if fmt == "numday":
        return _write_numday(ms)
    fields = utc.to_fields(ms, utc=fmt != "fits")
    if fmt == "maude":
        number: _Ints = 0
        for name, unit in (("year", 1), ("doy", 1000), ("hour", 100), ("minute", 100)):
            number = number * unit + fields[name]
        number = (number * 100 + fields["second"]) * 1000 + fields["milli"]
        return number if isinstance(number, np.ndarray) else int(number)
    template = _TEMPLATES[fmt]
    if isinstance(ms, np.ndarray):
        return _format_columns(template, fields, ms.shape)
    return template.format(**fields, mon=utc.MONTHS[fields["month"] - 1])


def _to_seconds(ms: _Ints, rest: _Floats) -> _Floats:
    """Return seconds as float, rounded once."""
    whole, part = divmod(ms, 1000)
    return whole + (part + rest) / 1000


def _to_uniform_utc(ms: _Ints) -> _Ints:
    """Turn TT ms since 1998.0 into UTC ms since 1998-01-01, leap seconds not counted."""
    table = utc.leap_table()
    return ms - utc.plain(table.offset[table.start.searchsorted(ms, side="right") - 1])


def _write_numday(ms: _Ints) -> Any:
    days, part = divmod(_to_uniform_utc(ms) + utc.NUMDAY_ZERO_MS, utc.DAY_MS)
    seconds, milli = divmod(part, 1000)
    fields = (days, seconds // 3600, seconds // 60 % 60, seconds % 60, milli)
    if not isinstance(ms, np.ndarray):
        return _NUMDAY_TEMPLATE.format(*fields)
    columns = (field.ravel().tolist() for field in fields)
    texts = list(map(_NUMDAY_TEMPLATE.format, *columns))
    return np.array(texts, dtype=np.str_).reshape(ms.shape)


@functools.cache
def _digits(width: int) -> NDArray[np.uint32]:
    """Return the character codes of 0, 1, ... with leading zeros, shape (10**width, width)."""
    numbers = np.arange(10**width)[:, np.newaxis] // 10 ** np.arange(width)[::-1] % 10
    return (numbers + ord("0")).astype(np.uint32)


def _codes(texts: Sequence[str]) -> NDArray[np.uint32]:
    """Return the character codes of texts of one length, shape (number, length)."""
    return np.array(texts).view(np.uint32).reshape(len(texts), -1)


def _format_columns(template: str, fields: _Fields, shape: tuple[int, ...]) -> NDArray[np.str_]:
    """Fill a template for arrays of fields: a table look-up per field, no loop over times."""
    pieces: list[NDArray[np.uint32]] = []
    for literal, name, spec, _ in string.Formatter().parse(template):
        if literal:
            pieces.append(_codes([literal]))
        if name == "mon":
            pieces.append(_codes(utc.MONTHS)[fields["month"].ravel() - 1])
        elif name:
            pieces.append(_digits(int((spec or "")[:-1]))[fields[name].ravel()])
    width = sum(piece.shape[1] for piece in pieces)
    codes = np.empty((math.prod(shape), width), dtype=np.uint32)
    start = 0
    for piece in pieces:
        codes[:, start : start + piece.shape[1]] = piece
        start += piece.shape[1]
    return codes.view(f"U{width}").reshape(shape)


# ---- astropy, loaded when needed -----------------------------------------------------------


def _astropy_time() -> Any:
    """Return astropy's Time, which knows our formats from then on."""
    from acaflow.time_formats import Time

    return Time


def _astropy_secs(time: Any) -> Any:
    """Return the seconds of an astropy Time: float, or float64 array."""
    if np.any(time.mask):
        raise TimeFormatError(_at(_first(np.asarray(time.mask)), "time is masked"))
    if time.scale == "local":
        raise TimeFormatError(f"time {time!r} has scale 'local'; expected one that leads to TT")
    value = time.cxcsec
    return float(value) if time.isscalar else np.asarray(value, dtype=np.float64)


def _through_astropy(value: Any, fmt: str) -> Any:
    """Read a number, text or an array of them in a format of astropy, into seconds."""
    try:
        time = _astropy_time()(value, format=fmt, scale="utc")
    except (ValueError, TypeError) as err:
        if isinstance(value, np.ndarray) and value.size:
            _read_each(value, lambda one: _split(_through_astropy(one, fmt)))
        reason = " ".join(str(err).split())
        raise TimeFormatError(f"time {value!r} is not in format {fmt!r}: {reason}") from err
    return _astropy_secs(time)


def _from_astropy(ms: _Ints, rest: _Floats, fmt: str) -> Any:
    """Write times in a format of astropy, in UTC."""
    whole, part = divmod(ms, 1000)
    time = _astropy_time()(whole, (part + rest) / 1000, format="cxcsec", scale="tt", precision=3)
    try:
        value = time.utc.to_value(fmt)
    except ValueError as err:
        raise TimeFormatError(
            f"time {_write(ms, rest, 'date')!r} has no value in format {fmt!r}: {err}"
        ) from err
    return value.item() if isinstance(value, (np.number, np.str_)) else value
