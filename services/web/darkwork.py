"""Dark calibrations that are not published: what there is of each, and what it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from acaflow.archive.aca_dark.dark_files import PROPERTIES, QUALITY, read_json
from acaflow.archive.aca_dark.tree import DarkTree
from acaflow.errors import AcaflowError
from acaflow.status import reading
from acaflow.status.reading import Job, Why
from services.web.darkview import NAME, published
from services.web.words import runtime

__all__ = ["Delivered", "Work", "find_work", "jobs_of", "list_work"]

UNDONE = ("running", "queued", "waiting", "dead")
"""States of jobs that are not over, or need a person."""
MOST = 20
"""Calibrations that the list shows."""
LOOKED_AT = 100
"""Jobs of each state that are looked at."""


@dataclass(frozen=True)
class Delivered:
    """A raw dump: number of its replica, name, size, and what decoding came to.

    `decoded` is 'yes', 'no' (not yet), or why it cannot be.
    """

    replica: int
    name: str
    path: str
    size: int
    decoded: str


@dataclass(frozen=True)
class Work:
    """What there is of a calibration, published or not.

    Attributes
    ----------
    dark_id : str
        YYYYDOY.
    is_published : bool
        Whether the archive has it.
    delivered : sequence of Delivered
        By replica.
    staged : str or None
        Level of the assembled calibration, None if there is none.
    job : Job or None
        The newest one that is not over or is dead, else the newest.
    why : Why or None
        Its because line.
    """

    dark_id: str
    is_published: bool
    delivered: Sequence[Delivered]
    staged: str | None
    job: Job | None
    why: Why | None

    @property
    def name(self) -> str:
        """What its page is called: of the assembled one if another is published."""
        return f"{self.dark_id}-staged" if self.staged and self.is_published else self.dark_id

    @property
    def is_undone(self) -> bool:
        """Whether a job is not over, or is dead."""
        return self.job is not None and self.job.shown in UNDONE

    @property
    def is_known(self) -> bool:
        """Whether there is anything at all."""
        return bool(self.delivered or self.staged or self.job)

    @property
    def state(self) -> str:
        """The state to show: that of the job, a verdict where the job is over."""
        if self.staged == "FAIL" and not (self.job and self.job.shown in UNDONE[:3]):
            return "fail"
        return self.job.shown if self.job else "waiting"

    @property
    def words(self) -> str:
        """What there is, as one sentence part."""
        numbers = [item.replica for item in self.delivered]
        decoded = [item.replica for item in self.delivered if item.decoded == "yes"]
        bad = [item.replica for item in self.delivered if item.decoded not in ("yes", "no")]
        if numbers and decoded == numbers:
            parts = [_listed(numbers, "delivered and decoded")]
        else:
            parts = [_listed(numbers, "delivered") or "no replica delivered"]
            parts += [_listed(decoded, "decoded"), _listed(bad, "cannot be decoded")]
        parts.append(f"assembled: {self.staged.lower()}" if self.staged else "")
        return "; ".join(filter(None, parts))

    @property
    def plain(self) -> dict[str, Any]:
        """The same as JSON."""
        delivered = [asdict(item) for item in self.delivered]
        return {
            "id": self.dark_id,
            "state": self.state,
            "published": self.is_published,
            "assembled": self.staged,
            "delivered": delivered,
            "why": self.why.text if self.why else None,
            "job": self.job.id if self.job else None,
        }


def _listed(numbers: Sequence[int], what: str) -> str:
    if not numbers:
        return ""
    noun = "replica" if len(numbers) == 1 else "replicas"
    return f"{noun} {', '.join(map(str, numbers))} {what}"


def find_work(dark_id: str, job: Job | None = None) -> Work:
    """Return what there is of one calibration."""
    job = job or _job_of(dark_id)
    why = reading.why(runtime().ledger, job) if job else None
    tree = DarkTree(runtime().home, dark_id)
    return Work(dark_id, tree.published.is_dir(), _delivered(tree), _staged(tree), job, why)


def list_work() -> tuple[list[Work], int]:
    """Return the newest of what is not published or not over, and how many there are.

    A published calibration is among them while a job of it is not over, or dead, or an
    assembled one lies beside it.
    """
    jobs = _undone_jobs()
    ids = {tree.dark_id for tree in DarkTree.all(runtime().home)} - set(published())
    staging = runtime().home.work / "aca_dark"
    staged = staging.iterdir() if staging.is_dir() else ()
    ids |= {path.name for path in staged if (path / PROPERTIES).is_file()}
    ids = {dark_id for dark_id in ids | set(jobs) if NAME.fullmatch(dark_id)}
    shown = sorted(ids, reverse=True)[:MOST]
    return [find_work(dark_id, jobs.get(dark_id)) for dark_id in shown], len(ids)


def jobs_of(dark_id: str, limit: int = 8) -> list[Job]:
    """Return the newest jobs of a calibration."""
    listing = reading.list_jobs(runtime().ledger, subject=f"dark:{dark_id}", limit=limit)
    return list(listing.rows)


def _undone_jobs() -> dict[str, Job]:
    """Return the newest job of each calibration that is not over, or dead."""
    found: list[Job] = []
    for state in UNDONE:
        found += reading.list_jobs(
            runtime().ledger, queue="dark_cal", state=state, limit=LOOKED_AT
        ).rows
    newest = sorted(found, key=lambda job: (job.created_at, job.id))
    return {
        job.subject.removeprefix("dark:"): job for job in newest if job.subject.startswith("dark:")
    }


def _job_of(dark_id: str) -> Job | None:
    """Return the newest job that is not over or is dead, else the newest."""
    jobs = jobs_of(dark_id, LOOKED_AT)
    undone = (job for job in jobs if job.shown in UNDONE)
    return next(undone, jobs[0] if jobs else None)


def _delivered(tree: DarkTree) -> list[Delivered]:
    found = []
    for number, path in tree.raw_files().items():
        note = tree.note(number)
        decoded = "no" if note is None or note.name != path.name else note.error or "yes"
        archived = path.relative_to(runtime().home.archive).as_posix()
        found.append(Delivered(number, path.name, archived, path.stat().st_size, decoded))
    return found


def _staged(tree: DarkTree) -> str | None:
    try:
        return str(read_json(tree.staged / QUALITY).get("level") or "not judged")
    except AcaflowError:  # not there, or just being replaced
        return None
