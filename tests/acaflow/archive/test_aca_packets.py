"""Raw packets: real ones decode to their reference and to level 0; made-up ones state the rules."""

import gzip
import sqlite3
from itertools import permutations

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time

from acaflow.archive.aca_packets import (
    HEADER_FIELDS,
    MISSING,
    SUBPACKET,
    assemble_images,
    decode_packets,
    encode_packets,
    read_packets,
)
from acaflow.archive.l0_write import l0_files
from acaflow.errors import CorruptFileError, InputError, SchemaError
from tests.support.l0 import deliver

REAL = [
    "aca_packets_686111007_686111017.fits",
    "aca_packets_686111010_686111040.fits",
    "aca_packets_686111020_686111030.fits",
]


@pytest.fixture
def folder(real_data):
    return real_data / "real" / "aca_packets"


def decoded(path):
    stream = read_packets(path)
    return decode_packets(stream.packets, stream.time, stream.mjf, stream.mnf)


# --- Decode and encode -----------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize("name", REAL)
def test_real_packets_decode_to_the_reference(folder, name):
    ours = decoded(folder / name).reshape(-1)
    reference = fits.getdata(folder / name, "SUBPACKETS")
    assert len(ours) == len(reference) > 0
    same = {name: ours[name] for name in (*SUBPACKET.names[:6], "GLBSTAT", "INTEG", *HEADER_FIELDS)}
    same["COMMCNT"], same["COMMPROG"] = ours["COMMCNT"] >> 2, ours["COMMPROG"] >> 2
    same["COMMPROG_REPEAT"] = ours["COMMPROG"] & 3
    # The reference leaves the repeated ID bits out of the later sub-packets of an image.
    later = np.isin(ours["IMGTYPE"], [2, 5, 6, 7])
    assert np.isin(same["IMGFID"][later], [0, 1]).all()
    for name in ("IMGFID", "IMGFUNC"):
        same[name] = np.where(later, MISSING, same[name])
    diagnostic = np.stack([same.pop(f"DIAGNOSTIC{byte}") for byte in range(6)], axis=1)
    same["DIAGNOSTIC"] = np.where(diagnostic == MISSING, -1, diagnostic)
    same["PIXELS"] = ours["PIXELS"]
    assert set(same) - set(reference.names) == {"DUMP"}
    assert set(reference.names) - set(same) == {"VCDUCTR"}
    for column in set(reference.names) & set(same):
        assert np.array_equal(same[column], reference[column]), column


@pytest.mark.real
@pytest.mark.parametrize("name", REAL)
def test_real_packets_encode_to_the_same_bytes(folder, name):
    packets = fits.getdata(folder / name, "RAWPACKETS")["PACKET"]
    assert np.array_equal(encode_packets(decoded(folder / name)), packets)


def bits(text):
    """Return the bytes that blocks of zeros and ones spell."""
    text = text.replace(" ", "")
    return np.array([int(text[i : i + 8], 2) for i in range(0, len(text), 8)], np.uint8)


def test_a_4x4_image_and_a_memory_dump_bit_by_bit():
    """Types 0 and 3 are in no real packet that we have."""
    packet = np.zeros((1, 224), np.uint8)
    # PIXTLM 2, BGDTYP 1, three spare bits, INTEG 106; types 0, 3 and six times 0.
    packet[0, :5] = [*bits("10 1 000 0001101010"), 0b10000001, 100, 85]
    packet[0, 5:8] = bits("000 011 000 000 000 000 000 000")
    # FID 1, NUM 0, FUNC 2, STAT 33, ROW0 -512, COL0 511, SCALE 16383, BGDAVG 1022.
    header = "1 000 10 100001 1000000000 0111111111 11111111111111 1111111110"
    packet[0, 8:35] = bits(header + "".join(f"{63 * i:010b}" for i in range(16)))
    packet[0, 35:62] = np.arange(201, 228)
    records = decode_packets(packet, [5.0], [131071], [124])[0]
    image, dump = records[:2]
    # fmt: off
    assert image.tolist()[:26] == (
        5.0, 131071, 124, 0, 2, 1, 129, 100, 85, 106,
        1, 0, 2, 33, -512, 511, 16383, 1022, *[MISSING] * 8,
    )
    # fmt: on
    assert image["PIXELS"].tolist() == [63 * i for i in range(16)]
    assert dump["DUMP"] == int.from_bytes(bytes(range(201, 208)), "big")
    assert [dump[name] for name in HEADER_FIELDS[:-1]] == [MISSING] * (len(HEADER_FIELDS) - 1)
    assert np.array_equal(encode_packets(records[None]), packet)
    values = assemble_images(records[None]).columns[0, 4]
    assert (values["PIXTLM"], values["BGDTYP"]) == (b"DIFF", b"DYNB")
    # 945 * 16383 / 32 - 50, exact in 32 bits up to the last step.
    assert values["IMGRAW"][0, 3, 3] == np.float32(945 * 16383 / 32 - 50)


