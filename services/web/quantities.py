"""What the telemetry pages can plot: header-3 quantities, and some level-0 columns of each slot.

A header-3 quantity has its documented name or key (`HDR3_DEF`). A level-0 column has its name and
the slot, as in ``TEMPCCD_3``. Case does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acaflow.archive import aca_hdr3, aca_l0
from acaflow.archive.hdr3_def import Hdr3Entry, slots_of
from acaflow.archive.l0_export import Column
from acaflow.archive.l0_format import KELVIN, SLOTS
from acaflow.errors import InputError

__all__ = ["LEVEL0", "Quantity", "Series", "find", "join", "known", "read"]

LEVEL0 = {
    "TEMPCCD": ("degC", "CCD temperature"),
    "TEMPHOUS": ("degC", "Temperature of the AC housing"),
    "TEMPPRIM": ("degC", "Temperature of the primary mirror"),
    "TEMPSEC": ("degC", "Temperature of the secondary mirror"),
    "BGDAVG": ("DN", "Average background"),
}
"""Level-0 columns by name: unit here (the files have kelvin) and meaning."""
SHOWN_UNITS = {"degC": "°C", "e-": "e⁻", None: ""}
"""How pages write units."""


@dataclass(frozen=True)
class Quantity:
    """Something that can be plotted.

    Attributes
    ----------
    name : str
        Name on pages and in files, upper case.
    key : str
        Key in `HDR3_DEF`; empty for level-0 columns.
    unit : str
        ASCII, as in the library; empty if it has none.
    meaning, more : str
        Short and long description.
    slots : tuple of int
        Slots that telemeter it; its times are those of the first.
    column : str
        Level-0 column; empty for header 3.
    """

    name: str
    key: str
    unit: str
    meaning: str
    more: str
    slots: tuple[int, ...]
    column: str = ""

    @property
    def shown_unit(self) -> str:
        """The unit as pages write it."""
        return SHOWN_UNITS.get(self.unit, self.unit)

    @property
    def title(self) -> str:
        """Name and unit, as headings have them."""
        return f"{self.name}, {self.shown_unit}" if self.unit else self.name


@dataclass(frozen=True)
class Series:
    """Samples of a quantity at its own times (CXC seconds); bad ones masked."""

    quantity: Quantity
    times: npt.NDArray[np.float64]
    values: Any


def _header3(key: str, entry: Hdr3Entry) -> Quantity:
    return Quantity(
        entry["msid"].upper(),
        key,
        entry["unit"] or "",
        entry["desc"],
        entry["longdesc"],
        slots_of(entry),
    )


def _level0(column: str, slot: int) -> Quantity:
    unit, meaning = LEVEL0[column]
    more = f"{meaning} as slot {slot} telemeters it, with every image"
    more += "." if column == "BGDAVG" else " of 6×6 or 8×8 pixels, in steps of 0.4 °C."
    return Quantity(f"{column}_{slot}", "", unit, f"{meaning}, slot {slot}", more, (slot,), column)


def known() -> list[Quantity]:
    """Return all of them, header 3 first."""
    found = [_header3(key, entry) for key, entry in aca_hdr3.HDR3_DEF.items()]
    return found + [_level0(column, slot) for column in LEVEL0 for slot in SLOTS]


def find(written: str) -> Quantity:
    """Return the quantity of a name or key; InputError in words if there is none."""
    name = written.strip().upper()
    key = aca_hdr3.MSID_ALIASES.get(name.lower(), name)
    if key in aca_hdr3.HDR3_DEF:
        return _header3(key, aca_hdr3.HDR3_DEF[key])
    match = re.fullmatch(r"([A-Z]+)_([0-7])", name)
    if match and match[1] in LEVEL0:
        return _level0(match[1], int(match[2]))
    if name in LEVEL0:
        raise InputError(f"{name} is in every slot. Say which, for example {name}_3.")
    raise InputError(f"“{written}” is no MSID. Write for example CCD_TEMP, 676 or TEMPCCD_3.")


def read(
    quantities: Sequence[Quantity], start: float, stop: float, data_root: Path
) -> list[Series]:
    """Read the samples of some quantities, each slot once.

    Parameters
    ----------
    quantities : sequence of Quantity
        What.
    start, stop : float
        CXC seconds, both included.
    data_root : Path
        Folder of the level-0 archive.

    Returns
    -------
    list of Series
        In the order of `quantities`. Undecoded pairs of bytes come as one number.
    """
    found: dict[str, Series] = {}
    groups: dict[tuple[bool, tuple[int, ...]], list[Quantity]] = {}
    for item in quantities:
        groups.setdefault((bool(item.column), item.slots), []).append(item)
    for (is_level0, slots), items in groups.items():
        if is_level0:
            found |= _read_level0(items, slots[0], start, stop, data_root)
            continue
        dat = aca_hdr3.MSIDset([item.name for item in items], start, stop, data_root=data_root)
        for item in items:
            found[item.name] = Series(item, dat[item.name].times, _as_number(dat[item.name].vals))
    return [found[item.name] for item in quantities]


def _as_number(vals: Any) -> Any:
    """Return the values; pairs of bytes as 16-bit numbers."""
    if vals.ndim == 1:
        return vals
    words = vals.data[:, 0].astype(np.int64) * 256 + vals.data[:, 1]
    return np.ma.MaskedArray(words, np.ma.getmaskarray(vals).any(axis=1))


def _read_level0(
    items: Sequence[Quantity], slot: int, start: float, stop: float, data_root: Path
) -> dict[str, Series]:
    names = [item.column for item in items]
    rows = aca_l0.get_slot_data(
        start, stop, slot, columns=["TIME", "QUALITY", *names], data_root=data_root
    )
    time = rows["TIME"].data.astype(np.float64)
    bad = rows["QUALITY"].data != 0
    found = {}
    for item in items:
        column = rows[item.column]
        has = ~np.ma.getmaskarray(column)
        values = column.data[has]
        if item.unit == "degC":
            values = values - np.float32(KELVIN)
        found[item.name] = Series(item, time[has], np.ma.MaskedArray(values, bad[has]))
    return found


def join(series: Sequence[Series]) -> tuple[npt.NDArray[np.float64], list[Column]]:
    """Put series on common times, the union of theirs; masked where one has no sample.

    Slots share one time grid, so equal means equal.
    """
    times = [item.times for item in series]
    if all(np.array_equal(own, times[0]) for own in times):
        union = times[0]
    else:
        union = np.unique(np.concatenate(times))
    columns = []
    for item in series:
        values = item.values
        if len(item.times) != len(union):
            place = np.searchsorted(union, item.times)
            blank = np.zeros(len(union), item.values.dtype.newbyteorder("="))
            values = np.ma.MaskedArray(blank, mask=True)
            values[place] = item.values
        what = item.quantity
        columns.append(Column(what.name, what.unit, what.meaning, values))
    return union, columns
