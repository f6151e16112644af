"""``acaflow dark-cal``: look at dark calibrations, and have them processed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from acaflow.cli.base import (
    Group,
    Session,
    complain,
    json_option,
    pass_session,
    print_json,
    print_rows,
    print_table,
    user_name,
)
from acaflow.errors import InputError, MissingDataError

__all__ = ["dark_cal"]

RUN_OPTIONS = (
    click.option("--no-wait", is_flag=True, help="Return as soon as the work is queued."),
    json_option,
)


@click.group("dark-cal", cls=Group, default="list")
def dark_cal() -> None:
    """Look at dark-current calibrations, and have them processed. Without a subcommand: list.

    Example:
      acaflow dark-cal
      acaflow dark-cal show 2009279
      acaflow dark-cal process 2009279 --force --reason "replica 3 will not come"
    """


@dark_cal.command("list")
@json_option
@pass_session
def list_calibrations(session: Session, as_json: bool) -> int:
    """List the calibrations, those that are not published too.

    Example:
      acaflow dark-cal list --json
    """
    rows = [*_published(session), *_in_work(session)]
    rows.sort(key=lambda row: str(row["id"]))
    headers = ("ID", "STATE", "T_CCD", "MEDIAN", "PEAK", "N>100", "QUALITY", "REVISION", "REPORT")
    keys = ("id", "state", "t_ccd", "median", "peak", "n100", "quality", "revision", "report")
    lines = [[_short(row.get(key)) for key in keys] for row in rows]
    return print_rows(headers, lines, "no dark calibrations", as_json, rows)


def _published(session: Session) -> list[dict[str, Any]]:
    from acaflow.archive.aca_dark import dark_cal as archive
    from acaflow.archive.aca_dark import dark_trend
    from acaflow.archive.aca_dark.tree import DarkTree

    history = archive.history(session.home.archive / "aca_dark")
    revisions = {item["id"]: item.get("revision") for item in history}
    return [
        row | {"state": DarkTree(session.home, row["id"]).state, "revision": revisions[row["id"]]}
        for row in dark_trend.history_rows(history)
    ]


def _in_work(session: Session) -> list[dict[str, Any]]:
    from acaflow.archive.aca_dark.tree import DarkTree

    return [
        {"id": tree.dark_id, "state": f"{tree.state}, {len(tree.raw_files())} files"}
        for tree in DarkTree.all(session.home)
        if not tree.published.is_dir()
    ]


def _short(value: Any) -> Any:
    return round(value, 2) if isinstance(value, float) else value


@dark_cal.command()
@click.argument("dark_id", metavar="ID")
@json_option
@pass_session
def show(session: Session, dark_id: str, as_json: bool) -> int:
    """Show one calibration: quality, temperatures, replicas, statistics.

    Of one that is assembled and not published, because it failed or is just being worked on,
    that is shown. --json prints properties and quality.

    Example:
      acaflow dark-cal show 2009279
    """
    from acaflow.archive.aca_dark.dark_files import PROPERTIES, QUALITY, read_json
    from acaflow.archive.aca_dark.tree import DarkTree

    tree = DarkTree(session.home, dark_id)
    folder = tree.staged if tree.staged.is_dir() else tree.published
    files = tree.raw_files()
    if not folder.is_dir():
        raise MissingDataError(
            f"dark calibration {dark_id} is {tree.state}, {len(files)} files;"
            f" acaflow jobs --subject dark:{dark_id} says what it waits for"
            if files
            else f"nothing is known of dark calibration {dark_id}"
        )
    properties = read_json(folder / PROPERTIES)
    quality = read_json(folder / QUALITY) if (folder / QUALITY).exists() else {}
    if as_json:
        print_json({"state": tree.state, "properties": properties, "quality": quality})
        return 0
    _print_facts(tree.state, properties, quality)
    return 0


def _print_facts(state: str, properties: Mapping[str, Any], quality: Mapping[str, Any]) -> None:
    stats = properties.get("stats") or {}
    facts = [
        ("calibration", f"{properties['id']}, {state}"),
        ("revision", str(properties.get("revision", "not published"))),
        ("quality", f"{quality.get('level', '')}, telemetry {quality.get('complete', '')} %"),
        ("from, to", f"{properties.get('start', '')}, {properties.get('stop', '')}"),
        ("T_CCD", f"{_short(properties.get('ccd_temp'))} degC"),
        *((name, f"{_short(stats.get(name))} e-/s") for name in ("mean", "median", "peak")),
        *((f"N>{n}", str(stats.get(f"n{n}", ""))) for n in (100, 1000, 3000)),
    ]
    for name, value in facts:
        click.echo(f"{name:12} {value}")
    findings = [item for item in quality.get("findings", []) if item["level"] != "PASS"]
    for item in findings:
        click.echo(f"{item['level']:12} {item['text']}")
    replicas = properties.get("replicas", [])
    if replicas:
        names = ("count", "start", "stop", "ccd_temp", "ccd_temp_source", "n_rows", "used", "file")
        click.echo()
        print_table(
            tuple(name.upper() for name in names),
            [[_short(item.get(name)) for name in names] for item in replicas],
        )


@dark_cal.command()
@click.argument("first", metavar="ID")
@click.argument("second", metavar="ID")
@json_option
@pass_session
def compare(session: Session, first: str, second: str, as_json: bool) -> int:
    """Compare the statistics of two calibrations, as measured and at -15 degC.

    Example:
      acaflow dark-cal compare 2009190 2009279
    """
    from acaflow.archive.aca_dark import dark_cal as archive

    history = {item["id"]: item for item in archive.history(session.home.archive / "aca_dark")}
    for dark_id in (first, second):
        if dark_id not in history:
            raise MissingDataError(f"no published dark calibration {dark_id}")
    rows = [row for scaled in (False, True) for row in _compared(history, first, second, scaled)]
    headers = ("STATISTIC", first, second, "CHANGE")
    lines = [[row["name"], *map(_short, (row["a"], row["b"], row["change"]))] for row in rows]
    return print_rows(headers, lines, "nothing to compare", as_json, rows)


COMPARED = ("mean", "median", "peak", "n50", "n100", "n200", "n1000", "n2000", "n3000")


def _compared(
    history: Mapping[str, Any], first: str, second: str, scaled: bool
) -> list[dict[str, Any]]:
    found = [history[dark_id].get("stats") or {} for dark_id in (first, second)]
    if scaled:
        found = [stats.get("scaled") or {} for stats in found]
    rows = []
    for name in COMPARED:
        a, b = (stats.get(name) for stats in found)
        change = None if a is None or b is None else b - a
        label = f"{name} at -15 degC" if scaled else name
        rows.append({"name": label, "a": a, "b": b, "change": change})
    return rows


# --- Work --------------------------------------------------------------------------------------


def run_options(command: Any) -> Any:
    """Add the options of a command that queues jobs."""
    for option in reversed(RUN_OPTIONS):
        command = option(command)
    return command


@dark_cal.command()
@click.argument("dark_ids", nargs=-1, metavar="[ID]...")
@click.option("--start", help="All calibrations delivered for this date or later.")
@click.option("--force", is_flag=True, help="Publish in spite of quality, or replace a revision.")
@click.option("--reason", default="", help="Why; needed with --force, kept with the product.")
@click.option("--combine", type=click.Choice(["median", "clipmean"]), help="Default: as before.")
@click.option("--gain", default="", help="e-/DN: one number, or four as A,B,C,D.")
@run_options
@pass_session
def process(
    session: Session,
    dark_ids: tuple[str, ...],
    start: str | None,
    force: bool,
    reason: str,
    combine: str | None,
    gain: str,
    no_wait: bool,
    as_json: bool,
) -> int:
    """Process calibrations again from the delivered files, and publish what is new.

    Without --force a published calibration is replaced only if its inputs have changed, and one
    that fails its quality rules is not published.

    Example:
      acaflow dark-cal process --start 2009:270
      acaflow dark-cal process 2009279 --combine clipmean --force --reason "less noise"
    """
    from acaflow.archive.aca_dark.tree import DarkTree

    if force and not reason:
        raise click.UsageError("--force needs --reason; it is kept with the product")
    if bool(dark_ids) == (start is not None):
        raise click.UsageError("name the calibrations, or give --start")
    if start is not None:
        from acaflow.archive.aca_dark.dark_cal import date_to_dark_id

        first = date_to_dark_id(start)
        trees = DarkTree.all(session.home)
        dark_ids = tuple(tree.dark_id for tree in trees if tree.dark_id >= first)
        if not dark_ids:
            complain(f"no file of a dark calibration of {start} or later was delivered")
            return 3
    more = {"force": force, "reason": reason, "combine": combine or "", "gain": gain}
    wanted = [("dark_cal.process", {"dark_id": dark_id, **more}) for dark_id in dark_ids]
    return _run(session, wanted, no_wait, as_json)


@dark_cal.command("info")
@click.argument("dark_id", metavar="ID")
@click.option("--time", "time_text", required=True, help="Of the first star catalogue.")
@click.option("--temperature", type=float, required=True, help="Expected, degC.")
@click.option("--ra", type=float, required=True, help="Right ascension, deg.")
@click.option("--dec", type=float, required=True, help="Declination, deg.")
@run_options
@pass_session
def info(
    session: Session,
    dark_id: str,
    time_text: str,
    temperature: float,
    ra: float,
    dec: float,
    no_wait: bool,
    as_json: bool,
) -> int:
    """Enter what the first star catalogue of a calibration says.

    Example:
      acaflow dark-cal info 2009279 --time 2009:279:06:00:00 --temperature -19 --ra 10 --dec -5
    """
    values = {"dark_id": dark_id, "time": time_text, "temperature": temperature}
    wanted = ("dark_cal.set_info", {**values, "ra": ra, "dec": dec})
    return _run(session, [wanted], no_wait, as_json)


@dark_cal.command("import")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@run_options
@pass_session
def import_(session: Session, folder: Path, no_wait: bool, as_json: bool) -> int:
    """Add the calibrations of another archive: folders YYYYDOY with image.fits, properties.json.

    Example:
      acaflow dark-cal import /data/mica/archive/aca_dark
    """
    from acaflow.archive.aca_dark.dark_cal import get_dark_cal_dirs
    from acaflow.archive.aca_dark.tree import PUBLISHED
    from acaflow.runtime.records import new_id

    found = get_dark_cal_dirs(folder)
    if not found:
        raise InputError(f"{folder} holds no folder YYYYDOY with image.fits and properties.json")
    copies = session.home.work / f"import-{new_id()}"
    for dark_id, source in found.items():
        (copies / dark_id).mkdir(parents=True)
        for name in PUBLISHED:
            if (Path(source) / name).exists():
                shutil.copyfile(Path(source) / name, copies / dark_id / name)
    path = copies.relative_to(session.home.root).as_posix()
    return _run(session, [("dark_cal.import_folder", {"path": path})], no_wait, as_json)


@dark_cal.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@pass_session
def trend(session: Session, folder: Path) -> int:
    """Draw the plots over the mission into a folder.

    Example:
      acaflow dark-cal trend plots
    """
    from acaflow.archive.aca_dark import dark_cal as archive
    from acaflow.archive.aca_dark import dark_trend

    history = archive.history(session.home.archive / "aca_dark")
    if not history:
        raise MissingDataError("no dark calibration is published")
    folder.mkdir(parents=True, exist_ok=True)
    for name, problem in dark_trend.write_trend(folder, history).items():
        if problem:
            complain(f"{name}: {problem}")
        else:
            click.echo(folder / name)
    return 0


def _run(
    session: Session, wanted: Sequence[tuple[str, dict[str, Any]]], no_wait: bool, as_json: bool
) -> int:
    """Queue jobs, wait for them and what follows, and print how they ended."""
    from acaflow.cli.work import Worksite, caused, is_good, job_words
    from acaflow.runtime import operators

    site = Worksite(session, works=not no_wait)
    ledger = site.runtime.ledger
    events = [
        operators.submit(site.runtime, task, values, user_name(), force=True).event_id
        for task, values in wanted
    ]
    if not no_wait:
        site.finish(events)
    elif not site.served:
        complain(f"nothing runs on {site.runtime.home.root} now; acaflow up will do the work")
    found = [job for event_id in events for job in caused(ledger, event_id)]
    words = job_words(ledger, found)
    if as_json:
        print_json(found)
    else:
        rows = [(job.subject, job.shown, job.task, words[job.id]) for job in found]
        print_table(("SUBJECT", "STATE", "TASK", "WHY"), rows)
    bad = [] if no_wait else [job for job in found if not is_good([job])]
    for job in bad:
        complain(words[job.id])
    return 1 if bad else 0
