"""Judge the files of a calibration, and the calibration: rules Q1 to Q12 of dark-cal B4.

A file that fails a rule is not used, which is a warning for the calibration. A calibration that
fails a rule is not published.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Literal, NamedTuple

import numpy as np

from acaflow.archive.aca_dark.combine import FEWEST
from acaflow.archive.aca_dark.replica import Replica

__all__ = [
    "Finding",
    "Level",
    "check_calibration",
    "check_replica",
    "complete_percent",
    "is_usable",
    "overall",
    "to_json",
    "worst",
]

SFDU_SIZE = 1134
"""Bytes of a frame as delivered."""
ROWS = 4096
"""Half rows of a replica: two frames."""
INTEG = (5.0, 10.0)
"""Expected integration times (s)."""
INTEG_OFF = 0.1
"""Allowed deviation (s)."""
INTEG_STEP = 1.0
"""Least difference of the two (s)."""
TEMPERATURE_SPREAD = 0.5
"""Allowed difference between replicas (degC)."""
RATIO_WARN, RATIO_FAIL = 1.3, 3.0
"""Allowed factor between a number and its model, either way."""


class Level(StrEnum):
    """What a rule says, from good to bad."""

    PASS = "PASS"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """What one rule says of a file or of the calibration."""

    rule: str
    """'Q1' to 'Q12'."""
    scope: Literal["file", "cal"]
    replica: int | None
    """Number of the replica; None for the calibration."""
    level: Level
    value: float | None
    """In the unit of the text; None where there is nothing to measure."""
    limit: float | None
    """The limit that is passed, or of a PASS the one that was kept."""
    text: str


class _Limits(NamedTuple):
    """Beyond `warn` and `fail` a rule warns, fails; `below`: these are the least values."""

    warn: float
    fail: float
    unit: str
    below: bool = False


LIMITS = {
    "Q3": _Limits(0.8, 0.5, "", below=True),
    "Q4": _Limits(0.1, 5.0, " %"),
    "Q5": _Limits(0.0, 2.0, " %"),
    "Q6": _Limits(100.0, 95.0, " %", below=True),
    "Q8": _Limits(50.0, 1000.0, " DN"),
    "Q9": _Limits(0.0, 1.0, " %"),
    "Q11": _Limits(0.0, 1.0, " %"),
}


def check_replica(
    replica: Replica, median_size: float, integ: tuple[float, float] = INTEG
) -> list[Finding]:
    """Judge one file by rules Q2 to Q9.

    Parameters
    ----------
    replica : Replica
        The decoded file.
    median_size : float
        Median uncompressed size of the files of the calibration (bytes).
    integ : tuple of float
        Expected integration times, the short one first (s).

    Returns
    -------
    list of Finding
        One per rule, in order.

    Notes
    -----
    Source: dark-cal B4. Our choices where that is silent: a damaged gz tail is a warning of Q2; Q9
    counts per distinct row, and warns when the records of a file name several replicas (B2).
    """
    n, counts = replica.number, replica.counts
    lost, bad, rows = counts.lost, counts.bad_sync, replica.rows()
    sent = lost + counts.fill + counts.pixel_frames
    ratio = counts.size / median_size
    lost_percent = 100.0 * lost / sent
    bad_percent = 100.0 * bad / counts.frames
    complete = complete_percent([rows], 1)
    spread = _bias_spread(replica)
    return [
        _check_size(replica),
        _rate("Q3", n, ratio, f"size is {ratio:.3g} of the median of the set"),
        _rate(
            "Q4",
            n,
            bad_percent,
            f"{_int(bad)} of {_int(counts.frames)} frames without sync ({bad_percent:.3g} %)",
        ),
        _rate(
            "Q5",
            n,
            lost_percent,
            f"{_int(lost)} of {_int(sent)} frames lost ({lost_percent:.3g} %)",
        ),
        _rate("Q6", n, complete, f"{_int(rows)} of {_int(ROWS)} rows ({complete:g} %)"),
        _check_integration(replica, integ),
        _rate("Q8", n, spread, f"bias differs by {spread} DN within a quadrant of a frame"),
        _check_duplicates(replica, rows),
    ]


def check_calibration(
    *,
    usable: int,
    expected: int,
    temperatures: Sequence[float | None],
    sources: Sequence[str | None],
    times_sources: Sequence[str],
    few_fraction: float,
    n100: float,
    n100_model: float | None,
    median: float | None,
    previous_median: float | None,
) -> list[Finding]:
    """Judge a calibration by rules Q1 and Q10 to Q12.

    Parameters
    ----------
    usable : int
        Replicas that were combined.
    expected : int
        Replicas that there should be.
    temperatures : sequence of float or None
        CCD temperature of each replica (degC); None where it is not known.
    sources : sequence of str or None
        Where each comes from: 'HDR3', 'AACCCDPT', 'GUESS'.
    times_sources : sequence of str
        Where the times of each replica come from: 'CIUMACAC' or 'ERT'.
    few_fraction : float
        Fraction of the pixels with fewer than three samples in a group (FEW in the mask).
    n100 : float
        Pixels above 100 e-/s.
    n100_model : float or None
        Expected number; None before 2007, where no model is valid, or without a temperature.
    median : float or None
        Of the image (e-/s).
    previous_median : float or None
        Of the previous calibration, scaled to the temperature of this one (e-/s); None where
        there is none within two years.

    Returns
    -------
    list of Finding
        One per rule, in order.

    Notes
    -----
    Source: dark-cal B4. Our choices where that is silent: times by earth receive time are a
    warning of Q1 (B1 asks for one), and every source but header 3 is one of Q10, as is a replica
    without temperature among others with one.
    """
    percent = 100.0 * few_fraction
    return [
        _check_set(usable, expected, times_sources),
        _check_temperatures(temperatures, sources),
        _rate(
            "Q11",
            None,
            percent,
            f"{percent:.3g} % of the pixels have fewer than 3 samples in a group",
        ),
        _check_sanity(n100, n100_model, median, previous_median),
    ]


def worst(findings: Iterable[Finding]) -> Level:
    """Return the worst level; PASS of none."""
    return max((finding.level for finding in findings), key=list(Level).index, default=Level.PASS)


def is_usable(findings_of_file: Iterable[Finding]) -> bool:
    """Tell whether a file may be combined: it fails no rule."""
    return worst(findings_of_file) != Level.FAIL


def overall(file_findings: Iterable[Finding], cal_findings: Iterable[Finding]) -> Level:
    """Return the level of the calibration: a file that fails only counts as a warning."""
    of_files = worst(file_findings)
    return worst(cal_findings) if of_files == Level.PASS else _at_least_warn(worst(cal_findings))


def complete_percent(rows: Sequence[int], expected_replicas: int) -> float:
    """Return how much of the telemetry there is.

    Parameters
    ----------
    rows : sequence of int
        Distinct rows of each decoded file, whether it is used or not.
    expected_replicas : int
        Replicas that there should be.

    Returns
    -------
    float
        Percent, rounded down to two decimals: 100 only if nothing is missing.

    Examples
    --------
    >>> complete_percent([4096, 4096, 4096, 4096, 4095], 5)
    99.99
    """
    found = sum(min(count, ROWS) for count in rows)
    return 10_000 * found // (ROWS * max(expected_replicas, len(rows))) / 100


def to_json(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return findings as plain dicts, as quality.json holds them."""
    return [{**asdict(finding), "level": str(finding.level)} for finding in findings]


