"""A state machine that does everything that can happen to jobs, in any order (task-queue 17.1).

Messages are lost, repeated and late; owners die, some come back as zombies; clocks jump. The
relay and the lost scan are modelled through the ledger's own statements.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from hypothesis import Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from acaflow.errors import LeaseLostError
from acaflow.runtime.ledger import Ledger
from acaflow.runtime.records import TERMINAL, Claim, Hint, NewEvent, Result
from acaflow.runtime.tables import metadata
from tests.conftest import NOON, Clock
from tests.support.facts import DONE, a_job, an_event, gate, job

BACKOFF_S = 10.0
PICK = st.integers(0, 99)
GATES = st.sampled_from(["gate1", "gate2"])
RARELY = st.sampled_from([False, False, False, True])
_RUNNING = sa.text("SELECT id, attempts, max_attempts, owner FROM job WHERE state = 'running'")
_STATES = sa.text("SELECT state, count(*) FROM job GROUP BY state")
_REQUEUE = sa.text("""
UPDATE job SET state = 'waiting', max_attempts = attempts + 5, not_before = :now, sent_at = NULL
WHERE state = 'dead'
""")
_TWICE = {
    "running jobs with one lock": """
        SELECT lock_key FROM job WHERE state = 'running' AND lock_key IS NOT NULL
        GROUP BY lock_key HAVING count(*) > 1""",
    "fresh jobs with one coalesce key": """
        SELECT coalesce_key FROM job WHERE state = 'waiting' AND attempts = 0
        AND coalesce_key IS NOT NULL GROUP BY coalesce_key HAVING count(*) > 1""",
    "ok attempts of one job": """
        SELECT job_id FROM attempt WHERE outcome = 'ok' GROUP BY job_id HAVING count(*) > 1""",
    "jobs of one file": """
        SELECT dedupe_key FROM event JOIN job ON job.event_id = event.id
        WHERE dedupe_key LIKE 'file%' GROUP BY dedupe_key HAVING count(*) > 1""",
}


class LedgerMachine(RuleBasedStateMachine):
    """Recorders, workers, a relay, and everything that goes wrong between them."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        super().__init__()
        self.ledger = ledger
        self.clock = clock
        self.time = clock.now = NOON
        with ledger.engine.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
        self.ticks = count(1)
        self.messages: list[Hint] = []
        self.running: list[Claim] = []
        self.zombies: list[Claim] = []
        self.dead: set[str] = set()
        self.files: set[str] = set()
        self.attempts: dict[str, int] = {}
        self.triggered: dict[str, int] = {}
        self.claimed: dict[str, int] = {}

    # --- producers ---

    def _file(self, n: int, lock: str | None, priority: int) -> NewEvent:
        return an_event(f"file{n}", a_job(lock_key=lock, priority=priority))

    def _trigger(self, key: str, debounce_s: float) -> NewEvent:
        tick = next(self.ticks)
        self.triggered[key] = tick
        return an_event(f"trigger{tick}", gate(key, debounce_s))

    def _send(self, hints: list[Hint], lost: bool) -> None:
        self.messages += [] if lost else hints

    @rule(
        n=st.integers(0, 6),
        lock=st.sampled_from([None, "a", "b"]),
        priority=st.sampled_from([0, 3, 6, 9]),
        lost=RARELY,
    )
    def record_file(self, n: int, lock: str | None, priority: int, lost: bool) -> None:
        item = self._file(n, lock, priority)
        recorded = self.ledger.record([item])
        is_new = item.dedupe_key not in self.files
        self.files.add(item.dedupe_key)
        assert recorded.new == ([item.id] if is_new else [])
        self._send(recorded.hints, lost)

    @rule(key=GATES, debounce_s=st.sampled_from([0.0, 0.0, 5.0, 30.0]), lost=RARELY)
    def trigger(self, key: str, debounce_s: float, lost: bool) -> None:
        self._send(self.ledger.record([self._trigger(key, debounce_s)]).hints, lost)

    # --- messages ---

    @precondition(lambda self: self.messages)
    @rule(pick=PICK, keep=st.booleans())
    def deliver(self, pick: int, keep: bool) -> None:
        message = self.messages.pop(pick % len(self.messages))
        if keep:
            self.messages.append(message)
        claim = self.ledger.claim(message.job_id, f"owner{next(self.ticks)}")
        if not isinstance(claim, Claim):
            return
        assert self.attempts.get(claim.job_id, 0) < claim.n <= claim.max_attempts
        self.attempts[claim.job_id] = claim.n
        self.running.append(claim)
        if claim.task == "ingest.gate":
            self.claimed[str(claim.lock_key)] = next(self.ticks)

    @precondition(lambda self: self.messages)
    @rule(pick=PICK, all_of_them=RARELY)
    def lose(self, pick: int, all_of_them: bool) -> None:
        self.messages.pop(pick % len(self.messages))
        if all_of_them:
            self.messages.clear()

    # --- workers; an attempt of a live owner is never refused ---

    @precondition(lambda self: self.running)
    @rule(
        pick=PICK,
        file=st.none() | st.integers(0, 6),
        key=st.none() | GATES,
        lost=RARELY,
    )
    def succeed(self, pick: int, file: int | None, key: str | None, lost: bool) -> None:
        claim = self.running.pop(pick % len(self.running))
        events = []
        if file is not None:
            events.append(self._file(file, None, 6))
            self.files.add(f"file{file}")
        if key is not None:
            events.append(self._trigger(key, 0.0))
        self._send(self.ledger.finish(claim, Result("ok", "done", events=events)), lost)

    @precondition(lambda self: self.running)
    @rule(pick=PICK, permanently=RARELY, lost=RARELY)
    def fail(self, pick: int, permanently: bool, lost: bool) -> None:
        claim = self.running.pop(pick % len(self.running))
        result = Result("retry", "waiting", delay_s=BACKOFF_S)
        if permanently or claim.n >= claim.max_attempts:
            result = Result("failed", "dead")
        self._send(self.ledger.finish(claim, result), lost)

    @precondition(lambda self: self.running)
    @rule(pick=PICK, is_zombie=st.booleans(), noticed=st.booleans())
    def kill(self, pick: int, is_zombie: bool, noticed: bool) -> None:
        claim = self.running.pop(pick % len(self.running))
        self.dead.add(claim.owner)
        if is_zombie:
            self.zombies.append(claim)
        if noticed:
            self.relay()

    @precondition(lambda self: self.zombies)
    @rule(pick=PICK)
    def zombie_finishes(self, pick: int) -> None:
        claim = self.zombies.pop(pick % len(self.zombies))
        row = job(self.ledger, claim.job_id)
        if (row.state, row.attempts) != ("running", claim.n):
            with pytest.raises(LeaseLostError):
                self.ledger.finish(claim, DONE)
        else:
            self.messages += self.ledger.finish(claim, DONE)

    # --- relay, people, clocks ---

    def _return_lost(self) -> None:
        with self.ledger.look() as connection:
            rows = connection.execute(_RUNNING).all()
        for row in rows:
            if row.owner in self.dead:
                state = "dead" if row.attempts >= row.max_attempts else "waiting"
                claim = _claim_of(row)
                self.messages += self.ledger.finish(claim, Result("lost", state))

    @rule()
    def relay(self) -> None:
        self._return_lost()
        self.messages += self.ledger.release("ingest", 3)
        self.messages += self.ledger.resend("ingest", 3, all_empty=not self.messages)

    @rule()
    def requeue_all_dead(self) -> None:
        self.ledger.transact(lambda connection, now: connection.execute(_REQUEUE, {"now": now}))

    @rule(seconds=st.floats(0.5, 700.0))
    def advance(self, seconds: float) -> None:
        self.time += seconds
        self.clock.advance(seconds)
        self.relay()

    @rule(seconds=st.sampled_from([0.0, -3600.0, 2.0, 3600.0]))
    def shift_clock(self, seconds: float) -> None:
        self.clock.now = self.time + seconds

    # --- what holds after every step, and in the end ---

    @invariant()
    def nothing_is_there_twice(self) -> None:
        with self.ledger.look() as connection:
            twice = {
                what: connection.execute(sa.text(query)).scalars().all()
                for what, query in _TWICE.items()
            }
        assert twice == {what: [] for what in _TWICE}

    def teardown(self) -> None:
        """Run relay and workers until it is quiet: everything ends, no trigger is forgotten."""
        self.shift_clock(0.0)
        for _ in range(100):
            if not self._unfinished():
                break
            self.advance(3601.0)
            while self.messages:
                self.deliver(0, keep=False)
            while self.zombies:  # while their heirs run
                self.zombie_finishes(0)
            while self.running:
                self.succeed(0, None, None, lost=False)
        assert self._unfinished() == {}
        for key, tick in self.triggered.items():
            assert self.claimed.get(key, 0) > tick, f"trigger of {key} without a later claim"

    def _unfinished(self) -> dict[str, int]:
        with self.ledger.look() as connection:
            counts = {row[0]: row[1] for row in connection.execute(_STATES)}
        return {state: n for state, n in counts.items() if state not in TERMINAL}


