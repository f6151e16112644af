"""The five statements of the ledger, each rule on both databases."""

from __future__ import annotations

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import pytest
import sqlalchemy as sa

from acaflow import storage
from acaflow.errors import ConfigError, LeaseLostError, StorageBusyError
from acaflow.runtime import ledger as statements
from acaflow.runtime.ledger import Ledger
from acaflow.runtime.records import Claim, Hint, NewProduct, Recorded, Result
from acaflow.runtime.tables import attempt, event, process, product
from acaflow.runtime.tables import job as job_table
from tests.conftest import NOON
from tests.support.facts import (
    DONE,
    LOST,
    RETRY,
    a_job,
    add,
    an_event,
    change,
    count,
    gate,
    job,
    jobs,
    only,
    take,
)

# --- record ---


def test_record_writes_event_and_job(ledger):
    wanted = a_job(
        args={"size": 5, "path": "inbox/µ"}, lock_key="l", priority=6, max_attempts=2, delay_s=4.0
    )
    item = an_event("key", wanted, payload={"b": 1, "a": 2}, occurred_at=12.5)
    recorded = ledger.record([item])
    assert recorded == Recorded([item.id], {}, [])
    with ledger.look() as connection:
        written = connection.execute(event.select()).one()._asdict()
    assert written == {
        "id": item.id,
        "kind": "k",
        "schema": 1,
        "dedupe_key": "key",
        "subject": "s",
        "payload": '{"a":2,"b":1}',
        "source": "test",
        "parent_event_id": None,
        "cause_job_id": None,
        "occurred_at": 12.5,
        "recorded_at": NOON,
    }
    row = only(ledger)._asdict()
    assert row.pop("id")[14] == "7"
    assert row == {
        "event_id": item.id,
        "task": "ingest.try",
        "queue": "ingest",
        "args": '{"path":"inbox/µ","size":5}',
        "subject": "s",
        "lock_key": "l",
        "coalesce_key": None,
        "priority": 6,
        "state": "waiting",
        "attempts": 0,
        "max_attempts": 2,
        "not_before": NOON + 4.0,
        "sent_at": None,
        "sends": 0,
        "owner": None,
        "error_class": None,
        "error_text": None,
        "created_at": NOON,
        "started_at": None,
        "finished_at": None,
        "batch_id": None,
        "requested_by": None,
    }


def test_record_of_nothing(ledger):
    assert ledger.record([]) == Recorded([], {}, [])


def test_occurred_at_defaults_to_the_ledgers_time(ledger):
    ledger.record([an_event("key")])
    with ledger.look() as connection:
        assert connection.scalar(sa.select(event.c.occurred_at)) == NOON


def test_known_key_changes_nothing(ledger):
    first = an_event("key", a_job())
    ledger.record([first])
    again = ledger.record([an_event("key", a_job()), an_event("other")])
    assert again.known == {"key": first.id}
    assert len(again.new) == 1 and again.hints == []
    assert count(ledger, event) == 2 and len(jobs(ledger)) == 1


def test_same_key_twice_in_one_call(ledger):
    first, second = an_event("key", a_job()), an_event("key", a_job())
    recorded = ledger.record([first, second])
    assert recorded.new == [first.id] and recorded.known == {"key": first.id}
    assert len(jobs(ledger)) == 1


def test_recorded_again_after_a_crash_tells_its_own_id(ledger):
    item = an_event("key", a_job())
    ledger.record([item])
    assert ledger.record([item]) == Recorded([], {"key": item.id}, [])


def test_recorders_in_parallel_make_each_event_once(ledger):
    """Overlapping keys in different order: one event and one job per key (race R2)."""
    keys = [f"key{n}" for n in range(20)]

    def record(order: list[str]) -> int:
        return sum(
            len(ledger.record([an_event(key, a_job()) for key in order[start : start + 4]]).new)
            for start in range(0, 20, 2)
        )

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(record, (keys, keys[::-1], keys[10:] + keys[:10], keys[::-1])))
    assert sum(made) == 20
    assert count(ledger, event) == 20 and len(jobs(ledger)) == 20


