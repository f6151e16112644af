"""Figures and maps in the manner of the pages: hairlines, direct names, one scale of colours.

Drawing sets matplotlib's parameters for the time being, so only one thread of a process may draw.
Pictures carry no date and no software, so equal content makes equal files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from acaflow.archive.aca_dark.dark_text import number, power_of_ten, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

__all__ = [
    "BLANK",
    "DASHES",
    "INK3",
    "MAP_LEFT",
    "MAP_ON_PAGE",
    "MAP_SIZE",
    "MAP_TOP",
    "RED",
    "SERIES",
    "Index",
    "Plot",
    "Stretch",
    "add_axes",
    "add_figure",
    "drawing",
    "finish_map",
    "frame_map",
    "name_ends",
    "name_lines",
    "picture_of",
    "save",
    "use_decades",
    "use_few_ticks",
    "use_year_ticks",
]

INK, INK3, LINE, EDGE = "#1b1d1f", "#63676b", "#dcdcd2", "#85857a"
GROUND = "#fdfdfb"
DEAD = "#b01c12"
"""Only for what needs attention."""
SERIES = ("#0a5cb0", "#b35c00", "#1d6b45", "#7a3b8f")
DASHES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
"""Lines of a plot, in order: colour and dash (tokens of the design)."""

PER_INCH, DPI = 100, 150
"""Pixels per inch of the page, and of the file."""
TEXT = 12 * 72 / PER_INCH
"""Size of text (points): 12 pixels of the page."""


@dataclass(frozen=True)
class Plot:
    """How a page shows a picture.

    Attributes
    ----------
    title, caption : str
        Heading, and what a reader could misread.
    width, height : int
        Pixels of the page.
    """

    title: str
    caption: str
    width: int = 640
    height: int = 320


# --- Figures -------------------------------------------------------------------------------------


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with our settings, whatever the user's are."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(
            {
                "font.size": TEXT,
                "text.color": INK,
                "figure.facecolor": GROUND,
                "axes.facecolor": "none",
                "axes.edgecolor": EDGE,
                "axes.labelcolor": INK3,
                "axes.labelsize": TEXT,
                "axes.spines.left": False,
                "axes.spines.right": False,
                "axes.spines.top": False,
                "axes.axisbelow": True,
                "grid.color": LINE,
                "grid.linewidth": 0.7,
                "lines.linewidth": 1.2,
                "lines.markersize": 4.5,
                "xtick.color": EDGE,
                "xtick.labelcolor": INK3,
                "ytick.color": EDGE,
                "ytick.labelcolor": INK3,
                "ytick.left": False,
            }
        )
        yield


def add_figure(width: int, height: int) -> Figure:
    """Return an empty figure of a size in pixels of the page."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width / PER_INCH, height / PER_INCH), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def add_axes(figure: Figure, x: str, y: str, box: Sequence[float] | None = None) -> Axes:
    """Add axes with hairlines across.

    Parameters
    ----------
    figure : Figure
        Of `add_figure`.
    x, y : str
        Quantity and unit, written below the right end and above the left one.
    box : sequence of float, optional
        Left, top, right, bottom edge in pixels of the page; default nearly all of the figure.
    """
    width, height = figure.get_size_inches() * PER_INCH
    left, top, right, bottom = box or (56, 28, width - 20, height - 46)
    axes = figure.add_axes(
        (left / width, 1 - bottom / height, (right - left) / width, (bottom - top) / height)
    )
    axes.grid(axis="y")
    axes.set_title(y, loc="left", fontsize=TEXT, color=INK3, pad=7)
    axes.set_xlabel(x, loc="right")
    return axes


def use_decades(axis: Any) -> None:
    """Make an axis logarithmic with a tick at each power of ten, written 1, 10, 100, 10³."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis._set_axes_scale("log")
    axis.set_major_locator(LogLocator(numticks=20))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: _power(value)))


def _power(value: float) -> str:
    exponent = round(np.log10(value))
    return f"{value:g}" if -3 <= exponent <= 2 else power_of_ten(exponent)


def name_lines(axes: Axes, names: Sequence[str]) -> None:
    """Write the names of the lines above the right end of the axes, in their order and colours."""
    for place, (name, colour) in enumerate(reversed([*zip(names, SERIES, strict=False)])):
        axes.annotate(
            name,
            (1, 1),
            (-place * 11.5 * TEXT, 7),
            xycoords="axes fraction",
            textcoords="offset points",
            color=colour,
            ha="right",
        )


def name_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write the names of the lines right of the axes, at their last values, none over another.

    Parameters
    ----------
    axes : Axes
        With its final limits.
    ends : sequence of (float, str, str)
        Last value, name and colour.
    """
    step = 1.35 * TEXT * DPI / 72
    place = -np.inf
    for value, name, colour in sorted(ends):
        place = max(float(axes.transData.transform((1.0, value))[1]), place + step)
        axes.annotate(
            name,
            (1, place),
            (6, 0),
            xycoords=("axes fraction", "figure pixels"),
            textcoords="offset points",
            color=colour,
            va="center",
        )


def use_few_ticks(axis: Any, most: int, decimals: int | None = None) -> None:
    """Put a few round numbers on a linear axis, with so many decimals or as few as possible."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    def write(value: float, _: int) -> str:
        return short(value) if decimals is None else number(value, decimals)

    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(write))


def use_year_ticks(axis: Any) -> None:
    """Put whole years on an axis."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
    axis.set_major_formatter(FuncFormatter(lambda year, _: f"{year:.0f}"))


