"""What people change through the pages, and who may: form tokens, this host only, previews."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from acaflow.runtime.core import Runtime
from acaflow.status import reading
from tests.conftest import Clock
from tests.services.web.conftest import Night
from tests.services.web.test_pages import Text, text


def state_of(runtime: Runtime, job_id: str) -> str:
    found = reading.find_job(runtime.ledger, job_id)
    assert found is not None
    return found.state


def token(client: FlaskClient, url: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get(url).text)
    assert found is not None
    return found[1]


def events(runtime: Runtime, kind: str) -> list[reading.Event]:
    return reading.list_events(runtime.ledger, kind=kind).rows


# --- who may ---


CHANGES = (
    ("/jobs/new/ingest.reconcile", {"do": "queue"}),
    ("/quarantine", {"event": "x"}),
    ("/dead/requeue", {"task": "a", "error": "b", "reason": "c"}),
    ("/dead/undo", {"batch": "x"}),
)


@pytest.mark.parametrize(("url", "form"), CHANGES)
def test_a_change_needs_a_form_token(app: Flask, runtime: Runtime, url: str, form: dict):
    response = app.test_client().post(url, data=form)
    assert response.status_code == 400
    assert "The form is too old or was not made here." in response.text
    assert events(runtime, "job.requested") == []


def test_a_change_with_the_token_of_its_form_is_taken(app: Flask, runtime: Runtime):
    client = app.test_client()
    url = "/jobs/new/ingest.reconcile"
    form = {"do": "queue", "csrf_token": token(client, url)}
    assert client.post(url, data=form).status_code == 303
    assert len(events(runtime, "job.requested")) == 1


def test_a_token_of_another_session_is_refused(app: Flask, runtime: Runtime):
    url = "/jobs/new/ingest.reconcile"
    foreign = token(app.test_client(), url)
    mine = app.test_client()
    token(mine, url)
    response = mine.post(url, data={"do": "queue", "csrf_token": foreign})
    assert response.status_code == 400
    assert events(runtime, "job.requested") == []


@pytest.mark.parametrize(("url", "form"), CHANGES)
def test_a_change_from_another_host_is_refused(client: FlaskClient, url: str, form: dict):
    response = client.post(url, data=form, environ_overrides={"REMOTE_ADDR": "192.0.2.7"})
    assert response.status_code == 403
    said = str(Text(response.text))
    assert "This is not allowed from here" in said
    assert "Changes are accepted only from the machine that runs acaflow" in said
    assert "192.0.2.7" in said and "ssh -L 8765:localhost:8765" in said


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1"])
def test_every_loopback_address_may(client: FlaskClient, address: str):
    response = client.post(
        "/jobs/new/ingest.reconcile",
        data={"do": "queue", "force": "on"},
        environ_overrides={"REMOTE_ADDR": address},
    )
    assert response.status_code == 303


def test_a_name_that_points_here_is_not_this_host(client: FlaskClient, runtime: Runtime):
    for host in ("evil.example", "192.0.2.7:8765"):
        response = client.post(
            "/jobs/new/ingest.reconcile", data={"do": "queue"}, headers={"Host": host}
        )
        assert response.status_code == 403
    for host in ("localhost:8765", "127.0.0.1:8765", "[::1]:8765", "[::1]"):
        response = client.post(
            "/jobs/new/ingest.reconcile",
            data={"do": "queue", "force": "on"},
            headers={"Host": host},
        )
        assert response.status_code == 303, host


def test_what_a_proxy_passes_on_is_not_from_here(client: FlaskClient):
    response = client.post(
        "/jobs/new/ingest.reconcile",
        data={"do": "queue"},
        headers={"X-Forwarded-For": "192.0.2.7"},
    )
    assert response.status_code == 403


def test_everybody_may_read(client: FlaskClient):
    for url in ("/", "/jobs", "/events", "/quarantine", "/dead"):
        response = client.get(url, environ_overrides={"REMOTE_ADDR": "192.0.2.7"})
        assert response.status_code == 200


def test_the_key_of_the_tokens_is_made_once_and_private(app: Flask, runtime: Runtime):
    path = runtime.home.state / "secret_key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == app.config["SECRET_KEY"] and len(app.config["SECRET_KEY"]) == 64


# --- a new job ---


def test_preview_queues_nothing(client: FlaskClient, runtime: Runtime):
    response = client.post(
        "/jobs/new/ingest.reindex_l0_file",
        data={"filename": "acaf686111014N001_0_img0.fits.gz", "do": "preview"},
    )
    said = str(Text(response.text))
    assert response.status_code == 200
    assert "1 job. It will wait: no worker for queue ingest is live." in said
    assert "filename=acaf686111014N001_0_img0.fits.gz" in said and "Queue 1 job" in said
    assert events(runtime, "job.requested") == []


def test_queue_makes_the_job_with_the_persons_name(client: FlaskClient, runtime: Runtime):
    name = "acaf686111014N001_0_img0.fits.gz"
    response = client.post(
        "/jobs/new/ingest.reindex_l0_file", data={"filename": name, "do": "queue"}
    )
    (event,) = events(runtime, "job.requested")
    assert (event.source, event.payload["args"]) == ("web:m.keller", {"filename": name})
    (job,) = reading.list_jobs(runtime.ledger).rows
    assert (response.status_code, response.location) == (303, f"/jobs/{job.id[-8:]}")
    assert (job.priority, job.requested_by) == (0, "m.keller")
    said = text(client, response.location)
    assert said.startswith("1 job queued.") and "Asked for by m.keller" in said


def test_the_same_request_leads_to_the_job_that_did_it(client: FlaskClient, runtime: Runtime):
    form = {"filename": "a.fits.gz", "do": "queue"}
    url = "/jobs/new/ingest.reindex_l0_file"
    first = client.post(url, data=form).location
    preview = client.post(url, data={**form, "do": "preview"}).text
    assert "by web:m.keller." in preview and "Open that job" in preview
    assert client.post(url, data=form).location == first
    assert len(events(runtime, "job.requested")) == 1
    assert client.post(url, data={**form, "force": "on"}).location != first
    assert len(events(runtime, "job.requested")) == 2


def test_a_coalesced_request_leads_to_the_job_it_joined(client: FlaskClient):
    url = "/jobs/new/ingest.reconcile"
    first = client.post(url, data={"do": "queue"})
    second = client.post(url, data={"do": "queue", "force": "on"})
    assert first.location == second.location


def test_errors_stand_at_their_field_and_keep_the_input(client: FlaskClient, runtime: Runtime):
    response = client.post(
        "/jobs/new/ingest.reindex_l0_file", data={"filename": "  ", "do": "queue", "force": "on"}
    )
    assert response.status_code == 400
    field = re.search(r'<input id="filename"[^>]*>', response.text)
    assert field is not None and 'aria-invalid="true"' in field[0]
    assert 'aria-describedby="filename-e"' in field[0]
    assert '<p class="err" id="filename-e">' in response.text
    assert "Nothing is given here, and the task needs it." in response.text
    assert 'name="force" checked' in response.text
    assert events(runtime, "job.requested") == []


# --- one job ---


def test_cancel_a_waiting_job(client: FlaskClient, night: Night, runtime: Runtime):
    job_id = night.submit("ingest.reindex_l0_file", filename="a")
    response = client.post(f"/jobs/{job_id[-8:]}", data={"do": "cancel", "reason": "wrong name"})
    assert (response.status_code, response.location) == (303, f"/jobs/{job_id[-8:]}")
    assert state_of(runtime, job_id) == "cancelled"
    (event,) = events(runtime, "operator.cancel")
    assert event.payload == {"jobs": [job_id], "reason": "wrong name", "user": "m.keller"}
    assert (
        "Cancelled 2023:318 22:13:20 . Cancel asked for by m.keller 2023:318 22:13:20 : wrong name"
    ) in text(client, f"/jobs/{job_id[-8:]}")


def test_cancel_a_running_job_asks_it_to_stop(client: FlaskClient, night: Night, runtime: Runtime):
    job_id = night.submit("ingest.reindex_l0_file", filename="a")
    night.claim(job_id)
    client.post(f"/jobs/{job_id[-8:]}", data={"do": "cancel"})
    assert "Cancel asked for; it stops at its next checkpoint." in text(
        client, f"/jobs/{job_id[-8:]}"
    )
    assert state_of(runtime, job_id) == "running"


def test_requeue_raise_and_rerun(client: FlaskClient, night: Night, runtime: Runtime):
    job_id = night.submit("ingest.reindex_l0_file", filename="a")
    night.die(job_id, "PipelineError", "a bug")
    client.post(f"/jobs/{job_id[-8:]}", data={"do": "requeue"})
    assert state_of(runtime, job_id) == "waiting"
    arrived = night.arrive()
    client.post(f"/jobs/{arrived[-8:]}", data={"do": "raise"})
    raised = reading.find_job(runtime.ledger, arrived)
    assert raised is not None and raised.priority == 0
    night.finish(night.claim(job_id))
    again = client.post(f"/jobs/{job_id[-8:]}", data={"do": "rerun"}).location
    assert again != f"/jobs/{job_id[-8:]}"
    new = reading.find_job(runtime.ledger, again.removeprefix("/jobs/"))
    assert new is not None and new.args == {"filename": "a"}


def test_only_known_actions_are_taken(client: FlaskClient, night: Night):
    job_id = night.arrive()
    assert client.post(f"/jobs/{job_id[-8:]}", data={"do": "drop"}).status_code == 400
    rerun = client.post(f"/jobs/{job_id[-8:]}", data={"do": "rerun"})
    assert rerun.status_code == 400
    assert "ingest.aca_l0_file runs on what arrives" in rerun.text


# --- groups ---


def test_requeue_a_group_and_undo_it(
    client: FlaskClient, full_night: dict[str, str], runtime: Runtime, clock: Clock
):
    group = {"task": "ingest.reindex_l0_file", "error": "RemoteUnavailableError", "which": "all"}
    answer = client.post("/dead/requeue", data={**group, "reason": "host is back"})
    said = text(client, answer.location)
    assert said.startswith(
        "7 jobs requeued. Undo works until 2023:318 22:13:30 ; none of them starts before."
        " 2 dead jobs in 2 groups"
    )
    assert state_of(runtime, full_night["remote"]) == "waiting"
    (event,) = events(runtime, "operator.requeue")
    assert event.payload["reason"] == "host is back"
    batch = re.search(r"batch=([0-9a-f-]{36})", answer.location)
    assert batch is not None
    undone = client.post("/dead/undo", data={"batch": batch[1]})
    assert text(client, undone.location).startswith("7 jobs dead again. 9 dead jobs in 3 groups")


def test_the_undo_goes_when_its_time_is_over(
    client: FlaskClient, full_night: dict[str, str], clock: Clock
):
    group = {"task": "ingest.reindex_l0_file", "error": "RemoteUnavailableError", "which": "all"}
    place = client.post("/dead/requeue", data={**group, "reason": "r"}).location
    clock.advance(11)
    assert "Undo" not in text(client, place)


def test_drop_the_checked_ones_only(
    client: FlaskClient, full_night: dict[str, str], runtime: Runtime
):
    form = {"which": "checked", "job": full_night["remote"], "reason": "old", "do": "drop"}
    answer = client.post("/dead/requeue", data=form)
    assert text(client, answer.location).startswith("1 job dropped. 8 dead jobs")
    assert state_of(runtime, full_night["remote"]) == "cancelled"


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"which": "checked", "reason": "r"}, "No job is checked."),
        (
            {"which": "all", "task": "ingest.unknown_file", "error": "BadInput"},
            "A reason is needed; it is recorded.",
        ),
    ],
)
def test_a_group_needs_jobs_and_a_reason(
    client: FlaskClient, full_night: dict[str, str], form: dict, said: str
):
    response = client.post("/dead/requeue", data=form)
    assert response.status_code == 400 and said in response.text


def test_release_delivers_the_file_again(
    client: FlaskClient, full_night: dict[str, str], runtime: Runtime
):
    bad = reading.find_job(runtime.ledger, full_night["bad"])
    assert bad is not None
    answer = client.post("/quarantine", data={"event": bad.event_id})
    event = answer.location.removeprefix("/events/")
    said = text(client, answer.location)
    assert said.startswith("Delivered again; this is its new event.")
    (taken,) = runtime.home.taken.iterdir()
    assert taken.name == f"{event}.acaf686999999N001_5_img0.fits.gz"
    assert text(client, "/quarantine").startswith("1 file in quarantine")
    assert client.post("/quarantine", data={"event": bad.event_id}).status_code == 404
