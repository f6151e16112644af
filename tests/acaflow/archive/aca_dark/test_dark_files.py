"""The files of one calibration (dark-cal A2, A7)."""

import dataclasses
import json
import struct
import time
import warnings

import numpy as np
import pytest
from astropy.io import fits

from acaflow import __version__
from acaflow.archive.aca_dark.dark_files import (
    Calibration,
    content_digest,
    read_calibration,
    read_image,
    read_json,
    write_calibration,
    write_json,
)
from acaflow.errors import CorruptFileError, InputError, MissingDataError, SchemaError

ROWS, COLS = np.mgrid[-512:512, -512:512]
PROPERTIES = {
    "id": "2009279",
    "start": "2009:279:01:56:46.817",
    "stop": "2009:279:05:00:00.000",
    "ccd_temp": -19.25,
    "replicas": [{"count": n, "used": n != 2} for n in range(1, 6)],
    "integ": [5.008, 10.0],
    "gain": {"A": 5.0, "B": 5.1, "C": 5.2, "D": 5.3},
    "revision": 3,
    "combine": "median",
    "quality": "WARN",
    "complete": 99.5,
    "report": "2009_oct",
    "versions": {"acaflow": "1"},
}
QUALITY = {"level": "WARN", "complete": 99.5, "findings": [], "forced": None}


@pytest.fixture(scope="module")
def cal():
    image = (ROWS + COLS / 1024).astype(np.float32)
    return Calibration(
        image=image,
        sigma=np.where(ROWS == 7, np.nan, 4.0).astype(np.float32),
        mask=np.where(COLS > 0, 256, 17).astype(np.int16),
        nsamp=np.where(ROWS > 0, 5, 0).astype(np.uint8),
        properties=PROPERTIES,
        quality=QUALITY,
    )


@pytest.fixture(scope="module")
def folder(cal, tmp_path_factory):
    made = tmp_path_factory.mktemp("aca_dark") / "2009279"
    write_calibration(made, cal)
    return made


def test_public_fits_view(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a wrong checksum is a warning
        with fits.open(folder / "image.fits", memmap=False, checksum=True) as hdus:
            hdus.verify("exception")
            assert [hdu.name for hdu in hdus] == ["PRIMARY", "SIGMA", "MASK", "NSAMP"]
            assert [hdu.data.dtype.name for hdu in hdus] == ["float32", "float32", "int16", "uint8"]
            assert all({"CHECKSUM", "DATASUM"} <= set(hdu.header) for hdu in hdus)
            assert hdus["SIGMA"].header["BUNIT"] == "e-/s"
            data = hdus[0].data
    for row, col in ((-511, -511), (511, 0), (-1, 300)):
        assert data[row + 512, col + 512] == np.float32(row + col / 1024)


def test_header(folder):
    header = fits.getheader(folder / "image.fits")
    expected = {
        "BUNIT": "e-/s",
        "DARKID": "2009279",
        "DATE-OBS": "2009-10-06T01:56:46.817",
        "DATE-END": "2009-10-06T05:00:00.000",
        "T_CCD": -19.25,
        "NREPLICA": 5,
        "NREPUSED": 4,
        "INTEG1": 5.008,
        "INTEG2": 10.0,
        "GAINA": 5.0,
        "GAINB": 5.1,
        "GAINC": 5.2,
        "GAIND": 5.3,
        "REVISION": 3,
        "COMBINE": "median",
        "ROW0": -512,
        "COL0": -512,
        "QUALITY": "WARN",
        "COMPLETE": 99.5,
        "CREATOR": f"acaflow {__version__}",
    }
    assert {key: header[key] for key in expected} == expected


def test_first_pixel_in_the_bytes(folder):
    raw = (folder / "image.fits").read_bytes()
    start = 2880  # 28 cards and END fit into one block
    assert struct.unpack(">2f", raw[start : start + 8]) == (-512.5, np.float32(-512 - 511 / 1024))
    assert raw[start + 4 * 1024**2 :].startswith(b"\0" * (-(4 * 1024**2) % 2880) + b"XTENSION")


def test_bytes_do_not_depend_on_the_clock(cal, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1e9)
    write_calibration(tmp_path, dataclasses.replace(cal, image=np.asfortranarray(cal.image)))
    for name in ("image.fits", "properties.json", "quality.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    raw = (folder / "image.fits").read_bytes()
    assert time.strftime("%Y-%m-%d").encode() not in raw


def test_round_trip(cal, folder):
    found = read_calibration(folder)
    for name in ("image", "sigma", "mask", "nsamp"):
        array = getattr(found, name)
        assert array.dtype == getattr(cal, name).dtype
        assert array.dtype.isnative
        np.testing.assert_array_equal(array, getattr(cal, name))
    assert found.properties == PROPERTIES
    assert found.quality == QUALITY


def test_read_image(cal, folder):
    image, header = read_image(folder / "image.fits")
    np.testing.assert_array_equal(image, cal.image)
    assert image.flags.writeable
    assert header["REVISION"] == 3


def test_imported_calibration(tmp_path):
    fits.writeto(tmp_path / "image.fits", np.full((1024, 1024), -3.5, np.float32))
    (tmp_path / "properties.json").write_text('{"ccd_temp": -10.0}')
    found = read_calibration(tmp_path)
    assert found.image.min() == found.image.max() == -3.5
    assert (found.sigma, found.mask, found.nsamp, found.quality) == (None, None, None, {})
    write_calibration(tmp_path / "again", found)
    with fits.open(tmp_path / "again" / "image.fits") as hdus:
        assert len(hdus) == 1
    assert fits.getval(tmp_path / "again" / "image.fits", "T_CCD") == -10.0
    assert "REVISION" not in fits.getheader(tmp_path / "again" / "image.fits")
    assert content_digest(read_calibration(tmp_path)) == content_digest(
        read_calibration(tmp_path / "again")
    )


def test_json_layout(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, None], "a": -19.0})
    text = '{\n    "a": -19.0,\n    "b": [\n        1,\n        null\n    ]\n}\n'
    assert (tmp_path / "a.json").read_text() == text
    assert read_json(tmp_path / "a.json") == {"a": -19.0, "b": [1, None]}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32(1), {1, 2}])
