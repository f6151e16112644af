"""What each page says about a night, about nothing at all, and to whom it says no."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from flask.testing import FlaskClient

from acaflow.runtime import messages
from acaflow.runtime.core import Runtime
from acaflow.runtime.records import NewProduct
from acaflow.status import reading
from acaflow.status.reading import MANY
from services.web import CONTENT_POLICY, words
from tests.conftest import NOON
from tests.services.web.conftest import Night

BUDGET = 40_000
"""Bytes of HTML of a page with 50 rows (design 10)."""

PAGES = (
    "/",
    "/jobs",
    "/jobs/new",
    "/jobs/new/ingest.reconcile",
    "/events",
    "/quarantine",
    "/dead",
    "/products",
    "/aca0",
    "/telemetry",
    "/dark-cals",
    "/help/keys",
)


class Text(HTMLParser):
    """The words of a page, without markup and head."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.feed(page.partition('<main id="main">')[2])

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    def __str__(self) -> str:
        return " ".join(" ".join(self.parts).split())


def data(client: FlaskClient, url: str) -> Any:
    """The JSON of an address."""
    return client.get(url).json


def text(client: FlaskClient, url: str, status: int = 200) -> str:
    response = client.get(url)
    assert response.status_code == status, response.text
    return str(Text(response.text))


# --- the frame ---


@pytest.mark.parametrize("url", PAGES)
def test_every_page_has_one_heading_a_skip_link_and_the_places(client: FlaskClient, url: str):
    page = client.get(url).text
    assert page.count("<h1") == 1
    assert '<a class="skip vh" href="#main">' in page and '<main id="main">' in page
    keys = re.findall(r'data-key="(\w)"[^>]*>(\w+)', page)
    expected = {"o": "Overview", "j": "Jobs", "e": "Events", "l": "Level", "t": "Telemetry"}
    assert dict(keys) == expected | {"c": "Dark", "q": "Quarantine", "d": "Dead"}


@pytest.mark.parametrize("url", PAGES)
def test_no_page_has_inline_style_or_script_or_foreign_addresses(
    client: FlaskClient, full_night: dict[str, str], url: str
):
    page = client.get(url).text
    assert not re.search(r'\sstyle="|<style|<script(?! src="/static/)|\son\w+="|javascript:', page)
    assert not re.search(r'(?:href|src|action)="(?!/|\?|#)', page)


@pytest.mark.parametrize("url", [*PAGES, "/nothing"])
def test_security_headers(client: FlaskClient, url: str):
    headers = client.get(url).headers
    assert headers["Content-Security-Policy"] == (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self';"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"] == CONTENT_POLICY


def test_static_files_are_kept_for_a_year_under_their_content_hash(client: FlaskClient):
    sheet = re.search(r'href="(/static/acaflow.css\?v=[0-9a-f]{12})"', client.get("/").text)
    assert sheet is not None
    kept = client.get(sheet[1]).headers["Cache-Control"]
    assert kept == "public, max-age=31536000, immutable"
    for other in ("/static/acaflow.css", "/static/acaflow.css?v=000000000000"):
        assert client.get(other).headers["Cache-Control"] == "no-cache"


def test_theme_comes_from_the_cookie_and_is_switched_without_script(client: FlaskClient):
    assert "data-theme=" not in client.get("/").text.partition("<body>")[0]
    answer = client.post("/settings/theme", headers={"Referer": "http://localhost/jobs?state=dead"})
    assert (answer.status_code, answer.location) == (303, "/jobs?state=dead")
    assert '<html lang="en" data-theme="dark">' in client.get("/").text
    client.post("/settings/theme")
    assert '<html lang="en" data-theme="light">' in client.get("/").text


@pytest.mark.parametrize("referer", ["http://evil.example/x", "http://localhost//evil.example"])
def test_theme_never_leads_elsewhere(client: FlaskClient, referer: str):
    location = client.post("/settings/theme", headers={"Referer": referer}).location
    assert location == "/"


# --- pages of an empty ledger ---


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/", "0 files in, 0 products out, nothing needs you"),
        ("/", "Nothing is dead, stuck or silent."),
        ("/", "No file arrived in 24 hours. Move one into the inbox"),
        ("/", "No process has beaten in 24 hours. Start all of them: acaflow up"),
        ("/jobs", "No jobs yet. Move a file into the inbox, or queue one by hand ."),
        ("/jobs?subject=aca0:9", "No job fits subject aca0:9. Show all jobs"),
        (
            "/jobs?queue=vv&start=2023:318",
            "No job fits queue vv and from 2023:318. Show without queue , from , or all jobs .",
        ),
        ("/events", "No events yet. Move a file into the inbox and it appears here."),
        ("/events?kind=job.dead", "No event of kind job.dead yet. Show all kinds"),
        ("/quarantine", "Nothing is in quarantine: every file that arrived could be read."),
        ("/dead", "Nothing has failed for good."),
        ("/dead?task=vv.process", "No dead job fits. Show all dead jobs"),
        ("/products", "No products yet."),
    ],
)
def test_empty_states_say_why_and_what_next(client: FlaskClient, url: str, said: str):
    assert said in text(client, url)


