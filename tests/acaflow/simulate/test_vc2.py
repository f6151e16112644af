"""Simulated VC2 files, byte by byte against dark-cal B2, and every fault."""

import gzip
import struct
import zlib
from datetime import date

import numpy as np
import pytest

from acaflow.archive.aca_dark.vc2 import read_vc2
from acaflow.errors import InputError
from acaflow.simulate.dark_frames import HIT, RawFrame
from acaflow.simulate.vc2 import Faults, cal_records, readout_order, vc2_bytes, write_vc2

START = "2016:125:01:02:03.125"
NAME = "2016_125_VC2_Replica2_SFDU_31088.gz"
N_RECORDS = 4096
ONE_FILL = 1 / 59
"""A burst of 57 records has 59 frames: one fill frame behind each."""


def make_frame(seed, integ):
    rng = np.random.default_rng(seed)
    raw = rng.integers(1900, 9000, (1024, 1024)).astype(np.uint16)
    bias = rng.integers(1990, 2011, (2, 1024)).astype(np.uint16)
    return RawFrame(integ, raw, bias, np.zeros(0, HIT))


SHORT, LONG = make_frame(1, 313), make_frame(2, 625)


@pytest.fixture(scope="module")
def records():
    return cal_records([SHORT, LONG], 2, filler=0)


@pytest.fixture(scope="module")
def make(records):
    """The bytes of a file without filler records."""

    def make_bytes(fill=0, **faults):
        return vc2_bytes(records, START, fill=fill, faults=Faults(**faults))

    return make_bytes


@pytest.fixture
def decode(records, tmp_path):
    """What the decoder of the archive makes of a file with faults."""

    def write_and_read(fill=ONE_FILL, **faults):
        path = tmp_path / NAME
        write_vc2(path, records, START, fill=fill, faults=Faults(**faults))
        return read_vc2(path)

    return write_and_read


def frames_of(content):
    assert len(content) % 1134 == 0
    return np.frombuffer(content, np.uint8).reshape(-1, 1134)


def counters(frames):
    high, mid, low = frames[:, 110:113].astype(int).T
    return (high << 16) + (mid << 8) + low


def is_fill(frames):
    return (frames[:, 114:1133] != 0xAA).sum(axis=1) <= 3


def stream(content):
    """Return the payloads of a file without fill, joined."""
    frames = frames_of(content)
    turned = int(frames[0, 114] != 0xCD)
    parts = [
        frame[115:1133] if (number + turned) % 2 == 0 else frame[114:1132]
        for number, frame in enumerate(frames)
    ]
    return np.concatenate(parts).tobytes()


# --- Frames --------------------------------------------------------------------------------


def test_frame_header(make):
    content = make()
    assert content[0:4] == b"NJPL"
    days, ms, us = struct.unpack(">HIH", content[42:50])
    assert days == (date(2016, 5, 4) - date(1958, 1, 1)).days
    assert (ms, us) == ((3600 + 2 * 60 + 3) * 1000 + 125, 0)
    assert content[104:110] == bytes.fromhex("1acffc1d4193")
    assert content[110:113] == (34757).to_bytes(3, "big")
    assert content[113] == 0x80
    assert content[1134:1138] == b"NJPL"
    assert content[1134 + 110 : 1134 + 113] == (34758).to_bytes(3, "big")


def test_receive_time_advances(make):
    frames = frames_of(make())
    assert struct.unpack(">IH", frames[1000, 44:50].tobytes()) == (
        (3600 + 2 * 60 + 3) * 1000 + 125 + 64_000,
        0,
    )


def test_receive_time_over_midnight(records):
    frames = frames_of(vc2_bytes(records, "2016:125:23:59:59.9365", fill=0))
    times = [struct.unpack(">HIH", frame[42:50].tobytes()) for frame in frames[:2]]
    assert times == [(21308, 86_399_936, 500), (21309, 0, 500)]


