"""The runtime against bare Celery on the same Redis, and the ledger at a million jobs."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from acaflow import config
from acaflow.paths import Home
from acaflow.runtime import messages, redis_server, schema
from acaflow.runtime.ledger import Ledger
from acaflow.runtime.queue import CeleryTransport, make_app
from acaflow.runtime.records import Hint, NewEvent, NewJob
from acaflow.simulate.aca_l0 import L0Scenario, simulate_l0
from benchmarks import noop
from benchmarks.table import Row

JOBS = 3000
ROUNDS = 3
LATENCY_FILES = 200
BACKFILL = 50_000
MILLION = 1_000_000


def percentile(values: list[float], share: float) -> float:
    """Return the value below which `share` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Bed:
    """A home with a private Redis; processes started here end here."""

    def __init__(self, folder: Path, synchronous: str = "FULL") -> None:
        self.home = Home(folder)
        self.home.create()
        self.socket = redis_server.socket_path(self.home)
        self.settings = config.use(
            config.Settings(
                home=folder,
                redis_url=f"redis+socket://{self.socket}",
                sqlite_synchronous=synchronous,  # type: ignore[arg-type]
            )
        )
        self.processes: list[subprocess.Popen[bytes]] = []
        command = redis_server.command(
            redis_server.find(self.settings), self.socket, self.home.state / "redis"
        )
        self._start(command, "redis.log")
        while not self.socket.exists():
            time.sleep(0.01)
        self.ledger = Ledger(self.settings.database_url, synchronous)
        schema.upgrade(self.ledger)
        self.transport = CeleryTransport(make_app(self.settings))
        self.redis = redis_server.client(self.settings.redis_url)

    def _start(self, command: list[str], log: str) -> None:
        environment = {
            **os.environ,
            "ACAFLOW_HOME": str(self.home.root),
            "ACAFLOW_REDIS_URL": self.settings.redis_url,
            "ACAFLOW_SQLITE_SYNCHRONOUS": self.settings.sqlite_synchronous,
        }
        with (self.home.logs / log).open("wb") as out:
            self.processes.append(
                subprocess.Popen(
                    command, stdout=out, stderr=out, env=environment, start_new_session=True
                )
            )

    def start(self, kind: str) -> None:
        """Start the relay with watcher, or a worker with two processes."""
        self._start([sys.executable, "-m", "benchmarks.noop", kind], f"{kind}.log")

    def wait_for(self, kind: str, words: str) -> None:
        """Wait for a readiness line."""
        path = self.home.logs / f"{kind}.log"
        deadline = time.monotonic() + 30
        while words not in path.read_text(errors="replace"):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{kind} not ready: {path.read_text(errors='replace')[-500:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End every process of this bed."""
        for process in reversed(self.processes):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def bed(folder: Path, synchronous: str = "FULL") -> Iterator[Bed]:
    """Give a bed and clear it away."""
    made = Bed(folder, synchronous)
    try:
        yield made
    finally:
        made.stop()


def drain_rate(place: Bed) -> float:
    """Start a worker on a full queue; return messages/s between a sixth and the end of it."""
    total = place.transport.depth("ingest") or 0
    place.start("worker")
    first = None
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        left = place.transport.depth("ingest") or 0
        now = time.perf_counter()
        if first is None and left < total * 5 // 6:
            first = (now, left)
        if left == 0 and first is not None:
            break
        time.sleep(0.005)
    if first is None or left:
        raise RuntimeError(f"{left} of {total} messages were left after a minute")
    rate = first[1] / (now - first[0])
    worker = place.processes.pop()
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    return rate


def noop_events(count: int, tag: str) -> list[NewEvent]:
    """Return arrivals of files that cause the no-op task."""
    return [
        messages.file_event(f"noop-{tag}-{i}", f"inbox/.taken/x.noop-{tag}-{i}", tag, 0, "bench")
        for i in range(count)
    ]


def bare_round(folder: Path, name: str) -> float:
    """Drain plain Celery tasks."""
    with bed(folder / name) as place:
        for i in range(JOBS):
            place.transport.app.send_task(
                "bench.bare", args=[str(i)], queue="ingest", priority=3, ignore_result=True
            )
        return drain_rate(place)


def ledger_round(folder: Path, name: str, synchronous: str) -> float:
    """Drain the same number of ledgered tasks."""
    with bed(folder / name, synchronous) as place:
        place.ledger.record(noop_events(JOBS, name))
        with place.ledger.look() as connection:
            ids = list(connection.exec_driver_sql("SELECT id FROM job").scalars())
        place.transport.send([Hint(job_id, noop.TASK.name, "ingest", 3) for job_id in ids])
        return drain_rate(place)


def latencies(folder: Path) -> list[float]:
    """Rename files into the inbox one by one; return rename -> finished_at (s)."""
    spent = []
    with bed(folder / "latency") as place:
        place.start("relay")
        place.start("worker")
        place.wait_for("relay", "watcher ready")
        place.wait_for("worker", "worker ready")
        time.sleep(2.5)  # the two scheduled jobs of a new home
        started = {}
        for i in range(LATENCY_FILES):
            name = f"noop-{i:04d}"
            part = place.home.inbox / f".{name}"
            part.write_bytes(name.encode() * 100)
            started[name] = time.time()
            part.rename(place.home.inbox / name)
            time.sleep(0.03)
        time.sleep(2)
        with sqlite3.connect(place.home.state / "ledger.db") as connection:
            rows = connection.execute(
                "SELECT subject, finished_at FROM job WHERE task = 'ingest.noop' AND state = 'done'"
            ).fetchall()
        spent = [finished - started[subject.split(":")[1]] for subject, finished in rows]
    if len(spent) != LATENCY_FILES:
        raise RuntimeError(f"{LATENCY_FILES - len(spent)} files did not arrive")
    return spent


def ingest_rate(folder: Path) -> tuple[float, float]:
    """Drop level-0 files of about 0.7 MB; return files/s and the mean size (MB)."""
    tstart = 686_111_014.0
    scenario = L0Scenario(tstart=tstart, tstop=tstart + 27_900 * 8, file_s=27_900)
    with bed(folder / "ingest") as place:
        incoming = place.home.root / "incoming"
        incoming.mkdir()
        paths = [path for path in simulate_l0(scenario, incoming) if path.stat().st_size > 4e5]
        size = sum(path.stat().st_size for path in paths) / len(paths)
        place.start("relay")
        place.start("worker")
        place.wait_for("relay", "watcher ready")
        place.wait_for("worker", "worker ready")
        time.sleep(2.5)
        first = time.time()
        for path in paths:
            path.rename(place.home.inbox / path.name)
        with sqlite3.connect(place.home.state / "ledger.db", timeout=30) as connection:
            while True:
                done, last = connection.execute(
                    "SELECT count(*), max(finished_at) FROM job"
                    " WHERE task = 'ingest.aca_l0_file' AND state = 'done'"
                ).fetchone()
                if done == len(paths):
                    return len(paths) / (last - first), size / 1e6
                if time.time() - first > 120:
                    raise RuntimeError(f"{len(paths) - done} of {len(paths)} files not done")
                time.sleep(0.1)


def backfill(ledger: Ledger) -> float:
    """Record manual requests of one batch, 1000 per transaction; return the seconds."""
    started = time.perf_counter()
    for first in range(0, BACKFILL, 1000):
        ledger.record(
            [
                messages.manual_event(
                    "ingest.reindex_l0_file",
                    {"filename": f"acaf{600_000_000 + number}N001_0_img0.fits.gz"},
                    "bench",
                    "backfill:bench",
                    batch_id="bench",
                )
                for number in range(first, first + 1000)
            ]
        )
    return time.perf_counter() - started


def fill_to_a_million(ledger: Ledger) -> list[str]:
    """Add ended jobs up to a million rows; return the ids of 2000 waiting ones."""
    done = BACKFILL
    while done < MILLION:
        events = [
            NewEvent("bench", 1, f"b{number}", f"s:{number % 5000}", {}, "bench")
            for number in range(done, done + 10_000)
        ]
        job = NewJob("ingest.noop", "ingest", {}, "s", 3)
        ledger.record([NewEvent(**{**item.__dict__, "jobs": [job]}) for item in events])
        done += 10_000
    ledger.transact(
        lambda connection, now: connection.exec_driver_sql(
            "UPDATE job SET state = 'done', finished_at = created_at, attempts = 1"
            " WHERE task = 'ingest.noop'"
        )
    )
    with ledger.look() as connection:
        rows = connection.exec_driver_sql("SELECT id FROM job WHERE state = 'waiting'")
        ids = list(rows.scalars())
    return random.Random(1).sample(ids, 2000)


def claims(ledger: Ledger, ids: list[str]) -> list[float]:
    """Claim jobs one by one; return the time of each."""
    spent = []
    for job_id in ids:
        started = time.perf_counter()
        ledger.claim(job_id, "bench|1|1")
        spent.append(time.perf_counter() - started)
    return spent


def cases(folder: Path) -> Iterator[Row]:
    """Measure latency, drain rates, ingest, and the ledger's size."""
    noop.register()
    spent = [value * 1e3 for value in latencies(folder)]
    p50, p99 = percentile(spent, 0.5), percentile(spent, 0.99)
    yield Row("file rename -> job done, p50", f"{p50:.1f} ms", "", p50, 10, "<= 10 ms")
    yield Row("file rename -> job done, p99", f"{p99:.1f} ms", "", p99, 40, "<= 40 ms")

    rates: dict[str, list[float]] = {"bare": [], "NORMAL": [], "FULL": []}
    for number in range(ROUNDS):
        rates["bare"].append(bare_round(folder, f"bare{number}"))
        for mode in ("NORMAL", "FULL"):
            rates[mode].append(ledger_round(folder, f"{mode}{number}", mode))
    bare = median(rates["bare"])
    for mode, limit in (("NORMAL", 0.60), ("FULL", 0.45)):
        ours = median(rates[mode])
        yield Row(
            f"ledgered no-op drain, SQLite {mode}",
            f"{ours:.0f}/s",
            f"bare Celery {bare:.0f}/s",
            ours / bare,
            limit,
            f">= {limit:.2f} x",
            at_least=True,
        )

    rate, size = ingest_rate(folder)
    yield Row(
        f"ingest on two workers, files of {size:.2f} MB",
        f"{rate:.1f} files/s",
        "",
        rate,
        20,
        ">= 20 files/s",
        at_least=True,
    )

    (folder / "million").mkdir()
    ledger = Ledger(f"sqlite:///{folder / 'million' / 'ledger.db'}")
    schema.upgrade(ledger)
    seconds = backfill(ledger)
    yield Row(f"record {BACKFILL} backfill jobs", f"{seconds:.2f} s", "", seconds, 5, "<= 5 s")
    spent = [value * 1e3 for value in claims(ledger, fill_to_a_million(ledger))]
    p99 = percentile(spent, 0.99)
    yield Row(
        f"claim with {MILLION:,} jobs in the ledger, p99",
        f"{p99:.2f} ms",
        f"p50 {percentile(spent, 0.5):.2f} ms",
        p99,
        10,
        "<= 10 ms",
    )
