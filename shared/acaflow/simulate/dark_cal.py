"""Simulated dark calibrations with known truth: a whole delivery, or an archive of many years.

`simulate_dark_cal` writes what arrives for one calibration::

    YYYY_DOY_VC2_Replica<N>_SFDU_<digits>.gz   dumped readouts of each replica
    YYYY_DOY_info.csv                          when, where and how warm it was planned
    acaf<TSTART>N001_6_img0.fits.gz            level 0 of slot 6: CCD temperature in header 3
    eng_<MSID>_<tstart>_<tstop>.csv.gz         engineering samples of CIUMACAC and AACCCDPT
    truth.npz, truth.json                      what was put in

`simulate_archive` writes published calibrations, for plots over the mission. Equal arguments give
equal bytes.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acaflow import __version__, times
from acaflow.archive.aca_dark.calibrate import describe
from acaflow.archive.aca_dark.ccd import HALF, QUADRANTS, SIZE
from acaflow.archive.aca_dark.dark_cal import date_to_dark_id
from acaflow.archive.aca_dark.dark_files import IMAGE, Calibration, write_calibration
from acaflow.archive.aca_dark.dark_model import dark_temp_scale
from acaflow.archive.aca_dark.info import Info, write_info
from acaflow.archive.aca_dark.zodi import ZODI_E_PER_S, zodi_properties
from acaflow.errors import InputError
from acaflow.simulate.aca_l0 import Func, L0Scenario, Readout, simulate_l0
from acaflow.simulate.dark_ccd import Ccd, compute_dark_map, make_ccd, nominal_t_ccd
from acaflow.simulate.dark_frames import (
    GAIN,
    INTEG_UNIT_S,
    OFFSETS,
    READ_NOISE_E,
    RawFrame,
    ReplicaFrames,
    draw_stars,
    simulate_frames,
)
from acaflow.simulate.vc2 import NO_FAULTS, Faults, cal_records, write_vc2

__all__ = [
    "MARKERS",
    "DarkCalScenario",
    "DarkCalTruth",
    "ReplicaTruth",
    "simulate_archive",
    "simulate_dark_cal",
]

SAMPLE_S = 32.8
"""Time between engineering samples (s)."""
REPLICA_S = 92 * SAMPLE_S
"""Length of a replica (s); whole samples, so that telemetry shows its ends exactly. Ours."""
PERIOD_S = 129 * SAMPLE_S
"""From one replica to the next (s): leaves twice ten minutes of header 3. Ours."""
HEADER3_S = 600.0
"""Before and after each replica header 3 is telemetered (s; dark-cal E10)."""
ENG_BEFORE_S, ENG_AFTER_S = 30_000.0, 100_000.0
"""Engineering samples go beyond the replicas: an event needs a day behind it (dark-cal B1)."""
T_DRIFT_DEGC, T_NOISE_DEGC = 0.02, 0.02
"""Drift of the temperature per replica, and scatter (dark-cal E10)."""
AACCCDPT_NOISE_DEGC = 0.05
"""Scatter of the engineering samples; ours."""
SFDU_NUMBER = 31086
"""Digits in the file name of replica 0; that of 2016:125 has 31088 for replica 2."""
ATTITUDE = (190.0233, 53.4529)
"""Right ascension and declination (deg); ecliptic latitude 51.1, so dark all the year."""
MARKERS = {
    (-500, 500): 3100.0,
    (-5, 10): 3200.0,
    (-300, 200): 3300.0,
    (-500, -500): 4100.0,
    (-5, -10): 4200.0,
    (-300, -200): 4300.0,
    (500, 500): 5100.0,
    (5, 10): 5200.0,
    (300, 200): 5300.0,
    (500, -500): 6100.0,
    (5, -10): 6200.0,
    (300, -200): 6300.0,
}
"""Dark current (e-/s) of pixels by CCD row and column: three in each quadrant, no two alike."""
ARCHIVE_SIGMA = 4.0
"""Noise of a published image (e-/s; dark-cal B6)."""

HIT = np.dtype(
    [("replica", "i2"), ("integ", "i2"), ("row", "i2"), ("col", "i2"), ("electrons", "f4")]
)
Table = npt.NDArray[np.void]


@dataclass(frozen=True)
class DarkCalScenario:
    """Everything that decides the content of a simulated calibration.

    Parameters
    ----------
    date : time
        Start of the first replica.
    seed : int
        Selects the CCD and, with the date, all noise.
    replicas : int
        Pointings, at most 5.
    integ : tuple of int
        Short and long integration time in units of 0.016 s.
    t_ccd : float, optional
        Temperature in the first replica (degC); default by date.
    ra, dec : float
        Attitude (deg).
    zodi : float, optional
        Zodiacal light (e-/s per pixel); default by date and attitude.
    cool, mult : float, optional
        See `acaflow.simulate.dark_ccd.compute_dark_map`.
    n_stars : int
        Stars of magnitude 9 to 11.5 on and around the CCD.
    cosmic_rate : float
        Cosmic rays on the CCD (1/s).
    flicker_s : float
        Mean time between jumps of a warm pixel (s); infinity for none.
    markers : mapping of (row, col) to float
        Pixels of known dark current (e-/s), sky included.
    fill : float
        Fill frames per frame of data.
    receive_delay_s : float
        From the start of a replica to the receipt of its first frame (s).
    dark_id : str, optional
        YYYYDOY in the file names; default that of `date`.
    faults : mapping of int to Faults
        What happens to the files, by replica from 1.

    Raises
    ------
    InputError
        There are not so many pointings, or not the replica of a fault.
    """

    date: Any
    seed: int = 0
    replicas: int = len(OFFSETS)
    integ: tuple[int, int] = (313, 625)
    t_ccd: float | None = None
    ra: float = ATTITUDE[0]
    dec: float = ATTITUDE[1]
    zodi: float | None = None
    cool: float | None = None
    mult: float | None = None
    n_stars: int = 40
    cosmic_rate: float = 30.0
    flicker_s: float = 10_000.0
    markers: Mapping[tuple[int, int], float] = field(default_factory=lambda: MARKERS)
    fill: float = 6.8
    receive_delay_s: float = 30.0
    dark_id: str | None = None
    faults: Mapping[int, Faults] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.replicas not in range(1, len(OFFSETS) + 1):
            raise InputError(f"{self.replicas} replicas; expected 1 to {len(OFFSETS)}")
        if not set(self.faults) <= set(range(1, self.replicas + 1)):
            raise InputError(f"faults of replicas {sorted(self.faults)}; there are {self.replicas}")


@dataclass(frozen=True)
class ReplicaTruth:
    """What is true of one replica.

    Attributes
    ----------
    number : int
        From 1.
    tstart, tstop : float
        CXC seconds.
    t_ccd : float
        Temperature (degC).
    offset : tuple of int
        Shift of the stars against the first replica, rows and columns.
    file : str or None
        Name of its file; None if it was not delivered.
    """

    number: int
    tstart: float
    tstop: float
    t_ccd: float
    offset: tuple[int, int]
    file: str | None


@dataclass(frozen=True, eq=False)
class DarkCalTruth:
    """What was put into a calibration, and what was written.

    Attributes
    ----------
    dark_id : str
        YYYYDOY of the file names.
    t_ccd : float
        Mean temperature of the replicas (degC).
    zodi : float
        Zodiacal light (e-/s per pixel).
    integ_s : tuple of float
        Integration times (s).
    dark : ndarray of float32, shape (1024, 1024)
        Dark current at `t_ccd` at the beginning, zodiacal light and markers included (e-/s).
    flickered : ndarray of bool, shape (1024, 1024)
        Pixels that had another level in some replica.
    stars : structured array of row, col, mag
        Positions in the first replica, CCD row and column.
    hits : structured array of replica, integ, row, col, electrons
        Pixels that cosmic rays hit; integ in units of 0.016 s.
    replicas : list of ReplicaTruth
        In order of time.
    files : list of Path
        Everything written but the truth.
    """

    dark_id: str
    t_ccd: float
    zodi: float
    integ_s: tuple[float, ...]
    dark: npt.NDArray[np.float32]
    flickered: npt.NDArray[np.bool_]
    stars: Table
    hits: Table
    replicas: Sequence[ReplicaTruth]
    files: Sequence[Path]


def simulate_dark_cal(
    folder: Path, scenario: DarkCalScenario, truth_folder: Path | None = None
) -> DarkCalTruth:
    """Write everything that is delivered for one calibration.

    Parameters
    ----------
    folder : Path
        Where to; made if absent. It may be a watched inbox: every file appears whole.
    scenario : DarkCalScenario
        What to simulate.
    truth_folder : Path, optional
        Where ``truth.npz`` and ``truth.json`` go; default `folder`.

    Returns
    -------
    DarkCalTruth

    Raises
    ------
    InputError
        A fault names a record, frame or burst that does not exist.

    Notes
    -----
    Source: dark-cal E.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dark_id = _dark_id(scenario)
    replicas = _replicas(scenario, dark_id)
    t_ccd = float(np.mean([one.t_ccd for one in replicas]))
    zodi = _zodi(scenario)
    dark = _dark_current(scenario, t_ccd, zodi)
    stars = draw_stars(_rng(scenario, "stars"), scenario.n_stars)
    readouts = simulate_frames(
        dark,
        stars,
        _seed(scenario, "frames"),
        scales=[float(dark_temp_scale(t_ccd, one.t_ccd)) for one in replicas],
        zodi=zodi,
        integ=scenario.integ,
        cosmic_rate=scenario.cosmic_rate,
        flicker_s=scenario.flicker_s,
        period_s=PERIOD_S,
    )
    files, hits, flickered = [], [], np.zeros(dark.shape, bool)
    for replica, frames in zip(replicas, readouts, strict=True):
        flickered |= frames.change != 1
        hits += [_hits(replica.number, frame) for frame in (frames.short, frames.long)]
        if replica.file:
            files.append(_write_replica(folder / replica.file, replica, frames, scenario))
    truth = DarkCalTruth(
        dark_id=dark_id,
        t_ccd=t_ccd,
        zodi=zodi,
        integ_s=tuple(counts * INTEG_UNIT_S for counts in scenario.integ),
        dark=dark + np.float32(zodi),
        flickered=flickered,
        stars=stars,
        hits=np.concatenate(hits),
        replicas=replicas,
        files=files + _write_telemetry(folder, replicas, scenario),
    )
    _write_truth(truth_folder or folder, truth, scenario)
    return truth


