"""The table and the plots over the mission, against the published reports."""

import numpy as np
import pytest
from PIL import Image

from acaflow.archive.aca_dark.dark_trend import MISSION, TREND_PLOTS, history_rows, write_trend
from tests.support.dark_calibrations import published_history


def test_rows_hold_the_published_statistics_oldest_first():
    rows = history_rows(reversed(published_history()))
    assert [row["id"] for row in rows] == [
        *("1999223", "2000326", "2002338", "2009113", "2009190", "2009279")
    ]
    last = rows[-1]
    keys = ("t_ccd", "mean", "peak", "mean_near_peak", "n100", "n200", "n2000", "n3000", "quality")
    assert [last[key] for key in keys] == [-19.0, 27.7, 6.7, 7.1, 72454, 16316, 19, 6, "PASS"]
    assert [round(row["warm"], 2) for row in rows[-3:]] == [6.26, 6.69, 6.91]
    assert rows[0]["median"] == 10.4
    assert rows[0]["n200"] is None
    assert rows[0]["warm_scaled"] is None
    assert set(last) >= {column.key for column in MISSION}


def test_rows_of_calibrations_with_few_properties():
    automatic = {"date": "2019:160", "t_ccd": -11.086, "ccd_temp": -11.086, "n_ccd_img": 5}
    classic = {"id": "2007006", "ccd_temp": -19.3, "zodib": 140.0}
    before, after = history_rows([automatic, classic])
    assert (before["id"], before["zodib"], before["warm"]) == ("2007006", 140.0, None)
    assert (after["id"], after["t_ccd"], after["quality"]) == ("2019160", -11.086, None)


def test_plots_are_there_and_the_same_again(tmp_path):
    history = published_history()
    for item in history:
        item["zodib"] = 150.0
        item["stats"]["scaled"] = {"n100": 2 * item["stats"]["n100"]}
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        assert write_trend(folder, history) == dict.fromkeys(TREND_PLOTS, "")
    assert set(TREND_PLOTS) == {"warm_frac.png", "warm_counts.png", "peak_zodi.png"}
    for name in TREND_PLOTS:
        with Image.open(one / name) as picture:
            assert picture.size == (960, 480)
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_warm_fraction_is_drawn_at_its_date_and_height(tmp_path):
    history = [
        {"id": "2001001", "stats": {"n100": 2**20 // 10}},
        {"id": "2003001", "stats": {"n100": 2**20 // 5}},
    ]
    write_trend(tmp_path, history)
    with Image.open(tmp_path / "warm_frac.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    rows, columns = np.nonzero((np.abs(pixels - (10, 92, 176)) <= 3).all(axis=-1))
    inside = columns < 765
    # years 2001 to 2004 from 60 to 765; zero at 435
    left, right = columns[inside].min() + 4.5, columns[inside].max() - 4.5
    assert left == pytest.approx(60, abs=2)
    assert right == pytest.approx(60 + 705 * 2 / 3, abs=2)
    low, high = rows[inside].max() - 4.5, rows[inside].min() + 4.5
    assert (435 - high) / (435 - low) == pytest.approx(2, abs=0.05)


def test_nothing_to_draw_says_so(tmp_path):
    reasons = write_trend(tmp_path, [{"id": "2007006", "ccd_temp": -19.0}])
    assert reasons == {
        "warm_frac.png": "No calibration has statistics yet.",
        "warm_counts.png": "No calibration has statistics yet.",
        "peak_zodi.png": "No calibration has both a peak and a zodiacal brightness yet.",
    }
    assert not list(tmp_path.iterdir())
