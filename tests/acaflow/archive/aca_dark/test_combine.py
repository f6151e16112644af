"""Master images from hand-made frames, from simulated ones, and from those of real detectors.

With 5 e-/DN, 5 s and 10 s a DN of difference is 1 e-/s. Without signal a frame has a noise of
25 e- = 5 DN, and the difference of two frames one of hypot(25, 25) / 5 = 7.0711 e-/s.
"""

import numpy as np
import pytest
from astropy.io import fits

from acaflow.archive.aca_dark import combine as module
from acaflow.archive.aca_dark.combine import (
    COSMIC,
    FEW,
    FILLED,
    HOT,
    LOW,
    MISSING,
    SATURATED,
    SCATTER,
    WARM,
    MaskBit,
    combine,
    combine_frames,
    is_measured,
)
from acaflow.errors import InputError

NAN = np.nan


def frames(*values):
    """Return one frame per value, all of whose pixels hold it."""
    return [np.full((3, 4), value, np.float32) for value in values]


def pixel(short, long, saturated=None, **options):
    """Return image, sigma, mask and nsamp of a pixel with these samples (DN), and the master.

    It stands in the middle of pixels of value 0.
    """

    def place(samples, dtype=np.float32):
        made = np.zeros((len(samples), 3, 3), dtype)
        made[:, 1, 1] = samples
        return list(made)

    full = saturated and tuple(place(samples, bool) for samples in saturated)
    master = combine(place(short), place(long), 5.0, 10.0, saturated=full, **options)
    assert master.mask.dtype == np.int16
    arrays = (master.image, master.sigma, master.mask, master.nsamp)
    return *(array[1, 1] for array in arrays), master


# --- Level and uncertainty ---------------------------------------------------------------------


def test_difference_of_the_medians():
    master = combine(frames(10, 90, 12, 11, 13), frames(40, 20, 31, 33, 32), 5.008, 9.992, gain=4.9)
    np.testing.assert_allclose(master.image, 4.9 * (32 - 12) / 4.984, rtol=1e-6)
    assert master.image.dtype == master.sigma.dtype == np.float32
    assert master.nsamp.dtype == np.uint8
    assert (master.nsamp == 5).all()
    assert (master.t_short, master.t_long) == (5.008, 9.992)
    assert master.quantum == pytest.approx(4.9 / 4.984)


@pytest.mark.parametrize(
    ("n", "factor"),
    [(1, 1.0), (2, 0.7071), (3, 0.6698), (4, 0.5461), (5, 0.5356), (9, 1.2533 / 3)],
)
def test_error_of_a_median(n, factor):
    master = combine(frames(*[0] * n), frames(*[0] * n), 5.0, 10.0)
    np.testing.assert_allclose(master.sigma, factor * 7.07107, rtol=1e-5)
    assert (master.mask == (FEW if n < 3 else 0)).all()
    assert (master.nsamp == n).all()


def test_noise_of_the_signal_and_of_the_read_out():
    master = combine(frames(*[40] * 5), frames(*[80] * 5), 5.0, 10.0, read_noise=10.0)
    np.testing.assert_allclose(master.sigma, 0.5356 * np.sqrt(100 + 200 + 100 + 400) / 5, rtol=1e-5)
    master = combine(frames(*[-40] * 5), frames(*[-80] * 5), 5.0, 10.0, read_noise=10.0)
    np.testing.assert_allclose(master.sigma, 0.5356 * np.sqrt(200) / 5, rtol=1e-5)


def test_gain_of_every_pixel():
    gain = np.full((3, 4), 5.0)
    gain[:, 2:] = 4.0
    master = combine(frames(0, 0, 0), frames(20, 20, 20), 5.0, 10.0, gain=gain)
    assert master.image[0].tolist() == [20, 20, 16, 16]
    assert master.quantum is None


