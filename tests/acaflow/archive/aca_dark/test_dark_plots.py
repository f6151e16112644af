"""The plots of a calibration: what was put into the image is where it belongs in the picture."""

import numpy as np
import pytest
from PIL import Image

from acaflow.archive.aca_dark.dark_drawing import MAP_LEFT, MAP_TOP
from acaflow.archive.aca_dark.dark_files import Calibration
from acaflow.archive.aca_dark.dark_plots import PLOTS, write_plots
from tests.support.dark_calibrations import make_calibration, make_image

NAMES = {
    *("hist_diff.png", "hist_zero.png", "hist_cum.png", "dark_map.png", "diff_map.png"),
    *("scatter_prev.png", "quad_stats.png", "temp_replicas.png", "sigma_map.png"),
}
BLUE, RED = (10, 92, 176), (176, 28, 18)
COLDEST, MIDDLE, WARMEST = (0, 34, 78), (125, 124, 120), (254, 232, 56)
"""Ends and middle of cividis, as published."""
LEFT, RIGHT = 84, 930
"""Ends of the x axis of a histogram (pixels of its file)."""


def flat(value, dark_id="2009279", t_ccd=-19.0, quantum=1.0, **pixels):
    """Return a calibration of one value but at some places (row, column) of the CCD."""
    image = np.full((1024, 1024), value, np.float32)
    for (row, column), other in pixels.pop("at", {}).items():
        image[row + 512, column + 512] = other
    properties = {"id": dark_id, "ccd_temp": t_ccd, "stats": {"quantum": quantum}}
    return Calibration(image, None, None, None, properties, {})


