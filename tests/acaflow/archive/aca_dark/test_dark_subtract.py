"""Background of star images (dark-cal C2): temperature, cut, scale, subtract."""

import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from acaflow.archive import aca_l0
from acaflow.archive.aca_dark.dark_model import dark_temp_scale_img
from acaflow.archive.aca_dark.dark_subtract import (
    get_aca_images_bgd_sub,
    get_dark_backgrounds,
    get_dark_current_imgs,
    get_tccd_data,
    subtract_dark,
)
from acaflow.archive.aca_image import ACAImage
from acaflow.errors import InputError, MissingDataError
from acaflow.telemetry.samples import SampleFiles
from tests.support.l0 import BASE_TIME, deliver, make_l0_file
from tests.support.samples import MAJOR_FRAME_S, archive_samples

CCD = np.arange(-512, 512)
PLACES = 1e6 + 2000.0 * CCD[:, None] + CCD
"""A map whose values tell CCD row and column."""

WARM = {-10: (100, 1000, 500), -5: (171.476, 1668.623, 852.798), -15: (58.317, 599.297, 293.153)}
"""The same pixels (e-/s) at three temperatures: the published values of C2."""


def tiles(values):
    """Return a map of three values, never the same in neighbouring pixels."""
    return np.array(values, np.float32)[(CCD[:, None] + 5 * CCD) % 3]


def table(rows, cols, **columns):
    return Table({"IMGROW0_8X8": rows, "IMGCOL0_8X8": cols} | columns)


# --- Temperature -------------------------------------------------------------------------------


class Telemetry:
    """AACCCDPT every 32.8 s from 0 s on; remembers what was asked for."""

    def __init__(self, degc):
        self.times, self.degc = MAJOR_FRAME_S * np.arange(len(degc)), np.array(degc, float)

    def get(self, msid, tstart, tstop):
        assert msid == "AACCCDPT"
        self.asked = tstart, tstop
        part = slice(*np.searchsorted(self.times, [tstart, tstop]))
        return self.times[part], self.degc[part]

    def at(self, *samples, **options):
        """Return the temperatures at the times of samples, which may be fractions."""
        return get_tccd_data(MAJOR_FRAME_S * np.array(samples), source=self, **options)


def test_a_drift_keeps_its_slope_and_lags_by_half_a_sample():
    drift = Telemetry(-10 + 0.01 * np.arange(200))
    np.testing.assert_allclose(drift.at(100, 100.25, 150), [-9.005, -9.0025, -8.505], rtol=1e-12)


def test_a_single_outlier_does_not_count():
    degc = np.full(200, -10.0)
    degc[[95, 110]] = 0.0, -273.15
    np.testing.assert_allclose(Telemetry(degc).at(*range(80, 120)), -10.0, rtol=1e-12)


def test_weights_of_the_window():
    """Two samples of 1 degC more pass the median; Hann: (1 - cos(2 pi k / 29)) / 2, sum 14.5."""
    degc = np.full(200, -10.0)
    degc[[100, 101]] = -9.0
    weight = (1 - np.cos(2 * np.pi * np.arange(30) / 29)) / 29
    assert weight.sum() == pytest.approx(1)
    got = Telemetry(degc).at(100, 100.5, 101, 102, 86, 87, 116, 115) + 10
    at_100, at_101 = weight[13] + weight[14], weight[14] + weight[15]
    expected = [at_100, (at_100 + at_101) / 2, at_101, at_100, 0, weight[1], 0, weight[28]]
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_without_filters_samples_are_joined_by_lines():
    saw = Telemetry([-10, -8, -11, -10, -10, -4])
    np.testing.assert_allclose(
        saw.at(0.5, 1, 1.75, 5, 7, smooth_window=0, median_window=0), [-9, -8, -10.25, -4, -4]
    )
    np.testing.assert_allclose(
        saw.at(0, 1, 2, 3, 4, 5, smooth_window=0), [-10, -10, -10, -10, -10, -4]
    )


@pytest.mark.parametrize(("window", "pad"), [(30, 600.0), (0, 600.0), (100, 1640.0)])
def test_samples_before_and_after(window, pad):
    telemetry = Telemetry(np.full(200, -10.0))
    degc = get_tccd_data([2500.0, 2000.0, 3000.0, 2100.0], smooth_window=window, source=telemetry)
    np.testing.assert_allclose(degc, -10.0)
    assert telemetry.asked == pytest.approx((2000.0 - pad, 3000.0 + pad))


