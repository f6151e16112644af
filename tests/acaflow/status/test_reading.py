"""What pages and the command line read: lists by key, reasons word for word, counts, chains."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from acaflow.errors import InputError
from acaflow.runtime.ledger import Ledger
from acaflow.runtime.records import NewProduct, Result, id_time
from acaflow.status import reading
from acaflow.status.reading import Code, JobRef, Moment
from tests.conftest import NOON, Clock
from tests.support.facts import DONE, a_job, add, an_event, change, take

NOON_TEXT = "2023:318 22:13:20"  # date -u -d @1700000000 +'%Y:%j %T'
OWNER = "ingest@aca-proc2:12|14|3.5"


def beat(ledger: Ledger, kind: str = "worker", queues: str = "ingest", host: str = "aca-proc2"):
    label = queues.split(",")[0] or kind
    row = {"name": f"{label}@{host}:12", "kind": kind, "queues": queues, "host": host}
    ledger.beat({**row, "pid": 12, "pid_start": 3.5, "version": "0.9"})


def reason(ledger: Ledger, job_id: str) -> reading.Why:
    found = reading.find_job(ledger, job_id)
    assert found is not None
    return reading.why(ledger, found)


def finish_one(ledger: Ledger, clock: Clock, key: str, run_s: float, **more: object) -> str:
    job_id = add(ledger, key, **more)
    claim = take(ledger, job_id, OWNER)
    clock.advance(run_s)
    ledger.finish(claim, DONE)
    return job_id


# --- words ---


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "0 ms"),
        (0.003, "3 ms"),
        (0.01, "0.01 s"),
        (0.994, "0.99 s"),
        (0.996, "1.0 s"),
        (12.4, "12.4 s"),
        (59.96, "1 min 00 s"),
        (192.0, "3 min 12 s"),
        (3599.6, "1 h 00 min"),
        (7500.0, "2 h 05 min"),
        (86399.0, "1 d 0 h"),
        (356400.0, "4 d 3 h"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, said: str):
    assert reading.duration(seconds) == said


def test_moment_is_day_of_year_utc():
    assert reading.moment(NOON) == NOON_TEXT
    assert reading.moment(1795156872.0) == "2026:324 06:41:12"


def test_counted_uses_singular_thousands_and_more_than():
    said = [reading.counted(n, "job") for n in (0, 1, 12, 9999, 12345, reading.MANY)]
    assert said == [
        "0 jobs",
        "1 job",
        "12 jobs",
        "9999 jobs",
        "12\u202f345 jobs",
        "more than 100\u202f000 jobs",
    ]


def test_plain_writes_short_ids_times_and_commands():
    sentence = (
        "a ",
        JobRef("019a9f3c-7b2e-7c41-8e05-52118d41b7f3"),
        " b ",
        Moment(NOON),
        " ",
        Code("acaflow relay"),
    )
    assert reading.plain(sentence) == f"a 8d41b7f3 b {NOON_TEXT} acaflow relay"


# --- why: each cause, word for word ---


def test_why_lock(ledger: Ledger, clock: Clock):
    holder = add(ledger, "1", lock_key="aca0:3", subject="aca0:3")
    take(ledger, holder, OWNER)
    clock.advance(459)
    waiting = add(ledger, "2", lock_key="aca0:3", delay_s=5.0)
    said = reason(ledger, waiting)
    assert (said.cause, said.css) == ("lock", "waiting")
    assert said.text == (
        f"Waits for {holder[-8:]}, which has the lock aca0:3 since {NOON_TEXT}."
        " Only one job at a time may work on aca0:3. It starts as soon as that job ends,"
        " by 2023:318 22:33:20 at the latest (hard limit 1200 s)."
    )
    assert said.bold[1] == JobRef(holder)


def test_why_lock_says_that_the_holder_is_slow(ledger: Ledger, clock: Clock):
    for index in range(3):
        finish_one(ledger, clock, f"past{index}", 21.0)
    holder = add(ledger, "1", lock_key="aca0:3")
    take(ledger, holder, OWNER)
    clock.advance(459)
    said = reason(ledger, add(ledger, "2", lock_key="aca0:3"))
    assert said.text.endswith(" That job is slow: 7 min 39 s, usually 21.0 s.")


def test_why_not_before_after_a_failure(ledger: Ledger, clock: Clock):
    job_id = add(ledger, "1")
    for _ in range(3):
        words = "HTTP 503, the server asked for 1200 s\nmore that nobody needs"
        claim = take(ledger, job_id, OWNER)
        ledger.finish(claim, Result("retry", "waiting", 1200.0, 0, "RemoteUnavailableError", words))
        clock.advance(1200)
    clock.advance(-1200)
    said = reason(ledger, job_id)
    assert said.cause == "not_before"
    assert said.text == (
        "Not before 2023:318 23:13:20. Try 3 failed: HTTP 503, the server asked for 1200 s."
    )


def test_why_not_before_while_inputs_are_missing(ledger: Ledger):
    job_id = add(ledger, "1")
    words = "3 of 5 replicas are here."
    claim = take(ledger, job_id)
    ledger.finish(claim, Result("retry", "waiting", 60.0, 1, "NotReadyError", words))
    assert reason(ledger, job_id).text == (
        "Not before 2023:318 22:14:20. Looked once: 3 of 5 replicas are here."
    )


def test_why_not_before_while_triggers_gather(ledger: Ledger):
    job_id = add(ledger, "1", coalesce_key="c", lock_key="c", delay_s=60.0)
    assert reason(ledger, job_id).text == (
        "Not before 2023:318 22:14:20."
        " Gathers further triggers, until 2023:318 22:23:20 at the latest."
    )


def test_why_priority_with_an_estimate(ledger: Ledger, clock: Clock):
    finish_one(ledger, clock, "past", 38.0)
    for index in range(12):
        add(ledger, f"better{index}", priority=0)
    add(ledger, "equal", priority=6)
    add(ledger, "other queue", priority=0, queue="vv")
    add(ledger, "later", priority=0, delay_s=60.0)
    job_id = add(ledger, "1", priority=6)
    beat(ledger)
    said = reason(ledger, job_id)
    # 12 jobs of 38 s by the 2 processes of one worker: 228 s
    assert said.text == "12 jobs of better priority are ahead; at 38.0 s each about 4 min."
    assert said.cause == "priority"


def test_why_priority_without_history(ledger: Ledger):
    add(ledger, "better", priority=0)
    job_id = add(ledger, "1", priority=9)
    assert reason(ledger, job_id).text == "1 job of better priority is ahead."


def test_why_no_worker(ledger: Ledger, clock: Clock):
    job_id = add(ledger, "1", queue="missions", task="missions.acquire")
    command = "Start one: acaflow worker missions"
    assert reason(ledger, job_id).text == f"No live worker for queue missions. {command}"
    beat(ledger, queues="vv,missions")
    clock.advance(44.9)
    beat(ledger, "relay", "")
    assert reason(ledger, job_id).cause == "sent"
    clock.advance(0.1)
    said = reason(ledger, job_id)
    assert said.text == f"No live worker for queue missions since {NOON_TEXT}. {command}"
    assert said.more[1] == Code("acaflow worker missions")


def test_why_no_relay(ledger: Ledger, clock: Clock):
    job_id = add(ledger, "1")
    beat(ledger, "relay", "")
    clock.advance(30.0)
    beat(ledger)
    assert reason(ledger, job_id).text == (
        f"Nothing is being sent: no relay has beaten since {NOON_TEXT}. Start one: acaflow relay"
    )


def test_why_sent(ledger: Ledger, clock: Clock):
    job_id = add(ledger, "1")
    clock.advance(0.8)
    beat(ledger)
    beat(ledger, "relay", "")
    said = reason(ledger, job_id)
    assert (said.cause, said.css) == ("sent", "queued")
    assert said.text == "Message sent 0.80 s ago; a worker should take it within seconds."


def test_why_not_sent_yet(ledger: Ledger):
    ledger.has_room = lambda _queue: False
    job_id = add(ledger, "1")
    beat(ledger)
    beat(ledger, "relay", "")
    assert reason(ledger, job_id).text == (
        "No message sent yet; the relay sends one as soon as the queue has room."
    )


def test_the_six_checks_stand_in_order_with_one_active(ledger: Ledger):
    job_id = add(ledger, "1", lock_key="aca0:3")
    beat(ledger, "relay", "")
    checks = reason(ledger, job_id).checks
    assert [(check.name, check.passed, check.active) for check in checks] == [
        ("lock", True, False),
        ("not_before", True, False),
        ("priority", True, False),
        ("no_worker", False, True),
        ("no_relay", True, False),
        ("sent", False, False),
    ]
    assert [reading.plain(check.sentence) for check in checks] == [
        "Lock aca0:3: free",
        "Not before: no delay set",
        "Queue ingest: 0 jobs of better priority ahead",
        "Workers for ingest: none live",
        "Relay on aca-proc2: last beat 0 ms ago",
        "Message: sent 0 ms ago",
    ]


def test_why_running(ledger: Ledger):
    job_id = add(ledger, "1")
    take(ledger, job_id, OWNER)
    said = reason(ledger, job_id)
    assert said.text == f"Runs since {NOON_TEXT} on aca-proc2, try 1 of 5."
    assert (said.cause, said.checks) == ("running", ())


def test_why_running_after_a_lost_try_and_slow(ledger: Ledger, clock: Clock):
    for index in range(3):
        finish_one(ledger, clock, f"past{index}", 2.0)
    job_id = add(ledger, "1")
    claim = take(ledger, job_id, OWNER)
    words = "worker killed (out of memory)"
    ledger.finish(claim, Result("lost", "waiting", 0.0, 0, "ProcessDied", words))
    take(ledger, job_id, OWNER)
    clock.advance(10.5)
    said = reason(ledger, job_id)
    assert said.cause == "slow"
    assert said.text == (
        "Runs since 2023:318 22:13:26 on aca-proc2, try 2 of 5."
        " Try 1 was lost at 2023:318 22:13:26: worker killed (out of memory)."
        " This job is slow: 10.5 s, usually 2.0 s."
    )


def test_why_running_with_cancel_asked_and_a_silent_worker(ledger: Ledger, clock: Clock):
    job_id = add(ledger, "1")
    take(ledger, job_id, OWNER)
    change(ledger, "UPDATE job SET max_attempts = 0 WHERE id = :id", id=job_id)
    beat(ledger)
    clock.advance(50)
    assert reason(ledger, job_id).text == (
        f"Runs since {NOON_TEXT} on aca-proc2, try 1 of 1."
        " Cancel asked for; it stops at its next checkpoint."
        f" Its worker is silent since {NOON_TEXT}; the job will be returned."
    )


def test_why_done_counts_products(ledger: Ledger, clock: Clock):
    job_id = add(ledger, "1")
    claim = take(ledger, job_id)
    clock.advance(12.4)
    made = [NewProduct("out", "aca_l0", f"aca0/{n}", 1, "ab") for n in range(3)]
    read = NewProduct("in", "file", "x.fits", 1, "ab")
    ledger.finish(claim, Result("ok", "done", products=[read, *made]))
    assert reason(ledger, job_id).text == "Done in 12.4 s, try 1; 3 products."


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (
            Result("skipped", "skipped", error_text="3 of 5 replicas; waits for 2 more"),
            "Skipped: 3 of 5 replicas; waits for 2 more.",
        ),
        (Result("cancelled", "cancelled"), f"Cancelled {NOON_TEXT}."),
        (
            Result("failed", "dead", error_class="BadInput", error_text="x.fits has no HDU A"),
            f"Dead since {NOON_TEXT}: BadInput. x.fits has no HDU A. The same bytes will fail"
            " again: requeue only after the file is replaced.",
        ),
        (
            Result("failed", "dead", error_class="Timeout", error_text="took over 900 s"),
            f"Dead since {NOON_TEXT}: Timeout. took over 900 s.",
        ),
    ],
)
def test_why_ended(ledger: Ledger, result: Result, said: str):
    job_id = add(ledger, "1")
    ledger.finish(take(ledger, job_id), result)
    assert reason(ledger, job_id).text == said


# --- lists ---


def ended(ledger: Ledger, key: str, state: str, error: str | None = None, **more: object) -> str:
    job_id = add(ledger, key, **more)
    ledger.finish(take(ledger, job_id), Result("failed", state, error_class=error))
    return job_id


@pytest.fixture
def states(ledger: Ledger, clock: Clock) -> dict[str, str]:
    """One job per shown state, a second apart; name to id, oldest first."""
    made = {}
    for state in ("done", "skipped", "dead", "cancelled"):
        made[state] = ended(ledger, state, state, "BadInput" if state == "dead" else None)
        clock.advance(1)
    made["running"] = add(ledger, "running", task="vv.process", queue="vv")
    take(ledger, made["running"], OWNER)
    clock.advance(1)
    made["waiting"] = add(ledger, "waiting", delay_s=60.0, subject="aca0:3")
    clock.advance(1)
    made["queued"] = add(ledger, "queued")
    return made


def test_each_state_lists_its_own_job(ledger: Ledger, states: dict[str, str]):
    found = {
        state: [(job.id, job.shown) for job in reading.list_jobs(ledger, state=state).rows]
        for state in reading.SHOWN_STATES
    }
    assert found == {state: [(job_id, state)] for state, job_id in states.items()}


def test_all_jobs_come_newest_first(ledger: Ledger, states: dict[str, str]):
    listing = reading.list_jobs(ledger)
    assert [job.id for job in listing.rows] == list(states.values())[::-1]
    assert (listing.older, listing.examined_to) == (None, None)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"queue": "vv"}, ["running"]),
        ({"task": "vv.process"}, ["running"]),
        ({"subject": "aca0:3"}, ["waiting"]),
        ({"subject": "aca0:3", "state": "waiting"}, ["waiting"]),
        ({"subject": "aca0:3", "state": "queued"}, []),
        ({"error": "BadInput"}, ["dead"]),
        ({"state": "dead", "error": "Poison"}, []),
        ({"state": "dead", "task": "ingest.try", "queue": "ingest"}, ["dead"]),
        ({"state": "done", "task": "vv.process"}, []),
        ({"start": NOON + 4}, ["queued", "waiting", "running"]),
        ({"start": NOON + 1, "stop": NOON + 3}, ["dead", "skipped"]),
    ],
)
def test_filters(ledger: Ledger, states: dict[str, str], filters: dict, expected: list[str]):
    found = [job.id for job in reading.list_jobs(ledger, **filters).rows]
    assert found == [states[name] for name in expected]


def test_an_unknown_state_or_position_is_refused(ledger: Ledger):
    with pytest.raises(InputError, match="no state 'lost'; there are: waiting, queued, running"):
        reading.list_jobs(ledger, state="lost")
    with pytest.raises(InputError, match="before = 'x' is no position in a list"):
        reading.list_jobs(ledger, before="x")


def test_pages_by_key_show_every_job_once_though_times_are_equal(ledger: Ledger):
    made = ledger.record([an_event(str(n), a_job()) for n in range(11)])
    assert len(made.new) == 11
    seen, before = [], None
    for expected in (4, 4, 3):
        listing = reading.list_jobs(ledger, before=before, limit=4)
        assert len(listing.rows) == expected
        seen += [job.id for job in listing.rows]
        before = listing.older
    assert before is None
    assert sorted(seen, reverse=True) == seen and len(set(seen)) == 11


def test_a_filter_without_index_stops_and_says_how_far_it_came(
    ledger: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reading, "WINDOW", 5)
    wanted = ended(ledger, "old", "dead", "Poison")
    for n in range(7):
        clock.advance(1)
        ended(ledger, str(n), "done")
    first = reading.list_jobs(ledger, error="Poison")
    assert first.rows == []
    assert first.examined_to == NOON + 3
    second = reading.list_jobs(ledger, error="Poison", before=first.older)
    assert [job.id for job in second.rows] == [wanted]
    assert second.older is None


def test_a_backlog_is_listed_from_its_newest(
    ledger: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reading, "WINDOW", 5)
    made = []
    for n in range(9):
        clock.advance(1)
        made.append(add(ledger, str(n), delay_s=100.0))
    first = reading.list_jobs(ledger, state="waiting", limit=3)
    assert [job.id for job in first.rows] == made[:-4:-1]


def test_find_job_by_full_id_and_last_digits(ledger: Ledger):
    job_id = add(ledger, "1")
    add(ledger, "2")
    for identity in (job_id, job_id[-8:], f" {job_id[-8:].upper()} "):
        found = reading.find_job(ledger, identity)
        assert found is not None and found.id == job_id
    assert reading.find_job(ledger, "00000000") is None


def test_find_job_refuses_digits_that_two_jobs_share(ledger: Ledger):
    one, two = add(ledger, "1"), add(ledger, "2")
    twin = two[:-8] + one[-8:]
    change(ledger, "UPDATE job SET id = :twin WHERE id = :two", twin=twin, two=two)
    with pytest.raises(InputError, match=f"more than one job ends in {one[-8:]}"):
        reading.find_job(ledger, one[-8:])


def test_wait_and_run_times(ledger: Ledger, clock: Clock):
    job_id = add(ledger, "1")
    clock.advance(2)
    claim = take(ledger, job_id, OWNER)
    clock.advance(3)
    running = reading.find_job(ledger, job_id)
    assert running is not None
    assert (running.wait_s(clock()), running.run_s(clock())) == (2.0, 3.0)
    ledger.finish(claim, Result("retry", "waiting", delay_s=60.0))
    clock.advance(10)
    again = reading.find_job(ledger, job_id)
    assert again is not None
    assert (again.wait_s(clock()), again.run_s(clock())) == (15.0, None)


# --- one job, one event ---


@pytest.fixture
def chain(ledger: Ledger, clock: Clock) -> dict[str, str]:
    """A file whose job emits an event that causes another job, which makes a product."""
    first = add(ledger, "file", subject="aca0:3")
    claim = take(ledger, first, OWNER)
    clock.advance(2)
    follow = an_event(
        "follow",
        a_job(task="vv.process", queue="vv", subject="obsid:1"),
        kind="aca_l0.updated",
        parent_event_id=claim.event_id,
        cause_job_id=first,
    )
    read = NewProduct("in", "file", "x.fits", 10, "ab")
    ledger.finish(
        claim,
        Result("ok", "done", products=[read], events=[follow], log_path="state/logs/jobs/x.log"),
    )
    second = reading.list_jobs(ledger, task="vv.process").rows[0].id
    claim_2 = take(ledger, second)
    clock.advance(3)
    ledger.finish(
        claim_2, Result("ok", "done", products=[NewProduct("out", "report", "vv/1", 5, "cd")])
    )
    change(
        ledger,
        "UPDATE event SET kind = 'file.aca_l0.arrived' WHERE subject = 's' AND id = :id",
        id=claim.event_id,
    )
    return {"first": first, "second": second, "event": claim.event_id, "follow": follow.id}


def test_job_detail_tells_causes_effects_files_and_tries(
    ledger: Ledger, chain: dict[str, str], clock: Clock
):
    sibling = add(ledger, "again", subject="aca0:3")
    job = reading.find_job(ledger, chain["first"])
    assert job is not None
    detail = reading.job_detail(ledger, job)
    assert [(link.event.id, link.cause) for link in detail.chain] == [(chain["event"], None)]
    ((effect),) = detail.effects
    assert effect.event.id == chain["follow"]
    assert [caused.id for caused in effect.jobs] == [chain["second"]]
    assert [item.path for item in detail.inputs] == ["x.fits"]
    assert detail.products == []
    (attempt,) = detail.attempts
    assert (attempt.n, attempt.outcome, attempt.host) == (1, "ok", "aca-proc2")
    assert attempt.log_path == "state/logs/jobs/x.log"
    assert [other.id for other in detail.siblings] == [sibling]
    assert detail.usual_s == 2.0


def test_job_detail_follows_the_chain_to_the_file(ledger: Ledger, chain: dict[str, str]):
    job = reading.find_job(ledger, chain["second"])
    assert job is not None
    links = reading.job_detail(ledger, job).chain
    assert [link.event.id for link in links] == [chain["event"], chain["follow"]]
    assert links[0].cause is None
    assert links[1].cause is not None and links[1].cause.id == chain["first"]


def test_job_detail_shows_the_running_try_first(ledger: Ledger):
    job_id = add(ledger, "1")
    ledger.finish(take(ledger, job_id), Result("retry", "waiting"))
    take(ledger, job_id, OWNER)
    job = reading.find_job(ledger, job_id)
    assert job is not None
    tries = reading.job_detail(ledger, job).attempts
    assert [(item.n, item.outcome) for item in tries] == [(2, "running"), (1, "retry")]


def test_event_detail(ledger: Ledger, chain: dict[str, str]):
    seen = reading.event_detail(ledger, chain["event"])
    assert seen is not None
    assert [job.id for job in seen.jobs] == [chain["first"]]
    assert [link.event.id for link in seen.effects] == [chain["follow"]]
    assert reading.event_detail(ledger, "no such event") is None


def test_products_tell_the_time_since_the_file(ledger: Ledger, chain: dict[str, str]):
    (made,) = reading.latest_products(ledger)
    assert (made.path, made.job_id, made.subject) == ("vv/1", chain["second"], "obsid:1")
    assert made.after_arrival_s == pytest.approx(5.0)  # 2 s and 3 s after the arrival
    assert reading.producer_of(ledger, "vv/1") is not None
    assert reading.producer_of(ledger, "x.fits") is None


def test_products_without_a_file_have_no_such_time(ledger: Ledger):
    claim = take(ledger, add(ledger, "1"))
    ledger.finish(claim, Result("ok", "done", products=[NewProduct("out", "k", "p", 1, "ab")]))
    assert [item.after_arrival_s for item in reading.latest_products(ledger)] == [None]


def test_list_events_by_kind_prefix_and_page(ledger: Ledger, clock: Clock):
    for n, kind in enumerate(["file.a", "file.b", "other", "file.a"]):
        ledger.record([an_event(str(n), kind=kind)])
        clock.advance(1)
    listed = reading.list_events(ledger, kind="file.", limit=2)
    assert [event.kind for event in listed.rows] == ["file.a", "file.b"]
    rest = reading.list_events(ledger, kind="file.", limit=2, before=listed.older)
    assert [event.recorded_at for event in rest.rows] == [NOON]
    assert rest.older is None
    assert [event.kind for event in reading.list_events(ledger, kind="other").rows] == ["other"]
    assert len(reading.list_events(ledger).rows) == 4


# --- counts ---


def test_state_counts(ledger: Ledger, states: dict[str, str]):
    expected = {"waiting": 1, "queued": 1, "running": 1, "dead": 1}
    assert reading.state_counts(ledger) == expected
    assert reading.dead_count(ledger) == 1


def test_routing_rates_count_a_day_and_keep_the_last(ledger: Ledger, clock: Clock):
    ledger.record([an_event("1", kind="job.dead"), an_event("2", kind="gone.kind")])
    clock.advance(86401)
    ledger.record([an_event("3", kind="job.dead")])
    rates = reading.routing_rates(ledger)
    assert rates["job.dead"] == (1, NOON + 86401)
    assert rates["gone.kind"] == (0, NOON)
    assert rates["file.aca_l0.arrived"] == (0, None)


def test_arrivals_fall_into_their_hours(ledger: Ledger, clock: Clock):
    since = NOON - 10 * 3600
    for n, hour in enumerate((0, 0, 3, 9)):
        clock.now = since + hour * 3600 + 10
        ledger.record([an_event(str(n), kind="file.aca_l0.arrived")])
    clock.now = NOON
    counts = reading.arrivals_per_hour(ledger, since)["file.aca_l0.arrived"]
    assert counts == [2, 0, 0, 1, 0, 0, 0, 0, 0, 1] + [0] * 14


def test_the_running_hour_is_counted_anew(ledger: Ledger, clock: Clock):
    since = NOON - 23 * 3600
    for n in range(3):
        ledger.record([an_event(str(n), kind="file.aca_l0.arrived")])
        assert sum(reading.arrivals_per_hour(ledger, since)["file.aca_l0.arrived"]) == n + 1


def test_overview_of_queues(ledger: Ledger, clock: Clock):
    for n in range(3):
        job_id = add(ledger, str(n))
        clock.advance(1 + n)
        claim = take(ledger, job_id)
        clock.advance(10)
        ledger.finish(claim, DONE)
    add(ledger, "due")
    add(ledger, "later", delay_s=50.0)
    clock.advance(4)
    beat(ledger)
    rows = {row.name: row for row in reading.overview(ledger, NOON - 3600).queues}
    row = rows["ingest"]
    assert (row.waiting, row.queued, row.running, row.dead, row.done) == (1, 1, 0, 0, 3)
    assert (row.wait_s, row.run_s, row.oldest_due_s) == (2.0, 10.0, 4.0)
    assert row.done_per_hour == [0, 3] + [0] * 22
    assert (row.live, row.known) == (1, 1)
    assert rows["vv"].wait_s is None and rows["vv"].oldest_due_s is None


def test_a_job_behind_a_lock_is_not_the_oldest_due(ledger: Ledger, clock: Clock):
    take(ledger, add(ledger, "1", lock_key="k"))
    add(ledger, "2", lock_key="k")
    clock.advance(5)
    add(ledger, "3")
    clock.advance(2)
    rows = {row.name: row for row in reading.overview(ledger, NOON).queues}
    assert rows["ingest"].oldest_due_s == 2.0


def test_dead_jobs_are_grouped_by_task_and_class(ledger: Ledger, clock: Clock):
    for n in range(3):
        ended(ledger, f"a{n}", "dead", "BadInput")
        clock.advance(1)
    ended(ledger, "b", "dead", "Timeout", task="vv.process", queue="vv")
    groups = reading.overview(ledger, NOON).attention[:2]
    assert [(group.what, group.error_class, group.jobs, group.since) for group in groups] == [
        ("vv.process", "Timeout", 1, NOON + 3),
        ("ingest.try", "BadInput", 3, NOON),
    ]


def test_attention_names_silent_stuck_and_unsent(ledger: Ledger, clock: Clock):
    add(ledger, "1")
    beat(ledger)
    beat(ledger, "relay", "")
    assert reading.overview(ledger, NOON).attention == []
    clock.advance(60)
    found = [(item.kind, item.what, item.why) for item in reading.overview(ledger, NOON).attention]
    assert found == [
        ("no_relay", "relay", "nothing is being sent; start one: acaflow relay"),
        ("stuck", "ingest", "no live worker; start one: acaflow worker ingest"),
        ("silent", "relay@aca-proc2:12", "no beat for 1 min 00 s"),
        ("silent", "ingest@aca-proc2:12", "no beat for 1 min 00 s"),
    ]


def test_a_silent_worker_that_was_replaced_needs_nobody(ledger: Ledger, clock: Clock):
    beat(ledger)
    clock.advance(60)
    beat(ledger, queues="ingest,vv", host="aca-proc3")
    assert reading.overview(ledger, NOON).attention == []


def test_processes_say_what_they_do_and_are_forgotten_after_a_day(ledger: Ledger, clock: Clock):
    beat(ledger)
    job_id = add(ledger, "1")
    take(ledger, job_id, OWNER)
    (process,) = reading.processes(ledger)
    assert [job.id for job in process.jobs] == [job_id]
    assert (process.live, process.queues) == (True, ("ingest",))
    clock.advance(86401)
    assert reading.processes(ledger) == []


def test_ids_sort_by_time(ledger: Ledger):
    assert id_time(add(ledger, "1")) == pytest.approx(NOON, abs=0.001)


# --- every statement finds its rows by an index ---


def test_no_statement_walks_a_whole_table(sqlite_ledger: Ledger, states_of_sqlite: None):
    asked: dict[str, Any] = {}
    engine = sqlite_ledger.engine

    @sa.event.listens_for(engine, "before_cursor_execute")
    def note(_connection, _cursor, statement, parameters, _context, _many) -> None:
        if statement.lstrip().startswith(("SELECT", "WITH")):
            asked[statement] = parameters

    for state in reading.SHOWN_STATES:
        reading.list_jobs(sqlite_ledger, state=state)
        reading.list_jobs(sqlite_ledger, state=state, task="ingest.try", error="BadInput")
    reading.list_jobs(sqlite_ledger, subject="s", before=f"{NOON},0")
    listed = reading.list_jobs(sqlite_ledger, start=NOON - 1, stop=NOON + 99, queue="ingest").rows
    reading.whys(sqlite_ledger, listed)
    reading.job_detail(sqlite_ledger, listed[0])
    reading.event_detail(sqlite_ledger, listed[0].event_id)
    reading.overview(sqlite_ledger, NOON)
    reading.state_counts(sqlite_ledger)
    reading.routing_rates(sqlite_ledger)
    reading.list_events(sqlite_ledger, kind="file.")
    reading.latest_products(sqlite_ledger, before=NOON)
    reading.find_job(sqlite_ledger, listed[0].id[-8:])

    with engine.connect() as connection:
        plans = [
            row[3]
            for statement, parameters in asked.items()
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    walked = {
        plan
        for plan in plans
        if plan.startswith(("SCAN job", "SCAN event", "SCAN product", "SCAN attempt"))
    }
    # The newest rows by key, with a limit; and the few rows of a partial index.
    assert walked <= {
        "SCAN job USING INDEX job_created",
        "SCAN job USING COVERING INDEX job_created",
        "SCAN event USING INDEX event_recorded",
        "SCAN job USING INDEX job_next",
        "SCAN job USING INDEX job_running",
        "SCAN job USING INDEX job_dead",
    }


@pytest.fixture
def states_of_sqlite(sqlite_ledger: Ledger) -> None:
    for n in range(3):
        ended(sqlite_ledger, str(n), "done")
    add(sqlite_ledger, "waits")


def test_a_list_shortens_long_messages_but_keeps_links_and_times(ledger: Ledger):
    job_id = ended(ledger, "1", "dead", "Timeout")
    change(ledger, "UPDATE job SET error_text = :words WHERE id = :id", words="w" * 999, id=job_id)
    said = reading.plain(reason(ledger, job_id).brief)
    assert said == f"Timeout: {'w' * 120}…"
    assert len(reason(ledger, job_id).text) > 999
