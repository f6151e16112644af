"""Dark calibrations: decoding, combining, the whole way of a delivery, and reading many."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from isal import igzip

from acaflow.archive.aca_dark import dark_cal, dark_trend
from acaflow.archive.aca_dark.combine import combine
from acaflow.archive.aca_dark.dark_stats import compute_stats
from acaflow.archive.aca_dark.vc2 import read_vc2
from acaflow.paths import Home
from acaflow.simulate.dark_cal import DarkCalScenario, simulate_archive, simulate_dark_cal
from benchmarks.archive import seconds
from benchmarks.table import Row
from benchmarks.up import running

T_SHORT, T_LONG = 5.008, 10.0
N_REPLICAS = 5
DATE = "2009:279:06:00:00"
N_ARCHIVE = 100


def expose(rng: np.random.Generator, integ: float) -> npt.NDArray[np.float32]:
    """Return a frame (DN) of 10 e-/s with its noise."""
    electrons = rng.poisson(10.0 * integ, (1024, 1024)) + rng.normal(0, 25, (1024, 1024))
    return np.round(electrons / 5).astype(np.float32)


def combining() -> Iterator[Row]:
    """Measure image, uncertainty, mask and samples of ten frames, and the statistics."""
    rng = np.random.default_rng(1)
    short, long = ([expose(rng, t) for _ in range(N_REPLICAS)] for t in (T_SHORT, T_LONG))
    stacks = np.stack(short), np.stack(long)
    floor = seconds(lambda: [np.median(stack, axis=0) for stack in stacks], 7)
    whole = seconds(lambda: combine(short, long, T_SHORT, T_LONG), 7)
    yield Row(
        "combine ten 1024 x 1024 frames",
        f"{whole * 1e3:.0f} ms",
        f"np.median {floor * 1e3:.0f} ms",
        whole / floor,
        2.0,
        "<= 2 x",
    )
    for frame in short:
        frame[::20, :512] = np.nan  # 128 of 5120 half rows
    gaps = seconds(lambda: combine(short, long, T_SHORT, T_LONG), 7)
    yield Row(
        "combine ten frames with missing rows",
        f"{gaps * 1e3:.0f} ms",
        f"np.median {floor * 1e3:.0f} ms",
        gaps / floor,
        2.0,
        "<= 2 x",
    )
    master = combine(short, long, T_SHORT, T_LONG)
    spent = seconds(lambda: compute_stats(master.image, master.mask, master.quantum), 7)
    yield Row(
        "statistics of an image and its quadrants",
        f"{spent * 1e3:.0f} ms",
        "",
        spent * 1e3,
        150,
        "<= 150 ms (ours)",
    )


def decoding(folder: Path) -> Iterator[Row]:
    """Measure the decoding of one replica with and without fill frames."""
    for fill, target in ((6.8, None), (0.0, 150.0)):
        scenario = DarkCalScenario(DATE, replicas=1, fill=fill)
        made = simulate_dark_cal(folder / f"fill{fill}", scenario, folder / "truth")
        path = next(file for file in made.files if "VC2" in file.name)
        size = len(inflated(path))
        floor = seconds(lambda: inflated(path), 7)  # noqa: B023
        ours = seconds(lambda: read_vc2(path), 7)  # noqa: B023
        yield Row(
            f"decode one replica, {size / 1e6:.1f} MB",
            f"{ours * 1e3:.0f} ms",
            f"read, inflate {floor * 1e3:.0f} ms",
            ours * 1e3 if target else ours / floor,
            target or 2.0,
            f"<= {target:.0f} ms" if target else "<= 2 x",
        )


def inflated(path: Path) -> bytes:
    """Read and inflate a file with the library that the decoder uses."""
    with igzip.open(path) as stream:
        return bytes(stream.read())


MEMORY = """
import resource, sys
from acaflow.cli import run
status = run(["--home", sys.argv[1], "ingest", *sys.argv[2:]])
print(status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def whole(folder: Path) -> Iterator[Row]:
    """Measure the memory of a whole calibration, and how long after its last file it is seen."""
    made = simulate_dark_cal(folder / "delivered", DarkCalScenario(DATE), folder / "truth")
    files = [str(path) for path in made.files]
    command = [sys.executable, "-c", MEMORY, str(folder / "alone"), *files]
    environment = {name: value for name, value in os.environ.items() if "ACAFLOW" not in name}
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    status, memory = out.stdout.split()[-2:]
    if status != "0":
        raise RuntimeError(out.stderr)
    peak = int(memory) / 1e6
    yield Row(
        "whole calibration, peak memory of one process",
        f"{peak:.0f} MB",
        "",
        peak,
        400,
        "<= 400 MB",
    )
    last = next(path for path in made.files if "Replica3" in path.name)
    home = Home(folder / "served")
    home.create()
    with running(home):
        for path in made.files:
            if path != last:
                move_in(path, home)
        wait_for(lambda: len(list(home.processed.rglob("*.gz"))) >= len(files) - 2, 60)
        started = time.perf_counter()
        move_in(last, home)
        wait_for(lambda: list((home.root / "www").glob("dark_cal/*/index.html")), 60)
        spent = time.perf_counter() - started
    yield Row("last replica to report", f"{spent:.1f} s", "", spent, 10, "<= 10 s")


def move_in(path: Path, home: Home) -> None:
    """Drop a copy of a file into the inbox, whole at once."""
    part = home.work / path.name
    shutil.copyfile(path, part)
    part.rename(home.inbox / path.name)


def wait_for(is_there: Callable[[], object], patience_s: float) -> None:
    """Return when something is there; RuntimeError after a while."""
    deadline = time.monotonic() + patience_s
    while not is_there():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not there after {patience_s:.0f} s")
        time.sleep(0.01)


COLD = """
import sys, time
from pathlib import Path
started = time.perf_counter()
from acaflow.archive.aca_dark import dark_cal, dark_trend
Path(sys.argv[2]).mkdir(exist_ok=True)
dark_trend.write_trend(Path(sys.argv[2]), dark_cal.history(sys.argv[1]))
print(time.perf_counter() - started)
"""


def reading(folder: Path) -> Iterator[Row]:
    """Measure the trend over 100 calibrations, and one image."""
    root = folder / "archive"
    simulate_archive(root, N_ARCHIVE)
    cold = [sys.executable, "-c", COLD, str(root), str(folder / "plots")]
    spent = float(subprocess.check_output(cold))
    case = f"trend over {N_ARCHIVE} calibrations, with plots, new process"
    yield Row(case, f"{spent:.2f} s", "", spent, 5, "<= 5 s")
    warm = seconds(lambda: dark_trend.history_rows(dark_cal.history(root)), 7)
    yield Row("trend, warm", f"{warm * 1e3:.0f} ms", "", warm, 0.2, "<= 0.2 s")
    ids = list(dark_cal.get_dark_cal_ids(root).values())
    images = [root / dark_id / "image.fits" for dark_id in ids]

    def read_images() -> None:
        for dark_id in ids[:20]:
            date = dark_cal.dark_id_to_date(dark_id)
            dark_cal.get_dark_cal_image(date, dark_cals_dir=root)

    def read_plainly() -> None:
        for path in images[:20]:
            fits.getdata(path, memmap=False).astype(np.float32)

    ours, plain = seconds(read_images, 5) / 20, seconds(read_plainly, 5) / 20
    yield Row(
        "get_dark_cal_image",
        f"{ours * 1e3:.2f} ms",
        f"fits.getdata, native {plain * 1e3:.2f} ms",
        ours / plain,
        2.0,
        "<= 2 x",
    )
    again = seconds(lambda: dark_cal.get_dark_cal_image("2009:001", dark_cals_dir=root), 15)
    yield Row("get_dark_cal_image, again", f"{again * 1e3:.2f} ms", "", again * 1e3, 1, "<= 1 ms")


def cases(folder: Path) -> Iterator[Row]:
    """Measure the parts of a dark calibration, the whole, and reading."""
    yield from decoding(folder)
    yield from combining()
    yield from whole(folder)
    yield from reading(folder)
