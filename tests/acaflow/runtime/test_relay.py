"""The five duties of the relay, and two relays at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
import sqlalchemy as sa

from acaflow.errors import StorageBusyError
from acaflow.runtime import messages, relay
from acaflow.runtime.processes import Me, host_id, pid_start
from acaflow.runtime.relay import Relay, sweep_work
from acaflow.runtime.tables import attempt, event, process
from acaflow.runtime.watch import Watcher
from tests.support.facts import DONE, add, change, count, job, jobs, take
from tests.support.memory import drop, open_in_memory

HARD_S = messages.QUEUES["ingest"].hard_s


@pytest.fixture
def runtime(home, sqlite_ledger):
    return open_in_memory(home, sqlite_ledger)


@pytest.fixture
def keeper(runtime, clock):
    return Relay(runtime, clock=clock)


def sent(runtime):
    """Take the ids of the hints out of the transport."""
    ids = [hint.job_id for hint in runtime.transport.hints]
    runtime.transport.hints.clear()
    return ids


@pytest.fixture
def dead_pid():
    """Pid and start of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    start = pid_start(child.pid)
    child.communicate()
    return child.pid, start


def cause(runtime, job_id):
    with runtime.ledger.look() as connection:
        query = sa.select(attempt.c.error_class).where(attempt.c.job_id == job_id)
        return connection.scalar(query)


# --- (a) lost jobs ---


def test_job_of_a_living_process_is_left_alone(runtime, keeper, clock):
    job_id = add(runtime.ledger, "k")
    take(runtime.ledger, job_id, runtime.me.owner())
    clock.advance(HARD_S + 59.0)
    assert keeper.return_lost() == 0
    assert job(runtime.ledger, job_id).state == "running"


def test_job_of_a_child_that_died_alone_comes_back(runtime, keeper, dead_pid):
    job_id = add(runtime.ledger, "k")
    pid, start = dead_pid
    take(runtime.ledger, job_id, f"{runtime.me.name}|{pid}|{start}")
    assert keeper.return_lost() == 1
    assert (job(runtime.ledger, job_id).state, cause(runtime, job_id)) == ("waiting", "ProcessDied")


def test_job_of_a_reused_pid_comes_back(runtime, keeper):
    job_id = add(runtime.ledger, "k")
    start = pid_start(os.getpid())
    take(runtime.ledger, job_id, f"{runtime.me.name}|{os.getpid()}|{start + 5.0}")
    assert keeper.return_lost() == 1


def test_job_of_a_worker_that_went_comes_back(runtime, keeper, dead_pid):
    pid, start = dead_pid
    gone = Me("ingest@here:1", "worker", "ingest").row() | {"pid": pid, "pid_start": start}
    runtime.ledger.beat(gone)
    job_id = add(runtime.ledger, "k")
    take(runtime.ledger, job_id, f"ingest@here:1|{pid}|{start}")
    keeper.return_lost()
    assert (job(runtime.ledger, job_id).state, cause(runtime, job_id)) == ("waiting", "WorkerGone")


def test_job_of_a_worker_that_took_leave_comes_back(runtime, keeper):
    job_id = add(runtime.ledger, "k")
    take(runtime.ledger, job_id, runtime.me.owner())
    runtime.ledger.leave(runtime.me.name)
    keeper.return_lost()
    assert cause(runtime, job_id) == "WorkerGone"


@pytest.mark.parametrize("silent_s, state", [(60.0, "running"), (61.0, "waiting")])
def test_worker_on_another_host_is_judged_by_its_beat(runtime, keeper, clock, silent_s, state):
    other = Me("ingest@there:7", "worker", "ingest").row() | {"host": "there/1"}
    runtime.ledger.beat(other)
    job_id = add(runtime.ledger, "k")
    take(runtime.ledger, job_id, f"ingest@there:7|999999|{other['pid_start']}")
    clock.advance(silent_s)
    keeper.return_lost()
    assert job(runtime.ledger, job_id).state == state


def test_container_with_the_name_and_pid_of_the_one_before_does_not_hide_its_loss(runtime, keeper):
    first = Me("ingest@there:7", "worker", "ingest").row() | {"host": "there/1", "pid_start": 10.0}
    runtime.ledger.beat(first)
    job_id = add(runtime.ledger, "k")
    take(runtime.ledger, job_id, "ingest@there:7|8|11.0")
    runtime.ledger.beat(first)
    assert keeper.return_lost() == 0
    runtime.ledger.beat(first | {"host": "there/2", "pid_start": 500.0})
    assert keeper.return_lost() == 1
    assert cause(runtime, job_id) == "WorkerGone"
    with runtime.ledger.look() as connection:
        row = connection.execute(process.select().where(process.c.name == "ingest@there:7")).one()
    assert (row.host, row.pid_start) == ("there/2", 500.0)


