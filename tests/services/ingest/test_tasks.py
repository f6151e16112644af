"""The bound tasks, through a real Redis and a real worker."""

from __future__ import annotations

import pytest

from acaflow.runtime import messages, operators, runs
from services.ingest import steps, tasks
from tests.support.l0 import make_l0_file
from tests.support.servers import wait_until


def test_every_task_of_the_queue_has_its_step():
    expected = {name for name, task in messages.TASKS.items() if task.queue == "ingest"}
    assert {name for name in runs._STEPS if name.startswith("ingest.")} >= expected
    assert runs.step_of("ingest.aca_l0_file") is steps.aca_l0_file
    assert tasks.aca_l0_file.name == "ingest.aca_l0_file"


@pytest.mark.live
def test_delivered_file_goes_through_redis_and_worker_into_the_archive(system):
    system.start("relay")
    worker = system.start("worker")
    path = make_l0_file(system.home.root / "made", slot=3)
    content = path.read_bytes()
    path.rename(system.home.inbox / path.name)
    system.wait_ended("ingest.aca_l0_file", 1, 30.0)
    assert system.states("ingest.aca_l0_file") == {"done": 1}
    assert (system.home.archive / "aca0/2019/270" / path.name).read_bytes() == content
    (row,) = system.rows(
        "SELECT attempt.* FROM attempt JOIN job ON job.id = attempt.job_id"
        " WHERE task = 'ingest.aca_l0_file'"
    )
    assert f"{path.name}: 24 rows of 8x8, slot 3" in (system.home.root / row.log_path).read_text()
    assert f":{worker.pid}|" in row.owner
    wait_until(lambda: not list(system.home.taken.iterdir()), "the delivery is filed away")


@pytest.mark.live
def test_request_of_a_person_is_worked_before_arrivals(system):
    events = [
        messages.file_event(f"n{i}.txt", f"inbox/.taken/x{i}.n{i}.txt", "0" * 64, 1, "test")
        for i in range(9)
    ]
    system.runtime.record(events)
    operators.submit(system.runtime, "ingest.backup_ledger", {}, "ada")
    system.start("worker", TRY_CONCURRENCY="1")
    wait_until(lambda: system.states("ingest.backup_ledger") == {"done": 1}, "the request is done")
    system.wait_ended("ingest.unknown_file", 9, 30.0)
    order = system.rows("SELECT task FROM job ORDER BY started_at")
    assert order[0].task == "ingest.backup_ledger"
