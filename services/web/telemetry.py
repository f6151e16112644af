"""Telemetry on pages: header 3 and level-0 temperatures against time, with statistics."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from flask import Blueprint, Response, abort, make_response, render_template, request, send_file
from flask import url_for as place

from acaflow import __version__, times
from acaflow.archive import aca_hdr3
from acaflow.archive.l0_export import write_csv, write_fits, write_hdf5
from acaflow.archive.l0_format import CADENCE_S, TEMPERATURES
from acaflow.archive.l0_views import Statistics, compute_statistics, decimate
from acaflow.errors import InputError, MissingDataError
from services.web import quantities
from services.web.level0 import index, newest, root
from services.web.plots import Panel, decimals_of, fixed, scientific, stack
from services.web.quantities import Quantity, Series
from services.web.spans import DAY_S, Span, echo, iso_ms, read_span, read_time
from services.web.words import download

blueprint = Blueprint("telemetry", __name__)

LONGEST_S = 100 * DAY_S
"""Longest span (s): two million samples per MSID."""
USUAL_S = DAY_S
MOST = 8
"""MSIDs on one page."""
CHIPS = (("6 h", 6 * 3600.0), ("1 day", DAY_S), ("7 days", 7 * DAY_S), ("30 days", 30 * DAY_S))
IN_TABLE = 50

INTERACTIVE_POLICY = (
    "default-src 'none'; style-src 'self'; style-src-elem 'self' 'unsafe-inline';"
    " script-src 'self'; img-src 'self' data: blob:; connect-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
"""plotly brings its style as an element of the page, and makes pictures to save (tried 7.1)."""


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What an address asks for; `problems` by field say what it asks in vain."""

    written: str
    wanted: list[Quantity]
    span: Span
    problems: dict[str, str]

    @property
    def query(self) -> dict[str, Any]:
        """The arguments that every address of the page carries."""
        return {"msid": " ".join(item.name for item in self.wanted), **self.span.query}


def _asked() -> _Asked:
    written = " ".join(request.args.getlist("msid")).strip()
    wanted: dict[str, Quantity] = {}
    problems: dict[str, str] = {}
    for word in re.split(r"[\s,]+", written):
        try:
            if word:
                item = quantities.find(word)
                wanted[item.name] = item
        except InputError as err:
            problems.setdefault("msid", str(err))
    if len(wanted) > MOST:
        problems.setdefault("msid", f"{len(wanted)} MSIDs are too many. Give {MOST} at most.")
    stop = np.ceil(newest() or times.now())
    span = read_span(request.args, (stop - USUAL_S, stop), LONGEST_S, USUAL_S)
    return _Asked(written, list(wanted.values()), span, problems | dict(span.problems))


def _sound() -> _Asked:
    """Return what is asked for; InputError in words for downloads."""
    asked = _asked()
    if asked.problems:
        raise InputError(" ".join(asked.problems.values()))
    if not asked.wanted:
        raise InputError("No MSID is given. Add for example msid=CCD_TEMP.")
    return asked


def _read(asked: _Asked) -> list[Series]:
    return quantities.read(asked.wanted, asked.span.start, asked.span.stop, root())


# --- The explorer -------------------------------------------------------------------------------


@blueprint.get("/telemetry")
def explore() -> Any:
    """Answer: how did these quantities behave in a span, and in which numbers."""
    asked = _asked()
    values: dict[str, Any] = {"asked": asked, "known": quantities.known(), "chips": _chips(asked)}
    if asked.problems or not asked.wanted:
        page = render_template("telemetry.html", shown=[], **values)
        return page, 400 if asked.problems else 200
    interactive = bool(request.args.get("interactive"))
    shown = [_shown(item) for item in _read(asked)] if newest() is not None else []
    has_samples = any(item.found.samples for item in shown)
    response = make_response(
        render_template(
            "telemetry.html",
            shown=shown if has_samples else [],
            newest=newest(),
            interactive=interactive,
            drawing=_draw(shown, asked.span) if has_samples and not interactive else "",
            table=_table(shown) if has_samples and request.args.get("table") else None,
            notebook=_notebook(asked),
            **values,
        )
    )
    if interactive:
        response.headers["Content-Security-Policy"] = INTERACTIVE_POLICY
    return response


