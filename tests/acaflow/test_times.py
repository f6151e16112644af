"""Times: anchor values of the references, agreement with astropy, errors word for word."""

import doctest
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import erfa
import numpy as np
import pytest
from astropy import units
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from acaflow import time_formats, times
from acaflow.errors import InputError, TimeFormatError

# erfa calls every year beyond its release plus five dubious.
pytestmark = pytest.mark.filterwarnings("ignore:ERFA function")

assert time_formats.Time is Time  # the import registers greta, maude, caldate and numday

ANCHORS = {  # aca-archive 1.1 and 1.2: date, seconds
    "1998:001:00:00:00": 63.184,
    "1999:001": 31536064.184,
    "2000:001": 63072064.184,
    "2010:001": 378691266.184,
    "2012:001": 441763266.184,
    "2012:183": 457488067.184,
    "2017:001": 599616069.184,
    "2016:366:23:59:60.5": 599616068.684,
}
DATES = {  # seconds, date
    0: "1997:365:23:58:56.816",
    686111014: "2019:272:02:22:24.816",
    686111014.9996: "2019:272:02:22:25.816",
    1e8: "2001:062:09:45:35.816",
    6e8: "2017:005:10:38:50.816",
}
# telemetry-archive 2.1: instant, TT-UTC, seconds
STEPS = [
    ("1999-01-01", 64.184, 31536064.184),
    ("2006-01-01", 65.184, 252460865.184),
    ("2009-01-01", 66.184, 347155266.184),
    ("2012-07-01", 67.184, 457488067.184),
    ("2015-07-01", 68.184, 552096068.184),
    ("2017-01-01", 69.184, 599616069.184),
]
# telemetry-archive 2.3, without jd, mjd and unix inside leap seconds
COLUMNS = ("iso", "secs", "date", "fits", "caldate", "greta", "numday", "jd", "mjd", "unix")
WORKED = [
    line.split("|")
    for line in """\
1998-01-01 00:00:00.000|63.184|1998:001:00:00:00.000|1998-01-01T00:01:03.184|\
1998Jan01 at 00:00:00.000|1998001.000000000|0:0:1:3.184|2450814.5|50814.0|883612800.0
1999-01-01 00:00:00.000|31536064.184|1999:001:00:00:00.000|1999-01-01T00:01:04.184|\
1999Jan01 at 00:00:00.000|1999001.000000000|365:0:1:3.184|2451179.5|51179.0|915148800.0
2006-11-25 23:00:00.000|280882865.184|2006:329:23:00:00.000|2006-11-25T23:01:05.184|\
2006Nov25 at 23:00:00.000|2006329.230000000|3250:23:1:3.184|2454065.4583333335|\
54064.958333333336|1164495600.0
2012-06-30 23:59:60.500|457488066.684|2012:182:23:59:60.500|2012-07-01T00:01:06.684|\
2012Jun30 at 23:59:60.500|2012182.235960500||||
2016-12-31 23:59:60.000|599616068.184|2016:366:23:59:60.000|2017-01-01T00:01:08.184|\
2016Dec31 at 23:59:60.000|2016366.235960000||||
2017-01-01 00:00:00.000|599616069.184|2017:001:00:00:00.000|2017-01-01T00:01:09.184|\
2017Jan01 at 00:00:00.000|2017001.000000000|6940:0:1:3.184|2457754.5|57754.0|1483228800.0
2020-01-01 00:00:00.000|694224069.184|2020:001:00:00:00.000|2020-01-01T00:01:09.184|\
2020Jan01 at 00:00:00.000|2020001.000000000|8035:0:1:3.184|2458849.5|58849.0|1577836800.0
2024-02-29 12:34:56.789|825597365.973|2024:060:12:34:56.789|2024-02-29T12:36:05.973|\
2024Feb29 at 12:34:56.789|2024060.123456789|9555:12:35:59.973|2460370.024268391|\
60369.524268391|1709210096.789
2030-01-01 00:00:00.000|1009843269.184|2030:001:00:00:00.000|2030-01-01T00:01:09.184|\
2030Jan01 at 00:00:00.000|2030001.000000000|11688:0:1:3.184|2462502.5|62502.0|1893456000.0
""".splitlines()
]
CELLS = [
    (float(row[1]), name, text)
    for row in WORKED
    for name, text in zip(COLUMNS, row, strict=True)
    if text
]
NUMBERS = {"secs": 1e-6, "jd": 1e-9, "mjd": 1e-9, "unix": 1e-6}
"""Formats that are numbers, and the digits to which the references give them."""
EXPECTED = (
    "expected seconds since 1998.0 TT, YYYY:DDD[:hh:mm[:ss.sss]], YYYYDDD[.hhmmsssss] (greta),"
    " YYYYDDDhhmm[sssss] (maude), YYYYMonDD at hh:mm:ss.sss, YYYY-MM-DD[ hh:mm[:ss.sss]],"
    " YYYY-MM-DDThh:mm[:ss.sss], days:hh:mm:ss.sss or a span from now like -2d"
)


