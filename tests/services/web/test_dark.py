"""The dark-calibration pages on calibrations of known pixels."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from flask.testing import FlaskClient
from PIL import Image

from acaflow.archive.aca_dark.combine import COSMIC, FILLED, HOT, MISSING, WARM
from acaflow.archive.aca_dark.dark_files import write_calibration, write_json
from acaflow.paths import Home
from acaflow.runtime.records import NewProduct
from services.web import pixels
from tests.services.web.conftest import Night
from tests.services.web.test_pages import BUDGET, Text, data, text
from tests.support.dark_calibrations import make_calibration, published_history

OLD, NEW = "2009190", "2009279"
COLD, WARMER = -19.0, -15.0
"""Temperatures of the two: 4 degC, that is a factor of 1/0.7."""
HOT_PIXEL, GAP = (204, -455), (5, 7)


def image_of(level: float, **pixels: float) -> np.ndarray:
    """An even image, some pixels of which differ."""
    image = np.full((1024, 1024), level, np.float32)
    image[HOT_PIXEL[0] + 512, HOT_PIXEL[1] + 512] = pixels["hot"]
    return image


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two calibrations; the second has a hot pixel, a gap, flags, and a warning."""
    root = tmp_path_factory.mktemp("dark") / "aca_dark"
    write_calibration(root / OLD, make_calibration(OLD, COLD, image_of(14.0, hot=88.0)))
    new = make_calibration(NEW, WARMER, image_of(30.0, hot=3377.0), missing=[GAP], quality="WARN")
    new.mask[HOT_PIXEL[0] + 512, HOT_PIXEL[1] + 512] = WARM | HOT
    new.mask[512, 512:522] = COSMIC
    finding = {"level": "WARN", "value": 0.04, "text": "12 of 33 273 frames lost (0.04 %)"}
    new.quality["findings"][5 * 3 + 2] |= finding  # Q5, replica 3
    new.quality["level"] = "WARN"
    write_calibration(root / NEW, new)
    (root / NEW / "info.csv").write_text("time,temperature,ra,dec\n")
    return root


@pytest.fixture
def archive(home: Home, made: Path) -> Path:
    """An archive of both."""
    target = home.archive / "aca_dark"
    shutil.copytree(made, target, copy_function=os.link)
    return target


def change(path: Path, **values: object) -> None:
    """Change a JSON file, which may be linked elsewhere."""
    content = json.loads(path.read_text())
    path.unlink()
    write_json(path, content | values)


def rows_of(client: FlaskClient, url: str) -> list[dict[str, str]]:
    response = client.get(url)
    assert (response.status_code, response.mimetype) == (200, "text/csv")
    return list(csv.DictReader(io.StringIO(response.text)))


def colours(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))


# --- The list


def publish_properties(home: Home) -> None:
    """Put the published statistics into the archive, without images."""
    for properties in published_history():
        folder = home.archive / "aca_dark" / properties["id"]
        folder.mkdir(parents=True)
        write_json(folder / "properties.json", properties | {"revision": 1})


def test_the_list_has_the_newest_first(client: FlaskClient, home: Home):
    publish_properties(home)
    page = client.get("/dark-cals").text
    assert "6 dark calibrations, the last on 2009:279 pass" in str(Text(page))
    # 72454 of 1024² pixels are 6.9098 %.
    assert "2009279: CCD at −19.0 °C, 6.9 % of the pixels above 100 e⁻/s." in str(Text(page))
    ids = re.findall(r'<th scope="row"><a href="/dark-cals/(\d{7})">', page)
    assert ids == ["2009279", "2009190", "2009113", "2002338", "2000326", "1999223"]
    row = str(Text('<main id="main">' + re.findall(r"<tr><th scope=.row.>.*?</tr>", page, re.S)[2]))
    assert row == "2009113 2009:113 −19.00 6.3 65 623 – 6.26 warn 1 –"
    rows = rows_of(client, "/dark-cals.csv")
    assert [row["id"] for row in rows] == ids
    assert (rows[0]["n100"], rows[0]["t_ccd"], rows[0]["quality"]) == ("72454", "-19.0", "PASS")
    assert [row["id"] for row in data(client, "/dark-cals.json")["calibrations"]] == ids


