"""One attempt of one job: claim, step, finish; and what becomes of a failure.

`run_job` is all that a Celery task calls. The step is a plain function ``step(ctx, **args)``
that may run twice: it stages under ``work/``, takes the publish lock with `Context.fence`,
renames with `Context.place`, and the ledger learns of the products in the transaction that ends
the job, before the lock is free again (task-queue 8.1).
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import random
import resource
import shutil
import sqlite3
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import text

from acaflow import __version__, storage
from acaflow.errors import (
    AcaflowError,
    CancelledError,
    CorruptFileError,
    DataError,
    InputError,
    LeaseLostError,
    NotReadyError,
    PipelineError,
    StorageBusyError,
    TransientError,
)
from acaflow.paths import inside
from acaflow.runtime import logs, messages, quarantine
from acaflow.runtime.core import Runtime, current
from acaflow.runtime.faults import fault
from acaflow.runtime.records import Claim, Hint, NewEvent, NewProduct, Result

__all__ = ["Context", "Skipped", "bind", "judge_loss", "run_job"]

log = logging.getLogger(__name__)

MAX_TEXT, MAX_TRACEBACK = 4096, 65536
"""Bytes of an error's text and traceback that the ledger keeps."""

CHECKPOINT_S, PROGRESS_S = 5.0, 1.0
EVENT_DEPTH = 12
"""An event chain longer than this is a loop."""

MAX_INNOCENT_LOSSES = 10
"""Losses of whole workers that do not count as attempts of a job."""

FINISH_RETRIES_S = (0.5, 2.0, 5.0, 15.0)

_PAST = text("""
SELECT n, outcome, error_class, started_at FROM attempt WHERE job_id = :id ORDER BY n
""")
_DEATHS = text("""
SELECT count(*) AS n FROM job JOIN attempt ON attempt.job_id = job.id
WHERE job.subject = :subject AND (job.id = :id OR job.args LIKE :sha)
AND attempt.outcome = 'lost' AND attempt.error_class IN ('ProcessDied', 'Timeout')
""")
_OTHERS_WAITING = text("""
SELECT attempts, not_before FROM job
WHERE subject = :subject AND task = :task AND state = 'waiting' AND id != :id
""")
_SETTLE_OTHERS = text("""
UPDATE job SET state = 'skipped', finished_at = :now, error_class = NULL, error_text = :reason
WHERE subject = :subject AND task = :task AND state = 'waiting' AND attempts > 0 AND id != :id
""")
_ANCESTORS = text("""
WITH RECURSIVE chain (id, kind, subject, parent, depth) AS (
    SELECT id, kind, subject, parent_event_id, 1 FROM event WHERE id = :id
    UNION ALL
    SELECT e.id, e.kind, e.subject, e.parent_event_id, chain.depth + 1
    FROM event AS e JOIN chain ON e.id = chain.parent WHERE chain.depth < :depth
)
SELECT kind, subject FROM chain ORDER BY depth
""")


# --- steps ---

Step = Callable[..., "Skipped | None"]
_STEPS: dict[str, Step] = {}


@dataclass(frozen=True)
class Skipped:
    """A step's answer when there is nothing to do; the sentence is for the page."""

    reason: str


def bind(name: str, step: Step) -> Any:
    """Give a task of the routing table its step; return the Celery task."""
    from celery import shared_task

    if name not in messages.TASKS:
        raise InputError(f"task {name} is not in the routing table")
    _STEPS[name] = step

    def run(job_id: str) -> str:
        return run_job(job_id, step)

    return shared_task(name=name, ignore_result=True)(run)


def load_steps(queues: Iterable[str]) -> None:
    """Import the tasks of these queues' services."""
    for name in messages.with_tasks(queues):
        importlib.import_module(f"services.{name}.tasks")


def step_of(task: str) -> Step:
    """Return the step bound to a task."""
    return _STEPS[task]


