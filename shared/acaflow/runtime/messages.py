"""What causes what: event kinds, tasks, and the table between them.

An event kind is a frozen dataclass of its payload and names its subscribers; a task has a queue,
a dataclass of its arguments (the forms and the command line are made from it), limits, and
rules for locks and coalescing. A kind without subscriber is recorded and causes nothing.

To add a task: write its arguments and `Task` here, name it as subscriber of an event kind (or
set ``manual``), and bind a step to it in ``services/<queue>/tasks.py``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, get_type_hints

from acaflow import paths
from acaflow.errors import InputError
from acaflow.runtime.records import NewEvent, NewJob, canonical_json, new_id

__all__ = [
    "EVENTS",
    "QUEUES",
    "SCHEDULE",
    "TASKS",
    "EventKind",
    "Queue",
    "Task",
    "file_event",
    "manual_event",
    "new_event",
    "operator_event",
    "tick_event",
]

PERSON, ARRIVAL, DERIVED, HOUSEKEEPING = 0, 3, 6, 9
"""Priorities; 0 goes first (Celery's four default steps on Redis)."""


@dataclass(frozen=True)
class Queue:
    """Limits of the processes that serve a queue (task-queue 9)."""

    soft_s: int
    hard_s: int
    concurrency: int
    max_tasks_per_child: int
    max_memory_kb: int
    max_attempts: int = 5
    backoff_s: float = 10.0
    backoff_cap_s: float = 3600.0


QUEUES = {
    "ingest": Queue(900, 1200, 2, 200, 1_500_000),
    "dark_cal": Queue(1800, 2400, 1, 20, 3_000_000),
    "stats": Queue(1200, 1800, 2, 200, 1_500_000),
    "vv": Queue(1800, 2400, 1, 50, 2_000_000),
    "missions": Queue(10800, 14400, 2, 50, 1_000_000, 8, 60.0, 21600.0),
}


# --- tasks ---


@dataclass(frozen=True)
class FileArgs:
    """A file in hand: home-relative path, SHA-256 and size in bytes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class L0FileArgs(FileArgs):
    """A level-0 image file: slot and integer TSTART (CXC s) of its name."""

    slot: int
    filetime: int


@dataclass(frozen=True)
class ReconcileArgs:
    """What the comparison of disk and index looks at."""

    checksums: bool = field(
        default=False, metadata={"help": "read every file and compare its checksum (slow)"}
    )


@dataclass(frozen=True)
class ReindexArgs:
    """One archived level-0 file."""

    filename: str = field(
        metadata={"help": "name in the archive, for example acaf686111014N001_0_img0.fits.gz"}
    )


@dataclass(frozen=True)
class SlotArgs:
    """One image slot."""

    slot: int = field(metadata={"help": "image slot, 0 to 7"})


@dataclass(frozen=True)
class StoreArgs(SlotArgs):
    """One column store of the level-0 archive."""

    imgsize: int = field(metadata={"help": "image size 4, 6 or 8 (pixels)"})


@dataclass(frozen=True)
class NoArgs:
    """A task without arguments."""


@dataclass(frozen=True)
class SamplesArgs(FileArgs):
    """A file of engineering samples: its MSID."""

    msid: str


@dataclass(frozen=True)
class DarkFileArgs(FileArgs):
    """A delivered file of a dark calibration."""

    dark_id: str


@dataclass(frozen=True)
class DarkArgs:
    """One dark calibration."""

    dark_id: str = field(metadata={"help": "YYYYDOY of the calibration, for example 2022069"})


@dataclass(frozen=True)
class DarkReplicaArgs(DarkArgs):
    """One replica of a dark calibration."""

    replica: int = field(metadata={"help": "number of the replica, from 1"})


@dataclass(frozen=True)
class DarkInfoArgs(DarkArgs):
    """Attitude and expected temperature, as the star catalogue of a calibration has them."""

    time: str = field(metadata={"help": "time of the first dark-current star catalogue"})
    temperature: float = field(metadata={"help": "expected CCD temperature (degC)"})
    ra: float = field(metadata={"help": "right ascension (deg)"})
    dec: float = field(metadata={"help": "declination (deg)"})


@dataclass(frozen=True)
class DarkProcessArgs(DarkArgs):
    """How a person wants a dark calibration processed."""

    force: bool = field(
        default=False,
        metadata={
            "help": "publish in spite of failed quality, missing replicas, or a published one"
        },
    )
    reason: str = field(default="", metadata={"help": "why it is forced; kept with the product"})
    combine: str = field(default="", metadata={"help": "median or clipmean; empty: as before"})
    gain: str = field(
        default="",
        metadata={"help": "e-/DN: one number, or four for A,B,C,D; empty: as before"},
    )


@dataclass(frozen=True)
class DarkImportArgs:
    """A folder of calibrations from another archive."""

    path: str = field(metadata={"help": "folder below the home with image.fits, properties.json"})


@dataclass(frozen=True)
class Task:
    """One kind of job.

    Attributes
    ----------
    name, queue : str
        ``<service>.<verb_object>``; the queue is the service.
    args : type
        Frozen dataclass; anything else in a job is refused before its step runs.
    summary : str
        One line for forms and help.
    lock, coalesce : str, optional
        Keys, with argument names in braces. A coalesced task reads the state of the archive,
        never the payload of its event, and has a lock.
    debounce_s : float
        Delay of a coalesced job, moved on by each further trigger for at most 10 minutes.
    manual : bool
        People may queue it.
    algorithm_version : int
        Raised when results change; part of the key of a manual request.
    each : (str, str), optional
        A list in the event's payload, and the argument that takes its entries: a job for each.
    only : callable, optional
        Tells from the event's payload whether there is anything to do.
    """

    name: str
    queue: str
    args: type[Any]
    summary: str
    priority: int = ARRIVAL
    lock: str | None = None
    coalesce: str | None = None
    debounce_s: float = 0.0
    manual: bool = False
    algorithm_version: int = 1
    soft_s: int | None = None
    hard_s: int | None = None
    each: tuple[str, str] | None = None
    only: Callable[[Mapping[str, Any]], bool] | None = None

    @cached_property
    def types(self) -> dict[str, Any]:
        """Names and types of the arguments."""
        return get_type_hints(self.args)

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """Arguments that may be left out."""
        items = fields(self.args)
        return {item.name: item.default for item in items if item.default is not MISSING}

    def limits(self, after_timeout: bool = False) -> tuple[int, int]:
        """Return the soft and hard time limit (s); doubled after a timeout, within the queue's."""
        queue = QUEUES[self.queue]
        factor = 2 if after_timeout else 1
        soft = min(factor * (self.soft_s or queue.soft_s), queue.soft_s)
        return soft, min(factor * (self.hard_s or queue.hard_s), queue.hard_s)


TASKS = {
    item.name: item
    for item in (
        Task(
            "ingest.aca_l0_file",
            "ingest",
            L0FileArgs,
            "Validate a level-0 image file and add it to the archive",
        ),
        Task(
            "ingest.aca_packets",
            "ingest",
            FileArgs,
            "Make level-0 files of raw ACA packets and add them to the archive",
        ),
        Task("ingest.unknown_file", "ingest", FileArgs, "Refuse a file whose name no rule knows"),
        Task(
            "ingest.reconcile",
            "ingest",
            ReconcileArgs,
            "Compare the archive on disk with its index, and mend the index",
            HOUSEKEEPING,
            lock="ingest.reconcile",
            coalesce="ingest.reconcile:{checksums}",
            debounce_s=1.0,
            manual=True,
        ),
        Task(
            "ingest.reindex_l0_file",
            "ingest",
            ReindexArgs,
            "Read one archived level-0 file again and renew its index row",
            DERIVED,
            manual=True,
        ),
        Task(
            "ingest.update_l0_store",
            "ingest",
            SlotArgs,
            "Add new level-0 files to the column stores of a slot, and merge small segments",
            HOUSEKEEPING,
            lock="ingest.l0_store:{slot}",
            coalesce="ingest.update_l0_store:{slot}",
            debounce_s=0.5,
            manual=True,
        ),
        Task(
            "ingest.rebuild_l0_store",
            "ingest",
            StoreArgs,
            "Build a level-0 column store anew from the archived files",
            HOUSEKEEPING,
            lock="ingest.l0_store:{slot}",
            coalesce="ingest.rebuild_l0_store:{slot}:{imgsize}",
            debounce_s=1.0,
            manual=True,
        ),
        Task(
            "ingest.eng_samples",
            "ingest",
            SamplesArgs,
            "Add a file of engineering samples to the archive",
        ),
        Task(
            "ingest.backup_ledger",
            "ingest",
            NoArgs,
            "Write a copy of the ledger (SQLite) under state/",
            HOUSEKEEPING,
            lock="ingest.backup_ledger",
            manual=True,
        ),
        Task(
            "dark_cal.receive_replica",
            "dark_cal",
            DarkFileArgs,
            "Check a raw dark-calibration dump and keep it",
        ),
        Task(
            "dark_cal.receive_info",
            "dark_cal",
            DarkFileArgs,
            "Keep the star-catalogue facts of a dark calibration (info.csv)",
        ),
        Task(
            "dark_cal.set_info",
            "dark_cal",
            DarkInfoArgs,
            "Enter the star-catalogue facts of a dark calibration",
            manual=True,
        ),
        Task(
            "dark_cal.gate",
            "dark_cal",
            DarkArgs,
            "Look whether all replicas of a dark calibration are there",
            lock="dark:{dark_id}",
            coalesce="dark_cal.gate:{dark_id}",
            debounce_s=1.0,
            manual=True,
        ),
        Task(
            "dark_cal.decode",
            "dark_cal",
            DarkReplicaArgs,
            "Decode a raw dump into its level-0 FITS file",
            lock="dark_decode:{dark_id}:{replica}",
            each=("replicas", "replica"),
        ),
        Task(
            "dark_cal.assemble",
            "dark_cal",
            DarkArgs,
            "Combine the replicas of a dark calibration and judge its quality",
            lock="dark:{dark_id}",
            coalesce="dark_cal.assemble:{dark_id}",
        ),
        Task(
            "dark_cal.process",
            "dark_cal",
            DarkProcessArgs,
            "Process a dark calibration again, with other parameters or by force",
            lock="dark:{dark_id}",
            manual=True,
        ),
        Task(
            "dark_cal.report",
            "dark_cal",
            DarkArgs,
            "Make the report of a dark calibration and publish both",
            lock="dark:{dark_id}",
            manual=True,
        ),
        Task(
            "dark_cal.update_index",
            "dark_cal",
            NoArgs,
            "Renew the list of dark calibrations, zodi.csv, and the plots over the mission",
            lock="dark_cal.update_index",
            coalesce="dark_cal.update_index",
            debounce_s=2.0,
            manual=True,
        ),
        Task(
            "dark_cal.recheck",
            "dark_cal",
            NoArgs,
            "Assemble dark calibrations anew whose times or temperatures new telemetry changes",
            DERIVED,
            lock="dark_cal.recheck",
            coalesce="dark_cal.recheck",
            debounce_s=5.0,
            only=lambda payload: (
                payload.get("slot") == 6 or payload.get("msid") in ("CIUMACAC", "AACCCDPT")
            ),
        ),
        Task(
            "dark_cal.import_folder",
            "dark_cal",
            DarkImportArgs,
            "Add dark calibrations of another archive",
            manual=True,
        ),
    )
}


def with_tasks(queues: Iterable[str]) -> list[str]:
    """Return those queues that any task goes to."""
    used = {task.queue for task in TASKS.values()}
    return [name for name in queues if name in used]


# --- events ---


@dataclass(frozen=True)
class AcaL0Updated:
    """The level-0 archive changed between two times (CXC s) of a slot."""

    slot: int
    tstart: float
    tstop: float
    files: tuple[str, ...]


@dataclass(frozen=True)
class TelemetryUpdated:
    """Engineering telemetry of an MSID arrived between two times (CXC s)."""

    msid: str
    tstart: float
    tstop: float
    rows: int


@dataclass(frozen=True)
class DarkReplicas:
    """Replicas of a dark calibration that are to be decoded."""

    dark_id: str
    replicas: tuple[int, ...]


@dataclass(frozen=True)
class DarkPublished:
    """A dark calibration is in the archive; CCD temperature (degC)."""

    dark_id: str
    revision: int
    t_ccd: float | None


@dataclass(frozen=True)
class JobRequested:
    """A person (or a backfill) wants one job."""

    task: str
    args: Mapping[str, Any]
    user: str
    not_before: float | None = None
    batch_id: str | None = None


@dataclass(frozen=True)
class JobDead:
    """A job gave up; for notification only."""

    job_id: str
    error_class: str


@dataclass(frozen=True)
class Tick:
    """A schedule entry is due; the slot counts its periods since 1970."""

    slot: int


@dataclass(frozen=True)
class OperatorDid:
    """A person changed a job; the record of who did what, and why."""

    user: str
    jobs: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True)