def test_the_trend_is_drawn_at_the_right_places(client: FlaskClient, home: Home):
    publish_properties(home)
    page = client.get("/dark-cals").text
    ((path, first),) = re.findall(r'<path class="l1" [^>]*d="(M([\d.]+ [\d.]+)[^"]*)"', page)
    places = [tuple(map(float, first.split()))]
    for step in re.findall(r"l[^lhvM]+|h[^lhvM]+", path):
        right, *up = map(float, re.findall(r"-?[\d.]+", step.replace("-.", "-0.")))
        places.append((places[-1][0] + right, places[-1][1] + sum(up)))
    assert len(places) == 6
    # Years 1999 to 2010 over 52 to 1234; 1999:223 is 222/365 of its year.
    assert places[0][0] == pytest.approx(52 + 222 / 365 / 11 * 1182, abs=0.06)
    # Upward from 202 to 20 for 0 to 1.06 times the highest, that of 2009:279.
    assert places[-1][1] == pytest.approx(202 - 182 / 1.06, abs=0.06)
    assert places[0][1] == pytest.approx(202 - 182 / 1.06 * 3495 / 72454, abs=0.06)


def test_pages_of_the_list(client: FlaskClient, home: Home):
    for day in range(1, 62):
        folder = home.archive / "aca_dark" / f"2020{day:03}"
        folder.mkdir(parents=True)
        write_json(folder / "properties.json", {"id": f"2020{day:03}", "ccd_temp": -9.0})
    page = client.get("/dark-cals")
    assert len(page.data) <= BUDGET
    (older,) = re.findall(r'href="([^"]+)" rel="next"', page.text)
    second = client.get(older).text
    ids = [
        re.findall(r'<th scope="row"><a href="[^"]+">(\d{7})</a>', p) for p in (page.text, second)
    ]
    assert [len(found) for found in ids] == [50, 11]
    assert [*ids[0], *ids[1]] == [f"2020{day:03}" for day in range(61, 0, -1)]
    assert 'rel="next"' not in second and "‹ newest" in second
    assert len(rows_of(client, "/dark-cals.csv")) == 61


def test_an_empty_archive_says_what_to_do(client: FlaskClient):
    said = text(client, "/dark-cals")
    assert "No dark calibration yet" in said
    assert "Move the dumps of a calibration into the inbox" in said
    assert data(client, "/dark-cals.json") == {"calibrations": [], "in_work": [], "unreadable": []}


def test_one_broken_calibration_does_not_hide_the_others(client: FlaskClient, home: Home):
    publish_properties(home)
    path = home.archive / "aca_dark" / "2009190" / "properties.json"
    path.write_text("{")
    said = text(client, "/dark-cals")
    assert "5 dark calibrations" in said
    assert f"Calibration 2009190 cannot be read. {path} is no JSON" in said


# --- In work


def deliver(home: Home, dark_id: str, *numbers: int, decoded: dict[int, str] | None = None) -> None:
    """Keep raw dumps as the service does, with notes of what became of them."""
    raw = home.archive / "aca_dark" / "raw" / dark_id
    notes = home.archive / "aca_dark" / "l0" / dark_id
    for folder in (raw, notes):
        folder.mkdir(parents=True)
    for number in numbers:
        name = f"{dark_id[:4]}_{dark_id[4:]}_VC2_Replica{number}_SFDU_3108{number}.gz"
        (raw / name).write_bytes(b"x" * 1000 * number)
        if number in (decoded or {}):
            note = {"name": name, "sha256": "0" * 64, "error": (decoded or {})[number]}
            write_json(notes / f"replica{number}.json", note)


def test_a_calibration_that_waits_says_for_what_and_until_when(
    client: FlaskClient, home: Home, night: Night
):
    deliver(home, "2023317", 1, 2, 4, decoded={1: "", 2: "2 frames with valid sync of 4185"})
    job = night.submit("dark_cal.gate", dark_id="2023317")
    words = "3 replicas of dark calibration 2023317; waits for 3, 5 of 5"
    night.finish(
        night.claim(job), "retry", "waiting", delay_s=86400.0,
        error_class="NotReadyError", error_text=words,
    )  # fmt: skip
    page = client.get("/dark-cals").text
    said = str(Text(page))
    assert f"Not before 2023:319 22:13:20 . Looked once: {words}." in said
    assert "replicas 1, 2, 4 delivered; replica 1 decoded; replica 2 cannot be decoded" in said
    assert '<a href="/dark-cals/2023317">2023317</a>' in page
    said = text(client, "/dark-cals/2023317")
    assert "Dark calibration 2023317, not assembled yet waiting" in said
    assert "dark_cal.gate: Not before 2023:319 22:13:20 . Looked once" in said
    assert "2023_317_VC2_Replica2_SFDU_31082.gz 2000 fail : 2 frames with valid sync" in said
    assert "2023_317_VC2_Replica4_SFDU_31084.gz 4000 not yet" in said
    found = data(client, "/api/v1/dark-cals/2023317")
    assert (found["state"], found["assembled"], found["job"]) == ("waiting", None, job)
    assert [item["replica"] for item in found["delivered"]] == [1, 2, 4]