def test_any_bits_decode_and_encode_to_themselves():
    packets = np.random.default_rng(0).integers(0, 256, (500, 224), np.uint8)
    packets[:, 0] &= 0b11100011
    records = decode_packets(packets, *np.zeros((3, 500)))
    assert set(np.unique(records["IMGTYPE"])) == set(range(8))
    for slot in range(8):
        # Two bits of header 3 are spare.
        packets[np.isin(records["IMGTYPE"][:, slot], [6, 7]), 8 + 27 * slot] &= 0b11111100
    assert np.array_equal(encode_packets(records), packets)


def test_a_value_that_does_not_fit_is_refused():
    records = np.zeros((1, 8), SUBPACKET)
    records["IMGROW0"][0, 5] = 512
    with pytest.raises(InputError, match="IMGROW0 512 does not fit the 10 bits it has"):
        encode_packets(records)


# --- Images ----------------------------------------------------------------------------------


@pytest.mark.real
def test_real_images_equal_level_0(folder, real_data):
    level0 = {}
    for part in ("aca_l0", "aca_l0_small"):
        for path in (real_data / "real" / part).glob("*686111014*" if part == "aca_l0" else "*"):
            for row in fits.getdata(path, 1):
                level0[row["IMGNUM1"], row["MJF"], row["MNF"]] = row
    compared = []
    for name in REAL:
        images = assemble_images(decoded(folder / name))
        for (slot, _), values in images.columns.items():
            for i, frame in enumerate(zip(values["MJF"], values["MNF"], strict=True)):
                row = level0.get((slot, *frame))
                if row is None:
                    continue
                compared.append((slot, *frame))
                assert set(values) - {"PIXTLM", "BGDTYP"} == set(row.array.names)
                assert values["PIXTLM"][i] == b"ORIG"
                assert values["BGDTYP"][i] == b"FLAT"
                for column in row.array.names:
                    # The two time tags are derived differently.
                    slack = 0.0002 if "TIME" in column else 0
                    assert np.all(np.abs(values[column][i] - row[column]) <= slack), column
    # Level 0 begins at 8580/124, packets end at 8581/96: six 8x8 or thirteen 6x6 images per slot.
    # The three files of packets overlap.
    assert (len(compared), len(set(compared))) == (119, 3 * 6 + 5 * 13)


def subpackets(types, counters):
    """Return packets in which slot 0 has the given image types and the others have none."""
    records = np.zeros((len(types), 8), SUBPACKET)
    records["IMGTYPE"] = 3
    records["IMGTYPE"][:, 0] = types
    records["MJF"], records["MNF"] = np.divmod(np.asarray(counters)[:, None], 128)
    records["TIME"] = 1000 + 1.025 / 4 * np.asarray(counters)[:, None]
    return records


@pytest.mark.parametrize(
    ("types", "steps", "images", "incomplete"),
    [
        ("0000", "0123", {4: [0, 1, 2, 3]}, 0),
        ("121212", "012345", {6: [0, 2, 4]}, 0),
        ("45674567", "01234567", {8: [0, 4]}, 0),
        ("3333", "0123", {}, 0),
        ("567456", "012345", {}, 2),
        ("456", "012", {}, 1),
        ("4", "0", {}, 1),
        ("212", "012", {6: [1]}, 1),
        ("12", "02", {}, 2),
        # A lost packet takes its image and no other; other sizes are not touched.
        ("4674567", "0234567", {8: [4]}, 1),
        ("12456", "01234", {6: [0]}, 1),
        ("454567", "012345", {8: [2]}, 1),
        ("453700", "012345", {4: [4, 5]}, 1),
        # All of an image is lost: nobody knows that it was there.
        ("45674567", "012389AB", {8: [0, 8]}, 0),
    ],
)
@pytest.mark.parametrize("start", [400, 2**24 - 8])
def test_images_are_whole_chains(types, steps, images, incomplete, start):
    steps = [int(step, 16) for step in steps]
    counters = (start + 4 * np.array(steps)) % 2**24
    found = assemble_images(subpackets([int(kind) for kind in types], counters))
    rows = {
        size: (values["MJF"] * 128 + values["MNF"]).tolist()
        for (_, size), values in found.columns.items()
    }
    expected = {
        size: [(start + 4 * step) % 2**24 for step in firsts] for size, firsts in images.items()
    }
    assert rows == expected
    assert found.incomplete.tolist() == [incomplete, 0, 0, 0, 0, 0, 0, 0]


