"""Statistics of a dark-current image (e-/s), as the reports and the properties carry them."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt

from acaflow.archive.aca_dark.ccd import QUADRANTS, SIZE
from acaflow.archive.aca_dark.combine import is_measured
from acaflow.errors import InputError

__all__ = ["PERCENTILES", "THRESHOLDS", "compute_stats"]

FloatArray = npt.NDArray[np.float64]

THRESHOLDS = (50, 100, 200, 1000, 2000, 3000)
"""Pixels above these are counted (e-/s)."""
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
NEAR = 5.0
"""Half width of the window about the median in which the peak is looked for (e-/s)."""


def compute_stats(
    image: npt.NDArray[Any],
    mask: npt.NDArray[Any] | None = None,
    quantum: float | None = None,
    quadrants: bool = True,
) -> dict[str, Any]:
    """Compute the statistics of an image.

    Parameters
    ----------
    image : ndarray, shape (1024, 1024); any shape without `quadrants`
        Dark current (e-/s), negative values kept.
    mask : ndarray of int, optional
        Of `combine`: pixels that are missing or filled in do not count. Nor do NaN.
    quantum : float, optional
        Step of the image (e-/s); none where it is not on a grid.
    quadrants : bool
        Give mean, median, peak and n100 of each quadrant as well.

    Returns
    -------
    dict
        Plain numbers: `n_pixels`; `mean`, `median`, `peak`, `mean_near_peak` (e-/s);
        `peak_method` ('parabola' or 'mode'); `n50` to `n3000`, pixels above so many e-/s;
        `negative_fraction`; `percentiles` (e-/s) by '1' to '99'; `quadrants` by 'A' to 'D'.
        None for what no pixel defines.

    Raises
    ------
    InputError
        `quadrants` of an image of another shape.

    Notes
    -----
    Source: dark-cal D2. On a grid the median is the grouped one, which divides the quantum in
    which it falls evenly among its pixels, and the histogram of the peak has one bin per quantum.
    The peak is the vertex of a parabola through the bins within 5 e-/s of the median; where it
    has none there, the mode of the histogram, smoothed over 3 bins.

    Examples
    --------
    >>> stats = compute_stats(np.array([9.0, 10.0, 10.0, 11.0, 300.0]), quadrants=False)
    >>> stats["mean"], stats["median"], stats["mean_near_peak"], stats["n200"]
    (68.0, 10.0, 10.0, 1)
    """
    if quadrants and image.shape != (SIZE, SIZE):
        raise InputError(f"an image of shape {image.shape} has no quadrants; expected 1024 x 1024")
    valid = is_measured(image, mask)
    stats = _describe(image[valid], quantum)
    if quadrants:
        stats["quadrants"] = {}
        for name, where in QUADRANTS.items():
            part = _describe(image[where][valid[where]], quantum)
            stats["quadrants"][name] = {
                key: part[key] for key in ("mean", "median", "peak", "n100")
            }
    return stats


def _describe(values: npt.NDArray[Any], quantum: float | None) -> dict[str, Any]:
    """Return the statistics of some pixels."""
    # Sorted as it came: float32 sorts much faster. Then as float64, which `searchsorted` wants.
    ranked = np.sort(values).astype(np.float64)
    n = len(ranked)
    counts = {f"n{limit}": n - _below(ranked, limit, "right") for limit in THRESHOLDS}
    levels: dict[str, Any]
    if n == 0:
        levels = dict.fromkeys(("mean", "median", "peak", "peak_method", "mean_near_peak"))
        percentiles = dict.fromkeys(map(str, PERCENTILES))
        return {
            "n_pixels": 0, **levels, **counts, "negative_fraction": None, "percentiles": percentiles
        }  # fmt: skip
    median = _median(ranked, quantum)
    peak, method = _peak(ranked, median, quantum or 1.0)
    near = ranked[_below(ranked, median - NEAR) : _below(ranked, median + NEAR, "right")]
    return {
        "n_pixels": n,
        "mean": float(ranked.mean()),
        "median": median,
        "peak": peak,
        "peak_method": method,
        "mean_near_peak": float(near.mean()) if len(near) else None,
        **counts,
        "negative_fraction": _below(ranked, 0.0) / n,
        "percentiles": dict(
            zip(map(str, PERCENTILES), np.percentile(ranked, PERCENTILES).tolist(), strict=True)
        ),
    }


def _median(ranked: FloatArray, quantum: float | None) -> float:
    """Return the median; on a grid the grouped one."""
    n = len(ranked)
    plain = float(ranked[(n - 1) // 2] + ranked[n // 2]) / 2
    if quantum is None:
        return plain
    low, high = (round(plain / quantum) - 0.5) * quantum, (round(plain / quantum) + 0.5) * quantum
    below = _below(ranked, low)
    within = _below(ranked, high) - below
    return low + quantum * (n / 2 - below) / within if within else plain


def _peak(ranked: FloatArray, median: float, width: float) -> tuple[float, str]:
    """Return the most frequent level, and how it was found."""
    centres, counts = _histogram(ranked, median - NEAR, median + NEAR, width)
    if len(centres) > 2:
        curvature, slope, _ = np.polyfit(centres - median, counts, 2)
        if curvature < 0 and abs(slope / (2 * curvature)) <= NEAR:
            return float(median - slope / (2 * curvature)), "parabola"
    low, high = ranked[[0, len(ranked) * 99 // 100]]
    centres, counts = _histogram(ranked, low - width, high + width, width)
    return float(centres[np.convolve(counts, np.ones(3), "same").argmax()]), "mode"


def _histogram(
    ranked: FloatArray, low: float, high: float, width: float
) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """Return bins centred on multiples of their width, and their counts."""
    steps = np.arange(np.ceil(low / width), np.floor(high / width) + 1)
    edges = (np.append(steps, steps[-1:] + 1) - 0.5) * width
    return steps * width, np.diff(np.searchsorted(ranked, edges))


def _below(ranked: FloatArray, limit: float, side: str = "left") -> int:
    """Return how many values lie below a limit; with side 'right' those equal to it too."""
    return int(np.searchsorted(ranked, limit, cast(Any, side)))
