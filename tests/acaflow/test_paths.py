"""Folders of a home, paths from outside, level-0 names."""

from __future__ import annotations

from pathlib import Path

import pytest

from acaflow.errors import ConfigError, InputError, SchemaError
from acaflow.paths import Home, L0Name, inside, l0_dir, l0_stored_name, parse_l0_name


def test_home_has_these_folders(tmp_path):
    home = Home(tmp_path / "h")
    home.create()
    home.create()
    made = {str(path.relative_to(home.root)) for path in home.root.rglob("*")}
    assert made == {
        "inbox",
        "inbox/.taken",
        "quarantine",
        "processed",
        "archive",
        "work",
        "www",
        "state",
        "state/run",
        "state/locks",
        "state/logs",
        "state/logs/jobs",
        "state/redis",
    }
    properties = (home.inbox, home.taken, home.quarantine, home.processed, home.archive, home.work)
    properties += (home.state, home.run, home.locks, home.logs)
    assert all(folder.is_dir() for folder in properties)


def test_home_is_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Home(Path("data")).root == tmp_path / "data"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Home(Path("~/data")).archive == tmp_path / "data" / "archive"


def test_home_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"home .*/file/h cannot be written \(Not a directory.*"):
        Home(tmp_path / "file" / "h").create()


@pytest.mark.parametrize("relative", ["a", "a/b.fits", "./a", "a/./b", "..a", "a b/µ"])
def test_path_inside(tmp_path, relative):
    assert inside(tmp_path, relative) == tmp_path.resolve() / relative


@pytest.mark.parametrize("relative", ["", "/etc/passwd", "..", "a/../../b", "a/..", "a\0b"])
def test_path_that_is_not_plain(tmp_path, relative):
    with pytest.raises(InputError, match="is not a plain path below"):
        inside(tmp_path, relative)


def test_link_out_of_the_root(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    (root / "own").symlink_to(root / "target")
    with pytest.raises(InputError, match="leads out of root/"):
        inside(root, "link/secret")
    assert inside(root, "own") == root.resolve() / "target"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("acaf686111014N001_0_img0.fits.gz", (686111014, 1, 0)),
        ("acaf063072064N012_7_img0.fits", (63072064, 12, 7)),
        ("acaf1000000000N001_3_img0.fits.gz", (1000000000, 1, 3)),
    ],
)
def test_l0_name(name, parts):
    assert parse_l0_name(name) == L0Name(*parts)


@pytest.mark.parametrize(
    "name",
    [
        "acaf686111014N001_8_img0.fits.gz",
        "acaf68611101N001_0_img0.fits.gz",
        "acaf686111014N01_0_img0.fits.gz",
        "acaf686111014N001_0_img0.fits.gz.part",
        "x/acaf686111014N001_0_img0.fits.gz",
        "acaf686111014N001_0_img0.fits\n",
        "pcadf686111014N001_asol1.fits.gz",
    ],
)
def test_no_l0_name(name):
    with pytest.raises(SchemaError, match="is not a level-0 image file name"):
        parse_l0_name(name)


def test_archive_stores_compressed_names():
    assert l0_stored_name("acaf1N001_0_img0.fits") == "acaf1N001_0_img0.fits.gz"
    assert l0_stored_name("acaf1N001_0_img0.fits.gz") == "acaf1N001_0_img0.fits.gz"


@pytest.mark.parametrize(
    ("filetime", "folder"),
    [
        (686111014, "2019/272"),  # the archive's own example
        (63072064, "1999/365"),  # 2000-01-01T00:00:00 UTC is 63072064.184: this is 0.184 s before
        (63072065, "2000/001"),
    ],
)
def test_l0_folder_is_the_utc_day(filetime, folder):
    assert l0_dir(filetime) == folder
