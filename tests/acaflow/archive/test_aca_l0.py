"""Reading the level-0 archive (aca-archive 2.3 to 2.6, 3.3, 4, 5.2)."""

import sqlite3
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest
from astropy.io import fits

from acaflow.archive import aca_l0
from acaflow.errors import CorruptFileError, InputError, MissingDataError
from tests.support.l0 import BASE_COUNTER, BASE_TIME, deliver, make_l0_file, pixels

T0, T1 = 686111012.493093, 686117437.193480
"""First and last TIME of the real files of 2019."""
FOREIGN_NAMES = {
    "aca4x4.fits.gz": "acaf285114427N001_4_img0.fits.gz",
    "aca8x8.fits.gz": "acaf285116120N001_0_img0.fits.gz",
}
ALL = (0, 1e9)
INTEG = 1.696

FIELDS_2_3 = """
TIME >f8,QUALITY >i4,MJF >i4,MNF >i4,END_INTEG_TIME >f8,INTEG >f4,PIXTLM <U4,BGDTYP <U4,
GLBSTAT |u1,COMMCNT |u1,COMMPROG |u1,IMGFID1 |u1,IMGNUM1 |u1,IMGFUNC1 |u1,IMGSTAT |u1,
IMGROW0 >i2,IMGCOL0 >i2,IMGSCALE >i2,BGDAVG >i2,IMGFID2 |u1,IMGNUM2 |u1,IMGFUNC2 |u1,BGDRMS >i2,
TEMPCCD >f4,TEMPHOUS >f4,TEMPPRIM >f4,TEMPSEC >f4,BGDSTAT |u1,IMGFID3 |u1,IMGNUM3 |u1,IMGFUNC3 |u1,
IMGFID4 |u1,IMGNUM4 |u1,IMGFUNC4 |u1,IMGRAW >f4,HD3TLM62 |u1,HD3TLM63 |u1,HD3TLM64 |u1,HD3TLM65 |u1,
HD3TLM66 |u1,HD3TLM67 |u1,HD3TLM72 |u1,HD3TLM73 |u1,HD3TLM74 |u1,HD3TLM75 |u1,HD3TLM76 |u1,
HD3TLM77 |u1,IMGSIZE >i4,FILENAME <U128
"""
FIELD_TYPES = [tuple(field.split()) for field in FIELDS_2_3.replace("\n", "").split(",")]


@pytest.fixture(scope="module")
def real_root(real_data, tmp_path_factory):
    """An archive of all seven real files."""
    root = tmp_path_factory.mktemp("real") / "aca0"
    for path in sorted((real_data / "real" / "aca_l0").glob("*.gz")):
        deliver(root, path, FOREIGN_NAMES.get(path.name))
    return root


@pytest.fixture
def root(tmp_path):
    """One file of each size: 8x8 in slot 0, 6x6 in slot 3, 4x4 in slot 5; 49.2 s each."""
    for slot, imgsize, rows in [(0, 8, 12), (3, 6, 24), (5, 4, 48)]:
        deliver(
            tmp_path / "aca0", make_l0_file(tmp_path / "in", slot=slot, imgsize=imgsize, rows=rows)
        )
    return tmp_path / "aca0"


def single(tmp_path, **options):
    """An archive of one file."""
    deliver(tmp_path / "aca0", make_l0_file(tmp_path / "in", **options))
    return tmp_path / "aca0"


# --- Real files


@pytest.mark.real
@pytest.mark.parametrize(
    ("start", "stop", "n_files", "n_rows"),
    [
        (T0 - 1, T0 + 1, 0, 1),
        (T0, T0, 0, 1),
        (T0 - 10, T0 - 0.001, 0, 0),
        (T0 + 1, T0 + 4.2, 1, 1),
        (T1, T1, 1, 1),
        (T1 + 1, T1 + 5, 1, 0),
        (686117443.16648, T1 + 100, 0, 0),
        (T0 + 5, T0 + 1, 0, 0),
    ],
)
def test_interval_rules(real_root, start, stop, n_files, n_rows):
    files = aca_l0.get_files(start=start, stop=stop, slots=[0], data_root=real_root)
    assert len(files) == n_files
    assert len(aca_l0.get_slot_data(start, stop, 0, data_root=real_root)) == n_rows