def random_seconds(n: int = 20_000) -> np.ndarray:
    """Times from 1998 to 2035 on whole ms, a tenth of them within 2 s of a leap second."""
    rng = np.random.default_rng(19980101)
    values = rng.uniform(63.184, 1.167e9, n)
    steps = np.array([start for _, _, start in STEPS])
    values[: n // 10] = rng.choice(steps, n // 10) + rng.uniform(-2, 2, n // 10)
    return np.round(values, 3)


def error_of(call, *args, kind=TimeFormatError, **kwargs) -> str:
    """Return the message of the error that a call must raise."""
    with pytest.raises(InputError) as err:
        call(*args, **kwargs)
    assert type(err.value) is kind
    return str(err.value)


# ---- values of the references


@pytest.mark.parametrize(("text", "expected"), ANCHORS.items())
def test_anchor_dates_in(text, expected):
    assert times.secs(text) == expected
    assert times.secs([text, text]).tolist() == [expected, expected]


@pytest.mark.parametrize(("seconds", "expected"), DATES.items())
def test_anchor_dates_out(seconds, expected):
    assert times.date(seconds) == expected
    assert times.date(np.array([[seconds]])).tolist() == [[expected]]


@pytest.mark.parametrize(("seconds", "fmt", "text"), CELLS)
def test_worked_values_out(seconds, fmt, text):
    one, many = times.convert(seconds, fmt), times.convert(np.array([seconds]), fmt)
    if fmt in NUMBERS:
        assert one == pytest.approx(float(text), rel=0, abs=NUMBERS[fmt])
        assert type(one) is float
        assert many.dtype == np.float64
    else:
        assert one == text
        assert type(one) is str
    assert many.tolist() == [one]


@pytest.mark.parametrize(("seconds", "fmt", "text"), CELLS)
def test_worked_values_in(seconds, fmt, text):
    value = float(text) if fmt in NUMBERS else text
    # The references give days to 1e-9 (86 µs).
    tolerance = 1e-4 if fmt in ("jd", "mjd") else 1e-6
    assert times.secs(value, format=fmt) == pytest.approx(seconds, rel=0, abs=tolerance)
    assert times.secs([value], format=fmt) == pytest.approx([seconds], rel=0, abs=tolerance)
    if fmt not in NUMBERS:
        iso_t = "tt" if fmt == "fits" else "utc"
        assert times.secs(text, iso_t=iso_t) == pytest.approx(seconds, rel=0, abs=1e-6)


@pytest.mark.parametrize(("day", "offset", "seconds"), STEPS)
def test_table_of_tt_minus_utc(day, offset, seconds):
    utc = times.secs(day)
    assert utc == pytest.approx(seconds, rel=0, abs=1e-6)
    assert utc - times.secs(day, format="fits") == pytest.approx(offset, rel=0, abs=1e-6)
    assert times.convert(seconds - 1, "iso").endswith(" 23:59:60.000")
    assert times.convert(seconds, "iso") == f"{day} 00:00:00.000"


@pytest.mark.parametrize(
    ("fmt", "example"),
    [
        ("secs", 63072064.184),
        ("cxcsec", 63072064.184),
        ("date", "2000:001:00:00:00.000"),
        ("yday", "2000:001:00:00:00.000"),
        ("year_doy", "2000:001"),
        ("greta", "2000001.000000000"),
        ("maude", 2000001000000000),
        ("frac_year", 2000.0),
        ("decimalyear", 2000.0),
        ("fits", "2000-01-01T00:01:04.184"),
        ("iso", "2000-01-01 00:00:00.000"),
        ("isot", "2000-01-01T00:00:00.000"),
        ("caldate", "2000Jan01 at 00:00:00.000"),
        ("numday", "730:0:1:3.184"),
        ("jd", 2451544.5),
        ("mjd", 51544.0),
        ("unix", 946684800.0),
        ("plot_date", 10957.0),
        ("datetime", datetime(2000, 1, 1)),
    ],
)
def test_every_format_in_and_out(fmt, example):
    assert times.convert(63072064.184, fmt) == example
    assert times.convert(np.full((2, 3), 63072064.184), fmt).tolist() == [[example] * 3] * 2
    assert times.secs(example, format=fmt) == pytest.approx(63072064.184, rel=0, abs=1e-6)
    back = times.secs([example, example], format=fmt)
    assert back == pytest.approx([63072064.184] * 2, rel=0, abs=1e-6)


@pytest.mark.parametrize("offset", [-86400, 0, 43200, 86398])
def test_unix_on_a_leap_second_day_is_posix(offset):
    # Within a leap second day astropy's unix is stretched; ours is 883612736.816 + secs - N.
    seconds = 599616069.184 - 86401 + offset
    assert times.convert(seconds, "unix") == 1483228800 - 86400 + offset
    assert times.secs(1483228800 - 86400 + offset, format="unix") == seconds


# ---- detection


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2019.5, "1998:001:00:32:36.316"),  # a number is seconds, whatever it looks like
        (2019272.02, "1998:024:08:53:28.836"),
        ("686111014", "2019:272:02:22:24.816"),
        ("  686111014.0 ", "2019:272:02:22:24.816"),
        ("6.86111014e8", "2019:272:02:22:24.816"),
        ("-100.0", "1997:365:23:57:16.816"),
        ("2012:001", "2012:001:00:00:00.000"),  # midnight, not noon
        ("2012:001:12:34", "2012:001:12:34:00.000"),
        ("2012:001:12:34:56", "2012:001:12:34:56.000"),
        ("2012:001:12:34:56.", "2012:001:12:34:56.000"),
        (b"2012:001:12:34:56.7", "2012:001:12:34:56.700"),
        ("2006329", "2006:329:00:00:00.000"),
        ("2006329.", "2006:329:00:00:00.000"),
        ("2006329.2", "2006:329:20:00:00.000"),
        ("2006329.23", "2006:329:23:00:00.000"),
        ("2006200.1234", "2006:200:12:34:00.000"),
        ("2006200.123456", "2006:200:12:34:56.000"),
        ("2006200.12345678", "2006:200:12:34:56.780"),
        ("20063292359", "2006:329:23:59:00.000"),
        ("2006329235958", "2006:329:23:59:58.000"),
        ("20063292359587", "2006:329:23:59:58.700"),
        ("2006329235958789", "2006:329:23:59:58.789"),
        ("200632923595", "8355:295:07:38:45.816"),  # 12 digits are no maude time
        ("2006Nov5 at 3:4:5", "2006:309:03:04:05.000"),
        ("2006NOV05  at  03:04:05.5", "2006:309:03:04:05.500"),
        ("2006-11-25", "2006:329:00:00:00.000"),
        ("2006-1-5 3:4", "2006:005:03:04:00.000"),
        ("2006-11-25 23:00:00.25", "2006:329:23:00:00.250"),
        ("2006-11-25T23:00", "2006:329:23:00:00.000"),
        ("3250:23:1:3.184", "2006:329:23:00:00.000"),
        ("11688:00:01:03.184", "2030:001:00:00:00.000"),
        ("2012:01:00:00", "2003:187:00:58:56.816"),  # two digits: days and hours, no day of year
        ("-1:23:59:59.000", "1997:365:23:58:55.816"),
        (np.datetime64("2006-11-25T23:00"), "2006:329:23:00:00.000"),
        (datetime(2006, 11, 25, 23, 0, 0, 789_600), "2006:329:23:00:00.790"),
        (datetime(2006, 11, 26, 4, tzinfo=timezone(timedelta(hours=5))), "2006:329:23:00:00.000"),
        (Time("2006:329:23:00:00"), "2006:329:23:00:00.000"),
        (Time("2006-11-25T23:01:05.184", scale="tt"), "2006:329:23:00:00.000"),
    ],
)
def test_detection(value, expected):
    assert times.date(value) == expected
    assert times.date([value]).tolist() == [expected]


