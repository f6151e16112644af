"""The column store: ten days of one 8x8 slot against Python's gzip on the FITS files."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from acaflow.archive.l0_fits import inflate, read_table
from acaflow.colstore import Source, Store
from acaflow.simulate.aca_l0 import L0Scenario, simulate_l0
from acaflow.storage import place, sha256_file
from benchmarks.archive import FILE_S, N_FILES, TSTART, seconds
from benchmarks.archive import inflate as gunzip
from benchmarks.table import Row

SLOT = 0
HOUR_S = 3600.0


def source(path: Path) -> Source:
    """Return the columns of a level-0 file."""
    table = read_table(inflate(path), path)
    columns = {name: table.rows[name] for name in table.names}
    columns["IMGRAW"] = columns["IMGRAW"].reshape(len(table.rows), -1)
    return Source(path.name, 1, int(path.name[4:13]), sha256_file(path), columns)


def read_all(store: Store, columns: list[str]) -> dict:
    """Read every row of columns, with fresh heads: what a new process does after its imports."""
    store.reset()
    ranges = [(item.segment, item.row0, item.row1) for item in store.sources()]
    return store.read_rows(ranges, columns)


def read_hour(store: Store, columns: list[str]) -> dict:
    """Read an hour in the middle."""
    store.reset()
    start = TSTART + 12 * FILE_S + 5000
    stop = start + HOUR_S
    ranges = [
        (item.segment, *store.rows_between(item, start, stop, closed=True))
        for item in store.sources(start, stop)
    ]
    return store.read_rows(ranges, columns)


def fsynced(folder: Path, content: bytes) -> None:
    """Put a segment and a manifest in place, durable."""
    for part, size in (("segment", len(content)), ("manifest", 4096)):
        staged = folder.with_suffix(".part")
        staged.write_bytes(content[:size])
        place(staged, folder / part)


MEMORY = """
import sys
from pathlib import Path
from acaflow.colstore import Store
from benchmarks.colstore import read_all, read_hour
def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))
store, columns = Store(Path(sys.argv[1]), "keep"), sys.argv[2].split(",")
read_hour(store, columns)
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
before = status("VmRSS")
out = read_all(store, columns)
print((status("VmHWM") - before) * 1024, sum(values.nbytes for values in out.values()))
"""


def cases(folder: Path) -> Iterator[Row]:
    """Measure appends, reads of many and of merged segments, merging, size, memory."""
    incoming = folder / "incoming"
    incoming.mkdir(parents=True)
    scenario = L0Scenario(
        tstart=TSTART, tstop=TSTART + N_FILES * FILE_S, slots=(SLOT,), file_s=FILE_S
    )
    paths = simulate_l0(scenario, incoming)
    gz_bytes = sum(path.stat().st_size for path in paths)
    sources = [source(path) for path in paths]
    columns = list(sources[0].columns)
    floor = seconds(lambda: gunzip(paths), 5)
    for codec in ("zstd", "lz4"):
        yield from codec_cases(folder / codec, codec, sources, columns, floor, gz_bytes)


def codec_cases(root, codec, sources, columns, floor, gz_bytes) -> Iterator[Row]:
    """Measure one codec."""
    store = Store(root, "keep", codec, grace_s=0)
    waiting = iter(sources)
    rows = len(sources[0].columns["TIME"])
    spent = seconds(lambda: store.append([next(waiting)]), 15) * 1e3
    segment = (root / "seg" / "00000001.h5").read_bytes()
    bare = seconds(lambda: fsynced(root.parent / "bare", segment), 15) * 1e3
    shutil.rmtree(root)
    for item in sources:
        store.append([item])
    yield Row(
        f"{codec}: append {rows} rows x {len(columns)} columns",
        f"{spent:.1f} ms",
        f"write, fsync {bare:.1f} ms",
        spent - bare,
        15,
        "<= 15 ms more",
    )
    few = ["TIME", "GLBSTAT", "COMMPROG"]
    for state, limit, few_ms in (("31 segments", 0.55, 20), ("merged", 0.4, 10)):
        spent = seconds(lambda: read_all(store, columns), 9)
        yield Row(
            f"{codec}, {state}: 10 days, all columns",
            f"{spent * 1e3:.0f} ms",
            f"gzip {floor * 1e3:.0f} ms",
            spent / floor,
            limit,
            f"<= {limit} x",
        )
        spent = seconds(lambda: read_all(store, few), 9) * 1e3
        case = f"{codec}, {state}: 10 days, TIME and two u1 columns"
        yield Row(case, f"{spent:.1f} ms", "", spent, few_ms, f"<= {few_ms} ms")
        spent = seconds(lambda: read_hour(store, columns), 9) * 1e3
        case = f"{codec}, {state}: 1 hour, all columns"
        yield Row(case, f"{spent:.1f} ms", "", spent, 4, "<= 4 ms")
        if state != "merged":
            spent = seconds(lambda: store.merge(everything=True), 1)
            values = N_FILES * rows * len(columns) / spent / 1e6
            case = f"{codec}: merge of {N_FILES} segments"
            yield Row(case, f"{spent:.2f} s", "", values, 25, ">= 25 M values/s", at_least=True)
    size = (root / "seg" / store.sources()[0].segment).stat().st_size
    yield Row(
        f"{codec}: size",
        f"{size / 1e6:.1f} MB",
        f"gz {gz_bytes / 1e6:.1f} MB",
        size / gz_bytes,
        1.0,
        "<= 1.0 x",
    )
    out = subprocess.run(
        [sys.executable, "-c", MEMORY, str(root), ",".join(columns)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    grown, returned = (int(word) for word in out)
    yield Row(
        f"{codec}: peak memory of 10 days",
        f"{grown / 1e6:.1f} MB",
        f"result {returned / 1e6:.1f} MB",
        (grown - returned) / 1e6,
        2,
        "<= 2 MB more",
    )
