"""What ingest does with a file: plain calls through `run_job`, no queue."""

from __future__ import annotations

import gzip
import json
import sqlite3

import pytest

from acaflow.archive.l0_index import L0Index
from acaflow.runtime import messages, quarantine, runs
from acaflow.runtime.runs import judge_loss, run_job
from acaflow.runtime.tables import event, product
from acaflow.runtime.tables import job as job_table
from acaflow.runtime.watch import deliver
from services.ingest import steps
from tests.support.facts import DONE, add, change, job, jobs, only
from tests.support.l0 import make_l0_file
from tests.support.memory import open_in_memory

NAME = "acaf686000001N001_3_img0.fits.gz"
"""TSTART of the first file is 686 000 001.025."""
WHERE = f"2019/270/{NAME}"

STEPS = {
    "ingest.aca_l0_file": steps.aca_l0_file,
    "ingest.aca_packets": steps.aca_packets,
    "ingest.update_l0_store": steps.update_l0_store,
    "ingest.rebuild_l0_store": steps.rebuild_l0_store,
    "ingest.unknown_file": steps.unknown_file,
    "ingest.reconcile": steps.reconcile,
    "ingest.reindex_l0_file": steps.reindex_l0_file,
    "ingest.backup_ledger": steps.backup_ledger,
}


@pytest.fixture
def runtime(home, sqlite_ledger):
    return open_in_memory(home, sqlite_ledger)


@pytest.fixture
def made(tmp_path):
    return tmp_path / "made"


def run(runtime, path, **more):
    """Deliver a file, run its job, and return the job's row."""
    given = deliver(runtime, path, "test", **more)
    row = only(runtime.ledger, job_table.c.event_id == given.event_id)
    run_job(row.id, STEPS[row.task], runtime)
    return job(runtime.ledger, row.id)


def run_task(runtime, task, **args):
    job_id = add(runtime.ledger, f"{task}|{len(jobs(runtime.ledger))}", task=task, args=args)
    run_job(job_id, STEPS[task], runtime)
    return job(runtime.ledger, job_id)


def updates(runtime):
    """Payloads of the announced changes."""
    query = event.select().where(event.c.kind == "aca_l0.updated").order_by("id")
    with runtime.ledger.look() as connection:
        return [json.loads(row.payload) for row in connection.execute(query)]


def published(runtime):
    query = product.select().where(product.c.role == "out").order_by("id")
    with runtime.ledger.look() as connection:
        return [row.path for row in connection.execute(query)]


def archived(runtime):
    return runtime.home.archive / "aca0" / WHERE


def test_good_file_is_archived_indexed_and_announced(runtime, made):
    path = make_l0_file(made, slot=3)
    assert path.name == NAME
    assert run(runtime, path).state == "done"
    assert archived(runtime).read_bytes() == path.read_bytes()
    assert published(runtime) == [f"aca0/{WHERE}"]
    (payload,) = updates(runtime)
    # 24 rows of 4.1 s; TIME is the middle of the integration, END_INTEG_TIME - 1.696 / 2.
    assert payload["slot"] == 3
    assert payload["files"] == [NAME]
    assert payload["tstart"] == pytest.approx(686_000_000.0 - 0.848, abs=1e-6)
    assert payload["tstop"] == pytest.approx(686_000_000.0 + 23 * 4.1 - 0.848, abs=1e-6)
    with L0Index(runtime.home.archive / "aca0") as index:
        record = index.get(NAME)
    assert (record.rows, record.imgsize, record.slot, record.revision) == (24, 8, 3, 1)
    database = sqlite3.connect(runtime.home.archive / "aca0" / "archfiles.db3")
    ((inputs,),) = database.execute("SELECT inputs FROM provenance").fetchall()
    assert [item["path"] for item in json.loads(inputs)] == [NAME]


def test_plain_file_is_stored_packed_and_always_alike(runtime, made):
    path = make_l0_file(made, slot=3, packed=False)
    assert run(runtime, path).state == "done"
    stored = archived(runtime).read_bytes()
    assert gzip.decompress(stored) == path.read_bytes()
    assert stored[4:8] == b"\0\0\0\0"  # no time inside


def test_same_content_again_is_skipped(runtime, made):
    path = make_l0_file(made, slot=3)
    run(runtime, path)
    row = run(runtime, path, force=True)
    assert row.state == "skipped"
    assert row.error_text == f"already archived: {NAME} with the same content"
    assert len(updates(runtime)) == 1


