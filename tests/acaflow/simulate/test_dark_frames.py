"""Simulated readouts: levels, noise, stars, cosmic rays and flicker as injected."""

import numpy as np
import pytest
from astropy.io import fits

from acaflow.errors import InputError
from acaflow.simulate.dark_frames import (
    STAR,
    draw_cosmic_hits,
    draw_flicker,
    draw_stars,
    read_times,
    simulate_frames,
    star_light,
)

NO_STARS = np.zeros(0, STAR)
QUIET = {"cosmic_rate": 0.0, "flicker_s": np.inf}


def rng(seed=0):
    return np.random.default_rng(seed)


def flat(rate):
    return np.full((1024, 1024), rate, np.float32)


def signal(frame):
    """Return DN minus bias."""
    bias = np.repeat(frame.bias.astype(float), 512).reshape(2, 1024, 512)
    return frame.raw - np.concatenate([bias[1], bias[0]], axis=1)


@pytest.fixture(scope="module")
def replica():
    """The only replica of a CCD with 100 e-/s everywhere."""
    (one,) = simulate_frames(flat(100.0), NO_STARS, [1], scales=[1.0], **QUIET)
    return one


def test_rows_are_read_from_the_outer_edge_inward():
    assert read_times()[[0, 511, 512, 1023]].tolist() == [0.0, 8.0, 8.0, 0.0]


def test_level_follows_integration_and_readout(replica):
    """100 e-/s for 313 or 625 times 0.016 s, and up to 8 s of readout."""
    for frame, integ_s in ((replica.short, 5.008), (replica.long, 10.0)):
        electrons = 5 * signal(frame)
        for row, read_s in ((0, 0.0), (511, 8.0), (512, 8.0), (1023, 0.0)):
            assert electrons[row].mean() == pytest.approx(100 * (integ_s + read_s), abs=6)
    assert (replica.short.integ, replica.long.integ) == (313, 625)


def test_readout_cancels_in_the_difference(replica):
    rate = 5 * (signal(replica.long) - signal(replica.short)) / 4.992
    assert rate.mean() == pytest.approx(100, abs=0.05)
    assert rate[:100].mean() == pytest.approx(rate[462:562].mean(), abs=0.2)


def test_noise_is_poisson_and_25_electrons(replica):
    electrons = 5 * signal(replica.long)[0]
    assert electrons.std() == pytest.approx(np.sqrt(1000 + 25**2 + 25 / 12), rel=0.08)
    (dark,) = simulate_frames(flat(0.0), NO_STARS, [1], scales=[1.0], **QUIET)
    assert (5 * signal(dark.short)).std() == pytest.approx(np.hypot(25, 5 / 12**0.5), rel=0.003)


def test_bias_moves_between_replicas_only():
    replicas = list(simulate_frames(flat(1.0), NO_STARS, [1], scales=[1.0] * 3, **QUIET))
    levels = np.array(
        [
            [frame.bias.astype(int).reshape(2, 2, 512).mean(axis=2) for frame in (r.short, r.long)]
            for r in replicas
        ]
    )
    assert (np.abs(levels - 2000) < 65).all()
    assert np.abs(levels[:, 0] - levels[:, 1]).max() < 0.2  # short and long
    moved = np.ptp(levels[:, 0], axis=0)
    assert (moved > 0.5).all()
    assert (moved < 41).all()
    for one in replicas:
        assert set(np.unique(np.ptp(one.short.bias.reshape(2, 2, 512).astype(int), axis=2))) == {2}
    assert len(np.unique(levels[0, 0].round())) == 4  # quadrants differ


def test_temperature_and_sky():
    first, second = simulate_frames(
        flat(100.0), NO_STARS, [1], scales=[1.0, 1.5], zodi=10.0, **QUIET
    )
    for one, expected in ((first, 110), (second, 160)):
        rate = 5 * (signal(one.long) - signal(one.short)) / 4.992
        assert rate.mean() == pytest.approx(expected, abs=0.1)


def test_saturation():
    dark = flat(1.0)
    dark[0, 0], dark[0, 1] = 30_000.0, 90_000.0
    (one,) = simulate_frames(dark, NO_STARS, [1], scales=[1.0], **QUIET)
    assert one.short.raw[0, 0] < 65535 > one.long.raw[0, 0]  # 300,000 electrons are 60,000 DN
    assert one.short.raw[0, 1] == one.long.raw[0, 1] == 65535


def test_other_integration_times():
    (one,) = simulate_frames(flat(100.0), NO_STARS, [1], scales=[1.0], integ=(312, 1000), **QUIET)
    assert (one.short.integ, one.long.integ) == (312, 1000)
    assert 5 * signal(one.long)[0].mean() == pytest.approx(1600, abs=8)


# --- Stars ---------------------------------------------------------------------------------


def test_light_and_place_of_a_star():
    image = star_light(np.array([(-100.3, 200.4, 10.32)], STAR))
    row, col = np.mgrid[-512:512, -512:512]
    assert image.sum() == pytest.approx(5263, rel=0.01)
    assert (image * row).sum() / image.sum() == pytest.approx(-100.3, abs=0.01)
    assert (image * col).sum() / image.sum() == pytest.approx(200.4, abs=0.01)
    # Full width at half maximum of 1.8 pixels: sigma 0.764.
    spread = (image * (row + 100.3) ** 2).sum() / image.sum()
    assert spread**0.5 == pytest.approx(0.764, abs=0.01)


def test_a_magnitude_is_a_factor():
    faint, bright = (star_light(np.array([(0, 0, mag)], STAR)).sum() for mag in (11.5, 9.0))
    assert bright / faint == pytest.approx(10.0, rel=1e-4)


