"""What arrives: raw dumps and star-catalogue facts are checked and kept."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from acaflow import storage, times
from acaflow.archive.aca_dark import dark_cal
from acaflow.archive.aca_dark.info import Info, read_info, write_info
from acaflow.archive.aca_dark.replica import Replica
from acaflow.archive.aca_dark.tree import INFO, DarkTree
from acaflow.archive.aca_dark.vc2 import read_vc2
from acaflow.errors import ArchiveConflictError, InputError, SchemaError
from acaflow.paths import VC2_NAME, parse_vc2_name
from acaflow.runtime import messages, quarantine
from acaflow.runtime.runs import Context, Skipped

DAY_S = 86400.0
NEAR_S = 2 * DAY_S
"""Most that the receipt of a dump, or its star catalogue, is from the day of the name (s; ours)."""


def receive_replica(
    ctx: Context, path: str, sha256: str, size: int, dark_id: str
) -> Skipped | None:
    """Check a raw dump and keep it as it came.

    Of two files of one replica the one with more rows stays, whatever came first; the other is in
    quarantine then.

    Parameters
    ----------
    path : str
        Home-relative path of the taken file.
    sha256, size
        Of the file as delivered.
    dark_id : str
        YYYYDOY, as the name says; checked against the times in the file.
    """
    delivered = ctx.input(path, sha256)
    name = messages.original_name(path)
    tree, number = DarkTree(ctx.home, dark_id), parse_vc2_name(name).replica
    replica = read_vc2(delivered, name)
    _check_day(replica, dark_id, delivered)
    staged = ctx.stage(name)
    with storage.translated(staged):
        shutil.copyfile(delivered, staged)
    ctx.fence(f"dark:{dark_id}")
    known = tree.raw_files().get(number)
    if known and _is_same(replica, sha256, known):
        if ctx.claim.n > 1:  # an earlier attempt has placed it and could not tell
            _remove_others(tree, number, known)
            ctx.publish("vc2", known)
        _emit_received(ctx, dark_id, number)  # should the first delivery have died before
        return Skipped(f"{known.name} is there already, with the same content")
    if known and not _is_better(replica, sha256, known):
        raise ArchiveConflictError(
            f"{name} has {replica.rows()} rows of replica {number};"
            f" {known.name} has at least as many and stays"
        )
    if known:
        _keep_replaced(ctx, known, name)
        # Waiting for the others goes on from the first arrival.
        os.utime(staged, ns=(known.stat().st_mtime_ns,) * 2)
    ctx.place(staged, tree.raw / name)
    _remove_others(tree, number, tree.raw / name)
    ctx.publish("vc2", tree.raw / name)
    ctx.log.info("replica %d of dark calibration %s: %d rows", number, dark_id, replica.rows())
    _emit_received(ctx, dark_id, number)
    return None


def _emit_received(ctx: Context, dark_id: str, number: int) -> None:
    payload = messages.DarkReplicaArgs(dark_id, number)
    ctx.emit("dark_replica.received", f"dark:{dark_id}", payload)


def _day(dark_id: str) -> float:
    """Return the begin of the day of an id (CXC s)."""
    return float(times.secs(dark_cal.dark_id_to_date(dark_id)))


def _check_day(replica: Replica, dark_id: str, path: Path) -> None:
    """Refuse a dump that was received long before or after the day of its name."""
    received, _ = replica.ert
    if abs(received - _day(dark_id) - DAY_S / 2) > NEAR_S:
        raise SchemaError(
            f"{replica.name} is named after {dark_cal.dark_id_to_date(dark_id)}, but was received"
            f" {times.date(received)}; expected within {NEAR_S / DAY_S:.0f} days",
            path,
        )


def _is_same(replica: Replica, sha256: str, known: Path) -> bool:
    """Tell whether a file says the same as the one that is there, perhaps packed otherwise."""
    if storage.sha256_file(known) == sha256:
        return True
    other = read_vc2(known)
    return replica.ert == other.ert and np.array_equal(replica.pixels, other.pixels)


def _is_better(replica: Replica, sha256: str, known: Path) -> bool:
    """Tell whether a file is to replace another of the same replica; in any order the same."""
    other = read_vc2(known)
    return (replica.rows(), sha256) > (other.rows(), storage.sha256_file(known))


def _remove_others(tree: DarkTree, number: int, kept: Path) -> None:
    """Remove what a better file has replaced; quarantine has it."""
    for path in tree.raw.iterdir():
        is_dump = VC2_NAME.fullmatch(path.name) and path != kept
        if is_dump and parse_vc2_name(path.name).replica == number:
            path.unlink()


def _keep_replaced(ctx: Context, old: Path, name: str) -> None:
    """Keep what a better file replaces in quarantine."""
    why = {
        "id": ctx.claim.job_id,
        "error_class": "Replaced",
        "error_text": f"replaced by {name}, which is better; kept here, not used any more",
    }
    quarantine.keep_copy(ctx.home, ctx.claim.job_id, old.name, old, why)


def receive_info(ctx: Context, path: str, sha256: str, size: int, dark_id: str) -> None:
    """Keep a delivered ``info.csv``: attitude and time of the first star catalogue."""
    delivered = ctx.input(path, sha256)
    _keep_info(ctx, dark_id, read_info(delivered))


def set_info(
    ctx: Context, dark_id: str, time: str, temperature: float, ra: float, dec: float
) -> None:
    """Write the ``info.csv`` that a person entered."""
    _keep_info(ctx, dark_id, Info(time, temperature, ra, dec))


def _keep_info(ctx: Context, dark_id: str, info: Info) -> None:
    tree = DarkTree(ctx.home, dark_id)
    if abs(times.secs(info.time) - _day(dark_id)) > NEAR_S:
        raise InputError(f"the star catalogue is of {info.time}, not of {dark_id}")
    staged = ctx.stage(INFO)
    write_info(info, staged)
    ctx.fence(f"dark:{dark_id}")
    ctx.place(staged, tree.raw / INFO)
    ctx.publish("dark_info", tree.raw / INFO)
    ctx.emit("dark_cal.inputs_changed", f"dark:{dark_id}", messages.DarkArgs(dark_id))
