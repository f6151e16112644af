"""The calendar and the leap seconds, in integers: TT milliseconds since 1998.0 and UTC fields.

The arithmetic behind `acaflow.times`, for one time (int) and for many (int64 arrays) alike. The
leap table is that of erfa, read at the first use.
"""

from __future__ import annotations

import functools
from datetime import date as calendar_date
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

# A quantity that is an int for one time and an array for many; the arithmetic is the same.
Ints: TypeAlias = Any
Flags: TypeAlias = Any
Fields: TypeAlias = dict[str, Any]

DAY_MS: Final = 86_400_000
TT_TAI_MS: Final = 32_184
EPOCH_DAY: Final = calendar_date(1998, 1, 1).toordinal() - 1
"""Days from 0001-01-01 to 1998-01-01 in the Gregorian calendar."""
UNIX_EPOCH: Final = 883_612_800
"""unix time (s) of 1998-01-01T00:00:00 UTC."""
NUMDAY_ZERO_MS: Final = 63_184
"""TT-UTC at the epoch: numday counts from 1997-12-31T23:58:56.816 UTC."""
YEARS: Final = (1972, 9999)
"""UTC has whole leap seconds since 1972; the text forms have four digits for the year."""

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MONTH_LENGTHS: Final = np.array(
    [[0, 31, feb, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] for feb in (28, 29)]
)
BEFORE_MONTH: Final = np.cumsum(MONTH_LENGTHS, axis=1) - MONTH_LENGTHS
"""Days of the year before a month; index [is leap year, month], month 0 unused."""
MONTH_OF_DOY: Final = np.array(
    [np.searchsorted(before[1:], np.arange(367), side="left") for before in BEFORE_MONTH]
)
"""Month 1-12; index [is leap year, day of year]."""


class LeapTable(NamedTuple):
    """UTC since 1972: one entry per step of TAI-UTC, in order of time."""

    day: NDArray[np.int64]
    """First day (days since 1998-01-01) with this offset."""
    offset: NDArray[np.int64]
    """TT-UTC (ms)."""
    start: NDArray[np.int64]
    """TT (ms since 1998.0) at which the offset begins."""
    last_day: NDArray[np.int64]
    """Last day with this offset."""
    step: NDArray[np.int64]
    """Length of the leap second at the end of that day (ms)."""
    leap: NDArray[np.int64]
    """TT (ms since 1998.0) at which that leap second begins."""


@functools.cache
def leap_table() -> LeapTable:
    """Build the table from that of erfa, which astropy uses too."""
    import erfa

    table = erfa.leap_seconds.get()
    table = table[table["year"] >= YEARS[0]]
    dates = [calendar_date(int(year), int(month), 1) for year, month, _ in table]
    day = np.array([d.toordinal() - 1 - EPOCH_DAY for d in dates], dtype=np.int64)
    offset = np.rint(table["tai_utc"] * 1000).astype(np.int64) + TT_TAI_MS
    start = day * DAY_MS + offset
    never = np.iinfo(np.int64).max
    step = np.append(np.diff(offset), 0)
    return LeapTable(
        day=day,
        offset=offset,
        start=start,
        last_day=np.append(day[1:] - 1, never),
        step=step,
        leap=np.append(start[1:] - step[:-1], never),
    )


def plain(value: Any) -> Ints:
    """Return an array as it is, a numpy scalar as int: arithmetic with it is ten times faster."""
    return value if isinstance(value, np.ndarray) else int(value)


def is_leap(year: Ints) -> Flags:
    """Tell whether years have a 29 February."""
    return (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))


def new_year(year: Ints) -> Ints:
    """Return the days from 1998-01-01 to 1 January."""
    past = year - 1
    return 365 * past + past // 4 - past // 100 + past // 400 - EPOCH_DAY


def from_uniform_utc(ms: Ints) -> Ints:
    """Turn UTC ms since 1998-01-01, leap seconds not counted, into TT ms since 1998.0."""
    table = leap_table()
    return ms + plain(table.offset[table.day.searchsorted(ms // DAY_MS, side="right") - 1])


def year_span(year: Ints) -> tuple[Ints, Ints]:
    """Return the begin of UTC years (TT ms since 1998.0) and their lengths (ms)."""
    start = from_uniform_utc(new_year(year) * DAY_MS)
    return start, from_uniform_utc(new_year(year + 1) * DAY_MS) - start


def to_ticks(fields: Fields, form: str) -> tuple[Flags, Ints]:
    """Return whether the fields are a valid time, and its TT ms (meaningless where not)."""
    hour, minute, second = (fields.get(name, 0) for name in ("hour", "minute", "second"))
    clock_ms = ((hour * 60 + minute) * 60 + second) * 1000 + fields.get("milli", 0)
    valid = (hour < 24) & (minute < 60)
    if form == "numday":
        ms = from_uniform_utc(fields["days"] * DAY_MS + clock_ms - NUMDAY_ZERO_MS)
        return valid & (second < 60) & (ms >= leap_table().start[0]), ms
    in_year, day = _to_day(fields)
    valid = valid & in_year
    if form == "fits":
        return valid & (second < 60), day * DAY_MS + clock_ms
    table = leap_table()
    entry = table.day.searchsorted(day, side="right") - 1
    day_ms = DAY_MS + table.step[entry] * (day == table.last_day[entry])
    leap_minute = (hour == 23) & (minute == 59)
    valid = valid & ((second < 60) | leap_minute) & (clock_ms < day_ms)
    return valid, day * DAY_MS + clock_ms + plain(table.offset[entry])


def _to_day(fields: Fields) -> tuple[Flags, Ints]:
    """Return whether year and day (of year or month) are valid, and the days since 1998-01-01."""
    year = fields["year"]
    leap = is_leap(year)
    valid = (year >= YEARS[0]) & (year <= YEARS[1])
    if "doy" in fields:
        day = fields["doy"]
        length: Ints = 365 + leap
        before: Ints = 0
    else:
        day, month = fields["day"], fields["month"]
        known = (month >= 1) & (month <= 12)
        # Month 0 of the tables has no days, so an unknown month is invalid by itself.
        row, month = leap * 1, month * known
        length, before = MONTH_LENGTHS[row, month], plain(BEFORE_MONTH[row, month])
    return valid & (day >= 1) & (day <= length), new_year(year) + before + day - 1


def to_fields(ms: Ints, *, utc: bool) -> Fields:
    """Break TT ms since 1998.0 down into the fields of a UTC or TT calendar."""
    in_leap: Ints = 0
    if utc:
        table = leap_table()
        entry = table.start.searchsorted(ms, side="right") - 1
        in_leap = plain((ms >= table.leap[entry]) * 1)
        # Second 60 is second 59 plus one: the calendar below knows days of 86400 s only.
        ms = ms - plain(table.offset[entry]) - 1000 * in_leap
    day, ms = divmod(ms, DAY_MS)
    year = 1998 + day * 400 // 146_097
    year = year + (day >= new_year(year + 1)) - (day < new_year(year))
    leap = is_leap(year) * 1
    doy = day - new_year(year) + 1
    month = plain(MONTH_OF_DOY[leap, doy])
    second, milli = divmod(ms, 1000)
    minute, second = divmod(second, 60)
    hour, minute = divmod(minute, 60)
    return {
        "year": year,
        "doy": doy,
        "month": month,
        "day": doy - plain(BEFORE_MONTH[leap, month]),
        "hour": hour,
        "minute": minute,
        "second": second + in_leap,
        "milli": milli,
    }
