"""The report of a calibration and the list of all: content, escaping, the same bytes again."""

import doctest
import hashlib
import json
from html.parser import HTMLParser

import numpy as np
import pytest

from acaflow.archive.aca_dark import dark_text
from acaflow.archive.aca_dark.combine import FILLED, MISSING
from acaflow.archive.aca_dark.dark_files import Calibration
from acaflow.archive.aca_dark.dark_report import STYLE, write_index, write_report
from acaflow.archive.aca_dark.dark_tables import HOT_ROWS, TABLES, report_tables
from acaflow.archive.aca_dark.dark_text import Column, number, percent, write_cell
from tests.support.dark_calibrations import make_calibration, passing, published_history

VOID = {"meta", "img", "path"}
THIN, MINUS = "\u202f", "\u2212"


class Page(HTMLParser):
    """Reads a page; its tags must match."""

    def __init__(self, path):
        super().__init__()
        self.open, self.tags, self.links, self.text = [], [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("href", "src")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    @property
    def words(self):
        return " ".join("".join(self.text).split())


def published(**more):
    """Return the calibration 2009279 with its published statistics, and no image to speak of."""
    image = np.zeros((1024, 1024), np.float32)
    return Calibration(image, None, None, None, published_history()[-1] | more, {})


# --- Numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (72454, 0, f"72{THIN}454"),
        (-6.1042, 4, f"{MINUS}6.1042"),
        (-0.04, 1, "0.0"),
        (0, 0, "0"),
        (None, 1, "–"),
        (float("nan"), 1, "–"),
    ],
)
def test_numbers_as_pages_write_them(value, decimals, text):
    assert number(value, decimals) == text


def test_complete_is_100_only_for_all_of_it():
    assert percent(100.0) == f"100{THIN}%"
    assert percent(99.99) == f"99.9{THIN}%"
    assert percent(0.0) == f"0.0{THIN}%"


def test_cells_of_rows():
    row = {"n": 2315, "zero": 0.0, "none": None, "used": False, "t": "2009:279:09:14:22.000"}
    assert write_cell(row, Column("n", "N", signed=True)) == f"+2{THIN}315"
    assert write_cell(row, Column("zero", "", decimals=1, signed=True)) == "0.0"
    assert write_cell(row, Column("none", "")) == "–"
    assert write_cell(row, Column("absent", "")) == ""
    assert write_cell(row, Column("used", "", kind="text")) == "no"
    assert write_cell(row, Column("t", "", kind="time")) == "2009:279 09:14:22"
    assert doctest.testmod(dark_text).failed == 0


# --- Content -------------------------------------------------------------------------------------


def test_summary_is_this_one_and_two_before_with_the_change():
    later = {"id": "2010001", "stats": {"n100": 1}}
    stale = {"id": "2009279", "stats": {"n100": 2}}
    tables = report_tables(published(), [*published_history()[:-1], stale, later])
    assert [row["id"] for row in tables["summary"]] == ["2009279", "2009190", "2009113"]
    assert [row["id"] for row in tables["mission"]][-2:] == ["2009190", "2009279"]
    assert [row["n100"] for row in tables["summary"]] == [72454, 70139, 65623]
    change = {
        column.key: write_cell(tables["change"], Column(column.key, "", "", column.decimals))
        for column in TABLES["summary"]
        if column.kind == "number"
    }
    assert change == {
        "t_ccd": "0.00",
        "mean": "0.0",
        "median": "",  # not published
        "peak": f"{MINUS}0.8",
        "mean_near_peak": f"{MINUS}0.8",
        "n100": f"2{THIN}315",
        "n200": "783",
        "n2000": f"{MINUS}1",
        "n3000": "1",
        "warm": "0.22",
    }
    json.dumps(tables, allow_nan=False)