def test_no_packets_no_images():
    found = assemble_images(subpackets([], []))
    assert (found.columns, found.incomplete.tolist()) == ({}, [0] * 8)


# --- Files of packets ------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize("name", REAL)
def test_real_files_are_accepted_as_they_are(folder, name):
    stream, table = read_packets(folder / name), fits.getdata(folder / name, "RAWPACKETS")
    assert str(stream.report) == f"{name}: {len(table)} packets; no faults"
    for values, column in zip(
        (stream.packets, stream.time, stream.mjf, stream.mnf),
        ("PACKET", "TIME", "MJF", "MNF"),
        strict=True,
    ):
        assert np.array_equal(values, table[column])


@pytest.mark.real
def test_a_gzipped_file_reads_the_same(folder, tmp_path):
    packed = tmp_path / f"{REAL[0]}.gz"
    packed.write_bytes(gzip.compress((folder / REAL[0]).read_bytes()))
    assert np.array_equal(read_packets(packed).packets, read_packets(folder / REAL[0]).packets)


@pytest.mark.parametrize("content", [b"", b"A" * 1000, bytes(range(256)) * 100])
def test_nothing_to_believe(tmp_path, content):
    path = tmp_path / "aca_packets_000000000_000000009.bin"
    path.write_bytes(content)
    expected = (
        rf"{path.name}: none of its {len(content)} bytes belongs to a packet that can be"
        " believed; expected records of 236 bytes"
    )
    with pytest.raises(CorruptFileError, match=expected):
        read_packets(path)


def raw_table(path, name="RAWPACKETS", **columns):
    formats = {"TIME": "D", "MJF": "J", "MNF": "J", "PACKET": "224B"}
    given = {
        "TIME": 7e8 + 1.025 * np.arange(3),
        "MJF": np.full(3, 7),
        "MNF": np.arange(0, 12, 4),
        "PACKET": np.ones((3, 224), np.uint8),
    } | columns
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column(key, "225B" if np.shape(value)[1:] == (225,) else formats[key], array=value)
            for key, value in given.items()
            if value is not None
        ],
        name=name,
    )
    table.add_checksum()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    return path


def test_a_row_of_another_clock_is_no_packet(tmp_path):
    path = raw_table(tmp_path / "a.fits", MNF=[0, 8, 8])
    stream = read_packets(path)
    assert str(stream.report) == "a.fits: 2 packets; 1 missing, 1 with a wrong counter"
    assert stream.mnf.tolist() == [0, 8]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"name": "PACKETS"}, r"a\.fits has no table RAWPACKETS"),
        ({"MJF": None}, r"a\.fits: column MJF of RAWPACKETS has rows of shape None, expected \(\)"),
        ({"PACKET": np.ones((3, 225))}, r"PACKET of RAWPACKETS has rows of shape \(225,\)"),
    ],
)
def test_tables_that_are_none_of_packets(tmp_path, table, expected):
    with pytest.raises(SchemaError, match=expected):
        read_packets(raw_table(tmp_path / "a.fits", **table))


@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyUserWarning")
def test_damaged_fits_files(tmp_path):
    path = raw_table(tmp_path / "a.fits")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"\x01" * 224, b"\x01" * 223 + b"\x02", 1))
    with pytest.raises(CorruptFileError, match=r"a\.fits: CHECKSUM or DATASUM is wrong"):
        read_packets(path)
    for length in (2880, 3000, len(whole) - 2880):
        path.write_bytes(whole[:length])
        with pytest.raises((CorruptFileError, SchemaError), match=r"a\.fits"):
            read_packets(path)


