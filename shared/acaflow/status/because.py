"""The because line: why a job is in its state, in words (design 6, task-queue 12.1).

One function of the ledger for the command line, the pages and the JSON: sentences are tuples of
text, job references, times and commands, so that each reader renders them in its own way.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import text

from acaflow.runtime.ledger import Ledger
from acaflow.runtime.messages import QUEUES, TASKS
from acaflow.status.rows import (
    MANY,
    SENT,
    WAITING,
    Job,
    Process,
    count_jobs,
    host_of,
    jobs_where,
    processes_at,
)

__all__ = [
    "HOPELESS",
    "MEDIAN_OF",
    "Check",
    "Code",
    "JobRef",
    "Moment",
    "Sentence",
    "Situation",
    "Why",
    "because",
    "counted",
    "duration",
    "first_line",
    "moment",
    "plain",
    "why",
    "whys",
]

MEDIAN_OF = 50
"""Newest finished jobs that a usual duration is the median of (design 6)."""
SLOW = 5
"""A run longer than this many usual ones is called slow (design 6)."""
HOPELESS = ("BadInput", "Poison")
"""Error classes that say something about the bytes, not about the moment."""
SAME_BYTES = "The same bytes will fail again: requeue only after the file is replaced."
LONGEST = 130
"""Characters of a message that a list shows."""
COALESCE_MAX_WAIT_S = 600.0
"""From its first trigger a coalesced job waits no longer (task-queue 6.3)."""


# --- words ---


@dataclass(frozen=True)
class JobRef:
    """A job inside a sentence."""

    id: str


@dataclass(frozen=True)
class Moment:
    """A time inside a sentence."""

    at: float


@dataclass(frozen=True)
class Code:
    """Something to copy inside a sentence."""

    text: str


Part = str | JobRef | Moment | Code
Sentence = tuple[Part, ...]


@dataclass(frozen=True)
class Check:
    """One of the six things a job can wait for (task-queue 12.1)."""

    name: str
    passed: bool
    active: bool
    sentence: Sentence


@dataclass(frozen=True)
class Why:
    """The because line of a job (design 6).

    Attributes
    ----------
    cause : str
        lock, not_before, priority, no_worker, no_relay, sent, running, slow, done, skipped,
        dead or cancelled.
    css : str
        Class of the notice.
    bold, more : Sentence
        What is and since when; what happens next or what to do (may be empty).
    checks : tuple of Check
        All six, for waiting jobs.
    short : Sentence
        What a list says where it shows state and times anyway; empty: the whole line.
    """

    cause: str
    css: str
    bold: Sentence
    more: Sentence = ()
    checks: tuple[Check, ...] = ()
    short: Sentence = ()

    @property
    def text(self) -> str:
        """The whole line as plain text."""
        return " ".join(filter(None, (plain(self.bold), plain(self.more))))

    @property
    def brief(self) -> Sentence:
        """The line for a list of jobs."""
        whole = self.bold if not self.more else (*self.bold, " ", *self.more)
        return _cut(self.short or whole, LONGEST)


def moment(at: float) -> str:
    """Return a time as the pages write it.

    Examples
    --------
    >>> moment(1795156872.0)
    '2026:324 06:41:12'
    """
    return time.strftime("%Y:%j %H:%M:%S", time.gmtime(at))


def duration(seconds: float) -> str:
    """Return a duration in at most two units (design 7).

    Examples
    --------
    >>> [duration(value) for value in (0.003, 0.42, 12.4, 192, 7500, 356400)]
    ['3 ms', '0.42 s', '12.4 s', '3 min 12 s', '2 h 05 min', '4 d 3 h']
    """
    if seconds < 0.0095:
        return f"{max(seconds, 0.0) * 1000:.0f} ms"
    if seconds < 0.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    if seconds < 3599.5:
        return "{} min {:02d} s".format(*divmod(round(seconds), 60))
    if seconds < 86370:
        return "{} h {:02d} min".format(*divmod(round(seconds / 60), 60))
    return "{} d {} h".format(*divmod(round(seconds / 3600), 24))


def _about(seconds: float) -> str:
    if seconds < 1:
        return "1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.0f} h"


def counted(n: int, noun: str) -> str:
    """Return "1 job", "12 jobs", "more than 100 000 jobs"."""
    shown = f"{n:,}".replace(",", "\u202f") if n >= 10_000 else str(n)
    more = "more than " if n >= MANY else ""
    return f"{more}{shown} {noun}{'' if n == 1 else 's'}"


def plain(sentence: Sentence) -> str:
    """Return a sentence as plain text: jobs by their last 8 digits, times as `moment`."""

    def say(part: Part) -> str:
        match part:
            case JobRef(id=identity):
                return identity[-8:]
            case Moment(at=at):
                return moment(at)
            case Code(text=words):
                return words
            case words:
                return words

    return "".join(say(part) for part in sentence)


def _cut(sentence: Sentence, most: int) -> Sentence:
    """Shorten a sentence to about so many characters of text."""
    kept: list[Part] = []
    for part in sentence:
        if isinstance(part, str) and len(part) > most:
            return (*kept, f"{part[: max(most, 1) - 1].rstrip()}…")
        kept.append(part)
        most -= len(plain((part,)))
    return tuple(kept)


def first_line(words: str | None) -> str:
    """Return the first line of a message as a sentence."""
    line = (words or "").strip().partition("\n")[0].strip()
    return line if not line or line[-1] in ".!?" else f"{line}."


# --- why ---


class Situation:
    """What the because lines of one page share, each thing looked up once."""

    def __init__(self, connection: sa.Connection, now: float) -> None:
        self.connection = connection
        self.now = now
        self.processes = processes_at(connection, now)
        self._ahead: dict[tuple[str, int], int] = {}
        self._usual: dict[str, float | None] = {}

    def serving(self, queue: str) -> list[Process]:
        """Return the live processes that run jobs of a queue, the last beat first."""
        found = [p for p in self.processes if p.live and p.serves(queue)]
        return sorted(found, key=lambda process: process.age_s)

    def relays(self) -> list[Process]:
        """Return the live processes that send messages."""
        return [p for p in self.processes if p.live and p.kind in ("relay", "inprocess")]

    def last_beat(self, wanted: list[Process]) -> Sentence:
        """Return "since" the newest beat of some processes, nothing without any."""
        beats = [process.beat for process in wanted]
        return (" since ", Moment(max(beats))) if beats else ()

    def usual_run_s(self, task: str) -> float | None:
        """Return the median run of the task's last 50 finished jobs (s)."""
        if task not in self._usual:
            rows = self.connection.execute(
                text(
                    "SELECT started_at, finished_at FROM (SELECT state, started_at, finished_at"
                    " FROM job WHERE task = :task ORDER BY created_at DESC, id DESC LIMIT :window)"
                    " AS w WHERE state = 'done' LIMIT :n"
                ),
                {"task": task, "window": 20 * MEDIAN_OF, "n": MEDIAN_OF},
            )
            runs = [row.finished_at - row.started_at for row in rows]
            self._usual[task] = statistics.median(runs) if runs else None
        return self._usual[task]

    def ahead(self, job: Job) -> int:
        """Return how many due jobs of better priority wait in its queue."""
        key = (job.queue, job.priority)
        if key not in self._ahead:
            better = "queue = :queue AND {} AND priority < :priority AND not_before <= :now"
            self._ahead[key] = sum(
                count_jobs(
                    self.connection,
                    better.format(kind),
                    queue=job.queue,
                    priority=job.priority,
                    now=self.now,
                )
                for kind in (WAITING, SENT)
            )
        return self._ahead[key]

    def holder(self, job: Job) -> Job | None:
        """Return the running job that has the lock of a job."""
        if job.lock_key is None:
            return None
        found = jobs_where(
            self.connection,
            self.now,
            "WHERE state = 'running' AND lock_key = :key",
            key=job.lock_key,
        )
        return found[0] if found else None

    def products(self, job: Job) -> int:
        """Return how many products a job made."""
        count = text("SELECT count(*) FROM product WHERE job_id = :id AND role = 'out'")
        return int(self.connection.scalar(count, {"id": job.id}) or 0)

    def last_end(self, job: Job) -> Any:
        """Return outcome and end of the attempt before the running one."""
        return self.connection.execute(
            text("SELECT n, outcome, finished_at FROM attempt WHERE job_id = :id AND n = :n"),
            {"id": job.id, "n": job.attempts - 1},
        ).first()


