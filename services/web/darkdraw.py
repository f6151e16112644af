"""Dark maps as pictures, their scale bars, histograms and trends as drawings.

Colours are those of the star images (cividis) on the scales of the reports; red is a pixel
without a sample, or a flagged one.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from acaflow.archive.aca_dark.ccd import HALF, SIZE
from acaflow.archive.aca_dark.dark_counts import compute_joint_counts
from acaflow.archive.aca_dark.dark_drawing import Stretch
from acaflow.archive.aca_dark.dark_plots import DENSITY, VALUES
from acaflow.archive.aca_dark.dark_text import power_of_ten
from acaflow.archive.aca_dark.dark_trend import WARM, get_year
from acaflow.archive.l0_views import Line
from services.web.darkview import Layer, Shown
from services.web.pixels import make_palette
from services.web.plots import Scale, fixed, nice_ticks, stroke, svg

__all__ = [
    "draw_density",
    "draw_histogram",
    "draw_scale",
    "draw_trend",
    "make_density",
    "make_flags",
    "make_map",
    "make_ramp",
]

RED = 255
"""Palette index of what needs attention; 0 is transparent, the colours lie between."""
DEAD = (0xB0, 0x1C, 0x12)
MEAN = 4
"""Pixels along an edge that a small map joins."""

Index = npt.NDArray[np.uint8]


# --- Pictures -------------------------------------------------------------------------------------


def _colours(scale: Stretch, values: Any) -> Index:
    level: Index = np.rint(1 + 253 * scale.place(np.nan_to_num(values))).astype(np.uint8)
    return level


@lru_cache(maxsize=1)
def _palette() -> bytes:
    colours = make_palette()
    colours[RED] = DEAD
    return colours.tobytes()


def _png(index: Index) -> bytes:
    from PIL import Image

    made = Image.fromarray(np.ascontiguousarray(index))
    made.putpalette(_palette())
    file = io.BytesIO()
    # Noise hardly gets smaller, however hard one tries.
    made.save(file, "PNG", transparency=0, compress_level=3)
    return file.getvalue()


def make_map(layer: Layer, row0: int, col0: int, size: int) -> bytes:
    """Make a PNG of a square of the CCD, a pixel each, first row below.

    Parameters
    ----------
    layer : Layer
        What to show.
    row0, col0, size : int
        CCD row and column of the lower left pixel, pixels along an edge.
    """
    rows = slice(row0 + HALF, row0 + HALF + size)
    cols = slice(col0 + HALF, col0 + HALF + size)
    index = _colours(layer.scale, layer.values[rows, cols])
    return _png(np.where(layer.good[rows, cols], index, np.uint8(RED))[::-1])


def make_small_map(layer: Layer) -> bytes:
    """Make a PNG of the whole CCD, the mean of 4 x 4 pixels in each; red if one has no sample."""
    size = SIZE // MEAN
    shape = (size, MEAN, size, MEAN)
    means = layer.values.reshape(shape).mean((1, 3))
    good = layer.good.reshape(shape).all((1, 3))
    return _png(np.where(good, _colours(layer.scale, means), np.uint8(RED))[::-1])


def make_flags(mask: npt.NDArray[np.int16], bits: int, row0: int, col0: int, size: int) -> bytes:
    """Make a PNG to lie over a map: red where one of the bits is set, else transparent."""
    rows = slice(row0 + HALF, row0 + HALF + size)
    cut = mask[rows, col0 + HALF : col0 + HALF + size]
    return _png(np.where(cut & bits, np.uint8(RED), np.uint8(0))[::-1])


def make_ramp() -> bytes:
    """Make a PNG of all colours, for scale bars."""
    return _png(np.arange(1, RED, dtype=np.uint8)[np.newaxis])


CELLS = 256
"""Cells along an edge of a density plot."""


def make_density(this: Shown, other: Shown, factor: float) -> bytes:
    """Make a PNG of how many pixels have which value here (up) and there (right).

    Parameters
    ----------
    this, other : Shown
        The calibrations.
    factor : float
        Brings the other one to the temperature of this one.
    """
    counts = compute_joint_counts(this.cal, other.cal, factor, VALUES, CELLS)
    return _png(np.where(counts, _colours(DENSITY, counts.clip(1)), np.uint8(0))[::-1])


# --- Scales ---------------------------------------------------------------------------------------


def draw_scale(scale: Stretch, ramp: str, unit: str = "e⁻/s") -> Markup:
    """Draw the scale bar of a map.

    Parameters
    ----------
    scale : Stretch
        What the colours mean.
    ramp : str
        Address of `make_ramp`'s picture.
    unit : str
        Of the values.
    """
    left, width = 20, 240
    words = "".join(
        f'<text class="m" x="{left + width * float(scale.place(tick)):.0f}" y="22">'
        f"{fixed(tick)}</text>"
        for tick in scale.ticks
    )
    bar = f'href="{escape(ramp)}" x="{left}" width="{width}" height="10"'
    parts = [
        f'<image {bar} preserveAspectRatio="none"/>{words}',
        f'<text x="{left + width + 14}" y="9">{unit}</text>',
    ]
    label = f"Colour scale from {fixed(scale.low)} to {fixed(scale.high)} {unit}"
    return svg("key", 310, 26, label, parts)


def draw_density(picture: str, this: str, other: str) -> Markup:
    """Draw the axes of a density plot about its picture."""
    left, top, size = 52, 8, 320
    places = [(float(VALUES.place(tick)), fixed(tick)) for tick in VALUES.ticks]
    bottom = top + size
    words = [
        f'<text class="m" x="{left + size * at:.1f}" y="{bottom + 17}">{tick}</text>'
        f'<text class="e" x="{left - 8}" y="{bottom - size * at + 4:.1f}">{tick}</text>'
        for at, tick in places
    ]
    grid = "".join(
        f"M{left} {bottom - size * at:.1f}h{size}M{left + size * at:.1f} {top}v{size}"
        for at, _ in places
    )
    parts = [
        f'<path class="gr" d="{grid}"/>',
        f'<image href="{escape(picture)}" x="{left}" y="{top}" width="{size}" height="{size}"/>',
        f'<path class="now" d="M{left} {bottom}L{left + size} {top}"/>',
        f'<path class="ax" d="M{left} {top}v{size}h{size}"/>',
        *words,
        f'<text class="e" x="{left + size}" y="{bottom + 34}">{escape(other)}, e⁻/s</text>',
    ]
    label = f"Every pixel in {other} and in {this}: most lie along the diagonal"
    return svg("plot sq den", left + size + 24, bottom + 40, label, parts)


# --- Plots ----------------------------------------------------------------------------------------

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 620, 20, 262


def _frame(
    x: Scale, y: Scale, ticks_x: Mapping[float, str], ticks_y: Mapping[float, str], title: str
) -> list[str]:
    """Return the axes of a plot, with the title of the upward one."""
    grid = "".join(f"M{LEFT} {y.at(at):.1f}H{x.last:g}" for at in ticks_y)
    marks = "".join(f"M{x.at(at):.1f} {y.first:g}v4" for at in ticks_x)
    words = [
        f'<text class="e" x="{LEFT - 8}" y="{y.at(at) + 4:.1f}">{text}</text>'
        for at, text in ticks_y.items()
    ]
    words += [
        f'<text class="m" x="{x.at(at):.1f}" y="{y.first + 17:g}">{text}</text>'
        for at, text in ticks_x.items()
    ]
    return [
        f'<path class="gr" d="{grid}"/>'
        f'<path class="ax" d="M{LEFT} {y.first:g}H{x.last:g}{marks}"/>',
        *words,
        f'<text x="{LEFT}" y="9">{title}</text>',
    ]


def _line(x: Scale, y: Scale, across: npt.ArrayLike, up: npt.ArrayLike) -> str:
    """Return the path of a line without gaps."""
    places, values = np.array(across, float), np.array(up, float)
    known = np.isfinite(values)
    return stroke(Line(places[known], values[known], np.arange(known.sum()) == 0), x, y)


def _power(exponent: int) -> str:
    if -2 <= exponent <= 2:
        return f"{10**exponent:g}"
    return power_of_ten(exponent)


STEP = 0.04
"""Width of a bin where a quantum is less (dex)."""
MOST = 10_000
"""Quanta that histograms reach."""
MARKED = (100, 200, 3000)


def draw_histogram(shown: Sequence[Shown]) -> Markup:
    """Draw the histograms of a calibration and others to compare it with, three at most."""
    x, y = Scale(0, math.log10(MOST), LEFT, RIGHT), Scale(-3, 5.4, BOTTOM, TOP)
    ticks_x, ticks_y = ({float(n): _power(n) for n in span} for span in (range(5), range(-3, 6)))
    parts = _frame(x, y, ticks_x, ticks_y, "pixels per e⁻/s")
    parts += [
        f'<path class="now" d="M{x.at(math.log10(mark)):.1f} {TOP}V{BOTTOM}"/>'
        f'<text class="e" x="{x.at(math.log10(mark)) - 3:.1f}" y="{TOP + 8}">{fixed(mark)}</text>'
        for mark in MARKED
    ]
    for rank, one in reversed([*enumerate(shown, 1)]):
        middles, density = one.kept.counts.density(STEP, MOST)
        with np.errstate(divide="ignore"):
            path = _line(x, y, np.log10(middles), np.log10(density))
        parts.append(f'<path class="l{rank}" d="{path}"/>')
        t_ccd = "" if one.t_ccd is None else f", {fixed(one.t_ccd, 1)} °C"
        parts.append(f'<text class="c{rank}" x="60" y="{190 + 17 * rank}">{one.date}{t_ccd}</text>')
    parts.append(f'<text class="e" x="{RIGHT}" y="294">dark current, e⁻/s</text>')
    others = " and ".join(one.date for one in shown[1:])
    label = f"Histogram of the dark current of {shown[0].date}"
    return svg("plot one", WIDTH, HEIGHT, f"{label} beside {others}" if others else label, parts)


NAMES = 110
"""Room for the names at the ends of the lines (drawing units)."""
DOTS = tuple(
    f'<marker id="m{rank}" markerWidth="8" markerHeight="8" refX="4" refY="4"'
    f' markerUnits="userSpaceOnUse"><path class="b{rank}" d="{shape}"/></marker>'
    for rank, shape in enumerate(("M1 4a3 3 0 1 0 6 0a3 3 0 1 0-6 0", "M1 1h6v6h-6z"), 1)
)
"""What marks the points of the two lines: circles, squares."""


def draw_trend(
    rows: Sequence[Mapping[str, Any]], now: str = "", width: int = WIDTH, height: int = HEIGHT
) -> Markup:
    """Draw the warm fraction against time, as measured (circles) and scaled (squares).

    Parameters
    ----------
    rows : sequence of mappings
        Of `dark_trend.history_rows`.
    now : str
        Id of the calibration to mark.
    width, height : int
        Of the drawing (drawing units).
    """
    known = [row for row in rows if row["warm"] is not None]
    if not known:
        return Markup("")
    years = {row["id"]: get_year(row["id"]) for row in known}
    first, last = math.floor(min(years.values())), math.ceil(max(years.values()) + 0.01)
    values = [row[key] for row in known for key in WARM if row[key] is not None]
    ticks = nice_ticks(0.0, max(*values, 1.0))
    x = Scale(first, last, LEFT, width - NAMES)
    y = Scale(0.0, 1.06 * max(*values, 1.0), height - HEIGHT + BOTTOM, TOP)
    across = {at: f"{at:.0f}" for at in nice_ticks(first, last, 8) if at == int(at)}
    parts = _frame(x, y, across, {at: f"{at:g}" for at in ticks}, "pixels above 100 e⁻/s, %")
    ends = []
    for rank, (key, name) in enumerate(WARM.items(), 1):
        points = [(years[row["id"]], row[key]) for row in known if row[key] is not None]
        if not points:
            continue
        path = _line(x, y, *zip(*points, strict=True))
        dots = " ".join(f'marker-{where}="url(#m{rank})"' for where in ("start", "mid", "end"))
        parts.append(f'{DOTS[rank - 1]}<path class="l{rank}" {dots} d="{path}"/>')
        ends.append((y.at(points[-1][1]) + 4, rank, name, points[-1][0]))
    ends.sort()
    if len(ends) == 2 and ends[1][0] - ends[0][0] < 16:  # names must not overlap
        ends[1] = (ends[0][0] + 16, *ends[1][1:])
    parts += [
        f'<text class="c{rank}" x="{x.at(at) + 9:.1f}" y="{up:.1f}">{name}</text>'
        for up, rank, name, at in ends
    ]
    if now in years:
        parts.insert(0, f'<path class="now" d="M{x.at(years[now]):.1f} {TOP}V{y.first:g}"/>')
    label = (
        f"Warm pixels from {known[0]['id'][:4]} to {known[-1]['id'][:4]}: {known[-1]['warm']:.1f} %"
        " as measured last"
    )
    return svg("plot wide" if width > WIDTH else "plot one", width, height, label, parts)
