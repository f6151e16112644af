"""Files of engineering samples: names, checks, and reading an interval of several."""

import doctest
import gzip

import numpy as np
import pytest

from acaflow import paths
from acaflow.errors import CorruptFileError, SchemaError
from acaflow.paths import SamplesName, parse_samples_name
from acaflow.telemetry import samples
from acaflow.telemetry.samples import SampleFiles, read_samples_file, stored_path
from tests.support.samples import archive_samples

NAME = "eng_AACCCDPT_1000_1099.csv.gz"


@pytest.fixture
def delivered(tmp_path):
    """Write a delivered file of this text and return its path."""

    def write(text):
        path = tmp_path / NAME
        path.write_bytes(gzip.compress(text.encode()))
        return path

    return write


# --- Names


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("eng_CIUMACAC_708739200_708825599.csv.gz", ("CIUMACAC", 708739200, 708825599)),
        ("eng_DP_DPA_POWER_0_9.csv.gz", ("DP_DPA_POWER", 0, 9)),
        ("eng_1CBAT_5_5.csv.gz", ("1CBAT", 5, 5)),
    ],
)
def test_names(name, parts):
    named = parse_samples_name(name)
    assert named == SamplesName(*parts)
    msid, tstart, tstop = parts
    assert stored_path(named) == f"eng/samples/{msid}/{msid}_{tstart}_{tstop}.csv.gz"


@pytest.mark.parametrize(
    "name",
    [
        "eng_ciumacac_1_9.csv.gz",
        "eng__1_9.csv.gz",
        "eng_../A_1_9.csv.gz",
        "eng_CIUMACAC_1_9.csv",
        "eng_CIUMACAC_1.csv.gz",
        "CIUMACAC_1_9.csv.gz",
        "eng_CIUMACAC_1_9.csv.gz\n",
    ],
)
def test_other_names(name):
    with pytest.raises(SchemaError, match="is not a name of engineering samples"):
        parse_samples_name(name)


def test_examples_in_docstrings():
    assert doctest.testmod(paths).failed == 0
    assert doctest.testmod(samples).failed == 0


# --- One file


def test_numbers(delivered):
    times, values = read_samples_file(delivered("time,value\n1000.25,-9.5\n1099.9,1e1\n"), NAME)
    assert (times.dtype, values.dtype) == (np.float64, np.float64)
    assert times.tolist() == [1000.25, 1099.9]
    assert values.tolist() == [-9.5, 10.0]


def test_states_keep_their_blanks(delivered):
    times, values = read_samples_file(delivered("time,value\r\n1000,ON \r\n1032.8,OFF\r\n"), NAME)
    assert times.tolist() == [1000.0, 1032.8]
    assert values.tolist() == ["ON ", "OFF"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n", r"line 1 is \[''\]; expected 'time,value'"),
        ("1000,ON\n", r"line 1 is \['1000,ON'\]"),
        ("time,value\n", "no sample"),
        ("time,value\n1000,1\n1001\n", "line 3 is '1001'; expected time,value"),
        ("time,value\n1000,1,0\n", "line 2 is '1000,1,0'"),
        ("time,value\n1000,\n", "line 2 is '1000,'"),
        ("time,value\n1000, \n", "line 2 is '1000, '"),
        ("time,value\n\n1000,1\n", "line 2 is ''"),
        ("time,value\nnoon,1\n", "time is no number .*'noon'"),
        ("time,value\n1000,1\nnan,1\n", "line 3: time is nan"),
        ("time,value\n1000,1\n1001,ON\n", "value is no number .*'ON'"),
        ("time,value\n1000,1\n1001,inf\n", "line 3: value is inf"),
        ("time,value\n1000,1\n1001,1\n1001,2\n", r"line 4: time 1001\.0 does not ascend"),
        ("time,value\n1000,A\n1005,A\n1001,A\n", r"line 4: time 1001\.0 does not ascend"),
        ("time,value\n999.9,1\n", r"samples run from 999\.9 to 999\.9, the name says"),
        ("time,value\n1000,1\n1100,1\n", r"samples run from 1000\.0 to 1100\.0"),
    ],
)
def test_other_content(delivered, text, message):
    path = delivered(text)
    with pytest.raises(SchemaError, match=f"^{NAME}: .*{message}") as caught:
        read_samples_file(path, NAME)
    assert caught.value.path == path