def why(ledger: Ledger, job: Job) -> Why:
    """Return the because line of a job."""
    return whys(ledger, [job])[job.id]


def whys(ledger: Ledger, jobs: Sequence[Job]) -> dict[str, Why]:
    """Return the because lines of the jobs of one page by id."""
    now = ledger.now()
    with ledger.look() as connection:
        situation = Situation(connection, now)
        return {job.id: because(situation, job) for job in jobs}


def because(at: Situation, job: Job) -> Why:
    """Return the because line of a job in a situation."""
    match job.state:
        case "waiting":
            return _why_waiting(at, job)
        case "running":
            return _why_running(at, job)
        case "dead":
            since: Sentence = (f": {job.error_class}.",)
            if job.finished_at is not None:
                since = (" since ", Moment(job.finished_at), *since)
            said = first_line(job.error_text)
            advice = f" {SAME_BYTES}" if job.error_class in HOPELESS else ""
            short = (f"{job.error_class}: {said}",)
            return Why("dead", "dead", ("Dead", *since), (said + advice,), short=short)
        case "done":
            return _why_done(at, job)
        case "skipped":
            return Why(
                "skipped",
                "skipped",
                (f"Skipped: {first_line(job.error_text) or 'no reason given.'}",),
            )
    ended: Sentence = () if job.finished_at is None else (" ", Moment(job.finished_at))
    return Why("cancelled", "cancelled", ("Cancelled", *ended, "."))


