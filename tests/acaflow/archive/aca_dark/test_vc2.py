"""Raw dumps: exact decoding, every rule about damaged ones, and what the counts say."""

import gzip
import random
import struct
import zlib

import numpy as np
import pytest

from acaflow.archive.aca_dark.vc2 import read_vc2
from acaflow.errors import CorruptFileError, MissingDataError, SchemaError
from acaflow.paths import Vc2Name, parse_vc2_name
from tests.support.vc2 import (
    LONG,
    NAME,
    SFDU,
    SHORT,
    Dump,
    frame,
    image_records,
    record,
    row_pixels,
    zone,
)

ROWS = range(57)
"""Rows of the usual burst: 59 frames."""
BURST = [record(row) for row in ROWS]


@pytest.fixture
def decode(tmp_path):
    def read(content, name=NAME):
        path = tmp_path / "staged"
        path.write_bytes(bytes(content))
        return read_vc2(path, name)

    return read


def rows_of(replica):
    """Return the rows of all records, each checked to have the pixels it was made with."""
    rows, colneg = replica.columns["ROW"].tolist(), replica.columns["COLNEG"].tolist()
    counts = np.rint(replica.columns["INTEG"] / 0.016).astype(int).tolist()
    for pixels, *key in zip(replica.pixels, rows, colneg, counts, strict=True):
        assert np.array_equal(pixels, row_pixels(*key)), key
    return rows


# --- Whole replicas --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(3)
    return {integ: rng.integers(0, 65536, (1024, 1024)) for integ in (SHORT, LONG)}


@pytest.fixture(scope="module")
def records(images):
    return [one for integ, image in images.items() for one in image_records(image, integ)]


def check_images(replica, images):
    assert replica.groups == [5.0, 10.0]
    for group, integ in ((5.0, SHORT), (10.0, LONG)):
        made = replica.frame(group)
        assert made.integ == pytest.approx(integ * 0.016, abs=1e-6)
        assert made.signal.dtype == np.float32
        assert np.array_equal(made.signal, images[integ] - 2000.0)
        assert np.array_equal(made.saturated, images[integ] == 65535)
    assert replica.rows() == 4096
    assert replica.duplicates() == (0, 0)


def test_bursts_of_57_records(decode, records, images):
    content = bytes(Dump().bursts(records, 57))
    assert len(content) == 4_889_808  # dark-cal B2
    replica = decode(content)
    assert vars(replica.counts) == {
        "size": 4_889_808,
        "truncated": 0,
        "gz_error": "",
        "frames": 4312,
        "bad_sync": 0,
        "other_channel": 0,
        "mismatched_channel": 0,
        "fill": 72,
        "pixel_frames": 4240,
        "duplicate_frames": 0,
        "backward": 0,
        "lost": 0,
        "segments": 72,
        "single_frame_segments": 0,
        "parity_doubts": 0,
        "resyncs": 0,
        "partial_records": 0,
        "filler_records": 0,
        "bad_rows": 0,
        "records": 4096,
    }
    assert (replica.name, replica.number) == (NAME, 2)
    check_images(replica, images)


def test_unbroken_stream(decode, records, images):
    replica = decode(Dump().burst(records))
    assert replica.counts.size == 4185 * SFDU
    assert (replica.counts.frames, replica.counts.segments) == (4185, 1)
    check_images(replica, images)


def test_odd_parity_counter_wrap_and_rows_in_any_order(decode, records, images):
    mixed = random.Random(4).sample(records, len(records))
    replica = decode(Dump(counter=2**24 - 1000, cd=1).bursts(mixed, 57))
    assert (replica.counts.lost, replica.counts.backward) == (0, 0)
    assert replica.columns["REC_CTR"].min() == 0
    assert replica.columns["REC_CTR"].max() == 2**24 - 1
    check_images(replica, images)


def test_mostly_fill(decode):
    dump = Dump().bursts([record(row) for row in range(-300, 0)], 57, fill=403)
    replica = decode(gzip.compress(bytes(dump), 1))
    assert rows_of(replica) == list(range(-300, 0))
    assert (replica.counts.fill, replica.counts.lost, replica.counts.gz_error) == (6 * 403, 0, "")


# --- Fields ----------------------------------------------------------------------------------