# --- the send after record ---


def test_ten_jobs_are_sent_at_once(ledger):
    hints = ledger.record([an_event(f"e{n}", a_job(priority=n)) for n in range(10)]).hints
    assert sorted(hint.priority for hint in hints) == list(range(10))
    assert {hint.job_id for hint in hints} == {row.id for row in jobs(ledger)}
    assert {(hint.task, hint.queue, hint.after_timeout) for hint in hints} == {
        ("ingest.try", "ingest", False)
    }
    assert {(row.sent_at, row.sends) for row in jobs(ledger)} == {(NOON, 1)}


def test_eleven_jobs_wait_for_the_relay(ledger):
    assert ledger.record([an_event("e", *[a_job()] * 11)]).hints == []
    assert {(row.sent_at, row.sends) for row in jobs(ledger)} == {(None, 0)}


def test_full_queue_waits_for_the_relay(ledger):
    ledger.has_room = lambda queue: queue == "stats"
    (hint,) = ledger.record([an_event("e", a_job(), a_job(queue="stats"))]).hints
    assert hint.queue == "stats"
    assert only(ledger, job_table.c.queue == "ingest").sent_at is None


def test_later_job_waits_for_the_relay(ledger):
    assert ledger.record([an_event("e", a_job(delay_s=0.5))]).hints == []


# --- coalescing ---


def test_triggers_share_one_fresh_job_and_move_it(ledger, clock):
    ledger.record([an_event("t1", gate("g", 60.0))])
    clock.advance(30.0)
    assert ledger.record([an_event("t2", gate("g", 60.0))]).hints == []
    row = only(ledger)
    assert (row.created_at, row.not_before) == (NOON, NOON + 90.0)


def test_triggers_move_a_job_by_max_wait_at_most(ledger, clock):
    for n in range(12):
        ledger.record([an_event(f"t{n}", gate("g", 60.0, max_wait_s=100.0))])
        clock.advance(10.0)
    assert only(ledger).not_before == NOON + 100.0


def test_trigger_of_a_sent_job_takes_the_hint_back(ledger):
    """Whoever moves not_before sets sent_at to NULL, else the relay never sends it again."""
    (hint,) = ledger.record([an_event("t1", gate("g"))]).hints
    assert job(ledger, hint.job_id).sent_at == NOON
    assert ledger.record([an_event("t2", gate("g", 5.0))]).hints == []
    row = only(ledger)
    assert (row.sent_at, row.not_before) == (None, NOON + 5.0)


def test_keys_do_not_share(ledger):
    ledger.record([an_event("t", gate("b"), gate("a"), gate("b"))])
    assert sorted(row.coalesce_key for row in jobs(ledger)) == ["a", "b"]


def test_trigger_after_the_claim_makes_a_new_job(ledger):
    (first,) = ledger.record([an_event("t1", gate("g"))]).hints
    take(ledger, first.job_id)
    (second,) = ledger.record([an_event("t2", gate("g"))]).hints
    assert second.job_id != first.job_id
    assert job(ledger, second.job_id).state == "waiting"


@pytest.mark.parametrize("back", [RETRY, LOST], ids=lambda result: result.outcome)
def test_claimed_job_goes_back_beside_a_newer_one(ledger, back):
    """Race R1: the old row returns to waiting while a fresh one with its key waits."""
    (first,) = ledger.record([an_event("t1", gate("g"))]).hints
    claim = take(ledger, first.job_id)
    ledger.record([an_event("t2", gate("g"))])
    ledger.finish(claim, back)
    assert {(row.state, row.attempts) for row in jobs(ledger)} == {("waiting", 1), ("waiting", 0)}
    ledger.record([an_event("t3", gate("g"))])
    assert len(jobs(ledger)) == 2


