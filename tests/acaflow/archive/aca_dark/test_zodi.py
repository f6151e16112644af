"""Zodiacal light (dark-cal B7)."""

import doctest
import math
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from acaflow.archive.aca_dark import zodi
from acaflow.archive.aca_dark.zodi import ZODI_PROPERTIES, zodi_brightness, zodi_properties
from acaflow.errors import InputError


def test_examples():
    assert doctest.testmod(zodi).failed == 0


@pytest.mark.parametrize(
    ("l_l0", "eb", "expected"),
    [
        (0, 0, 7730),
        (90, 0, 259),
        (180, 0, 230),
        (60, 20, 243),
        (120, 60, 77),
        (15, 0, 11500),
        *((0, eb, 100) for eb in (75, 80, 90)),
        (45, 90, 90),
        (90, 90, 79),
        (135, 90, 73),
        (180, 90, 72),
    ],
)
def test_anchors(l_l0, eb, expected):
    assert zodi_brightness(l_l0, eb) == expected


def test_the_maximum():
    l_l0, eb = np.mgrid[0:181, 0:91]
    brightness = zodi_brightness(l_l0, eb)
    assert brightness.shape == (181, 91)
    assert np.unravel_index(brightness.argmax(), brightness.shape) == (15, 0)
    assert np.all(brightness > 0)


@pytest.mark.real
def test_one_degree_table(real_data):
    table = fits.getdata(real_data / "zodi_leinert98_table17_1deg.fits.gz")
    l_l0, eb = np.mgrid[0:181, 0:91]
    np.testing.assert_allclose(zodi_brightness(l_l0, eb), table, rtol=1e-5)


def test_folding_and_whole_degrees():
    assert zodi_brightness(-60.9, -20.9) == 243
    assert zodi_brightness([300, -300, 299.5, 419.9 - 60], [20, 20, 20, 0]).tolist() == [
        243,
        243,
        243,
        7730,
    ]
    # 65 deg lies a third of the way from 60 to 75.
    assert zodi_brightness(65, 20) == pytest.approx(243 + (196 - 243) / 3)


@pytest.mark.parametrize(
    ("l_l0", "eb", "said"),
    [
        (360.5, 0, "longitude from the Sun is -0.5"),
        (0, 90.1, "latitude is 90.1"),
        (0, -91, "latitude is 91"),
        (math.nan, 0, "longitude from the Sun is nan"),
        (0, math.nan, "latitude is nan"),
    ],
)
def test_out_of_range(l_l0, eb, said):
    with pytest.raises(InputError, match=said):
        zodi_brightness([1, l_l0], [1, eb])


@pytest.mark.parametrize(
    ("date", "of_date"),
    [
        ("2000:080:07:35:00", 0.0),  # equinox, 2000-03-20
        ("2000:356:13:37:00", 270.0),  # solstice, 2000-12-21
        ("2009:172:05:45:40", 90.0),  # solstice, 2009-06-21
        ("2019:266:07:50:00", 180.0),  # equinox, 2019-09-23
    ],
)
def test_sun(date, of_date):
    # Seasons begin in the coordinates of their date, which move by 50.29 arcsec a year, and where
    # the Sun is seen: aberration and nutation together are up to 0.0105 deg.
    years = (int(date[:4]) - 2000) + int(date[5:8]) / 365.25
    expected = of_date - years * 50.29 / 3600
    found = zodi_properties(0.0, 0.0, date)["sun_el"]
    assert (found - expected + 180) % 360 - 180 == pytest.approx(0.0, abs=0.0106)


@pytest.mark.parametrize(
    ("ra", "dec", "el", "eb"),
    [
        (0.0, 0.0, 0.0, 0.0),
        (90.0, 23.4392911, 90.0, 0.0),
        (270.0, 66.5607089, None, 90.0),
        (279.2347348, 38.7836890, 285.3164, 61.7327),  # Vega
    ],
)
def test_ecliptic_position(ra, dec, el, eb):
    found = zodi_properties(ra, dec, "2009:279")
    assert found["eb"] == pytest.approx(eb, abs=2e-4)
    if el is not None:
        assert (found["el"] - el + 180) % 360 - 180 == pytest.approx(0.0, abs=2e-4)


def test_properties():
    found = zodi_properties(10, 20, "2007:006:01:56:46.817")
    assert tuple(found) == ZODI_PROPERTIES
    assert (found["date"], found["ra"], found["dec"]) == ("2007:006", 10.0, 20.0)
    assert all(type(found[key]) is float for key in ZODI_PROPERTIES[1:])
    assert found["l_l0"] == found["el"] - found["sun_el"]
    assert found["l_l0"] < -180  # as it is, not folded
    assert found["zodib"] == zodi_brightness(360 + found["l_l0"], found["eb"])


def test_no_coordinates_of_astropy_are_loaded():
    code = (
        "import sys; from acaflow.archive.aca_dark.zodi import zodi_properties;"
        "zodi_properties(10, 20, '2030:001'); print('astropy.coordinates' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_table_has_the_calibrations_whose_attitude_is_known(tmp_path):
    row = dict.fromkeys(zodi.ZODI_PROPERTIES, 1.5) | {"date": "2009:279", "id": "2009279"}
    zodi.write_table(tmp_path / "zodi.csv", [row, row | {"date": "2009:300", "zodib": None}])
    assert (tmp_path / "zodi.csv").read_text() == (
        "date,ra,dec,el,eb,sun_el,l_l0,zodib\n2009:279,1.5,1.5,1.5,1.5,1.5,1.5,1.5\n"
    )
