"""``acaflow submit``, ``jobs``, ``events``, ``status``, ``health`` and ``db``."""

from __future__ import annotations

import json

import pytest

FOLLOWS = "ingest.update_l0_store"
"""What follows the ingest of a file."""


def only(shell, state):
    """Return the one job in a state, but for what follows an ingest."""
    jobs = shell.json("jobs", "list", "--state", state)["jobs"]
    [job] = [job for job in jobs if job["task"] != FOLLOWS]
    return job


# --- jobs: looking ---


def test_jobs_alone_lists_them(worked):
    header, *lines = worked.good("jobs").out.splitlines()
    assert header.split() == ["JOB", "STATE", "TASK", "SUBJECT", "MADE", "RUN", "TRIES", "ERROR"]
    assert sorted(line.split()[1] for line in lines) == ["dead", "done", "done"]
    assert worked.good("jobs", "list").out.splitlines()[0] == header


@pytest.mark.parametrize(
    ("filters", "subjects"),
    [
        (["--state", "done"], ["aca0:3", "aca0:3"]),
        (["--error", "BadInput"], ["aca0:2"]),
        (["--subject", "aca0:2"], ["aca0:2"]),
        (["--task", "ingest.aca_l0_file"], ["aca0:2", "aca0:3"]),
        (["--queue", "ingest", "--since", "-1d"], ["aca0:2", "aca0:3", "aca0:3"]),
    ],
)
def test_jobs_are_filtered(worked, filters, subjects):
    assert sorted(job["subject"] for job in worked.json("jobs", *filters)["jobs"]) == subjects


@pytest.mark.parametrize(
    "filters", [["--queue", "stats"], ["--since", "2100:001"], ["--state", "running"]]
)
def test_a_filter_that_fits_nothing(worked, filters):
    assert "no such jobs" in worked.refused("jobs", *filters, code=3)


def test_a_list_goes_on_where_it_ended(worked):
    first = worked.json("jobs", "--limit", "2")
    second = worked.json("jobs", "--limit", "2", "--before", first["older"])
    subjects = [job["subject"] for page in (first, second) for job in page["jobs"]]
    assert sorted(subjects) == ["aca0:2", "aca0:3", "aca0:3"]
    assert second["older"] is None
    assert f"--before {first['older']}" in worked("jobs", "--limit", "2").err


def test_one_job_is_shown_by_its_last_digits(worked):
    job = only(worked, "done")
    shown = worked.good("jobs", "show", job["id"][-8:]).out
    assert job["id"] in shown
    assert "file.aca_l0.arrived" in shown
    assert "aca_l0.updated" in shown
    detail = worked.json("jobs", "show", job["id"])
    assert detail["job"]["id"] == job["id"]
    assert [item["outcome"] for item in detail["attempts"]] == ["ok"]
    [product] = detail["products"]
    assert (worked.home / "archive" / product["path"]).stat().st_size == product["size"]


def test_the_log_of_a_job(worked):
    log = worked.good("jobs", "log", only(worked, "done")["id"]).out
    assert "24 rows of 8x8, slot 3, revision 1" in log
    assert log == worked.good("jobs", "log", "--follow", only(worked, "done")["id"]).out
    dead = only(worked, "dead")["id"]
    assert "bad input" in worked.good("jobs", "log", dead, "--attempt", "1").out
    assert "no attempt 2" in worked.refused("jobs", "log", dead, "--attempt", "2", code=3)


def test_dead_jobs_with_their_reason(worked):
    [job] = worked.json("jobs", "dead", "--queue", "ingest", "--error-class", "BadInput")
    assert job["subject"] == "aca0:2"
    assert "file is truncated" in worked.good("jobs", "dead").out
    worked.refused("jobs", "dead", "--queue", "vv", code=3)


def test_an_unknown_job(worked):
    assert "no job 12345678" in worked.refused("jobs", "show", "12345678", code=3)


# --- jobs: intervening ---


