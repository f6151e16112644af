"""What goes into the ledger and comes out of it: frozen records and their ids."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "CLAIMED",
    "TERMINAL",
    "Claim",
    "Hint",
    "NewEvent",
    "NewJob",
    "NewProduct",
    "Recorded",
    "Result",
    "canonical_json",
    "id_time",
    "new_id",
]

TERMINAL = ("done", "skipped", "dead", "cancelled")
"""Job states that nothing but a person changes."""


def new_id(now: float | None = None) -> str:
    """Return a UUIDv7: 48 bits of milliseconds, then random bits."""
    stamp = int((time.time() if now is None else now) * 1000)
    random = int.from_bytes(os.urandom(10), "big")
    # Version 7 in bits 76-79, variant 10 in bits 62-63; everything else stays random.
    value = stamp << 80 | random & ~(0xF << 76 | 0x3 << 62) | 0x7 << 76 | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def id_time(identity: str) -> float:
    """Return the time (epoch s) inside a UUIDv7."""
    return int(identity.replace("-", "")[:12], 16) / 1000


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys: the same value is always the same text."""
    return _encode(value)


@dataclass(frozen=True)
class NewJob:
    """A job that an event causes; `messages` fills it from the routing table."""

    task: str
    queue: str
    args: Mapping[str, Any]
    subject: str
    priority: int
    max_attempts: int = 5
    lock_key: str | None = None
    coalesce_key: str | None = None
    delay_s: float = 0.0
    max_wait_s: float = 600.0
    batch_id: str | None = None
    requested_by: str | None = None


@dataclass(frozen=True)
class NewEvent:
    """A fact to record, with the jobs it causes."""

    kind: str
    schema: int
    dedupe_key: str
    subject: str
    payload: Mapping[str, Any]
    source: str
    jobs: Sequence[NewJob] = ()
    id: str = field(default_factory=new_id)
    parent_event_id: str | None = None
    cause_job_id: str | None = None
    occurred_at: float | None = None


@dataclass(frozen=True)
class NewProduct:
    """A file that an attempt read (``in``) or published (``out``); path is archive-relative."""

    role: str
    kind: str
    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Hint:
    """What a message needs; sending it changes no state."""

    job_id: str
    task: str
    queue: str
    priority: int
    after_timeout: bool = False


@dataclass(frozen=True)
class Recorded:
    """What `Ledger.record` did.

    Attributes
    ----------
    new : list of str
        Ids of events that did not exist before.
    known : dict
        dedupe key -> id of the event that exists already.
    hints : list of Hint
        To send after COMMIT.
    """

    new: list[str]
    known: dict[str, str]
    hints: list[Hint]


@dataclass(frozen=True)
class Claim:
    """A job in the hands of one attempt; ``n`` is the fencing token."""

    job_id: str
    n: int
    max_attempts: int
    task: str
    queue: str
    args: dict[str, Any]
    subject: str
    lock_key: str | None
    event_id: str
    priority: int
    started_at: float
    owner: str
    requested_by: str | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Claim:
        """Make the claim of a job row, read as `CLAIMED`."""
        return cls(**{**row, "args": json.loads(row["args"])})


CLAIMED = """id AS job_id, attempts AS n, max_attempts, task, queue, args, subject, lock_key,
    event_id, priority, started_at, owner, requested_by"""
"""The columns of ``job`` that are a `Claim`."""


@dataclass(frozen=True)
class Result:
    """How an attempt ended, and what becomes of its job.

    ``outcome`` is one of ok, skipped, retry, failed, lost, timeout, cancelled; ``state`` the
    new job state; ``delay_s`` applies to ``waiting``; ``more_attempts`` raises the limit.
    """

    outcome: str
    state: str
    delay_s: float = 0.0
    more_attempts: int = 0
    error_class: str | None = None
    error_text: str | None = None
    traceback: str | None = None
    products: Sequence[NewProduct] = ()
    events: Sequence[NewEvent] = ()
    code_version: str | None = None
    log_path: str | None = None
    cpu_s: float | None = None
    max_rss_kb: int | None = None