class EventKind:
    """A kind of fact and who works on it."""

    kind: str
    payload: type[Any]
    emitted_by: str
    subscribers: tuple[str, ...] = ()
    schema: int = 1


SCHEDULE = {"reconcile": 86400.0, "backup_ledger": 86400.0}
"""Schedule entries and their periods (s); the relay fires ``schedule.tick.<name>``."""

EVENTS = {
    item.kind: item
    for item in (
        EventKind("file.aca_l0.arrived", L0FileArgs, "watcher", ("ingest.aca_l0_file",)),
        EventKind("file.unknown.arrived", FileArgs, "watcher", ("ingest.unknown_file",)),
        EventKind("file.aca_packets.arrived", FileArgs, "watcher", ("ingest.aca_packets",)),
        EventKind("file.eng_samples.arrived", SamplesArgs, "watcher", ("ingest.eng_samples",)),
        EventKind("file.vc2.arrived", DarkFileArgs, "watcher", ("dark_cal.receive_replica",)),
        EventKind("file.dark_info.arrived", DarkFileArgs, "watcher", ("dark_cal.receive_info",)),
        EventKind(
            "aca_l0.updated",
            AcaL0Updated,
            "ingest",
            ("ingest.update_l0_store", "dark_cal.recheck"),
        ),
        EventKind("telemetry.updated", TelemetryUpdated, "ingest", ("dark_cal.recheck",)),
        EventKind("dark_replica.received", DarkReplicaArgs, "dark_cal", ("dark_cal.gate",)),
        EventKind("dark_cal.ready", DarkReplicas, "dark_cal", ("dark_cal.decode",)),
        EventKind("dark_replica.decoded", DarkReplicaArgs, "dark_cal", ("dark_cal.assemble",)),
        EventKind(
            "dark_cal.inputs_changed",
            DarkArgs,
            "dark_cal",
            ("dark_cal.gate", "dark_cal.assemble"),
        ),
        EventKind("dark_cal.assembled", DarkArgs, "dark_cal", ("dark_cal.report",)),
        EventKind("dark_cal.published", DarkPublished, "dark_cal", ("dark_cal.update_index",)),
        EventKind("aca_l0.store_damaged", StoreArgs, "relay", ("ingest.rebuild_l0_store",)),
        EventKind("job.requested", JobRequested, "web, command line"),
        EventKind("job.dead", JobDead, "ledger"),
        EventKind("schedule.tick.reconcile", Tick, "relay", ("ingest.reconcile",)),
        EventKind("schedule.tick.backup_ledger", Tick, "relay", ("ingest.backup_ledger",)),
        *(
            EventKind(f"operator.{action}", OperatorDid, "web, command line")
            for action in ("cancel", "requeue", "undo", "drop", "priority")
        ),
    )
}


