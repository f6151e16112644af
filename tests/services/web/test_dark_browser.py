"""The dark-calibration pages in a real browser, and the viewer of the dark map with its script."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from flask import Flask, Response, request

from acaflow.archive.aca_dark.combine import WARM
from acaflow.paths import Home
from tests.services.web.test_browser import MODES, chromium, look, server
from tests.services.web.test_dark import NEW, OLD, archive, deliver, made

__all__ = ["archive", "chromium", "made", "server"]

pytestmark = pytest.mark.browser

PAGES = (
    "/dark-cals",
    f"/dark-cals/{NEW}",
    "/dark-cals/2023317",
    f"/dark-cals/{NEW}/map?row=204&col=-455&zoom=16&bits=16",
    f"/dark-cals/{NEW}/map?layer=diff",
    f"/dark-cals/{NEW}/compare/{OLD}",
)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.usefixtures("archive")
def test_pages_load_clean_in_a_browser(
    home: Home, chromium: str, server: tuple[str, dict[str, str]], mode: str, tmp_path: Path
):
    deliver(home, "2023317", 1, 2)
    width, scheme, ground = MODES[mode]
    for page in PAGES if mode == "light" else PAGES[1:4:2]:
        seen, said = look(chromium, server[0] + page, width, scheme, tmp_path / "profile")
        assert said == [], page
        assert seen["background"] == ground, page
        assert seen["wide"] <= seen["window"], page
        assert (seen["unnamed"], seen["small"], seen["ids"], seen["cut"]) == (0, 0, 0, 0), page


USE = """
addEventListener("load", async () => {
  const wait = ms => new Promise(done => setTimeout(done, ms));
  await wait(200);
  const svg = document.querySelector(".ccd svg"), frame = svg.getBoundingClientRect();
  svg.setPointerCapture = () => {};
  const scale = frame.width / 1024;
  const point = (type, x, y, more) => {
    const place = { clientX: frame.left + x * scale, clientY: frame.top + y * scale };
    const kind = type === "wheel" ? WheelEvent : PointerEvent;
    svg.dispatchEvent(new kind(type, { ...place, bubbles: true, cancelable: true, ...more }));
  };
  const seen = {};
  // Row 204, column -455 is the pixel at 57, 307 of the whole CCD.
  point("pointermove", 57.5, 307.5);
  await wait(1000);
  point("pointermove", 57.5, 307.5);
  seen.under = document.querySelector("#under").textContent;
  for (const _ of [1, 2]) point("wheel", 512, 512, { deltaY: -1 });
  seen.zoomed = svg.getAttribute("viewBox");
  point("pointerdown", 500, 500);
  point("pointermove", 700, 500);
  point("pointerup", 700, 500);
  seen.dragged = svg.getAttribute("viewBox");
  document.querySelector("[data-step=up]").click();
  seen.stepped = svg.getAttribute("viewBox");
  point("pointerdown", 514, 510);
  point("pointerup", 514, 510);
  await wait(500);
  seen.pixel = document.querySelector("#h-px").textContent;
  document.querySelector(".flags [type=checkbox][value='16']").click();
  seen.over = svg.querySelector(".over").getAttribute("href");
  document.querySelector("[data-blink-button]").click();
  seen.turn = svg.querySelector(".turn").getAttribute("href");
  await wait(900);
  seen.back = svg.querySelector(".turn");
  seen.address = location.search;
  const out = document.createElement("output");
  out.id = "used";
  out.textContent = JSON.stringify(seen);
  document.body.append(out);
});
"""


@pytest.mark.usefixtures("archive")
def test_the_map_is_moved_read_and_blinked_in_place(
    app: Flask, chromium: str, server: tuple[str, dict[str, str]], tmp_path: Path
):
    @app.after_request
    def add_use(response: Response) -> Response:
        if response.mimetype == "text/html" and not request.path.startswith("/fragments"):
            page = response.get_data(as_text=True)
            response.set_data(page.replace("</head>", '<script src="/use.js"></script></head>'))
        return response

    app.add_url_rule("/use.js", "use", lambda: Response(USE, mimetype="text/javascript"))
    command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000"]
    page = subprocess.run(
        [*command, "--window-size=1400,1400", f"{server[0]}/dark-cals/{NEW}/map"],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    ).stdout
    seen = json.loads(
        re.findall(r'<output id="used">(.*?)</output>', page)[0].replace("&amp;", "&")
    )
    assert seen["under"] == "Row 204, column −455: 3377.0 e⁻/s"
    assert seen["zoomed"] == "384 384 256 256"  # the middle stays where it is
    assert seen["dragged"] == "334 384 256 256"  # 200 of 1024 of 256 to the left
    assert seen["stepped"] == "334 256 256 256"
    # 128.5 pixels from the lower left corner, which is row 0, column 334 - 512.
    assert seen["pixel"] == "Row 128, column −50"
    assert seen["over"].startswith(f"/dark-cals/{NEW}/flags.png?")
    assert seen["over"].endswith(f"bits={WARM}")
    assert f"with={OLD}" in seen["turn"] and "layer=other" in seen["turn"]
    assert seen["back"] is None
    query = dict(part.split("=") for part in seen["address"][1:].split("&"))
    assert query == {
        "row": "128", "col": "-50", "zoom": "4", "row0": "0", "col0": "-178", "bits": "16",
    }  # fmt: skip
    assert 'aria-label="Zoom to rows' not in page  # the links of the page without script