def _check_size(replica: Replica) -> Finding:
    size, gz_error = replica.counts.size, replica.counts.gz_error
    rest = size % SFDU_SIZE
    if size < SFDU_SIZE:
        text = f"{size} bytes are less than one frame; limit {SFDU_SIZE} bytes"
        return _finding("Q2", replica.number, Level.FAIL, size, SFDU_SIZE, text)
    text = f"{_int(size)} bytes"
    if rest:
        text += f", {rest} of them after the last whole frame; limit 0"
    if gz_error:
        text += f"; damaged gz: {gz_error}"
    level = Level.WARN if rest or gz_error else Level.PASS
    return _finding("Q2", replica.number, level, rest, 0, text)


def _check_integration(replica: Replica, integ: tuple[float, float]) -> Finding:
    groups = replica.groups
    text = f"integration times {_words([f'{group:.1f}' for group in groups])} s"
    if len(groups) != len(integ):
        text += f"; limit {len(integ)} different ones"
        return _finding("Q7", replica.number, Level.FAIL, len(groups), len(integ), text)
    # All of these are tenths of a second: without rounding, 5.1 - 5.0 is less than 0.1.
    step = round(groups[1] - groups[0], 1)
    if step < INTEG_STEP:
        text += f" differ by {step} s; limit {INTEG_STEP} s"
        return _finding("Q7", replica.number, Level.FAIL, step, INTEG_STEP, text)
    off = max(round(abs(a - b), 1) for a, b in zip(groups, integ, strict=True))
    if off <= INTEG_OFF:
        return _finding("Q7", replica.number, Level.PASS, off, INTEG_OFF, text)
    text += f", {off} s off {_words([f'{value:.1f}' for value in integ])} s; limit {INTEG_OFF} s"
    return _finding("Q7", replica.number, Level.WARN, off, INTEG_OFF, text)


def _bias_spread(replica: Replica) -> int:
    """Return the largest spread of the bias within a quadrant and frame (DN)."""
    columns = replica.columns
    tenths = np.rint(columns["INTEG"] * 10.0)
    keys = np.stack([tenths, columns["COLNEG"], columns["ROW"] >= 0])
    kinds, kind = np.unique(keys, axis=1, return_inverse=True)
    bias = columns["ADC_BIAS"]
    return max(int(np.ptp(bias[kind == i])) for i in range(kinds.shape[1]))