def test_first_calibration_of_all_has_no_change():
    tables = report_tables(published(), [])
    assert [row["id"] for row in tables["summary"]] == ["2009279"]
    assert tables["change"] == {}
    assert tables["n_newly_hot"] is None


def test_hot_pixels_that_came_and_went():
    this, previous = published(), published(id="2009190")
    places = {(-312, 87): (4118.0, 1902.0), (204, -455): (3377.0, 88.0), (5, 6): (9000.0, 8000.0)}
    places |= {(-1, -1): (60.0, 3300.0), (0, 0): (3000.0, 3000.5)}
    for (row, column), (now, before) in places.items():
        this.image[row + 512, column + 512] = now
        previous.image[row + 512, column + 512] = before
    tables = report_tables(this, [], previous)
    keys = ("row", "column", "quadrant", "value", "previous", "sigma")
    assert [tuple(row[key] for key in keys) for row in tables["newly_hot"]] == [
        (-312, 87, "A", 4118.0, 1902.0, None),
        (204, -455, "D", 3377.0, 88.0, None),
    ]
    assert [tuple(row[key] for key in keys[:5]) for row in tables["recovered"]] == [
        (-1, -1, "B", 60.0, 3300.0),
        (0, 0, "C", 3000.0, 3000.5),
    ]
    assert (tables["n_newly_hot"], tables["n_recovered"], tables["previous"]) == (2, 2, "2009190")


def test_hot_pixels_without_a_sample_do_not_count_and_lists_end():
    this, previous = make_calibration(), make_calibration("2009190")
    for item in (this, previous):
        item.image[:] = 5.0
    this.image[0, :150] = 3000.0 + np.arange(1, 151)
    this.mask[0, 149] = MISSING | FILLED
    previous.mask[0, 148] = MISSING | FILLED
    tables = report_tables(this, [], previous)
    assert tables["n_newly_hot"] == 149
    assert len(tables["newly_hot"]) == HOT_ROWS == 100
    first = tables["newly_hot"][0]
    assert (first["column"], first["value"], first["previous"]) == (148 - 512, 3149.0, None)


def test_rules_one_row_each_with_the_worst_of_all_files():
    findings = passing()
    texts = {
        ("Q5", 3): ("WARN", "Q5 replica 3: 12 of 33 273 frames lost (0.0361 %); limit 0 %"),
        ("Q6", 2): ("FAIL", "Q6 replica 2: 3000 of 4096 rows (73.2 %); limit 95 %"),
        ("Q6", 4): ("WARN", "Q6 replica 4: 4095 of 4096 rows (99.97 %); limit 100 %"),
        ("Q1", None): ("WARN", "Q1: 4 of 5 replicas usable"),
    }
    for item in findings:
        if (item["rule"], item["replica"]) in texts:
            item["level"], item["text"] = texts[item["rule"], item["replica"]]
        if item["rule"] == "Q8":
            item |= {"value": 9.0 + item["replica"], "limit": 50.0, "text": f"Q8 {item['replica']}"}
    this = make_calibration()
    this.quality["findings"] = findings
    rows = {row["rule"]: row for row in report_tables(this, [])["rules"]}
    assert list(rows) == [f"Q{n}" for n in range(1, 13)]
    assert (rows["Q1"]["level"], rows["Q1"]["text"]) == ("WARN", "4 of 5 replicas usable")
    assert rows["Q5"]["text"] == "replica 3: 12 of 33 273 frames lost (0.0361 %); limit 0 %"
    assert (rows["Q6"]["level"], rows["Q6"]["count"]) == ("FAIL", 1)
    assert (rows["Q8"]["level"], rows["Q8"]["text"]) == ("PASS", "5")  # nearest to its limit
    assert rows["Q11"]["title"] == "Q11 pixels"