# --- claim ---


def test_claim_gives_the_job(ledger, clock):
    clock.advance(1.0)
    job_id = add(ledger, "e", args={"n": 1}, lock_key="l", max_attempts=4, priority=6)
    clock.advance(2.0)
    expected = Claim(
        job_id=job_id,
        n=1,
        max_attempts=4,
        task="ingest.try",
        queue="ingest",
        args={"n": 1},
        subject="s",
        lock_key="l",
        event_id=job(ledger, job_id).event_id,
        priority=6,
        started_at=NOON + 3.0,
        owner="me|1|2.0",
    )
    assert ledger.claim(job_id, "me|1|2.0") == expected
    row = job(ledger, job_id)
    assert (row.state, row.attempts, row.owner, row.started_at) == (
        "running",
        1,
        "me|1|2.0",
        NOON + 3.0,
    )


def test_unknown_job_is_a_duplicate(ledger):
    assert ledger.claim("nobody", "w") == "duplicate"


@pytest.mark.parametrize("state", ["running", "done", "skipped", "dead", "cancelled"])
def test_only_a_waiting_job_is_claimed(ledger, state):
    job_id = add(ledger, "e")
    change(ledger, "UPDATE job SET state = :state", state=state)
    assert ledger.claim(job_id, "w") == "duplicate"
    assert (job(ledger, job_id).state, job(ledger, job_id).attempts) == (state, 0)


def test_job_is_claimed_when_due_and_not_earlier(ledger, clock):
    job_id = add(ledger, "e", delay_s=10.0)
    clock.advance(9.875)
    assert ledger.claim(job_id, "w") == "duplicate"
    clock.advance(0.125)
    assert take(ledger, job_id).n == 1


def test_one_of_many_claimers_wins(ledger):
    job_id = add(ledger, "e")
    barrier = threading.Barrier(4)

    def claim(owner):
        barrier.wait()
        return ledger.claim(job_id, owner)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(claim, "abcd"))
    assert sorted(isinstance(answer, Claim) for answer in answers) == [False, False, False, True]
    assert answers.count("duplicate") == 3
    assert job(ledger, job_id).attempts == 1


def test_attempts_only_grow(ledger):
    job_id = add(ledger, "e")
    for n in (1, 2, 3):
        claim = take(ledger, job_id)
        assert claim.n == n
        ledger.finish(claim, RETRY)
        assert job(ledger, job_id).attempts == n


def test_held_lock_is_busy_and_the_hint_is_taken_back(ledger):
    holder, other = add(ledger, "e1", lock_key="l"), add(ledger, "e2", lock_key="l")
    take(ledger, holder)
    assert ledger.claim(other, "w2") == "busy"
    row = job(ledger, other)
    assert (row.state, row.attempts, row.owner, row.sent_at) == ("waiting", 0, None, None)


def test_other_locks_and_no_locks_run_together(ledger):
    for n, lock_key in enumerate(("a", "b", None, None)):
        take(ledger, add(ledger, f"e{n}", lock_key=lock_key))
    assert {row.state for row in jobs(ledger)} == {"running"}


# --- finish ---


