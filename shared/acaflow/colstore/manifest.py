"""The manifest: which files and which of their rows are the store now.

A commit is the rename of a new ``manifest.json`` over the old one. It is small (tens of kB after
twenty years) because rows are named by ranges, and merging joins neighbours.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from acaflow import storage
from acaflow.colstore.image import FORMAT, Place, Spec
from acaflow.colstore.records import DamagedStoreError

__all__ = ["File", "Manifest", "Piece", "identity", "load", "write"]

NAME = "manifest.json"


@dataclass(frozen=True)
class File:
    """A segment.

    Parameters
    ----------
    rows, size : int
        Number of rows; bytes.
    tier : int
        How often its rows were merged.
    schema : str
        Same text, same columns.
    t_first, t_last : float
        All its sources, also the parts that are not visible, lie within (s).
    row_bytes : int
        Bytes of one row of its widest column.
    places : pair of Place
        Its head and its list of chunks.
    """

    rows: int
    size: int
    tier: int
    schema: str
    t_first: float
    t_last: float
    row_bytes: int
    places: tuple[Place, Place]


@dataclass(frozen=True)
class Piece:
    """Visible rows of a file: row0 to row1, with TIME from t_first to t_last (s)."""

    file: str
    row0: int
    row1: int
    t_first: float
    t_last: float

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.row1 - self.row0


@dataclass(frozen=True)
class Manifest:
    """One state of a store.

    Parameters
    ----------
    mode : str
        ``keep`` or ``cut``.
    generation : int
        Counts segments; the last one has this number.
    files : dict of str to File
        The segments of this state.
    pieces : tuple of Piece
        Visible rows, by t_first.
    columns : dict of str to Spec
        Every column that was ever delivered, in cut mode.
    trash : dict of str to float
        Replaced files and when they were replaced (epoch s).
    """

    mode: str
    generation: int = 0
    files: dict[str, File] = field(default_factory=dict)
    pieces: tuple[Piece, ...] = ()
    columns: dict[str, Spec] = field(default_factory=dict)
    trash: dict[str, float] = field(default_factory=dict)


def identity(root: Path) -> tuple[int, int, int] | None:
    """Return what changes with every commit; None without a manifest."""
    try:
        found = (root / NAME).stat()
    except FileNotFoundError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def load(root: Path, mode: str) -> Manifest:
    """Read the manifest; an empty one where nothing was written yet.

    Raises
    ------
    DamagedStoreError
        It is no manifest of this format and mode.
    """
    path = root / NAME
    try:
        text = json.loads(path.read_bytes())
    except FileNotFoundError:
        return Manifest(mode)
    except ValueError as err:
        raise DamagedStoreError(f"{path} is no manifest: {err}", path) from err
    if (text.pop("format"), text["mode"]) != (FORMAT, mode):
        raise DamagedStoreError(f"{path} is not of format {FORMAT} and mode {mode}", path)
    files = {
        name: File(**(item | {"places": tuple(Place(**place) for place in item["places"])}))
        for name, item in text["files"].items()
    }
    columns = {name: Spec(**item) for name, item in text["columns"].items()}
    pieces = tuple(Piece(*item) for item in text["pieces"])
    return Manifest(mode, text["generation"], files, pieces, columns, text["trash"])


def write(root: Path, manifest: Manifest) -> None:
    """Commit: replace the manifest in one durable step."""
    text = {
        "format": FORMAT,
        **vars(manifest),
        "files": {
            name: vars(file) | {"places": [vars(place) for place in file.places]}
            for name, file in manifest.files.items()
        },
        "pieces": [list(vars(piece).values()) for piece in manifest.pieces],
        "columns": {name: vars(spec) for name, spec in manifest.columns.items()},
    }
    storage.write_text(root / NAME, json.dumps(text))
