"""How pages write things: times, states, links, numbers, sentences (design 6, 7)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, current_app, g, request, url_for
from markupsafe import Markup, escape

from acaflow import __version__
from acaflow.runtime.messages import EVENTS, QUEUES, TASKS
from acaflow.status import reading
from acaflow.status.reading import Code, Event, Job, JobRef, Moment, Sentence

if TYPE_CHECKING:
    from acaflow.runtime.core import Runtime

PLACES = (
    ("views.show_overview", "Overview", "o"),
    ("views.show_jobs", "Jobs", "j"),
    ("views.show_events", "Events", "e"),
    ("level0.show_day", "Level 0", "l"),
    ("telemetry.explore", "Telemetry", "t"),
    ("dark.show_index", "Dark cals", "c"),
    ("views.show_quarantine", "Quarantine", "q"),
    ("views.show_dead", "Dead", "d"),
)
"""The places that exist, in the order of the design, with their keys."""

THIN = "\u202f"
KINDS = {
    "file.aca_l0.arrived": "ACA level 0",
    "file.aca_packets.arrived": "ACA packets",
    "file.vc2.arrived": "Dark dumps",
    "file.dark_info.arrived": "Dark info",
    "file.eng_samples.arrived": "Engineering",
    "file.unknown.arrived": "Unknown name",
}
"""What a kind of arriving file is called in charts."""

OUTCOMES = {
    "ok": "done",
    "running": "running",
    "retry": "waiting",
    "skipped": "skipped",
    "cancelled": "cancelled",
}
"""Shape of an attempt's outcome; all others failed."""


NEVER_JOBS = ("jobs", "schedule")
"""Kinds of subjects that only events have."""

SHORT = 15
"""Characters of a subject that every column has room for."""

NAMES = {"error": "error class", "start": "from", "stop": "to"}
"""What the form of the jobs calls its filters, where that is not their name."""

ACTIONS = {
    "operator.cancel": "Cancel",
    "operator.drop": "Drop",
    "operator.priority": "Higher priority",
    "operator.requeue": "Requeue",
    "operator.undo": "Undo of a requeue",
}
"""What people do to jobs."""


def runtime() -> Runtime:
    """Return what the application works on."""
    found: Runtime = current_app.extensions["acaflow"]["runtime"]
    return found


def user() -> str:
    """Return the name for what is asked for here."""
    return str(current_app.extensions["acaflow"]["user"])


def digests() -> Mapping[str, str]:
    """Return the content hashes of the static files."""
    found: Mapping[str, str] = current_app.extensions["acaflow"]["digests"]
    return found


