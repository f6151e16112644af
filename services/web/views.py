"""The pages. Each view asks the library, renders, and says nothing itself about the work."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from pathlib import Path
from typing import Any

from flask import (
    Blueprint,
    Response,
    abort,
    flash,
    make_response,
    redirect,
    render_template,
    request,
    send_file,
    send_from_directory,
    url_for,
)

from acaflow import paths
from acaflow.errors import InputError, MissingDataError, SchemaError
from acaflow.runtime import messages, operators, quarantine
from acaflow.runtime.logs import job_log_path
from acaflow.runtime.messages import QUEUES, TASKS
from acaflow.status import reading
from acaflow.status.reading import Attempt, Job, Listing
from services.web import api, dark, forms, queries
from services.web.logfile import Tail, read_tail
from services.web.words import runtime, user

blueprint = Blueprint("views", __name__)

SHOWN_OF_GROUP = 5
MOST_GROUPS = 12
AT_ONCE = 10_000
"""Jobs that one click requeues at most."""


def _part(template: str, **values: Any) -> Response:
    """Answer with a live part; 204 if the reader has it already."""
    made = render_template(template, **values)
    seen = hashlib.sha256(made.encode()).hexdigest()[:16]
    if request.headers.get("X-Seen") == seen:
        return Response(status=204)
    return Response(made, headers={"X-Seen": seen})


# --- overview ---


@blueprint.get("/")
def show_overview() -> Any:
    """Answer: has the night gone well, and what needs me."""
    return render_template("overview.html", seen=queries.overview())


@blueprint.get("/fragments/queues")
def queues_part() -> Any:
    """Give the live table of queues."""
    return _part("_queues.html", queues=queries.queues())


# --- jobs ---


@blueprint.get("/jobs")
def show_jobs() -> Any:
    """Answer: which jobs are there, and why is each where it is."""
    try:
        values = _listed(queries.jobs(request.args))
        problem = ""
    except InputError as err:
        values, problem = _listed(Listing([], None)), str(err)
    page = render_template(
        "jobs.html",
        **values,
        counts=reading.state_counts(runtime().ledger),
        states=reading.SHOWN_STATES,
        problem=problem,
    )
    return page, 400 if problem else 200


def _filters() -> dict[str, str]:
    return {
        name: value for name in queries.FILTERS if (value := request.args.get(name, "").strip())
    }


def _listed(listing: Listing) -> dict[str, Any]:
    ledger = runtime().ledger
    return {
        "listing": listing,
        "reasons": reading.whys(ledger, listing.rows),
        "now": ledger.now(),
        "filters": _filters(),
    }


@blueprint.get("/fragments/jobs")
def jobs_part() -> Any:
    """Give the live list of jobs."""
    return _part("_jobs.html", **_listed(queries.jobs(request.args)))


@blueprint.get("/jobs.csv")
def jobs_csv() -> Response:
    """Give the jobs that the same query shows on the page."""
    rows = api.job_rows(queries.jobs(request.args))
    file = io.StringIO()
    names = ["state", "id", "task", "subject", "why", "created", "wait_s", "run_s"]
    writer = csv.DictWriter(file, [*names, "try", "priority"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    disposition = {"Content-Disposition": 'inline; filename="jobs.csv"'}
    return Response(file.getvalue(), mimetype="text/csv", headers=disposition)


# --- one job ---


@blueprint.get("/jobs/<identity>")
def show_job(identity: str) -> Any:
    """Answer: what is this job, why is it in this state, what came of it."""
    job = queries.job(identity)
    detail = reading.job_detail(runtime().ledger, job)
    shown = _shown_attempt(detail.attempts)
    tail = read_tail(_log_file(job, shown)) if shown else Tail([], 0, 0)
    return render_template(
        "job.html",
        seen=detail,
        job=job,
        shown=shown,
        tail=tail,
        progress=tail.progress if job.state == "running" else None,
        limits=_limits(job),
        file=job.file,
        acts=queries.actions(job),
        now=runtime().ledger.now(),
    )


def _limits(job: Job) -> tuple[int, int] | None:
    task = TASKS.get(job.task)
    return task.limits(job.error_class == "Timeout") if task else None


def _shown_attempt(attempts: list[Attempt]) -> Attempt | None:
    """Return the attempt of ``?try=``, else the newest; 404 if there is no such."""
    wanted = request.args.get("try", "")
    if not wanted:
        return attempts[0] if attempts else None
    found = next((item for item in attempts if str(item.n) == wanted), None)
    if found is None:
        abort(404, f"This job has no try {wanted}.")
    return found


def _log_file(job: Job, attempt: Attempt) -> Path:
    """Return the log of an attempt; a running one's is not in the ledger yet."""
    home = runtime().home
    if attempt.log_path:
        return paths.inside(home.logs, attempt.log_path.removeprefix("state/logs/"))
    return job_log_path(home, job.id, attempt.n, attempt.started_at or job.created_at)


