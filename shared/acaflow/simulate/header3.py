"""Simulated header-3 telemetry: the housekeeping that rides on 8x8 images, with known truth.

Twelve bytes per slot and 8x8 image (aca-archive 6). Every quantity is a smooth function of
time, so its true value is known at any moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from acaflow.errors import InputError

__all__ = ["HEADER3_MSIDS", "header3_bytes", "header3_truth", "thermistor_counts"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

DAY_S = 86400.0
"""Period of the slow changes (s)."""

NONE_HELD: Mapping[str, float] = MappingProxyType({})

THERMISTOR_COUNTS = np.array(
    [
        *(0x3D70, 0x3C9E, 0x3B98, 0x3A55, 0x38CD, 0x36FD, 0x34E1, 0x3279, 0x2FCB, 0x2CDF),
        *(0x29C5, 0x2688, 0x2340, 0x2000, 0x1CD3, 0x19CC, 0x16F4, 0x1454, 0x11EF, 0x0FC5),
        *(0x0DD8, 0x0C22, 0x0A9F, 0x094D, 0x0825),
    ]
)
"""A/D counts of the thermistors at -40, -35 ... 80 degC (aca-archive 6.4)."""


def thermistor_counts(t_degc: npt.ArrayLike) -> IntArray:
    """Return the A/D counts of a thermistor: the inverse of its calibration curve.

    Parameters
    ----------
    t_degc : array_like
        Temperature (degC), -40 to 80.

    Returns
    -------
    ndarray of int64
        Counts; the calibration curve turns them back into `t_degc` to 0.01 degC between -12
        and 45 degC, where the simulation stays, and to 0.025 degC elsewhere.

    Notes
    -----
    Cubic through the four table points around each temperature (ours; the curve itself is a
    spline in the other direction).
    """
    node = (np.asarray(t_degc, dtype=np.float64) + 40.0) / 5.0
    base = np.clip(np.floor(node).astype(np.int64) - 1, 0, len(THERMISTOR_COUNTS) - 4)
    x = node - base
    weights = (
        -(x - 1) * (x - 2) * (x - 3) / 6,
        x * (x - 2) * (x - 3) / 2,
        -x * (x - 1) * (x - 3) / 2,
        x * (x - 1) * (x - 2) / 6,
    )
    counts = sum((w * THERMISTOR_COUNTS[base + k] for k, w in enumerate(weights)), np.zeros(()))
    return np.asarray(np.rint(counts), dtype=np.int64)


def _steps(lsb: float, zero: int = 0) -> Callable[[FloatArray], IntArray]:
    """Return an encoder: `zero` plus the value in units of `lsb`."""
    return lambda value: np.rint(value / lsb).astype(np.int64) + zero


_OFFSET16 = _steps(1.0, zero=1 << 15)
_OFFSET32 = _steps(2.0**-16, zero=1 << 31)
_UNSCALED = _steps(1.0)


@dataclass(frozen=True)
class _Word:
    """One header-3 quantity: a daily wave around `centre`, or a packet counter on top of it."""

    msid: str
    n_bytes: int
    encode: Callable[[FloatArray], IntArray]
    centre: float
    amplitude: float = 0.0
    counter_bits: int = 0
    counter_unit: int = 1

    def value(self, time: FloatArray, vcdu: IntArray) -> FloatArray:
        wave = self.centre + self.amplitude * np.sin(2 * np.pi * time / DAY_S)
        packets = vcdu // 4 % (1 << self.counter_bits)
        return wave + self.counter_unit * packets

    def to_bytes(self, time: FloatArray, vcdu: IntArray) -> npt.NDArray[np.uint8]:
        """Return the telemetered bytes, shape (n, n_bytes), most significant first."""
        counts = self.encode(self.value(time, vcdu))
        shifts = 8 * np.arange(self.n_bytes)[::-1]
        return (counts[:, None] >> shifts & 0xFF).astype(np.uint8)


_WORDS = (
    _Word("ac_status_word", 2, _UNSCALED, 0x02B4),
    _Word("misc_status_bits", 2, _UNSCALED, 0x01A4),
    _Word("ccd_molyb_therm_1", 2, thermistor_counts, 41.09, 0.2),
    _Word("ccd_molyb_therm_2", 2, thermistor_counts, 38.80, 0.2),
    _Word("ccd_det_therm", 2, thermistor_counts, -9.35, 0.3),
    _Word("ad_5v_ps", 2, _steps(0.30518e-3), 4.91, 0.01),
    _Word("ad_15v_ps", 2, _steps(0.61035e-3), 15.02, 0.01),
    _Word("ad_m15v_ps", 2, _steps(0.61035e-3), -14.97, 0.01),
    _Word("ad_27v_ps", 2, _steps(1.04597e-3), 26.6, 0.05),
    _Word("ad_analog_gnd", 2, _steps(0.30518e-3), -0.0021, 0.0006),
    _Word("ad_converter_therm", 2, thermistor_counts, 33.4, 0.3),
    _Word("ad_smhs_therm", 2, thermistor_counts, 30.40, 0.4),
    _Word("ad_smohs_therm", 2, thermistor_counts, 30.49, 0.4),
    _Word("ad_pmhs_therm", 2, thermistor_counts, 30.95, 0.4),
    _Word("ad_pmohs_therm", 2, thermistor_counts, 30.87, 0.4),
    _Word("ad_achhs_therm", 2, thermistor_counts, 31.58, 0.5),
    _Word("ad_achohs_therm", 2, thermistor_counts, 31.62, 0.5),
    _Word("ad_lc_therm", 2, thermistor_counts, 31.14, 0.4),
    _Word("proc_stack_telem_ctr", 2, _UNSCALED, 0x7A00, counter_bits=8),
    _Word("sci_hdr_pulse_period", 4, _steps(2e-6), 1.025),
    _Word("zero_off16_quad_a", 2, _OFFSET16, 12.3, 1.5),
    _Word("zero_off16_quad_b", 2, _OFFSET16, -7.6, 1.5),
    _Word("zero_off16_quad_c", 2, _OFFSET16, 3.2, 1.5),
    _Word("zero_off16_quad_d", 2, _OFFSET16, -20.8, 1.5),
    _Word("zero_off32_quad_a", 4, _OFFSET32, 12.3, 1.5),
    _Word("zero_off32_quad_b", 4, _OFFSET32, -7.6, 1.5),
    _Word("zero_off32_quad_c", 4, _OFFSET32, 3.2, 1.5),
    _Word("zero_off32_quad_d", 4, _OFFSET32, -20.8, 1.5),
    _Word("ccd_flush_dur", 2, _steps(2e-6), 0.0512),
    _Word("ccd_row_shift_period", 2, _steps(1e-6), 96e-6),
    _Word("avg_bkg", 2, _steps(5.0), 110.0, 30.0),
    _Word("dsn_hdr1", 6, _UNSCALED, 0x1ACF_FC1D_A55A),
    _Word("dsn_hdr2", 4, _UNSCALED, 0x2C, counter_bits=24, counter_unit=256),
    _Word("ccd_temp", 4, _steps(0.01 / 65536), -9.35, 0.3),
    _Word("ccd_setpoint", 2, _steps(0.01), -10.0),
    _Word("aca_temp", 4, _steps(1 / 256), 20.1, 0.4),
    _Word("last_ram_fail_addr", 2, _UNSCALED, 0x3FA2),
    _Word("dac", 2, _UNSCALED, 417.0, 20.0),
)
"""Header-3 words in telemetry order: twelve bytes per slot, slot 0 first (aca-archive 6.2).

