"""Star images as pictures: colours, pixel grids with numbers, strips and movies.

Colour is cividis on one logarithmic scale that the caller fixes, so that pictures compare.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from acaflow.archive.aca_dark.dark_text import MINUS
from services.web.plots import fixed, svg

__all__ = ["draw_grid", "draw_key", "make_movie", "make_palette", "make_strip"]

CIVIDIS = {
    0: (0x00, 0x22, 0x4E),
    19: (0x00, 0x30, 0x6F),
    21: (0x00, 0x31, 0x70),
    23: (0x01, 0x32, 0x71),
    28: (0x12, 0x35, 0x70),
    34: (0x1E, 0x3A, 0x6F),
    52: (0x36, 0x46, 0x6C),
    84: (0x56, 0x5C, 0x6D),
    126: (0x7B, 0x7A, 0x78),
    147: (0x8F, 0x8A, 0x78),
    179: (0xAE, 0xA3, 0x71),
    205: (0xC9, 0xB9, 0x65),
    232: (0xE7, 0xD1, 0x50),
    243: (0xF3, 0xDB, 0x42),
    251: (0xFD, 0xE3, 0x34),
    255: (0xFE, 0xE8, 0x38),
}
"""Nodes of the colour map of Nuñez, Anderton and Renslow (2018, PLoS ONE 13, e0199239); linear
interpolation between them is within 2 of 255 of the published 256 colours."""

ABSENT = 0
"""Palette index of no pixel: transparent."""
FRAME_MS = 80
TILE = 4
"""Screen pixels per image pixel in a strip …"""
MOVIE_TILE = 16
"""… and in a movie."""

Images = np.ma.MaskedArray[Any, np.dtype[Any]]


def make_palette() -> npt.NDArray[np.uint8]:
    """Return the 256 colours, shape (256, 3)."""
    nodes = np.array(list(CIVIDIS.values()))
    steps = [np.interp(np.arange(256), list(CIVIDIS), nodes[:, band]) for band in range(3)]
    palette: npt.NDArray[np.uint8] = np.rint(np.stack(steps, axis=1)).astype(np.uint8)
    return palette


def _levels(values: Any, low: float, high: float) -> npt.NDArray[np.uint8]:
    """Return palette indices 1 to 255 of values on the logarithmic scale; `ABSENT` if masked."""
    clipped = np.clip(np.ma.asarray(values, dtype=np.float64).filled(np.nan), low, high)
    level = 1 + 254 * np.log(clipped / low) / math.log(high / low)
    return np.where(np.isnan(level), ABSENT, np.rint(np.nan_to_num(level))).astype(np.uint8)


# --- A grid with numbers ------------------------------------------------------------------------

CELL, LEFT = 14, 16


def draw_grid(image: Images, row0: int, col0: int, low: float, high: float, label: str) -> Markup:
    """Draw one image with its values, rows upward, CCD rows and columns beside it.

    Parameters
    ----------
    image : MaskedArray, shape (size, size)
        Pixels (e-/s); masked ones are drawn empty.
    row0, col0 : int
        CCD row and column of pixel [0, 0].
    low, high : float
        Ends of the colour scale (e-/s).
    label : str
        For those who do not see the picture.
    """
    size = len(image)
    levels, palette = _levels(image, low, high), make_palette()
    bottom = CELL * size
    parts: list[str] = []
    for r in range(size):
        top = CELL * (size - 1 - r)
        parts.append(f'<text class="e" x="{LEFT - 2}" y="{top + 8.5}">{_plain(row0 + r)}</text>')
        for c in range(size):
            left = LEFT + CELL * c
            box = f'x="{left}" y="{top}" width="{CELL}" height="{CELL}"'
            if levels[r, c] == ABSENT:
                parts.append(f'<rect class="cut" {box}/>')
                continue
            colour = palette[levels[r, c]]
            ink = "hi" if _luminance(colour) > 0.18 else "lo"
            value = _plain(round(float(image[r, c])))
            parts.append(
                f'<rect {box} fill="#{bytes(colour).hex()}"/>'
                f'<text class="m {ink}" x="{left + CELL // 2}" y="{top + 8.5}">{value}</text>'
            )
    for c in range(size):
        middle = f'x="{LEFT + CELL * c + CELL // 2}" y="{bottom + 7}"'
        parts.append(f'<text class="m" {middle}>{_plain(col0 + c)}</text>')
    return svg(f"pixels s{size}", LEFT + CELL * size + 1, bottom + 9, label, parts)


def _plain(value: int) -> str:
    return str(value).replace("-", MINUS)


def _luminance(colour: npt.NDArray[np.uint8]) -> float:
    """Return the relative luminance of a colour (WCAG 2)."""
    part = colour / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def draw_key(low: float, high: float) -> Markup:
    """Draw the scale bar of the colours, with ticks at 1, 3, 10, 30 ... and the unit."""
    steps, width, left = 64, 240, 8
    palette = make_palette()
    boxes = "".join(
        # Each reaches to the end, so that no ground shows through between two.
        f'<rect x="{left + width * n / steps:g}" width="{width - width * n / steps:g}" height="10"'
        f' fill="#{bytes(palette[1 + round(254 * (n + 0.5) / steps)]).hex()}"/>'
        for n in range(steps)
    )
    marks = {low, high, *(n * 10.0**p for p in range(1, 7) for n in (1, 3))}
    ticks = sorted(mark for mark in marks if low <= mark <= high)
    words, edge = [], -99.0
    for mark in ticks:
        at = left + width * math.log(mark / low) / math.log(high / low)
        # The end of the scale matters more than a round number close to it.
        near_end = mark < high and at > left + width - 40
        if at - edge >= 30 and not near_end:
            words.append(f'<text class="m" x="{at:.0f}" y="22">{fixed(mark)}</text>')
            edge = at
    words.append(f'<text x="{left + width + 14}" y="9">e⁻/s</text>')
    label = f"Colour scale, logarithmic, from {fixed(low)} to {fixed(high)} electrons per second"
    return svg("key", 300, 26, label, [boxes, *words])


# --- Pictures -----------------------------------------------------------------------------------


def _tiles(images: Images, sizes: npt.ArrayLike, low: float, high: float) -> npt.NDArray[np.uint8]:
    """Return the palette indices of images, cut to the largest size, first row below."""
    largest = int(np.max(sizes))
    first = (8 - largest) // 2
    inner = slice(first, first + largest)
    return _levels(images[:, inner, inner], low, high)[:, ::-1]


def _enlarged(levels: npt.NDArray[np.uint8], factor: int) -> npt.NDArray[np.uint8]:
    return levels.repeat(factor, axis=-2).repeat(factor, axis=-1)


def _png(frames: Sequence[npt.NDArray[np.uint8]]) -> bytes:
    """Return indexed pictures as a PNG, moving if there is more than one."""
    from PIL import Image

    palette = make_palette().tobytes()
    made = [Image.fromarray(levels, mode="P") for levels in frames]
    for picture in made:
        picture.putpalette(palette)
    file = io.BytesIO()
    moving = {"save_all": True, "append_images": made[1:], "duration": FRAME_MS, "loop": 0}
    options = moving | {"blend": 0, "disposal": 0} if len(made) > 1 else {}
    made[0].save(file, "PNG", transparency=ABSENT, optimize=False, **options)
    return file.getvalue()


def make_strip(images: Images, sizes: npt.ArrayLike, low: float, high: float) -> bytes:
    """Make a PNG of images side by side, one empty image pixel between them.

    Parameters
    ----------
    images : MaskedArray, shape (n, 8, 8)
        Images (e-/s), small ones in the middle, pixels outside them masked.
    sizes : array_like of int
        Sizes of these or more images; there is room for the largest.
    low, high : float
        Ends of the colour scale (e-/s).
    """
    tiles = np.pad(_tiles(images, sizes, low, high), ((0, 0), (0, 0), (0, 1)))
    row = tiles.transpose(1, 0, 2).reshape(tiles.shape[1], -1)[:, :-1]
    return _png([_enlarged(row, TILE)])


def make_movie(images: Images, sizes: npt.ArrayLike, low: float, high: float) -> bytes:
    """Make an animated PNG of images, or a still one of a single image; as `make_strip`."""
    return _png(list(_enlarged(_tiles(images, sizes, low, high), MOVIE_TILE)))
