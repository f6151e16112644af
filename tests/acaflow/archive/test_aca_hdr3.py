"""Header-3 time series (aca-archive 6)."""

import doctest
import logging
import subprocess
import sys

import numpy as np
import pytest

from acaflow.archive import aca_hdr3
from acaflow.archive.aca_hdr3 import MSID, Msid, MSIDset, get_status_fields
from acaflow.errors import InputError, MissingDataError
from acaflow.simulate.aca_l0 import Func, L0Scenario, Readout, simulate_l0, truth
from acaflow.simulate.header3 import HEADER3_MSIDS
from tests.support.l0 import BASE_TIME, HD3, deliver, end_times, make_l0_file

ALL = (0, 1e9)
FIRST_TIME = BASE_TIME - 0.848
"""TIME of the row at frame 0."""

TABLE_6_2 = """
062 ac_status_word 2 - 0:62,63
064 misc_status_bits 2 - 0:64,65
066 ccd_molyb_therm_1 2 degC 0:66,67
072 ccd_molyb_therm_2 2 degC 0:72,73
074 ccd_det_therm 2 degC 0:74,75
076 ad_5v_ps 2 V 0:76,77
162 ad_15v_ps 2 V 1:62,63
164 ad_m15v_ps 2 V 1:64,65
166 ad_27v_ps 2 V 1:66,67
172 ad_analog_gnd 2 V 1:72,73
174 ad_converter_therm 2 degC 1:74,75
176 ad_smhs_therm 2 degC 1:76,77
262 ad_smohs_therm 2 degC 2:62,63
264 ad_pmhs_therm 2 degC 2:64,65
266 ad_pmohs_therm 2 degC 2:66,67
272 ad_achhs_therm 2 degC 2:72,73
274 ad_achohs_therm 2 degC 2:74,75
276 ad_lc_therm 2 degC 2:76,77
362 proc_stack_telem_ctr 2 - 3:62,63
364 sci_hdr_pulse_period 4 s 3:64,65,66,67
372 zero_off16_quad_a 2 DN 3:72,73
374 zero_off16_quad_b 2 DN 3:74,75
376 zero_off16_quad_c 2 DN 3:76,77
462 zero_off16_quad_d 2 DN 4:62,63
464 zero_off32_quad_a 4 DN 4:64,65,66,67
472 zero_off32_quad_b 4 DN 4:72,73,74,75
476 zero_off32_quad_c 4 DN 4:76,77 5:62,63
562 zero_off32_quad_c_lsb 2 - 5:62,63
564 zero_off32_quad_d 4 DN 5:64,65,66,67
572 ccd_flush_dur 2 s 5:72,73
574 ccd_row_shift_period 2 s 5:74,75
576 avg_bkg 2 e- 5:76,77
662 dsn_hdr1 6 - 6:62,63,64,65,66,67
672 dsn_hdr2 4 - 6:72,73,74,75
676 ccd_temp 4 degC 6:76,77
764 ccd_setpoint 2 degC 7:64,65
766 aca_temp 4 degC 7:72,73
774 last_ram_fail_addr 2 - 7:74,75
776 dac 2 - 7:76,77
"""
"""Key, name, length, unit and the decoded bytes."""
ENTRIES = [line.split(maxsplit=4) for line in TABLE_6_2.strip().splitlines()]

STEP_OF = {
    **dict.fromkeys(("ad_5v_ps", "ad_analog_gnd"), 0.30518e-3),
    **dict.fromkeys(("ad_15v_ps", "ad_m15v_ps"), 0.61035e-3),
    "ad_27v_ps": 1.04597e-3,
    "sci_hdr_pulse_period": 2e-6,
    "ccd_flush_dur": 2e-6,
    "ccd_row_shift_period": 1e-6,
    "avg_bkg": 5.0,
    "ccd_setpoint": 0.01,
    "aca_temp": 1 / 256,
    **{f"zero_off32_quad_{quad}": 2.0**-16 for quad in "abcd"},
    **{f"zero_off16_quad_{quad}": 1.0 for quad in "abcd"},
    "dac": 1.0,
}
"""What one count is worth; telemetry rounds to it."""