class Context:
    """What a step may ask of the runtime.

    Attributes
    ----------
    claim : Claim
        The job, its arguments and the attempt number.
    home : Home
        The folders.
    log : logging.Logger
        Goes to the attempt's log file as well.
    """

    def __init__(self, runtime: Runtime, claim: Claim) -> None:
        self.runtime = runtime
        self.claim = claim
        self.home = runtime.home
        self.log = logging.getLogger(claim.task)
        self.products: list[NewProduct] = []
        self.events: list[NewEvent] = []
        self.held = ExitStack()
        self._fenced: set[str] = set()
        self._staging: Path | None = None
        self._checked = self._told = time.monotonic()

    @property
    def provenance(self) -> tuple[list[dict[str, str]], str, str]:
        """Inputs read so far (path, sha256), job id and code version."""
        inputs = [
            {"path": item.path, "sha256": item.sha256}
            for item in self.products
            if item.role == "in"
        ]
        return inputs, self.claim.job_id, __version__

    def input(self, path: str, sha256: str) -> Path:
        """Return a delivered file, known to be the bytes that were announced.

        Raises
        ------
        CorruptFileError
            The file is gone, or was changed after it was taken in hand.
        """
        full = inside(self.home.root, path)
        if not full.is_file():
            raise CorruptFileError(f"{path} is gone; deliver the file again", full)
        found = storage.sha256_file(full)
        if found != sha256:
            raise CorruptFileError(
                f"{full.name} changed after arrival: SHA-256 {found[:12]}…, announced"
                f" {sha256[:12]}…",
                full,
            )
        name = messages.original_name(path)
        self.products.append(NewProduct("in", "file", name, full.stat().st_size, sha256))
        return full

    def stage(self, name: str) -> Path:
        """Return a private path on the archive's file system."""
        folder = self.home.work / f"{self.claim.job_id}.{self.claim.n}"
        folder.mkdir(parents=True, exist_ok=True)
        self._staging = folder
        return folder / name

    def fence(self, key: str) -> None:
        """Take the publish lock of a target until the job has ended, and check the lease.

        Raises
        ------
        LeaseLostError
            Another attempt has taken over; nothing may be published.
        """
        if key not in self._fenced:  # a second lock of our own would wait for the first
            name = hashlib.sha256(key.encode()).hexdigest()
            self.held.enter_context(storage.file_lock(self.home.locks / f"{name}.lock"))
            self._fenced.add(key)
        self._check()

    def place(self, staged: Path, target: Path) -> None:
        """Rename a staged file into the archive, durable."""
        with storage.translated(target):
            fault("disk.publish")
        storage.place(staged, target)
        fault("publish.renamed")

    def publish(self, kind: str, path: Path) -> None:
        """Report a published file; its row is written when the job ends."""
        relative = path.relative_to(self.home.archive).as_posix()
        size, sha256 = path.stat().st_size, storage.sha256_file(path)
        self.products.append(NewProduct("out", kind, relative, size, sha256))

    def others_waiting(self) -> list[dict[str, Any]]:
        """Return ``attempts`` and ``not_before`` (epoch s) of other waiting jobs of this kind.

        That is, of the same task and subject.
        """
        who = {"id": self.claim.job_id, "task": self.claim.task, "subject": self.claim.subject}
        return self.runtime.ledger.read(_OTHERS_WAITING, **who)

    def settle_others(self, reason: str) -> None:
        """End those of `others_waiting` that were tried before: this one has done their work."""
        who = {"id": self.claim.job_id, "task": self.claim.task, "subject": self.claim.subject}
        self.runtime.ledger.write(_SETTLE_OTHERS, reason=reason, **who)

    def emit(self, kind: str, subject: str, payload: Any) -> None:
        """Announce a fact when the job ends.

        Raises
        ------
        PipelineError
            The event would cause itself without end.
        """
        rows = self.runtime.ledger.read(_ANCESTORS, id=self.claim.event_id, depth=EVENT_DEPTH)
        chain = [(row["kind"], row["subject"]) for row in rows]
        if len(chain) >= EVENT_DEPTH or chain.count((kind, subject)) > 1:
            raise EventLoopError(f"{kind} of {subject} would follow itself; chain: {chain}")
        self.events.append(_follow_up(self.claim, kind, subject, payload, len(self.events)))

    def checkpoint(self) -> None:
        """Stop here if the job was cancelled or taken over; asks the ledger every 5 s at most."""
        if time.monotonic() - self._checked >= CHECKPOINT_S:
            self._checked = time.monotonic()
            self._check()

    def _check(self) -> None:
        limit = self.runtime.ledger.holds(self.claim)
        if limit is None:
            raise LeaseLostError(f"attempt {self.claim.n} of {self.claim.job_id} was taken over")
        if limit == 0:
            raise CancelledError("cancelled by a person")

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Log how far the step is, once a second at most; pages show the newest line."""
        if time.monotonic() - self._told >= PROGRESS_S or done == total:
            self._told = time.monotonic()
            self.log.info("progress %d/%d %s", done, total, note)

    def clean(self) -> None:
        """Drop what is staged and free the publish lock."""
        if self._staging is not None:
            shutil.rmtree(self._staging, ignore_errors=True)
        self.held.close()


class EventLoopError(PipelineError):
    """An event would cause itself without end."""


class BadArgumentsError(PipelineError):
    """A job's arguments do not fit its task."""