# --- pages of a full night ---


def test_overview_answers_first(client: FlaskClient, full_night: dict[str, str]):
    said = text(client, "/")
    # 42 archived, 1 skipped, 1 retried, 1 queued, 1 bad and 1 of an unknown name
    assert said.startswith("47 files in, 42 products out, 4 things need you")
    assert "From 2023:317 23:00:00 to now." in said
    assert "dead ingest.reindex_l0_file RemoteUnavailableError: archive.example.org refused" in said
    assert "2023:318 21:58:20 7 Requeue 7 …" in said
    assert "silent missions@aca-proc3:4811 no beat for 14 min 58 s" in said
    assert "ingest 1 2 1 9 42" in said
    assert "missions 0 0 0 0 0 – – – 0 of 1" in said
    assert "ingest@aca-proc1:4811 ingest.reconcile 3 min 58 s" in said


def test_jobs_say_why_in_their_list(client: FlaskClient, full_night: dict[str, str]):
    said = text(client, "/jobs")
    holder = full_night["running"][-8:]
    assert f"Waits for job {holder} , which has the lock ingest.reconcile since" in said
    assert "Not before 2023:318 22:28:20 . Try 1 failed: the index of slot 6 is locked." in said
    assert "Skipped: already archived (same bytes)." in said
    assert "RemoteUnavailableError: archive.example.org refused the connection, try 2 of 2." in said


def test_csv_and_json_are_exactly_what_is_shown(client: FlaskClient, full_night: dict[str, str]):
    for query in (
        "",
        "?state=dead",
        "?task=ingest.aca_l0_file&start=2023:318:20:00",
        "?state=done",
    ):
        rows = data(client, f"/api/v1/jobs{query}")["jobs"]
        table = list(csv.DictReader(io.StringIO(client.get(f"/jobs.csv{query}").text)))
        as_text = [
            {name: "" if value is None else str(value) for name, value in row.items()}
            for row in rows
        ]
        assert table == as_text
        shown = re.findall(
            r'<th scope="row"><a class="id" [^>]*title="([^"]+)"', client.get(f"/jobs{query}").text
        )
        assert [row["id"] for row in rows] == shown
        assert rows
    assert rows[0]["created"].endswith("Z")


def test_pages_of_jobs_by_key(client: FlaskClient, full_night: dict[str, str]):
    first = client.get("/jobs")
    older = re.search(r'href="([^"]+)" rel="next"', first.text)
    assert older is not None
    second = client.get(older[1].replace("&amp;", "&")).text
    ids = [
        re.findall(r'title="([0-9a-f-]{36})">[0-9a-f]{8}</a></th>', p) for p in (first.text, second)
    ]
    assert (len(ids[0]), len(ids[1])) == (
        50,
        len(data(client, "/api/v1/jobs?before=" + older[1].split("before=")[1])["jobs"]),
    )
    assert not set(ids[0]) & set(ids[1])
    assert "‹ newest" in second and 'rel="next"' not in second