def test_a_dead_job_is_shown_even_if_nothing_was_accepted(
    client: FlaskClient, night: Night, home: Home
):
    job = night.submit("dark_cal.report", dark_id="2023200")
    night.die(job, "MissingDataError", "no dark calibration 2023200")
    said = text(client, "/dark-cals")
    assert "dead 2023200 dark_cal.report: MissingDataError: no dark calibration 2023200." in said
    said = text(client, "/dark-cals/2023200")
    assert "No raw dump of this calibration has been accepted." in said


def test_jobs_that_are_done_are_not_in_work(client: FlaskClient, archive: Path, night: Night):
    night.finish(night.claim(night.submit("dark_cal.report", dark_id=NEW)))
    assert "Every calibration that arrived is published." in text(client, "/dark-cals")
    night.submit("dark_cal.process", dark_id=NEW)
    found = data(client, "/dark-cals.json")["in_work"]
    assert [(item["id"], item["published"]) for item in found] == [(NEW, True)]


@pytest.fixture
def staged(home: Home, archive: Path) -> Path:
    """A third calibration that was assembled and fails, with its report beside it."""
    folder = home.work / "aca_dark" / "2010012"
    cal = make_calibration("2010012", WARMER, image_of(30.0, hot=88.0), quality="FAIL")
    cal.quality["findings"][-4] |= {"level": "FAIL", "text": "2 of 5 replicas usable; limit 3"}
    cal.quality["level"] = "FAIL"
    for name in ("report", "revision"):
        del cal.properties[name]
    write_calibration(folder, cal)
    (folder / "report").mkdir()
    (folder / "report" / "index.html").write_text("<!doctype html><p>It fails.")
    return folder


def test_a_failing_calibration_can_be_looked_at_in_full(client: FlaskClient, staged: Path):
    page = client.get("/dark-cals/2010012").text
    said = str(Text(page))
    assert "Dark calibration 2010012, not published fail, telemetry 100 % complete" in said
    assert "assembled and not published: it fails. Q1 replica set: 2 of 5 replicas usable" in said
    assert '"/jobs/new/dark_cal.process?dark_id=2010012&amp;force=True"' in page
    assert "Change since 2009279" in said
    assert "fail 2010012" in text(client, "/dark-cals")
    for place in ("map", "compare/2009279", "files/image.fits", "files/quality.json"):
        assert client.get(f"/dark-cals/2010012/{place}").status_code == 200, place
    report = client.get("/www/dark_cal/2010012-staged/index.html")
    assert report.text == "<!doctype html><p>It fails."
    assert 'href="/www/dark_cal/2010012-staged/index.html"' in page


def test_a_second_result_beside_a_published_one(client: FlaskClient, staged: Path):
    staged.rename(staged.parent / NEW)
    said = text(client, f"/dark-cals/{NEW}")
    assert "Another result of this calibration is assembled and not published: fail." in said
    assert f"Dark calibration {NEW}, not published" in text(client, f"/dark-cals/{NEW}-staged")
    assert f'href="/dark-cals/{NEW}-staged">{NEW}</a>' in client.get("/dark-cals").text


def test_the_form_of_a_job_is_filled_from_its_address(client: FlaskClient):
    page = client.get("/jobs/new/dark_cal.process?dark_id=2010012&force=True&other=1").text
    assert 'name="dark_id" value="2010012"' in page
    assert 'name="force" checked' in page and "another look" not in page


# --- One calibration


