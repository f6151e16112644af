"""Waiting until all replicas are there, and decoding them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from acaflow import config, storage
from acaflow.archive.aca_dark.calibrate import find_replicas
from acaflow.archive.aca_dark.combine import FEWEST
from acaflow.archive.aca_dark.dark_l0 import write_replica_l0
from acaflow.archive.aca_dark.tree import DarkTree, Decoded
from acaflow.archive.aca_dark.vc2 import read_vc2
from acaflow.errors import DataError, MissingDataError, NotReadyError, QualityError
from acaflow.runtime import messages
from acaflow.runtime.runs import Context, Skipped
from acaflow.telemetry.samples import SampleFiles

LOOK_AGAIN_S, LOOKS = 86400.0, 7
"""How often (s), and how many times, replicas that are missing are looked for (dark-cal B1)."""


def gate(ctx: Context, dark_id: str) -> Skipped | None:
    """Let the replicas be decoded when all are there, or three after a week.

    Raises
    ------
    NotReadyError
        Some are missing: looks again after a day.
    QualityError
        Too few after a week.
    """
    tree = DarkTree(ctx.home, dark_id)
    files = tree.raw_files()
    if not files:
        return Skipped(f"no replica of dark calibration {dark_id} has arrived")
    if missing := waits_for(ctx, tree, files):
        return _wait(ctx, files, f"dark calibration {dark_id} waits for {missing}")
    ctx.settle_others("another look has found all that was missing")
    todo = [number for number, path in files.items() if not tree.is_decoded(number, path)]
    if not todo:
        return Skipped(f"the {len(files)} replicas of dark calibration {dark_id} are decoded")
    payload = messages.DarkReplicas(dark_id, tuple(todo))
    ctx.emit("dark_cal.ready", f"dark:{dark_id}", payload)
    return None


def _wait(ctx: Context, files: Mapping[int, Path], text: str) -> Skipped:
    """Say how long replicas are waited for; raise, or leave it to an earlier look."""
    force = f"acaflow dark-cal process {ctx.claim.args['dark_id']} --force --reason WHY"
    deadline = deadline_of(files)
    if time.time() >= deadline:
        raise QualityError(
            f"INCOMPLETE: {text} since {date_text(deadline - LOOKS * LOOK_AGAIN_S)}, and {FEWEST}"
            f" are needed; with these: {force}"
        )
    looks = [row["not_before"] for row in ctx.others_waiting() if row["attempts"]]
    if looks:
        return Skipped(f"{text}; looks again at {date_text(min(looks))}")
    raise NotReadyError(
        f"{text}; starts at {date_text(deadline)} if {FEWEST} are there by then; now: {force}",
        min(LOOK_AGAIN_S, max(deadline - time.time(), 1.0)),
        (LOOKS + 1) * LOOK_AGAIN_S,
    )


def waits_for(ctx: Context, tree: DarkTree, files: Mapping[int, Path]) -> str:
    """Say which replicas a calibration still waits for; '' if it need not wait."""
    events = find_replicas(tree.dark_id, SampleFiles(ctx.home.archive), tree.other_ids())
    expected = len(events) or config.current().dark_replicas
    missing = [number for number in range(1, expected + 1) if number not in files]
    is_late = tree.published.is_dir() or time.time() >= deadline_of(files)
    if not missing or (is_late and len(files) >= FEWEST):
        return ""
    return f"replicas {', '.join(map(str, missing))} of {expected}"


def deadline_of(files: Mapping[int, Path]) -> float:
    """Return until when missing replicas are waited for (epoch s)."""
    first = min((path.stat().st_mtime for path in files.values()), default=time.time())
    return first + LOOKS * LOOK_AGAIN_S


def date_text(epoch_s: float) -> str:
    """Return a time of the ledger or of a file (epoch s) as people read it."""
    return time.strftime("%Y:%j %H:%M:%S", time.gmtime(epoch_s))


def decode(ctx: Context, dark_id: str, replica: int) -> Skipped | None:
    """Decode one raw dump into its level-0 file.

    A dump that cannot be decoded is noted and not raised: the others go on without it.
    """
    tree = DarkTree(ctx.home, dark_id)
    raw = tree.raw_files().get(replica)
    if raw is None:
        raise MissingDataError(f"no raw file of replica {replica} in {tree.raw}")
    note = decode_raw(ctx, tree, replica, raw)
    payload = messages.DarkReplicaArgs(dark_id, replica)
    ctx.emit("dark_replica.decoded", f"dark:{dark_id}", payload)
    return Skipped(note.error) if note.error else None


def decode_raw(ctx: Context, tree: DarkTree, number: int, raw: Path) -> Decoded:
    """Decode a raw file unless that is done; return what became of it."""
    note = tree.note(number)
    if note is not None and tree.is_decoded(number, raw):
        return note
    sha256, error = storage.sha256_file(raw), ""
    try:
        decoded = read_vc2(raw)
        staged = ctx.stage(tree.decoded(number).name)
        with storage.translated(staged):
            write_replica_l0(decoded, staged)
        ctx.place(staged, tree.decoded(number))
        ctx.log.info("%s: %d rows; %s", raw.name, decoded.rows(), decoded.counts)
    except DataError as err:
        error = str(err)
        ctx.log.error("%s", err)
    note = Decoded(raw.name, sha256, error)
    tree.write_note(number, note)
    return note