def tolerance(msid):
    """Most that telemetry differs from the truth: half a count, or as the simulator states."""
    if msid.endswith(("_therm", "_therm_1", "_therm_2")):
        return 0.01
    if msid == "ccd_temp":  # its fraction of 0.01 degC is in the unused half
        return 0.01
    return STEP_OF.get(msid, 0.0) / 2


def columns_of(words):
    """Return header-3 columns for rows that repeat a 16-bit word in every place."""
    high, low = np.divmod(np.asarray(words), 256)
    return {name: low if i % 2 else high for i, name in enumerate(HD3)}


def archive(tmp_path, *files):
    """An archive of some 8x8 files, each given by its options."""
    for options in files:
        deliver(tmp_path / "aca0", make_l0_file(tmp_path / "in", **options))
    return tmp_path / "aca0"


def decoded(tmp_path, msid, words):
    """Values of an MSID for 16-bit words; the row that ends the run is left out."""
    slot = int(aca_hdr3.MSID_ALIASES[msid][0])
    options = {"slot": slot, "rows": len(words) + 1, "values": columns_of([*words, 0])}
    dat = MSID(msid, *ALL, data_root=archive(tmp_path, options))
    assert dat.vals.mask[-1]
    return dat.vals[:-1]


# --- The table


def test_definitions_are_the_table():
    assert list(aca_hdr3.HDR3_DEF) == [key for key, *_ in ENTRIES]
    for key, msid, nbytes, unit, places in ENTRIES:
        entry = aca_hdr3.HDR3_DEF[key]
        assert (entry["msid"], entry["nbytes"]) == (msid, int(nbytes))
        assert entry["unit"] == (None if unit == "-" else unit)
        places = [place.partition(":") for place in places.split()]
        assert entry["columns"] == tuple(
            (int(slot), f"HD3TLM{word}") for slot, _, words in places for word in words.split(",")
        )
        assert entry["desc"]
        assert entry["longdesc"].endswith(".")
    assert {msid: key for key, msid, *_ in ENTRIES} == aca_hdr3.MSID_ALIASES


@pytest.mark.parametrize("msid", ["nonsense", "78", "766 ", ""])
def test_unknown_name(msid, tmp_path):
    with pytest.raises(MissingDataError, match=f"^msid {msid} not found$"):
        MSID(msid, *ALL, data_root=tmp_path)
    with pytest.raises(aca_hdr3.MissingDataError, match=f"^msid {msid} not found$"):
        MSIDset(["dac", msid], *ALL, data_root=tmp_path)


def test_no_archive(tmp_path):
    with pytest.raises(MissingDataError, match=r"archfiles\.db3"):
        MSID("dac", *ALL, data_root=tmp_path)


@pytest.mark.parametrize("msid", ["ccd_temp", "CCD_Temp", "676"])
def test_by_name_in_any_case_or_by_key(msid, tmp_path):
    root = archive(tmp_path, {"slot": 6, "rows": 3})
    dat = MSID(msid, "2019:272", "2019:273:12:00:00", data_root=root)
    assert (dat.msid, dat.hdr3_msid, dat.desc) == (msid, "676", "CCD temperature")
    assert dat.longdesc.startswith("Temperature of the CCD.")
    assert (dat.tstart, dat.tstop) == (686102469.184, 686232069.184)
    assert (dat.datestart, dat.datestop) == ("2019:272:00:00:00.000", "2019:273:12:00:00.000")
    assert list(MSIDset([msid], *ALL, data_root=root)) == [msid]


# --- Decoding


def test_twos_complement(tmp_path):
    words = [0x0001, 0x7FFF, 0x8000, 0xFFFF, 0xF00F, 0xFC18]
    vals = decoded(tmp_path, "dac", words)
    assert vals.dtype == np.int64
    assert vals.tolist() == [1, 32767, -32768, -1, -4081, -1000]


