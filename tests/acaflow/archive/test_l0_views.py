"""Numbers behind pictures of level-0 data."""

import doctest

import numpy as np
import pytest

from acaflow.archive import l0_views
from acaflow.archive.aca_image import ACAImage
from acaflow.archive.l0_views import (
    choose_evenly,
    compute_centroids,
    compute_colour_limits,
    compute_gaps,
    compute_statistics,
    compute_sums,
    decimate,
    find_runs,
)
from acaflow.errors import InputError


def test_examples_are_true():
    failed, tried = doctest.testmod(l0_views)
    assert (failed, tried > 4) == (0, True)


# --- Lines


def test_decimation_keeps_the_extremes_of_each_column():
    rng = np.random.default_rng(1)
    time = 2.0 + np.arange(20_000) * 4.1
    value = rng.normal(size=20_000).cumsum()
    value[7777] = 1e6
    line = decimate(time, value, 0.0, 20_000 * 4.1, columns=100)
    assert len(line.times) <= 200
    assert (np.diff(line.times) > 0).all()
    place = np.searchsorted(time, line.times)
    assert (time[place] == line.times).all() and (value[place] == line.values).all()
    # A column of the axis holds 200 samples.
    drawn = (line.times / (200 * 4.1)).astype(int)
    for column in range(100):
        part = value[200 * column : 200 * (column + 1)]
        shown = line.values[drawn == column]
        assert (shown.min(), shown.max()) == (part.min(), part.max())
    assert line.begins.tolist() == [True] + [False] * (len(line.times) - 1)


def test_few_samples_come_back_complete():
    time, value = [0.0, 4.1, 8.2], [3, 1, 2]
    line = decimate(time, value, 0.0, 10.0, columns=2)
    assert (line.times.tolist(), line.values.tolist()) == (time, [3.0, 1.0, 2.0])


@pytest.mark.parametrize("n", [50, 5000])
def test_gaps_break_the_line_whether_decimated_or_not(n):
    # One stretch, a gap of a fifth of the axis, another stretch.
    time = 4.1 * np.concatenate((np.arange(n), np.arange(n) + 1.5 * n))
    line = decimate(time, np.sin(time), 0.0, 2.5 * n * 4.1, columns=100)
    begins = line.times[line.begins]
    assert len(begins) == 2
    assert begins[0] == line.times[0]
    before = line.times[line.times < begins[1]]
    assert (before[-1] < n * 4.1, begins[1] >= 1.5 * n * 4.1) == (True, True)


def test_a_gap_narrower_than_a_column_does_not_break_a_decimated_line():
    time = 4.1 * np.delete(np.arange(5000), [2500, 2501, 2502])
    line = decimate(time, time, 0.0, 5000 * 4.1, columns=100)
    assert line.begins.sum() == 1


def test_bad_samples_are_left_out_and_interrupt():
    value = np.ma.MaskedArray([1.0, 2.0, 9.0, 3.0, np.nan, 4.0], mask=[0, 0, 1, 0, 0, 0])
    line = decimate(4.1 * np.arange(6), value, 0.0, 25.0)
    assert line.values.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert line.begins.tolist() == [True, False, True, True]


def test_nothing_gives_an_empty_line():
    for value in ([], np.ma.MaskedArray([1.0], mask=[True])):
        line = decimate(np.arange(len(value)), value, 0.0, 1.0)
        assert (len(line.times), len(line.values), len(line.begins)) == (0, 0, 0)


def test_integers_and_samples_at_both_ends_are_kept():
    time = np.linspace(0.0, 100.0, 3001)
    line = decimate(time, np.arange(3001), 0.0, 100.0, columns=10)
    assert (line.values[0], line.values[-1], len(line.values)) == (0.0, 3000.0, 20)


# --- Statistics


def test_statistics_of_known_samples():
    value = np.ma.MaskedArray([*range(1, 102), 9999.0, np.nan], mask=[0] * 101 + [1, 0])
    found = compute_statistics(value)
    assert (found.samples, found.bad) == (103, 2)
    assert (found.low, found.p5, found.median, found.mean, found.p95, found.high) == (
        *(1.0, 6.0, 51.0, 51.0, 96.0, 101.0),
    )
    # Variance of 1 ... n is (n² - 1) / 12.
    assert found.sigma == pytest.approx(((101**2 - 1) / 12) ** 0.5, rel=1e-14)