def test_few_samples_are_smoothed_too():
    np.testing.assert_allclose(Telemetry([-10.0]).at(0, 3), -10.0)
    np.testing.assert_allclose(Telemetry([-10.0, -10.0, -10.0]).at(0, 3), -10.0)


def test_gaps_are_not_filled():
    telemetry = Telemetry(np.full(100, -10.0))
    telemetry.times[50:] += 10_000
    near, far = telemetry.times[49] + 599, telemetry.times[50] - 599
    assert get_tccd_data([near, far], source=telemetry).tolist() == pytest.approx([-10, -10])
    message = r"AACCCDPT within 600 s of 1998:001:00:35:45.016 \(2 of 3 times\)"
    with pytest.raises(MissingDataError, match=message):
        get_tccd_data([near, near + 2, far - 2], source=telemetry)
    with pytest.raises(MissingDataError, match=r"\(1 of 1 times\)"):
        get_tccd_data([1e8], source=telemetry)


def test_no_times_no_temperatures():
    assert get_tccd_data([]).shape == (0,)


def test_telemetry_of_the_home(home):
    archive_samples(home.archive, "AACCCDPT", BASE_TIME + 32.8 * np.arange(100), [-7.25] * 100)
    for source in ("maude", "cxc"):
        assert get_tccd_data([BASE_TIME + 900], source=source) == pytest.approx([-7.25])
    with pytest.raises(InputError, match="source is 'eng'"):
        get_tccd_data([BASE_TIME], source="eng")


# --- Cut ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [4, 8, 13])
def test_pieces_lie_under_the_images(size):
    pieces = get_dark_backgrounds(PLACES, np.array([10, -512], np.int16), [-20, 512 - size], size)
    rows, cols = np.mgrid[:size, :size]
    assert pieces.dtype == np.float64
    assert (pieces[0] == 1e6 + 2000 * (10 + rows) + (-20 + cols)).all()
    assert (pieces[1] == 1e6 + 2000 * (-512 + rows) + (512 - size + cols)).all()


def test_beyond_the_ccd_is_nothing():
    row0 = [-516, 508, -519, -520, 511, 512, -30_000, 30_000]
    pieces = get_dark_backgrounds(PLACES, np.array(row0, np.int16), np.array([0, 511] * 4))
    assert (pieces[0, :4] == 0).all()
    assert (pieces[0, 4:, 0] == 1e6 + 2000 * np.arange(-512, -508)).all()
    assert (pieces[1, :4, 0] == 1e6 + 2000 * np.arange(508, 512) + 511).all()
    assert np.count_nonzero(pieces, axis=(1, 2)).tolist() == [32, 4, 8, 0, 8, 0, 0, 0]


def test_a_masked_position_is_beyond_the_ccd():
    row0 = np.ma.MaskedArray([10, 10], [False, True], dtype=np.int16)
    pieces = get_dark_backgrounds(PLACES, row0, [0, 0])
    assert np.count_nonzero(pieces, axis=(1, 2)).tolist() == [64, 0]


def test_the_map_covers_the_ccd():
    with pytest.raises(InputError, match=r"dark map has shape \(8, 8\), expected \(1024, 1024\)"):
        get_dark_backgrounds(np.zeros((8, 8)), [0], [0])


# --- Scale -------------------------------------------------------------------------------------


def test_each_image_has_its_temperature():
    """With 5 s and 5 e-/DN a DN is an e-/s."""
    images = table([-200, 300, 7], [5, 5, -400], INTEG=[5.0, 5.0, 2.5])
    dark = get_dark_current_imgs(images, tiles(WARM[-10]), -10.0, [-5, -15, -10])
    for degc, row, col, seconds, got in zip(
        (-5, -15, -10), (-200, 300, 7), (5, 5, -400), (5, 5, 2.5), dark, strict=True
    ):
        truth = tiles(WARM[degc])[row + 512 : row + 520, col + 512 : col + 520]
        np.testing.assert_allclose(got, truth * seconds / 5, rtol=0, atol=5.6e-4)


def test_many_images_follow_the_law_of_one():
    rng = np.random.default_rng(1)
    dark_map = rng.lognormal(4, 1.5, (1024, 1024)) - 10
    row0, col0 = rng.integers(-512, 504, (2, 2500))
    t_ccds = rng.uniform(-20, 0, 2500)
    dark = get_dark_current_imgs(table(row0, col0), dark_map, -12.5, t_ccds)
    for i in (0, 999, 1000, 1999, 2000, 2499):
        piece = dark_map[row0[i] + 512 :, col0[i] + 512 :][:8, :8]
        scaled = dark_temp_scale_img(piece, -12.5, t_ccds[i])
        np.testing.assert_allclose(dark[i], scaled * 1.696 / 5, rtol=1e-12)