def _why_done(at: Situation, job: Job) -> Why:
    made = counted(at.products(job), "product")
    took = duration(job.run_s(at.now) or 0.0)
    return Why("done", "done", (f"Done in {took}, try {job.attempts}; {made}.",))


_ENDED = {"lost": "was lost", "timeout": "ran into its time limit"}


def _why_running(at: Situation, job: Job) -> Why:
    bold: Sentence = (
        "Runs since ",
        Moment(job.started_at or at.now),
        *((f" on {job.host}",) if job.host else ()),
        f", try {job.attempts} of {max(job.max_attempts, job.attempts)}.",
    )
    more: list[Part] = []
    if job.max_attempts == 0:
        more.append("Cancel asked for; it stops at its next checkpoint. ")
    previous = at.last_end(job)
    if previous is not None:
        ended = _ENDED.get(previous.outcome, "failed")
        more += [f"Try {previous.n} {ended} at ", Moment(previous.finished_at)]
        more.append(f": {first_line(job.error_text)} " if job.error_text else ". ")
    slow = _slow(at, job)
    if slow:
        more.append(f"This job is slow: {slow}. ")
    worker = next((p for p in at.processes if job in p.jobs), None)
    if worker is not None and not worker.live:
        more += ["Its worker is silent since ", Moment(worker.beat), "; the job will be returned."]
    sentence = _trimmed(more)
    return Why("slow" if slow else "running", "running", bold, sentence)


def _trimmed(parts: list[Part]) -> Sentence:
    if parts and isinstance(parts[-1], str):
        parts[-1] = parts[-1].rstrip()
    return tuple(parts)


def _slow(at: Situation, job: Job) -> str:
    usual, run = at.usual_run_s(job.task), job.run_s(at.now)
    if usual is None or run is None or run <= SLOW * max(usual, 1.0):
        return ""
    return f"{duration(run)}, usually {duration(usual)}"


def _why_waiting(at: Situation, job: Job) -> Why:
    """Compute all six reasons; the first that holds, in this order, is the reason."""
    reasons = [
        _lock(at, job),
        _not_before(at, job),
        _priority(at, job),
        _no_worker(at, job),
        _no_relay(at, job),
        _sent(at, job),
    ]
    active = next(index for index, (_, reason) in enumerate(reasons) if reason is not None)
    checks = tuple(
        replace(check, active=index == active) for index, (check, _) in enumerate(reasons)
    )
    reason = reasons[active][1]
    assert reason is not None
    return replace(reason, checks=checks)


_Reason = tuple[Check, Why | None]


def _lock(at: Situation, job: Job) -> _Reason:
    holder = at.holder(job)
    if holder is None:
        note = f"Lock {job.lock_key}: free" if job.lock_key else "Lock: none needed"
        return Check("lock", True, False, (note,)), None
    since = holder.started_at or at.now
    latest = since + _hard_limit_s(holder)
    more: list[Part] = [
        f"Only one job at a time may work on {job.lock_key}."
        " It starts as soon as that job ends, by ",
        Moment(latest),
        f" at the latest (hard limit {_hard_limit_s(holder)} s).",
    ]
    slow = _slow(at, holder)
    if slow:
        more.append(f" That job is slow: {slow}.")
    bold: Sentence = (
        "Waits for ",
        JobRef(holder.id),
        f", which has the lock {job.lock_key} since ",
        Moment(since),
        ".",
    )
    held = (f"Lock {job.lock_key}: held by ", JobRef(holder.id), f" for {duration(at.now - since)}")
    return Check("lock", False, False, held), Why("lock", "waiting", bold, tuple(more), short=bold)


