"""How pages of dark calibrations write verdicts, tables, and what is broken."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Blueprint, Response, g, render_template
from markupsafe import Markup

from acaflow.archive.aca_dark.dark_text import Column, number, percent, write_cell, write_fact
from acaflow.errors import DataError
from services.web.darkview import Shown
from services.web.words import download

log = logging.getLogger(__name__)

__all__ = ["csv_of", "level", "use_words", "verdict"]


def csv_of(name: str, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> Response:
    """Give rows as CSV: keys of the columns, plain numbers."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    keys = [column.key for column in columns]
    writer.writerow(keys)
    writer.writerows([row.get(key) for key in keys] for row in rows)
    return download(file.getvalue(), "text/csv", f"{name}.csv")


def level(name: str | None, more: str = "") -> Markup:
    """Return a verdict: shape, word, colour."""
    if name not in ("PASS", "WARN", "FAIL"):
        return Markup('<span class="st">not judged{}</span>').format(more)
    shape = {"PASS": "done", "WARN": "warn", "FAIL": "dead"}[name]
    word = name.lower()
    return Markup(
        '<span class="st {}"><svg class="i" aria-hidden="true"><use href="#{}"/></svg>{}{}</span>'
    ).format(word, shape, word, more)


def verdict(shown: Shown) -> Markup:
    """Return the verdict of a calibration, and how complete its telemetry is."""
    complete = shown.properties.get("complete")
    more = "" if complete is None else f", telemetry {percent(complete)} complete"
    return level(shown.cal.quality.get("level") or shown.properties.get("quality"), more)


def signed(value: float | None, decimals: int) -> str:
    """Write a difference."""
    return number(value, decimals, signed=True)


def use_words(blueprint: Blueprint) -> None:
    """Give the templates these words, and the blueprint words for broken files."""
    for function in (level, verdict, write_cell, write_fact):
        blueprint.add_app_template_global(function)
    blueprint.add_app_template_filter(signed)
    blueprint.register_error_handler(DataError, _explain)


def _explain(error: DataError) -> Any:
    """Say which file is broken: these pages are where one looks for that."""
    log.error("request %s: %s", g.number, error)
    what = f"A file of this calibration, or of one it is compared with, is broken. {error}"
    return render_template("error.html", title="A file cannot be read", what=what, status=500), 500
