"""``acaflow status``, ``health`` and ``db``: how things stand."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from acaflow.cli.base import (
    Command,
    Group,
    Session,
    complain,
    json_option,
    pass_session,
    print_json,
    print_table,
    size_text,
    user_name,
)

if TYPE_CHECKING:
    from acaflow.runtime.supervise import Instance
    from acaflow.status.reading import Overview

__all__ = ["db", "health", "status"]

DAY_S = 86400.0
WEB_PATIENCE_S = 5.0


@click.command(cls=Command)
@json_option
@pass_session
def status(session: Session, as_json: bool) -> None:
    """Show queues, processes, what needs a person, and the latest products.

    Example:
      acaflow status
      acaflow status --json
    """
    from acaflow.runtime import supervise
    from acaflow.status import reading

    ledger = session.ledger()
    view = reading.overview(ledger, ledger.now() - DAY_S)
    instance = supervise.running(session.home)
    if as_json:
        shown = None if instance is None else {"pid": instance.pid, "url": instance.url}
        print_json({"home": session.home.root, "up": shown, **asdict(view)})
    else:
        _print_overview(view, instance)


def _print_overview(view: Overview, instance: Instance | None) -> None:
    from acaflow.status.reading import counted, duration, moment

    click.echo(f"acaflow up: {'not running' if instance is None else instance.url or 'no pages'}")
    delay = "" if view.median_delay_s is None else f", median {duration(view.median_delay_s)}"
    click.echo(
        f"last 24 h: {counted(view.arrivals, 'file')}, {counted(view.products, 'product')}{delay}\n"
    )
    print_table(
        ("QUEUE", "WAITING", "QUEUED", "RUNNING", "DEAD", "DONE 24 H", "WORKERS"),
        [
            (row.name, row.waiting, row.queued, row.running, row.dead, row.done, row.live)
            for row in view.queues
        ],
    )
    if view.processes:
        click.echo()
        print_table(
            ("PROCESS", "KIND", "QUEUES", "LAST BEAT", "JOBS"),
            [
                (
                    item.name,
                    item.kind,
                    ",".join(item.queues),
                    f"{duration(item.age_s)} ago{'' if item.live else ': silent'}",
                    len(item.jobs),
                )
                for item in view.processes
            ],
        )
    if view.attention:
        click.echo()
        print_table(
            ("NEEDS A PERSON", "JOBS", "WHY"),
            [
                (f"{item.kind} {item.what} {item.error_class}".rstrip(), item.jobs, item.why)
                for item in view.attention
            ],
        )
    if view.latest:
        click.echo()
        print_table(
            ("LATEST PRODUCTS", "KIND", "SIZE", "MADE"),
            [
                (item.path, item.kind, size_text(item.size), moment(item.created_at))
                for item in view.latest
            ],
        )


# --- health ---


@click.group(cls=Group, default="all")
def health() -> None:
    """Tell whether this host is fit and each process works; exit code 1 if not.

    Example:
      acaflow health
      acaflow health worker --name ingest
    """


def _tell(problem: str, what: str) -> int:
    if problem:
        complain(problem)
        return 1
    click.echo(f"{what}: fine")
    return 0


@health.command("all")
@json_option
@pass_session
def check_all(session: Session, as_json: bool) -> int:
    """Check ledger, Redis, archive and disk.

    Example:
      acaflow health all --json
    """
    from acaflow.config import load, use
    from acaflow.runtime import core, supervise
    from acaflow.runtime import health as library

    session.ledger().engine.dispose()
    instance = supervise.running(session.home)
    settings = session.settings
    if instance is not None and instance.redis_url:
        settings = use(load(home=session.home.root, redis_url=instance.redis_url))
    problems = library.ready(core.open_runtime("cli", settings))
    if as_json:
        print_json(problems)
    else:
        print_table(("PART", "STATE"), [(key, words or "fine") for key, words in problems.items()])
    return 1 if any(problems.values()) else 0


@health.command("worker")
@click.option("--name", default="", help="Part of its name, for example a host (default: any).")
@pass_session
def check_worker(session: Session, name: str) -> int:
    """Check that a worker beats, and that it works if there is work.

    Example:
      acaflow health worker --name "$HOSTNAME"
    """
    from acaflow.runtime import health as library

    return _tell(library.process_problem(session.runtime(), "worker", name), "worker")


def _check_beat(kind: str, which: str) -> None:
    """Add the check of a kind of process that only has to beat."""

    @health.command(kind, help=f"Check that {which}.\n\nExample:\n  acaflow health {kind}")
    @pass_session
    def check(session: Session) -> int:
        from acaflow.runtime import health as library

        return _tell(library.process_problem(session.runtime(), kind), kind)


_check_beat("relay", "a relay beats")
_check_beat("watcher", "a watcher of its own beats (one beside a relay is that relay's affair)")


@health.command("web")
@pass_session
def check_web(session: Session) -> int:
    """Check that the pages answer.

    Example:
      acaflow health web
    """
    from acaflow.runtime import supervise

    settings, instance = session.settings, supervise.running(session.home)
    base = instance.url if instance else f"http://{settings.web_host}:{settings.web_port}/"
    url = f"{base}healthz"
    try:
        # Straight to the address: a proxy of the environment does not know this host.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=WEB_PATIENCE_S):
            return _tell("", "web")
    except (urllib.error.URLError, OSError, ValueError) as err:
        return _tell(f"{url} does not answer: {err}", "web")


# --- db ---


@click.group(cls=Group)
def db() -> None:
    """Care for the ledger.

    Example:
      acaflow db upgrade
    """


@db.command()
@pass_session
def upgrade(session: Session) -> None:
    """Make the ledger, or bring an older one up to date.

    Example:
      acaflow db upgrade
    """
    from acaflow.runtime import schema
    from acaflow.runtime.ledger import Ledger

    session.home.create()
    ledger = Ledger(session.settings.database_url, session.settings.sqlite_synchronous)
    changed = schema.upgrade(ledger)
    click.echo(f"{ledger.describe()}: {'upgraded' if changed else 'up to date'}")


@db.command()
@pass_session
def check(session: Session) -> None:
    """Tell whether this acaflow can work with the ledger.

    Example:
      acaflow db check
    """
    ledger = session.ledger()
    click.echo(f"{ledger.describe()}: up to date")


@db.command()
@pass_session
def backup(session: Session) -> int:
    """Write a copy of an SQLite ledger under state/backup, while everything runs.

    Example:
      acaflow db backup
    """
    from acaflow.cli.work import Worksite, caused, is_good, job_words
    from acaflow.runtime import operators

    session.ledger()
    site = Worksite(session)
    asked = operators.submit(site.runtime, "ingest.backup_ledger", {}, user_name(), force=True)
    site.finish([asked.event_id])
    jobs = caused(site.runtime.ledger, asked.event_id)
    if not is_good(jobs) or jobs[0].state == "skipped":
        complain(" ".join(job_words(site.runtime.ledger, jobs).values()))
        return 1
    click.echo(max((site.runtime.home.state / "backup").glob("ledger-*.db")))
    return 0