@pytest.mark.parametrize(
    ("n", "options", "quantum"),
    [(5, {}, 1.0), (3, {}, 1.0), (4, {}, None), (5, {"method": "clipmean"}, None)],
)
def test_quantum(n, options, quantum):
    assert combine(frames(*[0] * n), frames(*[9] * n), 5.0, 10.0, **options).quantum == quantum


def test_quantum_holds_where_a_few_pixels_have_fewer_samples():
    long = frames(*[9] * 5)
    long[2][0] = NAN
    assert combine(frames(*[0] * 5), long, 5.0, 10.0).quantum == 1.0


def test_clipmean():
    image, sigma, mask, nsamp, _ = pixel([0] * 5, [-2, -1, 0, 1, 998], method="clipmean")
    assert image == -0.5
    assert sigma == pytest.approx(7.07107 / 2, rel=1e-5)
    assert mask == COSMIC
    assert nsamp == 5
    # 4 sigma are 28.28 DN, or more where the replicas scatter more: here 4 x 1.4826 x 20 = 118.6.
    assert pixel([0] * 5, [-1, 0, 0, 1, 28], method="clipmean")[0] == pytest.approx(5.6)
    assert pixel([0] * 5, [-1, 0, 0, 1, 29], method="clipmean")[0] == 0
    assert pixel([0] * 5, [-21, -20, 0, 20, 118], method="clipmean")[0] == pytest.approx(19.4)
    assert pixel([0] * 5, [-21, -20, 0, 20, 119], method="clipmean")[0] == pytest.approx(-5.25)


def test_clipmean_of_two_pairs_is_the_difference_of_the_medians():
    samples = ([0, 2, NAN, 10], [5, 6, 30, NAN])
    assert pixel(*samples, method="clipmean")[:4] == pixel(*samples)[:4]


# --- Missing samples ---------------------------------------------------------------------------


def test_only_replicas_with_both_samples_enter():
    image, sigma, mask, nsamp, _ = pixel([0, 0, 0, 0, NAN], [0, 10, 20, 30, 1000])
    assert (image, mask, nsamp) == (15, 0, 4)
    assert sigma == pytest.approx(0.5461 * np.sqrt(625 + 625 + 75) / 5, rel=1e-5)


def test_all_samples_enter_where_fewer_than_three_pairs_are_left():
    image, sigma, mask, nsamp, _ = pixel([1, 2, 3, NAN, NAN], [NAN, NAN, 20, 10, 40])
    assert (image, mask, nsamp) == (18, FEW, 3)
    assert sigma == pytest.approx(0.6698 * np.sqrt(625 + 10 + 625 + 100) / 5, rel=1e-5)
    image, _, mask, nsamp, _ = pixel([1, 2, 3, NAN, NAN], [NAN, NAN, 20, NAN, NAN])
    assert (image, mask, nsamp) == (18, FEW, 1)


@pytest.mark.parametrize("short", [[NAN] * 3, [1, 2, 3]])
def test_missing_pixel_gets_the_median_of_its_neighbours(short):
    long = np.add.outer([0, 10, 20, 30], [0, 1, 2, 3, 4]).astype(np.float32)
    shorts, longs = np.zeros((3, 4, 5), np.float32), np.stack([long] * 3)
    where = [0, 1], [0, 3]
    shorts[:, *where] = np.array(short)[:, None]
    longs[:, *where] = NAN
    master = combine(list(shorts), list(longs), 5.0, 10.0)
    assert master.image[where].tolist() == [10, 13]  # of 1, 10, 11 and of 2, 3, 4, 12, 14, 22 ...
    assert (master.mask[where] == MISSING | FEW | FILLED).all()
    assert np.isnan(master.sigma[where]).all()
    assert (master.nsamp[where] == 0).all()
    assert np.isfinite(master.image).all()
    assert np.count_nonzero(master.mask) == 2


def test_missing_pixel_without_neighbours_is_0():
    long = frames(200, 200, 200)
    for frame in long:
        frame[:, :3] = NAN
    master = combine(frames(0, 0, 0), long, 5.0, 10.0)
    assert master.image[0].tolist() == [0, 0, 200, 200]
    assert master.mask[0].tolist() == [MISSING | FEW, MISSING | FEW, MISSING | FEW | FILLED, WARM]


