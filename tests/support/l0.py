"""Level-0 image files built to the laws of aca-archive 2.2 to 2.5, every value known.

The grid: row of VCDU counter ``BASE_COUNTER + frame`` ends its integration at
``BASE_TIME + 0.25625 * frame``. Pixel (r, c) of that row has the raw value
``(7 * counter + 8 * r + c) % 1024``; scale 64, so DN = 2 * raw - 50.
"""

from __future__ import annotations

import functools
import gzip
import io
import shutil

import numpy as np
from astropy.io import fits

from acaflow import storage
from acaflow.archive.l0_file import read_l0_file
from acaflow.archive.l0_index import L0Index, Verdict

BASE_TIME = 686_000_000.0
BASE_COUNTER = 1_000_000
MINOR_FRAME_S = 0.25625
FRAMES = {4: 4, 6: 8, 8: 16}
"""Minor frames per image, by size."""
SCALE = 64
DATE = "2019-10-01T00:00:00"

HEADER_1 = ["GLBSTAT", "COMMCNT", "COMMPROG", "IMGFID1", "IMGNUM1", "IMGFUNC1", "IMGSTAT"]
HEADER_2 = ["IMGFID2", "IMGNUM2", "IMGFUNC2"]
TEMPS = {"TEMPCCD": 263.55, "TEMPHOUS": 292.35, "TEMPPRIM": 291.15, "TEMPSEC": 295.15}
HEADER_3 = ["IMGFID3", "IMGNUM3", "IMGFUNC3", "IMGFID4", "IMGNUM4", "IMGFUNC4"]
HD3 = [f"HD3TLM{word}" for word in (62, 63, 64, 65, 66, 67, 72, 73, 74, 75, 76, 77)]


def counters(frame, rows, imgsize):
    """Return the VCDU counters of the rows, wrapped as telemetry does."""
    return (BASE_COUNTER + frame + FRAMES[imgsize] * np.arange(rows)) % 2**24


def pixels(counter, imgsize):
    """Return the images (DN) of the given counters, shape (n, imgsize, imgsize)."""
    row, col = np.mgrid[:imgsize, :imgsize]
    images = 2.0 * ((7 * np.asarray(counter)[:, None, None] + 8 * row + col) % 1024) - 50
    if imgsize == 6:
        images[:, [0, 0, -1, -1], [0, -1, 0, -1]] = 0.0
    return images


def end_times(frame, rows, imgsize):
    """Return END_INTEG_TIME (CXC s) of the rows."""
    return BASE_TIME + MINOR_FRAME_S * (frame + FRAMES[imgsize] * np.arange(rows))


