"""Where the files of one dark calibration are, before and after publication.

::

    <archive>/aca_dark/<id>/                image.fits, properties.json, quality.json, info.csv
                       raw/<id>/            delivered files, and info.csv if it was delivered
                       l0/<id>/             replica<N>_L0.fits.gz and replica<N>.json: decoded copy
                       old/<id>-r<n>/       replaced revisions
                       zodi.csv             a row for each published calibration
    <work>/aca_dark/<id>/                   assembled and not published: as <archive>/aca_dark/<id>
    <www>/dark_cal/<YYYY>_<mon>/            the report
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from acaflow import storage
from acaflow.archive.aca_dark.dark_cal import get_dark_cal_dirs
from acaflow.archive.aca_dark.dark_files import IMAGE, PROPERTIES, QUALITY, read_json
from acaflow.errors import InputError
from acaflow.paths import DARK_ID, VC2_NAME, Home, parse_vc2_name

__all__ = ["INFO", "PUBLISHED", "DarkTree", "Decoded", "report_names"]

INFO = "info.csv"
PUBLISHED = (IMAGE, QUALITY, INFO, PROPERTIES)
"""Files of a published calibration, in the order in which a revision replaces them."""
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True)
class Decoded:
    """What became of a delivered file when it was decoded.

    Attributes
    ----------
    name, sha256 : str
        The delivered file.
    error : str
        Why it cannot be used; '' if it can.
    """

    name: str
    sha256: str
    error: str = ""


@dataclass(frozen=True)
class DarkTree:
    """The places of one calibration.

    Parameters
    ----------
    home : Home
        The folders.
    dark_id : str
        YYYYDOY.

    Raises
    ------
    InputError
        `dark_id` is none.
    """

    home: Home
    dark_id: str

    def __post_init__(self) -> None:
        if not DARK_ID.fullmatch(self.dark_id):
            raise InputError(f"{self.dark_id!r} is no dark-calibration id; expected YYYYDOY")

    @classmethod
    def all(cls, home: Home) -> list[Self]:
        """Return the trees of all ids of which a file was delivered, sorted."""
        raw = home.archive / "aca_dark" / "raw"
        names = sorted(path.name for path in raw.iterdir()) if raw.is_dir() else []
        return [cls(home, name) for name in names if DARK_ID.fullmatch(name)]

    @property
    def root(self) -> Path:
        """The archive of dark calibrations."""
        return self.home.archive / "aca_dark"

    @property
    def published(self) -> Path:
        """The published calibration."""
        return self.root / self.dark_id

    @property
    def raw(self) -> Path:
        """Delivered files."""
        return self.root / "raw" / self.dark_id

    @property
    def staged(self) -> Path:
        """The assembled calibration that waits for publication, or failed."""
        return self.home.work / "aca_dark" / self.dark_id

    @property
    def l0(self) -> Path:
        """Decoded files."""
        return self.root / "l0" / self.dark_id

    @property
    def state(self) -> str:
        """How far the calibration has come, in some words."""
        if self.published.is_dir():
            return "published" + ", a revision is not" * self.staged.is_dir()
        if self.staged.is_dir():
            return "assembled, not published"
        return "decoded" if any(self.l0.glob("*.fits.gz")) else "received"

    def raw_files(self) -> dict[int, Path]:
        """Return the delivered file of each replica, by number."""
        if not self.raw.is_dir():
            return {}
        paths = sorted(path for path in self.raw.iterdir() if VC2_NAME.fullmatch(path.name))
        return dict(sorted((parse_vc2_name(path.name).replica, path) for path in paths))

    def decoded(self, replica: int) -> Path:
        """Return where the decoded copy of a replica is."""
        return self.l0 / f"replica{replica}_L0.fits.gz"

    def note(self, replica: int) -> Decoded | None:
        """Return what became of a replica; None if it was not decoded yet."""
        try:
            text = self._note(replica).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        return Decoded(**json.loads(text))

    def write_note(self, replica: int, note: Decoded) -> None:
        """Write down what became of a replica."""
        storage.write_text(self._note(replica), json.dumps(asdict(note), sort_keys=True))

    def is_decoded(self, replica: int, raw: Path) -> bool:
        """Tell whether a delivered file, as it is now, was decoded or found unusable."""
        note = self.note(replica)
        if note is None or note.sha256 != storage.sha256_file(raw):
            return False
        return bool(note.error) or self.decoded(replica).exists()

    def properties(self) -> dict[str, Any] | None:
        """Return the properties of the published calibration, if there is one."""
        path = self.published / PROPERTIES
        return read_json(path) if path.exists() else None

    def other_ids(self) -> list[str]:
        """Return the ids of the other calibrations, delivered or published."""
        ids = {*get_dark_cal_dirs(self.root), *(tree.dark_id for tree in self.all(self.home))}
        return sorted(ids - {self.dark_id})

    def _note(self, replica: int) -> Path:
        return self.l0 / f"replica{replica}.json"

    def report(self, name: str) -> Path:
        """Return the folder of a report."""
        return self.home.root / "www" / "dark_cal" / name


def report_names(dark_id: str, taken: dict[str, str]) -> str:
    """Return the name of the report of a calibration: its month, ``_2`` for the second one.

    Parameters
    ----------
    dark_id : str
        YYYYDOY.
    taken : dict
        Names given already, by id; a name once given never changes.

    Examples
    --------
    >>> report_names("2009279", {"2009274": "2009_oct"})
    '2009_oct_2'
    """
    if dark_id in taken:
        return taken[dark_id]
    from acaflow import times

    month = int(times.convert(f"{dark_id[:4]}:{dark_id[4:]}", "isot")[5:7])
    base = f"{dark_id[:4]}_{MONTHS[month - 1]}"
    used = set(taken.values())
    candidates = (base if n == 1 else f"{base}_{n}" for n in range(1, len(used) + 2))
    return next(name for name in candidates if name not in used)
