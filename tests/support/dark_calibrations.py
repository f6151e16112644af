"""Calibrations with plausible content, made in memory: for plots, reports and pages."""

from __future__ import annotations

from functools import cache

import numpy as np

from acaflow.archive.aca_dark.combine import FILLED, MISSING
from acaflow.archive.aca_dark.dark_files import Calibration
from acaflow.archive.aca_dark.dark_model import dark_temp_scale
from acaflow.archive.aca_dark.dark_stats import compute_stats

PUBLISHED = (
    # id, T_CCD, mean, peak, median, mean near peak, N > 100, 200, 2000, 3000 (dark-cal D2)
    ("1999223", -10.0, 11.9, 10.3, 10.4, 10.2, 3495, None, None, 3),
    ("2000326", -10.0, 22.2, 11.5, 12.0, 11.8, 34346, None, None, 10),
    ("2002338", -10.0, 31.7, 11.9, None, 13.6, 66850, None, None, 21),
    ("2009113", -19.0, 25.7, 6.3, None, 6.8, 65623, 14335, 16, 4),
    ("2009190", -19.0, 27.7, 7.5, None, 7.9, 70139, 15533, 20, 5),
    ("2009279", -19.0, 27.7, 6.7, None, 7.1, 72454, 16316, 19, 6),
)


def published_history():
    """Return properties with the statistics of the real reports."""
    names = ("mean", "peak", "median", "mean_near_peak", "n100", "n200", "n2000", "n3000")
    return [
        {
            "id": dark_id,
            "ccd_temp": t_ccd,
            "quality": "WARN" if dark_id == "2009113" else "PASS",
            "stats": dict(zip(names, stats, strict=True)),
        }
        for dark_id, t_ccd, *stats in PUBLISHED
    ]


def make_image(seed=1, t_ccd=-19.0, warm=300_000, quantum=1.0016):
    """Return an image with a cool peak, a warm tail, noise, on the grid of `quantum`."""
    image = _ccd(warm) * np.float32(dark_temp_scale(-19.0, t_ccd))
    image += 4 * np.random.default_rng(seed).standard_normal(image.shape, np.float32)
    return np.rint(image / np.float32(quantum)) * np.float32(quantum)


@cache
def _ccd(warm):
    rng = np.random.default_rng(1)
    image = rng.lognormal(np.log(6.0), 0.25, (1024, 1024)).astype(np.float32)
    where = rng.permutation(image.size)[:warm]
    # Evenly over the decades up to 120 e-/s, then a power law.
    bright = np.where(rng.random(warm) < 0.84, 120 * 0.017 ** rng.random(warm), 0)
    bright[bright == 0] = 120.0 * rng.random((bright == 0).sum()) ** (-1 / 2.3)
    image.ravel()[where] += bright
    return image


def make_calibration(dark_id="2009279", t_ccd=-19.0, image=None, missing=(), **more):
    """Return a calibration of five replicas; `missing` are (row, column) of the CCD."""
    image = make_image(int(dark_id), t_ccd) if image is None else image
    sigma = np.hypot(3.8, np.sqrt(image.clip(0) * 15) * 0.5356 / 5).astype(np.float32)
    mask = np.zeros(image.shape, np.int16)
    nsamp = np.full(image.shape, 5, np.uint8)
    for row, column in missing:
        here = row + 512, column + 512
        mask[here], sigma[here], nsamp[here] = MISSING | FILLED, np.nan, 0
    factor = float(dark_temp_scale(t_ccd, -15.0))
    stats = compute_stats(image, mask, 1.0016)
    stats["scaled"] = compute_stats(image * np.float32(factor), mask, 1.0016 * factor)
    stats |= {"zodi_level": 1.8626, "n_cosmic": 15_000, "quantum": 1.0016}
    names = ("mean", "median", "peak", "mean_near_peak")
    stats["intrinsic"] = {name: stats[name] - 1.8626 for name in names}
    year, day = dark_id[:4], dark_id[4:]
    replicas = [
        {
            "count": count,
            "ccd_temp": round(t_ccd + 0.01 * (count - 3), 2),
            "ccd_temp_source": "HDR3",
            "start": f"{year}:{day}:{8 + count:02d}:14:22.000",
            "stop": f"{year}:{day}:{8 + count:02d}:34:52.500",
            "times_source": "CIUMACAC",
            "downlink": True,
            "attitude": {"ra": 291.3071, "dec": -6.1042, "roll": None} if count == 1 else None,
            "n_rows": 4096,
            "used": True,
            "file": f"{year}_{day}_VC2_Replica{count}_SFDU_3108{count}",
            "size": 37_731_582,
            "frames": 33_273,
            "pixel_frames": 4_258,
            "lost_percent": 0.0,
        }
        for count in range(1, 6)
    ]
    properties = {
        "id": dark_id,
        "start": replicas[0]["start"],
        "stop": replicas[-1]["stop"],
        "ccd_temp": t_ccd,
        "replicas": replicas,
        "date": f"{year}:{day}",
        "ra": 291.3071,
        "dec": -6.1042,
        "el": 292.9,
        "eb": 15.52,
        "sun_el": 193.1,
        "l_l0": 99.8,
        "zodib": 139.0,
        "quality": "PASS",
        "complete": 100.0,
        "stats": stats,
        "integ": [5.008, 10.0],
        "gain": dict.fromkeys("ABCD", 5.0),
        "read_noise": 25.0,
        "combine": "median",
        "versions": {"acaflow": "0.1.0"},
        "inputs": [
            {
                "path": f"aca_dark/raw/{dark_id}/{item['file']}",
                "sha256": f"{item['count']}" * 64,
                "size": 5_000_000,
            }
            for item in replicas
        ],
        "revision": 1,
        "report": f"{year}_oct",
    }
    quality = {"level": "PASS", "complete": 100.0, "findings": passing(), "forced": None}
    return Calibration(image, sigma, mask, nsamp, properties | more, quality)


def passing():
    """Return the findings of a calibration without a fault."""
    rules = [(f"Q{n}", "file", count) for n in range(2, 10) for count in range(1, 6)]
    rules += [(rule, "cal", None) for rule in ("Q1", "Q10", "Q11", "Q12")]
    return [
        {
            "rule": rule,
            "scope": scope,
            "replica": replica,
            "level": "PASS",
            "value": 0.0,
            "limit": None,
            "text": f"{rule} is as it should be",
        }
        for rule, scope, replica in rules
    ]
