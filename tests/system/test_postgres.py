"""The commands of a folder of files on a PostgreSQL ledger: the same jobs, the same answers."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.l0 import make_l0_file

pytestmark = pytest.mark.postgres


@pytest.fixture
def acaflow(postgres_url, tmp_path):
    home = {"ACAFLOW_HOME": str(tmp_path / "home"), "ACAFLOW_LEDGER_URL": postgres_url}

    def run(*arguments):
        command = [sys.executable, "-m", "acaflow", *map(str, arguments)]
        return subprocess.run(
            command, env={**os.environ, **home}, capture_output=True, text=True, timeout=60
        )

    return run


def test_files_without_a_daemon(acaflow, tmp_path):
    good = make_l0_file(tmp_path, slot=3)
    text = tmp_path / "acaf686111014N001_5_img0.fits.gz"
    text.write_text("no telemetry")

    refused = acaflow("ingest", good)
    assert refused.returncode == 2 and "run: acaflow db upgrade" in refused.stderr

    assert acaflow("db", "upgrade").returncode == 0
    assert acaflow("ingest", good).returncode == 0
    assert acaflow("ingest", good).returncode == 0
    bad = acaflow("ingest", text)
    assert bad.returncode == 1 and "gzip" in bad.stderr

    jobs = json.loads(acaflow("jobs", "--json").stdout)["jobs"]
    assert sorted(job["state"] for job in jobs) == ["dead", "done", "done"]
    [entry] = json.loads(acaflow("quarantine", "--json").stdout)
    assert entry["name"] == text.name
    assert acaflow("health", "relay").returncode == 1
