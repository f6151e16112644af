"""Numbers from many star images at once: first-moment centroids.

Images are arrays of shape (n, size, size), first axis after n the CCD row, in DN as of level 0
unless stated otherwise. Rows and columns of the CCD run from -512 to 511.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from acaflow.errors import InputError

__all__ = ["compute_centroids"]

FloatArray = npt.NDArray[np.float64]

CORNERS = ([0, 0, 5, 5], [0, 5, 0, 5])
"""Pixels of a 6x6 image that the spacecraft does not send."""


def compute_centroids(
    images: npt.ArrayLike,
    row0: npt.ArrayLike = 0,
    col0: npt.ArrayLike = 0,
    bgd: npt.ArrayLike | None = None,
    pix_zero_loc: str = "center",
    norm_clip: float | None = None,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Compute the first-moment centroids of images of one size.

    Of 8x8 images the inner 6x6 pixels count, and of these, as of 6x6 images, all but the
    corners; of other sizes all.

    Parameters
    ----------
    images : array_like, shape (n, size, size)
        Any unit.
    row0, col0 : int or array_like of shape (n,)
        CCD position of pixel [0, 0] of the images (pixels).
    bgd : array_like, optional
        Background to subtract: anything that broadcasts with `images`.
    pix_zero_loc : {'center', 'edge'}
        Where in a pixel its coordinate is an integer.
    norm_clip : float, optional
        Smallest norm to divide by.

    Returns
    -------
    row, col, norm : ndarray of float64, shape (n,)
        Centroids (CCD pixels), NaN where the norm is 0 or less, and sums of the pixels used
        (unit of the images), at least `norm_clip`.

    Raises
    ------
    InputError
        The images are not square, or `pix_zero_loc` is unknown.

    Notes
    -----
    Source: aca-archive 5.2.

    Examples
    --------
    >>> image = np.zeros((1, 6, 6))
    >>> image[0, 2, 3] = 100.0
    >>> compute_centroids(image, row0=10, col0=20)
    (array([12.]), array([23.]), array([100.]))
    """
    pixels = np.array(images, dtype=np.float64)
    if pixels.ndim != 3 or pixels.shape[1] != pixels.shape[2]:
        raise InputError(f"a centroid needs square images, (n, size, size); got {pixels.shape}")
    if pix_zero_loc not in ("center", "edge"):
        raise InputError(f"pix_zero_loc is {pix_zero_loc!r}; expected 'center' or 'edge'")
    if bgd is not None:
        pixels -= np.asarray(bgd, dtype=np.float64)
    first = 1 if pixels.shape[1] == 8 else 0
    pixels = pixels[:, 1:7, 1:7] if first else pixels
    size = pixels.shape[1]
    if size == 6:
        pixels[:, *CORNERS] = 0.0
    norm = pixels.sum(axis=(1, 2))
    norm = norm if norm_clip is None else np.maximum(norm, norm_clip)
    divisor = np.where(norm > 0, norm, np.nan)
    place = first + np.arange(size) + (0.5 if pix_zero_loc == "edge" else 0.0)
    row = pixels.sum(axis=2) @ place / divisor + np.asarray(row0)
    col = pixels.sum(axis=1) @ place / divisor + np.asarray(col0)
    return row, col, norm