def test_job_beyond_its_hard_limit_comes_back_from_any_host(runtime, keeper, clock):
    job_id = add(runtime.ledger, "k")
    take(runtime.ledger, job_id, runtime.me.owner())
    clock.advance(HARD_S + 61.0)
    keeper.return_lost()
    assert cause(runtime, job_id) == "Timeout"


def test_job_that_ended_in_between_is_not_lost(runtime, keeper, dead_pid, monkeypatch):
    pid, start = dead_pid
    job_id = add(runtime.ledger, "k")
    claim = take(runtime.ledger, job_id, f"{runtime.me.name}|{pid}|{start}")
    judge = relay.runs.judge_loss

    def late(*args):
        runtime.ledger.finish(claim, DONE)
        return judge(*args)

    monkeypatch.setattr(relay.runs, "judge_loss", late)
    assert keeper.return_lost() == 0
    assert job(runtime.ledger, job_id).state == "done"


def test_lost_holder_of_a_lock_hands_over(runtime, keeper, dead_pid):
    pid, start = dead_pid
    holder, second = add(runtime.ledger, "a", lock_key="l"), add(runtime.ledger, "b", lock_key="l")
    take(runtime.ledger, holder, f"{runtime.me.name}|{pid}|{start}")
    runtime.transport.hints.clear()
    keeper.return_lost()
    assert len(sent(runtime)) == 1
    assert {job(runtime.ledger, key).state for key in (holder, second)} == {"waiting"}


def test_file_of_a_job_that_was_lost_for_good_is_quarantined(runtime, keeper, dead_pid):
    pid, start = dead_pid
    delivery = Watcher(runtime).take(drop(runtime.home, "bad.txt", b"x"))
    change(runtime.ledger, "UPDATE job SET max_attempts = 1")
    (row,) = jobs(runtime.ledger)
    take(runtime.ledger, row.id, f"{runtime.me.name}|{pid}|{start}")
    keeper.return_lost()
    assert job(runtime.ledger, row.id).state == "dead"
    (kept,) = runtime.home.quarantine.rglob("bad.txt")
    assert kept.parent.name == delivery.event_id


# --- (b) due jobs, (c) lost messages ---


def test_job_that_becomes_due_is_sent_once(runtime, keeper, clock):
    job_id = add(runtime.ledger, "k", delay_s=10.0)
    keeper.send_due()
    assert sent(runtime) == []
    clock.advance(10.0)
    assert keeper.send_due() == 1
    assert sent(runtime) == [job_id]
    row = job(runtime.ledger, job_id)
    assert (row.sent_at, row.sends) == (clock.now, 1)


def test_best_priority_goes_first_and_a_lock_once(runtime, keeper, clock):
    low = add(runtime.ledger, "a", delay_s=1.0, priority=9)
    held = [add(runtime.ledger, key, delay_s=1.0, lock_key="l", priority=6) for key in "bc"]
    high = add(runtime.ledger, "d", delay_s=1.0, priority=0)
    clock.advance(1.0)
    keeper.send_due()
    assert sent(runtime) == [high, held[0], low]


def test_message_that_nobody_answered_is_sent_again_with_growing_patience(runtime, keeper, clock):
    job_id = add(runtime.ledger, "k")
    runtime.transport.hints.clear()
    runtime.transport.depth = lambda queue: 1
    at = []
    for second in range(400):
        keeper.send_due()
        if sent(runtime):
            at.append(second)
        clock.advance(1.0)
    assert at == [31, 92, 213]
    assert job(runtime.ledger, job_id).sends == 4


def test_wiped_queue_is_filled_again_after_two_seconds(runtime, keeper, clock):
    job_id = add(runtime.ledger, "k")
    runtime.transport.hints.clear()
    clock.advance(2.0)
    assert keeper.send_due() == 0
    clock.advance(0.1)
    assert keeper.send_due() == 1
    assert sent(runtime) == [job_id]


def test_without_a_transport_nothing_is_marked_as_sent(runtime, keeper, clock):
    job_id = add(runtime.ledger, "k", delay_s=1.0)
    clock.advance(1.0)
    runtime.transport.depth = lambda queue: None
    keeper.send_due()
    assert job(runtime.ledger, job_id).sent_at is None


