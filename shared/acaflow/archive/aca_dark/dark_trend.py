"""The dark current over the mission: a table of all calibrations, and plots against time.

Input is a list of properties (``properties.json``), whatever their age: keys that a calibration
does not have come out as None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from acaflow import times
from acaflow.archive.aca_dark.ccd import SIZE
from acaflow.archive.aca_dark.dark_drawing import (
    DASHES,
    INK3,
    SERIES,
    Plot,
    add_axes,
    add_figure,
    drawing,
    name_ends,
    name_lines,
    picture_of,
    save,
    use_decades,
    use_few_ticks,
    use_year_ticks,
)
from acaflow.archive.aca_dark.dark_stats import THRESHOLDS
from acaflow.archive.aca_dark.dark_text import Column, dark_id_of, number
from acaflow.archive.aca_dark.zodi import ZODI_E_PER_S

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image

__all__ = [
    "COUNTS",
    "LEVELS",
    "LISTED",
    "MISSION",
    "TREND_PLOTS",
    "WARM",
    "get_year",
    "history_rows",
    "write_trend",
]

Row = Mapping[str, Any]

LEVELS = (
    Column("mean", "Mean", "e⁻/s", 1),
    Column("median", "Median", "e⁻/s", 1),
    Column("peak", "Peak", "e⁻/s", 1),
    Column("mean_near_peak", "Mean near peak", "e⁻/s", 1),
)
COUNTS = tuple(Column(f"n{limit}", f"N > {limit}") for limit in THRESHOLDS)
"""Columns of statistics: levels, pixels above thresholds."""
MISSION = (
    Column("id", "Calibration", kind="calibration"),
    Column("t_ccd", "T_CCD", "°C", 2),
    *LEVELS,
    *COUNTS,
    Column("warm", "Warm", "%", 2),
    Column("warm_scaled", "Warm", "at −15 °C, %", 2),
    Column("zodib", "Zodiacal light", "S10"),
    Column("quality", "Quality", kind="level"),
)
"""Columns of a table of calibrations."""
LISTED = (
    Column("id", "Calibration", kind="calibration"),
    Column("date", "Date", kind="text"),
    Column("t_ccd", "T_CCD", "°C", 2),
    Column("peak", "Peak", "e⁻/s", 1),
    Column("n100", "N > 100"),
    Column("n100_scaled", "N > 100", "at −15 °C"),
    Column("quality", "Quality", kind="level"),
)
"""Columns of the list of all; `date` is YYYY:DOY."""
WARM = {"warm": "as measured", "warm_scaled": "scaled to −15 °C"}
"""Columns of the rows that a plot of warm pixels shows, and what it calls them."""


def history_rows(history: Iterable[Row]) -> list[dict[str, Any]]:
    """Return a row of statistics for each calibration, oldest first.

    Parameters
    ----------
    history : iterable of mappings
        Properties.

    Returns
    -------
    list of dict
        Keys of `MISSION`, `n100_scaled` and `report`; `warm` and `warm_scaled`, N > 100 in percent
        of all pixels of the CCD, as measured and at -15 degC.
    """
    return [_row(properties) for properties in sorted(history, key=dark_id_of)]


def _row(properties: Row) -> dict[str, Any]:
    stats = properties.get("stats") or {}
    n100, n100_scaled = stats.get("n100"), (stats.get("scaled") or {}).get("n100")
    return {
        "id": dark_id_of(properties),
        "t_ccd": properties.get("ccd_temp"),
        **{column.key: stats.get(column.key) for column in (*LEVELS, *COUNTS)},
        "n100_scaled": n100_scaled,
        "warm": _share(n100),
        "warm_scaled": _share(n100_scaled),
        "zodib": properties.get("zodib"),
        "quality": properties.get("quality"),
        "report": properties.get("report"),
    }


def _share(count: int | None) -> float | None:
    return None if count is None else 100.0 * count / SIZE**2


# --- Plots ---------------------------------------------------------------------------------------


def write_trend(folder: Path, history: Iterable[Row]) -> dict[str, str]:
    """Draw the plots over the mission.

    Parameters
    ----------
    folder : Path
        Exists; gets the files.
    history : iterable of mappings
        Properties.

    Returns
    -------
    dict of str
        For every name of `TREND_PLOTS` why it was not drawn; an empty text if it was.

    Notes
    -----
    Source: dark-cal D3.
    """
    rows = history_rows(history)
    with drawing():
        return {name: save(draw(rows), folder / name) for name, draw in _DRAW.items()}


def _known(rows: Sequence[Row], x: str, y: str) -> tuple[list[Any], list[Any]]:
    """Return two columns where both have values; the year for an `x` of 'id'."""
    pairs = [(row[x], row[y]) for row in rows if row[x] is not None and row[y] is not None]
    if x == "id":
        pairs = [(get_year(identity), value) for identity, value in pairs]
    return [first for first, _ in pairs], [second for _, second in pairs]


def get_year(dark_id: str) -> float:
    """Return the day of an id as a year with its fraction."""
    return float(times.convert(f"{dark_id[:4]}:{dark_id[4:]}", "frac_year"))


def _draw_over_years(axes: Axes, rows: Sequence[Row], lines: Mapping[str, str]) -> bool:
    """Draw columns of the rows against time; tell whether there was anything to draw."""
    ends = []
    for (key, name), colour, dash, marker in zip(
        lines.items(), SERIES, DASHES, "os^D", strict=False
    ):
        years, values = _known(rows, "id", key)
        if years:
            size = 4.5 if len(years) < 40 else 2.0
            axes.plot(
                years, values, marker, color=colour, linestyle=dash, markersize=size, clip_on=False
            )
            ends.append((values[-1], name, colour))
    if not ends:
        return False
    axes.set_xlim(math.floor(axes.dataLim.x0), math.ceil(axes.dataLim.x1 + 0.01))
    use_year_ticks(axes.xaxis)
    if axes.get_yscale() == "linear":
        axes.set_ylim(bottom=0)
    name_ends(axes, ends)
    return True


NO_STATS = "No calibration has statistics yet."


def _draw_warm_frac(rows: Sequence[Row]) -> Image | str:
    axes = add_axes(add_figure(640, 320), "", "pixels above 100 e⁻/s, %", (40, 28, 510, 290))
    return picture_of(axes) if _draw_over_years(axes, rows, WARM) else NO_STATS


def _draw_warm_counts(rows: Sequence[Row]) -> Image | str:
    figure = add_figure(640, 320)
    drawn = []
    for left, limits in ((48, THRESHOLDS[:3]), (368, THRESHOLDS[3:])):
        axes = add_axes(figure, "", "pixels above, e⁻/s", (left, 28, left + 215, 290))
        use_decades(axes.yaxis)
        lines = {f"n{limit}": number(limit) for limit in limits}
        # A logarithm has no zero.
        some = [{key: row[key] or None for key in ("id", *lines)} for row in rows]
        drawn.append(_draw_over_years(axes, some, lines))
    return picture_of(figure) if any(drawn) else NO_STATS


ZONES = (
    (-np.inf, -17.0, "below −17 °C"),
    (-17.0, -12.5, "−17 to −12.5 °C"),
    (-12.5, np.inf, "above −12.5 °C"),
)
"""Temperatures with a colour of their own: about the setpoints -19, -15 and -10 degC."""


def _draw_peak_zodi(rows: Sequence[Row]) -> Image | str:
    zodib, peak = _known(rows, "zodib", "peak")
    if not zodib:
        return "No calibration has both a peak and a zodiacal brightness yet."
    axes = add_axes(add_figure(640, 320), "zodiacal brightness, S10", "peak, e⁻/s")
    for (low, high, _), colour, marker in zip(ZONES, SERIES, "os^", strict=False):
        some = [row for row in rows if row["t_ccd"] is not None and low <= row["t_ccd"] < high]
        axes.plot(*_known(some, "zodib", "peak"), marker, color=colour)
    right = 1.1 * max(*zodib, 100.0)
    axes.axline((0, 0), slope=ZODI_E_PER_S, color=INK3, linewidth=0.7, linestyle=DASHES[2])
    axes.set_xlim(0, right)
    axes.set_ylim(0, 1.25 * max(*peak, ZODI_E_PER_S * right))
    use_few_ticks(axes.xaxis, 6)
    use_few_ticks(axes.yaxis, 6)
    end = (right, ZODI_E_PER_S * right)
    axes.annotate(
        "zodiacal light alone", end, (-4, -14), textcoords="offset points", color=INK3, ha="right",
        va="top",
    )  # fmt: skip
    name_lines(axes, [name for _, _, name in ZONES])
    return picture_of(axes)


_DRAW: dict[str, Callable[[Sequence[Row]], Image | str]] = {
    "warm_frac.png": _draw_warm_frac,
    "warm_counts.png": _draw_warm_counts,
    "peak_zodi.png": _draw_peak_zodi,
}
TREND_PLOTS = {
    "warm_frac.png": Plot(
        "Warm pixels",
        "Pixels above 100 e⁻/s in percent of the CCD, as measured and scaled to −15 °C.",
    ),
    "warm_counts.png": Plot(
        "Pixels above thresholds", "At the temperature of each calibration; zero is not shown."
    ),
    "peak_zodi.png": Plot(
        "Peak against zodiacal light",
        "At the temperature of each calibration. The slope of the dotted line is inferred.",
    ),
}
"""The files, and how a page shows them."""
