"""The ledger's tables: made by migrations, compared with what the code believes."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from acaflow.errors import ConfigError
from acaflow.runtime import ledger as statements
from acaflow.runtime.ledger import Ledger
from acaflow.runtime.schema import upgrade
from acaflow.runtime.tables import SCHEMA_VERSION, metadata
from tests.support.facts import add, change, job


@pytest.fixture
def empty(database_url):
    """A ledger without tables, on both databases."""
    made = Ledger(database_url)
    yield made
    made.engine.dispose()


def _indexes(ledger: Ledger) -> set[tuple[str, str]]:
    """Name and definition of every index of ours, without the words that databases add."""
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    if not ledger.is_sqlite:
        query = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    with ledger.look() as connection:
        return {(row[0], row[1]) for row in connection.execute(sa.text(query))}


@pytest.mark.filterwarnings("ignore:.*expression-based index")  # compared by the next test
def test_upgrade_from_nothing_gives_the_tables_of_the_code(empty):
    assert upgrade(empty) is True
    with empty.look() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        tables = set(sa.inspect(connection).get_table_names())
    assert tables == {"alembic_version", "event", "job", "attempt", "product", "process"}


def test_upgrade_from_nothing_gives_the_indexes_of_the_code(empty):
    """Alembic compares no conditions of partial indexes; their text does."""
    upgrade(empty)
    migrated = _indexes(empty)
    with empty.engine.begin() as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
    wanted = _indexes(empty)
    assert {name for name, _ in wanted} >= {"job_release", "job_lock", "job_coalesce"}
    assert {item for item in migrated if "alembic" not in item[0]} == {
        item for item in wanted if "alembic" not in item[0]
    }


def test_second_upgrade_has_nothing_to_do(empty):
    upgrade(empty)
    job_id = add(empty, "e")
    assert upgrade(empty) is False
    assert job(empty, job_id).state == "waiting"


def test_two_upgrades_at_once(empty):
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(upgrade, (empty, Ledger(empty.url.render_as_string(False)))))
    assert True in done
    empty.check_schema()


def test_upgraded_ledger_is_accepted(empty):
    upgrade(empty)
    empty.check_schema()
    with empty.look() as connection:
        found = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    assert found == SCHEMA_VERSION == "0001"


def test_empty_ledger_is_refused(empty):
    with pytest.raises(ConfigError, match=r"is empty; run: acaflow db upgrade"):
        empty.check_schema()


@pytest.mark.parametrize(
    ("version", "remedy"), [("0000", "acaflow db upgrade"), ("9999", "install a newer acaflow")]
)
def test_ledger_of_another_version_is_refused(ledger, version, remedy):
    change(ledger, "UPDATE alembic_version SET version_num = :version", version=version)
    with pytest.raises(ConfigError, match=rf"schema {version}.*needs 0001; remedy: {remedy}"):
        ledger.check_schema()
    change(ledger, "UPDATE alembic_version SET version_num = '0001'")


def test_newer_ledger_is_not_upgraded(empty):
    upgrade(empty)
    change(empty, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigError, match="install a newer acaflow"):
        upgrade(empty)


def test_unreachable_sqlite_is_refused(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'absent' / 'ledger.db'}")
    for refused in (ledger.check_schema, lambda: upgrade(ledger)):
        with pytest.raises(ConfigError, match=r"cannot be opened: .*absent.*unable to open"):
            refused()


def test_locked_sqlite_is_not_upgraded(tmp_path, monkeypatch):
    monkeypatch.setattr(statements, "BUSY_S", 0.05)
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    writer = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(ConfigError, match=r"cannot be upgraded: database is locked$"):
        upgrade(ledger)
    writer.execute("ROLLBACK")
    assert upgrade(ledger) is True
    writer.close()
    ledger.engine.dispose()


@pytest.mark.postgres
def test_absent_postgres_database_is_refused(postgres_server):
    ledger = Ledger(f"postgresql+psycopg://acaflow@/nothing?host={postgres_server.folder}")
    with pytest.raises(ConfigError, match=r'cannot be opened.*"nothing" does not exist'):
        ledger.check_schema()