def l0_values(slot, imgsize, frame, rows, integ, time_shift):
    """Return name -> (TFORM, values) of all columns of that image size, in file order."""
    counter, ends = counters(frame, rows, imgsize), end_times(frame, rows, imgsize) + time_shift
    integs = np.full(rows, integ, np.float32)
    same = functools.partial(np.full, rows)
    columns = {
        "TIME": ("D", ends - integs.astype(float) / 2),
        "QUALITY": ("J", same(0)),
        "MJF": ("J", counter // 128),
        "MNF": ("J", counter % 128),
        "END_INTEG_TIME": ("D", ends),
        "INTEG": ("E", integs),
    }
    columns |= {name: ("B", same(0)) for name in HEADER_1}
    columns |= {"COMMCNT": ("B", same(97)), "COMMPROG": ("B", same(85))}
    columns |= {"IMGNUM1": ("B", same(slot)), "IMGFUNC1": ("B", same(1))}
    columns |= {"IMGROW0": ("I", same(-12)), "IMGCOL0": ("I", same(7))}
    columns |= {"IMGSCALE": ("U", same(SCALE)), "BGDAVG": ("U", same(25))}
    if imgsize > 4:
        columns |= {name: ("B", same(0)) for name in HEADER_2}
        columns["BGDRMS"] = ("U", same(3))
        columns |= {name: ("E", same(value)) for name, value in TEMPS.items()}
        columns["BGDSTAT"] = ("B", same(255))
    if imgsize == 8:
        columns |= {name: ("B", same(0)) for name in HEADER_3}
    columns["IMGRAW"] = (f"{imgsize**2}E", pixels(counter, imgsize))
    if imgsize == 8:
        columns |= {name: ("B", same(i)) for i, name in enumerate(HD3)}
    return columns


def make_l0_file(
    folder,
    *,
    slot=0,
    imgsize=8,
    frame=0,
    rows=24,
    revision=1,
    date=DATE,
    integ=1.696,
    time_shift=0.0,
    values=None,
    drop=(),
    header=None,
    name=None,
    packed=True,
):
    """Write one level-0 file and return its path.

    Parameters
    ----------
    folder : Path
        Where; made if absent.
    frame, rows : int
        First row (minor frames after `BASE_TIME`) and number of rows.
    time_shift : float
        Added to TIME and END_INTEG_TIME (s), as reprocessing does.
    values : dict of str to array or (str, array), optional
        Columns to replace, or, with their TFORM, to add.
    drop : collection of str
        Columns to leave out.
    header : dict, optional
        Keywords of HDU 1 to replace; None removes.
    name : str, optional
        Default: the archive name of TSTART, revision and slot.
    """
    columns = l0_values(slot, imgsize, frame, rows, integ, time_shift)
    for key, value in (values or {}).items():
        columns[key] = value if isinstance(value, tuple) else (columns[key][0], value)
    step = FRAMES[imgsize]
    tstart = BASE_TIME + MINOR_FRAME_S * frame + time_shift + 1.025
    keywords = {
        "EXTNAME": "ACA_IMG0",
        "CONTENT": "ACAIMG",
        "ASCDSVER": "10.8",
        "TLMVER": "P014",
        "REVISION": revision,
        "DATE": date,
        "TSTART": tstart,
        "TSTOP": tstart + max(rows, 1) * step * MINOR_FRAME_S,
        "STARTMJF": (BASE_COUNTER + frame) % 2**24 // 128,
        "STARTMNF": (BASE_COUNTER + frame) % 128,
        "STOPMJF": (BASE_COUNTER + frame + step * rows - 1) % 2**24 // 128,
        "STOPMNF": (BASE_COUNTER + frame + step * rows - 1) % 128,
        "TIMEDEL": step * MINOR_FRAME_S,
    } | (header or {})
    packed_bytes = _fits_bytes(
        {key: column for key, column in columns.items() if key not in drop}, imgsize, keywords
    )
    if name is None:
        name = f"acaf{int(tstart):09d}N{revision:03d}_{slot}_img0.fits"
        name += ".gz" if packed else ""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(gzip.compress(packed_bytes, mtime=0) if packed else packed_bytes)
    return path


def _fits_bytes(columns, imgsize, keywords):
    table = fits.BinTableHDU.from_columns([_column(*item, imgsize) for item in columns.items()])
    for key, value in keywords.items():
        if value is not None:
            table.header[key] = value
    # A fixed comment: the same arguments give the same bytes.
    table.add_checksum(when=DATE)
    for key in {"CHECKSUM", "DATASUM"} & keywords.keys():
        table.header.pop(key)
        if keywords[key] is not None:
            table.header[key] = keywords[key]
    # Real files: valid CHECKSUM, blank DATASUM in the primary HDU.
    primary = fits.PrimaryHDU()
    primary.header["DATASUM"] = ""
    stream = io.BytesIO()
    fits.HDUList([primary, table]).writeto(stream, output_verify="ignore")
    return stream.getvalue()


def _column(name, column, imgsize):
    form, values = column
    if form == "U":
        return fits.Column(name, "I", bzero=32768, array=np.asarray(values, np.uint16))
    dim = f"({imgsize},{imgsize})" if form[:-1] == str(imgsize**2) else None
    return fits.Column(name, form, dim=dim, array=values)


def deliver(data_root, path, name=None):
    """Do what ingest does with one file, in this process; return the verdict."""
    with L0Index(data_root) as index:
        record = read_l0_file(path, name or path.name)
        verdict = index.compare(record)
        if verdict in (Verdict.NEW, Verdict.REPLACES):
            target = index.root / record.path
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.name.endswith(".gz"):
                shutil.copyfile(path, target)
            else:
                storage.gzip_file(path, target)
            index.commit(record, ([], "test", "0"))
        return verdict
