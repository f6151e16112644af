"""The level-0 pages on files of known content, and on the real ones."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from flask.testing import FlaskClient
from PIL import Image

from acaflow.archive import aca_l0
from acaflow.paths import Home
from tests.services.web.conftest import Night
from tests.services.web.test_pages import BUDGET, Text, data, text
from tests.services.web.test_plots import colours
from tests.support.l0 import BASE_TIME, deliver, make_l0_file, pixels

FIRST = BASE_TIME - 0.848
"""TIME of the image at frame 0: 2019:270 19:32:09.968."""
GAIN = 5 / 1.696
SPAN = "start=2019:270:19:32:09&stop=2019:270:19:37:00"


def archive(home: Home, **options: object) -> Path:
    """Put one file into the archive of a home; return its path there."""
    root = home.archive / "aca0"
    made = make_l0_file(home.work / "in", **options)
    deliver(root, made)
    return root


@pytest.fixture
def filled(home: Home) -> Path:
    """Slot 0 in 8x8 with ten images missing, slot 3 in 6x6 then 8x8 without a gap."""
    for options in (
        {"slot": 0, "rows": 24},
        {"slot": 0, "rows": 24, "frame": 34 * 16},
        {"slot": 3, "imgsize": 6, "rows": 40, "values": {"IMGFUNC1": [1] * 30 + [3] * 10}},
        {"slot": 3, "imgsize": 8, "rows": 38, "frame": 40 * 8},
    ):
        root = archive(home, **options)
    return root


# --- One day


def test_the_day_page_tells_gaps_exactly(client: FlaskClient, filled: Path):
    rows = list(csv.DictReader(io.StringIO(client.get("/aca0.csv?day=2019:270").text)))
    assert [row for row in rows if row["slot"] in "03"] == [
        {"slot": slot, "from_utc": a, "to_utc": b, "length_s": length}
        for slot, a, b, length in (
            ("0", "2019-09-27T00:00:00.000Z", "2019-09-27T19:32:09.968Z", "70329.968"),
            ("3", "2019-09-27T00:00:00.000Z", "2019-09-27T19:32:09.968Z", "70329.968"),
            ("0", "2019-09-27T19:33:48.368Z", "2019-09-27T19:34:29.368Z", "41.000"),
        )
    ]
    page = client.get("/aca0?day=2019:270").text
    words = str(Text(page))
    assert "2019:270 19:33:48 2019:270 19:34:29 41.0 s" in words
    assert "1 gap that all slots with images share of 19 h 32 min. No images of slot 1, 2," in words
    assert "nothing later has arrived" in words


def test_the_newest_day_is_the_default(client: FlaskClient, filled: Path):
    page = client.get("/aca0").text
    assert "<h1>ACA level 0, <time" in page and ">2019:270</time></h1>" in page
    assert 'href="/aca0?day=2019:269" rel="prev"' in page
    assert 'href="/aca0?day=2019:271" rel="next"' in page
    assert page.count('class="cov"') == 2
    found = data(client, "/api/v1/aca0")
    assert found["day"] == "2019:270"
    assert [(run["slot"], run["imgsize"], run["images"]) for run in found["runs"]] == [
        *((0, 8, 24), (0, 8, 24), (3, 6, 40), (3, 8, 38)),
    ]
    # Up to the last image of slot 3, 57 of 58 cadences of 4.1 s after the first; then half a day.
    until = 70329.968 + 57 * 4.1
    assert found["to"] == "2019-09-27T19:36:03.668Z"
    assert found["covered_percent"]["3"] == pytest.approx(100 * (1 - 70329.968 / until), abs=1e-9)
    assert found["covered_percent"]["1"] == 0.0


def test_days_without_images_and_wrong_days(client: FlaskClient, filled: Path):
    assert "No images on this day." in text(client, "/aca0?day=2018:001")
    page = client.get("/aca0?day=yesterday")
    assert page.status_code == 400
    assert 'name="day" class="w12" value="yesterday"' in page.text
    assert 'aria-invalid="true"' in page.text and "“yesterday” is no time. Write for" in page.text


def test_an_empty_archive(client: FlaskClient):
    assert "No level-0 file has been archived." in text(client, "/aca0")
    assert "No level-0 file has been archived" in text(client, "/aca0/3", 404)
    assert data(client, "/api/v1/aca0")["runs"] == []


# --- One slot


def facts(page: str) -> dict[str, str]:
    """The facts of a slot page by their names."""
    found = re.findall(r"<div><dt>(.*?)</dt><dd>(.*?)</dd></div>", page)
    return {name: re.sub("<[^>]+>", "", value).strip() for name, value in found}


def test_one_image_in_numbers(client: FlaskClient, filled: Path):
    page = client.get(f"/aca0/3?{SPAN}&row=5").text
    image = pixels([1_000_000 + 5 * 8], 6)[0] * GAIN
    r, c = np.mgrid[:6, :6]
    row, col = ((place * image).sum() / image.sum() for place in (r - 12, c + 7))
    assert facts(page) == {
        "Image sum, e⁻/s": f"{image.sum():,.0f}".replace(",", "\u202f"),
        "Centroid, row / col": f"−{-row:.2f} / {col:.2f}",
        "Integration, s": "1.696",
        "CCD, °C": "−9.6",
        "Background, DN": "25, rms 3",
        "Scale": "64",
        "Function": "1 track",
        "Status": "0",
        "Quality": "0 good",
        "MJF / MNF": "7812 / 104",
        "TIME, CXC s": "686\u202f000\u202f009.402",
        "From": "N001, row 5",
    }
    assert "row 5 of 78, counted from 0" in str(Text(page))
    cells = re.findall(r'<text class="m (?:hi|lo)"[^>]*>([^<]+)</text>', page)
    expected = np.rint(np.delete(image[::-1].ravel(), [0, 5, 30, 35])).astype(int)
    assert sorted(int(cell.replace("−", "-")) for cell in cells) == sorted(expected)


def test_rows_follow_each_other(client: FlaskClient, filled: Path):
    page = client.get(f"/aca0/3?{SPAN}").text
    # The middle one of those that track: rows 0 to 29 and 40 to 77.
    assert "row 44 of 78" in str(Text(page))
    page = client.get(f"/aca0/3?{SPAN}&row=39").text
    (following,) = re.findall(r'href="([^"]+)#h-img" rel="next"', page)
    page = client.get(following.replace("&amp;", "&")).text
    assert "row 40 of 78" in str(Text(page))
    assert facts(page)["From"] == "N001, row 0"  # the first of the second file
    assert 'rel="next"' not in client.get(f"/aca0/3?{SPAN}&row=77").text
    assert 'rel="prev"' not in client.get(f"/aca0/3?{SPAN}&row=0").text.split("h-img")[1]
    said = text(client, f"/aca0/3?{SPAN}&row=78", 404)
    assert "This span has no row 78. Rows are 0 to 77." in said


def test_the_default_span_is_the_newest_file(client: FlaskClient, filled: Path):
    page = client.get("/aca0/3").text
    assert "row 19 of 38, counted from 0" in str(Text(page))
    assert 'name="start" class="w12" value="2019:270:19:33:31"' in page
    assert facts(page)["CCD, °C"] == "−9.6"


def test_sizes_and_slots(client: FlaskClient, filled: Path):
    assert "of 40, counted" in text(client, f"/aca0/3?{SPAN}&size=6")
    assert "no 4×4 images between" in text(client, f"/aca0/3?{SPAN}&size=4")
    assert "Slot 5 has no images between" in text(client, f"/aca0/5?{SPAN}")
    page = client.get(f"/aca0/3?{SPAN}&size=7")
    assert page.status_code == 400 and "“7” is no image size. Sizes are" in page.text
    assert "There is no slot 8." in text(client, "/aca0/8", 404)


@pytest.mark.parametrize(
    ("query", "field", "said"),
    [
        ("start=2019:400", "start", "“2019:400” is no time. Write for example 2019:272:03:00:00"),
        ("start=2019:270&stop=2019:269", "stop", "2019:269:00:00:00 is not after 2019:270:00:00"),
        ("start=2019:270&stop=2019:290", "stop", "this page shows at most 2 d 0 h"),
    ],
)
def test_wrong_spans_mark_their_field(
    client: FlaskClient, filled: Path, query: str, field: str, said: str
):
    page = client.get(f"/aca0/3?{query}")
    assert page.status_code == 400
    assert re.search(rf'name="{field}" class="w12" value="[^"]+" aria-invalid="true"', page.text)
    assert said in page.text
    assert said in data(client, f"/api/v1/aca0/3?{query}")["error"]
    assert client.get(f"/aca0/3.csv?{query}").status_code == 400


def test_shading_is_where_the_slot_does_not_track(client: FlaskClient, filled: Path):
    page = client.get(f"/aca0/3?{SPAN}").text
    plots = page.split('id="h-plots"')[1]
    # Rows 30 to 39 of 2.05 s, on an axis of 291 s from 19:32:09 over 1132 units.
    left = 84 + (0.968 + 30 * 2.05) / 291 * 1132
    assert plots.count(f'<rect class="span" x="{left:.1f}"') == 3
    assert f'width="{9 * 2.05 / 291 * 1132:.1f}"' in plots
    assert "reacquire" in plots
    assert plots.count('class="l1"') == 3


def test_an_idle_slot_has_no_temperature(client: FlaskClient, home: Home):
    nothing = {"values": {"IMGFUNC1": [0] * 48, "IMGRAW": np.full((48, 4, 4), -28.6875)}}
    archive(home, slot=4, imgsize=4, rows=48, **nothing)
    page = client.get("/aca0/4").text
    assert facts(page)["CCD, °C"] == "–"
    assert facts(page)["Centroid, row / col"] == "–"
    assert facts(page)["Function"] == "0 no image"
    assert "CCD temperature TEMPCCD" not in page


# --- Downloads and pictures


def test_csv_has_a_line_per_image(client: FlaskClient, filled: Path):
    response = client.get(f"/aca0/3.csv?{SPAN}")
    assert response.mimetype == "text/csv"
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert list(rows[0]) == [
        *("UTC", "TIME [s]", "QUALITY", "MJF", "MNF", "INTEG [s]", "GLBSTAT", "IMGFUNC1"),
        *("IMGSTAT", "IMGROW0 [pix]", "IMGCOL0 [pix]", "IMGSCALE", "BGDAVG [DN]", "BGDRMS [DN]"),
        *("IMGSIZE", "TEMPCCD [degC]", "IMGSUM [e-/s]", "ROW [pix]", "COL [pix]"),
    ]
    assert len(rows) == 78
    assert rows[0]["UTC"] == "2019-09-27T19:32:09.968Z"
    assert [row["IMGSIZE"] for row in rows] == ["6"] * 40 + ["8"] * 38
    sums = pixels(1_000_000 + 8 * np.arange(40), 6).sum((1, 2)) * GAIN
    assert [float(row["IMGSUM [e-/s]"]) for row in rows[:40]] == pytest.approx(sums, rel=1e-6)


def test_fits_is_what_the_library_reads(client: FlaskClient, filled: Path):
    content = client.get(f"/aca0/3.fits?{SPAN}").data
    rows = aca_l0.get_slot_data(
        "2019:270:19:32:09", "2019:270:19:37:00", 3, centered_8x8=True, units="e-/s"
    )
    with fits.open(io.BytesIO(content)) as hdus:
        table = hdus[1].data
        assert hdus[1].header["SLOT"] == 3
        for name in ("TIME", "MJF", "MNF", "INTEG", "IMGFUNC1", "IMGSCALE", "BGDAVG", "IMGSIZE"):
            np.testing.assert_array_equal(table[name], rows[name].data)
        images = rows["IMGRAW"].filled(np.nan)
        images[:40, [[1], [6]], [1, 6]] = np.nan  # corners of 6x6 images are not telemetered
        np.testing.assert_array_equal(table["IMG"], images)
        np.testing.assert_allclose(table["TEMPCCD"], 263.55 - 273.15, rtol=1e-5)


def test_pictures_show_all_sizes_on_the_scale_of_the_page(client: FlaskClient, filled: Path):
    strip, movie, still = (
        Image.open(io.BytesIO(client.get(f"/aca0/3/{name}.png?{SPAN}").data))
        for name in ("strip", "movie", "still")
    )
    assert strip.size == (4 * (24 * 9 - 1), 32)
    assert (getattr(movie, "n_frames", 1), movie.size, still.size) == (78, (128, 128), (128, 128))
    np.testing.assert_array_equal(
        np.asarray(movie.convert("RGBA")), np.asarray(still.convert("RGBA"))
    )
    # The brightest pixels have 2 * 1023 - 50 DN; rounded up to one digit.
    assert pytest.approx(5884, abs=1) == 1996 * GAIN
    page = text(client, f"/aca0/3?{SPAN}")
    assert "24 of 78 images, one fixed log scale from 30 to 6000 e⁻/s" in page
    assert "78 of 78 images in 6.2 s, same scale" in page


def test_no_images_no_picture(client: FlaskClient, filled: Path):
    assert client.get(f"/aca0/5/movie.png?{SPAN}").status_code == 404


# --- Other pages


def test_files_name_the_job_that_archived_them(client: FlaskClient, home: Home, night: Night):
    shift = 112_038.0
    archive(home, slot=3, imgsize=6, rows=40, time_shift=shift)
    job = night.process(slot=3)
    page = client.get("/aca0/3").text
    (name,) = re.findall(r'<a class="id" href="/files/(aca0/2019/272/[^"]+)"', page)
    assert name == "aca0/2019/272/acaf686112039N001_3_img0.fits.gz"
    assert f'href="/jobs/{job[-8:]}"' in page
    assert "4\u202f216\u202f320" in page


def test_jobs_and_events_link_to_the_images_they_archived(client: FlaskClient, night: Night):
    job = night.process(slot=3)
    link = "/aca0/3?start=2019:272:02:22:25&amp;stop=2019:272:02:39:31"
    page = client.get(f"/jobs/{job[-8:]}").text
    assert f'<a href="{link}">level 0, slot 3</a>' in page
    (event,) = re.findall(r'href="(/events/[^"]+)"[^>]*>aca_l0.updated', page)
    assert link in client.get(event).text


# --- Real files


@pytest.fixture
def real(home: Home, real_data: Path) -> None:
    for path in sorted((real_data / "real" / "aca_l0").glob("acaf*.gz")):
        deliver(home.archive / "aca0", path)


@pytest.mark.real
@pytest.mark.usefixtures("real")
def test_a_real_star(client: FlaskClient, real_data: Path):
    page = client.get("/aca0/3?row=1200").text
    # The row as astropy reads it, independent of the archive code.
    path = real_data / "real" / "aca_l0" / "acaf686111014N001_3_img0.fits.gz"
    with fits.open(path) as hdus:
        row = hdus[1].data[1200]
        image = row["IMGRAW"].astype(float) * 5 / row["INTEG"]
        assert (row["BGDAVG"], row["BGDRMS"], row["IMGSTAT"]) == (18, 6, 16)
    assert round(image.sum()) == 40645
    assert facts(page) == {
        "Image sum, e⁻/s": "40\u202f645",
        "Centroid, row / col": "130.63 / 282.82",
        "Integration, s": "1.696",
        "CCD, °C": "−9.2",
        "Background, DN": "18, rms 6",
        "Scale": "47",
        "Function": "1 track",
        "Status": "16 DEF_PIXEL",
        "Quality": "0 good",
        "MJF / MNF": "8655 / 124",
        "TIME, CXC s": "686\u202f113\u202f472.493",
        "From": "N001, row 1200",
    }
    assert "Image at 2019:272 03:03:23.309" in str(Text(page))
    assert [int(text) for text in re.findall(r'class="m (?:hi|lo)"[^>]*>(\d+)<', page)][:5] == [
        *(286, 130, 134, 99, 117),
    ]
    rows = re.findall(r'<text class="e" x="14" y="[\d.]+">(\d+)</text>', page)
    assert rows == ["128", "129", "130", "131", "132", "133"]
    assert len(page.encode()) <= BUDGET


@pytest.mark.real
@pytest.mark.usefixtures("real")
def test_a_real_day(client: FlaskClient):
    found = data(client, "/api/v1/aca0")
    assert (found["day"], len(found["gaps"])) == ("2019:272", 8)
    assert [(run["slot"], run["imgsize"], run["images"], run["bad"]) for run in found["runs"]] == [
        *((0, 8, 1568, 0), (2, 8, 1568, 0), (3, 6, 3135, 0), (5, 6, 3135, 0), (6, 6, 3135, 0)),
    ]
    # From 02:22:23.309 to the last image at 04:09:28.009, of 04:09:28.009.
    expected = 100 * (686117437.193480 - 686111012.493093) / (686117437.193480 - 686102469.184)
    assert found["covered_percent"]["3"] == pytest.approx(expected, abs=1e-6)
    slots = re.findall(r">(slot \d(?: fid)?)</a></li>", client.get("/aca0/3").text)
    assert slots == [
        *("slot 0 fid", "slot 1", "slot 2 fid", "slot 3"),
        *("slot 4", "slot 5", "slot 6", "slot 7"),
    ]


@pytest.mark.real
@pytest.mark.usefixtures("real")
def test_real_pictures_fit_the_budget(client: FlaskClient):
    for slot in (0, 3):
        movie = client.get(f"/aca0/{slot}/movie.png").data
        assert len(colours(movie)) == 240
        assert len(movie) <= 100_000
        assert len(client.get(f"/aca0/{slot}/strip.png").data) <= 10_000