def new_event(
    kind: str, subject: str, payload: Any, source: str, identity: str, **more: Any
) -> NewEvent:
    """Make an event with the jobs of its subscribers.

    Parameters
    ----------
    kind, subject, source : str
        Name in `EVENTS`; what it is about (``kind:name``); who says so.
    payload : object
        Instance of the kind's payload dataclass.
    identity : str
        What makes the fact this fact: the same kind, subject and identity is recorded once.
    **more
        Further fields of `NewEvent`.
    """
    entry = EVENTS[kind]
    if type(payload) is not entry.payload:
        raise InputError(f"event {kind} carries {entry.payload.__name__}, not {payload!r}")
    body = dict(vars(payload))
    if "jobs" not in more:
        tasks = [TASKS[name] for name in entry.subscribers]
        more["jobs"] = [job for task in tasks for job in _jobs(task, body, subject)]
    return NewEvent(
        kind=kind,
        schema=entry.schema,
        dedupe_key=hashlib.sha256("|".join((kind, subject, identity)).encode()).hexdigest(),
        subject=subject,
        payload=body,
        source=source,
        **more,
    )


def _jobs(task: Task, values: Mapping[str, Any], subject: str) -> list[NewJob]:
    """Make the jobs of a subscriber: one, one for each entry of a list, or none."""
    if task.only and not task.only(values):
        return []
    if task.each is None:
        return [_job(task, values, subject)]
    entries, argument = task.each
    return [_job(task, {**values, argument: entry}, subject) for entry in values[entries]]