def _attempt_of(job: Job) -> Attempt:
    shown = _shown_attempt(reading.job_detail(runtime().ledger, job).attempts)
    if shown is None:
        raise MissingDataError(f"Job {job.id[-8:]} has not run yet, so it has no log.")
    return shown


@blueprint.get("/jobs/<identity>/log.txt")
def job_log(identity: str) -> Any:
    """Give the whole log of one try as text."""
    job = queries.job(identity)
    path = _log_file(job, _attempt_of(job))
    if not path.is_file():
        raise MissingDataError(
            f"The log of job {job.id[-8:]} is not there: it wrote none, or retention removed it."
        )
    return send_file(path, mimetype="text/plain; charset=utf-8")


@blueprint.get("/fragments/jobs/<identity>/log")
def log_part(identity: str) -> Any:
    """Give the log lines after an offset; the next offset and line are in ``X-Next``."""
    job = queries.job(identity)
    offset, last = (request.args.get(name, 0, int) for name in ("offset", "last"))
    tail = read_tail(_log_file(job, _attempt_of(job)), max(offset, 0), max(last, 0))
    response = make_response(render_template("_lines.html", lines=tail.lines))
    response.headers["X-Next"] = f"{tail.offset},{tail.last or last}"
    return response


@blueprint.get("/fragments/jobs/<identity>/why")
def why_part(identity: str) -> Any:
    """Give the because line; tell the page to load anew when the state has changed."""
    job = queries.job(identity)
    progress = None
    if job.state == "running":
        attempt = job_log_path(runtime().home, job.id, job.attempts, job.started_at or 0.0)
        progress = read_tail(attempt).progress
    seen = reading.why(runtime().ledger, job)
    response = _part("_why.html", why=seen, progress=progress, acts=queries.actions(job))
    response.headers["X-State"] = f"{job.shown} {job.attempts}"
    return response


@blueprint.post("/jobs/<identity>")
def change_job(identity: str) -> Any:
    """Cancel, requeue, run again or hasten one job."""
    job = queries.job(identity)
    reason = request.form.get("reason", "").strip()
    match request.form.get("do"):
        case "cancel":
            operators.cancel(runtime(), job.id, user(), reason)
            flash("Cancel asked for.")
        case "requeue":
            _, changed = operators.requeue(runtime(), [job.id], user(), reason)
            flash("Job requeued." if changed else "This job is not dead; nothing was changed.")
        case "raise":
            raised = operators.raise_priority(runtime(), job.id, user())
            flash("It goes before all others now." if raised else "It does not wait any more.")
        case "rerun":
            return _rerun(job)
        case other:
            abort(400, f"A job cannot be asked to {other!r}: cancel, requeue, rerun or raise.")
    return redirect(url_for("views.show_job", identity=job.id[-8:]), 303)


def _rerun(job: Job) -> Any:
    """Ask for the same again: a manual task as such, a delivered file by hand."""
    if job.task not in {task.name for task in forms.manual_tasks()}:
        abort(400, f"{job.task} runs on what arrives; deliver the file again instead.")
    made = operators.submit(runtime(), job.task, job.args, user(), "web", force=True)
    flash("Queued again.")
    return redirect(_place_of(made), 303)


def _place_of(made: operators.Submitted) -> str:
    if made.job_ids:
        return url_for("views.show_job", identity=made.job_ids[0][-8:])
    return url_for("views.show_event", identity=made.event_id)


# --- a new job ---


@blueprint.get("/jobs/new")
def show_tasks() -> Any:
    """Answer: what can I queue by hand."""
    return render_template("tasks.html", tasks=forms.manual_tasks())


