"""Events and jobs for ledger tests, and what the ledger then holds."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from acaflow.runtime.ledger import Ledger
from acaflow.runtime.records import Claim, NewEvent, NewJob, Result
from acaflow.runtime.tables import job as job_table

DONE = Result("ok", "done")
RETRY = Result("retry", "waiting")
LOST = Result("lost", "waiting")


def a_job(**more: Any) -> NewJob:
    """A job of queue ``ingest``; everything may be overridden."""
    plain = {"task": "ingest.try", "queue": "ingest", "args": {}, "subject": "s", "priority": 3}
    return NewJob(**{**plain, **more})


def an_event(key: str, *jobs: NewJob, **more: Any) -> NewEvent:
    """An event with dedupe key `key`."""
    plain = {"kind": "k", "schema": 1, "subject": "s", "payload": {}, "source": "test"}
    return NewEvent(dedupe_key=key, jobs=jobs, **{**plain, **more})


def gate(key: str, debounce_s: float = 0.0, **more: Any) -> NewJob:
    """A coalesced job."""
    return a_job(task="ingest.gate", coalesce_key=key, lock_key=key, delay_s=debounce_s, **more)


def add(ledger: Ledger, key: str, **more: Any) -> str:
    """Record one event with one job; return the job's id."""
    (event_id,) = ledger.record([an_event(key, a_job(**more))]).new
    return str(only(ledger, job_table.c.event_id == event_id).id)


def jobs(ledger: Ledger, *where: Any) -> list[Any]:
    """Job rows in the order in which they were made."""
    with ledger.look() as connection:
        return list(connection.execute(job_table.select().where(*where).order_by("created_at")))


def only(ledger: Ledger, *where: Any) -> Any:
    """The only such job row."""
    (row,) = jobs(ledger, *where)
    return row


def job(ledger: Ledger, job_id: str) -> Any:
    """One job row."""
    return only(ledger, job_table.c.id == job_id)


def take(ledger: Ledger, job_id: str, owner: str = "w") -> Claim:
    """Claim a job that can be claimed."""
    claim = ledger.claim(job_id, owner)
    assert isinstance(claim, Claim), claim
    return claim


def count(ledger: Ledger, table: sa.Table) -> int:
    """Rows of a table."""
    with ledger.look() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)


def change(ledger: Ledger, statement: str, **values: Any) -> None:
    """Write to the ledger behind its back."""
    with ledger.engine.begin() as connection:
        connection.execute(sa.text(statement), values)