def _job(task: Task, values: Mapping[str, Any], subject: str, **more: Any) -> NewJob:
    """Make the job of a task from an event's payload: the fields that its arguments name."""
    args = {name: values[name] for name in task.types if name in values}
    named = {**task.defaults, **args}
    more = {"priority": task.priority, "max_attempts": QUEUES[task.queue].max_attempts, **more}
    return NewJob(
        task=task.name,
        queue=task.queue,
        args=args,
        subject=subject,
        lock_key=task.lock and task.lock.format(**named),
        coalesce_key=task.coalesce and task.coalesce.format(**named),
        delay_s=more.pop("delay_s", task.debounce_s),
        **more,
    )


# --- arrivals ---


def _l0_fields(name: str) -> tuple[str, dict[str, Any]]:
    parsed = paths.parse_l0_name(name)
    return f"aca0:{parsed.slot}", {"slot": parsed.slot, "filetime": parsed.filetime}


def _samples_fields(name: str) -> tuple[str, dict[str, Any]]:
    msid = paths.parse_samples_name(name).msid
    return f"msid:{msid}", {"msid": msid}


def _dark_fields(name: str) -> tuple[str, dict[str, Any]]:
    dark_id = name[:4] + name[5:8]  # YYYY_DOY_…
    return f"dark:{dark_id}", {"dark_id": dark_id}