@blueprint.route("/jobs/new/<name>", methods=["GET", "POST"])
def new_job(name: str) -> Any:
    """Show the form of a task, preview what it would do, queue it."""
    task = next((task for task in forms.manual_tasks() if task.name == name), None)
    if task is None:
        abort(404, f"No task {name} can be queued by hand.")
    given = request.form.to_dict() if request.method == "POST" else None
    form = forms.read_form(task, given, request.args)
    force = bool(given and "force" in given)
    if given is None or form.errors:
        return _form_page(form, force), 400 if form.errors else 200
    known = None
    if not force:
        wanted = messages.manual_event(task.name, form.values, user(), f"web:{user()}")
        known = reading.event_of_key(runtime().ledger, wanted.dedupe_key)
    if given.get("do") != "queue":
        return _form_page(form, force, preview=True, known=known)
    made = operators.submit(runtime(), task.name, form.values, user(), "web", force=force)
    flash("1 job queued." if made.is_new else "Asked for before; this is the job that did it.")
    return redirect(_place_of(made), 303)


def _form_page(form: forms.Form, force: bool, **preview: Any) -> str:
    queue = next(row for row in queries.queues() if row.name == form.task.queue)
    return render_template(
        "new_job.html", form=form, force=force, tasks=forms.manual_tasks(), queue=queue, **preview
    )


# --- events ---


@blueprint.get("/events")
def show_events() -> Any:
    """Answer: what causes what, how often, and what happened last."""
    return render_template(
        "events.html",
        rates=reading.routing_rates(runtime().ledger),
        listing=queries.events(request.args),
        kind=request.args.get("kind", ""),
    )


@blueprint.get("/events/<identity>")
def show_event(identity: str) -> Any:
    """Answer: what was this event, and what did it cause."""
    seen = reading.event_detail(runtime().ledger, identity)
    if seen is None:
        abort(404, f"No event has the id {identity}.")
    reasons = reading.whys(runtime().ledger, seen.jobs)
    return render_template("event.html", seen=seen, reasons=reasons, now=runtime().ledger.now())


# --- quarantine and dead letters ---


@blueprint.get("/quarantine")
def show_quarantine() -> Any:
    """Answer: which files were refused, and why."""
    return render_template("quarantine.html", entries=quarantine.entries(runtime().home))


@blueprint.post("/quarantine")
def release_file() -> Any:
    """Deliver a file from quarantine once more."""
    event = quarantine.release(runtime(), request.form.get("event", ""), user(), "web")
    flash("Delivered again; this is its new event.")
    return redirect(url_for("views.show_event", identity=event), 303)


@blueprint.get("/dead")
def show_dead() -> Any:
    """Answer: what failed for good, grouped by what would be done about it."""
    ledger = runtime().ledger
    task, error = request.args.get("task", ""), request.args.get("error", "")
    groups = [
        group
        for group in reading.dead_groups(ledger)
        if task in ("", group.what) and error in ("", group.error_class)
    ]
    limit = 50 if len(groups) == 1 and task else SHOWN_OF_GROUP
    shown = [
        (
            group,
            reading.list_jobs(
                ledger, state="dead", task=group.what, error=group.error_class, limit=limit
            ).rows,
        )
        for group in groups[:MOST_GROUPS]
    ]
    return render_template(
        "dead.html",
        groups=shown,
        more=len(groups) - len(shown),
        total=sum(group.jobs for group in groups),
        filtered=bool(task or error),
    )


@blueprint.post("/dead/requeue")
def requeue_dead() -> Any:
    """Requeue or drop a group of dead jobs or the checked ones of it."""
    reason = request.form.get("reason", "").strip()
    if request.form.get("which") == "checked":
        chosen = [queries.job(identity).id for identity in request.form.getlist("job")]
    else:
        chosen = _group(request.form.get("task", ""), request.form.get("error", ""))
    if not chosen or not reason:
        abort(400, "No job is checked." if not chosen else "A reason is needed; it is recorded.")
    if request.form.get("do") == "drop":
        dropped = operators.drop(runtime(), chosen, user(), reason)
        flash(f"{reading.counted(len(dropped), 'job')} dropped.")
        return redirect(url_for("views.show_dead"), 303)
    batch, changed = operators.requeue(runtime(), chosen, user(), reason, delay_s=operators.UNDO_S)
    until = runtime().ledger.now() + operators.UNDO_S
    flash(f"{reading.counted(len(changed), 'job')} requeued.")
    return redirect(url_for("views.show_dead", batch=batch, until=f"{until:.0f}"), 303)