@pytest.mark.parametrize(
    ("text", "utc", "tt"),
    [
        ("2012-01-01T00:00:00", 441763266.184, 441763200.0),
        ("2012-01-01 00:00:00", 441763266.184, 441763266.184),
        ("2012-01-01", 441763266.184, 441763266.184),
    ],
)
def test_iso_text_with_t_has_two_readings(text, utc, tt):
    assert times.secs(text) == utc
    assert times.secs(text, iso_t="tt") == tt
    assert times.secs([text] * 2).tolist() == [utc] * 2
    assert times.secs([text] * 2, iso_t="tt").tolist() == [tt] * 2
    assert times.date(text, iso_t="tt") == times.convert(tt, "date")
    assert times.convert(text, "secs", iso_t="tt") == tt


def test_explicit_format_outranks_the_reading_of_t():
    assert times.secs("2012-01-01T00:00:00", format="fits") == 441763200.0
    assert times.secs("2012-01-01T00:00:00", format="isot", iso_t="tt") == 441763266.184


def test_float_greta_is_its_digits():
    expected = times.secs("2006:329:23:59:58.123")
    assert times.secs(2006329.235958123, format="greta") == expected
    assert times.secs(np.array([2006329.235958123]), format="greta").tolist() == [expected]
    assert times.date(2006329, format="greta") == "2006:329:00:00:00.000"