def test_later_copy_replaces_and_the_older_one_is_kept(runtime, made):
    old = make_l0_file(made, slot=3, date="2019-10-01T00:00:00")
    run(runtime, old)
    old_bytes = old.read_bytes()
    new = make_l0_file(made, slot=3, date="2019-11-01T00:00:00")
    assert run(runtime, new).state == "done"
    assert archived(runtime).read_bytes() == new.read_bytes() != old_bytes
    (entry,) = quarantine.entries(runtime.home)
    assert entry.path.read_bytes() == old_bytes
    assert entry.reason["error_class"] == "Replaced"
    assert entry.reason["error_text"] == (
        "replaced by the copy of 2019-11-01T00:00:00; kept here, not used any more"
    )


def test_earlier_copy_is_a_conflict(runtime, made):
    new = make_l0_file(made, slot=3, date="2019-11-01T00:00:00")
    run(runtime, new)
    content = new.read_bytes()
    row = run(runtime, make_l0_file(made, slot=3, date="2019-10-01T00:00:00"))
    assert (row.state, row.error_class) == ("dead", "ArchiveConflictError")
    assert row.error_text == (
        f"{NAME} is archived with other content of later or equal DATE;"
        " this copy of 2019-10-01T00:00:00 is not used"
    )
    assert archived(runtime).read_bytes() == content


def test_replacing_delivery_that_dies_keeps_both_files(runtime, made, monkeypatch):
    """The copy it meant to replace and the delivery itself have the same name."""
    old = make_l0_file(made, slot=3, date="2019-10-01T00:00:00")
    run(runtime, old)
    old_bytes = old.read_bytes()
    new = make_l0_file(made, slot=3, date="2019-11-01T00:00:00")
    given = deliver(runtime, new, "test")
    change(runtime.ledger, "UPDATE job SET max_attempts = 1 WHERE state = 'waiting'")

    def full(self, staged, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runs.Context, "place", full)
    row = only(runtime.ledger, job_table.c.event_id == given.event_id)
    assert run_job(row.id, steps.aca_l0_file, runtime) == "dead"
    assert archived(runtime).read_bytes() == old_bytes
    kept = {entry.path.read_bytes() for entry in quarantine.entries(runtime.home)}
    assert kept == {old_bytes, new.read_bytes()}


