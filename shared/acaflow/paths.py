"""The one place that turns a home, a time or an obsid into a folder or file name.

Nothing here touches the disk except `Home.create`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from acaflow.errors import ConfigError, InputError, SchemaError

__all__ = [
    "Home",
    "L0Name",
    "SamplesName",
    "Vc2Name",
    "inside",
    "l0_dir",
    "l0_stored_name",
    "parse_l0_name",
    "parse_samples_name",
    "parse_vc2_name",
]

L0_NAME = re.compile(r"acaf(\d{9,})N(\d{3})_([0-7])_img0\.fits(\.gz)?")
"""Level-0 image file name (aca-archive 2.1): time, processing version, slot."""
PACKETS_NAME = re.compile(r"aca_packets_(\d{9,})_\d{9,}\.(?:fits|bin)(?:\.gz)?")
"""File of raw ACA packets: first and last time (CXC seconds)."""
SAMPLES_NAME = re.compile(r"eng_([0-9A-Z][0-9A-Z_]*)_(\d{1,10})_(\d{1,10})\.csv\.gz")
"""File of engineering samples: MSID, first and last second (CXC seconds)."""
_DAY = r"0(?!00)\d\d|[12]\d\d|3[0-5]\d|36[0-6]"
DARK_ID = re.compile(rf"[12]\d{{3}}(?:{_DAY})", re.ASCII)
"""Year and day of year of a dark calibration."""
VC2_NAME = re.compile(rf"([12]\d{{3}})_({_DAY})_VC2_Replica([1-9]\d?)_SFDU_\d+(?:\.gz)?")
"""File of raw frames of one dark-calibration replica (dark-cal B2): year, day, replica."""

DARK_INFO_NAME = re.compile(rf"[12]\d{{3}}_(?:{_DAY})_info\.csv")
"""Star-catalogue facts of the dark calibration of a day."""


@dataclass(frozen=True)
class Home:
    """The folders of one acaflow home (architecture 3).

    Parameters
    ----------
    root : Path
        ``ACAFLOW_HOME``; made absolute.
    """

    root: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root).expanduser().absolute())

    @property
    def inbox(self) -> Path:
        """Watched drop folder."""
        return self.root / "inbox"

    @property
    def taken(self) -> Path:
        """Files taken in hand; inside the watched tree (task-queue 4.1)."""
        return self.inbox / ".taken"

    @property
    def quarantine(self) -> Path:
        """Files that failed validation, with the reason beside each."""
        return self.root / "quarantine"

    @property
    def processed(self) -> Path:
        """Files whose jobs are all done."""
        return self.root / "processed"

    @property
    def archive(self) -> Path:
        """Published products; readable without anything else of the home."""
        return self.root / "archive"

    @property
    def work(self) -> Path:
        """Staging on the file system of the archive; safe to delete when idle."""
        return self.root / "work"

    @property
    def state(self) -> Path:
        """Operational state: ledger, Redis, logs, locks."""
        return self.root / "state"

    @property
    def run(self) -> Path:
        """Sockets, lock file and recorded process ids of `acaflow up`."""
        return self.state / "run"

    @property
    def locks(self) -> Path:
        """Files that publish sections lock."""
        return self.state / "locks"

    @property
    def logs(self) -> Path:
        """Process logs; job logs under ``jobs/YYYY/DOY``."""
        return self.state / "logs"

    def create(self) -> None:
        """Make every folder of the home; ConfigError if one cannot be made or written."""
        folders = [self.taken, self.quarantine, self.processed, self.archive, self.work]
        folders += [
            self.root / "www",
            self.run,
            self.locks,
            self.logs / "jobs",
            self.state / "redis",
        ]
        try:
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
            probe = self.state / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as err:
            raise ConfigError(
                f"home {self.root} cannot be written ({err.strerror}: {err.filename});"
                " set ACAFLOW_HOME to a folder you own"
            ) from err


def inside(root: Path, relative: str) -> Path:
    """Resolve a path that came from outside and make sure it stays inside `root`.

    Parameters
    ----------
    root : Path
        Folder that must contain the result.
    relative : str
        Relative path with forward slashes.

    Returns
    -------
    Path
        The absolute path, symbolic links resolved.

    Raises
    ------
    InputError
        Absolute path, ``..``, NUL, or a symbolic link that leads out of `root`.
    """
    parts = PurePosixPath(relative)
    if not relative or "\0" in relative or parts.is_absolute() or ".." in parts.parts:
        raise InputError(f"path {relative!r} is not a plain path below {root.name}/")
    resolved = (root / parts).resolve()
    if not resolved.is_relative_to(root.resolve()):
        raise InputError(f"path {relative!r} leads out of {root.name}/")
    return resolved


@dataclass(frozen=True)
class L0Name:
    """What the name of a level-0 image file says.

    Attributes
    ----------
    filetime : int
        Integer part of the header TSTART (CXC seconds).
    version : int
        Processing version.
    slot : int
        Image slot, 0 to 7.
    """

    filetime: int
    version: int
    slot: int


def parse_l0_name(name: str) -> L0Name:
    """Take a level-0 file name apart; SchemaError if it is none.

    Examples
    --------
    >>> parse_l0_name("acaf686111014N001_0_img0.fits.gz")
    L0Name(filetime=686111014, version=1, slot=0)
    """
    match = L0_NAME.fullmatch(name)
    if match is None:
        raise SchemaError(
            f"{name!r} is not a level-0 image file name;"
            " expected acaf<TSTART, 9 digits or more>N<version, 3 digits>_<slot 0-7>_img0.fits[.gz]"
        )
    return L0Name(int(match[1]), int(match[2]), int(match[3]))


@dataclass(frozen=True)
class SamplesName:
    """What the name of a file of engineering samples says.

    Attributes
    ----------
    msid : str
        Upper case.
    tstart, tstop : int
        Whole seconds of the first and the last sample (CXC seconds).
    """

    msid: str
    tstart: int
    tstop: int


def parse_samples_name(name: str) -> SamplesName:
    """Take the name of a file of engineering samples apart; SchemaError if it is none.

    Examples
    --------
    >>> parse_samples_name("eng_CIUMACAC_708739200_708825599.csv.gz")
    SamplesName(msid='CIUMACAC', tstart=708739200, tstop=708825599)
    """
    match = SAMPLES_NAME.fullmatch(name)
    if match is None:
        raise SchemaError(
            f"{name!r} is not a name of engineering samples;"
            " expected eng_<MSID>_<first second>_<last second>.csv.gz"
        )
    return SamplesName(match[1], int(match[2]), int(match[3]))


@dataclass(frozen=True)
class Vc2Name:
    """What the name of a raw dark-calibration file says.

    Attributes
    ----------
    dark_id : str
        ``YYYYDOY`` of the calibration.
    replica : int
        Number of the replica, from 1.
    """

    dark_id: str
    replica: int


def parse_vc2_name(name: str) -> Vc2Name:
    """Take the name of a raw dark-calibration file apart; SchemaError if it is none.

    Examples
    --------
    >>> parse_vc2_name("2016_125_VC2_Replica2_SFDU_31088.gz")
    Vc2Name(dark_id='2016125', replica=2)
    """
    match = VC2_NAME.fullmatch(name)
    if match is None:
        raise SchemaError(
            f"{name!r} is not the name of a raw dark-calibration file;"
            " expected <YYYY>_<DOY>_VC2_Replica<N>_SFDU_<digits>[.gz]"
        )
    return Vc2Name(match[1] + match[2], int(match[3]))


def l0_stored_name(name: str) -> str:
    """Return the name under which the archive stores a delivery: always ``.fits.gz``."""
    return name if name.endswith(".gz") else f"{name}.gz"


def l0_dir(filetime: int) -> str:
    """Return the folder ``YYYY/DDD`` of a file time (UTC date of the integer second).

    Examples
    --------
    >>> l0_dir(686111014)
    '2019/272'
    """
    from acaflow import times  # numpy; most processes of the runtime never ask for a date

    date = times.date(filetime)
    return f"{date[:4]}/{date[5:8]}"