def _hard_limit_s(job: Job) -> int:
    task = TASKS.get(job.task)
    if task is not None:
        return task.limits(after_timeout=job.error_class == "Timeout")[1]
    return QUEUES[job.queue].hard_s if job.queue in QUEUES else 0


def _not_before(at: Situation, job: Job) -> _Reason:
    if job.not_before <= at.now:
        delayed = job.not_before > job.created_at
        note: Sentence = ("Not before ", Moment(job.not_before), ": passed")
        return Check(
            "not_before", True, False, note if delayed else ("Not before: no delay set",)
        ), None
    more: Sentence = ()
    if job.attempts and job.error_class in ("NotReady", "NotReadyError"):
        times = "once" if job.attempts == 1 else f"{job.attempts} times"
        more = (f"Looked {times}: {first_line(job.error_text)}",)
    elif job.attempts and job.error_text:
        more = (f"Try {job.attempts} failed: {first_line(job.error_text)}",)
    elif job.coalesce_key:
        latest = max(job.created_at + COALESCE_MAX_WAIT_S, job.not_before)
        more = ("Gathers further triggers, until ", Moment(latest), " at the latest.")
    note = ("Not before ", Moment(job.not_before), f": in {duration(job.not_before - at.now)}")
    bold: Sentence = ("Not before ", Moment(job.not_before), ".")
    return Check("not_before", False, False, note), Why("not_before", "waiting", bold, more)


def _priority(at: Situation, job: Job) -> _Reason:
    ahead = at.ahead(job)
    jobs = counted(ahead, "job")
    check = Check(
        "priority", ahead == 0, False, (f"Queue {job.queue}: {jobs} of better priority ahead",)
    )
    if ahead == 0:
        return check, None
    bold = f"{jobs} of better priority {'is' if ahead == 1 else 'are'} ahead"
    each = at.usual_run_s(job.task)
    workers = len(at.serving(job.queue))
    if each is not None and workers and job.queue in QUEUES:
        total = ahead * each / (workers * QUEUES[job.queue].concurrency)
        bold += f"; at {duration(each)} each about {_about(total)}"
    return check, Why("priority", "waiting", (f"{bold}.",))


def _no_worker(at: Situation, job: Job) -> _Reason:
    live = at.serving(job.queue)
    if live:
        beat = duration(live[0].age_s)
        note = f"Workers for {job.queue}: {len(live)} live, last beat {beat} ago"
        return Check("no_worker", True, False, (note,)), None
    since = at.last_beat([p for p in at.processes if p.serves(job.queue)])
    bold: Sentence = (f"No live worker for queue {job.queue}", *since, ".")
    more: Sentence = ("Start one: ", Code(f"acaflow worker {job.queue}"))
    check = Check("no_worker", False, False, (f"Workers for {job.queue}: none live",))
    return check, Why("no_worker", "waiting", bold, more)


def _no_relay(at: Situation, job: Job) -> _Reason:
    live = at.relays()
    if live:
        newest = min(live, key=lambda process: process.age_s)
        note = f"Relay on {host_of(newest.name)}: last beat {duration(newest.age_s)} ago"
        return Check("no_relay", True, False, (note,)), None
    since = at.last_beat([p for p in at.processes if p.kind == "relay"])
    beaten: Sentence = ("no relay has beaten", *since, ".")
    bold: Sentence = ("Nothing is being sent: ", *beaten)
    check = Check("no_relay", False, False, ("Relay: none live",))
    more: Sentence = ("Start one: ", Code("acaflow relay"))
    return check, Why("no_relay", "waiting", bold, more)


def _sent(at: Situation, job: Job) -> _Reason:
    if job.sent_at is None:
        bold = "No message sent yet; the relay sends one as soon as the queue has room."
        return (
            Check("sent", False, False, ("Message: not sent yet",)),
            Why("sent", "queued", (bold,)),
        )
    ago = duration(at.now - job.sent_at)
    again = "" if job.sends <= 1 else f", send {job.sends}"
    return (
        Check("sent", False, False, (f"Message: sent {ago} ago{again}",)),
        Why(
            "sent", "queued", (f"Message sent {ago} ago; a worker should take it within seconds.",)
        ),
    )