@pytest.mark.parametrize(
    ("msid", "word", "value"),
    [
        ("ccd_temp", 0xFC18, -10.0),
        ("ccd_setpoint", 0xFC18, -10.0),
        ("aca_temp", 0x1419, 5145 / 256),
        ("aca_temp", 0xFF80, -0.5),
        ("ad_5v_ps", 16089, 16089 * 0.30518e-3),
        ("ad_15v_ps", 24576, 24576 * 0.61035e-3),
        ("ad_m15v_ps", 0xA000, -24576 * 0.61035e-3),
        ("ad_27v_ps", 0x6400, 25600 * 1.04597e-3),
        ("ad_analog_gnd", 0xFFF9, -7 * 0.30518e-3),
        ("ccd_flush_dur", 0xFFFF, 0.13107),
        ("ccd_row_shift_period", 0xFFFF, 0.065535),
        ("sci_hdr_pulse_period", 0xFFFF, 4294967295 * 2e-6),
    ],
)
def test_scaled_values(tmp_path, msid, word, value):
    vals = decoded(tmp_path, msid, [word])
    assert vals.dtype == np.float64
    assert vals[0] == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    ("msid", "word", "value"),
    [
        ("avg_bkg", 0x7FFF, 163835),
        ("avg_bkg", 0xFFFF, -5),
        ("ac_status_word", 0xFFFF, 0xFFFF),
        ("misc_status_bits", 0x8000, 0x8000),
        ("proc_stack_telem_ctr", 0xFFFE, 0xFFFE),
        ("last_ram_fail_addr", 0xFFFE, 0xFFFE),
        ("dsn_hdr1", 0xFFFE, 0xFFFE_FFFE_FFFE),
        ("dsn_hdr2", 0xFFFE, 0xFFFE_FFFE),
    ],
)
def test_whole_numbers(tmp_path, msid, word, value):
    vals = decoded(tmp_path, msid, [word])
    assert vals.dtype == np.int64
    assert vals.tolist() == [value]


def test_thermistor_curve(tmp_path):
    expected = {
        0x3800: -17.692171854612916,
        0x34BB: -9.67304153787128,
        0x3000: -0.36975167822362226,
        0x1C86: 30.484651689509214,
        0x165C: 41.0937033802342,
        0x179E: 38.79920380251045,
        0x0A00: 72.26736224422304,
        0x3D70: -40.0,
        0x0825: 80.0,
        0x2FCB: 0.0,
    }
    outside = [0x0824, 0x3D71, 0x0000, 0x7FFF, 0x8000, 0xFFFF]
    vals = decoded(tmp_path, "ad_lc_therm", [*expected, *outside])
    assert vals.dtype == np.float64
    # The references are exact to a few units in the last place of a 100 degC curve.
    np.testing.assert_allclose(vals[: len(expected)], list(expected.values()), rtol=0, atol=1e-12)
    assert vals.mask.tolist() == [False] * len(expected) + [True] * len(outside)


def test_zero_offsets_of_16_bits(tmp_path):
    vals = decoded(tmp_path, "zero_off16_quad_d", [0x8000, 0x8005, 0x7FFB, 0x0000, 0xFFFF])
    assert vals.dtype == np.int64
    assert vals.tolist() == [0, 5, -5, -32768, 32767]