def test_fields_of_a_record(decode):
    # CALTYPE 1, REPLICA 2, COLNEG 1, ROW -1: 1 010 1 111 1111 1111.
    head = bytes.fromhex("FF00 07D1 0139 AFFF FFFE FFFFFFFD AAAA")
    pixels = struct.pack(">512H", *range(65024, 65536))
    replica = decode(Dump().burst(2 * (head + pixels)))
    first = {name: values[0].item() for name, values in replica.columns.items()}
    assert first.pop("TIME_ERT") > 0
    assert first == {
        "REC_CTR": 34757,
        "ADC_BIAS": 2001,
        "INTEG": pytest.approx(5.008, abs=1e-6),
        "CALTYPE": 1,
        "REPLICA": 2,
        "COLNEG": 1,
        "ROW": -1,
        "SCI_HDR_CTR": 65534,
        "TWO_US_CLK": 4294967293,
    }
    assert replica.pixels[0].tolist() == list(range(65024, 65536))
    dtypes = [values.dtype for values in replica.columns.values()]
    assert dtypes == ["f8", "i4", "u2", "f4", "i2", "i2", "i2", "i2", "u2", "u4"]
    assert replica.pixels.dtype == np.uint16


@pytest.mark.parametrize(
    ("ert", "secs"),
    [
        ((14610, 0, 0), 63.184),  # 1998-01-01 UTC is 63.184 s TT after 1998.0
        ((19723, 43_200_123, 456), 441763266.184 + 43200.123456),  # 2012:001
        ((0, 1000, 0), 64.184),  # an impossible day is 1998-01-01
    ],
)
def test_earth_receive_time(decode, ert, secs):
    dump = Dump().burst(BURST)
    for one in dump.frames:
        struct.pack_into(">HIH", one, 42, *ert)
    replica = decode(dump)
    assert replica.columns["TIME_ERT"] == pytest.approx(np.full(57, secs), abs=1e-6, rel=0)
    assert replica.ert == pytest.approx((secs, secs), abs=1e-6, rel=0)


def test_time_and_counter_are_those_of_the_first_byte(decode):
    replica = decode(Dump(counter=100).fill(3).burst(BURST).fill())
    of_record = np.arange(57) * 1040 // 1018
    assert np.array_equal(replica.columns["REC_CTR"], 103 + of_record)
    # 2016:125:12:00:00 UTC, from the calendar: 6698.5 days and 68.184 s (5 leap seconds).
    noon = 6698.5 * 86400 + 63.184 + 5
    expected = noon + 0.01 * (3 + of_record)
    assert replica.columns["TIME_ERT"] == pytest.approx(expected, abs=1e-6, rel=0)
    assert replica.ert == pytest.approx((noon + 0.03, noon + 0.61), abs=1e-6, rel=0)


# --- Lost, damaged and foreign frames --------------------------------------------------------


def test_lost_pixel_frame_costs_the_records_in_it(decode):
    dump = Dump().burst(BURST).fill()
    del dump.frames[10]  # payload bytes 10180 to 11197: records 9 and 10
    replica = decode(dump)
    assert rows_of(replica) == [row for row in ROWS if row not in (9, 10)]
    counts = replica.counts
    assert (counts.lost, counts.segments, counts.partial_records, counts.resyncs) == (1, 2, 2, 0)


def test_lost_fill_frames_are_counted_too(decode):
    dump = Dump().burst(BURST).fill(5).burst([record(row) for row in range(100, 157)])
    del dump.frames[60:62]
    replica = decode(dump)
    assert (replica.counts.lost, replica.counts.fill, replica.counts.records) == (2, 3, 114)


def test_lost_burst(decode):
    dump = Dump()
    for start in (0, 57, 114):
        dump.burst([record(row) for row in range(start, start + 57)]).fill()
    del dump.frames[60:119]
    replica = decode(dump)
    assert rows_of(replica) == [*range(57), *range(114, 171)]
    assert (replica.counts.lost, replica.counts.segments) == (59, 2)


@pytest.mark.parametrize("byte", [0, 3, 104, 107])
def test_frame_without_one_of_the_syncs_is_not_used(decode, byte):
    dump = Dump().burst(BURST).fill()
    dump.frames[10][byte] ^= 1
    replica = decode(dump)
    assert rows_of(replica) == [row for row in ROWS if row not in (9, 10)]
    counts = replica.counts
    assert (counts.bad_sync, counts.frames, counts.pixel_frames, counts.lost) == (1, 60, 58, 1)


def test_first_byte_of_the_channel_is_only_counted(decode):
    dump = Dump().burst(BURST).fill()
    for place in (3, 4, 59):
        dump.frames[place][108] = 0
    replica = decode(dump)
    assert rows_of(replica) == list(ROWS)
    assert (replica.counts.mismatched_channel, replica.counts.other_channel) == (3, 0)