def test_no_sample_at_all():
    master = combine(frames(NAN, NAN), frames(NAN, NAN), 5.0, 10.0)
    assert (master.image == 0).all()
    assert (master.mask == MISSING | FEW).all()


# --- Saturated samples -------------------------------------------------------------------------


def test_saturated_sample_does_not_enter():
    """The numbers of the saturated samples are arbitrary lower limits."""
    image, _, mask, nsamp, _ = pixel(
        [0, 0, 0, 0, 63_500],
        [0, 10, 20, 63_500, 5],
        saturated=([0, 0, 0, 0, 1], [0, 0, 0, 1, 0]),
    )
    assert (image, mask, nsamp) == (10, SATURATED, 3)


def test_every_long_sample_saturated_gives_the_rate_of_the_short_ones():
    image, sigma, mask, nsamp, master = pixel(
        [40_000, 40_002, 40_010], [63_500] * 3, saturated=([0] * 3, [1] * 3)
    )
    assert (image, nsamp) == (40_002, 0)  # 5 e-/DN x 40 002 DN / 5 s
    assert mask == SATURATED | HOT | WARM | FEW
    assert np.isnan(sigma)
    assert np.count_nonzero(master.mask) == 1


def test_every_sample_saturated_gives_a_lower_limit():
    image, sigma, mask, nsamp, _ = pixel(
        [63_500] * 4, [63_500, NAN, 63_504, 63_510], saturated=([1] * 4, [1, 0, 1, 1])
    )
    assert (image, nsamp) == (31_752, 0)  # 5 e-/DN x 63 504 DN / 10 s
    assert mask == SATURATED | HOT | WARM | FEW
    assert np.isnan(sigma)


# --- What the mask says ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "mask"),
    [
        *[(100, 0), (101, WARM), (3000, WARM), (3001, WARM | HOT)],
        # -5 x 0.5356 x 7.0711 = -18.94
        *[(-18, 0), (-19, LOW)],
    ],
)
def test_warm_hot_and_low(rate, mask):
    assert pixel([0] * 5, [rate] * 5)[2] == mask


@pytest.mark.parametrize(
    ("short", "long", "n"),
    [
        # 8 sigma are 40 DN
        ([0] * 5, [0, 0, 0, 0, 40], 0),
        ([0] * 5, [0, 0, 0, 0, 41], 1),
        ([0, 41, 0, 0, 0], [0] * 5, 1),
        ([0, 41, 0, 0, 0], [0, 0, 41, 0, 0], 2),
        ([0, 0, 0, 0, 500], [0, 0, 0, 0, 1000], 0),  # a star
        ([0, 0, 0, 0, 0], [0, 0, 0, 0, -500], 0),
        ([0, 0, 0, 0, NAN], [0, 0, 0, 0, 500], 0),  # a star, perhaps
        ([0, 0, NAN, NAN, NAN], [0, 0, 0, 0, 500], 0),
    ],
)
def test_cosmic_ray(short, long, n):
    _, _, mask, _, master = pixel(short, long)
    assert (mask & COSMIC, master.n_cosmic) == (COSMIC if n else 0, n)


@pytest.mark.parametrize(
    ("short", "long", "flagged"),
    [
        # 5 sigma are 35.36 DN
        ([0] * 5, [0, 0, 0, 35, 36], False),
        ([0] * 5, [0, 0, 0, 36, 36], True),
        ([0] * 5, [0, 0, 0, -36, 36], True),
        ([0] * 5, [0, 0, 0, 0, 9000], False),
        ([0, 0, 0, 36, NAN], [0, 0, 0, 0, 36], False),
    ],
)
def test_scatter(short, long, flagged):
    assert bool(pixel(short, long)[2] & SCATTER) == flagged


