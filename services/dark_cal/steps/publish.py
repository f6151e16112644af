"""The report of a staged calibration, its publication, and what lists all of them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from acaflow import storage
from acaflow.archive.aca_dark import dark_cal, dark_report, dark_trend, zodi
from acaflow.archive.aca_dark.calibrate import with_stats
from acaflow.archive.aca_dark.dark_files import (
    PROPERTIES,
    Calibration,
    content_digest,
    read_calibration,
    write_calibration,
)
from acaflow.archive.aca_dark.tree import INFO, PUBLISHED, DarkTree, report_names
from acaflow.errors import (
    DataError,
    InputError,
    MissingDataError,
    NotReadyError,
    QualityError,
    SchemaError,
)
from acaflow.paths import inside
from acaflow.runtime import messages
from acaflow.runtime.runs import Context, Skipped
from services.dark_cal.steps.ready import LOOK_AGAIN_S, LOOKS, date_text, deadline_of


def report(ctx: Context, dark_id: str) -> Skipped | None:
    """Make the report of the staged calibration and publish both; or renew a published report.

    Raises
    ------
    QualityError
        The calibration fails: the report is made beside it, nothing is published.
    NotReadyError
        It fails only for want of a temperature, which telemetry may still bring.
    """
    tree = DarkTree(ctx.home, dark_id)
    ctx.fence("dark_cal")  # names of reports are given one at a time
    before = tree.properties()
    source = tree.staged if tree.staged.is_dir() else tree.published
    if not source.is_dir():
        ctx.emit("dark_cal.inputs_changed", f"dark:{dark_id}", messages.DarkArgs(dark_id))
        return Skipped(f"dark calibration {dark_id} is neither published nor assembled")
    found = read_calibration(source)
    history = dark_cal.history(tree.root)
    is_new = source == tree.staged and (
        before is None or content_digest(found) != content_digest(read_calibration(tree.published))
    )
    found = _finished(found, before, history, is_new)
    pages = ctx.stage("report")
    with storage.translated(pages):
        _write_report(pages, tree, found, history)
    if found.quality.get("level") == "FAIL":
        storage.place_dir(pages, tree.staged / "report", ctx.stage("replaced"))
        raise _refusal(ctx, tree, found)
    if is_new:
        _publish(ctx, tree, found, before)
    storage.place_dir(pages, tree.report(found.properties["report"]), ctx.stage("replaced"))
    for name in PUBLISHED:
        if (tree.published / name).exists():
            ctx.publish("dark_cal", tree.published / name)
    if tree.staged.is_dir():  # in one step: half of it would be taken for another calibration
        tree.staged.rename(ctx.stage("done"))
    ctx.settle_others("published after another look")
    revision = found.properties["revision"]
    ctx.log.info("dark calibration %s: revision %d is published", dark_id, revision)
    payload = messages.DarkPublished(dark_id, revision, found.properties.get("ccd_temp"))
    ctx.emit("dark_cal.published", f"dark:{dark_id}", payload)
    if is_new or ctx.claim.n > 1:  # an earlier attempt may have published and could not tell
        _renew_following(ctx, dark_id, history)
    return None


def _renew_following(ctx: Context, dark_id: str, history: Sequence[Mapping[str, Any]]) -> None:
    """Have the next two judged again, or at least their reports renewed: they name this one."""
    for item in [item for item in history if item["id"] > dark_id][:2]:
        payload = messages.DarkArgs(item["id"])
        ctx.emit("dark_cal.inputs_changed", f"dark:{item['id']}", payload)
        ctx.emit("dark_cal.assembled", f"dark:{item['id']}", payload)


def _refusal(ctx: Context, tree: DarkTree, found: Calibration) -> NotReadyError | QualityError:
    """Return why a calibration is not published, and what may change that."""
    findings = found.quality["findings"]
    failed = [x for x in findings if x["level"] == "FAIL" and x["scope"] == "cal"]
    text = f"dark calibration {tree.dark_id} is not published: " + "; ".join(
        item["text"] for item in failed
    )
    force = f"acaflow dark-cal process {tree.dark_id} --force --reason WHY"
    deadline = deadline_of(tree.raw_files())
    only_telemetry = [item["rule"] for item in failed] == ["Q10"]
    if only_telemetry and found.properties["ccd_temp"] is None and time.time() < deadline:
        return NotReadyError(
            f"{text}; is assembled again when header 3 of slot 6 or AACCCDPT around"
            f" {found.properties['start']} arrives, fails at {date_text(deadline)}; now: {force}",
            min(LOOK_AGAIN_S, deadline - time.time()),
            (LOOKS + 1) * LOOK_AGAIN_S,
        )
    return QualityError(f"{text}; look at it, then: {force}")


def _finished(
    found: Calibration,
    before: Mapping[str, Any] | None,
    history: Sequence[Mapping[str, Any]],
    is_new: bool,
) -> Calibration:
    """Give a calibration its revision and the name of its report; a forced one is a warning."""
    revision = (before or {}).get("revision", 0) + is_new
    taken = {item["id"]: item["report"] for item in history if item.get("report")}
    name = report_names(found.properties["id"], taken)
    properties = found.properties | {"revision": max(revision, 1), "report": name}
    quality = found.quality
    if quality.get("forced") and quality["level"] == "FAIL":
        quality = quality | {"level": "WARN"}
        properties |= {"quality": "WARN"}
    return replace(found, properties=properties, quality=quality)


def _write_report(
    pages: Path, tree: DarkTree, found: Calibration, history: Sequence[Mapping[str, Any]]
) -> None:
    """Write the pages and plots of a calibration."""
    others = [dict(item) for item in history if item["id"] != tree.dark_id]
    earlier = [item["id"] for item in others if item["id"] < tree.dark_id]
    previous = read_calibration(tree.root / earlier[-1]) if earlier else None
    first = read_calibration(tree.root / earlier[0]) if len(earlier) > 1 else None
    everything = sorted([*others, found.properties], key=lambda item: str(item["id"]))
    dark_report.write_report(pages, found, everything, previous, first)


def _publish(
    ctx: Context, tree: DarkTree, found: Calibration, before: Mapping[str, Any] | None
) -> None:
    """Put a calibration into the archive: a new one at once, a revision file by file."""
    folder = ctx.stage("published")
    with storage.translated(folder):
        write_calibration(folder, found)
        if (tree.staged / INFO).exists():
            shutil.copyfile(tree.staged / INFO, folder / INFO)
    if before is None:
        storage.place_dir(folder, tree.published, ctx.stage("replaced"))
        return
    old = tree.root / "old" / f"{tree.dark_id}-r{before.get('revision', 1)}"
    if not old.exists():  # else an earlier attempt may have replaced some files already
        kept = ctx.stage("old")
        for name in PUBLISHED:
            if (tree.published / name).exists():
                storage.link_into(tree.published / name, kept / name)
        storage.place_dir(kept, old, ctx.stage("replaced"))
    for name in PUBLISHED:  # properties last: readers compare the revision of both
        if (folder / name).exists():
            ctx.place(folder / name, tree.published / name)


def update_index(ctx: Context) -> None:
    """Renew what is made of all published calibrations: list, ``zodi.csv``, plots."""
    root = ctx.home.archive / "aca_dark"
    history = dark_cal.history(root)
    ctx.fence("dark_cal.index")
    table = ctx.stage("zodi.csv")
    zodi.write_table(table, history)
    ctx.place(table, root / "zodi.csv")
    ctx.publish("zodi", root / "zodi.csv")
    pages = ctx.stage("index")
    pages.mkdir(exist_ok=True)
    with storage.translated(pages):
        dark_report.write_index(pages, history)
        dark_trend.write_trend(pages, history)
    target = ctx.home.root / "www" / "dark_cal"
    # The page last: it names the plots.
    for path in sorted(pages.iterdir(), key=lambda path: (path.suffix == ".html", path.name)):
        ctx.place(path, target / path.name)
    ctx.log.info("%d dark calibrations in the index", len(history))


def import_folder(ctx: Context, path: str) -> Skipped | None:
    """Add calibrations of another archive: folders ``YYYYDOY`` with image and properties.

    Those that are published already stay as they are. Statistics are added to the properties.
    """
    folder = inside(ctx.home.root, path)
    found = dark_cal.get_dark_cal_dirs(folder)
    if not found and ctx.claim.n > 1:
        return Skipped("an earlier attempt has imported all; renew the reports that are missing")
    if not found:
        raise MissingDataError(f"no folder YYYYDOY with a dark calibration in {folder}")
    added = 0
    for done, (dark_id, source) in enumerate(found.items()):
        ctx.checkpoint()
        ctx.progress(done, len(found), dark_id)
        try:
            added += _import(ctx, DarkTree(ctx.home, dark_id), Path(source))
        except (DataError, MissingDataError, InputError) as err:
            ctx.log.error("%s left out: %s", dark_id, err)
    if folder.is_relative_to(ctx.home.work):  # a copy made for this job
        folder.rename(ctx.stage("done"))
    return None if added else Skipped("no calibration of the folder is new and readable")


def _import(ctx: Context, tree: DarkTree, source: Path) -> bool:
    """Publish a calibration of another archive; its report is made by a job of its own."""
    cal = read_calibration(source)
    named = cal.properties.get("id", tree.dark_id)
    if named != tree.dark_id:
        raise SchemaError(f"{source} holds the properties of {named}", source)
    if tree.published.is_dir() and ctx.claim.n == 1:
        ctx.log.info("%s is published already and stays", tree.dark_id)
        return False
    if not tree.published.is_dir():
        cal = with_stats(replace(cal, properties=cal.properties | {"id": named}))
        ctx.fence("dark_cal")
        cal = _finished(cal, None, dark_cal.history(tree.root), True)
        staged = ctx.stage(tree.dark_id)
        with storage.translated(staged):
            write_calibration(staged, cal)
            if (source / INFO).exists():
                shutil.copyfile(source / INFO, staged / INFO)
        storage.place_dir(staged, tree.published, ctx.stage("replaced"))
    ctx.publish("dark_cal", tree.published / PROPERTIES)
    ctx.emit("dark_cal.assembled", f"dark:{tree.dark_id}", messages.DarkArgs(tree.dark_id))
    return True
