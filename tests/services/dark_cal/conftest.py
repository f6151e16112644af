"""A simulated delivery, and a home in which its jobs run in this process."""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from acaflow.archive.aca_dark.tree import DarkTree
from acaflow.runtime import inprocess, operators
from acaflow.runtime.core import Runtime
from acaflow.runtime.tables import job as job_table
from acaflow.runtime.watch import deliver
from acaflow.simulate.dark_cal import DarkCalScenario, DarkCalTruth, simulate_dark_cal
from tests.support.facts import jobs
from tests.support.memory import open_in_memory

DATE = "2024:100:06:00:00"
DARK_ID = "2024100"


@dataclass
class Delivery:
    """The files of a calibration by kind, and what is true of it."""

    truth: DarkCalTruth

    def __getitem__(self, kind: str) -> list[Path]:
        return [path for path in self.truth.files if kind in path.name]

    @property
    def telemetry(self) -> list[Path]:
        """Everything but the dumps."""
        return [path for path in self.truth.files if "VC2" not in path.name]

    @property
    def files(self) -> list[Path]:
        return list(self.truth.files)


def simulate(folder: Path, **more) -> Delivery:
    plain = {"date": DATE, "seed": 1, "fill": 0.2}
    return Delivery(simulate_dark_cal(folder, DarkCalScenario(**{**plain, **more}), folder.parent))


@pytest.fixture(scope="session")
def delivery(tmp_path_factory) -> Delivery:
    return simulate(tmp_path_factory.mktemp("dark") / "delivered")


@dataclass
class Flow:
    """A home that works off what is delivered."""

    runtime: Runtime

    @property
    def home(self):
        return self.runtime.home

    def tree(self, dark_id=DARK_ID) -> DarkTree:
        return DarkTree(self.home, dark_id)

    def send(self, paths, **more) -> None:
        for path in paths:
            deliver(self.runtime, path, "test", **more)
        self.work()

    def work(self) -> None:
        inprocess.run(self.runtime)

    def ask(self, task, **values) -> None:
        """Queue a manual job, as a person named kim, and work it."""
        operators.submit(self.runtime, task, values, "kim", force=True)
        self.work()

    def jobs(self, task=None):
        where = [] if task is None else [job_table.c.task == task]
        return jobs(self.runtime.ledger, *where)

    def newest(self, task):
        return self.jobs(task)[-1]

    def published(self, dark_id=DARK_ID) -> dict[str, str]:
        """Checksums of everything that was published, by path."""
        home = self.home.root
        folders = [self.tree(dark_id).published, home / "www"]
        paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        paths.append(self.tree(dark_id).root / "zodi.csv")
        return {
            str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(paths)
        }


@pytest.fixture
def flow(home, sqlite_ledger) -> Flow:
    sqlite_ledger._clock = time.time  # gates compare the times of files with the ledger's
    return Flow(open_in_memory(home, sqlite_ledger))