@pytest.mark.parametrize("depth, expected", [(1999, 1), (2000, 0)])
def test_full_queue_gets_no_more(runtime, keeper, clock, depth, expected):
    for key in "abc":
        add(runtime.ledger, key, delay_s=1.0)
    clock.advance(1.0)
    runtime.transport.depth = lambda queue: depth
    assert keeper.send_due() == expected


def test_two_relays_send_a_due_job_once(runtime, keeper, clock):
    add(runtime.ledger, "k", delay_s=1.0)
    clock.advance(1.0)
    assert keeper.send_due() + Relay(runtime, clock=clock).send_due() == 1


# --- (d) schedule ---


def ticks(runtime):
    with runtime.ledger.look() as connection:
        query = sa.select(event.c.payload).where(event.c.kind == "schedule.tick.reconcile")
        return list(connection.execute(query.order_by(event.c.id)).scalars())


def test_each_slot_is_fired_once_by_two_relays_and_only_the_latest_missed(runtime, keeper, clock):
    second = Relay(runtime, clock=clock)
    for _ in range(3):
        keeper.fire_schedule()
        second.fire_schedule()
    # 1 700 000 000 s are 19675 days and 22:13:20.
    assert ticks(runtime) == ['{"slot":19675}']
    clock.advance(6400.0)
    keeper.fire_schedule()
    clock.advance(3.5 * 86400.0)
    Relay(runtime, clock=clock).fire_schedule()
    second.fire_schedule()
    assert ticks(runtime) == ['{"slot":19675}', '{"slot":19676}', '{"slot":19679}']


# --- (e) retention ---


def test_pruning_keeps_rows_and_drops_their_weight(runtime, keeper, clock):
    old, fresh = add(runtime.ledger, "a", args={"x": 1}), add(runtime.ledger, "b", args={"x": 2})
    open_job = add(runtime.ledger, "c", args={"x": 3})
    log = runtime.home.logs / "jobs" / "old.log"
    log.write_text("x")
    ended = relay.runs.Result(
        "failed", "dead", error_class="E", error_text="t", log_path="state/logs/jobs/old.log"
    )
    runtime.ledger.finish(take(runtime.ledger, old), ended)
    clock.advance(100 * 86400.0)
    runtime.ledger.finish(take(runtime.ledger, fresh), DONE)
    clock.advance(81 * 86400.0)
    assert keeper.prune_ledger() == 1
    assert not log.exists()
    row = job(runtime.ledger, old)
    assert (row.state, row.args, row.error_text, row.error_class) == ("dead", "{}", None, "E")
    assert job(runtime.ledger, fresh).args == '{"x":2}'
    assert job(runtime.ledger, open_job).args == '{"x":3}'
    assert count(runtime.ledger, attempt) == 1
    assert count(runtime.ledger, event) == 3
    assert keeper.prune_ledger() == 0


def test_staging_of_ended_attempts_is_swept(runtime):
    running, ended = add(runtime.ledger, "a"), add(runtime.ledger, "b")
    take(runtime.ledger, running)
    names = [f"{running}.1", f"{ended}.1", f"{ended}.2"]
    for name in names:
        (runtime.home.work / name).mkdir()
        (runtime.home.work / name / "file").touch()
    then = time.time() - 120.0
    for name in names[:2]:
        os.utime(runtime.home.work / name, (then, then))
    assert sweep_work(runtime) == 1
    assert sorted(path.name for path in runtime.home.work.iterdir()) == sorted(
        [f"{running}.1", f"{ended}.2"]
    )


# --- the loop ---


def test_failing_duty_does_not_stop_the_others(runtime, keeper, monkeypatch):
    def busy():
        raise StorageBusyError("locked")

    monkeypatch.setattr(runtime.ledger, "release", lambda *_: 1 / 0)
    monkeypatch.setattr(keeper, "return_lost", busy)
    busy.__name__ = "return_lost"
    keeper.tick()
    assert ticks(runtime) == ['{"slot":19675}']


def test_relay_beats_and_takes_leave(runtime, keeper, monkeypatch):
    monkeypatch.setattr(relay, "TICK_S", 0.0)
    runtime.ledger.leave(runtime.me.name)
    seen = []

    def look_and_stop():
        with runtime.ledger.look() as connection:
            seen.extend(connection.execute(process.select()))
        keeper.stop.set()

    look_and_stop.__name__ = "prune"
    monkeypatch.setattr(keeper, "prune", look_and_stop)
    keeper.run()
    assert [(row.name, row.host, row.pid) for row in seen] == [
        (runtime.me.name, host_id(), os.getpid())
    ]
    assert count(runtime.ledger, process) == 0
