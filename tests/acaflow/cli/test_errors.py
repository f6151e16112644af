"""What a person does wrong: one line that names value and remedy, and the exit code."""

from __future__ import annotations

import sqlite3

import pytest

from acaflow.status import reading
from tests.acaflow.cli.programs import call, start
from tests.support.l0 import BASE_TIME, make_l0_file

DAY = ("--start", "2019:270", "--stop", "2019:271")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fly"], "No such command 'fly'"),
        (["jobs", "--colour"], "No such option"),
        (["jobs", "--since", "yesterday"], "time 'yesterday' is in no known format"),
        (["archive", "l0", "--start", "2019:400", "--stop", "2019:271"], "'2019:400'"),
        (
            ["archive", "l0", "--start", "2019:271", "--stop", "2019:270"],
            "--start 2019:271:00:00:00.000 is after --stop 2019:270:00:00:00.000",
        ),
        (
            ["archive", "l0", "coverage", "--start", "2019:271", "--stop", "2019:270"],
            "--start 2019:271:00:00:00.000 is after --stop 2019:270:00:00:00.000",
        ),
        (["simulate", "aca-l0", "o", "--start", "2019:271", "--stop", "2019:270"], "is after"),
        (["simulate", "aca-l0", "o", "--start", "2019:270", "--stop", "2019:270"], "cycle"),
        (["simulate", "aca-l0", "o", *DAY, "--slot", "9"], "slot 9 does not exist"),
        (["submit", "ingest.everything"], "no task 'ingest.everything' that can be queued by hand"),
        (["submit", "ingest.reconcile", "checksums"], "'checksums' is not of the form key=value"),
        (["submit", "ingest.reconcile", "checksums=maybe"], "checksums = 'maybe' is not of type"),
        (["submit", "ingest.reconcile", "speed=1"], "speed is not an argument of ingest.reconcile"),
        (["submit", "ingest.reindex_l0_file"], "ingest.reindex_l0_file needs filename"),
        (["worker", "ingets"], "no queue 'ingets'; there are: ingest, dark_cal"),
        (["worker", "ingest"], "ACAFLOW_REDIS_URL is not set"),
        (["relay"], "ACAFLOW_REDIS_URL is not set"),
        (["archive", "l0", "--start", "2019:270"], "give --start and --stop, or --obsid"),
        (["archive", "l0", *DAY, "--obsid", "8008"], "give --start and --stop, or --obsid"),
        (["up", "--solo", "--spread"], "exclude each other"),
        (["demo", "--data", ".", "--hours", "3"], "it excludes --data"),
    ],
)
def test_wrong_usage(shell, arguments, words):
    assert words in shell.refused(*arguments, code=2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["jobs", "--state", "tired"], "no state 'tired'; there are: waiting, queued"),
        (["jobs", "--before", "x"], "before = 'x' is no position in a list"),
        (["archive", "l0", "rows", "TMEP", *DAY, "--slot", "3"], "no column 'TMEP'; known: TIME"),
        (["archive", "l0", *DAY, "--slot", "8"], "slot 8 does not exist; slots are 0 to 7"),
    ],
)
def test_questions_that_a_home_cannot_answer(worked, arguments, words):
    assert words in worked.refused(*arguments, code=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["jobs"],
        ["events"],
        ["status"],
        ["db", "check"],
        ["archive", "l0", *DAY],
        ["quarantine"],
        ["health"],
        ["web"],
        ["jobs", "requeue", "12345678"],
        ["jobs", "cancel", "12345678"],
        ["quarantine", "release", "12345678"],
        ["db", "backup"],
    ],
)
def test_a_home_that_does_not_exist_is_not_made_by_the_way(shell, arguments):
    shell.refused(*arguments, code=3)
    assert not shell.home.exists()


def test_nothing_in_the_interval(shell, tmp_path):
    shell.good("ingest", make_l0_file(tmp_path / "files", slot=3))
    span = ("--start", str(BASE_TIME + 9e6), "--stop", str(BASE_TIME + 9.1e6))
    assert "no files there" in shell.refused("archive", "l0", *span, code=3)
    assert "no rows there" in shell.refused(
        "archive", "l0", "rows", "TIME", *span, "--slot", "3", code=3
    )


def test_an_observation_that_no_archive_knows(worked):
    message = worked.refused("archive", "l0", "--obsid", "8008", code=3)
    assert "no archive at" in message
    assert "obspar" in message


def test_an_archive_that_cannot_be_read(worked):
    index = worked.home / "archive/aca0/archfiles.db3"
    index.write_bytes(b"no database" * 100)
    message = worked.refused("archive", "l0", *DAY, code=1)
    assert f"archive index {index} cannot be read" in message


@pytest.mark.parametrize("arguments", [["ingest"], ["db", "upgrade"], ["up"]])
def test_a_home_that_cannot_be_written(shell, tmp_path, arguments):
    # Permission bits do not bind root; a file in the way does.
    (tmp_path / "file").write_text("in the way")
    delivered = [make_l0_file(tmp_path / "files", slot=3)] if arguments == ["ingest"] else []
    message = shell.refused("--home", tmp_path / "file", *arguments, *delivered, code=2)
    assert f"home {tmp_path / 'file'} cannot be written" in message
    assert "set ACAFLOW_HOME" in message


def test_the_home_may_be_named_before_or_after_the_command(shell, tmp_path):
    shell.good("db", "upgrade", "--home", tmp_path / "other")
    shell.good("--home", tmp_path / "other", "db", "check")
    assert not shell.home.exists()


def test_a_ledger_of_a_newer_version(shell):
    shell.good("db", "upgrade")
    connection = sqlite3.connect(shell.home / "state/ledger.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    for arguments in (["jobs"], ["db", "check"], ["db", "upgrade"], ["status"]):
        message = shell.refused(*arguments, code=2)
        assert "has schema 9999" in message
        assert "install a newer acaflow" in message


def test_every_wrong_setting_is_named_at_once(shell, monkeypatch):
    monkeypatch.setenv("ACAFLOW_SPEED", "fast")
    monkeypatch.setenv("ACAFLOW_WEB_PORT", "many")
    message = shell.refused("status", code=2)
    assert "ACAFLOW_SPEED is not a setting; known: dark_combine, " in message
    assert "setting web_port = 'many'" in message


def test_a_wrong_redis_url_is_told_without_its_password(tmp_path):
    answer = call("up", home=tmp_path / "home", ACAFLOW_REDIS_URL="redis://:secret@127.0.0.1:1/0")
    assert answer.code == 2
    [line] = answer.err.splitlines()
    assert line.startswith("acaflow: no Redis at redis://:***@127.0.0.1:1/0")
    assert "correct ACAFLOW_REDIS_URL, or unset it" in line


def test_an_unforeseen_error_is_one_line_unless_asked(shell, monkeypatch, capsys):
    def broken(*_: object) -> None:
        raise RuntimeError("the moon is in the way")

    shell.good("db", "upgrade")
    monkeypatch.setattr(reading, "overview", broken)
    message = shell.refused("status", code=1)
    assert "unforeseen RuntimeError: the moon is in the way" in message
    with pytest.raises(AssertionError, match="Traceback"):
        shell("status", "--verbose")


def test_an_interrupted_command(shell, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    shell.good("db", "upgrade")
    monkeypatch.setattr(reading, "overview", interrupted)
    answer = shell("status")
    assert (answer.code, answer.err.strip()) == (130, "acaflow: interrupted")


def test_output_that_nobody_reads(tmp_path):
    home = tmp_path / "home"
    assert call("db", "upgrade", home=home).code == 0
    process = start("events", "kinds", home=home)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60) == 1
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
