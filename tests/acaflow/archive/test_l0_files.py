"""What the index of the level-0 archive says about its files."""

import sqlite3
from contextlib import closing

import pytest

from acaflow.archive.l0_files import FileFacts, Holdings, get_holdings, get_newest, list_files
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


def test_files_of_an_interval_with_their_first_and_last_image(root):
    found = list_files(root, 3, FIRST, FIRST)
    name = "acaf686000001N001_3_img0.fits.gz"
    path, last = f"2019/270/{name}", pytest.approx(FIRST + 23 * 2.05)
    assert found == [FileFacts(name, path, 6, 24, 1, pytest.approx(FIRST), last)]
    assert (root / path).is_file()
    assert [file.imgsize for file in list_files(root, 3, FIRST, FIRST + 60)] == [6, 8]
    assert [file.imgsize for file in list_files(root, 3, FIRST, FIRST + 60, [8])] == [8]
    assert list_files(root, 3, FIRST - 10, FIRST - 0.01) == []


def test_only_active_files_count(root):
    assert [file.revision for file in list_files(root, 5, FIRST, FIRST)] == [2]
    assert get_holdings(root, [5], 4).files == 1


def test_a_tree_of_public_tools_has_no_second_table(root):
    before = [file.filename for file in list_files(root, 3, FIRST, FIRST + 60)]
    with closing(sqlite3.connect(root / "archfiles.db3")) as index:
        index.execute("DROP TABLE all_files")
    # The first image lies 1.873 s before TSTART.
    assert [file.filename for file in list_files(root, 3, FIRST, FIRST)] == before[:1]
    assert [file.filename for file in list_files(root, 3, FIRST, FIRST + 60)] == before


def test_newest_and_holdings(root):
    eight = BASE_TIME + 24 * 2.05 + 1.025
    assert get_newest(root, [3]) == pytest.approx(eight + 10 * 4.1)
    assert get_newest(root) == get_newest(root, [3])
    assert get_newest(root, [0]) is None
    stop = pytest.approx(eight + 10 * 4.1)
    assert get_holdings(root, [3], 8) == Holdings(1, 10, pytest.approx(eight), stop)
    assert get_holdings(root, [3], 4) is None


def test_without_an_archive(tmp_path):
    with pytest.raises(MissingDataError, match="no archive at"):
        get_newest(tmp_path)
