"""Acceptance of level-0 files and the supersede rule (aca-archive 3.2, 3.4)."""

import gzip
import itertools
import logging
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acaflow.archive import aca_l0
from acaflow.archive.l0_file import L0File, read_l0_file
from acaflow.archive.l0_fits import computed_checksum, inflate, read_table
from acaflow.archive.l0_index import Audit, Change, L0Index, Provenance, Status, Verdict
from acaflow.errors import (
    ArchiveConflictError,
    CorruptFileError,
    DataError,
    MissingDataError,
    SchemaError,
    StorageBusyError,
)
from tests.support.l0 import BASE_TIME, deliver, make_l0_file

NO_PROVENANCE: Provenance = ([], "test", "0")
ROW_S = 4.1


def frame(seconds):
    """Minor frames of the 8x8 row that begins `seconds` after the first one, on its grid."""
    return 16 * round(seconds / ROW_S)


def make_letter(folder, letter, revision, first, last, **options):
    """One file of the worked example: 8x8 rows from second `first` to `last`."""
    rows = (frame(last) - frame(first)) // 16 + 1
    return make_l0_file(
        folder / letter,
        frame=frame(first),
        rows=rows,
        revision=revision,
        date=f"2020-01-01T00:00:{ord(letter) - ord('A'):02d}",
        **options,
    )


@pytest.fixture
def letters(tmp_path):
    """The files of the worked example by letter."""
    table = {
        "A": (1, 0, 98.4),
        "B": (2, 0, 98.4),
        "C": (2, 49.2, 147.6),
        "D": (1, 69.7, 168.1),
        "E": (4, 143.5, 241.9),
        "F": (3, 61.5, 159.9),
        "G": (2, 0, 94.3),
    }
    return {key: make_letter(tmp_path / "in", key, *value) for key, value in table.items()}


def tables(root):
    """Both tables as a reader of plain SQLite sees them, but for superseded_at."""
    with closing(sqlite3.connect(root / "archfiles.db3")) as db:
        db.row_factory = sqlite3.Row
        return tuple(
            [
                {key: row[key] for key in row.keys() if key != "superseded_at"}  # noqa: SIM118
                for row in db.execute(f"SELECT * FROM {table} ORDER BY filename")
            ]
            for table in ("archfiles", "all_files")
        )


def statuses(root):
    return {row["filename"]: row["status"] for row in tables(root)[1]}


def spans(root, files):
    """What is read: (letter, first second, last second) of each stretch of rows of one file."""
    letter = {path.name: key for key, path in files.items()}
    rows = aca_l0.get_slot_data(0, 1e9, 0, data_root=root, columns=["END_INTEG_TIME", "FILENAME"])
    seconds = rows["END_INTEG_TIME"] - BASE_TIME
    names = rows["FILENAME"].tolist()
    found = []
    for name, group in itertools.groupby(range(len(rows)), key=lambda i: names[i]):
        members = list(group)
        found.append((letter[name], *(round(float(seconds[members[i]]), 3) for i in (0, -1))))
    return found


# --- The record of a file


@pytest.mark.real
def test_record_of_a_real_file(real_data):
    name = "acaf686111014N001_3_img0.fits.gz"
    record = read_l0_file(real_data / "real" / "aca_l0" / name, name)
    assert (record.filename, record.filetime, record.year, record.doy) == (
        name,
        686111014,
        2019,
        272,
    )
    assert (record.tstart, record.tstop) == (686111014.366093, 686117441.116480)
    assert (record.startmjf, record.startmnf, record.stopmjf, record.stopmnf) == (
        8580,
        124,
        8776,
        115,
    )
    assert (record.checksum, record.tlmver, record.ascdsver) == ("3L7aAL7Y5L7aAL7Y", "P014", "10.8")
    assert (record.revision, record.date) == (1, "2019-09-29T13:07:52")
    assert (record.rows, record.imgsize, record.slot) == (3135, 6, 3)
    assert record.time_min == 686111012.493093
    assert record.time_max == 686117437.19348
    assert record.frames == ((8580 * 128 + 124, 3135, 8),)
    assert record.path == f"2019/272/{name}"