_PURPOSES = ("stars", "frames", "temperatures", "samples", "archive")


def _seed(scenario: DarkCalScenario, purpose: str) -> list[int]:
    return [scenario.seed, _PURPOSES.index(purpose), int(times.secs(scenario.date))]


def _rng(scenario: DarkCalScenario, purpose: str) -> np.random.Generator:
    return np.random.default_rng(_seed(scenario, purpose))


def _zodi(scenario: DarkCalScenario) -> float:
    if scenario.zodi is not None:
        return scenario.zodi
    return float(ZODI_E_PER_S * zodi_properties(scenario.ra, scenario.dec, scenario.date)["zodib"])


def _dark_current(scenario: DarkCalScenario, t_ccd: float, zodi: float) -> npt.NDArray[np.float32]:
    """Return the dark current without sky, markers put in."""
    dark = compute_dark_map(
        make_ccd(scenario.seed), scenario.date, t_ccd, cool=scenario.cool, mult=scenario.mult
    )
    for (row, col), rate in scenario.markers.items():
        dark[row + HALF, col + HALF] = rate - zodi
    return dark


def _planned_t_ccd(scenario: DarkCalScenario) -> float:
    return nominal_t_ccd(scenario.date) if scenario.t_ccd is None else scenario.t_ccd


def _dark_id(scenario: DarkCalScenario) -> str:
    return scenario.dark_id or str(date_to_dark_id(scenario.date))


