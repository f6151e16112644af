"""The telemetry pages on quantities of known value, and on the real files."""

from __future__ import annotations

import csv
import html
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import plotly
import pytest
import tables
from astropy.io import fits
from flask.testing import FlaskClient

from acaflow.archive import aca_hdr3
from acaflow.errors import InputError
from acaflow.paths import Home
from services.web import CONTENT_POLICY, quantities
from tests.services.web.test_level0 import archive
from tests.services.web.test_pages import BUDGET, Text, data, text
from tests.support.l0 import BASE_TIME, deliver

FIRST = BASE_TIME - 0.848
SPAN = "start=2019:270:19:32:09&stop=2019:270:19:36:30"
COUNTS = 16000 + np.arange(24)
VOLT = 0.30518e-3
"""1 LSB of the +5 V supply (aca-archive 6.2)."""


@pytest.fixture
def filled(home: Home) -> Path:
    """Slot 0 in 8x8: 24 images, 10 missing, 24 images; slot 3 in 6x6."""
    words = {"HD3TLM76": COUNTS // 256, "HD3TLM77": COUNTS % 256}
    archive(home, slot=0, rows=24, values=words)
    archive(home, slot=0, rows=24, values=words, frame=34 * 16)
    temperatures = np.where(np.arange(40) < 10, 263.55, 263.95).astype(np.float32)
    quality = (np.arange(40) == 39).astype(int)
    values = {"TEMPCCD": temperatures, "QUALITY": quality}
    return archive(home, slot=3, imgsize=6, rows=40, values=values)


def statistics(page: str) -> dict[str, list[str]]:
    """The rows of the table of statistics by MSID, without the link and the meaning."""
    table = page.split('id="h-stat"')[1].split("</table>")[0]
    rows = re.findall(r'<tr><th scope="row"><a [^>]*>(\w+)</a></th>(.*)</tr>', table)
    return {name: re.findall(r'<td class="n">([^<]*)</td>', cells) for name, cells in rows}


# --- Names


@pytest.mark.parametrize(
    ("written", "name", "slots"),
    [("ccd_temp", "CCD_TEMP", (6, 7)), ("676", "CCD_TEMP", (6, 7)), ("AD_5V_PS", "AD_5V_PS", (0,)),
     ("TempCCD_3", "TEMPCCD_3", (3,)), ("bgdavg_7", "BGDAVG_7", (7,))],
)  # fmt: skip
def test_names_and_keys_in_any_case(written: str, name: str, slots: tuple[int, ...]):
    found = quantities.find(written)
    assert found.name == name
    assert found.slots[0] == slots[0]


@pytest.mark.parametrize("written", ["FOO", "TEMPCCD_8", "TEMPCCD", "IMGRAW_3", "999"])
def test_what_is_no_msid(written: str):
    with pytest.raises(InputError, match=r"TEMPCCD_3"):
        quantities.find(written)


def test_everything_that_is_offered_can_be_found():
    names = [item.name for item in quantities.known()]
    assert len(names) == len(set(names)) == 39 + 5 * 8
    assert [quantities.find(name).name for name in names] == names


# --- The explorer


def test_statistics_are_exact(client: FlaskClient, filled: Path):
    page = client.get(f"/telemetry?msid=ad_5v_ps+TEMPCCD_3+bgdavg_3&{SPAN}").text
    # The last image before each gap has no successor: 23 of 24 samples count.
    volts = COUNTS[:23] * VOLT
    expected = [volts.min(), *np.percentile(volts, [5, 50]), volts.mean()]
    expected += [np.percentile(volts, 95), volts.max(), volts.std()]
    assert statistics(page) == {
        "AD_5V_PS": ["48", "2", *(f"{value:.4f}" for value in expected)],
        # 10 of 39 good samples are 0.4 lower.
        "TEMPCCD_3": ["40", "1", "−9.60", "−9.60", "−9.20", "−9.30", "−9.20", "−9.20", "0.17"],
        "BGDAVG_3": ["40", "1", "25", "25", "25", "25", "25", "25", "0"],
    }


def test_each_line_breaks_at_its_gaps(client: FlaskClient, filled: Path):
    page = client.get(f"/telemetry?msid=ad_5v_ps+TEMPCCD_3&{SPAN}").text
    volts, ccd = re.findall(r'<path class="l1" d="([^"]+)"', page)
    assert (volts.count("M"), ccd.count("M")) == (2, 1)
    titles = re.findall(r'<text class="t"[^>]*>([^<]+)<', page)
    assert titles == ["AD_5V_PS, V", "TEMPCCD_3, °C"]
    found = data(client, f"/api/v1/telemetry?msid=ad_5v_ps&{SPAN}")["msids"][0]
    assert [n for n, value in enumerate(found["values"]) if value is None] == [23]
    np.testing.assert_allclose(found["values"][:23], COUNTS[:23] * VOLT, rtol=1e-12)
    assert found["times"][0] == "2019-09-27T19:32:09.968Z"
    assert found["statistics"]["bad"] == 2


def test_long_spans_are_decimated_and_within_the_budget(client: FlaskClient, home: Home):
    rows = 5000
    counts = 16000 + 100 * np.sin(np.arange(rows)) + 0.5
    counts[3333] = 30_000
    words = {"HD3TLM76": counts.astype(int) // 256, "HD3TLM77": counts.astype(int) % 256}
    archive(home, slot=0, rows=rows, values=words)
    query = "msid=ad_5v_ps&start=2019:270:19:32:09&stop=2019:271:01:14:00"
    page = client.get(f"/telemetry?{query}").text
    (path,) = re.findall(r'<path class="l1" d="([^"]+)"', page)
    assert 900 <= len(re.findall("[Mlhv]", path)) <= 1000
    assert len(page.encode()) <= BUDGET
    found = data(client, f"/api/v1/telemetry?{query}")["msids"][0]
    assert max(found["values"]) == pytest.approx(30_000 * VOLT)
    assert len(found["values"]) <= 1000


@pytest.mark.parametrize(
    ("query", "field", "said"),
    [
        ("msid=FOO", "msid", "“FOO” is no MSID. Write for example CCD_TEMP, 676 or TEMPCCD_3."),
        ("msid=TEMPCCD", "msid", "TEMPCCD is in every slot. Say which, for example TEMPCCD_3."),
        ("msid=066+072+074+076+162+164+166+172+174", "msid", "9 MSIDs are too many. Give 8"),
        ("msid=dac&start=x", "start", "“x” is no time. Write for example"),
        ("msid=dac&start=2019:001&stop=2019:200", "stop", "this page shows at most 100 d 0 h"),
    ],
)
def test_wrong_input_marks_its_field(
    client: FlaskClient, filled: Path, query: str, field: str, said: str
):
    page = client.get(f"/telemetry?{query}")
    assert page.status_code == 400
    assert re.search(rf'name="{field}"[^>]*aria-invalid="true"', page.text)
    assert said in html.unescape(page.text)
    for kind in ("csv", "fits", "h5"):
        assert client.get(f"/telemetry.{kind}?{query}").status_code == 400


def test_without_samples_it_says_why_and_where_there_are_some(client: FlaskClient, filled: Path):
    said = text(client, f"/telemetry?msid=ccd_temp&{SPAN}")
    assert "CCD_TEMP has no samples between 2019:270 19:32:09 and 2019:270 19:36:30 ." in said
    assert "Header 3 exists only while its slot is read out 8×8." in said
    assert "No level-0 file" not in said


def test_an_empty_archive_and_no_msid(client: FlaskClient):
    assert "CCD_TEMP 676 CCD temperature °C 6" in text(client, "/telemetry")
    assert "No level-0 file has been archived." in text(client, "/telemetry?msid=dac")
    assert "No level-0 file has been archived." in text(client, "/telemetry/DAC")


def test_span_chips_keep_the_end(client: FlaskClient, filled: Path):
    page = html.unescape(client.get(f"/telemetry?msid=ad_5v_ps&{SPAN}").text)
    for start, label in (("2019:263:19:36:30", "7 days"), ("2019:240:19:36:30", "30 days")):
        link = f"/telemetry?msid=AD_5V_PS&start={start}&stop=2019:270:19:36:30"
        assert f'<a href="{link}">{label}</a>' in page
    earlier = "/telemetry?msid=AD_5V_PS&start=2019:270:19:27:48&stop=2019:270:19:32:09"
    assert f'<a href="{earlier}">‹ earlier</a>' in page


def test_the_notebook_lines_give_the_same_values(client: FlaskClient, filled: Path):
    page = client.get(f"/telemetry?msid=ad_5v_ps+tempccd_3&{SPAN}").text
    (lines,) = re.findall(r'<pre class="id" tabindex="0">(.*?)</pre>', page, re.DOTALL)
    made: dict[str, Any] = {}
    exec(html.unescape(lines), made)
    np.testing.assert_allclose(made["dat"]["ad_5v_ps"].vals[:23], COUNTS[:23] * VOLT, rtol=1e-12)
    assert made["slot3"]["TEMPCCD"][0] == np.float32(263.55)


def test_samples_as_a_table_page_by_page(client: FlaskClient, filled: Path):
    page = client.get(f"/telemetry?msid=ad_5v_ps+TEMPCCD_3&{SPAN}&table=1").text
    table = page.split('id="h-table"')[1]
    rows = re.findall(r"<tr><th scope=\"row\"><time[^>]*>([^<]+)</time></th>(.*)</tr>", table)
    assert len(rows) == 50
    assert rows[0][0] == "2019:270 19:32:09.968"
    cells = [re.findall(r">([^<]*)</td>", cells) for _, cells in rows]
    # Images of 6x6 come every 2.05 s, those of 8x8 every other time.
    assert cells[:3] == [["4.8829", "−9.60"], ["–", "−9.60"], ["4.8832", "−9.60"]]
    (following,) = re.findall(r'href="([^"]+)#h-table" rel="next"', page)
    said = str(Text(client.get(html.unescape(following)).text))
    assert "18 of 68, at full resolution" in said


# --- Downloads


def test_downloads_are_the_library_arrays(client: FlaskClient, filled: Path, tmp_path: Path):
    query = f"msid=ad_5v_ps+ccd_det_therm+ac_status_word&{SPAN}"
    names = ["AD_5V_PS", "CCD_DET_THERM", "AC_STATUS_WORD"]
    dat: Any = aca_hdr3.MSIDset(names, "2019:270:19:32:09", "2019:270:19:36:30")
    rows = list(csv.DictReader(io.StringIO(client.get(f"/telemetry.csv?{query}").text)))
    heads = ["AD_5V_PS [V]", "CCD_DET_THERM [degC]", "AC_STATUS_WORD"]
    assert list(rows[0]) == ["UTC", "TIME [s]", *heads]
    path = tmp_path / "x.h5"
    path.write_bytes(client.get(f"/telemetry.h5?{query}").data)
    with (
        fits.open(io.BytesIO(client.get(f"/telemetry.fits?{query}").data)) as hdus,
        tables.open_file(path) as file,
    ):
        table = hdus[1].data
        for name, head in zip(names, heads, strict=True):
            vals = dat[name].vals
            expected = vals.filled(np.nan if vals.dtype.kind == "f" else -(2**63))
            np.testing.assert_array_equal(table["TIME"], dat[name].times)
            np.testing.assert_array_equal(table[name], expected)
            assert [row[head] for row in rows] == [
                "" if value is None else repr(value) for value in vals.tolist()
            ]
            node = file.get_node(f"/{name}")
            np.testing.assert_array_equal(node[:][~vals.mask], vals.compressed())
        assert file.root.AC_STATUS_WORD_bad[:].tolist() == dat["AC_STATUS_WORD"].vals.mask.tolist()
        assert file.root._v_attrs["start"] == "2019-09-27T19:32:09.000Z"


def test_quantities_of_different_slots_share_the_times_of_a_file(client: FlaskClient, filled: Path):
    content = client.get(f"/telemetry.csv?msid=ad_5v_ps+TEMPCCD_3&{SPAN}").text
    rows = list(csv.DictReader(io.StringIO(content)))
    time = np.array([float(row["TIME [s]"]) for row in rows])
    # 40 images of slot 3 every 2.05 s, then those of slot 0 every 4.1 s that come later.
    own = [FIRST + 2.05 * np.arange(40), FIRST + 4.1 * np.r_[0:24, 34:58]]
    both = np.unique(np.round(np.concatenate(own), 3))
    np.testing.assert_allclose(time, both, rtol=0, atol=1e-6)
    assert (rows[1]["AD_5V_PS [V]"], rows[1]["TEMPCCD_3 [degC]"]) == ("", "-9.600006")
    assert (rows[-2]["TEMPCCD_3 [degC]"], rows[-1]["AD_5V_PS [V]"]) == ("", "")


def test_undecoded_bytes_come_as_one_number(client: FlaskClient, home: Home):
    archive(home, slot=5, rows=5)
    found = data(client, f"/api/v1/telemetry?msid=562&{SPAN}")["msids"][0]
    # Bytes 0 and 1 of header 3 hold 0 and 1.
    assert (found["msid"], found["values"]) == ("ZERO_OFF32_QUAD_C_LSB", [1, 1, 1, 1])


# --- One MSID


def test_one_msid(client: FlaskClient, filled: Path):
    said = text(client, "/telemetry/AD_5V_PS")
    assert "AD_5V_PS, +5 V supply" in said
    # The last but one image of the second stretch: 33 + 23 cadences after the first.
    assert "4.8896 V at 2019:270 19:35:59 , the latest good sample." in said
    assert "Key 076: slot 0, image type 7, first word 6" in said
    assert "slot 0 HD3TLM76 , slot 0 HD3TLM77 ; the most significant first" in said
    assert "8×8 4.100 2 48 2019:270 19:32:11 2019:270 19:36:09" in said
    said_by_key = text(client, "/telemetry/076")
    assert said_by_key.partition("Server")[0] == said.partition("Server")[0]


def test_one_level0_column(client: FlaskClient, filled: Path):
    said = text(client, "/telemetry/TEMPCCD_3")
    assert "−9.20 °C at 2019:270 19:33:27" in said  # the last image is bad
    assert "kelvin in the files, °C here and in downloads" in said
    assert "Slot 5 has no 6×6 or 8×8 images in the archive" in text(client, "/telemetry/TEMPCCD_5")


def test_unknown_msids_are_not_found(client: FlaskClient, filled: Path):
    assert "“FOO” is no MSID." in text(client, "/telemetry/FOO", 404)


# --- The interactive version


def test_only_the_interactive_page_has_a_looser_policy(client: FlaskClient, filled: Path):
    plain = client.get(f"/telemetry?msid=ad_5v_ps&{SPAN}")
    assert plain.headers["Content-Security-Policy"] == CONTENT_POLICY
    assert "plotly" not in plain.text
    loose = client.get(f"/telemetry?msid=ad_5v_ps&{SPAN}&interactive=1")
    policy = loose.headers["Content-Security-Policy"]
    assert "script-src 'self'; img-src 'self' data: blob:; connect-src 'self'" in policy
    assert "unsafe-eval" not in policy
    (script,) = re.findall(r'<script src="(/plotly-[^"]+)" defer>', loose.text)
    answer = client.get(script)
    source = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    assert answer.data == source.read_bytes()
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert client.get("/plotly-0.0.0.min.js").status_code == 404


# --- Real files


@pytest.mark.real
def test_real_header_3(client: FlaskClient, home: Home, real_data: Path):
    for path in sorted((real_data / "real" / "aca_l0").glob("acaf*_[02]_img0.fits.gz")):
        deliver(home.archive / "aca0", path)
    query = "msid=ccd_det_therm+ad_smohs_therm&start=686111012.493&stop=686117012.493093"
    found = {item["msid"]: item for item in data(client, f"/api/v1/telemetry?{query}")["msids"]}
    numbers = found["CCD_DET_THERM"]["statistics"]
    # Check values of aca-archive 6.7.
    assert (numbers["samples"], numbers["bad"]) == (1464, 0)
    assert (numbers["low"], numbers["high"]) == (
        pytest.approx(-9.357316463115886, abs=1e-12),
        pytest.approx(-9.263943750207607, abs=1e-12),
    )
    assert found["AD_SMOHS_THERM"]["unit"] == "degC"
    content = client.get(f"/telemetry.csv?{query}").text.splitlines()
    first = dict(zip(content[0].split(","), content[1].split(","), strict=True))
    assert float(first["CCD_DET_THERM [degC]"]) == pytest.approx(-9.34881879932285, abs=1e-12)
    assert float(first["AD_SMOHS_THERM [degC]"]) == pytest.approx(30.490962046305103, abs=1e-12)
    assert len(content) == 1465
    # The last image before the slew is garbage: masked, counted, not shown.
    end = data(client, "/api/v1/telemetry?msid=ccd_det_therm&start=686117400&stop=686117500")
    assert (end["msids"][0]["statistics"]["samples"], end["msids"][0]["statistics"]["bad"]) == (
        *(10, 1),
    )