def test_other_channel_does_not_break_a_segment(decode):
    dump = Dump().burst(BURST).fill()
    foreign = frame(999, zone(999, bytes(1018), 0), channel=b"\x41\x94")
    for place in (0, 10, 11, 30, 62):
        dump.frames.insert(place, foreign)
    replica = decode(dump)
    assert rows_of(replica) == list(ROWS)
    counts = replica.counts
    assert (counts.other_channel, counts.segments, counts.lost, counts.frames) == (5, 1, 0, 65)


def test_repeated_frames_are_dropped(decode):
    dump = Dump().burst(BURST).fill(3)
    for place in (61, 20, 20, 0):  # a fill frame once, a pixel frame twice, the first
        dump.frames.insert(place, dump.frames[place])
    replica = decode(dump)
    assert rows_of(replica) == list(ROWS)
    counts = replica.counts
    assert (counts.duplicate_frames, counts.frames, counts.pixel_frames) == (4, 66, 59)
    assert (counts.fill, counts.lost, counts.backward, counts.segments) == (3, 0, 0, 1)


def test_same_counter_with_other_content_is_no_repetition(decode):
    dump = Dump().burst(BURST).fill()
    other = bytearray(dump.frames[20])
    other[600] ^= 1
    dump.frames.insert(20, other)
    counts = decode(dump).counts
    assert (counts.duplicate_frames, counts.backward, counts.segments) == (0, 1, 2)


def test_counter_that_goes_back_begins_a_segment(decode):
    dump = Dump(counter=1000).burst(BURST).fill()
    again = Dump(counter=1020).burst([record(row) for row in range(100, 157)])
    dump.frames += again.frames
    replica = decode(dump)
    assert rows_of(replica) == [*ROWS, *range(100, 157)]
    assert (replica.counts.backward, replica.counts.lost, replica.counts.segments) == (1, 0, 2)


def test_segment_of_one_frame_is_dropped(decode):
    dump = Dump().burst(BURST).fill().burst(record(99)[:1000]).fill()
    counts = decode(dump).counts
    assert (counts.segments, counts.single_frame_segments, counts.pixel_frames) == (2, 1, 60)
    assert (counts.records, counts.partial_records) == (57, 0)