def _replicas(scenario: DarkCalScenario, dark_id: str) -> list[ReplicaTruth]:
    start, n = times.secs(scenario.date), scenario.replicas
    scatter = T_NOISE_DEGC * _rng(scenario, "temperatures").standard_normal(n)
    degc = _planned_t_ccd(scenario) + T_DRIFT_DEGC * np.arange(n) + scatter
    return [
        ReplicaTruth(
            number=number,
            tstart=start + (number - 1) * PERIOD_S,
            tstop=start + (number - 1) * PERIOD_S + REPLICA_S,
            t_ccd=float(degc[number - 1]),
            offset=OFFSETS[number - 1],
            file=None
            if scenario.faults.get(number, NO_FAULTS).missing
            else f"{dark_id[:4]}_{dark_id[4:]}_VC2_Replica{number}_SFDU_{SFDU_NUMBER + number}.gz",
        )
        for number in range(1, n + 1)
    ]


def _hits(number: int, frame: RawFrame) -> Table:
    hits = np.empty(len(frame.hits), HIT)
    hits["replica"], hits["integ"] = number, frame.integ
    for name in ("row", "col", "electrons"):
        hits[name] = frame.hits[name]
    return hits


def _write_replica(
    path: Path, replica: ReplicaTruth, frames: ReplicaFrames, scenario: DarkCalScenario
) -> Path:
    return write_vc2(
        path,
        cal_records([frames.short, frames.long], replica.number),
        replica.tstart + scenario.receive_delay_s,
        fill=scenario.fill,
        seed=[scenario.seed, replica.number],
        faults=scenario.faults.get(replica.number, NO_FAULTS),
    )


