"""Straight columns as runs and residuals: every bit comes back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from acaflow.colstore import axis


def bits(values):
    return np.ascontiguousarray(values, np.float64).view(np.int64)


def decoded(found, residual, row0, row1):
    out = np.empty(row1 - row0)
    found.fill(row0, out)
    return bits(out) + residual[row0:row1]


@pytest.mark.real
@pytest.mark.parametrize(("column", "runs_4x4"), [("TIME", 3), ("END_INTEG_TIME", 1)])
def test_real_stamps_come_back_bit_for_bit(real_data, column, runs_4x4):
    """Flight files of all three image sizes; in aca4x4 the integration time changes twice."""
    runs = {}
    for path in sorted(real_data.glob("real/aca_l0*/*.fits.gz")):
        with fits.open(path) as hdus:
            stamps = hdus[1].data[column].astype(np.float64)
        found, residual = axis.encode(stamps)
        assert (decoded(found, residual, 0, len(stamps)) == bits(stamps)).all()
        assert np.abs(residual.astype(int)).max() <= 2
        runs[path.name] = len(found.row0)
    assert len(runs) == 15
    assert runs.pop("aca4x4.fits.gz") == runs_4x4
    assert set(runs.values()) == {1}


@st.composite
def linear_columns(draw):
    """Stamps from 1999 to 2040 in runs, each one's stamps off by up to 60 ulps."""
    lengths = draw(st.lists(st.integers(260, 900), min_size=1, max_size=4))
    start = draw(st.floats(3e7, 1.3e9))
    step = draw(st.sampled_from([0.25625, 1.025, 2.05, 4.1, 32.8]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    parts = []
    for length in lengths:
        part = start + step * np.arange(length)
        part = (part.view(np.int64) + rng.integers(-60, 61, length)).view(np.float64)
        parts.append(part)
        start = part[-1] + step + draw(st.floats(0.01, 1e5))
    return np.concatenate(parts), lengths


@settings(max_examples=30, deadline=None)
@given(linear_columns(), st.data())
def test_any_rows_of_a_linear_column_come_back(column, data):
    stamps, lengths = column
    found, residual = axis.encode(stamps)
    n = len(stamps)
    row0 = data.draw(st.integers(0, n - 1))
    row1 = data.draw(st.integers(row0 + 1, n))
    assert (decoded(found, residual, row0, row1) == bits(stamps[row0:row1])).all()
    assert found.row0.tolist() == np.cumsum([0, *lengths[:-1]]).tolist()
    restored = axis.Axis.from_json(found.to_json(), n)
    assert (decoded(restored, residual, 0, n) == bits(stamps)).all()


@settings(max_examples=30, deadline=None)
@given(linear_columns(), st.data())
def test_the_place_of_a_time_lies_in_the_window(column, data):
    stamps, _ = column
    n = len(stamps)
    found, _ = axis.encode(stamps)
    row0 = data.draw(st.integers(0, n - 1))
    row1 = data.draw(st.integers(row0 + 1, n))
    near = float(stamps[data.draw(st.integers(row0, row1 - 1))])
    time = data.draw(
        st.sampled_from([near, math.nextafter(near, math.inf), near - 1e-3, near + 0.5, near + 1e4])
    )
    first, end = found.window(time, row0, row1)
    place = row0 + int(np.searchsorted(stamps[row0:row1], time))
    assert row0 <= first <= place <= end <= row1
    assert end - first < 20


def test_blocks_of_a_long_run():
    """The model is computed in blocks of 16384 rows; rows from the middle are the same."""
    stamps = 5.0e8 + 1.025 * np.arange(100_000)
    found, residual = axis.encode(stamps)
    assert len(found.row0) == 1
    for row0, row1 in ((0, 100_000), (16_383, 16_385), (40_000, 99_999)):
        assert (decoded(found, residual, row0, row1) == bits(stamps[row0:row1])).all()


def test_runs_end_where_the_next_step_is_another():
    """4.1 s, a gap after row 299, then 2.05 s from row 600 on; clipped to rows 250 to 700."""
    stamps = np.cumsum([1000.0] + [4.1] * 299 + [500.0] + [4.1] * 299 + [2.05] * 300)
    found, _ = axis.encode(stamps)
    first, end, t0, step = found.steps(250, 700)
    assert first.tolist() == [250, 300, 600]
    assert end.tolist() == [300, 600, 700]
    assert t0 == pytest.approx([stamps[250], stamps[300], stamps[600]], abs=1e-9)
    assert step == pytest.approx([4.1, 4.1, 2.05], abs=1e-9)


@pytest.mark.parametrize(
    "values",
    [
        np.sort(np.random.default_rng(1).uniform(0, 1e6, 1000)),
        np.array([1.0, np.nan, 3.0]),
        np.array([0.0, np.inf]),
        1e8 + np.arange(1000) + 1e-4 * np.sin(np.arange(1000)),
    ],
    ids=["irregular", "nan", "infinite", "wavy"],
)
def test_other_columns_are_not_taken(values):
    assert axis.encode(values) is None


@pytest.mark.parametrize("values", [[7.5], [7.5, 8.0], [3.0, 3.0, 3.0], [9.0, 8.0, 7.0]])
def test_short_flat_and_falling_columns(values):
    found, residual = axis.encode(np.array(values))
    assert (decoded(found, residual, 0, len(values)) == bits(values)).all()
