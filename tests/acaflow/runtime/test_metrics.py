"""The numbers of the metrics page, on both databases."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from acaflow.runtime import metrics
from acaflow.runtime.records import Hint, Result
from tests.conftest import NOON
from tests.support.facts import DONE, add, an_event, change, take
from tests.support.memory import open_in_memory


@pytest.fixture
def runtime(home, ledger):
    return open_in_memory(home, ledger)


def _page(runtime) -> dict[str, float]:
    lines = metrics.render(runtime).decode().splitlines()
    return {
        name: float(value)
        for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")
    }


def test_events_of_a_day_by_kind(runtime, clock):
    runtime.ledger.record([an_event("old", kind="a")])
    clock.advance(86401.0)
    runtime.ledger.record([an_event(f"e{n}", kind="b" if n else "no longer known") for n in (0, 1)])
    runtime.ledger.record([an_event("e2", kind="b")])
    found = {key: value for key, value in _page(runtime).items() if "events" in key}
    assert found == {
        'acaflow_events{kind="a"}': 0.0,
        'acaflow_events{kind="b"}': 2.0,
        'acaflow_events{kind="no longer known"}': 1.0,
    }


def test_jobs_by_what_became_of_them(runtime, clock):
    ledger = runtime.ledger
    ledger.finish(take(ledger, add(ledger, "yesterday")), DONE)
    clock.advance(86401.0)
    for n, state in enumerate(("done", "done", "skipped", "dead")):
        ended = Result("ok", state, error_class="BadInput" if state == "dead" else None)
        ledger.finish(take(ledger, add(ledger, f"e{n}")), ended)
    take(ledger, add(ledger, "running", queue="stats"))
    page = _page(runtime)
    assert {key: value for key, value in page.items() if "ended" in key} == {
        'acaflow_jobs_ended{queue="ingest",state="done"}': 2.0,
        'acaflow_jobs_ended{queue="ingest",state="skipped"}': 1.0,
        'acaflow_jobs_ended{queue="ingest",state="dead"}': 1.0,
    }
    assert page['acaflow_dead_jobs{error_class="BadInput",queue="ingest"}'] == 1.0
    assert page['acaflow_jobs_running{queue="stats"}'] == 1.0
    assert page['acaflow_jobs_waiting{queue="ingest"}'] == 0.0
    assert not any("oldest_due" in key or "resent" in key for key in page)


def test_jobs_that_wait_sent_or_not(runtime, clock):
    ledger = runtime.ledger
    sent, unsent = add(ledger, "sent"), add(ledger, "unsent", priority=9)
    add(ledger, "later", delay_s=5000.0)
    add(ledger, "elsewhere", queue="vv", delay_s=10.0)
    change(ledger, "UPDATE job SET sent_at = :t, sends = 2 WHERE id = :id", id=sent, t=NOON + 1.0)
    change(ledger, "UPDATE job SET sent_at = NULL WHERE id = :id", id=unsent)
    change(ledger, "UPDATE job SET not_before = :t WHERE id = :id", id=unsent, t=NOON - 7.0)
    clock.advance(100.0)
    page = _page(runtime)
    assert page['acaflow_jobs_waiting{queue="ingest"}'] == 3.0
    assert page['acaflow_jobs_waiting{queue="vv"}'] == 1.0
    assert page['acaflow_oldest_due_job_seconds{queue="ingest"}'] == 107.0
    assert page['acaflow_oldest_due_job_seconds{queue="vv"}'] == 90.0
    assert page['acaflow_jobs_resent{queue="ingest"}'] == 1.0
    change(ledger, "UPDATE job SET not_before = :t WHERE id = :id", id=unsent, t=NOON + 90.0)
    assert _page(runtime)['acaflow_oldest_due_job_seconds{queue="ingest"}'] == 100.0


def test_processes_and_messages(runtime, clock):
    runtime.transport.send([Hint("j", "ingest.try", "ingest", 3)])
    clock.advance(12.0)
    page = _page(runtime)
    assert page[f'acaflow_process_last_beat_seconds{{process="{runtime.me.name}"}}'] == 12.0
    assert page['acaflow_queue_messages{queue="ingest"}'] == 1.0


@pytest.mark.parametrize(
    ("gauge", "indexes"),
    [
        (metrics._GAUGES[0], {"event_kind"}),
        (metrics._GAUGES[1], {"job_ended"}),
        (metrics._GAUGES[2], {"job_release", "job_sent"}),
        (metrics._GAUGES[5], {"job_release", "job_sent"}),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_indexes_serve_the_large_counts(sqlite_ledger, gauge, indexes):
    values = {"queue": "ingest", "day": NOON, "now": NOON}
    with sqlite_ledger.look() as connection:
        plan = connection.execute(sa.text(f"EXPLAIN QUERY PLAN {gauge[3]}"), values)
        steps = [row[3] for row in plan if " USING " in row[3] or row[3].startswith("SCAN ")]
    assert {index for index in indexes for step in steps if index in step} == indexes
    assert not [step for step in steps if step.startswith(("SCAN event", "SCAN job", "SCAN e "))]