@pytest.mark.real
@pytest.mark.parametrize(
    ("slot", "year", "rows", "size"),
    [(0, 2019, 1568, 8), (2, 2019, 1568, 8), (3, 2019, 3135, 6), (5, 2019, 3135, 6),
     (6, 2019, 3135, 6), (4, 2007, 1656, 4), (0, 2007, 201, 8)],
)  # fmt: skip
def test_every_column_is_what_astropy_reads(real_root, slot, year, rows, size):
    interval = (f"{year}:001", f"{year + 1}:001")
    data = aca_l0.get_slot_data(*interval, slot, data_root=real_root)
    assert data.shape == (rows,)
    (path,) = aca_l0.get_files(start=interval[0], stop=interval[1], slots=slot, data_root=real_root)
    with fits.open(path) as hdus:
        table = hdus[1].data
        for name in data.dtype.names:
            if name == "IMGRAW":
                images = data["IMGRAW"].reshape(-1, 8, 8)
                np.testing.assert_array_equal(images[:, :size, :size].data, table["IMGRAW"])
                assert not images[:, :size, :size].mask.any()
                assert images[:, size:].mask.all()
                assert images[:, :, size:].mask.all()
            elif name in table.names:
                np.testing.assert_array_equal(data[name].data, table[name])
                assert not data[name].mask.any()
            elif name in ("PIXTLM", "BGDTYP", "IMGSIZE", "FILENAME"):
                assert not data[name].mask.any()
            else:
                assert data[name].mask.all()
    assert set(data["FILENAME"]) == {path.rpartition("/")[2]}
    assert set(data["IMGSIZE"]) == {size}
    assert (set(data["PIXTLM"]), set(data["BGDTYP"])) == ({"ORIG"}, {"FLAT"})


@pytest.mark.real
def test_real_pixels_are_telemetry_counts(real_root):
    data = aca_l0.get_slot_data(T0, T1, 0, data_root=real_root, columns=["IMGRAW", "IMGSCALE"])
    raw = (data["IMGRAW"].data + 50.0) * 32 / data["IMGSCALE"].data[:, None]
    np.testing.assert_allclose(raw, np.rint(raw), atol=1e-3)  # float32 of values up to 32 000
    assert raw.min() >= 0
    assert raw.max() < 1024


@pytest.mark.real
def test_first_images_of_the_real_files(real_root):
    fid = aca_l0.get_l0_images(T0, T0, 0, data_root=real_root)[0]
    assert (fid.row0, fid.col0, fid.meta["TIME"]) == (-183, -169, T0)
    assert fid.shape == (8, 8)
    assert fid.dtype == np.dtype(">f4")
    assert fid.sum(dtype=float) == pytest.approx(37344.69, abs=0.005)
    assert fid.aca.centroid_fm() == pytest.approx((-179.5083, -165.7602, 34905.31), abs=0.005)
    star = aca_l0.get_l0_images(T0, T0, 3, data_root=real_root)[0]
    assert (star.row0, star.col0) == (131, 279)
    assert star.meta["INTEG"] == np.float32(1.696)
    assert star.aca.centroid_fm() == pytest.approx((133.6032, 281.6943, 13896.25), abs=0.00005)
    electrons = aca_l0.get_slot_data(T0, T0, 3, data_root=real_root, units="e-/s")
    assert electrons["IMGRAW"].sum(dtype=float) == pytest.approx(40967.7, abs=0.05)


@pytest.mark.real
def test_coverage_of_the_real_files(real_root):
    table = aca_l0.get_coverage("2019:272", "2019:273", data_root=real_root)
    assert table.colnames == ["slot", "imgsize", "tstart", "tstop", "n_rows", "n_bad"]
    assert [tuple(row) for row in table] == [
        (slot, size, T0, T1, rows, 0)
        for slot, size, rows in [
            (0, 8, 1568),
            (2, 8, 1568),
            (3, 6, 3135),
            (5, 6, 3135),
            (6, 6, 3135),
        ]
    ]