def test_mixed_list_reads_each_element_on_its_own():
    values = [
        441763266.184,
        "2012:001",
        "2012-01-01 00:00",
        "2012001",
        datetime(2012, 1, 1, tzinfo=UTC),
        Time("2012:001"),
        np.float32(64),
    ]
    assert times.secs(values).tolist() == [441763266.184] * 6 + [64.0]
    # A number in a list stays a number: as text 2012001.0 would be greta.
    assert times.secs([2012001.0, "2012001.0"]).tolist() == [2012001.0, 441763266.184]


# ---- relative times and now


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-2d", "2019:364:00:00:00.000"),
        ("3hr", "2020:001:03:00:00.000"),
        ("+ 1.5min", "2020:001:00:01:30.000"),
        ("1d 2hr 3.5min 4s", "2020:002:02:03:34.000"),
        ("-1yr", "2018:365:18:00:00.000"),
    ],
)
def test_spans_count_from_now(monkeypatch, text, expected):
    monkeypatch.setenv("CXOTIME_NOW", "2020:001")
    assert times.date(text) == expected


def test_now_is_the_clock():
    assert times.now() == pytest.approx(Time.now().cxcsec, abs=5)


def test_now_from_the_environment(monkeypatch):
    monkeypatch.setenv("CXOTIME_NOW", "2012:001")
    assert times.now() == 441763266.184
    monkeypatch.setenv("CXOTIME_NOW", "")
    assert times.now() > 8e8
    monkeypatch.setenv("CXOTIME_NOW", "-2d")
    assert "time '-2d' in CXOTIME_NOW is a span from now" in error_of(times.now)
    monkeypatch.setenv("CXOTIME_NOW", "yesterday")
    assert "CXOTIME_NOW: time 'yesterday' is in no known" in error_of(times.now)


# ---- rounding


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2012:001:00:00:59.9994", "2012:001:00:00:59.999"),
        ("2012:001:00:00:59.9996", "2012:001:00:01:00.000"),
        ("2012:366:23:59:59.9996", "2013:001:00:00:00.000"),
        ("2016:366:23:59:59.9996", "2016:366:23:59:60.000"),
        ("2016:366:23:59:60.9994", "2016:366:23:59:60.999"),
        ("2016:366:23:59:60.9996", "2017:001:00:00:00.000"),
        ("2012:001:00:00:00.0005", "2012:001:00:00:00.001"),  # half goes up, as written
        ("2012:001:00:00:00.0015", "2012:001:00:00:00.002"),
        ("2012:001:00:00:00.000499999999999", "2012:001:00:00:00.000"),
        ("2012:001:00:00:00.12345678901234567890", "2012:001:00:00:00.123"),
    ],
)
def test_rounding_to_the_millisecond_carries(text, expected):
    assert times.date(text) == expected
    assert times.date([text, text]).tolist() == [expected] * 2


def test_exact_halves_of_a_float_round_up():
    # 62.5 ms and 187.5 ms are exact in binary.
    seconds = np.array([1e8 + 0.0625, 1e8 + 0.1875])
    expected = ["2001:062:09:45:35.879", "2001:062:09:45:36.004"]
    assert times.date(seconds).tolist() == expected
    assert [times.date(float(value)) for value in seconds] == expected


def test_worked_rounding_of_numday_and_year_doy():
    assert times.convert("2012:001:23:59:59.9996", "year_doy") == "2012:002"
    assert times.convert(86399.9996, "numday") == "1:0:0:0.000"


# ---- agreement with astropy


ASTROPY = {"date": "yday", "iso": "iso", "isot": "isot"}


def test_dates_out_agree_with_astropy():
    seconds = random_seconds()
    utc = Time(seconds, format="cxcsec").utc
    for fmt, name in ASTROPY.items():
        assert (times.convert(seconds, fmt) == getattr(utc, name)).all()
    assert (times.convert(seconds, "fits") == Time(seconds, format="cxcsec").tt.isot).all()


