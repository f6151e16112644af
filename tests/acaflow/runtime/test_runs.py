"""One attempt of one job: what each failure makes of it, and what a step may ask for."""

from __future__ import annotations

import errno
import logging
import sqlite3
from dataclasses import dataclass, replace

import pytest
import sqlalchemy as sa
from billiard.exceptions import SoftTimeLimitExceeded

from acaflow import __version__
from acaflow.errors import (
    ArchiveConflictError,
    ConfigError,
    CorruptFileError,
    InputError,
    MissingDataError,
    NotReadyError,
    PipelineError,
    RemoteUnavailableError,
    SchemaError,
    StorageBusyError,
    TransientError,
)
from acaflow.runtime import core, messages, operators, runs
from acaflow.runtime.core import MemoryTransport
from acaflow.runtime.messages import AcaL0Updated, Task
from acaflow.runtime.records import Claim, Hint, Result, new_id
from acaflow.runtime.runs import Skipped, judge_loss, run_job
from acaflow.runtime.tables import attempt, event, product
from tests.conftest import NOON
from tests.support.facts import DONE, a_job, add, an_event, job, take
from tests.support.memory import open_in_memory

SHA = "5" * 64


@dataclass(frozen=True)
class TryArgs:
    number: int = 1
    path: str = ""
    sha256: str = ""


@pytest.fixture
def runtime(home, sqlite_ledger, monkeypatch, caplog):
    caplog.set_level(logging.INFO)  # as in a worker
    monkeypatch.setitem(messages.TASKS, "ingest.try", Task("ingest.try", "ingest", TryArgs, "Try"))
    return open_in_memory(home, sqlite_ledger)


def raising(error):
    def step(ctx, **args):
        raise error

    return step


def attempts(runtime, job_id):
    query = attempt.select().where(attempt.c.job_id == job_id).order_by("n")
    with runtime.ledger.look() as connection:
        return list(connection.execute(query))


def rows(runtime, table):
    with runtime.ledger.look() as connection:
        return list(connection.execute(table.select().order_by("id")))


def run_again(runtime, job_id, step):
    """Run a job whose delay is over."""
    with runtime.ledger.engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE job SET not_before = :now WHERE id = :id"), {"now": NOON, "id": job_id}
        )
    return run_job(job_id, step, runtime)


# --- good ends ---


def test_done_job_has_products_attempt_log_and_no_staging(runtime):
    job_id = add(runtime.ledger, "k", args={"number": 7})
    given = []

    def step(ctx, number, path, sha256):
        given.append(number)
        staged = ctx.stage("made.txt")
        staged.write_text("abc")
        ctx.fence("target")
        ctx.place(staged, ctx.home.archive / "try" / "made.txt")
        ctx.publish("try", ctx.home.archive / "try" / "made.txt")
        ctx.log.info("made %d", number)

    assert run_job(job_id, step, runtime) == "ok"
    assert given == [7]
    row = job(runtime.ledger, job_id)
    assert (row.state, row.attempts, row.owner, row.finished_at) == ("done", 1, None, NOON)
    (made,) = rows(runtime, product)
    assert (made.role, made.kind, made.path, made.size) == ("out", "try", "try/made.txt", 3)
    # SHA-256 of "abc": the first example of FIPS 180-2.
    assert made.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (ended,) = attempts(runtime, job_id)
    assert (ended.n, ended.outcome, ended.code_version) == (1, "ok", __version__)
    assert ended.log_path == f"state/logs/jobs/2023/318/{job_id}.1.log"
    assert (runtime.home.root / ended.log_path).read_text().endswith("made 7\n")
    assert list(runtime.home.work.iterdir()) == []


def test_nothing_to_do_is_skipped_with_its_reason(runtime):
    job_id = add(runtime.ledger, "k")
    assert run_job(job_id, lambda ctx, **_: Skipped("3 of 5 replicas"), runtime) == "skipped"
    row = job(runtime.ledger, job_id)
    assert (row.state, row.error_text, row.error_class) == ("skipped", "3 of 5 replicas", None)