class Crash(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize("point", ["step.started", "publish.renamed", "finish.before"])
@pytest.mark.parametrize("replaces", [False, True])
def test_crash_anywhere_ends_as_one_good_run(runtime, made, monkeypatch, point, replaces):
    if replaces:
        run(runtime, make_l0_file(made, slot=3, date="2019-09-01T00:00:00"))
    before = len(updates(runtime))
    path = make_l0_file(made, slot=3)
    given = deliver(runtime, path, "test")
    row = only(runtime.ledger, job_table.c.event_id == given.event_id)

    def crash(here):
        if here == point:
            raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(runs, "fault", crash)
        with pytest.raises(Crash):
            run_job(row.id, steps.aca_l0_file, runtime)
    claim = runs.Claim(
        row.id,
        1,
        5,
        row.task,
        "ingest",
        json.loads(row.args),
        row.subject,
        None,
        row.event_id,
        3,
        row.created_at,
        "w",
    )
    runtime.ledger.finish(claim, judge_loss(runtime, claim, "WorkerGone"))
    assert run_job(row.id, steps.aca_l0_file, runtime) == "ok"
    assert archived(runtime).read_bytes() == path.read_bytes()
    assert len(updates(runtime)) == before + 1
    assert published(runtime) == [f"aca0/{WHERE}"] * (before + 1)
    with L0Index(runtime.home.archive / "aca0") as index:
        assert index.get(NAME).date == "2019-10-01T00:00:00"
        assert index.audit(contents=True) == type(index.audit())((), (), (), ())
    assert runtime.home.work.exists() and not list(runtime.home.work.iterdir())


def test_unknown_name_is_refused_with_the_known_ones(runtime, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("x")
    row = run(runtime, path)
    assert (row.state, row.error_class) == ("dead", "BadInput")
    assert row.error_text.startswith(
        "notes.txt: no rule knows this name; known:"
        " acaf<TSTART>N<version>_<slot>_img0.fits[.gz] (ACA level-0 images),"
        " aca_packets_<tstart>_<tstop>.fits|bin[.gz] (raw ACA packets), "
    )


# --- reconcile and reindex ---


def test_empty_archive_needs_no_reconciling(runtime):
    assert run_task(runtime, "ingest.reconcile").state == "done"
    assert not (runtime.home.archive / "aca0").exists()


def test_reconciled_archive_is_left_alone(runtime, made):
    run(runtime, make_l0_file(made, slot=3))
    assert run_task(runtime, "ingest.reconcile", checksums=True).state == "done"
    assert len(published(runtime)) == len(updates(runtime)) == 1


def test_files_that_a_crash_left_unindexed_are_indexed(runtime, made):
    """Several of one slot in one job."""
    root = runtime.home.archive / "aca0"
    run(runtime, make_l0_file(made, slot=3))
    for frame in (10_000, 20_000, 30_000):
        path = make_l0_file(made, slot=3, frame=frame)
        target = root / messages.paths.l0_dir(int(path.name[4:13])) / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    assert run_task(runtime, "ingest.reconcile").state == "done"
    assert len(published(runtime)) == len(updates(runtime)) == 4
    with L0Index(root) as index:
        assert index.audit().unindexed == ()


def test_file_that_is_being_published_is_not_published_twice(runtime, made, monkeypatch):
    """Its own job gets the lock first and indexes it between audit and fence."""
    path = make_l0_file(made, slot=3)
    fence = runs.Context.fence

    def overtaken(self, key):
        if self.claim.task == "ingest.reconcile":
            monkeypatch.setattr(runs.Context, "fence", fence)
            assert run(runtime, path).state == "done"
        fence(self, key)

    target = archived(runtime)
    target.parent.mkdir(parents=True)
    target.write_bytes(path.read_bytes())
    monkeypatch.setattr(runs.Context, "fence", overtaken)
    run_task(runtime, "ingest.reconcile")
    assert published(runtime) == [f"aca0/{WHERE}"]
    assert len(updates(runtime)) == 1


def test_missing_and_altered_files_need_a_person(runtime, made):
    run(runtime, make_l0_file(made, slot=3))
    run(runtime, make_l0_file(made, slot=4))
    archived(runtime).unlink()
    other = archived(runtime).with_name(NAME.replace("_3_", "_4_"))
    other.write_bytes(gzip.compress(b"rubbish"))
    row = run_task(runtime, "ingest.reconcile", checksums=True)
    assert (row.state, row.error_class) == ("dead", "BadInput")
    assert row.error_text == (
        f"2 files of aca0 need a person; the first: {WHERE} (the log of this job lists all)"
    )


def test_unusable_file_in_the_tree_is_reported(runtime, made):
    run(runtime, make_l0_file(made, slot=3))
    archived(runtime).with_name(NAME.replace("_3_", "_5_")).write_bytes(b"rubbish")
    row = run_task(runtime, "ingest.reconcile")
    assert row.state == "dead"
    assert row.error_text.startswith(f"1 files of aca0 need a person; the first: {NAME[:17]}_5_")


def test_archived_file_can_be_read_again(runtime, made):
    run(runtime, make_l0_file(made, slot=3))
    assert run_task(runtime, "ingest.reindex_l0_file", filename=NAME).state == "done"
    assert len(updates(runtime)) == 2
    row = run_task(runtime, "ingest.reindex_l0_file", filename="acaf1N001_0_img0.fits.gz")
    assert (row.state, row.error_class) == ("dead", "MissingDataError")
    assert row.error_text == "acaf1N001_0_img0.fits.gz is not in the archive aca0"


# --- backup ---


def test_backup_is_a_ledger_that_opens(runtime):
    job_id = add(runtime.ledger, "old")
    runtime.ledger.finish(runtime.ledger.claim(job_id, "w"), DONE)
    assert run_task(runtime, "ingest.backup_ledger").state == "done"
    # The fake clock starts on 2023-11-14, day 318, at 22:13:20 UTC.
    copy = sqlite3.connect(runtime.home.state / "backup" / "ledger-2023318-221320.db")
    assert copy.execute("SELECT state FROM job WHERE id = ?", (job_id,)).fetchall() == [("done",)]


def test_seven_backups_are_kept(runtime, clock):
    for _ in range(9):
        assert run_task(runtime, "ingest.backup_ledger").state == "done"
        clock.advance(86400.0)
    days = [p.name[11:14] for p in sorted((runtime.home.state / "backup").iterdir())]
    assert days == ["320", "321", "322", "323", "324", "325", "326"]


def test_result_of_a_step_that_is_cut_off_leaves_nothing_staged(runtime, made):
    path = make_l0_file(made, slot=3)
    path.write_bytes(path.read_bytes()[:-200])
    row = run(runtime, path)
    assert (row.state, row.error_class) == ("dead", "BadInput")
    assert not archived(runtime).exists()
    assert list(runtime.home.work.iterdir()) == []