def test_the_report_in_numbers(client: FlaskClient, archive: Path, night: Night):
    job = night.submit("dark_cal.report", dark_id=NEW)
    product = NewProduct("out", "dark_cal", f"aca_dark/{NEW}/properties.json", 1, "ab")
    night.finish(night.claim(job), products=(product,))
    page = client.get(f"/dark-cals/{NEW}").text
    said = str(Text(page))
    assert f"Dark calibration {NEW} warn, telemetry 100 % complete" in said
    assert "2009:279, 5 of 5 replicas, median of 5.008 s and 10.000 s frames, CCD at −15.00" in said
    assert f"Revision 1, published by {job[-8:]}" in said
    # All pixels but the gap are 30, one is 3377; before they were 14, and 88.
    assert f"{NEW} −15.00 30.0 30.0 30.0 30.0 1 1 1 1 0.00 warn" in said
    assert f"{OLD} −19.00 14.0 14.0 14.0 14.0 0 0 0 0 0.00 pass" in said
    assert f"Change since {OLD} +4.00 +16.0 +16.0 +16.0 +16.0 +1 +1 +1 +1 0.00" in said
    assert "warn Q5 lost frames: 12 of 33 273 frames lost (0.04 %)" in said
    assert "Q5 lost frames warn 12 of 33 273 frames lost (0.04 %)" in said
    assert "11 pass, 1 warn" in said
    assert f"Newly hot pixels 1 above 3000 e⁻/s, not in {OLD}" in said
    assert "204 −455 D 3 377 88" in said
    assert f'href="/dark-cals/{NEW}/map?row=204&amp;col=-455&amp;zoom=16"' in page
    assert f"Recovered pixels 0 above 3000 e⁻/s only in {OLD}" in said
    assert len(page.encode()) <= BUDGET


def test_tables_as_files(client: FlaskClient, archive: Path):
    (hot,) = rows_of(client, f"/dark-cals/{NEW}/newly_hot.csv")
    assert {key: hot[key] for key in ("row", "column", "quadrant", "value", "previous")} == {
        "row": "204", "column": "-455", "quadrant": "D", "value": "3377.0", "previous": "88.0",
    }  # fmt: skip
    replicas = rows_of(client, f"/dark-cals/{NEW}/replicas.csv")
    assert [row["ccd_temp"] for row in replicas] == [
        f"-{t}" for t in (15.02, 15.01, 15.0, 14.99, 14.98)
    ]
    assert [row["level"] for row in rows_of(client, f"/dark-cals/{NEW}/rules.csv")].count(
        "WARN"
    ) == 1
    assert data(client, f"/api/v1/dark-cals/{NEW}")["change"]["n100"] == 1
    assert "There is no table jobs." in text(client, f"/dark-cals/{NEW}/jobs.csv", 404)


def test_files_are_given_as_they_are(client: FlaskClient, archive: Path):
    for name in ("image.fits", "properties.json", "quality.json", "info.csv"):
        response = client.get(f"/dark-cals/{NEW}/files/{name}")
        assert response.data == (archive / NEW / name).read_bytes()
        assert f"filename={NEW}_{name}" in response.headers["Content-Disposition"]
    said = text(client, f"/dark-cals/{OLD}/files/info.csv", 404)
    assert f"Calibration {OLD} has no file info.csv. It has image.fits, quality.json" in said
    assert client.get(f"/dark-cals/{NEW}/files/..%2F{OLD}%2Fimage.fits").status_code == 404


def test_a_forced_calibration_says_who_and_why(client: FlaskClient, archive: Path):
    forced = {"user": "m.keller", "reason": "two replicas are enough here"}
    change(archive / NEW / "quality.json", forced=forced)
    assert "Forced by m.keller: two replicas are enough here" in text(client, f"/dark-cals/{NEW}")


def test_replaced_revisions_stay_reachable(client: FlaskClient, archive: Path):
    old = archive / "old" / f"{NEW}-r1"
    shutil.copytree(archive / NEW, old, copy_function=os.link)
    change(archive / NEW / "properties.json", revision=2)
    page = client.get(f"/dark-cals/{NEW}").text
    assert "Revision 2." in str(Text(page)) and f'href="/dark-cals/{NEW}-r1">Revision 1</a>' in page
    said = text(client, f"/dark-cals/{NEW}-r1")
    assert f"Dark calibration {NEW}, revision 1, replaced" in said
    assert client.get(f"/dark-cals/{NEW}/compare/{NEW}-r1").status_code == 200


def test_an_imported_calibration_has_what_it_has(client: FlaskClient, archive: Path):
    fits.PrimaryHDU(image_of(30.0, hot=50.0)).writeto(archive / NEW / "image.fits", overwrite=True)
    (archive / NEW / "quality.json").unlink()
    (archive / NEW / "properties.json").unlink()
    write_json(archive / NEW / "properties.json", {"id": NEW, "ccd_temp": -15.0, "replicas": []})
    said = text(client, f"/dark-cals/{NEW}")
    assert f"Dark calibration {NEW} not judged" in said
    assert f"{NEW} −15.00 – – – – – – – – – –" in said
    said = text(client, f"/dark-cals/{NEW}/map")
    assert "Uncertainty, e⁻/s –" in said and "Flags alone" not in said
    assert f"Calibration {NEW} has no uncertainties." in text(
        client, f"/dark-cals/{NEW}/map?layer=sigma"
    )
    assert "has no flags." in text(client, f"/dark-cals/{NEW}/flags.png?bits=1", 404)


