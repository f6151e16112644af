"""Create the ledger's tables and bring them up to date."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from acaflow.errors import ConfigError, StorageBusyError
from acaflow.runtime.ledger import Ledger
from acaflow.runtime.tables import SCHEMA_VERSION

__all__ = ["upgrade"]

_ADVISORY_LOCK = 7_238_611
"""Any fixed number: PostgreSQL's lock that keeps two upgrades apart."""


def upgrade(ledger: Ledger) -> bool:
    """Bring the ledger to `SCHEMA_VERSION`; tell whether anything was to do.

    Raises
    ------
    ConfigError
        The ledger is newer than this acaflow, or cannot be opened.
    """
    try:
        ledger.check_schema()
        return False
    except ConfigError as err:
        if "is empty" not in str(err) and "acaflow db upgrade" not in str(err):
            raise
    # Half a second of imports that no process pays whose ledger is up to date.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option(
        "script_location", str(Path(__file__).parent / "migrations").replace("%", "%%")
    )
    try:
        with ledger.engine.begin() as connection:
            if not ledger.is_sqlite:
                connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
            config.attributes["connection"] = connection
            command.upgrade(config, SCHEMA_VERSION)
    except (sa.exc.OperationalError, StorageBusyError) as err:
        why = getattr(err, "orig", err.__cause__)
        raise ConfigError(f"ledger {ledger.describe()} cannot be upgraded: {why}") from err
    return True