def test_requeue_and_the_job_runs_again(worked):
    dead = only(worked, "dead")["id"]
    answer = worked.json("jobs", "requeue", dead[-8:], "--reason", "disk mended")
    assert answer["requeued"] == [dead]
    [event] = worked.json("events", "--kind", "operator.requeue")["events"]
    assert event["payload"]["reason"] == "disk mended"
    assert only(worked, "waiting")["id"] == dead
    worked("submit", "ingest.backup_ledger", "--wait")  # works whatever is due
    again = only(worked, "dead")
    assert (again["id"], again["attempts"]) == (dead, 2)


def test_requeue_of_what_is_not_dead(worked):
    done = only(worked, "done")["id"]
    assert "is not dead" in worked.refused("jobs", "requeue", done, code=1)


def test_requeue_by_class_can_be_taken_back(worked):
    dead = only(worked, "dead")["id"]
    answer = worked.json("jobs", "requeue", "--error-class", "BadInput", "--since", "-1d")
    assert answer["requeued"] == [dead]
    assert only(worked, "waiting")["id"] == dead
    assert worked.good("jobs", "undo", answer["batch_id"]).out == "taken back: 1\n"
    assert only(worked, "dead")["id"] == dead
    worked.refused("jobs", "undo", answer["batch_id"], code=2)


def test_requeue_needs_one_way_to_choose(worked):
    for arguments in ([], ["12345678", "--queue", "ingest"]):
        assert "name jobs, or choose" in worked.refused("jobs", "requeue", *arguments, code=2)
    worked.refused("jobs", "requeue", "--error-class", "Timeout", code=3)


def test_a_dropped_job_ends_cancelled(worked):
    dead = only(worked, "dead")["id"]
    assert worked.good("jobs", "drop", dead).out == f"dropped {dead}\n"
    assert only(worked, "cancelled")["id"] == dead
    worked.refused("jobs", "drop", dead, code=1)


def test_a_waiting_job_is_cancelled(worked):
    [job] = worked.json("submit", "ingest.reconcile", "--not-before", "2100:001")["jobs"]
    assert worked.good("jobs", "cancel", job["id"]).out == f"cancelled {job['id']}\n"
    assert only(worked, "cancelled")["id"] == job["id"]
    assert "is done" in worked.refused("jobs", "cancel", only(worked, "done")["id"], code=1)


# --- submit ---


def test_submit_and_wait(worked):
    answer = worked.json("submit", "ingest.reconcile", "checksums=yes", "--wait")
    [job] = answer["jobs"]
    assert (job["state"], job["args"], job["priority"]) == ("done", {"checksums": True}, 0)


def test_submit_leaves_the_job_for_later(shell):
    answer = shell("submit", "ingest.reconcile", "--not-before", "2030:001", "--json")
    assert answer.code == 0
    assert "acaflow up will do the work" in answer.err
    [job] = json.loads(answer.out)["jobs"]
    assert job["state"] == "waiting"
    # Midnight of 2030-01-01 UTC; the ledger reads its clock again when it records.
    assert job["not_before"] == pytest.approx(1893456000.0, abs=1.0)


def test_the_same_request_again_is_the_same_job(worked):
    first = worked.json("submit", "ingest.backup_ledger", "--wait")
    again = worked("submit", "ingest.backup_ledger", "--wait")
    assert "--force makes another" in again.err
    assert first["jobs"][0]["id"][-8:] in again.out
    forced = worked.json("submit", "ingest.backup_ledger", "--wait", "--force")
    assert forced["jobs"][0]["id"] != first["jobs"][0]["id"]


def test_a_submitted_job_that_fails(worked):
    answer = worked("submit", "ingest.reindex_l0_file", "filename=nothing.fits.gz", "--wait")
    assert answer.code == 1
    assert "nothing.fits.gz is not in the archive" in answer.err


# --- events ---


def test_events_of_one_kind(worked):
    kinds = [event["kind"] for event in worked.json("events")["events"]]
    assert sorted(kinds) == ["aca_l0.updated", *["file.aca_l0.arrived"] * 2, "job.dead"]
    [event] = worked.json("events", "--kind", "aca_l0.")["events"]
    assert event["payload"]["slot"] == 3
    assert "no such events" in worked.refused("events", "--kind", "operator.", code=3)