def test_second_delivery_of_a_hint_runs_nothing(runtime):
    job_id = add(runtime.ledger, "k")
    assert run_job(job_id, lambda ctx, **_: None, runtime) == "ok"
    assert run_job(job_id, raising(AssertionError), runtime) == "duplicate"
    assert len(attempts(runtime, job_id)) == 1


def test_job_of_a_held_lock_is_busy_and_follows_when_the_holder_ends(runtime):
    holder = add(runtime.ledger, "a", lock_key="l")
    second = add(runtime.ledger, "b", lock_key="l")
    claim = take(runtime.ledger, holder)
    assert run_job(second, raising(AssertionError), runtime) == "busy"
    assert [hint.job_id for hint in runtime.ledger.finish(claim, DONE)] == [second]


def test_hints_of_follow_up_jobs_are_sent_after_the_commit(runtime):
    first = add(runtime.ledger, "a", lock_key="l")
    second = add(runtime.ledger, "b", lock_key="l")
    runtime.transport.hints.clear()
    run_job(first, lambda ctx, **_: None, runtime)
    assert runtime.transport.hints == [Hint(second, "ingest.try", "ingest", 3)]


# --- task-queue 9: what a failure becomes ---


@pytest.mark.parametrize("error", [TransientError("x"), RemoteUnavailableError("x")])
@pytest.mark.parametrize("n, base_s", [(1, 10.0), (2, 20.0), (4, 80.0)])
def test_transient_failure_waits_for_a_backoff(runtime, n, base_s, error):
    job_id = add(runtime.ledger, "k")
    for _ in range(n):
        assert run_again(runtime, job_id, raising(error)) == "retry"
    row = job(runtime.ledger, job_id)
    assert 0.5 * base_s <= row.not_before - NOON <= 1.5 * base_s
    assert (row.state, row.attempts, row.max_attempts, row.sent_at) == ("waiting", n, 5, None)
    assert (row.error_class, row.error_text) == (type(error).__name__, "x")


def test_backoff_is_spread_and_capped(runtime):
    claim = take(runtime.ledger, add(runtime.ledger, "k", max_attempts=99))
    late = replace(claim, n=60)
    delays = {runs._backoff_s(late) for _ in range(50)}
    assert len(delays) == 50
    assert min(delays) >= 1800.0 and max(delays) <= 5400.0


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "bad"),
        sqlite3.OperationalError("database is locked"),
        StorageBusyError("full"),
    ],
)
def test_failing_surroundings_are_transient(runtime, error):
    job_id = add(runtime.ledger, "k", max_attempts=2)
    assert run_job(job_id, raising(error), runtime) == "retry"
    assert run_again(runtime, job_id, raising(error)) == "dead"
    assert [row.outcome for row in attempts(runtime, job_id)] == ["retry", "failed"]


def test_transient_failure_of_the_last_attempt_is_dead_and_announced(runtime):
    job_id = add(runtime.ledger, "k", max_attempts=1)
    assert run_job(job_id, raising(TransientError("gone")), runtime) == "dead"
    row = job(runtime.ledger, job_id)
    assert (row.error_class, row.error_text, row.finished_at) == ("TransientError", "gone", NOON)
    (told,) = [item for item in rows(runtime, event) if item.kind == "job.dead"]
    assert told.payload == f'{{"error_class":"TransientError","job_id":"{job_id}"}}'
    assert (told.cause_job_id, told.parent_event_id) == (job_id, row.event_id)


def test_not_ready_costs_no_attempt_until_its_time_is_up(runtime, clock):
    job_id = add(runtime.ledger, "k", max_attempts=1)
    error = NotReadyError("2 of 5 replicas", delay_s=3600.0, max_wait_s=7200.0)
    for n in (1, 2, 3):
        assert run_job(job_id, raising(error), runtime) == "retry"
        row = job(runtime.ledger, job_id)
        assert (row.attempts, row.max_attempts, row.not_before) == (n, n + 1, clock.now + 3600.0)
        clock.advance(3600.0)
    assert run_job(job_id, raising(error), runtime) == "dead"
    assert job(runtime.ledger, job_id).error_class == "NotReadyError"