def test_a_bad_filter_keeps_the_form_and_says_what_is_wrong(client: FlaskClient):
    response = client.get("/jobs?start=yesterday&task=ingest.reconcile")
    assert response.status_code == 400
    assert "“yesterday” is no time" in str(Text(response.text))
    assert 'placeholder="2026:324:06:00" value="yesterday" aria-invalid="true">' in response.text
    assert 'value="ingest.reconcile" list="tasks">' in response.text


def test_job_page_of_a_done_job(client: FlaskClient, full_night: dict[str, str]):
    said = text(client, f"/jobs/{full_night['done'][-8:]}")
    assert "ingest.aca_l0_file aca0:6 done Done in 0.51 s, try 1; 1 product." in said
    name = "acaf686154064N001_6_img0.fits.gz"
    assert (
        f"{name} 4.216 MB, from watch file.aca_l0.arrived aca_l0_file done"
        f" aca_l0.updated no task listens makes {name} 4.216 MB"
    ) in said
    assert "WARNING 2 of 1568 rows have QUALITY 4" in said
    assert "0.31 148" in said  # CPU, s and memory, MB
    assert "made aca0/2019/272/acaf686154064N001_6_img0.fits.gz aca_l0 4.216 ed7002b439e9…" in said
    assert full_night["done"] in said


def test_the_graph_goes_from_the_file_over_jobs_to_many_products(
    client: FlaskClient, night: Night, runtime: Runtime
):
    arrived = night.claim(night.arrive(slot=4))
    asked = [
        dataclasses.replace(
            messages.manual_event("ingest.reindex_l0_file", {"filename": name}, "m", "job:x"),
            parent_event_id=arrived.event_id,
            cause_job_id=arrived.job_id,
        )
        for name in ("a", "b")
    ]
    fan = dataclasses.replace(asked[0], jobs=[asked[0].jobs[0]] * 4)
    night.finish(arrived, events=(fan, asked[1]))
    graph = "acaf686112039N001_4_img0.fits.gz 4.216 MB, from watch file.aca_l0.arrived aca_l0_file"
    said = text(client, f"/jobs/{arrived.job_id[-8:]}")
    assert f"{graph} done job.requested 4 jobs 4 queued job.requested reindex_l0_file" in said
    (event,) = (e for e in reading.list_events(runtime.ledger).rows if e.subject == "file:b")
    last = night.claim(str(runtime.ledger.jobs_of(event.id)[0]["id"]))
    files = tuple(NewProduct("out", "aca_l0", f"aca0/{n}.fits.gz", 1, "ab") for n in range(4))
    night.finish(last, products=files)
    said = text(client, f"/jobs/{last.job_id[-8:]}")
    assert f"{graph} done job.requested reindex_l0_file done makes 4 files" in said


def test_job_page_of_a_task_that_is_no_more(client: FlaskClient, night: Night, runtime: Runtime):
    job_id = night.process()
    with runtime.ledger.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE job SET task = 'ingest.old'")
    assert text(client, f"/jobs/{job_id[-8:]}").count("Run again") == 0


def test_job_page_of_a_running_job_has_progress_and_a_live_log(
    client: FlaskClient, full_night: dict[str, str]
):
    short = full_night["running"][-8:]
    page = client.get(f"/jobs/{short}").text
    assert '<progress value="287" max="412"' in page
    assert f'data-src="/fragments/jobs/{short}/why" data-state="running 1"' in page
    assert f'data-tail="/fragments/jobs/{short}/log?try=1"' in page
    assert 'name="do" value="cancel"' in page and 'value="requeue"' not in page