def test_zero_offsets_of_32_bits(tmp_path):
    """Also the one whose halves lie in the slots 4 and 5."""
    high, low = columns_of([0x8001, 0x7FFF, 0x8000, 0]), columns_of([0x8000, 0x8000, 1, 0])
    high_names = ("HD3TLM64", "HD3TLM65", "HD3TLM76", "HD3TLM77")
    in_slot_4 = low | {name: high[name] for name in high_names}
    root = archive(
        tmp_path,
        {"slot": 4, "rows": 4, "values": in_slot_4},
        {"slot": 5, "rows": 4, "values": low},
    )
    names = ["zero_off32_quad_a", "zero_off32_quad_c", "zero_off32_quad_c_msb", "562"]
    dat = MSIDset(names, *ALL, data_root=root)
    expected = [1.5, -0.5, 2.0**-16, None]
    assert dat["zero_off32_quad_a"].vals.tolist() == expected
    assert dat["zero_off32_quad_c"].vals.tolist() == expected
    assert dat["zero_off32_quad_c"].vals.dtype == np.float64
    msb, lsb = dat["zero_off32_quad_c_msb"], dat["562"]
    assert msb.vals.dtype == lsb.vals.dtype == np.uint8
    assert msb.vals.tolist() == [[0x80, 1], [0x7F, 0xFF], [0x80, 0], [None, None]]
    assert lsb.vals.tolist() == [[0x80, 0], [0x80, 0], [0, 1], [None, None]]
    assert (msb.hdr3_msid, lsb.hdr3_msid) == ("476", "562")
    assert "high half" in msb.desc
    msb.filter_bad()
    assert msb.vals.tolist() == [[0x80, 1], [0x7F, 0xFF], [0x80, 0]]
    assert len(msb.times) == 3


def test_status_words():
    fields = get_status_fields("ac_status_word", np.array([0x02B4, 0xFFFF]))
    assert {name: values.tolist() for name, values in fields.items()} == {
        "readout_mode": [10, 15],
        "test_signal": [3, 3],
        "command_error": [False, True],
        "clock_period_code": [2, 3],
        "eeprom_write": [False, True],
    }
    words = np.ma.MaskedArray([0x01A4, 0x8001], mask=[False, True])
    flags = get_status_fields("064", words)
    assert " ".join(flags) == (
        "AcSendTimeOut AcIdleTimeOut TecActive TecHeat DecAcTable AcTableCkSumOK StackError "
        "WarmBoot IdleCodeLSB CalMode CalModePending IuData IuDataPending DsnFixed "
        "InitialCalFillOK IoUpdTimeout"
    )
    assert [bit for bit, values in enumerate(flags.values()) if values[0]] == [2, 5, 7, 8]
    assert all(values.tolist()[1] is None for values in flags.values())
    assert get_status_fields("MISC_STATUS_BITS", 0x8001)["IoUpdTimeout"]
    with pytest.raises(InputError, match="dac is no status word"):
        get_status_fields("dac", [1])


# --- Which samples are valid


def valid(dat):
    """Valid flags as digits."""
    return "".join("01"[not np.any(masked)] for masked in np.ma.getmaskarray(dat.vals))


@pytest.fixture
def gap_root(tmp_path):
    """Slot 6: 5 rows, 12.3 s to the next, 4 rows."""
    return archive(tmp_path, {"slot": 6, "rows": 5}, {"slot": 6, "frame": 112, "rows": 4})


def test_a_sample_needs_a_successor(gap_root):
    dat = MSID("ccd_temp", *ALL, data_root=gap_root)
    assert valid(dat) == "111101110"
    assert dat.times.dtype == np.float64
    frames = [0, 16, 32, 48, 64, 112, 128, 144, 160]
    assert dat.times - FIRST_TIME == pytest.approx(0.25625 * np.array(frames), abs=1e-6)


@pytest.mark.parametrize(
    ("start", "stop", "flags"),
    [
        (-0.1, 8.3, "111"),  # the sample at 12.3 s lies beyond the end but counts
        (3.0, 12.4, "111"),
        (3.0, 16.5, "1110"),  # its successor is 12.3 s away
        (3.0, 30.0, "11101"),
        (30.0, 41.1, "110"),
        (41.1, 1000.0, ""),
        (9.0, 5.0, ""),
    ],
)
def test_ends_of_the_interval(gap_root, start, stop, flags):
    dat = MSID("ccd_temp", FIRST_TIME + start, FIRST_TIME + stop, data_root=gap_root)
    assert valid(dat) == flags
    assert len(dat.times) == len(flags)