def test_dates_in_agree_with_astropy():
    utc = Time(random_seconds(), format="cxcsec").utc
    for name in ASTROPY.values():
        text = getattr(utc, name)
        expected = Time(text, format=name, scale="utc").cxcsec
        np.testing.assert_allclose(times.secs(text), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("fmt", ["jd", "mjd", "jyear", "gps"])
def test_numbers_of_astropy(fmt):
    seconds = random_seconds(2000)
    utc = Time(seconds, format="cxcsec").utc
    expected = utc.to_value(fmt)
    np.testing.assert_allclose(times.convert(seconds, fmt), expected, rtol=1e-15, atol=0)
    # One float resolves 40 µs of a jd.
    np.testing.assert_allclose(times.secs(expected, format=fmt), seconds, rtol=0, atol=1e-4)


def test_frac_year_is_the_part_of_the_seconds_of_the_year():
    # 2012 has 31622401 s, 2013 has 31536000 s.
    start = 441763266.184
    assert times.convert(start + 31622401 / 4, "frac_year") == 2012.25
    assert times.secs(2012.25, format="frac_year") == start + 31622401 / 4
    assert times.convert(start + 31622401 + 31536000 / 2, "frac_year") == 2013.5
    assert times.secs("2013.5", format="frac_year") == start + 31622401 + 31536000 / 2
    seconds = random_seconds(2000)
    years = times.convert(seconds, "frac_year")
    # One float resolves 7 µs of a year; astropy's fraction ignores the leap second.
    np.testing.assert_allclose(times.secs(years, format="frac_year"), seconds, rtol=0, atol=1e-4)
    expected = Time(seconds, format="cxcsec").utc.decimalyear
    np.testing.assert_allclose(years, expected, rtol=0, atol=1.01 / 31536000)
    assert error_of(times.secs, [2012.0, 1971.9], format="frac_year") == (
        "element 1: time 1971.9 is outside the years 1972 to 9999"
    )


@pytest.mark.parametrize("fmt", ["date", "greta", "maude", "caldate", "fits", "iso", "isot"])
def test_round_trip_of_arrays(fmt):
    seconds = random_seconds()
    values = times.convert(seconds, fmt)
    np.testing.assert_allclose(times.secs(values, format=fmt), seconds, rtol=0, atol=1e-6)
    some = values[::500]
    assert some.tolist() == [times.convert(float(value), fmt) for value in seconds[::500]]
    each = [times.secs(value, format=fmt) for value in some.tolist()]
    assert each == times.secs(some, format=fmt).tolist()


@pytest.mark.parametrize("fmt", ["numday", "unix"])
def test_round_trip_outside_leap_seconds(fmt):
    seconds = random_seconds()
    starts = np.array([start for _, _, start in STEPS])
    inside = ((seconds[:, None] >= starts - 1.001) & (seconds[:, None] < starts)).any(axis=1)
    seconds = seconds[~inside]
    values = times.convert(seconds, fmt)
    np.testing.assert_allclose(times.secs(values, format=fmt), seconds, rtol=0, atol=1e-6)


@given(st.integers(min_value=-800_000_000_000, max_value=250_000_000_000_000))
def test_any_millisecond_survives_every_text_form(ms):
    seconds = ms / 1000
    for fmt in ("date", "greta", "maude", "caldate", "fits", "iso", "isot"):
        assert round(times.secs(times.convert(seconds, fmt), format=fmt) * 1000) == ms


@given(st.datetimes(min_value=datetime(1972, 1, 2), max_value=datetime(9999, 12, 30)))
def test_datetimes_agree_with_the_calendar_of_python(moment):
    text = moment.strftime(f"{moment.year:04d}:%j:%H:%M:%S.%f")
    ours = times.secs(moment)
    assert ours == pytest.approx(times.secs(text), rel=0, abs=1e-4)
    whole = moment.replace(microsecond=0)
    assert times.date(whole) == f"{whole.year:04d}" + whole.strftime(":%j:%H:%M:%S.000")
    assert times.convert(whole, "iso") == whole.isoformat(" ") + ".000"


def test_every_leap_second_of_the_table_is_second_60():
    table = erfa.leap_seconds.get()
    for year, month, _ in table[table["year"] > 1972]:
        start = times.secs(f"{year}-{month}-1")
        last = times.convert(start - 0.5, "iso")
        assert last.endswith(":59:60.500")
        assert times.secs(last) == start - 0.5
        assert last == Time(start - 0.5, format="cxcsec").utc.iso


# ---- shapes and types


def test_scalars_give_plain_python_values():
    for value in (5, 5.0, np.int32(5), np.float32(5), np.float64(5), np.array(5), "5", b"5"):
        assert type(times.secs(value)) is float
        assert times.secs(value) == 5.0
    assert type(times.date(np.float64(5))) is str
    assert type(times.convert(5, "maude")) is int
    assert type(times.convert("2012:001", "mjd")) is float


@pytest.mark.parametrize("shape", [(0,), (1,), (7,), (2, 0), (2, 3), (2, 3, 4)])
def test_arrays_keep_their_shape(shape):
    seconds = np.arange(np.prod(shape)).reshape(shape) * 1e6
    dates = times.date(seconds)
    assert dates.shape == shape
    assert dates.dtype == np.dtype("U21")
    assert times.secs(dates).shape == shape
    assert times.secs(dates).dtype == np.float64
    np.testing.assert_allclose(times.secs(dates), seconds, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(times.secs(dates.tolist()).reshape(shape), times.secs(dates))
    assert times.convert(seconds, "maude").dtype == np.int64
    assert times.convert(seconds, "numday").shape == shape
    assert times.convert(seconds, "jd").shape == shape


@pytest.mark.parametrize("dtype", ["S8", "S12", "U8", ">U8", "U20", object])
def test_text_arrays_of_every_kind(dtype):
    texts = np.array(["2012:001", "2017:001"], dtype=dtype)
    assert times.secs(texts).tolist() == [441763266.184, 599616069.184]
    assert times.secs(texts[::-1]).tolist() == [599616069.184, 441763266.184]


def test_arrays_of_text_in_several_layouts():
    texts = ["2012:001", "2012:001:00:00", "2012-01-01", "441763266.184", "2012:001:00:00:00.0"]
    assert times.secs(texts * 3).tolist() == [441763266.184] * 15
    assert times.secs(np.array(texts).reshape(5, 1)).shape == (5, 1)


def test_an_array_of_seconds_is_not_copied():
    seconds = np.array([1.0, 2.0])
    assert times.secs(seconds) is seconds
    assert times.secs(np.array([1, 2], dtype=">i4")).tolist() == [1.0, 2.0]


def test_arrays_of_time_objects():
    moments = Time(["2012:001", "2017:001"])
    expected = [441763266.184, 599616069.184]
    assert times.secs(moments).tolist() == expected
    assert times.secs(list(moments)).tolist() == expected
    assert times.date(moments.tai).tolist() == ["2012:001:00:00:00.000", "2017:001:00:00:00.000"]
    days = np.array(["2012-01-01", "2017-01-01"], dtype="M8[D]")
    assert times.secs(days).tolist() == expected
    assert times.secs([datetime(2012, 1, 1), datetime(2017, 1, 1)]).tolist() == expected


# ---- astropy formats


def test_formats_of_astropy_time():
    moment = Time(686111014, format="cxcsec")  # scale tt: its yday is 69.184 s off
    assert moment.yday == "2019:272:02:23:34.000"
    assert moment.greta == "2019272.022224816"
    assert moment.maude == 2019272022224816
    assert moment.caldate == "2019Sep29 at 02:22:24.816"
    assert moment.numday == "7941:2:23:28.000"
    assert moment.utc.greta == "2019272.022224816"
    assert moment.reshape(1, 1).maude.tolist() == [[2019272022224816]]


@pytest.mark.parametrize("scale", ["utc", "tt", "tai"])
@pytest.mark.parametrize(
    ("fmt", "value"),
    [
        ("greta", "2006329.230000000"),
        ("greta", 2006329.23),
        ("maude", "2006329230000000"),
        ("maude", 2006329230000000),
        ("caldate", "2006Nov25 at 23:00:00.000"),
        ("numday", "3250:23:1:3.184"),
    ],
)
def test_astropy_time_from_our_formats(fmt, value, scale):
    moment = Time(value, format=fmt, scale=scale)
    assert moment.scale == scale
    assert moment.cxcsec == pytest.approx(280882865.184, rel=0, abs=1e-6)
    assert moment.utc.yday == "2006:329:23:00:00.000"
    assert Time([value] * 2, format=fmt).value.tolist() == [getattr(moment, fmt)] * 2


def test_astropy_time_in_a_leap_second_and_masked():
    moments = Time(["2016366.235960500", "2017001.0"], format="greta")
    assert moments.cxcsec.tolist() == [599616068.684, 599616069.184]
    assert moments.value.tolist() == ["2016366.235960500", "2017001.000000000"]
    moments[1] = np.ma.masked
    assert moments.greta.mask.tolist() == [False, True]
    assert moments.maude[0] == 2016366235960500


def test_astropy_names_the_offending_text():
    with pytest.raises(
        ValueError, match=r"time '2013366\.' has day 366; expected 1 to 365 of 2013"
    ):
        Time("2013366.", format="greta")
    with pytest.raises(ValueError, match="format 'greta' takes one value, not two"):
        Time("2013001.", "2013001.", format="greta")


def test_fill_value_of_masked_elements_is_j2000():
    for fmt in ("greta", "maude", "caldate", "numday"):
        fill = Time.FORMATS[fmt].fill_value("*")
        assert Time(fill, format=fmt).jd == 2451545.0


# ---- errors


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("2013:366", "day 366; expected 1 to 365 of 2013"),
        ("2012:367:00:00", "day 367; expected 1 to 366 of 2012"),
        ("2012:000", "day 0; expected 1 to 366 of 2012"),
        ("2100:366", "day 366; expected 1 to 365 of 2100"),
        ("2012-13-01", "month 13; expected 1 to 12"),
        ("2012-00-01", "month 0; expected 1 to 12"),
        ("2013-02-29 00:00", "day 29; expected 1 to 28 of 2013-02"),
        ("2012-04-31T00:00", "day 31; expected 1 to 30 of 2012-04"),
        ("2012:001:24:00:00", "hour 24; expected 0 to 23"),
        ("2012:001:23:60", "minute 60; expected 0 to 59"),
        ("2012:001:23:59:60", "second 60; expected 0 to 59, for there is no leap second"),
        ("2012:182:23:58:60", "second 60; expected 0 to 59, for there is no leap second"),
        ("2012:182:23:59:61", "second 61; expected 0 to 59, for there is no leap second"),
        ("2012366.24", "hour 24; expected 0 to 23"),
        ("2013366235959", "day 366; expected 1 to 365 of 2013"),
        ("2012Foo01 at 00:00:00", "month Foo; expected Jan to Dec"),
        ("2012Feb30 at 00:00:00", "day 30; expected 1 to 29 of 2012-02"),
        ("12:24:00:00.0", "hour 24; expected 0 to 23"),
        ("1971:365", "year 1971; expected 1972 to 9999"),
        ("-99999:0:0:0", "a time in format 'numday' before 1972"),
    ],
)
def test_field_out_of_range(text, complaint):
    message = f"time {text!r} has {complaint}"
    for call in (times.secs, times.date, lambda value: times.convert(value, "jd")):
        assert error_of(call, text) == message
    assert error_of(times.secs, ["2012:001", "2012:002", text, "junk"]) == f"element 2: {message}"


