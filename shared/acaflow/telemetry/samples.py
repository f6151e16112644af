"""Samples of engineering telemetry: the interface that readers use, and one source of them.

`Samples` is all that a reader of telemetry has to know. `SampleFiles` provides it from files::

    eng_<MSID>_<tstart>_<tstop>.csv.gz                       as delivered
    <archive>/eng/samples/<MSID>/<MSID>_<tstart>_<tstop>.csv.gz   as archived, the same bytes

A file holds the line ``time,value`` and then one sample a line: time (CXC seconds) ascending, and
either a number in the unit of the scientific set (temperatures in degC) or the text of a state.
``tstart`` and ``tstop`` are the whole seconds of the first and the last sample.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from acaflow.errors import CorruptFileError, SchemaError
from acaflow.paths import SAMPLES_NAME, SamplesName, parse_samples_name

__all__ = ["SampleFiles", "Samples", "read_samples_file", "stored_path"]

HEADER = "time,value"
MAX_BYTES = 50_000_000
"""Largest uncompressed file that is read: almost two years at 32.8 s."""

Series = tuple[npt.NDArray[np.float64], npt.NDArray[Any]]
"""Times (CXC seconds) and values of the same length."""


class Samples(Protocol):
    """Where samples of engineering telemetry come from."""

    def get(self, msid: str, tstart: float, tstop: float) -> Series:
        """Return the good samples of a quantity.

        Parameters
        ----------
        msid : str
            Name of the quantity, in any case.
        tstart, tstop : float
            Interval (CXC seconds), ``tstart <= time < tstop``.

        Returns
        -------
        times : ndarray of float64, shape (n,)
            CXC seconds, ascending, no two alike.
        values : ndarray of float64 or str, shape (n,)
            Numbers, or texts of a state, which may end in blanks.

        Notes
        -----
        Nothing known of the quantity or the interval is no error: both arrays are empty.
        """
        ...


class SampleFiles:
    """Samples from the files of an archive.

    Parameters
    ----------
    archive : Path
        The folder that holds ``eng/samples``.

    Notes
    -----
    Files may overlap: their samples are merged by time. Of samples at the same time that in the
    file that begins later counts; of files that begin together that which ends later.
    """

    def __init__(self, archive: Path | str) -> None:
        self.archive = Path(archive)

    def get(self, msid: str, tstart: float, tstop: float) -> Series:
        """Return the samples of a quantity: `Samples.get`.

        Raises
        ------
        CorruptFileError, SchemaError
            A file of the interval is damaged, or its values are texts and those of another
            file numbers.
        """
        parts = [(np.empty(0), np.empty(0))]
        for named in self._overlapping(msid.upper(), tstart, tstop):
            path = self.archive / stored_path(named)
            times, values = read_samples_file(path, f"eng_{path.name}")
            part = slice(*np.searchsorted(times, [tstart, tstop]))
            parts.append((times[part], values[part]))
            if len({values.dtype.kind for _, values in parts[1:]}) > 1:
                raise SchemaError(
                    f"{path.name}: texts here and numbers in another file, or the reverse", path
                )
        return _merged(parts[1:] or parts)

    def _overlapping(self, msid: str, tstart: float, tstop: float) -> list[SamplesName]:
        """List the files that can hold samples of an interval, the decisive one last."""
        folder = self.archive / "eng" / "samples" / msid
        names = [f"eng_{path.name}" for path in folder.glob("*.csv.gz")]
        files = [parse_samples_name(name) for name in names if SAMPLES_NAME.fullmatch(name)]
        overlapping = [f for f in files if f.tstart < tstop and tstart < f.tstop + 1]
        return sorted(overlapping, key=lambda f: (f.tstart, f.tstop))


def stored_path(named: SamplesName) -> str:
    """Return where an archive keeps a file, relative to its root.

    Examples
    --------
    >>> stored_path(parse_samples_name("eng_CIUMACAC_708739200_708825599.csv.gz"))
    'eng/samples/CIUMACAC/CIUMACAC_708739200_708825599.csv.gz'
    """
    return f"eng/samples/{named.msid}/{named.msid}_{named.tstart}_{named.tstop}.csv.gz"


def read_samples_file(path: Path, name: str) -> Series:
    """Read and check one file of samples.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        The name under which it was delivered.

    Returns
    -------
    times : ndarray of float64, shape (n,)
        CXC seconds, strictly ascending; at least one.
    values : ndarray of float64 or str, shape (n,)
        The first value decides: if it is a number, all must be.

    Raises
    ------
    CorruptFileError
        No gzip stream, or a damaged or truncated one; not ASCII; a last line without its end.
    SchemaError
        Another name, header or number of columns; no sample; a time or number that is none;
        times that do not ascend or lie outside the interval of the name.
    """
    named = parse_samples_name(name)
    lines = _text(path, name).splitlines()
    if lines[:1] != [HEADER]:
        raise SchemaError(f"{name}: line 1 is {lines[:1]}; expected {HEADER!r}", path)
    cells = [line.split(",") for line in lines[1:]]
    if not cells:
        raise SchemaError(f"{name}: no sample", path)
    for number, line in enumerate(cells, start=2):
        if len(line) != 2 or not line[1].strip():
            text = ",".join(line)
            raise SchemaError(f"{name}: line {number} is {text!r}; expected {HEADER}", path)
    times = _numbers([time for time, _ in cells], "time", name, path)
    _check_times(times, named, name, path)
    texts = [value for _, value in cells]
    if _is_number(texts[0]):
        return times, _numbers(texts, "value", name, path)
    return times, np.array(texts)


def _text(path: Path, name: str) -> str:
    """Return the content of a file."""
    try:
        with gzip.open(path) as stream:
            content = stream.read(MAX_BYTES + 1)
        text = content.decode("ascii")
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as err:
        raise CorruptFileError(f"{name}: {err}; expected gzip of ASCII text", path) from err
    if len(content) > MAX_BYTES:
        raise CorruptFileError(f"{name}: more than {MAX_BYTES} bytes uncompressed", path)
    if not text.endswith("\n"):
        raise CorruptFileError(f"{name}: the last line has no end, the file is cut short", path)
    return text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(texts: list[str], what: str, name: str, path: Path) -> npt.NDArray[np.float64]:
    """Return finite numbers."""
    try:
        numbers = np.array(texts, dtype=np.float64)
    except ValueError as err:
        raise SchemaError(f"{name}: {what} is no number ({err})", path) from err
    if not np.isfinite(numbers).all():
        line = int(np.argmin(np.isfinite(numbers)))
        raise SchemaError(f"{name}: line {line + 2}: {what} is {texts[line]}", path)
    return numbers


def _check_times(times: npt.NDArray[np.float64], named: SamplesName, name: str, path: Path) -> None:
    """Check that times ascend and keep to the interval of the name."""
    backward = np.flatnonzero(np.diff(times) <= 0)
    if len(backward):
        line, time = backward[0] + 3, times[backward[0] + 1]
        raise SchemaError(f"{name}: line {line}: time {time} does not ascend", path)
    if times[0] < named.tstart or times[-1] >= named.tstop + 1:
        raise SchemaError(
            f"{name}: its samples run from {times[0]} to {times[-1]}, the name says"
            f" {named.tstart} to {named.tstop}",
            path,
        )


def _merged(parts: list[Series]) -> Series:
    """Merge series by time; of samples at the same time that of the last series counts."""
    times, values = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order]
    is_last = np.append(times[1:] != times[:-1], True)[: len(times)]
    return times[is_last], values[is_last]