def test_both_ends_belong_to_the_interval(gap_root):
    first, second, third = MSID("ccd_temp", *ALL, data_root=gap_root).times[:3]
    dat = MSID("ccd_temp", first, third, data_root=gap_root)
    assert dat.times.tolist() == [first, second, third]


def test_bad_quality_is_masked(tmp_path):
    options = {"slot": 7, "rows": 5, "values": {"QUALITY": [0, 1, 0, 0, 0]}}
    assert valid(MSID("dac", *ALL, data_root=archive(tmp_path, options))) == "10110"


@pytest.mark.parametrize(("drop", "flags"), [((), "1111110"), (["END_INTEG_TIME"], "1010110")])
def test_a_change_of_the_integration_time_is_no_break(tmp_path, drop, flags):
    """Without END_INTEG_TIME the spacing of TIME decides: 4.596 s and 3.604 s at the change."""
    integ = np.array([1.696, 1.696, 0.704, 0.704, 1.696, 1.696, 1.696])
    time = end_times(0, 7, 8) - integ / 2
    assert np.diff(time)[[1, 3]] == pytest.approx([4.596, 3.604], abs=1e-6)
    options = {"slot": 7, "rows": 7, "values": {"INTEG": integ, "TIME": time}, "drop": drop}
    assert valid(MSID("dac", *ALL, data_root=archive(tmp_path, options))) == flags


@pytest.mark.parametrize(("step", "flags"), [(4.1009, "1110"), (4.1012, "0000")])
def test_tolerance_of_the_cadence(tmp_path, step, flags):
    end = BASE_TIME + step * np.arange(4)
    options = {"slot": 7, "rows": 4, "values": {"END_INTEG_TIME": end, "TIME": end - 0.848}}
    assert valid(MSID("dac", *ALL, data_root=archive(tmp_path, options))) == flags


def test_images_without_header_3_columns(tmp_path):
    root = archive(tmp_path, {"slot": 7, "rows": 3, "drop": HD3})
    assert valid(MSID("dac", *ALL, data_root=root)) == "000"


def test_without_8x8_images(tmp_path, caplog):
    root = archive(tmp_path, {"slot": 7, "imgsize": 6, "rows": 20})
    with caplog.at_level(logging.DEBUG, logger="acaflow.archive.aca_hdr3"):
        dat = MSIDset(["dac", "774", "ad_lc_therm"], "2019:270", "2019:271", data_root=root)
    assert [record.getMessage() for record in caplog.records] == [
        "no 8x8 images of slot 2, 7 between 2019:270:00:00:00.000 and 2019:271:00:00:00.000; "
        "header 3 exists only in 8x8 images"
    ]
    assert [dat[name].vals.dtype for name in dat] == [np.int64, np.int64, np.float64]
    for one in dat.values():
        assert len(one.vals) == len(one.times) == 0
        one.filter_bad()
        assert type(one.vals) is np.ndarray
    caplog.clear()
    assert MSID("dac", *ALL, data_root=root).vals.shape == (0,)
    assert Msid("zero_off32_quad_c_lsb", *ALL, data_root=root).vals.shape == (0, 2)
    assert Msid("zero_off32_quad_c", *ALL, data_root=root).vals.shape == (0,)
    assert len(caplog.records) == 3


# --- Several slots


def test_a_set_shares_its_times(tmp_path):
    root = archive(
        tmp_path,
        {"slot": 6, "rows": 4, "values": columns_of([0xFC18, 0xFC18, 0xFC18, 0])},
        {"slot": 7, "frame": 32, "rows": 4, "values": columns_of([1, 2, 3, 4])},
    )
    dat = MSIDset(["DAC", "ccd_temp", "776"], *ALL, data_root=root)
    assert list(dat) == ["DAC", "ccd_temp", "776"]
    assert dat["DAC"].times is dat["ccd_temp"].times is dat["776"].times
    assert dat["DAC"].times - FIRST_TIME == pytest.approx(4.1 * np.arange(6), abs=1e-6)
    assert dat["ccd_temp"].vals.tolist() == [-10.0, -10.0, -10.0, None, None, None]
    assert dat["DAC"].vals.tolist() == dat["776"].vals.tolist() == [None, None, 1, 2, 3, None]
    alone = MSID("dac", *ALL, data_root=root)
    assert alone.vals.tolist() == [1, 2, 3, None]
    assert len(MSIDset([], *ALL, data_root=root)) == 0


