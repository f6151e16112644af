"""The plots of one dark calibration: PNG files with fixed names, the same bytes every time.

Histograms and maps are made of the unclipped image at the temperature of the calibration. Maps
hold every pixel of the CCD as one pixel of the file, row up, column right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from acaflow.archive.aca_dark.ccd import HALF, QUADRANTS
from acaflow.archive.aca_dark.combine import is_measured
from acaflow.archive.aca_dark.dark_counts import (
    HIGHEST,
    Counts,
    compute_counts,
    compute_joint_counts,
)
from acaflow.archive.aca_dark.dark_drawing import (
    BLANK,
    DASHES,
    INK3,
    MAP_ON_PAGE,
    MAP_SIZE,
    RED,
    SERIES,
    Index,
    Plot,
    Stretch,
    add_axes,
    add_figure,
    drawing,
    finish_map,
    frame_map,
    name_lines,
    picture_of,
    save,
    use_decades,
    use_few_ticks,
)
from acaflow.archive.aca_dark.dark_model import dark_temp_scale
from acaflow.archive.aca_dark.dark_text import dark_id_of, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image

    from acaflow.archive.aca_dark.dark_files import Calibration

__all__ = ["PLOTS", "write_plots"]

FloatArray = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class _Inputs:
    """A calibration, the one before, and the counts of these and the first by their names."""

    this: Calibration
    previous: Calibration | None
    counted: Mapping[str, Counts]


def write_plots(
    folder: Path,
    calibration: Calibration,
    previous: Calibration | None = None,
    first: Calibration | None = None,
) -> dict[str, str]:
    """Draw the plots of a calibration.

    Parameters
    ----------
    folder : Path
        Exists; gets the files.
    calibration : Calibration
        What to draw.
    previous, first : Calibration, optional
        The one before, and the first of the mission, to compare with.

    Returns
    -------
    dict of str
        For every name of `PLOTS` why it was not drawn; an empty text if it was.

    Notes
    -----
    Source: dark-cal D3.
    """
    compared = [item for item in (calibration, previous, first) if item is not None]
    known = {dark_id_of(item.properties): item for item in reversed(compared)}
    counted = {_label(item): compute_counts(item) for item in reversed(known.values())}
    inputs = _Inputs(calibration, previous, counted)
    with drawing():
        return {name: save(draw(inputs), folder / name) for name, draw in _DRAW.items()}


def _stats(calibration: Calibration) -> dict[str, Any]:
    return calibration.properties.get("stats") or {}


def _label(calibration: Calibration) -> str:
    identity, t_ccd = dark_id_of(calibration.properties), calibration.properties.get("ccd_temp")
    name = f"{identity[:4]}:{identity[4:]}"
    return name if t_ccd is None else f"{name}, {number(t_ccd, 1)} °C"


# --- Histograms ----------------------------------------------------------------------------------

THRESHOLDS = (100, 200, 2000, 3000)
"""From which the statistics count (e-/s)."""


def _draw_lines(
    axes: Axes,
    counted: Mapping[str, Counts],
    line: Callable[[Counts], tuple[FloatArray, FloatArray]],
) -> None:
    """Draw a line of each calibration, this one on top, and name them."""
    for item, colour, dash in reversed([*zip(counted.values(), SERIES, DASHES, strict=False)]):
        x, y = line(item)
        some = (y > 0) | (axes.get_yscale() == "linear")  # a logarithm has no zero
        axes.plot(x[some], y[some], color=colour, linestyle=dash)
    name_lines(axes, [*counted])


def _mark(axes: Axes, value: float, text: str, side: str) -> None:
    """Mark a value of the x axis with a line, its name at the upper end, left or right of it."""
    axes.axvline(value, color=INK3, linewidth=0.7, linestyle=(0, (1, 2)), zorder=0.5)
    shift = 3 if side == "left" else -3
    axes.annotate(
        text,
        (value, 1),
        (shift, 0),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        color=INK3,
        ha=side,
        va="top",
    )


def _mark_thresholds(axes: Axes) -> None:
    for threshold, side in zip(THRESHOLDS, ("right", "left", "right", "left"), strict=True):
        _mark(axes, threshold, number(threshold), side)


def _draw_hist_diff(inputs: _Inputs) -> Image:
    axes = add_axes(add_figure(640, 320), "dark current, e⁻/s", "pixels per e⁻/s")
    use_decades(axes.xaxis)
    use_decades(axes.yaxis)
    _draw_lines(axes, inputs.counted, lambda item: item.density(0.02))
    axes.set_xlim(1, HIGHEST)
    axes.set_ylim(1e-3, 3e5)
    _mark_thresholds(axes)
    return picture_of(axes)


def _draw_hist_zero(inputs: _Inputs) -> Image:
    axes = add_axes(add_figure(640, 320), "dark current, e⁻/s", "thousand pixels per e⁻/s")

    def density(item: Counts) -> tuple[FloatArray, FloatArray]:
        values, pixels = item.at(np.arange(-25, 75))
        return values, pixels / 1000

    _draw_lines(axes, inputs.counted, density)
    axes.set_xlim(-20, 60)
    axes.set_ylim(0, 1.05 * axes.dataLim.y1 or 1.0)
    peak = _stats(inputs.this).get("peak")
    if peak is not None and -20 < peak < 60:
        _mark(axes, peak, f"peak {number(peak, 1)}", "right")
    return picture_of(axes)


def _draw_hist_cum(inputs: _Inputs) -> Image:
    axes = add_axes(add_figure(640, 320), "threshold, e⁻/s", "pixels above threshold")
    use_decades(axes.xaxis)
    use_decades(axes.yaxis)
    quanta = np.unique(np.geomspace(1, HIGHEST, 500).astype(np.int64))
    _draw_lines(axes, inputs.counted, lambda item: item.above(quanta))
    axes.set_xlim(10, HIGHEST)
    axes.set_ylim(0.7, 5e6)
    _mark_thresholds(axes)
    for threshold in THRESHOLDS:
        count = _stats(inputs.this).get(f"n{threshold}")
        if count:
            axes.plot(threshold, count, "o", color=SERIES[0])
            axes.annotate(
                number(count), (threshold, count), (5, 3), textcoords="offset points",
                color=SERIES[0],
            )  # fmt: skip
    return picture_of(axes)


# --- Maps ----------------------------------------------------------------------------------------

DARK = Stretch(3, 3000, np.log10, (3, 10, 30, 100, 300, 1000, 3000))
SIGMA = Stretch(2, 50, np.log10, (2, 5, 10, 20, 50))
DIFFERENCE = Stretch(
    -1000, 1000, lambda x: np.arcsinh(x / np.float32(10)), (-1000, -100, -10, 0, 10, 100, 1000)
)
"""Scales of colours, the same for every calibration (e-/s)."""
GAP = MAP_SIZE - 2 * HALF
"""Empty pixels between two quadrants of a map."""


def _draw_ccd(values: FloatArray, good: npt.NDArray[np.bool_], scale: Stretch) -> Image:
    """Draw a full image, the quadrants a little apart; pixels that are not good in red."""
    figure, axes = frame_map("CCD column", "CCD row", "e⁻/s", scale)
    marks = np.array([-512, -256, 0, 256, 511])
    places = (marks + HALF + GAP * (marks >= 0) + 0.5) / MAP_SIZE
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(places, labels=[*map(number, marks)])
    for name, (rows, columns) in QUADRANTS.items():
        x, y = 0.25 + 0.5 * (columns.start > 0), 1.03 if rows.start else -0.063
        axes.text(x, y, f"quadrant {name}", color=INK3, ha="center", va="center")
    index: Index = np.where(good, scale.colour(np.nan_to_num(values)), np.uint8(RED))
    for axis_number in (0, 1):
        index = np.insert(index, [HALF] * GAP, BLANK, axis=axis_number)
    return finish_map(figure, index)


def _measured(calibration: Calibration) -> npt.NDArray[np.bool_]:
    return is_measured(calibration.image, calibration.mask)


def _draw_dark_map(inputs: _Inputs) -> Image:
    return _draw_ccd(inputs.this.image, _measured(inputs.this), DARK)


def _draw_sigma_map(inputs: _Inputs) -> Image | str:
    sigma = inputs.this.sigma
    if sigma is None:
        return "This calibration has no uncertainties: only its image was imported."
    return _draw_ccd(sigma, np.isfinite(sigma), SIGMA)


def _scale_of_previous(inputs: _Inputs) -> float | str:
    """Return the factor that brings the previous image to this temperature, or why none does."""
    if inputs.previous is None:
        return "There is no previous calibration."
    t_ccd, t_ccd_ref = (item.properties.get("ccd_temp") for item in (inputs.previous, inputs.this))
    if t_ccd is None or t_ccd_ref is None:
        return "Not both calibrations have a CCD temperature."
    return float(dark_temp_scale(t_ccd, t_ccd_ref))


def _draw_diff_map(inputs: _Inputs) -> Image | str:
    scale = _scale_of_previous(inputs)
    if isinstance(scale, str) or inputs.previous is None:
        return str(scale)
    difference = inputs.this.image - inputs.previous.image * np.float32(scale)
    good = _measured(inputs.this) & _measured(inputs.previous)
    return _draw_ccd(difference, good, DIFFERENCE)


CELL = 3
"""Pixels of the file per cell of the density plot."""
VALUES = Stretch(-30, 10_000, DIFFERENCE.law, (0, 10, 100, 1000, 10_000))
DENSITY = Stretch(1, 3000, np.log10, (1, 3, 10, 30, 100, 300, 1000, 3000))


def _draw_scatter_prev(inputs: _Inputs) -> Image | str:
    scale = _scale_of_previous(inputs)
    if isinstance(scale, str) or inputs.previous is None:
        return str(scale)
    counts = compute_joint_counts(inputs.this, inputs.previous, scale, VALUES, MAP_SIZE // CELL)
    index = np.where(counts > 0, DENSITY.colour(counts.clip(1)), np.uint8(BLANK))
    content = index.repeat(CELL, axis=0).repeat(CELL, axis=1)
    diagonal = np.arange(MAP_SIZE)
    content[diagonal, diagonal] = RED + 1
    this, before = _label(inputs.this), _label(inputs.previous)
    figure, axes = frame_map(
        f"{before}, as at this temperature, e⁻/s", f"{this}, e⁻/s", "pixels", DENSITY
    )
    VALUES.label(axes.xaxis)
    VALUES.label(axes.yaxis)
    return finish_map(figure, content)


# --- Quadrants, temperatures ---------------------------------------------------------------------

QUADRANT_PANELS = (
    (44, "mean", "mean, e⁻/s"),
    (196, "median", "median, e⁻/s"),
    (348, "peak", "peak, e⁻/s"),
    (515, "n100", "pixels > 100 e⁻/s"),
)
"""Left edge (pixels of the page), statistic and title of each panel."""


def _draw_quad_stats(inputs: _Inputs) -> Image | str:
    compared = [item for item in (inputs.this, inputs.previous) if item is not None]
    quadrants = [_stats(item).get("quadrants") or {} for item in compared]
    if not quadrants[0]:
        return "The properties of this calibration have no statistics of the quadrants."
    figure = add_figure(640, 240)
    for left, key, title in QUADRANT_PANELS:
        axes = add_axes(figure, "", title, (left, 28, left + 105, 190))
        for values, colour, marker in reversed([*zip(quadrants, SERIES, "os", strict=False)]):
            y = [values.get(name, {}).get(key) for name in "ABCD"]
            axes.plot([np.nan if v is None else v for v in y], marker, color=colour)
        axes.set_xticks(range(4), list("ABCD"))
        axes.set_xlim(-0.6, 3.6)
        axes.margins(y=0.2)
        use_few_ticks(axes.yaxis, 4)
    for place, (item, colour, marker) in enumerate(zip(compared, SERIES, ("●", "■"), strict=False)):
        x = 0.075 + 0.3 * place
        figure.text(x, 0.03, f"{marker} {_label(item)}", color=colour)
    return picture_of(figure)


def _draw_temp_replicas(inputs: _Inputs) -> Image | str:
    replicas = [
        (item["count"], item["ccd_temp"], item.get("ccd_temp_source") or "")
        for item in inputs.this.properties.get("replicas") or []
        if item.get("ccd_temp") is not None
    ]
    if not replicas:
        return "No replica of this calibration has a CCD temperature."
    counts, temperatures, sources = zip(*replicas, strict=True)
    axes = add_axes(add_figure(640, 240), "replica", "T_CCD, °C", (56, 28, 540, 178))
    axes.plot(counts, temperatures, "o", color=SERIES[0])
    mean = float(np.mean(temperatures))
    axes.axhline(mean, color=SERIES[1], linestyle=DASHES[1])
    axes.set_xlim(min(counts) - 0.5, max(counts) + 0.5)
    axes.set_ylim(min(temperatures) - 0.1, max(temperatures) + 0.1)
    axes.set_xticks(
        counts, [f"{count}\n{source}" for count, source in zip(counts, sources, strict=True)]
    )
    use_few_ticks(axes.yaxis, 5, 2)
    axes.annotate(
        f"mean {number(mean, 2)}", (1, mean), (6, 0), textcoords="offset points",
        xycoords=axes.get_yaxis_transform(), color=SERIES[1], va="center",
    )  # fmt: skip
    return picture_of(axes)


PLOTS = {
    "dark_map.png": Plot(
        "Dark map",
        "e⁻/s, logarithmic, every pixel; pixels without a sample red.",
        *MAP_ON_PAGE,
    ),
    "diff_map.png": Plot(
        "Change since the previous calibration",
        "e⁻/s, this one minus the previous one at the temperature of this one; even steps up to"
        " 10 e⁻/s, then logarithmic. Pixels missing in either one red.",
        *MAP_ON_PAGE,
    ),
    "hist_diff.png": Plot(
        "Histogram",
        "Bins of one quantum of the image, above about 20 e⁻/s of 0.02 dex; at the temperature of"
        " each calibration. Values below 1 e⁻/s are not shown.",
    ),
    "hist_cum.png": Plot("Pixels above a threshold", "At the temperature of each calibration."),
    "hist_zero.png": Plot("Histogram about the peak", "Bins of one quantum of the image."),
    "quad_stats.png": Plot("Quadrants", "Vertical scales do not begin at 0.", 640, 240),
    "scatter_prev.png": Plot(
        "Every pixel then and now",
        "Pixels on the line did not change; even steps up to 10 e⁻/s, then logarithmic. Values"
        " beyond an axis are shown at its end.",
        *MAP_ON_PAGE,
    ),
    "sigma_map.png": Plot(
        "Uncertainty",
        "Standard error, e⁻/s, logarithmic, every pixel; pixels without a sample red.",
        *MAP_ON_PAGE,
    ),
    "temp_replicas.png": Plot(
        "CCD temperature of the replicas",
        "HDR3: mean of header 3 before and after; AACCCDPT: engineering telemetry; GUESS: before"
        " 2000.",
        640,
        240,
    ),
}
"""The files, and how a page shows them."""
_DRAW: dict[str, Callable[[_Inputs], Image | str]] = {
    "dark_map.png": _draw_dark_map,
    "diff_map.png": _draw_diff_map,
    "hist_diff.png": _draw_hist_diff,
    "hist_cum.png": _draw_hist_cum,
    "hist_zero.png": _draw_hist_zero,
    "quad_stats.png": _draw_quad_stats,
    "scatter_prev.png": _draw_scatter_prev,
    "sigma_map.png": _draw_sigma_map,
    "temp_replicas.png": _draw_temp_replicas,
}