def _chips(asked: _Asked) -> list[tuple[str, dict[str, Any], bool]]:
    """Return the spans that end where this one does: label, arguments, whether it is this."""
    stop, length = asked.span.stop, asked.span.stop - asked.span.start
    return [
        (label, asked.query | {"start": echo(stop - own)}, abs(length - own) < 1)
        for label, own in CHIPS
    ]


@dataclasses.dataclass(frozen=True)
class _Shown:
    """A series with its statistics, and how its numbers are written."""

    series: Series
    found: Statistics

    @cached_property
    def decimals(self) -> int:
        """Decimals that tell samples apart; 0 for integers, 4 at most."""
        if self.series.values.dtype.kind in "iu":
            return 0
        spread = self.found.high - self.found.low
        return min(decimals_of(spread / 30), 4) if spread > 0 else 2

    def say(self, value: float) -> str:
        """Write a value of the series."""
        is_long = abs(value) >= 1e7 or 0 < abs(value) < 1e-3
        return scientific(value, 3) if is_long else fixed(value, self.decimals)

    @property
    def texts(self) -> list[str]:
        """The seven numbers of the statistics."""
        return [self.say(value) for value in dataclasses.astuple(self.found)[2:]]


def _shown(series: Series) -> _Shown:
    return _Shown(series, compute_statistics(series.values))


def _draw(shown: Sequence[_Shown], span: Span) -> Any:
    panels, said = [], []
    for item in shown:
        series, title = item.series, item.series.quantity.title
        line = decimate(series.times, series.values, span.start, span.stop)
        last = item.say(float(line.values[-1])) if len(line.values) else ""
        panels.append(Panel(title, line, last))
        ends = f"from {item.say(item.found.low)} to {item.say(item.found.high)}"
        said.append(f"{title} {ends}" if last else f"{title}: no samples")
    return stack(panels, span.start, span.stop, "; ".join(said))


def _notebook(asked: _Asked) -> str:
    """Return the lines that give the same values in a notebook."""
    start, stop = (repr(echo(at)) for at in (asked.span.start, asked.span.stop))
    header3 = [item.name.lower() for item in asked.wanted if not item.column]
    lines = []
    if header3:
        lines += [
            "from acaflow.archive import aca_hdr3",
            f"dat = aca_hdr3.MSIDset({header3}, {start}, {stop})",
        ]
    slots = sorted({item.slots[0] for item in asked.wanted if item.column})
    if slots:
        lines.append("from acaflow.archive import aca_l0")
    for slot in slots:
        columns = [item.column for item in asked.wanted if item.column and item.slots[0] == slot]
        names = ["TIME", "QUALITY", *columns]
        remark = "  # temperatures in kelvin" if set(columns) & set(TEMPERATURES) else ""
        lines.append(
            f"slot{slot} = aca_l0.get_slot_data({start}, {stop}, {slot}, columns={names}){remark}"
        )
    return "\n".join(lines).replace("'", '"')


def _table(shown: Sequence[_Shown]) -> dict[str, Any]:
    """Return one page of samples: times, texts, and where the next page begins."""
    union, columns = quantities.join([item.series for item in shown])
    after = request.args.get("after", "").strip()
    first = int(np.searchsorted(union, read_time(after))) if after else 0
    part = slice(first, first + IN_TABLE)
    texts = [
        ["–" if value is None else item.say(value) for value in column.values[part].tolist()]
        for column, item in zip(columns, shown, strict=True)
    ]
    following = float(union[part.stop]) if part.stop < len(union) else None
    rows = list(zip(union[part].tolist(), zip(*texts, strict=True), strict=True))
    return {"rows": rows, "next": following, "total": len(union)}


# --- Files --------------------------------------------------------------------------------------


def _file(asked: _Asked, content: Any, kind: str, mimetype: str) -> Response:
    return download(content, mimetype, f"telemetry_{asked.span.name}.{kind}")


