"""Drawings as SVG: numbers, ticks, paths and pictures, against values worked out by hand."""

from __future__ import annotations

import doctest
import io
import re

import numpy as np
import pytest
from PIL import Image

from acaflow import times
from acaflow.archive.l0_views import Line, decimate
from services.web import pixels, plots
from services.web.plots import (
    Marks,
    Panel,
    Scale,
    Shade,
    fixed,
    nice_ticks,
    scientific,
    stack,
    stroke,
    time_ticks,
)

START = times.secs("2019:272:02:22:23")


def test_examples_are_true():
    failed, tried = doctest.testmod(plots)
    assert (failed, tried > 3) == (0, True)


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [(40644.53, 0, "40\u202f645"), (9999.4, 0, "9999"), (9999.6, 0, "10\u202f000"),
     (686113472.4932, 3, "686\u202f113\u202f472.493"), (-9.2, 1, "−9.2"), (-0.04, 1, "0.0"),
     (0, 0, "0"), (float("nan"), 2, "–")],
)  # fmt: skip
def test_numbers(value, decimals, text):
    assert fixed(value, decimals) == text


def test_powers_of_ten():
    assert scientific(-2.5e-6) == "−2.5\u202f×\u202f10⁻⁶"


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 80, [0, 20, 40, 60, 80]), (0, 43_000, [0, 10_000, 20_000, 30_000, 40_000]),
     (-9.6, -9.2, [-9.6, -9.5, -9.4, -9.3, -9.2]), (4.9, 4.9203, [4.9, 4.905, 4.91, 4.915, 4.92]),
     (-99_616, 92_903, [-50_000, 0, 50_000]), (3, 3, [3])],
)  # fmt: skip
def test_ticks_are_round(low, high, ticks):
    assert nice_ticks(low, high) == ticks


@pytest.mark.parametrize(
    ("length", "labels"),
    [
        (20, ["02:22:25", "02:22:30", "02:22:35", "02:22:40"]),
        (6425, ["02:30", "02:45", "03:00", "03:15", "03:30", "03:45", "04:00"]),
        (86400, ["03:00", "06:00", "09:00", "12:00", "15:00", "18:00", "21:00", "2019:273"]),
        (7 * 86400, [f"2019:{day}" for day in range(273, 280)]),
    ],
)
def test_time_ticks_are_round_utc(length, labels):
    ticks = time_ticks(START, START + length)
    assert [label for _, label in ticks] == labels
    for at, label in ticks:
        assert str(times.date(at))[9 if label[2] == ":" else 0 :].startswith(label)


def test_no_tick_lies_inside_a_leap_second():
    ticks = time_ticks(times.secs("2016:366:12:00:00"), times.secs("2017:001:12:00:00"))
    assert {str(times.date(at))[-9:] for at, _ in ticks} == {":00:00.000"[1:]}


def test_a_stroke_is_relative_and_exact():
    line = Line(
        np.array([0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 20.0]),
        np.array([0.0, 0.0, 10.0, 5.0, 1.0, 1.06, 3.0]),
        np.array([True, False, False, False, True, False, True]),
    )
    x, y = Scale(0, 20, 50, 70), Scale(0, 10, 100, 0)
    assert stroke(line, x, y) == "M50 100h1l1-100l1 50M60 90l1-.6M70 70h2"


def test_relative_steps_do_not_drift():
    time = np.linspace(0, 1000, 997)
    line = decimate(time, np.sin(time), 0, 1000)
    x, y = Scale(0, 1000, 84, 1216), Scale(-1, 1, 94, 22)
    at_x, at_y, worst = 0.0, 0.0, 0.0
    steps = re.findall(r"([Mlhv])([-\d. ]+)", stroke(line, x, y).replace("-", " -"))
    points = []
    for kind, numbers in steps:
        values = [float(number) for number in numbers.split()]
        dx, dy = {"h": (values[0], 0.0), "v": (0.0, values[0])}.get(kind, tuple(values[:2]))
        at_x, at_y = (dx, dy) if kind == "M" else (at_x + dx, at_y + dy)
        points.append((at_x, at_y))
    for (px, py), t, v in zip(points, line.times, line.values, strict=True):
        worst = max(worst, abs(px - x.at(t)), abs(py - y.at(v)))
    assert worst <= 0.05 + 1e-6


def test_a_stack_has_axes_gaps_last_values_shades_and_the_chosen_time():
    time = START + 4.1 * np.concatenate((np.arange(500), np.arange(700, 1200)))
    line = decimate(time, np.linspace(0, 80, 1000), START, START + 4920)
    marks = Marks([Shade(START, START + 1230, "reacquire")], now=START + 2460)
    drawn = str(
        stack([Panel("DAC", line, "80"), Panel("EMPTY", decimate([], [], 0, 1))],
              START, START + 4920, "DAC rises", marks)
    )  # fmt: skip
    (path,) = re.findall(r'<path class="l1" d="([^"]+)"', drawn)
    assert path.count("M") == 2
    assert drawn.count('<rect class="span" x="84.0" y="22" width="283.0" height="72"/>') == 1
    assert '<path class="now" d="M650.0 22V202"/>' in drawn
    words = re.findall(r"<text[^>]*>([^<]*)</text>", drawn)
    assert words[:8] == ["reacquire", "DAC", "0", "20", "40", "60", "80", "80"]
    assert "no samples in this span" in words
    assert words[-1] == "2019:272, UTC"
    assert 'role="img" aria-label="DAC rises"' in drawn