def test_a_star_at_the_edge_loses_light():
    at_edge = star_light(np.array([(-512, 511, 10.32), (520, 0, 9.0)], STAR))
    assert 0.25 * 5263 < at_edge.sum() < 0.75 * 5263
    assert at_edge.argmax() == 1023


def test_stars_move_by_24_pixels_in_a_cross():
    stars = np.array([(30.0, -60.0, 9.0)], STAR)
    replicas = simulate_frames(flat(1.0), stars, [1], **QUIET)
    places = [np.unravel_index(signal(one.long).argmax(), (1024, 1024)) for one in replicas]
    row, col = 30 + 512, -60 + 512
    assert places == [
        (row, col),
        (row + 24, col),
        (row - 24, col),
        (row, col + 24),
        (row, col - 24),
    ]


def test_star_field():
    stars = draw_stars(rng(), 4000)
    assert (stars["mag"].min() >= 9.0) & (stars["mag"].max() <= 11.5)
    # Ten times as many within two magnitudes more: of 0.944 in all, 0.761 are fainter than 10.5.
    assert (stars["mag"] > 10.5).mean() == pytest.approx((1 - 10**-0.5) / (1 - 10**-1.25), abs=0.02)
    for name in ("row", "col"):
        assert np.abs(stars[name]).max() == pytest.approx(536, abs=2)


# --- Cosmic rays ---------------------------------------------------------------------------


def test_rate_and_length_of_tracks():
    hits = draw_cosmic_hits(rng(), 30.0, 1000.0)
    # 30,000 tracks; whole pixels of an exponential of mean 4 have the mean 1 / (1 - exp(-1/4)).
    assert len(hits) == pytest.approx(30_000 * 4.521, rel=0.02)
    assert hits["electrons"].min() == pytest.approx(500, abs=2)
    assert hits["electrons"].max() == pytest.approx(3000, abs=2)
    for name in ("row", "col"):
        assert (hits[name].min(), hits[name].max()) == (-512, 511)


def test_tracks_are_connected():
    hits = draw_cosmic_hits(rng(), 30.0, 1000.0)
    steps = np.hypot(np.diff(hits["row"].astype(int)), np.diff(hits["col"].astype(int)))
    # The next hit is a neighbour, except at the end of each track.
    assert (steps > 2**0.5).mean() == pytest.approx(1 / 4.521, rel=0.02)


def test_hits_are_in_the_frame_they_are_said_to_be_in():
    (one,) = simulate_frames(flat(5.0), NO_STARS, [1], scales=[1.0], flicker_s=np.inf)
    # Exposed for the integration and half of the readout.
    assert len(one.long.hits) / len(one.short.hits) == pytest.approx(14 / 9, rel=0.15)
    for frame, other in ((one.short, one.long), (one.long, one.short)):
        row, col = frame.hits["row"] + 512, frame.hits["col"] + 512
        assert (5 * signal(frame)[row, col] > 380).all()
        assert np.mean(5 * signal(other)[row, col] > 380) < 0.01


# --- Flicker -------------------------------------------------------------------------------


@pytest.mark.real
def test_changes_follow_the_measured_distributions(real_data):
    with fits.open(real_data / "aca_flicker_cdf.fits") as hdus:
        measured, edges = hdus[0].data, [hdus[0].header[f"CDF_BIN{i}"] for i in range(10)]
    x = np.linspace(-0.35, 0.35, 100)
    limits = [0.035, 0.025] + [0.022] * 7
    for cdf, low, limit in zip(measured, edges[:-1], limits, strict=True):
        drawn = np.sort(np.log10(draw_flicker(rng(), np.full(200_000, low + 1.0))))
        assert np.abs(np.searchsorted(drawn, x) / drawn.size - cdf).max() < limit


@pytest.mark.parametrize(("rate", "sigma"), [(75.0, 0.09), (350.0, 0.07), (5000.0, 0.03)])
def test_size_of_changes(rate, sigma):
    """Half of the central 68 %, read off the measured distributions (dark-cal E9)."""
    x = np.log10(draw_flicker(rng(), np.full(100_000, rate)))
    low, high = np.quantile(x, [0.1587, 0.8413])
    assert (high - low) / 2 == pytest.approx(sigma, abs=0.015)
    assert np.abs(x).max() <= 0.35


def test_some_warm_pixels_jump_between_replicas():
    dark = flat(10.0)
    dark[:512] = 400.0
    first, second, third = simulate_frames(
        dark, NO_STARS, [1], scales=[1.0] * 3, cosmic_rate=0.0, period_s=4000.0
    )
    assert (first.change == 1).all()
    assert (third.change[512:] == 1).all()
    assert (second.change[:512] != 1).mean() == pytest.approx(1 - np.exp(-0.4), abs=0.003)
    assert (third.change[:512] != 1).mean() == pytest.approx(1 - np.exp(-0.8), abs=0.003)
    jumped = second.change[:512] > 1.3
    rate = 5 * (signal(second.long) - signal(second.short))[:512] / 4.992
    expected = 400 * second.change[:512][jumped].mean()
    assert rate[jumped].mean() == pytest.approx(expected, rel=0.01)


# --- All together --------------------------------------------------------------------------


def test_equal_seeds_give_equal_frames():
    dark, stars = flat(60.0), draw_stars(rng(), 20)
    one, same, other = (
        list(simulate_frames(dark, stars, seed, scales=[1.0, 1.0])) for seed in ([4], [4], [5])
    )
    assert all((a.long.raw == b.long.raw).all() for a, b in zip(one, same, strict=True))
    assert (one[0].long.raw != other[0].long.raw).mean() > 0.9


def test_more_replicas_than_pointings():
    with pytest.raises(InputError, match="6 replicas asked for; there are 5 pointings"):
        next(simulate_frames(flat(1.0), NO_STARS, [1], scales=[1.0] * 6))
