"""Settings: four sources, the later wins; whatever is wrong is named at once."""

from __future__ import annotations

from pathlib import Path

import pydantic
import pytest

from acaflow import config
from acaflow.errors import ConfigError


def test_defaults_are_good_for_a_laptop():
    settings = config.load()
    assert settings.home == Path("acaflow-data")
    assert (settings.web_host, settings.web_port) == ("127.0.0.1", 8765)
    assert (settings.sqlite_synchronous, settings.watch_mode) == ("FULL", "auto")
    assert (settings.settle_s, settings.retention_days) == (5.0, 180.0)


def test_later_source_wins(tmp_path, monkeypatch):
    """Defaults, TOML file, secrets folder, environment, command line."""
    names = ("web_host", "log_format", "ledger_url", "processed")
    toml = tmp_path / "acaflow.toml"
    toml.write_text(
        'web_host = "toml"\nlog_format = "json"\nledger_url = "toml"\nprocessed = "delete"\n'
    )
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "acaflow_ledger_url").write_text("postgresql://secret\n")
    (secrets / "acaflow_web_host").write_text("secret")
    monkeypatch.setenv("ACAFLOW_CONFIG", str(toml))
    monkeypatch.setenv("ACAFLOW_SECRETS_DIR", str(secrets))
    monkeypatch.setenv("ACAFLOW_WEB_HOST", "environment")
    monkeypatch.setenv("ACAFLOW_PROCESSED", "keep")
    settings = config.load(processed="delete")
    assert [getattr(settings, name) for name in names] == [
        "environment",
        "json",
        "postgresql://secret",
        "delete",
    ]
    assert config.load().processed == "keep"


def test_every_problem_is_named_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("ACAFLOW_HOMME", "x")
    monkeypatch.setenv("ACAFLOW_WEB_PORT", "70000")
    monkeypatch.setenv("ACAFLOW_SETTLE_S", "0")
    monkeypatch.setenv("ACAFLOW_SECRETS_DIR", str(tmp_path / "absent"))
    with pytest.raises(ConfigError) as caught:
        config.load()
    message = str(caught.value)
    assert "ACAFLOW_HOMME is not a setting; known: dark_combine, " in message
    assert ", home, ledger_url, " in message
    assert "setting web_port = '70000': " in message
    assert "setting settle_s = '0': " in message
    assert f"ACAFLOW_SECRETS_DIR={tmp_path / 'absent'} is not a folder" in message


def test_variables_of_other_things_are_no_settings(monkeypatch):
    monkeypatch.setenv("ACAFLOW_FAULT", "after_commit:2")
    monkeypatch.setenv("ACAFLOW_REAL_DATA", "/data")
    assert config.load() == config.Settings()


def test_unknown_name_in_the_toml_file(tmp_path, monkeypatch):
    path = tmp_path / "acaflow.toml"
    path.write_text("webport = 1\n")
    monkeypatch.setenv("ACAFLOW_CONFIG", str(path))
    with pytest.raises(ConfigError, match=r"setting webport = 1: "):
        config.load()


def test_unusable_toml_file(tmp_path, monkeypatch):
    path = tmp_path / "acaflow.toml"
    monkeypatch.setenv("ACAFLOW_CONFIG", str(path))
    with pytest.raises(ConfigError, match=r"acaflow\.toml: No such file"):
        config.load()
    path.write_text("web_port = \n")
    with pytest.raises(ConfigError, match=r"acaflow\.toml is not valid TOML: .*line 1"):
        config.load()


def test_ledger_lies_in_the_home_unless_told(tmp_path):
    assert config.load(home=tmp_path).database_url == f"sqlite:///{tmp_path}/state/ledger.db"
    assert config.load(ledger_url="postgresql://h/d").database_url == "postgresql://h/d"


def test_relative_home_gives_an_absolute_database(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config.load().database_url == f"sqlite:///{tmp_path}/acaflow-data/state/ledger.db"


def test_settings_do_not_change():
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        config.load().web_port = 1


def test_process_reads_its_settings_once(monkeypatch):
    monkeypatch.setattr(config, "_current", None)
    monkeypatch.setenv("ACAFLOW_WEB_PORT", "1111")
    first = config.current()
    monkeypatch.setenv("ACAFLOW_WEB_PORT", "2222")
    assert config.current() is first and first.web_port == 1111
    assert config.use(config.load()).web_port == 2222
    assert config.current().web_port == 2222


def test_home_fixture_is_this_process_home(home):
    assert config.current().home == home.root
    assert home.taken.is_dir()
