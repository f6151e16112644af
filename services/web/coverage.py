"""Level-0 coverage of one UTC day: read, and drawn as bars for the eight slots."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from markupsafe import Markup

from acaflow import times
from acaflow.archive import aca_l0
from acaflow.archive.l0_format import CADENCE_S, SLOTS
from acaflow.archive.l0_views import compute_gaps
from acaflow.status import reading
from services.web.plots import Scale, svg
from services.web.spans import DAY_S

__all__ = ["Day", "Gap", "Run", "draw_day", "read_day", "say_day"]

MARGIN_S = 20.0
"""Read beyond both ends of a day: images there say whether it is covered to its ends (s)."""


@dataclass(frozen=True)
class Run:
    """Contiguous images of one size: first and last TIME (CXC seconds), counts."""

    slot: int
    size: int
    start: float
    stop: float
    images: int
    bad: int


@dataclass(frozen=True)
class Gap:
    """No images of a slot between two times (CXC seconds)."""

    slot: int
    start: float
    stop: float


@dataclass(frozen=True)
class Day:
    """Coverage of a UTC day.

    Attributes
    ----------
    name : str
        YYYY:DDD.
    start, stop : float
        The day (CXC seconds).
    until : float
        End of what can be covered yet: `stop`, or the end of the archive within the day.
    runs : list of Run
        By slot and time; the ends may lie a few seconds outside the day.
    gaps : list of Gap
        By time and slot, up to `until`.
    """

    name: str
    start: float
    stop: float
    until: float
    runs: list[Run]
    gaps: list[Gap]

    def first(self, slot: int) -> float:
        """Return the first image of a slot; the start of the day if it has none (CXC seconds)."""
        return min((run.start for run in self.runs if run.slot == slot), default=self.start)

    @property
    def before(self) -> str:
        """The day before, YYYY:DDD."""
        return str(times.date(self.start - DAY_S / 2))[:8]

    @property
    def after(self) -> str:
        """The day after, YYYY:DDD."""
        return str(times.date(self.stop + DAY_S / 2))[:8]

    def covered(self, slot: int) -> float:
        """Return how much of the day up to `until` has images (percent)."""
        missing = sum(gap.stop - gap.start for gap in self.gaps if gap.slot == slot)
        return 100 * (1 - missing / (self.until - self.start))

    @cached_property
    def common(self) -> list[tuple[float, float]]:
        """Gaps of all slots that have images on this day at all: from, to (CXC seconds)."""
        present = {run.slot for run in self.runs}
        edges = [(gap.start, 1) for gap in self.gaps if gap.slot in present]
        edges += [(gap.stop, -1) for gap in self.gaps if gap.slot in present]
        found, depth, begin = [], 0, 0.0
        for at, change in sorted(edges):
            if depth == len(present):
                found.append((begin, at))
            depth += change
            begin = at
        return found


def read_day(data_root: Path, time: float, newest: float | None) -> Day:
    """Read the coverage of the day that holds a time.

    Parameters
    ----------
    data_root : Path
        Folder of the archive.
    time : float
        Any time of the day (CXC seconds).
    newest : float or None
        End of the newest file (CXC seconds): what comes later cannot be missed yet.
    """
    name = str(times.date(time))[:8]
    start = times.secs(name)
    # The length of a day with a leap second is not 86400 s.
    stop = times.secs(str(times.date(start + 1.5 * DAY_S))[:8])
    table = aca_l0.get_coverage(start - MARGIN_S, stop + MARGIN_S, data_root=data_root)
    # The columns are those of a run, in this order.
    found = [
        Run(*row) for row in zip(*(table[name].tolist() for name in table.colnames), strict=True)
    ]
    # Images that nothing follows in any slot have not been missed: more may still arrive.
    is_newest = bool(found) and newest is not None and newest < stop
    last = max((run.stop for run in found), default=stop)
    until = min(last, stop) if is_newest else stop
    gaps = []
    for slot in SLOTS:
        own = table[table["slot"] == slot]
        missing = compute_gaps(own["tstart"], own["tstop"], own["imgsize"], start, until)
        gaps += [Gap(slot, *map(float, ends)) for ends in missing]
    runs = [run for run in found if run.stop >= start and run.start < stop]
    return Day(name, start, stop, until, runs, sorted(gaps, key=lambda gap: (gap.start, gap.slot)))


# --- Drawing ------------------------------------------------------------------------------------

LEFT, RIGHT, TOP, PITCH = 64, 1250, 18, 25
BOTTOM = TOP + PITCH * 8 + 8
BAR_HEIGHTS = {8: 14, 6: 9, 4: 4}
NARROW = 5.0
"""A gap narrower than this is drawn as wide, so that it is seen (drawing units)."""


def draw_day(day: Day, span: tuple[float, float] | None = None) -> Markup:
    """Draw the coverage of a day.

    Parameters
    ----------
    day : Day
        What to draw.
    span : tuple of float, optional
        Shaded (CXC seconds).
    """
    x = Scale(day.start, day.stop, LEFT, RIGHT)
    parts = []
    for hour in range(0, 25, 2):
        at = x.at(min(day.start + 3600 * hour, day.stop))
        parts.append(f'<path class="gr" d="M{at:.0f} {TOP}V{BOTTOM}"/>')
        parts.append(f'<text class="m" x="{at:.0f}" y="11">{hour:02d}:00</text>')
    parts.append('<text class="e" x="1340" y="11">covered, %</text>')
    if span is not None:
        left, right = (min(max(x.at(at), LEFT), RIGHT) for at in span)
        if right > left:
            box = f'x="{left:.1f}" y="{TOP}" width="{max(right - left, 1):.1f}"'
            parts.append(f'<rect class="span" {box} height="{BOTTOM - TOP}"/>')
    for slot in SLOTS:
        parts += _bars(day, slot, x)
    parts += _brackets(day, x)
    if day.until < day.stop:
        at = x.at(day.until)
        parts.append(f'<path class="now" d="M{at:.1f} {TOP}V{BOTTOM}"/>')
        if RIGHT - at > 190:
            words = "nothing later has arrived"
            parts.append(f'<text x="{at + 8:.1f}" y="{BOTTOM - 4}">{words}</text>')
    label = f"Coverage of the eight slots on {day.name}. {say_day(day)}"
    return svg("plot wide", 1344, BOTTOM + 4, label, parts)


def _middle(slot: int) -> float:
    return TOP + 18 + PITCH * slot


def _bars(day: Day, slot: int, x: Scale) -> list[str]:
    """Draw one slot: its name, a bar for each run, how much is covered."""
    middle = _middle(slot)
    runs = [run for run in day.runs if run.slot == slot]
    parts = [f'<text class="t" x="4" y="{middle + 4:g}">slot {slot}</text>']
    bars = []
    for run in runs:
        left = max(x.at(run.start), LEFT)
        right = min(x.at(run.stop + CADENCE_S[run.size]), RIGHT)
        height = BAR_HEIGHTS[run.size]
        bars.append(
            f"M{left:.1f} {middle - height / 2:g}H{max(right, left + 0.5):.1f}v{height}H{left:.1f}z"
        )
    if bars:
        parts.append(f'<path class="cov" d="{"".join(bars)}"/>')
    covered = day.covered(slot)
    # 100.0 only if nothing is missing.
    shown = f"{np.floor(10 * covered + 1e-9) / 10:.1f}"
    worst = covered < max(map(day.covered, SLOTS)) - 1
    parts.append(
        f'<text class="e {"cd" if worst else "t"}" x="1340" y="{middle + 4:g}">{shown}</text>'
    )
    return parts


def _brackets(day: Day, x: Scale) -> list[str]:
    """Draw gaps: one bracket for those of all slots, small ones for the rest."""
    parts = [
        _bracket(x.at(start), x.at(stop), TOP + 6, BOTTOM - 2, stop - start)
        for start, stop in day.common
    ]
    present = {run.slot for run in day.runs}
    for gap in day.gaps:
        inside = any(a - 10 <= gap.start and gap.stop <= b + 10 for a, b in day.common)
        if gap.slot in present and not inside:
            middle = _middle(gap.slot)
            parts.append(_bracket(x.at(gap.start), x.at(gap.stop), middle - 10, middle + 10))
    return parts


def _bracket(left: float, right: float, top: float, bottom: float, length_s: float = 0) -> str:
    """Draw two brackets that face each other, with the length between them if there is room."""
    if right - left < NARROW:
        left, right = (left + right - NARROW) / 2, (left + right + NARROW) / 2
    foot = min(5.0, (right - left) / 3)
    drawn = (
        f'<path class="gap" d="M{left + foot:.1f} {top:g}H{left:.1f}V{bottom:g}H{left + foot:.1f}'
        f'M{right - foot:.1f} {top:g}H{right:.1f}V{bottom:g}H{right - foot:.1f}"/>'
    )
    if length_s and right - left > 70:
        middle = f'x="{(left + right) / 2:.1f}"'
        drawn += f'<text class="cd m" {middle} y="116">gap</text>'
        drawn += f'<text class="cd m" {middle} y="132">{reading.duration(length_s)}</text>'
    return drawn


def say_day(day: Day) -> str:
    """Say in words what the picture shows."""
    missing = [slot for slot in SLOTS if not any(run.slot == slot for run in day.runs)]
    if len(missing) == len(SLOTS):
        return "No images."
    said = ["No gap that all slots share."]
    if day.common:
        longest = reading.duration(max(stop - start for start, stop in day.common))
        gaps = reading.counted(len(day.common), "gap")
        shared = "all slots share" if not missing else "all slots with images share"
        said = [f"{gaps} that {shared}, the longest {longest}."]
        said = [said[0].replace(", the longest", " of")] if len(day.common) == 1 else said
    if missing:
        said.append(f"No images of slot {', '.join(map(str, missing))}.")
    return " ".join(said)