def _write_telemetry(
    folder: Path, replicas: Sequence[ReplicaTruth], scenario: DarkCalScenario
) -> list[Path]:
    """Write everything but the dumps."""
    dark_id = _dark_id(scenario)
    info = folder / f"{dark_id[:4]}_{dark_id[4:]}_info.csv"
    date = times.date(scenario.date)
    write_info(Info(date, _planned_t_ccd(scenario), scenario.ra, scenario.dec), info)
    files = [info]
    for replica in replicas:
        files += _write_header3(folder, replica, scenario.seed)
    return files + _write_samples(folder, replicas, _rng(scenario, "samples"))


def _write_header3(folder: Path, replica: ReplicaTruth, seed: int) -> list[Path]:
    """Write the level-0 files around a replica; the last 8x8 row of each stretch is broken.

    At its end the slot goes to 4x4 for a cycle: the row before that has the bytes of another
    readout, as in flight.
    """
    files = []
    for start in (replica.tstart - HEADER3_S, replica.tstop):
        stop = start + HEADER3_S
        plan = {6: [Readout(start, 8), Readout(stop - 8.2, 4, Func.NULL)]}
        header3 = {"ccd_temp": replica.t_ccd}
        # The first integration begins after `start`.
        scenario = L0Scenario(start + 2.05, stop - 4.1, (6,), seed=seed, plan=plan, header3=header3)
        files += simulate_l0(scenario, folder)
    return files


def _write_samples(
    folder: Path, replicas: Sequence[ReplicaTruth], rng: np.random.Generator
) -> list[Path]:
    """Write the engineering samples; replicas begin and end midway between two of them."""
    first, last = replicas[0].tstart, replicas[-1].tstop
    before, after = (math.ceil(span / SAMPLE_S) for span in (ENG_BEFORE_S, ENG_AFTER_S))
    n_inside = round((last - first) / SAMPLE_S)
    time = first + SAMPLE_S * (np.arange(-before, n_inside + after) + 0.5)
    begun = np.searchsorted([one.tstart for one in replicas], time)
    ended = np.searchsorted([one.tstop for one in replicas], time)
    degc = np.array([one.t_ccd for one in replicas])[(begun - 1).clip(0)]
    values = {
        "CIUMACAC": np.where(begun > ended, "ON ", "OFF"),
        "AACCCDPT": np.char.mod(
            "%.3f", degc + AACCCDPT_NOISE_DEGC * rng.standard_normal(len(time))
        ),
    }
    return [_write_csv(folder, msid, time, texts) for msid, texts in values.items()]


def _write_csv(
    folder: Path, msid: str, time: npt.NDArray[np.floating], texts: npt.NDArray[np.str_]
) -> Path:
    lines = [f"{t:.3f},{text}\n" for t, text in zip(time, texts, strict=True)]
    path = folder / f"eng_{msid}_{int(time[0])}_{int(time[-1])}.csv.gz"
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(gzip.compress(f"time,value\n{''.join(lines)}".encode(), mtime=0))
    part.replace(path)
    return path


