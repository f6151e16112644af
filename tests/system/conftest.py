"""Systems of real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from acaflow import config
from tests.support import servers
from tests.support.live import System, open_system


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    """An empty home on a Redis that keeps its data, as `acaflow up` starts it."""
    monkeypatch.setattr(config, "_current", None)
    durable = ("--appendonly", "yes", "--appendfsync", "everysec")
    with (
        servers.redis_server(*durable) as redis,
        open_system(tmp_path / "home", redis, ACAFLOW_SETTLE_S="1") as made,
    ):
        yield made
