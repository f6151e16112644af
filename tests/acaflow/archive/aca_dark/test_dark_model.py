"""Temperature scaling and warm-pixel model (dark-cal C)."""

import doctest
import math
import shutil

import numpy as np
import pytest
from astropy.io import fits

from acaflow.archive.aca_dark import dark_model
from acaflow.archive.aca_dark.dark_model import (
    DARK_SCALE_4C,
    dark_temp_scale,
    dark_temp_scale_img,
    darkbins,
    get_dark_hist,
    get_sbp_pars,
    get_warm_fracs,
    smooth_twice_broken_pow,
    synthetic_dark_image,
    temp_scalefac,
)
from acaflow.errors import InputError

N_PIXELS = 1024**2
CENTERS = darkbins.bin_centers


def test_examples():
    assert doctest.testmod(dark_model).failed == 0


# --- Temperature -------------------------------------------------------------------------------


def test_global_scale():
    assert DARK_SCALE_4C == 1 / 0.70
    assert dark_temp_scale(-10.0, -14) == pytest.approx(0.70, rel=1e-12)
    assert dark_temp_scale(-10.0, -14, scale_4c=2.0) == 0.5
    assert dark_temp_scale(-18, -10, 2) == 4.0
    assert dark_temp_scale(-15) == pytest.approx(0.70, rel=1e-12)
    assert isinstance(dark_temp_scale(-10, -14), float)


def test_global_scale_broadcasts():
    scale = dark_temp_scale([[-10], [-14]], np.array([-14.0, -18.0, -10.0]))
    np.testing.assert_allclose(scale, [[0.7, 0.49, 1], [1, 0.7, 1 / 0.7]])


def test_the_old_name_warns():
    with pytest.warns(DeprecationWarning, match="dark_temp_scale"):
        assert temp_scalefac(-15) == pytest.approx(1 / 0.7)


@pytest.mark.parametrize(
    ("img", "t_ccd", "t_ccd_ref", "expected"),
    [
        ([100, 1000, 500], -10, -5, [171.476, 1668.623, 852.798]),
        ([100, 1000, 500], -10, -15, [58.317, 599.297, 293.153]),
        ([200, 2000, 600], -6, 2, [478.161, 4299.029, 1399.403]),
    ],
)
def test_pixel_scale(img, t_ccd, t_ccd_ref, expected):
    scaled = dark_temp_scale_img(img, t_ccd, t_ccd_ref)
    np.testing.assert_allclose(scaled, expected, rtol=0, atol=5.1e-4)
    square = dark_temp_scale_img(np.array([img] * 2, np.float32), t_ccd, t_ccd_ref)
    assert square.dtype == np.float32
    np.testing.assert_allclose(square, [expected] * 2, rtol=1e-5)


@pytest.mark.parametrize(
    ("brightness", "slope", "per_4c"),
    [
        (20, 0.09620, 1.469),
        (50, 0.10439, 1.518),
        (100, 0.10785, 1.539),
        (200, 0.10895, 1.546),
        (500, 0.10678, 1.533),
        (1000, 0.10240, 1.506),
        (1e4, 0.07089, 1.328),
    ],
)
def test_pixel_slopes(brightness, slope, per_4c):
    factor = dark_temp_scale_img(brightness, -10, -9) / brightness
    assert math.log(factor) == pytest.approx(slope, abs=6e-6)
    assert dark_temp_scale_img(brightness, -10, -6) / brightness == pytest.approx(per_4c, abs=6e-4)


def test_pixel_scale_is_linear_outside_its_range():
    faint = dark_temp_scale_img([20.0, 10.0, 0.0, -7.0], -10, -6)
    np.testing.assert_allclose(faint, faint[0] / 20 * np.array([20, 10, 0, -7]))
    assert dark_temp_scale_img(3e4, -10, -6) == pytest.approx(3 * dark_temp_scale_img(1e4, -10, -6))


def test_pixel_scale_of_odd_arguments():
    scaled = dark_temp_scale_img([math.nan, 123.0], -10, -10)
    assert math.isnan(scaled[0])
    assert scaled[1] == 123.0
    assert type(dark_temp_scale_img(100, -10, -5)) is float
    with pytest.raises(InputError, match="one number"):
        dark_temp_scale_img([100.0], np.array([-10.0]), -5)


# --- Warm pixels -------------------------------------------------------------------------------


def test_bins():
    assert darkbins.bins.shape == (75,)
    assert darkbins.bin_centers.shape == (74,)
    np.testing.assert_allclose(darkbins.bins[[0, 20, -1]], [2.0, 20.0, 10023.745], rtol=1e-7)
    np.testing.assert_allclose(CENTERS[[0, -1]], [2.1185, 9463.03], rtol=1e-5)


def test_parameters():
    middle = [0.075, 3.32, 2.40, 192, 18400]
    before = [0.08192, 3.2997, 2.339, 191.9, 16950]
    after = [0.0543, 3.32, 2.461, 192.1, 19142]
    assert get_sbp_pars("2012:001") == middle
    pars = get_sbp_pars(["2011:001", "2012:001", "2013:001"])
    assert isinstance(pars, list)
    assert all(isinstance(one, list) for one in pars)
    np.testing.assert_allclose(pars, [before, middle, after], rtol=1e-12)
    part = (183 * 86400 + 1) / (366 * 86400 + 1)  # of a leap year, after its leap second
    assert get_sbp_pars("2012:184")[4] == pytest.approx(18400 + 742 * part, rel=1e-12)