def test_job_page_of_a_waiting_job_lists_the_six_checks(
    client: FlaskClient, full_night: dict[str, str]
):
    page = client.get(f"/jobs/{full_night['locked']}").text
    checks = page.partition('<ol class="checks">')[2].partition("</ol>")[0]
    assert checks.count("<li") == 6 and checks.count('<li class="waiting">') == 1
    assert "It has not run, so there is no log." in page and "Inputs and products" not in page


def test_job_page_of_a_dead_job(client: FlaskClient, full_night: dict[str, str]):
    page = client.get(f"/jobs/{full_night['bad'][-8:]}").text
    assert "Traceback of try 1" in page and "The same bytes will fail again" in page
    assert 'in <a href="/quarantine">quarantine</a>' in page
    assert '<button name="do" value="requeue">Requeue 1 job</button>' in page


def test_tries_have_logs_of_their_own(client: FlaskClient, night: Night):
    job_id = night.arrive()
    for n in (1, 2):
        claim = night.claim(job_id)
        path = night.log(claim, f"2023-11-14T22:13:20.204Z INFO     step words of try {n}")
        night.finish(claim, "retry", "waiting", log_path=path)
    short = job_id[-8:]
    assert "words of try 2" in text(client, f"/jobs/{short}")
    assert "words of try 1" in text(client, f"/jobs/{short}?try=1")
    whole = client.get(f"/jobs/{short}/log.txt?try=1")
    assert whole.text == "2023-11-14T22:13:20.204Z INFO     step words of try 1\n"
    assert whole.mimetype == "text/plain"
    assert "This job has no try 3." in text(client, f"/jobs/{short}?try=3", 404)


def test_live_log_gives_what_came_since(client: FlaskClient, night: Night):
    claim = night.claim(night.arrive())
    night.log(claim, "2023-11-14T22:13:20.204Z INFO     step one")
    url = f"/fragments/jobs/{claim.job_id[-8:]}/log?try=1"
    first = client.get(url)
    offset, last = first.headers["X-Next"].split(",")
    assert 'id="L1"' in first.text and last == "1"
    night.log(
        claim,
        "2023-11-14T22:13:20.204Z INFO     step one",
        "2023-11-14T22:13:21.204Z ERROR    step <b>two</b>",
        "  half a li",
    )
    second = client.get(f"{url}&offset={offset}&last={last}")
    assert 'id="L1"' not in second.text
    assert 'id="L2"' in second.text and "&lt;b&gt;two&lt;/b&gt;" in second.text
    again = client.get(f"{url}&offset={second.headers['X-Next'].replace(',', '&last=')}")
    assert again.text == ""


def test_live_parts_answer_204_when_nothing_changed(
    client: FlaskClient, full_night: dict[str, str]
):
    for url in ("/fragments/queues", "/fragments/jobs?state=dead"):
        first = client.get(url)
        assert first.status_code == 200 and "<h2" in first.text
        again = client.get(url, headers={"X-Seen": first.headers["X-Seen"]})
        assert (again.status_code, again.data) == (204, b"")
        assert (
            first.text.strip()
            in client.get(url.replace("/fragments/queues", "/").replace("/fragments", "")).text
        )


def test_a_live_part_tells_that_the_job_went_on(client: FlaskClient, night: Night):
    job_id = night.arrive()
    url = f"/fragments/jobs/{job_id[-8:]}/why"
    assert client.get(url).headers["X-State"] == "queued 0"
    night.claim(job_id)
    assert client.get(url).headers["X-State"] == "running 1"


def test_events_show_the_routing_table_with_rates(client: FlaskClient, full_night: dict[str, str]):
    said = text(client, "/events")
    assert "file.aca_l0.arrived watcher ingest.aca_l0_file ingest 3 46 2023:318 22:13:19" in said
    assert "operator.undo web, command line – 0 never" in said
    only = text(client, "/events?kind=file.unknown.arrived")
    assert "1 shown" in only and "file:readme.txt" in only and "Routing table" not in only