@pytest.mark.real
@pytest.mark.parametrize("slot", range(8))
def test_real_files_with_the_checksum_of_others_are_refused(real_data, slot):
    path = real_data / "real" / "aca_l0_small" / f"test_level0_{slot}.fits.gz"
    with pytest.raises(CorruptFileError, match="DATASUM of HDU 1 is") as caught:
        read_l0_file(path, f"acaf686111014N001_{slot}_img0.fits.gz")
    assert caught.value.path == path


def test_computed_checksum_is_accepted_by_astropy(tmp_path):
    path = make_l0_file(tmp_path, header={"CHECKSUM": "0" * 16})
    table = read_table(inflate(path), path)
    rewritten = inflate(path).replace(b"'" + b"0" * 16, b"'" + computed_checksum(table).encode(), 1)
    (tmp_path / "out.fits").write_bytes(rewritten)
    with fits.open(tmp_path / "out.fits") as hdus:
        assert hdus[1].verify_checksum() == 1
        assert hdus[1].verify_datasum() == 1


def test_plain_and_packed_delivery_give_one_record(tmp_path):
    packed = make_l0_file(tmp_path / "gz", slot=2)
    plain = make_l0_file(tmp_path / "plain", slot=2, packed=False)
    assert plain.name.endswith("_2_img0.fits")
    assert read_l0_file(plain, plain.name) == read_l0_file(packed, packed.name)


def test_missing_keywords_are_null_and_a_missing_checksum_is_computed(tmp_path):
    absent = ("STARTMJF", "STARTMNF", "STOPMJF", "STOPMNF", "TLMVER", "ASCDSVER", "REVISION")
    path = make_l0_file(
        tmp_path,
        revision=7,
        header=dict.fromkeys([*absent, "CHECKSUM", "DATASUM"]),
    )
    record = read_l0_file(path, path.name)
    assert (record.startmjf, record.startmnf, record.stopmjf, record.stopmnf) == (None,) * 4
    assert (record.tlmver, record.ascdsver) == (None, None)
    assert record.revision == 7
    assert record.checksum is not None
    assert len(record.checksum) == 16


def test_blank_checksums_mean_not_stated(tmp_path):
    path = make_l0_file(tmp_path, header={"CHECKSUM": "", "DATASUM": ""})
    assert read_l0_file(path, path.name).rows == 24


def test_header_revision_counts_and_a_differing_name_is_logged(tmp_path, caplog):
    path = make_l0_file(tmp_path, revision=2, header={"REVISION": 3})
    with caplog.at_level(logging.WARNING):
        assert read_l0_file(path, path.name).revision == 3
    assert "header REVISION 3 counts, not the name's N002" in caplog.text


