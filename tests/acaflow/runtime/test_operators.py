"""What people do to jobs, and that it is written down."""

from __future__ import annotations

import json

import pytest

from acaflow.errors import InputError
from acaflow.runtime import operators
from acaflow.runtime.records import Result
from acaflow.runtime.tables import event
from acaflow.runtime.watch import Watcher
from tests.conftest import NOON
from tests.support.facts import DONE, add, job, jobs, take
from tests.support.memory import drop, open_in_memory

DEAD = Result("failed", "dead", error_class="E", error_text="t")


@pytest.fixture
def runtime(home, sqlite_ledger):
    return open_in_memory(home, sqlite_ledger)


def told(runtime, kind):
    """Payloads of the events of a kind, and who is their source."""
    with runtime.ledger.look() as connection:
        rows = connection.execute(event.select().where(event.c.kind == kind).order_by("id"))
        return [(row.source, row.subject, json.loads(row.payload)) for row in rows]


def dead(runtime, key):
    job_id = add(runtime.ledger, key)
    runtime.ledger.finish(take(runtime.ledger, job_id), DEAD)
    return job_id


# --- submit ---


def test_submitted_job_goes_first_and_knows_its_user(runtime):
    given = operators.submit(runtime, "ingest.backup_ledger", {}, "ada")
    (row,) = jobs(runtime.ledger)
    assert given == operators.Submitted(row.event_id, (row.id,), is_new=True)
    assert (row.priority, row.max_attempts, row.requested_by) == (0, 2, "ada")
    ((source, _, payload),) = told(runtime, "job.requested")
    assert source == "cli:ada"
    assert payload == {
        "task": "ingest.backup_ledger",
        "args": {},
        "user": "ada",
        "not_before": None,
        "batch_id": None,
    }


def test_same_request_is_answered_with_the_job_that_does_it(runtime):
    first = operators.submit(runtime, "ingest.reindex_l0_file", {"filename": "a.fits.gz"}, "ada")
    again = operators.submit(runtime, "ingest.reindex_l0_file", {"filename": "a.fits.gz"}, "bob")
    assert (again.job_ids, again.is_new) == (first.job_ids, False)
    forced = operators.submit(
        runtime, "ingest.reindex_l0_file", {"filename": "a.fits.gz"}, "bob", force=True
    )
    assert forced.is_new and forced.job_ids != first.job_ids


def test_request_that_joins_a_waiting_job_names_it(runtime):
    first = operators.submit(runtime, "ingest.reconcile", {}, "ada", force=True)
    second = operators.submit(runtime, "ingest.reconcile", {}, "bob", force=True)
    assert second.is_new
    assert second.job_ids == first.job_ids
    assert len(jobs(runtime.ledger)) == 1


def test_request_for_later_waits(runtime):
    operators.submit(runtime, "ingest.backup_ledger", {}, "ada", not_before=NOON + 500.0)
    (row,) = jobs(runtime.ledger)
    assert row.not_before == NOON + 500.0
    assert runtime.transport.hints == []


@pytest.mark.parametrize(
    "task, values, message",
    [
        ("ingest.nothing", {}, "no task 'ingest.nothing' that can be queued by hand; there are: "),
        ("ingest.aca_l0_file", {}, "no task 'ingest.aca_l0_file' that can be queued by hand"),
        ("ingest.reindex_l0_file", {}, "ingest.reindex_l0_file needs filename (str)"),
        ("ingest.reconcile", {"checksums": "maybe"}, "checksums = 'maybe' is not of type bool"),
    ],
)
def test_wrong_request_is_refused(runtime, task, values, message):
    with pytest.raises(InputError) as refused:
        operators.submit(runtime, task, values, "ada")
    assert str(refused.value).startswith(message)
    assert jobs(runtime.ledger) == []


# --- cancel ---


def test_waiting_job_is_cancelled_at_once(runtime):
    job_id = add(runtime.ledger, "k")
    assert operators.cancel(runtime, job_id, "ada", "a mistake") == "cancelled"
    row = job(runtime.ledger, job_id)
    assert (row.state, row.finished_at) == ("cancelled", NOON)
    assert runtime.ledger.claim(job_id, "w") == "duplicate"
    assert told(runtime, "operator.cancel") == [
        ("web:ada", f"job:{job_id}", {"user": "ada", "jobs": [job_id], "reason": "a mistake"})
    ]


def test_cancelled_arrival_is_filed_away(runtime):
    Watcher(runtime).take(drop(runtime.home, "a.txt", b"x"))
    (row,) = jobs(runtime.ledger)
    operators.cancel(runtime, row.id, "ada")
    assert list(runtime.home.taken.iterdir()) == []
    assert [p.name for p in runtime.home.processed.rglob("*.txt")] == [f"{row.event_id}.a.txt"]


def test_running_job_is_asked_to_stop(runtime):
    job_id = add(runtime.ledger, "k")
    claim = take(runtime.ledger, job_id)
    assert operators.cancel(runtime, job_id, "ada") == "running"
    assert runtime.ledger.holds(claim) == 0


def test_ended_job_cannot_be_cancelled(runtime):
    job_id = add(runtime.ledger, "k")
    runtime.ledger.finish(take(runtime.ledger, job_id), DONE)
    assert operators.cancel(runtime, job_id, "ada") == "done"


# --- requeue, undo, drop, raise ---


def test_requeue_gives_new_attempts_and_keeps_the_numbers(runtime):
    dead_job, other = dead(runtime, "a"), add(runtime.ledger, "b")
    batch, changed = operators.requeue(runtime, [dead_job, other], "ada", "fixed")
    assert changed == [dead_job]
    row = job(runtime.ledger, dead_job)
    assert (row.state, row.attempts, row.max_attempts, row.batch_id) == ("waiting", 1, 3, batch)
    assert (row.not_before, row.sent_at, row.finished_at) == (NOON, None, None)
    assert take(runtime.ledger, dead_job).n == 2
    ((source, subject, payload),) = told(runtime, "operator.requeue")
    assert (source, subject, payload["reason"]) == ("web:ada", "jobs:2", "fixed")


def test_bulk_requeue_can_be_undone_while_it_waits(runtime, clock):
    ids = [dead(runtime, key) for key in "abc"]
    batch, _ = operators.requeue(runtime, ids, "ada", delay_s=operators.UNDO_S)
    assert operators.undo(runtime, batch, "ada") == 3
    assert {job(runtime.ledger, key).state for key in ids} == {"dead"}
    batch, _ = operators.requeue(runtime, ids, "ada", delay_s=operators.UNDO_S)
    clock.advance(operators.UNDO_S)
    assert operators.undo(runtime, batch, "ada") == 0
    with pytest.raises(InputError, match=r"no requeue nothing, or nothing of it waits"):
        operators.undo(runtime, "nothing", "ada")


def test_dropped_job_leaves_the_list_of_dead_ones(runtime):
    dead_job, waiting = dead(runtime, "a"), add(runtime.ledger, "b")
    assert operators.drop(runtime, [dead_job, waiting], "ada") == [dead_job]
    assert job(runtime.ledger, dead_job).state == "cancelled"
    assert job(runtime.ledger, waiting).state == "waiting"


def test_raised_job_is_sent_again_before_all_others(runtime):
    job_id = add(runtime.ledger, "k", priority=9)
    assert operators.raise_priority(runtime, job_id, "ada") is True
    (hint,) = runtime.ledger.release("ingest", 10)
    assert (hint.job_id, hint.priority) == (job_id, 0)
    take(runtime.ledger, job_id)
    assert operators.raise_priority(runtime, job_id, "ada") is False
