"""Access to the archive of dark calibrations (dark-cal A3 to A7)."""

import doctest
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time

from acaflow.archive.aca_dark import dark_cal
from acaflow.archive.aca_dark.dark_cal import (
    dark_id_to_date,
    date_to_dark_id,
    get_dark_cal_dirs,
    get_dark_cal_id,
    get_dark_cal_ids,
    get_dark_cal_image,
    get_dark_cal_props,
    get_dark_cal_props_table,
    history,
)
from acaflow.archive.aca_image import ACAImage
from acaflow.errors import CorruptFileError, InputError, MissingDataError, StorageBusyError

ROWS, COLS = np.mgrid[-512:512, -512:512]
PIXELS = (ROWS + COLS / 1024).astype(np.float32)
"""Half of it is negative."""

CLASSIC: dict[str, object] = {
    "ccd_temp": -19.0,
    "dec": 1.5,
    "dur": 1e4,
    "el": 2.5,
    "l_l0": 3.5,
    "ra": 4.5,
}
CLASSIC |= {"start": "", "stop": "", "sun_el": 5.5, "zodib": 100.0}
CLASSIC_NAMES = [
    *("ccd_temp", "date", "dec", "dur", "eb", "el", "id", "l_l0", "ra"),
    *("start", "stop", "sun_el", "zodib"),
]
ACDC_NAMES = ["date", "t_ccd", "n_ccd_img", "ccd_temp", "datestart", "datestop", "filename"]
EB = {
    "2006329": -7.0,
    "2007006": 24.6,
    "2007069": 25.89,
    "2007251": 51.13,
    "2007320": 1.9,
    "2019017": 1.82,
    "2019101": -49.53,
}
ACDC = ["2019155", "2022069", "2022104", "2022133"]
IDS = [*EB, *ACDC]


def classic(dark_id):
    """Properties as the classic writer leaves them: keys sorted, replicas in a list."""
    replicas = [{"count": n, "ccd_temp": -19.0} for n in range(1, 6)]
    own = {"id": dark_id, "date": dark_id_to_date(dark_id), "eb": EB[dark_id]}
    if dark_id == "2007006":
        own["start"] = "2007:006:01:56:46.817"
    return dict(sorted((CLASSIC | own | {"replicas": replicas}).items()))