def test_finish_writes_everything(ledger, clock):
    claim = take(ledger, add(ledger, "e", max_attempts=3), "me")
    clock.advance(7.0)
    made = NewProduct("out", "l0", "aca_l0/2019/272/x", 3_000_000_000, "f" * 64)
    caused = an_event("follow", a_job(priority=0), cause_job_id=claim.job_id)
    result = Result(
        "ok",
        "done",
        products=[made],
        events=[caused],
        code_version="1.2",
        log_path="logs/x",
        cpu_s=0.5,
        max_rss_kb=12,
    )
    hints = ledger.finish(claim, result)
    row = job(ledger, claim.job_id)
    assert (row.state, row.owner, row.sent_at, row.finished_at, row.attempts, row.max_attempts) == (
        "done",
        None,
        None,
        NOON + 7.0,
        1,
        3,
    )
    with ledger.look() as connection:
        history = connection.execute(attempt.select()).one()._asdict()
        (published,) = connection.execute(product.select()).mappings()
        assert connection.execute(event.select().where(event.c.id == caused.id)).one()
    assert history == {
        "job_id": claim.job_id,
        "n": 1,
        "owner": "me",
        "code_version": "1.2",
        "started_at": NOON,
        "finished_at": NOON + 7.0,
        "outcome": "ok",
        "error_class": None,
        "traceback": None,
        "log_path": "logs/x",
        "cpu_s": 0.5,
        "max_rss_kb": 12,
    }
    fields = {**asdict(made), "job_id": claim.job_id, "n": 1, "created_at": NOON + 7.0}
    assert {name: published[name] for name in fields} == fields
    follow_up = only(ledger, job_table.c.event_id == caused.id)
    assert hints == [Hint(follow_up.id, "ingest.try", "ingest", 0)]


def test_retry_waits_for_its_delay(ledger):
    claim = take(ledger, add(ledger, "e"))
    failed = Result(
        "retry", "waiting", delay_s=20.0, error_class="Busy", error_text="later", traceback="Tb"
    )
    assert ledger.finish(claim, failed) == []
    row = job(ledger, claim.job_id)
    assert (row.state, row.not_before, row.sent_at, row.owner, row.finished_at) == (
        "waiting",
        NOON + 20.0,
        None,
        None,
        None,
    )
    assert (row.error_class, row.error_text) == ("Busy", "later")


def test_more_attempts_raise_the_limit(ledger):
    claim = take(ledger, add(ledger, "e", max_attempts=2))
    ledger.finish(claim, Result("retry", "waiting", more_attempts=1))
    assert take(ledger, claim.job_id).max_attempts == 3


@pytest.mark.parametrize("state", ["done", "skipped", "dead", "cancelled"])
def test_terminal_jobs_have_an_end(ledger, state):
    claim = take(ledger, add(ledger, "e"))
    ledger.finish(claim, Result("ok", state))
    assert job(ledger, claim.job_id).finished_at == NOON


def _is_refused(ledger: Ledger, claim: Claim) -> None:
    """The attempt cannot finish, and what it wanted to write is not there."""
    before = [row._asdict() for row in jobs(ledger)]
    history = count(ledger, attempt)
    stale = Result(
        "ok",
        "done",
        products=[NewProduct("out", "k", "p", 1, "0" * 64)],
        events=[an_event("stale", a_job())],
    )
    with pytest.raises(LeaseLostError, match=rf"{claim.job_id}: attempt {claim.n} was taken over"):
        ledger.finish(claim, stale)
    assert [row._asdict() for row in jobs(ledger)] == before
    assert (count(ledger, attempt), count(ledger, product)) == (history, 0)
    assert ledger.record([an_event("stale")]).known == {}
    assert ledger.holds(claim) is None


def test_finished_attempt_cannot_finish_again(ledger):
    claim = take(ledger, add(ledger, "e"))
    ledger.finish(claim, DONE)
    _is_refused(ledger, claim)


def test_lost_attempt_cannot_finish(ledger):
    claim = take(ledger, add(ledger, "e"))
    ledger.finish(claim, LOST)
    _is_refused(ledger, claim)


def test_older_attempt_cannot_finish_a_newer_one(ledger):
    old = take(ledger, add(ledger, "e"), "zombie")
    ledger.finish(old, LOST)
    new = take(ledger, old.job_id, "heir")
    _is_refused(ledger, old)
    ledger.finish(new, DONE)
    assert job(ledger, new.job_id).state == "done"


