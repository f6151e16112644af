"""``acaflow up`` and ``acaflow demo`` for real, and commands beside them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from acaflow import config
from acaflow.errors import ConfigError
from acaflow.runtime import redis_server
from tests.acaflow.cli.programs import PATH, Answer, call, end, start
from tests.support import servers
from tests.support.l0 import make_l0_file

pytestmark = pytest.mark.live


@pytest.fixture(autouse=True, scope="module")
def has_redis() -> None:
    """Skip where there is no Redis server to start."""
    try:
        redis_server.find(config.load())
    except ConfigError as err:
        servers.missing(f"a Redis server ({err})")


@contextmanager
def is_up(home: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run ``acaflow up``; give the process and the address of its pages."""
    process = start("up", "--port", "0", *options, home=home)
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith("acaflow is up: "), end(process)
        yield process, first.removeprefix("acaflow is up: ").strip()
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=60)


def test_commands_beside_a_running_system(shell, tmp_path):
    file = make_l0_file(tmp_path, slot=3)
    with is_up(shell.home) as (process, url):
        [result] = shell.json("ingest", file)
        assert [job["state"] for job in result["jobs"]] == ["done"]
        # The work was done by a worker of the other process.
        detail = shell.json("jobs", "show", result["jobs"][0]["id"])
        assert detail["attempts"][0]["owner"].startswith("ingest@")

        waited = shell.json("submit", "ingest.reconcile", "--wait", "--force")
        assert waited["jobs"][0]["state"] == "done"

        for command in (["health"], ["health", "worker"], ["health", "relay"], ["health", "web"]):
            shell.good(*command)
        assert shell.json("status")["up"] == {"pid": process.pid, "url": url}
        with urllib.request.urlopen(url, timeout=10) as page:
            assert page.status == 200

        message = shell.refused("up", code=1)
        assert message == f"acaflow: acaflow is up already for {shell.home}: {url}\n"

        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert end(process).code == 0
        assert not [child for child in family if child.is_running()]


def test_a_refused_file_is_told_to_whoever_waits(shell, tmp_path):
    bad = make_l0_file(tmp_path, slot=2)
    bad.write_bytes(bad.read_bytes()[:-500])
    with is_up(shell.home, "--solo", "--no-web"):
        answer = shell("ingest", bad)
        assert answer.code == 1
        assert "file is truncated" in answer.err
        assert "acaflow up: no pages" in shell.good("status").out


# --- demo ---


def run_demo(folder: Path, *options: str | Path) -> Answer:
    """Run the demo without a terminal, in a folder."""
    return call("demo", *options, home=folder / "unused", cwd=folder)


def test_demo_of_two_simulated_hours(tmp_path):
    # The leftovers of an earlier demo: the home is made anew.
    for folder in ("inbox", "state", "archive"):
        (tmp_path / ".demo" / folder).mkdir(parents=True)
    (tmp_path / ".demo/archive/old").touch()
    answer = run_demo(tmp_path, "--hours", "2")
    assert answer.code == 0, answer
    # Level 0 of eight slots; of the dark calibration five dumps, info, samples of two quantities,
    # and two level-0 files before and after each replica.
    assert "feeding 36 files" in answer.out
    assert "36 of 36 files processed" in answer.out
    table = [line.split() for line in answer.out.splitlines()]
    found = {tuple(row[:2]): row[2] for row in table if len(row) > 2}
    expected = {f"aca0:{slot}": "21" if slot == 6 else "1" for slot in range(8)}
    assert {slot: found["aca_l0", slot] for slot in expected} == expected
    assert found["dark_cal", "dark:2026098"] == "4"
    assert "pages: http://127.0.0.1:" in answer.out
    [lock] = (tmp_path / ".demo/state/run").glob("acaflow.lock")
    assert lock.read_text() == ""
    assert not (tmp_path / ".demo/archive/old").exists()
    assert len(list((tmp_path / ".demo/processed").glob("*/*/*.fits.gz"))) == 28
    assert (tmp_path / ".demo/www/dark_cal/2026_apr/index.html").exists()


def test_demo_at_a_terminal_stays_until_ctrl_c(tmp_path):
    master, slave = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "acaflow", "demo", "--hours", "1"],
        env={**os.environ, "PYTHONPATH": PATH},
        cwd=tmp_path,
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    try:
        shown = b""
        while b"Ctrl-C stops" not in shown:
            shown += os.read(master, 65536)
        assert b"aca0:7" in shown
        servers.wait_until(lambda: answers(shown), "the page")
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)


def answers(shown: bytes) -> bool:
    """Tell whether the page that was named is served."""
    [url] = re.findall(r"pages: (\S+)", shown.decode())
    with urllib.request.urlopen(url, timeout=10) as page:
        return bool(page.status == 200)


@pytest.mark.real
def test_demo_of_the_real_files(tmp_path, real_data):
    answer = run_demo(tmp_path, "--data", real_data / "real/aca_l0")
    assert answer.code == 0, answer
    # aca-archive 2.6 names the two files of 2007 without an archive name.
    assert "aca4x4.fits.gz is delivered as acaf285114427N001_4_img0.fits.gz" in answer.out
    assert "aca8x8.fits.gz is delivered as acaf285116120N001_0_img0.fits.gz" in answer.out
    archived = {path.name for path in (tmp_path / ".demo/archive/aca0").glob("*/*/*.gz")}
    assert archived == {
        "acaf285114427N001_4_img0.fits.gz",
        "acaf285116120N001_0_img0.fits.gz",
        *(f"acaf686111014N001_{slot}_img0.fits.gz" for slot in (0, 2, 3, 5, 6)),
    }


def test_demo_with_a_bad_file_fails_and_says_why(tmp_path):
    data = tmp_path / "data"
    make_l0_file(data, slot=3)
    bad = make_l0_file(data, slot=2)
    bad.write_bytes(bad.read_bytes()[:-500])
    (data / "README").write_text("not a FITS file")
    answer = run_demo(tmp_path, "--data", data)
    assert answer.code == 1
    assert "left out, not a FITS file: README" in answer.err
    assert "file is truncated" in answer.err
    assert "1 dead" in answer.out


def test_demo_removes_nothing_but_an_earlier_demo(tmp_path):
    (tmp_path / ".demo").mkdir()
    (tmp_path / ".demo/thesis.tex").write_text("years of work")
    answer = run_demo(tmp_path, "--hours", "1")
    assert answer.code == 2
    assert "is not the home of an earlier demo; remove it yourself" in answer.err
    assert (tmp_path / ".demo/thesis.tex").read_text() == "years of work"