STEP_S = 4199 / 1024
"""A cadence near 4.1 s whose multiples and halves are exact numbers."""


def halves(tmp_path, shift_s):
    """Slots 4 and 5 with the row number in all words, slot 5 later by `shift_s`."""

    def options(slot, shift_s):
        end = BASE_TIME + 1 + shift_s + STEP_S * np.arange(5)
        times = {"END_INTEG_TIME": end, "TIME": end - 1}
        return {"slot": slot, "rows": 5, "values": columns_of(np.arange(5)) | times}

    return archive(tmp_path, options(4, 0.0), options(5, shift_s))


def joined_rows(dat):
    """Row numbers of the high and the low half; None where masked."""
    return [
        None if value is None else divmod(int(value * 65536) + (1 << 31), 65536)
        for value in dat.vals.tolist()
    ]


@pytest.mark.parametrize(
    ("shift_s", "rows"),
    [
        (0.0, [(0, 0), (1, 1), (2, 2), (3, 3), None]),
        (1.025, [(0, 0), (1, 1), (2, 2), (3, 3), None]),
        (-1.025, [(0, 0), (1, 1), (2, 2), (3, 3), None]),
        (STEP_S / 2, [(0, 0), (1, 1), (2, 2), (3, 3), None]),  # equal distances: the later
        (-STEP_S / 2, [(0, 1), (1, 2), (2, 3), (3, 3), None]),
        (2.09, [(0, 0), (1, 0), (2, 1), (3, 2), None]),
        (2.11, [None, (1, 0), (2, 1), (3, 2), None]),  # nothing within 2.1 s of the first
        (30.0, [None] * 5),
    ],
)
def test_offset_c_joins_two_slots(tmp_path, shift_s, rows):
    root = halves(tmp_path, shift_s)
    dat = MSID("zero_off32_quad_c", *ALL, data_root=root)
    assert dat.times.tolist() == (BASE_TIME + STEP_S * np.arange(5)).tolist()
    assert joined_rows(dat) == rows


def test_offset_c_does_not_depend_on_the_interval(tmp_path):
    """The other half may lie just outside of the interval."""
    root = halves(tmp_path, -1.025)
    dat = MSID("zero_off32_quad_c", BASE_TIME + 4, BASE_TIME + 9, data_root=root)
    assert joined_rows(dat) == [(1, 1), (2, 2)]
    root = halves(tmp_path / "later", 1.025)
    dat = MSID("zero_off32_quad_c", BASE_TIME + 4, BASE_TIME + 8.5, data_root=root)
    assert joined_rows(dat) == [(1, 1), (2, 2)]


def test_offset_c_without_its_other_half(tmp_path, caplog):
    root = archive(tmp_path, {"slot": 4, "rows": 3})
    dat = MSID("476", *ALL, data_root=root)
    assert valid(dat) == "000"
    assert len(dat.times) == 3
    assert [record.getMessage()[:27] for record in caplog.records] == [
        "no 8x8 images of slot 5 bet"
    ]
    names = ["zero_off32_quad_c", "562", "zero_off16_quad_d"]
    assert [valid(one) for one in MSIDset(names, *ALL, data_root=root).values()] == [
        "000",
        "000",
        "110",
    ]


# --- The object


