"""From dropped files to the published calibration, through every step."""

import gzip
import json
import os
import random
import time

import numpy as np
import pytest

from acaflow.archive.aca_dark import dark_cal
from acaflow.archive.aca_dark.dark_files import read_calibration, read_json
from acaflow.archive.aca_dark.info import Info, write_info
from acaflow.runtime import quarantine
from acaflow.simulate.dark_cal import simulate_archive
from acaflow.simulate.vc2 import Faults
from tests.services.dark_cal.conftest import DARK_ID, simulate

WEEK_S = 7 * 86400.0


def shuffled(paths, seed):
    paths = list(paths)
    random.Random(seed).shuffle(paths)
    return paths


def text_of(flow, task):
    return flow.newest(task).error_text


# --- The usual way ------------------------------------------------------------------------------


def test_five_replicas_in_any_order_become_one_calibration(flow, delivery):
    flow.send(shuffled(delivery.files, 1))
    assert {row.state for row in flow.jobs()} <= {"done", "skipped"}
    props = dark_cal.get_dark_cal_props(delivery.truth.replicas[0].tstart)
    assert (props["id"], props["revision"], props["quality"]) == (DARK_ID, 1, "PASS")
    assert props["report"] == "2024_apr"
    assert props["zodib"] == pytest.approx(delivery.truth.zodi / 0.0134)
    image = dark_cal.get_dark_cal_image("2024:101")
    difference = image - np.clip(delivery.truth.dark, 0, None)
    assert abs(np.median(difference)) < 0.5
    assert (flow.home.root / "www/dark_cal/2024_apr/index.html").exists()
    assert (flow.home.root / "www/dark_cal/2024_apr/dark_map.png").exists()
    listed = read_json(flow.home.root / "www/dark_cal/index.json")["calibrations"]
    assert [item["id"] for item in listed] == [DARK_ID]
    table = (flow.tree().root / "zodi.csv").read_text().splitlines()
    assert table[0] == "date,ra,dec,el,eb,sun_el,l_l0,zodib"
    assert table[1].startswith("2024:100,190.0233,53.4529,")
    assert [path.name for path in flow.home.work.iterdir()] == ["aca_dark"]
    assert list((flow.home.work / "aca_dark").iterdir()) == []


def test_the_order_of_arrival_does_not_matter(flow, delivery, tmp_path):
    flow.send(shuffled(delivery.files, 2))
    one = flow.published()
    names = ("archive", "www", "inbox", "processed", "quarantine")
    for name in names:
        (flow.home.root / name).rename(tmp_path / f"first-{name}")
    flow.home.create()
    flow.send(shuffled(delivery.files, 3), force=True)
    assert flow.published() == one


def test_the_same_files_again_change_nothing(flow, delivery):
    flow.send(delivery.files)
    before = flow.published()
    times = {path: path.stat().st_mtime_ns for path in flow.tree().published.iterdir()}
    flow.send(delivery.files)
    flow.send(delivery.files, force=True)
    assert flow.published() == before
    assert {path: path.stat().st_mtime_ns for path in flow.tree().published.iterdir()} == times
    assert {row.state for row in flow.jobs("dark_cal.receive_replica")[5:]} == {"skipped"}


def test_jobs_tell_the_whole_way(flow, delivery):
    flow.send(delivery.files)
    tasks = [row.task for row in flow.jobs() if row.subject == f"dark:{DARK_ID}"]
    assert tasks.count("dark_cal.receive_replica") == 5
    assert tasks.count("dark_cal.decode") == 5
    assert tasks.count("dark_cal.report") == 1
    assert tasks.count("dark_cal.update_index") == 1


# --- Late, missing, better ----------------------------------------------------------------------


def test_missing_replicas_are_waited_for_and_named(flow, delivery):
    flow.send([*delivery.telemetry, *delivery["VC2"][:3]])
    (gate,) = [row for row in flow.jobs("dark_cal.gate") if row.state == "waiting"]
    assert gate.not_before == pytest.approx(time.time() + 86400, abs=60)
    assert f"dark calibration {DARK_ID} waits for replicas 4, 5 of 5" in gate.error_text
    flow.send(delivery["VC2"][3:])
    assert flow.tree().published.is_dir()
    assert [row.state for row in flow.jobs("dark_cal.gate")].count("waiting") == 0