def test_bits_are_those_of_the_reference():
    assert {bit.name: bit.value for bit in MaskBit} == {
        "MISSING": 1,
        "FEW": 2,
        "SATURATED": 4,
        "SCATTER": 8,
        "WARM": 16,
        "HOT": 32,
        "COSMIC": 64,
        "LOW": 128,
        "FILLED": 256,
    }
    assert (np.zeros(1, np.int16) & FILLED).dtype == np.int16


# --- Many pixels -------------------------------------------------------------------------------


def plainly(short, long, gain, interval):
    """Return image, number of cosmic samples and scatter of one pixel, in plain Python."""
    pairs = [r for r in range(len(short)) if np.isfinite(short[r] + long[r])]
    used = pairs if len(pairs) >= 3 else range(len(short))
    levels = [np.nanmedian([group[r] for r in used]) for group in (short, long)]
    image = gain * (levels[1] - levels[0]) / interval
    noise = [np.sqrt(25**2 + max(gain * level, 0)) for level in levels]
    hits = sum(
        (gain * (short[r] - levels[0]) > 8 * noise[0])
        != (gain * (long[r] - levels[1]) > 8 * noise[1])
        for r in pairs
    )
    far = sum(
        abs(gain * (long[r] - short[r]) / interval - image) > 5 * np.hypot(*noise) / interval
        for r in pairs
    )
    return image, hits, far >= 2


def test_pieces_and_plain_python_agree(monkeypatch):
    monkeypatch.setattr(module, "PIECE", 700)
    rng = np.random.default_rng(7)
    short, long = rng.normal(30, 5, (2, 5, 40, 60)).round().astype(np.float32)
    for group in (short, long):
        group[rng.random(group.shape) < 0.15] = NAN
        group[rng.random(group.shape) < 0.05] += 60
    given = short.copy(), long.copy()
    master = combine(list(short), list(long), 5.008, 10.0)
    np.testing.assert_array_equal((short, long), given)
    plain = [
        plainly(short[:, i, j], long[:, i, j], 5.0, 4.992) for i in range(40) for j in range(60)
    ]
    image, hits, scatter = (np.array(column).reshape(40, 60) for column in zip(*plain, strict=True))
    sampled = (master.mask & MISSING) == 0
    assert 0 < hits.sum() == master.n_cosmic
    assert 0 < scatter.sum() == ((master.mask & SCATTER) > 0).sum()
    assert ((hits > 0) == ((master.mask & COSMIC) > 0)).all()
    np.testing.assert_allclose(master.image[sampled], image[sampled], rtol=1e-6, atol=1e-5)
    pairs = np.isfinite(short + long).sum(axis=0)
    assert ((pairs < 3) == ((master.mask & FEW) > 0)).all()


def test_frames_may_be_views_of_any_layout_and_type():
    stack = np.arange(24, dtype=">u2").reshape(2, 3, 4)
    median, nsamp = combine_frames([frame.T for frame in stack])
    assert (median == stack.mean(axis=0).T).all()
    assert median.dtype == np.float32
    assert (nsamp == 2).all()
    assert nsamp.dtype == np.uint8


@pytest.mark.parametrize("n", range(1, 9))
def test_median_is_that_of_numpy(n):
    rng = np.random.default_rng(n)
    stack = rng.normal(0, 1e4, (n, 50, 900)).astype(np.float32)
    np.testing.assert_array_equal(combine_frames(list(stack))[0], np.median(stack, axis=0))
    stack[rng.random(stack.shape) < 0.2] = NAN
    some = np.isfinite(stack).any(axis=0)
    median, nsamp = combine_frames(list(stack))
    np.testing.assert_array_equal(median[some], np.nanmedian(stack[:, some], axis=0))
    assert np.isnan(median[~some]).all()
    np.testing.assert_array_equal(nsamp, np.isfinite(stack).sum(axis=0))