def test_offending_element_among_texts_of_one_layout():
    days = np.array([f"2013:{day:03d}" for day in range(1, 368)])
    assert "element 365: time '2013:366' has day 366" in error_of(times.secs, days)
    assert "element 1, 0: time '2013:400' has day 400" in error_of(
        times.secs, [["2013:001", "2013:002"], ["2013:400", "2013:500"]]
    )


def test_second_60_in_tt():
    assert "has second 60; expected 0 to 59" in error_of(
        times.secs, "2016-12-31T23:59:60", format="fits"
    )
    assert times.secs("2016-12-31T23:59:60") == 599616068.184


@pytest.mark.parametrize(
    "text",
    [
        *("foo", "2012:001:00", "2012:1", "12:001", "2012:001:0:0", "nan", "inf", "1_000", "-2x"),
        *("1d 2x", "2012:001Z", "2012-01-01T00:00:00Z", "١٩٩٨:001", "2012:001\n2012:002", "1e5 s"),
    ],
)
def test_text_in_no_format(text):
    assert error_of(times.secs, text) == f"time {text!r} is in no known format; {EXPECTED}"


@pytest.mark.parametrize("text", ["", "   "])
def test_empty_text(text):
    assert error_of(times.date, text) == f"time {text!r} is empty; {EXPECTED}"
    assert error_of(times.date, ["2012:001", text]) == (
        f"element 1: time {text!r} is empty; {EXPECTED}"
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "time None is no time; "),
        (True, "time True is a bool, not a time; "),
        (np.array([True]), "time True is a bool, not a time; "),
        (1j, "time 1j is a complex, not a time; "),
        ({"a": 1}, "time {'a': 1} is a dict, not a time; "),
        (datetime(2012, 1, 1).date(), "time datetime.date(2012, 1, 1) is a date, not a time; "),
        ([5.0, None], "element 1: time None is no time; "),
        ([5.0, True], "element 1: time True is a bool, not a time; "),
        ([5.0, [6.0]], "element 1: time [6.0] is a list, not a time; "),
    ],
)
def test_objects_that_are_no_times(value, message):
    assert error_of(times.secs, value) == message + EXPECTED


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "time nan is not a finite number"),
        (float("-inf"), "time -inf is not a finite number"),
        (np.array([[1.0, 2.0], [np.nan, np.nan]]), "element 1, 0: time nan is not a finite number"),
        ([1.0, float("inf")], "element 1: time inf is not a finite number"),
        (np.ma.array([1.0, 2.0], mask=[False, True]), "element 1: time is masked"),
        (np.array(["2012-01-01", "NaT"], dtype="M8[s]"), "element 1: time is NaT"),
        (5 * units.day, "time <Quantity 5. d> is a quantity, not a time; give seconds or text"),
    ],
)
def test_values_that_are_missing(value, message):
    assert error_of(times.secs, value) == message


