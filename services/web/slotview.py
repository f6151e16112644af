"""What the slot page shows of the rows of one slot: read once, turned into numbers once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acaflow.archive import aca_l0
from acaflow.archive.l0_export import Column
from acaflow.archive.l0_file import L0File
from acaflow.archive.l0_format import KELVIN
from acaflow.archive.l0_views import (
    compute_centroids,
    compute_colour_limits,
    compute_sums,
    find_runs,
)

__all__ = [
    "FUNCTIONS",
    "IMAGE_COLUMNS",
    "TRACK",
    "ImageFacts",
    "SlotView",
    "read_slot",
    "row_in_file",
]

IMAGE_COLUMNS = ("TIME", "IMGSIZE", "IMGRAW")
COLUMNS = (
    *("TIME", "QUALITY", "MJF", "MNF", "INTEG", "GLBSTAT", "IMGFUNC1", "IMGSTAT", "IMGROW0"),
    *("IMGCOL0", "IMGSCALE", "BGDAVG", "BGDRMS", "TEMPCCD", "IMGSIZE", "IMGRAW"),
)
FUNCTIONS = {0: "no image", 1: "track", 2: "search", 3: "reacquire"}
"""Words for IMGFUNC1; 2 and 3 are inferred (aca-archive 2.3)."""
TRACK = 1
DESCRIPTIONS = {
    "QUALITY": "0 good, 1 bad",
    "MJF": "major frame",
    "MNF": "minor frame",
    "INTEG": "integration time",
    "IMGSIZE": "pixels along an edge",
    "IMGFUNC1": "0 none, 1 track, 2 search, 3 reacquire",
    "IMGSTAT": "image status bits",
    "GLBSTAT": "global status bits",
    "IMGROW0": "row of pixel [0, 0] as telemetered",
    "IMGCOL0": "column of pixel [0, 0] as telemetered",
    "IMGSCALE": "telemetry scale, 32 is factor 1",
    "BGDAVG": "background average",
    "BGDRMS": "background rms",
}
UNITS = {"INTEG": "s", "IMGROW0": "pix", "IMGCOL0": "pix", "BGDAVG": "DN", "BGDRMS": "DN"}


@dataclass(frozen=True)
class ImageFacts:
    """What one row says; None where it does not say it.

    Attributes
    ----------
    row : int
        Place among the rows shown.
    total : float
        Sum of the pixels (e-/s).
    centroid : tuple of float or None
        CCD row and column (pixels).
    status, global_status : list of str
        Names of the bits that are set in IMGSTAT and GLBSTAT.
    """

    row: int
    time: float
    size: int
    row0: int
    col0: int
    total: float
    centroid: tuple[float, float] | None
    integ_s: float
    ccd_degc: float | None
    background: int | None
    background_rms: int | None
    scale: int | None
    function: int | None
    imgstat: int | None
    status: list[str]
    glbstat: int | None
    global_status: list[str]
    quality: int
    mjf: int | None
    mnf: int | None
    pixels: list[list[float | None]]


def _bits(byte: int | None, names: Sequence[str]) -> list[str]:
    return [name for bit, name in enumerate(names) if byte is not None and byte >> bit & 1]


@dataclass(frozen=True)
class SlotView:
    """Rows of one slot in a span: masked structured array of `aca_l0.get_slot_data`.

    IMGRAW has shape (8, 8), small images in the middle, in e-/s.
    """

    rows: Any

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def times(self) -> npt.NDArray[np.float64]:
        """TIME (CXC seconds)."""
        return np.asarray(self.rows["TIME"].data, dtype=np.float64)

    @cached_property
    def images(self) -> Any:
        """Images (e-/s), shape (n, 8, 8), the corners of 6x6 ones masked too.

        They are not telemetered; level 0 has zeros there (aca-archive 2.5).
        """
        images = self.rows["IMGRAW"].copy()
        small = np.flatnonzero(self.sizes == 6)
        images[small[:, None], [1, 1, 6, 6], [1, 6, 1, 6]] = np.ma.masked
        return images

    def image(self, row: int) -> Any:
        """Return one image (e-/s), shape (size, size)."""
        size = int(self.sizes[row])
        inner = slice((8 - size) // 2, (8 + size) // 2)
        return self.images[row][inner, inner]

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Image sizes (pixels)."""
        return np.asarray(self.rows["IMGSIZE"].data, dtype=np.int64)

    @cached_property
    def sums(self) -> npt.NDArray[np.float64]:
        """Sum of each image (e-/s)."""
        return compute_sums(self.images)

    @cached_property
    def centroids(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """CCD row and column of each image (pixels)."""
        row0, col0 = self.rows["IMGROW0"].data, self.rows["IMGCOL0"].data
        return compute_centroids(self.images, row0, col0, self.sizes)

    @cached_property
    def ccd_degc(self) -> Any:
        """CCD temperature (degC, float32), masked where a row has none."""
        return self.rows["TEMPCCD"] - np.float32(KELVIN)

    @cached_property
    def limits(self) -> tuple[float, float]:
        """Ends of the colour scale of the whole span (e-/s)."""
        return compute_colour_limits(self.images)

    @cached_property
    def idle(self) -> list[tuple[float, float, str]]:
        """Stretches without tracking: from, to (CXC seconds), and what the slot did instead."""
        function = self.rows["IMGFUNC1"].filled(TRACK)
        runs = find_runs(function != TRACK)
        return [
            (self.times[first], self.times[last], self._functions(function[first : last + 1]))
            for first, last in runs.tolist()
        ]

    @staticmethod
    def _functions(values: npt.NDArray[Any]) -> str:
        return ", ".join(FUNCTIONS.get(int(value), "?") for value in np.unique(values))

    def facts(self, row: int) -> ImageFacts:
        """Return what one row says."""
        record = self.rows[row]

        def number(name: str) -> int | None:
            value = record[name]
            return None if value is np.ma.masked else int(value)

        centroid = tuple(float(axis[row]) for axis in self.centroids)
        ccd = self.ccd_degc[row]
        return ImageFacts(
            row=row,
            time=float(self.times[row]),
            size=int(self.sizes[row]),
            row0=int(record["IMGROW0"]),
            col0=int(record["IMGCOL0"]),
            total=float(self.sums[row]),
            centroid=None if np.isnan(centroid[0]) else (centroid[0], centroid[1]),
            integ_s=float(record["INTEG"]),
            ccd_degc=None if ccd is np.ma.masked else float(ccd),
            background=number("BGDAVG"),
            background_rms=number("BGDRMS"),
            scale=number("IMGSCALE"),
            function=number("IMGFUNC1"),
            imgstat=number("IMGSTAT"),
            status=_bits(number("IMGSTAT"), aca_l0.IMGSTAT_BITS),
            glbstat=number("GLBSTAT"),
            global_status=_bits(number("GLBSTAT"), aca_l0.GLBSTAT_BITS),
            quality=int(record["QUALITY"]),
            mjf=number("MJF"),
            mnf=number("MNF"),
            pixels=self.image(row).tolist(),
        )

    def columns(self, with_images: bool) -> list[Column]:
        """Return what the page shows of each row, for export."""
        row, col = self.centroids
        names = [name for name in COLUMNS if name in DESCRIPTIONS]
        made = [
            Column(name, UNITS.get(name, ""), DESCRIPTIONS[name], self.rows[name]) for name in names
        ]
        made += [
            Column("TEMPCCD", "degC", "CCD temperature", self.ccd_degc),
            Column("IMGSUM", "e-/s", "sum of the image", self.sums),
            Column("ROW", "pix", "centroid, CCD row", row),
            Column("COL", "pix", "centroid, CCD column", col),
        ]
        if with_images:
            made.append(Column("IMG", "e-/s", "small images in the middle", self.images))
        return made


def read_slot(
    data_root: Path,
    slot: int,
    start: float,
    stop: float,
    sizes: Sequence[int],
    columns: Sequence[str] = COLUMNS,
) -> SlotView:
    """Read the rows of a slot; the errors are those of `aca_l0.get_slot_data`."""
    return SlotView(
        aca_l0.get_slot_data(
            start,
            stop,
            slot,
            imgsize=list(sizes),
            columns=columns,
            centered_8x8=True,
            units="e-/s",
            data_root=data_root,
        )
    )


def row_in_file(
    data_root: Path, slot: int, time: float, size: int, files: Sequence[L0File]
) -> tuple[L0File, int] | None:
    """Return the file that a row came from and its place there; None if `files` lack it."""
    near = aca_l0.get_slot_data(time, time, slot, [size], columns=["FILENAME"], data_root=data_root)
    name = str(near["FILENAME"].data[0]) if len(near) else ""
    found = next((file for file in files if file.filename == name), None)
    if found is None:
        return None
    before = aca_l0.get_slot_data(
        found.time_min - 1.0,
        time,
        slot,
        [size],
        columns=["FILENAME"],
        data_root=data_root,
        unique=False,
    )
    return found, int(np.count_nonzero(before["FILENAME"].data == name)) - 1
