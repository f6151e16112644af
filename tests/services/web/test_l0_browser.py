"""The level-0 and telemetry pages in a real browser, without a complaint on its console."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from flask import Flask, Response, request

from acaflow.paths import Home
from tests.services.web.test_browser import MODES, chromium, look, server
from tests.services.web.test_level0 import archive

__all__ = ["chromium", "server"]

pytestmark = pytest.mark.browser

QUERY = "msid=ad_5v_ps+TEMPCCD_3&start=2019:270:19:32&stop=2019:270:19:35"
PAGES = (
    "/aca0",
    "/aca0/3",
    "/aca0/3?start=x",
    "/telemetry",
    f"/telemetry?{QUERY}&table=1",
    f"/telemetry?{QUERY}&interactive=1",
    "/telemetry/CCD_TEMP",
)


ZOOM = """
const wait = setInterval(() => {
  const box = document.querySelector("[data-plot].js-plotly-plot");
  if (!box?.querySelector(".scatterlayer .trace")) return;
  clearInterval(wait);
  const day = "2019-09-27";
  Plotly.relayout(box, {"xaxis.range[0]": `${day} 19:33`, "xaxis.range[1]": `${day} 19:34`});
}, 50);
"""


@pytest.mark.parametrize("mode", MODES)
def test_pages_load_clean_in_a_browser(
    home: Home, chromium: str, server: tuple[str, dict[str, str]], mode: str, tmp_path: Path
):
    archive(home, slot=0, rows=40)
    archive(home, slot=3, imgsize=6, rows=40)
    base, _ = server
    width, scheme, ground = MODES[mode]
    for page in PAGES if mode == "light" else PAGES[:2] + PAGES[4:5]:
        seen, said = look(chromium, base + page, width, scheme, tmp_path / "profile")
        is_refused = "start=x" in page
        assert [line for line in said if not (is_refused and " 400 " in line)] == [], page
        assert seen["background"] == ground, page
        assert seen["wide"] <= seen["window"], page
        assert (seen["unnamed"], seen["small"], seen["ids"], seen["cut"]) == (0, 0, 0, 0), page


def test_zooming_the_interactive_version_loads_finer_data(
    home: Home, app: Flask, chromium: str, server: tuple[str, dict[str, str]], tmp_path: Path
):
    archive(home, slot=0, rows=40)
    archive(home, slot=3, imgsize=6, rows=40)
    asked: list[str] = []

    @app.after_request
    def add_zoom(response: Response) -> Response:
        if request.path == "/api/v1/telemetry":
            asked.append(f"{request.args['start']} {response.status_code}")
        if response.mimetype == "text/html":
            page = response.get_data(as_text=True)
            response.set_data(page.replace("</head>", '<script src="/zoom.js"></script></head>'))
        return response

    app.add_url_rule("/zoom.js", "zoom", lambda: Response(ZOOM, mimetype="text/javascript"))
    command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=8000"]
    page = subprocess.run(
        [*command, f"{server[0]}/telemetry?{QUERY}&interactive=1"],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    ).stdout
    assert asked == ["2019:270:19:32:00 200", "2019-09-27T19:33 200"]
    assert page.count('class="trace scatter') == 2
    assert "AD_5V_PS, V" in page and "TEMPCCD_3, °C" in page
