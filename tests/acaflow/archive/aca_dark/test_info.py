"""info.csv, and where it comes from (dark-cal B3)."""

import math

import pytest

from acaflow.archive.aca_dark.info import Info, info_from_starcheck, read_info, write_info
from acaflow.errors import InputError, SchemaError

INFO = Info("2007:006:01:25:29.717", -19.0, 154.997111, 36.895186)
TEXT = "time,temperature,ra,dec\n2007:006:01:25:29.717,-19.0,154.997111,36.895186\n"


# --- The file


def test_write_then_read(tmp_path):
    path = tmp_path / "2007006" / "info.csv"
    write_info(INFO, path)
    assert path.read_text() == TEXT
    assert read_info(path) == INFO


def test_handwritten(tmp_path):
    path = tmp_path / "info.csv"
    path.write_bytes(b"time,temperature,ra,dec\r\n2007-01-06 01:25:29.717,-19,154.997111,36.895186")
    assert read_info(path) == INFO


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not enough values"),
        ("time,temperature,ra,dec\n", "not enough values"),
        (TEXT + "2007:006,-19,1,1\n", "too many values"),
        (TEXT.replace("ra,dec", "dec,ra"), "header time,temperature,dec,ra"),
        (TEXT.replace(",36.895186", ""), "not enough values"),
        (TEXT.replace("36.8", "north"), "could not convert string to float: 'north95186'"),
        (TEXT.replace("2007:006:", "soon "), "time 'soon 01:25:29.717'"),
        (TEXT.replace("-19.0", "254.15"), "temperature 254.15 .* not in -50.0 to 50.0"),
        (TEXT.replace("-19.0", "nan"), "temperature nan"),
        (TEXT.replace("154.9", "-4.9"), "ra -4.9"),
        (TEXT.replace("36.8", "96.8"), "dec 96.8"),
        (TEXT.replace("-19.0", "−19.0"), "ascii"),
    ],
)
def test_other_content(tmp_path, text, message):
    path = tmp_path / "info.csv"
    path.write_text(text, encoding="utf-8")
    expected = rf"^info\.csv: .*{message}.*; expected the line time,temperature,ra,dec and one row$"
    with pytest.raises(SchemaError, match=expected) as caught:
        read_info(path)
    assert caught.value.path == path


def test_values_out_of_range():
    for wrong in ({"ra": 360.1}, {"dec": -90.1}, {"temperature": 250.0}, {"ra": math.nan}):
        with pytest.raises(InputError, match=f"{next(iter(wrong))} "):
            Info(**{"time": "2007:006", "temperature": -19.0, "ra": 0.0, "dec": 0.0} | wrong)


# --- From a starcheck report

RULE = "=" * 84 + " \n"
CATALOG = """OBSID: 56779  \nRA, Dec, Roll (deg):   359.999990    16.458665   247.962687
MP_TARGQUAT at 2009:279:22:35:10.306 (VCDU count = 7578642)
MP_STARCAT at 2009:279:22:35:11.949 (VCDU count = 7578648)
Predicted Max CCD temperature: -19.6 C \t N100 Warm Pix Frac 0.059
"""
REPLICA = """OBSID: 56778  \nRA, Dec, Roll (deg):     0.000010    16.458665   247.988156
>> INFO   : No star catalog for obsid 56778 (DC_T0). OK for 'DC_T0' ER.
"""
OTHER = CATALOG.replace("56779", "56780").replace("22:35", "22:00").replace("16.45", "16.50")


@pytest.fixture
def report(tmp_path):
    """Write a report of these sections and read it."""

    def read(*sections, **options):
        path = tmp_path / "starcheck.txt"
        text = RULE.join(["Short Term Schedule: OCT0509A\n\n[ok] replica 0 \xe9\n", *sections])
        path.write_text(text, encoding="latin-1")
        return info_from_starcheck(path, **options)

    return read


def test_catalog_before_the_first_replica(report):
    expected = Info("2009:279:22:35:11.949", -19.6, 359.99999, 16.458665)
    assert report(OTHER, CATALOG, REPLICA, OTHER, REPLICA) == expected


def test_temperature_given_or_in_the_newer_form(report):
    newer = CATALOG.replace("-19.6 C", "-7.0 C (-7.007 C)")
    assert report(newer, REPLICA).temperature == -7.0
    assert report(newer, REPLICA, temperature=-18.5).temperature == -18.5
    without = CATALOG.replace("Predicted", "No")
    assert report(without, REPLICA, temperature=-18.5).temperature == -18.5


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ([CATALOG, OTHER], "no pointing DC_T0, so no dark calibration"),
        ([REPLICA], "no star catalog before DC_T0"),
        ([OTHER, REPLICA], "star catalog of 2009:279:22:00:11.949 is at .* not at DC_T0, 1e-05"),
        ([CATALOG.replace("RA, ", ""), REPLICA], "has no attitude"),
        ([CATALOG, REPLICA.replace("RA, ", "")], "has no attitude"),
        ([CATALOG.replace("Predicted", "No"), REPLICA], "has no predicted temperature"),
    ],
)
def test_reports_without(report, sections, message):
    with pytest.raises(SchemaError, match=rf"^starcheck\.txt: .*{message}"):
        report(*sections)


REAL = {
    "2006/DEC2506/oflsc/starcheck.txt": INFO.time + " -20.7 154.997111 36.895186",
    "2007/MAR0507/oflsa/starcheck.txt": "2007:069:22:20:41.463 -19.6 166.78318 33.92803",
    "2008/JUL0708/oflsb/starcheck.txt": "2008:188:20:20:11.177 -19.6 42.544037 66.750204",
    "2009/OCT0509/oflsa/starcheck.txt": "2009:279:22:35:11.949 -19.6 348.171053 16.458665",
    "2011/JAN1711/oflsa/starcheck.txt": "2011:018:01:12:49.409 -18.5 356.784927 38.955867",
    "2015/DEC1115/oflsa/v_starcheck.txt": "2015:355:17:05:45.600 -15.5 227.136341 16.976002",
}
"""As read by eye."""
OBLIQUITY = math.radians(23.43929)


def ecliptic_latitude(info):
    """Ecliptic latitude (deg) of the attitude."""
    ra, dec = math.radians(info.ra), math.radians(info.dec)
    tilt = math.cos(dec) * math.sin(OBLIQUITY) * math.sin(ra)
    return math.degrees(math.asin(math.sin(dec) * math.cos(OBLIQUITY) - tilt))


@pytest.mark.real
def test_real_reports(real_data):
    """Each report with a checked dark calibration has its first catalog, and no other has one."""
    folder = real_data / "real" / "starcheck"
    found = {}
    for path in sorted(folder.rglob("*starcheck.txt")):
        if "DARK CURRENT CALIBRATION CHECKS" in path.read_text(errors="replace"):
            found[str(path.relative_to(folder))] = info_from_starcheck(path)
        else:
            with pytest.raises(SchemaError, match="no dark calibration"):
                info_from_starcheck(path)
    assert len(found) == 21
    for name, expected in REAL.items():
        info = found[name]
        assert f"{info.time} {info.temperature} {info.ra} {info.dec}" == expected
    # Ecliptic latitudes of the calibrations of 2007 in the archive (dark-cal A6).
    assert ecliptic_latitude(found["2006/DEC2506/oflsc/starcheck.txt"]) == pytest.approx(
        24.6, abs=0.05
    )
    assert ecliptic_latitude(found["2007/MAR0507/oflsa/starcheck.txt"]) == pytest.approx(
        25.89, abs=0.005
    )
