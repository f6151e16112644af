"""Temperature of a replica: header 3, else engineering telemetry, else a guess (dark-cal B5)."""

import numpy as np
import pytest

from acaflow import times
from acaflow.archive.aca_dark.ccd_temp import interval_temperature, replica_temperature
from acaflow.errors import CorruptFileError, MissingDataError
from acaflow.telemetry.samples import SampleFiles
from tests.support.l0 import BASE_TIME, HD3, deliver, make_l0_file
from tests.support.samples import archive_samples

REPLICA = (BASE_TIME + 1000.0, BASE_TIME + 1500.0)
MIDDLE = BASE_TIME + 1250.0
GARBAGE = 3000
"""Counts of the last image before a break: 30 degC."""


def deliver_header3(archive, start, counts):
    """Archive 8x8 images of slot 6, the first at BASE_TIME + `start`; a broken one follows."""
    high, low = np.divmod(np.array([*counts, GARBAGE]) & 0xFFFF, 256)
    columns = {name: low if i % 2 else high for i, name in enumerate(HD3)}
    frame = round(start / 0.25625)
    path = make_l0_file(
        archive.parent / "in", slot=6, frame=frame, rows=len(counts) + 1, values=columns
    )
    deliver(archive / "aca0", path)


@pytest.fixture
def archive(tmp_path):
    return tmp_path / "archive"


@pytest.fixture
def temperature(archive):
    """The temperature of an interval, by default of the replica."""

    def get(interval=REPLICA, function=replica_temperature):
        return function(*interval, SampleFiles(archive), archive)

    return get


def archive_engineering(archive, n, spacing=32.0):
    """Archive `n` samples of a parabola, -9 degC in the middle of the replica."""
    x = spacing * (np.arange(n) - n // 3)
    archive_samples(archive, "AACCCDPT", MIDDLE + x, -9.0 + 1e-4 * x + 3e-9 * x**2)


def test_header_3_before_and_after(archive, temperature):
    deliver_header3(archive, 700, [-1000] * 4)  # before
    deliver_header3(archive, 1700, [-1100, -1100, -1130, -1110])  # after
    archive_engineering(archive, 600)
    degc, source = temperature()
    assert (degc, source) == (pytest.approx(-10.55, abs=1e-9), "HDR3")
    assert type(degc) is float


def test_header_3_within_ten_minutes(archive, temperature):
    deliver_header3(archive, 387, [-500] * 4 + [-1000] * 3)  # 386.152 + 4.1 n s
    deliver_header3(archive, 2083, [-1200] * 5 + [-500] * 3)
    # From 400 s, the fifth, to 2100 s, the fifth.
    assert temperature() == (pytest.approx((-10.0 * 3 - 12.0 * 5) / 8), "HDR3")


@pytest.mark.parametrize(("n", "source"), [(4, "AACCCDPT"), (5, "HDR3")])
def test_more_than_four_of_header_3(archive, temperature, n, source):
    deliver_header3(archive, 700, [-1000] * n)
    archive_engineering(archive, 600)
    assert temperature()[1] == source


def test_engineering_telemetry_at_the_midpoint(archive, temperature):
    """Of a replica and of an interval with the same middle; without any level-0 archive."""
    archive_engineering(archive, 600)
    degc, source = temperature()
    assert (degc, source) == (pytest.approx(-9.0, abs=1e-9), "AACCCDPT")
    assert type(degc) is float
    assert temperature((MIDDLE - 1, MIDDLE + 1)) == (pytest.approx(-9.0, abs=1e-9), "AACCCDPT")


@pytest.mark.parametrize("n", [100, 101])
def test_more_than_100_of_engineering_telemetry(archive, temperature, n):
    archive_engineering(archive, n)
    if n == 101:
        assert temperature() == (pytest.approx(-9.0, abs=1e-9), "AACCCDPT")
        return
    message = (
        r"Unable to determine CCD temperature between 2019:270:\d\d:\d\d:.* 0 samples of header 3,"
        r" 5 needed, and 100 of AACCCDPT, 101 needed"
    )
    with pytest.raises(MissingDataError, match=message):
        temperature()


def test_engineering_telemetry_within_20000_s(archive, temperature):
    archive_engineering(archive, 600)
    far = 20_000.0 + 32.0 * np.arange(50)
    archive_samples(
        archive, "AACCCDPT", np.append(MIDDLE - far[::-1] - 1, MIDDLE + far), [30] * 100
    )
    assert temperature() == (pytest.approx(-9.0, abs=1e-9), "AACCCDPT")


def test_guess_before_2000(archive, temperature):
    """The padded start decides, so the first replicas of 2000 have a guess too."""
    first = times.secs("2000:001")
    assert temperature((first - 1e7, first + 1e7)) == (-10.0, "GUESS")
    assert temperature((first + 599, first + 1000)) == (-10.0, "GUESS")
    assert temperature((first - 1, first), interval_temperature) == (-10.0, "GUESS")
    for interval, function in (
        ((first + 600, first + 1000), replica_temperature),
        ((first, first + 1), interval_temperature),
    ):
        with pytest.raises(MissingDataError, match="Unable to determine CCD temperature"):
            temperature(interval, function)


def test_padding_is_the_replica_s(archive, temperature):
    deliver_header3(archive, 700, [-1000] * 5)
    assert temperature() == (-10.0, "HDR3")
    with pytest.raises(MissingDataError, match="0 samples of header 3"):
        temperature(REPLICA, interval_temperature)


def test_a_damaged_archive_is_no_missing_data(archive, temperature):
    deliver_header3(archive, 700, [-1000] * 5)
    archive_engineering(archive, 600)
    (path,) = (archive / "aca0").rglob("*.fits.gz")
    path.write_bytes(b"damaged")
    with pytest.raises(CorruptFileError):
        temperature()