def _group(task: str, error: str) -> list[str]:
    ledger = runtime().ledger
    chosen: list[str] = []
    before = None
    while len(chosen) < AT_ONCE:
        listing = reading.list_jobs(
            ledger, state="dead", task=task or None, error=error or None, before=before, limit=500
        )
        chosen += [job.id for job in listing.rows]
        before = listing.older
        if before is None:
            break
    return chosen


@blueprint.post("/dead/undo")
def undo_requeue() -> Any:
    """Make the jobs of a requeue dead again while none has started."""
    count = operators.undo(runtime(), request.form.get("batch", ""), user())
    flash(f"{reading.counted(count, 'job')} dead again.")
    return redirect(url_for("views.show_dead"), 303)


# --- products and files ---


@blueprint.get("/products")
def show_products() -> Any:
    """Answer: what was made last."""
    before = request.args.get("before", type=float)
    made = reading.latest_products(runtime().ledger, 51, before)
    return render_template("products.html", products=made[:50], more=len(made) > 50)


@blueprint.get("/files/<path:name>")
def download(name: str) -> Any:
    """Give a file of the archive."""
    archive = runtime().home.archive
    try:
        full = paths.inside(archive, name)
    except InputError:
        abort(404, f"The archive has no file {name}.")
    if not full.is_file():
        abort(404, f"The archive has no file {name}.")
    return send_from_directory(archive, name, as_attachment=True)


# --- search, help, settings ---


@blueprint.get("/search")
def search() -> Any:
    """Open the one thing that is meant, else say what was tried."""
    words = request.args.get("q", "").strip()
    place = _place(words)
    if place is not None:
        return redirect(place, 302)
    files = [item for item in quarantine.entries(runtime().home) if words and words in item.name]
    return render_template("search.html", words=words, files=files), 200 if files else 404


def _place(words: str) -> str | None:
    """Return the address of what is meant: a job, an event, a calibration, a file, a subject."""
    ledger = runtime().ledger
    calibration = dark.place_of(words)
    if calibration:
        return calibration
    if re.fullmatch(r"[0-9a-fA-F]{8}|[0-9a-fA-F-]{36}", words):
        if reading.find_jobs(ledger, words):
            return url_for("views.show_job", identity=words.lower())
        if reading.event_detail(ledger, words):
            return url_for("views.show_event", identity=words.lower())
    subjects = [words] if ":" in words else [f"obsid:{words}"] if words.isdigit() else []
    for subject in [*subjects, f"file:{words}"]:
        if reading.list_jobs(ledger, subject=subject, limit=1).rows:
            return url_for("views.show_jobs", subject=subject)
    if words in TASKS:
        return url_for("views.show_jobs", task=words)
    if words in QUEUES:
        return url_for("views.show_jobs", queue=words)
    made = reading.producer_of(ledger, _archive_path(words))
    return url_for("views.show_job", identity=made.job_id[-8:]) if made else None


def _archive_path(words: str) -> str:
    """Return where the archive keeps a delivered file; other words as they are."""
    if paths.VC2_NAME.fullmatch(words):
        return f"aca_dark/raw/{paths.parse_vc2_name(words).dark_id}/{words}"
    try:
        parsed = paths.parse_l0_name(words)
    except SchemaError:
        return words
    return f"aca0/{paths.l0_dir(parsed.filetime)}/{paths.l0_stored_name(words)}"


@blueprint.get("/help/keys")
def show_keys() -> Any:
    """List the keys."""
    return render_template("keys.html")


@blueprint.post("/settings/theme")
def set_theme() -> Any:
    """Switch between light and dark for a reader without JavaScript."""
    dark = request.cookies.get("theme") == "dark"
    back = re.fullmatch(r"https?://[^/]+(/[^/\\].*|/)", request.referrer or "")
    own = back and (request.referrer or "").startswith(request.host_url)
    response = redirect(back[1] if back and own else "/", 303)
    theme = "light" if dark else "dark"
    response.set_cookie("theme", theme, max_age=31_536_000, samesite="Lax")
    return response
