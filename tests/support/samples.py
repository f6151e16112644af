"""Files of engineering samples, delivered or archived."""

from __future__ import annotations

import gzip

import numpy as np

from acaflow.paths import SamplesName
from acaflow.telemetry.samples import stored_path

MAJOR_FRAME_S = 32.8


def content(times, values):
    """Return the bytes of a file."""
    lines = [f"{time!r},{value}\n" for time, value in zip(times, values, strict=True)]
    return gzip.compress("".join(["time,value\n", *lines]).encode(), mtime=0)


def archive_samples(archive, msid, times, values):
    """Put samples into an archive as one file; return its path."""
    times = np.asarray(times, dtype=float).tolist()
    path = archive / stored_path(SamplesName(msid, int(times[0]), int(times[-1])))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content(times, np.asarray(values).tolist()))
    return path


def archive_states(archive, times, on):
    """Put CIUMACAC into an archive: ON within the intervals `on`, blank-padded as telemetered."""
    times = np.asarray(times, dtype=float)
    is_on = np.zeros(len(times), bool)
    for start, stop in on:
        is_on |= (times > start) & (times < stop)
    return archive_samples(archive, "CIUMACAC", times, np.where(is_on, "ON ", "OFF"))
