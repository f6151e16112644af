"""What the index of the level-0 archive says about its files."""

import sqlite3
from contextlib import closing

import pytest

from acaflow.archive.l0_archive import Archive, Holdings
from acaflow.errors import MissingDataError
from tests.support.l0 import BASE_TIME, deliver, make_l0_file

FIRST = BASE_TIME - 0.848
"""TIME of the row at frame 0."""


@pytest.fixture
def root(tmp_path):
    """Slot 3: 24 images of 6x6, then 10 of 8x8; slot 5: 12 of 4x4 in two revisions."""
    for options in (
        {"slot": 3, "imgsize": 6, "rows": 24},
        {"slot": 3, "imgsize": 8, "rows": 10, "frame": 24 * 8},
        {"slot": 5, "imgsize": 4, "rows": 12},
        {"slot": 5, "imgsize": 4, "rows": 12, "revision": 2},
    ):
        deliver(tmp_path / "aca0", make_l0_file(tmp_path / "in", **options))
    return tmp_path / "aca0"


@pytest.fixture
def archive(root):
    with closing(Archive.open(root / "archfiles.db3", root)) as found:
        yield found


def test_files_of_an_interval_with_their_first_and_last_image(archive, root):
    (found,) = archive.files(3, FIRST, FIRST)
    assert (found.filename, found.imgsize, found.rows, found.revision) == (
        *("acaf686000001N001_3_img0.fits.gz", 6, 24, 1),
    )
    assert (found.time_min, found.time_max) == pytest.approx((FIRST, FIRST + 23 * 2.05))
    assert (root / found.path).is_file()
    assert [file.imgsize for file in archive.files(3, FIRST, FIRST + 60)] == [6, 8]
    assert archive.files(3, FIRST - 10, FIRST - 0.01) == []


def test_only_active_files_count(archive):
    assert [file.revision for file in archive.files(5, FIRST, FIRST)] == [2]
    assert archive.holdings(5, 4).files == 1


def test_a_tree_of_public_tools_has_no_second_table(archive, root):
    before = [file.filename for file in archive.files(3, FIRST, FIRST + 60)]
    with closing(sqlite3.connect(root / "archfiles.db3")) as index:
        index.execute("DROP TABLE all_files")
    with closing(Archive.open(root / "archfiles.db3", root)) as public:
        # The first image lies 1.873 s before TSTART.
        (found,) = public.files(3, FIRST, FIRST)
        assert (found.filename, found.time_min) == (before[0], pytest.approx(FIRST + 1.873))
        assert [file.filename for file in public.files(3, FIRST, FIRST + 60)] == before


def test_newest_and_holdings(archive):
    eight = BASE_TIME + 24 * 2.05 + 1.025
    assert archive.newest([3]) == pytest.approx(eight + 10 * 4.1)
    assert archive.newest() == archive.newest([3])
    assert archive.newest([0]) is None
    stop = pytest.approx(eight + 10 * 4.1)
    assert archive.holdings(3, 8) == Holdings(1, 10, pytest.approx(eight), stop)
    assert archive.holdings(3, 4) is None


def test_without_an_archive(tmp_path):
    with pytest.raises(MissingDataError, match="no archive at"):
        Archive.open(tmp_path / "archfiles.db3", tmp_path)
