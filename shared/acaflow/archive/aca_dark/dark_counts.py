"""How many pixels of a dark calibration have which value: numbers of its histograms.

Values are e-/s at the temperature of the calibration, unclipped; pixels that were not measured
do not count. Values lie on a grid of whole quanta, and bins are whole quanta too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from acaflow.archive.aca_dark.combine import is_measured

if TYPE_CHECKING:
    from acaflow.archive.aca_dark.dark_drawing import Stretch
    from acaflow.archive.aca_dark.dark_files import Calibration

__all__ = ["HIGHEST", "Counts", "compute_counts", "compute_joint_counts", "get_quantum"]

LOWEST, HIGHEST = -1000, 20_000
"""Quanta that are counted; pixels beyond count as these."""

FloatArray = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Counts:
    """Pixels by whole quanta.

    Attributes
    ----------
    quantum : float
        Step of the values (e-/s).
    counts : ndarray of float64, shape (21001,)
        ``counts[k - LOWEST]`` pixels have about k quanta.
    """

    quantum: float
    counts: npt.NDArray[np.float64]

    def at(self, quanta: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """Return values (e-/s) and pixels per e-/s at numbers of quanta."""
        return quanta * self.quantum, self.counts[quanta - LOWEST] / self.quantum

    def density(self, step: float, most: int = HIGHEST) -> tuple[FloatArray, FloatArray]:
        """Return the middles of logarithmic bins (e-/s) and pixels per e-/s.

        Parameters
        ----------
        step : float
            Width of a bin (dex); one quantum where that is less, else as many as fit.
        most : int
            Quanta that the bins reach, at most `HIGHEST`.
        """
        edges = np.unique(np.rint(10 ** np.arange(0, np.log10(most), step))).astype(np.int64)
        counts = np.add.reduceat(self.counts, edges - LOWEST)[:-1]
        middles = np.sqrt(edges[:-1] * (edges[1:] - 1.0))
        return middles * self.quantum, counts / (np.diff(edges) * self.quantum)

    def above(self, quanta: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """Return limits half a quantum below numbers of quanta (e-/s), and pixels above them."""
        above = self.counts[::-1].cumsum()[::-1]
        return (quanta - 0.5) * self.quantum, above[quanta - LOWEST]


def get_quantum(calibration: Calibration) -> float:
    """Return the step of the image's values where the number of samples is odd (e-/s), or 1."""
    quantum = (calibration.properties.get("stats") or {}).get("quantum")
    if quantum:
        return float(quantum)
    integ, gains = (calibration.properties.get(key) for key in ("integ", "gain"))
    if integ and gains and len({*gains.values()}) == 1:
        return float(gains["A"] / (integ[1] - integ[0]))
    return 1.0


def compute_counts(calibration: Calibration) -> Counts:
    """Count the pixels of an image by whole quanta."""
    quantum = get_quantum(calibration)
    good = is_measured(calibration.image, calibration.mask)
    values = calibration.image[good] * np.float32(2 / quantum)
    index = np.rint(values).clip(2 * LOWEST, 2 * HIGHEST).astype(np.int32)
    halves = np.bincount(index - 2 * LOWEST, minlength=2 * (HIGHEST - LOWEST) + 1)
    # The median of an even number of samples may lie between two quanta: each gets half of it.
    counts, between = halves[::2].astype(np.float64), halves[1::2] / 2
    counts[:-1] += between
    counts[1:] += between
    return Counts(quantum, counts)


def compute_joint_counts(
    this: Calibration, other: Calibration, factor: float, scale: Stretch, cells: int
) -> npt.NDArray[np.intp]:
    """Count the pixels by their values in two images.

    Parameters
    ----------
    this, other : Calibration
        The calibrations; pixels measured in both count.
    factor : float
        Brings the other one to the temperature of this one.
    scale : Stretch
        How values become cells; those beyond its ends count in the outermost ones.
    cells : int
        Cells for each.

    Returns
    -------
    ndarray of int, shape (cells, cells)
        By cell of this one, then of the other one.
    """
    good = is_measured(this.image, this.mask) & is_measured(other.image, other.mask)
    random = np.random.default_rng(0)

    def places(calibration: Calibration, factor: float) -> npt.NDArray[np.intp]:
        # Values in steps of a quantum would show as stripes, so each is spread over its step.
        quantum = np.float32(get_quantum(calibration))
        values = calibration.image[good]
        values += quantum * (random.random(values.size, np.float32) - 0.5)
        return np.asarray(scale.place(values * np.float32(factor)) * (cells - 1), np.intp)

    across, up = places(other, factor), places(this, 1.0)
    return np.bincount(up * cells + across, minlength=cells**2).reshape(cells, cells)