def test_completion_wins_over_the_lost_scan(ledger):
    claim = take(ledger, add(ledger, "e"))
    ledger.finish(claim, DONE)
    with pytest.raises(LeaseLostError):
        ledger.finish(claim, LOST)
    assert job(ledger, claim.job_id).state == "done"


def test_holds_tells_the_limit_and_a_cancel(ledger):
    claim = take(ledger, add(ledger, "e", max_attempts=3))
    assert ledger.holds(claim) == 3
    change(ledger, "UPDATE job SET max_attempts = 0")
    assert ledger.holds(claim) == 0


# --- hand-over ---


def test_end_of_a_holder_sends_the_best_that_waits(ledger, clock):
    holder = take(ledger, add(ledger, "holder", lock_key="l"))
    add(ledger, "later", lock_key="l", priority=0, delay_s=60.0)
    add(ledger, "worse", lock_key="l", priority=6)
    clock.advance(1.0)
    best = add(ledger, "best", lock_key="l", priority=3)
    clock.advance(1.0)
    add(ledger, "younger", lock_key="l", priority=3)
    add(ledger, "foreign", lock_key="m", priority=0)
    clock.advance(1.0)
    assert ledger.finish(holder, DONE) == [Hint(best, "ingest.try", "ingest", 3)]
    assert (job(ledger, best).sent_at, job(ledger, best).sends) == (NOON + 3.0, 2)


def test_end_without_lock_hands_nothing_over(ledger):
    claim = take(ledger, add(ledger, "e"))
    add(ledger, "other")
    assert ledger.finish(claim, DONE) == []


def test_hint_after_a_timeout_says_so(ledger):
    claim = take(ledger, add(ledger, "e"))
    ledger.finish(claim, Result("timeout", "waiting", error_class="Timeout"))
    assert ledger.release("ingest", 5) == [Hint(claim.job_id, "ingest.try", "ingest", 3, True)]


# --- release ---


def _unsent(ledger: Ledger, key: str, **more: object) -> str:
    job_id = add(ledger, key, **more)
    change(ledger, "UPDATE job SET sent_at = NULL, sends = 0 WHERE id = :id", id=job_id)
    return job_id


def _ids(hints: list[Hint]) -> list[str]:
    return [hint.job_id for hint in hints]


def test_release_best_first_within_the_room(ledger, clock):
    low = _unsent(ledger, "low", priority=9)
    old = _unsent(ledger, "old", priority=3)
    clock.advance(1.0)
    young = _unsent(ledger, "young", priority=3)
    urgent = _unsent(ledger, "urgent", priority=0)
    assert _ids(ledger.release("ingest", 3)) == [urgent, old, young]
    assert (job(ledger, urgent).sent_at, job(ledger, urgent).sends) == (NOON + 1.0, 1)
    assert _ids(ledger.release("ingest", 3)) == [low]
    assert ledger.release("ingest", 3) == []


def test_release_leaves_other_queues_and_later_jobs(ledger, clock):
    later = add(ledger, "later", delay_s=5.0)
    add(ledger, "other", queue="stats", delay_s=5.0)
    assert ledger.release("ingest", 9) == []
    clock.advance(5.0)
    assert _ids(ledger.release("ingest", 9)) == [later]


def test_release_without_room(ledger):
    _unsent(ledger, "e")
    assert ledger.release("ingest", 0) == [] and ledger.release("ingest", -5) == []


def test_release_one_per_free_lock(ledger):
    take(ledger, add(ledger, "holder", lock_key="held"))
    _unsent(ledger, "blocked", lock_key="held")
    first = _unsent(ledger, "first", lock_key="free", priority=0)
    _unsent(ledger, "second", lock_key="free", priority=3)
    plain = [_unsent(ledger, f"plain{n}", priority=6) for n in range(2)]
    assert set(_ids(ledger.release("ingest", 9))) == {first, *plain}