def test_kinds_of_frames_alternate(make):
    """CD first with 1018 bytes behind it, or AB last with 1018 bytes before it."""
    frames = frames_of(make())
    first, last = frames[:, 114] == 0xCD, frames[:, 1132] == 0xAB
    assert first[::2].all() ^ first[1::2].all()
    assert last[first.argmin() :: 2].all()


def test_parity_differs_between_bursts(make):
    frames = frames_of(make(fill=ONE_FILL))
    ends = np.flatnonzero(is_fill(frames))
    even = [(counters(frames)[end] % 2 == 0) == (frames[end, 114] == 0xCD) for end in ends]
    assert 10 < sum(even) < 62


def test_unbroken_stream(make, records):
    """4096 records of 1040 bytes in 4185 payloads of 1018, the last one padded."""
    content = make()
    assert len(content) == 4185 * 1134
    payload = stream(content)
    assert payload[: N_RECORDS * 1040] == records.tobytes()
    assert set(payload[N_RECORDS * 1040 :]) == {0xAA}


def test_one_fill_frame_after_each_burst(make):
    content = make(fill=ONE_FILL)
    frames = frames_of(content)
    assert len(content) == 4_889_808
    assert (is_fill(frames).sum(), (~is_fill(frames)).sum()) == (72, 4240)
    assert is_fill(frames)[59::60].all()
    assert is_fill(frames)[-1]
    assert (np.diff(counters(frames)) == 1).all()


def test_realistic_fill():
    """The file of 2016:125: 33,273 frames, 4258 of them with pixels, in 72 segments."""
    frames = frames_of(vc2_bytes(cal_records([SHORT, LONG], 2), START))
    fill = is_fill(frames)
    assert len(frames) == pytest.approx(33_273, rel=0.01)
    assert (~fill).sum() == pytest.approx(4258, rel=0.005)
    assert (np.diff(fill.astype(int)) == 1).sum() == 72


def test_bursts_of_another_length(records):
    fill = is_fill(frames_of(vc2_bytes(records, START, fill=1, burst=100)))
    # 100 records need 103 frames; the last 96 need 99.
    assert len(fill) == 40 * 206 + 99 + 103
    assert fill[103:206].all()


# --- Records -------------------------------------------------------------------------------


def test_order_of_readout():
    colneg, row = readout_order()
    firsts = list(zip(colneg[::512].tolist(), row[::512].tolist(), strict=True))
    lasts = list(zip(colneg[511::512].tolist(), row[511::512].tolist(), strict=True))
    assert firsts == [(0, -512), (1, -512), (0, 511), (1, 511)]
    assert lasts == [(0, -1), (1, -1), (0, 0), (1, 0)]


@pytest.mark.parametrize(
    ("number", "flags", "colneg", "row"),
    [
        # CALTYPE 0x80, replica 2 << 4, COLNEG 0x08, and three bits of the row.
        (0, "a600", 0, -512),  # 11-bit two's complement 0x600
        (511, "a7ff", 0, -1),  # 0x7ff
        (512, "ae00", 1, -512),
        (1024, "a1ff", 0, 511),
        (2047, "a800", 1, 0),
    ],
)
def test_record(records, number, flags, colneg, row):
    content = records.tobytes()[1040 * number : 1040 * (number + 1)]
    bias = int(SHORT.bias[colneg, row + 512])
    assert content[:8].hex() == "ff00" + bias.to_bytes(2, "big").hex() + "0139" + flags
    assert content[14:16].hex() == "aaaa"
    half = SHORT.raw[row + 512, :512] if colneg else SHORT.raw[row + 512, :511:-1]
    assert content[16:] == half.astype(">u2").tobytes()


def test_clocks(records):
    """A row is read up to 8 s after the integration; the long readout starts 100 s later."""
    for number, seconds in [(0, 5.008), (511, 13.008), (2048, 110.0), (4095, 118.0)]:
        content = records[number].tobytes()
        count, ticks = struct.unpack(">HI", content[8:14])
        assert count * 2.05 + ticks * 2e-6 == pytest.approx(seconds, abs=2e-6)
        assert ticks < 1_025_000


