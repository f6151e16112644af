"""The documented functions that bring the archive of dark calibrations up to date."""

import os
import subprocess
import sys

import numpy as np
import pytest

from acaflow import times
from acaflow.archive.aca_dark import update_aca_dark
from acaflow.archive.aca_dark.update_aca_dark import get_ccd_temp, get_dark_cal_id, get_zodi_props
from acaflow.errors import InputError, MissingDataError, PipelineError, TimeFormatError
from tests.support.samples import archive_samples, archive_states

ZODI = """date,ra,dec,el,eb,sun_el,l_l0,zodib
2009:113,10.5,-20.25,0.5,-22.5,33.0,-32.5,150
2009:279,348.171053,16.458665,355.5,19.75,193.5,162.0,112.5
"""


# --- get_ccd_temp


def test_ccd_temp_of_the_configured_home(home):
    middle = times.secs("2020:100")
    x = 32.8 * np.arange(-200, 200)
    archive_samples(home.archive, "AACCCDPT", middle + x, -6.5 + 1e-5 * x)
    degc, source = get_ccd_temp(middle - 900, middle + 900)
    assert (degc, source) == (pytest.approx(-6.5, abs=1e-9), "AACCCDPT")
    assert get_ccd_temp(5e7, 5e7 + 900) == (-10.0, "GUESS")


def test_ccd_temp_of_another_archive(home, tmp_path):
    with pytest.raises(MissingDataError, match="Unable to determine CCD temperature"):
        get_ccd_temp(7e8, 7e8 + 900, data_root=tmp_path)


# --- get_zodi_props


def test_zodi_props(home):
    (home.archive / "aca_dark").mkdir()
    (home.archive / "aca_dark" / "zodi.csv").write_text(ZODI)
    assert get_zodi_props("2009279") == {
        "date": "2009:279",
        "ra": 348.171053,
        "dec": 16.458665,
        "el": 355.5,
        "eb": 19.75,
        "sun_el": 193.5,
        "l_l0": 162.0,
        "zodib": 112.5,
    }
    assert get_zodi_props("2009113", data_root=home.archive)["zodib"] == 150.0
    with pytest.raises(MissingDataError, match=r"^No Zodiacal properties found for 2009:280"):
        get_zodi_props("2009280")


def test_zodi_props_without_a_table(home):
    with pytest.raises(
        MissingDataError, match=r"^No Zodiacal .* 2009:279 in .*aca_dark/zodi\.csv$"
    ):
        get_zodi_props("2009279")


# --- get_dark_cal_id


@pytest.fixture
def raw(home):
    """Make folders of raw files."""

    def make(*names):
        for name in names:
            (home.archive / "aca_dark" / "raw" / name).mkdir(parents=True)

    return make


def test_exact_day_then_before_then_after(raw):
    raw("2009281", "junk", "20092790")
    assert get_dark_cal_id("2009:280:00:10:00") == "2009281"
    raw("2009279")
    assert get_dark_cal_id("2009:280:00:10:00") == "2009279"
    raw("2009280")
    assert get_dark_cal_id(times.secs("2009:280:00:10:00")) == "2009280"


def test_no_raw_files(raw):
    for name in ("2009282", "2009278"):
        with pytest.raises(MissingDataError, match="No dark calibration directory for 2009:280:"):
            get_dark_cal_id("2009:280:00:10:00")
        raw(name)


def test_id_that_belongs_to_another_event(home, raw):
    """The calibration of 279 owns its id; the one that starts a day later must not take it."""
    first, second = times.secs("2009:279:01:00:00"), times.secs("2009:280:12:00:00")
    time = np.arange(first - 86400.0, second + 3 * 86400.0, 32.8)
    archive_states(home.archive, time, [(first, first + 9000), (second, second + 9000)])
    raw("2009279")
    assert get_dark_cal_id(first + 60) == "2009279"
    with pytest.raises(MissingDataError, match="2009279 belongs to another calibration"):
        get_dark_cal_id(second + 60)
    raw("2009280")
    assert get_dark_cal_id(second + 60) == "2009280"


# --- main


@pytest.fixture
def child(tmp_path, monkeypatch):
    """A program in the place of Python: notes its arguments and ends with STATUS."""
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "$ARGUMENTS"\nexit "${STATUS:-0}"\n')
    program.chmod(0o755)
    arguments = tmp_path / "arguments"
    monkeypatch.setenv("ARGUMENTS", str(arguments))
    monkeypatch.setenv("CXOTIME_NOW", "2020:100:12:00:00")
    monkeypatch.setattr(sys, "executable", str(program))
    return lambda: arguments.read_text().splitlines()


def test_main_processes_the_last_30_days(home, child):
    assert update_aca_dark.main([]) is None
    command = ["-m", "acaflow", "dark-cal", "process", "--start", "2020:070:12:00:00.000"]
    assert child() == [*command, "--home", str(home.root), "--verbose"]


def test_main_with_options(home, child, tmp_path):
    options = ["--start", "2007-01-01", "--log-level", "30"]
    update_aca_dark.main([*options, "--data-root", str(tmp_path / "other" / "archive")])
    command = ["-m", "acaflow", "dark-cal", "process", "--start", "2007:001:00:00:00.000"]
    assert child() == [*command, "--home", str(tmp_path / "other")]


def test_main_when_the_command_fails(home, child, monkeypatch):
    monkeypatch.setenv("STATUS", "3")
    message = r"acaflow dark-cal process --start 2007:001:00:00:00\.000 ended with status 3"
    with pytest.raises(PipelineError, match=message):
        update_aca_dark.main(["--start", "2007:001"])


def test_main_starts_nothing_for_wrong_options(home, child, tmp_path):
    with pytest.raises(TimeFormatError):
        update_aca_dark.main(["--start", "soon"])
    with pytest.raises(InputError, match="is not the folder archive of a home"):
        update_aca_dark.main(["--data-root", str(tmp_path)])
    with pytest.raises(SystemExit):
        update_aca_dark.main(["--unknown"])
    assert not (tmp_path / "arguments").exists()


def test_a_notebook_loads_no_queue():
    code = (
        "import sys, acaflow.archive.aca_dark.update_aca_dark\n"
        "print(*{'celery', 'redis', 'flask', 'scipy', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True
    )
    assert done.stdout == "\n"