def test_integration_time_defaults_to_the_usual():
    dark_map = np.full((1024, 1024), 500.0)
    integ = np.ma.MaskedArray([1.0, 9.0], [False, True])
    dark = get_dark_current_imgs(table([0, 0], [0, 0], INTEG=integ), dark_map, -10, [-10, -10])
    np.testing.assert_allclose(dark[:, 0, 0], [100.0, 169.6])


def test_zero_and_unknown_dark_current():
    dark_map = np.zeros((1024, 1024), np.float32)
    dark_map[512, 513] = np.nan
    dark = get_dark_current_imgs(table([0], [0]), dark_map, -10, [-5])
    assert np.isnan(dark[0, 0, 1])
    assert (dark.ravel()[2:] == 0).all()


def test_one_temperature_for_each_image():
    with pytest.raises(InputError, match=r"2 images, but CCD temperatures of shape \(3,\)"):
        get_dark_current_imgs(table([0, 0], [0, 0]), PLACES, -10, [-10] * 3)


# --- Subtract ----------------------------------------------------------------------------------


def test_difference_is_not_negative_and_stays_masked():
    img = np.ma.MaskedArray(np.full((2, 8, 8), 200.0), mask=False)
    img[1, :2] = np.ma.masked
    img[0, 0, 0] = 50.0
    images = table([0, 0], [0, 0], INTEG=[5.0, 2.5], IMG=img)
    bgsub, dark = get_aca_images_bgd_sub(images, [-10, -10], np.full((1024, 1024), 120.0), -10)
    assert (dark[0] == 120).all()
    assert (dark[1] == 60).all()
    assert bgsub[0, 0, 0] == 0
    assert (bgsub[0, 1:] == 80).all()
    assert (bgsub[1, 2:] == 140).all()
    assert bgsub.mask[1, :2].all()
    assert np.count_nonzero(bgsub.mask) == 16
    assert (images["IMG"] == img).all()
    assert not np.shares_memory(bgsub.mask, images["IMG"].mask)


SIZES = {0: 8, 3: 6, 5: 4}
"""Image size of each slot of the archive below."""
ROW0, COL0 = -12, 480
ROWS = 12
TOLERANCE = 1e-3
"""Published dark current has 3 digits, images are float32 (DN)."""