def test_time_objects_that_cannot_be_used():
    moments = Time(["2012:001", "2017:001"])
    moments[1] = np.ma.masked
    assert error_of(times.secs, moments) == "element 1: time is masked"
    assert error_of(times.secs, Time("2012:001", scale="local")) == (
        "time <Time object: scale='local' format='yday' value=2012:001:00:00:00.000>"
        " has scale 'local'; expected one that leads to TT"
    )


@pytest.mark.parametrize("seconds", [-1e9, 1e12, 1e300, -9e18])
def test_seconds_beyond_the_calendar(seconds):
    assert times.secs(seconds) == seconds
    for fmt in ("date", "jd", "unix", "numday"):
        assert (
            error_of(times.convert, seconds, fmt)
            == f"time {seconds!r} is outside the years 1972 to 9999"
        )
        assert (
            error_of(times.convert, [0.0, seconds], fmt)
            == f"element 1: time {seconds!r} is outside the years 1972 to 9999"
        )


def test_last_millisecond_of_the_calendar_does_not_become_year_10000():
    assert "outside the years 1972 to 9999" in error_of(times.date, "9999:365:23:59:59.9999")


@pytest.mark.parametrize(
    ("value", "fmt", "message"),
    [
        ("2012-01-01", "date", "time '2012-01-01' is not in format 'date'"),
        ("2012:001", "greta", "time '2012:001' is not in format 'greta'"),
        ("2012:001", "secs", "time '2012:001' is not in format 'secs'"),
        ("2012:001:00:00", "year_doy", "time '2012:001:00:00' is not in format 'year_doy'"),
        ("2012-01-01T00:00", "iso", "time '2012-01-01T00:00' is not in format 'iso'"),
        ("2012-01-01 00:00", "fits", "time '2012-01-01 00:00' is not in format 'fits'"),
        ("-2d", "date", "time '-2d' is not in format 'date'"),
        (2012.5, "date", "time 2012.5 is a number, not text in format 'date'"),
        (
            2012001000000000.5,
            "maude",
            "time 2012001000000000.5 is a number, not text in format 'maude'",
        ),
        ([2012.5], "iso", "time 2012.5 is a number, not text in format 'iso'"),
    ],
)
def test_value_not_in_the_given_format(value, fmt, message):
    assert error_of(times.secs, value, format=fmt) == message


