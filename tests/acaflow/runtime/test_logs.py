"""Log lines: readable or JSON, one file per attempt, no passwords."""

from __future__ import annotations

import json
import logging
import re
import sys

import pytest

from acaflow.paths import Home
from acaflow.runtime import logs
from acaflow.runtime.processes import host_id

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ([A-Z]+) +(\S+) (.*)")


@pytest.fixture(autouse=True)
def root_logger():
    """Give the root logger back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)


def test_json_line_has_everything_a_search_needs(capsys, monkeypatch):
    logs.configure("ingest", "json")
    token = logs.subject_of_log.set({"job_id": "j", "attempt": 2})
    logging.getLogger("a.b").warning("read %d of %s", 3, "redis://:secret@host/0")
    logs.subject_of_log.reset(token)
    line = json.loads(capsys.readouterr().err)
    assert line.pop("ts") > 1.7e9
    assert line.pop("pid") > 0
    assert line == {
        "level": "WARNING",
        "logger": "a.b",
        "msg": "read 3 of redis://:***@host/0",
        "service": "ingest",
        "host": host_id(),
        "job_id": "j",
        "attempt": 2,
    }


def test_json_line_carries_the_traceback(capsys):
    logs.configure("ingest", "json")
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        logging.getLogger("a").exception("failed")
    assert "ZeroDivisionError" in json.loads(capsys.readouterr().err)["traceback"]


def test_text_line_is_for_people(capsys):
    logs.configure("ingest", "text")
    logging.getLogger("a.b").info("hello")
    logging.getLogger("a.b").debug("not this")
    match = LINE.fullmatch(capsys.readouterr().err.rstrip("\n"))
    assert match is not None
    assert match.groups() == ("INFO", "a.b", "hello")


@pytest.mark.parametrize("is_terminal, starts", [(True, "2"), (False, "{")])
def test_auto_is_text_on_a_terminal_only(capsys, monkeypatch, is_terminal, starts):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    logs.configure("ingest", "auto")
    logging.getLogger("a").info("hello")
    assert capsys.readouterr().err.startswith(starts)


def test_configuring_twice_writes_once(capsys):
    logs.configure("ingest", "text")
    logs.configure("ingest", "text")
    logging.getLogger("a").info("hello")
    assert capsys.readouterr().err.count("hello") == 1


@pytest.mark.parametrize(
    "text, masked",
    [
        ("postgresql://me:pa55@db:5432/x", "postgresql://me:***@db:5432/x"),
        ("redis://:pa55@host", "redis://:***@host"),
        ("http://host/a:b@c", "http://host/a:b@c"),
        ("two: a://u:p@h b://v:q@i", "two: a://u:***@h b://v:***@i"),
    ],
)
def test_passwords_of_urls_are_hidden(text, masked):
    assert logs.mask(text) == masked


def test_log_of_an_attempt_is_dated_by_its_start(tmp_path):
    # 1 577 836 799 s is 2019-12-31T23:59:59 UTC.
    path = logs.job_log_path(Home(tmp_path), "j", 3, 1577836799.9)
    assert path == tmp_path / "state/logs/jobs/2019/365/j.3.log"


def test_attempt_without_a_line_makes_no_file(tmp_path):
    with logs.attempt_log(tmp_path / "a" / "j.log", {}):
        pass
    assert not (tmp_path / "a").exists()


def test_attempt_log_is_rotated_at_its_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "MAX_LOG_BYTES", 1000)
    logging.getLogger().setLevel(logging.INFO)
    path = tmp_path / "j.log"
    with logs.attempt_log(path, {"job_id": "j"}):
        assert logs.subject_of_log.get() == {"job_id": "j"}
        for i in range(50):
            logging.getLogger("a").info("line %d", i)
    assert logs.subject_of_log.get() == {}
    assert path.stat().st_size <= 1000
    assert path.read_text().endswith("line 49\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["j.log", "j.log.1"]