@pytest.mark.parametrize(("different", "is_fill"), [(3, True), (4, False)])
def test_fill_may_differ_in_three_bytes(decode, different, is_fill):
    dump = Dump().burst(BURST)
    noise = bytearray(b"\xaa" * 1019)
    noise[5 : 1019 : 1019 // different] = bytes(different)
    dump.add(bytes(noise))
    counts = decode(dump).counts
    assert (counts.fill, counts.pixel_frames) == ((1, 59) if is_fill else (0, 60))


@pytest.mark.parametrize("number", [324, 833])
@pytest.mark.parametrize("cd", [0, 1])
def test_last_bytes_in_a_frame_that_looks_like_fill(decode, number, cd):
    rows = [row % 512 for row in range(number)]
    dump = Dump(counter=2 * number, cd=cd).burst([record(row) for row in rows])
    assert len(dump.frames) == -(-number * 1040 // 1018)
    replica = decode(dump.fill())
    assert rows_of(replica) == rows
    assert (replica.counts.fill, replica.counts.partial_records) == (2, 0)
    del dump.frames[-2:]
    replica = decode(dump)
    assert rows_of(replica) == rows[:-1]
    assert (replica.counts.fill, replica.counts.partial_records) == (0, 1)
    # A later frame, after a lost one, does not hold those bytes.
    dump.fill()
    assert rows_of(decode(dump)) == rows[:-1]


# --- Kinds of frames -------------------------------------------------------------------------


def test_parity_may_change_from_segment_to_segment(decode):
    dump = Dump()
    for start in (0, 57, 114, 171):
        dump.cd = 1 - dump.cd
        dump.burst([record(row) for row in range(start, start + 57)]).fill(2)
    replica = decode(dump)
    assert rows_of(replica) == list(range(228))
    assert replica.counts.parity_doubts == 0


@pytest.mark.parametrize(
    ("parities", "blind"),
    [
        ([0, 0, 1], [1]),  # the one before, not the one behind
        ([1, 1, 0], [1]),
        ([0, 0, 1], [0]),  # none before: the one behind
        ([1, 1, 1, 0], [0, 1]),
        ([0, 1, 1, 1], [2, 3]),
    ],
)
def test_segment_without_markers_follows_the_one_before(decode, parities, blind):
    dump = Dump()
    flat = np.full(512, 2000)  # no byte of it looks like a marker
    for i, parity in enumerate(parities):
        dump.cd, start = parity, len(dump.frames)
        dump.burst([record(row, 0, flat) for row in range(57 * i, 57 * i + 57)]).fill(2)
        if i in blind:
            for one in dump.frames[start : start + 59]:
                one[114 if one[114] == 0xCD else 1132] = 0
    replica = decode(dump)
    assert replica.columns["ROW"].tolist() == list(range(57 * len(parities)))
    assert (replica.pixels == 2000).all()
    assert replica.counts.parity_doubts == len(blind)


def test_pixels_that_imitate_markers_are_outvoted(decode):
    """Every third frame has a pixel byte where the other kind has its marker."""
    data = bytearray(b"".join(BURST))
    for place in range(0, 57, 3):
        # Dump(0): even frames are kind CD, their last payload byte stands where AB's marker does.
        byte = 1018 * place + (0 if place % 2 else 1017)
        if byte % 1040 >= 16:
            data[byte] = 0xCD if place % 2 else 0xAB
    replica = decode(Dump(counter=0).burst(bytes(data)).fill())
    assert (replica.counts.records, replica.counts.parity_doubts) == (57, 0)
    whole = np.frombuffer(data, np.uint8).reshape(57, 1040)
    assert np.array_equal(replica.pixels.astype(">u2").view(np.uint8), whole[:, 16:])


# --- Records ---------------------------------------------------------------------------------

FALSE_HEAD = bytes.fromhex("FF00 07D0 0271 2005 0007 00000009 AAAA")
"""The begin of a record of row 5, as pixels may imitate it."""


def imitating(row, byte, head=FALSE_HEAD):
    """Return a record of `row` with a record head inside its pixels."""
    made = bytearray(record(row))
    made[byte : byte + len(head)] = head
    return bytes(made)


def rows_only(replica):
    return replica.columns["ROW"].tolist()


def test_head_inside_pixels_is_never_looked_at(decode):
    records = [imitating(row, 16 + 17 * row) for row in ROWS]
    replica = decode(Dump().burst(records).fill())
    assert rows_only(replica) == list(ROWS)
    assert replica.counts.resyncs == 0


@pytest.mark.parametrize("byte", [300, 1000])
def test_head_inside_pixels_of_a_partial_record(decode, byte):
    """The search after a lost frame meets it first; nothing follows it, so it does not count."""
    records = [*BURST[:10], imitating(10, byte), *BURST[11:]]
    dump = Dump().burst(records).fill()
    del dump.frames[9]  # payload bytes 9162 to 10179: records 8 and 9
    assert rows_only(decode(dump)) == [row for row in ROWS if row not in (8, 9)]
    del dump.frames[9]  # payload bytes up to 11197: most of record 10
    assert rows_only(decode(dump)) == [row for row in ROWS if row not in (8, 9, 10)]


@pytest.mark.parametrize("byte", [0, 1, 14, 15])
def test_record_without_sync_costs_itself_and_a_search(decode, byte):
    data = bytearray(b"".join(BURST))
    data[20 * 1040 + byte] ^= 1
    replica = decode(Dump().burst(bytes(data)).fill())
    assert rows_of(replica) == [row for row in ROWS if row != 20]
    assert (replica.counts.resyncs, replica.counts.partial_records) == (1, 0)


@pytest.mark.parametrize(
    ("alone", "is_kept"),
    [
        (record(300), True),
        (record(300, integ=SHORT), False),  # no other record has this integration time
        (record(600), False),
        (record(-513), False),
    ],
)
def test_record_that_stands_alone(decode, alone, is_kept):
    """It fills two frames; before it the end of another record, behind it padding."""
    dump = Dump().burst(BURST).fill().burst(record(299)[-500:] + alone).fill()
    replica = decode(dump)
    assert rows_of(replica) == [*ROWS, *[300] * is_kept]
    assert replica.counts.segments == 2
    assert replica.counts.partial_records == 1


def test_last_record_after_one_without_sync(decode):
    data = bytearray(b"".join(BURST))
    data[55 * 1040] = 0
    replica = decode(Dump().burst(bytes(data)).fill())
    assert rows_of(replica) == [row for row in ROWS if row != 55]
    assert replica.counts.resyncs == 1


def test_filler_and_rows_that_do_not_exist(decode):
    rows = [-512, 600, 1023, 512, 599, -513, -1024, 511]
    replica = decode(Dump().burst([record(row) for row in rows]).fill())
    assert rows_of(replica) == [-512, 511]
    counts = replica.counts
    assert (counts.records, counts.filler_records, counts.bad_rows) == (2, 2, 4)


@pytest.mark.parametrize("seed", range(5))
def test_what_survives_losses_is_true(decode, seed):
    """Frames lost, damaged, repeated and foreign: no record is wrong, and no frame uncounted."""
    rng = random.Random(seed)
    dump = Dump(counter=2**24 - 200, cd=seed % 2).bursts(
        [record(row, row % 2, integ=SHORT) for row in range(-512, 512)], 57, fill=20
    )
    frames = [bytes(dump.frames[0])]
    for one in dump.frames[1:-1]:
        fate = rng.random()
        if fate < 0.02:
            continue
        damaged = bytearray(one)
        damaged[rng.choice([1, 105])] ^= 64 if fate < 0.04 else 0
        frames += [bytes(damaged)] * (2 if fate > 0.98 else 1)
        if 0.5 < fate < 0.52:
            frames.append(frame(5, zone(5, bytes(1018), 0), channel=b"\x41\x00"))
    frames.append(bytes(dump.frames[-1]))
    replica = decode(b"".join(frames))
    rows_of(replica)
    counts = replica.counts
    used = counts.fill + counts.pixel_frames
    skipped = counts.bad_sync + counts.other_channel + counts.duplicate_frames
    assert counts.frames == len(frames) == used + skipped
    assert used + counts.lost == len(dump.frames)
    assert min(skipped, counts.lost, counts.partial_records) > 10
    assert counts.records == replica.rows() > 700


# --- What a replica tells --------------------------------------------------------------------


def test_integration_times_make_groups(decode):
    records = [record(i, integ=count) for i, count in enumerate([625, 313, 312, 106, 312])]
    replica = decode(Dump().burst(records).fill())
    assert replica.groups == [1.7, 5.0, 10.0]
    made = replica.frame(5.0)
    assert made.integ == pytest.approx(4.992, abs=1e-6)  # median of 5.008, 4.992, 4.992
    expected = np.full((1024, 1024), np.nan)
    for row, integ in ((1, 313), (2, 312), (4, 312)):
        expected[512 + row, :511:-1] = row_pixels(row, 0, integ) - 2000.0
    assert np.array_equal(made.signal, expected, equal_nan=True)
    with pytest.raises(MissingDataError, match=r"no records of 7\.0 s integration; it has \[1\.7"):
        replica.frame(7.0)


def test_of_repeated_rows_the_first_counts(decode):
    bright = np.full(512, 9000)
    records = [record(5), record(6), record(5), record(5, 0, bright), record(6, bias=1999)]
    records += [record(5, integ=SHORT), record(5, 1)]
    replica = decode(Dump().burst(records).fill())
    assert replica.counts.records == 7
    assert replica.rows() == 4
    assert replica.duplicates() == (1, 2)
    assert np.array_equal(replica.frame(10.0).signal[517, :511:-1], row_pixels(5) - 2000.0)


def test_saturated_pixels(decode):
    pixels = np.array([65535, 65534, 0] + [2000] * 509)
    replica = decode(Dump().burst([record(0, 1, pixels, bias=2500), record(1)]).fill())
    made = replica.frame(10.0)
    assert made.signal[512, :4].tolist() == [63035.0, 63034.0, -2500.0, -500.0]
    assert np.argwhere(made.saturated).tolist() == [[512, 0]]


# --- Files -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def content():
    return bytes(Dump().bursts(BURST * 5, 57, fill=100))


@pytest.mark.parametrize("rest", [1, 567, 1133])
def test_part_of_an_sfdu_at_the_end(decode, content, rest):
    counts = decode(content + content[:rest]).counts
    assert (counts.truncated, counts.frames) == (rest, len(content) // SFDU)
    assert (counts.size, counts.records) == (len(content) + rest, 285)


def test_gzip_members_and_header_fields_are_read(decode, content):
    first = bytearray(gzip.compress(content[: 90 * SFDU]))
    first[3] = 2 | 4 | 8 | 16  # extra field, name, comment and header checksum follow
    first[10:10] = b"\x03\x00abc" + b"name\x00" + b"comment\x00" + b"\x12\x34"
    replica = decode(bytes(first) + gzip.compress(content[90 * SFDU :]) + bytes(50))
    assert (replica.counts.gz_error, replica.counts.records) == ("", 285)
    assert replica.counts.size == len(content)


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda packed: packed + b"garbage", "other bytes follow the gzip stream"),
        (lambda packed: packed[:-8] + bytes(8), "the gzip checksum is wrong"),
        (lambda packed: packed[:-3], "the gzip checksum is wrong"),
    ],
)
def test_gzip_trouble_that_costs_nothing(decode, content, damage, error):
    counts = decode(damage(gzip.compress(content, 1))).counts
    assert (counts.gz_error, counts.size, counts.records) == (error, len(content), 285)


