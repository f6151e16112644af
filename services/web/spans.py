"""Spans of time in addresses: read, checked, shifted, and written as CXC times on pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from markupsafe import Markup

from acaflow import times
from acaflow.errors import InputError
from acaflow.status import reading

__all__ = [
    "DAY_S",
    "Span",
    "around",
    "clock_of",
    "day_of",
    "echo",
    "iso_ms",
    "moment",
    "read_span",
    "read_time",
]

DAY_S = 86400.0
EXAMPLES = "2019:272:03:00:00, 2019-09-29 03:00 or -2d"


@dataclass(frozen=True)
class Span:
    """A span from an address.

    Attributes
    ----------
    start, stop : float
        CXC seconds, stop after start; of the default where something is wrong.
    given : mapping of str to str
        What the fields ``start`` and ``stop`` show: the times normalised, or as typed if wrong.
    problems : mapping of str to str
        What is wrong, by field; empty if nothing is.
    """

    start: float
    stop: float
    given: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)

    @property
    def query(self) -> dict[str, str]:
        """The span as arguments of an address."""
        return {"start": echo(self.start), "stop": echo(self.stop)}

    @property
    def name(self) -> str:
        """The span in names of files: YYYYDDD.hhmmss twice."""
        return "_".join(str(times.convert(at, "greta"))[:14] for at in (self.start, self.stop))

    @property
    def keywords(self) -> dict[str, str]:
        """The span in a FITS header."""
        ends = {"DATE-BEG": self.start, "DATE-END": self.stop}
        return {key: str(times.convert(at, "fits")) for key, at in ends.items()}

    def shifted(self, lengths: float) -> dict[str, str]:
        """Return the arguments of a span so many lengths later."""
        by = lengths * (self.stop - self.start)
        return {"start": echo(self.start + by), "stop": echo(self.stop + by)}


def read_time(written: str) -> float:
    """Return a time in any documented format as CXC seconds; InputError with an example."""
    try:
        return times.secs(written.strip())
    except InputError as err:
        raise InputError(f"“{written.strip()}” is no time. Write for example {EXAMPLES}.") from err


def read_span(
    query: Mapping[str, str], default: tuple[float, float], longest_s: float, length_s: float
) -> Span:
    """Read ``start`` and ``stop`` of an address.

    Parameters
    ----------
    query : mapping
        The address; empty values count as absent.
    default : tuple of float
        Start and stop if neither is given (CXC seconds).
    longest_s : float
        Longest span that the page can show (s).
    length_s : float
        Length if one end alone is given (s).
    """
    found: dict[str, float] = {}
    given: dict[str, str] = {}
    problems: dict[str, str] = {}
    for name in ("start", "stop"):
        written = query.get(name, "").strip()
        if not written:
            continue
        try:
            found[name] = read_time(written)
            given[name] = echo(found[name])
        except InputError as err:
            given[name], problems[name] = written, str(err)
    if not found and not problems:
        found = dict(zip(("start", "stop"), default, strict=True))
    start = found.get("start", found.get("stop", default[1]) - length_s)
    stop = found.get("stop", start + length_s)
    if not problems and stop <= start:
        problems["stop"] = f"{echo(stop)} is not after {echo(start)}. Give a later time."
    elif not problems and stop - start > longest_s:
        most = reading.duration(longest_s)
        problems["stop"] = (
            f"The span is {reading.duration(stop - start)} long; this page shows at most {most}."
            f" Give a time up to {echo(start + longest_s)}."
        )
    if problems:
        return Span(*default, {"start": echo(start), "stop": echo(stop), **given}, problems)
    return Span(start, stop, {"start": echo(start), "stop": echo(stop)})


def around(first: float, last: float) -> tuple[float, float]:
    """Return the whole UTC seconds around two times: a span that still has both as an address."""
    start, stop = (times.secs(str(times.date(at))[:17]) for at in (first, last))
    return start, stop + 1.0


# --- CXC times in words -------------------------------------------------------------------------


def echo(secs: float) -> str:
    """Write a time as YYYY:DDD:hh:mm:ss, with milliseconds if it has any."""
    return str(times.date(secs)).removesuffix(".000")


def iso_ms(secs: float) -> str:
    """Write a time as ISO text to the millisecond with Z."""
    return f"{times.convert(secs, 'isot')}Z"


def moment(secs: float, ms: bool = False) -> Markup:
    """Write a time as pages do, to the second or the millisecond."""
    cut = None if ms else -4
    date, stamp = str(times.date(secs)), iso_ms(secs)[:-1]
    return Markup('<time datetime="{}Z" title="{} UTC">{}</time>').format(
        stamp[:cut], stamp[:cut].replace("T", " "), f"{date[:8]} {date[9:][:cut]}"
    )


def clock_of(secs: float) -> str:
    """Write the hour, minute and second of a time inside a sentence that has the day."""
    return str(times.date(secs))[9:17]


def day_of(secs: float) -> Markup:
    """Write the day of a time."""
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(
        iso_ms(secs)[:10], str(times.date(secs))[:8]
    )