def test_filter_bad_in_place_and_as_a_copy(gap_root):
    dat = MSID("ccd_temp", *ALL, data_root=gap_root)
    times = dat.times
    filtered = dat.filter_bad(copy=True)
    assert (type(dat.vals), valid(dat)) == (np.ma.MaskedArray, "111101110")
    assert type(filtered.vals) is np.ndarray
    assert filtered.times.tolist() == times[[0, 1, 2, 3, 5, 6, 7]].tolist()
    assert dat.filter_bad() is None
    for same in (
        dat,
        Msid("ccd_temp", *ALL, data_root=gap_root),
        MSID("ccd_temp", *ALL, filter_bad=True, data_root=gap_root),
    ):
        assert type(same.vals) is np.ndarray
        assert same.vals.tolist() == filtered.vals.tolist()
        assert same.times.tolist() == filtered.times.tolist()
    dat.filter_bad()
    assert len(dat.vals) == 7


def test_filtering_one_of_a_set_leaves_the_others(gap_root):
    dat = MSIDset(["ccd_temp", "dsn_hdr2"], *ALL, data_root=gap_root)
    dat["ccd_temp"].filter_bad()
    assert (len(dat["ccd_temp"].times), len(dat["dsn_hdr2"].times)) == (7, 9)


def test_a_copy_shares_nothing(gap_root):
    dat = MSID("ccd_temp", *ALL, data_root=gap_root)
    twin = dat.copy()
    assert vars(twin).keys() == vars(dat).keys()
    assert twin.vals.tolist() == dat.vals.tolist()
    twin.vals[0], twin.times[0] = 99.0, 0.0
    assert dat.vals[0] != 99.0
    assert dat.times[0] != 0.0


def test_from_existing_data(gap_root):
    source = MSID("ccd_temp", *ALL, data_root=gap_root)
    for msid_data in (source, {"vals": source.vals, "times": source.times}):
        dat = MSID("676", 1, 2, msid_data=msid_data)
        assert dat.vals is source.vals
        assert dat.times.tolist() == source.times.tolist()
        assert (dat.msid, dat.hdr3_msid, dat.tstart, dat.tstop) == ("676", "676", 1.0, 2.0)
    assert len(MSID("676", 1, 2, source, filter_bad=True).vals) == 7
    assert len(source.vals) == 9


# --- Known truth in all slots

T0 = 685829000.0
SCENARIO = L0Scenario(
    T0,
    T0 + 900,
    file_s=300,
    plan={
        slot: [Readout(T0, 8)]
        if slot < 6
        else [Readout(T0, 8), Readout(T0 + 400, 6, Func.SEARCH), Readout(T0 + 500, 8)]
        for slot in range(8)
    },
    gaps=[(T0 + 200, T0 + 260)],
    bad=[(T0 + 60, T0 + 70)],
    integ=[(T0 + 600, T0 + 602.05, 0.704)],
)
"""All slots at 8x8, two of them interrupted; a gap, bad rows, another INTEG, a counter wrap."""


@pytest.fixture(scope="module")
def simulated_root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    for path in simulate_l0(SCENARIO, folder / "in"):
        deliver(folder / "aca0", path)
    return folder / "aca0"


def expected_valid(rows):
    """Return time and validity of the 8x8 rows of a slot, from the truth."""
    is_8x8 = rows.size == 8
    next_frame = np.append(rows.vcdu[is_8x8][1:], 0)
    is_followed = next_frame - rows.vcdu[is_8x8] == 16
    return rows.time[is_8x8], is_followed & (rows.quality[is_8x8] == 0)


@pytest.mark.parametrize("block", [aca_hdr3.BLOCK, 7])
@pytest.mark.parametrize("msid", HEADER3_MSIDS)
def test_every_value_is_the_simulated_one(simulated_root, monkeypatch, msid, block):
    monkeypatch.setattr(aca_hdr3, "BLOCK", block)
    dat = MSID(msid, T0 - 10, T0 + 1000, data_root=simulated_root)
    rows = truth(SCENARIO, int(aca_hdr3.MSID_ALIASES[msid][0]))
    time, good = expected_valid(rows)
    assert dat.times == pytest.approx(time, abs=1e-6)
    assert (~dat.vals.mask).tolist() == good.tolist()
    assert np.count_nonzero(~good) == (4 if rows.slot < 6 else 5)
    error = dat.vals.data[good] - rows.header3(msid)[rows.size == 8][good]
    assert np.abs(error).max() <= tolerance(msid) * (1 + 1e-9)


