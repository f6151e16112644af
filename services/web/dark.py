"""Dark calibrations on pages: the list with its trend, one calibration, its report as files."""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, abort, redirect, render_template, request, send_file, url_for

from acaflow.archive.aca_dark.dark_files import PROPERTIES
from acaflow.archive.aca_dark.dark_plots import PLOTS
from acaflow.archive.aca_dark.dark_tables import TABLES, report_tables
from acaflow.archive.aca_dark.dark_text import Column
from acaflow.archive.aca_dark.dark_trend import LISTED, TREND_PLOTS, history_rows
from acaflow.archive.aca_dark.tree import PUBLISHED
from acaflow.errors import AcaflowError, InputError, MissingDataError
from acaflow.paths import inside
from acaflow.status import reading
from services.web import darkdraw, darkview
from services.web.darkmap import draw_key, source_of
from services.web.darkview import Shown, find, neighbours, parse, read_history
from services.web.darkwords import csv_of, use_words
from services.web.darkwork import find_work, jobs_of, list_work
from services.web.words import runtime

blueprint = Blueprint("dark", __name__)
use_words(blueprint)

IN_TABLE = 50
HOT_SHOWN = 8
"""Hot pixels that the page shows; the file has more."""
INDEX_COLUMNS = (
    *LISTED[:-1],
    Column("warm", "Warm", "%", 2),
    LISTED[-1],
    Column("revision", "Revision"),
    Column("report", "Report", kind="text"),
)
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; form-action 'none';"
    " base-uri 'none'; frame-ancestors 'none'"
)
"""Reports stand alone: their sheet is part of the page, and they have no script."""


# --- The list -------------------------------------------------------------------------------------


def _index_rows() -> tuple[list[dict[str, Any]], Sequence[darkview.Broken]]:
    """Return a row for each published calibration, newest first, and what cannot be read."""
    history, broken = read_history()
    revisions = {item["id"]: item.get("revision") for item in history}
    rows = history_rows(history)[::-1]
    for row in rows:
        row |= {"date": f"{row['id'][:4]}:{row['id'][4:]}", "revision": revisions[row["id"]]}
    return rows, broken


@blueprint.get("/dark-cals")
def show_index() -> Any:
    """Answer: which calibrations are there, what is the trend, and what is on its way."""
    rows, broken = _index_rows()
    work, in_work = list_work()
    before = request.args.get("before", "")
    part = [row for row in rows if not before or row["id"] < before]
    return render_template(
        "dark_index.html",
        rows=part[:IN_TABLE],
        total=len(rows),
        newest=rows[0] if rows else None,
        more=len(part) > IN_TABLE,
        columns=INDEX_COLUMNS,
        broken=broken,
        work=work,
        in_work=in_work,
        trend=darkdraw.draw_trend(rows[::-1], width=1344, height=240),
        plots=_mission_plots(),
    )


def _mission_plots() -> dict[str, str]:
    """Return title and address of the plots over the mission that are made."""
    folder = _www()
    return {
        plot.title: url_for("dark.www", path=name)
        for name, plot in TREND_PLOTS.items()
        if (folder / name).is_file()
    }


@blueprint.get("/dark-cals.csv")
def index_csv() -> Response:
    """Give the list of the page, all of it."""
    return csv_of("dark_cals", INDEX_COLUMNS, _index_rows()[0])


@blueprint.get("/dark-cals.json")
@blueprint.get("/api/v1/dark-cals")
def index_json() -> Any:
    """Give the calibrations, what is in work, and what cannot be read."""
    rows, broken = _index_rows()
    return {
        "calibrations": rows,
        "in_work": [item.plain for item in list_work()[0]],
        "unreadable": [{"id": item.dark_id, "why": item.why} for item in broken],
    }


# --- One calibration ------------------------------------------------------------------------------


@blueprint.get("/dark-cals/<name>")
def show_report(name: str) -> Any:
    """Answer: is this calibration good, what changed, and what was it made from."""
    dark_id, version = parse(name)
    work = find_work(dark_id)
    try:
        shown = find(name)
    except MissingDataError:
        if version or not work.is_known:
            raise
        around = _around(dark_id)
        reasons = reading.whys(runtime().ledger, around["jobs"])
        return render_template("dark_work.html", work=work, reasons=reasons, **around)
    around = _around(dark_id)
    previous = find(around["before"]) if around["before"] else None
    tables = _tables(shown, previous)
    first = darkview.published()[:1]
    compared = [shown, *([previous] if previous else [])]
    if first and first[0] not in (dark_id, around["before"]):
        compared.append(find(first[0]))
    report = _report_files(shown)
    can_differ = previous is not None and shown.factor_of(previous) is not None
    layer = "diff" if can_differ and request.args.get("map") == "diff" else "image"
    return render_template(
        "dark_report.html",
        shown=shown,
        work=work,
        tables=tables,
        columns=TABLES,
        hot=HOT_SHOWN,
        layer=layer,
        can_differ=can_differ,
        previous=previous,
        source=lambda endpoint, **more: source_of(endpoint, shown, previous, **more),
        key=draw_key(shown.layer(layer, previous).scale),
        histogram=darkdraw.draw_histogram(compared),
        trend=darkdraw.draw_trend(tables["mission"], dark_id),
        files=[path for path in PUBLISHED if (shown.folder / path).is_file()],
        report=report.pop("Report", None),
        plots=report,
        made=reading.producer_of(runtime().ledger, f"aca_dark/{dark_id}/{PROPERTIES}"),
        old=darkview.old_names(dark_id),
        **around,
    )


