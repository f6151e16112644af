"""The routing table, and the events that it makes."""

from __future__ import annotations

import hashlib
from dataclasses import MISSING, fields

import pytest

from acaflow.errors import InputError
from acaflow.runtime.messages import (
    EVENTS,
    QUEUES,
    SCHEDULE,
    TASKS,
    AcaL0Updated,
    JobDead,
    OperatorDid,
    Task,
    Tick,
    file_event,
    known_patterns,
    manual_event,
    new_event,
    operator_event,
    original_name,
    parse_args,
    tick_event,
)
from acaflow.runtime.records import NewJob, canonical_json, id_time, new_id

NAME = "acaf686111014N001_0_img0.fits.gz"
SHA = "ab" * 32

# --- the table itself ---


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_task_is_sound(task):
    assert task.name.split(".")[0] == task.queue
    assert task.queue in QUEUES
    assert task.priority in (0, 3, 6, 9)
    assert task.summary
    assert task.coalesce is None or task.lock is not None, "a coalesced task has a lock"
    soft, hard = task.limits()
    assert 0 < soft < hard <= QUEUES[task.queue].hard_s


@pytest.mark.parametrize("kind", EVENTS.values(), ids=EVENTS)
def test_subscribers_get_all_that_they_need(kind):
    carried = {item.name for item in fields(kind.payload)}
    for name in kind.subscribers:
        needed = {item.name for item in fields(TASKS[name].args) if item.default is MISSING}
        if each := TASKS[name].each:
            assert each[0] in carried
            needed.discard(each[1])
        assert needed <= carried


def test_schedule_entries_have_kinds():
    assert {f"schedule.tick.{name}" for name in SCHEDULE} <= set(EVENTS)
    assert all(period_s > 0 for period_s in SCHEDULE.values())


def test_limits_double_after_a_timeout_within_the_queues():
    plain = Task("stats.x", "stats", object, "", soft_s=500, hard_s=1000)
    assert plain.limits() == (500, 1000)
    assert plain.limits(after_timeout=True) == (1000, 1800)
    assert TASKS["ingest.aca_l0_file"].limits(after_timeout=True) == (900, 1200)


# --- arrivals ---


def test_level0_file_makes_its_event_and_job():
    made = file_event(NAME, f"inbox/.taken/1.{NAME}", SHA, 77, "watch", occurred_at=5.0)
    args = {
        "path": f"inbox/.taken/1.{NAME}",
        "sha256": SHA,
        "size": 77,
        "slot": 0,
        "filetime": 686111014,
    }
    assert (made.kind, made.schema, made.subject) == ("file.aca_l0.arrived", 1, "aca0:0")
    assert (made.source, made.occurred_at, made.payload) == ("watch", 5.0, args)
    assert list(made.jobs) == [
        NewJob("ingest.aca_l0_file", "ingest", args, "aca0:0", priority=3, max_attempts=5)
    ]


def test_dedupe_key_is_kind_subject_name_and_content():
    """task-queue 6.2: sha256(kind | subject | base name and sha256 of the file)."""
    text = f"file.aca_l0.arrived|aca0:0|{NAME}|{SHA}"
    made = file_event(NAME, "anywhere", SHA, 1, "cli:me")
    assert made.dedupe_key == hashlib.sha256(text.encode()).hexdigest()


def test_where_a_file_lies_does_not_make_it_another():
    def key(name=NAME, path="a", sha256=SHA, **more):
        return file_event(name, path, sha256, 1, "watch", **more).dedupe_key

    assert key() == key(path="b")
    assert len({key(), key(name=NAME.replace("_0_", "_1_")), key(sha256="cd" * 32)}) == 3
    assert len({key(), key(force=True), key(force=True)}) == 3


def test_unknown_file_goes_to_the_task_that_refuses_it():
    made = file_event("notes.txt", "inbox/.taken/1.notes.txt", SHA, 3, "watch")
    assert (made.kind, made.subject) == ("file.unknown.arrived", "file:notes.txt")
    (wanted,) = made.jobs
    assert wanted.task == "ingest.unknown_file"
    assert wanted.args == {"path": "inbox/.taken/1.notes.txt", "sha256": SHA, "size": 3}
    assert "acaf<TSTART>" in known_patterns()


@pytest.mark.parametrize("name", [NAME, "two.dots.in.it", ".hidden"])
def test_taken_name_gives_the_delivered_one(name):
    assert original_name(f"inbox/.taken/{new_id()}.{name}") == name


# --- events in general ---


def test_kind_without_subscriber_causes_nothing():
    made = new_event("job.dead", "aca0:0", JobDead("1", "Poison"), "job:1", "1")
    assert made.jobs == [] and made.payload["error_class"] == "Poison"


def test_a_subscriber_gets_the_fields_that_its_arguments_name():
    made = new_event("aca_l0.updated", "aca0:5", AcaL0Updated(5, 1.0, 2.0, ("f",)), "job:1", "1")
    (wanted,) = made.jobs
    assert (wanted.task, wanted.args) == ("ingest.update_l0_store", {"slot": 5})
    assert wanted.coalesce_key == "ingest.update_l0_store:5"
    assert wanted.lock_key == "ingest.l0_store:5"


def test_wrong_payload():
    with pytest.raises(InputError, match=r"aca_l0\.updated carries AcaL0Updated, not Tick"):
        new_event("aca_l0.updated", "s", Tick(1), "job:1", "1")