@pytest.mark.parametrize("error", [CorruptFileError("cut"), SchemaError("no TIME")])
def test_bad_input_is_dead_at_once_and_its_file_in_quarantine(runtime, error):
    event_id = new_id()
    path = f"inbox/.taken/{event_id}.file.fits"
    taken = runtime.home.root / path
    taken.write_bytes(b"data")
    (hint,) = runtime.record([an_event("k", a_job(args={"path": path}), id=event_id)]).hints
    assert run_job(hint.job_id, raising(error), runtime) == "dead"
    row = job(runtime.ledger, hint.job_id)
    assert (row.error_class, row.error_text, row.attempts) == ("BadInput", str(error), 1)
    (kept,) = runtime.home.quarantine.rglob("file.fits")
    assert kept.read_bytes() == b"data"
    assert not taken.exists()


@pytest.mark.parametrize(
    "error",
    [ArchiveConflictError("c"), MissingDataError("m"), ConfigError("s"), PipelineError("p")],
)
def test_failure_of_its_own_is_dead_at_once(runtime, error):
    job_id = add(runtime.ledger, "k")
    assert run_job(job_id, raising(error), runtime) == "dead"
    assert job(runtime.ledger, job_id).error_class == type(error).__name__


def test_bug_is_tried_once_more_after_a_minute(runtime):
    job_id = add(runtime.ledger, "k")
    assert run_job(job_id, raising(ZeroDivisionError("0")), runtime) == "retry"
    row = job(runtime.ledger, job_id)
    assert (row.state, row.not_before) == ("waiting", NOON + 60.0)
    assert run_again(runtime, job_id, raising(ZeroDivisionError("0"))) == "dead"
    first, second = attempts(runtime, job_id)
    assert (first.outcome, second.outcome) == ("retry", "failed")
    assert "ZeroDivisionError: 0" in second.traceback
    assert "ZeroDivisionError: 0" in (runtime.home.root / second.log_path).read_text()


def test_bugs_of_different_kinds_end_too(runtime):
    job_id = add(runtime.ledger, "k")
    answers = [
        run_again(runtime, job_id, raising(error))
        for error in (KeyError("a"), ValueError("b"), KeyError("c"))
    ]
    assert answers == ["retry", "retry", "dead"]


def test_soft_time_limit_is_tried_again_once_with_longer_limits(runtime):
    job_id = add(runtime.ledger, "k", max_attempts=1)
    assert run_job(job_id, raising(SoftTimeLimitExceeded()), runtime) == "timeout"
    row = job(runtime.ledger, job_id)
    assert (row.state, row.error_class, row.not_before) == ("waiting", "Timeout", NOON)
    (hint,) = runtime.ledger.release("ingest", 10)
    assert hint == Hint(job_id, "ingest.try", "ingest", 3, after_timeout=True)
    assert run_job(job_id, raising(SoftTimeLimitExceeded()), runtime) == "dead"
    assert job(runtime.ledger, job_id).error_class == "Timeout"
    assert [row.outcome for row in attempts(runtime, job_id)] == ["timeout", "timeout"]


def test_limits_are_doubled_after_a_timeout_up_to_those_of_the_queue():
    task = Task("ingest.try", "ingest", TryArgs, "Try", soft_s=300, hard_s=700)
    assert task.limits() == (300, 700)
    assert task.limits(after_timeout=True) == (600, 1200)


@pytest.mark.parametrize(
    "args, told",
    [
        ({"nmber": 1}, "nmber is not an argument of ingest.try (known: number, path, sha256)"),
        ({"number": [1]}, "number = [1] is not of type int"),
    ],
)
def test_wrong_arguments_are_dead_before_the_step_runs(runtime, args, told):
    job_id = add(runtime.ledger, "k", args=args)
    assert run_job(job_id, raising(AssertionError), runtime) == "dead"
    row = job(runtime.ledger, job_id)
    assert (row.error_class, row.error_text) == ("BadArguments", f"ingest.try: {told}")


def test_job_of_a_task_that_no_longer_exists_is_dead(runtime):
    job_id = add(runtime.ledger, "k", task="ingest.gone")
    assert run_job(job_id, raising(AssertionError), runtime) == "dead"
    assert job(runtime.ledger, job_id).error_class == "BadArguments"


