"""Level 0 on pages: which images there are of a day, and what one slot saw in a span."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from flask import Blueprint, Response, abort, render_template, request, url_for
from markupsafe import Markup

from acaflow.archive import aca_l0
from acaflow.archive.l0_archive import Archive
from acaflow.archive.l0_export import write_csv, write_fits
from acaflow.archive.l0_file import L0File
from acaflow.archive.l0_format import IMGSIZES, SLOTS
from acaflow.archive.l0_index import INDEX_NAME
from acaflow.archive.l0_views import choose_evenly, decimate
from acaflow.errors import InputError, MissingDataError
from acaflow.status import reading
from acaflow.status.reading import Event
from services.web import coverage, pixels
from services.web.coverage import Day
from services.web.plots import Marks, Panel, Shade, fixed, stack
from services.web.slotview import (
    FUNCTIONS,
    IMAGE_COLUMNS,
    TRACK,
    ImageFacts,
    SlotView,
    read_slot,
    row_in_file,
)
from services.web.spans import (
    DAY_S,
    Span,
    around,
    clock_of,
    day_of,
    echo,
    iso_ms,
    moment,
    read_span,
    read_time,
)
from services.web.words import download, runtime

blueprint = Blueprint("level0", __name__)

LONGEST_S = 2 * DAY_S
"""Longest span of the slot page: 170 000 images of the smallest size (s)."""
USUAL_S = 7200.0
"""Span if only one end is given (s): a delivered file holds about as much."""
IN_STRIP = 24
IN_MOVIE = 240


def root() -> Path:
    """Return the folder of the level-0 archive."""
    return runtime().home.archive / "aca0"


def index() -> closing[Archive]:
    """Open the index of the archive until the end of a with statement."""
    return closing(Archive.open(root() / INDEX_NAME, root()))


def newest(slots: Sequence[int] = SLOTS) -> float | None:
    """Return the end of the newest file of some slots (CXC seconds); None if there is none."""
    if not (root() / INDEX_NAME).exists():
        return None
    with index() as archive:
        return archive.newest(slots)


def _files(slot: int, start: float, stop: float, sizes: Sequence[int] = IMGSIZES) -> list[L0File]:
    with index() as archive:
        return [file for file in archive.files(slot, start, stop) if file.imgsize in sizes]


# --- One day ------------------------------------------------------------------------------------


def _asked_day() -> Day | None:
    """Return the day of the address, else the newest with images; None in an empty archive."""
    end = newest()
    written = request.args.get("day", "").strip()
    time = read_time(written) if written else end
    return None if end is None or time is None else coverage.read_day(root(), time, end)


@blueprint.get("/aca0")
def show_day() -> Any:
    """Answer: which images arrived for a day, and where are gaps."""
    try:
        day, problem = _asked_day(), ""
    except InputError as err:
        day, problem = None, str(err)
    page = render_template(
        "aca0.html",
        day=day,
        problem=problem,
        given=request.args.get("day", "").strip(),
        chart=coverage.draw_day(day) if day else "",
        finding=coverage.say_day(day) if day else "",
        slots=[(slot, _slot_place(slot, at := day.first(slot), at + USUAL_S)) for slot in SLOTS]
        if day
        else [],
        around_gap=lambda gap: _slot_place(gap.slot, gap.start - 300.0, gap.stop + 300.0),
        worst=min(map(day.covered, SLOTS)) if day else 0.0,
    )
    return page, 400 if problem else 200


def _slot_place(slot: int, start: float, stop: float) -> str:
    start, stop = around(start, min(stop, start + LONGEST_S - 2.0))
    return url_for("level0.show_slot", slot=slot, start=echo(start), stop=echo(stop))


@blueprint.get("/aca0.csv")
def day_csv() -> Response:
    """Give the gaps of a day that the page shows."""
    day = _asked_day()
    lines = ["slot,from_utc,to_utc,length_s"]
    if day is not None:
        lines += [
            f"{gap.slot},{iso_ms(gap.start)},{iso_ms(gap.stop)},{gap.stop - gap.start:.3f}"
            for gap in day.gaps
        ]
    name = f"aca0_gaps_{day.name.replace(':', '_') if day else 'none'}.csv"
    return download("".join(f"{line}\n" for line in lines), "text/csv", name)


@blueprint.get("/api/v1/aca0")
def day_json() -> Any:
    """Give the runs of images and the gaps of a day."""
    day = _asked_day()
    if day is None:
        return {"day": None, "runs": [], "gaps": [], "covered_percent": {}}

    def span(start: float, stop: float) -> dict[str, str]:
        return {"from": iso_ms(start), "to": iso_ms(stop)}

    return {
        "day": day.name,
        **span(day.start, day.until),
        "covered_percent": {str(slot): day.covered(slot) for slot in SLOTS},
        "runs": [
            {"slot": run.slot, "imgsize": run.size, "images": run.images, "bad": run.bad}
            | span(run.start, run.stop)
            for run in day.runs
        ],
        "gaps": [{"slot": gap.slot, **span(gap.start, gap.stop)} for gap in day.gaps],
    }


# --- One slot -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What the address of a slot page asks for; `problems` say what it asks in vain."""

    slot: int
    span: Span
    size: int | None
    problems: Mapping[str, str]

    @property
    def sizes(self) -> Sequence[int]:
        return IMGSIZES if self.size is None else (self.size,)

    @property
    def query(self) -> dict[str, Any]:
        """The arguments that every address of the page carries."""
        return self.span.query | ({"size": self.size} if self.size else {})

    @property
    def name(self) -> str:
        """Of files with what is asked for, without ending."""
        return f"aca0_slot{self.slot}_{self.span.name}"