def _claim_of(row: Any) -> Claim:
    """The claim as the relay knows it: the job row of a running attempt."""
    return Claim(
        job_id=row.id,
        n=row.attempts,
        max_attempts=row.max_attempts,
        task="",
        queue="",
        args={},
        subject="",
        lock_key=None,
        event_id="",
        priority=0,
        started_at=0.0,
        owner=row.owner,
    )


def _explore(ledger, clock, examples):
    run_state_machine_as_test(
        lambda: LedgerMachine(ledger, clock),
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],  # forty steps can be read; making them fewer takes minutes
        ),
    )


def test_anything_in_any_order_on_sqlite(sqlite_ledger, clock):
    ledger = Ledger(str(sqlite_ledger.url), synchronous="NORMAL", clock=clock)
    _explore(ledger, clock, 80)
    ledger.engine.dispose()


@pytest.mark.postgres
def test_anything_in_any_order_on_postgres(postgres_ledger, clock):
    _explore(postgres_ledger, clock, 25)


# --- the known races, step by step ---


@pytest.fixture
def machine(ledger, clock):
    made = LedgerMachine(ledger, clock)
    yield made
    made.nothing_is_there_twice()
    made.teardown()


def test_r1_gate_comes_back_beside_its_successor(machine):
    machine.trigger("gate1", 0.0, lost=False)
    machine.deliver(0, keep=False)
    machine.trigger("gate1", 0.0, lost=False)
    machine.kill(0, is_zombie=False, noticed=True)
    machine.trigger("gate1", 5.0, lost=True)


