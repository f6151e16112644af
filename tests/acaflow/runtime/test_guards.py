"""Every guard of the ledger is needed: without it, the test named here fails.

A copy of the package loses one guard; the named test runs against the copy, in a process of
its own.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import acaflow

pytestmark = pytest.mark.fault

ROOT = Path(__file__).parents[3]
PACKAGE = Path(acaflow.__file__).parent
TESTS = Path(__file__).with_name("test_ledger.py")
LEDGER, MIGRATION = "runtime/ledger.py", "runtime/migrations/versions/0001_core.py"


@dataclass(frozen=True)
class Guard:
    """What is taken away (file, text, its replacement), and the test that then fails."""

    name: str
    test: str
    changes: tuple[tuple[str, str, str], ...]

    def remove(self, package: Path) -> None:
        for file, guarded, bare in self.changes:
            source = (package / file).read_text()
            assert guarded in source, f"{file} no longer says {guarded!r}"
            (package / file).write_text(source.replace(guarded, bare))


def in_ledger(name: str, test: str, guarded: str, bare: str) -> Guard:
    return Guard(name, test, ((LEDGER, guarded, bare),))


GUARDS = (
    Guard(
        "unique dedupe key",
        "test_known_key_changes_nothing[sqlite]",
        (
            (LEDGER, ".on_conflict_do_nothing()", ""),
            (MIGRATION, ",\n    UNIQUE (dedupe_key)", ""),
        ),
    ),
    in_ledger(
        "the database says what is new",
        "test_same_key_twice_in_one_call[sqlite]",
        "set(returned.scalars())",
        "{item.id for item in ordered}",
    ),
    in_ledger(
        "claim: waiting",
        "test_only_a_waiting_job_is_claimed[sqlite-running]",
        "WHERE id = :id AND state = 'waiting' AND not_before <= :now\nRETURNING {CLAIMED}",
        "WHERE id = :id AND not_before <= :now\nRETURNING {CLAIMED}",
    ),
    in_ledger(
        "claim: due",
        "test_job_is_claimed_when_due_and_not_earlier[sqlite]",
        "AND state = 'waiting' AND not_before <= :now\nRETURNING {CLAIMED}",
        "AND state = 'waiting'\nRETURNING {CLAIMED}",
    ),
    in_ledger(
        "attempts grow",
        "test_attempts_only_grow[sqlite]",
        "attempts = attempts + 1",
        "attempts = 1",
    ),
    in_ledger(
        "finish: this attempt",
        "test_older_attempt_cannot_finish_a_newer_one[sqlite]",
        "state = 'running' AND attempts = :n",
        "state = 'running' AND :n > 0",
    ),
    in_ledger(
        "finish: still running",
        "test_finished_attempt_cannot_finish_again[sqlite]",
        "AND state = 'running' AND attempts = :n",
        "AND attempts = :n",
    ),
    Guard(
        "one running job per lock",
        "test_held_lock_is_busy_and_the_hint_is_taken_back[sqlite]",
        ((MIGRATION, "UNIQUE INDEX job_lock", "INDEX job_lock"),),
    ),
    Guard(
        "coalescing: fresh rows only (race R1)",
        "test_claimed_job_goes_back_beside_a_newer_one[sqlite-lost]",
        tuple(
            (file, "state = 'waiting' AND attempts = 0", "state = 'waiting'")
            for file in (LEDGER, MIGRATION)
        ),
    ),
    in_ledger(
        "coalescing: max_wait",
        "test_triggers_move_a_job_by_max_wait_at_most[sqlite]",
        "ELSE job.created_at + :max_wait_s END",
        "ELSE excluded.not_before + 0 * :max_wait_s END",
    ),
    in_ledger(
        "coalescing: moved jobs lose their hint",
        "test_trigger_of_a_sent_job_takes_the_hint_back[sqlite]",
        "DO UPDATE SET sent_at = NULL,",
        "DO UPDATE SET",
    ),
    in_ledger(
        "relay: marks what it read",
        "test_mark_of_an_old_reading_sends_nothing[sqlite]",
        "AND state = 'waiting' AND sends = :sends",
        "AND state = 'waiting' AND :sends >= 0",
    ),
)


def _run(package: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    options = ["-q", "-p", "no:cacheprovider", "-o", f"pythonpath={package.parent} {ROOT}"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *(f"{TESTS}::{test}" for test in tests)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def package(tmp_path):
    """A copy of the package."""
    return shutil.copytree(
        PACKAGE, tmp_path / "shared" / "acaflow", ignore=shutil.ignore_patterns("__pycache__")
    )


def test_untouched_copy_passes(package):
    done = _run(package, *(guard.test for guard in GUARDS))
    assert f"{len(GUARDS)} passed" in done.stdout, done.stdout


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_guard_is_needed(package, guard):
    guard.remove(package)
    done = _run(package, guard.test)
    assert "1 failed" in done.stdout, done.stdout + done.stderr