def _asked(slot: int) -> _Asked:
    if slot not in SLOTS:
        abort(404, f"There is no slot {slot}. Slots are 0 to 7.")
    if newest() is None:
        raise MissingDataError("No level-0 file has been archived, so there is nothing to show.")
    stop = newest([slot]) or newest() or 0.0
    last = _files(slot, stop - USUAL_S, stop)
    default = around(last[-1].time_min, last[-1].time_max) if last else (stop - USUAL_S, stop)
    span = read_span(request.args, default, LONGEST_S, USUAL_S)
    written = request.args.get("size", "").strip().partition("×")[0]
    problems = dict(span.problems)
    if written not in ("", "any", *map(str, IMGSIZES)):
        problems["size"] = f"“{written}” is no image size. Sizes are 4, 6 and 8."
    size = int(written) if written.isdigit() and "size" not in problems else None
    return _Asked(slot, span, size, problems)


def _sound(slot: int) -> _Asked:
    """Return what is asked for; InputError in words for downloads and pictures."""
    asked = _asked(slot)
    if asked.problems:
        raise InputError(" ".join(asked.problems.values()))
    return asked


def _read(asked: _Asked, columns: Sequence[str] | None = None) -> SlotView:
    more = {} if columns is None else {"columns": columns}
    return read_slot(root(), asked.slot, asked.span.start, asked.span.stop, asked.sizes, **more)


@blueprint.get("/aca0/<int:slot>")
def show_slot(slot: int) -> Any:
    """Answer: what did this slot see, image by image and over the span."""
    asked = _asked(slot)
    if asked.problems:
        page = render_template("aca0_slot.html", asked=asked, view=None, slots=_slots(asked, None))
        return page, 400
    view = _read(asked)
    facts = view.facts(_chosen_row(view)) if len(view) else None
    span = asked.span
    files = _files(slot, span.start, span.stop, asked.sizes)
    day = coverage.read_day(root(), facts.time if facts else span.start, newest())
    return render_template(
        "aca0_slot.html",
        asked=asked,
        view=view,
        slots=_slots(asked, facts),
        day=day,
        chart=coverage.draw_day(day, (span.start, span.stop)),
        newest=newest([slot]),
        facts=facts,
        functions=FUNCTIONS,
        grid=_grid(view, facts) if facts else "",
        key=pixels.draw_key(*view.limits),
        origin=row_in_file(root(), slot, facts.time, facts.size, files) if facts else None,
        drawing=_plots(asked, view, facts) if facts else "",
        cadence=_cadence(view),
        files=[(file, _product(file.path)) for file in files],
        in_strip=min(IN_STRIP, len(view)),
        in_movie=min(IN_MOVIE, len(view)),
    )