def test_r5_requeue_does_not_let_a_zombie_pass(machine):
    machine.record_file(0, None, 3, lost=False)
    machine.deliver(0, keep=True)
    machine.kill(0, is_zombie=True, noticed=True)
    machine.deliver(0, keep=True)
    machine.fail(0, permanently=True, lost=False)
    machine.requeue_all_dead()
    machine.deliver(0, keep=True)
    (zombie,) = machine.zombies
    assert machine.ledger.holds(zombie) is None
    machine.zombie_finishes(0)
    machine.succeed(0, None, None, lost=False)


def test_zombie_cannot_finish_what_waits_again(machine):
    machine.record_file(0, None, 3, lost=False)
    machine.deliver(0, keep=False)
    machine.kill(0, is_zombie=True, noticed=True)
    machine.zombie_finishes(0)
    assert machine._unfinished() == {"waiting": 1}


def test_trigger_between_claim_and_finish_runs_again(machine):
    machine.trigger("gate1", 0.0, lost=False)
    machine.deliver(0, keep=False)
    machine.trigger("gate1", 0.0, lost=False)
    machine.deliver(0, keep=False)  # busy: the first still runs
    machine.succeed(0, None, None, lost=True)


def test_all_messages_lost_and_the_clock_set_back(machine):
    machine.shift_clock(3600.0)
    for n in range(4):
        machine.record_file(n, "a", 3, lost=False)
    machine.lose(0, all_of_them=True)
    machine.shift_clock(-3600.0)
    machine.relay()
