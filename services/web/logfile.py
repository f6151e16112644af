"""The log file of an attempt as lines for the page: the last ones, and what came since."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

__all__ = ["Line", "Tail", "read_tail"]

LAST_LINES = 500
MOST_BYTES = 256 * 1024
"""Of a file's end that one page shows."""

_LINE = re.compile(
    r"(?P<stamp>\d{4}-\d\d-\d\dT(?P<clock>\d\d:\d\d:\d\d\.\d{3})Z) (?P<level>[A-Z]+) +"
    r"(?P<logger>\S+) (?P<words>.*)"
)
_PROGRESS = re.compile(r"progress (\d+)/(\d+) ?(.*)")


@dataclass(frozen=True)
class Line:
    """One line; what continues a message (a traceback) has its level and no time."""

    number: int
    stamp: str
    clock: str
    level: str
    logger: str
    words: str


@dataclass(frozen=True)
class Tail:
    """The end of a log.

    Attributes
    ----------
    lines : list of Line
        At most `LAST_LINES`.
    offset : int
        Bytes read so far; where the next look begins.
    size : int
        Bytes of the file.
    """

    lines: list[Line]
    offset: int
    size: int

    @property
    def last(self) -> int:
        """Number of the last line."""
        return self.lines[-1].number if self.lines else 0

    @property
    def progress(self) -> tuple[int, int, str] | None:
        """Done, total and note of the newest progress line."""
        for line in reversed(self.lines):
            match = _PROGRESS.fullmatch(line.words)
            if match is not None:
                return int(match[1]), int(match[2]), match[3]
        return None


def read_tail(path: Path, offset: int = 0, last: int = 0) -> Tail:
    """Read the end of a log, or what came after an earlier look.

    Parameters
    ----------
    path : Path
        The file; absent means empty (it is made with its first line).
    offset, last : int
        `Tail.offset` and `Tail.last` of the earlier look.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if offset > size:  # the file was begun anew
                offset = last = 0
            start = max(offset, size - MOST_BYTES)
            skipped = _count_lines(file, offset, start)
            file.seek(start)
            data = file.read(size - start)
    except FileNotFoundError:
        return Tail([], 0, 0)
    if start > offset:
        data = data.partition(b"\n")[2]
        skipped += 1
    whole = data[: data.rfind(b"\n") + 1]
    texts = whole.decode("utf-8", "replace").splitlines()
    first = last + skipped + max(len(texts) - LAST_LINES, 0) + 1
    return Tail(_parse(texts[-LAST_LINES:], first), size - len(data) + len(whole), size)


def _count_lines(file: BinaryIO, start: int, stop: int) -> int:
    count = 0
    file.seek(start)
    while start < stop:
        block = file.read(min(1 << 20, stop - start))
        count += block.count(b"\n")
        start += len(block)
    return count


def _parse(texts: list[str], first: int) -> list[Line]:
    lines: list[Line] = []
    level = "INFO"
    for number, written in enumerate(texts, first):
        match = _LINE.fullmatch(written)
        if match is None:
            lines.append(Line(number, "", "", level, "", written))
        else:
            level = match["level"]
            lines.append(Line(number, **match.groupdict()))
    return lines
