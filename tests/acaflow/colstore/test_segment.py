"""A segment: our chunks are what HDF5 libraries read, and what was put in."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tables

from acaflow.colstore import DamagedStoreError, image
from acaflow.colstore.image import RESIDUAL, Spec
from acaflow.colstore.records import SourceRange
from acaflow.colstore.segment import Segment

SOURCE = SourceRange("a", 1, 2, "0" * 64, "", 0, 0, 0.0, 0.0)


def made(n):
    """Columns of all sorts; TIME has a gap and lines that are off by some ulps."""
    rng = np.random.default_rng(n)
    time = 6.8e8 + 4.1 * np.arange(n) + 1000.0 * (np.arange(n) > n // 3)
    time = (time.view(np.int64) + rng.integers(-3, 4, n)).view(np.float64)
    return {
        "TIME": time,
        "noise": rng.normal(size=n),
        "IMGRAW": rng.integers(0, 1000, (n, 64)).astype("f4"),
        "pair": rng.integers(0, 9, (n, 2)).astype("i2"),
        "one": rng.normal(size=(n, 1)).astype("f4"),
        "constant": np.full(n, -3, "i4"),
        "nan": np.full(n, np.nan),
        "still": np.tile(np.array([1, 2, 3], "u2"), (n, 1)),
        "step": (np.arange(n) > n - 2).astype("f8"),
        "flag": rng.random(n) < 0.5,
        "state": rng.choice(np.array([b"ON", b"OFF", b""], "S4"), n),
        **{f"u1.{i}": rng.integers(0, 200, n).astype("u1") for i in range(20)},
        **{f"i4_{i}": rng.integers(-9, 9, n).astype("i4") for i in range(3)},
    }


@pytest.fixture(scope="module", params=[1, 2, 700, 6800, 150_000])
def segment(request, tmp_path_factory):
    columns = made(request.param)
    codec = "lz4" if request.param == 700 else "zstd"
    specs = {name: Spec.of(values) for name, values in columns.items()}
    built = image.build(request.param, specs, columns.__getitem__, [SOURCE], codec)
    path = tmp_path_factory.mktemp("segment") / "00000001.h5"
    path.write_bytes(built.content)
    with Segment(path, (built.head_place, built.chunks_place)) as opened:
        yield opened, columns


def test_any_rows_come_back(segment):
    opened, columns = segment
    n = opened.head.n
    rng = np.random.default_rng(3)
    cuts = np.sort(rng.integers(0, n + 1, (20, 2)), axis=1).tolist()
    for row0, row1 in [(0, n), (0, 1), (n - 1, n), *cuts]:
        for name, values in columns.items():
            found = opened.read(name, row0, row1)
            assert found.dtype == values.dtype and found.tobytes() == values[row0:row1].tobytes()


def test_hdf5_reads_the_same(segment):
    """PyTables' own blosc2 inflates every stored column to the same values."""
    opened, columns = segment
    n = opened.head.n
    stored = 0
    with tables.open_file(opened.path) as file:
        for name, place in opened.head.places.items():
            if "node" not in place:
                continue
            leaf = file.get_node("/" + place["node"])
            width = max(place["width"], 1)
            values = leaf.read(place["start"] * width, (place["start"] + n) * width)
            expected = columns[name] if name in columns else opened.read(name, 0, n)
            assert values.tobytes() == expected.tobytes()
            stored += 1
        head = bytes(file.root.head.read())
    assert head.startswith(b'{"format": 1, "n": %d,' % n)
    assert stored >= (27 if n > 2 else 0)


def test_constants_and_lines_take_no_chunk(segment):
    opened, _ = segment
    places = opened.head.places
    assert all("const" in places[name] for name in ("constant", "nan", "still"))
    assert "runs" in places["TIME"]
    assert len(places["TIME"]["runs"][0]) == (2 if opened.head.n > 2 else 1)
    if opened.head.n > 2:
        assert "node" in places["noise"] and "node" in places["TIME" + RESIDUAL]


def test_rows_of_a_wider_dtype(segment):
    opened, columns = segment
    n = opened.head.n
    for name in ("TIME", "u1.3", "i4_0", "constant"):
        out = np.empty(n, "f4" if name == "TIME" else "f8")
        opened.read_into(name, 0, out)
        assert (out == columns[name].astype(out.dtype)).all()


@pytest.mark.parametrize("regular", [True, False])
def test_search_is_that_of_numpy(tmp_path, regular):
    """Equal stamps, gaps, times between, before and after; also in an irregular TIME."""
    rng = np.random.default_rng(5)
    if regular:
        time = np.cumsum(np.tile([4.1] * 999 + [50.0], 200)) + 6e8
        time = np.insert(time, 500, time[500])
    else:
        time = np.sort(np.round(rng.uniform(0, 1e5, 200_000), 1))
    build = image.build(len(time), {"TIME": Spec("<f8", 0)}, lambda _: time, [SOURCE], "zstd")
    path = tmp_path / "s.h5"
    path.write_bytes(build.content)
    with Segment(path, (build.head_place, build.chunks_place)) as opened:
        assert ("TIME" in opened.head.axes) == regular
        for row in [*rng.integers(0, len(time), 100).tolist(), 0, 500, 501, len(time) - 1]:
            for at in (time[row], time[row] + 0.05, time[row] - 1e-7):
                row0 = int(rng.integers(0, row + 1))
                for side in ("left", "right"):
                    expected = row0 + int(np.searchsorted(time[row0:], at, side))
                    assert opened.search(float(at), side, row0, len(time)) == expected


def test_a_flipped_bit_is_found_wherever_it_is(tmp_path):
    columns = made(700)
    specs = {name: Spec.of(values) for name, values in columns.items()}
    built = image.build(700, specs, columns.__getitem__, [SOURCE], "zstd")
    places = (built.head_place, built.chunks_place)
    path = tmp_path / "00000007.h5"
    path.write_bytes(built.content)
    with Segment(path, places) as opened:
        number = opened.head.places["noise"]["chunk"]
        chunk = image.Place(*opened.head.chunks[number].tolist())
    for place, columns_named in ((chunk, ("noise",)), (places[0], ()), (places[1], ())):
        content = bytearray(built.content)
        content[place.offset + place.size // 2] ^= 4
        path.write_bytes(content)
        with (
            pytest.raises(DamagedStoreError, match=r"00000007\.h5 fails its checksum") as caught,
            Segment(path, places) as opened,
        ):
            assert opened.read("i4_0", 0, 700).tobytes() == columns["i4_0"].tobytes()
            opened.read("noise", 0, 10)
        assert caught.value.columns == columns_named
        assert caught.value.path == path
    path.write_bytes(built.content[: chunk.offset])
    with pytest.raises(DamagedStoreError):
        Segment(path, places)


def test_importing_the_package_loads_no_hdf5():
    code = "import sys, acaflow.colstore; print({'tables', 'blosc2'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "set()\n"