def test_telemetry_tells_how_many_replicas_there_are(flow, delivery, tmp_path):
    three = simulate(tmp_path / "three", date="2024:150", seed=1, replicas=3)
    flow.send([*three["VC2"], *three["acaf"], *three["info"]])
    assert "waits for replicas 4, 5 of 5" in text_of(flow, "dark_cal.gate")
    flow.send(three["eng_"])
    props = read_json(flow.tree("2024150").published / "properties.json")
    assert (len(props["replicas"]), props["quality"], props["complete"]) == (3, "PASS", 100.0)


def test_after_a_week_three_replicas_are_enough(flow, delivery):
    flow.send([*delivery.telemetry, *delivery["VC2"][:3]])
    for path in flow.tree().raw_files().values():
        os.utime(path, (time.time() - WEEK_S,) * 2)
    flow.ask("dark_cal.gate", dark_id=DARK_ID)
    props = dark_cal.get_dark_cal_props(f"{DARK_ID[:4]}:{DARK_ID[4:]}")
    assert props["quality"] == "WARN"
    assert [row["used"] for row in props["replicas"]] == [True, True, True, False, False]
    # The others come: a new revision, the old one is kept.
    flow.send(delivery["VC2"][3:])
    props = read_json(flow.tree().published / "properties.json")
    assert (props["revision"], props["quality"]) == (2, "PASS")
    old = read_calibration(flow.tree().root / "old" / f"{DARK_ID}-r1")
    assert old.properties["revision"] == 1
    assert props["report"] == "2024_apr"


def test_after_a_week_two_replicas_are_not_enough(flow, delivery):
    flow.send([*delivery.telemetry, *delivery["VC2"][:2]])
    for path in flow.tree().raw_files().values():
        os.utime(path, (time.time() - WEEK_S,) * 2)
    flow.ask("dark_cal.gate", dark_id=DARK_ID)
    assert not flow.tree().published.exists()
    gate = flow.newest("dark_cal.gate")
    assert (gate.state, gate.error_class) == ("dead", "QualityError")
    assert "INCOMPLETE: dark calibration 2024100 waits for replicas 3, 4, 5 of 5" in gate.error_text


@pytest.mark.parametrize("half_first", [True, False])
def test_of_two_files_of_a_replica_the_fuller_one_stays(flow, delivery, tmp_path, half_first):
    whole = delivery["Replica3"][0]
    half = tmp_path / whole.name.replace("31089", "31000")
    half.write_bytes(gzip.compress(gzip.decompress(whole.read_bytes())[:2_000_000], mtime=0))
    pair = [half, whole] if half_first else [whole, half]
    flow.send(pair)
    assert flow.tree().raw_files() == {3: flow.tree().raw / whole.name}
    kept = [entry.name for entry in quarantine.entries(flow.home)]
    assert kept == [half.name]


def test_late_telemetry_gives_times_and_temperatures(flow, delivery):
    flow.send([*delivery["VC2"], *delivery["info"]])
    report = flow.newest("dark_cal.report")
    assert (report.state, report.error_class) == ("waiting", "NotReadyError")
    assert "Q10: no CCD temperature" in report.error_text
    assert "is assembled again when header 3 of slot 6 or AACCCDPT" in report.error_text
    assert not flow.tree().published.exists()
    flow.send(delivery["eng_"])
    assert [row.state for row in flow.jobs("dark_cal.report")] == ["skipped", "done"]
    props = read_json(flow.tree().published / "properties.json")
    assert {row["ccd_temp_source"] for row in props["replicas"]} == {"AACCCDPT"}
    flow.send(delivery["acaf"])
    props = read_json(flow.tree().published / "properties.json")
    assert {row["ccd_temp_source"] for row in props["replicas"]} == {"HDR3"}
    assert props["revision"] == 2


