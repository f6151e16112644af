"""A file goes in; archive, index, data and quarantine tell what became of it."""

from __future__ import annotations

import gzip
import io
import json

import numpy as np
import pytest
from astropy.io import fits

from acaflow.archive.aca_l0 import get_files, get_slot_data
from acaflow.runtime import core, inprocess, operators, quarantine
from acaflow.runtime.watch import deliver
from tests.support.servers import wait_until
from tests.support.worker_main import LIMITED, try_event

pytestmark = pytest.mark.live

TASK = "ingest.aca_l0_file"
NAME = "acaf686111014N001_3_img0.fits.gz"
START, STOP = 686111000.0, 686118000.0
PATIENCE_S = 30.0


@pytest.fixture
def served(system):
    """A system with a relay and a worker."""
    system.start("relay")
    system.start("worker")
    return system


def move_in(system, content: bytes, name: str) -> None:
    part = system.home.root / "part"
    part.write_bytes(content)
    part.rename(system.home.inbox / name)


def data(system):
    return get_slot_data(START, STOP, 3, data_root=system.home.archive / "aca0")


def reasons(system) -> dict[str, str]:
    """Names and sentences of what is in quarantine."""
    return {e.name: e.reason["error_text"] for e in quarantine.entries(system.home)}


def second_revision(content: bytes) -> bytes:
    """The same file as reprocessing would issue it: later, revision 2, images brighter by 2 DN."""
    with fits.open(io.BytesIO(gzip.decompress(content))) as hdus:
        hdus[1].data["IMGRAW"] += 2.0
        hdus[1].header["REVISION"] = 2
        hdus[1].header["DATE"] = "2021-01-01T00:00:00"
        out = io.BytesIO()
        hdus.writeto(out, checksum=True, output_verify="ignore")
    return gzip.compress(out.getvalue(), mtime=0)


def without_rows(content: bytes) -> bytes:
    with fits.open(io.BytesIO(gzip.decompress(content))) as hdus:
        table = fits.BinTableHDU(hdus[1].data[:0], hdus[1].header)
        out = io.BytesIO()
        fits.HDUList([hdus[0], table]).writeto(out, checksum=True, output_verify="ignore")
    return gzip.compress(out.getvalue(), mtime=0)


@pytest.mark.real
def test_real_file_is_archived_shown_and_replaced_by_its_second_revision(served, real_data):
    content = (real_data / "real/aca_l0" / NAME).read_bytes()
    move_in(served, content, NAME)
    served.wait_ended(TASK, 1, PATIENCE_S)
    assert served.states(TASK) == {"done": 1}
    root = served.home.archive / "aca0"
    assert (root / "2019/272" / NAME).read_bytes() == content
    rows = data(served)
    assert len(rows) == 3135
    first = np.ma.getdata(rows["IMGRAW"]).astype(float).sum()

    # The same again changes nothing.
    move_in(served, content, NAME)
    wait_until(lambda: not list(served.home.inbox.glob("*.gz")), "the repeat is taken")
    wait_until(lambda: not list(served.home.taken.iterdir()), "the repeat is gone")
    assert served.states(TASK) == {"done": 1}
    assert len(list(root.rglob("*.fits.gz"))) == 1

    # Its second revision is what is shown from now on; the first one stays on disk.
    newer = NAME.replace("N001", "N002")
    move_in(served, second_revision(content), newer)
    served.wait_ended(TASK, 2, PATIENCE_S)
    assert served.states(TASK) == {"done": 2}
    shown = get_files(start=START, stop=STOP, slots=[3], data_root=root)
    assert [path.rsplit("/", 1)[-1] for path in map(str, shown)] == [newer]
    again = data(served)
    assert len(again) == 3135
    change = np.ma.getdata(again["IMGRAW"]).astype(float).sum() - first
    assert change == pytest.approx(3135 * 36 * 2.0, rel=1e-3)
    assert len(list(root.rglob("*.fits.gz"))) == 2
    assert served.done_twice() == []