def picture_of(drawn: Figure | Axes) -> Image:
    """Return a figure, that of some axes, as a picture."""
    from PIL import Image

    figure: Any = drawn.get_figure(root=True)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())
    return Image.fromarray(np.ascontiguousarray(pixels[..., :3]))


def save(picture: Image | str, path: Path) -> str:
    """Save a picture, or pass on the text that says why there is none."""
    if isinstance(picture, str):
        return picture
    picture.save(path, "PNG")
    return ""


# --- Maps ----------------------------------------------------------------------------------------

Index = npt.NDArray[np.uint8]
"""Palette entries."""
COLOURS = 128
"""Of a scale: entries 0 to 127."""
RED, BLACK, BLANK = COLOURS, COLOURS + 1, 255
"""Entry of what needs attention; first and last of the greys: black, and the ground."""

MAP_LEFT, MAP_TOP, MAP_SIZE = 150, 60, 1026
"""Upper left corner of the content in the file of a map, and its width and height (pixels)."""
BAR_LEFT, BAR_WIDTH = MAP_LEFT + MAP_SIZE + 44, 36
MAP_WIDTH, MAP_HEIGHT = BAR_LEFT + BAR_WIDTH + 124, MAP_TOP + MAP_SIZE + 104
MAP_ON_PAGE = MAP_WIDTH // 2, MAP_HEIGHT // 2
"""Width and height of the whole file, and how a page shows it (pixels)."""


@dataclass(frozen=True)
class Stretch:
    """How values become places on an axis or a scale of colours.

    Attributes
    ----------
    low, high : float
        Values at the ends; what lies beyond is shown as these.
    law : callable
        Makes steps of the values even: ``np.log10``.
    ticks : sequence of float
        Values to write.
    """

    low: float
    high: float
    law: Callable[[Any], Any]
    ticks: Sequence[float]

    def place(self, values: Any) -> Any:
        """Return places from 0 to 1."""
        low, high = self.law(self.low), self.law(self.high)
        return (self.law(np.clip(values, self.low, self.high)) - low) / (high - low)

    def colour(self, values: Any) -> Index:
        """Return palette entries."""
        entries: Index = np.rint(self.place(values) * (COLOURS - 1)).astype(np.uint8)
        return entries

    def label(self, axis: Any) -> None:
        """Put the ticks on an axis that runs from 0 to 1."""
        axis.set_ticks(self.place(np.array(self.ticks)), labels=[*map(number, self.ticks)])


def frame_map(x: str, y: str, unit: str, scale: Stretch) -> tuple[Figure, Axes]:
    """Return the frame of a map: names of its axes, and a scale bar.

    Returns
    -------
    figure, axes : Figure, Axes
        The axes lie over the content, from 0 to 1; their ticks are the caller's.
    """
    figure = add_figure(*MAP_ON_PAGE)
    figure.set_dpi(2 * PER_INCH)
    bottom, height = 1 - (MAP_TOP + MAP_SIZE) / MAP_HEIGHT, MAP_SIZE / MAP_HEIGHT
    axes = figure.add_axes((MAP_LEFT / MAP_WIDTH, bottom, MAP_SIZE / MAP_WIDTH, height))
    bar = figure.add_axes((BAR_LEFT / MAP_WIDTH, bottom, BAR_WIDTH / MAP_WIDTH, height))
    for each in (axes, bar):
        each.spines[:].set_visible(False)
        each.tick_params(left=True)
    axes.set_xlabel(x)
    axes.set_ylabel(y, va="center")
    axes.yaxis.set_label_coords(-0.115, 0.5)
    bar.set_xticks([])
    bar.yaxis.tick_right()
    bar.set_title(unit, fontsize=TEXT, color=INK3, pad=7, loc="left")
    scale.label(bar.yaxis)
    return figure, axes


def finish_map(figure: Figure, content: Index) -> Image:
    """Lay the content and the scale bar into their frame.

    Parameters
    ----------
    figure : Figure
        Of `frame_map`; all its ink is grey.
    content : ndarray of uint8, shape (1026, 1026)
        Palette entries, lowest row first.
    """
    from PIL import Image

    grey = np.asarray(picture_of(figure).convert("L"))
    white = int(GROUND[1:3], 16)
    entries = BLACK + np.minimum(np.arange(256) / white, 1) * (BLANK - BLACK)
    indices = np.rint(entries).astype(np.uint8)[grey]
    rows = slice(MAP_TOP, MAP_TOP + MAP_SIZE)
    indices[rows, MAP_LEFT : MAP_LEFT + MAP_SIZE] = content[::-1]
    ramp = np.linspace(COLOURS - 1, 0, MAP_SIZE).round()[:, np.newaxis]
    indices[rows, BAR_LEFT : BAR_LEFT + BAR_WIDTH] = ramp
    made = Image.fromarray(indices)
    made.putpalette(_palette())
    return made


def _palette() -> bytes:
    import matplotlib as mpl

    colours = mpl.colormaps["cividis"](np.linspace(0, 1, COLOURS), bytes=True)[:, :3]
    red, ground = (np.array([*bytes.fromhex(colour[1:])]) for colour in (DEAD, GROUND))
    greys = np.rint(np.linspace(0, 1, 256 - BLACK)[:, np.newaxis] * ground)
    return np.concatenate([colours, red[np.newaxis], greys]).astype(np.uint8).tobytes()
