"""From a file in the inbox to an event: take it by rename, hash it, record it.

inotify makes it fast; the rescan is what guarantees arrival. A file that was renamed into the
inbox is complete; one written in place is taken when it has not changed for a while. Nothing is
opened but to hash it: the name alone says what it is.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers.api import BaseObserver

from acaflow import storage
from acaflow.errors import AcaflowError, InputError
from acaflow.runtime import messages, quarantine
from acaflow.runtime.core import Runtime
from acaflow.runtime.records import TERMINAL, NewEvent, new_id

__all__ = ["Delivery", "Watcher", "deliver"]

log = logging.getLogger(__name__)

LOOK_S, POLL_S, RESCAN_S, PAIR_S = 0.5, 2.0, 300.0, 0.005
MAX_NAME_BYTES = 200
"""Longer names keep their end; with the event id in front they must fit into 255 bytes."""

IGNORED_ENDINGS = (".part", ".tmp", ".filepart", "~")


@dataclass(frozen=True)
class Delivery:
    """What became of a delivered file.

    Attributes
    ----------
    event_id : str
        The event that knows these bytes under this name.
    is_new : bool
        False: it was delivered before, nothing happens.
    """

    name: str
    event_id: str
    is_new: bool


def _safe_name(name: str) -> str:
    """Return a name that can be stored as text: undecodable and control characters replaced."""
    text = os.fsencode(name).decode("utf-8", "replace")
    text = "".join(char if char.isprintable() else "?" for char in text)
    while len(text.encode()) > MAX_NAME_BYTES:
        text = text[1:]
    return text


def deliver(
    runtime: Runtime, source: Path, user: str, *, name: str | None = None, force: bool = False
) -> Delivery:
    """Hand over a copy of a file that stays where it is (command line).

    Raises
    ------
    InputError
        No readable file there.
    """
    name = name or _safe_name(source.name)
    event_id = new_id()
    taken = runtime.home.taken / f"{event_id}.{name}"
    part = taken.with_name(f".{taken.name}.part")
    try:
        shutil.copyfile(source, part)
    except OSError as err:
        part.unlink(missing_ok=True)
        raise InputError(f"{source} cannot be read: {err.strerror}") from err
    # Hashed before it has its name: a rescan that found it unrecorded would forget `force`.
    arrival = _arrival(part, taken, f"cli:{user}", force=force)
    part.rename(taken)
    return _record(runtime, taken, arrival)


def _arrival(current: Path, taken: Path, source: str, *, force: bool = False) -> NewEvent:
    """Hash the file `current` and make the event of its arrival as `taken`."""
    path = f"{messages.TAKEN}{taken.name}"
    status = current.stat()
    return messages.file_event(
        messages.original_name(path),
        path,
        storage.sha256_file(current),
        status.st_size,
        source,
        force=force,
        id=taken.name.split(".", 1)[0],
        occurred_at=status.st_mtime,
    )


def _record(runtime: Runtime, taken: Path, arrival: NewEvent) -> Delivery:
    """Record the arrival of a taken file."""
    name, event_id = messages.original_name(taken.name), arrival.id
    recorded = runtime.record([arrival])
    if recorded.new:
        log.info("%s: %s, event %s", name, arrival.kind, event_id)
        return Delivery(name, event_id, is_new=True)
    known = recorded.known[arrival.dedupe_key]
    if known == event_id:  # a crash after COMMIT, found again by the rescan
        return Delivery(name, event_id, is_new=False)
    _drop_repeat(runtime, taken, name, known)
    return Delivery(name, known, is_new=False)


def _drop_repeat(runtime: Runtime, taken: Path, name: str, known: str) -> None:
    """Remove a file whose bytes another event knows, unless that event lost its own copy."""
    jobs = runtime.ledger.jobs_of(known)
    first = runtime.home.taken / f"{known}.{name}"
    dead = next((row for row in jobs if row["state"] == "dead"), None)
    states = ", ".join(row["state"] for row in jobs) or "no jobs"
    log.info("%s: delivered before as event %s (%s); nothing to do", name, known, states)
    if any(row["state"] not in TERMINAL for row in jobs) and not first.exists():
        taken.rename(first)
        return
    if dead is not None:
        quarantine.keep_copy(runtime.home, known, name, taken, dead)
    taken.unlink(missing_ok=True)


class Watcher(FileSystemEventHandler):
    """Watches the inbox of one home.

    Parameters
    ----------
    runtime : Runtime
        Home, ledger and transport.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.inbox = runtime.home.inbox
        self.stop = threading.Event()
        self._settling: dict[Path, tuple[tuple[int, int], float]] = {}
        self._lock = threading.Lock()
        self._rescan_at = 0.0
        mode = runtime.settings.watch_mode
        if mode == "auto":
            remote = storage.file_system(self.inbox) in storage.NETWORK_FILE_SYSTEMS
            mode = "poll" if remote else "inotify"
        self.mode = mode

    def run(self) -> None:
        """Watch until `stop` is set."""
        observer = self._start_observer() if self.mode == "inotify" else None
        pause_s = POLL_S if observer is None else LOOK_S
        log.info("watcher ready: %s (%s)", self.inbox, self.mode)
        try:
            while True:
                self._guarded(self.look)
                if self.stop.wait(pause_s):
                    return
        finally:
            if observer is not None:
                observer.stop()

    def _start_observer(self) -> BaseObserver:
        from watchdog.observers.inotify import InotifyObserver
        from watchdog.observers.inotify_move_event_grouper import InotifyMoveEventGrouper

        # Who reads the "moved from" before its "moved to" is there sleeps this long, 0.5 s by
        # default, with every later event behind it. Only the "moved to" matters here.
        InotifyMoveEventGrouper.delay = PAIR_S
        # Full events tell "renamed into the inbox" (complete) from "created there" (not yet).
        observer = InotifyObserver(generate_full_events=True)
        observer.schedule(self, str(self.inbox), recursive=True)
        observer.start()
        return observer

    def _guarded(self, work: Any, *args: Any) -> None:
        """Run one piece of work; the watcher goes on whatever it meets."""
        try:
            work(*args)
        except (AcaflowError, OSError) as err:
            log.warning("watcher: %s", err)
        except Exception:
            log.exception("watcher")

    # --- what the observer calls ---

    def on_moved(self, event: FileSystemEvent) -> None:
        """Take a file that was renamed into the inbox or to its final name there."""
        self._arrived(os.fsdecode(event.dest_path), event.is_directory)

    def on_created(self, event: FileSystemEvent) -> None:
        """Look into a new folder; a new file is waited for until it is closed."""
        if event.is_directory:
            self._rescan_at = 0.0

    def on_closed(self, event: FileSystemEvent) -> None:
        """Start the settling time of a file written in place."""
        path = Path(os.fsdecode(event.src_path))
        if not event.is_directory and self._wanted(path):
            self._settle(path)

    def _arrived(self, name: str, is_directory: bool) -> None:
        path = Path(name)
        if is_directory:
            self._rescan_at = 0.0
        elif self._wanted(path):
            self._guarded(self.take, path)

    # --- settling ---

    def _settle(self, path: Path) -> None:
        try:
            status = path.stat()
        except OSError:
            return
        stamp = (status.st_size, status.st_mtime_ns)
        with self._lock:
            if self._settling.get(path, (None,))[0] != stamp:
                self._settling[path] = (stamp, time.monotonic())

    def look(self) -> None:
        """Take what has settled; rescan when it is time."""
        now = time.monotonic()
        if now >= self._rescan_at:
            self._rescan_at = now + RESCAN_S
            self.rescan()
        else:
            self._find()
        with self._lock:
            known = list(self._settling.items())
        for path, (stamp, since) in known:
            self._settle(path)
            with self._lock:
                gone = not path.exists()
                if gone:
                    self._settling.pop(path, None)
            unchanged = self._settling.get(path) == (stamp, since)
            if not gone and unchanged and now - since >= self.runtime.settings.settle_s:
                with self._lock:
                    self._settling.pop(path, None)
                self._guarded(self.take, path)

    def _wanted(self, path: Path) -> bool:
        try:
            inner = path.relative_to(self.inbox)
        except ValueError:
            return False
        hidden = any(part.startswith(".") for part in inner.parts)
        if hidden or path.name.endswith(IGNORED_ENDINGS) or path.is_symlink():
            return False
        return path.is_file()

    def _files(self) -> Iterator[Path]:
        for folder, names, files in os.walk(self.inbox):
            names[:] = [name for name in names if not name.startswith(".")]
            yield from (Path(folder) / name for name in files)

    def _find(self) -> None:
        """Notice files that no event told of (queue overflow, polling)."""
        for path in self._files():
            if path not in self._settling and self._wanted(path):
                self._settle(path)

    # --- taking ---

    def take(self, path: Path) -> Delivery | None:
        """Take a complete file in hand; None if another watcher was faster."""
        event_id = new_id()
        taken = self.runtime.home.taken / f"{event_id}.{_safe_name(path.name)}"
        try:
            path.rename(taken)
        except FileNotFoundError:
            return None
        return _record(self.runtime, taken, _arrival(taken, taken, "watch"))

    def rescan(self) -> None:
        """Find what was missed: files in the inbox, taken files without event, ended ones."""
        for path in sorted(self._files()):
            if self._wanted(path):
                self._guarded(self._take_or_settle, path)
        for taken in sorted(self.runtime.home.taken.iterdir()):
            if not taken.name.startswith("."):
                self._guarded(self._revisit, taken)

    def _take_or_settle(self, path: Path) -> None:
        settled_before = time.time() - self.runtime.settings.settle_s
        if path.stat().st_mtime < settled_before:
            self.take(path)
        else:
            self._settle(path)

    def _revisit(self, taken: Path) -> None:
        event_id = taken.name.split(".", 1)[0]
        if not self.runtime.ledger.jobs_of(event_id):
            _record(self.runtime, taken, _arrival(taken, taken, "watch"))
        quarantine.dispose(self.runtime, event_id, f"{messages.TAKEN}{taken.name}")
