"""Centroids of many images, against truth and real stars."""

import numpy as np
import pytest

from acaflow.archive import aca_l0
from acaflow.archive.star_images import compute_centroids
from acaflow.errors import InputError
from tests.support.l0 import deliver


def gaussian(rows, cols, size, sigma=0.9):
    """Return images of sources at (row, col) from pixel [0, 0], integrated over pixels."""
    from scipy.special import erf

    edges = np.arange(size + 1) - 0.5

    def share(centers):
        steps = erf((edges - np.asarray(centers)[:, None]) / (np.sqrt(2) * sigma))
        return np.diff(steps, axis=1) / 2

    return 10_000 * share(rows)[:, :, None] * share(cols)[:, None, :]


def test_centroid_of_one_pixel_and_of_pairs():
    images = np.zeros((3, 6, 6))
    images[0, 2, 3] = 50
    images[1, 1, 1] = images[1, 3, 1] = 10
    images[2, 0, 0] = 1e6  # a corner does not count
    images[2, 4, 2] = 1
    row, col, norm = compute_centroids(images, [10, -300, 0], [20, 5, 0])
    assert row.tolist() == [12, -298, 4]
    assert col.tolist() == [23, 6, 2]
    assert norm.tolist() == [50, 20, 1]
    row, col, _ = compute_centroids(images, pix_zero_loc="edge")
    assert row.tolist() == [2.5, 2.5, 4.5]


def test_centroids_follow_a_moving_source():
    true_row, true_col = np.linspace(3.3, 3.7, 2000), np.linspace(3.7, 3.3, 2000)
    row, col, norm = compute_centroids(gaussian(true_row, true_col, 8) + 25, bgd=25)
    np.testing.assert_allclose(row, true_row, atol=0.02)
    np.testing.assert_allclose(col, true_col, atol=0.02)
    assert (norm > 9_900).all()


def test_no_light_has_no_centroid():
    dark = np.zeros((2, 4, 4))
    row, _, norm = compute_centroids(dark)
    assert np.isnan(row).all()
    assert norm.tolist() == [0, 0]
    row, _, norm = compute_centroids(dark, row0=7, norm_clip=10)
    assert row.tolist() == [7, 7]
    assert norm.tolist() == [10, 10]


def test_wrong_shapes_are_refused():
    with pytest.raises(InputError, match=r"square images, \(n, size, size\); got \(4, 4\)"):
        compute_centroids(np.zeros((4, 4)))
    with pytest.raises(InputError, match="pix_zero_loc is 'corner'"):
        compute_centroids(np.zeros((1, 4, 4)), pix_zero_loc="corner")


@pytest.mark.real
def test_centroids_of_a_real_star(real_data, tmp_path):
    name = "acaf686111014N001_3_img0.fits.gz"
    deliver(tmp_path / "aca0", real_data / "real" / "aca_l0" / name)
    (block,) = aca_l0.get_rows(
        0, 1e9, 3, ["IMGRAW", "IMGROW0", "IMGCOL0"], data_root=tmp_path / "aca0"
    ).blocks
    columns = block.columns
    row, col, norm = compute_centroids(columns["IMGRAW"], columns["IMGROW0"], columns["IMGCOL0"])
    # aca-archive 5.2: first image of slot 3.
    assert (round(row[0], 4), round(col[0], 4), round(norm[0], 2)) == (133.6032, 281.6943, 13896.25)
    # Where the window moves by a pixel the star stays; with swapped axes it would jump by one.
    moved = np.flatnonzero(np.diff(columns["IMGCOL0"][:1300]))
    assert len(moved)
    assert np.abs(np.diff(col)[moved]).max() < 0.5