def test_passwords_and_long_texts_stay_out_of_the_ledger(runtime):
    job_id = add(runtime.ledger, "k")
    error = TransientError("postgresql://me:secret@host/db " + "x" * 5000)
    run_job(job_id, raising(error), runtime)
    row = job(runtime.ledger, job_id)
    assert row.error_text.startswith("postgresql://me:***@host/db x")
    assert len(row.error_text) == 4096
    (ended,) = attempts(runtime, job_id)
    assert "secret" not in ended.traceback
    assert "secret" not in (runtime.home.root / ended.log_path).read_text()


# --- cancel and fence ---


def test_running_job_is_cancelled_at_its_next_checkpoint(runtime, monkeypatch):
    monkeypatch.setattr(runs, "CHECKPOINT_S", 0.0)
    job_id = add(runtime.ledger, "k")

    def step(ctx, **_):
        ctx.checkpoint()
        assert operators.cancel(runtime, job_id, "ada") == "running"
        ctx.checkpoint()
        raise AssertionError("the checkpoint let it pass")

    assert run_job(job_id, step, runtime) == "cancelled"
    row = job(runtime.ledger, job_id)
    assert (row.state, row.error_text) == ("cancelled", "cancelled by a person")
    assert [row.outcome for row in attempts(runtime, job_id)] == ["cancelled"]


@pytest.mark.parametrize(
    "error",
    [
        TransientError("x"),
        NotReadyError("x", 1.0, 9.0),
        SoftTimeLimitExceeded(),
        ZeroDivisionError(),
    ],
)
def test_cancelled_job_does_not_come_back_by_failing(runtime, error):
    job_id = add(runtime.ledger, "k")

    def step(ctx, **_):
        operators.cancel(runtime, job_id, "ada")
        raise error

    assert run_job(job_id, step, runtime) == "cancelled"
    assert job(runtime.ledger, job_id).state == "cancelled"


@pytest.mark.parametrize("cause", ["WorkerGone", "ProcessDied", "Timeout"])
def test_cancelled_job_does_not_come_back_by_being_lost(runtime, cause):
    job_id = add(runtime.ledger, "k")
    claim = take(runtime.ledger, job_id)
    operators.cancel(runtime, job_id, "ada")
    asked = replace(claim, max_attempts=0)  # as the relay reads the row
    assert judge_loss(runtime, asked, cause).state == "cancelled"


def test_checkpoint_asks_the_ledger_every_five_seconds_only(runtime):
    job_id = add(runtime.ledger, "k")

    def step(ctx, **_):
        operators.cancel(runtime, job_id, "ada")
        ctx.checkpoint()

    assert run_job(job_id, step, runtime) == "ok"


def test_attempt_that_was_taken_over_publishes_nothing(runtime):
    job_id = add(runtime.ledger, "k")
    target = runtime.home.archive / "made.txt"

    def zombie(ctx, **_):
        staged = ctx.stage("made.txt")
        staged.write_text("old")
        runtime.ledger.finish(ctx.claim, Result("lost", "waiting"))
        take(runtime.ledger, job_id, "another worker")
        ctx.fence("target")
        ctx.place(staged, target)

    assert run_job(job_id, zombie, runtime) == "fenced"
    assert not target.exists()
    row = job(runtime.ledger, job_id)
    assert (row.state, row.attempts, row.owner) == ("running", 2, "another worker")
    assert [item.outcome for item in attempts(runtime, job_id)] == ["lost"]
    assert list(runtime.home.work.iterdir()) == []


def test_end_of_an_attempt_that_was_taken_over_does_not_count(runtime):
    job_id = add(runtime.ledger, "k")

    def zombie(ctx, **_):
        ctx.emit("aca_l0.updated", "aca0:0", AcaL0Updated(0, 0.0, 1.0, ()))
        runtime.ledger.finish(ctx.claim, Result("lost", "waiting"))

    assert run_job(job_id, zombie, runtime) == "fenced"
    assert job(runtime.ledger, job_id).state == "waiting"
    assert [item.kind for item in rows(runtime, event)] == ["k"]