Two of them run over a slot boundary, which is why the order is one list and not eight.
"""


def _words(held: Mapping[str, float]) -> list[_Word]:
    return [
        replace(word, centre=held[word.msid], amplitude=0.0) if word.msid in held else word
        for word in _WORDS
    ]


HEADER3_MSIDS = tuple(word.msid for word in _WORDS)
"""Names of all quantities."""


def header3_truth(
    msid: str, time: FloatArray, vcdu: IntArray, held: Mapping[str, float] = NONE_HELD
) -> FloatArray:
    """Return the true values of an MSID.

    Parameters
    ----------
    msid : str
        One of `HEADER3_MSIDS`.
    time : ndarray of float64
        TIME of the images (CXC s).
    vcdu : ndarray of int64
        Their VCDU counts, without wrap.
    held : mapping of str to float
        MSIDs that stay at one value.

    Returns
    -------
    ndarray of float64
        In the decoded unit of aca-archive 6.2 (degC, V, s, DN, electrons or none). Telemetry
        rounds to its step, which is at most 0.01 degC for thermistors.

    Raises
    ------
    InputError
        No such MSID.
    """
    for word in _words(held):
        if word.msid == msid:
            return word.value(time, vcdu)
    raise InputError(f"header-3 MSID {msid!r} does not exist; HEADER3_MSIDS has the names")


def header3_bytes(
    slot: int, time: FloatArray, vcdu: IntArray, held: Mapping[str, float] = NONE_HELD
) -> npt.NDArray[np.uint8]:
    """Return HD3TLM62 to 67 and 72 to 77 of one slot, shape (n, 12)."""
    first, offset, parts = 12 * slot, 0, []
    for word in _words(held):
        if first - word.n_bytes < offset < first + 12:
            encoded = word.to_bytes(time, vcdu)
            parts.append(encoded[:, max(0, first - offset) : first + 12 - offset])
        offset += word.n_bytes
    return np.concatenate(parts, axis=1)
