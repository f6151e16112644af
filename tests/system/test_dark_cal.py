"""A dark calibration through real processes: the same product whatever is killed on the way."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import sys
import time

import pytest

from acaflow import config
from acaflow.archive.aca_dark import dark_cal
from acaflow.archive.aca_dark.dark_files import read_calibration, read_json
from acaflow.archive.aca_dark.tree import DarkTree
from acaflow.runtime.relay import sweep_work
from tests.services.dark_cal.conftest import DARK_ID, simulate
from tests.support import doomed_worker, servers
from tests.support.doomed_worker import Order
from tests.support.facts import change
from tests.support.live import Process, System, open_system

pytestmark = [pytest.mark.live, pytest.mark.fault]

QUEUES = "ingest,dark_cal"
PATIENCE_S = 90.0
"""The storm takes 40 s on a quiet machine."""
REPORT = "2024_apr"
RECEIVE, DECODE, ASSEMBLE, MAKE_REPORT, INDEX = (
    f"dark_cal.{name}"
    for name in ("receive_replica", "decode", "assemble", "report", "update_index")
)

DEATHS = [
    Order("child", RECEIVE, "os.rename", "raw/2024100/2024_100_VC2_Replica1"),
    Order("child", RECEIVE, "os.rename", "raw/2024100/2024_100_VC2_Replica4"),
    Order("worker", RECEIVE, "fault", "publish.renamed"),
    Order("worker", RECEIVE, "fault", "finish.before"),
    Order("worker", "dark_cal.gate", "fault", "finish.before"),
    Order("child", DECODE, "os.rename", "l0/2024100/replica2_L0"),
    Order("child", DECODE, "os.rename", "l0/2024100/replica3.json"),
    Order("worker", DECODE, "fault", "finish.before"),
    Order("worker", ASSEMBLE, "os.rename", "work/aca_dark/2024100"),
    Order("child", ASSEMBLE, "shutil.rmtree", "replaced"),  # just after the rename
    Order("child", MAKE_REPORT, "os.rename", "archive/aca_dark/2024100"),
    Order("worker", MAKE_REPORT, "os.rename", f"www/dark_cal/{REPORT}"),
    Order("worker", MAKE_REPORT, "os.rename", "work/aca_dark/2024100"),  # done: it goes away
    Order("worker", MAKE_REPORT, "os.remove", "properties.json"),  # in the middle of that
    Order("worker", MAKE_REPORT, "fault", "finish.before"),
    Order("child", INDEX, "os.rename", "archive/aca_dark/zodi.csv"),
    Order("worker", INDEX, "os.rename", "www/dark_cal/index.html"),
]
"""All are met, around the renames of each step. A job that loses two single processes is poison."""
VICTIMS = ["relay", "redis", "worker"] * 2
"""Killed besides, at random moments in which a step runs: 23 kills together."""

FULL = [
    Order("full", RECEIVE, "os.rename", "archive/aca_dark/raw/2024100"),
    Order("full", DECODE, "os.rename", "archive/aca_dark/l0/2024100"),
    Order("full", ASSEMBLE, "os.rename", "work/aca_dark/2024100"),
    Order("full", MAKE_REPORT, "os.rename", "archive/aca_dark/2024100"),
    Order("full", MAKE_REPORT, "os.rename", f"www/dark_cal/{REPORT}"),
    Order("full", INDEX, "os.rename", "archive/aca_dark/zodi.csv"),
]


@pytest.fixture(scope="module")
def delivery(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("dark") / "delivered")


def start(system: System, name: str, *argv: str) -> Process:
    process = Process(
        [sys.executable, "-m", *argv], system.home.root / f"{name}.log", system.variables
    )
    system.processes.append(process)
    process.start()
    process.wait_line("ready")
    return process


def drop(system: System, paths, seed: int) -> None:
    """Move copies into the inbox, in random order."""
    for path in random.Random(seed).sample(paths, len(paths)):
        part = system.home.root / "part"
        shutil.copyfile(path, part)
        part.rename(system.home.inbox / path.name)


def is_calm(system: System) -> bool:
    """Tell whether every file was taken, worked, and filed away."""
    waiting = system.rows("SELECT id FROM job WHERE state IN ('waiting', 'running') LIMIT 1")
    return not waiting and not any(path.is_file() for path in system.home.inbox.rglob("*"))


def wait_published(system: System) -> None:
    page = system.home.root / "www/dark_cal/index.html"
    system.wait_until(lambda: page.exists() and is_calm(system), "the publication", PATIENCE_S)


def products(system: System) -> dict[str, str]:
    """Checksums of all that is published, by path."""
    home = system.home.root
    folders = [home / "archive/aca_dark" / DARK_ID, home / "www"]
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    paths.append(home / "archive/aca_dark/zodi.csv")
    return {
        str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
    }


def known(system: System) -> set[str]:
    """Paths of all products that the ledger knows."""
    return {row.path for row in system.rows("SELECT path FROM product WHERE role = 'out'")}


def assert_nothing_left(system: System) -> None:
    """Every job had a good end, every file is filed away, nothing is staged any more."""
    states = system.rows("SELECT DISTINCT state FROM job")
    assert {row.state for row in states} <= {"done", "skipped"}
    assert sum(system.states(RECEIVE).values()) == 5
    twice = "SELECT job_id FROM attempt WHERE outcome = 'ok' GROUP BY job_id HAVING count(*) > 1"
    assert system.rows(twice) == []
    assert not any(path.is_file() for path in system.home.quarantine.rglob("*"))
    for folder in system.home.work.iterdir():
        os.utime(folder, (0, 0))  # what killed attempts leave is swept when it is old
    sweep_work(system.runtime)
    assert [path.name for path in system.home.work.rglob("*")] == ["aca_dark"]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory, delivery):
    """A home in which everything was delivered at once and nobody was killed."""
    with pytest.MonkeyPatch.context() as patch, servers.redis_server() as redis:
        patch.setattr(config, "_current", None)
        with open_system(tmp_path_factory.mktemp("quiet") / "home", redis) as system:
            start(system, "relay", "acaflow", "relay", "--watch")
            start(system, "worker", "acaflow", "worker", QUEUES)
            drop(system, delivery.files, 1)
            wait_published(system)
            for process in system.processes:
                assert process.end() == 0
    return system


def test_files_in_any_order_become_a_published_calibration(quiet, delivery):
    assert_nothing_left(quiet)
    assert len(list(quiet.home.processed.rglob("*.*"))) == len(delivery.files)
    root = quiet.home.archive / "aca_dark"
    props = dark_cal.get_dark_cal_props("2024:100", dark_cals_dir=root)
    assert (props["id"], props["revision"], props["quality"]) == (DARK_ID, 1, "PASS")
    assert (props["report"], props["n_ccd_img"]) == (REPORT, 10)
    found = {path.rsplit("/", 1)[-1] for path in products(quiet)}
    assert {"image.fits", "properties.json", "quality.json", "info.csv", "zodi.csv"} <= found
    pages = quiet.home.root / "www/dark_cal"
    assert DARK_ID in (pages / REPORT / "index.html").read_text()
    listed = read_json(pages / "index.json")["calibrations"]
    assert [item["id"] for item in listed] == [DARK_ID]


def running(system: System) -> list[str]:
    return [row.task for row in system.rows("SELECT task FROM job WHERE state = 'running'")]


def begin(system: System, delivery, orders: list[Order]) -> tuple[Process, Process]:
    """Start a system whose worker follows orders, and deliver everything."""
    doomed_worker.give(system.home.root, orders)
    relay = start(system, "relay", "acaflow", "relay", "--watch")
    worker = start(system, "worker", "tests.support.doomed_worker", QUEUES)
    system.supervise(relay, worker)
    drop(system, delivery.telemetry, 2)
    ended = "SELECT id FROM job WHERE finished_at IS NOT NULL AND args LIKE '%sha256%'"
    system.wait_until(
        lambda: len(system.rows(ended)) == len(delivery.telemetry), "telemetry", PATIENCE_S
    )
    drop(system, delivery["VC2"], 3)
    return relay, worker


def test_kills_at_every_step_change_nothing(system, quiet, delivery):
    began = time.monotonic()
    relay, worker = begin(system, delivery, DEATHS)
    chance = random.Random(4)
    killed = []
    for victim in chance.sample(VICTIMS, len(VICTIMS)):
        due = time.monotonic() + chance.uniform(0.5, 5.0)
        system.wait_until(
            lambda due=due: time.monotonic() > due and running(system), "a step", PATIENCE_S
        )
        killed.append((victim, running(system)))
        if victim == "redis":
            system.redis.end(signal.SIGKILL)
            system.redis.start()
        else:
            {"relay": relay, "worker": worker}[victim].kill()
    wait_published(system)
    lost = system.rows("SELECT count(*) AS n FROM attempt WHERE outcome = 'lost'")[0].n
    print(f"\ndark calibration: {time.monotonic() - began:.1f} s, {lost} attempts lost; {killed}")
    assert products(system) == products(quiet)
    assert_nothing_left(system)
    assert known(system) == known(quiet)
    assert doomed_worker.ordered(system.home.root) == []


def test_disk_full_while_publishing(system, quiet, delivery):
    begin(system, delivery, FULL)
    tree = DarkTree(system.home, DARK_ID)
    busy = "state = 'waiting' AND error_class = 'StorageBusyError' AND error_text LIKE"

    def errors(where: str) -> list[str]:
        found = system.rows(f"SELECT error_text FROM job WHERE {busy} '%{where}%'")
        return [row.error_text for row in found]

    def is_over(where: str) -> bool:
        """Have what has met a full disk tried again at once."""
        change(system.runtime.ledger, f"UPDATE job SET not_before = 0 WHERE {busy} '%{where}%'")
        return not errors(where)

    for number, order in enumerate(FULL):
        where = order.where
        system.wait_until(lambda where=where: bool(errors(where)), where, PATIENCE_S)
        for error in errors(""):
            assert error.startswith(f"No space left on device while writing {system.home.root}/")
            assert where in error
        # Each product is there as a whole or not at all.
        assert tree.published.exists() is (number > 3)
        assert tree.report(REPORT).exists() is (number > 4)
        if tree.published.exists():
            assert read_calibration(tree.published).properties["revision"] == 1
        doomed_worker.withdraw(system.home.root, order)
        system.wait_until(lambda where=where: is_over(where), f"{where} again", PATIENCE_S)
    wait_published(system)
    assert products(system) == products(quiet)
    assert_nothing_left(system)