def test_median_without_saturated_samples():
    saturated = [np.zeros((3, 4), bool) for _ in range(3)]
    saturated[2][0] = True
    median, nsamp = combine_frames(frames(10, 20, 999), saturated=saturated)
    assert median[:2, 0].tolist() == [15, 20]
    assert nsamp[:2, 0].tolist() == [2, 3]


def test_unusable_arguments_are_refused():
    with pytest.raises(InputError, match="1 short and 2 long frames"):
        combine(frames(0), frames(0, 0), 5.0, 10.0)
    with pytest.raises(InputError, match=r"shapes \[\]; expected at least one"):
        combine([], [], 5.0, 10.0)
    with pytest.raises(InputError, match=r"shapes \[\(2, 2\), \(3, 4\)\]"):
        combine(frames(0), [np.zeros((2, 2))], 5.0, 10.0)
    with pytest.raises(InputError, match=r"times 10.0 and 5.0 s; expected images, and 0 < short"):
        combine(frames(0), frames(0), 10.0, 5.0)
    with pytest.raises(InputError, match="method is 'mean'"):
        combine(frames(0), frames(0), 5.0, 10.0, method="mean")


# --- Truth injected ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "n", "method"),
    [
        (0.5, 5, "median"),
        (7, 5, "median"),
        (7, 5, "clipmean"),
        (7, 4, "median"),
        (900, 3, "median"),
    ],
)
def test_bias_and_uncertainty_of_simulated_frames(rate, n, method):
    """Unbiased, and scattering as predicted: B6 found 0.999 to 1.005 of the uncertainty.

    Of frames without signal so many that 3 standard errors of the mean are below the tolerance.
    """
    rng = np.random.default_rng(20)
    shape = (1200, 1200) if rate < 10 else (600, 1000)

    def expose(seconds):
        electrons = rng.poisson(rate * seconds, shape) + rng.normal(0, 25, shape)
        return np.round(electrons / 5).astype(np.float32)

    groups = [[expose(seconds) for _ in range(n)] for seconds in (5.008, 10.0)]
    master = combine(*groups, 5.008, 10.0, method=method)
    error = master.image.astype(np.float64) - rate
    scatter = error.std()
    assert abs(error.mean()) < max(0.01, 3 * scatter / np.sqrt(error.size))
    predicted = np.sqrt(np.mean(master.sigma.astype(np.float64) ** 2))
    assert 0.995 < scatter / predicted < 1.01


def test_stars_and_cosmic_rays_leave_the_image():
    """Each star lies on another pixel in every replica; each ray hits one frame."""
    rng = np.random.default_rng(5)
    shape = (200, 256)
    groups = [
        [np.round(rng.normal(7 * t / 5, 5, shape)).astype(np.float32) for _ in range(5)]
        for t in (5, 10)
    ]
    clean = combine(*groups, 5.0, 10.0)
    for replica in range(5):
        star = np.s_[50:60, 30 * replica : 30 * replica + 10]
        groups[0][replica][star] += 5000
        groups[1][replica][star] += 10_000
    rays = 100 * shape[1] + rng.choice(100 * shape[1], 300, replace=False)
    for i, where in enumerate(rays):
        groups[i % 2][i % 5].reshape(-1)[where] += 400
    master = combine(*groups, 5.0, 10.0)
    assert clean.n_cosmic == 0
    assert master.n_cosmic == len(rays) == np.count_nonzero(master.mask & COSMIC)
    assert abs((master.image - clean.image).mean()) < 0.01
    assert np.abs(master.image - clean.image).max() < 15  # one sample of five pushed up


# --- Real detectors ----------------------------------------------------------------------------


def read(folder, pattern):
    """Return frames of a real detector (DN)."""
    return [
        fits.getdata(path).astype(np.float32)
        for path in sorted((folder / "real" / "ccd_darks").glob(f"{pattern}*.fits.gz"))
    ]


