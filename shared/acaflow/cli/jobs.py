"""``acaflow submit`` and ``acaflow jobs``: queue work, look at it, and intervene."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from acaflow.cli.base import (
    Command,
    Group,
    Session,
    TimeText,
    complain,
    json_option,
    pass_session,
    print_json,
    print_rows,
    print_table,
    size_text,
    user_name,
)
from acaflow.errors import InputError, MissingDataError

if TYPE_CHECKING:
    from acaflow.paths import Home
    from acaflow.runtime.ledger import Ledger
    from acaflow.status.reading import Attempt, Job, JobDetail

__all__ = ["jobs", "key_values", "submit"]

FOLLOW_S = 0.5
"""Pause between two looks at a log that is followed."""


def key_values(items: tuple[str, ...]) -> dict[str, str]:
    """Split ``key=value`` arguments."""
    values = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not key or not equals:
            raise InputError(f"argument {item!r} is not of the form key=value")
        values[key] = value
    return values


def epoch(seconds: float | None) -> float | None:
    """Return the epoch seconds of a time in CXC seconds."""
    from acaflow import times

    return None if seconds is None else float(times.convert(seconds, "unix"))


def find(ledger: Ledger, identity: str) -> Job:
    """Return a job by its id or the last 8 digits of it."""
    from acaflow.status import reading

    job = reading.find_job(ledger, identity)
    if job is None:
        raise MissingDataError(f"no job {identity}; acaflow jobs lists them")
    return job


# --- submit ---


@click.command(cls=Command)
@click.argument("task")
@click.argument("values", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--force", is_flag=True, help="Do it again even if the same was asked before.")
@click.option("--not-before", type=TimeText(), help="Earliest start, in any time format.")
@click.option("--wait", is_flag=True, help="Wait for the end; work here if nobody else does.")
@json_option
@pass_session
def submit(
    session: Session,
    task: str,
    values: tuple[str, ...],
    force: bool,
    not_before: float | None,
    wait: bool,
    as_json: bool,
) -> int:
    """Queue one job by hand; an unknown TASK lists those there are.

    The same request again answers with the job that did or does it.

    Example:
      acaflow submit ingest.reconcile checksums=yes --wait
      acaflow submit ingest.backup_ledger --not-before 2026:325:22:00:00
    """
    from acaflow.cli.work import Worksite, caused, is_good, job_words
    from acaflow.runtime import operators

    site = Worksite(session, works=wait)
    ledger = site.runtime.ledger
    submitted = operators.submit(
        site.runtime,
        task,
        key_values(values),
        user_name(),
        force=force,
        not_before=epoch(not_before),
    )
    # A request may have joined a job that another event had made.
    event_ids = list(dict.fromkeys(find(ledger, key).event_id for key in submitted.job_ids))
    if wait:
        site.finish(event_ids)
    elif not site.served:
        complain(f"nothing runs on {site.runtime.home.root} now; acaflow up will do the work")
    found = [job for event_id in event_ids for job in caused(ledger, event_id)]
    words = job_words(ledger, found)
    if as_json:
        print_json({"is_new": submitted.is_new, "event_id": submitted.event_id, "jobs": found})
    else:
        print_table(
            ("JOB", "STATE", "TASK", "WHY"),
            [(job.id[-8:], job.shown, job.task, words[job.id]) for job in found],
        )
    if not submitted.is_new:
        complain("the same request was made before; --force makes another")
    if wait and not is_good(found):
        complain(" ".join(words[job.id] for job in found if not is_good([job])))
        return 1
    return 0


# --- jobs ---


@click.group(cls=Group, default="list")
def jobs() -> None:
    """Look at jobs and intervene. Without a subcommand: list.

    Example:
      acaflow jobs
      acaflow jobs show 3f2a91c0
    """


@jobs.command("list")
@click.option("--state", help="waiting, queued, running, done, skipped, dead or cancelled.")
@click.option("--queue", help="Queue, for example ingest.")
@click.option("--task", help="Task, for example ingest.aca_l0_file.")
@click.option("--subject", help="What it is about, for example aca0:3.")
@click.option("--error", help="Class of the last error, for example BadInput.")
@click.option("--since", type=TimeText(), help="Made at or after this time, for example -2d.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--before", metavar="POSITION", help="Go on where an earlier list ended.")
@json_option
@pass_session
def list_jobs(session: Session, /, since: float | None, as_json: bool, **filters: Any) -> int:
    """List jobs, newest first.

    Example:
      acaflow jobs list --state dead --error BadInput
      acaflow jobs --queue ingest --since 2026:320 --json
    """
    from acaflow.status import reading

    ledger = session.ledger()
    listing = reading.list_jobs(ledger, start=epoch(since), **filters)
    value = {"jobs": listing.rows, "older": listing.older}
    table = _job_table(listing.rows, ledger.now())
    status = print_rows(*table, "no such jobs", as_json, value)
    if listing.older and not as_json:
        click.echo(f"more: --before {listing.older}", err=True)
    return status


def _job_table(rows: list[Job], now: float) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    from acaflow.status.reading import duration, moment

    def line(job: Job) -> tuple[Any, ...]:
        run_s = job.run_s(now)
        made, ran = moment(job.created_at), "" if run_s is None else duration(run_s)
        words = f"{job.error_class or ''} {first_line(job.error_text)}".strip()
        return job.id[-8:], job.shown, job.task, job.subject, made, ran, job.attempts, words

    headers = ("JOB", "STATE", "TASK", "SUBJECT", "MADE", "RUN", "TRIES", "ERROR")
    return headers, [line(job) for job in rows]


def first_line(words: str | None) -> str:
    """Return the begin of a message, for a table."""
    line = (words or "").strip().partition("\n")[0]
    return line if len(line) <= 100 else f"{line[:99]}…"


@jobs.command()
@click.argument("job", metavar="ID")
@json_option
@pass_session
def show(session: Session, job: str, as_json: bool) -> None:
    """Show one job with its reason, attempts, inputs, products, causes and effects.

    Example:
      acaflow jobs show 3f2a91c0
    """
    from acaflow.status import reading

    ledger = session.ledger()
    detail = reading.job_detail(ledger, find(ledger, job))
    if as_json:
        print_json(detail)
    else:
        _print_detail(detail)


def _print_detail(detail: JobDetail) -> None:
    from acaflow.status.reading import duration, moment

    job = detail.job
    facts = {
        "job": job.id,
        "task": f"{job.task} (queue {job.queue}, priority {job.priority})",
        "subject": job.subject,
        "state": job.shown,
        "because": detail.why.text,
        "arguments": ", ".join(f"{key}={value}" for key, value in job.args.items()),
        "made": moment(job.created_at),
        "usual run": None if detail.usual_s is None else duration(detail.usual_s),
        "requested by": job.requested_by,
    }
    for title, value in facts.items():
        if value:
            click.echo(f"{title + ':':<14}{value}")
    for link in detail.chain:
        click.echo(f"{'caused by:':<14}{link.event.kind} {link.event.id} ({link.event.source})")
    for link in detail.effects:
        click.echo(f"{'followed by:':<14}{link.event.kind} {link.event.id}")
    for title, files in (("READ", detail.inputs), ("MADE", detail.products)):
        if files:
            click.echo()
            print_table(
                (title, "KIND", "SIZE"), [(f.path, f.kind, size_text(f.size)) for f in files]
            )
    if detail.attempts:
        click.echo()
        print_table(
            ("TRY", "OUTCOME", "STARTED", "ERROR", "LOG"),
            [
                (
                    item.n,
                    item.outcome,
                    None if item.started_at is None else moment(item.started_at),
                    item.error_class,
                    item.log_path,
                )
                for item in detail.attempts
            ],
        )


@jobs.command()
@click.option("--queue", help="Of this queue only.")
@click.option("--error-class", help="With this class of error only, for example BadInput.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@json_option
@pass_session
def dead(
    session: Session, queue: str | None, error_class: str | None, limit: int, as_json: bool
) -> int:
    """List the jobs that gave up, with the reason.

    Example:
      acaflow jobs dead --queue ingest
    """
    from acaflow.status import reading

    ledger = session.ledger()
    rows = reading.list_jobs(ledger, state="dead", queue=queue, error=error_class, limit=limit).rows
    return print_rows(*_job_table(rows, ledger.now()), "no dead jobs", as_json, rows)


@jobs.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--error-class", help="All dead jobs with this class of error.")
@click.option("--queue", help="All dead jobs of this queue.")
@click.option("--since", type=TimeText(), help="All dead jobs made at or after this time.")
@click.option("--reason", default="", help="Why, for the record.")
@json_option
@pass_session
def requeue(
    session: Session,
    ids: tuple[str, ...],
    error_class: str | None,
    queue: str | None,
    since: float | None,
    reason: str,
    as_json: bool,
) -> int:
    """Give dead jobs new attempts: those named, or all that fit the options.

    A choice by options starts after 10 s; until then acaflow jobs undo takes it back.

    Example:
      acaflow jobs requeue 3f2a91c0 --reason "disk mended"
      acaflow jobs requeue --error-class StorageBusyError --since -1d
    """
    from acaflow.runtime import operators

    chosen = error_class or queue or since is not None
    if bool(ids) == bool(chosen):
        raise click.UsageError("name jobs, or choose them by --error-class, --queue or --since")
    runtime = session.runtime()
    wanted = [find(runtime.ledger, key).id for key in ids]
    if chosen:
        wanted = [job.id for job in _all_dead(runtime.ledger, error_class, queue, epoch(since))]
    delay_s = operators.UNDO_S if chosen else 0.0
    batch, changed = operators.requeue(
        runtime, wanted, user_name(), reason, delay_s=delay_s, source="cli"
    )
    if chosen and changed and not as_json:
        complain(f"take it back within 10 s: acaflow jobs undo {batch}")
    return _acted("requeued", wanted, changed, as_json, batch_id=batch)


def _all_dead(
    ledger: Ledger, error: str | None, queue: str | None, start: float | None
) -> Iterator[Job]:
    from acaflow.status import reading

    before = None
    while True:
        page = reading.list_jobs(
            ledger,
            state="dead",
            error=error,
            queue=queue,
            start=start,
            before=before,
            limit=1000,
        )
        yield from page.rows
        before = page.older
        if before is None:
            return


def _acted(verb: str, wanted: list[str], changed: list[str], as_json: bool, **more: Any) -> int:
    """Print which jobs were changed and which were not; return the exit code."""
    if as_json:
        print_json({verb: changed, **more})
    else:
        for key in changed:
            click.echo(f"{verb} {key}")
    for key in wanted:
        if key not in changed:
            complain(f"job {key[-8:]} is not dead; nothing changed")
    if not wanted:
        complain("no such dead jobs")
        return 3
    return 0 if len(changed) == len(set(wanted)) else 1


@jobs.command()
@click.argument("batch", metavar="BATCH")
@pass_session
def undo(session: Session, batch: str) -> int:
    """Take back a requeue by options, within 10 s.

    Example:
      acaflow jobs undo 01932c1e-7c3a-7d2b-9b1e-2f6f3f2a91c0
    """
    from acaflow.runtime import operators

    count = operators.undo(session.runtime(), batch, user_name(), source="cli")
    click.echo(f"taken back: {count}")
    return 0 if count else 1


@jobs.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--reason", default="", help="Why, for the record.")
@pass_session
def cancel(session: Session, ids: tuple[str, ...], reason: str) -> int:
    """Cancel jobs: waiting ones at once, running ones at their next checkpoint.

    Example:
      acaflow jobs cancel 3f2a91c0 --reason "wrong slot"
    """
    from acaflow.runtime import operators

    runtime = session.runtime()
    status = 0
    for job in [find(runtime.ledger, key) for key in ids]:
        match operators.cancel(runtime, job.id, user_name(), reason, source="cli"):
            case "cancelled":
                click.echo(f"cancelled {job.id}")
            case "running":
                click.echo(f"stops at its next checkpoint {job.id}")
            case state:
                complain(f"job {job.id[-8:]} is {state}; nothing changed")
                status = 1
    return status


@jobs.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--reason", default="", help="Why, for the record.")
@json_option
@pass_session
def drop(session: Session, ids: tuple[str, ...], reason: str, as_json: bool) -> int:
    """Take dead jobs off the list for good; they end cancelled.

    Example:
      acaflow jobs drop 3f2a91c0 --reason "file was a test"
    """
    from acaflow.runtime import operators

    runtime = session.runtime()
    wanted = [find(runtime.ledger, key).id for key in ids]
    changed = operators.drop(runtime, wanted, user_name(), reason, source="cli")
    return _acted("dropped", wanted, changed, as_json)


@jobs.command()
@click.argument("job", metavar="ID")
@click.option("--attempt", type=click.IntRange(1), help="Which try (default: the last).")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@pass_session
def log(session: Session, job: str, attempt: int | None, follow: bool) -> None:
    """Print the log of a job.

    Example:
      acaflow jobs log 3f2a91c0
      acaflow jobs log 3f2a91c0 --follow
    """
    from acaflow.status import reading

    ledger = session.ledger()
    detail = reading.job_detail(ledger, find(ledger, job))
    tried = next((item for item in detail.attempts if attempt in (None, item.n)), None)
    if tried is None:
        which = "no attempt" if attempt is None else f"no attempt {attempt}"
        raise MissingDataError(f"job {job} has {which} yet")
    path = _log_path(session.home, detail.job, tried)
    if path is None or not (path.exists() or (follow and tried.outcome == "running")):
        raise MissingDataError(
            f"attempt {tried.n} of job {job} has written no log, or it is pruned"
        )
    position = _print_from(path, 0)
    while follow and find(ledger, detail.job.id).state == "running":
        time.sleep(FOLLOW_S)
        position = _print_from(path, position)
    _print_from(path, position)


def _log_path(home: Home, job: Job, tried: Attempt) -> Path | None:
    """Return where the log of an attempt is; that of a running one is not in the ledger yet."""
    from acaflow.runtime import logs

    if tried.log_path is not None:
        return home.root / tried.log_path
    if tried.outcome != "running" or tried.started_at is None:
        return None
    return logs.job_log_path(home, job.id, tried.n, tried.started_at)


def _print_from(path: Path, position: int) -> int:
    """Print a file from a byte position on and return the next one."""
    if not path.exists():
        return position
    with path.open("rb") as stream:
        stream.seek(position)
        block = stream.read()
    click.echo(block, nl=False)
    return position + len(block)