def test_damaged_files(delivered, monkeypatch):
    path = delivered("time,value\n1000,1\n1001,2\n")
    whole = path.read_bytes()
    broken = bytearray(whole)
    broken[-6] ^= 1  # the CRC
    no_line_end = gzip.compress(b"time,value\n1000,1\n1001,2")
    for content in (
        whole[:-9],
        bytes(broken),
        whole + b"tail",
        b"time,value\n1000,1\n",
        b"",
        no_line_end,
        gzip.compress("time,value\n1000,\N{DEGREE SIGN}\n".encode()),
    ):
        path.write_bytes(content)
        with pytest.raises(CorruptFileError, match=f"^{NAME}: ") as caught:
            read_samples_file(path, NAME)
        assert caught.value.path == path
    path.write_bytes(whole)
    monkeypatch.setattr(samples, "MAX_BYTES", 20)
    with pytest.raises(CorruptFileError, match="more than 20 bytes uncompressed"):
        read_samples_file(path, NAME)


def test_name_of_the_delivery_counts(delivered):
    with pytest.raises(SchemaError, match=r"from 1000\.0 to 1000\.0, the name says 1000 to 999"):
        read_samples_file(delivered("time,value\n1000,1\n"), "eng_AACCCDPT_1000_999.csv.gz")
    with pytest.raises(SchemaError, match="is not a name of engineering samples"):
        read_samples_file(delivered("time,value\n1000,1\n"), "AACCCDPT.csv.gz")


# --- An archive


def get(archive, msid, tstart, tstop):
    times, values = SampleFiles(archive).get(msid, tstart, tstop)
    return list(zip(times.tolist(), values.tolist(), strict=True))


def test_half_open_interval(tmp_path):
    archive_samples(tmp_path, "AACCCDPT", [10, 20, 30, 40], [-1.0, -2.0, -3.0, -4.0])
    assert get(tmp_path, "aacccdpt", 20, 40) == [(20, -2), (30, -3)]
    assert get(tmp_path, "AACCCDPT", 20.1, 40.1) == [(30, -3), (40, -4)]
    assert get(tmp_path, "AACCCDPT", 11, 19) == []


def test_nothing_is_no_error(tmp_path):
    archive_samples(tmp_path, "AACCCDPT", [10, 20], [-1.0, -2.0])
    for request in (("AACCCDPT", 30, 40), ("CIUMACAC", 0, 40), ("AACCCDPT", 40, 0)):
        times, values = SampleFiles(tmp_path).get(*request)
        assert (times.dtype, times.shape, values.shape) == (np.float64, (0,), (0,))


def test_only_overlapping_files_are_read(tmp_path):
    for first in (10, 20, 30):
        archive_samples(tmp_path, "CIUMACAC", [first, first + 9.5], ["ON", "OFF"])
    folder = tmp_path / "eng" / "samples" / "CIUMACAC"
    for name in ("CIUMACAC_10_19.csv.gz", "CIUMACAC_30_39.csv.gz"):
        (folder / name).write_bytes(b"not read")
    (folder / ".CIUMACAC_20_29.csv.gz.1.part").write_bytes(b"not read")
    assert get(tmp_path, "CIUMACAC", 20, 30) == [(20, "ON"), (29.5, "OFF")]
    with pytest.raises(CorruptFileError, match=r"eng_CIUMACAC_10_19\.csv\.gz"):
        get(tmp_path, "CIUMACAC", 19.9, 30)  # its last second runs to 20
    with pytest.raises(CorruptFileError, match=r"eng_CIUMACAC_30_39\.csv\.gz"):
        get(tmp_path, "CIUMACAC", 20, 30.1)


def test_overlapping_files_are_merged(tmp_path):
    """The file that begins later wins, also where its number has more digits."""
    archive_samples(tmp_path, "AACCCDPT", [95, 100.5, 101, 110], [1, 2, 3, 4])
    archive_samples(tmp_path, "AACCCDPT", [100.5, 101, 102], [2, 30, 40])
    archive_samples(tmp_path, "AACCCDPT", [100.5, 101, 109], [2, 31, 41])
    merged = [(95, 1), (100.5, 2), (101, 31), (102, 40), (109, 41), (110, 4)]
    assert get(tmp_path, "AACCCDPT", 0, 1000) == merged


def test_numbers_and_texts_do_not_mix(tmp_path):
    archive_samples(tmp_path, "CIUMACAC", [1, 2], ["ON", "OFF"])
    archive_samples(tmp_path, "CIUMACAC", [3, 4], [1, 0])
    assert get(tmp_path, "CIUMACAC", 3, 5) == [(3, 1), (4, 0)]
    with pytest.raises(SchemaError, match=r"CIUMACAC_3_4\.csv\.gz: .*texts.*numbers"):
        get(tmp_path, "CIUMACAC", 0, 5)