def test_without_a_star_catalogue_the_page_asks_for_it(client: FlaskClient, archive: Path):
    assert "Right ascension 291.3071 deg" in text(client, f"/dark-cals/{NEW}")
    change(archive / NEW / "properties.json", ra=None)
    page = client.get(f"/dark-cals/{NEW}").text
    assert f'href="/jobs/new/dark_cal.set_info?dark_id={NEW}"' in page
    assert "Right ascension" not in page


def test_a_broken_image_is_named(client: FlaskClient, archive: Path):
    path = archive / NEW / "image.fits"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:100_000])
    said = text(client, f"/dark-cals/{NEW}", 500)
    assert f"{path} ends within the pixels of an HDU" in said
    assert text(client, f"/dark-cals/{NEW}/map", 500).count(str(path)) == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/dark-cals/2009280", "There is no dark calibration 2009280."),
        ("/dark-cals/2009279-r7", "There is no dark calibration 2009279-r7."),
        ("/dark-cals/2009190-staged", "There is no dark calibration 2009190-staged."),
        ("/dark-cals/20092790", "20092790 is no dark calibration. An id is year and day of year"),
        ("/dark-cals/raw/map", "raw is no dark calibration."),
    ],
)
def test_what_is_not_there(client: FlaskClient, archive: Path, url: str, said: str):
    assert said in text(client, url, 404)


# --- The map


def facts(page: str) -> dict[str, str]:
    found = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page.split('id="pixel"')[1])
    return dict(found)


def test_one_pixel_in_numbers(client: FlaskClient, archive: Path):
    page = client.get(f"/dark-cals/{NEW}/map?row=204&col=-455&zoom=16").text
    # sigma: 25 e- of read noise and 3377 x 15 e- of signal, as the builder makes it.
    sigma = np.hypot(3.8, np.sqrt(3377 * 15) * 0.5356 / 5)
    assert facts(page) == {
        "Dark current, e⁻/s": "3377.0",
        "Uncertainty, e⁻/s": f"{sigma:.1f}",
        "Samples": "5",
        "Flags": "warm, hot",
        f"{OLD}, e⁻/s": f"{88 / 0.7:.1f}",
        "Difference, e⁻/s": f"{3377 - 88 / 0.7:.1f}",
    }
    assert "Row 204, column −455 quadrant D" in str(Text(page))
    cells = re.findall(r'<text class="m (?:hi|lo)"[^>]*>([^<]+)</text>', page)
    assert sorted(cells) == sorted(["30"] * 63 + ["3377"])
    found = data(client, f"/api/v1/dark-cals/{NEW}/pixel?row=204&col=-455")
    assert (found["value"], found["flags"], found["quadrant"]) == (3377.0, ["warm", "hot"], "D")
    assert found["diff"] == pytest.approx(3377 - 88 / 0.7)
    gap = data(client, f"/api/v1/dark-cals/{NEW}/pixel?row=5&col=7")
    assert (gap["sigma"], gap["samples"], gap["flags"]) == (None, 0, ["missing", "filled"])


@pytest.mark.parametrize(
    ("row", "col", "quadrant"), [(-1, 0, "A"), (-1, -1, "B"), (0, 0, "C"), (0, -1, "D")]
)
def test_quadrants(client: FlaskClient, archive: Path, row: int, col: int, quadrant: str):
    found = data(client, f"/api/v1/dark-cals/{NEW}/pixel?row={row}&col={col}")
    assert found["quadrant"] == quadrant


def box(page: str) -> str:
    return str(re.findall(r'<svg viewBox="([^"]+)" role="group"', page)[0])