@pytest.mark.real
def test_coverage_sees_no_gap_where_only_the_integration_time_changes(real_root):
    # Rows 1624 and 1625 of the 4x4 file have another INTEG: TIME steps 1.521 and 0.529 s.
    table = aca_l0.get_coverage("2007:001", "2008:001", slots=4, data_root=real_root)
    assert [(row["imgsize"], row["n_rows"]) for row in table] == [(4, 1656)]


# --- get_slot_data


def test_row_type_is_that_of_the_reference(root):
    data = aca_l0.get_slot_data(*ALL, 0, data_root=root)
    assert isinstance(data, np.ma.MaskedArray)
    assert [(name, data.dtype[name].base.str) for name in data.dtype.names] == FIELD_TYPES
    assert len(FIELD_TYPES) == 49
    assert data["IMGRAW"].shape == (12, 64)


def test_nothing_in_the_interval_is_an_empty_array_of_that_type(root):
    empty = aca_l0.get_slot_data(0, 1, 0, data_root=root)
    full = aca_l0.get_slot_data(*ALL, 0, data_root=root)
    assert empty.shape == (0,)
    assert empty.dtype == full.dtype
    assert len(aca_l0.get_slot_data(*ALL, 7, data_root=root)) == 0
    assert len(aca_l0.get_slot_data(*ALL, 0, imgsize=4, data_root=root)) == 0


def test_columns_come_in_fixed_order_and_internal_ones_are_not_returned(root):
    data = aca_l0.get_slot_data(*ALL, 0, data_root=root, columns=["IMGSIZE", "BGDAVG", "MNF"],
                                quality="good")  # fmt: skip
    assert data.dtype.names == ("MNF", "BGDAVG", "IMGSIZE")
    assert data["BGDAVG"].tolist() == [25] * 12


@pytest.mark.parametrize(("slot", "size", "absent"), [(0, 8, 0), (3, 6, 18), (5, 4, 27)])
def test_what_a_size_does_not_have_is_masked(root, slot, size, absent):
    data = aca_l0.get_slot_data(*ALL, slot, data_root=root)
    masked = [name for name in data.dtype.names if name != "IMGRAW" and data[name].mask.all()]
    partly = [name for name in data.dtype.names if name != "IMGRAW" and data[name].mask.any()]
    assert len(masked) == absent
    assert partly == masked
    assert data["IMGRAW"].count() == len(data) * size**2
    expected = pixels(BASE_COUNTER + {8: 16, 6: 8, 4: 4}[size] * np.arange(len(data)), size)
    np.testing.assert_array_equal(data["IMGRAW"].reshape(-1, 8, 8)[:, :size, :size], expected)


@pytest.mark.parametrize(("slot", "size"), [(0, 8), (3, 6), (5, 4)])
def test_centered_images(root, slot, size):
    data = aca_l0.get_slot_data(*ALL, slot, data_root=root, centered_8x8=True)
    assert data["IMGRAW"].shape[1:] == (8, 8)
    i = (8 - size) // 2
    inner = data["IMGRAW"][0, i : i + size, i : i + size]
    np.testing.assert_array_equal(inner, pixels([BASE_COUNTER], size)[0])
    assert data["IMGRAW"].count() == len(data) * size**2
    assert not inner.mask.any()


def test_electrons_per_second_and_unknown_integration_time(tmp_path):
    integ = np.full(12, INTEG, np.float32)
    integ[3] = 0.0
    root = single(tmp_path, slot=3, imgsize=6, rows=12, values={"INTEG": integ})
    counts = aca_l0.get_slot_data(*ALL, 3, data_root=root)
    electrons = aca_l0.get_slot_data(
        *ALL, 3, data_root=root, units="e-/s", columns=["IMGRAW", "BGDAVG"]
    )
    assert electrons.dtype["IMGRAW"].base == np.dtype(">f4")
    factor = electrons["IMGRAW"] / counts["IMGRAW"]
    np.testing.assert_allclose(factor[0].compressed(), 2.9481132, rtol=1e-6)
    assert electrons["IMGRAW"][3].mask.all()
    assert electrons["IMGRAW"].count() == 11 * 36
    assert electrons["BGDAVG"].tolist() == [25] * 12


