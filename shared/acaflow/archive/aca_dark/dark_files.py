"""The files of one dark calibration: image.fits, properties.json, quality.json.

``image.fits`` holds the dark current (e-/s at the temperature of the calibration) in its primary
HDU and, if we made it, three more: SIGMA (float32, e-/s), MASK (int16 flags) and NSAMP (uint8).
All are (1024, 1024); pixel [i, j] is CCD row i - 512, column j - 512. Equal content gives equal
bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from acaflow import __version__, times
from acaflow.archive.aca_dark.ccd import HALF, QUADRANTS, SIZE
from acaflow.errors import CorruptFileError, InputError, MissingDataError, SchemaError

__all__ = [
    "IMAGE",
    "PROPERTIES",
    "QUALITY",
    "Calibration",
    "content_digest",
    "read_calibration",
    "read_image",
    "read_json",
    "write_calibration",
    "write_json",
]

IMAGE = "image.fits"
PROPERTIES = "properties.json"
QUALITY = "quality.json"

BLOCK = 2880
_DTYPES = {-32: ">f4", 16: ">i2", 8: "u1"}
_LAYERS = {"SIGMA": np.float32, "MASK": np.int16, "NSAMP": np.uint8}
_NOT_CONTENT = ("quality", "report", "revision", "versions")
"""Properties that two calibrations of equal content may differ in."""


@dataclass(frozen=True)
class Calibration:
    """Everything that is archived of one calibration.

    Attributes
    ----------
    image : ndarray of float32, shape (1024, 1024)
        Dark current (e-/s), negative values included.
    sigma, mask, nsamp : ndarray of float32, int16, uint8, or None
        Uncertainty (e-/s; NaN without samples), flags, samples; None in imported archives.
    properties : dict
        Of ``properties.json`` (dark-cal A7).
    quality : dict
        Of ``quality.json`` (dark-cal B4); empty in imported archives.
    """

    image: npt.NDArray[np.float32]
    sigma: npt.NDArray[np.float32] | None
    mask: npt.NDArray[np.int16] | None
    nsamp: npt.NDArray[np.uint8] | None
    properties: dict[str, Any]
    quality: dict[str, Any]


# --- Writing -----------------------------------------------------------------------------------


def write_calibration(folder: Path, cal: Calibration) -> None:
    """Write the three files into a folder, which is made if absent; not atomic.

    Raises
    ------
    InputError
        An array has another shape or dtype than it should, or a property is NaN or infinite.

    Notes
    -----
    Source: dark-cal A2.
    """
    folder.mkdir(parents=True, exist_ok=True)
    hdus = fits.HDUList([fits.PrimaryHDU(_checked("image", cal.image, np.float32))])
    hdus[0].header.extend(_cards(cal.properties))
    for name, dtype in _LAYERS.items():
        pixels = getattr(cal, name.lower())
        if pixels is not None:
            hdus.append(fits.ImageHDU(_checked(name.lower(), pixels, dtype), name=name))
    if cal.sigma is not None:
        hdus["SIGMA"].header["BUNIT"] = "e-/s"
    for hdu in hdus:
        hdu.add_checksum(when="of this HDU")  # the default comment is the time of day
    content = io.BytesIO()  # on a full disk astropy's own writing names neither file nor errno
    hdus.writeto(content)
    (folder / IMAGE).write_bytes(content.getbuffer())
    write_json(folder / PROPERTIES, cal.properties)
    write_json(folder / QUALITY, cal.quality)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file in the layout of the archive: keys sorted, indented by four."""
    try:
        text = json.dumps(
            content, sort_keys=True, indent=4, separators=(",", ": "), allow_nan=False
        )
    except (ValueError, TypeError) as err:
        raise InputError(f"{path} cannot be written: {err}; expected plain JSON values") from err
    path.write_text(f"{text}\n", encoding="utf-8")


def _checked(name: str, pixels: npt.NDArray[Any], dtype: type) -> npt.NDArray[Any]:
    if pixels.shape != (SIZE, SIZE) or pixels.dtype != dtype:
        raise InputError(
            f"{name} of a calibration is {pixels.dtype} {pixels.shape};"
            f" expected {np.dtype(dtype)} {(SIZE, SIZE)}"
        )
    return np.asarray(pixels)


