"""Decoded replicas as files: what other readers see, equality after reading, equal bytes."""

import gzip

import numpy as np
import pytest
from astropy.io import fits

from acaflow.archive.aca_dark.dark_l0 import read_replica_l0, write_replica_l0
from acaflow.archive.aca_dark.vc2 import read_vc2
from acaflow.errors import CorruptFileError, SchemaError
from tests.support.vc2 import NAME, SHORT, Dump, record


@pytest.fixture(scope="module")
def replica(tmp_path_factory):
    """A replica with every fault that has a count, in a gzip file with a wrong end."""
    rng = np.random.default_rng(5)
    values = rng.integers(0, 65536, (40, 512))
    values[0, :3], values[1, :3] = 65535, 0
    biases = [0, 65535, *[2000] * 38]
    records = [
        record(row, row % 2, values[row], integ=SHORT, bias=biases[row], caltype=1, sci=65530)
        for row in range(40)
    ]
    records += [record(row, clock=4_000_000_000) for row in (-5, 600, 700, 550)]
    dump = Dump().burst(records).fill(4).burst(record(1)[:900]).fill()  # 45, 4, 1 and 1 frames
    dump.frames[4][108] = 0
    dump.frames[6][0] = 0
    dump.frames[46][109] = 0
    del dump.frames[47]
    dump.frames += dump.frames[-1:]
    path = tmp_path_factory.mktemp("raw") / f"{NAME}.gz"
    path.write_bytes(gzip.compress(bytes(dump) + b"rest") + b"garbage")
    return read_vc2(path)


@pytest.fixture
def path(tmp_path, replica):
    path = tmp_path / "2016125" / "replica2_L0.fits.gz"
    write_replica_l0(replica, path)
    return path


def test_reading_gives_what_was_written(path, replica):
    made = read_replica_l0(path)
    assert (made.name, made.number, made.ert) == (f"{NAME}.gz", 2, replica.ert)
    assert made.counts == replica.counts
    assert made.counts.gz_error == "other bytes follow the gzip stream"
    assert list(made.columns) == list(replica.columns)
    for name, values in replica.columns.items():
        assert made.columns[name].dtype == values.dtype, name
        assert np.array_equal(made.columns[name], values), name
    assert made.pixels.dtype == np.uint16
    assert np.array_equal(made.pixels, replica.pixels)
    assert made.pixels[[0, 1], 0].tolist() == [65535, 0]


def test_columns(path, replica):
    with fits.open(path) as hdus:
        table = hdus["ACA_DUMP"]
        stored = {column.name: (column.format, column.bzero) for column in table.columns}
        pixels, bias = table.data["PIXDATA"], table.data["ADC_BIAS"]
    assert stored == {  # dark-cal B2
        "TIME_ERT": ("D", None),
        "REC_CTR": ("J", None),
        "ADC_BIAS": ("I", 32768),
        "INTEG": ("E", None),
        "CALTYPE": ("I", None),
        "REPLICA": ("I", None),
        "COLNEG": ("I", None),
        "ROW": ("I", None),
        "SCI_HDR_CTR": ("I", 32768),
        "TWO_US_CLK": ("J", 2147483648),
        "PIXDATA": ("512J", None),
    }
    assert bias[:2].tolist() == [0, 65535]
    assert pixels[[0, 1], 0].tolist() == [65535, -65535]
    assert np.array_equal(pixels + bias[:, None].astype(int), replica.pixels)


def test_keywords(path, replica):
    header = fits.getheader(path, "ACA_DUMP")
    expected = {
        "TELESCOP": "CHANDRA",
        "TLM_FMT": 0,
        "MJDREF": 50814.0,
        "TIMESYS": "TT",
        "DATE": "2016-05-04T12:01:08.674",  # frame 49: 0.49 s after 12:00 UTC; TT-UTC 68.184 s
        "DATE-OBS": "2016-05-04T12:01:08.184",
        "DATE-END": "2016-05-04T12:01:08.674",
        "RAWFILE": f"{NAME}.gz",
        "REPNUM": 2,
        "NFRAMES": 51,
        "NTRUNC": 4,
        "NBADSYNC": 1,
        "NOTHERCH": 1,
        "NMISMCH": 1,
        "NDUPFRM": 1,
        "NLOST": 3,
        "NSEGMENT": 3,
        "NSINGLE": 1,
        "NFILLER": 2,
        "NBADROW": 1,
        "GZERROR": "other bytes follow the gzip stream",
    }
    assert {key: header[key] for key in expected} == expected
    assert (header["TSTART"], header["TSTOP"]) == replica.ert


def test_equal_replicas_give_equal_bytes(path, replica, tmp_path):
    write_replica_l0(read_replica_l0(path), tmp_path / "again.fits.gz")
    assert path.read_bytes() == (tmp_path / "again.fits.gz").read_bytes()
    assert path.read_bytes()[4:8] == bytes(4)  # no time in the gzip header
    assert sorted(file.name for file in path.parent.iterdir()) == ["replica2_L0.fits.gz"]


def test_damaged_files(path):
    content = path.read_bytes()
    for damaged in (content[:-1], content[:5000], b"SIMPLE", gzip.compress(b"no FITS at all")):
        path.write_bytes(damaged)
        with pytest.raises(CorruptFileError, match=r"replica2_L0\.fits\.gz"):
            read_replica_l0(path)


@pytest.mark.parametrize("missing", ["ACA_DUMP", "ADC_BIAS", "NLOST", "RAWFILE"])
def test_other_fits_files(path, missing):
    with fits.open(path) as hdus:
        table = hdus[1].copy()
    if missing == "ACA_DUMP":
        table.name = "OTHER"
    elif missing in table.header:
        del table.header[missing]
    else:
        columns = [column for column in table.columns if column.name != missing]
        table = fits.BinTableHDU.from_columns(columns, header=table.header, name="ACA_DUMP")
    table.writeto(path, overwrite=True)
    with pytest.raises(SchemaError, match=f"is no decoded replica: .*{missing}"):
        read_replica_l0(path)