def test_quality(tmp_path):
    quality = np.zeros(12, int)
    quality[[0, 4, 5]] = 1
    root = single(tmp_path, rows=12, values={"QUALITY": quality})
    assert len(aca_l0.get_slot_data(*ALL, 0, data_root=root)) == 12
    good = aca_l0.get_slot_data(*ALL, 0, data_root=root, quality="good")
    expected = BASE_TIME + 4.1 * np.array([1, 2, 3, 6, 7, 8, 9, 10, 11])
    np.testing.assert_allclose(good["END_INTEG_TIME"], expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(
        good["IMGRAW"][3].reshape(8, 8), pixels([BASE_COUNTER + 6 * 16], 8)[0]
    )


def test_pixel_and_background_type_of_newer_files(tmp_path):
    words = np.array(["ORIG", "DYNB", "DIFF", "ERR3"])
    root = single(tmp_path, rows=4, values={"PIXTLM": ("4A", words), "BGDTYP": ("4A", words[::-1])})
    data = aca_l0.get_slot_data(*ALL, 0, data_root=root)
    assert data["PIXTLM"].tolist() == ["ORIG", "DYNB", "DIFF", "ERR3"]
    assert data["BGDTYP"].tolist() == ["ERR3", "DIFF", "DYNB", "ORIG"]


def test_other_column_types_are_converted(tmp_path):
    root = single(
        tmp_path,
        rows=3,
        values={"QUALITY": ("I", [0, 1, 0]), "TEMPCCD": ("D", [263.5, 264.5, 265.5]),
                "IMGRAW": ("64D", pixels([1, 2, 3], 8)), "EXTRA": ("3X", np.zeros((3, 3), bool))},
    )  # fmt: skip
    data = aca_l0.get_slot_data(*ALL, 0, data_root=root)
    assert data["QUALITY"].tolist() == [0, 1, 0]
    assert data["TEMPCCD"].tolist() == [263.5, 264.5, 265.5]
    np.testing.assert_array_equal(data["IMGRAW"].reshape(-1, 8, 8), pixels([1, 2, 3], 8))


def test_minimal_file(tmp_path):
    kept = {"TIME", "QUALITY", "IMGROW0", "IMGCOL0", "INTEG", "IMGRAW"}
    drop = [name for name, _ in FIELD_TYPES if name not in kept]
    root = single(tmp_path, slot=3, imgsize=6, rows=5, drop=drop)
    data = aca_l0.get_slot_data(*ALL, 3, data_root=root)
    present = {name for name in data.dtype.names if not data[name].mask.all()}
    assert present == kept | {"PIXTLM", "BGDTYP", "IMGSIZE", "FILENAME"}
    (image, *_) = aca_l0.get_l0_images(*ALL, 3, data_root=root)
    assert set(image.meta) == {"TIME", "IMGSIZE", "INTEG", "IMGROW0", "IMGCOL0"}
    assert aca_l0.get_coverage(*ALL, 3, root)["n_rows"].tolist() == [5]
    assert len(aca_l0.get_aca_images(*ALL, data_root=root)) == 5


def test_unique_reads_an_overlap_once_and_in_time_order(tmp_path):
    root = tmp_path / "aca0"
    low = make_l0_file(tmp_path / "low", rows=24)
    high = make_l0_file(tmp_path / "high", rows=24, frame=12 * 16, revision=2)
    for path in (low, high):
        deliver(root, path)
    both = aca_l0.get_slot_data(*ALL, 0, data_root=root, unique=False)
    once = aca_l0.get_slot_data(*ALL, 0, data_root=root)
    assert both["FILENAME"].tolist() == [low.name] * 24 + [high.name] * 24
    assert once["FILENAME"].tolist() == [low.name] * 12 + [high.name] * 24
    np.testing.assert_allclose(np.diff(once["TIME"]), 4.1, atol=1e-6)


def test_covered_row_is_left_out_where_the_covering_one_is_outside_the_interval(tmp_path):
    root = tmp_path / "aca0"
    deliver(root, make_l0_file(tmp_path / "low", rows=24))
    high = {"frame": 12 * 16, "rows": 24, "revision": 2, "time_shift": 0.25}
    deliver(root, make_l0_file(tmp_path / "high", **high))
    start = BASE_TIME + 12 * 4.1 - INTEG / 2
    assert len(aca_l0.get_slot_data(start - 0.01, start + 0.01, 0, data_root=root)) == 0
    assert len(aca_l0.get_slot_data(start + 0.24, start + 0.26, 0, data_root=root)) == 1


def test_rows_of_nested_files_are_sorted_by_time(tmp_path):
    root = tmp_path / "aca0"
    deliver(root, make_l0_file(tmp_path / "a", rows=24))
    deliver(root, make_l0_file(tmp_path / "b", rows=6, frame=8 * 16, revision=2))
    rows = aca_l0.get_slot_data(*ALL, 0, data_root=root)
    assert len(rows) == 24
    np.testing.assert_allclose(np.diff(rows["TIME"]), 4.1, atol=1e-6)
    assert [name[13:17] for name in rows["FILENAME"]] == ["N001"] * 8 + ["N002"] * 6 + ["N001"] * 10


def test_times_in_any_form(root):
    by_date = aca_l0.get_slot_data("2019:270:19:32:11", "2019:270:19:33", 0, data_root=root)
    # 2019:270:19:32:10.816 is CXC second 686000000.
    # TIME of row k is 4.1 k - 0.848 s later; k = 1 to 11 are between 0.184 and 49.184 s.
    assert len(by_date) == 11


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slot": 9}, "slot 9 does not exist"),
        ({"slot": -1}, "slot -1 does not exist"),
        ({"imgsize": 5}, "image size 5 does not exist"),
        ({"imgsize": [4, 7]}, "image size 7 does not exist"),
        ({"columns": ["TIME", "TIMES"]}, "no column 'TIMES'; known: TIME, QUALITY"),
        ({"columns": []}, "columns is empty"),
        ({"quality": "bad"}, "quality is 'bad'; expected one of all, good"),
        ({"units": "mag"}, "units is 'mag'; expected one of DN, e-/s"),
        ({"stop": None}, "start and stop are both required"),
    ],
)
def test_wrong_arguments(root, options, message):
    with pytest.raises(InputError, match=message):
        aca_l0.get_slot_data(**{"start": 0, "stop": 1, "slot": 0, "data_root": root} | options)