def test_frames_are_runs_and_wrap(tmp_path):
    counters = np.array([2**24 - 32, 2**24 - 16, 0, 16, 96, 112])
    path = make_l0_file(tmp_path, rows=6, values={"MJF": counters // 128, "MNF": counters % 128})
    assert read_l0_file(path, path.name).frames == ((2**24 - 32, 4, 16), (96, 2, 16))


# --- Refusals

REFUSED = {
    "no rows": ({"rows": 0}, "HDU 1 has no rows"),
    "no DATE": ({"header": {"DATE": None}}, "header DATE is missing or blank"),
    "no TSTART": ({"header": {"TSTART": None}}, "header TSTART is None, expected finite"),
    "text TSTOP": ({"header": {"TSTOP": "soon"}}, "header TSTOP is 'soon', expected finite"),
    "backwards": ({"header": {"TSTOP": 686000001.0}}, "is not before TSTOP 686000001.0"),
    "other TSTART": ({"header": {"TSTART": 686000002.5}}, "the name says 686000001, header TSTART"),
    "text frame": ({"header": {"STARTMJF": "x"}}, "header STARTMJF is 'x', expected an integer"),
    "real REVISION": ({"header": {"REVISION": 1.5}}, "header REVISION is 1.5, expected an integer"),
    "no QUALITY": ({"drop": ["QUALITY"]}, "HDU 1 has no column QUALITY"),
    "no IMGRAW": ({"drop": ["IMGRAW"]}, "HDU 1 has no column IMGRAW"),
    "vector TIME": (
        {"values": {"TIME": ("2D", np.zeros((24, 2)))}},
        "column TIME is .*expected one number a row",
    ),
    "5x5 image": (
        {"values": {"IMGRAW": ("25E", np.zeros((24, 25)))}},
        "expected float images of 4x4, 6x6 or 8x8",
    ),
    "wrong slot": (
        {"values": {"IMGNUM1": np.full(24, 5)}},
        "the name says slot 0, most rows have IMGNUM1 5",
    ),
    "wrong sum of data": ({"header": {"DATASUM": "12345"}}, "DATASUM of HDU 1 is 12345"),
    "wrong sum of HDU": ({"header": {"CHECKSUM": "a" * 16}}, "CHECKSUM 'aaaa"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path, case):
    options, message = REFUSED[case]
    error = CorruptFileError if case.startswith("wrong sum") else SchemaError
    path = make_l0_file(tmp_path, name="acaf686000001N001_0_img0.fits.gz", **options)
    with pytest.raises(error, match=message) as caught:
        read_l0_file(path, path.name)
    assert caught.value.path == path
    assert path.name in str(caught.value)


def times_with(row, value):
    times = BASE_TIME + ROW_S * np.arange(24)
    times[row] = value
    return times


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"TIME": times_with(3, np.nan)}, "TIME of row 3 is not finite"),
        ({"TIME": times_with(23, BASE_TIME + 5000)}, "of row 23 is more than 60 s outside"),
        ({"TIME": times_with(0, BASE_TIME - 70)}, "of row 0 is more than 60 s outside"),
        (
            {"END_INTEG_TIME": times_with(5, BASE_TIME + 4 * ROW_S)},
            "END_INTEG_TIME of row 5 does not grow",
        ),
    ],
)
def test_refused_times(tmp_path, values, message):
    path = make_l0_file(tmp_path, values=values)
    with pytest.raises(SchemaError, match=message):
        read_l0_file(path, path.name)


def test_time_may_step_back_where_the_integration_time_grows(tmp_path):
    integ = np.full(24, 0.016, np.float32)
    integ[10:] = 15.0
    ends = BASE_TIME + ROW_S * np.arange(24)
    path = make_l0_file(tmp_path, values={"INTEG": integ, "TIME": ends - integ.astype(float) / 2})
    record = read_l0_file(path, path.name)
    assert record.time_min == pytest.approx(BASE_TIME - 0.008, abs=1e-6)
    assert record.time_max == pytest.approx(BASE_TIME + 23 * ROW_S - 7.5, abs=1e-6)
    without = make_l0_file(
        tmp_path / "b",
        values={"INTEG": integ, "TIME": ends - integ.astype(float) / 2},
        drop=["END_INTEG_TIME"],
    )
    with pytest.raises(SchemaError, match="TIME of row 10 does not grow"):
        read_l0_file(without, without.name)


DAMAGED = {
    "truncated stream": (lambda packed: packed[:-200], "gzip stream ends early"),
    "truncated trailer": (lambda packed: packed[:-3], "gzip stream ends early"),
    "wrong CRC": (lambda packed: packed[:-8] + bytes(8), "damaged gzip stream"),
    "bytes after the stream": (lambda packed: packed + b"more", "4 bytes follow the gzip stream"),
    "text": (lambda _: b"not a FITS file at all", "no gzip stream, its name says otherwise"),
    "empty": (lambda _: b"", "no gzip stream, its name says otherwise"),
    "plain under a packed name": (gzip.decompress, "no gzip stream, its name says otherwise"),
    "packed text": (lambda _: gzip.compress(b"hello"), "is not a FITS file"),
    "FITS cut in the table": (
        lambda packed: gzip.compress(gzip.decompress(packed)[:-2880]),
        "HDU 1 needs",
    ),
    "FITS cut in the header": (
        lambda packed: gzip.compress(gzip.decompress(packed)[:5760]),
        "has no END",
    ),
    "bytes after HDU 1": (
        lambda packed: gzip.compress(gzip.decompress(packed) + bytes(2880)),
        "has no END",
    ),
    "bomb": (lambda _: gzip.compress(bytes(70 << 20), 1), "inflate to more than 67108864"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged(tmp_path, case):
    damage, message = DAMAGED[case]
    path = make_l0_file(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=message) as caught:
        read_l0_file(path, path.name)
    assert caught.value.path == path
    is_damage = "name says" not in message
    assert isinstance(caught.value, CorruptFileError) is is_damage


def test_packed_under_a_plain_name_is_refused(tmp_path):
    path = make_l0_file(tmp_path)
    with pytest.raises(SchemaError, match="a gzip stream, its name says otherwise"):
        read_l0_file(path, path.name.removesuffix(".gz"))


def test_primary_only_is_refused(tmp_path):
    path = make_l0_file(tmp_path)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:2880]))
    with pytest.raises(SchemaError, match="has no HDU 1"):
        read_l0_file(path, path.name)


