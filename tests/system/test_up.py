"""``acaflow up``: one per home, ends cleanly, and leaves nothing behind when it is killed."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import time
import urllib.request

import psutil
import pytest

from tests.support import l0
from tests.support.live import Up
from tests.support.servers import wait_until

pytestmark = pytest.mark.live


@pytest.fixture
def up(tmp_path):
    made = Up(tmp_path / "home")
    yield made
    made.sweep()


def states(up: Up) -> list[tuple]:
    connection = sqlite3.connect(up.home.state / "ledger.db", timeout=60.0)
    try:
        return connection.execute(
            "SELECT state, count(*) FROM job WHERE task = 'ingest.aca_l0_file' GROUP BY state"
        ).fetchall()
    finally:
        connection.close()


def deliver(up: Up, number: int, first: int = 0) -> None:
    """Move files of different times into the inbox."""
    for i in range(first, first + number):
        path = l0.make_l0_file(up.home.root / "made", slot=i % 8, frame=10_000 * i)
        path.rename(up.home.inbox / path.name)


def test_up_serves_pages_and_stops_cleanly(up):
    began = time.monotonic()
    up.start()
    ready_s = time.monotonic() - began
    memory = sum(process.memory_full_info().pss for process in up.processes())
    names = len(up.processes())
    print(f"\nup: ready in {ready_s:.1f} s, {names} processes, {memory / 1e6:.0f} MB PSS")
    url = up.output().split("acaflow is up: ")[1].split()[0]
    with urllib.request.urlopen(f"{url}healthz", timeout=10) as answer:
        assert answer.status == 200
    deliver(up, 3)
    wait_until(lambda: states(up) == [("done", 3)], "three files archived", 30.0)
    up.popen.send_signal(signal.SIGINT)
    assert up.popen.wait(40) == 0
    assert up.processes() == []
    assert [path.name for path in up.home.run.iterdir() if path.is_socket()] == []


def test_second_up_of_a_home_names_the_first(up):
    up.start()
    url = up.output().split("acaflow is up: ")[1].split()[0]
    second = subprocess.run(
        up.argv, env=up.variables, capture_output=True, text=True, timeout=60, check=False
    )
    assert second.returncode == 1
    assert f"acaflow is up already for {up.home.root}: {url}" in second.stderr
    assert up.alive


@pytest.mark.fault
def test_fault_18_killed_up_leaves_nothing_and_finishes_later(up):
    up.start()
    deliver(up, 40)
    wait_until(lambda: sum(n for _, n in states(up)) > 5, "some files are known", 30.0)
    up.kill()
    wait_until(lambda: up.processes() == [], "every process is gone", 10.0)
    deliver(up, 10, first=40)
    up.start()
    wait_until(lambda: states(up) == [("done", 50)], "everything is archived", 60.0)
    assert up.end() == 0


@pytest.mark.fault
def test_child_that_dies_is_started_again(up):
    up.start()
    for word in ("redis", "relay", "worker", "gunicorn"):
        child = up.child(word)
        assert child is not None, word
        child.kill()
        wait_until(
            lambda word=word, old=child: up.child(word) not in (None, old), f"{word} again", 30.0
        )
    deliver(up, 5)
    wait_until(lambda: states(up) == [("done", 5)], "five files archived", 60.0)
    assert up.end() == 0


def test_every_process_of_up_answers_to_its_parent(up):
    """Killed by the kernel with the thread that forked it: also pool children of a worker."""
    up.start()
    worker = up.child("worker")
    assert worker is not None
    pool = worker.children()
    assert len(pool) >= 2
    worker.kill()
    gone, alive = psutil.wait_procs(pool, timeout=5)
    assert alive == []
    assert len(gone) == len(pool)
