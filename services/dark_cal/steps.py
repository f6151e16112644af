"""From raw dumps to the published calibration; each step may run twice and finds its work done.

The order is that of the file: receive, gate, decode, assemble, report (which publishes), index.
Steps know nothing of each other but the files in `DarkTree`: what is there decides.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from acaflow import config, storage, times
from acaflow.archive.aca_dark import dark_cal, dark_report, dark_trend, zodi
from acaflow.archive.aca_dark.calibrate import (
    Inputs,
    Parameters,
    calibrate,
    find_replicas,
    with_stats,
    would_change,
)
from acaflow.archive.aca_dark.dark_files import (
    PROPERTIES,
    Calibration,
    image_digest,
    read_calibration,
    read_json,
    write_calibration,
)
from acaflow.archive.aca_dark.dark_l0 import read_replica_l0, write_replica_l0
from acaflow.archive.aca_dark.info import Info, read_info, write_info
from acaflow.archive.aca_dark.tree import INFO, PUBLISHED, DarkTree, Decoded, report_names
from acaflow.archive.aca_dark.vc2 import Replica, read_vc2
from acaflow.errors import (
    ArchiveConflictError,
    DataError,
    InputError,
    MissingDataError,
    NotReadyError,
    QualityError,
    SchemaError,
)
from acaflow.paths import inside, parse_vc2_name
from acaflow.runtime import messages, quarantine
from acaflow.runtime.runs import Context, Skipped
from acaflow.telemetry.samples import SampleFiles

DAY_S = 86400.0
LOOK_AGAIN_S = DAY_S
LOOKS = 7
"""How often, and how many times, the gate looks for replicas that are missing (dark-cal B1)."""
FEWEST = 3
"""Replicas that a calibration needs."""
RECHECK_S = 30 * DAY_S
"""Late telemetry changes a published calibration only so long after its last file came (s)."""
EARLIEST_S, LATEST_S = -DAY_S, 30 * DAY_S
"""When a dump of a day may have been received, from the start of that day (s; ours)."""


# --- Receive ------------------------------------------------------------------------------------


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
    target = tree.raw / name
    if known and storage.sha256_file(known) == sha256:
        if ctx.claim.n == 1:
            return Skipped(f"{known.name} is there already, with the same content")
        target = known
    elif known and not _is_better(replica, sha256, known):
        raise ArchiveConflictError(
            f"{name} has {replica.rows()} rows of replica {number};"
            f" {known.name} has at least as many and stays"
        )
    else:
        ctx.place(staged, target)
        if known:
            _set_aside(ctx, known, target, name)
    ctx.publish("vc2", target)
    ctx.log.info("replica %d of dark calibration %s: %d rows", number, dark_id, replica.rows())
    _emit_received(ctx, dark_id, number)
    return None


def _emit_received(ctx: Context, dark_id: str, number: int) -> None:
    payload = messages.DarkReplicaArgs(dark_id, number)
    ctx.emit("dark_replica.received", f"dark:{dark_id}", payload)


def _check_day(replica: Replica, dark_id: str, path: Path) -> None:
    """Refuse a dump that was received long before or after the day of its name."""
    received, _ = replica.ert
    day = times.secs(f"{dark_id[:4]}:{dark_id[4:]}")
    if not day + EARLIEST_S <= received <= day + LATEST_S:
        raise SchemaError(
            f"{replica.name} is named after {dark_id[:4]}:{dark_id[4:]}, but was received"
            f" {times.date(received)}; expected within {LATEST_S / DAY_S:.0f} days after it",
            path,
        )


def _is_better(replica: Replica, sha256: str, known: Path) -> bool:
    """Tell whether a file is to replace another of the same replica; in any order the same."""
    other = read_vc2(known)
    return (replica.rows(), sha256) > (other.rows(), storage.sha256_file(known))


def _set_aside(ctx: Context, old: Path, new: Path, name: str) -> None:
    """Keep what a better file replaces in quarantine."""
    if old == new:
        return  # the same name: the rename has replaced it
    why = {
        "id": ctx.claim.job_id,
        "error_class": "Replaced",
        "error_text": f"replaced by {name}, which has more rows; kept here, not used any more",
    }
    quarantine.keep_copy(ctx.home, ctx.claim.job_id, old.name, old, why)
    old.unlink(missing_ok=True)


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
    staged = ctx.stage(INFO)
    write_info(info, staged)
    ctx.fence(f"dark:{dark_id}")
    ctx.place(staged, tree.raw / INFO)
    ctx.publish("dark_info", tree.raw / INFO)
    ctx.emit("dark_cal.inputs_changed", f"dark:{dark_id}", messages.DarkArgs(dark_id))


# --- Gate ---------------------------------------------------------------------------------------


def gate(ctx: Context, dark_id: str) -> Skipped | None:
    """Let the replicas be decoded when all are there, or three after a week.

    Raises
    ------
    NotReadyError
        Some are missing: looks again after a day.
    """
    tree = DarkTree(ctx.home, dark_id)
    files = tree.raw_files()
    missing = _missing(ctx, tree, files)
    if missing:
        text = f"{len(files)} replicas of dark calibration {dark_id}; waits for {missing}"
        waiting = _waiting_gate(ctx)
        if waiting is not None:
            return Skipped(f"{text}; looks again at {_date(waiting)}")
        raise NotReadyError(
            f"{text}; without them it starts at {_date(_first_arrival(files) + LOOKS * DAY_S)}"
            f" if there are {FEWEST}; now: acaflow dark-cal process {dark_id} --force --reason …",
            LOOK_AGAIN_S,
            LOOKS * LOOK_AGAIN_S + DAY_S / 2,
        )
    ctx.settle_others("another look has found all that was missing")
    todo = [number for number, path in files.items() if not _is_decoded(tree, number, path)]
    if not todo:
        return Skipped(f"the {len(files)} replicas of dark calibration {dark_id} are decoded")
    payload = messages.DarkReplicas(dark_id, tuple(todo))
    ctx.emit("dark_cal.ready", f"dark:{dark_id}", payload)
    return None


def _missing(ctx: Context, tree: DarkTree, files: Mapping[int, Path]) -> str:
    """Say which replicas a calibration still waits for; '' if it need not wait."""
    expected = len(_replicas(ctx, tree)) or config.current().dark_replicas
    if len(files) >= expected:
        return ""
    if len(files) >= FEWEST and tree.published.is_dir():
        return ""
    if len(files) >= FEWEST and time.time() >= _first_arrival(files) + LOOKS * DAY_S:
        return ""
    missing = [number for number in range(1, expected + 1) if number not in files]
    return f"{', '.join(map(str, missing))} of {expected}"


def _replicas(ctx: Context, tree: DarkTree) -> Sequence[Any]:
    return find_replicas(tree.dark_id, SampleFiles(ctx.home.archive), _others(ctx, tree))


def _others(ctx: Context, tree: DarkTree) -> list[str]:
    """Return the ids of the other calibrations, which own their events."""
    published = dark_cal.get_dark_cal_dirs(tree.root)
    ids = {*published, *(other.dark_id for other in DarkTree.all(ctx.home))}
    return sorted(ids - {tree.dark_id})


def _first_arrival(files: Mapping[int, Path]) -> float:
    """Return when the first replica came (epoch s)."""
    return min((path.stat().st_mtime for path in files.values()), default=time.time())


def _waiting_gate(ctx: Context) -> float | None:
    """Return when an earlier gate of this calibration looks again (epoch s)."""
    looks = [row["not_before"] for row in ctx.others_waiting() if row["attempts"]]
    return min(looks, default=None)


def _date(epoch_s: float) -> str:
    return time.strftime("%Y:%j %H:%M:%S", time.gmtime(epoch_s))


# --- Decode -------------------------------------------------------------------------------------


def decode(ctx: Context, dark_id: str, replica: int) -> Skipped | None:
    """Decode one raw dump into its level-0 file.

    A dump that cannot be decoded is noted and not raised: the others go on without it.
    """
    tree = DarkTree(ctx.home, dark_id)
    raw = tree.raw_files().get(replica)
    if raw is None:
        raise MissingDataError(f"no raw file of replica {replica} in {tree.raw}")
    note = _decode(ctx, tree, replica, raw)
    payload = messages.DarkReplicaArgs(dark_id, replica)
    ctx.emit("dark_replica.decoded", f"dark:{dark_id}", payload)
    return Skipped(note.error) if note.error else None


def _is_decoded(tree: DarkTree, number: int, raw: Path) -> bool:
    note = tree.note(number)
    if note is None or note.sha256 != storage.sha256_file(raw):
        return False
    return bool(note.error) or tree.decoded(number).exists()


def _decode(ctx: Context, tree: DarkTree, number: int, raw: Path) -> Decoded:
    """Decode a raw file unless that is done; return what became of it."""
    note = tree.note(number)
    if note is not None and _is_decoded(tree, number, raw):
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


# --- Assemble -----------------------------------------------------------------------------------


def assemble(ctx: Context, dark_id: str) -> Skipped | None:
    """Combine what is decoded and stage it for the report, if all is there and it is new."""
    tree = DarkTree(ctx.home, dark_id)
    files = tree.raw_files()
    todo = [number for number, path in files.items() if not _is_decoded(tree, number, path)]
    if todo or not files:
        return Skipped(f"replicas {', '.join(map(str, todo)) or '1'} are not decoded yet")
    missing = _missing(ctx, tree, files)
    if missing:
        return Skipped(f"{len(files)} replicas decoded; waits for {missing}")
    before = _published(tree)
    found = calibrate(_inputs(ctx, tree, files), _parameters(before))
    if before is not None:
        same = _inputs_of(found.properties) == _inputs_of(before)
        if same:
            return Skipped(f"revision {before['revision']} is of the same inputs")
        if _used(found.properties) < _used(before):
            return Skipped(
                f"uses {_used(found.properties)} replicas, revision {before['revision']}"
                f" {_used(before)}: not replaced"
            )
    _stage(ctx, tree, found)
    return None


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
    before = _published(tree)
    parameters = _changed(_parameters(before), combine, gain)
    for number, path in files.items():
        ctx.progress(number, len(files), "decoding")
        _decode(ctx, tree, number, path)
    found = calibrate(_inputs(ctx, tree, files), parameters)
    if force:
        forced = {"user": ctx.claim.requested_by, "reason": reason.strip()}
        found = replace(found, quality=found.quality | {"forced": forced})
    elif before is not None and _inputs_of(found.properties) == _inputs_of(before):
        return Skipped(
            f"revision {before['revision']} is of the same inputs; force replaces it, with a reason"
        )
    _stage(ctx, tree, found)
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
        replicas=[read_replica_l0(tree.decoded(n)) for n in sorted(notes) if not notes[n].error],
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
        owned=_others(ctx, tree),
        history=dark_cal.history(tree.root),
    )


def _published(tree: DarkTree) -> dict[str, Any] | None:
    """Return the properties of the published calibration."""
    path = tree.published / PROPERTIES
    return read_json(path) if path.exists() else None


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
    """Return what a calibration was made from: files, times, temperatures."""
    names = ("count", "start", "stop", "ccd_temp", "ccd_temp_source")
    replicas = [[one.get(name) for name in names] for one in properties.get("replicas", [])]
    return properties.get("inputs"), replicas


def _used(properties: Mapping[str, Any]) -> int:
    return sum(bool(one.get("used")) for one in properties.get("replicas", []))


# --- Report and publication ---------------------------------------------------------------------


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
    before = _published(tree)
    source = tree.staged if tree.staged.is_dir() else tree.published
    if not source.is_dir():
        raise MissingDataError(f"no dark calibration {dark_id}, neither published nor assembled")
    found = read_calibration(source)
    history = dark_cal.history(tree.root)
    is_new = source == tree.staged and not (
        before is not None and image_digest(tree.staged) == image_digest(tree.published)
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
    shutil.rmtree(tree.staged, ignore_errors=True)
    ctx.settle_others("published after another look")
    revision = found.properties["revision"]
    ctx.log.info("dark calibration %s: revision %d is published", dark_id, revision)
    payload = messages.DarkPublished(dark_id, revision, found.properties.get("ccd_temp"))
    ctx.emit("dark_cal.published", f"dark:{dark_id}", payload)
    return None


def _refusal(ctx: Context, tree: DarkTree, found: Calibration) -> NotReadyError | QualityError:
    """Return why a calibration is not published, and what may change that."""
    findings = found.quality["findings"]
    failed = [x for x in findings if x["level"] == "FAIL" and x["scope"] == "cal"]
    text = f"dark calibration {tree.dark_id} is not published: " + "; ".join(
        item["text"] for item in failed
    )
    force = f"acaflow dark-cal process {tree.dark_id} --force --reason …"
    deadline = _first_arrival(tree.raw_files()) + LOOKS * DAY_S
    only_telemetry = [item["rule"] for item in failed] == ["Q10"]
    if only_telemetry and found.properties["ccd_temp"] is None and time.time() < deadline:
        return NotReadyError(
            f"{text}; is assembled again when header 3 of slot 6 or AACCCDPT around"
            f" {found.properties['start']} arrives, fails at {_date(deadline)}; now: {force}",
            LOOK_AGAIN_S,
            LOOKS * LOOK_AGAIN_S + DAY_S / 2,
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
    for name in PUBLISHED:
        if (tree.published / name).exists():
            storage.link_into(tree.published / name, old / name)
    for name in PUBLISHED:  # properties last: readers compare the revision of both
        if (folder / name).exists():
            ctx.place(folder / name, tree.published / name)


# --- Index, telemetry, import -------------------------------------------------------------------


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


def recheck(ctx: Context) -> Skipped | None:
    """Have calibrations assembled anew whose times or temperatures new telemetry changes."""
    samples = SampleFiles(ctx.home.archive)
    changed = []
    for tree in DarkTree.all(ctx.home):
        ctx.checkpoint()
        known = _known(tree)
        newest = max((path.stat().st_mtime for path in tree.raw_files().values()), default=0.0)
        if tree.published.is_dir() and newest < time.time() - RECHECK_S:
            continue
        if known is None or would_change(known, samples, ctx.home.archive, _others(ctx, tree)):
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


def import_folder(ctx: Context, path: str) -> Skipped | None:
    """Add calibrations of another archive: folders ``YYYYDOY`` with image and properties.

    Those that are published already stay as they are. Statistics are added to the properties.
    """
    folder = inside(ctx.home.root, path)
    found = dark_cal.get_dark_cal_dirs(folder)
    if not found:
        raise MissingDataError(f"no folder YYYYDOY with a dark calibration in {folder}")
    ctx.fence("dark_cal")
    added = 0
    for done, (dark_id, source) in enumerate(found.items()):
        ctx.checkpoint()
        ctx.progress(done, len(found), dark_id)
        tree = DarkTree(ctx.home, dark_id)
        if tree.published.is_dir():
            ctx.log.info("%s is published already and stays", dark_id)
            continue
        cal = with_stats(read_calibration(Path(source)))
        cal = _finished(cal, None, dark_cal.history(tree.root), True)
        staged = ctx.stage(dark_id)
        with storage.translated(staged):
            write_calibration(staged, cal)
        storage.place_dir(staged, tree.published, ctx.stage("replaced"))
        ctx.publish("dark_cal", tree.published / PROPERTIES)
        payload = messages.DarkPublished(dark_id, 1, cal.properties.get("ccd_temp"))
        ctx.emit("dark_cal.published", f"dark:{dark_id}", payload)
        added += 1
    return None if added else Skipped("every calibration of the folder is published already")
