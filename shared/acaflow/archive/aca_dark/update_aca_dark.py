"""Bring the archive of dark calibrations up to date: the documented functions.

Files read: ``<data_root>/aca_dark/zodi.csv``, the names in ``<data_root>/aca_dark/raw``, the
level-0 archive and the samples of engineering telemetry below the same root. Its default is the
``archive`` of the configured home. Times are CXC seconds, temperatures degC.

Source: dark-cal B5, B7 and B8.
"""

from __future__ import annotations

import argparse
import csv
import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acaflow import config, times
from acaflow.archive.aca_dark import ccd_temp, dark_events
from acaflow.archive.aca_dark.zodi import ZODI_PROPERTIES
from acaflow.errors import InputError, MissingDataError, PipelineError
from acaflow.paths import DARK_ID, Home
from acaflow.telemetry.samples import SampleFiles

__all__ = ["get_ccd_temp", "get_dark_cal_id", "get_zodi_props", "main"]

NEAR_S = 4 * dark_events.DAY_S
"""Where calibrations are looked for that may own the id of another: a day of slop on either side
of both, and the day for which the last one is held back (s)."""


def get_ccd_temp(
    tstart: float, tstop: float, *, data_root: Path | str | None = None
) -> tuple[float, str]:
    """Get the best estimate of the CCD temperature between two times.

    Parameters
    ----------
    tstart, tstop : float
        CXC seconds; for a replica, its interval and 600 s on either side.
    data_root : path, optional
        The archive.

    Returns
    -------
    temperature : float
        degC.
    source : str
        'HDR3', 'AACCCDPT' or 'GUESS'.

    Raises
    ------
    MissingDataError
        Too few samples (`ccd_temp.interval_temperature`).
    """
    root = _root(data_root)
    return ccd_temp.interval_temperature(tstart, tstop, SampleFiles(root), root)


def get_dark_cal_id(date: Any, *, data_root: Path | str | None = None) -> str:
    """Get the id under which the raw files of a dark calibration are kept.

    Parameters
    ----------
    date : time
        Start of the calibration, in any form.
    data_root : path, optional
        The archive.

    Returns
    -------
    str
        YYYYDDD: the day of `date`, else the day before, else the day after it.

    Raises
    ------
    MissingDataError
        There are no files of these days, or they belong to another calibration.
    """
    root, tstart = _root(data_root), times.secs(date)
    raw = root / "aca_dark" / "raw"
    dark_ids = [path.name for path in raw.glob("*") if DARK_ID.fullmatch(path.name)]
    near = dark_events.get_dark_cals(SampleFiles(root), tstart - NEAR_S, tstart + NEAR_S)
    # A date is rounded to the millisecond.
    others = [event.tstart for event in near if not event.tstart - 1 <= tstart <= event.tstop]
    return dark_events.id_of(tstart, dark_ids, others)


def get_zodi_props(dark_id: str, *, data_root: Path | str | None = None) -> dict[str, Any]:
    """Get the zodiacal light of a dark calibration.

    Parameters
    ----------
    dark_id : str
        YYYYDDD.
    data_root : path, optional
        The archive.

    Returns
    -------
    dict
        ``date`` (YYYY:DDD), ``ra``, ``dec``, ``el``, ``eb``, ``sun_el``, ``l_l0`` (deg) and
        ``zodib`` (S10 of the Sun).

    Raises
    ------
    MissingDataError
        The table has no row of that day.
    """
    date = f"{dark_id[:4]}:{dark_id[4:]}"
    table = _root(data_root) / "aca_dark" / "zodi.csv"
    if table.exists():
        with table.open(newline="", encoding="ascii") as stream:
            for row in csv.DictReader(stream):
                if row["date"] == date:
                    numbers = {name: float(row[name]) for name in ZODI_PROPERTIES[1:]}
                    return {"date": date, **numbers}
    raise MissingDataError(f"No Zodiacal properties found for {date} in {table}")


def main(args: Sequence[str] | None = None) -> None:
    """Process the dark calibrations after a date, in a child process, and wait for it.

    Parameters
    ----------
    args : sequence of str, optional
        Options, default those of the command line: ``--start`` (default now - 30 days),
        ``--log-level`` (default 20; above it only errors are shown), ``--data-root`` (the
        ``archive`` of a home; default that of the configured home).

    Raises
    ------
    InputError
        A date that cannot be read, or a root that is no ``archive``.
    PipelineError
        The command failed.
    """
    parser = argparse.ArgumentParser(description="Update the ACA dark cal database")
    parser.add_argument("--start", help="processing start date (default: now - 30 days)")
    parser.add_argument("--log-level", type=int, default=logging.INFO, help="logging level")
    parser.add_argument("--data-root", help="archive to update (default: the configured one)")
    options = parser.parse_args(args)
    root = _root(options.data_root).absolute()
    if root.name != "archive":
        raise InputError(f"data root {root} is not the folder archive of a home")
    start = times.date(options.start or times.now() - 30 * dark_events.DAY_S)
    command = [sys.executable, "-m", "acaflow", "dark-cal", "process", "--start", start]
    command += ["--home", str(root.parent)]
    command += ["--verbose"] if options.log_level <= logging.INFO else []
    status = subprocess.run(command, check=False).returncode
    if status:
        raise PipelineError(f"acaflow dark-cal process --start {start} ended with status {status}")


def _root(data_root: Path | str | None) -> Path:
    """Return the archive."""
    return Home(config.current().home).archive if data_root is None else Path(data_root)


if __name__ == "__main__":
    main()
