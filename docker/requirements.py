"""Print what the image installs beside acaflow itself, one requirement a line.

``requirements.py [--build] pyproject.toml``; with ``--build`` also what builds the wheel.
"""

import sys
import tomllib
from pathlib import Path

EXTRAS = ["postgres"]
"""The image serves either ledger; its Redis is another container."""


def requirements(pyproject: Path, *, build: bool) -> list[str]:
    """Return the requirements, in the order of the file."""
    read = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    project = read["project"]
    found = [*project["dependencies"]]
    for extra in EXTRAS:
        found += project["optional-dependencies"][extra]
    return found + (read["build-system"]["requires"] if build else [])


if __name__ == "__main__":
    *options, name = sys.argv[1:]
    sys.stdout.write("\n".join(requirements(Path(name), build="--build" in options)) + "\n")