@pytest.mark.parametrize(
    "name", ["acaf686000001N001_8_img0.fits.gz", "acaf1N001_0_img0.fits", "x.fits", "../acaf.fits"]
)
def test_foreign_names_are_refused(tmp_path, name):
    with pytest.raises(SchemaError, match="not a level-0 image file name"):
        read_l0_file(make_l0_file(tmp_path), name)


# --- The tables


def test_archfiles_is_the_public_table(tmp_path):
    deliver(tmp_path / "aca0", make_l0_file(tmp_path / "in"))
    with closing(sqlite3.connect(tmp_path / "aca0" / "archfiles.db3")) as db:
        columns = [
            (row[1], row[2], row[3], row[5]) for row in db.execute("PRAGMA table_info(archfiles)")
        ]
        indexed = {row[0] for row in db.execute("SELECT sql FROM sqlite_master WHERE type='index'")}
        (frames,) = db.execute("SELECT frames FROM all_files").fetchone()
    assert columns == [
        ("filename", "TEXT", 1, 1),
        ("filetime", "INT", 1, 0),
        ("year", "INT", 1, 0),
        ("doy", "INT", 1, 0),
        ("tstart", "float", 1, 0),
        ("tstop", "float", 1, 0),
        ("startmjf", "INT", 0, 0),
        ("startmnf", "INT", 0, 0),
        ("stopmjf", "INT", 0, 0),
        ("stopmnf", "INT", 0, 0),
        ("checksum", "TEXT", 0, 0),
        ("tlmver", "TEXT", 0, 0),
        ("ascdsver", "TEXT", 0, 0),
        ("revision", "INT", 0, 0),
        ("date", "TEXT", 1, 0),
        ("rows", "INT", 1, 0),
        ("imgsize", "INT", 1, 0),
        ("slot", "INT", 1, 0),
    ]
    for wanted in ("archfiles (filetime)", "archfiles (slot, tstart)", "archfiles (slot, tstop)"):
        assert any(sql and sql.endswith(wanted) for sql in indexed)
    assert frames == "[[1000000, 24, 16]]"


STATES = [
    ("AB", "B", [("B", 0, 98.4)]),
    ("BC", "BC", [("B", 0, 45.1), ("C", 49.2, 147.6)]),
    ("BCD", "BCD", [("B", 0, 45.1), ("C", 49.2, 147.6), ("D", 151.7, 168.1)]),
    ("BCDE", "BCE", [("B", 0, 45.1), ("C", 49.2, 139.4), ("E", 143.5, 241.9)]),
    (
        "BCDEF",
        "BCEF",
        [("B", 0, 45.1), ("C", 49.2, 57.4), ("F", 61.5, 139.4), ("E", 143.5, 241.9)],
    ),
    ("AG", "G", [("G", 0, 94.3)]),
]


@pytest.mark.parametrize(("delivered", "active", "read"), STATES)
def test_worked_example_whatever_the_order(tmp_path, letters, delivered, active, read):
    expected = None
    for number, order in enumerate(itertools.permutations(delivered)):
        root = tmp_path / str(number)
        for letter in order:
            assert deliver(root, letters[letter]) is Verdict.NEW
        found = tables(root)
        assert [row["filename"] for row in found[0]] == sorted(letters[x].name for x in active)
        assert spans(root, {key: letters[key] for key in delivered}) == read
        expected = expected or found
        assert found == expected
        with L0Index(root) as index:
            assert index.audit(contents=True) == Audit((), (), (), ())