def acdc(dark_id):
    """Properties of the newer kind: in their own order."""
    date = dark_id_to_date(dark_id)
    values = [date, -11.086, 10, -11.0, f"{date}:01:00:00", f"{date}:03:00:00", "imd.fits"]
    return dict(zip(ACDC_NAMES, values, strict=True)) | {"ccd_images": [{"n": 1}]}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Calibrations as another program wrote them."""
    root = tmp_path_factory.mktemp("archive") / "aca_dark"
    for name in [*IDS, "raw", "l0", "2007", "20070061", "3007006", "old", "x2007006"]:
        (root / name).mkdir(parents=True)
    (root / "zodi.csv").touch()
    first = root / IDS[0] / "image.fits"
    fits.writeto(first, PIXELS)
    for dark_id in IDS:
        if dark_id != IDS[0]:
            os.link(first, root / dark_id / "image.fits")
        props = classic(dark_id) if dark_id in EB else acdc(dark_id)
        (root / dark_id / "properties.json").write_text(json.dumps(props, indent=4))
    return root


@pytest.fixture
def single(tmp_path):
    """An archive of one calibration, to be changed."""
    write(tmp_path / "2010100", revision=1)
    return tmp_path


def write(folder, revision=None, value=-8.0, **props):
    """Replace both files of a calibration the way an update does: one after the other."""
    folder.mkdir(exist_ok=True)
    replace_image(folder, revision, value)
    replace_props(folder, revision, **props)


def replace_image(folder, revision, value=-8.0):
    hdu = fits.PrimaryHDU(np.full((1024, 1024), value, np.float32))
    if revision is not None:
        hdu.header["REVISION"] = revision
    hdu.writeto(folder / "new.fits")
    (folder / "new.fits").replace(folder / "image.fits")


def replace_props(folder, revision, **props):
    content = {"ccd_temp": -19.0} | props | ({} if revision is None else {"revision": revision})
    (folder / "new.json").write_text(json.dumps(content))
    (folder / "new.json").replace(folder / "properties.json")


def test_examples():
    assert doctest.testmod(dark_cal).failed == 0


# --- Ids and dates -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("date", "dark_id"),
    [
        ("2011-01-15T12:00:00", "2011015"),
        ("2011:015", "2011015"),
        ("2011:015:23:59:59.999", "2011015"),
        ("2011:015:23:59:59.9996", "2011016"),
        ("2011015", "2011015"),
        (2011015, "2011015"),
        (np.int64(2011015), "2011015"),
        (2011015.0, "1998024"),  # any other number is seconds
        (686111014, "2019272"),
        (Time("2022:100"), "2022100"),
    ],
)
def test_date_to_dark_id(date, dark_id):
    found = date_to_dark_id(date)
    assert found == dark_id
    assert type(found) is str


def test_now(monkeypatch, archive):
    monkeypatch.setenv("CXOTIME_NOW", "2008:100:01:00:00")
    assert date_to_dark_id(None) == "2008100"
    assert get_dark_cal_id(None, dark_cals_dir=archive) == "2007320"


def test_dark_id_to_date():
    assert dark_id_to_date("2011015") == "2011:015"
    assert dark_id_to_date("anythin") == "anyt:hin"


def test_arrays_keep_their_shape():
    ids, dates = ["2022100", "2022105", "2022127"], ["2022:100", "2022:105", "2022:127"]
    for given in (dates, np.array(dates), Time(dates), [2022100, "2022105", Time("2022:127")]):
        found = date_to_dark_id(given)
        assert found.dtype == np.dtype("U7")
        assert found.tolist() == ids
    square = np.array([[2022100, 2022105], [2022127, 2022100]])
    assert date_to_dark_id(square).tolist() == [ids[:2], [ids[2], ids[0]]]
    found = dark_id_to_date(date_to_dark_id(square))
    assert found.dtype == np.dtype("U8")
    assert found.tolist() == [dates[:2], [dates[2], dates[0]]]
    assert dark_id_to_date(ids).tolist() == dates
    assert dark_id_to_date([]).shape == (0,)


def test_dirs_and_ids(archive):
    dirs = get_dark_cal_dirs(archive)
    assert list(dirs) == sorted(IDS)
    assert dirs["2007006"] == str(archive / "2007006")
    assert all(type(path) is str for path in dirs.values())
    ids = get_dark_cal_ids(str(archive))
    assert list(ids.values()) == sorted(IDS)
    assert list(ids)[1] == "2007:006:00:00:00.000"


def test_new_calibration_is_seen(single):
    assert list(get_dark_cal_dirs(single)) == ["2010100"]
    (single / "2010001").mkdir()
    assert list(get_dark_cal_dirs(single)) == ["2010001", "2010100"]
    assert list(get_dark_cal_ids(single).values()) == ["2010001", "2010100"]
    get_dark_cal_dirs(single).clear()
    assert len(get_dark_cal_dirs(single)) == 2


def test_default_archive(home):
    assert get_dark_cal_dirs() == {}
    (home.archive / "aca_dark").mkdir()
    write(home.archive / "aca_dark" / "2010100")
    assert get_dark_cal_id("2010:101") == "2010100"
    assert get_dark_cal_image("2010:101", allow_negative=True)[0, 0] == -8.0
    assert get_dark_cal_props("2010:101") == {"ccd_temp": -19.0}
    assert history() == [{"id": "2010100", "ccd_temp": -19.0}]
    assert len(get_dark_cal_props_table()) == 1


# --- Which calibration -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("date", "before", "nearest", "after"),
    [
        ("2007:008:12:00:00", "2007006", "2007006", "2007069"),
        ("2007:060", "2007006", "2007069", "2007069"),
        ("2007:006", "2007006", "2007006", "2007006"),
        ("2007:006:00:00:01", "2007006", "2007006", "2007006"),
        ("2007:006:23:59:59", "2007006", "2007006", "2007006"),
        ("2007:007", "2007006", "2007006", "2007069"),
        ("2022:100", "2022069", "2022104", "2022104"),
        ("2022:105", "2022104", "2022104", "2022133"),
        ("2022:127", "2022104", "2022133", "2022133"),
        (2022105, "2022104", "2022104", "2022133"),
        ("2022:118:12:00:00", "2022104", "2022104", "2022133"),  # halfway: the earlier
        ("2022:118:12:00:00.001", "2022104", "2022133", "2022133"),
    ],
)
def test_id_of_a_date(archive, date, before, nearest, after):
    expected = {"before": before, "nearest": nearest, "after": after}
    for select, dark_id in expected.items():
        found = get_dark_cal_id(date, select, dark_cals_dir=archive)
        assert found == dark_id
        assert type(found) is str
    assert get_dark_cal_id(date, dark_cals_dir=archive) == before


@pytest.mark.parametrize(
    ("select", "expected"), [("nearest", "2006329"), ("before", "2006329"), ("after", "2007251")]
)
def test_id_out_of_a_list(select, expected):
    ids = [one for one in IDS if one not in ("2007006", "2007069")]
    for given in (ids, ids[::-1], np.array(ids), tuple(ids)):
        assert get_dark_cal_id("2007:008:12:00:00", select, given) == expected


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("before", ["2022069", "2022104", "2022104"]),
        ("after", ["2022104", "2022133", "2022133"]),
        ("nearest", ["2022104", "2022104", "2022133"]),
    ],
)
def test_ids_of_dates(archive, select, expected):
    dates = ["2022:100", "2022:105", "2022:127"]
    found = get_dark_cal_id(dates, select, dark_cals_dir=archive)
    assert found.tolist() == expected
    column = get_dark_cal_id(np.array(dates)[:, None], select, dark_cals_dir=archive)
    assert column.tolist() == [[one] for one in expected]


def test_no_calibration(archive, tmp_path):
    with pytest.raises(MissingDataError, match=r"^No dark cal found before 2006:329.*2006:328"):
        get_dark_cal_id("2006:328:23:00:00", dark_cals_dir=archive)
    with pytest.raises(MissingDataError, match=r"^No dark cal found before 2006:329.*2000:001"):
        get_dark_cal_id(["2010:001", "2000:001"], dark_cals_dir=archive)
    with pytest.raises(MissingDataError, match=r"^No dark cal found after 2022:134"):
        get_dark_cal_id("2022:134", "after", dark_cals_dir=archive)
    assert get_dark_cal_id("1990:001", "nearest", dark_cals_dir=archive) == "2006329"
    assert get_dark_cal_id("2090:001", "nearest", dark_cals_dir=archive) == "2022133"
    for select in ("before", "nearest", "after"):
        for empty in (tmp_path, tmp_path / "absent"):
            with pytest.raises(MissingDataError, match=f"No dark cal found in {empty}"):
                get_dark_cal_id("2007:001", select, dark_cals_dir=empty)


def test_unknown_select(archive):
    message = 'select arg must be one of "nearest", "before", or "after"'
    with pytest.raises(ValueError, match=message):
        get_dark_cal_id("2007:006", "closest", dark_cals_dir=archive)


# --- Image and properties ----------------------------------------------------------------------


@pytest.mark.parametrize("allow_negative", [True, False])
@pytest.mark.parametrize("aca_image", [True, False])
def test_image(archive, aca_image, allow_negative):
    image = get_dark_cal_image(
        "2007:008:12:00:00",
        aca_image=aca_image,
        allow_negative=allow_negative,
        dark_cals_dir=archive,
    )
    expected = PIXELS if allow_negative else PIXELS.clip(min=0)
    np.testing.assert_array_equal(image, expected)
    assert np.any(image < 0) == allow_negative
    assert image.dtype == np.float32
    assert image.dtype.isnative
    assert type(image) is (ACAImage if aca_image else np.ndarray)
    if aca_image:
        assert (image.row0, image.col0) == (-512, -512)
        assert image.aca[-511, -511] == image[1, 1]
        assert image.aca[511, 0] == image[1023, 512] == 511.0
        assert image.aca[100:108, -20:-12].row0 == 100


def test_image_at_another_temperature(archive):
    plain = get_dark_cal_image(
        "2007:006", t_ccd_ref=-15.0, allow_negative=True, dark_cals_dir=archive
    )
    np.testing.assert_allclose(plain, PIXELS / 0.7, rtol=1e-6)
    assert plain.dtype == np.float32
    clipped = get_dark_cal_image("2007:006", t_ccd_ref=-23.0, dark_cals_dir=archive)
    np.testing.assert_allclose(clipped, PIXELS.clip(min=0) * 0.7, rtol=1e-6)
    assert get_dark_cal_props("2007:006", t_ccd_ref=-15.0, dark_cals_dir=archive)["ccd_temp"] == -19


def test_image_with_a_slope_for_each_pixel(tmp_path):
    write(tmp_path / "2010100", value=100.0, ccd_temp=-10.0)
    image = get_dark_cal_image("2010:100", t_ccd_ref=-5, scale="pixel", dark_cals_dir=tmp_path)
    np.testing.assert_allclose(image, 171.476, rtol=1e-5)
    assert image.dtype == np.float32
    image = get_dark_cal_image("2010:100", t_ccd_ref=-6, dark_cals_dir=tmp_path)
    np.testing.assert_allclose(image, 100 / 0.7, rtol=1e-6)
    with pytest.raises(InputError, match="scale is 'both'; expected 'global' or 'pixel'"):
        get_dark_cal_image("2010:100", scale="both", dark_cals_dir=tmp_path)


@pytest.mark.parametrize("allow_negative", [True, False])
@pytest.mark.parametrize("aca_image", [True, False])
def test_properties(archive, aca_image, allow_negative):
    props = get_dark_cal_props("2007:008:12:00:00", dark_cals_dir=archive)
    assert len(props["replicas"]) == 5
    assert props["start"] == "2007:006:01:56:46.817"
    assert "image" not in props
    with_image = get_dark_cal_props(
        "2007:008:12:00:00",
        include_image=True,
        aca_image=aca_image,
        allow_negative=allow_negative,
        dark_cals_dir=archive,
    )
    image = with_image.pop("image")
    assert with_image == props
    assert image.shape == (1024, 1024)
    assert np.any(image < 0) == allow_negative
    assert type(image) is (ACAImage if aca_image else np.ndarray)


def test_callers_cannot_spoil_the_cache(archive):
    for aca_image in (False, True):
        image = get_dark_cal_image("2007:006", aca_image=aca_image, dark_cals_dir=archive)
        image += 1e6
        again = get_dark_cal_image("2007:006", aca_image=aca_image, dark_cals_dir=archive)
        np.testing.assert_array_equal(again, PIXELS.clip(min=0))
    props = get_dark_cal_props("2007:006", include_image=True, dark_cals_dir=archive)
    props["replicas"][0]["count"] = 99
    props = get_dark_cal_props("2007:006", include_image=True, dark_cals_dir=archive)
    assert props["replicas"][0]["count"] == 1


def test_a_replaced_calibration_is_read_again(single):
    def read():
        return get_dark_cal_image(
            "2010:100", t_ccd_ref=-15, allow_negative=True, dark_cals_dir=single
        )[3, 4]

    assert read() == pytest.approx(-8 / 0.7)
    write(single / "2010100", revision=2, value=-9.0)
    assert read() == pytest.approx(-9 / 0.7)
    replace_props(single / "2010100", revision=2, ccd_temp=-15.0)
    assert read() == -9.0


def test_between_two_revisions(single):
    folder = single / "2010100"
    replace_image(folder, revision=2, value=9.0)
    with pytest.raises(StorageBusyError, match=r"image\.fits has revision 2.*properties\.json 1"):
        get_dark_cal_image("2010:100", dark_cals_dir=single)
    timer = threading.Timer(0.02, replace_props, (folder, 2), {"ccd_temp": -15.0})
    timer.start()
    image = get_dark_cal_image("2010:100", t_ccd_ref=-15, dark_cals_dir=single)
    timer.join()
    assert image[0, 0] == 9.0
    # A file without revision belongs to whatever is there.
    replace_image(folder, revision=None, value=7.0)
    assert get_dark_cal_image("2010:100", dark_cals_dir=single)[0, 0] == 7.0


@pytest.mark.parametrize("name", ["image.fits", "properties.json"])
def test_missing_file(single, name):
    (single / "2010100" / name).unlink()
    with pytest.raises(MissingDataError, match=str(single / "2010100" / name)):
        get_dark_cal_image("2010:100", dark_cals_dir=single)
    with pytest.raises(MissingDataError, match=str(single / "2010100" / name)):
        get_dark_cal_props("2010:100", include_image=True, dark_cals_dir=single)


def test_bad_requests(single, archive):
    replace_props(single / "2010100", revision=1, ccd_temp=None)
    with pytest.raises(MissingDataError, match=r"properties\.json has no ccd_temp"):
        get_dark_cal_image("2010:100", t_ccd_ref=-10, dark_cals_dir=single)
    with pytest.raises(InputError, match="one date"):
        get_dark_cal_image(["2010:100"], dark_cals_dir=single)
    with pytest.raises(MissingDataError, match="No dark cal found before 2006:329"):
        get_dark_cal_image("2000:001", dark_cals_dir=archive)
    (single / "2010100" / "image.fits").write_bytes(b"SIMPLE")
    with pytest.raises(CorruptFileError, match=r"image\.fits"):
        get_dark_cal_image("2010:100", dark_cals_dir=single)


# --- Many calibrations -------------------------------------------------------------------------


def test_table(archive):
    table = get_dark_cal_props_table(
        "2007:001:12:00:00", "2008:001:12:00:00", dark_cals_dir=archive
    )
    np.testing.assert_array_equal(table["eb"], [24.6, 25.89, 51.13, 1.9])
    assert table.colnames == CLASSIC_NAMES
    assert table["id"].dtype == np.dtype("U7")
    assert table["id"].tolist() == ["2007006", "2007069", "2007251", "2007320"]
    assert table["start"][0] == "2007:006:01:56:46.817"
    assert not any(hasattr(table[name], "mask") for name in table.colnames)


def test_table_of_the_newer_kind(archive):
    table = get_dark_cal_props_table(
        "2019:150:12:00:00", "2019:160:12:00:00", dark_cals_dir=archive
    )
    assert table.colnames == ACDC_NAMES
    assert not hasattr(table["t_ccd"], "mask")
    assert table["n_ccd_img"].dtype.kind == "i"


def test_table_of_both_kinds(archive):
    table = get_dark_cal_props_table(
        "2019:001:12:00:00", "2019:160:12:00:00", dark_cals_dir=archive
    )
    assert table.colnames == CLASSIC_NAMES + [n for n in ACDC_NAMES if n not in CLASSIC_NAMES]
    assert table["eb"].mask.tolist() == [False, False, True]
    assert table["eb"][:2].tolist() == [1.82, -49.53]
    assert table["t_ccd"].mask.tolist() == [True, True, False]
    assert table["t_ccd"][2] == -11.086
    assert table["filename"].tolist() == [None, None, "imd.fits"]
    assert not hasattr(table["ccd_temp"], "mask")


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        ("2007:006:23:00:00", "2007:069:00:00:00", ["2007006", "2007069"]),
        ("2007:007", "2007:250", ["2007069"]),
        (2007006, 2007006, ["2007006"]),
        (None, "2007:001", ["2006329"]),
        ("2022:105", None, ["2022133"]),
        ("2008:001", "2009:001", []),
        (None, None, IDS),
    ],
)
def test_interval(archive, start, stop, expected):
    rows = get_dark_cal_props_table(start, stop, as_table=False, dark_cals_dir=archive)
    dates = [row["date"] for row in rows]
    assert dates == [dark_id_to_date(one) for one in expected]
    table = get_dark_cal_props_table(start, stop, dark_cals_dir=archive)
    assert len(table) == len(expected)


def test_list_has_everything(archive):
    (row,) = get_dark_cal_props_table(2007006, 2007006, as_table=False, dark_cals_dir=archive)
    assert row == classic("2007006")


def test_table_with_images(archive):
    table = get_dark_cal_props_table(2007006, 2007069, include_image=True, dark_cals_dir=archive)
    assert table.colnames == [*CLASSIC_NAMES, "image"]
    assert table["image"].shape == (2, 1024, 1024)
    assert table["image"].dtype == np.float32
    np.testing.assert_array_equal(table["image"][1], PIXELS.clip(min=0))
    (row,) = get_dark_cal_props_table(
        2007006, 2007006, include_image=True, as_table=False, dark_cals_dir=archive
    )
    np.testing.assert_array_equal(row["image"], PIXELS.clip(min=0))


def test_null_is_masked(tmp_path):
    write(tmp_path / "2010001", eb=1.5)
    write(tmp_path / "2010100", eb=None)
    table = get_dark_cal_props_table(dark_cals_dir=tmp_path)
    assert table["eb"].tolist() == [1.5, None]


def test_history(archive, tmp_path):
    rows = history(archive)
    assert [row["date"] for row in rows] == [dark_id_to_date(one) for one in IDS]
    assert rows[1] == classic("2007006")
    assert history(tmp_path) == history(tmp_path / "absent") == []


def test_nothing_heavy_is_loaded():
    code = (
        "import sys; from acaflow.archive.aca_dark import dark_cal;"
        "print(*{'celery', 'flask', 'redis', 'scipy', 'matplotlib', 'astropy.coordinates'}"
        " & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "\n"
