"""Log lines: readable on a terminal, JSON elsewhere, and a file of its own for each attempt.

The lines of an attempt's file are ``2026-11-20T06:58:41.204Z INFO     logger message``; whatever
any library logs while the attempt runs is in it. The file is made with its first line.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from acaflow.paths import Home
from acaflow.runtime.processes import host_id

__all__ = ["attempt_log", "configure", "job_log_path", "mask", "subject_of_log"]

MAX_LOG_BYTES = 20_000_000
_CREDENTIALS = re.compile(r"(\w+://[^/\s:@]*:)[^@/\s]+@")

subject_of_log: ContextVar[dict[str, Any]] = ContextVar("subject_of_log", default={})  # noqa: B039
"""Job id, attempt, event id, subject and task of the attempt that runs here."""


def mask(text: str) -> str:
    """Hide the passwords of URLs."""
    return _CREDENTIALS.sub(r"\1***@", text)


class _Text(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{whole}.{int(record.msecs):03d}Z"

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record))


class _Json(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "ts": round(record.created, 3),
            "level": record.levelname,
            "logger": record.name,
            "msg": record.getMessage(),
            "service": self.service,
            "host": host_id(),
            "pid": record.process,
            **subject_of_log.get(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return mask(json.dumps(line, ensure_ascii=False, default=str))


_LINE = "%(asctime)s %(levelname)-8s %(name)s %(message)s"


def configure(service: str, log_format: str = "auto", level: int = logging.INFO) -> None:
    """Set up the root logger of this process, once, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    readable = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    handler.setFormatter(_Text(_LINE) if readable else _Json(service))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for chatty in ("celery.worker.strategy", "celery.app.trace", "alembic", "watchdog", "kombu"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.captureWarnings(True)


def job_log_path(home: Home, job_id: str, n: int, started_at: float) -> Path:
    """Return the log file of an attempt: ``logs/jobs/YYYY/DOY/<job id>.<n>.log``."""
    day = time.strftime("%Y/%j", time.gmtime(started_at))
    return home.logs / f"jobs/{day}/{job_id}.{n}.log"


class _AttemptFile(RotatingFileHandler):
    """Opens its file with the first record, the folder included."""

    def _open(self) -> Any:
        os.makedirs(os.path.dirname(self.baseFilename), exist_ok=True)  # noqa: PTH103, PTH120
        return super()._open()


@contextmanager
def attempt_log(path: Path, subject: dict[str, Any]) -> Iterator[None]:
    """Send everything logged inside the block to `path` as well, with `subject` attached."""
    handler = _AttemptFile(path, maxBytes=MAX_LOG_BYTES, backupCount=1, delay=True)
    handler.setFormatter(_Text(_LINE))
    root = logging.getLogger()
    token = subject_of_log.set(subject)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
        subject_of_log.reset(token)