def test_one_event_with_what_it_caused(worked):
    [event] = worked.json("events", "--kind", "job.dead")["events"]
    shown = worked.good("events", "show", event["id"]).out
    assert "follows:  file.aca_l0.arrived" in shown
    arrival = worked.json("events", "show", event["parent_event_id"])
    assert [job["state"] for job in arrival["jobs"]] == ["dead"]
    worked.refused("events", "show", "none", code=3)


def test_a_fact_is_reported(worked):
    values = ("slot=3", "tstart=686111014", "tstop=686117441.5", 'files=["a.fits.gz"]')
    added = worked.json("events", "add", "aca_l0.updated", "aca0:3", *values)
    event = worked.json("events", "show", added["event_id"])["event"]
    assert event["payload"] == {
        "slot": 3,
        "tstart": 686111014.0,
        "tstop": 686117441.5,
        "files": ["a.fits.gz"],
    }
    assert event["source"].startswith("cli:")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense", "x"], "no event kind 'nonsense'"),
        (["file.aca_l0.arrived", "x"], "acaflow ingest delivers files"),
        (["operator.drop", "x"], "are not added by hand"),
        (["aca_l0.updated", "aca0:3", "slot=x"], "slot = 'x'"),
        (["aca_l0.updated", "aca0:3", "speed=1"], "has no speed; it has slot, tstart"),
        (["aca_l0.updated", "aca0:3", "slot"], "'slot' is not of the form key=value"),
    ],
)
def test_a_fact_that_is_refused(worked, arguments, words):
    assert words in worked.refused("events", "add", *arguments, code=2)


def test_event_kinds_name_their_tasks(shell):
    kinds = {row["kind"]: row["tasks"] for row in shell.json("events", "kinds")}
    assert kinds["file.aca_l0.arrived"] == ["ingest.aca_l0_file @ingest"]
    assert kinds["aca_l0.updated"] == [
        "ingest.update_l0_store @ingest",
        "dark_cal.recheck @dark_cal",
    ]
    assert kinds["job.dead"] == []
    assert "file.unknown.arrived" in shell.good("events", "kinds").out


# --- status, health, db ---


def test_status_on_one_screen(worked):
    out = worked.good("status").out
    assert out.startswith("acaflow up: not running\n")
    assert "last 24 h: 2 files, 1 product" in out
    assert "dead ingest.aca_l0_file BadInput" in out
    view = worked.json("status")
    assert view["up"] is None
    assert [(row["dead"], row["done"]) for row in view["queues"] if row["name"] == "ingest"] == [
        (1, 2)
    ]
    assert len(view["latest"]) == 1


def test_health_where_nothing_runs(worked):
    answer = worked("health", "--json")
    assert answer.code == 1
    problems = json.loads(answer.out)
    assert (problems["ledger"], problems["archive"]) == ("", "")
    assert "Redis" in problems["transport"]
    assert "no worker" in worked.refused("health", "worker", "--name", "nobody", code=1)
    assert "no relay" in worked.refused("health", "relay", code=1)


def test_health_of_pages_that_nobody_serves(worked, monkeypatch):
    monkeypatch.setenv("ACAFLOW_WEB_PORT", "1")
    message = worked.refused("health", "web", code=1)
    assert "http://127.0.0.1:1/healthz does not answer" in message


def test_a_ledger_is_made_checked_and_copied(shell):
    assert "no ledger at" in shell.refused("db", "check", code=3)
    assert shell.good("db", "upgrade").out.endswith("ledger.db: upgraded\n")
    assert shell.good("db", "upgrade").out.endswith("ledger.db: up to date\n")
    assert shell.good("db", "check").out.endswith("ledger.db: up to date\n")
    copy = shell.good("db", "backup").out.strip()
    [found] = (shell.home / "state/backup").glob("ledger-*.db")
    assert copy == str(found)
