"""Recorders and workers as real processes on PostgreSQL (task-queue 17.1, last paragraph).

Run as a program this file is one of them: ``python test_ledger_processes.py ROLE URL SEED``.
Lost triggers are looked for as they would hurt: files come first, then the trigger; the gate
counts the files; the last count must be all of them.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest
import sqlalchemy as sa

from acaflow.runtime.ledger import Ledger
from acaflow.runtime.records import Claim, NewEvent, Result
from acaflow.runtime.schema import upgrade
from acaflow.runtime.tables import event
from tests.support.facts import DONE, a_job, an_event, count, gate, jobs
from tests.support.servers import wait_until

KEYS = 60
PATIENCE_S = 60.0
_TABLES = "CREATE TABLE arrived (n integer); CREATE TABLE counted (n integer)"
_OPEN = sa.text("SELECT id FROM job WHERE state IN ('waiting', 'running')")
_START = sa.text("SELECT pg_advisory_xact_lock_shared(1)")
_AT_START = sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")


def record_all(ledger: Ledger, chance: random.Random) -> None:
    """Record every key, a few at a time, in an order of our own."""
    keys = chance.sample(range(KEYS), KEYS)
    while keys:
        few = [keys.pop() for _ in range(min(len(keys), chance.randint(1, 5)))]
        lock = {key: f"lock{key % 3}" if key % 2 else None for key in few}
        ledger.record([an_event(f"key{key}", a_job(lock_key=lock[key])) for key in few])


def work_until_quiet(ledger: Ledger, chance: random.Random) -> None:
    """Claim random open jobs until all keys are recorded and nothing is open."""
    while True:
        is_recorded = count(ledger, event) >= KEYS
        with ledger.look() as connection:
            ids = connection.execute(_OPEN).scalars().all()
        if ids:
            claim = ledger.claim(chance.choice(ids), f"pid{os.getpid()}")
            if isinstance(claim, Claim):
                ledger.finish(claim, _step(ledger, claim, chance))
        elif is_recorded:
            return


def _step(ledger: Ledger, claim: Claim, chance: random.Random) -> Result:
    if claim.task == "ingest.gate":
        _execute(ledger, "INSERT INTO counted SELECT count(*) FROM arrived")
        return DONE
    if chance.random() < 0.1:
        return Result("retry", "waiting")
    _execute(ledger, "INSERT INTO arrived VALUES (1)")
    return Result("ok", "done", events=[_trigger(claim)])


def _trigger(claim: Claim) -> NewEvent:
    return an_event(f"trigger {claim.job_id}", gate("shared"), cause_job_id=claim.job_id)


def _execute(ledger: Ledger, statement: str) -> None:
    with ledger.engine.begin() as connection:
        connection.execute(sa.text(statement))


@pytest.fixture
def ledger(postgres_url):
    made = Ledger(postgres_url)
    upgrade(made)
    yield made
    made.engine.dispose()


@pytest.mark.postgres
def test_four_recorders_and_four_workers(ledger):
    for statement in _TABLES.split(";"):
        _execute(ledger, statement)
    url = ledger.url.render_as_string(hide_password=False)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with ledger.engine.begin() as holder:  # of the lock that all wait for before they start
        holder.execute(sa.text("SELECT pg_advisory_xact_lock(1)"))
        processes = [
            subprocess.Popen(
                [sys.executable, __file__, role, url, str(seed)],
                env=environment,
                stderr=subprocess.PIPE,
                text=True,
            )
            for role in ("record", "work")
            for seed in range(4)
        ]
        wait_until(lambda: holder.scalar(_AT_START) == 8, "eight processes at the start")
    try:
        errors = [process.communicate(timeout=PATIENCE_S)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert errors == [""] * 8
    rows = jobs(ledger)
    assert sum(row.task == "ingest.try" for row in rows) == KEYS
    assert {row.state for row in rows} == {"done"}
    with ledger.look() as connection:
        arrived = connection.scalar(sa.text("SELECT count(*) FROM arrived"))
        counted = connection.scalar(sa.text("SELECT max(n) FROM counted"))
    assert (arrived, counted) == (KEYS, KEYS)


if __name__ == "__main__":
    role, url, seed = sys.argv[1:]
    mine = Ledger(url)
    with mine.engine.begin() as connection:
        connection.execute(_START)
    {"record": record_all, "work": work_until_quiet}[role](mine, random.Random(int(seed)))