def test_a_catalogue_that_comes_late_completes_the_calibration(flow, delivery, tmp_path):
    flow.send([*delivery["VC2"], *delivery["eng_"], *delivery["acaf"]])
    props = read_json(flow.tree().published / "properties.json")
    assert (props["zodib"], props["revision"]) == (None, 1)
    assert len((flow.tree().root / "zodi.csv").read_text().splitlines()) == 1
    flow.ask(
        "dark_cal.set_info",
        **{"dark_id": DARK_ID, "time": "2024:100", "temperature": "-5", "ra": "10", "dec": "-5"},
    )
    props = read_json(flow.tree().published / "properties.json")
    assert (props["ra"], props["revision"]) == (10.0, 2)
    assert (flow.tree().published / "info.csv").exists()


# --- Bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "2024_100_VC2_Replica1_SFDU_1"),
        (b"garbage" * 1000, "2024_100_VC2_Replica1_SFDU_1"),
        (b"\0" * 100, "2024_100_VC2_Replica1_SFDU_1"),
    ],
    ids=["empty", "garbage", "too short"],
)
def test_what_is_no_dump_is_refused_at_the_door(flow, tmp_path, content, says):
    path = tmp_path / "2024_100_VC2_Replica1_SFDU_1"
    path.write_bytes(content)
    flow.send([path])
    job = flow.newest("dark_cal.receive_replica")
    assert (job.state, job.error_class) == ("dead", "BadInput")
    assert says in job.error_text
    assert [entry.name for entry in quarantine.entries(flow.home)] == [path.name]
    assert flow.tree().raw_files() == {}


def test_a_wrong_date_in_the_name_is_refused(flow, delivery, tmp_path):
    path = tmp_path / delivery["Replica1"][0].name.replace("2024_100", "2022_069")
    path.write_bytes(delivery["Replica1"][0].read_bytes())
    flow.send([path])
    job = flow.newest("dark_cal.receive_replica")
    assert job.error_class == "BadInput"
    assert "is named after 2022:069, but was received 2024:100" in job.error_text


def test_dumps_under_a_day_that_is_not_theirs_are_told(flow, delivery, tmp_path):
    flow.send(delivery.files)
    copies = []
    for path in delivery["VC2"]:
        copies.append(tmp_path / path.name.replace("2024_100", "2024_101"))
        copies[-1].write_bytes(path.read_bytes())
    flow.send(copies)
    job = flow.newest("dark_cal.assemble")
    assert (job.state, job.error_class) == ("dead", "QualityError")
    assert "received during the calibration of 2024:100:06:00:00.000, which is 2024100" in (
        job.error_text
    )
    assert list(dark_cal.get_dark_cal_ids().values()) == [DARK_ID]


def test_the_same_dump_packed_otherwise_is_the_same(flow, delivery, tmp_path):
    flow.send(delivery.files)
    before = flow.published()
    plain = tmp_path / delivery["Replica2"][0].name.removesuffix(".gz")
    plain.write_bytes(gzip.decompress(delivery["Replica2"][0].read_bytes()))
    flow.send([plain])
    assert flow.newest("dark_cal.receive_replica").state == "skipped"
    assert flow.published() == before


def test_a_catalogue_of_another_day_is_refused(flow, delivery):
    flow.send(delivery.files)
    flow.ask(
        "dark_cal.set_info",
        **{"dark_id": DARK_ID, "time": "2021:001", "temperature": "-5", "ra": "10", "dec": "-5"},
    )
    assert "the star catalogue is of 2021:001:00:00:00.000, not of 2024100" in text_of(
        flow, "dark_cal.set_info"
    )


def test_a_wrong_info_is_refused(flow, tmp_path):
    path = tmp_path / "2024_100_info.csv"
    path.write_text("time,temperature,ra,dec\n2024:100,-5,400,0\n")
    flow.send([path])
    assert "ra 400.0 of a dark calibration is not in 0.0 to 360.0" in text_of(
        flow, "dark_cal.receive_info"
    )


