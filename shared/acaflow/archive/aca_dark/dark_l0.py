"""Decoded replicas as files: what `vc2` found in one raw dump, to be read again quickly.

File read and written: ``replica<N>_L0.fits.gz``, one binary table ``ACA_DUMP`` with a row per
record (dark-cal B2). Times are CXC seconds, pixels counts less bias (DN). Equal replicas give
equal bytes, so there is no time of writing inside.
"""

from __future__ import annotations

import io
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
from astropy.io import fits
from isal import igzip

from acaflow import storage, times
from acaflow.archive.aca_dark import ccd
from acaflow.archive.aca_dark.replica import Counts, Replica
from acaflow.archive.l0_fits import inflate
from acaflow.errors import CorruptFileError, SchemaError

__all__ = ["read_replica_l0", "write_replica_l0"]

NAME = "ACA_DUMP"
COLUMNS = {
    "TIME_ERT": (np.float64, "D", "s", None),
    "REC_CTR": (np.int32, "J", None, None),
    "ADC_BIAS": (np.uint16, "I", "DN", 1 << 15),
    "INTEG": (np.float32, "E", "s", None),
    "CALTYPE": (np.int16, "I", None, None),
    "REPLICA": (np.int16, "I", None, None),
    "COLNEG": (np.int16, "I", None, None),
    "ROW": (np.int16, "I", None, None),
    "SCI_HDR_CTR": (np.uint16, "I", None, 1 << 15),
    "TWO_US_CLK": (np.uint32, "J", None, 1 << 31),
}
"""Type in memory, TFORM, unit, and the offset (TZERO) by which numbers without sign are stored."""
KEYWORDS = {
    "size": "NBYTES",
    "truncated": "NTRUNC",
    "gz_error": "GZERROR",
    "frames": "NFRAMES",
    "bad_sync": "NBADSYNC",
    "other_channel": "NOTHERCH",
    "mismatched_channel": "NMISMCH",
    "fill": "NFILL",
    "pixel_frames": "NPIXFRM",
    "duplicate_frames": "NDUPFRM",
    "backward": "NBACKWRD",
    "lost": "NLOST",
    "segments": "NSEGMENT",
    "single_frame_segments": "NSINGLE",
    "parity_doubts": "NDOUBTS",
    "resyncs": "NRESYNC",
    "partial_records": "NPARTIAL",
    "filler_records": "NFILLER",
    "bad_rows": "NBADROW",
    "records": "NRECORDS",
}
"""Keywords of the fields of `Counts`."""
PACK_LEVEL = 1
"""Of isal: 0 to 3. The copy may be made again at any time, so speed counts more than size."""


def write_replica_l0(replica: Replica, path: Path) -> None:
    """Write a decoded replica; the file appears whole, one of that name is replaced.

    Parameters
    ----------
    replica : Replica
        As of `vc2.read_vc2`.
    path : Path
        ``replica<N>_L0.fits.gz``; its folder is made if absent.
    """
    bias = replica.columns["ADC_BIAS"].astype(np.int32)
    # Counts less bias reach from -65535 to 65535, which 16 bits do not hold.
    signal = replica.pixels - bias[:, None]
    columns = [
        fits.Column(name, form, unit=unit, bzero=zero, array=replica.columns[name])
        for name, (_, form, unit, zero) in COLUMNS.items()
    ]
    columns.append(fits.Column("PIXDATA", f"{ccd.HALF}J", unit="DN", array=signal))
    table = fits.BinTableHDU.from_columns(columns, header=_header(replica), name=NAME)
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(stream)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with storage.translated(path):
        storage.make_dirs(path.parent)
        part.write_bytes(igzip.compress(stream.getbuffer(), PACK_LEVEL, mtime=0))
        storage.place(part, path)


def _header(replica: Replica) -> fits.Header:
    start, stop = replica.ert
    end = times.convert(stop, "fits")
    cards = [
        ("TELESCOP", "CHANDRA", "telescope"),
        ("INSTRUME", "PCAD", "instrument"),
        ("TLM_FMT", 0, "telemetry format: ACA calibration dump"),
        ("TIMESYS", "TT", "time system"),
        ("MJDREF", 50814.0, "MJD of time zero"),
        ("TIMEUNIT", "s", "unit of times"),
        ("DATE", end, "that of the data, for equal bytes"),
        ("DATE-OBS", times.convert(start, "fits"), "first earth receive time (TT)"),
        ("DATE-END", end, "last earth receive time (TT)"),
        ("TSTART", start, "first earth receive time (s)"),
        ("TSTOP", stop, "last earth receive time (s)"),
        ("RAWFILE", replica.name, "raw dump"),
        ("REPNUM", replica.number, "replica number of its name"),
    ]
    counts = [
        (KEYWORDS[name], value, name.replace("_", " "))
        for name, value in asdict(replica.counts).items()
    ]
    return fits.Header(cards + counts)


def read_replica_l0(path: Path) -> Replica:
    """Read a decoded replica.

    Parameters
    ----------
    path : Path
        A file that `write_replica_l0` wrote.

    Returns
    -------
    Replica
        Equal to the one that was written.

    Raises
    ------
    CorruptFileError
        Damaged gzip stream, or no FITS file.
    SchemaError
        Another FITS file: table, column or keyword missing.
    """
    path = Path(path)
    buffer = inflate(path)
    try:
        with fits.open(io.BytesIO(buffer), memmap=False) as hdus:
            table = hdus[NAME]
            rows, header = table.data, table.header
            columns = {
                name: np.asarray(rows[name]).astype(dtype) for name, (dtype, *_) in COLUMNS.items()
            }
            pixels = rows["PIXDATA"] + columns["ADC_BIAS"][:, None].astype(np.int32)
            return Replica(
                name=header["RAWFILE"],
                number=header["REPNUM"],
                columns=columns,
                pixels=pixels.astype(np.uint16),
                counts=Counts(**{name: header[key] for name, key in KEYWORDS.items()}),
                ert=(header["TSTART"], header["TSTOP"]),
            )
    except KeyError as err:
        raise SchemaError(f"{path.name} is no decoded replica: {err.args[0]}", path) from err
    except (OSError, TypeError, ValueError, fits.VerifyError) as err:
        raise CorruptFileError(f"{path.name} is no readable FITS file ({err})", path) from err
