"""The faults of task-queue 17: nothing is lost, nothing is done twice, the end is reached."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from contextlib import nullcontext
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from acaflow.errors import LeaseLostError
from acaflow.runtime import runs
from acaflow.runtime.records import Claim
from acaflow.runtime.relay import Relay
from tests.support import l0
from tests.support.facts import DONE, add, job, take
from tests.support.live import System, steadily
from tests.support.memory import drop, open_in_memory
from tests.support.servers import wait_until
from tests.support.worker_main import test_tasks, try_event

pytestmark = [pytest.mark.live, pytest.mark.fault]

TASK = "ingest.try"
MANY = 500
PATIENCE_S = 90.0
"""A quiet machine needs a third of it at most."""


def record(system: System, keys: list[str], **args: Any) -> None:
    """Record one job per key, in one transaction."""
    system.runtime.record([try_event(key, **args) for key in keys])


def many(number: int = MANY) -> list[str]:
    return [f"k{i:03d}" for i in range(number)]


def assert_all_done(system: System, keys: list[str], patience_s: float = PATIENCE_S) -> None:
    """Every job reaches its good end, once, and its product is there."""
    system.wait_ended(TASK, len(keys), patience_s)
    assert system.states(TASK) == {"done": len(keys)}
    assert system.done_twice() == []
    missing = [key for key in keys if not system.published(key).startswith(f"{key} attempt ")]
    assert missing == []


def worker_pid(row) -> int:
    """The pid of the child that runs a job."""
    return int(row.owner.split("|")[1])


def test_fault_01_child_killed_in_mid_step(system):
    system.start("relay")
    system.start("worker")
    record(system, ["a"], held=True)
    os.kill(worker_pid(system.wait_running("a")), signal.SIGKILL)
    system.wait_running("a", 2)
    system.let_go("a", 2)
    assert_all_done(system, ["a"])
    assert system.outcomes("a") == ["lost", "ok"]
    assert system.published("a") == "a attempt 2"


def test_fault_02_worker_killed_eight_times(system):
    system.start("relay")
    worker = system.start("worker")
    record(system, many(), seconds=0.01)
    chance = random.Random(2)
    for _ in range(8):
        time.sleep(chance.uniform(0.8, 1.6))
        worker.kill()
        worker.start()
    assert_all_done(system, many())


def test_fault_03_worker_asked_to_end_again_and_again(system):
    system.start("relay")
    worker = system.start("worker")
    record(system, many(200), seconds=0.01)
    chance = random.Random(3)
    for _ in range(4):
        time.sleep(chance.uniform(0.1, 0.4))
        assert worker.end() == 0
        worker.start()
        worker.wait_line("worker ready")
    assert_all_done(system, many(200))
    # An orderly end lets the running step finish: nothing was repeated.
    assert system.rows("SELECT job_id FROM attempt WHERE outcome = 'lost'") == []


def test_fault_04_redis_killed(system):
    system.start("relay")
    worker = system.start("worker")
    record(system, many(), seconds=0.01)
    chance = random.Random(4)
    system.supervise(worker)  # it sometimes ends when Redis does (task-queue 1.2)
    for _ in range(4):
        time.sleep(chance.uniform(0.3, 1.0))
        system.redis.end(signal.SIGKILL)
        system.redis.start()
    assert_all_done(system, many())


def test_fault_05_redis_wiped(system):
    record(system, many())
    system.start("relay")
    queues = [b"acaflow:ingest:3"]

    def queued() -> int:
        with system.redis.client() as client:
            return sum(client.llen(name) for name in queues)

    wait_until(lambda: queued() == MANY, "500 messages")
    with system.redis.client() as client:
        client.flushall()
    assert queued() == 0
    system.start("worker")
    assert_all_done(system, many())


def test_fault_05_redis_wiped_under_a_running_worker(system):
    """The bindings of the queues are gone too; senders and worker have made them long ago."""
    system.start("relay")
    system.supervise(system.start("worker"))
    record(system, many(5))
    system.wait_ended(TASK, 5, PATIENCE_S)
    with system.redis.client() as client:
        client.flushall()
    more = [f"m{key}" for key in many(20)]
    record(system, more)
    assert_all_done(system, [*many(5), *more])


def test_fault_06_redis_frozen(system):
    system.start("relay")
    system.start("worker")
    record(system, many(200), seconds=0.01)
    assert system.redis.process is not None
    system.redis.process.send_signal(signal.SIGSTOP)
    time.sleep(10.0)
    system.redis.process.send_signal(signal.SIGCONT)
    assert_all_done(system, many(200))


def test_fault_07_redis_full(system):
    system.start("relay")
    system.supervise(system.start("worker"))  # an acknowledgement that Redis refuses ends it
    with system.redis.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        record(system, many(20))
        assert steadily(lambda: system.states(TASK) == {"waiting": 20}, 2.5)
        client.config_set("maxmemory", 0)
    assert_all_done(system, many(20))


def test_fault_08_crash_between_commit_and_send(system):
    path = l0.make_l0_file(system.home.root / "made", slot=3)
    drop(system.home, path.name, path.read_bytes())
    doomed = system.start("relay", ready=False, ACAFLOW_FAULT="record.committed")
    assert doomed.popen is not None
    assert doomed.popen.wait(20) == -signal.SIGKILL
    # The file was taken before anything else was recorded, and its message was never sent.
    assert system.states("ingest.aca_l0_file") == {"waiting": 1}
    assert system.runtime.transport.depth("ingest") == 0
    system.start("worker")
    system.start("relay")
    system.wait_ended("ingest.aca_l0_file", 1, PATIENCE_S)
    assert system.states("ingest.aca_l0_file") == {"done": 1}
    assert system.done_twice() == []
    wait_until(lambda: not list(system.home.taken.iterdir()), "the delivery is filed away")


@pytest.mark.parametrize("point", ["publish.renamed", "finish.before"])
def test_fault_09_crash_between_rename_and_end(system, point):
    doomed = system.start("worker", ACAFLOW_FAULT=point)
    record(system, ["a"])
    target = system.home.archive / "try" / "a.txt"
    wait_until(target.exists, "the product is in place")
    wait_until(lambda: not psutil.pid_exists(worker_pid(system.job("a"))), "the child died")
    assert system.job("a").state == "running"
    assert system.rows("SELECT path FROM product") == []
    doomed.kill()
    system.start("worker")
    system.start("relay")
    assert_all_done(system, ["a"])
    assert system.outcomes("a") == ["lost", "ok"]


def test_fault_10_message_delivered_five_times(system):
    system.start("relay")
    recorded = system.runtime.ledger.record([try_event(key) for key in many(10)])
    assert len(recorded.hints) == 10
    for _ in range(5):
        system.runtime.transport.send(recorded.hints)
    system.start("worker")
    assert_all_done(system, many(10))
    assert {
        row.attempts for row in system.rows("SELECT attempts FROM job WHERE task = :t", t=TASK)
    } == {1}
    wait_until(lambda: system.runtime.transport.depth("ingest") == 0, "every message was taken")
    assert steadily(lambda: system.states(TASK) == {"done": 10}, 1.0)


def test_fault_11_job_declared_lost_while_its_step_still_runs(system):
    system.start("worker")
    record(system, ["a"], held=True)
    zombie = system.wait_running("a")
    claim = Claim(
        zombie.id, 1, 5, TASK, "ingest", {}, "try:a", None, zombie.event_id, 3, 0.0, zombie.owner
    )
    ledger = system.runtime.ledger
    ledger.finish(claim, runs.judge_loss(system.runtime, claim, "WorkerGone"))
    system.start("relay")
    system.let_go("a", 2)
    assert_all_done(system, ["a"])
    assert system.published("a") == "a attempt 2"
    system.let_go("a", 1)
    wait_until(lambda: any("fenced: attempt 1" in p.output() for p in system.processes), "fenced")
    assert system.published("a") == "a attempt 2"
    assert system.outcomes("a") == ["lost", "ok"]
    assert system.done_twice() == []


def test_fault_12_step_that_kills_its_process(system):
    path = l0.make_l0_file(system.home.root / "made", slot=3)
    drop(system.home, path.name, path.read_bytes())
    system.start("worker", ACAFLOW_FAULT="step.started")  # of each child: its first job
    system.start("relay")
    system.wait_ended("ingest.aca_l0_file", 1, PATIENCE_S)
    (row,) = system.rows("SELECT * FROM job WHERE task = 'ingest.aca_l0_file'")
    assert (row.state, row.error_class, row.attempts) == ("dead", "Poison", 2)
    wait_until(lambda: not list(system.home.taken.iterdir()), "the delivery is filed away")
    (kept,) = system.home.quarantine.rglob(path.name)
    assert kept.read_bytes() == path.read_bytes()


def test_fault_13_disk_full_while_publishing(system):
    system.start("relay")
    system.start("worker", ACAFLOW_FAULT="disk.publish", TRY_CONCURRENCY="1")
    record(system, ["a"])
    wait_until(lambda: system.job("a").error_class == "StorageBusyError", "the disk was full")
    assert "No space left on device while writing" in system.job("a").error_text
    assert_all_done(system, ["a"])
    assert system.outcomes("a") == ["retry", "ok"]


def test_fault_14_ledger_locked(system):
    system.start("relay")
    system.start("worker")
    record(system, many(200), seconds=0.01)
    wait_until(lambda: system.states(TASK).get("done", 0) > 10, "some jobs are done")
    stranger = sqlite3.connect(str(system.runtime.ledger.url.database), isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    before = system.states(TASK)
    time.sleep(10.0)
    assert system.states(TASK) == before
    stranger.execute("ROLLBACK")
    stranger.close()
    assert_all_done(system, many(200))


def test_fault_15_two_relays(system):
    system.start("worker")
    for _ in range(2):
        system.start("relay", ready=False)
    for process in system.processes:
        process.wait_line("ready")
    for i in range(40):
        (system.home.root / "part").write_bytes(b"%d" % i)
        (system.home.root / "part").rename(system.home.inbox / f"file{i}.txt")
    record(system, many(100))
    assert_all_done(system, many(100))
    system.wait_ended("ingest.unknown_file", 40, PATIENCE_S)
    kinds = system.rows("SELECT kind, count(*) AS n FROM event GROUP BY kind")
    found = {row.kind: row.n for row in kinds}
    assert found["file.unknown.arrived"] == 40
    assert found["schedule.tick.reconcile"] == found["schedule.tick.backup_ledger"] == 1


def test_fault_16_same_file_twice_and_replaced_while_settling(system):
    system.start("worker")
    system.start("relay")
    path = l0.make_l0_file(system.home.root / "made", slot=3)
    for _ in range(2):
        part = system.home.root / "part"
        part.write_bytes(path.read_bytes())
        part.rename(system.home.inbox / path.name)
        wait_until(lambda: not (system.home.inbox / path.name).exists(), "the file is taken")
    slow = system.home.inbox / "slow.txt"
    slow.write_bytes(b"first")
    time.sleep(0.3)
    slow.write_bytes(b"second, other size")
    system.wait_ended("ingest.unknown_file", 1, PATIENCE_S)
    system.wait_ended("ingest.aca_l0_file", 1, PATIENCE_S)
    wait_until(lambda: not list(system.home.taken.iterdir()), "everything is filed away")
    (kept,) = system.home.quarantine.rglob("slow.txt")
    assert kept.read_bytes() == b"second, other size"
    assert system.states("ingest.aca_l0_file") == {"done": 1}
    assert len(list(system.home.processed.rglob("*.fits.gz"))) == 1
    assert system.done_twice() == []


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
def test_fault_17_clock_jumps(home, sqlite_ledger, clock, jump_s):
    """A job that runs and one that waits, while the ledger's clock is set."""
    runtime = open_in_memory(home, sqlite_ledger)
    keeper = Relay(runtime, clock=clock)
    running, waiting = (add(sqlite_ledger, key, args={"key": key}) for key in "ab")
    claim = take(sqlite_ledger, running, runtime.me.owner())

    def work() -> None:
        keeper.tick()
        hints = [hint for hint in runtime.transport.hints if hint.task == TASK]
        runtime.transport.hints.clear()
        for hint in hints:
            runs.run_job(hint.job_id, lambda ctx, **_: None, runtime)

    clock.advance(jump_s)
    with test_tasks():
        for _ in range(3):
            work()
            clock.advance(1.0)
        # Forward, the job looks as if it had passed its hard limit; backward, the pid decides.
        with pytest.raises(LeaseLostError) if jump_s > 0 else nullcontext():
            sqlite_ledger.finish(claim, DONE)
        clock.advance(-jump_s if jump_s < 0 else 0.0)  # what waits, waits for the clock
        work()
    assert [job(sqlite_ledger, key).state for key in (running, waiting)] == ["done", "done"]
    with sqlite_ledger.look() as connection:
        ended = connection.execute(sa.text("SELECT job_id FROM attempt WHERE outcome = 'ok'"))
        assert sorted(ended.scalars()) == sorted([running, waiting])
        ticks = "SELECT count(*) FROM event WHERE kind = 'schedule.tick.reconcile'"
        assert connection.scalar(sa.text(ticks)) == 1