def test_two_calibrations_a_day_apart_stay_apart(flow, delivery, tmp_path):
    later = simulate(tmp_path / "later", date="2024:101:20:00:00", seed=1)
    telemetry = [path for path in later.telemetry if "eng_" not in path.name]
    flow.send(shuffled([*delivery.files, *later["VC2"], *telemetry, *later["eng_"]], 4))
    for dark_id, one in ((DARK_ID, delivery), ("2024101", later)):
        props = read_json(flow.tree(dark_id).published / "properties.json")
        starts = [row["start"] for row in props["replicas"]]
        assert starts[0][:8] == f"{dark_id[:4]}:{dark_id[4:]}"
        assert props["ccd_temp"] == pytest.approx(one.truth.t_ccd, abs=0.1)
    reports = {path.name for path in (flow.home.root / "www/dark_cal").iterdir() if path.is_dir()}
    assert reports == {"2024_apr", "2024_apr_2"}


# --- Quality and people -------------------------------------------------------------------------


def test_without_telemetry_it_fails_after_a_week(flow, delivery):
    flow.send([*delivery["VC2"], *delivery["info"]])
    for path in flow.tree().raw_files().values():
        os.utime(path, (time.time() - WEEK_S,) * 2)
    flow.ask("dark_cal.report", dark_id=DARK_ID)
    report = flow.newest("dark_cal.report")
    assert (report.state, report.error_class) == ("dead", "QualityError")


@pytest.fixture
def failing(tmp_path):
    """A calibration of which only two replicas can be used."""
    cut = Faults(truncate_at=2_000_000)
    return simulate(tmp_path / "failing" / "files", faults={1: cut, 2: cut, 3: cut}, fill=0.0)


def test_what_fails_is_inspectable_and_published_only_by_force(flow, failing):
    flow.send(failing.files)
    report = flow.newest("dark_cal.report")
    assert (report.state, report.error_class) == ("dead", "QualityError")
    assert "Q1" in report.error_text and "--force" in report.error_text
    assert not flow.tree().published.exists()
    assert (flow.tree().staged / "report" / "index.html").exists()
    staged = read_calibration(flow.tree().staged)
    assert staged.quality["level"] == "FAIL"
    flow.ask("dark_cal.process", dark_id=DARK_ID, force="yes")
    assert "needs a reason" in text_of(flow, "dark_cal.process")
    flow.ask("dark_cal.process", dark_id=DARK_ID, force="yes", reason="last chance")
    found = read_calibration(flow.tree().published)
    assert found.properties["quality"] == "WARN"
    assert found.quality["forced"] == {"user": "kim", "reason": "last chance"}
    assert {x["level"] for x in found.quality["findings"] if x["rule"] == "Q1"} == {"FAIL"}
    assert not flow.tree().staged.exists()


def test_a_person_does_not_skip_the_waiting_without_force(flow, delivery):
    flow.send([*delivery.telemetry, *delivery["VC2"][:3]])
    flow.ask("dark_cal.process", dark_id=DARK_ID)
    assert "waits for replicas 4, 5 of 5" in text_of(flow, "dark_cal.process")
    assert not flow.tree().published.exists()
    flow.ask("dark_cal.process", dark_id=DARK_ID, force="yes", reason="they will not come")
    assert read_json(flow.tree().published / "properties.json")["quality"] == "WARN"


def test_a_damaged_decoded_copy_is_made_again(flow, delivery, tmp_path):
    flow.send([*delivery["VC2"], *delivery["eng_"], *delivery["acaf"]])
    flow.tree().decoded(2).write_bytes(b"")
    flow.send(delivery["info"])
    assert read_json(flow.tree().published / "properties.json")["revision"] == 2