def test_replicas_temperatures_background_and_provenance():
    tables = report_tables(make_calibration(), published_history(), config={"b": 1, "a": [2]})
    third = tables["replicas"][2]
    assert (third["duration"], third["megabytes"], third["ccd_temp"]) == (1230.5, 37.731582, -19.0)
    assert (third["ra"], tables["replicas"][0]["ra"]) == (None, 291.3071)
    assert [(row["setpoint"], row["count"], row["coldest"]) for row in tables["setpoints"]] == [
        (-10.0, 3, -10.0),
        (-19.0, 3, -19.0),
    ]
    background = {fact["name"]: fact["value"] for fact in tables["background"]}
    assert background["Zodiacal brightness"] == 139.0
    assert background["Zodiacal light in the image"] == 1.8626
    assert background["Longitude from the Sun"] == 99.8
    facts = {fact["name"]: fact["value"] for fact in tables["provenance"]}
    assert facts["Configuration, SHA-256"] == hashlib.sha256(b'{"a": [2], "b": 1}').hexdigest()
    assert facts["Gain of quadrant D"] == 5.0
    assert [item["sha256"][:3] for item in tables["inputs"]] == ["111", "222", "333", "444", "555"]


def test_statistics_as_measured_scaled_and_without_zodiacal_light():
    this = make_calibration()
    tables = report_tables(this, [])
    measured, scaled, intrinsic = tables["statistics"]
    assert measured["mean"] * 0.7**-1 == pytest.approx(scaled["mean"], rel=1e-3)  # 4 degC warmer
    assert intrinsic["peak"] == pytest.approx(measured["peak"] - 1.8626)
    assert "n100" not in intrinsic
    assert measured["negative_fraction"] == pytest.approx(100 * (this.image < 0).mean(), rel=1e-6)
    assert tables["percentiles"][0]["p50"] == pytest.approx(np.median(this.image), rel=1e-6)
    assert [row["name"] for row in tables["quadrants"]] == ["A", "B", "C", "D"]


# --- The report ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Two reports of the same calibration, which warns, in folders side by side."""
    root = tmp_path_factory.mktemp("www")
    this = make_calibration(report="2009_oct")
    this.quality.update(level="WARN", complete=99.96)
    found = next(item for item in this.quality["findings"] if item["rule"] == "Q5")
    found |= {"level": "WARN", "text": "Q5 replica 1: 12 of 33 273 frames lost (0.0361 %)"}
    history = [item | {"report": "x"} for item in published_history()]
    previous = make_calibration("2009190")
    for name in ("one", "two"):
        names = write_report(root / name, this, history, previous)
    return root, names


def test_report_is_a_folder_of_its_own(report):
    root, names = report
    assert sorted(path.name for path in (root / "one").iterdir()) == sorted(names)
    assert len(names) == 13
    page = Page(root / "one" / "index.html")
    assert "script" not in page.tags
    for link in page.links:
        assert ":" not in link
        outside = ("../index.html", "../warm_", "../peak_", "../x/index.html")
        assert (root / "one" / link).exists() or link.startswith(outside), link
    assert json.loads((root / "one" / "properties.json").read_text())["id"] == "2009279"
    assert json.loads((root / "one" / "quality.json").read_text())["level"] == "WARN"
    assert json.loads((root / "one" / "summary.json").read_text())["n_used"] == 5


def test_report_opens_with_its_verdict_and_the_reason(report):
    root, _ = report
    words = Page(root / "one" / "index.html").words
    begin = words.index("Dark calibration 2009279warn, telemetry 99.9 % complete")
    assert begin < words.index("1 rule warns.Q5 lost frames: replica 1: 12 of") < 4000
    assert words.index("1 rule warns.") < words.index("Summary")


def test_report_has_every_section_of_the_reference(report):
    root, _ = report
    words = Page(root / "one" / "index.html").words
    for title in (
        *("Summary", "Background brightness and intrinsic dark current", "Procedure"),
        *("CCD temperature of the replicas", "CCD temperature", "Over the mission"),
        *("Dark map", "Histogram", "Replicas", "Quality rules", "Newly hot pixels"),
        *("Recovered pixels", "Provenance", "Statistics", "Quadrants", "Percentiles"),
    ):
        assert title in words, title
    assert "5 pointings about 2 arcmin apart, at each two full frames, of 5.008 and 10.000" in words
    assert "Change since 2009190" in words