def _around(dark_id: str) -> dict[str, Any]:
    before, after = neighbours(dark_id)
    return {
        "before": before,
        "after": after,
        "jobs": jobs_of(dark_id),
        "now": runtime().ledger.now(),
    }


def _tables(shown: Shown, previous: Shown | None) -> dict[str, Any]:
    return report_tables(shown.cal, read_history()[0], previous.cal if previous else None)


def _previous(shown: Shown) -> Shown | None:
    before, _ = neighbours(shown.dark_id)
    return find(before) if before else None


@blueprint.get("/api/v1/dark-cals/<name>")
def report_json(name: str) -> Any:
    """Give the numbers of the report; of what is not assembled yet, what there is."""
    dark_id, version = parse(name)
    try:
        shown = find(name)
    except MissingDataError:
        work = find_work(dark_id)
        if version or not work.is_known:
            raise
        return work.plain
    return _tables(shown, _previous(shown))


@blueprint.get("/dark-cals/<name>/<table>.csv")
def table_csv(name: str, table: str) -> Response:
    """Give one table of the report."""
    shown = find(name)
    columns = TABLES.get("hot" if table in ("newly_hot", "recovered") else table)
    tables = _tables(shown, _previous(shown))
    if columns is None or table not in tables:
        abort(404, f"There is no table {table}.")
    return csv_of(f"dark_cal_{name}_{table}", columns, tables[table])


@blueprint.get("/dark-cals/<name>/files/<file>")
def download(name: str, file: str) -> Any:
    """Give one of the files of a calibration."""
    shown = find(name)
    path = shown.folder / file
    if file not in PUBLISHED or not path.is_file():
        has = [each for each in PUBLISHED if (shown.folder / each).is_file()]
        abort(404, f"Calibration {name} has no file {file}. It has {', '.join(has)}.")
    return send_file(path, as_attachment=True, download_name=f"{name}_{file}")


# --- Reports as files -----------------------------------------------------------------------------


def _www() -> Path:
    return runtime().home.root / "www" / "dark_cal"


def _report_files(shown: Shown) -> dict[str, str]:
    """Return name and address of the report of a calibration and its plots, if it is made."""
    name, where = f"{shown.dark_id}-staged", shown.folder / "report"
    if shown.kind != "staged":
        name = str(shown.properties.get("report") or "")
        where = _www() / name
    if shown.kind == "old" or not name:
        return {}
    files = {"index.html": "Report"} | {file: plot.title for file, plot in PLOTS.items()}
    return {
        title: url_for("dark.www", path=f"{name}/{file}")
        for file, title in files.items()
        if (where / file).is_file()
    }


@blueprint.get("/www/dark_cal/")
@blueprint.get("/www/dark_cal/<path:path>")
def www(path: str = "index.html") -> Any:
    """Give a file of the reports, which stand alone, as they were made."""
    folder, _, name = path.partition("/")
    dark_id, _, is_staged = folder.partition("-")
    try:
        if is_staged == "staged":
            base = darkview.tree(dark_id).staged / "report"
            full = inside(base, name) if name else base
        else:
            full = inside(_www(), path)
    except InputError:
        abort(404, f"There is no report file {path}.")
    if full.is_dir():
        return redirect(url_for("dark.www", path=f"{path.rstrip('/')}/index.html"), 302)
    if not full.is_file():
        abort(404, f"There is no report file {path}.")
    response = send_file(full, mimetype=mimetypes.guess_type(full.name)[0] or "text/plain")
    if response.mimetype == "text/html":
        response.headers["Content-Security-Policy"] = REPORT_POLICY
    return response


# --- For other pages ------------------------------------------------------------------------------


def place_of(words: str) -> str | None:
    """Return the page of a dark id, if there is anything of it; None for other words."""
    try:
        dark_id, _ = parse(words)
        is_known = words in darkview.published() or find_work(dark_id).is_known
    except AcaflowError:
        return None
    return url_for("dark.show_report", name=words) if is_known else None


@blueprint.app_template_global("dark_place")
def place_of_subject(subject: str) -> str | None:
    """Return the page of a subject ``dark:<id>``; None for others."""
    kind, _, dark_id = subject.partition(":")
    is_one = kind == "dark" and darkview.NAME.fullmatch(dark_id)
    return url_for("dark.show_report", name=dark_id) if is_one else None