def iso(at: float) -> str:
    """Return a time as ISO text to the second, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def when(at: float | None) -> Markup:
    """Return a time with its ISO form on hover; an en dash for none."""
    if at is None:
        return Markup("–")
    stamp = iso(at)
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        stamp, stamp[:-1].replace("T", " "), reading.moment(at)
    )


def clock(at: float) -> Markup:
    """Return the hour and minute of a time."""
    return Markup(time.strftime("%H:%M", time.gmtime(at)))


def shape(name: str) -> Markup:
    """Return one of the symbols that are inlined once per page."""
    return Markup('<svg class="i" aria-hidden="true"><use href="#{}"/></svg>').format(name)


def state(name: str, word: str = "") -> Markup:
    """Return a state: shape, word, colour."""
    return Markup('<span class="st {}">{}{}</span>').format(name, shape(name), word or name)


def outcome(name: str) -> Markup:
    """Return the outcome of an attempt."""
    return state(OUTCOMES.get(name, "dead"), name)


def job_link(identity: str) -> Markup:
    """Return a link to a job by its last 8 digits."""
    short = identity[-8:]
    href = url_for("views.show_job", identity=short)
    return Markup('<a class="id" href="{}" title="{}">{}</a>').format(href, identity, short)


def source(event: Event) -> Markup:
    """Return where an event came from: the job that emitted it, or who reported it."""
    by = event.cause_job_id
    return Markup("job ") + job_link(by) if by else escape(event.source)


def short_subject(subject: str) -> str:
    """Return a subject with the last 8 digits of a job id instead of all."""
    kind, _, name = subject.partition(":")
    return f"job:{name[-8:]}" if kind == "job" else subject


def subject_link(subject: str) -> Markup:
    """Return a link to all jobs about a subject; to the job, if that is the subject."""
    kind, _, name = subject.partition(":")
    if kind == "job":
        return Markup("job ") + job_link(name)
    if kind in NEVER_JOBS:
        return escape(subject)
    href = url_for("views.show_jobs", subject=subject)
    title = Markup(' title="{}"').format(subject) if len(subject) > SHORT else ""
    return Markup('<a href="{}"{}>{}</a>').format(href, title, subject)


def sentence(parts: Sentence) -> Markup:
    """Return a sentence of the library with its links and times."""

    def say(part: Any) -> Markup:
        match part:
            case JobRef(id=identity):
                return Markup("job ") + job_link(identity)
            case Moment(at=at):
                return when(at)
            case Code(text=words):
                return Markup("<code>{}</code>").format(words)
            case words:
                return escape(words)

    return Markup("").join(say(part) for part in parts)


def number(value: float | None) -> str:
    """Return a count with thousands by narrow space from 10 000 on; an en dash for none."""
    if value is None:
        return "–"
    shown = f"{value:,}".replace(",", THIN) if value >= 10_000 else str(value)
    return f"> {shown}" if value == reading.MANY else shown


def took(seconds: float | None) -> str:
    """Return a duration; an en dash for none."""
    return "–" if seconds is None else reading.duration(seconds)


def megabytes(size: int) -> Markup:
    """Return a size in MB, exact on hover."""
    shown = "< 0.001" if 0 < size < 500 else f"{size / 1e6:.3f}"
    return Markup('<span title="{} bytes">{}</span>').format(f"{size:,}".replace(",", THIN), shown)


def bars(values: Sequence[int], what: str) -> Markup:
    """Return a word-sized bar chart of 24 hours, from zero to its own maximum."""
    most = max(values, default=0)
    heights = [max(15 * value / most, 1) if value else 0 for value in values]
    path = "".join(
        f"M{4 * index + 0.5:g} 16v-{height:.1f}h3v{height:.1f}z"
        for index, height in enumerate(heights)
        if height
    )
    label = f"{what} in each of the last 24 hours, highest {most}" if most else f"{what}: none"
    return Markup(
        '<svg class="spark" viewBox="0 0 96 16" role="img" aria-label="{}">'
        '<path class="b0" d="{}"/></svg>'
    ).format(label, path)


def job_name(job: Job) -> str:
    """Return what a job does and to what."""
    return job.task if job.subject == f"task:{job.task}" else f"{job.task} {job.subject}"


def short_name(task: str) -> str:
    """Return the verb of a task without its queue."""
    return task.partition(".")[2] or task


def argument(value: Any) -> str:
    """Return one value as it is typed on a command line; lists with commas."""
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(argument, value)) or "–"
        case dict():
            return arguments(value)
    return str(value)


def arguments(values: Mapping[str, Any]) -> str:
    """Return arguments as one line to read and copy."""
    return " ".join(f"{name}={argument(value)}" for name, value in values.items()) or "none"


def download(content: Any, mimetype: str, name: str) -> Response:
    """Give a file to be saved under a name."""
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, mimetype=mimetype, headers=disposition)


def where(**changes: Any) -> str:
    """Return this page's address with some of its query changed; None takes a value out."""
    query = {**request.args.to_dict(), **changes}
    arguments = {name: value for name, value in query.items() if value not in (None, "")}
    assert request.endpoint is not None
    # A live part is made under its own address and shown on its page's.
    endpoint = {"views.jobs_part": "views.show_jobs"}.get(request.endpoint, request.endpoint)
    return url_for(endpoint, **(request.view_args or {}), **arguments)


def _frame() -> dict[str, Any]:
    """Return what the frame of every page shows."""
    found = runtime()
    theme = request.cookies.get("theme", "")
    return {
        "places": PLACES,
        "dead_count": reading.dead_count(found.ledger),
        "now": found.ledger.now(),
        "theme": theme if theme in ("light", "dark") else "",
        "version": __version__,
        "user": user(),
        "request_number": g.number,
        "elapsed_ms": lambda: round((time.perf_counter() - g.started) * 1000),
    }


def register(app: Flask) -> None:
    """Give the templates these words."""
    app.jinja_env.filters.update(
        when=when, took=took, number=number, megabytes=megabytes, sentence=sentence, iso=iso
    )
    app.jinja_env.globals.update(
        state=state,
        outcome=outcome,
        shape=shape,
        job_link=job_link,
        subject_link=subject_link,
        bars=bars,
        clock=clock,
        short_name=short_name,
        ACTIONS=ACTIONS,
        NAMES=NAMES,
        argument=argument,
        arguments=arguments,
        job_name=job_name,
        short_subject=short_subject,
        source=source,
        where=where,
        KINDS=KINDS,
        QUEUES=QUEUES,
        TASKS=TASKS,
        EVENTS=EVENTS,
        HOPELESS=reading.HOPELESS,
        WINDOW=reading.WINDOW,
    )
    app.context_processor(_frame)