ARRIVALS: tuple[tuple[re.Pattern[str], str, Callable[[str], tuple[str, dict[str, Any]]]], ...] = (
    (paths.L0_NAME, "file.aca_l0.arrived", _l0_fields),
    (paths.PACKETS_NAME, "file.aca_packets.arrived", lambda name: (f"file:{name}", {})),
    (paths.SAMPLES_NAME, "file.eng_samples.arrived", _samples_fields),
    (paths.VC2_NAME, "file.vc2.arrived", _dark_fields),
    (paths.DARK_INFO_NAME, "file.dark_info.arrived", _dark_fields),
)
"""Name pattern, event kind, and what the name says; the watcher opens no file."""


def file_event(
    name: str, path: str, sha256: str, size: int, source: str, *, force: bool = False, **more: Any
) -> NewEvent:
    """Make the arrival event of a file: everything but the checksum comes from its name.

    Parameters
    ----------
    name : str
        Base name under which it was delivered.
    path : str
        Where it is now, relative to the home.
    sha256 : str
        Of its bytes as delivered.
    size : int
        Bytes.
    force : bool
        Make a new event even if these bytes are known under this name.
    """
    kind, subject = "file.unknown.arrived", f"file:{name}"
    extra: dict[str, Any] = {}
    for pattern, known, describe in ARRIVALS:
        if pattern.fullmatch(name):
            kind = known
            subject, extra = describe(name)
    payload = EVENTS[kind].payload(path=path, sha256=sha256, size=size, **extra)
    identity = f"{name}|{sha256}" + (f"|{new_id()}" if force else "")
    return new_event(kind, subject, payload, source, identity, **more)


def known_patterns() -> str:
    """Return the file names that some rule knows, for messages."""
    return (
        "acaf<TSTART>N<version>_<slot>_img0.fits[.gz] (ACA level-0 images),"
        " aca_packets_<tstart>_<tstop>.fits|bin[.gz] (raw ACA packets),"
        " <YYYY>_<DOY>_VC2_Replica<N>_SFDU_<digits>[.gz] (raw dark-calibration dumps),"
        " <YYYY>_<DOY>_info.csv (star-catalogue facts of a dark calibration),"
        " eng_<MSID>_<tstart>_<tstop>.csv.gz (engineering samples)"
    )


TAKEN = "inbox/.taken/"
"""Where, relative to the home, files in hand are: ``<event id>.<delivered name>``."""


def original_name(path: str) -> str:
    """Return the delivered name of a taken file, ``inbox/.taken/<event id>.<name>``."""
    return PurePosixPath(path).name.split(".", 1)[1]


# --- notes: what a reader without ledger leaves beside a product ---


