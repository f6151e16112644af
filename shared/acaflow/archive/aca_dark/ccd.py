"""The ACA CCD as the dark calibration sees it: quadrants, and where a half row lies.

A full image has shape (1024, 1024); pixel [i, j] is CCD row i - 512, column j - 512. The CCD is
read as half rows of 512 pixels, the outermost column first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["HALF", "QUADRANTS", "SIZE", "cut", "per_quadrant", "place", "quadrant_of"]

SIZE = 1024
"""Rows and columns of the CCD."""
HALF = 512
"""Pixels of a half row; row and column of a full image that hold CCD row and column 0."""

QUADRANTS = {
    "A": (slice(0, HALF), slice(HALF, SIZE)),
    "B": (slice(0, HALF), slice(0, HALF)),
    "C": (slice(HALF, SIZE), slice(HALF, SIZE)),
    "D": (slice(HALF, SIZE), slice(0, HALF)),
}
"""Rows and columns of each quadrant in a full image (dark-cal B2)."""


def place(
    image: npt.NDArray[Any], colneg: npt.ArrayLike, row: npt.ArrayLike, pixels: npt.NDArray[Any]
) -> None:
    """Write half rows into a full image.

    Parameters
    ----------
    image : ndarray, shape (1024, 1024)
        Changed in place.
    colneg : array_like of int, shape (n,)
        1 for columns -512 to -1, 0 for columns 0 to 511.
    row : array_like of int, shape (n,)
        CCD row, -512 to 511.
    pixels : ndarray, shape (n, 512)
        In the order of readout: pixel 0 is the outermost column.

    Notes
    -----
    Source: dark-cal B2. The column direction is inferred there: no image is public beside its
    raw dump.
    """
    rows, negative = np.asarray(row) + HALF, np.asarray(colneg) == 1
    image[rows[negative], :HALF] = pixels[negative]
    image[rows[~negative], HALF:] = pixels[~negative, ::-1]


def cut(image: npt.NDArray[Any], colneg: npt.ArrayLike, row: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return half rows of a full image in the order of readout; the inverse of `place`.

    Returns
    -------
    ndarray, shape (n, 512)
        Of the type of `image`.
    """
    rows, negative = np.asarray(row) + HALF, np.asarray(colneg) == 1
    return np.where(negative[:, None], image[rows, :HALF], image[rows, : HALF - 1 : -1])


def quadrant_of(row: int, col: int) -> str:
    """Return the quadrant of a CCD row and column."""
    return "ABCD"[2 * (row >= 0) + (col < 0)]


def per_quadrant(values: dict[str, float]) -> npt.NDArray[np.float32]:
    """Return an image that holds in each quadrant its value.

    Parameters
    ----------
    values : dict
        Of A, B, C and D.

    Returns
    -------
    ndarray of float32, shape (1024, 1024)
    """
    image = np.empty((SIZE, SIZE), np.float32)
    for name, where in QUADRANTS.items():
        image[where] = values[name]
    return image