def record_of(name, revision, first, rows):
    """A file of 8x8 rows, number `first` on; the counter wraps at row 8 of the grid."""
    counter = (2**24 - 8 * 16 + 16 * first) % 2**24
    before = min(rows, (2**24 - counter) // 16)
    runs = ((counter, before, 16), (0, rows - before, 16))
    return L0File(
        filename=f"acaf{686000000 + first:09d}N{revision:03d}_0_img0.fits.gz",
        filetime=686000000 + first,
        year=2019,
        doy=270,
        tstart=first * ROW_S + 1.9,
        tstop=(first + rows) * ROW_S + 1.9,
        startmjf=None,
        startmnf=None,
        stopmjf=None,
        stopmnf=None,
        checksum=None,
        tlmver=None,
        ascdsver=None,
        revision=revision,
        date=name,
        rows=rows,
        imgsize=8,
        slot=0,
        sha256=name,
        time_min=first * ROW_S,
        time_max=(first + rows - 1) * ROW_S,
        frames=tuple(run for run in runs if run[1] > 0),
    )


FILES = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 20), st.integers(1, 12)),
    min_size=1,
    max_size=6,
    unique_by=lambda spec: spec[:2],
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(files=FILES, data=st.data())
def test_any_set_in_any_order_follows_the_rule(tmp_path_factory, files, data):
    rows = {name: set(range(first, first + n)) for name, (_, first, n) in enumerate(files)}
    expected = {}
    for name, (revision, first, n) in enumerate(files):
        higher = [rows[k] for k, spec in enumerate(files) if (spec[0], k) > (revision, name)]
        uncovered = rows[name].difference(*higher)
        hidden = len(uncovered) < n and uncovered <= {first, first + n - 1}
        expected[name] = "superseded" if hidden else "active"
    root = tmp_path_factory.mktemp("any")
    with L0Index(root) as index:
        for name in data.draw(st.permutations(range(len(files)))):
            index.commit(record_of(str(name), *files[name]), NO_PROVENANCE)
        assert index.audit().inconsistent == ()
    found = {row["date"]: row["status"] for row in tables(root)[1]}
    assert found == {str(name): status for name, status in expected.items()}


def test_superseded_files_stay_in_the_tree_with_their_row(tmp_path, letters):
    root = tmp_path / "aca0"
    deliver(root, letters["A"])
    deliver(root, letters["B"])
    assert statuses(root) == {letters["A"].name: "superseded", letters["B"].name: "active"}
    assert (root / "2019" / "270" / letters["A"].name).exists()
    with closing(sqlite3.connect(root / "archfiles.db3")) as db:
        dates = dict(db.execute("SELECT filename, superseded_at FROM all_files"))
    assert dates[letters["B"].name] is None
    assert dates[letters["A"].name][4] == ":"


def test_case_1_same_file_again_with_or_without_gz(tmp_path):
    root = tmp_path / "aca0"
    packed = make_l0_file(tmp_path / "gz")
    deliver(root, packed)
    before = tables(root)
    assert deliver(root, packed) is Verdict.SAME
    plain = make_l0_file(tmp_path / "plain", packed=False)
    assert deliver(root, plain) is Verdict.SAME
    assert tables(root) == before


def test_cases_2_and_3_same_name_other_content(tmp_path):
    early = make_l0_file(tmp_path / "early", date="2020-01-01T00:00:00", rows=20)
    late = make_l0_file(tmp_path / "late", date="2020-01-02T00:00:00", rows=24)
    assert early.name == late.name
    assert deliver(tmp_path / "a", early) is Verdict.NEW
    assert deliver(tmp_path / "a", late) is Verdict.REPLACES
    assert deliver(tmp_path / "b", late) is Verdict.NEW
    assert deliver(tmp_path / "b", early) is Verdict.CONFLICT
    assert tables(tmp_path / "a") == tables(tmp_path / "b")
    assert tables(tmp_path / "a")[0][0]["rows"] == 24