# --- one attempt ---


def run_job(job_id: str, step: Step, runtime: Runtime | None = None) -> str:
    """Claim a job, run its step, write down how it ended.

    Returns
    -------
    str
        ``ok``, ``skipped``, ``retry``, ``dead``, ``cancelled``, ``fenced``, ``duplicate`` or
        ``busy``; for logs only.
    """
    runtime = runtime or current()
    claim = runtime.ledger.claim(job_id, runtime.me.owner())
    if isinstance(claim, str):
        log.debug("job %s: %s", job_id, claim)
        return claim
    path = logs.job_log_path(runtime.home, job_id, claim.n, claim.started_at)
    subject = {
        "job_id": job_id,
        "attempt": claim.n,
        "event_id": claim.event_id,
        "subject": claim.subject,
        "task": claim.task,
    }
    context = Context(runtime, claim)
    with logs.attempt_log(path, subject):
        try:
            fault("step.started")
            result = _attempt(context, step, path)
            fault("finish.before")
            hints = _finish(runtime, claim, result)
        except LeaseLostError as err:
            log.warning("fenced: %s; nothing of this attempt counts", err)
            return "fenced"
        finally:
            context.clean()
    runtime.transport.send(hints)
    if result.state == "waiting":
        return result.outcome
    quarantine.dispose(runtime, claim.event_id, claim.args.get("path", ""))
    return "ok" if result.state == "done" else result.state


def _attempt(context: Context, step: Step, log_path: Path) -> Result:
    claim = context.claim
    started = time.process_time()
    try:
        answer = step(context, **_arguments(claim))
        made: Any = {"products": context.products, "events": context.events}
        if isinstance(answer, Skipped):
            outcome = Result("skipped", "skipped", error_text=answer.reason, **made)
        else:
            outcome = Result("ok", "done", **made)
    except LeaseLostError:
        raise
    except Exception as err:  # noqa: BLE001 - the one task boundary: every failure is judged here
        outcome = _judge(context.runtime, claim, err)
        context.held.close()
    return replace(
        outcome,
        code_version=__version__,
        log_path=log_path.relative_to(context.home.root).as_posix() if log_path.exists() else None,
        cpu_s=time.process_time() - started,
        max_rss_kb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    )


def _arguments(claim: Claim) -> dict[str, Any]:
    try:
        args = messages.parse_args(messages.TASKS[claim.task], claim.args)
    except (KeyError, InputError) as err:
        raise BadArgumentsError(f"{claim.task}: {err}") from err
    return dict(args.__dict__)


def _finish(runtime: Runtime, claim: Claim, result: Result) -> list[Hint]:
    """Write the end of an attempt, patiently; a process that cannot must not look alive."""
    for pause_s in (*FINISH_RETRIES_S, None):
        try:
            return runtime.ledger.finish(claim, result)
        except StorageBusyError as err:
            if pause_s is None:
                # The relay returns jobs whose process is gone: end, so that this one comes back.
                raise SystemExit(f"job {claim.job_id} could not be finished: {err}") from err
            log.warning("job %s cannot be finished yet: %s", claim.job_id, err)
            time.sleep(pause_s)
    raise AssertionError("unreachable")


# --- what becomes of a failure: decided here and nowhere else ---