# --- Level-0 files ---------------------------------------------------------------------------


@pytest.mark.real
def test_level_0_files_of_real_packets(folder, tmp_path):
    packets = read_packets(folder / REAL[2])
    paths = l0_files(assemble_images(decoded(folder / REAL[2])).columns, tmp_path)
    # Packet 8581/20 is the third of an 8x8 image; 6x6 images begin with it.
    begin = {8: packets.time[2], 6: packets.time[0]}
    size = dict.fromkeys((0, 1, 2), 8) | dict.fromkeys((3, 4, 5, 6, 7), 6)
    assert [path.name for path in paths] == [
        f"acaf{int(begin[size[slot]])}N000_{slot}_img0.fits.gz" for slot in range(8)
    ]
    with fits.open(paths[3]) as hdus:
        header = hdus[1].header
        assert (hdus[1].verify_datasum(), hdus[1].verify_checksum()) == (1, 1)
        assert hdus[0].header["DATASUM"].strip() == ""
        assert hdus[1].data["PIXTLM"].tolist() == ["ORIG"] * 5
    last = packets.time[9]
    assert header["DATE"] == Time(last, format="cxcsec").utc.isot[:19]
    assert header["TSTART"] == pytest.approx(packets.time[0], abs=1e-6)
    assert header["TSTOP"] == pytest.approx(last + 1.025, abs=1e-6)
    frames = [header[key] for key in ("STARTMJF", "STARTMNF", "STOPMJF", "STOPMNF")]
    assert frames == [8581, 20, 8581, 59]
    assert (header["REVISION"], header["CREATOR"], header["TIMEDEL"]) == (0, "acaflow", 2.05)
    assert "ASCDSVER" not in header
    # The clock of the flight file of that day, whose count zero is one turn later.
    assert header["BTIMNULL"] + header["BTIMRATE"] * 1098388 == pytest.approx(packets.time[0])


def test_files_end_where_the_size_changes_or_a_minute_is_missing(tmp_path):
    counters = [*range(0, 24, 4), *range(24, 32, 4), *range(400, 412, 4)]
    types = [4, 5, 6, 7, 0, 0, 4, 5, 0, 0, 0]
    images = assemble_images(subpackets(types, counters)).columns
    images[0, 4]["IMGNUM1"][:] = 0
    paths = l0_files(images, tmp_path / "one")
    found = {path.name: fits.getdata(path, 1)["MNF"].tolist() for path in paths}
    # 1000 s are count 0; counts are 0.25625 s.
    assert found == {
        "acaf000001000N000_0_img0.fits.gz": [0],
        "acaf000001004N000_0_img0.fits.gz": [16, 20],
        "acaf000001102N000_0_img0.fits.gz": [400 % 128, 404 % 128, 408 % 128],
    }
    for path in l0_files(images, tmp_path / "two"):
        assert path.read_bytes() == (tmp_path / "one" / path.name).read_bytes()
    for path in paths:
        deliver(tmp_path / "aca0", path)
    assert active(tmp_path / "aca0") == sorted(found)


def active(root):
    with sqlite3.connect(root / "archfiles.db3") as db:
        return [name for (name,) in db.execute("SELECT filename FROM archfiles ORDER BY 1")]


@pytest.mark.real
@pytest.mark.parametrize(("slot", "n_before"), [(0, 1), (3, 2)])
def test_delivered_files_supersede_files_of_real_packets(
    folder, real_data, tmp_path, slot, n_before
):
    flight = real_data / "real" / "aca_l0" / f"acaf686111014N001_{slot}_img0.fits.gz"
    made = []
    for name in REAL[1:]:
        images = assemble_images(decoded(folder / name)).columns
        one = {key: values for key, values in images.items() if key[0] == slot}
        made += l0_files(one, tmp_path / "made")
    early, inside = made
    # The early one has images from before the flight file. A single row at the end of a file
    # does not keep it, two do (aca-archive 3.4).
    kept = [early.name, flight.name] if n_before > 1 else [flight.name]
    assert (
        fits.getdata(early, 1)["TIME"] < fits.getdata(flight, 1)["TIME"][0] - 1
    ).sum() == n_before
    for number, order in enumerate(permutations([flight, early, inside])):
        for path in order:
            deliver(tmp_path / str(number), path)
        assert active(tmp_path / str(number)) == sorted(kept)