def test_missing_archive_is_named(tmp_path):
    with pytest.raises(MissingDataError, match="nowhere"):
        aca_l0.get_slot_data(*ALL, 0, data_root=tmp_path / "nowhere")
    with pytest.raises(MissingDataError, match=r"other\.db3"):
        aca_l0.get_files(start=0, stop=1, db=tmp_path / "other.db3")


def test_missing_or_damaged_files_raise(root):
    (path,) = (root / "2019" / "270").glob("*_0_img0.fits.gz")
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(CorruptFileError, match="file is truncated") as caught:
        aca_l0.get_slot_data(*ALL, 0, data_root=root)
    assert caught.value.path == path
    path.unlink()
    with pytest.raises(FileNotFoundError, match=path.name):
        aca_l0.get_slot_data(*ALL, 0, data_root=root)


def test_db_may_be_a_path_or_the_original_handle(root):
    index = root / "archfiles.db3"
    for db in (index, str(index), {"dbi": "sqlite", "server": str(index)}):
        assert len(aca_l0.get_slot_data(*ALL, 3, db=db)) == 24
        assert len(aca_l0.get_files(start=0, stop=1e9, db=db)) == 3


def test_default_root_is_in_the_home(home, tmp_path):
    path = make_l0_file(tmp_path / "in", rows=3)
    deliver(home.archive / "aca0", path)
    assert len(aca_l0.get_slot_data(*ALL, 0)) == 3
    assert aca_l0.get_files(start=0, stop=1e9) == [
        str(home.archive / "aca0" / "2019" / "270" / path.name)
    ]


# --- get_files and obsid