def test_two_relays_send_each_job_once(ledger):
    ledger.record([an_event("e", *(a_job() for _ in range(200)))])
    barrier = threading.Barrier(2)

    def tick(_relay: int) -> list[str]:
        barrier.wait()
        return [job_id for _ in range(20) for job_id in _ids(ledger.release("ingest", 10))]

    with ThreadPoolExecutor(2) as pool:
        sent = [job_id for part in pool.map(tick, range(2)) for job_id in part]
    assert len(sent) == 200 and len(set(sent)) == 200
    assert {row.sends for row in jobs(ledger)} == {1}


def test_mark_of_an_old_reading_sends_nothing(ledger):
    """The row locks of both databases keep relays apart; the mark would do so without them."""
    job_id = add(ledger, "e")  # sent at once: sends is 1

    def mark(sends):
        key = {"id": job_id, "sends": sends}
        return ledger.transact(
            lambda connection, now: len(
                connection.execute(statements._MARK_SENT, {**key, "now": now}).all()
            )
        )

    assert [mark(0), mark(1), mark(1)] == [0, 1, 0]


# --- resend ---


def test_resend_after_two_seconds_when_all_is_empty(ledger, clock):
    job_id = add(ledger, "e")
    clock.advance(2.0)
    assert ledger.resend("ingest", 5, all_empty=True) == []
    clock.advance(0.125)
    assert _ids(ledger.resend("ingest", 5, all_empty=True)) == [job_id]
    assert (job(ledger, job_id).sent_at, job(ledger, job_id).sends) == (NOON + 2.125, 2)


def test_resend_waits_twice_as_long_each_time_up_to_an_hour(ledger, clock):
    job_id = add(ledger, "e")
    for wait_s in (30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0):
        clock.advance(wait_s)
        assert ledger.resend("ingest", 5, all_empty=False) == []
        clock.advance(0.125)
        assert _ids(ledger.resend("ingest", 5, all_empty=False)) == [job_id]


def test_resend_leaves_what_is_not_a_lost_message(ledger, clock):
    take(ledger, add(ledger, "running"))
    _unsent(ledger, "unsent")
    add(ledger, "other", queue="stats")
    clock.advance(4000.0)
    assert ledger.resend("ingest", 5, all_empty=True) == []
    assert ledger.resend("stats", 0, all_empty=True) == []


# --- transactions ---


def test_reading_does_not_wait_for_a_writer(sqlite_ledger):
    """`look` sees the last commit while somebody holds the write lock, and keeps its view."""
    add(sqlite_ledger, "e")
    writer = sqlite3.connect(sqlite_ledger.url.database, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE job SET priority = 9")
    with sqlite_ledger.look() as connection:
        assert connection.scalar(sa.select(job_table.c.priority)) == 3
        writer.execute("COMMIT")
        assert connection.scalar(sa.select(job_table.c.priority)) == 3
    assert only(sqlite_ledger).priority == 9
    writer.close()


def test_locked_database_is_busy(sqlite_ledger):
    job_id = add(sqlite_ledger, "e")
    sqlite_ledger.engine.dispose()

    @sa.event.listens_for(sqlite_ledger.engine, "connect")
    def be_impatient(connection, _record):
        connection.execute("PRAGMA busy_timeout=20")

    writer = sqlite3.connect(sqlite_ledger.url.database, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageBusyError, match=r"ledger sqlite:.*ledger\.db: database is locked"):
        sqlite_ledger.claim(job_id, "w")
    writer.execute("ROLLBACK")
    writer.close()
    assert take(sqlite_ledger, job_id).n == 1


@pytest.mark.postgres
def test_broken_connection_is_busy_once(postgres_ledger, postgres_server):
    job_id = add(postgres_ledger, "e")
    with postgres_server.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            [postgres_ledger.url.database],
        )
    with pytest.raises(StorageBusyError, match="terminating connection"):
        postgres_ledger.claim(job_id, "w")
    assert take(postgres_ledger, job_id).n == 1