def test_smoothing_of_a_constant():
    weights = [math.exp(-0.5 * ((-0.75 + 0.1 * step) / 0.30) ** 2) for step in range(15)]
    flat = smooth_twice_broken_pow([0, 0, 0, 192, 3.0], CENTERS)
    np.testing.assert_allclose(flat[7:-7], 3.0)
    # Zeros beyond both ends, and a kernel that reaches further to one side.
    assert flat[0] == pytest.approx(3 * sum(weights[:8]) / sum(weights))
    assert flat[-1] == pytest.approx(3 * sum(weights[7:]) / sum(weights))


def test_three_power_laws():
    g1, g2, g3, x_b, ampl = 0.1, 3.0, 2.0, 200.0, 1e4
    y = smooth_twice_broken_pow([g1, g2, g3, x_b, ampl], CENTERS)
    slope = np.diff(np.log(y)) / np.diff(np.log(CENTERS))
    for low, high, expected in ((6, 60, -g1), (600, 650, -g2), (3000, 4000, -g3)):
        inside = (CENTERS[:-1] > low) & (CENTERS[1:] < high)
        np.testing.assert_allclose(slope[inside], expected, atol=0.02)
    part = smooth_twice_broken_pow([g1, g2, g3, x_b, ampl], CENTERS[10:20])
    np.testing.assert_array_equal(part, y[10:20])


def test_histogram_moves_with_temperature():
    centers, edges, counts = get_dark_hist("2017:001:12:00:00", -14)
    np.testing.assert_array_equal(edges, darkbins.bins)
    warm_centers, warm_edges, warm_counts = get_dark_hist("2017:001:12:00:00", -10)
    np.testing.assert_allclose(warm_centers, centers / 0.7)
    np.testing.assert_allclose(warm_edges, edges / 0.7)
    np.testing.assert_array_equal(warm_counts, counts)
    assert counts.sum() == pytest.approx(0.90e6, rel=0.01)


@pytest.mark.parametrize(
    ("date", "t_ccd", "expected"),
    [
        ("2020:001:12:00:00", -11, 294302),
        ("2020:001:12:00:00", -15, 215096),
        ("2017:001:12:00:00", -11, 251865),
        ("2017:001:12:00:00", -15, 182365),
    ],
)
def test_warm_fractions(date, t_ccd, expected):
    frac = get_warm_fracs(100, date, t_ccd)
    assert isinstance(frac, float)
    assert frac * N_PIXELS == pytest.approx(expected, abs=1)


def test_warm_fractions_of_many_thresholds():
    fracs = get_warm_fracs([100, 200, 1000, 2000, 3000], "2017:010:12:00:00", T_ccd=-13.55)
    expected = [207845, 79207, 635, 86, 26]
    np.testing.assert_allclose(fracs * N_PIXELS, expected, rtol=0.001, atol=2)
    assert get_warm_fracs(100) == get_warm_fracs(100, "2013:001:12:00:00", -19.0)


@pytest.mark.parametrize("threshold", [2.0, 1.0, 9000.0, math.nan])
def test_threshold_outside_the_bins(threshold):
    with pytest.raises(InputError, match=r"expected more than 2 and at most 8933\.67"):
        get_warm_fracs([100, threshold], T_ccd=-14)
    assert get_warm_fracs([2.001, 8933.67], T_ccd=-14)[1] > 0


# --- Synthetic images --------------------------------------------------------------------------


def test_synthetic_image(home):
    dark = synthetic_dark_image("2017:010:12:00:00", t_ccd_ref=-13.55, rng=1)
    assert dark.shape == (1024, 1024)
    expected = np.array([229413, 89239, 675, 84, 27])
    found = np.array([np.count_nonzero(dark > n) for n in (100, 200, 1000, 2000, 3000)])
    assert np.all(np.abs(found - expected) < 3 * np.sqrt(expected))
    # Warm pixels lie everywhere.
    blocks = (dark > 100).reshape(8, 128, 8, 128).mean(axis=(1, 3))
    np.testing.assert_allclose(blocks, blocks.mean(), atol=0.02)


def test_synthetic_image_of_given_cool_pixels():
    cool = np.full((1024, 1024), 5.0)
    cool[100:110] = 1000.0
    dark = synthetic_dark_image("2017:001", cool=cool, rng=2)
    counts = get_dark_hist("2017:001", -14)[2]
    untouched = np.count_nonzero(dark == 5.0)
    assert abs(untouched - (N_PIXELS - counts.sum())) < 5 * math.sqrt(counts.sum())
    assert np.count_nonzero(dark > 900) < 2000
    np.testing.assert_array_equal(dark, synthetic_dark_image("2017:001", cool=cool, rng=2))
    colder = synthetic_dark_image("2017:001", -18, cool=cool, rng=2)
    np.testing.assert_allclose(colder, 0.7 * dark)


def test_more_warm_pixels_than_the_ccd_has():
    counts = get_dark_hist("2035:001", -14)[2]
    assert counts.sum() > 1.2 * N_PIXELS
    dark = synthetic_dark_image("2035:001", cool=np.zeros((1024, 1024)), rng=3)
    mean = (counts * (darkbins.bins[1:] - darkbins.bins[:-1])).sum() / np.log(10) / 0.05 / N_PIXELS
    assert dark.mean() == pytest.approx(mean, rel=0.02)


def test_synthetic_image_starts_from_the_archive(home):
    folder = home.archive / "aca_dark" / "1999223"
    folder.mkdir(parents=True)
    fits.writeto(folder / "image.fits", np.full((1024, 1024), 10.0, ">f4"))
    (folder / "properties.json").write_text('{"ccd_temp": -10.0}')
    dark = synthetic_dark_image("2017:001", rng=4)
    assert dark.min() == pytest.approx(7.0, rel=1e-6)
    shutil.rmtree(folder)
    assert synthetic_dark_image("2017:001", rng=4).min() < 6.0