@pytest.mark.parametrize(("begin", "top"), [(0, 38), (2460, 22)])
def test_what_a_shade_says_stands_above_the_lines_and_beside_the_title(begin, top):
    line = decimate([START, START + 4920], [1.0, 2.0], START, START + 4920)
    marks = Marks([Shade(START + begin, START + begin + 410, "search")])
    panel = Panel("CCD temperature TEMPCCD, °C", line)
    drawn = str(stack([panel], START, START + 4920, "", marks))
    # 1132 units of 4920 s; a shade of 410 s is 94 wide, and the title ends at about 275.
    middle = 84 + 1132 * (begin + 205) / 4920
    assert f'<text class="m" x="{middle:.1f}" y="15">search</text>' in drawn
    assert f'<text class="t" x="84" y="{top - 7}">CCD' in drawn
    assert f'y="{top}" width="94.3" height="72"/>' in drawn


# --- Pictures


def star(value: float = 3000.0):
    """Two 4x4 images in 8x8 fields: all 300 e-/s but one pixel."""
    images = np.ma.MaskedArray(np.zeros((2, 8, 8)), mask=True)
    images[:, 2:6, 2:6] = 300.0
    images[0, 2, 3] = value
    images[1, 5, 5] = 30.0
    return images


def colours(png: bytes):
    """Red, green, blue and opacity of each frame of a PNG."""
    with Image.open(io.BytesIO(png)) as picture:
        frames = []
        for n in range(getattr(picture, "n_frames", 1)):
            picture.seek(n)
            frames.append(np.asarray(picture.convert("RGBA")))
    return np.stack(frames)


FAINT, MIDDLE, BRIGHT = (0x00, 0x22, 0x4E), (0x7D, 0x7C, 0x78), (0xFE, 0xE8, 0x38)
"""cividis at 0, 0.5 and 1 (published table)."""


def test_a_movie_has_one_frame_per_image_and_one_scale():
    frames = colours(pixels.make_movie(star(), [4, 4], 30.0, 3000.0))
    assert frames.shape == (2, 64, 64, 4)
    assert (frames[..., 3] == 255).all()
    # Row 2 of the field is row 0 of the image, at the bottom of the picture; column 3 is 1.
    assert tuple(frames[0, -1, 16, :3]) == BRIGHT
    assert np.abs(frames[0, -1, 0, :3].astype(int) - MIDDLE).max() <= 2
    assert np.abs(frames[1, -1, 16, :3].astype(int) - MIDDLE).max() <= 2
    assert np.abs(frames[1, 0, -1, :3].astype(int) - FAINT).max() <= 2


def test_small_images_lie_in_the_middle_of_large_ones_and_absent_pixels_are_clear():
    images = star()
    images[1] = 300.0
    frames = colours(pixels.make_movie(images, [4, 8], 30.0, 3000.0))
    assert frames.shape == (2, 128, 128, 4)
    clear = frames[0, ::16, ::16, 3] == 0
    assert (clear[2:6, 2:6].any(), clear.sum()) == (False, 48)
    assert (frames[1, ..., 3] == 255).all()


def test_a_strip_has_gaps_between_images():
    (strip,) = colours(pixels.make_strip(star(), [4, 4], 30.0, 3000.0))
    assert strip.shape == (16, 36, 4)
    assert (strip[:, 16:20, 3] == 0).all()
    assert tuple(strip[-1, 4, :3]) == BRIGHT


def test_a_grid_has_values_corners_and_ccd_coordinates():
    image = np.ma.MaskedArray(np.full((6, 6), 300.4), mask=False)
    image[[0, 0, 5, 5], [0, 5, 0, 5]] = np.ma.masked
    image[1, 2], image[2, 1] = 12_345.0, -84.4
    drawn = str(pixels.draw_grid(image, -3, 280, 30.0, 20_000.0, "a star"))
    assert drawn.count('class="cut"') == 4
    assert drawn.count('fill="#') == 32
    words = re.findall(r">([^<]+)</text>", drawn)
    assert (words.count("300"), words.count("12345"), words.count("−84")) == (30, 1, 1)
    assert [word for word in words if word in ("−3", "2", "280", "285")] == [
        "−3",
        "2",
        "280",
        "285",
    ]
    # Row -3 is the lowest: its label is 5 cells below that of row 2.
    assert '<text class="e" x="14" y="78.5">−3</text>' in drawn
    # Bright cells carry dark figures.
    assert 'class="m hi" x="51" y="64.5">12345' in drawn
    assert 'class="m lo" x="37" y="50.5">−84' in drawn


def test_the_scale_bar_names_its_ends_and_unit():
    drawn = str(pixels.draw_key(30.0, 6000.0))
    words = re.findall(r'class="m"[^>]*>([^<]+)<', drawn)
    assert (words[0], words[-1], "e⁻/s</text>" in drawn) == ("30", "6000", True)
    assert drawn.count('fill="#') == 64
