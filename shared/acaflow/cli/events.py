"""``acaflow events`` and ``acaflow quarantine``: what arrived, and what was refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from acaflow.cli.base import (
    Group,
    Session,
    json_option,
    pass_session,
    print_json,
    print_rows,
    print_table,
    size_text,
    user_name,
)
from acaflow.cli.jobs import first_line, key_values
from acaflow.errors import InputError, MissingDataError

if TYPE_CHECKING:
    from acaflow.runtime.quarantine import Entry

__all__ = ["events", "quarantine"]

OWN_WAYS = {
    "file": "acaflow ingest delivers files",
    "job": "acaflow submit queues jobs",
    "operator": "acaflow jobs records what people do",
    "schedule": "the relay records ticks",
}
"""First words of the kinds that nobody adds by hand, and what to use instead."""


@click.group(cls=Group, default="list")
def events() -> None:
    """Look at what happened, or report a fact. Without a subcommand: list.

    Example:
      acaflow events --kind file.
    """


@events.command("list")
@click.option("--kind", help="Kind; one that ends in a dot stands for all that begin so.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--before", metavar="POSITION", help="Go on where an earlier list ended.")
@json_option
@pass_session
def list_events(
    session: Session, kind: str | None, limit: int, before: str | None, as_json: bool
) -> int:
    """List events, newest first.

    Example:
      acaflow events list --kind aca_l0.updated
      acaflow events --kind operator. --json
    """
    from acaflow.status import reading

    listing = reading.list_events(session.ledger(), kind=kind, limit=limit, before=before)
    lines = [
        (reading.moment(row.recorded_at), row.kind, row.subject, row.source, row.id)
        for row in listing.rows
    ]
    headers = ("RECORDED", "KIND", "SUBJECT", "SOURCE", "EVENT")
    value = {"events": listing.rows, "older": listing.older}
    status = print_rows(headers, lines, "no such events", as_json, value)
    if listing.older and not as_json:
        click.echo(f"more: --before {listing.older}", err=True)
    return status


@events.command()
@click.argument("event", metavar="ID")
@json_option
@pass_session
def show(session: Session, event: str, as_json: bool) -> None:
    """Show one event, what led to it, and what it caused.

    Example:
      acaflow events show 01932c1e-7c3a-7d2b-9b1e-2f6f3f2a91c0
    """
    from acaflow.status import reading

    detail = reading.event_detail(session.ledger(), event)
    if detail is None:
        raise MissingDataError(f"no event {event}; acaflow events lists them")
    if as_json:
        print_json(detail)
        return
    it = detail.event
    click.echo(f"event:    {it.id}\nkind:     {it.kind}\nsubject:  {it.subject}")
    click.echo(f"recorded: {reading.moment(it.recorded_at)} by {it.source}")
    click.echo(f"payload:  {json.dumps(it.payload)}")
    for link in detail.chain[:-1]:
        click.echo(f"follows:  {link.event.kind} {link.event.id}")
    for link in detail.effects:
        click.echo(f"led to:   {link.event.kind} {link.event.id}")
    if detail.jobs:
        click.echo()
        print_table(
            ("JOB", "STATE", "TASK"), [(job.id[-8:], job.shown, job.task) for job in detail.jobs]
        )


@events.command()
@click.argument("kind")
@click.argument("subject")
@click.argument("values", nargs=-1, metavar="[KEY=VALUE]...")
@json_option
@pass_session
def add(session: Session, kind: str, subject: str, values: tuple[str, ...], as_json: bool) -> None:
    """Report a fact; its subscribers' jobs are queued. Lists are written as JSON.

    Example:
      acaflow events add aca_l0.updated aca0:3 slot=3 tstart=686111014 tstop=686117441 files=[]
    """
    from acaflow.runtime import messages
    from acaflow.runtime.records import new_id

    payload = _payload(kind, key_values(values))
    source = f"cli:{user_name()}"
    fact = messages.new_event(kind, subject, payload, source, identity=new_id())
    runtime = session.runtime()
    runtime.record([fact])
    jobs = runtime.ledger.jobs_of(fact.id)
    if as_json:
        print_json({"event_id": fact.id, "jobs": jobs})
    else:
        click.echo(f"event {fact.id}, jobs: {len(jobs)}")


def _payload(kind: str, given: dict[str, str]) -> Any:
    """Make the payload of a kind from texts; InputError naming what is wrong."""
    from pydantic import TypeAdapter, ValidationError

    from acaflow.runtime.messages import EVENTS

    if kind not in EVENTS:
        raise InputError(f"no event kind {kind!r}; acaflow events kinds lists them")
    instead = OWN_WAYS.get(kind.split(".")[0])
    if instead is not None:
        raise InputError(f"events of kind {kind} are not added by hand: {instead}")
    payload = EVENTS[kind].payload
    known = [item.name for item in fields(payload)]
    unknown = sorted(given.keys() - set(known))
    if unknown:
        raise InputError(f"{kind} has no {', '.join(unknown)}; it has {', '.join(known)}")
    values = {key: _json_or_text(value) for key, value in given.items()}
    try:
        return TypeAdapter(payload).validate_python(values)
    except ValidationError as err:
        problems = "; ".join(_problem(item) for item in err.errors())
        raise InputError(f"{kind}: {problems}") from err


def _problem(item: Any) -> str:
    name = ".".join(map(str, item["loc"]))
    given = "" if item["type"] == "missing" else f" = {item['input']!r}"
    return f"{name}{given}: {item['msg']}"


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


@events.command()
@json_option
def kinds(as_json: bool) -> None:
    """List the kinds of events and the tasks that follow each.

    Example:
      acaflow events kinds
    """
    from acaflow.runtime.messages import EVENTS, TASKS

    rows = [
        {
            "kind": item.kind,
            "from": item.emitted_by,
            "payload": [part.name for part in fields(item.payload)],
            "tasks": [f"{name} @{TASKS[name].queue}" for name in item.subscribers],
        }
        for item in EVENTS.values()
    ]
    lines = [
        (row["kind"], row["from"], ", ".join(row["payload"]), ", ".join(row["tasks"]))
        for row in rows
    ]
    print_rows(("KIND", "FROM", "PAYLOAD", "TASKS"), lines, "", as_json, rows)


# --- quarantine ---


@click.group(cls=Group, default="list")
def quarantine() -> None:
    """Look at refused files, or deliver one again. Without a subcommand: list.

    Example:
      acaflow quarantine
    """


@quarantine.command("list")
@json_option
@pass_session
def list_quarantine(session: Session, as_json: bool) -> int:
    """List the files in quarantine with the reason, newest first.

    Example:
      acaflow quarantine list --json
    """
    from acaflow.runtime import quarantine as library

    found = library.entries(session.home)
    lines = [
        (
            entry.event_id[-8:],
            entry.name,
            size_text(entry.size),
            entry.reason["error_class"],
            first_line(entry.reason["error_text"]),
        )
        for entry in found
    ]
    headers = ("EVENT", "FILE", "SIZE", "ERROR", "REASON")
    return print_rows(headers, lines, "quarantine is empty", as_json, found)


def _entry(session: Session, identity: str) -> Entry:
    """Return the file in quarantine by its event id or the last digits of it."""
    from acaflow.runtime import quarantine as library

    found = [e for e in library.entries(session.home) if e.event_id.endswith(identity.lower())]
    if not found:
        raise MissingDataError(f"no file of event {identity} in quarantine")
    if len({entry.event_id for entry in found}) > 1:
        both = ", ".join(sorted({entry.event_id for entry in found}))
        raise InputError(f"more than one event ends in {identity}: {both}")
    return found[0]


def _of_entry(command: Callable[[Session, Entry, bool], None]) -> Callable[..., None]:
    """Give a command about one file in quarantine its argument, as the entry, and ``--json``."""

    @click.argument("event", metavar="EVENT")
    @json_option
    @pass_session
    @wraps(command)
    def found(session: Session, event: str, as_json: bool) -> None:
        command(session, _entry(session, event), as_json)

    return found


@quarantine.command("show")
@_of_entry
def show_quarantine(session: Session, entry: Entry, as_json: bool) -> None:
    """Show where a refused file is, and why.

    Example:
      acaflow quarantine show 3f2a91c0
    """
    from acaflow.status.reading import moment

    if as_json:
        print_json(entry)
        return
    reason = entry.reason
    click.echo(f"file:   {entry.path}\nevent:  {entry.event_id}\njob:    {reason['job_id']}")
    click.echo(f"sha256: {reason['sha256']}\nsince:  {moment(reason['time'])}")
    click.echo(f"reason: {reason['error_class']}: {reason['error_text']}")


@quarantine.command()
@_of_entry
def release(session: Session, entry: Entry, as_json: bool) -> None:
    """Deliver a refused file again, as a new event.

    Example:
      acaflow quarantine release 3f2a91c0
    """
    from acaflow.runtime import quarantine as library

    runtime = session.runtime()
    event_id = library.release(runtime, entry.event_id, user_name())
    jobs = [row["id"] for row in runtime.ledger.jobs_of(event_id)]
    if as_json:
        print_json({"event_id": event_id, "jobs": jobs})
    else:
        click.echo(f"{entry.name} delivered again as event {event_id}; job {', '.join(jobs)}")
