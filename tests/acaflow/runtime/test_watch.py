"""From a file in the inbox to an event, whatever its name, and after a crash anywhere."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time

import pytest

from acaflow import config
from acaflow.errors import InputError
from acaflow.runtime import watch
from acaflow.runtime.core import Runtime
from acaflow.runtime.records import Result
from acaflow.runtime.runs import run_job
from acaflow.runtime.tables import event
from acaflow.runtime.watch import Watcher, deliver
from tests.support.facts import job, jobs, take
from tests.support.memory import drop, open_in_memory
from tests.support.servers import wait_until

NAME = "acaf686111014N001_0_img0.fits.gz"


@pytest.fixture
def runtime(home, sqlite_ledger):
    return open_in_memory(home, sqlite_ledger)


@pytest.fixture
def watcher(runtime):
    return Watcher(runtime)


def events(runtime):
    with runtime.ledger.look() as connection:
        return list(connection.execute(event.select().order_by("id")))


def taken(runtime):
    return sorted(runtime.home.taken.iterdir())


# --- taking ---


def test_file_is_taken_by_rename_and_recorded_under_the_id_in_its_name(runtime, watcher):
    path = drop(runtime.home, NAME, b"abc")
    given = watcher.take(path)
    (arrival,) = events(runtime)
    assert given == watch.Delivery(NAME, arrival.id, is_new=True)
    assert (arrival.kind, arrival.subject, arrival.source) == (
        "file.aca_l0.arrived",
        "aca0:0",
        "watch",
    )
    assert json.loads(arrival.payload) == {
        "path": f"inbox/.taken/{arrival.id}.{NAME}",
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "size": 3,
        "slot": 0,
        "filetime": 686111014,
    }
    assert abs(arrival.occurred_at - (time.time() - 60.0)) < 30.0  # modification time of the file
    assert not path.exists()
    assert [p.read_bytes() for p in taken(runtime)] == [b"abc"]
    (row,) = jobs(runtime.ledger)
    assert (row.task, row.priority, row.event_id) == ("ingest.aca_l0_file", 3, arrival.id)
    assert [hint.job_id for hint in runtime.transport.hints] == [row.id]


def test_file_that_another_watcher_took_is_left_alone(runtime, watcher):
    assert watcher.take(runtime.home.inbox / "gone.fits") is None
    assert events(runtime) == []


def test_unknown_name_becomes_an_event_too(runtime, watcher):
    watcher.take(drop(runtime.home, "notes.txt", b"x"))
    (arrival,) = events(runtime)
    assert (arrival.kind, arrival.subject) == ("file.unknown.arrived", "file:notes.txt")


@pytest.mark.parametrize(
    "raw, stored",
    [
        (b"caf\xe9.txt", "caf�.txt"),
        (b"a\nb\x1bc.txt", "a?b?c.txt"),
        ("µ–s.txt".encode(), "µ–s.txt"),
        (b"x" * 246 + b".txt", "x" * 196 + ".txt"),
        ("é".encode() * 125 + b".txt", "é" * 98 + ".txt"),
        (b"; rm -rf $HOME.txt", "; rm -rf $HOME.txt"),
    ],
)
def test_any_name_can_be_taken_and_filed_away(runtime, watcher, raw, stored):
    drop(runtime.home, os.fsdecode(raw), b"x")
    watcher.rescan()
    (row,) = jobs(runtime.ledger)
    assert row.subject == f"file:{stored}"
    runtime.ledger.finish(
        take(runtime.ledger, row.id), Result("failed", "dead", error_class="BadInput")
    )
    watcher.rescan()
    (kept,) = runtime.home.quarantine.rglob("*.txt")
    assert kept.name == stored
    assert taken(runtime) == []


# --- repeats ---


def test_same_file_again_changes_nothing(runtime, watcher):
    watcher.take(drop(runtime.home, NAME, b"abc"))
    (row,) = jobs(runtime.ledger)
    again = watcher.take(drop(runtime.home, NAME, b"abc"))
    assert (again.event_id, again.is_new) == (row.event_id, False)
    assert len(events(runtime)) == len(jobs(runtime.ledger)) == len(taken(runtime)) == 1


def test_same_name_with_other_content_is_another_event(runtime, watcher):
    watcher.take(drop(runtime.home, NAME, b"abc"))
    watcher.take(drop(runtime.home, NAME, b"abd"))
    assert len(events(runtime)) == len(taken(runtime)) == 2


def test_same_content_under_another_name_is_another_event(runtime, watcher):
    watcher.take(drop(runtime.home, "wrong.fits", b"abc"))
    watcher.take(drop(runtime.home, NAME, b"abc"))
    assert [item.kind for item in events(runtime)] == [
        "file.unknown.arrived",
        "file.aca_l0.arrived",
    ]


def test_repeat_of_a_dead_file_is_kept_in_quarantine(runtime, watcher):
    watcher.take(drop(runtime.home, NAME, b"abc"))
    (row,) = jobs(runtime.ledger)
    runtime.ledger.finish(
        take(runtime.ledger, row.id),
        Result("failed", "dead", error_class="BadInput", error_text="truncated"),
    )
    watcher.take(drop(runtime.home, NAME, b"abc"))
    (kept,) = runtime.home.quarantine.rglob(NAME)
    assert kept.parent.name == row.event_id
    assert json.loads((kept.parent / "reason.json").read_text())["error_text"] == "truncated"


def test_repeat_replaces_the_copy_that_an_open_job_lost(runtime, watcher):
    watcher.take(drop(runtime.home, NAME, b"abc"))
    (first,) = taken(runtime)
    first.unlink()
    watcher.take(drop(runtime.home, NAME, b"abc"))
    assert taken(runtime) == [first]


# --- what is waited for, what is ignored ---


@pytest.mark.parametrize(
    "name", [".hidden", "a.part", "a.tmp", "a.filepart", "a~", ".dir/a.fits", "dir/.a.fits"]
)
def test_unfinished_files_are_ignored(runtime, watcher, name):
    drop(runtime.home, name, b"x")
    watcher.look()
    assert events(runtime) == []


def test_links_sockets_and_folders_are_ignored(runtime, watcher, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("s")
    (runtime.home.inbox / "link.txt").symlink_to(outside / "secret.txt")
    (runtime.home.inbox / "linked").symlink_to(outside)
    (runtime.home.inbox / "folder").mkdir()
    os.mkfifo(runtime.home.inbox / "pipe.txt")
    watcher.rescan()
    watcher.look()
    assert events(runtime) == []
    assert (outside / "secret.txt").exists()


def test_files_in_folders_are_found(runtime, watcher):
    drop(runtime.home, "2019/272/" + NAME, b"x")
    watcher.look()
    assert [item.kind for item in events(runtime)] == ["file.aca_l0.arrived"]


def test_file_written_in_place_is_taken_when_it_has_settled(runtime, watcher, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])
    watcher.look()
    path = drop(runtime.home, "slow.txt", b"first", age_s=0.0)
    for content in (b"first", b"second"):
        path.write_bytes(content)
        watcher.look()
        now[0] += 4.9  # less than settle_s
        watcher.look()
        assert events(runtime) == []
    now[0] += 0.2
    watcher.look()
    (arrival,) = events(runtime)
    assert json.loads(arrival.payload)["sha256"] == hashlib.sha256(b"second").hexdigest()


def test_file_that_vanishes_while_settling_is_forgotten(runtime, watcher):
    watcher.look()
    path = drop(runtime.home, "brief.txt", b"x", age_s=0.0)
    watcher.look()
    path.unlink()
    watcher.look()
    assert watcher._settling == {}


# --- crashes ---


class Crash(BaseException):
    """Stands for SIGKILL."""


def crash(*_args, **_more):
    raise Crash


def test_crash_between_rename_and_record_is_found_by_the_rescan(runtime, watcher, monkeypatch):
    path = drop(runtime.home, NAME, b"abc")
    with monkeypatch.context() as patch:
        patch.setattr(Runtime, "record", crash)
        with pytest.raises(Crash):
            watcher.take(path)
    (left,) = taken(runtime)
    assert events(runtime) == []
    Watcher(runtime).rescan()
    (arrival,) = events(runtime)
    assert left.name == f"{arrival.id}.{NAME}"
    assert taken(runtime) == [left]


def test_crash_between_commit_and_send_leaves_the_file_in_hand(runtime, watcher, monkeypatch):
    path = drop(runtime.home, NAME, b"abc")
    with monkeypatch.context() as patch:
        patch.setattr(runtime.transport, "send", crash)
        with pytest.raises(Crash):
            watcher.take(path)
    Watcher(runtime).rescan()
    assert len(events(runtime)) == len(taken(runtime)) == 1


def test_file_that_two_watchers_find_at_once_stays_in_hand(runtime, watcher, monkeypatch):
    """The second looked before the first had recorded it."""
    watcher.take(drop(runtime.home, NAME, b"abc"))
    with monkeypatch.context() as patch:
        patch.setattr(runtime.ledger, "jobs_of", lambda event_id: [])
        patch.setattr(watch.quarantine, "dispose", lambda *_: False)
        watcher.rescan()
    assert len(events(runtime)) == len(taken(runtime)) == 1


def test_crash_between_end_of_job_and_filing_is_found_by_the_rescan(runtime, watcher):
    watcher.take(drop(runtime.home, NAME, b"abc"))
    (row,) = jobs(runtime.ledger)
    runtime.ledger.finish(take(runtime.ledger, row.id), Result("ok", "done"))
    assert len(taken(runtime)) == 1
    Watcher(runtime).rescan()
    assert taken(runtime) == []
    (filed,) = runtime.home.processed.rglob(f"*.{NAME}")
    assert filed.name == f"{row.event_id}.{NAME}"


def test_file_of_an_open_job_stays_in_hand(runtime, watcher):
    watcher.take(drop(runtime.home, NAME, b"abc"))
    watcher.rescan()
    assert len(taken(runtime)) == 1


def test_processed_files_may_be_deleted(home, sqlite_ledger):
    config.use(config.load(home=home.root, processed="delete"))
    runtime = open_in_memory(home, sqlite_ledger)
    Watcher(runtime).take(drop(home, NAME, b"abc"))
    (row,) = jobs(sqlite_ledger)
    assert run_job(row.id, lambda ctx, **_: None, runtime) == "ok"
    assert taken(runtime) == []
    assert [p for p in home.processed.rglob("*") if p.is_file()] == []


# --- deliver (command line) ---


def test_delivered_file_stays_where_it_is(runtime, tmp_path):
    mine = tmp_path / NAME
    mine.write_bytes(b"abc")
    given = deliver(runtime, mine, "ada")
    assert mine.read_bytes() == b"abc"
    (arrival,) = events(runtime)
    assert (arrival.id, arrival.source) == (given.event_id, "cli:ada")
    again = deliver(runtime, mine, "ada")
    assert (again.event_id, again.is_new) == (given.event_id, False)
    forced = deliver(runtime, mine, "ada", force=True)
    assert forced.is_new and forced.event_id != given.event_id
    assert len(taken(runtime)) == 2


def test_delivery_of_nothing_is_refused(runtime, tmp_path):
    with pytest.raises(InputError, match=r"nothing\.fits cannot be read: No such file"):
        deliver(runtime, tmp_path / "nothing.fits", "ada")
    assert taken(runtime) == []


# --- with the kernel's events ---


@pytest.mark.parametrize("mode", ["inotify", "poll"])
def test_watcher_takes_what_is_moved_in_and_what_is_written_in_place(
    home, sqlite_ledger, mode, monkeypatch
):
    config.use(config.load(home=home.root, watch_mode=mode, settle_s=0.2))
    monkeypatch.setattr(watch, "POLL_S", 0.1)
    runtime = open_in_memory(home, sqlite_ledger)
    watcher = Watcher(runtime)
    thread = threading.Thread(target=watcher.run)
    thread.start()
    try:
        for i in range(20):
            part = home.root / "part"
            part.write_bytes(b"%d" % i)
            part.rename(home.inbox / f"moved{i}.txt")
        (home.inbox / "written.txt").write_bytes(b"x")
        (home.inbox / "folder").mkdir()
        (home.inbox / "folder" / "deep.txt").write_bytes(b"x")
        wait_until(lambda: len(events(runtime)) == 22, "22 arrivals")
    finally:
        watcher.stop.set()
        thread.join()
    assert [p for p in home.inbox.iterdir() if p.is_file()] == []


def test_watcher_goes_on_after_an_error(runtime, watcher, monkeypatch):
    watcher._guarded(lambda: 1 / 0)
    path = drop(runtime.home, NAME, b"abc")
    with monkeypatch.context() as patch:
        patch.setattr(watch.storage, "sha256_file", lambda path: crash_softly())
        watcher._guarded(watcher.take, path)
    watcher.rescan()
    (row,) = jobs(runtime.ledger)
    assert job(runtime.ledger, row.id).state == "waiting"


def crash_softly():
    raise OSError(5, "Input/output error")
