"""The README's tables say what the code does, and importing costs what it promises."""

import re
import subprocess
import sys
from pathlib import Path

from acaflow.cli import root
from acaflow.config import Settings

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def table(heading):
    """Return the rows of the table below a heading, cells stripped of spaces and back quotes."""
    section = README.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| `")]
    return [tuple(cell.strip().strip("`") for cell in row) for row in rows]


def test_settings_table_is_the_model():
    model = [
        (name, "" if field.default == "" else str(field.default), field.description)
        for name, field in Settings.model_fields.items()
    ]
    assert table("Settings") == model


def test_command_table_names_every_command():
    named = {re.fullmatch(r"acaflow ([\w-]+)", row[0])[1] for row in table("Commands")}
    assert named == set(root.commands)


def loaded_after(statement):
    program = f"import sys; {statement}; print(' '.join(sorted(sys.modules)))"
    return set(subprocess.check_output([sys.executable, "-c", program], text=True).split())


def test_importing_acaflow_imports_nothing_else():
    assert not loaded_after("import acaflow") & {"numpy", "astropy", "pydantic", "sqlalchemy"}


def test_a_notebook_loads_no_queue_and_no_web_framework():
    loaded = loaded_after("import acaflow.archive.aca_l0, acaflow.simulate.aca_l0, acaflow.config")
    assert not loaded & {"celery", "kombu", "redis", "flask", "sqlalchemy", "watchdog"}
