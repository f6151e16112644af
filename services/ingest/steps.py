"""What ingest does with a file; each step may run twice and then finds its work done."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from acaflow import paths, storage
from acaflow.archive import l0_store
from acaflow.archive.aca_packets import assemble_images, decode_packets, read_packets
from acaflow.archive.l0_file import L0File, read_l0_content, read_l0_file
from acaflow.archive.l0_fits import ImageTable
from acaflow.archive.l0_index import Change, L0Index, Verdict
from acaflow.archive.l0_rows import IMGSIZES
from acaflow.archive.l0_write import l0_files
from acaflow.colstore import Store
from acaflow.errors import (
    ArchiveConflictError,
    DataError,
    InputError,
    MissingDataError,
    SchemaError,
)
from acaflow.runtime import messages, quarantine
from acaflow.runtime.runs import Context, Skipped
from acaflow.telemetry.samples import read_samples_file
from acaflow.telemetry.samples import stored_path as samples_path

NUMBERS = {"CIUMACAC": False, "COBSRQID": True, "AACCCDPT": True}
"""Engineering quantities that we use: numbers, or texts of a state."""
KEEP_BACKUPS = 7
"""Copies of the ledger that stay."""


def aca_l0_file(
    ctx: Context, path: str, sha256: str, size: int, slot: int, filetime: int
) -> Skipped | None:
    """Validate a level-0 image file and add it to the archive (aca-archive 3.4).

    Parameters
    ----------
    path : str
        Home-relative path of the taken file.
    sha256, size
        Of the file as delivered.
    slot, filetime : int
        As the name says; the content is checked against the name.
    """
    delivered = ctx.input(path, sha256)
    name = messages.original_name(path)
    staged = ctx.stage(name)
    with storage.translated(staged):
        shutil.copyfile(delivered, staged)
    return _archive(ctx, staged, name)


def _archive(ctx: Context, staged: Path, name: str) -> Skipped | None:
    """Validate a staged level-0 file and add it to the archive."""
    record = read_l0_file(staged, name)
    if not name.endswith(".gz"):
        packed = ctx.stage(record.filename)
        with storage.translated(packed):
            storage.gzip_file(staged, packed)
        staged = packed

    ctx.fence(f"aca0:{record.slot}")
    root = ctx.home.archive / "aca0"
    with L0Index(root) as index:
        verdict = index.compare(record)
        # A later attempt may find what an earlier one archived but could not report any more.
        if verdict is Verdict.SAME and ctx.claim.n == 1:
            return Skipped(f"already archived: {record.filename} with the same content")
        if verdict is Verdict.CONFLICT:
            raise ArchiveConflictError(
                f"{record.filename} is archived with other content of later or equal DATE;"
                f" this copy of {record.date} is not used"
            )
        target = root / record.path
        if verdict is Verdict.REPLACES:
            _keep_replaced(ctx, target, record)
        change = index.commit(record, ctx.provenance, lambda: ctx.place(staged, target))
    ctx.publish("aca_l0", target)
    _announce(ctx, record, change)
    return None


def _keep_replaced(ctx: Context, target: Path, record: L0File) -> None:
    """Link the copy that is about to be replaced into quarantine."""
    why = {
        "id": ctx.claim.job_id,
        "error_class": "Replaced",
        "error_text": f"replaced by the copy of {record.date}; kept here, not used any more",
    }
    if target.exists():
        # Not under the event's id: the delivery itself may come there, under the same name.
        quarantine.keep_copy(ctx.home, ctx.claim.job_id, target.name, target, why)


def _announce(ctx: Context, record: L0File, change: Change) -> None:
    ctx.log.info(
        "%s: %d rows of %dx%d, slot %d, revision %s; active %s, superseded %s",
        record.filename,
        record.rows,
        record.imgsize,
        record.imgsize,
        record.slot,
        record.revision,
        ", ".join(change.activated) or "none",
        ", ".join(change.superseded) or "none",
    )
    payload = messages.AcaL0Updated(
        record.slot, record.time_min, record.time_max, (record.filename,)
    )
    ctx.emit("aca_l0.updated", f"aca0:{record.slot}", payload)


def aca_packets(ctx: Context, path: str, sha256: str, size: int) -> Skipped | None:
    """Keep a file of raw packets, and archive the level-0 files that its images make.

    They have revision 0: a delivered file replaces them when it comes. An image of which a part
    is missing, also one cut by the end of the file, makes no row.
    """
    delivered = ctx.input(path, sha256)
    name = messages.original_name(path)
    staged = ctx.stage(name)
    with storage.translated(staged):
        shutil.copyfile(delivered, staged)
    stream = read_packets(staged)
    ctx.log.info("%s", stream.report)
    decoded = decode_packets(stream.packets, stream.time, stream.mjf, stream.mnf)
    images = assemble_images(decoded)
    with storage.translated(staged):
        files = l0_files(images.columns, ctx.stage("l0"))
    root = ctx.home.archive / "aca0"
    kept = root / "packets" / paths.l0_dir(int(stream.time[0])) / name
    ctx.place(staged, kept)
    ctx.publish("aca_packets", kept)
    for file in files:  # by slot: whoever takes several locks takes them in this order
        try:
            answer = _archive(ctx, file, file.name)
        except ArchiveConflictError as err:
            ctx.log.info("%s", err)
        else:
            if answer is not None:
                ctx.log.info("%s", answer.reason)
    if not files:
        return Skipped(f"no complete image in {stream.report}")
    return None


def eng_samples(ctx: Context, path: str, sha256: str, size: int, msid: str) -> Skipped | None:
    """Check a file of engineering samples and add it to the archive as it came."""
    delivered = ctx.input(path, sha256)
    name = messages.original_name(path)
    time_s, values = read_samples_file(delivered, name)
    if msid in NUMBERS and (values.dtype.kind == "f") != NUMBERS[msid]:
        kind = "numbers" if NUMBERS[msid] else "states"
        raise SchemaError(f"{name}: the first value is {values[0]!r}; expected {kind}", delivered)
    target = ctx.home.archive / samples_path(paths.parse_samples_name(name))
    if target.exists():
        known, _ = read_samples_file(target, name)
        if storage.sha256_file(target) == sha256:
            if ctx.claim.n == 1:
                return Skipped(f"{name} is archived already, with the same content")
        elif (len(time_s), sha256) < (len(known), storage.sha256_file(target)):
            raise ArchiveConflictError(
                f"{name} is archived with {len(known)} samples; this copy of {len(time_s)} is not"
                " used"
            )
    staged = ctx.stage(name)
    with storage.translated(staged):
        shutil.copyfile(delivered, staged)
    ctx.fence(f"eng:{msid}")
    ctx.place(staged, target)
    ctx.publish("eng_samples", target)
    span = float(time_s[0]), float(time_s[-1])
    payload = messages.TelemetryUpdated(msid, *span, len(time_s))
    ctx.emit("telemetry.updated", f"msid:{msid}", payload)
    return None


def update_l0_store(ctx: Context, slot: int) -> None:
    """Add the active files that the column stores of a slot lack, and merge small segments."""
    _check_store(slot)
    root = ctx.home.archive / "aca0"
    for imgsize in IMGSIZES:
        with L0Index(root) as index:
            wanted = index.active_sums(slot, imgsize)
            missing = l0_store.missing(root, slot, imgsize, wanted)
            records = [record for name in missing if (record := index.get(name))]
        added = 0
        for first in range(0, len(records), l0_store.BATCH):
            ctx.checkpoint()
            added += l0_store.add(root, _read(ctx, records[first : first + l0_store.BATCH]))
            ctx.progress(first, len(records), f"slot {slot}, {imgsize}x{imgsize}")
        merged = l0_store.merge(root, slot, imgsize, wanted)
        if added or merged:
            ctx.log.info(
                "slot %d, %dx%d: %d files added, %d segments merged",
                *(slot, imgsize, imgsize, added, merged),
            )


def _check_store(slot: int, imgsize: int = 8) -> None:
    if slot not in range(8) or imgsize not in IMGSIZES:
        raise InputError(f"no store of slot {slot}, size {imgsize}; expected 0 to 7 and 4, 6 or 8")


def _read(ctx: Context, records: Sequence[L0File]) -> list[tuple[L0File, ImageTable]]:
    """Read archived files; one that cannot be read is left to the tree, where readers meet it."""
    root, files = ctx.home.archive / "aca0", []
    for record in records:
        try:
            files.append(read_l0_content(root / record.path, record.filename))
        except (DataError, FileNotFoundError) as err:
            ctx.log.error("not stored: %s", err)
    return files


def rebuild_l0_store(ctx: Context, slot: int, imgsize: int) -> None:
    """Build a column store anew from the archived files, then put it in the place of the old.

    Readers use the old one or the files until then; what arrives meanwhile is added by the next
    update, which waits for this job.
    """
    _check_store(slot, imgsize)
    root = ctx.home.archive / "aca0"
    staged = Store(ctx.stage("store"), "keep", l0_store.CODEC)
    with L0Index(root) as index:
        l0_store.build(staged, root, index.active(slot, imgsize))
    ctx.fence(f"aca0.store:{slot}")
    l0_store.replace(root, slot, imgsize, staged.root)
    stored = len(l0_store.store_of(root, slot, imgsize).sources())
    ctx.log.info("slot %d, %dx%d: %d files stored", slot, imgsize, imgsize, stored)


def unknown_file(ctx: Context, path: str, sha256: str, size: int) -> None:
    """Refuse a file that no rule knows, saying which names are known."""
    ctx.input(path, sha256)
    name = messages.original_name(path)
    raise SchemaError(
        f"{name}: no rule knows this name; known: {messages.known_patterns()}", ctx.home.root / path
    )


def reindex_l0_file(ctx: Context, filename: str) -> None:
    """Read one archived level-0 file again, renew its index row, and settle its neighbours."""
    root = ctx.home.archive / "aca0"
    with L0Index(root) as index:
        known = index.get(filename)
        if known is None:
            raise MissingDataError(f"{filename} is not in the archive {root.name}")
        ctx.fence(f"aca0:{known.slot}")
        record = read_l0_file(root / known.path, known.filename)
        change = index.commit(record, ctx.provenance)
    ctx.publish("aca_l0", root / record.path)
    _announce(ctx, record, change)


def reconcile(ctx: Context, checksums: bool) -> None:
    """Compare the level-0 archive on disk with its index; index what a crash left unindexed.

    Parameters
    ----------
    checksums : bool
        Also read every file and compare its checksum.

    Raises
    ------
    DataError
        Files are missing, altered or cannot be used: a person must look.
    """
    root = ctx.home.archive / "aca0"
    if not root.exists():
        ctx.log.info("the level-0 archive is empty")
        return
    with L0Index(root) as index:
        found = index.audit(contents=checksums)
        unusable = [
            problem for path in found.unindexed if (problem := _index_unindexed(ctx, index, path))
        ]
        repaired = len(found.unindexed) - len(unusable)
    for title, names in (
        ("missing on disk", found.missing),
        ("altered on disk", found.altered),
        ("inconsistent in the index", found.inconsistent),
        ("unusable", unusable),
    ):
        for name in names:
            ctx.log.error("%s: %s", title, name)
    bad = [*found.missing, *found.altered, *found.inconsistent, *unusable]
    if bad:
        raise DataError(
            f"{len(bad)} files of {root.name} need a person; the first: {bad[0]}"
            " (the log of this job lists all)",
            root,
        )
    ctx.log.info("disk and index agree; %d files were indexed", repaired)


def _index_unindexed(ctx: Context, index: L0Index, path: Path) -> str:
    """Index a file that a crash left between rename and commit; return what is wrong, if so."""
    ctx.fence(f"aca0:{paths.parse_l0_name(path.name).slot}")
    if index.get(path.name) is not None:
        return ""  # it was being published and has its row by now
    try:
        record = read_l0_file(path, path.name)
    except DataError as err:
        return str(err)  # names the file
    change = index.commit(record, ctx.provenance)
    ctx.publish("aca_l0", path)
    _announce(ctx, record, change)
    return ""


def backup_ledger(ctx: Context) -> Skipped | None:
    """Write a copy of the SQLite ledger under ``state/backup``; keep the newest seven."""
    ledger = ctx.runtime.ledger
    if not ledger.is_sqlite or ledger.url.database is None:
        return Skipped("the ledger is a PostgreSQL database; its server makes the backups")
    folder = ctx.home.state / "backup"
    storage.make_dirs(folder)
    target = folder / time.strftime("ledger-%Y%j-%H%M%S.db", time.gmtime(ctx.claim.started_at))
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    with storage.translated(target):
        connection = sqlite3.connect(ledger.url.database, timeout=30.0)
        try:
            connection.execute("VACUUM INTO ?", (str(part),))
        finally:
            connection.close()
        storage.place(part, target)
    for old in sorted(folder.glob("ledger-*.db"))[:-KEEP_BACKUPS]:
        old.unlink()
    ctx.log.info("ledger copied to %s, %d bytes", target.name, target.stat().st_size)
    return None
