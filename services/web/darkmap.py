"""The viewer of dark maps: a window of the CCD, its flags, a pixel, all in the address.

Pages work without script: every step is a link. With script (``darkmap.js``) the same drawing
is moved and zoomed in place. Pictures and values carry the hash of their content in their address
and are kept by the browser.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from flask import Blueprint, Response, render_template, request, url_for

from acaflow.archive.aca_dark.ccd import HALF, SIZE
from acaflow.archive.aca_dark.combine import MaskBit
from acaflow.archive.aca_dark.dark_drawing import Stretch
from acaflow.errors import InputError, MissingDataError
from services.web import darkdraw
from services.web.darkview import Shown, find, neighbours
from services.web.darkwords import use_words
from services.web.pixels import draw_grid

blueprint = Blueprint("darkmap", __name__)
use_words(blueprint)

ZOOMS = (1, 2, 4, 8, 16, 32, 64)
CELLS = 4
"""Links along an edge of the map, each of which opens its part of it."""
NEAR = 8
"""Pixels along an edge of the grid with numbers."""
RAMP = "cividis"
"""Version of the colours."""
FLAGS = {
    MaskBit.MISSING: "no sample",
    MaskBit.FEW: "fewer than 3 samples in a group",
    MaskBit.SATURATED: "a raw sample is 65535",
    MaskBit.SCATTER: "at least 2 replicas beyond 5 σ",
    MaskBit.WARM: "above 100 e⁻/s",
    MaskBit.HOT: "above 3000 e⁻/s",
    MaskBit.COSMIC: "a cosmic ray in a sample",
    MaskBit.LOW: "more than 5 σ below zero",
    MaskBit.FILLED: "median of its neighbours",
}


@dataclass(frozen=True)
class Window:
    """A square of the CCD, and the chosen pixel.

    Attributes
    ----------
    row, col : int
        The chosen pixel.
    zoom : int
        One of `ZOOMS`.
    row0, col0 : int
        CCD row and column of the lower left pixel of the square.
    """

    row: int
    col: int
    zoom: int
    row0: int
    col0: int

    @property
    def size(self) -> int:
        """Pixels along an edge."""
        return SIZE // self.zoom

    @property
    def box(self) -> str:
        """The square as a drawing has it: column to the right, row up, from 0 to 1024."""
        top = HALF - self.row0 - self.size
        return f"{self.col0 + HALF} {top} {self.size} {self.size}"

    @property
    def cross(self) -> str:
        """Lines through the chosen pixel and around it, as `box`."""
        x, y = self.col + HALF, HALF - 1 - self.row
        return f"M{x}.5 0V{y}m0 1V{SIZE}M0 {y}.5H{x}m1 0H{SIZE}M{x} {y}h1v1h-1z"

    @property
    def query(self) -> dict[str, int]:
        """The window as arguments of an address."""
        names = ("row", "col", "zoom", "row0", "col0")
        return {name: getattr(self, name) for name in names}

    def moved(self, up: float, right: float) -> dict[str, int]:
        """Return the arguments of a window so many edges away."""
        by = (round(edges * self.size) for edges in (up, right))
        row0, col0 = (
            _within(first + step, self.size)
            for first, step in zip((self.row0, self.col0), by, strict=True)
        )
        return replace(self, row0=row0, col0=col0).query

    def zoomed(self, factor: float) -> dict[str, int]:
        """Return the arguments of a larger or smaller window about the same middle."""
        zoom = int(min(max(self.zoom * factor, ZOOMS[0]), ZOOMS[-1]))
        half = (self.size - SIZE // zoom) // 2
        row0, col0 = (_within(first + half, SIZE // zoom) for first in (self.row0, self.col0))
        return replace(self, zoom=zoom, row0=row0, col0=col0).query

    def cells(self) -> list[tuple[str, dict[str, int]]]:
        """Return the parts of the window: SVG rectangle, and the arguments that open each."""
        edge = self.size // CELLS
        found = []
        for up in range(CELLS):
            for right in range(CELLS):
                row0, col0 = self.row0 + up * edge, self.col0 + right * edge
                part = Window(row0 + edge // 2, col0 + edge // 2, self.zoom * CELLS, row0, col0)
                found.append((part.box, part.query))
        return found if self.zoom * CELLS <= ZOOMS[-1] else []


def _within(first: int, size: int) -> int:
    """Return the nearest first pixel of a window that lies on the CCD."""
    return min(max(first, -HALF), HALF - size)


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    written = query.get(name, "").strip().replace("−", "-")
    if not written:
        return default
    try:
        value = int(written)
    except ValueError:
        value = SIZE
    if not -HALF <= value < HALF:
        raise InputError(f"“{written}” is no {name} of the CCD. Rows and columns are -512 to 511.")
    return value


def read_window(query: Mapping[str, str]) -> Window:
    """Return the window of an address; about the chosen pixel unless it says otherwise."""
    written = query.get("zoom", "1")
    if written not in map(str, ZOOMS):
        raise InputError(f"“{written}” is no zoom. Zooms are {', '.join(map(str, ZOOMS))}.")
    zoom = int(written)
    size = SIZE // zoom
    row, col = (_number(query, name, 0) for name in ("row", "col"))
    row0, col0 = (
        _within(_number(query, name, _within(middle - size // 2, size)), size)
        for name, middle in (("row0", row), ("col0", col))
    )
    return Window(row, col, zoom, row0, col0)


def _bits() -> int:
    """Return the flags of the address; 0 for none."""
    total = 0
    for written in request.args.getlist("bits"):
        if not written.isascii() or not written.isdecimal() or int(written) >= 2 * MaskBit.FILLED:
            raise InputError(f"“{written}” are no flags. Flags are the sums of 1, 2, 4, ... 256.")
        total |= int(written)
    return total


def _other(shown: Shown) -> Shown | None:
    """Return what a calibration is compared with: that of the address, else the one before."""
    name = request.args.get("with", "").strip() or neighbours(shown.dark_id)[0]
    return find(name) if name else None


# --- The viewer -----------------------------------------------------------------------------------


@blueprint.get("/dark-cals/<name>/map")
def show_map(name: str) -> Any:
    """Answer: what does the CCD look like there, and what is in this pixel."""
    shown, window, bits = find(name), read_window(request.args), _bits()
    other = _other(shown)
    layer = request.args.get("layer", "image")
    problem, scale = "", None
    try:
        if layer != "mask":
            scale = shown.layer(layer, other).scale
        elif shown.cal.mask is None:
            raise MissingDataError(f"Calibration {name} has no flags.")
    except MissingDataError as err:
        problem = str(err)
    bits = bits or (sum(MaskBit) if layer == "mask" else 0)
    compared = {"with": other.name} if "with" in request.args and other else {}
    asked = {"name": name, "layer": layer, **compared} | ({"bits": bits} if bits else {})
    return render_template(
        "dark_map.html",
        shown=shown,
        window=window,
        layer=layer,
        layers=_layers(shown, other),
        problem=problem,
        bits=bits,
        flags=[(int(bit), str(bit.name).lower(), words) for bit, words in FLAGS.items()],
        flagged=shown.kept.flagged,
        asked=asked,
        source=lambda endpoint, **more: source_of(endpoint, shown, other, **more),
        key=draw_key(scale) if scale else "",
        **_pixel(shown, other, window),
    )


def _layers(shown: Shown, other: Shown | None) -> dict[str, str]:
    """Return the layers that a map of this calibration has, with their names."""
    found = {"image": "Dark current"}
    if shown.cal.sigma is not None:
        found["sigma"] = "Uncertainty"
    if shown.cal.mask is not None:
        found["mask"] = "Flags alone"
    if other is not None and shown.factor_of(other) is not None:
        found |= {"diff": f"Minus {other.name}", "other": f"{other.name} at this temperature"}
    return found


def _pixel(shown: Shown, other: Shown | None, window: Window) -> dict[str, Any]:
    """Return what the page says of the chosen pixel: its numbers, and those around it."""
    row0, col0 = (_within(middle - NEAR // 2, NEAR) for middle in (window.row, window.col))
    cut = (slice(row0 + HALF, row0 + HALF + NEAR), slice(col0 + HALF, col0 + HALF + NEAR))
    near = np.ma.MaskedArray(shown.cal.image[cut], ~shown.kept.good[cut])
    scale = shown.layer("image").scale
    label = f"Dark current about row {window.row}, column {window.col}, electrons per second"
    return {
        "pixel": shown.at(window.row, window.col, other),
        "grid": draw_grid(near, row0, col0, scale.low, scale.high, label),
        "other": other,
    }


@blueprint.get("/fragments/dark-cals/<name>/pixel")
def pixel_part(name: str) -> Any:
    """Give what the page says of a pixel."""
    shown = find(name)
    return render_template(
        "_dark_pixel.html", **_pixel(shown, _other(shown), read_window(request.args))
    )


@blueprint.get("/api/v1/dark-cals/<name>/pixel")
def pixel_json(name: str) -> Any:
    """Give the numbers of one pixel."""
    shown, window = find(name), read_window(request.args)
    other = _other(shown)
    found = shown.at(window.row, window.col, other)
    return {"calibration": name, "compared_with": other and other.name} | found


# --- Pictures and values --------------------------------------------------------------------------

COMPARING = ("other", "diff")
"""Layers for which the other calibration matters."""


def source_of(endpoint: str, shown: Shown, other: Shown | None, **more: Any) -> str:
    """Return the address of a picture, which changes with what it shows."""
    if more.get("layer") in COMPARING or endpoint == "density":
        more["with"] = other.name if other else None
    else:
        other = None
    return url_for(f"darkmap.{endpoint}", name=shown.name, v=shown.version(other), **more)


def draw_key(scale: Stretch, unit: str = "e⁻/s") -> Any:
    """Draw the scale bar of a map."""
    return darkdraw.draw_scale(scale, url_for("darkmap.ramp", v=RAMP), unit)


def _version(shown: Shown, other: Shown | None) -> str:
    """Return the version that the address of a picture has if it is up to date."""
    return shown.version(other if "with" in request.args else None)


def _kept(content: bytes, mimetype: str, version: str) -> Response:
    """Answer with what never changes under its address, if the address says of what it is."""
    response = Response(content, mimetype=mimetype)
    if request.args.get("v") == version:
        response.cache_control.public = True
        response.cache_control.max_age = 31_536_000
        response.cache_control.immutable = True
    return response


@blueprint.get("/dark-cals/<name>/map.png")
def picture(name: str) -> Response:
    """Give a square of a layer as a PNG, or the small map of all of it (``small=1``)."""
    shown = find(name)
    other = _other(shown)
    layer = shown.layer(request.args.get("layer", "image"), other)
    if request.args.get("small"):
        content = darkdraw.make_small_map(layer)
    else:
        window = read_window(request.args)
        content = darkdraw.make_map(layer, window.row0, window.col0, window.size)
    return _kept(content, "image/png", _version(shown, other))


@blueprint.get("/dark-cals/<name>/flags.png")
def flags(name: str) -> Response:
    """Give the flagged pixels of a square as a PNG to lie over the map."""
    shown, window = find(name), read_window(request.args)
    if shown.cal.mask is None:
        raise MissingDataError(f"Calibration {name} has no flags.")
    content = darkdraw.make_flags(shown.cal.mask, _bits(), window.row0, window.col0, window.size)
    return _kept(content, "image/png", shown.version())


@blueprint.get("/dark-cals/<name>/map.f32")
def values(name: str) -> Response:
    """Give all values of a layer: float32, little endian, row -512 first."""
    from isal import igzip

    shown = find(name)
    other = _other(shown)
    layer = shown.layer(request.args.get("layer", "image"), other)
    content = layer.values.astype("<f4", copy=False).tobytes()
    response = _kept(igzip.compress(content, 1), "application/octet-stream", _version(shown, other))
    response.headers["Content-Encoding"] = "gzip"
    return response


@blueprint.get("/dark-cals/<name>/density.png")
def density(name: str) -> Response:
    """Give the density of the values here and there as a PNG."""
    shown = find(name)
    other = _other(shown)
    shown.layer("other", other)  # says what is missing
    assert other is not None
    factor = shown.factor_of(other) or 1.0
    content = darkdraw.make_density(shown, other, factor)
    return _kept(content, "image/png", _version(shown, other))


@blueprint.get("/dark-cals/ramp.png")
def ramp() -> Response:
    """Give the colours of the scales."""
    return _kept(darkdraw.make_ramp(), "image/png", RAMP)
