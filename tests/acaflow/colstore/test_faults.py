"""Writers that die at every step and at any moment; readers that look on meanwhile."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import time
import traceback
from pathlib import Path

import numpy as np
import pytest

from acaflow.colstore import Source, Store
from tests.acaflow.colstore.truth import check, delivery, shown

pytestmark = pytest.mark.fault


def in_child(work):
    """Start `work` in a child of this process; return its id. It exits with 1 on any error."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            if status:
                traceback.print_exc()
            os._exit(status)
    return child


def die_before(step):
    """Kill this process before its `step`-th change of the disk, or in the middle of a write."""
    left = itertools.count(step, -1)

    def dying(call, *, half=False):
        def wrapped(*args, **kwargs):
            if next(left) == 0:
                if half:
                    path, content = args
                    with path.open("wb") as stream:
                        stream.write(b"x" * (len(content) // 2))
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)

        return wrapped

    for name in ("fsync", "mkdir", "unlink", "rename", "replace"):
        setattr(os, name, dying(getattr(os, name)))
    for name in ("write_bytes", "write_text"):
        setattr(Path, name, dying(getattr(Path, name), half=True))


def is_tidy(root):
    """Tell whether the store has every file that the manifest names, and no other."""
    current = Store(root, "cut")._manifest()
    found = {path.name for path in (root / "seg").iterdir()}
    known = set(current.files)
    return known <= found <= known | set(current.trash) and {
        path.name for path in root.iterdir()
    } == {"manifest.json", "seg", "writer.lock"}


FILES = [delivery(f"n{i}", i * 50, 60) for i in range(8)]
LATE = [delivery("late", 120, 100, 2), delivery("next", 400, 60)]


@pytest.mark.parametrize("work", ["append", "merge", "delete"])
def test_a_death_at_every_step_changes_all_or_nothing(tmp_path, work):
    """Before every write, fsync, rename and unlink of a commit, and in half of each write."""
    base = tmp_path / "base"
    for source in FILES:
        Store(base, "cut").append([source])
    if work == "delete":
        Store(base, "cut").merge()
    states = [shown(FILES), shown(FILES + LATE)]

    def act(root):
        # Deleting replaced segments is part of the next commit.
        store = Store(root, "cut", grace_s=0 if work == "delete" else 1e6)
        return store.merge() if work == "merge" else store.append(LATE)

    def dying(root, step):
        die_before(step)
        act(root)

    seen = set()
    for step in itertools.count():
        root = tmp_path / f"step{step}"
        shutil.copytree(base, root)
        child = in_child(lambda root=root, step=step: dying(root, step))
        status = os.waitpid(child, 0)[1]
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        rows = Store(root, "cut").read(["V", "W", "X"])
        check(rows)
        got = rows.times.tolist(), rows.columns["V"].tolist()
        expected = [(a.tolist(), b.tolist()) for a, b in states]
        assert got in expected
        seen.add(expected.index(got))
        # The job runs again.
        act(root)
        assert is_tidy(root)
        rows = Store(root, "cut").read(["V", "W", "X"])
        check(rows)
        assert rows.times.tolist() == states[work != "merge"][0].tolist()
        assert rows.columns["V"].tolist() == states[work != "merge"][1].tolist()
    assert step >= 8
    assert seen == ({0} if work == "merge" else {0, 1})


def kill_writers(root, make, sources, seed, kills):
    """Deliver in random order, with repeats and merges; kill the writer at random moments."""
    shuffled = random.Random(seed)
    order = shuffled.sample(sources, len(sources)) + shuffled.choices(sources, k=10)

    def deliver():
        store = make(root)
        for i, source in enumerate(order):
            store.append([source])
            if i % 5 == 4:
                store.merge()

    killed = 0
    while killed < kills:
        child = in_child(deliver)
        time.sleep(shuffled.uniform(0.005, 0.12))
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        killed += os.WIFSIGNALED(status)
    deliver()


def watch(look, stop):
    """Start a reader that looks until `stop` exists and saw something; return its id."""

    def work():
        looks = 0
        before = None
        while not stop.exists():
            before = look(before)
            looks += 1
        assert looks > 10

    return in_child(work)


def test_cut_mode_under_fire(tmp_path):
    """30 overlapping files, 7 reprocessed, redeliveries; four orders, ten kills in each."""
    sources = [delivery(f"n{i:02d}", i * 90, 100) for i in range(30)]
    sources += [delivery(f"n{i:02d}r", i * 90 - 9, 110, 2) for i in (2, 3, 9, 15, 16, 22, 29)]
    times, values = shown(sources)

    def look(store, before):
        rows = store.read(["V", "W", "X"])
        check(rows)
        # All stamps are of one grid, so that better files never take any away.
        if before is not None:
            assert len(rows.times) >= len(before) and np.isin(before, rows.times).all()
        return rows.times

    for seed in range(4):
        root, stop = tmp_path / f"s{seed}", tmp_path / f"stop{seed}"
        readers = []
        Store(root, "cut").append(sources[:1])
        for _ in range(2):
            store = Store(root, "cut")
            readers.append(watch(lambda before, store=store: look(store, before), stop))

        def make(root):
            return Store(root, "cut", fanin=3, max_rows=900, grace_s=0)

        kill_writers(root, make, sources, seed, 10)
        stop.touch()
        assert [os.waitpid(reader, 0)[1] for reader in readers] == [0, 0]
        rows = Store(root, "cut").read(["V", "W", "X"])
        check(rows)
        assert rows.times.tolist() == times.tolist()
        assert rows.columns["V"].tolist() == values.tolist()
        assert Store(root, "cut").verify() == []
        assert is_tidy(root)


def test_keep_mode_under_fire(tmp_path):
    """Every source that a reader sees is whole, and none goes away again."""
    rng = np.random.default_rng(1)
    sources = []
    for i in range(30):
        columns = {
            "TIME": 7e8 + 4.1 * (np.arange(150) + 140 * i),
            "IMG": rng.integers(0, 1000, (150, 16)).astype("f4"),
            "N": np.full(150, i, "u1"),
        }
        sources.append(Source(f"f{i:02d}", 1, i, f"sha{i}", columns))
    by_name = {source.name: source.columns for source in sources}

    def look(store, before):
        def work():
            items = store.sources()
            ranges = [(item.segment, item.row0, item.row1) for item in items]
            return items, store.read_rows(ranges, ["IMG", "N", "TIME"]) if items else {}

        items, out = store.repeat(work)
        row = 0
        for item in items:
            for name, values in by_name[item.name].items():
                assert (out[name][row : row + 150] == values).all()
            row += 150
        names = {item.name for item in items}
        assert len(names) == len(items) and names >= (before or set())
        return names

    root, stop = tmp_path / "s", tmp_path / "stop"
    readers = []
    for _ in range(2):
        store = Store(root, "keep")
        readers.append(watch(lambda before, store=store: look(store, before), stop))
    kill_writers(root, lambda root: Store(root, "keep", fanin=3, grace_s=0), sources, 7, 10)
    stop.touch()
    assert [os.waitpid(reader, 0)[1] for reader in readers] == [0, 0]
    assert look(Store(root, "keep"), set()) == set(by_name)