def test_case_3_equal_date_keeps_the_greater_sha256(tmp_path):
    files = [make_l0_file(tmp_path / str(rows), rows=rows) for rows in (20, 24)]
    files.sort(key=lambda path: read_l0_file(path, path.name).sha256)
    low, high = files
    assert deliver(tmp_path / "a", low) is Verdict.NEW
    assert deliver(tmp_path / "a", high) is Verdict.REPLACES
    assert deliver(tmp_path / "b", high) is Verdict.NEW
    assert deliver(tmp_path / "b", low) is Verdict.CONFLICT
    assert tables(tmp_path / "a") == tables(tmp_path / "b")


def test_replacing_a_file_shows_again_what_it_no_longer_covers(tmp_path):
    root = tmp_path / "aca0"
    old = make_letter(tmp_path, "A", 1, 49.2, 98.4)
    deliver(root, old)
    cover = make_letter(tmp_path, "B", 2, 0, 98.4)
    deliver(root, cover)
    assert statuses(root) == {old.name: "superseded", cover.name: "active"}
    shorter = make_letter(tmp_path, "C", 2, 0, 41)
    assert shorter.name == cover.name
    assert deliver(root, shorter) is Verdict.REPLACES
    assert statuses(root) == {old.name: "active", cover.name: "active"}


@pytest.mark.parametrize(
    ("case", "first", "second", "expected"),
    [
        (4, (1, 0, 41), (2, 45.1, 82), "active active"),
        (5, (1, 0, 82), (2, 0, 82), "superseded active"),
        (5, (1, 0, 82), (2, 4.1, 77.9), "superseded active"),
        (6, (1, 0, 82), (2, 8.2, 77.9), "active active"),
        (8, (2, 0, 41), (1, 20.5, 82), "active active"),
        (9, (1, 0, 41), (1, 20.5, 82), "active active"),
        (10, (1, 0, 82), (1, 20.5, 41), "active active"),
        (10, (1, 20.5, 41), (1, 0, 82), "superseded active"),
    ],
)
def test_cases_4_to_10(tmp_path, case, first, second, expected):
    older = make_letter(tmp_path, "A", *first)
    newer = make_letter(tmp_path, "B", *second)
    for number, order in enumerate([(older, newer), (newer, older)]):
        root = tmp_path / f"aca0{number}"
        for path in order:
            deliver(root, path)
        found = statuses(root)
        assert [found[older.name], found[newer.name]] == expected.split(), case


def test_case_7_covered_by_several_files_together(tmp_path):
    root = tmp_path / "aca0"
    for letter, revision, first, last in [("B", 2, 0, 41), ("C", 3, 45.1, 82)]:
        deliver(root, make_letter(tmp_path, letter, revision, first, last))
    low = make_letter(tmp_path, "A", 1, 8.2, 73.8)
    with L0Index(root) as index:
        record = read_l0_file(low, low.name)
        target = root / record.path
        shutil.copyfile(low, target)
        assert index.commit(record, NO_PROVENANCE) == Change((), (low.name,))
        assert index.compare(record) is Verdict.SAME


def test_other_slots_and_other_times_are_strangers(tmp_path):
    root = tmp_path / "aca0"
    first = make_l0_file(tmp_path / "a")
    other_slot = make_l0_file(tmp_path / "b", slot=1, revision=2)
    # The same counters, one turn of the VCDU counter later.
    turn = make_l0_file(tmp_path / "c", frame=2**24, revision=2)
    for path in (first, other_slot, turn):
        deliver(root, path)
    assert set(statuses(root).values()) == {Status.ACTIVE}
    assert len(aca_l0.get_slot_data(0, 1e9, 0, data_root=root, columns=["TIME"])) == 48


def test_reprocessed_times_do_not_hide_that_rows_are_the_same(tmp_path):
    root = tmp_path / "aca0"
    first = make_l0_file(tmp_path / "a", revision=1)
    shifted = make_l0_file(tmp_path / "b", revision=2, time_shift=0.37)
    deliver(root, first)
    deliver(root, shifted)
    assert statuses(root) == {first.name: "superseded", shifted.name: "active"}