def test_publish_lock_is_held_until_the_job_has_ended(runtime, monkeypatch):
    """The order of task-queue 8.1: fence, rename, ledger, and only then is the lock free."""
    job_id = add(runtime.ledger, "k")
    order = []

    def is_locked():
        (lock,) = runtime.home.locks.glob("*.lock")
        try:
            with runs.storage.file_lock(lock, timeout_s=0):
                return False
        except StorageBusyError:
            return True

    def step(ctx, **_):
        ctx.fence("target")
        order.append(("fenced", is_locked()))

    finish = runtime.ledger.finish

    def watched(claim, result):
        hints = finish(claim, result)
        order.append(("finished", is_locked()))
        return hints

    monkeypatch.setattr(runtime.ledger, "finish", watched)
    run_job(job_id, step, runtime)
    assert order == [("fenced", True), ("finished", True)]
    assert not is_locked()


def test_fence_of_the_same_target_may_be_taken_twice(runtime):
    """Reconcile publishes several files of one slot in one job."""
    job_id = add(runtime.ledger, "k")

    def step(ctx, **_):
        ctx.fence("target")
        ctx.fence("target")
        ctx.fence("other")

    assert run_job(job_id, step, runtime) == "ok"


class Crash(BaseException):
    """Stands for SIGKILL: nothing of ours runs after it but ``finally``."""


@pytest.mark.parametrize("point", ["step.started", "publish.renamed", "finish.before"])
def test_crash_anywhere_is_repaired_by_running_again(runtime, monkeypatch, point):
    job_id = add(runtime.ledger, "k")

    def step(ctx, **_):
        staged = ctx.stage("made.txt")
        staged.write_text("abc")
        ctx.fence("target")
        ctx.place(staged, ctx.home.archive / "made.txt")
        ctx.publish("try", ctx.home.archive / "made.txt")

    def crash(here):
        if here == point:
            raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(runs, "fault", crash)
        with pytest.raises(Crash):
            run_job(job_id, step, runtime)
    row = job(runtime.ledger, job_id)
    assert (row.state, row.attempts) == ("running", 1)
    assert rows(runtime, product) == []
    claim = Claim(
        job_id, 1, 5, "ingest.try", "ingest", {}, "s", None, row.event_id, 3, NOON, row.owner
    )
    runtime.ledger.finish(claim, judge_loss(runtime, claim, "WorkerGone"))
    assert run_job(job_id, step, runtime) == "ok"
    assert [item.path for item in rows(runtime, product)] == ["made.txt"]
    assert [item.outcome for item in attempts(runtime, job_id)] == ["lost", "ok"]


def test_ledger_that_stays_busy_ends_the_process(runtime, monkeypatch):
    monkeypatch.setattr(runs, "FINISH_RETRIES_S", (0.0, 0.0))
    job_id = add(runtime.ledger, "k")
    tries = []

    def busy(claim, result):
        tries.append(result.state)
        raise StorageBusyError("locked")

    monkeypatch.setattr(runtime.ledger, "finish", busy)
    with pytest.raises(SystemExit, match="could not be finished: locked"):
        run_job(job_id, lambda ctx, **_: None, runtime)
    assert tries == ["done"] * 3


def test_answer_of_a_commit_that_was_lost_is_fenced_later(runtime, monkeypatch):
    monkeypatch.setattr(runs, "FINISH_RETRIES_S", (0.0,))
    job_id = add(runtime.ledger, "k")
    finish = runtime.ledger.finish

    def answer_lost(claim, result):
        finish(claim, result)
        raise StorageBusyError("connection closed")

    with monkeypatch.context() as patch:
        patch.setattr(runtime.ledger, "finish", answer_lost)
        assert run_job(job_id, lambda ctx, **_: None, runtime) == "fenced"
    assert job(runtime.ledger, job_id).state == "done"
    assert len(attempts(runtime, job_id)) == 1


# --- losses ---


def lose(runtime, job_id, cause):
    """Claim the job, lose it, and return the new row."""
    claim = take(runtime.ledger, job_id)
    runtime.ledger.finish(claim, judge_loss(runtime, claim, cause))
    return job(runtime.ledger, job_id)


