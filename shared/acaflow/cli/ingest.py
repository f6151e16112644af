"""``acaflow ingest``: hand files over and see them through."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from acaflow.cli.base import (
    Command,
    Session,
    complain,
    json_option,
    pass_session,
    print_json,
    print_table,
    progress,
    user_name,
)

if TYPE_CHECKING:
    from acaflow.runtime.ledger import Ledger
    from acaflow.status.reading import Job

__all__ = ["ingest"]


@dataclass(frozen=True)
class Handed:
    """A file that was handed over, with the jobs it caused by now."""

    file: Path
    event_id: str
    is_new: bool
    jobs: list[Job]


@click.command(cls=Command)
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE...",
    type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path),
)
@click.option("--no-wait", is_flag=True, help="Return as soon as the files are handed over.")
@click.option("--force", is_flag=True, help="Process files again that were delivered before.")
@json_option
@pass_session
def ingest(
    session: Session, files: tuple[Path, ...], no_wait: bool, force: bool, as_json: bool
) -> int:
    """Copy files into the home and process them; your files stay where they are.

    Where acaflow runs on the home, its workers do it, and this command waits for them. Elsewhere
    it does the work itself, with the same steps and no other process. Exit code 1 if a file
    could not be used; the reason is printed.

    Example:
      acaflow ingest acaf686111014N001_0_img0.fits.gz
      acaflow ingest --home ~/flight --json /data/2019/*_img0.fits.gz
    """
    from acaflow.cli.work import Worksite, caused
    from acaflow.runtime import watch

    site = Worksite(session, works=not no_wait)
    handed = [(path, watch.deliver(site.runtime, path, user_name(), force=force)) for path in files]
    if no_wait and not site.served:
        complain(f"nothing runs on {site.runtime.home.root} now; acaflow up will do the work")
    elif not no_wait:
        with progress("files", len(files)) as show:
            site.finish([delivery.event_id for _, delivery in handed], show)
    ledger = site.runtime.ledger
    results = [
        Handed(path, delivery.event_id, delivery.is_new, caused(ledger, delivery.event_id))
        for path, delivery in handed
    ]
    return _report(ledger, results, as_json, ended=not no_wait)


def _report(ledger: Ledger, results: list[Handed], as_json: bool, *, ended: bool) -> int:
    """Print what became of each file; return the exit code."""
    from acaflow.cli.work import is_good, job_words

    words = job_words(ledger, [job for result in results for job in result.jobs])
    if as_json:
        print_json(results)
    else:
        rows = [
            (result.file.name, job.shown, job.id[-8:], _what(result, words[job.id]))
            for result in results
            for job in result.jobs
        ]
        print_table(("FILE", "STATE", "JOB", "WHAT"), rows)
    bad = [result for result in results if not is_good(result.jobs)]
    if not ended or not bad:
        return 0
    for result in bad:
        reasons = [words[job.id] for job in result.jobs if not is_good([job])]
        complain(f"{result.file.name}: {' '.join(reasons)}")
    return 1


def _what(result: Handed, words: str) -> str:
    return words if result.is_new else f"Delivered before (--force processes it again). {words}"