def test_files_are_ordered_by_time_slot_and_name(tmp_path):
    root = tmp_path / "aca0"
    specs = [(1, 400, 1), (0, 400, 1), (0, 0, 1), (0, 400 + 48, 2), (1, 0, 1)]
    for number, (slot, frame, revision) in enumerate(specs):
        path = make_l0_file(tmp_path / str(number), slot=slot, frame=frame, revision=revision)
        deliver(root, path)
    names = [
        path.rpartition("/")[2] for path in aca_l0.get_files(start=0, stop=1e9, data_root=root)
    ]
    assert names == [
        "acaf686000001N001_0_img0.fits.gz",
        "acaf686000001N001_1_img0.fits.gz",
        "acaf686000103N001_0_img0.fits.gz",
        "acaf686000103N001_1_img0.fits.gz",
        "acaf686000115N002_0_img0.fits.gz",
    ]


def test_file_filters(root):
    def slots(**options):
        return [int(p[-14]) for p in aca_l0.get_files(start=0, stop=1e9, data_root=root, **options)]

    assert slots() == [0, 3, 5]
    assert slots(slots=[3, 5]) == [3, 5]
    assert slots(imgsize=[4, 8]) == [0, 5]
    assert slots(slots=0, imgsize=6) == []
    with pytest.raises(InputError, match="slot 8"):
        slots(slots=[8])


def test_files_need_an_obsid_or_both_times(root):
    for options in ({}, {"start": 0}, {"stop": 0}):
        with pytest.raises(TypeError, match="Must supply either obsid or start and stop"):
            aca_l0.get_files(data_root=root, **options)


def test_obsid_is_looked_up_in_the_observation_parameters(home, tmp_path):
    deliver(home.archive / "aca0", make_l0_file(tmp_path / "in"))
    with pytest.raises(MissingDataError, match="obspar"):
        aca_l0.obsid_times(8008)
    (home.archive / "obspar").mkdir()
    with closing(sqlite3.connect(home.archive / "obspar" / "archfiles.db3")) as db, db:
        db.execute("CREATE TABLE archfiles (filename text, obsid int, tstart float, tstop float,"
                   " isdefault int)")  # fmt: skip
        db.execute("INSERT INTO archfiles VALUES ('a', 8008, 685999000.0, 686000050.0, 1)")
        db.execute("INSERT INTO archfiles VALUES ('b', 8008, 1.0, 2.0, NULL)")
        db.execute("INSERT INTO archfiles VALUES ('c', 8009, 1.0, 2.0, 1)")
        db.execute("INSERT INTO archfiles VALUES ('d', 8010, 1.0, 2.0, NULL)")
    assert aca_l0.obsid_times(8008) == (685999000.0, 686000050.0)
    assert len(aca_l0.get_files(8008)) == 1
    assert len(aca_l0.get_files(8008, start=0, stop=1)) == 1
    assert aca_l0.get_files(8009) == []
    for unknown in (8010, 1):
        with pytest.raises(MissingDataError, match=f"obsid {unknown} has no default"):
            aca_l0.get_files(unknown)


# --- Images


def test_images_carry_what_the_row_has(root):
    columns = ["TIME", "IMGRAW", "TEMPCCD", "HD3TLM62"]
    images = aca_l0.get_l0_images(*ALL, 3, columns=columns, data_root=root)
    assert columns == ["TIME", "IMGRAW", "TEMPCCD", "HD3TLM62"]
    assert len(images) == 24
    assert set(images[0].meta) == {"TIME", "TEMPCCD", "IMGROW0", "IMGCOL0"}
    assert images[0].meta["TEMPCCD"] == pytest.approx(-9.6, abs=1e-4)  # 263.55 K in float32
    assert (images[0].row0, images[0].col0, images[0].shape) == (-12, 7, (6, 6))
    np.testing.assert_array_equal(images[1], pixels([BASE_COUNTER + 8], 6)[0])


def test_image_defaults_and_bad_rows(tmp_path):
    root = single(tmp_path, rows=3, values={"QUALITY": [0, 1, 0]})
    images = aca_l0.get_l0_images(*ALL, 0, data_root=root)
    assert len(images) == 2
    assert set(images[0].meta) == {
        *("TIME", "BGDAVG", "IMGSTAT", "IMGFUNC1", "IMGSIZE", "IMGSCALE", "INTEG"),
        *("IMGROW0", "IMGCOL0"),
    }
    assert images[1].meta["TIME"] == pytest.approx(BASE_TIME + 8.2 - INTEG / 2, abs=1e-6)
    assert aca_l0.get_l0_images(*ALL, 0, imgsize=4, data_root=root) == []


