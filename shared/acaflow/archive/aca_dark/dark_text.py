"""How pages write numbers, and the tables of dark calibrations: for report, index, plots, web.

A table is a list of rows (dicts of plain values) and a tuple of `Column`, which says how a value
of a row is written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "DASH",
    "MINUS",
    "THIN",
    "Column",
    "count_of",
    "dark_id_of",
    "number",
    "percent",
    "power_of_ten",
    "short",
    "write_cell",
    "write_fact",
]

THIN, MINUS, DASH = "\u202f", "\u2212", "–"

Kind = Literal["number", "text", "code", "level", "time", "calibration"]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    key : str
        Of the value in a row.
    title, unit : str
        Heading and its second line.
    decimals : int
        Of numbers.
    kind : str
        ``number`` right-aligned; ``text``; ``code``, what is copied, in monospace; ``level``, PASS,
        WARN or FAIL; ``time``, YYYY:DOY:hh:mm:ss.sss; ``calibration``, an id that is a link.
    signed : bool
        Numbers carry a plus sign.
    """

    key: str
    title: str
    unit: str = ""
    decimals: int = 0
    kind: Kind = "number"
    signed: bool = False


def number(value: float | None, decimals: int = 0, *, signed: bool = False) -> str:
    """Return a number: thousands by narrow space, true minus sign, an en dash for none.

    Examples
    --------
    >>> number(-12345.678, 1)
    '−12\u202f345.7'
    """
    if value is None or not math.isfinite(value):
        return DASH
    text = f"{value:{'+' if signed else ''},.{decimals}f}"
    if not any(digit in text for digit in "123456789"):
        text = text.lstrip("+-")  # zero has no sign
    return text.replace(",", THIN).replace("-", MINUS)


def short(value: float) -> str:
    """Return a number with as few digits as it has, at most six."""
    return f"{value:,g}".replace(",", THIN).replace("-", MINUS)


def power_of_ten(exponent: int) -> str:
    """Return a power of ten.

    Examples
    --------
    >>> power_of_ten(-3)
    '10⁻³'
    """
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def percent(value: float | None) -> str:
    """Return a share in percent, 100 only for all of it.

    Examples
    --------
    >>> percent(99.996)
    '99.9\u202f%'
    """
    if value is None:
        return DASH
    return f"{number(math.floor(value * 10) / 10, 0 if value == 100 else 1)}{THIN}%"


def count_of(count: int, noun: str, nouns: str = "") -> str:
    """Return a count with its noun, in the plural unless it is 1."""
    return f"{number(count)} {noun if count == 1 else nouns or noun + 's'}"


def dark_id_of(properties: Mapping[str, Any]) -> str:
    """Return the id of a calibration; those of 2019 came without it, but with a date."""
    return str(properties.get("id") or properties["date"][:8].replace(":", ""))


def write_cell(row: Mapping[str, Any], column: Column) -> str:
    """Return a value of a row as text; an empty text where the row does not have the key."""
    value = row.get(column.key, "")
    match value:
        case None:
            return DASH
        case bool():
            return "yes" if value else "no"
        case str() if column.kind == "time":
            return f"{value[:8]} {value[9:17]}"
        case str():
            return value
    return number(value, column.decimals, signed=column.signed)


def write_fact(fact: Mapping[str, Any]) -> str:
    """Return the value of a fact as text, with its unit.

    Parameters
    ----------
    fact : mapping
        ``name``, ``value`` (number, text or None), ``unit``, ``decimals``.
    """
    value = fact["value"]
    text = value if isinstance(value, str) else number(value, fact["decimals"])
    return f"{text} {fact['unit']}" if fact["unit"] and value is not None else text