def test_subjects_lead_to_jobs_only_where_there_are_some(client: FlaskClient, night: Night):
    job_id = night.submit("ingest.backup_ledger")
    client.post(f"/jobs/{job_id[-8:]}", data={"do": "cancel"})
    tick = messages.tick_event("backup_ledger", 1)
    night.runtime.record([tick])
    page = client.get("/events").text
    link = f'<td class="trim">job <a class="id" href="/jobs/{job_id[-8:]}" title="{job_id}">'
    assert link in page
    assert '<td class="trim">schedule:backup_ledger</td>' in page


def test_event_page_shows_jobs_and_payload(
    client: FlaskClient, full_night: dict[str, str], runtime: Runtime
):
    event = data(client, f"/api/v1/jobs/{full_night['bad']}")["job"]["event_id"]
    said = text(client, f"/events/{event}")
    assert "Recorded 2023:318 21:58:20 by watch; caused 1 job." in said
    assert full_night["bad"][-8:] in said and "filetime 686999999" in said


def test_quarantine_lists_files_with_their_reason(client: FlaskClient, full_night: dict[str, str]):
    said = text(client, "/quarantine")
    assert said.startswith("2 files in quarantine")
    assert "readme.txt BadInput: no rule knows the name readme.txt" in said
    assert full_night["unknown"][-8:] in said
    (newest, oldest) = data(client, "/api/v1/quarantine")["files"]
    assert newest["name"] == "readme.txt" and newest["path"] == "readme.txt"
    assert oldest["size"] == 28


def test_dead_jobs_are_grouped(client: FlaskClient, full_night: dict[str, str]):
    said = text(client, "/dead")
    assert said.startswith("9 dead jobs in 3 groups")
    assert "RemoteUnavailableError in ingest.reindex_l0_file 7 jobs" in said
    assert "5 of 7 shown." in said
    assert said.count("Requeue 1 job Drop 1 job") == 2 and said.count("the checked ones") == 1
    one = text(client, "/dead?task=ingest.reindex_l0_file&error=RemoteUnavailableError")
    assert one.startswith("7 dead jobs in 1 group") and "All groups" in one


def test_products_link_to_file_job_and_subject(client: FlaskClient, full_night: dict[str, str]):
    said = text(client, "/products")
    assert said.count("aca_l0 4.216") == 42
    assert f"0.51 s {full_night['done'][-8:]}" in said


def test_new_job_form_is_made_from_the_arguments(client: FlaskClient):
    listed = text(client, "/jobs/new")
    assert "ingest.reconcile …" in listed and "ingest.aca_l0_file" not in listed
    page = client.get("/jobs/new/ingest.reindex_l0_file").text
    assert '<label for="filename">Filename</label><input id="filename" name="filename"' in page
    assert 'type="checkbox" id="checksums"' in client.get("/jobs/new/ingest.reconcile").text
    said = text(client, "/jobs/new/ingest.aca_l0_file", 404)
    assert "No task ingest.aca_l0_file can be queued by hand." in said


# --- search ---


def test_search_opens_the_one_thing_that_is_meant(client: FlaskClient, full_night: dict[str, str]):
    done = full_night["done"]
    event = data(client, f"/api/v1/jobs/{done}")["job"]["event_id"]
    for asked, place in {
        done[-8:]: f"/jobs/{done[-8:]}",
        done: f"/jobs/{done}",
        event: f"/events/{event}",
        "aca0:3": "/jobs?subject=aca0:3",
        "readme.txt": "/jobs?subject=file:readme.txt",
        "ingest.reconcile": "/jobs?task=ingest.reconcile",
        "vv": "/jobs?queue=vv",
        "aca0/2019/272/acaf686154064N001_6_img0.fits.gz": f"/jobs/{done[-8:]}",
    }.items():
        answer = client.get("/search", query_string={"q": asked})
        assert (answer.status_code, answer.location) == (302, place), asked


