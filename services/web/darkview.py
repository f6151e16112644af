"""Which dark calibrations there are, and what pages show of one: read once, kept while unchanged.

A name in an address is an id (the published calibration, else the assembled one), ``<id>-staged``
(assembled, not published) or ``<id>-r<n>`` (a replaced revision).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acaflow.archive.aca_dark.ccd import HALF, quadrant_of
from acaflow.archive.aca_dark.combine import MaskBit, is_measured
from acaflow.archive.aca_dark.dark_cal import get_dark_cal_dirs
from acaflow.archive.aca_dark.dark_counts import Counts, compute_counts
from acaflow.archive.aca_dark.dark_drawing import Stretch
from acaflow.archive.aca_dark.dark_files import (
    IMAGE,
    PROPERTIES,
    QUALITY,
    Calibration,
    read_calibration,
    read_json,
)
from acaflow.archive.aca_dark.dark_model import dark_temp_scale
from acaflow.archive.aca_dark.dark_plots import DARK, DIFFERENCE, SIGMA
from acaflow.archive.aca_dark.tree import DarkTree
from acaflow.errors import AcaflowError, InputError, MissingDataError
from services.web.words import runtime

__all__ = [
    "LAYERS",
    "Broken",
    "Layer",
    "Shown",
    "find",
    "neighbours",
    "published",
    "read_history",
]

NAME = re.compile(r"([12]\d{6})(?:-(staged|r[1-9]\d*))?", re.ASCII)
KEPT = 6
"""Calibrations in memory (11 MB each)."""
LAYERS = ("image", "sigma", "mask", "other", "diff")
"""What a map can show; `other` is another calibration at the temperature of this one."""

Pixels = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Kept:
    """A calibration in memory, with the hash of its pixels and its flags counted."""

    cal: Calibration
    digest: str
    flagged: dict[MaskBit, int]

    @cached_property
    def good(self) -> npt.NDArray[np.bool_]:
        """Where there is a sample."""
        return is_measured(self.cal.image, self.cal.mask)

    @cached_property
    def counts(self) -> Counts:
        """How many pixels have which value."""
        return compute_counts(self.cal)


@dataclass(frozen=True)
class Layer:
    """A picture of the CCD: values (e-/s), where they are good, their scale of colours."""

    values: Pixels
    good: npt.NDArray[np.bool_]
    scale: Stretch


@dataclass(frozen=True)
class Shown:
    """One calibration as an address names it.

    Attributes
    ----------
    name, dark_id : str
        As in addresses, and YYYYDOY.
    kind : str
        'published', 'staged' or 'old'.
    folder : Path
        Of its files.
    """

    name: str
    dark_id: str
    kind: str
    folder: Path

    @property
    def kept(self) -> Kept:
        """Its content, read anew when a file was replaced."""
        return _keep(self.folder, _stamp(self.folder))

    @property
    def cal(self) -> Calibration:
        """Its content."""
        return self.kept.cal

    @property
    def properties(self) -> dict[str, Any]:
        """Of ``properties.json``."""
        return self.cal.properties

    @property
    def t_ccd(self) -> float | None:
        """CCD temperature (degC)."""
        return self.properties.get("ccd_temp")

    @property
    def date(self) -> str:
        """YYYY:DOY."""
        return f"{self.dark_id[:4]}:{self.dark_id[4:]}"

    def version(self, other: Shown | None = None) -> str:
        """Return what changes with the pixels and the temperature of this one and another."""
        both = [self] if other is None else [self, other]
        words = [f"{one.kept.digest} {one.t_ccd}" for one in both]
        return hashlib.sha256(" ".join(words).encode()).hexdigest()[:12]

    def factor_of(self, other: Shown) -> float | None:
        """Return what brings another one to the temperature of this one; None if one has none."""
        if self.t_ccd is None or other.t_ccd is None:
            return None
        return float(dark_temp_scale(other.t_ccd, self.t_ccd))

    def layer(self, name: str, other: Shown | None = None) -> Layer:
        """Return one of `LAYERS` but the mask.

        Raises
        ------
        MissingDataError
            There is no such layer, and why.
        """
        kept = self.kept
        if name == "image":
            return Layer(kept.cal.image, kept.good, DARK)
        if name == "sigma":
            if kept.cal.sigma is None:
                raise MissingDataError(f"Calibration {self.name} has no uncertainties.")
            return Layer(kept.cal.sigma, np.isfinite(kept.cal.sigma), SIGMA)
        if name not in ("other", "diff"):
            raise InputError(f"There is no layer {name!r}. Layers are {', '.join(LAYERS)}.")
        if other is None:
            raise MissingDataError(f"There is no calibration to compare {self.name} with.")
        factor = self.factor_of(other)
        if factor is None:
            raise MissingDataError(
                f"Calibrations {self.name} and {other.name} cannot be brought to one temperature:"
                " not both have one."
            )
        scaled = other.cal.image * np.float32(factor)
        if name == "other":
            return Layer(scaled, other.kept.good, DARK)
        return Layer(kept.cal.image - scaled, kept.good & other.kept.good, DIFFERENCE)

    def at(self, row: int, col: int, other: Shown | None = None) -> dict[str, Any]:
        """Return what is known of one pixel of the CCD; None for what is not."""
        place = (row + HALF, col + HALF)
        cal, value = self.cal, float(self.cal.image[place])
        mask = None if cal.mask is None else MaskBit(int(cal.mask[place]))
        then = None
        if other is not None and (factor := self.factor_of(other)) is not None:
            then = factor * float(other.cal.image[place])
        return {
            "row": row,
            "col": col,
            "quadrant": quadrant_of(row, col),
            "value": value,
            "sigma": None if cal.sigma is None else _finite(cal.sigma[place]),
            "samples": None if cal.nsamp is None else int(cal.nsamp[place]),
            "flags": None if mask is None else [str(bit.name).lower() for bit in mask],
            "other": then,
            "diff": None if then is None else value - then,
        }


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _stamp(folder: Path) -> tuple[int, ...]:
    """Return what changes when one of the files of a calibration is replaced."""
    stamp = []
    for name in (IMAGE, PROPERTIES, QUALITY):
        try:
            status = (folder / name).stat()
        except FileNotFoundError:
            continue
        stamp += [status.st_ino, status.st_size, status.st_mtime_ns]
    return tuple(stamp)


@lru_cache(maxsize=KEPT)
def _keep(folder: Path, stamp: tuple[int, ...]) -> Kept:
    cal = read_calibration(folder)
    digest = hashlib.sha256()
    for pixels in (cal.image, cal.sigma, cal.mask):
        if pixels is not None:
            pixels.flags.writeable = False
            digest.update(pixels.data)
    flagged = {}
    if cal.mask is not None:
        counts = np.bincount(cal.mask.ravel())
        values = np.arange(len(counts))
        flagged = {bit: int(counts[(values & bit) > 0].sum()) for bit in MaskBit}
    return Kept(cal, digest.hexdigest(), flagged)


# --- Which there are ------------------------------------------------------------------------------


def root() -> Path:
    """Return the archive of dark calibrations."""
    return runtime().home.archive / "aca_dark"


def published() -> list[str]:
    """Return the ids of the published calibrations, sorted."""
    return list(get_dark_cal_dirs(root()))


def tree(dark_id: str) -> DarkTree:
    """Return the places of a calibration."""
    return DarkTree(runtime().home, dark_id)


def parse(name: str) -> tuple[str, str]:
    """Return id and version of a name; MissingDataError if it is none."""
    match = NAME.fullmatch(name)
    if match is None:
        raise MissingDataError(
            f"{name} is no dark calibration. An id is year and day of year, for example 2022069."
        )
    return match[1], match[2] or ""


def find(name: str) -> Shown:
    """Return the calibration of a name.

    Raises
    ------
    MissingDataError
        There is none of this name, or it is no name.
    """
    dark_id, version = parse(name)
    places = tree(dark_id)
    kinds = {"published": places.published, "staged": places.staged}
    if version.startswith("r"):
        kinds = {"old": places.root / "old" / name}
    elif version:
        del kinds["published"]
    for kind, folder in kinds.items():
        if (folder / PROPERTIES).is_file():
            return Shown(name, dark_id, kind, folder)
    raise MissingDataError(f"There is no dark calibration {name}.")


def old_names(dark_id: str) -> list[str]:
    """Return the names of the replaced revisions, newest first."""
    found = (path.name for path in (root() / "old").glob(f"{dark_id}-r*"))
    return sorted(found, key=lambda name: int(name.partition("-r")[2]), reverse=True)


def neighbours(dark_id: str) -> tuple[str | None, str | None]:
    """Return the published ids before and after."""
    ids = published()
    before, after = ([one for one in ids if one < dark_id], [one for one in ids if one > dark_id])
    return (before[-1] if before else None), (after[0] if after else None)


@dataclass(frozen=True)
class Broken:
    """A published calibration that cannot be read."""

    dark_id: str
    why: str


def read_history() -> tuple[list[dict[str, Any]], Sequence[Broken]]:
    """Return the properties of the published calibrations, oldest first, and what is broken.

    One unreadable file must not hide all others.
    """
    found, broken = [], []
    for dark_id, folder in get_dark_cal_dirs(root()).items():
        try:
            found.append(read_json(Path(folder) / PROPERTIES) | {"id": dark_id})
        except AcaflowError as err:
            broken.append(Broken(dark_id, str(err)))
    return found, broken
