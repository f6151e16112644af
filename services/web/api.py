"""The same nouns as JSON, and the addresses that machines ask: health, readiness, metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, abort, request

from acaflow.runtime import health, metrics, quarantine
from acaflow.status import reading
from acaflow.status.reading import Job, Listing, Why
from services.web import queries
from services.web.words import iso, runtime

blueprint = Blueprint("api", __name__)

TIMES = {
    "created_at",
    "started_at",
    "finished_at",
    "not_before",
    "sent_at",
    "occurred_at",
    "recorded_at",
    "since",
    "now",
    "started",
    "beat",
    "time",
}
"""Fields that hold epoch seconds; they leave as ISO text with Z."""


def plain(value: Any, name: str = "") -> Any:
    """Turn records into what JSON knows."""
    if isinstance(value, Why):
        return {"cause": value.cause, "text": value.text}
    if dataclasses.is_dataclass(value):
        return {
            item.name: plain(getattr(value, item.name), item.name)
            for item in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {key: plain(item, key) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return value.name
    return iso(value) if name in TIMES and isinstance(value, int | float) else value


def job_row(job: Job, why: Why, now: float) -> dict[str, Any]:
    """Return what the list of jobs shows of one; also the columns of its CSV."""
    return {
        "state": job.shown,
        "id": job.id,
        "task": job.task,
        "subject": job.subject,
        "why": why.text,
        "created": iso(job.created_at),
        "wait_s": round(job.wait_s(now), 3),
        "run_s": None if (run := job.run_s(now)) is None else round(run, 3),
        "try": job.attempts,
        "priority": job.priority,
    }


def job_rows(listing: Listing) -> list[dict[str, Any]]:
    """Return the rows of a list of jobs."""
    ledger = runtime().ledger
    reasons = reading.whys(ledger, listing.rows)
    return [job_row(job, reasons[job.id], ledger.now()) for job in listing.rows]


@blueprint.get("/api/v1/overview")
def overview() -> Any:
    """Give what the first page shows."""
    return plain(queries.overview())


@blueprint.get("/api/v1/jobs")
def jobs() -> Any:
    """Give the jobs that the same query shows on ``/jobs``."""
    listing = queries.jobs(request.args)
    return {"jobs": job_rows(listing), "older": listing.older}


@blueprint.get("/api/v1/jobs/<identity>")
def job(identity: str) -> Any:
    """Give everything about one job."""
    return plain(reading.job_detail(runtime().ledger, queries.job(identity)))


@blueprint.get("/api/v1/events")
def events() -> Any:
    """Give the events that the same query shows on ``/events``."""
    listing = queries.events(request.args)
    return {"events": plain(listing.rows), "older": listing.older}


@blueprint.get("/api/v1/events/<identity>")
def event(identity: str) -> Any:
    """Give one event with its jobs and what led to it."""
    found = reading.event_detail(runtime().ledger, identity)
    if found is None:
        abort(404, f"No event has the id {identity}.")
    return plain(found)


@blueprint.get("/api/v1/quarantine")
def quarantined() -> Any:
    """Give the files in quarantine."""
    return {"files": plain(quarantine.entries(runtime().home))}


@blueprint.get("/healthz")
def alive() -> Any:
    """Say that this process answers."""
    return {"status": "ok"}


@blueprint.get("/readyz")
def ready() -> Any:
    """Say whether work can be done here."""
    found = health.ready(runtime())
    return {"problems": found}, 503 if any(found.values()) else 200


@blueprint.get("/metrics")
def measured() -> Response:
    """Give the numbers for Prometheus."""
    return Response(metrics.render(runtime()), mimetype="text/plain; version=0.0.4")
