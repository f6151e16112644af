"""``acaflow up`` and the processes that it, or a container, runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from acaflow.cli.base import Command, Session, pass_session
from acaflow.errors import ConfigError, InputError

if TYPE_CHECKING:
    from acaflow.config import Settings
    from acaflow.runtime.supervise import Instance

__all__ = ["relay", "up", "watch", "web", "worker"]


@click.command(cls=Command)
@click.option("--solo", is_flag=True, help="One worker process for all queues (least memory).")
@click.option("--spread", is_flag=True, help="One worker process for each queue.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the pages; 0: any free one.")
@click.option("--no-web", is_flag=True, help="Serve no pages.")
@pass_session
def up(session: Session, solo: bool, spread: bool, port: int | None, no_web: bool) -> int:
    """Run everything on this host until Ctrl-C: Redis, relay, watcher, workers, pages.

    Nothing has to be installed or configured first. Exit code 0 if every process ended cleanly.

    Example:
      acaflow up
      acaflow --home ~/flight up --port 8080
    """
    from acaflow.runtime import supervise

    if solo and spread:
        raise click.UsageError("--solo and --spread exclude each other")
    overrides = {} if port is None else {"web_port": port}
    settings = session.load("up", **overrides)
    home = session.home

    def announce(instance: Instance) -> None:
        click.echo(f"acaflow is up: {instance.url or 'no pages'}")
        click.echo(f"drop files into {home.inbox}; Ctrl-C stops")

    return supervise.up(settings, solo=solo, spread=spread, web=not no_web, on_ready=announce)


@click.command(cls=Command)
@click.argument("queues", metavar="QUEUE[,QUEUE...]")
@click.option(
    "--concurrency", type=click.IntRange(1), help="Jobs at a time (default: the queue's)."
)
@pass_session
def worker(session: Session, queues: str, concurrency: int | None) -> int:
    """Run jobs of these queues until told to stop; needs ACAFLOW_REDIS_URL.

    Example:
      acaflow worker ingest
      acaflow worker dark_cal,stats --concurrency 2
    """
    from acaflow.runtime.messages import QUEUES

    names = queues.split(",")
    for name in names:
        if name not in QUEUES:
            raise InputError(f"no queue {name!r}; there are: {', '.join(QUEUES)}")
    settings = _served(session, "worker")
    from acaflow.runtime.queue import run_worker

    return run_worker(settings, names, concurrency)


@click.command(cls=Command)
@click.option("--watch", "watching", is_flag=True, help="Watch the inbox too.")
@pass_session
def relay(session: Session, watching: bool) -> int:
    """Send what is due, return what was lost, fire the schedule; needs ACAFLOW_REDIS_URL.

    Example:
      acaflow relay --watch
    """
    from acaflow.runtime.relay import run_relay

    return run_relay(_served(session, "relay"), watching=watching)


@click.command(cls=Command)
@pass_session
def watch(session: Session) -> int:
    """Watch the inbox of the home and record what arrives; needs ACAFLOW_REDIS_URL.

    Example:
      acaflow watch
    """
    from acaflow.runtime.relay import run_relay

    return run_relay(_served(session, "watcher"), relaying=False, watching=True)


@click.command(cls=Command)
@click.option("--host", help="Address to listen on (default: ACAFLOW_WEB_HOST).")
@click.option("--port", type=click.IntRange(1, 65535), help="Port (default: ACAFLOW_WEB_PORT).")
@pass_session
def web(session: Session, host: str | None, port: int | None) -> None:
    """Serve the pages until told to stop.

    Example:
      acaflow web --host 0.0.0.0 --port 8080
    """
    from acaflow.runtime.supervise import gunicorn_command

    given = {"web_host": host, "web_port": port}
    settings = session.load("web", **{key: value for key, value in given.items() if value})
    session.runtime().ledger.engine.dispose()  # a wrong home or ledger is told here
    command = gunicorn_command(settings.web_host, settings.web_port)
    os.execvpe(command[0], command, {**os.environ, "ACAFLOW_HOME": str(session.home.root)})


def _served(session: Session, service: str) -> Settings:
    """Return the settings of a process that needs a broker."""
    settings = session.load(service)
    if not settings.redis_url:
        raise ConfigError(
            f"ACAFLOW_REDIS_URL is not set, and acaflow {service} needs it; acaflow up starts"
            " a Redis of its own with everything else"
        )
    return settings