def test_gzip_stream_that_is_cut(decode, content):
    packed = gzip.compress(content, 1)
    packed = packed[: len(packed) * 3 // 5]
    expected = len(zlib.decompressobj(31).decompress(packed))
    replica = decode(packed)
    counts = replica.counts
    assert counts.gz_error == "the gzip stream ends early"
    assert (counts.frames, counts.truncated) == divmod(expected, SFDU)
    assert rows_of(replica) == [*(list(ROWS) * 5)[: counts.records]]
    assert 100 < counts.records < 285


@pytest.mark.parametrize("keep", [100, 500])
def test_damaged_gzip_stream_gives_all_before_the_damage(decode, content, keep):
    """After `keep` frames and 50 bytes a block of a kind that does not exist."""
    packer = zlib.compressobj(1, wbits=31)
    packed = packer.compress(content[: keep * SFDU + 50]) + packer.flush(zlib.Z_FULL_FLUSH)
    counts = decode(packed + b"\xff" * 2000).counts
    assert counts.gz_error.startswith("the gzip stream is damaged (")
    assert counts.frames == keep
    assert counts.truncated == counts.size - keep * SFDU <= 50


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("raw", "error", "text"),
    [
        (b"", CorruptFileError, "0 bytes.*; expected SFDUs of 1134"),
        (b"NJPL" + bytes(1129), CorruptFileError, "1133 bytes.*; expected SFDUs of 1134"),
        (bytes(3 * SFDU), SchemaError, "none of 3 SFDUs has both syncs"),
        (bytes(Dump().fill(9)), CorruptFileError, "no record in 0 pixel frames"),
        (bytes(Dump().burst([record(600)] * 9)), CorruptFileError, "no record in 10 pixel frames"),
        (bytes(Dump().burst(b"x" * 5000)), CorruptFileError, "no record in 5 pixel frames"),
    ],
)
def test_files_that_cannot_be_used(decode, packed, raw, error, text):
    with pytest.raises(error, match=f"^{NAME}.*{text}"):
        decode(gzip.compress(raw) if packed else raw)


