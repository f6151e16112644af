"""CSV, FITS and HDF5 read back as what was written."""

import csv
import io

import numpy as np
import pytest
import tables
from astropy.io import fits
from astropy.table import Table

from acaflow.archive.l0_export import ROWS, Column, write_csv, write_fits, write_hdf5

N = ROWS + 100
"""More than one piece."""


@pytest.fixture
def time():
    return 686111012.493093 + 4.1 * np.arange(N)


@pytest.fixture
def columns():
    """Big-endian and native, float and integer, masked and not, and images."""
    rng = np.random.default_rng(2)
    masked = np.ma.MaskedArray(rng.integers(-500, 500, N), mask=rng.random(N) < 0.1)
    masked.mask[0] = True
    temperature = np.ma.MaskedArray(rng.normal(-9, 1, N).astype(">f4"), mask=masked.mask)
    image = np.ma.MaskedArray(rng.normal(size=(N, 8, 8)).astype(">f4"), mask=False)
    image[:, 0] = np.ma.masked
    return [
        Column("DAC", "", "control level", masked),
        Column("TEMPCCD", "degC", "CCD temperature", temperature),
        Column("VOLT", "V", "supply", rng.normal(size=N)),
        Column("IMGSIZE", "", "pixels along an edge", np.full(N, 8, ">i4")),
        Column("QUALITY", "", "0 good", np.ma.MaskedArray(np.ones(N, np.uint8))),
        Column("IMG", "e-/s", "image", image),
    ]


def test_csv_is_exact(time):
    columns = [
        Column("DAC", "", "", np.ma.MaskedArray([417, 418], mask=[False, True])),
        Column("T", "degC", "", np.array([-9.2, np.nan], np.float32)),
        Column("V", "V", "", np.array([4.909926, 0.1 + 0.2])),
    ]
    assert b"".join(write_csv(time[:2], columns)).decode() == (
        "UTC,TIME [s],DAC,T [degC],V [V]\n"
        "2019-09-29T02:22:23.309Z,686111012.493093,417,-9.2,4.909926\n"
        "2019-09-29T02:22:27.409Z,686111016.593093,,,0.30000000000000004\n"
    )


def test_csv_reads_back(time, columns):
    pieces = list(write_csv(time, columns[:5]))
    assert len(pieces) == 3
    rows = list(csv.DictReader(io.StringIO(b"".join(pieces).decode("ascii"))))
    assert len(rows) == N
    assert [float(row["TIME [s]"]) for row in rows] == time.tolist()
    for name, item in zip(("DAC", "TEMPCCD [degC]", "VOLT [V]"), columns, strict=False):
        mask = np.ma.getmaskarray(item.values)
        assert [row[name] == "" for row in rows] == mask.tolist()
        read = np.array([float(row[name] or 0) for row in rows]).astype(item.values.dtype)
        np.testing.assert_array_equal(read[~mask], item.values[~mask])


def test_fits_reads_back(time, columns):
    content = b"".join(write_fits(time, columns, {"EXTNAME": "TEST", "SLOT": 3}))
    assert len(content) % 2880 == 0
    with fits.open(io.BytesIO(content)) as hdus:
        hdus.verify("exception")
        header, data = hdus[1].header, hdus[1].data
        assert (header["EXTNAME"], header["SLOT"], header["TIMESYS"], header["MJDREF"]) == (
            *("TEST", 3, "TT", 50814.0),
        )
        np.testing.assert_array_equal(data["TIME"], time)
        np.testing.assert_array_equal(data["IMG"], np.ma.asarray(columns[-1].values).filled(np.nan))
        units = dict(zip(data.names, (column.unit for column in hdus[1].columns), strict=True))
    assert units == {
        **{"TIME": "s", "DAC": None, "TEMPCCD": "degC", "VOLT": "V", "IMGSIZE": None},
        **{"QUALITY": None, "IMG": "e-/s"},
    }


@pytest.mark.filterwarnings("ignore::astropy.units.UnitsWarning")
def test_masked_integers_are_masked_again_in_fits(time, columns):
    table = Table.read(io.BytesIO(b"".join(write_fits(time, columns[:2], {}))))
    dac = columns[0].values
    np.testing.assert_array_equal(table["DAC"].mask, dac.mask)
    np.testing.assert_array_equal(table["DAC"][~dac.mask], dac.compressed())
    assert np.isnan(np.ma.asarray(table["TEMPCCD"]).filled(np.nan)[dac.mask]).all()


def test_hdf5_reads_back(time, columns, tmp_path):
    path = tmp_path / "x.h5"
    path.write_bytes(write_hdf5(time, columns, {"start": "2019-09-29T02:22:23.309Z"}))
    with tables.open_file(path) as file:
        assert file.root._v_attrs["start"] == "2019-09-29T02:22:23.309Z"
        np.testing.assert_array_equal(file.root.TIME[:], time)
        np.testing.assert_array_equal(file.root.DAC_bad[:], columns[0].values.mask)
        dac = np.ma.MaskedArray(file.root.DAC[:], file.root.DAC_bad[:])
        np.testing.assert_array_equal(dac.compressed(), columns[0].values.compressed())
        for item in (columns[1], columns[2], columns[5]):
            node = file.get_node(f"/{item.name}")
            np.testing.assert_array_equal(node[:], np.ma.asarray(item.values).filled(np.nan))
            assert (node.attrs["unit"], node.attrs["description"]) == (item.unit, item.description)
        assert "QUALITY_bad" not in file.root


def test_no_rows_are_valid_files_too(tmp_path):
    none = np.empty(0)
    columns = [Column("V", "V", "supply", none)]
    assert b"".join(write_csv(none, columns)) == b"UTC,TIME [s],V [V]\n"
    with fits.open(io.BytesIO(b"".join(write_fits(none, columns, {})))) as hdus:
        assert len(hdus[1].data) == 0
    path = tmp_path / "x.h5"
    path.write_bytes(write_hdf5(none, columns, {}))
    with tables.open_file(path) as file:
        assert file.root.V.shape == (0,)
