"""Write ACA level-0 image files, with the keywords and columns of flight files.

Files written: ``acaf<TSTART>N<VVV>_<S>_img0.fits.gz`` (aca-archive 2), one slot and one image
size each. Keywords and columns stand in the order of flight files, and equal rows give equal
bytes; that is why the header is written by hand: a library would sort, complete and date-stamp
it. Times are CXC seconds.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

from acaflow import times
from acaflow.archive.l0_fits import BLOCK, encode_checksum, ones_sum
from acaflow.archive.l0_format import (
    CADENCE_S,
    COLUMNS,
    COUNTERS,
    DEFAULT_WORDS,
    FRAME_STEP,
    L0_COLUMNS,
    MAJOR_FRAME,
    PACKET_S,
    L0Column,
)

__all__ = [
    "BTIMRATE",
    "encode_l0",
    "l0_files",
    "l0_keywords",
    "l0_name",
    "write_l0_file",
]

BTIMRATE = 0.256250015400369
"""Seconds per VCDU count: the flight clock of September 2019."""
LONGEST_GAP_S = 60.0
"""A gap in the images of a slot that is longer ends a file (s); ours."""

Columns = Mapping[str, npt.NDArray[np.generic]]
"""Values of the columns of one slot and image size, one entry per row."""

_UNSIGNED = "1U"
"""Columns of this format are stored with an offset."""
_TZERO = 32768


def _columns(size: int, values: Mapping[str, npt.ArrayLike]) -> list[L0Column]:
    return [
        column
        for column in L0_COLUMNS
        if size in column.sizes and (column.name in values or column.name not in DEFAULT_WORDS)
    ]


def _table(
    n_rows: int, size: int, columns: list[L0Column], values: Mapping[str, npt.ArrayLike]
) -> bytes:
    shapes = {"IMGRAW": (size, size)}
    dtype = np.dtype(
        [(c.name, COLUMNS[c.name].newbyteorder(">"), shapes.get(c.name, ())) for c in columns]
    )
    table = np.zeros(n_rows, dtype)
    for column in columns:
        value = np.asarray(values.get(column.name, 0))
        is_unsigned = column.tform == _UNSIGNED
        table[column.name] = value.astype(np.int64) - _TZERO if is_unsigned else value
    return table.tobytes()


Value = bool | int | float | str
Cards = list[tuple[str, Value, str]]


def _card(key: str, value: Value, comment: str) -> str:
    match value:
        case bool():
            text = f"{'FT'[value]:>20}"
        case int():
            text = f"{value:>20}"
        case float():
            digits = f"{value:.15G}"
            text = f"{digits if '.' in digits or 'E' in digits else digits + '.':>20}"
        case str():
            quoted = f"'{value:<8}'"
            text = f"{quoted:<20}"
    card = f"{key:<8}= {text} / {comment}" if comment else f"{key:<8}= {text}"
    return f"{card[:80]:<80}"


def _header(cards: Cards, last: str = "") -> bytes:
    lines = [_card(*card) for card in cards] + [f"{last:<80}" if last else "", f"{'END':<80}"]
    return _padded("".join(lines).encode("ascii"), b" ")


def _padded(block: bytes, fill: bytes) -> bytes:
    return block + fill * (-len(block) % BLOCK)


def _sealed(header: bytes, data_sum: int) -> bytes:
    """Put the CHECKSUM into a header that holds sixteen zeros in its place."""
    checksum = encode_checksum(ones_sum(header, data_sum)).encode("ascii")
    return header.replace(b"'" + b"0" * 16 + b"'", b"'" + checksum + b"'", 1)


def _mission_cards() -> Cards:
    return [
        ("MISSION", "AXAF", "mission"),
        ("TELESCOP", "CHANDRA", "telescope"),
        ("INSTRUME", "PCAD", "instrument"),
    ]


def _primary_header(keywords: Mapping[str, Value]) -> bytes:
    k = keywords
    cards: Cards = [
        ("SIMPLE", True, "FITS standard"),
        ("BITPIX", 8, "bits per value"),
        ("NAXIS", 0, "no data here"),
        ("EXTEND", True, "a table follows"),
        *_mission_cards(),
        ("DATE", k["DATE"], "creation of the file (UTC)"),
        ("DATE-OBS", k["DATE-OBS"], "start (TT)"),
        ("DATE-END", k["DATE-END"], "stop (TT)"),
        ("TIMESYS", "TT", "time system"),
        ("CLOCKAPP", True, "clock correction applied"),
        ("TIMEZERO", 0.0, "clock correction"),
        ("TIMEUNIT", "s", "unit of times"),
        ("MJDREF", 50814.0, "MJD of time zero"),
        ("TSTART", k["TSTART"], "start of file"),
        ("TSTOP", k["TSTOP"], "stop of file"),
        ("ORIGIN", "ASC", ""),
        ("CREATOR", k["CREATOR"], ""),
        ("CHECKSUM", "0" * 16, f"HDU checksum updated {k['DATE']}"),
        ("DATASUM", "", "blank, as in flight files"),
    ]
    return _sealed(_header(cards), 0)


def _column_cards(columns: list[L0Column], size: int) -> Cards:
    cards: Cards = []
    for n, column in enumerate(columns, 1):
        tform = f"{size * size}E" if column.name == "IMGRAW" else column.tform.replace("U", "I")
        cards += [(f"TTYPE{n}", column.name, column.comment), (f"TFORM{n}", tform, "format")]
        if column.unit:
            cards.append((f"TUNIT{n}", column.unit, "unit"))
        if column.name == "IMGRAW":
            cards.append((f"TDIM{n}", f"({size},{size})", "shape"))
        if column.limits:
            cards.append((f"TLMIN{n}", column.limits[0], "smallest value"))
            cards.append((f"TLMAX{n}", column.limits[1], "largest value"))
        if column.tform == _UNSIGNED:
            cards.append((f"TZERO{n}", _TZERO, "offset of unsigned integers"))
            cards.append((f"TSCAL{n}", 1, "not scaled"))
    return cards


_VERSIONS = {"ASCDSVER": "processing system", "TLMVER": "telemetry definition"}
"""Keywords that only files of the ground system have, and their comments."""


def _table_header(
    size: int,
    columns: list[L0Column],
    keywords: Mapping[str, Value],
    n_rows: int,
    data: bytes,
) -> bytes:
    k = keywords
    data_sum = ones_sum(_padded(data, b"\0"))
    cards: Cards = [
        ("XTENSION", "BINTABLE", "binary table"),
        ("BITPIX", 8, "bits per value"),
        ("NAXIS", 2, "a table"),
        ("NAXIS1", len(data) // n_rows, "bytes per row"),
        ("NAXIS2", n_rows, "rows"),
        ("PCOUNT", 0, "no heap"),
        ("GCOUNT", 1, "one group"),
        ("TFIELDS", len(columns), "columns"),
        ("EXTNAME", "ACA_IMG0", "the same for every slot"),
        ("ORIGIN", "ASC", ""),
        ("CREATOR", k["CREATOR"], ""),
        *((key, k[key], comment) for key, comment in _VERSIONS.items() if key in k),
        ("REVISION", k["REVISION"], "processing version"),
        ("CHECKSUM", "0" * 16, f"HDU checksum updated {k['DATE']}"),
        ("DATASUM", str(data_sum), f"data unit checksum updated {k['DATE']}"),
        ("CONTENT", "ACAIMG", "data product"),
        ("HDUNAME", "ACADATA", ""),
        ("HDUSPEC", "ACA Level 0 Data Products ICD Version 1.0", ""),
        ("HDUDOC", "ASC-FITS-2.0: McDowell, Rots: ASC FITS File Designers Guide", ""),
        ("HDUVERS", "1.0.0", ""),
        ("HDUCLASS", "ASC", ""),
        ("HDUCLAS1", "TEMPORALDATA", ""),
        ("HDUCLAS2", "ACADATA", ""),
        ("LONGSTRN", "OGIP 1.0", ""),
        ("DATE", k["DATE"], "creation of the file (UTC)"),
        ("DATE-OBS", k["DATE-OBS"], "start (TT)"),
        ("DATE-END", k["DATE-END"], "stop (TT)"),
        ("TIMESYS", "TT", "time system"),
        ("MJDREF", 50814.0, "MJD of time zero"),
        ("TIMEZERO", 0.0, "clock correction"),
        ("TIMEUNIT", "s", "unit of times"),
        ("BTIMNULL", k["BTIMNULL"], "time of VCDU count zero (s)"),
        ("BTIMRATE", k["BTIMRATE"], "clock rate (s per count)"),
        ("BTIMDRFT", 0.0, "clock drift (s per count^2)"),
        ("BTIMCORR", 0.0, "rate correction (s)"),
        ("TIMEREF", "LOCAL", "no light travel time"),
        ("TASSIGN", "SATELLITE", "where times are assigned"),
        ("CLOCKAPP", True, "clock correction applied"),
        ("TIERRELA", 1.0e-9, "relative error of times"),
        ("TIERABSO", 5.0e-5, "absolute error of times"),
        ("TIMVERSN", "ASC-FITS-2.0", ""),
        ("TSTART", k["TSTART"], "start of file"),
        ("TSTOP", k["TSTOP"], "stop of file"),
        ("STARTMJF", k["STARTMJF"], "major frame of the first row"),
        ("STARTMNF", k["STARTMNF"], "minor frame of the first row"),
        ("STARTOBT", 0.0, "on-board time"),
        ("STOPMJF", k["STOPMJF"], "last major frame of the last row"),
        ("STOPMNF", k["STOPMNF"], "last minor frame of the last row"),
        ("TIMEPIXR", 0.0, "place of the time stamp in its bin"),
        ("TIMEDEL", k["TIMEDEL"], "time between rows (s)"),
        *_mission_cards(),
        ("TLM_FMT", 2, "telemetry format"),
        *_column_cards(columns, size),
        ("HISTNUM", 1, ""),
    ]
    return _sealed(_header(cards, last=f"HISTORY {k['HISTORY']}"), data_sum)


def encode_l0(
    size: int, values: Mapping[str, npt.ArrayLike], keywords: Mapping[str, Value]
) -> bytes:
    """Return a level-0 image file, not compressed.

    Parameters
    ----------
    size : int
        Image size: 4, 6 or 8.
    values : mapping of str to array_like
        Column values, one per row or one for all; TIME must be there. Columns of other sizes
        are left out. PIXTLM and BGDTYP, which older files lack, are written if they are here;
        any other column that is not here is zero (GLBSTAT, COMMPROG, IMGSTAT).
    keywords : mapping of str to value
        What differs from file to file: DATE, DATE-OBS, DATE-END, TSTART, TSTOP, TIMEDEL,
        REVISION, BTIMNULL, BTIMRATE and STARTMJF, STARTMNF, STOPMJF, STOPMNF (`l0_keywords`),
        CREATOR and HISTORY; ASCDSVER and TLMVER if known.

    Returns
    -------
    bytes
        Primary HDU with a blank DATASUM and the table ACA_IMG0; all checksums are valid.
    """
    columns = _columns(size, values)
    n_rows = len(np.asarray(values["TIME"]))
    data = _table(n_rows, size, columns, values)
    header = _table_header(size, columns, keywords, n_rows, data)
    return _primary_header(keywords) + header + _padded(data, b"\0")


# --- Keywords --------------------------------------------------------------------------------


def _iso_tt(time: float) -> str:
    """Return ISO text in TT, rounded to whole seconds as in flight files."""
    return (datetime(1998, 1, 1) + timedelta(seconds=round(time))).isoformat()


def _iso_utc(time: float) -> str:
    """Return ISO text in UTC, cut to whole seconds."""
    date = times.date(time)
    return f"{datetime.strptime(date[:8], '%Y:%j').date().isoformat()}T{date[9:17]}"


def l0_keywords(
    size: int,
    values: Mapping[str, npt.ArrayLike],
    revision: int,
    delay_s: float = -PACKET_S,
) -> dict[str, Value]:
    """Return the header values that follow from the rows (aca-archive 2.2).

    Parameters
    ----------
    size : int
        Image size: 4, 6 or 8.
    values : mapping of str to array_like
        Column values; END_INTEG_TIME, MJF and MNF are read, one value per row.
    revision : int
        Processing version.
    delay_s : float
        DATE, when the file was made, is this much after TSTOP (s). The default gives the time
        of the last packet.

    Returns
    -------
    dict of str to value
        All keywords of `encode_l0` but CREATOR, HISTORY, ASCDSVER and TLMVER. BTIMNULL is the
        time of VCDU count zero of the counter's present turn at the flight rate of 2019.
    """
    ends = np.asarray(values["END_INTEG_TIME"], dtype=np.float64)
    frames = np.asarray(values["MJF"], np.int64) * MAJOR_FRAME + np.asarray(values["MNF"])
    # The header has six decimals, and the file name must agree with the header.
    tstart = round(float(ends[0]) + PACKET_S, 6)
    tstop = round(float(ends[-1]) + PACKET_S + CADENCE_S[size], 6)
    first = int(frames[0])
    last = (int(frames[-1]) + FRAME_STEP[size] - 1) % COUNTERS
    return {
        "DATE": _iso_utc(tstop + delay_s),
        "DATE-OBS": _iso_tt(tstart),
        "DATE-END": _iso_tt(tstop),
        "TSTART": tstart,
        "TSTOP": tstop,
        "TIMEDEL": CADENCE_S[size],
        "REVISION": revision,
        "BTIMNULL": round(tstart - BTIMRATE * first, 6),
        "BTIMRATE": BTIMRATE,
        "STARTMJF": first // MAJOR_FRAME,
        "STARTMNF": first % MAJOR_FRAME,
        "STOPMJF": last // MAJOR_FRAME,
        "STOPMNF": last % MAJOR_FRAME,
    }


# --- Files -----------------------------------------------------------------------------------


def l0_name(slot: int, keywords: Mapping[str, Value]) -> str:
    """Return the archive name of a file with the given keywords."""
    tstart, revision = int(keywords["TSTART"]), int(keywords["REVISION"])
    return f"acaf{tstart:09d}N{revision:03d}_{slot}_img0.fits.gz"


def write_l0_file(
    path: Path, size: int, values: Mapping[str, npt.ArrayLike], keywords: Mapping[str, Value]
) -> Path:
    """Write one gzipped file (parameters of `encode_l0`) and return its path.

    It appears whole, so its folder may be a watched inbox; a file of that name is replaced.
    """
    part = path.with_name(f"{path.name}.part")
    content = encode_l0(size, values, keywords)
    part.write_bytes(gzip.compress(content, compresslevel=1, mtime=0))
    part.replace(path)
    return path


def l0_files(images: Mapping[tuple[int, int], Columns], folder: Path) -> list[Path]:
    """Write the images of real-time packets as level-0 files of revision 0.

    A file of the ground system, whose revision is higher, supersedes such a file as soon as it
    has the same rows (aca-archive 3.4). DATE is the UTC of the last packet and never the clock,
    so that the same rows always give the same bytes.

    Parameters
    ----------
    images : mapping of (slot, imgsize) to mapping of str to ndarray
        Column values in time order, as of `acaflow.archive.aca_packets.assemble_images`.
    folder : Path
        Where to; made if absent.

    Returns
    -------
    list of Path
        One file for each run of images of one slot and size, ordered by slot and time; a gap
        of more than `LONGEST_GAP_S` ends a run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    origin = {"CREATOR": "acaflow", "HISTORY": "made by acaflow from real-time packets"}
    paths = []
    for slot in sorted({slot for slot, _ in images}):
        for size, run in _runs({size: rows for (s, size), rows in images.items() if s == slot}):
            keywords = l0_keywords(size, run, revision=0) | origin
            paths.append(write_l0_file(folder / l0_name(slot, keywords), size, run, keywords))
    return paths


def _runs(images: Mapping[int, Columns]) -> Iterator[tuple[int, Columns]]:
    """Cut the images of a slot, given by size, where the size changes or a long gap begins."""
    ends = np.concatenate([rows["END_INTEG_TIME"] for rows in images.values()]).astype(np.float64)
    sizes = np.repeat(list(images), [len(rows["TIME"]) for rows in images.values()])
    places = np.concatenate([np.arange(len(rows["TIME"])) for rows in images.values()])
    order = np.argsort(ends, kind="stable")
    is_cut = (np.diff(sizes[order]) != 0) | (np.diff(ends[order]) > LONGEST_GAP_S)
    for run in np.split(order, np.flatnonzero(is_cut) + 1):
        size = int(sizes[run[0]])
        yield size, {name: values[places[run]] for name, values in images[size].items()}