def test_search_finds_an_archived_file_by_its_delivered_name(client: FlaskClient, night: Night):
    claim = night.claim(night.arrive())
    # 686111014 s is 2019-09-29, day 272 (name and folder of a public archive file)
    path = "aca0/2019/272/acaf686111014N001_0_img0.fits.gz"
    night.finish(claim, products=(NewProduct("out", "aca_l0", path, 1, "ab"),))
    for asked in ("acaf686111014N001_0_img0.fits", "acaf686111014N001_0_img0.fits.gz"):
        assert client.get(f"/search?q={asked}").location == f"/jobs/{claim.job_id[-8:]}"


def test_search_without_a_hit_says_what_can_be_found(
    client: FlaskClient, full_night: dict[str, str]
):
    assert "Nothing is called “<b>”" in text(client, "/search?q=<b>", 404)
    assert "1 file in quarantine" in text(client, "/search?q=686999999")


# --- refusals ---


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/nothing", "Nothing is at /nothing."),
        ("/jobs/9f31", "No job has the id 9f31."),
        ("/jobs/00000000/log.txt", "No job has the id 00000000."),
        ("/events/9f31", "No event has the id 9f31."),
        ("/files/aca0/none.fits", "The archive has no file aca0/none.fits."),
    ],
)
def test_404_is_said_in_the_frame_with_a_number(client: FlaskClient, url: str, said: str):
    response = client.get(url)
    page = str(Text(response.text))
    assert response.status_code == 404
    assert page.startswith("There is nothing at this address") and said in page
    number = response.headers["X-Request-Id"]
    assert re.fullmatch(r"r-[0-9a-f]{6}", number) and f"Request {number}" in page


def test_the_api_says_it_in_json(client: FlaskClient):
    response = client.get("/api/v1/jobs/9f31")
    assert response.status_code == 404
    assert data(client, "/api/v1/jobs/9f31")["error"].startswith("No job has the id 9f31.")
    assert client.get("/api/v1/jobs?state=lost").status_code == 400


def test_a_failure_shows_no_traceback(client: FlaskClient, runtime: Runtime, caplog):
    with runtime.ledger.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE product RENAME COLUMN path TO trail")
    response = client.get("/products")
    assert response.status_code == 503 and "Traceback" not in response.text
    said = str(Text(response.text))
    assert said.startswith("The ledger does not answer It may be locked for a moment")
    assert "p.path" not in said and "no such column: p.path" in caplog.text


def test_a_broken_ledger_is_said_without_the_frame_that_needs_it(
    client: FlaskClient, runtime: Runtime
):
    with runtime.ledger.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE job RENAME TO gone")
    response = client.get("/")
    assert (response.status_code, response.mimetype) == (503, "text/plain")
    assert response.text.startswith("The ledger does not answer. It may be locked")
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "../state/secret_key",
        "%2e%2e/state/secret_key",
        "aca0/../../state/secret_key",
        "/etc/passwd",
        "aca0/link",
        "aca0/\0x",
        "",
        "aca0",
    ],
)
def test_no_path_leads_out_of_the_archive(client: FlaskClient, runtime: Runtime, path: str):
    folder = runtime.home.archive / "aca0"
    folder.mkdir()
    (folder / "link").symlink_to(runtime.home.state / "secret_key")
    response = client.get(f"/files/{path}")
    assert response.status_code in (404, 308)
    key = (runtime.home.state / "secret_key").read_text()
    assert key not in response.text


def test_a_file_is_downloaded_as_it_is(client: FlaskClient, runtime: Runtime):
    file = runtime.home.archive / "aca0" / "x.fits.gz"
    file.parent.mkdir()
    file.write_bytes(b"\x1f\x8b bytes")
    response = client.get("/files/aca0/x.fits.gz")
    assert response.data == b"\x1f\x8b bytes"
    assert response.headers["Content-Disposition"] == "attachment; filename=x.fits.gz"
    assert response.headers["Cache-Control"] == "no-cache"
    assert "Content-Encoding" not in response.headers