def test_other_parameters_need_force_and_stay(flow, delivery):
    flow.send(delivery.files)
    flow.ask("dark_cal.process", dark_id=DARK_ID, combine="clipmean")
    assert "force replaces it" in text_of(flow, "dark_cal.process")
    values = {"combine": "clipmean", "gain": "5,5,5,5.1", "force": "yes", "reason": "less noise"}
    flow.ask("dark_cal.process", dark_id=DARK_ID, **values)
    props = read_json(flow.tree().published / "properties.json")
    assert (props["revision"], props["combine"], props["gain"]["D"]) == (2, "clipmean", 5.1)
    # Late information does not bring the defaults back.
    other = Info("2024:100", -5.0, 20.0, 10.0)
    path = flow.home.root / "2024_100_info.csv"
    write_info(other, path)
    flow.send([path])
    props = read_json(flow.tree().published / "properties.json")
    assert (props["revision"], props["combine"], props["ra"]) == (3, "clipmean", 20.0)


def test_report_and_index_can_be_renewed(flow, delivery):
    flow.send(delivery.files)
    before = flow.published()
    page = flow.tree().report("2024_apr") / "index.html"
    page.write_text("spoiled")
    (flow.home.root / "www/dark_cal/index.html").unlink()
    flow.ask("dark_cal.report", dark_id=DARK_ID)
    assert flow.published() == before


def test_decoded_copies_and_work_can_be_deleted(flow, failing):
    flow.send(failing.files)
    for path in (flow.tree().l0, flow.home.work / "aca_dark"):
        path.rename(flow.home.root / f"gone-{path.name}")
    flow.ask("dark_cal.process", dark_id=DARK_ID, force="yes", reason="again")
    assert flow.tree().published.is_dir()


def test_calibrations_of_another_archive_are_taken_over(flow):
    simulate_archive(flow.home.root / "other", 3)
    for path in (flow.home.root / "other").rglob("properties.json"):
        props = json.loads(path.read_text())
        path.write_text(json.dumps({k: props[k] for k in ("id", "date", "ccd_temp", "zodib")}))
    flow.ask("dark_cal.import_folder", path="other")
    ids = list(dark_cal.get_dark_cal_ids().values())
    assert ids == ["1999223", "2012040", "2024223"]
    props = dark_cal.get_dark_cal_props("1999:223")
    assert props["stats"]["n100"] == pytest.approx(3451, rel=0.1)  # dark-cal E4
    flow.ask("dark_cal.import_folder", path="other")
    assert "no calibration of the folder is new" in text_of(flow, "dark_cal.import_folder")
    assert (flow.tree("1999223").report("1999_aug") / "index.html").exists()
    listed = read_json(flow.home.root / "www/dark_cal/index.json")["calibrations"]
    assert [item["link"] for item in listed] == [
        "2024_aug/index.html",
        "2012_feb/index.html",
        "1999_aug/index.html",
    ]


def test_import_leaves_out_what_is_no_calibration(flow):
    ids = simulate_archive(flow.home.root / "other", 3)
    (flow.home.root / "other" / ids[0]).rename(flow.home.root / "other" / "2000001")
    image = flow.home.root / "other" / ids[1] / "image.fits"
    image.write_bytes(image.read_bytes()[:1_000_000])
    flow.ask("dark_cal.import_folder", path="other")
    assert list(dark_cal.get_dark_cal_ids().values()) == [ids[2]]


def test_a_stray_folder_does_not_stop_the_others(flow, delivery):
    (flow.tree().root / "2001001").mkdir(parents=True)
    flow.send(delivery.files)
    assert flow.tree().published.is_dir()
    assert flow.newest("dark_cal.update_index").state == "done"


def test_the_one_before_may_come_later(flow, delivery, tmp_path):
    before = simulate(tmp_path / "before", date="2024:050", seed=1)
    flow.send(delivery.files)
    flow.send(before.files)
    props = read_json(flow.tree().published / "properties.json")
    assert props["previous"]["id"] == "2024050"
    assert props["revision"] == 2
    summary = (flow.tree().report("2024_apr") / "index.html").read_text()
    assert "2024050" in summary
    assert read_json(flow.tree("2024050").published / "properties.json")["revision"] == 1