def _judge(runtime: Runtime, claim: Claim, error: Exception) -> Result:
    """Turn an exception into the end of the attempt and the next state of the job."""
    name = type(error).__name__
    if isinstance(error, CancelledError):
        return Result("cancelled", "cancelled", error_text=str(error))
    what = _Failure(
        name, logs.mask(str(error))[:MAX_TEXT], logs.mask(traceback.format_exc())[-MAX_TRACEBACK:]
    )
    if isinstance(error, DataError):
        log.error("bad input: %s", error)
        return what.dead(claim, "BadInput")
    if isinstance(error, AcaflowError) and not isinstance(error, TransientError):
        log.error("%s: %s", name, error)
        own = isinstance(error, BadArgumentsError | EventLoopError)
        return what.dead(claim, name.removesuffix("Error") if own else name)
    if runtime.ledger.holds(claim) == 0:  # asked for between two checkpoints
        return Result("cancelled", "cancelled", error_text="cancelled by a person")
    past = runtime.ledger.read(_PAST, id=claim.job_id)
    if isinstance(error, NotReadyError):
        first = past[0]["started_at"] if past else claim.started_at
        if claim.started_at - first > error.max_wait_s:
            return what.dead(claim)
        log.info("not ready: %s; looks again in %.0f s", error, error.delay_s)
        return what.again(error.delay_s, more=1)
    if name == "SoftTimeLimitExceeded":
        log.error("stopped at its time limit")
        if any(row["outcome"] == "timeout" for row in past):
            return what.dead(claim, "Timeout", outcome="timeout")
        return what.again(0.0, more=1, outcome="timeout", error_class="Timeout")
    if isinstance(error, TransientError | OSError | sqlite3.OperationalError):
        if claim.n >= claim.max_attempts:
            log.error("gave up after attempt %d: %s", claim.n, error)
            return what.dead(claim)
        delay_s = _backoff_s(claim)
        log.warning("attempt %d failed: %s; again in %.0f s", claim.n, error, delay_s)
        return what.again(delay_s)
    log.exception("unforeseen error")
    if any(row["outcome"] == "retry" and row["error_class"] == name for row in past):
        return what.dead(claim)
    return what.again(60.0) if claim.n < claim.max_attempts else what.dead(claim)


@dataclass(frozen=True)
class _Failure:
    error_class: str
    text: str
    trace: str = ""

    def dead(self, claim: Claim, error_class: str = "", outcome: str = "failed") -> Result:
        payload = messages.JobDead(claim.job_id, error_class or self.error_class)
        event = _follow_up(claim, "job.dead", claim.subject, payload, claim.n)
        return self._result(outcome, "dead", error_class, events=[event])

    def again(
        self, delay_s: float, more: int = 0, outcome: str = "retry", error_class: str = ""
    ) -> Result:
        return self._result(outcome, "waiting", error_class, delay_s=delay_s, more_attempts=more)

    def _result(self, outcome: str, state: str, error_class: str, **more: Any) -> Result:
        return Result(
            outcome,
            state,
            error_class=error_class or self.error_class,
            error_text=self.text,
            traceback=self.trace or None,
            **more,
        )


def _follow_up(claim: Claim, kind: str, subject: str, payload: Any, number: int) -> NewEvent:
    """Make an event that a job causes; its number tells it from the others of the job."""
    return messages.new_event(
        kind,
        subject,
        payload,
        f"job:{claim.job_id}",
        f"{claim.job_id}|{number}",
        parent_event_id=claim.event_id,
        cause_job_id=claim.job_id,
    )


def _backoff_s(claim: Claim) -> float:
    queue = messages.QUEUES[claim.queue]
    grown = min(queue.backoff_cap_s, queue.backoff_s * 2 ** min(claim.n - 1, 30))
    return float(grown * random.uniform(0.5, 1.5))


def judge_loss(runtime: Runtime, claim: Claim, cause: str) -> Result:
    """Decide about a job whose attempt ended without a word.

    Parameters
    ----------
    cause : {'ProcessDied', 'WorkerGone', 'Timeout'}
        The child died alone; its whole worker, host or container went; the hard time limit
        passed. Only the first and the last count towards poison: a storm of worker restarts
        must not condemn innocent input.
    """
    if claim.max_attempts == 0:
        return Result("lost", "cancelled", error_text="cancelled by a person")
    past = runtime.ledger.read(_PAST, id=claim.job_id)
    lost = [row["error_class"] for row in past if row["outcome"] == "lost"]
    said = {
        "ProcessDied": f"the process of attempt {claim.n} died ({claim.owner})",
        "WorkerGone": f"the worker of attempt {claim.n} is gone ({claim.owner})",
        "Timeout": f"attempt {claim.n} passed its hard time limit",
    }[cause]
    what = _Failure(cause, said)
    if cause == "WorkerGone":
        more = 1 if lost.count("WorkerGone") < MAX_INNOCENT_LOSSES else 0
        if claim.n < claim.max_attempts + more:
            return what.again(0.0, more, "lost")
        return what.dead(claim, outcome="lost")
    same_input = f'%"{claim.args.get("sha256") or claim.job_id}"%'
    (deaths,) = runtime.ledger.read(_DEATHS, subject=claim.subject, id=claim.job_id, sha=same_input)
    if deaths["n"] >= 1:
        return _Failure(
            "Poison", f"{said}, as did another attempt on the same input; not tried again"
        ).dead(claim, outcome="lost")
    if claim.n >= claim.max_attempts:
        return what.dead(claim, outcome="lost")
    return what.again(0.0, 0, "lost")