@pytest.mark.postgres
def test_deadlock_is_repeated(postgres_ledger):
    ids = [add(postgres_ledger, f"e{n}") for n in range(2)]
    both = threading.Barrier(2)
    update = sa.text("UPDATE job SET priority = priority + 1 WHERE id = :id")
    tries = []

    def cross(order: list[str]) -> None:
        def work(connection: sa.Connection, _now: float) -> None:
            tries.append(order)
            connection.execute(update, {"id": order[0]})
            if tries.count(order) == 1:
                both.wait()
            connection.execute(update, {"id": order[1]})

        postgres_ledger.transact(work)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(cross, (ids, ids[::-1])))
    assert [row.priority for row in jobs(postgres_ledger)] == [5, 5]
    assert len(tries) == 3


@pytest.mark.postgres
def test_time_is_the_databases_on_postgres(postgres_ledger, monkeypatch):
    ledger = Ledger(postgres_ledger.url.render_as_string(hide_password=False))
    right = time.time()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    claim = take(ledger, add(ledger, "e"))
    assert abs(ledger.now() - right) < 60.0
    assert abs(claim.started_at - right) < 60.0
    ledger.engine.dispose()


def test_time_is_the_hosts_on_sqlite(sqlite_ledger, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 12.0)
    ledger = Ledger(str(sqlite_ledger.url))
    assert ledger.now() == 12.0


# --- the connection ---


@pytest.mark.parametrize(("synchronous", "level"), [("FULL", 2), ("NORMAL", 1)])
def test_sqlite_is_durable_and_waits(sqlite_ledger, synchronous, level):
    ledger = Ledger(str(sqlite_ledger.url), synchronous=synchronous)
    with ledger.look() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
        }
    assert found == {
        "journal_mode": "wal",
        "synchronous": level,
        "busy_timeout": 30000,
        "foreign_keys": 1,
    }
    ledger.engine.dispose()


def test_network_file_system_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "file_system", lambda _folder: "nfs4")
    with pytest.raises(ConfigError, match=r"ledger\.db is on nfs4.*ACAFLOW_LEDGER_URL"):
        Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")


def test_description_hides_the_password():
    ledger = Ledger("postgresql+psycopg://me:secret@db/acaflow")
    assert ledger.describe() == "postgresql+psycopg://me:***@db/acaflow"


@pytest.mark.parametrize(
    ("statement", "indexes"),
    [
        (statements._DUE, {"job_release", "job_lock"}),
        (statements._UNANSWERED, {"job_sent"}),
        (statements._NEXT, {"job_next"}),
        ("SELECT id, attempts, owner FROM job WHERE state = 'running'", {"job_running"}),
    ],
    ids=["release", "resend", "hand-over", "lost"],
)
def test_indexes_serve_the_hot_statements(sqlite_ledger, statement, indexes):
    bounds = {"queue": "q", "now": 1, "room": 1, "lock_key": "l", "first_s": 2.0, "doubles": 1}
    used = {name: value for name, value in bounds.items() if f":{name}" in statement}
    with sqlite_ledger.look() as connection:
        plan = connection.execute(sa.text(f"EXPLAIN QUERY PLAN {statement}"), used).all()
    details = " ".join(row.detail for row in plan)
    for index in indexes:
        assert f"INDEX {index} " in f"{details} ", details


# --- processes ---


def test_beat_and_leave(ledger, clock):
    mine = {
        "name": "ingest@h:7",
        "kind": "worker",
        "queues": "ingest",
        "host": "h",
        "pid": 7,
        "pid_start": 5.25,
        "version": "1",
    }
    ledger.beat(mine)
    clock.advance(10.0)
    ledger.beat(mine)
    with ledger.look() as connection:
        assert connection.execute(process.select()).one()._asdict() == {
            **mine,
            "started": NOON,
            "beat": NOON + 10.0,
        }
    ledger.leave("ingest@h:7")
    assert count(ledger, process) == 0