def test_statistics_of_nothing_are_nan():
    found = compute_statistics(np.ma.MaskedArray([1, 2], mask=True))
    assert (found.samples, found.bad) == (2, 2)
    assert np.isnan([found.low, found.median, found.mean, found.high, found.sigma]).all()


# --- Gaps, runs, choices


@pytest.mark.parametrize(
    ("runs", "gaps"),
    [
        ([], [(0, 100)]),
        ([(-5, 99, 8)], []),
        ([(-5, 50, 8), (54.1, 110, 4)], []),  # a change of size
        ([(-5, 50, 6), (52.54, 110, 6)], []),  # moved by a change of the integration time
        ([(-5, 50, 6), (52.6, 110, 6)], [(52.05, 52.6)]),
        ([(10, 50, 4), (60, 80, 8)], [(0, 10), (51.025, 60), (84.1, 100)]),
        ([(-5, 80, 4), (20, 30, 8), (85, 110, 4)], [(81.025, 85)]),  # files overlap
        ([(-50, -20, 8), (130, 140, 8)], [(0, 100)]),  # images of the days around
    ],
)
def test_gaps_of_known_runs(runs, gaps):
    tstart, tstop, size = zip(*runs, strict=True) if runs else ((), (), ())
    found = compute_gaps(tstart, tstop, size, 0.0, 100.0)
    assert found.tolist() == [list(map(pytest.approx, gap)) for gap in gaps]


@pytest.mark.parametrize(
    ("flags", "runs"),
    [([], []), ([0, 0], []), ([1], [[0, 0]]), ([0, 1, 1, 0, 1], [[1, 2], [4, 4]])],
)
def test_runs_of_a_condition(flags, runs):
    assert find_runs(np.array(flags, bool)).tolist() == runs


def test_choices_are_even_and_few():
    assert choose_evenly(0, 5).tolist() == []
    chosen = choose_evenly(3135, 24)
    assert (len(chosen), chosen[0], chosen[-1]) == (24, 0, 3134)
    assert set(np.diff(chosen)) == {136, 137}


# --- Images


def centred(images):
    """Put images of one size into the middle of 8x8 fields, the rest masked."""
    size = images.shape[1]
    inner = slice((8 - size) // 2, (8 + size) // 2)
    field = np.ma.MaskedArray(np.full((len(images), 8, 8), 1e9), mask=True)
    field[:, inner, inner] = images
    return field


@pytest.mark.parametrize("size", [4, 6, 8])
def test_centroids_and_sums_are_those_of_single_images(size):
    images = np.random.default_rng(size).normal(100, 200, (40, size, size))
    row0, col0 = np.arange(40) - 300, 7 * np.arange(40)
    row, col = compute_centroids(centred(images), row0, col0, np.full(40, size))
    for n, image in enumerate(images):
        try:
            expected = ACAImage(image, row0=row0[n], col0=col0[n]).aca.centroid_fm()[:2]
        except InputError:  # its norm is not positive
            expected = (np.nan, np.nan)
        assert (row[n], col[n]) == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert compute_sums(centred(images)) == pytest.approx(images.sum((1, 2)), rel=1e-12)


def test_an_image_without_pixels_has_no_sum_and_no_centroid():
    field = np.ma.MaskedArray(np.zeros((1, 8, 8)), mask=True)
    assert np.isnan(compute_sums(field)).all()
    assert np.isnan(compute_centroids(field, [0], [0], [8])).all()


@pytest.mark.parametrize(
    ("pixels", "limits"),
    [([], (30, 300)), ([-84.0], (30, 300)), ([301.0], (30, 400)), ([4235.0, 99], (30, 5000)),
     ([80_000.0], (30, 80_000)), ([np.nan, 12_345.0], (30, 20_000))],
)  # fmt: skip
def test_colour_limits_are_round(pixels, limits):
    assert compute_colour_limits(np.array(pixels)) == limits