def test_a_log_path_cannot_lead_out_of_the_logs(
    client: FlaskClient, night: Night, runtime: Runtime
):
    claim = night.claim(night.arrive())
    night.finish(claim, log_path="state/logs/../secret_key")
    response = client.get(f"/jobs/{claim.job_id[-8:]}/log.txt")
    assert response.status_code == 400
    assert (runtime.home.state / "secret_key").read_text() not in response.text


# --- size ---


def test_full_pages_stay_within_the_budget(client: FlaskClient, night: Night):
    for index in range(60):
        job_id = night.arrive(index % 8)
        night.die(job_id, "RemoteUnavailableError", f"{index}: " + "a long message " * 100)
    urls = ["/", "/jobs", "/jobs?state=dead", "/events", "/dead", "/products", "/quarantine"]
    sizes = {url: len(client.get(url).data) for url in urls}
    assert {url: size for url, size in sizes.items() if size > BUDGET} == {}


def test_sheet_and_script_fit_beside_a_page(client: FlaskClient):
    # design 10: HTML with sheet and script at most 70 kB
    size = sum(len(client.get(f"/static/acaflow.{kind}").data) for kind in ("css", "js"))
    assert size <= 30_000


# --- machines ---


def test_health_readiness_and_metrics(client: FlaskClient):
    assert data(client, "/healthz") == {"status": "ok"}
    ready = client.get("/readyz")
    problems = data(client, "/readyz")["problems"]
    assert ready.status_code == (503 if any(problems.values()) else 200)
    metrics = client.get("/metrics")
    assert metrics.mimetype == "text/plain" and b"acaflow_" in metrics.data


def test_overview_as_json(client: FlaskClient, full_night: dict[str, str]):
    seen = data(client, "/api/v1/overview")
    assert (seen["arrivals"], seen["products"]) == (47, 42)
    assert seen["now"] == "2023-11-14T22:13:20Z"
    assert [row["name"] for row in seen["queues"]] == [
        "ingest",
        "dark_cal",
        "stats",
        "vv",
        "missions",
    ]


# --- words ---


def test_numbers_and_times():
    assert [words.number(n) for n in (None, 0, 9999, 10_000, MANY)] == [
        "–",
        "0",
        "9999",
        "10\u202f000",
        "> 100\u202f000",
    ]
    assert words.when(NOON) == (
        '<time datetime="2023-11-14T22:13:20Z" title="2023-11-14 22:13:20 UTC">'
        "2023:318 22:13:20</time>"
    )
    assert words.when(None) == "–"


def test_arguments_are_written_as_they_are_typed():
    values = {"checksums": True, "slots": [3, 4], "stop": None, "args": {"force": False}}
    assert words.arguments(values) == "checksums=yes slots=3, 4 stop=– args=force=no"
    assert words.arguments({}) == "none"


def test_a_small_file_is_not_an_empty_one():
    sizes = [words.megabytes(size).striptags() for size in (0, 28, 499, 500, 4_216_320)]
    assert sizes == ["0.000", "< 0.001", "< 0.001", "0.001", "4.216"]


def test_bars_are_drawn_from_zero_to_their_own_maximum(client: FlaskClient):
    drawn = words.bars([0, 1, 4], "jobs done")
    assert 'd="M4.5 16v-3.8h3v3.8zM8.5 16v-15.0h3v15.0z"' in drawn
    assert 'aria-label="jobs done in each of the last 24 hours, highest 4"' in drawn


def test_every_kind_of_file_has_a_name_in_charts():
    assert set(words.KINDS) == {kind for kind in messages.EVENTS if kind.startswith("file.")}