def stars(size, n=ROWS):
    """Return what the images hold beside the dark current (DN)."""
    row, col = np.mgrid[:size, :size]
    truth = 10.0 + np.arange(n)[:, None, None] + 20 * row + col
    if size == 6:
        truth[:, [0, 0, 5, 5], [0, 5, 0, 5]] = 0.0
    return truth


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Stars over the tiles at -5 degC; calibrations at -15 long before, -10 degC days after."""
    root = tmp_path_factory.mktemp("subtract")
    for slot, size in SIZES.items():
        # The window moves by a pixel with each image, in the end beyond the CCD.
        col0 = COL0 + 5 * np.arange(ROWS)
        ccd = np.pad(tiles(WARM[-5]), ((0, 0), (0, 99)))[ROW0 + 512 :]
        dark = np.array([ccd[:size, first + 512 : first + 512 + size] for first in col0])
        image = stars(size) + dark * 1.696 / 5
        if size == 6:
            image[:, [0, 0, 5, 5], [0, 5, 0, 5]] = 0.0
        values = {"IMGRAW": image, "IMGCOL0": col0}
        deliver(
            root / "aca0",
            make_l0_file(root / "in", slot=slot, imgsize=size, rows=ROWS, values=values),
        )
    archive_samples(root, "AACCCDPT", BASE_TIME - 700 + 32.8 * np.arange(50), [-5.0] * 50)
    write_calibration(root, "2019200", ccd_temp=-15.0)
    write_calibration(root, "2019275", ccd_temp=-10.0)
    return root


def write_calibration(root, dark_id, **props):
    folder = root / "aca_dark" / dark_id
    folder.mkdir(parents=True)
    fits.writeto(folder / "image.fits", tiles(WARM[props.get("ccd_temp") or -10]))
    (folder / "properties.json").write_text(json.dumps({"id": dark_id} | props))


@pytest.fixture
def subtract(archive):
    """Subtract with the telemetry and the calibrations of the archive."""

    def run(images, dark=None):
        return subtract_dark(
            images, dark, source=SampleFiles(archive), dark_cals_dir=archive / "aca_dark"
        )

    return run


def test_decoded_images_of_all_slots(archive, subtract):
    images = aca_l0.get_aca_images(BASE_TIME - 10, BASE_TIME + 100, data_root=archive / "aca0")
    bgsub = subtract(images)
    assert (bgsub.mask == images["IMG"].mask).all()
    for slot, size in SIZES.items():
        part = slice((8 - size) // 2, (8 + size) // 2)
        of_slot = bgsub[np.asarray(images["IMGNUM"]) == slot]
        assert of_slot.count() == ROWS * size**2
        np.testing.assert_allclose(of_slot.data[:, part, part], stars(size), atol=TOLERANCE)


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("slot", SIZES)
def test_slot_data(archive, subtract, slot, centered):
    size = SIZES[slot]
    rows = aca_l0.get_slot_data(
        *(BASE_TIME - 10, BASE_TIME + 100, slot),
        data_root=archive / "aca0",
        centered_8x8=centered,
    )
    bgsub = subtract(rows)
    assert bgsub.shape == rows["IMGRAW"].shape
    assert (bgsub.mask == rows["IMGRAW"].mask).all()
    first = (8 - size) // 2 if centered else 0
    part = slice(first, first + size)
    got = bgsub.reshape(-1, 8, 8)[:, part, part]
    assert got.count() == ROWS * size**2
    np.testing.assert_allclose(got, stars(size), atol=TOLERANCE)


def test_lists_of_images(archive, subtract):
    images = [
        image
        for slot in SIZES
        for image in aca_l0.get_l0_images(
            BASE_TIME - 10, BASE_TIME + 100, slot, data_root=archive / "aca0"
        )
    ]
    before = [image.copy() for image in images]
    truth = [star for size in SIZES.values() for star in stars(size)]
    for got, raw, kept, star in zip(subtract(images), images, before, truth, strict=True):
        assert type(got) is ACAImage
        assert got.meta == raw.meta
        assert got.meta is not raw.meta
        assert (raw == kept).all()
        np.testing.assert_allclose(np.asarray(got), star, atol=TOLERANCE)


def test_a_map_of_the_caller(archive, subtract):
    rows = aca_l0.get_slot_data(
        BASE_TIME - 10, BASE_TIME + 100, 0, data_root=archive / "aca0", centered_8x8=True
    )
    np.testing.assert_allclose(subtract(rows, (tiles(WARM[-5]), -5.0)), stars(8), atol=TOLERANCE)
    # Almost no dark current: the images as they are.
    np.testing.assert_array_equal(subtract(rows, (0 * PLACES, -5.0)), rows["IMGRAW"])


def test_nothing_to_subtract_from(archive, subtract):
    data_root = archive / "aca0"
    assert subtract([]) == []
    assert subtract(aca_l0.get_slot_data(0, 1, 0, data_root=data_root)).shape == (0, 64)
    assert subtract(aca_l0.get_aca_images(0, 1, data_root=data_root)).shape == (0, 8, 8)


def test_images_without_what_is_needed(archive, subtract):
    interval = BASE_TIME - 10, BASE_TIME + 100, 0
    rows = aca_l0.get_slot_data(
        *interval, columns=["TIME", "IMGRAW", "INTEG"], data_root=archive / "aca0"
    )
    needed = "images need TIME, INTEG, IMGROW0, IMGCOL0: .*"
    with pytest.raises(InputError, match=needed + "IMGROW0"):
        subtract(rows)
    images = aca_l0.get_l0_images(*interval, columns=["TIME"], data_root=archive / "aca0")
    with pytest.raises(InputError, match=needed + "INTEG"):
        subtract(images)
    meta = {"TIME": BASE_TIME, "INTEG": 1.696}
    with pytest.raises(InputError, match=needed + "broadcast"):
        subtract([ACAImage(np.zeros((9, 9)), meta=meta)])


def test_a_calibration_without_temperature(tmp_path, archive):
    write_calibration(tmp_path, "2019265", ccd_temp=None)
    rows = aca_l0.get_slot_data(BASE_TIME - 10, BASE_TIME + 9, 0, data_root=archive / "aca0")
    with pytest.raises(MissingDataError, match="2019265 has no ccd_temp"):
        subtract_dark(rows, source=SampleFiles(archive), dark_cals_dir=tmp_path / "aca_dark")
