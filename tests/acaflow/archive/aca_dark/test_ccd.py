"""The pixel map of the dark calibration: four marker pixels, and the law of cut and place."""

import numpy as np
import pytest

from acaflow.archive.aca_dark import ccd


@pytest.mark.parametrize(
    ("colneg", "row", "pixel", "col", "quadrant"),
    [
        (0, -512, 0, 511, "A"),
        (0, -1, 511, 0, "A"),
        (1, -512, 0, -512, "B"),
        (1, -1, 511, -1, "B"),
        (0, 0, 1, 510, "C"),
        (0, 511, 511, 0, "C"),
        (1, 0, 1, -511, "D"),
        (1, 511, 511, -1, "D"),
    ],
)
def test_marker_pixels(colneg, row, pixel, col, quadrant):
    pixels = np.zeros((1, 512))
    pixels[0, pixel] = 7.0
    image = np.full((1024, 1024), -1.0)
    ccd.place(image, [colneg], [row], pixels)
    assert np.argwhere(image == 7.0).tolist() == [[row + 512, col + 512]]
    assert np.count_nonzero(image >= 0) == 512
    names = {name for name, where in ccd.QUADRANTS.items() if 7.0 in image[where]}
    assert names == {quadrant} == {ccd.quadrant_of(row, col)}


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, bool])
def test_what_is_cut_can_be_placed_again(dtype):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 65536, (1024, 1024)).astype(dtype)
    colneg, row = (part.ravel() for part in np.meshgrid([0, 1], np.arange(-512, 512)))
    order = rng.permutation(2048)
    pixels = ccd.cut(image, colneg[order], row[order])
    assert (pixels.shape, pixels.dtype) == ((2048, 512), dtype)
    made = np.zeros_like(image)
    ccd.place(made, colneg[order], row[order], pixels)
    assert np.array_equal(made, image)


def test_each_quadrant_has_its_value():
    image = ccd.per_quadrant({"A": 1.0, "B": 2.0, "C": 3.0, "D": 4.0})
    corners = image[[0, 0, 511, 512, 512, 1023], [512, 511, 1023, 512, 511, 0]]
    assert corners.tolist() == [1.0, 2.0, 1.0, 3.0, 4.0, 4.0]
    assert (image.shape, image.dtype, image.sum()) == ((1024, 1024), np.float32, 10 * 2**18)