def test_report_again_is_the_same_bytes(report):
    root, names = report
    for name in names:
        assert (root / "one" / name).read_bytes() == (root / "two" / name).read_bytes(), name


def test_style_sheet_is_small_and_fetches_nothing():
    assert len(STYLE) < 4000
    assert "url(" not in STYLE
    assert "@import" not in STYLE


def test_hostile_text_stays_text(tmp_path):
    evil = "\"><script>alert('1')</script>"
    this = make_calibration(report=evil, combine=evil, versions={evil: evil})
    this.properties["replicas"][0] |= {"file": evil, "ccd_temp_source": "HDR3"}
    this.properties["inputs"][0]["path"] = evil
    this.quality["findings"][0] |= {"level": "FAIL", "text": evil}
    this.quality.update(level="WARN", forced={"user": evil, "reason": evil})
    history = [{"id": "2009190", "report": "javascript:alert(1)", "quality": evil}]
    write_report(tmp_path / "report", this, history)
    write_index(tmp_path, [*history, this.properties], {"2009190": "javascript:alert(1)"})
    for path in (tmp_path / "report" / "index.html", tmp_path / "index.html"):
        page = Page(path)
        assert "script" not in page.tags
        assert not [link for link in page.links if ":" in link or '"' in link or "<" in link]
    assert (
        f"Published on request of {evil}: {evil}" in Page(tmp_path / "report" / "index.html").words
    )


def test_imported_calibration_says_what_it_lacks(tmp_path):
    bare = Calibration(
        np.ones((1024, 1024), np.float32), None, None, None, {"id": "2012001", "date": ""}, {}
    )
    names = write_report(tmp_path, bare, [])
    words = Page(tmp_path / "index.html").words
    assert "Dark calibration 2012001not judged" in words
    assert "Uncertainty: not drawn. This calibration has no uncertainties" in words
    assert "The attitude of this calibration is unknown." in words
    assert "sigma_map.png" not in names
    assert "None" not in words
    assert "nan" not in words.split()


# --- The list ------------------------------------------------------------------------------------


def test_index_lists_the_newest_first(tmp_path):
    history = published_history()
    history[-1]["stats"]["scaled"] = {"n100": 120000}
    history[0]["report"] = "1999_aug"
    names = write_index(tmp_path, history, {"2009279": "2009_oct/"})
    # the zodiacal brightness was not published
    assert names == ["index.html", "index.json", "warm_frac.png", "warm_counts.png"]
    listed = json.loads((tmp_path / "index.json").read_text())["calibrations"]
    assert [row["id"] for row in listed] == [
        *("2009279", "2009190", "2009113", "2002338", "2000326", "1999223")
    ]
    assert listed[0] == {
        "id": "2009279",
        "date": "2009:279",
        "t_ccd": -19.0,
        "peak": 6.7,
        "n100": 72454,
        "n100_scaled": 120000,
        "quality": "PASS",
        "link": "2009_oct/",
    }
    assert (listed[1]["link"], listed[-1]["link"]) == (None, "1999_aug/index.html")
    page = Page(tmp_path / "index.html")
    assert {"2009_oct/", "1999_aug/index.html", "index.json", "warm_frac.png"} < set(page.links)
    assert page.words.index("2009279") < page.words.index("1999223")


def test_index_of_an_empty_archive_says_so(tmp_path):
    assert write_index(tmp_path, []) == ["index.html", "index.json"]
    assert "None yet." in Page(tmp_path / "index.html").words
    assert json.loads((tmp_path / "index.json").read_text()) == {"calibrations": []}
