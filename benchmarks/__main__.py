"""Run the benchmarks: ``python -m benchmarks [group ...]``; groups are the keys of `GROUPS`."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

from benchmarks import archive, colstore, dark_cal, l0_store, runtime, up
from benchmarks.table import Row, show

GROUPS = {
    "up": up.cases,
    "archive": archive.cases,
    "l0_store": l0_store.cases,
    "colstore": colstore.cases,
    "dark_cal": dark_cal.cases,
    "runtime": runtime.cases,
}


def main() -> int:
    """Measure and print; the status is 0 even where a target is missed: a figure is no error."""
    chosen = sys.argv[1:] or list(GROUPS)
    unknown = [name for name in chosen if name not in GROUPS]
    if unknown:
        print(f"no group {', '.join(unknown)}; there are: {', '.join(GROUPS)}", file=sys.stderr)
        return 2
    folder = Path(".bench").absolute()
    rows: list[Row] = []
    for name in chosen:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        started = time.monotonic()
        for row in GROUPS[name](folder):
            rows.append(row)
            print(f"  {row.case}: {row.ours} (target {row.target})", flush=True)
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    print()
    print(show(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
