"""The dark calibration: combining its frames against numpy's median of the same frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from acaflow.archive.aca_dark.combine import combine
from acaflow.archive.aca_dark.dark_stats import compute_stats
from benchmarks.archive import seconds
from benchmarks.table import Row

T_SHORT, T_LONG = 5.008, 10.0
N_REPLICAS = 5


def expose(rng: np.random.Generator, integ: float) -> npt.NDArray[np.float32]:
    """Return a frame (DN) of 10 e-/s with its noise."""
    electrons = rng.poisson(10.0 * integ, (1024, 1024)) + rng.normal(0, 25, (1024, 1024))
    return np.round(electrons / 5).astype(np.float32)


def combining() -> Iterator[Row]:
    """Measure image, uncertainty, mask and samples of ten frames, and the statistics."""
    rng = np.random.default_rng(1)
    short, long = ([expose(rng, t) for _ in range(N_REPLICAS)] for t in (T_SHORT, T_LONG))
    stacks = np.stack(short), np.stack(long)
    floor = seconds(lambda: [np.median(stack, axis=0) for stack in stacks], 7)
    whole = seconds(lambda: combine(short, long, T_SHORT, T_LONG), 7)
    yield Row(
        "combine ten 1024 x 1024 frames",
        f"{whole * 1e3:.0f} ms",
        f"np.median {floor * 1e3:.0f} ms",
        whole / floor,
        2.0,
        "<= 2 x",
    )
    for frame in short:
        frame[::20, :512] = np.nan  # 128 of 5120 half rows
    gaps = seconds(lambda: combine(short, long, T_SHORT, T_LONG), 7)
    yield Row(
        "combine ten frames with missing rows",
        f"{gaps * 1e3:.0f} ms",
        f"np.median {floor * 1e3:.0f} ms",
        gaps / floor,
        2.0,
        "<= 2 x",
    )
    master = combine(short, long, T_SHORT, T_LONG)
    spent = seconds(lambda: compute_stats(master.image, master.mask, master.quantum), 7)
    yield Row(
        "statistics of an image and its quadrants",
        f"{spent * 1e3:.0f} ms",
        "",
        spent * 1e3,
        150,
        "<= 150 ms (ours)",
    )


def cases(folder: Path) -> Iterator[Row]:
    """Measure the parts of a dark calibration."""
    yield from combining()
