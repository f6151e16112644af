"""Combining decoded replicas into a staged calibration, again when something changed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from acaflow import config, storage
from acaflow.archive.aca_dark import dark_cal
from acaflow.archive.aca_dark.calibrate import Inputs, Parameters, calibrate, would_change
from acaflow.archive.aca_dark.dark_files import (
    PROPERTIES,
    Calibration,
    content_digest,
    read_calibration,
    read_json,
    write_calibration,
)
from acaflow.archive.aca_dark.dark_l0 import read_replica_l0
from acaflow.archive.aca_dark.info import read_info
from acaflow.archive.aca_dark.replica import Replica
from acaflow.archive.aca_dark.tree import INFO, DarkTree
from acaflow.errors import DataError, InputError, MissingDataError
from acaflow.runtime import messages
from acaflow.runtime.runs import Context, Skipped
from acaflow.telemetry.samples import SampleFiles
from services.dark_cal.steps.ready import decode_raw, waits_for

RECHECK_S = 30 * 86400.0
"""Late telemetry changes a published calibration only so long after its last file came (s)."""


def assemble(ctx: Context, dark_id: str) -> Skipped | None:
    """Combine what is decoded and stage it for the report, if all is there and it is new."""
    tree = DarkTree(ctx.home, dark_id)
    files = tree.raw_files()
    if not files:
        return Skipped(f"no replica of dark calibration {dark_id} has arrived")
    todo = [number for number, path in files.items() if not tree.is_decoded(number, path)]
    if todo:
        return Skipped(f"replicas {', '.join(map(str, todo))} are not decoded yet")
    return _assemble(ctx, tree, files)


def process(
    ctx: Context, dark_id: str, force: bool, reason: str, combine: str, gain: str
) -> Skipped | None:
    """Process a calibration again as a person wants it; see `messages.DarkProcessArgs`."""
    if force and not reason.strip():
        raise InputError("a forced calibration needs a reason; it is kept with the product")
    tree = DarkTree(ctx.home, dark_id)
    files = tree.raw_files()
    if not files:
        raise MissingDataError(f"no raw file of dark calibration {dark_id} in {tree.raw}")
    parameters = _changed(_parameters(tree.properties()), combine, gain)
    for done, (number, path) in enumerate(files.items()):
        ctx.progress(done, len(files), f"decoding replica {number}")
        decode_raw(ctx, tree, number, path)
    forced = {"user": ctx.claim.requested_by, "reason": reason.strip()} if force else None
    return _assemble(ctx, tree, files, parameters, forced)


def _assemble(
    ctx: Context,
    tree: DarkTree,
    files: Mapping[int, Path],
    parameters: Parameters | None = None,
    forced: dict[str, Any] | None = None,
) -> Skipped | None:
    """Calibrate and stage the result, unless it is nothing new or less than what is published."""
    if not forced and (missing := waits_for(ctx, tree, files)):
        return Skipped(f"{len(files)} replicas decoded; waits for {missing}")
    before = tree.properties()
    found = calibrate(_inputs(ctx, tree, files), parameters or _parameters(before))
    if before is not None:
        known = f"revision {before.get('revision', 1)}"
        if content_digest(found) == content_digest(read_calibration(tree.published)):
            return Skipped(f"{known} has the same content")
        if not forced and _inputs_of(found.properties) == _inputs_of(before):
            return Skipped(f"{known} is of the same inputs; force replaces it, with a reason")
        if not forced and _used(found.properties) < _used(before):
            return Skipped(
                f"uses {_used(found.properties)} replicas, {known} {_used(before)}: not replaced"
            )
    _stage(ctx, tree, replace(found, quality=found.quality | {"forced": forced}))
    return None


def _stage(ctx: Context, tree: DarkTree, found: Calibration) -> None:
    """Put a calibration where the report finds it."""
    staged = ctx.stage("assembled")
    with storage.translated(staged):
        write_calibration(staged, found)
        if (tree.raw / INFO).exists():
            shutil.copyfile(tree.raw / INFO, staged / INFO)
    storage.place_dir(staged, tree.staged, ctx.stage("replaced"))
    for finding in found.quality["findings"]:
        if finding["level"] != "PASS":
            ctx.log.warning("%s %s", finding["level"], finding["text"])
    if found.properties["zodib"] is None:
        ctx.log.warning(
            "no star catalogue, so no attitude and zodiacal light: deliver %s_%s_info.csv, or"
            " acaflow dark-cal info %s",
            *(tree.dark_id[:4], tree.dark_id[4:], tree.dark_id),
        )
    ctx.log.info(
        "dark calibration %s assembled: %d replicas, quality %s",
        *(tree.dark_id, _used(found.properties), found.quality["level"]),
    )
    ctx.emit("dark_cal.assembled", f"dark:{tree.dark_id}", messages.DarkArgs(tree.dark_id))


def _inputs(ctx: Context, tree: DarkTree, files: Mapping[int, Path]) -> Inputs:
    """Collect what a calibration is made from."""
    notes = {number: note for number in files if (note := tree.note(number))}
    info = tree.raw / INFO
    described = [*files.values(), *([info] if info.exists() else [])]
    return Inputs(
        dark_id=tree.dark_id,
        replicas=[_read_l0(ctx, tree, n, files[n]) for n in sorted(notes) if not notes[n].error],
        files=[
            {
                "path": path.relative_to(ctx.home.archive).as_posix(),
                "sha256": storage.sha256_file(path),
                "size": path.stat().st_size,
            }
            for path in described
        ],
        expected=config.current().dark_replicas,
        info=read_info(info) if info.exists() else None,
        samples=SampleFiles(ctx.home.archive),
        archive=ctx.home.archive,
        unusable={number: note.error for number, note in notes.items() if note.error},
        owned=tree.other_ids(),
        history=dark_cal.history(tree.root),
    )


def _read_l0(ctx: Context, tree: DarkTree, number: int, raw: Path) -> Replica:
    """Read a decoded copy; one that is damaged is made again."""
    try:
        return read_replica_l0(tree.decoded(number))
    except DataError as err:
        ctx.log.warning("%s; decoded again", err)
        tree.decoded(number).unlink()
        decode_raw(ctx, tree, number, raw)
        return read_replica_l0(tree.decoded(number))


def _parameters(before: Mapping[str, Any] | None) -> Parameters:
    """Return how to combine: as the published revision, else as the settings say."""
    if before is not None and "combine" in before:
        return Parameters(before["combine"], before["gain"], before["read_noise"])
    settings = config.current()
    return _changed(
        Parameters(read_noise=settings.dark_read_noise), settings.dark_combine, settings.dark_gain
    )


def _changed(parameters: Parameters, combine: str, gain: str) -> Parameters:
    """Return parameters with what a person changed."""
    if combine:
        parameters = replace(parameters, combine=combine)
    if gain:
        try:
            values = [float(word) for word in gain.split(",")]
        except ValueError:
            values = []
        if len(values) not in (1, 4):
            raise InputError(f"gain is {gain!r}; expected one number, or four as A,B,C,D (e-/DN)")
        values = values * 4 if len(values) == 1 else values
        parameters = replace(parameters, gain=dict(zip("ABCD", values, strict=True)))
    return parameters


def _inputs_of(properties: Mapping[str, Any]) -> Any:
    """Return what a calibration was made from: files, times, temperatures, the one before."""
    names = ("count", "start", "stop", "ccd_temp", "ccd_temp_source")
    replicas = [[one.get(name) for name in names] for one in properties.get("replicas", [])]
    return properties.get("inputs"), replicas, properties.get("previous")


def _used(properties: Mapping[str, Any]) -> int:
    return sum(bool(one.get("used")) for one in properties.get("replicas", []))


def recheck(ctx: Context) -> Skipped | None:
    """Have calibrations assembled anew whose times or temperatures new telemetry changes."""
    samples = SampleFiles(ctx.home.archive)
    changed = []
    for tree in DarkTree.all(ctx.home):
        ctx.checkpoint()
        known = _known(tree)
        arrivals = [path.stat().st_mtime for path in tree.raw_files().values()]
        is_old = tree.published.is_dir() and max(arrivals, default=0) < time.time() - RECHECK_S
        if not arrivals or is_old:
            continue
        others = tree.other_ids()
        if known is None or would_change(tree.dark_id, known, samples, ctx.home.archive, others):
            changed.append(tree.dark_id)
    for dark_id in changed:
        ctx.emit("dark_cal.inputs_changed", f"dark:{dark_id}", messages.DarkArgs(dark_id))
    return None if changed else Skipped("changes no dark calibration")


def _known(tree: DarkTree) -> dict[str, Any] | None:
    """Return the properties of the staged calibration, else of the published one."""
    for folder in (tree.staged, tree.published):
        if (folder / PROPERTIES).exists():
            return read_json(folder / PROPERTIES)
    return None
