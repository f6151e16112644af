"""The fast copy of the level-0 archive: ten days against gzip, twenty years of header 3."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from acaflow import paths, storage
from acaflow.archive import aca_hdr3, aca_l0, l0_store
from acaflow.archive.l0_file import L0File, read_l0_content
from acaflow.archive.l0_format import COLUMNS
from acaflow.archive.l0_index import L0Index
from acaflow.archive.l0_table import FIELDS
from acaflow.colstore import Source
from acaflow.simulate.aca_l0 import L0Scenario, Readout, simulate_l0
from benchmarks.archive import FILE_S, N_FILES, TSTART, inflate, seconds
from benchmarks.colstore import fsynced
from benchmarks.table import Row

SLOT = 6
"""Where ccd_temp is."""
STOP = TSTART + N_FILES * FILE_S
HOUR = (TSTART + 12 * FILE_S + 5000, TSTART + 12 * FILE_S + 8600)
NUMERIC = [name for name in FIELDS if name not in ("PIXTLM", "BGDTYP", "FILENAME")]
YEARS_FILES, YEARS_ROWS = 22_600, 6805
"""Files of 7.75 h, and their rows, in twenty years."""


def simulate(folder: Path, slot: int, size: int, files: int) -> tuple[Path, list[Path]]:
    """Simulate files of one slot and size and put them into an archive without store."""
    scenario = L0Scenario(
        tstart=TSTART,
        tstop=TSTART + files * FILE_S,
        slots=(slot,),
        file_s=FILE_S,
        plan={slot: [Readout(TSTART - 10, size)]},
    )
    root, incoming = folder / "aca0", folder / "incoming"
    incoming.mkdir(parents=True)
    with L0Index(root) as index:
        for path in simulate_l0(scenario, incoming):
            record, _ = read_l0_content(path, path.name)
            storage.make_dirs((root / record.path).parent)
            path.rename(root / record.path)
            index.commit(record, ([], "bench", ""))
    return root, sorted(root.glob("*/*/*.gz"))


def relative(case: str, spent: float, floor: float, limit: float) -> Row:
    """Return a row of a time against gzip."""
    ours, gzip = f"{spent * 1e3:.1f} ms", f"gzip {floor * 1e3:.0f} ms"
    return Row(case, ours, gzip, spent / floor, limit, f"<= {limit:g} x")


def absolute(case: str, spent_ms: float, limit_ms: float, floor: str = "") -> Row:
    """Return a row of a time in ms."""
    return Row(case, f"{spent_ms:.1f} ms", floor, spent_ms, limit_ms, f"<= {limit_ms:g} ms")


def read_arrays(root: Path) -> None:
    """Read every numeric column of ten days as arrays."""
    rows = aca_l0.get_rows(TSTART, STOP, SLOT, [*COLUMNS], 8, data_root=root)
    for name in COLUMNS:
        rows.column(name)


def ten_days(root: Path, floor: float, state: str, arrays: float, ccd_temp: float) -> Iterator[Row]:
    """Measure what merging changes."""
    spent = seconds(lambda: read_arrays(root), 5)
    yield relative(f"10 days, all columns as arrays, {state}", spent, floor, arrays)
    spent = seconds(lambda: aca_hdr3.MSID("ccd_temp", TSTART, STOP, data_root=root), 5)
    yield relative(f"aca_hdr3.MSID('ccd_temp'), 10 days, {state}", spent, floor, ccd_temp)


def appends(root: Path, files: list[Path], folder: Path) -> Iterator[Row]:
    """Append all files; measure the append, its share of an ingest, and the size."""
    whole, spent = [], []
    for path in files:
        started = time.perf_counter()
        record, table = read_l0_content(path, path.name)
        storage.sha256_file(path)
        shutil.copyfile(path, folder / "staged")
        with L0Index(root) as index:
            index.compare(record)
            index.commit(record, ([], "bench", ""))
        storage.place(folder / "staged", folder / "placed" / path.name)
        appending = time.perf_counter()
        l0_store.add(root, [(record, table)])
        spent.append(time.perf_counter() - appending)
        whole.append(time.perf_counter() - started)
    segment = next((root / "store").rglob("*.h5")).read_bytes()
    bare = seconds(lambda: fsynced(folder / "bare", segment), 15)
    append = median(spent)
    yield absolute(
        "store append of one file, above bare fsync",
        (append - bare) * 1e3,
        15,
        f"fsync {bare * 1e3:.1f} ms",
    )
    share = append / median(whole)
    yield Row(
        "its share of the ingest",
        f"{append * 1e3:.1f} ms",
        f"whole {median(whole) * 1e3:.1f} ms",
        share,
        0.3,
        "<= 0.3",
    )
    stored = sum(path.stat().st_size for path in (root / "store").rglob("*.h5"))
    packed = sum(path.stat().st_size for path in files)
    yield Row(
        "size of the store",
        f"{stored / 1e6:.1f} MB",
        f"gz files {packed / 1e6:.1f} MB",
        stored / packed,
        1.0,
        "<= 1 x",
    )


MEMORY = """
import sys
from pathlib import Path
from acaflow.archive import aca_l0
from acaflow.archive.l0_format import COLUMNS
root, how, slot, start, stop = *sys.argv[1:3], int(sys.argv[3]), *map(float, sys.argv[4:])
def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))
def read(stop):
    if how == "table":
        table = aca_l0.get_slot_data(start, stop, slot, data_root=root)
        return table, table.data.nbytes + table.mask.nbytes
    rows = aca_l0.get_rows(start, stop, slot, [*COLUMNS], 8, data_root=root)
    return rows, sum(values.nbytes for block in rows.blocks for values in block.columns.values())