def test_windows_stay_on_the_ccd_and_links_move_them(client: FlaskClient, archive: Path):
    base = f"/dark-cals/{NEW}/map"
    assert box(client.get(base).text) == "0 0 1024 1024"
    page = client.get(f"{base}?row=511&col=-512&zoom=4").text
    assert box(page) == "0 0 256 256"
    steps = {
        name: href.replace("&amp;", "&")
        for name, href in re.findall(r'data-step="(\w+)" href="([^"]+)">', page)
    }
    assert set(steps) == {"in", "out", "down", "right"}  # it is the upper left corner
    assert box(client.get(steps["in"]).text) == "64 64 128 128"
    assert box(client.get(steps["out"]).text) == "0 0 512 512"
    assert box(client.get(steps["down"]).text) == "0 128 256 256"
    assert box(client.get(steps["right"]).text) == "128 0 256 256"
    cells = re.findall(r'<a href="([^"]+)" aria-label="Zoom', page)
    assert len(cells) == 16
    # The first is the lower left one: 64 pixels wide, 192 below the top.
    assert box(client.get(cells[0].replace("&amp;", "&")).text) == "0 192 64 64"
    assert "aria-label" in client.get(f"{base}?zoom=64").text


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("row=512", "“512” is no row of the CCD. Rows and columns are -512 to 511."),
        ("col=left", "“left” is no col of the CCD."),
        ("zoom=3", "“3” is no zoom. Zooms are 1, 2, 4, 8, 16, 32, 64."),
        ("bits=512", "“512” are no flags."),
        ("layer=x", "There is no layer 'x'. Layers are image, sigma, mask, other, diff."),
    ],
)
def test_wrong_windows(client: FlaskClient, archive: Path, query: str, said: str):
    assert said in text(client, f"/dark-cals/{NEW}/map?{query}", 400)