def read(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def pixel(path, row, column):
    """Return the colour of a pixel of the CCD in a map, with its two empty lines in the middle."""
    x = MAP_LEFT + column + 512 + (2 if column >= 0 else 0)
    y = MAP_TOP + 511 - row + (2 if row < 0 else 0)
    return read(path)[y, x]


def close_to(colour, expected, most=6):
    return np.abs(np.asarray(colour) - expected).max() <= most


def of_colour(path, colour):
    """Return rows and columns of the pixels of a colour."""
    return np.nonzero((np.abs(read(path) - colour) <= 3).all(axis=-1))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A complete set: folder and reasons."""
    folder = tmp_path_factory.mktemp("plots")
    first = make_calibration("1999223", -10.0, make_image(5, -10.0, 9000))
    this = make_calibration(missing=[(100, -200)])
    return folder, write_plots(folder, this, make_calibration("2009190", -18.6), first)


def test_every_plot_is_there_with_its_size_and_nothing_else_inside(drawn):
    folder, reasons = drawn
    assert {path.name for path in folder.iterdir()} == NAMES == set(PLOTS)
    assert reasons == dict.fromkeys(NAMES, "")
    for name, plot in PLOTS.items():
        with Image.open(folder / name) as picture:
            assert picture.info == {}  # no date, no software
            scale = 2 if "map" in name or "scatter" in name else 1.5
            assert picture.size == (scale * plot.width, scale * plot.height)


def test_same_bytes_again_whatever_the_user_has_set(tmp_path):
    import matplotlib as mpl

    this, previous = make_calibration(), make_calibration("2009190")
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    write_plots(one, this, previous)
    with mpl.rc_context({"lines.linewidth": 9.0, "font.size": 30.0, "axes.grid": True}):
        write_plots(two, this, previous)
        assert mpl.rcParams["font.size"] == 30.0
    for name in NAMES:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_map_shows_each_pixel_at_its_row_and_column(tmp_path):
    places = [(511, -512), (-512, 511), (0, 0), (-1, -1), (100, -200), (-312, 87)]
    this = flat(1.0, at=dict.fromkeys(places, 9000.0))
    write_plots(tmp_path, this)
    bright = [*zip(*of_colour(tmp_path / "dark_map.png", WARMEST), strict=True)]
    x = {place: MAP_LEFT + place[1] + 512 + 2 * (place[1] >= 0) for place in places}
    y = {place: MAP_TOP + 511 - place[0] + 2 * (place[0] < 0) for place in places}
    bar = MAP_LEFT + 1026
    assert {(i, j) for i, j in bright if j < bar} == {(y[place], x[place]) for place in places}
    assert close_to(pixel(tmp_path / "dark_map.png", 5, 5), COLDEST)


def test_pixels_without_a_sample_are_red_in_the_maps(drawn):
    folder, _ = drawn
    for name in ("dark_map.png", "diff_map.png", "sigma_map.png"):
        assert tuple(pixel(folder / name, 100, -200)) == RED, name
        assert len(of_colour(folder / name, RED)[0]) == 1, name


def test_difference_is_taken_at_one_temperature(tmp_path):
    # 4 degC colder is 0.7 times as much
    this = flat(70.0, t_ccd=-19.0, at={(10, 20): 2000.0, (-10, -20): -2000.0})
    write_plots(tmp_path, this, flat(100.0, "2009190", t_ccd=-15.0))
    path = tmp_path / "diff_map.png"
    assert close_to(pixel(path, 200, 200), MIDDLE)
    assert close_to(pixel(path, 10, 20), WARMEST)
    assert close_to(pixel(path, -10, -20), COLDEST)


def test_histograms_have_the_injected_values(tmp_path):
    # half of the pixels at 500, an eighth at 10 e-/s, the others below all scales
    this = flat(-500.0)
    this.image[:512], this.image[512:640] = 500.0, 10.0
    this.properties["stats"]["peak"] = None
    write_plots(tmp_path, this)
    rows, columns = of_colour(tmp_path / "hist_zero.png", BLUE)
    inside = rows > 45  # below the names
    top = columns[inside][rows[inside] == rows[inside].min()]
    assert top.mean() == pytest.approx(LEFT + (10 + 20) / 80 * (RIGHT - LEFT), abs=2)
    decades = (RIGHT - LEFT) / np.log10(20_000)
    rows, columns = of_colour(tmp_path / "hist_diff.png", BLUE)
    ends = columns[rows > 45]
    assert [ends.min(), ends.max()] == pytest.approx(
        [LEFT + decades, LEFT + np.log10(500) * decades], abs=6
    )
    rows, columns = of_colour(tmp_path / "hist_cum.png", BLUE)
    decades = (RIGHT - LEFT) / np.log10(2000)
    assert columns[rows > 45].max() == pytest.approx(LEFT + np.log10(50) * decades, abs=4)
    # the half above 10 e-/s; the scale runs from 0.7 to 5e6, from the lower to the upper edge
    last = rows[(rows > 45) & (columns > 500)].mean()
    assert last == pytest.approx(411 - np.log10(2**19 / 0.7) / np.log10(5e6 / 0.7) * 369, abs=3)


def test_medians_of_an_even_number_of_samples_leave_no_comb(tmp_path):
    # as many pixels on every half quantum
    this = flat(0.0, quantum=None)
    this.properties.update(integ=[5.008, 10.0], gain=dict.fromkeys("ABCD", 5.0))
    steps = np.arange(1024**2) % 400 - 100
    this.image[:] = (steps * 0.5 * 5 / (10.0 - 5.008)).reshape(1024, 1024)
    write_plots(tmp_path, this)
    rows, _ = of_colour(tmp_path / "hist_zero.png", BLUE)
    line = rows[rows > 45]
    assert line.max() - line.min() <= 4


def test_scatter_shows_a_changed_pixel_off_the_diagonal(tmp_path):
    def place(value):
        return (np.arcsinh(value / 10) + np.arcsinh(3)) / (np.arcsinh(1000) + np.arcsinh(3))

    this, previous = flat(8.0, at={(3, 4): 1000.0}), flat(8.0, "2009190")
    this.properties["stats"]["quantum"] = previous.properties["stats"]["quantum"] = 1e-3
    write_plots(tmp_path, this, previous)
    picture = read(tmp_path / "scatter_prev.png")
    x, y = MAP_LEFT + 1026 * place(8.0), MAP_TOP + 1026 * (1 - place(1000.0))
    found = of_colour(tmp_path / "scatter_prev.png", COLDEST)
    near = found[1] < MAP_LEFT + 1026
    assert found[1][near].mean() == pytest.approx(x, abs=4)
    assert found[0][near].mean() == pytest.approx(y, abs=4)
    cell = int(place(8.0) * 341) * 3
    assert close_to(picture[MAP_TOP + 1025 - cell, MAP_LEFT + cell + 1], WARMEST)


def test_replica_temperatures_rise_in_the_plot_as_in_the_table(drawn):
    folder, _ = drawn
    rows, columns = of_colour(folder / "temp_replicas.png", BLUE)
    order = np.argsort(columns)
    fifth = len(order) // 5
    heights = [rows[order[i * fifth : (i + 1) * fifth]].mean() for i in range(5)]
    assert heights == sorted(heights, reverse=True)
    assert heights[0] - heights[4] > 30


def test_what_cannot_be_drawn_says_why(tmp_path):
    bare = Calibration(make_image(), None, None, None, {"date": "2019:160"}, {})
    reasons = write_plots(tmp_path, bare, make_calibration())
    assert {name: reason for name, reason in reasons.items() if reason} == {
        "diff_map.png": "Not both calibrations have a CCD temperature.",
        "scatter_prev.png": "Not both calibrations have a CCD temperature.",
        "sigma_map.png": "This calibration has no uncertainties: only its image was imported.",
        "quad_stats.png": "The properties of this calibration have no statistics of the quadrants.",
        "temp_replicas.png": "No replica of this calibration has a CCD temperature.",
    }
    assert {path.name for path in tmp_path.iterdir()} == {
        *("dark_map.png", "hist_diff.png", "hist_cum.png", "hist_zero.png")
    }
    alone = write_plots(tmp_path, make_calibration())
    assert alone["diff_map.png"] == alone["scatter_prev.png"] == "There is no previous calibration."
