"""The life of a delivered file after its jobs: processed/ or quarantine/, and back.

Every file in hand is ``inbox/.taken/<event id>.<name>``. When all jobs of its event have ended
it gets its second name and loses the first; a crash between the two leaves both, harmless, and
the rescan repeats. Folders are dated by the time in the event id, so that nothing is searched.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acaflow import storage
from acaflow.errors import MissingDataError
from acaflow.paths import Home
from acaflow.runtime import messages
from acaflow.runtime.records import TERMINAL, id_time, new_id

if TYPE_CHECKING:
    from acaflow.runtime.core import Runtime

__all__ = ["Entry", "dispose", "entries", "keep_copy", "release", "restore"]

REASON = "reason.json"


@dataclass(frozen=True)
class Entry:
    """A file in quarantine with its reason (``error_class``, ``error_text``, ``job_id`` …)."""

    event_id: str
    name: str
    path: Path
    size: int
    reason: dict[str, Any]


def _day(event_id: str) -> str:
    return time.strftime("%Y/%j", time.gmtime(id_time(event_id)))


def folder_of(home: Home, event_id: str) -> Path:
    """Return the quarantine folder of an event."""
    return home.quarantine / _day(event_id) / event_id


def dispose(runtime: Runtime, event_id: str, path: str) -> bool:
    """File a delivery away if all jobs of its event have ended; tell whether it was.

    Parameters
    ----------
    runtime : Runtime
        Home and ledger.
    event_id : str
        The arrival event.
    path : str
        Home-relative path of the taken file; anything else is left alone.
    """
    home = runtime.home
    taken = home.root / path
    if not path.startswith(messages.TAKEN) or not taken.exists():
        return False
    jobs = runtime.ledger.jobs_of(event_id)
    if any(row["state"] not in TERMINAL for row in jobs):
        return False
    name = messages.original_name(path)
    dead = next((row for row in jobs if row["state"] == "dead"), None)
    try:
        if dead is not None:
            keep_copy(home, event_id, name, taken, dead)
        elif runtime.settings.processed == "keep":
            storage.link_into(taken, home.processed / _day(event_id) / f"{event_id}.{name}")
        taken.unlink()
    except FileNotFoundError:
        return False  # the rescan and the worker that ended the job may come at once
    return True


def keep_copy(home: Home, event_id: str, name: str, source: Path, why: Any) -> None:
    """Link a file into quarantine with the reason beside it.

    Parameters
    ----------
    why : mapping
        ``id`` (job), ``error_class``, ``error_text`` and ``sha256`` if known.
    """
    folder = folder_of(home, event_id)
    storage.link_into(source, folder / name)
    reason = {
        "event_id": event_id,
        "job_id": why["id"],
        "error_class": why["error_class"],
        "error_text": (why["error_text"] or "")[:400],
        "sha256": storage.sha256_file(folder / name),
        "time": time.time(),
    }
    storage.write_text(folder / REASON, json.dumps(reason, indent=1, sort_keys=True))


def entries(home: Home) -> list[Entry]:
    """List the quarantine, newest first."""
    found = []
    for reason_file in home.quarantine.glob(f"*/*/*/{REASON}"):
        reason = json.loads(reason_file.read_text(encoding="utf-8"))
        for path in reason_file.parent.iterdir():
            if path != reason_file and not path.name.startswith("."):
                entry = Entry(reason["event_id"], path.name, path, path.stat().st_size, reason)
                found.append(entry)
    return sorted(found, key=lambda entry: entry.event_id, reverse=True)


def _find(home: Home, event_id: str) -> Entry:
    for entry in entries(home):
        if entry.event_id == event_id:
            return entry
    raise MissingDataError(f"no file of event {event_id} in quarantine")


def release(runtime: Runtime, event_id: str, user: str, source: str = "cli") -> str:
    """Deliver a file from quarantine again, as a new forced event; return the event's id."""
    entry = _find(runtime.home, event_id)
    event = new_id()
    path = f"{messages.TAKEN}{event}.{entry.name}"
    taken = runtime.home.root / path
    storage.link_into(entry.path, taken)
    arrival = messages.file_event(
        entry.name,
        path,
        storage.sha256_file(taken),
        entry.size,
        f"{source}:{user}",
        force=True,
        id=event,
    )
    runtime.record([arrival])
    shutil.rmtree(entry.path.parent)
    return event


def restore(home: Home, event_id: str, path: str) -> None:
    """Put a file back in hand before its dead job is requeued."""
    if not path.startswith(messages.TAKEN):
        return
    taken = home.root / path
    kept = folder_of(home, event_id) / messages.original_name(path)
    if not taken.exists() and kept.exists():
        storage.link_into(kept, taken)
        shutil.rmtree(kept.parent)
