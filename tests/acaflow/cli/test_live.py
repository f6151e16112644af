"""``acaflow up`` and ``acaflow demo`` for real: Redis, workers, relay, pages, a shell beside them."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from acaflow import config
from acaflow.errors import ConfigError
from acaflow.runtime import redis_server
from tests.acaflow.cli.programs import Answer, call, end, start
from tests.support import servers
from tests.support.l0 import make_l0_file

pytestmark = pytest.mark.live


@pytest.fixture(autouse=True, scope="module")
def has_redis() -> None:
    """Skip where there is no Redis server to start."""
    try:
        redis_server.find(config.Settings())
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
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_a_shell_beside_a_running_system(tmp_path):
    home = tmp_path / "home"
    file = make_l0_file(tmp_path, slot=3)
    with is_up(home) as (process, url):
        [result] = json.loads(call("ingest", file, "--json", home=home).out)
        assert [job["state"] for job in result["jobs"]] == ["done"]
        # The work was done by a worker of the other process.
        detail = json.loads(call("jobs", "show", result["jobs"][0]["id"], "--json", home=home).out)
        assert detail["attempts"][0]["owner"].startswith("ingest@")

        waited = call("submit", "ingest.reconcile", "--wait", "--force", "--json", home=home)
        assert waited.code == 0
        assert json.loads(waited.out)["jobs"][0]["state"] == "skipped"

        for command in (["health"], ["health", "worker"], ["health", "relay"], ["health", "web"]):
            assert call(*command, home=home).code == 0, command
        status = json.loads(call("status", "--json", home=home).out)
        assert status["up"] == {"pid": process.pid, "url": url}
        with urllib.request.urlopen(url, timeout=10) as page:
            assert page.status == 200

        second = call("up", home=home)
        assert second == Answer(1, "", f"acaflow: acaflow is up already for {home}: {url}\n")

        family = children(process)
        process.send_signal(signal.SIGINT)
        assert end(process).code == 0
        assert not [child for child in family if child.is_running()]


def test_a_refused_file_is_told_to_whoever_waits(tmp_path):
    home = tmp_path / "home"
    bad = make_l0_file(tmp_path, slot=2)
    bad.write_bytes(bad.read_bytes()[:-500])
    with is_up(home, "--solo", "--no-web"):
        answer = call("ingest", bad, home=home)
        assert answer.code == 1
        assert "file is truncated" in answer.err
        assert "acaflow up: no pages" in call("status", home=home).out


# --- demo ---


def run_demo(folder: Path, *options: str | Path) -> Answer:
    """Run the demo without a terminal, in a folder."""
    return call("demo", *options, home=folder / "unused", cwd=folder)


def test_demo_of_two_simulated_hours(tmp_path):
    answer = run_demo(tmp_path, "--hours", "2")
    assert answer.code == 0, answer
    assert "feeding 8 files" in answer.out
    assert "8 of 8 files processed" in answer.out
    table = [line.split() for line in answer.out.splitlines() if line.startswith("aca_l0 ")]
    assert [row[1:3] for row in table] == [[f"aca0:{slot}", "1"] for slot in range(8)]
    assert "pages: http://127.0.0.1:" in answer.out
    [lock] = (tmp_path / ".demo/state/run").glob("acaflow.lock")
    assert lock.read_text() == ""
    # Once more: the home is made anew.
    assert "feeding 8 files" in run_demo(tmp_path, "--hours", "2").out
    assert len(list((tmp_path / ".demo/processed").glob("*/*/*.fits.gz"))) == 8


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