@pytest.mark.real
@pytest.mark.parametrize(
    ("pattern", "shape"),
    [("stl1001/darks-expos1-", (1024, 1024)), ("lab2/L2-dark-", (255, 765))],
)
def test_master_of_five_real_frames_is_the_median_of_numpy(real_data, pattern, shape):
    darks = read(real_data, pattern)
    assert len(darks) == 5
    median, nsamp = combine_frames(darks)
    assert median.shape == shape
    np.testing.assert_array_equal(median, np.median(darks, axis=0))
    assert (nsamp == 5).all()


@pytest.mark.real
def test_real_pixels_always_saturated_are_hot(real_data):
    darks = read(real_data, "lab2/L2-dark-")
    full = [dark == 65_535 for dark in darks]
    nothing = [np.zeros_like(dark) for dark in darks]
    saturated = ([np.zeros_like(flags) for flags in full], full)
    bias = 1046.0
    master = combine(
        nothing, [dark - bias for dark in darks], 1.0, 1200.0, saturated=saturated, gain=1.49
    )
    always = (master.mask & HOT) > 0
    assert always.sum() == 3 == np.count_nonzero(master.mask & SATURATED)
    # Nothing shows in the short frames, which here are made up: the rate is that of theirs, 0.
    assert (master.image[always] == 0).all()
    assert np.isnan(master.sigma[always]).all()
    assert not (master.mask & MISSING).any()


@pytest.mark.real
def test_cosmic_rays_in_real_darks_are_counted(real_data):
    """Five darks of 60 s against biases: about one muon per cm2 and minute hits the 6 cm2."""
    from scipy.ndimage import label

    darks, biases = read(real_data, "stl1001/darks-expos1-"), read(real_data, "stl1001/biases-")
    shorts = [biases[i] for i in (0, 1, 2, 0, 1)]
    level = np.median(biases, axis=0)
    groups = [[frame - level for frame in group] for group in (shorts, darks)]
    options = {"gain": 2.06, "read_noise": 15.0}
    master = combine(*groups, 0.1, 60.0, **options)
    tracks = label(master.mask & COSMIC, np.ones((3, 3)))[1]
    assert 30 < tracks < 150
    # Tracks are of other charge than the dark current beneath: the median does not know them.
    others = np.median(np.sort(groups[1], axis=0)[:4], axis=0) * 2.06 / 59.9
    hit = (master.mask & COSMIC) > 0
    assert np.median(np.abs(master.image - others)[hit]) < 0.5

    rng = np.random.default_rng(9)
    rows, cols = rng.integers(0, 1024, (2, 500))
    places = {(i, j) for i, j in zip(rows.tolist(), cols.tolist(), strict=True) if not hit[i, j]}
    for k, (i, j) in enumerate(sorted(places)):
        groups[1][k % 5][i, j] += 2000
    again = combine(*groups, 0.1, 60.0, **options)
    assert again.n_cosmic == master.n_cosmic + len(places)


@pytest.mark.real
def test_real_exposures_of_other_lengths_give_the_same_dark_current(real_data):
    """No bias is subtracted: the difference of the exposures cancels it."""
    by_s = {s: read(real_data, f"stl1001/darks-expos{s}s-")[0] for s in (10, 30, 150, 300)}
    masters = [
        combine([by_s[short]], [by_s[long]], short, long, gain=2.06)
        for short, long in ((10, 150), (30, 300))
    ]
    first, second = (master.image for master in masters)
    hot = (second > 50) & (by_s[300] < 60_000)
    assert hot.sum() > 500
    assert np.median(first[hot] / second[hot]) == pytest.approx(1, abs=0.03)
    assert np.median(first) == pytest.approx(np.median(second), rel=0.05)
    assert all((master.mask & FEW == FEW).all() for master in masters)


def test_what_is_missing_filled_or_nan_was_not_measured():
    image = np.array([1.0, np.nan, 1.0, 1.0, 1.0])
    mask = np.array([0, 0, MISSING, MISSING | FILLED, COSMIC], np.int16)
    assert is_measured(image, mask).tolist() == [True, False, False, False, True]
    assert is_measured(image).tolist() == [True, False, True, True, True]
