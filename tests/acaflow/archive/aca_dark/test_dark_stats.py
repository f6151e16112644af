"""Statistics of small images by hand, and of simulated ones with known truth."""

import json

import numpy as np
import pytest

from acaflow.archive.aca_dark.combine import FEW, FILLED, MISSING, combine
from acaflow.archive.aca_dark.dark_stats import compute_stats
from acaflow.errors import InputError

KEYS = [
    *("n_pixels", "mean", "median", "peak", "peak_method", "mean_near_peak"),
    *("n50", "n100", "n200", "n1000", "n2000", "n3000", "negative_fraction", "percentiles"),
]


def stats_of(values, **options):
    return compute_stats(np.asarray(values, np.float32), quadrants=False, **options)


@pytest.fixture(scope="module")
def truth():
    """A cool CCD with 6 % warm pixels (e-/s)."""
    rng = np.random.default_rng(2)
    rate = rng.lognormal(np.log(7.0), 0.25, (1024, 1024)) + 3.0
    rate[rng.random(rate.shape) < 0.06] += 150.0
    return rate


def observe(truth, n):
    """Combine n simulated replicas of a CCD."""
    rng = np.random.default_rng(3)
    groups = [
        [
            np.round((truth * t + rng.normal(0, 25, truth.shape)) / 5).astype(np.float32)
            for _ in range(n)
        ]
        for t in (5.008, 10.0)
    ]
    return combine(*groups, 5.008, 10.0)


def test_every_number_of_a_handful_of_pixels():
    stats = stats_of([-10, 4, 6, 8, 10, 10, 10, 12, 14, 16, 60, 150, 250, 1500, 2500, 3500])
    assert list(stats) == KEYS
    assert stats["n_pixels"] == 16
    assert stats["mean"] == 8040 / 16
    assert stats["median"] == 13  # between 12 and 14
    assert stats["mean_near_peak"] == (8 + 10 + 10 + 10 + 12 + 14 + 16) / 7
    assert [stats[f"n{limit}"] for limit in (50, 100, 200, 1000, 2000, 3000)] == [6, 5, 4, 3, 2, 1]
    assert stats["negative_fraction"] == 1 / 16
    assert stats["percentiles"]["50"] == 13
    assert stats["percentiles"]["25"] == 9.5
    assert list(stats["percentiles"]) == ["1", "5", "25", "50", "75", "95", "99"]


def test_limits_are_passed_not_reached():
    stats = stats_of([50, 100, 200, 1000, 2000, 3000, 0])
    assert [stats[f"n{limit}"] for limit in (50, 100, 200, 1000, 2000, 3000)] == [5, 4, 3, 2, 1, 0]
    assert stats["negative_fraction"] == 0


def test_pixels_without_a_measurement_do_not_count():
    image = np.array([7.0, 8.0, 9.0, 5000.0, 0.0, np.nan], np.float32)
    mask = np.array([0, FEW, 0, MISSING | FILLED | FEW, MISSING | FEW, 0], np.int16)
    stats = stats_of(image, mask=mask)
    assert (stats["n_pixels"], stats["mean"], stats["median"], stats["n50"]) == (3, 8, 8, 0)


def test_no_pixel_at_all():
    stats = stats_of([np.nan])
    assert list(stats) == KEYS
    assert (stats["n_pixels"], stats["n100"]) == (0, 0)
    assert stats["mean"] is stats["peak"] is stats["negative_fraction"] is None
    assert set(stats["percentiles"].values()) == {None}


def test_grouped_median():
    """Of 10 pixels 2 lie below 10 and 5 at 10: the median lies 3/5 up its quantum."""
    values = [8, 9, 10, 10, 10, 10, 10, 11, 12, 13]
    assert stats_of(values)["median"] == 10
    assert stats_of(values, quantum=1.0)["median"] == pytest.approx(9.5 + 3 / 5)
    scaled = np.array(values) * 1.0016
    assert stats_of(scaled, quantum=1.0016)["median"] == pytest.approx(1.0016 * 10.1)


