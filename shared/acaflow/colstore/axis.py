"""Float64 columns that are straight lines to the last bits, as runs and small residuals.

Telemetry stamps are linear only up to a few units in the last place, and must come back bit for
bit. So a column is modelled by straight runs, and the difference of the 64-bit patterns between
value and model, an int8, is stored beside it.

The model of sample k = BLOCK·q + r of a run is ``((r·step) + ((BLOCK·q)·step + offset)) + t0`` in
float64, in this order of operations: it is part of the file format.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

__all__ = ["STEP_TOLERANCE_S", "Axis", "encode"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

STEP_TOLERANCE_S = 1e-3
"""A step that differs by more from the one before it begins a new run (s)."""
BLOCK = 1 << 14
"""Rows computed at a time; fixed by the file format."""
ROWS_PER_RUN = 256
"""Columns with more than 2 + n / ROWS_PER_RUN runs are not worth it (our choice: the runs of a
column are filled one after the other)."""
MAX_RESIDUAL = 127
"""Largest residual (units of the last place) that an int8 holds on both sides."""


@dataclass(frozen=True)
class Axis:
    """The runs of one column of `n` rows.

    Parameters
    ----------
    row0 : ndarray of int64, shape (n_run,)
        First row of each run, rising from 0; a run ends where the next begins.
    t0, step, offset : ndarray of float64, shape (n_run,)
        Parameters of the model (s).
    n : int
        Number of rows.
    """

    row0: IntArray
    t0: FloatArray
    step: FloatArray
    offset: FloatArray
    n: int

    @classmethod
    def from_json(cls, runs: list[Any], n: int) -> Self:
        """Make the axis from what `to_json` gave."""
        row0, t0, step, offset = runs
        return cls(np.array(row0, np.int64), np.array(t0), np.array(step), np.array(offset), n)

    def to_json(self) -> list[Any]:
        """Return lists whose text form keeps every bit."""
        return [self.row0.tolist(), self.t0.tolist(), self.step.tolist(), self.offset.tolist()]

    def fill(self, row0: int, out: FloatArray) -> None:
        """Write the model of the rows from `row0` on into `out`."""
        end = row0 + len(out)
        run = int(np.searchsorted(self.row0, row0, "right")) - 1
        ramp = np.arange(BLOCK, dtype=np.float64)
        row = row0
        while row < end:
            first = int(self.row0[run])
            last = int(self.row0[run + 1]) if run + 1 < len(self.row0) else self.n
            step, t0, offset = float(self.step[run]), float(self.t0[run]), float(self.offset[run])
            while row < min(end, last):
                q, r = divmod(row - first, BLOCK)
                m = min(BLOCK - r, min(end, last) - row)
                part = out[row - row0 : row - row0 + m]
                np.multiply(ramp[r : r + m], step, out=part)
                part += float(BLOCK * q) * step + offset
                part += t0
                row += m
            run += 1

    def steps(self, row0: int, row1: int) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
        """Return the runs of rows `row0` to `row1`: first rows, end rows, first stamps, steps.

        A stamp is that of the model (within 127 units in the last place of the true one); the
        step (s) of a run of one row is 0.
        """
        first = int(np.searchsorted(self.row0, row0, "right")) - 1
        stop = int(np.searchsorted(self.row0, row1, "left"))
        ends = np.append(self.row0[first + 1 : stop], row1)
        starts = np.maximum(self.row0[first:stop], row0)
        step = self.step[first:stop]
        t0 = self.t0[first:stop] + (
            self.offset[first:stop] + step * (starts - self.row0[first:stop])
        )
        return starts, ends, t0, step

    def window(self, time: float, row0: int, row1: int) -> tuple[int, int]:
        """Return few rows among which lies the place of `time` in the rising rows row0 to row1."""
        starts, ends, t0, step = self.steps(row0, row1)
        run = max(int(np.searchsorted(t0, time, "right")) - 1, 0)
        length = int(ends[run] - starts[run])
        if step[run] > 0:
            place = min(max((time - t0[run]) / step[run], 0.0), length - 1.0)
            # The model is off by a residual, and this estimate by a few roundings more.
            slack = 3 + int(4 * MAX_RESIDUAL * np.spacing(abs(time)) / step[run])
        else:
            place, slack = 0.0, 3 + length
        row = int(starts[run]) + int(place)
        return max(row0, row - slack), min(row1, row + slack + 1)


def encode(values: FloatArray) -> tuple[Axis, npt.NDArray[np.int8]] | None:
    """Model a column by runs.

    Parameters
    ----------
    values : ndarray of float64, shape (n,), n > 0
        In native byte order.

    Returns
    -------
    axis : Axis
        The runs.
    residual : ndarray of int8, shape (n,)
        What the bit patterns of `values` are above those of the model.
    None
        Instead of both where this form does not fit: too many runs, too large residuals, or
        values that are not finite.
    """
    n = len(values)
    if not np.isfinite(values).all():
        return None
    starts = _run_starts(values)
    if len(starts) > 2 + n // ROWS_PER_RUN:
        return None
    fits = [_fit(values[a:b]) for a, b in zip(starts, [*starts[1:], n], strict=True)]
    step, offset = np.array(fits).T
    axis = Axis(np.array(starts), values[starts], step.copy(), offset.copy(), n)
    residual = np.empty(n, np.int8)
    model = np.empty(min(n, BLOCK))
    for row in range(0, n, BLOCK):
        part = model[: min(BLOCK, n - row)]
        axis.fill(row, part)
        difference = values[row : row + BLOCK].view(np.int64) - part.view(np.int64)
        if (np.abs(difference) > MAX_RESIDUAL).any():
            return None
        residual[row : row + BLOCK] = difference
    return axis, residual


def _run_starts(values: FloatArray) -> list[int]:
    """Return the first rows of the runs."""
    steps = np.diff(values)
    changed = np.flatnonzero(np.abs(np.diff(steps)) > STEP_TOLERANCE_S) + 1
    if not len(changed):
        return [0]
    # Step i leads from row i to row i + 1; a change there ends a run with row i. The step after
    # it is the first of the next run, with nothing to be compared to: in a streak of changes
    # only every second one ends a run.
    streak = np.append(True, np.diff(changed) > 1)
    begun = np.maximum.accumulate(np.where(streak, np.arange(len(changed)), 0))
    ends = changed[(np.arange(len(changed)) - begun) % 2 == 0]
    return [0, *(ends + 1).tolist()]


def _fit(values: FloatArray) -> tuple[float, float]:
    """Return step and offset of the least-squares line through one run, both from its start."""
    m = len(values)
    if m < 3:
        return (float(values[-1] - values[0]), 0.0) if m == 2 else (0.0, 0.0)
    step = float(values[-1] - values[0]) / (m - 1)
    # First the line through both ends: what is left is small, so that its sums are exact enough.
    k = np.arange(m, dtype=np.float64)
    left = values - values[0]
    left -= k * step
    k -= (m - 1) / 2
    slope = float(k @ left) / (m * (float(m) ** 2 - 1) / 12)
    return step + slope, float(left.mean()) - slope * (m - 1) / 2