def test_a_set_of_everything(simulated_root):
    """The same values as one by one, on the times of the uninterrupted slots."""
    dat = MSIDset(HEADER3_MSIDS, T0 - 10, T0 + 1000, data_root=simulated_root)
    time, _ = expected_valid(truth(SCENARIO, 0))
    for msid in HEADER3_MSIDS:
        alone = Msid(msid, T0 - 10, T0 + 1000, data_root=simulated_root)
        assert dat[msid].times == pytest.approx(time, abs=1e-6)
        filtered = dat[msid].filter_bad(copy=True)
        assert filtered.times.tolist() == alone.times.tolist()
        assert filtered.vals.tolist() == alone.vals.tolist()
    for quad in "abcd":
        whole, fine = (dat[f"zero_off{bits}_quad_{quad}"].vals for bits in (16, 32))
        assert np.abs(whole - fine).max() <= 0.5 + 2.0**-16


# --- Real files

T_FIRST = 686111012.493093


@pytest.fixture(scope="module")
def real_root(real_data, tmp_path_factory):
    root = tmp_path_factory.mktemp("real") / "aca0"
    for slot in (0, 2):
        name = f"acaf686111014N001_{slot}_img0.fits.gz"
        deliver(root, real_data / "real" / "aca_l0" / name)
    return root


@pytest.mark.real
def test_real_temperatures(real_root):
    names = ["ccd_det_therm", "ccd_molyb_therm_1", "ccd_molyb_therm_2"]
    names += ["ad_smohs_therm", "ad_lc_therm", "ad_5v_ps"]
    dat = MSIDset(names, T_FIRST, T_FIRST + 6000, data_root=real_root)
    for one in dat.values():
        assert len(one.vals) == len(one.times) == 1464
        assert not one.vals.mask.any()
    first = {name: dat[name].vals[0] for name in names[:-1]}
    assert first == pytest.approx(
        {
            "ccd_det_therm": -9.34881879932285,
            "ccd_molyb_therm_1": 41.0937033802342,
            "ccd_molyb_therm_2": 38.79920380251045,
            "ad_smohs_therm": 30.490962046305103,
            "ad_lc_therm": 31.143201142520933,
        },
        abs=1e-12,
    )
    ccd = dat["ccd_det_therm"].vals
    assert ccd.min() == pytest.approx(-9.357316463115886, abs=1e-12)
    assert ccd.max() == pytest.approx(-9.263943750207607, abs=1e-12)
    assert dat["ad_5v_ps"].vals.mean() == pytest.approx(4.91, abs=0.005)


@pytest.mark.real
def test_the_last_real_sample_is_garbage(real_root):
    dat = MSID("ccd_det_therm", 686117400, 686117500, data_root=real_root)
    assert valid(dat) == "1111111110"
    assert dat.times[-1] == pytest.approx(686117437.19348, abs=1e-6)
    assert Msid("ccd_det_therm", 686117400, 686117500, data_root=real_root).vals.size == 9


@pytest.mark.real
def test_real_status_words(real_root):
    dat = MSIDset(
        ["ac_status_word", "misc_status_bits"], T_FIRST, T_FIRST + 6000, data_root=real_root
    )
    assert set(dat["ac_status_word"].vals) == {0x02B4}
    assert set(dat["misc_status_bits"].vals) == {0x01A4}


# --- Examples and cost


def test_examples_of_the_docstrings():
    results = doctest.testmod(aca_hdr3)
    assert results.failed == 0
    assert results.attempted > 5


def test_importing_it_needs_no_scipy():
    script = "import sys, acaflow.archive.aca_hdr3; assert 'scipy' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