def test_grouped_median_between_quanta():
    assert stats_of([8, 8, 9, 9], quantum=1.0)["median"] == 8.5
    assert stats_of([2, 2, 8, 8], quantum=1.0)["median"] == 5


def test_peak_is_the_vertex_of_the_parabola_through_the_bins():
    """Counts 100 - (k - 11)^2 in bins 6 to 16, which lie within 5 of the median of 11."""
    values = np.repeat(np.arange(6.0, 17.0), [100 - (k - 11) ** 2 for k in range(6, 17)])
    stats = stats_of(values)
    assert stats["median"] == 11
    assert stats["peak"] == pytest.approx(11)
    assert stats["peak_method"] == "parabola"
    # The same bins hold what lies up to half a bin beside their centres.
    spread = values + np.tile([-0.4, 0.4], len(values))[: len(values)]
    assert stats_of(spread)["peak"] == pytest.approx(11, abs=0.05)


def test_peak_of_a_warm_image_is_the_mode():
    """Flat about the median of 40, frequent at 20: no parabola has its vertex near the median."""
    rng = np.random.default_rng(4)
    values = np.concatenate([rng.normal(20, 2, 30_000), rng.uniform(20, 110, 70_000)])
    stats = stats_of(values)
    assert abs(stats["median"] - 20) > 5
    assert stats["peak_method"] == "mode"
    assert stats["peak"] == pytest.approx(20, abs=1)


def test_peak_of_a_coarse_grid_is_the_mode():
    stats = stats_of([0, 20, 20, 20, 40], quantum=20.0)
    assert (stats["peak"], stats["peak_method"]) == (20, "mode")
    assert stats_of([30.0])["peak"] == 30


@pytest.mark.parametrize("n", [3, 5])
def test_levels_of_a_simulated_ccd(truth, n):
    """On the grid of 1.0016 e-/s; the plain median, a multiple of it, is 0.5 off at worst."""
    master = observe(truth, n)
    stats = compute_stats(master.image, master.mask, master.quantum)
    noisy = truth + np.random.default_rng(8).normal(0, 1, truth.shape) * master.sigma
    centres = np.arange(5.5, 15.6, 0.1)
    counts = np.histogram(noisy, np.append(centres, 15.6) - 0.05)[0]
    bend, slope, _ = np.polyfit(centres, counts, 2)
    assert stats["median"] == pytest.approx(np.median(noisy), abs=0.03)
    assert stats["peak"] == pytest.approx(-slope / (2 * bend), abs=0.1)
    assert stats["peak_method"] == "parabola"
    assert stats["mean"] == pytest.approx(truth.mean(), abs=0.02)
    assert stats["n100"] == pytest.approx((truth > 100).sum(), abs=3)
    json.dumps(stats, allow_nan=False)


def test_quadrants():
    """A: row < 0, column >= 0; B: both < 0; C: both >= 0; D: row >= 0, column < 0."""
    image = np.empty((1024, 1024), np.float32)
    image[:512, 512:], image[:512, :512], image[512:, 512:], image[512:, :512] = 1, 2, 300, 400
    image[0, 0] = 5000
    mask = np.zeros(image.shape, np.int16)
    mask[0, 0] = MISSING
    stats = compute_stats(image, mask)
    assert list(stats) == [*KEYS, "quadrants"]
    assert stats["quadrants"]["A"] == {"mean": 1, "median": 1, "peak": 1, "n100": 0}
    assert stats["quadrants"]["B"] == {"mean": 2, "median": 2, "peak": 2, "n100": 0}
    assert stats["quadrants"]["C"] == {"mean": 300, "median": 300, "peak": 300, "n100": 512**2}
    assert stats["quadrants"]["D"]["mean"] == 400
    assert stats["n_pixels"] == 1024**2 - 1


def test_quadrants_of_another_shape_are_refused():
    with pytest.raises(InputError, match=r"shape \(2, 3\) has no quadrants"):
        compute_stats(np.zeros((2, 3)))
