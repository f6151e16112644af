"""Reading the level-0 archive: ten days of one slot against Python's gzip on the same files."""

from __future__ import annotations

import gzip
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from acaflow.archive import aca_l0
from acaflow.archive.l0_file import read_l0_file
from acaflow.archive.l0_index import L0Index
from acaflow.simulate.aca_l0 import L0Scenario, simulate_l0
from benchmarks.table import Row

TSTART = 686_111_014.0
FILE_S = 27_900.0
N_FILES = 31
SLOT = 0


def build(folder: Path) -> tuple[Path, list[Path]]:
    """Simulate ten days of one slot and put them into an archive."""
    incoming = folder / "incoming"
    incoming.mkdir()
    scenario = L0Scenario(
        tstart=TSTART, tstop=TSTART + N_FILES * FILE_S, slots=(SLOT,), file_s=FILE_S
    )
    root = folder / "aca0"
    with L0Index(root) as index:
        for path in simulate_l0(scenario, incoming):
            record = read_l0_file(path, path.name)
            target = root / record.path
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
            index.commit(record, ([], "bench", ""))
    return root, sorted(root.glob("*/*/*.gz"))


def seconds(work: Callable[[], object], times: int = 3) -> float:
    """Return the median time of a call."""
    spent = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        spent.append(time.perf_counter() - started)
    return median(spent)


def inflate(paths: list[Path]) -> None:
    """Inflate files with Python's gzip: the floor."""
    for path in paths:
        with gzip.open(path) as stream:
            while stream.read(1 << 20):
                pass


MEMORY = """
import sys
from pathlib import Path
from acaflow.archive import aca_l0
root, start, stop = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))
aca_l0.get_slot_data(start, start + 60, 0, data_root=root)
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
before = status("VmRSS")
data = aca_l0.get_slot_data(start, stop, 0, data_root=root)
print((status("VmHWM") - before) * 1024, data.data.nbytes + data.mask.nbytes)
"""


def cases(folder: Path) -> Iterator[Row]:
    """Measure reading, its memory, and validation."""
    root, paths = build(folder)
    stop = TSTART + N_FILES * FILE_S
    floor = seconds(lambda: inflate(paths), 7)
    ours = seconds(lambda: aca_l0.get_slot_data(TSTART, stop, SLOT, data_root=root), 7)
    yield Row(
        f"get_slot_data 10 days, {len(paths)} files",
        f"{ours:.2f} s",
        f"gzip {floor:.2f} s",
        ours / floor,
        1.5,
        "<= 1.5 x",
    )
    start = TSTART + 12 * FILE_S + 5000
    one = [
        Path(name)
        for name in aca_l0.get_files(start=start, stop=start + 3600, slots=[SLOT], data_root=root)
    ]
    floor = seconds(lambda: inflate(one), 9)
    ours = seconds(lambda: aca_l0.get_slot_data(start, start + 3600, SLOT, data_root=root), 9)
    yield Row(
        f"get_slot_data 1 hour, {len(one)} file",
        f"{ours * 1e3:.1f} ms",
        f"gzip {floor * 1e3:.1f} ms",
        ours / floor,
        3.0,
        "<= 3 x",
    )
    out = subprocess.run(
        [sys.executable, "-c", MEMORY, str(root), str(TSTART), str(stop)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    grown, returned = (int(word) for word in out)
    yield Row(
        "get_slot_data 10 days, peak memory",
        f"{grown / 1e6:.0f} MB",
        f"array {returned / 1e6:.0f} MB",
        grown / returned,
        3.0,
        "<= 3 x",
    )
    spent = seconds(lambda: read_l0_file(paths[0], paths[0].name), 9)
    yield Row(
        f"validate one file, {paths[0].stat().st_size / 1e6:.2f} MB",
        f"{spent * 1e3:.1f} ms",
        "",
        spent * 1e3,
        30,
        "<= 30 ms (ours)",
    )
