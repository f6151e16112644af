"""``acaflow ingest`` without any other process, ``quarantine``, ``archive`` and ``simulate``."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from acaflow.archive.aca_l0 import get_slot_data
from acaflow.cli import work
from tests.support.l0 import BASE_TIME, make_l0_file


@pytest.fixture
def good_file(tmp_path):
    """24 rows of 8x8 in slot 3."""
    return make_l0_file(tmp_path / "files", slot=3)


@pytest.fixture
def truncated(tmp_path):
    """A file that ends early, under the name of a later one."""
    whole = make_l0_file(tmp_path / "whole", slot=2)
    part = tmp_path / whole.name
    part.write_bytes(whole.read_bytes()[:-500])
    return part


def test_a_file_is_archived_and_stays_where_it_was(shell, good_file):
    delivered = good_file.read_bytes()
    [result] = shell.json("ingest", good_file)
    assert (result["file"], result["is_new"]) == (str(good_file), True)
    assert [(job["task"], job["state"]) for job in result["jobs"]] == [
        ("ingest.aca_l0_file", "done")
    ]
    assert good_file.read_bytes() == delivered
    [archived] = (shell.home / "archive/aca0").glob("*/*/*.fits.gz")
    assert (archived.name, archived.read_bytes()) == (good_file.name, delivered)
    rows = get_slot_data(0.0, 1e9, 3, data_root=shell.home / "archive/aca0")
    assert len(rows) == 24
    assert rows["END_INTEG_TIME"][0] == BASE_TIME


def test_the_table_names_file_state_and_reason(shell, good_file):
    header, line = shell.good("ingest", good_file).out.splitlines()
    assert header.split() == ["FILE", "STATE", "JOB", "WHAT"]
    assert line.split()[:2] == [good_file.name, "done"]
    assert line.endswith("try 1; 1 product.")


def test_the_same_file_again_changes_nothing(shell, good_file):
    [first] = shell.json("ingest", good_file)
    [again] = shell.json("ingest", good_file)
    assert again["is_new"] is False
    assert again["event_id"] == first["event_id"]
    tasks = sorted(job["task"] for job in shell.json("jobs")["jobs"])
    assert tasks == ["ingest.aca_l0_file", "ingest.update_l0_store"]
    assert "Delivered before" in shell.good("ingest", good_file).out


def test_force_makes_a_new_event_that_finds_it_archived(shell, good_file):
    shell.good("ingest", good_file)
    [again] = shell.json("ingest", "--force", good_file)
    assert again["is_new"] is True
    assert again["jobs"][0]["state"] == "skipped"


def test_a_truncated_file_fails_with_its_reason_and_the_others_go_on(shell, truncated, good_file):
    answer = shell("ingest", truncated, good_file)
    assert answer.code == 1
    [line] = answer.err.splitlines()
    assert line.startswith(f"acaflow: {truncated.name}: Dead since ")
    assert "BadInput" in line
    assert "file is truncated" in line
    done = shell.json("jobs", "--state", "done")["jobs"]
    assert {job["subject"] for job in done} == {"aca0:3"}


def test_a_refused_file_delivered_again_is_still_refused(shell, truncated):
    assert shell("ingest", truncated).code == 1
    again = shell("ingest", truncated)
    assert again.code == 1
    assert "file is truncated" in again.err
    assert len(shell.json("jobs")["jobs"]) == 1


def test_a_file_of_no_known_kind_is_refused_naming_the_known_ones(shell, tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("hello")
    answer = shell("ingest", notes)
    assert answer.code == 1
    assert "no rule knows this name; known: acaf<TSTART>N<version>_<slot>_img0.fits" in answer.err


def test_a_file_name_that_no_terminal_should_see(shell, tmp_path):
    strange = tmp_path / os.fsdecode(b"a\x1b[31m\xff\n.fits")
    strange.write_text("hello")
    answer = shell("ingest", strange)
    assert answer.code == 1
    assert "a?[31m??.fits  dead" in answer.out
    assert len(answer.out.splitlines()) == 2
    assert "\x1b" not in answer.out + answer.err
    [result] = json.loads(shell("ingest", strange, "--json").out)
    assert result["file"] == str(strange)


def test_no_wait_leaves_the_job_to_whoever_comes(shell, good_file, tmp_path):
    handed = shell("ingest", "--no-wait", "--json", good_file)
    assert handed.code == 0
    assert json.loads(handed.out)[0]["jobs"][0]["state"] == "waiting"
    assert "acaflow up will do the work" in handed.err
    # The next command that works does all that is due.
    shell.good("ingest", make_l0_file(tmp_path / "files", slot=4))
    assert {job["state"] for job in shell.json("jobs")["jobs"]} == {"done"}


def test_waiting_says_why_and_ends_when_nobody_works_any_more(shell, good_file, monkeypatch):
    served = iter([True, True, False])
    monkeypatch.setattr(work, "is_served", lambda *_: next(served))
    monkeypatch.setattr(work, "DOUBT_S", 0.0)
    answer = shell("ingest", good_file)
    assert answer.code == 1
    because, end = answer.err.splitlines()
    assert "No live worker for queue ingest" in because
    assert f"nothing works on {shell.home} any more" in end


def test_a_file_that_is_not_there(shell):
    message = shell.refused("ingest", "nothing.fits", code=2)
    assert "'nothing.fits' does not exist" in message
    assert not shell.home.exists()


# --- quarantine ---


def test_quarantine_lists_shows_and_releases(shell, truncated):
    shell("ingest", truncated)
    [entry] = shell.json("quarantine")
    assert entry["name"] == truncated.name
    assert entry["reason"]["error_class"] == "BadInput"
    shown = shell.good("quarantine", "show", entry["event_id"][-8:]).out
    assert "file is truncated" in shown
    assert shell.json("quarantine", "show", entry["event_id"]) == entry

    released = shell.json("quarantine", "release", entry["event_id"])
    assert released["event_id"] != entry["event_id"]
    [waiting] = shell.json("jobs", "--state", "waiting")["jobs"]
    assert released["jobs"] == [waiting["id"]]
    assert "quarantine is empty" in shell.refused("quarantine", code=3)


def test_an_unknown_file_in_quarantine(shell, good_file):
    shell.good("ingest", good_file)
    assert "no file of event 1234" in shell.refused("quarantine", "show", "1234", code=3)


# --- archive ---


@pytest.fixture
def archived(shell, good_file):
    """A home with 24 images of 8x8 in slot 3, 4.1 s apart from `BASE_TIME` on."""
    shell.good("ingest", good_file)
    return shell


SPAN = ("--start", str(BASE_TIME - 100), "--stop", str(BASE_TIME + 200))


def test_archive_files(archived):
    [path] = archived.json("archive", "l0", *SPAN)
    assert path.endswith("_3_img0.fits.gz")
    assert path.startswith(str(archived.home))
    assert archived.good("archive", "l0", "files", *SPAN, "--slot", "3").out == f"{path}\n"
    assert "no files" in archived.refused("archive", "l0", *SPAN, "--slot", "4", code=3)


def test_archive_coverage(archived):
    [run] = archived.json("archive", "l0", "coverage", *SPAN, "--slot", "3")
    assert (run["slot"], run["imgsize"], run["n_rows"], run["n_bad"]) == (3, 8, 24, 0)
    header, line = archived.good("archive", "l0", "coverage", *SPAN).out.splitlines()
    assert header.split() == ["SLOT", "SIZE", "START", "STOP", "ROWS", "BAD"]
    assert line.split()[-2:] == ["24", "0"]


def test_archive_rows(archived):
    rows = archived.json("archive", "l0", "rows", "END_INTEG_TIME", "BGDAVG", "--slot", "3", *SPAN)
    assert rows[0] == {"END_INTEG_TIME": BASE_TIME, "BGDAVG": 25}
    assert rows[1]["END_INTEG_TIME"] == BASE_TIME + 4.1
    assert len(rows) == 24


def test_times_are_read_in_every_format(archived):
    # 686000000 s is 2019:270:19:32:10.816 UTC.
    for start, stop in [
        ("2019:270", "2019:271"),
        ("2019-09-27 19:32:00", "2019-09-27 19:40:00"),
        ("2019270.193200000", "2019270.194000000"),
        ("2019Sep27 at 19:32:00.000", "2019Sep27 at 19:40:00.000"),
    ]:
        assert len(archived.json("archive", "l0", "--start", start, "--stop", stop)) == 1


# --- simulate ---


def test_simulated_files_are_ingested(shell, tmp_path):
    files = shell.json(
        *("simulate", "aca-l0", tmp_path / "sim", "--start", "2026:100"),
        *("--stop", "2026:100:00:10:00", "--slot", "0", "--slot", "5", "--seed", "7"),
    )
    assert sorted(file[-15:] for file in files) == ["_0_img0.fits.gz", "_5_img0.fits.gz"]
    assert {job["jobs"][0]["state"] for job in shell.json("ingest", *files)} == {"done"}


def test_simulation_repeats_itself_and_its_seed_matters(shell, tmp_path):
    span = ("--start", "2026:100", "--stop", "2026:100:00:05:00", "--slot", "5")
    for folder, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        shell.good("simulate", "aca-l0", tmp_path / folder, *span, "--seed", seed)
    a, b, c = ([f.read_bytes() for f in (tmp_path / name).iterdir()] for name in "abc")
    assert a == b
    assert a != c


def test_simulated_packets_make_the_images_of_level_0(shell, tmp_path):
    span = ("--start", "2026:100", "--stop", "2026:100:00:10:00")
    packets = shell.good("simulate", "aca-packets", tmp_path / "sim", *span).out.strip()
    shell.good("ingest", packets)
    coverage = ("archive", "l0", "coverage", *span, "--slot", "0", "--json")
    (run,) = shell.json(*coverage[:-1])
    # 600 s hold 146 whole images of 4.1 s.
    assert (run["slot"], run["imgsize"], run["n_rows"]) == (0, 8, 146)


def test_simulated_reissue(shell, tmp_path):
    files = shell.json(
        *("simulate", "aca-l0", tmp_path, "--start", "2026:100", "--stop", "2026:100:01:00:00"),
        *("--slot", "3", "--reissue", "2026:100:00:10:00", "2026:100:00:20:00", "2"),
    )
    assert ["N001_" in file for file in files] == [True, False]
    assert "N002_3_" in files[1]
    assert b"REVISION=                    2" in gzip.decompress(Path(files[1]).read_bytes())


# --- real files ---


@pytest.mark.real
def test_real_files(shell, real_data):
    files = sorted((real_data / "real/aca_l0").glob("acaf*.fits.gz"))
    results = shell.json("ingest", *files)
    assert [result["jobs"][0]["state"] for result in results] == ["done"] * 5
    runs = shell.json("archive", "l0", "coverage", "--start", "2019:272", "--stop", "2019:273")
    rows = Counter()
    for run in runs:
        rows[run["slot"]] += run["n_rows"]
    # aca-archive 2.6: fids in slots 0 and 2 are 8x8, stars 6x6.
    assert rows == {0: 1568, 2: 1568, 3: 3135, 5: 3135, 6: 3135}


@pytest.mark.real
def test_a_real_file_with_a_wrong_checksum(shell, real_data, tmp_path):
    wrong = tmp_path / "acaf686111014N001_3_img0.fits.gz"
    wrong.write_bytes((real_data / "real/aca_l0_small/test_level0_3.fits.gz").read_bytes())
    answer = shell("ingest", wrong)
    assert answer.code == 1
    assert "BadInput. " in answer.err
    assert "DATASUM of HDU 1 is" in answer.err
