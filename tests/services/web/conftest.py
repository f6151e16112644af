"""A runtime without Redis, the application on it, and a night's worth of work in its ledger."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from flask import Flask
from flask.testing import FlaskClient

from acaflow import config
from acaflow.paths import Home
from acaflow.runtime import messages, quarantine
from acaflow.runtime.core import MemoryTransport, Runtime
from acaflow.runtime.ledger import Ledger
from acaflow.runtime.logs import job_log_path
from acaflow.runtime.processes import Me
from acaflow.runtime.records import Claim, NewProduct, Result
from acaflow.runtime.schema import upgrade
from services.web import create_app
from tests.conftest import NOON, Clock

OWNER = "ingest@aca-proc1:4811|4820|12.5"
SHA = hashlib.sha256(b"content").hexdigest()


@pytest.fixture
def runtime(home: Home, clock: Clock) -> Iterator[Runtime]:
    """Home, ledger (which need not survive a power failure) and a transport that is a list."""
    ledger = Ledger(config.current().database_url, synchronous="NORMAL", clock=clock)
    upgrade(ledger)
    yield Runtime(config.current(), home, ledger, MemoryTransport(), Me.here("web", "web"))
    ledger.engine.dispose()


@pytest.fixture
def app(runtime: Runtime) -> Flask:
    """The application on an empty ledger."""
    made = create_app(runtime)
    made.extensions["acaflow"]["user"] = "m.keller"
    return made


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser on this host that sends no form tokens (they have tests of their own)."""
    app.config["WTF_CSRF_ENABLED"] = False
    return app.test_client()


@dataclass
class Night:
    """Makes events, jobs and attempts as the pipeline would, at the clock's time."""

    runtime: Runtime
    clock: Clock
    count: int = 0

    def arrive(self, slot: int = 3, name: str = "", **more: object) -> str:
        """Deliver one level-0 file; return the id of its job."""
        self.count += 1
        name = name or f"acaf{686111014 + 1025 * self.count}N001_{slot}_img0.fits.gz"
        sha256 = hashlib.sha256(f"{name}{self.count}".encode()).hexdigest()
        made = messages.file_event(name, f"inbox/.taken/x.{name}", sha256, 4_216_320, "watch")
        return self._job_of(self.runtime.record([made]).new[0])

    def _job_of(self, event_id: str) -> str:
        return str(self.runtime.ledger.jobs_of(event_id)[0]["id"])

    def claim(self, job_id: str, owner: str = OWNER) -> Claim:
        """Start a job."""
        made = self.runtime.ledger.claim(job_id, owner)
        assert isinstance(made, Claim)
        return made

    def log(self, claim: Claim, *lines: str) -> str:
        """Write the log of an attempt; return its home-relative path."""
        path = job_log_path(self.runtime.home, claim.job_id, claim.n, claim.started_at)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path.relative_to(self.runtime.home.root).as_posix()

    def finish(self, claim: Claim, outcome="ok", state="done", **more: object) -> None:
        """End an attempt."""
        self.runtime.ledger.finish(claim, Result(outcome, state, **more))  # type: ignore[arg-type]

    def process(self, slot: int = 3, name: str = "", run_s: float = 0.4) -> str:
        """Deliver a file and archive it; return the id of its job."""
        job_id = self.arrive(slot, name)
        claim = self.claim(job_id)
        self.clock.advance(run_s)
        path = f"aca0/2019/272/acaf{686111014 + 1025 * self.count}N001_{slot}_img0.fits.gz"
        product = NewProduct("out", "aca_l0", path, 4_216_320, SHA)
        delivered = NewProduct("in", "file", path.rpartition("/")[2], 4_216_320, SHA)
        payload = messages.AcaL0Updated(slot, 686111014.5, 686112039.5, (path,))
        updated = messages.new_event(
            "aca_l0.updated",
            f"aca0:{slot}",
            payload,
            f"job:{job_id}",
            job_id,
            parent_event_id=claim.event_id,
            cause_job_id=job_id,
            jobs=(),  # what follows would only blur the counts
        )
        log_path = self.log(claim, *LOG)
        self.finish(
            claim,
            products=(delivered, product),
            events=(updated,),
            log_path=log_path,
            cpu_s=0.31,
            max_rss_kb=148_000,
            code_version="0.9",
        )
        return job_id

    def die(self, job_id: str, error: str, words: str) -> None:
        """Run a job that fails for good."""
        claim = self.claim(job_id)
        self.clock.advance(0.2)
        trace = f'Traceback (most recent call last):\n  File "steps.py", line 40\n{error}: {words}'
        path = self.log(claim, LOG[0], f"2023-11-14T22:13:20.310Z ERROR    ingest {words}")
        self.finish(
            claim,
            "failed",
            "dead",
            error_class=error,
            error_text=words,
            traceback=trace,
            log_path=path,
        )

    def submit(self, task: str, **values: object) -> str:
        """Ask for a job by hand; return its id."""
        made = messages.manual_event(task, values, "m.keller", "web:m.keller", force=True)
        return self._job_of(self.runtime.record([made]).new[0])

    def beat(self, kind: str, label: str, queues: str = "", host: str = "aca-proc1") -> str:
        """Let a process show that it lives; return its name."""
        name = f"{label}@{host}:4811"
        row = {"name": name, "kind": kind, "queues": queues, "host": host, "pid": 4811}
        self.runtime.ledger.beat({**row, "pid_start": 12.5, "version": "0.9"})
        return name

    def refuse(self, name: str, words: str) -> str:
        """Deliver a file that cannot be used; return the id of its dead job."""
        content = gzip.compress(b"not FITS", mtime=0)
        sha256 = hashlib.sha256(content).hexdigest()
        made = messages.file_event(name, f"inbox/.taken/x.{name}", sha256, len(content), "watch")
        job_id = self._job_of(self.runtime.record([made]).new[0])
        self.die(job_id, "BadInput", words)
        source = self.runtime.home.taken / f"{made.id}.{name}"
        source.write_bytes(content)
        why = {"id": job_id, "error_class": "BadInput", "error_text": words}
        quarantine.keep_copy(self.runtime.home, made.id, name, source, why)
        source.unlink()
        return job_id


