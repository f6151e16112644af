"""Subtract the dark current from star images (dark-cal C2).

The dark map of a calibration is cut where each image lies, scaled pixel by pixel from the CCD
temperature of the calibration to that of the image, and subtracted. Maps are in e-/s, images in
DN, temperatures in degC, times in CXC seconds.

>>> from acaflow.archive import aca_l0
>>> from acaflow.archive.aca_dark.dark_subtract import subtract_dark
>>> images = aca_l0.get_aca_images("2019:272:03:00", "2019:272:03:10")  # doctest: +SKIP
>>> subtract_dark(images)  # doctest: +SKIP
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from acaflow import times as cxctimes
from acaflow.archive.aca_dark.ccd import HALF, SIZE
from acaflow.archive.aca_dark.combine import GAIN
from acaflow.archive.aca_dark.dark_cal import get_dark_cal_props
from acaflow.archive.aca_dark.dark_model import dark_temp_scale_img
from acaflow.archive.aca_image import ACAImage
from acaflow.errors import InputError, MissingDataError
from acaflow.telemetry.samples import SampleFiles, Samples

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = [
    "get_aca_images_bgd_sub",
    "get_dark_backgrounds",
    "get_dark_current_imgs",
    "get_tccd_data",
    "subtract_dark",
]

FloatArray = npt.NDArray[np.float64]
MaskedArray = np.ma.MaskedArray[Any, Any]
Source = Samples | Literal["maude", "cxc"]

INTEG_S = 1.696
"""Usual integration time (s)."""
SAMPLE_S = 32.8
"""Spacing of the samples of AACCCDPT (s)."""
PAD_S = 600.0
"""Least time before and after the images from which samples are used (s)."""
BLOCK = 1000
"""Images scaled at once: few enough to stay in the processor's cache."""
META = ("TIME", "INTEG", "IMGROW0", "IMGCOL0")
"""What has to be known of level-0 images."""


