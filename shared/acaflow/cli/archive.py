"""``acaflow simulate`` and ``acaflow archive``: make level-0 files, and look at those archived."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from acaflow.cli.base import (
    Group,
    Session,
    TimeText,
    check_interval,
    complain,
    json_option,
    pass_session,
    print_json,
    print_rows,
)

__all__ = ["archive", "simulate"]


def _interval(*, required: bool) -> Callable[[Any], Any]:
    """Give a command the options of a time interval."""

    def add(command: Any) -> Any:
        for name in ("--stop", "--start"):
            option = click.option(
                name, type=TimeText(), required=required, help="In any time format."
            )
            command = option(command)
        return command

    return add


_slots = click.option(
    "--slot", "slots", type=int, multiple=True, help="0 to 7; repeatable (default: all)."
)


@click.group(cls=Group)
def simulate() -> None:
    """Make files that look like flight files, with known truth.

    Example:
      acaflow simulate aca-l0 files --start 2026:320 --stop 2026:321
    """


@simulate.command("aca-l0")
@click.argument("outdir", type=click.Path(file_okay=False, path_type=Path))
@_interval(required=True)
@_slots
@click.option("--file-hours", type=float, default=2.0, show_default=True, help="Length of a file.")
@click.option("--revision", type=int, default=1, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Selects noise and events.")
@click.option(
    "--reissue",
    nargs=3,
    type=(TimeText(), TimeText(), int),
    multiple=True,
    metavar="START STOP REVISION",
    help="Deliver this stretch again, later; repeatable.",
)
@json_option
@pass_session
def simulate_aca_l0(
    session: Session,
    outdir: Path,
    start: float,
    stop: float,
    slots: tuple[int, ...],
    file_hours: float,
    revision: int,
    seed: int,
    reissue: tuple[tuple[float, float, int], ...],
    as_json: bool,
) -> None:
    """Write ACA level-0 image files of normal operation: maneuvers, gaps, size changes.

    Each file appears whole, so OUTDIR may be the inbox of a running acaflow. The same options
    always give the same bytes.

    Example:
      acaflow simulate aca-l0 files --start 2026:320 --stop 2026:321
      acaflow simulate aca-l0 files --start 2026:320 --stop 2026:320:06:00:00 --slot 3 --slot 4
    """
    from acaflow.simulate.aca_l0 import Reissue, realistic_scenario, simulate_l0

    check_interval(start, stop)
    scenario = replace(
        realistic_scenario(start, stop, seed),
        slots=slots or tuple(range(8)),
        file_s=file_hours * 3600.0,
        revision=revision,
        reissues=[Reissue(*item) for item in reissue],
    )
    files = simulate_l0(scenario, outdir)
    if as_json:
        print_json(files)
    else:
        for file in files:
            click.echo(file)
    complain(f"{len(files)} files in {outdir}")


@simulate.command("aca-packets")
@click.argument("outdir", type=click.Path(file_okay=False, path_type=Path))
@_interval(required=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Selects noise and events.")
@pass_session
def simulate_aca_packets(
    session: Session, outdir: Path, start: float, stop: float, seed: int
) -> None:
    """Write the raw ACA packets of normal operation, as one file.

    The same images as `acaflow simulate aca-l0` with the same options.

    Example:
      acaflow simulate aca-packets files --start 2026:320 --stop 2026:320:01:00:00
    """
    from acaflow.simulate.aca_l0 import realistic_scenario
    from acaflow.simulate.aca_packets import simulate_packets

    check_interval(start, stop)
    click.echo(simulate_packets(realistic_scenario(start, stop, seed), outdir))


@simulate.command("dark-cal")
@click.argument("outdir", type=click.Path(file_okay=False, path_type=Path))
@click.option("--date", type=TimeText(), required=True, help="Start of the first replica.")
@click.option("--seed", type=int, default=0, show_default=True, help="Selects CCD and noise.")
@click.option("--t-ccd", type=float, help="CCD temperature, degC (default: by date).")
@click.option("--fill", type=float, default=6.8, show_default=True, help="Per frame of data.")
@click.option(
    "--truth", type=click.Path(file_okay=False, path_type=Path), help="Folder of the truth."
)
@pass_session
def simulate_dark_cal(
    session: Session,
    outdir: Path,
    date: float,
    seed: int,
    t_ccd: float | None,
    fill: float,
    truth: Path | None,
) -> None:
    """Write what is delivered for one dark calibration: five raw dumps and telemetry around them.

    Each file appears whole, so OUTDIR may be the inbox of a running acaflow; give another folder
    for the truth then. The same options always give the same bytes.

    Example:
      acaflow simulate dark-cal files --date 2026:100:06:00:00 --truth files
    """
    from acaflow.simulate.dark_cal import DarkCalScenario, simulate_dark_cal

    scenario = DarkCalScenario(date, seed, t_ccd=t_ccd, fill=fill)
    made = simulate_dark_cal(outdir, scenario, truth)
    for file in made.files:
        click.echo(file)
    complain(f"dark calibration {made.dark_id}: {len(made.files)} files in {outdir}")


@simulate.command("dark-archive")
@click.argument("root", type=click.Path(file_okay=False, path_type=Path))
@click.option("--number", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Selects CCD and noise.")
@pass_session
def simulate_dark_archive(session: Session, root: Path, number: int, seed: int) -> None:
    """Write published dark calibrations of 25 years into a folder, for plots over the mission.

    Example:
      acaflow simulate dark-archive acaflow-data/archive/aca_dark --number 100
    """
    from acaflow.simulate.dark_cal import simulate_archive

    made = simulate_archive(root, number, seed=seed)
    complain(f"{len(made)} dark calibrations in {root}, {made[0]} to {made[-1]}")


# --- archive ---


@click.group(cls=Group)
def archive() -> None:
    """Look into the archives of the home.

    Example:
      acaflow archive l0 --start 2019:272:02:00:00 --stop 2019:272:05:00:00
    """


@archive.group("l0", cls=Group, default="files")
def level0() -> None:
    """Look into the level-0 image archive. Without a subcommand: files.

    Example:
      acaflow archive l0 coverage --start 2019:272 --stop 2019:273 --slot 3
    """


@level0.command("files")
@_interval(required=False)
@click.option("--obsid", type=int, help="Observation, instead of --start and --stop.")
@_slots
@json_option
@pass_session
def l0_files(
    session: Session,
    start: float | None,
    stop: float | None,
    obsid: int | None,
    slots: tuple[int, ...],
    as_json: bool,
) -> int:
    """List the files that hold the data of an interval or of an observation.

    Example:
      acaflow archive l0 files --start 2019:272 --stop 2019:273 --slot 3
      acaflow archive l0 files --obsid 8008
    """
    from acaflow.archive import aca_l0

    if start is not None and stop is not None and obsid is None:
        check_interval(start, stop)
    elif start is not None or stop is not None or obsid is None:
        raise click.UsageError("give --start and --stop, or --obsid")
    folder = session.home.archive / "aca0"
    files = aca_l0.get_files(obsid, start, stop, slots or None, data_root=folder)
    if as_json:
        print_json(files)
    else:
        for file in files:
            click.echo(file)
    if not files:
        complain("no files there")
    return 0 if files else 3


@level0.command()
@_interval(required=True)
@_slots
@json_option
@pass_session
def coverage(
    session: Session, start: float, stop: float, slots: tuple[int, ...], as_json: bool
) -> int:
    """List the stretches without a gap.

    Example:
      acaflow archive l0 coverage --start 2019:272 --stop 2019:273
    """
    from acaflow import times
    from acaflow.archive import aca_l0

    check_interval(start, stop)
    folder = session.home.archive / "aca0"
    table = aca_l0.get_coverage(start, stop, slots or None, data_root=folder)
    runs = [dict(zip(table.colnames, row, strict=True)) for row in table.iterrows()]
    lines = [
        (
            int(run["slot"]),
            int(run["imgsize"]),
            times.date(float(run["tstart"])),
            times.date(float(run["tstop"])),
            int(run["n_rows"]),
            int(run["n_bad"]),
        )
        for run in runs
    ]
    headers = ("SLOT", "SIZE", "START", "STOP", "ROWS", "BAD")
    return print_rows(headers, lines, "no data there", as_json, runs)


@level0.command()
@click.argument("columns", nargs=-1, required=True, metavar="COLUMN...")
@_interval(required=True)
@click.option("--slot", type=int, required=True, help="0 to 7.")
@json_option
@pass_session
def rows(
    session: Session,
    columns: tuple[str, ...],
    slot: int,
    stop: float,
    start: float,
    as_json: bool,
) -> int:
    """Print columns of one slot, one line per image; missing values are empty.

    Example:
      acaflow archive l0 rows TIME TEMPCCD BGDAVG --slot 3 --start 2019:272 --stop 2019:273
    """
    from acaflow.archive import aca_l0

    check_interval(start, stop)
    folder = session.home.archive / "aca0"
    data = aca_l0.get_slot_data(start, stop, slot, columns=columns, data_root=folder)
    values = [data[name].tolist() for name in columns]
    lines = list(zip(*values, strict=True))
    value = [dict(zip(columns, line, strict=True)) for line in lines] if as_json else None
    return print_rows(columns, lines, "no rows there", as_json, value)