def _write_truth(folder: Path, truth: DarkCalTruth, scenario: DarkCalScenario) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: getattr(truth, name) for name in ("dark", "flickered", "stars", "hits")}
    np.savez(folder / "truth.npz", **arrays)
    facts = {
        "dark_id": truth.dark_id,
        "t_ccd": truth.t_ccd,
        "zodi": truth.zodi,
        "integ_s": truth.integ_s,
        "gain": GAIN,
        "replicas": [asdict(one) for one in truth.replicas],
        "markers": [[row, col, rate] for (row, col), rate in scenario.markers.items()],
    }
    (folder / "truth.json").write_text(json.dumps(facts, indent=4) + "\n", encoding="utf-8")


# --- Archive ------------------------------------------------------------------------------------


def simulate_archive(
    root: Path, n: int, *, seed: int = 0, start: Any = "1999:223", stop: Any = "2024:223"
) -> list[str]:
    """Write published calibrations of one CCD, evenly spaced over its life.

    Images are made directly, with the noise and the grid of combined ones but without telemetry.

    Parameters
    ----------
    root : Path
        ``aca_dark`` of an archive; made if absent.
    n : int
        How many.
    seed : int
        Selects CCD, temperatures and noise.
    start, stop : time
        Dates of the first and the last one.

    Returns
    -------
    list of str
        Their ids.
    """
    ccd = make_ccd(seed)
    reports: dict[str, int] = {}
    ids = []
    for time in np.linspace(times.secs(start), times.secs(stop), n):
        scenario = DarkCalScenario(time, seed)
        cal = _published(ccd, scenario, reports)
        ids.append(str(cal.properties["id"]))
        write_calibration(root / ids[-1], cal)
    return ids


def _published(ccd: Ccd, scenario: DarkCalScenario, reports: dict[str, int]) -> Calibration:
    dark_id = date_to_dark_id(scenario.date)
    replicas = _replicas(scenario, dark_id)
    t_ccd = float(np.mean([one.t_ccd for one in replicas]))
    sky = zodi_properties(scenario.ra, scenario.dec, scenario.date)
    short, long = (counts * INTEG_UNIT_S for counts in scenario.integ)
    quantum = GAIN / (long - short)
    noise = _rng(scenario, "archive").standard_normal((SIZE, SIZE), dtype=np.float32)
    image = compute_dark_map(ccd, scenario.date, t_ccd) + np.float32(ZODI_E_PER_S * sky["zodib"])
    image = np.rint((image + ARCHIVE_SIGMA * noise) / quantum) * np.float32(quantum)
    begin, end = times.date(replicas[0].tstart), times.date(replicas[-1].tstop)
    date = times.convert(scenario.date, "caldate")
    month = f"{date[:4]}_{date[4:7].lower()}"
    reports[month] = reports.get(month, 0) + 1
    properties = sky | {
        "id": dark_id,
        "date": begin[:8],
        "start": begin,
        "stop": end,
        "datestart": begin,
        "datestop": end,
        "dur": round(replicas[-1].tstop - replicas[0].tstart, 3),
        "ccd_temp": t_ccd,
        "t_ccd": t_ccd,
        "n_ccd_img": 2 * len(replicas),
        "filename": IMAGE,
        "report": month if reports[month] == 1 else f"{month}_{reports[month]}",
        "replicas": [_published_replica(one, scenario) for one in replicas],
        "integ": [short, long],
        "gain": dict.fromkeys(QUADRANTS, GAIN),
        "read_noise": READ_NOISE_E,
        "combine": "median",
        "stats": describe(image, None, quantum, t_ccd, sky["zodib"]) | {"n_cosmic": 0},
        "quality": "PASS",
        "complete": 100.0,
        "revision": 1,
        "versions": {"acaflow": __version__},
        "inputs": [],
    }
    quality = {"level": "PASS", "complete": 100.0, "findings": [], "forced": None}
    return Calibration(image, None, None, None, properties, quality)


def _published_replica(replica: ReplicaTruth, scenario: DarkCalScenario) -> dict[str, Any]:
    return {
        "count": replica.number,
        "start": times.date(replica.tstart),
        "stop": times.date(replica.tstop),
        "times_source": "CIUMACAC",
        "ccd_temp": replica.t_ccd,
        "ccd_temp_source": "HDR3",
        "attitude": {"ra": scenario.ra, "dec": scenario.dec, "roll": None},
        "downlink": True,
        "used": True,
        "file": replica.file,
        "n_rows": 4 * SIZE,
    }