def test_what_is_no_plain_json_is_refused(tmp_path, value):
    with pytest.raises(InputError, match=r"properties\.json.*plain JSON"):
        write_json(tmp_path / "properties.json", {"stats": {"mean": value}})
    assert not (tmp_path / "properties.json").exists()


@pytest.mark.parametrize(
    ("name", "pixels", "said"),
    [
        ("image", np.zeros((1024, 1024)), "image of a calibration is float64"),
        ("image", np.zeros((512, 1024), np.float32), r"\(512, 1024\); expected float32 \(1024"),
        ("mask", np.zeros((1024, 1024), np.int32), "mask of a calibration is int32"),
    ],
)
def test_wrong_arrays_are_refused(cal, tmp_path, name, pixels, said):
    with pytest.raises(InputError, match=said):
        write_calibration(tmp_path, dataclasses.replace(cal, **{name: pixels}))


# --- Digest ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digest(folder):
    return content_digest(read_calibration(folder))


@pytest.mark.parametrize(
    "change", [{"revision": 4}, {"versions": {"acaflow": "2"}}, {"report": "2009_oct_2"}]
)
def test_digest_ignores(cal, digest, tmp_path, change):
    write_calibration(tmp_path, dataclasses.replace(cal, properties=PROPERTIES | change))
    assert content_digest(read_calibration(tmp_path)) == digest


@pytest.mark.parametrize("change", [{"ccd_temp": -19.2}, {"start": "2009:279:01:56:46.818"}])
def test_digest_knows_properties(cal, digest, tmp_path, change):
    write_calibration(tmp_path, dataclasses.replace(cal, properties=PROPERTIES | change))
    assert content_digest(read_calibration(tmp_path)) != digest


@pytest.mark.parametrize("name", ["image", "sigma", "mask", "nsamp"])
def test_digest_knows_pixels(cal, digest, tmp_path, name):
    pixels = getattr(cal, name).copy()
    pixels[1000, 3] = 99
    write_calibration(tmp_path, dataclasses.replace(cal, **{name: pixels}))
    assert content_digest(read_calibration(tmp_path)) != digest
    write_calibration(tmp_path, cal)
    assert content_digest(read_calibration(tmp_path)) == digest


# --- Broken files ------------------------------------------------------------------------------


def test_missing_files(tmp_path, folder):
    with pytest.raises(MissingDataError, match=str(tmp_path / "image.fits")):
        read_calibration(tmp_path)
    (tmp_path / "image.fits").symlink_to(folder / "image.fits")
    with pytest.raises(MissingDataError, match=str(tmp_path / "properties.json")):
        read_calibration(tmp_path)


@pytest.mark.parametrize("size", [0, 100, 2879, 2880, 2880 + 4 * 1024**2 - 1, 8_400_000])
def test_truncated_image(tmp_path, folder, size):
    path = tmp_path / "image.fits"
    path.write_bytes((folder / "image.fits").read_bytes()[:size])
    with pytest.raises(CorruptFileError, match=r"image\.fits") as caught:
        read_calibration(tmp_path)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (np.zeros((1024, 1000), np.float32), r"axes \[1000, 1024\]"),
        (np.zeros((1024, 1024)), "BITPIX -64"),
        (np.zeros((1024, 1024), np.int16), "BITPIX 16"),
        (None, r"axes \[\]"),
    ],
)
def test_another_image(tmp_path, pixels, said):
    fits.PrimaryHDU(pixels).writeto(tmp_path / "image.fits")
    with pytest.raises(SchemaError, match=said):
        read_image(tmp_path / "image.fits")


@pytest.mark.parametrize(
    ("text", "error"), [("{", CorruptFileError), ("\udcff", CorruptFileError), ("[]", SchemaError)]
)
def test_broken_json(tmp_path, text, error):
    path = tmp_path / "properties.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(error, match=r"properties\.json"):
        read_json(path)


def test_json_is_json(folder):
    assert json.loads((folder / "properties.json").read_text()) == PROPERTIES