def _store_fields(note: PurePosixPath) -> tuple[str, StoreArgs]:
    slot, imgsize = note.parts[-3:-1]
    return f"aca0:{slot}", StoreArgs(int(slot), int(imgsize))


NOTES: tuple[tuple[str, str, Callable[[PurePosixPath], tuple[str, Any]]], ...] = (
    ("archive/aca0/store/[0-7]/[468]/damaged.json", "aca_l0.store_damaged", _store_fields),
)
"""Path pattern below the home, event kind, and what the path says; the relay looks for them."""


# --- requests, ticks, operators ---


def parse_args(task: Task, values: Mapping[str, Any]) -> Any:
    """Turn a mapping into the task's argument dataclass; InputError naming what is wrong.

    Text is converted to the field's type (forms and command lines); anything else must have it.
    """
    hints = task.types
    problems = [
        f"{name} is not an argument of {task.name} (known: {', '.join(hints) or 'none'})"
        for name in values
        if name not in hints
    ]
    converted = {}
    for name, wanted in hints.items():
        if name not in values:
            if name not in task.defaults:
                problems.append(f"{task.name} needs {name} ({wanted.__name__})")
            continue
        try:
            converted[name] = _convert(values[name], wanted)
        except ValueError:
            problems.append(f"{name} = {values[name]!r} is not of type {wanted.__name__}")
    if problems:
        raise InputError("; ".join(problems))
    return task.args(**converted)


_BOOLS = dict.fromkeys(("true", "yes", "1", "on"), True) | dict.fromkeys(
    ("false", "no", "0", "off"), False
)


def _convert(value: Any, wanted: Any) -> Any:
    if isinstance(value, str) and wanted is bool:
        if value.lower() not in _BOOLS:
            raise ValueError(value)
        return _BOOLS[value.lower()]
    if isinstance(value, str) and wanted in (int, float):
        return wanted(value)
    if type(value) is wanted or (wanted is float and type(value) is int):
        return wanted(value)
    raise ValueError(value)


def manual_event(
    task_name: str,
    values: Mapping[str, Any],
    user: str,
    source: str,
    *,
    force: bool = False,
    not_before: float | None = None,
    delay_s: float = 0.0,
    batch_id: str | None = None,
) -> NewEvent:
    """Make the event by which a person (or a backfill) asks for one job.

    The same task with the same arguments and algorithm is one request; ``force`` and another
    batch make another.

    Raises
    ------
    InputError
        Unknown task, one that people may not queue, or wrong arguments.
    """
    task = TASKS.get(task_name)
    if task is None or not task.manual:
        known = ", ".join(name for name, item in TASKS.items() if item.manual)
        raise InputError(f"no task {task_name!r} that can be queued by hand; there are: {known}")
    args = parse_args(task, values)
    given = dict(vars(args))
    identity = f"{task_name}|{canonical_json(given)}|{task.algorithm_version}|{batch_id or ''}"
    subject = given.get("subject") or f"task:{task_name}"
    if "filename" in given:
        subject = f"file:{given['filename']}"
    if "dark_id" in given:
        subject = f"dark:{given['dark_id']}"
    wanted = _job(
        task,
        given,
        subject,
        priority=HOUSEKEEPING if batch_id else PERSON,
        max_attempts=2,
        delay_s=max(delay_s, 0.0),
        batch_id=batch_id,
        requested_by=user,
    )
    return new_event(
        "job.requested",
        subject,
        JobRequested(task_name, given, user, not_before, batch_id),
        source,
        identity + (f"|{new_id()}" if force else ""),
        jobs=[wanted],
    )


def tick_event(name: str, slot: int) -> NewEvent:
    """Make the event of one slot of a schedule entry; a second relay makes the same one."""
    return new_event(
        f"schedule.tick.{name}", f"schedule:{name}", Tick(slot), f"schedule:{name}", str(slot)
    )


def operator_event(
    action: str, job_ids: tuple[str, ...], user: str, source: str, reason: str = ""
) -> NewEvent:
    """Make the record of what a person did to jobs (``cancel``, ``requeue``, ``undo`` …)."""
    subject = f"job:{job_ids[0]}" if len(job_ids) == 1 else f"jobs:{len(job_ids)}"
    shown = job_ids[:200]  # a bulk of thousands is found by its batch id
    return new_event(
        f"operator.{action}", subject, OperatorDid(user, shown, reason), source, new_id()
    )