def test_the_picture_is_the_ccd_pixel_by_pixel(client: FlaskClient, archive: Path):
    picture = colours(client.get(f"/dark-cals/{NEW}/map.png").data)
    assert picture.shape == (1024, 1024, 4)
    palette = pixels.make_palette()
    # The scale is logarithmic from 3 to 3000 e-/s: 30 is a third of it.
    usual, brightest = palette[1 + round(253 / 3)], palette[254]
    assert (picture[0, 0, :3] == usual).all()
    # Row up, column right: the first row of the picture is CCD row 511.
    assert (picture[511 - 204, 512 - 455, :3] == brightest).all()
    assert tuple(picture[511 - GAP[0], 512 + GAP[1]]) == (0xB0, 0x1C, 0x12, 255)
    different = (picture[..., :3] != usual).any(axis=2)
    assert different.sum() == 2
    cut = colours(client.get(f"/dark-cals/{NEW}/map.png?zoom=16&row0=190&col0=-470").data)
    np.testing.assert_array_equal(cut, picture[512 - 190 - 64 : 512 - 190, 42 : 42 + 64])
    small = colours(client.get(f"/dark-cals/{NEW}/map.png?small=1").data)
    assert small.shape == (256, 256, 4)
    assert tuple(small[(511 - GAP[0]) // 4, (512 + GAP[1]) // 4]) == (0xB0, 0x1C, 0x12, 255)


def test_the_difference_is_at_one_temperature(client: FlaskClient, archive: Path):
    url = f"/dark-cals/{NEW}/map.f32?layer="
    difference, other, image = (
        np.frombuffer(gzip.decompress(client.get(url + layer).data), "<f4").reshape(1024, 1024)
        for layer in ("diff", "other", "image")
    )
    with fits.open(archive / NEW / "image.fits") as hdus:
        np.testing.assert_array_equal(image, hdus[0].data)
    np.testing.assert_allclose(other, np.where(image == 3377, 88 / 0.7, 20.0), rtol=1e-6)
    np.testing.assert_allclose(difference, image - other, rtol=1e-6)
    picture = colours(client.get(f"/dark-cals/{NEW}/map.png?layer=diff").data)
    # 10 of -1000 to 1000 on a scale that is even up to 10: arsinh of a tenth.
    place = (np.arcsinh(1.0) + np.arcsinh(100)) / (2 * np.arcsinh(100))
    assert (picture[0, 0, :3] == pixels.make_palette()[1 + round(253 * place)]).all()


def test_flags_lie_over_the_map(client: FlaskClient, archive: Path):
    flagged = colours(client.get(f"/dark-cals/{NEW}/flags.png?bits={COSMIC}&bits={HOT}").data)
    expected = np.zeros((1024, 1024), bool)
    expected[511, 512:522] = expected[511 - 204, 512 - 455] = True  # row 0 is the 512th from above
    np.testing.assert_array_equal(flagged[..., 3] > 0, expected)
    page = client.get(f"/dark-cals/{NEW}/map?bits={COSMIC | HOT}").text
    assert re.findall(r'name="bits" value="(\d+)" checked', page) == [str(HOT), str(COSMIC)]
    counts = re.findall(r'> (\w+)</label>.*?<span class="n">(\d+)</span>', page)
    assert dict(counts) == {
        "missing": "1", "few": "0", "saturated": "0", "scatter": "0", "warm": "1", "hot": "1",
        "cosmic": "10", "low": "0", "filled": "1",
    }  # fmt: skip
    assert MISSING | FILLED == 257
    alone = client.get(f"/dark-cals/{NEW}/map?layer=mask").text
    assert "bits=511" in alone and 'class="pic"' not in alone


def test_pictures_are_kept_by_the_hash_of_their_content(client: FlaskClient, archive: Path):
    def sources() -> list[str]:
        page = client.get(f"/dark-cals/{NEW}/map?layer=diff&bits=64").text
        found = re.findall(r'(?:href|data-\w+)="(/[^"]+(?:png|f32)\?[^"]*v=[^"]+)"', page)
        return [each.replace("&amp;", "&") for each in found]

    before = sources()
    assert len(before) >= 5
    for each in before:
        response = client.get(each)
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable", each
    stale = re.sub("v=[0-9a-f]{12}", "v=000000000000", before[0])
    assert client.get(stale).headers["Cache-Control"] == "no-store"
    assert client.get(f"/dark-cals/{NEW}/map").headers["Cache-Control"] == "no-store"
    change(archive / OLD / "properties.json", ccd_temp=-18.0)
    changed = [new != old for new, old in zip(sources(), before, strict=True)]
    is_difference = ["diff" in each for each in before]
    assert changed == is_difference and any(changed)


def test_without_temperature_there_is_no_difference(client: FlaskClient, archive: Path):
    change(archive / NEW / "properties.json", ccd_temp=None)
    page = client.get(f"/dark-cals/{NEW}/map").text
    assert "layer=diff" not in page and "data-blink=" not in page
    said = text(client, f"/dark-cals/{NEW}/map?layer=diff")
    assert "cannot be brought to one temperature: not both have one." in said
    said = text(client, f"/dark-cals/{NEW}/compare/{OLD}")
    assert "cannot be brought to one temperature" in said and "Every pixel in both" not in said
    assert client.get(f"/dark-cals/{NEW}?map=diff").status_code == 200


def test_the_first_calibration_has_nothing_before_it(client: FlaskClient, archive: Path):
    said = text(client, f"/dark-cals/{OLD}")
    assert "Newly hot pixels there is no calibration before" in said
    assert "There is no calibration to compare" in text(client, f"/dark-cals/{OLD}/map?layer=diff")
    assert client.get(f"/dark-cals/{OLD}/map.png?layer=diff&with={NEW}").status_code == 200


# --- Two calibrations


def test_two_calibrations_side_by_side(client: FlaskClient, archive: Path):
    said = text(client, f"/dark-cals/{NEW}/compare/{OLD}")
    assert f"{NEW} minus {OLD}" in said
    assert "T_CCD, °C −15.00 −19.00 +4.00" in said
    assert "Mean, e⁻/s 30.0 14.0 +16.0" in said
    assert "N > 3000 1 0 +1" in said
    assert "both at −15.0 °C, one factor for all pixels" in said
    rows = {row["statistic"]: row for row in rows_of(client, f"/dark-cals/{NEW}/compare/{OLD}.csv")}
    assert float(rows["Mean"][NEW]) == pytest.approx(30 + 3347 / (1024**2 - 1))
    found = data(client, f"/api/v1/dark-cals/{OLD}/compare/{NEW}")["statistics"]
    assert {row["statistic"]: row["change"] for row in found}["Mean near peak"] == -16.0
    assert client.get(f"/dark-cals/{NEW}/compare").location == f"/dark-cals/{NEW}/compare/{OLD}"
    chosen = client.get(f"/dark-cals/{NEW}/compare?this={OLD}&other={NEW}").location
    assert chosen == f"/dark-cals/{OLD}/compare/{NEW}"


def test_every_pixel_counts_once_in_the_density(client: FlaskClient, archive: Path):
    picture = colours(client.get(f"/dark-cals/{NEW}/density.png?with={OLD}").data)
    assert picture.shape == (256, 256, 4)

    def place(value: float) -> int:
        low, high = np.arcsinh(-3), np.arcsinh(1000)  # -30 to 10 000 e-/s, even up to 10
        return int(255 * (np.arcsinh(value / 10) - low) / (high - low))

    rows, cols = np.nonzero(picture[..., 3])
    near = (abs(255 - rows - place(30)) < 3) & (abs(cols - place(20)) < 3)
    hot = (abs(255 - rows - place(3377)) < 2) & (abs(cols - place(88 / 0.7)) < 2)
    assert near.any() and hot.sum() == 1 and (near | hot).all()


# --- Reports as files


def test_reports_stand_alone_under_their_own_policy(client: FlaskClient, home: Home):
    report = home.root / "www" / "dark_cal" / "2009_oct"
    report.mkdir(parents=True)
    (report / "index.html").write_text("<!doctype html><style>p{color:red}</style><p>Report")
    (report / "hist_diff.png").write_bytes(b"picture")
    response = client.get("/www/dark_cal/2009_oct/index.html")
    assert response.headers["Content-Security-Policy"] == (
        "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; form-action 'none';"
        " base-uri 'none'; frame-ancestors 'none'"
    )
    assert (response.mimetype, response.headers["Cache-Control"]) == ("text/html", "no-cache")
    picture = client.get("/www/dark_cal/2009_oct/hist_diff.png")
    assert (picture.data, picture.mimetype) == (b"picture", "image/png")
    assert "'unsafe-inline'" not in picture.headers["Content-Security-Policy"]
    assert client.get("/www/dark_cal/2009_oct/").location == "/www/dark_cal/2009_oct/index.html"
    assert client.get("/www/dark_cal/").status_code == 404  # no list has been made


@pytest.mark.parametrize(
    "path",
    ["../../state/secret_key", "..%2f..%2fstate/secret_key", "2009_oct/../../x", "link/secret_key",
     "nothing/index.html", "9999999-staged/x", "..-staged/x", "%00", "2009279-staged/../../x"],
)  # fmt: skip
def test_nothing_else_is_given_as_a_report(client: FlaskClient, home: Home, path: str):
    folder = home.root / "www" / "dark_cal"
    folder.mkdir(parents=True)
    (folder / "link").symlink_to(home.state)
    (home.state / "secret_key").write_text("secret")
    response = client.get(f"/www/dark_cal/{path}")
    assert response.status_code in (302, 308, 404) and b"secret\n" not in response.data
    assert response.data != b"secret"


def test_the_report_page_links_its_files(client: FlaskClient, archive: Path, home: Home):
    folder = home.root / "www" / "dark_cal" / "2009_oct"
    folder.mkdir(parents=True)
    for name in ("index.html", "hist_cum.png"):
        (folder / name).touch()
    page = client.get(f"/dark-cals/{NEW}").text
    assert '<a class="btn" href="/www/dark_cal/2009_oct/index.html">Report</a>' in page
    assert re.findall(r'href="(/www/[^"]+png)"', page) == ["/www/dark_cal/2009_oct/hist_cum.png"]


# --- Other pages


def test_search_finds_a_calibration(client: FlaskClient, archive: Path, home: Home, night: Night):
    deliver(home, "2023317", 1)
    for asked, place in {
        NEW: f"/dark-cals/{NEW}",
        "2023317": "/dark-cals/2023317",
    }.items():
        assert client.get(f"/search?q={asked}").location == place
    assert client.get("/search?q=2009280").status_code == 404
    job = night.submit("dark_cal.gate", dark_id="2023317")
    name = "2023_317_VC2_Replica1_SFDU_31081.gz"
    product = NewProduct("out", "vc2", f"aca_dark/raw/2023317/{name}", 1, "ab")
    night.finish(night.claim(job), products=(product,))
    assert client.get(f"/search?q={name}").location == f"/jobs/{job[-8:]}"


def test_jobs_lead_to_the_calibration(client: FlaskClient, night: Night):
    job = night.submit("dark_cal.gate", dark_id="2023317")
    page = client.get(f"/jobs/{job[-8:]}").text
    assert '<a href="/dark-cals/2023317">dark calibration 2023317</a>' in page
    event = data(client, f"/api/v1/jobs/{job}")["job"]["event_id"]
    assert 'href="/dark-cals/2023317"' in client.get(f"/events/{event}").text


def test_every_page_fits_the_budget(client: FlaskClient, staged: Path, night: Night):
    for _ in range(12):
        night.submit("dark_cal.process", dark_id=NEW)
    for page in ("", f"/{NEW}", "/2010012", f"/{NEW}/map?zoom=8&bits=511", f"/{NEW}/compare/{OLD}"):
        content = client.get(f"/dark-cals{page}").data
        assert len(content) <= BUDGET, page
        assert not re.search(rb'\sstyle="|<style|<script(?! src="/static/)|\son\w+="', content), (
            page
        )
