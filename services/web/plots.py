"""Drawings as SVG text: scales, ticks, paths, stacks of plots against time (design 10).

Numbers come ready from the library; here they get a place on the page. Drawings use the classes
of the style sheet, so that themes and print work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from acaflow import times
from acaflow.archive.aca_dark.dark_text import MINUS, THIN, number, power_of_ten
from acaflow.archive.l0_views import Line

__all__ = [
    "Panel",
    "Scale",
    "decimals_of",
    "fixed",
    "nice_ticks",
    "scientific",
    "stack",
    "stroke",
    "svg",
    "time_ticks",
]

WIDTH, LEFT, RIGHT = 1344, 84, 1216
"""Width of a wide drawing and the ends of its time axis (drawing units)."""
HEIGHT, PITCH, TOP = 72, 108, 22
"""Height of a plot, distance from one to the next, upper edge of the first (drawing units)."""

LETTER = 7
"""Width of a letter, about (drawing units)."""

MINUTE, HOUR, DAY = 60, 3600, 86400
STEPS_S = (
    *(1, 2, 5, 10, 15, 30),
    *(MINUTE * n for n in (1, 2, 5, 10, 15, 30)),
    *(HOUR * n for n in (1, 2, 3, 6, 12)),
    *(DAY * n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)),
)
"""Distances between ticks on a time axis (s)."""


@dataclass(frozen=True)
class Scale:
    """A straight line from values to drawing units: `low` is at `first`, `high` at `last`."""

    low: float
    high: float
    first: float
    last: float

    def at(self, value: float) -> float:
        """Return the place of one value."""
        return self.first + (value - self.low) / (self.high - self.low) * (self.last - self.first)


# --- Numbers ------------------------------------------------------------------------------------


def fixed(value: float, decimals: int = 0) -> str:
    """Write a number, thousands apart from 10 000 on; an en dash for NaN.

    >>> fixed(-99616.4, 0)
    '−99\u202f616'
    """
    shown = number(value, decimals)
    return shown if abs(value) >= 9999.5 else shown.replace(THIN, "")


def scientific(value: float, digits: int = 2) -> str:
    """Write a number with a power of ten.

    >>> scientific(320000)
    '3.2\u202f×\u202f10⁵'
    """
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    return f"{mantissa.replace('-', MINUS)}{THIN}×{THIN}{power_of_ten(int(exponent))}"


def decimals_of(step: float) -> int:
    """Return how many decimals tell apart values that differ by `step`."""
    return max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0


def nice_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers from `low` to `high`, 1, 2 or 5 times a power of ten apart.

    Examples
    --------
    >>> nice_ticks(0, 43000)
    [0.0, 10000.0, 20000.0, 30000.0, 40000.0]
    """
    if not high > low:
        return [low]
    power = math.floor(math.log10((high - low) / most))
    for n, up in ((1, 0), (2, 0), (5, 0), (1, 1), (2, 1)):
        step = n * 10.0 ** (power + up)
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    # Rounding takes away what multiplication adds: -0.3 instead of -0.30000000000000004.
    return [round(count * step, decimals_of(step)) + 0.0 for count in range(first, last + 1)]


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Write the numbers of an axis alike: same decimals, powers of ten for long ones."""
    step = min(np.diff(ticks), default=abs(ticks[0]) or 1.0) if len(ticks) > 1 else 0.0
    most = max(map(abs, ticks))
    decimals = decimals_of(step) if step else 2
    if most >= 1e7 or decimals > 5:
        digits = 1 + round(math.log10(most / step)) if step and most else 2
        return [scientific(tick, min(max(digits, 2), 6)) if tick else "0" for tick in ticks]
    return [fixed(tick, decimals) for tick in ticks]


def time_ticks(start: float, stop: float, most: int = 9) -> list[tuple[float, str]]:
    """Return ticks of a time axis: CXC seconds and label, UTC.

    Labels are hh:mm:ss, hh:mm or YYYY:DOY by the distance of the ticks; midnight is always a
    date.
    """
    first, last = (float(times.convert(secs, "unix")) for secs in (start, stop))
    step = next((n for n in STEPS_S if (last - first) / n <= most), STEPS_S[-1])
    unix = np.arange(math.ceil(first / step), math.floor(last / step) + 1) * float(step)
    if not len(unix):
        return []
    places, dates = times.secs(unix, format="unix"), times.convert(unix, "date", "unix")

    def label(date: str) -> str:
        if step >= DAY or date[9:17] == "00:00:00":
            return date[:8]
        return date[9:17] if step < MINUTE else date[9:14]

    return [(float(at), label(str(date))) for at, date in zip(places, dates, strict=True)]


# --- Paths --------------------------------------------------------------------------------------


def stroke(line: Line, x: Scale, y: Scale) -> str:
    """Return the path of a line, to a tenth of a drawing unit, new strokes after gaps.

    Steps are relative and in whole tenths, so that they are short and no error adds up. A
    stroke of one point becomes a dot-sized dash.
    """
    across = _tenths(line.times, x)
    up = _tenths(line.values, y)
    ends = np.append(line.begins[1:], True)
    parts: list[str] = []
    at_x = at_y = 0
    rows = zip(across.tolist(), up.tolist(), line.begins.tolist(), ends.tolist(), strict=True)
    for to_x, to_y, begins, alone in rows:
        if begins:
            parts.append(f"M{_short(to_x)} {_short(to_y)}{'h2' if alone else ''}")
        elif (to_x, to_y) != (at_x, at_y):
            step_x, step_y = _short(to_x - at_x), _short(to_y - at_y)
            if step_x == "0":
                parts.append(f"v{step_y}")
            elif step_y == "0":
                parts.append(f"h{step_x}")
            else:
                parts.append(f"l{step_x}{'' if step_y.startswith('-') else ' '}{step_y}")
        at_x, at_y = to_x, to_y
    return "".join(parts)


def _tenths(values: npt.NDArray[np.float64], scale: Scale) -> npt.NDArray[np.int64]:
    slope = (scale.last - scale.first) / (scale.high - scale.low)
    places = scale.first + (values - scale.low) * slope
    return np.rint(10 * places).astype(np.int64)


def _short(tenths: int) -> str:
    """Write tenths as a number without needless characters.

    >>> _short(-5), _short(120), _short(0)
    ('-.5', '12', '0')
    """
    text = f"{tenths / 10:g}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def svg(kind: str, width: float, height: float, label: str, parts: Sequence[str]) -> Markup:
    """Put the parts of a drawing together; its label is for those who do not see it."""
    body = "\n".join(parts)
    return Markup(
        f'<svg class="{kind}" viewBox="0 0 {width:g} {height:g}" role="img"'
        f' aria-label="{escape(label)}">\n{body}\n</svg>'
    )


# --- Plots against time -------------------------------------------------------------------------


@dataclass(frozen=True)
class Panel:
    """One plot of a stack.

    Attributes
    ----------
    title : str
        What is plotted, with its unit after a comma.
    line : Line
        The data; may be empty.
    last : str
        Last value, written at the end of the line.
    from_zero : bool
        The axis reaches zero.
    """

    title: str
    line: Line
    last: str = ""
    from_zero: bool = False


@dataclass(frozen=True)
class Shade:
    """A stretch of the time axis that is shaded (CXC seconds), with what it says."""

    start: float
    stop: float
    words: str = ""


@dataclass(frozen=True)
class Marks:
    """What is drawn across a stack: shaded stretches, and a dotted line at one time."""

    shades: Sequence[Shade] = field(default=())
    now: float | None = None


def value_scale(panel: Panel, top: float) -> tuple[Scale, list[float]]:
    """Return the value axis of a plot and its ticks; a constant gets room around it."""
    values = panel.line.values
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    if panel.from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high == low:
        room = max(abs(low) * 1e-3, 1e-6) if low else 1.0
        low, high = low - room, high + room
    ticks = nice_ticks(low, high)
    room = 0.06 * (high - low)
    high += room
    low -= 0.0 if panel.from_zero and low == 0 else room
    return Scale(low, high, top + HEIGHT, top), ticks


def stack(
    panels: Sequence[Panel], start: float, stop: float, label: str, marks: Marks | None = None
) -> Markup:
    """Draw plots with a common time axis, one above the other.

    Parameters
    ----------
    panels : sequence of Panel
        The plots.
    start, stop : float
        Ends of the time axis (CXC seconds).
    label : str
        The finding, for those who do not see the picture.
    marks : Marks, optional
        What is drawn across all of them.
    """
    marks = marks or Marks()
    x = Scale(start, stop, LEFT, RIGHT)
    ticks = time_ticks(start, stop)
    named = _named(marks.shades, x)
    # What shades say stands above them, and the title of the first plot below that if need be.
    title_end = LEFT + LETTER * (len(panels[0].title) + 2)
    first = TOP + 16 * any(at - LETTER * len(text) / 2 < title_end for at, text in named)
    tops = [first + PITCH * index for index in range(len(panels))]
    bottom = tops[-1] + HEIGHT
    axes: list[str] = []
    data: list[str] = []
    words = [
        f'<text class="m" x="{at:.1f}" y="{TOP - 7}">{escape(text)}</text>' for at, text in named
    ]
    for panel, top in zip(panels, tops, strict=True):
        y, values = value_scale(panel, top)
        axes += _axes(x, y, values, [at for at, _ in ticks], marks.shades)
        words.append(f'<text class="t" x="{LEFT}" y="{top - 7}">{escape(panel.title)}</text>')
        for at, text in zip(values, tick_labels(values), strict=True):
            words.append(f'<text class="e" x="{LEFT - 8}" y="{y.at(at) + 4:.1f}">{text}</text>')
        if len(panel.line.values):
            data.append(f'<path class="l1" d="{stroke(panel.line, x, y)}"/>')
            beside = min(max(y.at(float(panel.line.values[-1])) + 4, top + 8), top + HEIGHT)
            words.append(f'<text class="c1" x="{RIGHT + 8}" y="{beside:.1f}">{panel.last}</text>')
        else:
            middle = f'x="{(LEFT + RIGHT) / 2:g}" y="{top + HEIGHT / 2:g}"'
            words.append(f'<text class="m" {middle}>no samples in this span</text>')
    words += [
        f'<text class="m" x="{x.at(at):.1f}" y="{bottom + 17}">{text}</text>' for at, text in ticks
    ]
    words.append(
        f'<text class="e" x="{WIDTH - 4}" y="{bottom + 17}">{_days(start, stop)}UTC</text>'
    )
    if marks.now is not None:
        data.append(f'<path class="now" d="M{x.at(marks.now):.1f} {first}V{bottom}"/>')
    return svg("plot wide", WIDTH, bottom + 26, label, [*axes, *data, *words])


def _axes(
    x: Scale, y: Scale, values: Sequence[float], ticks: Sequence[float], shades: Sequence[Shade]
) -> list[str]:
    """Return shades, grid lines and the axis of one plot."""
    top, bottom = y.last, y.first
    drawn = [
        f'<rect class="span" x="{x.at(shade.start):.1f}" y="{top:g}"'
        f' width="{max(x.at(shade.stop) - x.at(shade.start), 0.5):.1f}" height="{HEIGHT}"/>'
        for shade in shades
    ]
    grid = "".join(f"M{LEFT} {y.at(at):.1f}H{RIGHT}" for at in values)
    marks = "".join(f"M{x.at(at):.1f} {bottom:g}v4" for at in ticks)
    drawn.append(f'<path class="gr" d="{grid}"/>')
    drawn.append(f'<path class="ax" d="M{LEFT} {bottom:g}H{RIGHT}{marks}"/>')
    return drawn


def _named(shades: Sequence[Shade], x: Scale) -> list[tuple[float, str]]:
    """Return the middles of the shades that have room for what they say, and what that is."""
    return [
        ((x.at(shade.start) + x.at(shade.stop)) / 2, shade.words)
        for shade in shades
        if shade.words and x.at(shade.stop) - x.at(shade.start) > 8 + LETTER * len(shade.words)
    ]


def _days(start: float, stop: float) -> str:
    """Return the day of a short span; nothing where the ticks are days."""
    days = [str(times.date(at))[:8] for at in (start, stop)]
    return f"{days[0]}, " if days[0] == days[1] else ""
