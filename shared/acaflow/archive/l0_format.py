"""What ACA level-0 image files hold: image sizes, clock, columns (aca-archive 2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = [
    "CADENCE_S",
    "COLUMNS",
    "COUNTERS",
    "DEFAULT_WORDS",
    "FRAME_STEP",
    "HEADER3_COLUMNS",
    "IMGSIZES",
    "KELVIN",
    "L0_COLUMNS",
    "MAJOR_FRAME",
    "MINOR_FRAME_S",
    "PACKET_S",
    "SLOTS",
    "TEMPERATURES",
    "L0Column",
]

SLOTS = range(8)
IMGSIZES = (4, 6, 8)
"""Edges of images (pixels)."""

MAJOR_FRAME = 128
"""Minor frames in a major frame."""
COUNTERS = 1 << 24
"""The VCDU counter starts again after this many minor frames (49.76 days)."""
MINOR_FRAME_S = 0.25625
"""Nominal time of a minor frame (s)."""
FRAME_STEP = {4: 4, 6: 8, 8: 16}
"""Minor frames from one image to the next, by image size."""
CADENCE_S = {size: step * MINOR_FRAME_S for size, step in FRAME_STEP.items()}
"""Nominal time from one image to the next, by image size (s; TIMEDEL): 1.025, 2.05, 4.1."""
PACKET_S = CADENCE_S[4]
"""Nominal time of an image packet, four minor frames (s)."""

KELVIN = 273.15
"""0 degC in kelvin, the unit of temperatures in files."""
TEMPERATURES = ("TEMPCCD", "TEMPHOUS", "TEMPPRIM", "TEMPSEC")


@dataclass(frozen=True)
class L0Column:
    """A column of the image table.

    Attributes
    ----------
    name : str
        As in files.
    tform : str
        FITS format; 'image', and '1U' for 16 bits without sign, stored with an offset (TZERO).
    comment, unit : str
        As in headers.
    limits : tuple of int, optional
        Smallest and largest value that a header states.
    sizes : tuple of int
        Image sizes that have it (pixels).
    """

    name: str
    tform: str
    comment: str
    unit: str = ""
    limits: tuple[int, int] | None = None
    sizes: tuple[int, ...] = IMGSIZES


def _packet_header(number: int, sizes: tuple[int, ...]) -> list[L0Column]:
    return [
        L0Column(f"IMGFID{number}", "1B", "image type", limits=(0, 1), sizes=sizes),
        L0Column(f"IMGNUM{number}", "1B", "image number (slot)", limits=(0, 7), sizes=sizes),
        L0Column(f"IMGFUNC{number}", "1B", "image function", limits=(0, 3), sizes=sizes),
    ]


HEADER3_COLUMNS = [f"HD3TLM{kind}{word}" for kind in (6, 7) for word in range(2, 8)]
L0_COLUMNS = (
    L0Column("TIME", "1D", "middle of integration", "s"),
    L0Column("QUALITY", "1J", "0 good, 1 bad"),
    L0Column("MJF", "1J", "major frame counter", limits=(0, 131071)),
    L0Column("MNF", "1J", "minor frame counter"),
    L0Column("END_INTEG_TIME", "1D", "end of integration", "s"),
    L0Column("INTEG", "1E", "integration time", "s"),
    L0Column("PIXTLM", "4A", "pixel telemetry type"),
    L0Column("BGDTYP", "4A", "background type"),
    L0Column("GLBSTAT", "1B", "global status", limits=(0, 255)),
    L0Column("COMMCNT", "1B", "command count", limits=(0, 63)),
    L0Column("COMMPROG", "1B", "command progress", limits=(0, 63)),
    *_packet_header(1, IMGSIZES),
    L0Column("IMGSTAT", "1B", "image status", limits=(0, 255)),
    L0Column("IMGROW0", "1I", "row of lower left pixel", limits=(-511, 512)),
    L0Column("IMGCOL0", "1I", "column of lower left pixel", limits=(-511, 512)),
    L0Column("IMGSCALE", "1U", "pixel scale", limits=(0, 1023)),
    L0Column("BGDAVG", "1U", "average background", "DN"),
    *_packet_header(2, (6, 8)),
    L0Column("BGDRMS", "1U", "background RMS", "DN", sizes=(6, 8)),
    L0Column("TEMPCCD", "1E", "CCD", "K", sizes=(6, 8)),
    L0Column("TEMPHOUS", "1E", "AC housing", "K", sizes=(6, 8)),
    L0Column("TEMPPRIM", "1E", "lens cell", "K", sizes=(6, 8)),
    L0Column("TEMPSEC", "1E", "secondary mirror", "K", sizes=(6, 8)),
    L0Column("BGDSTAT", "1B", "background pixel status", limits=(0, 255), sizes=(6, 8)),
    *_packet_header(3, (8,)),
    *_packet_header(4, (8,)),
    L0Column("IMGRAW", "image", "pixels", "DN"),
    *(L0Column(name, "1B", "header 3 byte", sizes=(8,)) for name in HEADER3_COLUMNS),
)
"""All columns in the order of aca-archive 2.3."""
DEFAULT_WORDS = {"PIXTLM": "ORIG", "BGDTYP": "FLAT"}
"""Values of the columns that older files lack."""

_TYPES = {"1D": "f8", "1E": "f4", "1J": "i4", "1I": "i2", "1U": "i2", "1B": "u1", "4A": "S4"}
COLUMNS = {column.name: np.dtype(_TYPES.get(column.tform, "f4")) for column in L0_COLUMNS}
"""Types of the columns in memory, in native byte order; IMGRAW: of a pixel."""