ACA_IMAGE_COLUMNS = (
    "TIME MJF MNF END_INTEG_TIME INTEG AAPIXTLM AABGDTYP GLBSTAT COMMCNT COMMPROG IMGSTAT IMGROW0"
    " IMGCOL0 IMGSCALE BGDAVG BGDRMS TEMPCCD TEMPHOUS TEMPPRIM TEMPSEC BGDSTAT IMG HD3TLM62"
    " HD3TLM63 HD3TLM64 HD3TLM65 HD3TLM66 HD3TLM67 HD3TLM72 HD3TLM73 HD3TLM74 HD3TLM75 HD3TLM76"
    " HD3TLM77 IMGSIZE IMGFID IMGFUNC IMGNUM IMGROW_A1 IMGROW0_8X8 IMGCOL_A1 IMGCOL0_8X8 IMGTYPE"
    " VCDUCTR IMG_VCDUCTR SYNTAX_ERROR RESET COMM_CHECKSUM_FAIL CAL_FAIL POWER_FAIL ROM_FAIL"
    " RAM_FAIL HIGH_BGD ION_RAD MULTI_STAR COMMON_COL QUAD_BOUND DEF_PIXEL SAT_PIXEL"
    " COMMCNT_CHECKSUM_FAIL COMMCNT_SYNTAX_ERROR COMMPROG_REPEAT"
)


def test_aca_images(root):
    table = aca_l0.get_aca_images(*ALL, data_root=root)
    assert " ".join(table.colnames) == ACA_IMAGE_COLUMNS
    assert len(table) == 12 + 24 + 48
    order = list(zip(table["TIME"], table["IMGNUM"], strict=True))
    assert order == sorted(order)
    first = {row["IMGNUM"]: row for row in table[:3]}
    placed = ["IMGROW_A1", "IMGCOL_A1", "IMGROW0_8X8", "IMGCOL0_8X8", "IMGTYPE"]
    assert [first[0][name] for name in placed] == [-12, 7, -12, 7, 4]
    assert [first[3][name] for name in placed] == [-11, 8, -13, 6, 1]
    assert [first[5][name] for name in placed] == [-12, 7, -14, 5, 0]
    # COMMCNT 97: count 24, checksum fail; COMMPROG 85: progress 21, repeat 1.
    decoded = ["COMMCNT", "COMMCNT_CHECKSUM_FAIL", "COMMCNT_SYNTAX_ERROR", "COMMPROG",
               "COMMPROG_REPEAT", "VCDUCTR", "IMG_VCDUCTR"]  # fmt: skip
    assert [first[5][name] for name in decoded] == [24, True, False, 21, 1, 1000000, 1000000]
    assert [first[n]["IMG"].count() for n in (0, 3, 5)] == [64, 36, 16]
    assert first[3]["IMG"][1, 1] == 0.0
    assert first[5]["TEMPCCD"] is np.ma.masked
    assert table["TEMPCCD"][table["IMGNUM"] == 0][0] == np.float32(263.55)
    types = {
        "TIME": "<f8",
        "IMGTYPE": "<i8",
        "VCDUCTR": "<i4",
        "IMGROW_A1": "<i2",
        "SYNTAX_ERROR": "|b1",
        "IMGSIZE": "<i4",
        "BGDAVG": "<i2",
    }
    assert {name: table[name].dtype.str for name in types} == types
    assert hasattr(table["IMG"], "mask")
    assert not hasattr(table["BGDAVG"], "mask")


def test_aca_images_status_bits_and_quality(tmp_path):
    root = single(
        tmp_path,
        rows=4,
        values={
            "GLBSTAT": [128, 1, 4 + 64, 0],
            "IMGSTAT": [32, 1, 2 + 16, 0],
            "QUALITY": [0, 0, 0, 1],
        },
    )
    table = aca_l0.get_aca_images(*ALL, data_root=root)
    assert len(table) == 3
    set_bits = [[name for name in ACA_IMAGE_COLUMNS.split()[45:59] if row[name]] for row in table]
    assert set_bits == [
        ["HIGH_BGD", "SAT_PIXEL"],
        ["SYNTAX_ERROR", "ION_RAD"],
        ["COMM_CHECKSUM_FAIL", "RAM_FAIL", "MULTI_STAR", "DEF_PIXEL"],
    ]