def _check_duplicates(replica: Replica, rows: int) -> Finding:
    identical, different = replica.duplicates()
    percent = 100.0 * different / rows
    text = f"{_int(identical)} repeated rows are equal, {_int(different)} differ ({percent:.3g} %)"
    names = np.unique(replica.columns["REPLICA"]).tolist()
    mixed = len(names) > 1
    if mixed:
        text += f"; records name replicas {_words([str(name) for name in names])}"
    return _rate("Q9", replica.number, percent, text, at_least_warn=mixed)


def _check_set(usable: int, expected: int, times_sources: Sequence[str]) -> Finding:
    text = f"{usable} of {expected} replicas usable"
    by_ert = sum(source == "ERT" for source in times_sources)
    if by_ert:
        text += f"; times of {by_ert} by earth receive time"
    if usable < FEWEST:
        text += f"; limit {FEWEST}"
        return _finding("Q1", None, Level.FAIL, usable, FEWEST, text)
    level = Level.WARN if usable < expected or by_ert else Level.PASS
    return _finding("Q1", None, level, usable, expected, text)


def _check_temperatures(
    temperatures: Sequence[float | None], sources: Sequence[str | None]
) -> Finding:
    known = [value for value in temperatures if value is not None]
    if not known:
        return _finding("Q10", None, Level.FAIL, None, None, "no CCD temperature of any replica")
    spread = round(max(known) - min(known), 6)
    others = [str(source) for source in sources if source != "HDR3"]
    text = f"CCD temperatures differ by {spread:.2f} degC"
    if spread > TEMPERATURE_SPREAD:
        text += f"; limit {TEMPERATURE_SPREAD} degC"
    if others:
        which = _words(list(dict.fromkeys(others)))
        text += f"; {len(others)} of {len(sources)} not from header 3: {which}"
    level = Level.WARN if spread > TEMPERATURE_SPREAD or others else Level.PASS
    return _finding("Q10", None, level, spread, TEMPERATURE_SPREAD, text)


def _check_sanity(
    n100: float, n100_model: float | None, median: float | None, previous_median: float | None
) -> Finding:
    """Compare with the model and with the previous calibration; the worse ratio counts."""
    compared = []
    if n100_model:
        compared.append((n100 / n100_model, f"{_int(n100)} pixels above 100 e-/s", "the model"))
    if median is not None and previous_median is not None and previous_median > 0:
        compared.append((median / previous_median, f"median {median:.1f} e-/s", "the previous one"))
    if not compared:
        return _finding("Q12", None, Level.PASS, None, RATIO_WARN, "nothing to compare with")
    ratio = max((ratio for ratio, *_ in compared), key=_factor)
    level, limit = Level.PASS, RATIO_WARN
    if not 1 / RATIO_FAIL <= ratio <= RATIO_FAIL:
        level, limit = Level.FAIL, RATIO_FAIL
    elif not 1 / RATIO_WARN <= ratio <= RATIO_WARN:
        level = Level.WARN
    text = ", ".join(f"{what}: {ratio:.3g} of {whose}" for ratio, what, whose in compared)
    if level != Level.PASS:
        text += f"; limit {limit:g} times more or less"
    return _finding("Q12", None, level, ratio, limit, text)


def _factor(ratio: float) -> float:
    """Return how far a ratio is from 1, either way."""
    return max(ratio, 1 / ratio) if ratio > 0 else math.inf


def _rate(
    rule: str, replica: int | None, value: float, text: str, at_least_warn: bool = False
) -> Finding:
    """Compare a value with the limits of a rule."""
    warn, fail, unit, below = LIMITS[rule]
    sign = -1 if below else 1
    level, limit = Level.PASS, warn
    if sign * value > sign * fail:
        level, limit = Level.FAIL, fail
    elif sign * value > sign * warn:
        level = Level.WARN
    if level != Level.PASS:
        text += f"; limit {limit:g}{unit}"
    return _finding(
        rule, replica, _at_least_warn(level) if at_least_warn else level, value, limit, text
    )


def _finding(
    rule: str,
    replica: int | None,
    level: Level,
    value: float | None,
    limit: float | None,
    text: str,
) -> Finding:
    subject = rule if replica is None else f"{rule} replica {replica}"
    scope: Literal["file", "cal"] = "cal" if replica is None else "file"
    return Finding(rule, scope, replica, level, value, limit, f"{subject}: {text}")


def _at_least_warn(level: Level) -> Level:
    return Level.WARN if level == Level.PASS else level


def _int(value: float) -> str:
    """Return digits in groups of three."""
    return f"{value:_.0f}".replace("_", " ")


def _words(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