def test_input_that_kills_two_processes_is_poison(runtime):
    job_id = add(runtime.ledger, "k", args={"sha256": SHA})
    assert lose(runtime, job_id, "ProcessDied").state == "waiting"
    row = lose(runtime, job_id, "ProcessDied")
    assert (row.state, row.error_class, row.attempts) == ("dead", "Poison", 2)
    assert row.error_text.endswith("as did another attempt on the same input; not tried again")


def test_poison_follows_the_bytes_into_another_job(runtime):
    assert (
        lose(runtime, add(runtime.ledger, "a", args={"sha256": SHA}), "Timeout").state == "waiting"
    )
    again = add(runtime.ledger, "b", args={"sha256": SHA})
    assert lose(runtime, again, "ProcessDied").error_class == "Poison"


def test_other_input_of_the_same_subject_is_not_poison(runtime):
    lose(runtime, add(runtime.ledger, "a", args={"sha256": SHA}), "ProcessDied")
    other = add(runtime.ledger, "b", args={"sha256": "6" * 64})
    assert lose(runtime, other, "ProcessDied").state == "waiting"


def test_worker_restarts_do_not_condemn_a_job_ten_times(runtime):
    job_id = add(runtime.ledger, "k", max_attempts=3)
    limits = [lose(runtime, job_id, "WorkerGone").max_attempts for _ in range(10)]
    assert limits == [4, 5, 6, 7, 8, 9, 10, 11, 12, 13]
    for n in (11, 12):
        row = lose(runtime, job_id, "WorkerGone")
        assert (row.state, row.attempts, row.max_attempts) == ("waiting", n, 13)
    row = lose(runtime, job_id, "WorkerGone")
    assert (row.state, row.error_class, row.attempts) == ("dead", "WorkerGone", 13)


def test_process_that_dies_at_the_last_attempt_leaves_a_dead_job(runtime):
    job_id = add(runtime.ledger, "k", max_attempts=1)
    assert lose(runtime, job_id, "ProcessDied").error_class == "ProcessDied"


# --- what a step may ask for ---


def test_input_must_be_the_announced_bytes(runtime):
    (runtime.home.taken / "id.a.fits").write_bytes(b"abc")
    good = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    job_id = add(runtime.ledger, "k", args={"path": "inbox/.taken/id.a.fits", "sha256": good})

    def step(ctx, number, path, sha256):
        assert ctx.input(path, sha256).read_bytes() == b"abc"
        with pytest.raises(
            CorruptFileError, match=r"id.a.fits changed after arrival: SHA-256 ba78"
        ):
            ctx.input(path, SHA)
        with pytest.raises(CorruptFileError, match=r"id.b.fits is gone; deliver the file again"):
            ctx.input("inbox/.taken/id.b.fits", SHA)
        with pytest.raises(InputError):
            ctx.input("inbox/.taken/../../../etc/passwd", SHA)
        assert ctx.provenance == ([{"path": "a.fits", "sha256": good}], job_id, __version__)

    assert run_job(job_id, step, runtime) == "ok"
    (read,) = rows(runtime, product)
    assert (read.role, read.kind, read.path, read.size) == ("in", "file", "a.fits", 3)


def test_full_disk_while_placing_is_transient(runtime, monkeypatch):
    monkeypatch.setenv("ACAFLOW_FAULT", "disk.publish")
    monkeypatch.setattr("acaflow.runtime.faults._passes", 0)
    job_id = add(runtime.ledger, "k")

    def step(ctx, **_):
        staged = ctx.stage("a")
        staged.touch()
        ctx.place(staged, ctx.home.archive / "a")

    assert run_job(job_id, step, runtime) == "retry"
    assert job(runtime.ledger, job_id).error_text == (
        f"No space left on device while writing {runtime.home.archive / 'a'}"
    )
    assert run_again(runtime, job_id, step) == "ok"