LOG = (
    "2023-11-14T22:13:20.204Z INFO     ingest.aca_l0_file reading acaf686111014N001_3_img0.fits.gz",
    "2023-11-14T22:13:20.291Z WARNING  ingest.aca_l0_file 2 of 1568 rows have QUALITY 4",
    "2023-11-14T22:13:20.305Z INFO     ingest.aca_l0_file archived as 2019/272, 1568 rows",
)


@pytest.fixture
def night(runtime: Runtime, clock: Clock) -> Night:
    """A maker of things that happened."""
    return Night(runtime, clock)


@pytest.fixture
def full_night(night: Night) -> dict[str, str]:
    """One job in every state, with processes; names to job ids."""
    return fill(night)


def fill(night: Night) -> dict[str, str]:
    """Make a night: 22 h of arrivals, then one job in every state."""
    clock = night.clock
    clock.now = NOON - 22 * 3600
    ids: dict[str, str] = {}
    for index in range(22):
        for number in range({12: 0, 13: 0, 14: 4}.get(index, 2)):
            ids["done"] = night.process(slot=(index + number) % 8, run_s=0.3 + 0.01 * index)
        clock.now = NOON - (21 - index) * 3600
    clock.now = NOON - 900
    ids["bad"] = night.refuse(
        "acaf686999999N001_5_img0.fits.gz",
        "acaf686999999N001_5_img0.fits.gz ends after 81 % of its rows",
    )
    ids["unknown"] = night.refuse("readme.txt", "no rule knows the name readme.txt")
    for index in range(7):
        ids["remote"] = night.submit("ingest.reindex_l0_file", filename=f"acaf68611{index}000N001")
        words = "archive.example.org refused the connection, try 2 of 2"
        night.die(ids["remote"], "RemoteUnavailableError", words)
    night.beat("worker", "missions", "missions", host="aca-proc3")
    clock.now = NOON - 300
    ids["skipped"] = night.arrive()
    skipped = night.claim(ids["skipped"])
    night.finish(skipped, "skipped", "skipped", error_text="already archived (same bytes)")
    ids["cancelled"] = night.submit("ingest.backup_ledger")
    night.runtime.ledger.transact(
        lambda connection, now: connection.exec_driver_sql(
            "UPDATE job SET state = 'cancelled', finished_at = ? WHERE id = ?",
            (now, ids["cancelled"]),
        )
    )
    ids["retried"] = night.arrive(slot=6)
    failed = night.claim(ids["retried"])
    words = "the index of slot 6 is locked"
    night.finish(
        failed, "retry", "waiting", delay_s=1200.0, error_class="StorageBusyError", error_text=words
    )
    clock.now = NOON - 240
    ids["running"] = night.submit("ingest.reconcile")
    clock.now += 1.5
    running = night.claim(ids["running"])
    night.log(
        running,
        "2023-11-14T22:09:20.204Z INFO     ingest.reconcile comparing 412 files with the index",
        "2023-11-14T22:11:02.117Z INFO     ingest.reconcile progress 120/412 checksums",
        "2023-11-14T22:12:58.930Z INFO     ingest.reconcile progress 287/412 checksums",
    )
    clock.now = NOON - 60
    ids["locked"] = night.submit("ingest.reconcile", checksums=True)
    clock.now = NOON - 0.8
    ids["queued"] = night.arrive(slot=2)
    clock.now = NOON - 4
    night.beat("worker", "ingest", "ingest,dark_cal,stats,vv")
    night.beat("relay", "relay")
    night.beat("web", "web")
    clock.now = NOON
    return ids