def test_files_without_counters_are_compared_by_time(tmp_path):
    root = tmp_path / "aca0"
    low = make_l0_file(tmp_path / "a", revision=1, drop=["MJF", "MNF"])
    high = make_l0_file(tmp_path / "b", revision=2, drop=["MJF", "MNF"], time_shift=0.0002)
    deliver(root, high)
    deliver(root, low)
    assert statuses(root) == {low.name: "superseded", high.name: "active"}
    assert [row["frames"] for row in tables(root)[1]] == [None, None]


def test_the_image_size_plays_no_part_in_coverage(tmp_path):
    root = tmp_path / "aca0"
    small = make_l0_file(tmp_path / "a", imgsize=4, rows=24)
    large = make_l0_file(tmp_path / "b", imgsize=8, rows=6, revision=2)
    deliver(root, small)
    deliver(root, large)
    # Every fourth 4x4 row has the counter of an 8x8 row and is left out.
    assert set(statuses(root).values()) == {Status.ACTIVE}
    rows = aca_l0.get_slot_data(0, 1e9, 0, 4, data_root=root, columns=["MNF"])
    assert len(rows) == 18


def test_withdrawing_a_file_shows_what_it_covered(tmp_path, letters):
    root = tmp_path / "aca0"
    deliver(root, letters["A"])
    deliver(root, letters["B"])
    with L0Index(root) as index:
        assert index.withdraw(letters["B"].name) == Change((letters["A"].name,), ())
        with pytest.raises(MissingDataError, match=letters["B"].name):
            index.withdraw(letters["B"].name)
    assert statuses(root) == {letters["A"].name: "active"}


# --- Recovery


def test_crash_between_rename_and_commit_is_finished_by_redelivery(tmp_path):
    root = tmp_path / "aca0"
    path = make_l0_file(tmp_path / "in")
    record = read_l0_file(path, path.name)
    (root / "2019" / "270").mkdir(parents=True)
    shutil.copyfile(path, root / record.path)
    with L0Index(root) as index:
        assert index.audit().unindexed == (root / record.path,)
    assert deliver(root, path) is Verdict.NEW
    assert statuses(root) == {path.name: "active"}


def test_crash_leftover_is_indexed_before_another_content_is_compared(tmp_path):
    root = tmp_path / "aca0"
    left = make_l0_file(tmp_path / "left", date="2020-01-02T00:00:00", rows=20)
    other = make_l0_file(tmp_path / "other", date="2020-01-01T00:00:00")
    (root / "2019" / "270").mkdir(parents=True)
    shutil.copyfile(left, root / "2019" / "270" / left.name)
    assert deliver(root, other) is Verdict.CONFLICT
    assert tables(root)[0][0]["rows"] == 20


def test_unusable_leftover_is_not_overwritten(tmp_path):
    root = tmp_path / "aca0"
    path = make_l0_file(tmp_path / "in")
    (root / "2019" / "270").mkdir(parents=True)
    (root / "2019" / "270" / path.name).write_text("a person was here")
    with pytest.raises(ArchiveConflictError, match="in the tree, in no table, and unusable"):
        deliver(root, path)


def test_failed_commit_changes_nothing(tmp_path, letters):
    root = tmp_path / "aca0"
    deliver(root, letters["A"])
    before = tables(root)
    record = read_l0_file(letters["B"], letters["B"].name)
    with L0Index(root) as index, pytest.raises(TypeError):
        index.commit(record, ([{"path": object()}], "job", "1"))
    assert tables(root) == before


