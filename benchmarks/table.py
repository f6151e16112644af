"""One row per case, printed as it is measured and again as a table at the end."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A measured case; `value` is compared with `limit` in the sense of `sense`."""

    case: str
    ours: str
    floor: str
    value: float
    limit: float
    target: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Tell whether the target holds."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def show(rows: list[Row]) -> str:
    """Return the table as aligned text."""
    heads = ("case", "ours", "floor", "ratio or value", "target", "")
    lines: list[tuple[str, ...]] = [heads]
    for row in rows:
        verdict = "" if row.met else "MISSED"
        lines.append((row.case, row.ours, row.floor, f"{row.value:.3g}", row.target, verdict))
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
