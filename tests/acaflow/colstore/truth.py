"""Deliveries with known content, and what a store in cut mode must show of them."""

from __future__ import annotations

import numpy as np

from acaflow.colstore import Source

STEP_S = 4.1
START = 6.8e8


def delivery(name, first, count, revision=1, filetime=None, holes=()):
    """Return a file of samples first to first + count of one grid, but for those in `holes`.

    V tells sample and revision, W is bad in every seventh sample, X is a vector, LATE exists
    from revision 2 on.
    """
    k = np.arange(first, first + count)
    for begin, end in holes:
        k = k[(k < begin) | (k >= end)]
    columns = {
        "TIME": (START + STEP_S * k).astype(">f8"),
        "V": (k * 10 + revision).astype(">i4"),
        "W": k.astype("u1"),
        "X": np.stack([k, k + 1], axis=1).astype(">f4"),
    }
    if revision > 1:
        columns["LATE"] = (k % 5).astype("i2")
    sha = f"{name}.{revision}".encode().hex()
    filetime = first if filetime is None else filetime
    return Source(name, revision, filetime, sha, columns, {"W": k % 7 == 0})


def shown(sources):
    """Return TIME and V of the visible rows: each row against every better source, one by one."""
    rows = []
    for source in sources:
        mine = (source.revision, source.filetime, source.name)
        time = source.columns["TIME"].astype(float)
        hidden = np.zeros(len(time), bool)
        for other in sources:
            if (other.revision, other.filetime, other.name) <= mine:
                continue
            stamps = other.columns["TIME"].astype(float)
            # Spans end where more than 3 periods and 60 s are missing.
            period = np.median(np.diff(stamps))
            spans = np.split(stamps, np.flatnonzero(np.diff(stamps) > max(3 * period, 60.0)) + 1)
            for span in spans:
                hidden |= (time >= span[0] - period / 2) & (time <= span[-1] + period / 2)
        rows += zip(time[~hidden].tolist(), source.columns["V"][~hidden].tolist(), strict=True)
    time, value = np.array(sorted(rows)).T
    return time, value.astype(int)


def check(rows):
    """Assert that rows of a store, of whatever moment, are whole and fit together."""
    assert (np.diff(rows.times) > 0).all()
    k = np.rint((rows.times - START) / STEP_S).astype(int)
    assert (rows.times == START + STEP_S * k).all()
    assert (rows.columns["V"] // 10 == k).all()
    assert (rows.columns["W"] == k.astype("u1")).all()
    assert (rows.columns["X"] == np.stack([k, k + 1], axis=1)).all()
    assert (rows.bads["W"] == (k % 7 == 0)).all()
    assert not rows.bads["V"].any() and not rows.bads["X"].any()
