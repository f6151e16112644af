"""Two thousand files while workers, Redis and the relay are killed: the archive of a quiet run."""

from __future__ import annotations

import hashlib
import random
import shutil
import sqlite3
import time
from pathlib import Path

import psutil
import pytest

from acaflow.simulate.aca_l0 import L0Scenario, Reissue, simulate_l0
from tests.support.live import Up
from tests.support.servers import wait_until

pytestmark = [pytest.mark.live, pytest.mark.fault]

T0 = 686_000_000.0
FILE_S = 1200.0
"""Length of a file; 1200 s make about 60 kB."""
SPANS = 242
REISSUES = [Reissue(T0 + i * 6 * FILE_S, T0 + (i * 6 + 1.5) * FILE_S, 2) for i in range(3)]
FILES = 2000
KILLS = 3
"""How often each of worker, Redis and relay is killed."""


@pytest.fixture(scope="module")
def deliveries(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deliveries")
    scenario = L0Scenario(T0, T0 + SPANS * FILE_S, file_s=FILE_S, seed=2000, reissues=REISSUES)
    return simulate_l0(scenario, folder)


def drop_all(up: Up, deliveries: list[Path]) -> None:
    """Move a copy of each file into the inbox, in random order."""
    part = up.home.root / "part"
    for path in random.Random(1).sample(deliveries, len(deliveries)):
        shutil.copyfile(path, part)
        part.rename(up.home.inbox / path.name)


def read(up: Up, statement: str) -> list[tuple]:
    connection = sqlite3.connect(up.home.state / "ledger.db", timeout=60.0)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def open_jobs(up: Up) -> int:
    """Files that are not archived yet, in the inbox or in the ledger."""
    ended = read(
        up,
        "SELECT count(*) FROM job WHERE task = 'ingest.aca_l0_file' AND finished_at IS NOT NULL",
    )
    return FILES - int(ended[0][0])


def archive(up: Up) -> dict[str, str]:
    """SHA-256 of every file of the archive tree."""
    root = up.home.archive / "aca0"
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*.fits.gz")
    }


def tables(up: Up) -> tuple[list[tuple], list[tuple]]:
    connection = sqlite3.connect(up.home.archive / "aca0" / "archfiles.db3")
    try:
        shown = connection.execute("SELECT * FROM archfiles ORDER BY filename").fetchall()
        cursor = connection.execute("SELECT * FROM all_files ORDER BY filename")
        names = [item[0] for item in cursor.description]
        when = names.index("superseded_at")
        known = [row[:when] + row[when + 1 :] for row in cursor]
    finally:
        connection.close()
    return shown, known


def assert_done_once(up: Up) -> None:
    states = read(
        up, "SELECT state, count(*) FROM job WHERE task = 'ingest.aca_l0_file' GROUP BY state"
    )
    assert states == [("done", FILES)]
    twice = "SELECT path FROM product WHERE role = 'out' GROUP BY path HAVING count(*) > 1"
    assert read(up, twice) == []
    ok = "SELECT job_id FROM attempt WHERE outcome = 'ok' GROUP BY job_id HAVING count(*) > 1"
    assert read(up, ok) == []
    updates = "SELECT count(*) FROM event WHERE kind = 'aca_l0.updated'"
    assert read(up, updates) == [(FILES,)]


def test_storm_of_two_thousand_files(tmp_path, deliveries):
    assert len(deliveries) == FILES
    quiet, storm = (Up(tmp_path / name, "--no-web") for name in ("quiet", "storm"))
    try:
        quiet.start()
        began = time.monotonic()
        drop_all(quiet, deliveries)
        wait_until(lambda: open_jobs(quiet) == 0, "the quiet run", 300.0)
        quiet_s = time.monotonic() - began
        assert quiet.end() == 0
        assert_done_once(quiet)

        storm.start()
        began = time.monotonic()
        drop_all(storm, deliveries)
        chance = random.Random(20)
        victims = chance.sample(["worker", "redis", "relay"] * KILLS, 3 * KILLS)
        killed = []
        for word in victims:
            time.sleep(chance.uniform(0.3, 1.7) * min(quiet_s, 40.0) / len(victims))
            victim = storm.child(word)
            if victim is not None:  # it may still wait for its restart
                victim.kill()
                killed.append((word, open_jobs(storm)))
        last_kill = time.monotonic()
        limit_s = max(90.0, 1.5 * quiet_s)
        wait_until(lambda: open_jobs(storm) == 0, "the storm", limit_s)
        settled_s = time.monotonic() - last_kill
        assert storm.end() == 0
        lost = read(storm, "SELECT count(*) FROM attempt WHERE outcome = 'lost'")[0][0]
        print(
            f"\nstorm: {FILES} files, quiet {quiet_s:.1f} s, with kills"
            f" {time.monotonic() - began:.1f} s, settled {settled_s:.1f} s after the last;"
            f" killed (open jobs then): {killed}; {lost} attempts lost"
        )
        assert len(killed) >= 6
        assert_done_once(storm)
        found = archive(storm)
        assert len(found) == FILES
        assert found == archive(quiet)
        assert tables(storm) == tables(quiet)
    finally:
        quiet.sweep()
        storm.sweep()
    assert not [p for p in (*quiet.processes(), *storm.processes()) if psutil.pid_exists(p.pid)]