read(start + 60)
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
before = status("VmRSS")
result, size = read(stop)
print((status("VmHWM") - before) * 1024, size)
"""


def memory(root: Path, how: str) -> Row:
    """Measure the peak memory of reading ten days."""
    out = subprocess.run(
        [sys.executable, "-c", MEMORY, root, how, str(SLOT), str(TSTART), str(STOP)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    grown, returned = (int(word) for word in out)
    return Row(
        f"10 days as {how}, peak memory",
        f"{grown / 1e6:.0f} MB",
        f"returned {returned / 1e6:.0f} MB",
        grown / returned,
        2.0,
        "<= 2 x",
    )


def make_years(root: Path) -> None:
    """Make the store and the index of twenty years of one slot directly."""
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (2, YEARS_ROWS), dtype=np.uint8)
    store = l0_store.store_of(root, SLOT, 8)
    records = []
    for first in range(0, YEARS_FILES, 1000):
        sources = []
        for number in range(first, min(YEARS_FILES, first + 1000)):
            time_s = 100_000_000.0 + (number * YEARS_ROWS + np.arange(YEARS_ROWS)) * 4.1
            filetime = int(time_s[0] + 1.873)
            name, sha256 = f"acaf{filetime:09d}N001_{SLOT}_img0.fits.gz", f"{number:064x}"
            columns = {
                "TIME": time_s,
                "QUALITY": np.zeros(YEARS_ROWS, np.int32),
                "END_INTEG_TIME": time_s + 0.848,
                "HD3TLM76": np.full(YEARS_ROWS, 0xFC, np.uint8),
                "HD3TLM77": np.roll(noise[1], number),
            }
            sources.append(Source(name, 1, filetime, sha256, columns))
            year, doy = map(int, paths.l0_dir(filetime).split("/"))
            frames = ((16 * YEARS_ROWS * number % (1 << 24), YEARS_ROWS, 16),)
            values: list[Any] = [name, filetime, year, doy, time_s[0] + 1.873, time_s[-1] + 5.973]
            values += [*[None] * 7, 1, "2020-01-01T00:00:00", YEARS_ROWS, 8, SLOT, sha256]
            values += [float(time_s[0]), float(time_s[-1]), frames]
            records.append(L0File(*values))
        store.append(sources)
    store.merge(everything=True)
    with L0Index(root) as index, index._transaction():  # 22 600 commits would take minutes
        for record in records:
            index._insert(record)


def years(folder: Path) -> Row:
    """Read twenty years of one quantity; the floor is one fill of the bytes returned."""
    root = folder / "years" / "aca0"
    make_years(root)

    def read() -> aca_hdr3.MSID:
        return aca_hdr3.MSID("ccd_temp", 0, 1e9, data_root=root)

    shapes = [(array.shape, array.dtype) for array in (read().times, *_of(read().vals))]

    def fill() -> None:
        for shape, dtype in shapes:
            np.full(shape, 1, dtype)

    # Turn by turn: both get memory that the process has had before.
    ours, floor = [], []
    for _ in range(3):
        floor.append(seconds(fill, 1))
        ours.append(seconds(read, 1))
    spent, bare = median(ours), median(floor)
    return Row(
        f"aca_hdr3.MSID, 20 years, {shapes[0][0][0] / 1e6:.0f} M samples",
        f"{spent:.2f} s",
        f"fill {bare:.2f} s",
        spent / bare,
        3.0,
        "<= 3 x",
    )


def _of(vals: Any) -> tuple[np.ndarray, np.ndarray]:
    return vals.data, np.ma.getmaskarray(vals)


def cases(folder: Path) -> Iterator[Row]:
    """Measure appends, reads before and after merging, images, memory, twenty years."""
    root, files = simulate(folder / "days", SLOT, 8, N_FILES)
    floor = seconds(lambda: inflate(files), 5)
    yield from appends(root, files, folder)
    yield from ten_days(root, floor, f"{len(files)} segments", 0.55, 0.1)
    l0_store.store_of(root, SLOT, 8).merge(everything=True)
    yield from ten_days(root, floor, "merged", 0.4, 0.05)

    def table(columns: list[str] | None) -> None:
        aca_l0.get_slot_data(TSTART, STOP, SLOT, columns=columns, data_root=root)

    spent = seconds(lambda: table(NUMERIC), 5)
    yield relative("get_slot_data 10 days, numeric columns, merged", spent, floor, 0.5)
    more = seconds(lambda: table(None), 5) - spent
    text = STOP - TSTART
    fill = seconds(lambda: np.full((int(text / 4.1), 136), 1, np.uint32), 5)
    yield Row(
        "  and the words and FILENAME (544 B a row)",
        f"{more * 1e3:.1f} ms",
        f"fill {fill * 1e3:.1f} ms",
        more / fill,
        2.0,
        "<= 2 x (ours)",
    )
    spent = seconds(lambda: table(["TIME", "TEMPCCD"]), 9)
    yield relative("get_slot_data 10 days, two columns, merged", spent, floor, 0.05)
    spent = seconds(lambda: aca_l0.get_slot_data(*HOUR, SLOT, data_root=root), 15)
    yield absolute("get_slot_data 1 hour, merged", spent * 1e3, 6)
    spent = seconds(lambda: aca_l0.get_l0_images(*HOUR, SLOT, data_root=root), 15)
    yield absolute("get_l0_images 1 hour, 8x8", spent * 1e3, 15)
    for how in ("arrays", "table"):
        yield memory(root, how)
    small, files = simulate(folder / "small", 5, 4, 2)
    l0_store.add(small, [read_l0_content(path, path.name) for path in files])
    hour = (TSTART + 5000, TSTART + 8600)
    spent = seconds(lambda: aca_l0.get_l0_images(*hour, 5, data_root=small), 15)
    yield absolute("get_l0_images 1 hour, 4x4", spent * 1e3, 30)
    yield years(folder)