def test_events_are_emitted_with_their_cause(runtime):
    job_id = add(runtime.ledger, "k")
    payload = AcaL0Updated(3, 1.0, 2.0, ("a.fits.gz",))

    def step(ctx, **_):
        ctx.emit("aca_l0.updated", "aca0:3", payload)
        ctx.emit("aca_l0.updated", "aca0:3", payload)

    assert run_job(job_id, step, runtime) == "ok"
    _, first, second = rows(runtime, event)
    assert first.payload == '{"files":["a.fits.gz"],"slot":3,"tstart":1.0,"tstop":2.0}'
    assert (first.source, first.cause_job_id) == (f"job:{job_id}", job_id)
    assert first.parent_event_id == job(runtime.ledger, job_id).event_id
    assert first.dedupe_key != second.dedupe_key


def test_failed_attempt_emits_and_publishes_nothing(runtime):
    job_id = add(runtime.ledger, "k")

    def step(ctx, **_):
        ctx.emit("aca_l0.updated", "aca0:3", AcaL0Updated(3, 1.0, 2.0, ()))
        raise TransientError("x")

    assert run_job(job_id, step, runtime) == "retry"
    assert [item.kind for item in rows(runtime, event)] == ["k"]


def chain(runtime, kind, subjects):
    """Record a chain of events, the first the oldest; return the job of the newest."""
    parent = None
    for i, subject in enumerate(subjects):
        item = an_event(f"c{i}", a_job(), kind=kind, subject=subject, parent_event_id=parent)
        recorded = runtime.ledger.record([item])
        parent = item.id
    return recorded.hints[0].job_id


def emitting(ctx, **_):
    ctx.emit("aca_l0.updated", "aca0:3", AcaL0Updated(3, 1.0, 2.0, ()))


@pytest.mark.parametrize(
    "subjects, answer",
    [
        (["aca0:3"], "ok"),
        (["aca0:3", "aca0:4", "aca0:3"], "dead"),
        ([f"s{i}" for i in range(11)], "ok"),
        ([f"s{i}" for i in range(12)], "dead"),
    ],
)
def test_event_that_would_follow_itself_is_refused(runtime, subjects, answer):
    job_id = chain(runtime, "aca_l0.updated", subjects)
    assert run_job(job_id, emitting, runtime) == answer
    assert job(runtime.ledger, job_id).error_class == (None if answer == "ok" else "EventLoop")


def test_progress_is_a_log_line_a_second_and_the_last(runtime):
    job_id = add(runtime.ledger, "k")

    def step(ctx, **_):
        for done in (1, 2, 3):
            ctx.progress(done, 3, "files")

    run_job(job_id, step, runtime)
    (ended,) = attempts(runtime, job_id)
    text = (runtime.home.root / ended.log_path).read_text()
    assert [line.split("progress ")[1] for line in text.splitlines()] == ["3/3 files"]


def test_log_of_an_attempt_has_the_lines_of_every_library(runtime):
    job_id = add(runtime.ledger, "k")
    run_job(job_id, lambda ctx, **_: logging.getLogger("other").warning("careful"), runtime)
    logging.getLogger("other").warning("after the attempt")
    (ended,) = attempts(runtime, job_id)
    text = (runtime.home.root / ended.log_path).read_text()
    assert "WARNING  other careful" in text
    assert "after the attempt" not in text


# --- opening ---


def test_runtime_needs_a_ledger(home):
    with pytest.raises(ConfigError, match=r"ledger\.db is empty; run: acaflow db upgrade"):
        core.open_runtime("web", transport=MemoryTransport())


def test_without_a_runtime_nothing_runs():
    core.use(None)
    with pytest.raises(PipelineError, match="no runtime is open in this process"):
        core.current()


def test_task_outside_the_routing_table_cannot_be_bound():
    with pytest.raises(InputError, match=r"task ingest.nothing is not in the routing table"):
        runs.bind("ingest.nothing", lambda ctx: None)


def test_memory_transport_gives_the_best_priority_first():
    transport = MemoryTransport()
    assert transport.send([Hint("a", "t", "ingest", 6), Hint("b", "t", "vv", 0)]) == 2
    transport.send([Hint("c", "t", "ingest", 6)])
    assert [hint.job_id for hint in transport.hints] == ["b", "a", "c"]
    assert (transport.depth("ingest"), transport.has_room("ingest")) == (2, True)