def test_filler_between_readouts(records):
    filled = cal_records([SHORT, LONG], 2, filler=3)
    row = (filled["flags"] & 7).astype(int) * 256 + filled["row"]
    filler = np.flatnonzero(row == 700)
    assert len(filled) == N_RECORDS + 7 * 3
    assert filler[:4].tolist() == [512, 513, 514, 512 + 515]
    assert np.delete(filled, filler).tobytes() == records.tobytes()


# --- Faults --------------------------------------------------------------------------------


def test_lost_frames(make):
    whole, damaged = frames_of(make()), frames_of(make(dropped_frames=[10, 4184]))
    assert (damaged == np.delete(whole, [10, 4184], axis=0)).all()


def test_lost_bursts(make):
    whole, damaged = (
        frames_of(make(fill=ONE_FILL, dropped_bursts=bursts)) for bursts in ((), (0, 71))
    )
    lost = [*range(59), *range(71 * 60, 71 * 60 + 51)]
    assert (damaged == np.delete(whole, lost, axis=0)).all()


def test_repeated_and_foreign_frames(make):
    whole = frames_of(make())
    damaged = frames_of(make(repeated_frames=[5], foreign_frames=[5, 8]))
    assert len(damaged) == len(whole) + 3
    assert (damaged[6] == whole[5]).all()
    assert [damaged[n, 109] for n in (5, 6, 7, 11)] == [0x93, 0x93, 0x92, 0x92]
    assert (np.delete(damaged, [6, 7, 11], axis=0) == whole).all()


def test_single_frame(make):
    fill = is_fill(frames_of(make(fill=3 / 59, single_frames=[1])))
    # Behind the second burst: fill, a frame of data, fill.
    assert fill[62 + 59 : 62 + 62].tolist() == [True, False, True]
    assert fill.sum() == 3 * 72 - 1


def test_corrupt_headers(make):
    whole, damaged = frames_of(make()), frames_of(make(bad_channel=[3], bad_sync=[6, 7]))
    places = [(n, byte) for n, byte in np.argwhere(whole != damaged).tolist()]
    assert [frame for frame, _ in places] == [3, 6, 7]
    assert places[0][1] == 108
    assert places[1][1] in range(4)
    assert places[2][1] in range(104, 108)


def test_counter_wraps(make):
    count = counters(frames_of(make(first_counter=2**24 - 2)))
    assert count[:4].tolist() == [2**24 - 2, 2**24 - 1, 0, 1]


def test_false_sync(make):
    record = stream(make(false_sync=[7]))[7 * 1040 : 8 * 1040]
    at = record.index(b"\xff\x00", 16)
    assert record[at + 14 : at + 16] == b"\xaa\xaa"
    assert stream(make(false_sync=[7]))[8 * 1040 :] == stream(make())[8 * 1040 :]


def test_repeated_and_changed_records(make, records):
    content = stream(make(repeated_records=[3], changed_records=[5]))
    part = [content[1040 * n : 1040 * (n + 1)] for n in range(8)]
    assert part[3] == part[4] == records[3].tobytes()
    assert part[6] == records[5].tobytes()
    assert part[7][:16] == part[6][:16]
    assert part[7] != part[6]
    assert content[8 * 1040 : 9 * 1040] == records[6].tobytes()


def test_wrong_replica_number(make):
    content = stream(make(wrong_replica=range(2, 4096)))
    assert [content[1040 * n + 6] >> 4 & 7 for n in (0, 1, 2, 4095)] == [2, 2, 3, 3]
    assert content[1040 * 2 + 6] & 0x8F == 0x86


def test_saturated_pixels(decode):
    replica = decode(saturated=[(-512, -512), (511, 0)])
    for group in replica.groups:
        rows, cols = np.nonzero(replica.frame(group).saturated)
        assert [rows.tolist(), cols.tolist()] == [[0, 1023], [0, 512]]


@pytest.mark.parametrize("left", [1000, -500])
def test_truncated(make, left):
    assert make(truncate_at=left) == make()[:left]