def _cards(properties: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    """Return the header of the image; what the properties do not have is left out."""
    known = {key: value for key, value in properties.items() if value is not None}
    replicas = known.get("replicas", [])
    integ = dict(enumerate(known.get("integ", [])))
    gain = known.get("gain", {})
    cards = [
        ("BUNIT", "e-/s", "dark current at T_CCD"),
        ("DARKID", known.get("id"), "year and day of year"),
        ("DATE-OBS", _utc(known.get("start")), "start of the first replica (UTC)"),
        ("DATE-END", _utc(known.get("stop")), "stop of the last replica (UTC)"),
        ("T_CCD", known.get("ccd_temp"), "[degC] CCD temperature"),
        ("NREPLICA", len(replicas), "replicas observed"),
        ("NREPUSED", sum(bool(one.get("used")) for one in replicas), "replicas used"),
        ("INTEG1", integ.get(0), "[s] short integration"),
        ("INTEG2", integ.get(1), "[s] long integration"),
        *((f"GAIN{name}", gain.get(name), "[e-/DN] gain of the quadrant") for name in QUADRANTS),
        ("REVISION", known.get("revision"), "counts up from 1"),
        ("COMBINE", known.get("combine"), "how the replicas were combined"),
        ("ROW0", -HALF, "CCD row of the first pixel"),
        ("COL0", -HALF, "CCD column of the first pixel"),
        ("QUALITY", known.get("quality"), "PASS or WARN"),
        ("COMPLETE", known.get("complete"), "[%] rows decoded"),
        ("CREATOR", f"acaflow {__version__}", "program"),
    ]
    return [card for card in cards if card[1] is not None]


def _utc(date: str | None) -> str | None:
    return None if date is None else str(times.convert(date, "isot"))


# --- Reading -----------------------------------------------------------------------------------


def read_calibration(folder: Path) -> Calibration:
    """Read the files of one calibration.

    Raises
    ------
    MissingDataError
        ``image.fits`` or ``properties.json`` does not exist.
    CorruptFileError, SchemaError
        A file cannot be read, or is not what it should be.
    """
    path = folder / IMAGE
    with _opened(path) as stream:
        (_, image), *more = _hdus(stream, path)
    layers: dict[str, Any] = {header.get("EXTNAME"): pixels for header, pixels in more}
    quality = folder / QUALITY
    return Calibration(
        image=image,
        sigma=layers.get("SIGMA"),
        mask=layers.get("MASK"),
        nsamp=layers.get("NSAMP"),
        properties=read_json(folder / PROPERTIES),
        quality=read_json(quality) if quality.exists() else {},
    )


def read_image(path: Path) -> tuple[npt.NDArray[np.float32], fits.Header]:
    """Read the primary HDU of ``image.fits``.

    Returns
    -------
    image : ndarray of float32, shape (1024, 1024)
        Native byte order (e-/s), not clipped.
    header : astropy.io.fits.Header
        Of the primary HDU.

    Raises
    ------
    MissingDataError, CorruptFileError, SchemaError
        As `read_calibration`.
    """
    with _opened(path) as stream:
        header, pixels = next(_hdus(stream, path))
    return pixels, header


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file of the archive; errors as `read_calibration`."""
    with _opened(path) as stream:
        try:
            content = json.loads(stream.read())
        except ValueError as err:
            raise CorruptFileError(f"{path} is no JSON: {err}", path) from err
    if not isinstance(content, dict):
        raise SchemaError(f"{path} holds a {type(content).__name__}; expected an object", path)
    return content


def content_digest(cal: Calibration) -> str:
    """Return the SHA-256 of what makes a calibration the one it is.

    That is all arrays and all properties but the revision, the name of the report, the quality,
    which force changes, and the versions of the programs. Two calibrations of equal digest need
    not replace each other (dark-cal B8).
    """
    content = {key: value for key, value in cal.properties.items() if key not in _NOT_CONTENT}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for pixels in (cal.image, cal.sigma, cal.mask, cal.nsamp):
        digest.update(b"none" if pixels is None else pixels.tobytes())
    return digest.hexdigest()


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError as err:
        raise MissingDataError(f"dark calibration file {path} does not exist") from err


def _hdus(stream: BinaryIO, path: Path) -> Iterator[tuple[fits.Header, npt.NDArray[Any]]]:
    """Yield the HDUs of an image file; a general FITS reader takes three times as long."""
    size = os.fstat(stream.fileno()).st_size
    while stream.tell() < size or not size:
        try:
            header = fits.Header.fromfile(stream)
        except (OSError, EOFError, ValueError) as err:
            raise CorruptFileError(f"{path} is no FITS file: {err}", path) from err
        axes = [header.get(f"NAXIS{axis}") for axis in range(1, header.get("NAXIS", 0) + 1)]
        dtype = _DTYPES.get(header.get("BITPIX"))
        if axes != [SIZE, SIZE] or dtype is None or ("SIMPLE" in header and dtype != ">f4"):
            raise SchemaError(
                f"{path} has an HDU of BITPIX {header.get('BITPIX')} and axes {axes}; expected"
                f" {SIZE} x {SIZE}, first float32, then float32, int16 or uint8",
                path,
            )
        pixels = np.fromfile(stream, dtype, SIZE * SIZE)
        if pixels.size < SIZE * SIZE:
            raise CorruptFileError(f"{path} ends within the pixels of an HDU", path)
        stream.seek(-pixels.nbytes % BLOCK, 1)
        yield header, pixels.reshape(SIZE, SIZE).astype(pixels.dtype.newbyteorder("="))