def test_payload_is_ids_and_paths_never_data(sqlite_ledger):
    """16 KiB of JSON; everything of this payload but the reason takes 36 bytes."""

    def operate(reason):
        made = new_event("operator.drop", "s", OperatorDid("me", (), reason), "cli:me", reason)
        sqlite_ledger.record([made])

    frame = len('{"jobs":[],"reason":"","user":"me"}')
    operate("x" * (16384 - frame))
    with pytest.raises(InputError, match=r"operator\.drop of s: payload above 16384 bytes"):
        operate("x" * (16385 - frame))
    with pytest.raises(InputError, match="payload above"):
        operate("µ" * (16384 - frame))


def test_tick_of_one_slot_is_one_event():
    first, again, later = (tick_event("reconcile", slot) for slot in (20000, 20000, 20001))
    assert first.dedupe_key == again.dedupe_key != later.dedupe_key
    (wanted,) = first.jobs
    assert (wanted.task, wanted.args, wanted.priority) == ("ingest.reconcile", {}, 9)
    assert (wanted.lock_key, wanted.delay_s) == ("ingest.reconcile", 1.0)
    assert wanted.coalesce_key is not None


def test_operator_event_names_its_jobs():
    one = operator_event("cancel", ("j1",), "me", "web:me", "stuck")
    assert (one.subject, one.payload) == (
        "job:j1",
        {"user": "me", "jobs": ("j1",), "reason": "stuck"},
    )
    again = operator_event("cancel", ("j1",), "me", "web:me", "stuck")
    assert one.dedupe_key != again.dedupe_key
    many = operator_event("requeue", tuple(new_id() for _ in range(5000)), "me", "web:me")
    assert many.subject == "jobs:5000" and len(many.payload["jobs"]) == 200


# --- requests by hand ---


def test_request_goes_first_and_says_who():
    made = manual_event("ingest.reindex_l0_file", {"filename": NAME}, "me", "cli:me")
    assert (made.kind, made.subject) == ("job.requested", f"file:{NAME}")
    assert made.payload == {
        "task": "ingest.reindex_l0_file",
        "args": {"filename": NAME},
        "user": "me",
        "not_before": None,
        "batch_id": None,
    }
    assert list(made.jobs) == [
        NewJob(
            "ingest.reindex_l0_file",
            "ingest",
            {"filename": NAME},
            f"file:{NAME}",
            priority=0,
            max_attempts=2,
            requested_by="me",
        )
    ]


def test_backfill_goes_last():
    made = manual_event("ingest.backup_ledger", {}, "me", "cli:me", batch_id="b", delay_s=5.0)
    (wanted,) = made.jobs
    assert (wanted.priority, wanted.batch_id, wanted.delay_s) == (9, "b", 5.0)
    assert wanted.subject == "task:ingest.backup_ledger"


def test_same_request_is_one():
    def key(**more):
        values = more.pop("values", {"checksums": True})
        return manual_event("ingest.reconcile", values, "me", "web:me", **more).dedupe_key

    assert key() == key(values={"checksums": "yes"})
    assert key(values={}) == key(values={"checksums": False})
    others = [
        key(),
        key(values={}),
        key(batch_id="b"),
        key(force=True),
        key(force=True),
    ]
    assert len(set(others)) == len(others)


@pytest.mark.parametrize("name", ["ingest.nothing", "ingest.aca_l0_file"])
def test_only_manual_tasks_are_queued_by_hand(name):
    with pytest.raises(InputError, match=rf"no task '{name}'.*there are: ingest\.reconcile, "):
        manual_event(name, {}, "me", "web:me")


# --- arguments ---

L0 = {"path": "p", "sha256": SHA, "size": 1, "slot": 0, "filetime": 686111014}


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("Yes", True), ("on", True), ("1", True), ("FALSE", False), ("no", False)],
)
def test_text_becomes_a_flag(text, value):
    assert parse_args(TASKS["ingest.reconcile"], {"checksums": text}).checksums is value


def test_text_becomes_a_number():
    assert parse_args(TASKS["ingest.aca_l0_file"], {**L0, "slot": "7"}).slot == 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slot": "seven"}, "slot = 'seven' is not of type int"),
        ({"slot": 1.0}, "slot = 1.0 is not of type int"),
        ({"slot": True}, "slot = True is not of type int"),
        ({"path": 5}, "path = 5 is not of type str"),
        ({"slit": 1}, "slit is not an argument of ingest.aca_l0_file (known: path, "),
    ],
)
def test_wrong_argument(change, message):
    with pytest.raises(InputError) as caught:
        parse_args(TASKS["ingest.aca_l0_file"], {**L0, **change})
    assert message in str(caught.value)


def test_all_wrong_arguments_at_once():
    with pytest.raises(InputError) as caught:
        parse_args(TASKS["ingest.reindex_l0_file"], {"a": 1, "b": 2})
    assert str(caught.value) == (
        "a is not an argument of ingest.reindex_l0_file (known: filename);"
        " b is not an argument of ingest.reindex_l0_file (known: filename);"
        " ingest.reindex_l0_file needs filename (str)"
    )


def test_flag_that_is_none():
    with pytest.raises(InputError, match="checksums = 'perhaps' is not of type bool"):
        parse_args(TASKS["ingest.reconcile"], {"checksums": "perhaps"})


# --- ids and JSON ---


def test_id_is_a_uuid7_of_its_time():
    """RFC 9562 A.6: unix_ts_ms 0x017F22E279B0 is 2022-02-22T19:22:22.000Z."""
    identity = new_id(1645557742.0)
    assert identity[:15] == "017f22e2-79b0-7"
    assert identity[19] in "89ab" and len(identity) == 36
    assert id_time(identity) == 1645557742.0
    assert new_id(1645557742.0) != identity
    assert new_id(1645557742.001) > identity


def test_json_has_one_text_per_value():
    assert canonical_json({"b": [1, 2.5], "a": "µ"}) == '{"a":"µ","b":[1,2.5]}'
