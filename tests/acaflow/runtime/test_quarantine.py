"""Where a delivered file goes after its jobs, and how it comes back."""

from __future__ import annotations

import json

import pytest

from acaflow.errors import CorruptFileError, MissingDataError, StorageBusyError
from acaflow.runtime import operators, quarantine
from acaflow.runtime.records import Result, id_time
from acaflow.runtime.runs import run_job
from acaflow.runtime.watch import Watcher
from tests.support.facts import job, jobs, take
from tests.support.memory import drop, open_in_memory

NAME = "acaf686111014N001_0_img0.fits.gz"
SHA_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture
def runtime(home, sqlite_ledger):
    return open_in_memory(home, sqlite_ledger)


@pytest.fixture
def arrived(runtime):
    """The job of a file that was taken in hand."""
    Watcher(runtime).take(drop(runtime.home, NAME, b"abc"))
    (row,) = jobs(runtime.ledger)
    return row


def refuse(ctx, **_):
    raise CorruptFileError("truncated at byte 3")


def in_hand(runtime):
    return [path.name for path in runtime.home.taken.iterdir()]


def test_refused_file_lies_beside_its_reason(runtime, arrived):
    assert run_job(arrived.id, refuse, runtime) == "dead"
    (entry,) = quarantine.entries(runtime.home)
    assert (entry.event_id, entry.name, entry.size) == (arrived.event_id, NAME, 3)
    year, day, folder = entry.path.relative_to(runtime.home.quarantine).parts[:3]
    assert (len(year), len(day), folder) == (4, 3, arrived.event_id)
    reason = json.loads((entry.path.parent / "reason.json").read_text())
    assert 0 <= reason.pop("time") - id_time(arrived.event_id) < 60
    assert reason == {
        "event_id": arrived.event_id,
        "job_id": arrived.id,
        "error_class": "BadInput",
        "error_text": "truncated at byte 3",
        "sha256": SHA_ABC,
    }
    assert in_hand(runtime) == []


def test_file_of_unfinished_jobs_stays_in_hand(runtime, arrived):
    path = f"inbox/.taken/{arrived.event_id}.{NAME}"
    assert quarantine.dispose(runtime, arrived.event_id, path) is False
    take(runtime.ledger, arrived.id)
    assert quarantine.dispose(runtime, arrived.event_id, path) is False
    assert in_hand(runtime) == [f"{arrived.event_id}.{NAME}"]


def test_two_processes_may_file_the_same_delivery_away(runtime, arrived, monkeypatch):
    """The rescan and the worker that ended the job: the second finds nothing to link."""
    path = f"inbox/.taken/{arrived.event_id}.{NAME}"
    runtime.ledger.finish(take(runtime.ledger, arrived.id), Result("ok", "done"))
    link = quarantine.storage.link_into

    def overtaken(source, target):
        with monkeypatch.context() as patch:
            patch.setattr(quarantine.storage, "link_into", link)
            assert quarantine.dispose(runtime, arrived.event_id, path) is True
        link(source, target)

    monkeypatch.setattr(quarantine.storage, "link_into", overtaken)
    assert quarantine.dispose(runtime, arrived.event_id, path) is False
    assert len(list(runtime.home.processed.rglob(f"*.{NAME}"))) == 1


@pytest.mark.parametrize("state", ["done", "dead"])
def test_crash_between_link_and_unlink_is_repaired(runtime, arrived, state):
    end = Result("ok", "done") if state == "done" else Result("failed", "dead", error_class="E")
    runtime.ledger.finish(take(runtime.ledger, arrived.id), end)
    path = f"inbox/.taken/{arrived.event_id}.{NAME}"
    taken = runtime.home.root / path
    content = taken.read_bytes()
    quarantine.dispose(runtime, arrived.event_id, path)
    taken.write_bytes(content)  # the first name, as if it had not been removed
    assert quarantine.dispose(runtime, arrived.event_id, path) is True
    filed = [p for p in runtime.home.root.rglob(f"*{NAME}") if p.is_file()]
    assert len(filed) == 1


def test_released_file_is_delivered_again_under_a_new_event(runtime, arrived):
    run_job(arrived.id, refuse, runtime)
    event_id = quarantine.release(runtime, arrived.event_id, "ada")
    assert event_id != arrived.event_id
    assert in_hand(runtime) == [f"{event_id}.{NAME}"]
    assert quarantine.entries(runtime.home) == []
    new = next(row for row in jobs(runtime.ledger) if row.event_id == event_id)
    assert run_job(new.id, lambda ctx, **_: None, runtime) == "ok"
    assert [p.name for p in runtime.home.processed.rglob("*.gz")] == [f"{event_id}.{NAME}"]
    with pytest.raises(MissingDataError, match=f"no file of event {arrived.event_id} in quarant"):
        quarantine.release(runtime, arrived.event_id, "ada")


def test_requeued_job_finds_its_file_again(runtime, arrived):
    run_job(arrived.id, refuse, runtime)
    operators.requeue(runtime, [arrived.id], "ada")
    assert quarantine.entries(runtime.home) == []
    seen = []

    def accept(ctx, path, sha256, **_):
        seen.append(ctx.input(path, sha256).read_bytes())

    assert run_job(arrived.id, accept, runtime) == "ok"
    assert seen == [b"abc"]


def test_undone_requeue_puts_the_file_back(runtime, arrived):
    run_job(arrived.id, refuse, runtime)
    batch, _ = operators.requeue(runtime, [arrived.id], "ada", delay_s=10.0)
    assert operators.undo(runtime, batch, "ada") == 1
    (entry,) = quarantine.entries(runtime.home)
    assert entry.path.read_bytes() == b"abc"
    assert in_hand(runtime) == []


def test_requeue_twice_keeps_the_file(runtime, arrived):
    run_job(arrived.id, refuse, runtime)
    operators.requeue(runtime, [arrived.id], "ada")
    operators.requeue(runtime, [arrived.id], "bob")
    assert in_hand(runtime) == [f"{arrived.event_id}.{NAME}"]


def test_full_disk_keeps_the_file_in_hand(runtime, arrived, monkeypatch):
    runtime.ledger.finish(take(runtime.ledger, arrived.id), Result("ok", "done"))

    def full(source, target):
        raise StorageBusyError("No space left on device")

    monkeypatch.setattr(quarantine.storage, "link_into", full)
    with pytest.raises(StorageBusyError):
        quarantine.dispose(runtime, arrived.event_id, f"inbox/.taken/{arrived.event_id}.{NAME}")
    assert in_hand(runtime) == [f"{arrived.event_id}.{NAME}"]
    assert job(runtime.ledger, arrived.id).state == "done"


def test_quarantine_is_listed_newest_first(runtime):
    watcher = Watcher(runtime)
    for name in ("a.txt", "b.txt", "c.txt"):
        watcher.take(drop(runtime.home, name, b"x"))
    for row in jobs(runtime.ledger):
        run_job(row.id, refuse, runtime)
    assert [entry.name for entry in quarantine.entries(runtime.home)] == ["c.txt", "b.txt", "a.txt"]