def get_tccd_data(
    times: npt.ArrayLike,
    smooth_window: int = 30,
    median_window: int = 3,
    source: Source = "maude",
) -> FloatArray:
    """Return the CCD temperature at the times of images.

    Parameters
    ----------
    times : array_like of float, shape (n,)
        CXC seconds.
    smooth_window, median_window : int
        Samples in the Hanning window that smooths, and in the median filter before it; 0 for none.
    source : Samples, 'maude' or 'cxc'
        Where AACCCDPT comes from; both words mean the archive of the configured home.

    Returns
    -------
    ndarray of float64, shape (n,)
        degC, interpolated linearly between samples.

    Raises
    ------
    InputError
        `source` is unknown.
    MissingDataError
        A time has no sample within 600 s.

    Notes
    -----
    Source: dark-cal C2. As in the published temperatures, a window of even length lies half a
    sample early: they lag by 16 s.
    """
    wanted = np.asarray(times, np.float64)
    if not wanted.size:
        return np.empty(0)
    pad = max(PAD_S, smooth_window * SAMPLE_S / 2)
    time, degc = _samples(source).get("AACCCDPT", wanted.min() - pad, wanted.max() + pad)
    # No temperature is made up across a gap of the telemetry.
    ends = np.concatenate([[-np.inf], time, [np.inf]])
    after = np.searchsorted(ends, wanted)
    is_far = np.minimum(wanted - ends[after - 1], ends[after] - wanted) > PAD_S
    if is_far.any():
        raise MissingDataError(
            f"no sample of AACCCDPT within {PAD_S:.0f} s of {cxctimes.date(wanted[is_far].min())}"
            f" ({is_far.sum()} of {wanted.size} times)"
        )
    if median_window:
        padded = np.pad(degc, median_window // 2, "edge")
        degc = np.median(sliding_window_view(padded, median_window), axis=1)[: len(time)]
    if smooth_window > 2:
        window = np.hanning(smooth_window)
        padded = np.pad(degc, smooth_window, "reflect", reflect_type="odd")
        smooth = np.convolve(padded, window / window.sum(), "same")
        degc = smooth[smooth_window:-smooth_window]
    return np.interp(wanted, time, degc)


def _samples(source: Source) -> Samples:
    if not isinstance(source, str):
        return source
    if source not in ("maude", "cxc"):
        raise InputError(f"source is {source!r}; expected samples, 'maude' or 'cxc'")
    from acaflow import config, paths

    return SampleFiles(paths.Home(config.current().home).archive)


def get_dark_backgrounds(
    raw_dark_img: npt.NDArray[Any], imgrow0: npt.ArrayLike, imgcol0: npt.ArrayLike, size: int = 8
) -> FloatArray:
    """Cut the pieces of a dark map that lie under images.

    Parameters
    ----------
    raw_dark_img : ndarray, shape (1024, 1024)
        Any unit; pixel [0, 0] at CCD row and column -512.
    imgrow0, imgcol0 : array_like of int, shape (n,)
        CCD position of pixel [0, 0] of each image; masked is outside the CCD.
    size : int
        Rows and columns of the images.

    Returns
    -------
    ndarray of float64, shape (n, size, size)
        0 outside the CCD.

    Raises
    ------
    InputError
        The map has another shape.
    """
    if raw_dark_img.shape != (SIZE, SIZE):
        raise InputError(f"the dark map has shape {raw_dark_img.shape}, expected ({SIZE}, {SIZE})")
    pieces = sliding_window_view(np.pad(raw_dark_img, size), (size, size))
    row, col = (
        np.ma.asarray(at, np.int64).filled(SIZE).clip(-HALF - size, HALF) + HALF + size
        for at in (imgrow0, imgcol0)
    )
    sections: FloatArray = pieces[row, col].astype(np.float64)
    return sections


def get_dark_current_imgs(
    img_table: Table, img_dark: npt.NDArray[Any], tccd_dark: float, t_ccds: npt.ArrayLike
) -> FloatArray:
    """Compute the dark current under 8x8 images.

    Parameters
    ----------
    img_table : Table, n rows
        With IMGROW0_8X8, IMGCOL0_8X8 and, if other than 1.696 s, INTEG (s).
    img_dark : ndarray, shape (1024, 1024)
        Dark current (e-/s) at `tccd_dark` (degC).
    tccd_dark : float
    t_ccds : array_like of float, shape (n,)
        CCD temperatures of the images (degC).

    Returns
    -------
    ndarray of float64, shape (n, 8, 8)
        DN, NaN where the map is.

    Raises
    ------
    InputError
        The map has another shape, or there are not as many temperatures as images.
    """
    warmer = np.asarray(t_ccds, np.float64) - tccd_dark
    if warmer.shape != (len(img_table),):
        raise InputError(f"{len(img_table)} images, but CCD temperatures of shape {warmer.shape}")
    imgs = get_dark_backgrounds(img_dark, img_table["IMGROW0_8X8"], img_table["IMGCOL0_8X8"])
    integ = img_table["INTEG"] if "INTEG" in img_table.colnames else INTEG_S
    dn = np.broadcast_to(np.ma.filled(integ, INTEG_S) / GAIN, warmer.shape)
    for part in (slice(first, first + BLOCK) for first in range(0, len(imgs), BLOCK)):
        # The law takes one temperature, but is exp(slope * degrees); faint pixels share a slope.
        positive = imgs[part].clip(1.0)
        slope = np.log(dark_temp_scale_img(positive, 0.0, 1.0) / positive)
        imgs[part] *= np.exp(slope * warmer[part, None, None]) * dn[part, None, None]
    return imgs


def get_aca_images_bgd_sub(
    img_table: Table, t_ccd_vals: npt.ArrayLike, img_dark: npt.NDArray[Any], tccd_dark: float
) -> tuple[MaskedArray, FloatArray]:
    """Subtract the dark current from 8x8 images.

    Parameters
    ----------
    img_table, t_ccd_vals, img_dark, tccd_dark
        As `get_dark_current_imgs`, the table with IMG (DN), shape (8, 8).

    Returns
    -------
    imgs_bgsub : MaskedArray of float64, shape (n, 8, 8)
        DN, nowhere below 0, masked where IMG is.
    imgs_dark : ndarray of float64, shape (n, 8, 8)
        What was subtracted (DN).

    Raises
    ------
    InputError
        As `get_dark_current_imgs`.
    """
    imgs_dark = get_dark_current_imgs(img_table, img_dark, tccd_dark, t_ccd_vals)
    img = img_table["IMG"]
    pixels = np.maximum(np.ma.getdata(img) - imgs_dark, 0.0)
    return np.ma.MaskedArray(pixels, np.ma.getmaskarray(img).copy()), imgs_dark


def subtract_dark(
    images: Table | MaskedArray | list[ACAImage],
    dark: tuple[npt.NDArray[Any], float] | None = None,
    *,
    source: Source = "maude",
    dark_cals_dir: Path | str | None = None,
) -> Any:
    """Subtract the dark current from images of the level-0 archive.

    Parameters
    ----------
    images : Table, MaskedArray or list of ACAImage
        From `aca_l0.get_aca_images`, `get_slot_data` or `get_l0_images` (DN), of any sizes, with
        TIME, INTEG and position.
    dark : (ndarray, float), optional
        Dark map (e-/s) and its temperature (degC); default the calibration nearest to the first
        image, negative values set to 0.
    source
        As `get_tccd_data`.
    dark_cals_dir : path, optional
        Default ``archive/aca_dark`` of the configured home.

    Returns
    -------
    MaskedArray of float64, or list of ACAImage
        Images (DN), nowhere below 0: of shape and mask of IMG or IMGRAW, or with the meta of the
        images.

    Raises
    ------
    InputError
        A column is missing, or the map has another shape.
    MissingDataError
        No samples or no calibration there.
    """
    table = _as_table(images)
    t_ccds = get_tccd_data(table["TIME"], source=source)
    if dark is None:
        first = np.min(table["TIME"]) if len(table) else 0.0
        properties = get_dark_cal_props(first, "nearest", True, dark_cals_dir=dark_cals_dir)
        if properties.get("ccd_temp") is None:
            raise MissingDataError(f"dark calibration {properties.get('id')} has no ccd_temp")
        dark = properties["image"], properties["ccd_temp"]
    pixels, _ = get_aca_images_bgd_sub(table, t_ccds, *dark)
    if isinstance(images, list):
        return [
            ACAImage.over(field[: len(image), : len(image)], dict(image.meta))
            for field, image in zip(pixels.data, images, strict=True)
        ]
    return pixels if table is images else pixels.reshape(images["IMGRAW"].shape)


def _as_table(images: Table | MaskedArray | list[ACAImage]) -> Table:
    """Return images of any form as 8x8 fields, in the columns of `get_aca_images`."""
    from astropy.table import Table

    if isinstance(images, Table):
        return images
    border: Any = 0
    try:
        if isinstance(images, list):
            columns = {name: np.array([image.meta[name] for image in images]) for name in META}
            img = np.zeros((len(images), 8, 8))
            for field, image in zip(img, images, strict=True):
                field[: len(image), : len(image)] = image
        else:
            columns = {name: images[name] for name in META}
            img = images["IMGRAW"].reshape(-1, 8, 8)
            if images["IMGRAW"].ndim == 3:
                border = (8 - images["IMGSIZE"]) // 2
    except (KeyError, ValueError) as err:
        raise InputError(f"images need {', '.join(META)}: {err}") from err
    columns |= {f"{name}_8X8": columns[name] - border for name in META[2:]}
    return Table({**columns, "IMG": img}, copy=False)