def test_gzip_file_without_content_tells_why(decode, content):
    with pytest.raises(CorruptFileError, match="0 bytes, the gzip stream ends early;"):
        decode(gzip.compress(content)[:15])


def test_other_names_are_refused(decode, content):
    with pytest.raises(SchemaError, match="is not the name of a raw dark-calibration file"):
        decode(content, "2016_125_VC2_Replica2.gz")


def test_name_of_the_file_is_the_default(tmp_path, content):
    path = tmp_path / "2022_069_VC2_Replica5_SFDU_1.gz"
    path.write_bytes(gzip.compress(content, 1))
    replica = read_vc2(path)
    assert (replica.name, replica.number, replica.counts.records) == (path.name, 5, 285)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("2016_125_VC2_Replica2_SFDU_31088", ("2016125", 2)),
        ("2016_125_VC2_Replica2_SFDU_31088.gz", ("2016125", 2)),
        ("2004_366_VC2_Replica10_SFDU_1", ("2004366", 10)),
    ],
)
def test_names(name, parts):
    assert parse_vc2_name(name) == Vc2Name(*parts)


@pytest.mark.parametrize(
    "name",
    [
        "2016_000_VC2_Replica2_SFDU_31088",
        "2016_367_VC2_Replica2_SFDU_31088",
        "2016_12_VC2_Replica2_SFDU_31088",
        "2016_125_VC2_Replica0_SFDU_31088",
        "2016_125_VC2_Replica2_SFDU_",
        "2016_125_VC2_Replica2_SFDU_31088-L0.fits",
        "2016_125_VC2_Replica2_SFDU_31088.gz.part",
        "x2016_125_VC2_Replica2_SFDU_31088",
        "2016_125_VC2_Replica2_SFDU_31088\n",
    ],
)
def test_no_names(name):
    with pytest.raises(SchemaError, match="is not the name of a raw dark-calibration file"):
        parse_vc2_name(name)
