"""The end of a log: numbers of lines, offsets, tracebacks, lines still being written."""

from __future__ import annotations

from pathlib import Path

from services.web import logfile
from services.web.logfile import read_tail

STAMP = "2023-11-14T22:13:20.204Z"


def write(path: Path, *lines: str, end: str = "\n") -> Path:
    path.write_text("\n".join(lines) + end, encoding="utf-8")
    return path


def test_a_line_is_taken_apart(tmp_path: Path):
    path = write(tmp_path / "x.log", f"{STAMP} WARNING  ingest.aca_l0_file 2 of 1568 rows: µ")
    (line,) = read_tail(path).lines
    assert (line.number, line.clock, line.level) == (1, "22:13:20.204", "WARNING")
    assert (line.stamp, line.logger, line.words) == (
        STAMP,
        "ingest.aca_l0_file",
        "2 of 1568 rows: µ",
    )


def test_a_traceback_keeps_the_level_of_its_message(tmp_path: Path):
    path = write(tmp_path / "x.log", f"{STAMP} ERROR    a b", "Traceback:", f"{STAMP} INFO     a c")
    lines = read_tail(path).lines
    assert [(line.level, line.words) for line in lines] == [
        ("ERROR", "b"),
        ("ERROR", "Traceback:"),
        ("INFO", "c"),
    ]


def test_no_file_is_an_empty_log(tmp_path: Path):
    assert read_tail(tmp_path / "none.log") == logfile.Tail([], 0, 0)


def test_only_the_last_lines_are_given_with_their_numbers(tmp_path: Path):
    path = write(tmp_path / "x.log", *(f"line {n}" for n in range(1, 1201)))
    lines = read_tail(path).lines
    assert (len(lines), lines[0].number, lines[0].words) == (500, 701, "line 701")
    assert (lines[-1].number, lines[-1].words) == (1200, "line 1200")


def test_numbers_stay_right_in_a_large_file(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(logfile, "MOST_BYTES", 1000)
    path = write(tmp_path / "x.log", *(f"line {n:06}" for n in range(1, 5001)))
    lines = read_tail(path).lines
    assert all(line.words == f"line {line.number:06}" for line in lines)
    assert lines[-1].number == 5000 and len(lines) == 83  # 1000 // 12


def test_a_second_look_gives_only_what_came(tmp_path: Path):
    path = write(tmp_path / "x.log", "one", "two")
    first = read_tail(path)
    assert (first.last, first.offset, first.size) == (2, 8, 8)
    with path.open("a") as file:
        file.write("three\nfou")
    second = read_tail(path, first.offset, first.last)
    assert [(line.number, line.words) for line in second.lines] == [(3, "three")]
    assert second.offset == 14
    with path.open("a") as file:
        file.write("r\n")
    third = read_tail(path, second.offset, second.last)
    assert [(line.number, line.words) for line in third.lines] == [(4, "four")]


def test_a_file_begun_anew_is_read_from_its_start(tmp_path: Path):
    path = write(tmp_path / "x.log", "new")
    again = read_tail(path, 5000, 300)
    assert [(line.number, line.words) for line in again.lines] == [(1, "new")]


def test_the_newest_progress_line_counts(tmp_path: Path):
    lines = [f"{STAMP} INFO     t progress {n}/5 decoding" for n in (1, 2)]
    path = write(tmp_path / "x.log", *lines, f"{STAMP} INFO     t other words")
    assert read_tail(path).progress == (2, 5, "decoding")
    assert read_tail(write(tmp_path / "y.log", "nothing")).progress is None