def test_file_is_placed_while_the_tables_are_locked(tmp_path, letters):
    """Nobody else can delay the row of a file that is in the tree already."""
    root = tmp_path / "aca0"
    deliver(root, letters["A"])
    before = tables(root)
    record = read_l0_file(letters["B"], letters["B"].name)

    def place():
        with (
            closing(sqlite3.connect(root / "archfiles.db3", timeout=0)) as db,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            db.execute("BEGIN IMMEDIATE")
        assert tables(root) == before  # while readers go on
        raise StorageBusyError("disk full")

    with L0Index(root) as index, pytest.raises(StorageBusyError, match="disk full"):
        index.commit(record, NO_PROVENANCE, place)
    assert tables(root) == before


def test_audit_names_every_disagreement(tmp_path):
    root = tmp_path / "aca0"
    kept, lost, altered = (make_l0_file(tmp_path / "in", frame=2000 * i) for i in range(3))
    for path in (kept, lost, altered):
        deliver(root, path)
    (root / "2019" / "270" / lost.name).unlink()
    (root / "2019" / "270" / altered.name).write_bytes(kept.read_bytes())
    with closing(sqlite3.connect(root / "archfiles.db3")) as db, db:
        db.execute("DELETE FROM archfiles WHERE filename = ?", (kept.name,))
    with L0Index(root) as index:
        assert index.audit(contents=True) == Audit(
            unindexed=(),
            missing=(f"2019/270/{lost.name}",),
            altered=(f"2019/270/{altered.name}",),
            inconsistent=(kept.name,),
        )


def test_provenance_is_written_with_the_file(tmp_path):
    path = make_l0_file(tmp_path / "in")
    record = read_l0_file(path, path.name)
    with L0Index(tmp_path / "aca0") as index:
        index.commit(record, ([{"path": "inbox/x", "sha256": "00"}], "ingest:1", "0.1.0"))
    with closing(sqlite3.connect(tmp_path / "aca0" / "archfiles.db3")) as db:
        row = db.execute(
            "SELECT path, sha256, inputs, job, code_version FROM provenance"
        ).fetchone()
    assert row == (
        record.path,
        record.sha256,
        '[{"path": "inbox/x", "sha256": "00"}]',
        "ingest:1",
        "0.1.0",
    )


@pytest.fixture
def public_tree(tmp_path, letters):
    """A tree as public tools leave it: no ``all_files``, every file in ``archfiles``."""
    root = tmp_path / "public"
    for letter in "ABC":
        deliver(root, letters[letter])
    with closing(sqlite3.connect(root / "archfiles.db3")) as db, db:
        db.execute(
            "INSERT OR IGNORE INTO archfiles SELECT filename, filetime, year, doy, tstart, tstop,"
            " startmjf, startmnf, stopmjf, stopmnf, checksum, tlmver, ascdsver, revision, date,"
            " rows, imgsize, slot FROM all_files"
        )
        db.execute("DROP TABLE all_files")
        db.execute("DROP TABLE provenance")
        db.execute("DROP INDEX idx_archfiles_slot_tstart")
    return root


def test_public_tree_is_readable_as_it_is(public_tree, letters):
    before = (public_tree / "archfiles.db3").read_bytes()
    files = {key: letters[key] for key in "ABC"}
    assert spans(public_tree, files) == [("B", 0, 45.1), ("C", 49.2, 147.6)]
    rows = aca_l0.get_slot_data(0, 1e9, 0, data_root=public_tree, unique=False, columns=["TIME"])
    assert len(rows) == 75
    # The first rows lie before the header interval, the only times that such a tree indexes.
    first = BASE_TIME - 0.848
    assert len(aca_l0.get_slot_data(first - 0.1, first + 0.1, 0, data_root=public_tree)) == 1
    assert aca_l0.get_files(start=first - 0.1, stop=first + 0.1, data_root=public_tree) == []
    assert (public_tree / "archfiles.db3").read_bytes() == before


def test_public_tree_is_adopted_at_the_first_write(public_tree, tmp_path, letters):
    for letter in "ABC":
        deliver(tmp_path / "ours", letters[letter])
    with L0Index(public_tree) as index:
        assert index.adopt() == 0
        assert index.audit(contents=True) == Audit((), (), (), ())
    assert tables(public_tree) == tables(tmp_path / "ours")
    assert statuses(public_tree)[letters["A"].name] == "superseded"


def test_adopting_a_tree_with_a_missing_file_changes_nothing(public_tree, letters):
    lost = public_tree / "2019" / "270" / letters["C"].name
    lost.unlink()
    before = (public_tree / "archfiles.db3").read_bytes()
    with pytest.raises(FileNotFoundError, match=lost.name):
        L0Index(public_tree)
    assert (public_tree / "archfiles.db3").read_bytes() == before
