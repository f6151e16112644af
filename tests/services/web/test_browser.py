"""The pages in a real browser: light, dark and narrow, without a complaint on its console."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask, Response, request
from werkzeug.serving import make_server

from tests.services.web.conftest import Night, fill
from tests.support.servers import missing

pytestmark = pytest.mark.browser

PROBE = """
addEventListener("load", () => {
  const root = document.documentElement;
  const targets = [...document.querySelectorAll("button, input:not([type=hidden]), select")];
  const boxes = [...document.querySelectorAll(".scroll:has(.list)")];
  const skip = document.querySelector(".skip");
  skip.focus();
  const skipWidth = skip.getBoundingClientRect().width;
  skip.blur();
  const out = document.createElement("output");
  out.id = "probe";
  out.textContent = JSON.stringify({
    wide: root.scrollWidth, window: root.clientWidth,
    background: getComputedStyle(root).backgroundColor,
    small: targets.filter(t => { const r = t.getBoundingClientRect();
      return r.width && r.height < 13; }).length,
    unnamed: targets.filter(t => !(t.labels?.length || t.ariaLabel || t.textContent.trim())).length,
    ids: [...document.querySelectorAll("[id]")].length
      - new Set([...document.querySelectorAll("[id]")].map(e => e.id)).size,
    cut: boxes.filter(box => box.scrollWidth > box.clientWidth).length,
    skip: skipWidth, hidden: skip.getBoundingClientRect().width,
    sheet: getComputedStyle(document.querySelector(".top")).display,
  });
  document.body.append(out);
});
"""

MODES = {
    "light": (1400, "1", "rgb(253, 253, 251)"),
    "dark": (1400, "0", "rgb(21, 23, 26)"),
    "narrow": (400, "1", "rgb(253, 253, 251)"),
}
"""Window width, Chromium's preferred colour scheme, and the ground of design 2."""


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        missing("a browser (chromium on PATH)")
    return str(found)


@pytest.fixture
def server(app: Flask, night: Night) -> Iterator[tuple[str, dict[str, str]]]:
    """The application on a port of this host, with a probe in its pages; job ids by state."""
    ids = fill(night)
    long = f"a_{'long' * 50}_name.fits.gz"
    night.refuse(long, f"no rule knows the name {long}")

    @app.after_request
    def add_probe(response: Response) -> Response:
        if response.mimetype == "text/html" and not request.path.startswith("/fragments"):
            probe = '<script src="/probe.js"></script></head>'
            response.set_data(response.get_data(as_text=True).replace("</head>", probe))
        return response

    app.add_url_rule("/probe.js", "probe", lambda: Response(PROBE, mimetype="text/javascript"))
    made = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}", ids
    made.shutdown()


def look(chromium: str, url: str, width: int, scheme: str, profile: Path) -> tuple[dict, list[str]]:
    """Load a page; return what the probe saw and what the console said."""
    done = subprocess.run(
        [
            chromium,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            f"--user-data-dir={profile}",
            f"--window-size={width},1100",
            f"--blink-settings=preferredColorScheme={scheme}",
            "--virtual-time-budget=4000",
            "--dump-dom",
            url,
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    probe = re.search(r'<output id="probe">(.*?)</output>', done.stdout)
    assert probe is not None, done.stdout[-500:]
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(probe[1]), said


@pytest.mark.parametrize("mode", MODES)
def test_pages_load_clean_in_a_browser(
    chromium: str, server: tuple[str, dict[str, str]], mode: str, tmp_path: Path
):
    base, ids = server
    width, scheme, ground = MODES[mode]
    pages = ["/", "/jobs", f"/jobs/{ids['running'][-8:]}", f"/jobs/{ids['bad'][-8:]}"]
    pages += ["/quarantine", "/jobs/new/ingest.reindex_l0_file", "/events", "/dead", "/nothing"]
    for page in pages:
        seen, said = look(chromium, base + page, width, scheme, tmp_path / "profile")
        expected_404 = [line for line in said if "404" not in line or page != "/nothing"]
        assert expected_404 == [], page
        assert seen["background"] == ground, page
        assert seen["wide"] <= seen["window"], page
        assert seen["sheet"] == "flex", page
        assert (seen["unnamed"], seen["small"], seen["ids"], seen["cut"]) == (0, 0, 0, 0), page
        assert seen["skip"] > 60 and seen["hidden"] == 1, page