@pytest.mark.real
def test_bad_files_end_in_quarantine_and_everything_else_goes_on(served, real_data):
    folder = real_data / "real/aca_l0"
    content = (folder / NAME).read_bytes()
    slot = {i: NAME.replace("_3_", f"_{i}_") for i in range(8)}
    move_in(served, content[:100_000], slot[3])  # cut off
    move_in(served, without_rows((folder / slot[5]).read_bytes()), slot[5])
    move_in(served, b"Dear colleague,\n" * 100, slot[1])  # a text file under an archive name
    small = real_data / "real/aca_l0_small/test_level0_2.fits.gz"
    move_in(served, small.read_bytes(), slot[2])  # checksums of another length
    move_in(served, b"hello", "notes.txt")
    move_in(served, (folder / slot[6]).read_bytes(), slot[6])
    move_in(served, (folder / slot[0]).read_bytes(), slot[0])
    served.wait_ended(TASK, 6, PATIENCE_S)
    served.wait_ended("ingest.unknown_file", 1, PATIENCE_S)
    assert served.states(TASK) == {"dead": 4, "done": 2}
    wait_until(lambda: not list(served.home.taken.iterdir()), "everything is filed away")
    found = reasons(served)
    assert set(found) == {slot[3], slot[5], slot[1], slot[2], "notes.txt"}
    for name, sentence in {
        slot[3]: "gzip stream",
        slot[5]: "no rows",
        slot[1]: "is no gzip stream, its name says otherwise",
        slot[2]: "DATASUM of HDU 1 is 882178506, its data sum to ",
        "notes.txt": "no rule knows this name",
    }.items():
        assert found[name].startswith(name), found[name]
        assert sentence in found[name], found[name]
    # A job that failed names its class to the pages; the good files are there.
    classes = served.rows("SELECT DISTINCT error_class FROM job WHERE state = 'dead'")
    assert [row.error_class for row in classes] == ["BadInput"]
    root = served.home.archive / "aca0"
    assert sorted(path.name for path in root.rglob("*.fits.gz")) == [slot[0], slot[6]]
    assert len(get_slot_data(START, STOP, 0, data_root=root)) == 1568


def test_released_file_is_tried_again(served):
    move_in(served, b"x", "notes.txt")
    served.wait_ended("ingest.unknown_file", 1, PATIENCE_S)
    wait_until(lambda: bool(quarantine.entries(served.home)), "it is in quarantine")
    (entry,) = quarantine.entries(served.home)
    quarantine.release(served.runtime, entry.event_id, "ada")
    served.wait_ended("ingest.unknown_file", 2, PATIENCE_S)
    wait_until(lambda: bool(quarantine.entries(served.home)), "it is back")
    reason = json.loads(
        (quarantine.entries(served.home)[0].path.parent / "reason.json").read_text()
    )
    assert reason["event_id"] != entry.event_id


def test_running_job_is_cancelled_before_it_publishes(served):
    served.runtime.record([try_event("a", held=True)])
    row = served.wait_running("a")
    assert operators.cancel(served.runtime, row.id, "ada") == "running"
    served.let_go("a", 1)
    served.wait_ended("ingest.try", 1, PATIENCE_S)
    assert served.job("a").state == "cancelled"
    assert not (served.home.archive / "try" / "a.txt").exists()


def test_step_beyond_its_soft_limit_is_tried_once_more(served):
    """With limits of one second, then two, in the message itself."""
    served.runtime.record([try_event("a", LIMITED)])
    served.wait_ended(LIMITED.name, 1, PATIENCE_S)
    assert (served.job("a").state, served.job("a").error_class) == ("dead", "Timeout")
    assert served.outcomes("a") == ["timeout", "timeout"]
    query = "SELECT finished_at - started_at AS s FROM attempt WHERE job_id = :id ORDER BY n"
    first, second = (row.s for row in served.rows(query, id=served.job("a").id))
    assert first > 0.9
    assert second > 1.9


def test_step_that_ignores_its_soft_limit_is_killed_and_poison(served):
    served.runtime.record([try_event("a", LIMITED, deaf=True), try_event("b")])
    served.wait_ended(LIMITED.name, 1, PATIENCE_S)
    assert (served.job("a").state, served.job("a").error_class) == ("dead", "Poison")
    assert served.outcomes("a") == ["lost", "lost"]
    served.wait_ended("ingest.try", 1, PATIENCE_S)  # and the others go on
    assert served.job("b").state == "done"


def test_work_left_by_processes_is_finished_in_one_process(system, tmp_path):
    """`acaflow ingest` without a running system: the same ledger, no Redis."""
    notes = tmp_path / "notes.txt"
    notes.write_text("x")
    memory = core.open_runtime("inprocess", system.runtime.settings, core.MemoryTransport())
    deliver(memory, notes, "ada")
    outcome = inprocess.run(memory)
    assert list(outcome.ended.values()).count("dead") == 1
    assert system.states("ingest.unknown_file") == {"dead": 1}
    memory.ledger.engine.dispose()


def test_worker_tells_of_its_end_and_its_beat(system):
    worker = system.start("worker")
    query = "SELECT kind, queues, pid FROM process WHERE kind = 'worker'"
    assert [tuple(row) for row in system.rows(query)] == [("worker", "ingest", worker.pid)]
    assert worker.end() == 0
    assert system.rows(query) == []
