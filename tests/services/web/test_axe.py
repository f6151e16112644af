"""Every kind of page passes axe in light, narrow and dark (design 10)."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from flask import Flask
from playwright.sync_api import Page, sync_playwright
from werkzeug.serving import make_server

from acaflow.archive.aca_dark.dark_files import read_calibration
from acaflow.archive.aca_dark.dark_report import write_index, write_report
from acaflow.paths import Home
from tests.services.web.conftest import Night, fill
from tests.services.web.test_browser import chromium
from tests.services.web.test_dark import NEW, OLD, archive, deliver, made, staged
from tests.services.web.test_l0_browser import QUERY
from tests.services.web.test_level0 import archive as archive_l0

__all__ = ["archive", "chromium", "made", "staged"]

pytestmark = pytest.mark.browser

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"]
COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
MODES: Mapping[str, tuple[int, Any, Any]] = {
    "light": (1400, "light", TAGS),
    "dark": (1400, "dark", COLOURS),
    "narrow": (400, "light", TAGS),
}
"""Width, colour scheme and rules; of all rules, the two of `COLOURS` depend on the scheme."""

SMALLEST = """Math.min(...[...document.querySelectorAll(".plot text, .pixels text, .key text")].map(
  text => parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a))"""
"""Font size in drawings, px on the screen; infinite without drawings."""

FEWER_ROWS = """
document.querySelectorAll("tbody tr:nth-child(n+16)").forEach(row => row.remove())"""
"""The rows below are like those above, and axe takes its time for each cell."""

JOBS = ("running", "done", "bad", "locked", "retried")
PAGES = (
    *("/", "/jobs", "/jobs?state=dead&task=nothing", "/jobs?start=x", "/jobs/new"),
    *("/events", "/events?kind=job.requested", "/quarantine", "/dead", "/products"),
    *("/search?q=acaf", "/search?q=nothing", "/help/keys", "/nothing"),
    *("/aca0", "/aca0?day=x", "/aca0/3", "/aca0/3?start=x"),
    *("/telemetry?msid=nothing", "/telemetry/CCD_TEMP"),
    *(f"/telemetry?{QUERY}&table=1", f"/telemetry?{QUERY}&interactive=1"),
    *("/dark-cals", f"/dark-cals/{NEW}", "/dark-cals/2010012", "/dark-cals/2023317"),
    f"/dark-cals/{NEW}/map?row=204&col=-455&zoom=16&bits=16",
    f"/dark-cals/{NEW}/map?layer=diff",
    f"/dark-cals/{NEW}/compare/{OLD}",
    *("/www/dark_cal/index.html", "/www/dark_cal/2010012-staged/index.html"),
)


@pytest.fixture
def page(chromium: str) -> Iterator[Page]:
    """A tab of the browser of this machine."""
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser.new_page()
        browser.close()


@pytest.fixture
def server(
    home: Home, app: Flask, night: Night, staged: Path
) -> Iterator[tuple[str, dict[str, str]]]:
    """The application on a home with something of everything; job ids by state."""
    ids = fill(night)
    archive_l0(home, slot=0, rows=40)
    archive_l0(home, slot=3, imgsize=6, rows=40)
    deliver(home, "2023317", 1, 2)
    failing = read_calibration(staged)
    write_report(staged / "report", failing, [failing.properties])
    write_index(home.root / "www" / "dark_cal", [failing.properties])
    made = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}", ids
    made.shutdown()


def complaints(page: Page, name: str) -> list[str]:
    """Return what axe has against the open page, in each mode: first element of each rule."""
    page.evaluate(AXE_SCRIPT)
    page.evaluate(FEWER_ROWS)
    found = []
    for mode, (width, scheme, rules) in MODES.items():
        page.set_viewport_size({"width": width, "height": 1000})
        page.emulate_media(color_scheme=scheme)
        options = {"runOnly": rules, "resultTypes": ["violations"], "preload": False}
        for broken in page.evaluate("options => axe.run(options)", options)["violations"]:
            first = broken["nodes"][0]
            found.append(
                f"{name} ({mode}): {broken['id']} {len(broken['nodes'])} x {first['html'][:160]}"
                f" {first['failureSummary']}"
            )
    if page.evaluate(SMALLEST) < 10.99:  # design 3
        found.append(f"{name} (narrow): text of a drawing is smaller than 11 px")
    return found


def test_axe_finds_nothing(page: Page, server: tuple[str, dict[str, str]]):
    base, ids = server
    found = []
    for place in (*PAGES, *(f"/jobs/{ids[name][-8:]}" for name in JOBS)):
        page.goto(base + place)
        if "interactive" in place:
            page.wait_for_selector(".scatterlayer .trace", state="attached")
        found += complaints(page, place)
    page.click(".flow a.arrow")
    found += complaints(page, "an event")
    page.goto(f"{base}/jobs/new/ingest.reindex_l0_file")
    page.click("text=Preview")
    found += complaints(page, "a form with an error")
    page.fill("#filename", "acaf686111014N001_3_img0.fits.gz")
    page.click("text=Preview")
    found += complaints(page, "a form with its preview")
    page.goto(f"{base}/dead?task=ingest.reindex_l0_file")
    page.fill("[name=reason]", "the archive is back")
    page.click("text=Requeue")
    page.wait_for_selector("text=Undo")
    found += complaints(page, "what was done, with its undo")
    assert not found, "\n".join(found)


def test_the_interactive_plot_follows_the_theme(page: Page, server: tuple[str, dict[str, str]]):
    page.emulate_media(color_scheme="light")
    page.goto(f"{server[0]}/telemetry?{QUERY}&interactive=1")
    for ink in ("rgb(77, 81, 85)", "rgb(182, 186, 191)"):  # ink2 of design 2
        page.wait_for_selector(f'.xtick text[style*="{ink}"]', timeout=10_000)
        page.click("[data-theme-toggle]")