def test_text_that_astropy_refuses():
    assert "time 'foo' is not in format 'jd': " in error_of(times.secs, "foo", format="jd")
    assert "element 1: time 'foo' is not in format 'jyear_str'" in error_of(
        times.secs, ["J2000.0", "foo"], format="jyear_str"
    )


def test_leap_second_has_no_datetime():
    assert "time '2016:366:23:59:60.000' has no value in" in error_of(
        times.convert, "2016:366:23:59:60", "datetime"
    )


def test_unknown_names_of_formats_and_readings():
    message = (
        "time format 'nope' is unknown; expected date, greta, maude, caldate, iso, isot, fits,"
        " numday, year_doy, secs, unix, frac_year or an astropy format"
    )
    assert error_of(times.convert, 0, "nope", kind=InputError) == message
    assert error_of(times.secs, 0, format="nope", kind=InputError) == message
    assert error_of(times.secs, "2012:001", iso_t="tai", kind=InputError) == (
        "iso_t 'tai' is unknown; expected 'utc' or 'tt'"
    )


@given(st.text(max_size=25) | st.from_regex(r"\d{1,7}[:.T -]\d{0,9}[:.T -]?\d{0,9}"))
def test_any_text_is_a_time_or_one_clear_error(text):
    try:
        alone = times.secs(text)
    except TimeFormatError as err:
        assert repr(text) in str(err)
        # numpy drops trailing NULs of text, so an array is a fair comparison only without.
        if not text.endswith("\0"):
            with pytest.raises(TimeFormatError, match="^element 1: " + re.escape(str(err))):
                times.secs(["2012:001", text])
    else:
        assert type(alone) is float
        assert times.secs(["2012:001", text]).tolist() == [441763266.184, alone]


# ---- examples and cost


@pytest.mark.parametrize("module", [times, time_formats])
def test_examples_of_the_docstrings(module):
    results = doctest.testmod(module)
    assert results.failed == 0
    assert results.attempted > 0


def test_dates_and_seconds_need_no_astropy():
    script = (
        "import sys; from acaflow import times; assert 'erfa' not in sys.modules\n"
        "times.date([times.secs('2012:001')]); times.convert('2012-01-01', 'greta')\n"
        "assert 'astropy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env={"PYTHONPATH": _library()})


def _library() -> str:
    return times.__file__.removesuffix("/acaflow/times.py")