def test_file_does_not_depend_on_the_clock(records, tmp_path):
    paths = [write_vc2(tmp_path / name, records, START, fill=0) for name in ("a.gz", "b.gz")]
    contents = [path.read_bytes() for path in paths]
    assert contents[0] == contents[1]
    assert contents[0][4:8] == bytes(4)  # the time in the gzip header
    assert gzip.decompress(contents[0]) == vc2_bytes(records, START, fill=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gz", "b.gz"]


def test_cut_and_garbage(records, tmp_path):
    whole, cut, extended = (
        write_vc2(tmp_path / NAME, records, START, fill=0, faults=faults).read_bytes()
        for faults in (Faults(), Faults(cut_gz=1000), Faults(garbage=7))
    )
    assert cut == whole[:-1000]
    assert extended == whole + 7 * b"\xff"
    inflater = zlib.decompressobj(wbits=31)
    inflater.decompress(extended)
    assert inflater.unused_data == 7 * b"\xff"


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"dropped_frames": [4185]}, "dropped_frames asks for 4185 to 4185; there are 4185"),
        ({"false_sync": [-1]}, "false_sync asks for -1 to -1; there are 4096"),
        ({"dropped_bursts": [1]}, "dropped_bursts asks for 1 to 1; there are 1"),
        ({"single_frames": [0]}, "needs 3 fill frames behind a burst; there are 0"),
    ],
)
def test_faults_that_cannot_be(make, faults, message):
    with pytest.raises(InputError, match=message):
        make(**faults)


# --- There and back ------------------------------------------------------------------------


@pytest.mark.parametrize("fill", [0, ONE_FILL, 6.8])
def test_the_decoder_gives_the_readouts_back(decode, fill):
    replica = decode(fill=fill)
    assert replica.rows() == 4096
    assert replica.groups == [5.0, 10.0]
    for group, sent in zip(replica.groups, (SHORT, LONG), strict=True):
        bias = np.repeat(sent.bias.astype(int), 512).reshape(2, 1024, 512)
        image = sent.raw - np.concatenate([bias[1], bias[0]], axis=1)
        assert (replica.frame(group).signal == image).all()


@pytest.mark.parametrize(
    ("faults", "counts"),
    [
        ({"dropped_frames": range(100, 103)}, {"lost": 3}),
        ({"dropped_bursts": [10]}, {"lost": 59, "segments": 71}),
        ({"repeated_frames": [100, 200]}, {"duplicate_frames": 2, "lost": 0}),
        ({"foreign_frames": [100]}, {"other_channel": 1, "records": 4096}),
        ({"bad_channel": range(0, 50)}, {"mismatched_channel": 50, "records": 4096}),
        ({"bad_sync": [100, 301]}, {"bad_sync": 2}),
        ({"first_counter": 2**24 - 500}, {"lost": 0, "backward": 0, "records": 4096}),
        ({"false_sync": range(4096)}, {"records": 4096, "resyncs": 0}),
        ({"truncate_at": 1134 * 1000 + 500}, {"frames": 1000, "truncated": 500}),
        ({"single_frames": [3, 5], "fill": 1.0}, {"single_frame_segments": 2, "records": 4096}),
    ],
    ids=lambda value: next(iter(value)),
)
def test_the_decoder_counts_the_faults(decode, faults, counts):
    found = decode(**faults).counts
    assert {name: getattr(found, name) for name in counts} == counts


def test_the_decoder_keeps_what_a_damaged_gzip_holds(decode):
    assert decode(cut_gz=200_000).rows() < 4096
    assert decode(cut_gz=200_000).counts.gz_error
    assert decode(garbage=100).rows() == 4096


def test_the_decoder_sees_records_twice(decode):
    replica = decode(repeated_records=[3, 9], changed_records=[5])
    assert replica.duplicates() == (2, 1)
    assert replica.frame(5.0).signal[5, 1023] == int(SHORT.raw[5, 1023]) - SHORT.bias[0, 5]