@blueprint.get("/telemetry.csv")
def as_csv() -> Response:
    """Give every sample of the plots as text."""
    asked = _sound()
    return _file(asked, write_csv(*quantities.join(_read(asked))), "csv", "text/csv")


@blueprint.get("/telemetry.fits")
def as_fits() -> Response:
    """Give every sample of the plots as a FITS table."""
    asked = _sound()
    keywords = {
        "EXTNAME": "TELEMETRY",
        "CREATOR": f"acaflow {__version__}",
        **asked.span.keywords,
    }
    content = write_fits(*quantities.join(_read(asked)), keywords)
    return _file(asked, content, "fits", "application/fits")


@blueprint.get("/telemetry.h5")
def as_hdf5() -> Response:
    """Give every sample of the plots as HDF5."""
    asked = _sound()
    attributes = {
        "creator": f"acaflow {__version__}",
        "start": iso_ms(asked.span.start),
        "stop": iso_ms(asked.span.stop),
    }
    content = write_hdf5(*quantities.join(_read(asked)), attributes)
    return _file(asked, content, "h5", "application/x-hdf5")


@blueprint.get("/api/v1/telemetry")
def as_json() -> Any:
    """Give what the page shows: decimated lines (null: a gap) and statistics."""
    asked = _sound()
    points = min(max(request.args.get("points", 1000, int), 2), 20_000)
    found = []
    for item in _read(asked):
        line = decimate(item.times, item.values, asked.span.start, asked.span.stop, points // 2)
        stamps = [f"{stamp}Z" for stamp in np.atleast_1d(times.convert(line.times, "isot"))]
        values: list[float | None] = line.values.tolist()
        for at in np.flatnonzero(line.begins)[:0:-1].tolist():
            stamps.insert(at, stamps[at])
            values.insert(at, None)
        numbers = dataclasses.asdict(compute_statistics(item.values))
        clean = {key: None if value != value else value for key, value in numbers.items()}
        what = item.quantity
        found.append(
            {"msid": what.name, "unit": what.unit, "meaning": what.meaning}
            | {"times": stamps, "values": values, "statistics": clean}
        )
    span = asked.span
    return {"from": iso_ms(span.start), "to": iso_ms(span.stop), "msids": found}


# --- One MSID -----------------------------------------------------------------------------------


@blueprint.get("/telemetry/<msid>")
def show_msid(msid: str) -> Any:
    """Answer: what is this quantity, where does it lie, and what was its last value."""
    try:
        item = quantities.find(msid)
    except InputError as err:
        raise MissingDataError(str(err)) from err
    if item.name != msid.upper() and item.key != msid:
        abort(404)
    held = None
    if newest() is not None:
        sizes = (8,) if not item.column else (4, 6, 8) if item.column == "BGDAVG" else (6, 8)
        with index() as archive:
            held = {
                size: found for size in sizes if (found := archive.holdings(item.slots[0], size))
            }
    latest = None
    if held:
        end = max(found.last for found in held.values())
        (series,) = quantities.read([item], end - 3600.0, end, root())
        good = np.flatnonzero(~np.ma.getmaskarray(series.values))
        if len(good):
            at = int(good[-1])
            latest = (float(series.times[at]), _shown(series).say(float(series.values[at])))
    entry = aca_hdr3.HDR3_DEF.get(item.key)
    return render_template(
        "telemetry_msid.html", item=item, entry=entry, held=held, latest=latest, cadence=CADENCE_S
    )


# --- The plotting package -----------------------------------------------------------------------


def plotly_place() -> str:
    """Return the address of plotly's script, which changes with its version."""
    import plotly

    return place("telemetry.plotly_script", version=plotly.__version__)


@blueprint.get("/plotly-<version>.min.js")
def plotly_script(version: str) -> Response:
    """Give the script of the installed package."""
    import plotly

    if version != plotly.__version__:
        abort(404)
    path = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    return send_file(path, mimetype="text/javascript", max_age=31_536_000)


blueprint.add_app_template_global(plotly_place, "plotly_place")