def test_aca_images_of_an_empty_interval_have_all_columns(root):
    table = aca_l0.get_aca_images(0, 1, data_root=root)
    assert len(table) == 0
    assert " ".join(table.colnames) == ACA_IMAGE_COLUMNS
    assert table["IMG"].shape == (0, 8, 8)


# --- MSID and coverage


def test_msid_reads_8x8_only(root):
    msid = aca_l0.MSID("TempCCD", 0, BASE_TIME, BASE_TIME + 20, data_root=root)
    assert (msid.msid, msid.slot, msid.tstart, msid.tstop) == (
        "tempccd", 0, BASE_TIME, BASE_TIME + 20,
    )  # fmt: skip
    assert (msid.datestart, msid.datestop) == ("2019:270:19:32:10.816", "2019:270:19:32:30.816")
    np.testing.assert_allclose(msid.times, BASE_TIME - INTEG / 2 + 4.1 * np.arange(1, 6), atol=1e-6)
    assert isinstance(msid.vals, np.ma.MaskedArray)
    assert msid.vals.tolist() == [np.float32(263.55)] * 5
    assert len(aca_l0.MSID("tempccd", 3, *ALL, data_root=root).vals) == 0


def test_msidset_is_ordered_and_keeps_the_names(root):
    msids = aca_l0.MSIDset(["TEMPSEC", "imgraw", "Time"], 0, *ALL, data_root=root)
    assert list(msids) == ["TEMPSEC", "imgraw", "Time"]
    assert msids["imgraw"].vals.shape == (12, 64)
    np.testing.assert_array_equal(msids["Time"].vals, msids["Time"].times)


def test_unknown_msid(root):
    with pytest.raises(MissingDataError, match="msid aopcadmd not found"):
        aca_l0.MSID("aopcadmd", 0, *ALL, data_root=root)
    with pytest.raises(InputError, match="slot 9"):
        aca_l0.MSID("TIME", 9, *ALL, data_root=root)


def test_coverage_runs_end_at_gaps_and_size_changes(tmp_path):
    root = tmp_path / "aca0"
    quality = np.zeros(24, int)
    quality[[2, 20]] = 1
    steps = np.arange(24) + (np.arange(24) >= 10)  # one image is missing after the tenth
    counters = BASE_COUNTER + 16 * steps
    ends = BASE_TIME + 4.1 * steps
    values = {
        "QUALITY": quality,
        "MJF": counters // 128,
        "MNF": counters % 128,
        "END_INTEG_TIME": ends,
        "TIME": ends - INTEG / 2,
    }
    deliver(root, make_l0_file(tmp_path / "a", rows=24, values=values))
    deliver(root, make_l0_file(tmp_path / "b", frame=25 * 16, imgsize=4, rows=8))
    table = aca_l0.get_coverage(*ALL, slots=[0, 1], data_root=root)
    first = BASE_TIME - INTEG / 2
    expected = [
        (0, 8, first, first + 36.9, 10, 1),
        (0, 8, first + 45.1, first + 98.4, 14, 1),
        (0, 4, first + 102.5, first + 102.5 + 7 * 1.025, 8, 0),
    ]
    assert len(table) == 3
    for row, wanted in zip(table, expected, strict=True):
        assert tuple(row) == pytest.approx(wanted, rel=0, abs=1e-6)


def test_coverage_of_nothing_has_its_columns(root):
    table = aca_l0.get_coverage(0, 1, data_root=root)
    assert len(table) == 0
    assert table.colnames == ["slot", "imgsize", "tstart", "tstop", "n_rows", "n_bad"]


def test_import_is_light():
    code = (
        "import sys; import acaflow.archive.aca_l0;"
        " print([m for m in sys.modules if m in ('astropy.io.fits', 'astropy.table', 'celery',"
        " 'pydantic_settings', 'acaflow.config')])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert run.stdout.strip() == "[]"
