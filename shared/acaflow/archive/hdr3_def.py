"""Where each header-3 quantity lies in telemetry and what its counts mean (aca-archive 6).

Header 3 is the housekeeping of the camera that rides on 8x8 images: twelve bytes per slot and
image, 96 bytes over the eight slots. A quantity is addressed by a key ``STW``: slot, image type
(6 or 7) and first word (2, 4 or 6); its bytes follow each other, the most significant first.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypedDict

from acaflow.archive.l0_format import HEADER3_COLUMNS, SLOTS

__all__ = [
    "HDR3_DEF",
    "MSID_ALIASES",
    "STATUS_FIELDS",
    "ZERO_OFF32_QUAD_C_MSB",
    "Byte",
    "Coding",
    "Hdr3Entry",
    "slots_of",
]

Byte = tuple[int, str]
"""A header-3 byte: slot and level-0 column."""

BYTES: tuple[Byte, ...] = tuple((slot, name) for slot in SLOTS for name in HEADER3_COLUMNS)
"""All header-3 bytes in telemetry order."""


class Coding(StrEnum):
    """How bytes, read as a big-endian number, give counts."""

    UNSIGNED = "unsigned"
    SIGNED = "two's complement"
    OFFSET = "offset binary"
    THERMISTOR = "two's complement, then the thermistor curve"
    BYTES = "bytes as they are"


class Hdr3Entry(TypedDict):
    """Description of one quantity; its value is ``scale`` times counts, in ``unit``.

    ``nbytes`` is the length in telemetry. ``columns`` are the bytes that are decoded, two of
    the four in ccd_temp and aca_temp. An integer ``scale`` makes integer values; the thermistor
    curve replaces it.
    """

    msid: str
    desc: str
    longdesc: str
    nbytes: int
    unit: str | None
    coding: Coding
    scale: int | float
    columns: tuple[Byte, ...]


def _entry(
    key: str,
    msid: str,
    coding: Coding,
    desc: str,
    longdesc: str,
    *,
    nbytes: int = 2,
    scale: int | float = 1,
    unit: str | None = None,
    decoded: slice = slice(None),
) -> Hdr3Entry:
    first = BYTES.index((int(key[0]), f"HD3TLM{key[1:]}"))
    return {
        "msid": msid,
        "desc": desc,
        "longdesc": longdesc,
        "nbytes": nbytes,
        "unit": unit,
        "coding": coding,
        "scale": scale,
        "columns": BYTES[first : first + nbytes][decoded],
    }


def _unsigned(key: str, msid: str, desc: str, longdesc: str, nbytes: int = 2) -> Hdr3Entry:
    return _entry(key, msid, Coding.UNSIGNED, desc, longdesc, nbytes=nbytes)


def _duration(
    key: str, msid: str, desc: str, longdesc: str, lsb_s: float, nbytes: int = 2
) -> Hdr3Entry:
    return _entry(key, msid, Coding.UNSIGNED, desc, longdesc, nbytes=nbytes, scale=lsb_s, unit="s")


def _voltage(key: str, msid: str, desc: str, lsb_v: float) -> Hdr3Entry:
    longdesc = f"{desc}, as the A/D converter measures it; 1 LSB = {1e3 * lsb_v:g} mV."
    return _entry(key, msid, Coding.SIGNED, desc, longdesc, scale=lsb_v, unit="V")


def _thermistor(key: str, msid: str, where: str) -> Hdr3Entry:
    longdesc = (
        f"Temperature of the {where}, from A/D counts through the common thermistor curve. "
        "Counts outside the curve, -40 to 80 degC, have no value."
    )
    return _entry(
        key, msid, Coding.THERMISTOR, f"{where} thermistor", longdesc, scale=1.0, unit="degC"
    )


def _zero_offset16(key: str, quadrant: str) -> Hdr3Entry:
    return _entry(
        key,
        f"zero_off16_quad_{quadrant.lower()}",
        Coding.OFFSET,
        f"Zero offset of CCD quadrant {quadrant}, 16 bits",
        f"What is subtracted from pixels read out through quadrant {quadrant}, in whole counts; "
        "1 LSB = 1 DN, about 5 electrons.",
        unit="DN",
    )


def _zero_offset32(key: str, quadrant: str, remark: str = "") -> Hdr3Entry:
    return _entry(
        key,
        f"zero_off32_quad_{quadrant.lower()}",
        Coding.OFFSET,
        f"Zero offset of CCD quadrant {quadrant}, 32 bits",
        f"The zero offset of quadrant {quadrant} with its fraction; 1 LSB = 2**-16 DN.{remark}",
        nbytes=4,
        scale=2.0**-16,
        unit="DN",
    )


HDR3_DEF: dict[str, Hdr3Entry] = {
    "062": _unsigned(
        "062",
        "ac_status_word",
        "AC status word",
        "Readout mode (bits 9-6), test signal (5-4), command error (3), clock period code (2-1) "
        "and EEPROM write mode (0). `get_status_fields` takes it apart.",
    ),
    "064": _unsigned(
        "064",
        "misc_status_bits",
        "Miscellaneous status bits",
        "Sixteen flags of the processor. `get_status_fields` names them.",
    ),
    "066": _thermistor("066", "ccd_molyb_therm_1", "CCD molybdenum base, first"),
    "072": _thermistor("072", "ccd_molyb_therm_2", "CCD molybdenum base, second"),
    "074": _thermistor("074", "ccd_det_therm", "CCD detector"),
    "076": _voltage("076", "ad_5v_ps", "+5 V supply", 0.30518e-3),
    "162": _voltage("162", "ad_15v_ps", "+15 V supply", 0.61035e-3),
    "164": _voltage("164", "ad_m15v_ps", "-15 V supply", 0.61035e-3),
    "166": _voltage("166", "ad_27v_ps", "+27 V supply", 1.04597e-3),
    "172": _voltage("172", "ad_analog_gnd", "Analog ground", 0.30518e-3),
    "174": _thermistor("174", "ad_converter_therm", "A/D converter"),
    "176": _thermistor("176", "ad_smhs_therm", "secondary mirror, HRMA side"),
    "262": _thermistor("262", "ad_smohs_therm", "secondary mirror, side opposite the HRMA"),
    "264": _thermistor("264", "ad_pmhs_therm", "primary mirror, HRMA side"),
    "266": _thermistor("266", "ad_pmohs_therm", "primary mirror, side opposite the HRMA"),
    "272": _thermistor("272", "ad_achhs_therm", "AC housing, HRMA side"),
    "274": _thermistor("274", "ad_achohs_therm", "AC housing, side opposite the HRMA"),
    "276": _thermistor("276", "ad_lc_therm", "lens cell"),
    "362": _unsigned(
        "362",
        "proc_stack_telem_ctr",
        "Processor stack pointer and telemetry counter",
        "High byte: stack pointer. Low byte: counts up by one with every 1.025 s of telemetry.",
    ),
    "364": _duration(
        "364",
        "sci_hdr_pulse_period",
        "Period of the science header pulses",
        "Measured time between science header pulses; 1 LSB = 2 us.",
        2e-6,
        nbytes=4,
    ),
    "372": _zero_offset16("372", "A"),
    "374": _zero_offset16("374", "B"),
    "376": _zero_offset16("376", "C"),
    "462": _zero_offset16("462", "D"),
    "464": _zero_offset32("464", "A"),
    "472": _zero_offset32("472", "B"),
    "476": _zero_offset32(
        "476", "C", " The high half is telemetered in slot 4, the low half in slot 5."
    ),
    "562": _entry(
        "562",
        "zero_off32_quad_c_lsb",
        Coding.BYTES,
        "Zero offset of CCD quadrant C, 32 bits: low half",
        "The two bytes of slot 5 that complete zero_off32_quad_c, undecoded.",
    ),
    "564": _zero_offset32("564", "D"),
    "572": _duration(
        "572",
        "ccd_flush_dur",
        "Duration of the CCD flush",
        "Time that flushing the CCD takes; 1 LSB = 2 us.",
        2e-6,
    ),
    "574": _duration(
        "574",
        "ccd_row_shift_period",
        "Period of the CCD row shifts",
        "Time from one row shift to the next; 1 LSB = 1 us.",
        1e-6,
    ),
    "576": _entry(
        "576",
        "avg_bkg",
        Coding.SIGNED,
        "Average background",
        "Background level of the CCD; 1 LSB = 1 DN = 5 electrons.",
        scale=5,
        unit="e-",
    ),
    "662": _unsigned(
        "662",
        "dsn_hdr1",
        "Record header 1 of the ground station",
        "Six bytes of the first record header, as one number.",
        nbytes=6,
    ),
    "672": _unsigned(
        "672",
        "dsn_hdr2",
        "Record counter and record header 2 of the ground station",
        "Three high bytes: counter. Low byte: second record header.",
        nbytes=4,
    ),
    "676": _entry(
        "676",
        "ccd_temp",
        Coding.SIGNED,
        "CCD temperature",
        "Temperature of the CCD. Telemetry has 32 bits over the slots 6 and 7; the high half "
        "alone is used, 1 LSB = 0.01 degC.",
        nbytes=4,
        scale=0.01,
        unit="degC",
        decoded=slice(0, 2),
    ),
    "764": _entry(
        "764",
        "ccd_setpoint",
        Coding.SIGNED,
        "CCD temperature setpoint",
        "Temperature that the thermoelectric cooler shall keep; 1 LSB = 0.01 degC.",
        scale=0.01,
        unit="degC",
    ),
    "766": _entry(
        "766",
        "aca_temp",
        Coding.SIGNED,
        "ACA temperature",
        "Temperature of the camera. Telemetry has 32 bits; the low half alone is used, "
        "1 LSB = 1/256 degC.",
        nbytes=4,
        scale=1 / 256,
        unit="degC",
        decoded=slice(2, 4),
    ),
    "774": _unsigned(
        "774",
        "last_ram_fail_addr",
        "Address of the last RAM failure",
        "Where the latest failure of a memory test was found.",
    ),
    "776": _entry(
        "776",
        "dac",
        Coding.SIGNED,
        "Control level of the thermoelectric cooler",
        "Number last written to the D/A converter that sets the power of the cooler.",
    ),
}
"""Description of each quantity by its key."""


def slots_of(entry: Hdr3Entry) -> tuple[int, ...]:
    """Return the slots that telemeter a quantity; its times are those of the first."""
    return tuple(sorted({slot for slot, _ in entry["columns"]}))


MSID_ALIASES = {entry["msid"]: key for key, entry in HDR3_DEF.items()}
"""Key of each quantity by its name."""

ZERO_OFF32_QUAD_C_MSB = _entry(
    "476",
    "zero_off32_quad_c_msb",
    Coding.BYTES,
    "Zero offset of CCD quadrant C, 32 bits: high half",
    "The two bytes of slot 4 that begin zero_off32_quad_c, undecoded.",
)
"""A name without a key of its own: key 476 means the whole value."""

STATUS_FIELDS = {
    "062": {
        "readout_mode": (6, 4),
        "test_signal": (4, 2),
        "command_error": (3, 1),
        "clock_period_code": (1, 2),
        "eeprom_write": (0, 1),
    },
    "064": {
        name: (bit, 1)
        for bit, name in enumerate(
            (
                *("AcSendTimeOut", "AcIdleTimeOut", "TecActive", "TecHeat"),
                *("DecAcTable", "AcTableCkSumOK", "StackError", "WarmBoot"),
                *("IdleCodeLSB", "CalMode", "CalModePending", "IuData"),
                *("IuDataPending", "DsnFixed", "InitialCalFillOK", "IoUpdTimeout"),
            )
        )
    },
}
"""Fields of the two status words by key: name to lowest bit and width (bits)."""
