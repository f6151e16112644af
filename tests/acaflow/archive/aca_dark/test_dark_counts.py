"""Pixels by their value: counts worked out by hand on images of few values."""

import numpy as np
import pytest

from acaflow.archive.aca_dark.combine import MISSING
from acaflow.archive.aca_dark.dark_counts import (
    compute_counts,
    compute_joint_counts,
    get_quantum,
)
from acaflow.archive.aca_dark.dark_drawing import Stretch
from acaflow.archive.aca_dark.dark_files import Calibration


def calibration(values, mask=None, **properties):
    """Return a calibration of a few pixels."""
    image = np.array(values, np.float32)
    return Calibration(image, None, mask, None, {"stats": {"quantum": 2.0}} | properties, {})


def test_a_value_between_two_quanta_counts_half_in_each():
    counts = compute_counts(calibration([0, 20, 20, 21, -4, 1e6, -1e6]))
    quanta = np.array([-1000, -2, 0, 10, 11, 20_000])
    values, density = counts.at(quanta)
    assert values.tolist() == [-2000, -4, 0, 20, 22, 40_000]
    assert (2 * density).tolist() == [1, 1, 1, 2.5, 0.5, 1]
    assert counts.counts.sum() == 7


def test_bins_are_whole_quanta_and_densities_per_unit():
    counts = compute_counts(calibration([2] * 3 + [20, 22, 200, 218, 220]))
    # Steps of 1 dex: 1 to 9, 10 to 99, 100 to 999 quanta of 2 e-/s.
    middles, density = counts.density(1.0, 10_001)
    assert middles[:3] == pytest.approx([2 * np.sqrt(n) for n in (1 * 9, 10 * 99, 100 * 999)])
    assert density.tolist() == pytest.approx([3 / 18, 2 / 180, 3 / 1800, 0])
    # A bin is one quantum where a step is less.
    assert counts.density(0.04)[0][:4].tolist() == pytest.approx([2, 4, 6, 8])


def test_pixels_above_a_limit():
    counts = compute_counts(calibration([2, 20, 22, 22, 1e6]))
    limits, above = counts.above(np.array([1, 10, 11, 12, 20_000]))
    assert limits.tolist() == [1, 19, 21, 23, 39_999]
    assert above.tolist() == [5, 4, 3, 1, 1]


@pytest.mark.parametrize(
    ("properties", "quantum"),
    [
        ({}, 2.0),
        ({"stats": None, "integ": [5.0, 10.0], "gain": dict.fromkeys("ABCD", 5.0)}, 1.0),
        ({"stats": {}, "integ": [5.0, 9.0], "gain": dict.fromkeys("ABCD", 5.0)}, 1.25),
        ({"stats": {}, "integ": [5.0, 9.0], "gain": {"A": 5.0, "B": 5.1}}, 1.0),
        ({"stats": None}, 1.0),
    ],
)
def test_the_quantum_is_that_of_the_samples(properties, quantum):
    assert get_quantum(calibration([0.0], **properties)) == quantum


def test_joint_counts_are_of_pixels_measured_in_both():
    scale = Stretch(0, 100, lambda x: x, ())
    mask = np.array([0, 0, 0, MISSING, 0], np.int16)
    properties = {"stats": {"quantum": 1e-3}}
    this = calibration([10.5, 10.5, 99.5, 50.0, 500.0], mask, **properties)
    other = calibration([20.25, 20.25, 30.25, 30.25, -9.0], **properties)
    counts = compute_joint_counts(this, other, 2.0, scale, 101)
    places = {tuple(place): int(counts[*place]) for place in np.argwhere(counts).tolist()}
    assert places == {(10, 40): 2, (99, 60): 1, (100, 0): 1}