def _chosen_row(view: SlotView) -> int:
    """Return the row of the address; without, the middle one that tracks; 404 if there is none."""
    written = request.args.get("row", "").strip()
    if not written:
        tracked = np.flatnonzero(view.rows["IMGFUNC1"].filled(TRACK) == TRACK)
        return int(tracked[len(tracked) // 2]) if len(tracked) else len(view) // 2
    if not written.isdecimal() or int(written) >= len(view):
        abort(404, f"This span has no row {written}. Rows are 0 to {len(view) - 1}.")
    return int(written)


def _slots(asked: _Asked, facts: ImageFacts | None) -> list[tuple[int, str, str]]:
    """Return each slot with its address and whether it held a fid light at the shown time."""
    found = []
    for slot in SLOTS:
        at = facts.time if facts else asked.span.start
        near = aca_l0.get_slot_data(at - 2.1, at + 2.1, slot, columns=["IMGFID1"], data_root=root())
        is_fid = len(near) > 0 and bool(near["IMGFID1"].filled(0)[0])
        place = url_for("level0.show_slot", slot=slot, **asked.query)
        found.append((slot, place, " fid" if is_fid else ""))
    return found


def _grid(view: SlotView, facts: ImageFacts) -> Markup:
    image = view.image(facts.row)
    brightest = fixed(float(image.max())) if image.count() else "none"
    label = f"Pixel values of row {facts.row}: brightest {brightest} electrons per second"
    return pixels.draw_grid(image, facts.row0, facts.col0, *view.limits, label)


def _plots(asked: _Asked, view: SlotView, facts: ImageFacts) -> Markup:
    """Draw CCD temperature (where there is one), image sum and background against time."""
    start, stop = asked.span.start, asked.span.stop
    series = [
        ("Sum of the image, e⁻/s", view.sums, 0, True),
        ("Background BGDAVG, DN", view.rows["BGDAVG"], 0, True),
    ]
    if view.ccd_degc.count():
        series.insert(0, ("CCD temperature TEMPCCD, °C", view.ccd_degc, 1, False))
    panels = []
    said = []
    for title, values, decimals, from_zero in series:
        line = decimate(view.times, values, start, stop)
        shown = fixed(line.values[-1], decimals) if len(line.values) else ""
        panels.append(Panel(title, line, shown, from_zero))
        if len(line.values):
            ends = (fixed(end, decimals) for end in (line.values.min(), line.values.max()))
            said.append(f"{title} from {' to '.join(ends)}")
    shades = [Shade(*stretch) for stretch in view.idle]
    return stack(panels, start, stop, "; ".join(said), Marks(shades, facts.time))


def _cadence(view: SlotView) -> str:
    """Return the usual time between images in words (s)."""
    return f"{np.median(np.diff(view.times)):.2f}" if len(view) > 1 else ""


def _product(path: str) -> reading.Product | None:
    return reading.producer_of(runtime().ledger, f"aca0/{path}")


@blueprint.get("/aca0/<int:slot>.csv")
def slot_csv(slot: int) -> Response:
    """Give a line for each image of the span."""
    asked = _sound(slot)
    view = _read(asked)
    content = write_csv(view.times, view.columns(with_images=False))
    return download(content, "text/csv", f"{asked.name}.csv")


@blueprint.get("/aca0/<int:slot>.fits")
def slot_fits(slot: int) -> Response:
    """Give a table row for each image of the span, pixels included."""
    asked = _sound(slot)
    view = _read(asked)
    keywords: dict[str, str | int | float] = {
        "EXTNAME": "ACA_SLOT",
        "SLOT": slot,
        **asked.span.keywords,
    }
    content = write_fits(view.times, view.columns(with_images=True), keywords)
    return download(content, "application/fits", f"{asked.name}.fits")


@blueprint.get("/api/v1/aca0/<int:slot>")
def slot_json(slot: int) -> Any:
    """Give the chosen row and the files of the span."""
    asked = _sound(slot)
    view = _read(asked)
    facts = dataclasses.asdict(view.facts(_chosen_row(view))) if len(view) else None
    if facts is not None:
        facts["time"] = {"cxc_s": facts["time"], "utc": iso_ms(facts["time"])}
    return {
        "slot": slot,
        "from": iso_ms(asked.span.start),
        "to": iso_ms(asked.span.stop),
        "rows": len(view),
        "image": facts,
        "files": [
            {"file": f"aca0/{file.path}", "imgsize": file.imgsize, "rows": file.rows}
            | {"revision": file.revision}
            | {"first": iso_ms(file.time_min), "last": iso_ms(file.time_max)}
            for file in _files(slot, asked.span.start, asked.span.stop, asked.sizes)
        ],
    }


# --- Pictures -----------------------------------------------------------------------------------


def _picture(slot: int, most: int, make: Any) -> Response:
    view = _read(_sound(slot), IMAGE_COLUMNS)
    if not len(view):
        abort(404, f"Slot {slot} has no images in this span.")
    chosen = choose_evenly(len(view), most)
    content = make(view.images[chosen], view.sizes, *view.limits)
    return Response(content, mimetype="image/png")


@blueprint.get("/aca0/<int:slot>/strip.png")
def strip(slot: int) -> Response:
    """Give images of the span side by side."""
    return _picture(slot, IN_STRIP, pixels.make_strip)


@blueprint.get("/aca0/<int:slot>/movie.png")
def movie(slot: int) -> Response:
    """Give images of the span as an animated PNG."""
    return _picture(slot, IN_MOVIE, pixels.make_movie)


@blueprint.get("/aca0/<int:slot>/still.png")
def still(slot: int) -> Response:
    """Give the first frame of the movie, for those who want nothing to move."""
    return _picture(slot, 1, pixels.make_movie)


# --- For other pages ----------------------------------------------------------------------------


@blueprint.app_template_global("level0_place")
def place_of(event: Event) -> str | None:
    """Return the slot page of what an ``aca_l0.updated`` event announces; None for others."""
    seen = event.payload
    if event.kind != "aca_l0.updated" or not {"slot", "tstart", "tstop"} <= seen.keys():
        return None
    return _slot_place(seen["slot"], seen["tstart"], seen["tstop"])


blueprint.add_app_template_filter(moment, "moment")
blueprint.add_app_template_filter(day_of, "day_of")
blueprint.add_app_template_filter(clock_of, "clock_of")
blueprint.add_app_template_filter(echo, "echo")
blueprint.add_app_template_filter(fixed, "fixed")
