"""Two dark calibrations side by side: their numbers, their maps, every pixel in both."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, redirect, render_template, request, url_for

from acaflow.archive.aca_dark.dark_plots import DENSITY
from acaflow.archive.aca_dark.dark_tables import TABLES
from acaflow.archive.aca_dark.dark_text import Column, number, write_cell
from acaflow.archive.aca_dark.dark_trend import LISTED, history_rows
from acaflow.errors import MissingDataError
from services.web import darkdraw, darkview
from services.web.darkmap import draw_key, source_of
from services.web.darkview import Shown, find, neighbours
from services.web.darkwords import csv_of, use_words

blueprint = Blueprint("darkpair", __name__)
use_words(blueprint)

COMPARED = (
    *(column for column in TABLES["mission"] if column.kind == "number"),
    *(column for column in LISTED if column.key == "n100_scaled"),
)


@blueprint.get("/dark-cals/<name>/compare")
def choose(name: str) -> Any:
    """Open the comparison that a form asks for; without, that with the one before."""
    shown = find(name)
    this = request.args.get("this", "").strip() or name
    other = request.args.get("other", "").strip() or neighbours(shown.dark_id)[0]
    other = other or neighbours(shown.dark_id)[1]
    if not other:
        raise MissingDataError(f"There is no other calibration to compare {name} with.")
    return redirect(url_for("darkpair.compare", name=this, other=other), 302)


@blueprint.get("/dark-cals/<name>/compare/<other>")
def compare(name: str, other: str) -> Any:
    """Answer: what differs between these two."""
    this, that = find(name), find(other)
    try:
        layer = this.layer("diff", that)
        problem = ""
    except MissingDataError as err:
        layer, problem = None, str(err)
    return render_template(
        "dark_compare.html",
        this=this,
        that=that,
        rows=_compared(this, that),
        problem=problem,
        names=darkview.published(),
        source=lambda endpoint, **more: source_of(endpoint, this, that, **more),
        histogram=darkdraw.draw_histogram([this, that]),
        keys=[draw_key(layer.scale) for layer in (this.layer("image"), layer)] if layer else [],
        density=darkdraw.draw_density(source_of("density", this, that), this.date, that.date)
        if layer
        else "",
        density_key=draw_key(DENSITY, "pixels"),
    )


def _compared(this: Shown, that: Shown) -> list[dict[str, Any]]:
    """Return a row for each number of the statistics: here, there, difference."""
    here, there = (history_rows([one.properties])[0] for one in (this, that))
    rows = []
    for column in COMPARED:
        a, b = here[column.key], there[column.key]
        change = None if a is None or b is None else a - b
        rows.append(
            {"name": column.title, "unit": column.unit, "here": write_cell(here, column)}
            | {"there": write_cell(there, column), "values": (a, b, change)}
            | {"change": number(change, column.decimals, signed=True)}
        )
    return rows


@blueprint.get("/api/v1/dark-cals/<name>/compare/<other>")
def compare_json(name: str, other: str) -> Any:
    """Give the statistics of two calibrations and their differences."""
    return {"this": name, "minus": other, "statistics": _plain_compared(name, other)}


def _plain_compared(name: str, other: str) -> list[dict[str, Any]]:
    return [
        {"statistic": row["name"], "unit": row["unit"]}
        | dict(zip((name, other, "change"), row["values"], strict=True))
        for row in _compared(find(name), find(other))
    ]


@blueprint.get("/dark-cals/<name>/compare/<other>.csv")
def compare_csv(name: str, other: str) -> Response:
    """Give the statistics of two calibrations and their differences."""
    columns = [Column(key, key) for key in ("statistic", "unit", name, other, "change")]
    return csv_of(f"dark_cals_{name}_{other}", columns, _plain_compared(name, other))
