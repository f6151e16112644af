"""Settings: one frozen model, read once per process by its entry point.

Sources, later wins: defaults, the TOML file named by ``ACAFLOW_CONFIG``, a secrets folder
(``ACAFLOW_SECRETS_DIR``), environment variables ``ACAFLOW_<FIELD>``. Nothing is read at import.
"""

from __future__ import annotations

import os
import threading
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from acaflow.errors import ConfigError

__all__ = ["Settings", "current", "load", "use"]

PREFIX = "ACAFLOW_"
NOT_SETTINGS = {"ACAFLOW_CONFIG", "ACAFLOW_SECRETS_DIR", "ACAFLOW_FAULT", "ACAFLOW_REAL_DATA"}
"""Variables with our prefix that configure something else (house-style 7)."""


class Settings(BaseSettings):
    """What a person may set; every default is good for a laptop."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    home: Path = Field(default=Path("acaflow-data"), description="folder that holds everything")
    ledger_url: str = Field(default="", description="SQLAlchemy URL; empty: SQLite in <home>/state")
    sqlite_synchronous: Literal["FULL", "NORMAL"] = Field(
        default="FULL", description="NORMAL is faster, may lose the last commits on power failure"
    )
    redis_url: str = Field(
        default="", description="broker URL; empty: acaflow up starts its own Redis"
    )
    redis_server: str = Field(
        default="", description="server program for acaflow up; empty: search"
    )
    watch_mode: Literal["auto", "inotify", "poll"] = Field(
        default="auto", description="how the inbox is watched; auto polls network file systems"
    )
    settle_s: float = Field(
        default=5.0, gt=0, description="seconds a file written in place must stay unchanged"
    )
    processed: Literal["keep", "delete"] = Field(
        default="keep", description="what happens to delivered files after their jobs are done"
    )
    log_format: Literal["auto", "text", "json"] = Field(
        default="auto", description="auto: text on a terminal, JSON lines elsewhere"
    )
    dark_replicas: int = Field(
        default=5, ge=1, description="replicas of a dark calibration where telemetry says nothing"
    )
    dark_combine: Literal["median", "clipmean"] = Field(
        default="median", description="how the replicas of a dark calibration are combined"
    )
    dark_gain: str = Field(
        default="5.0", description="ACA gain, e-/DN: one number, or four for quadrants A,B,C,D"
    )
    dark_read_noise: float = Field(
        default=25.0, gt=0, description="read noise of a full CCD frame, e-"
    )
    retention_days: float = Field(
        default=180.0, gt=0, description="days until attempts and logs of finished jobs are pruned"
    )
    web_host: str = Field(default="127.0.0.1", description="address the pages listen on")
    web_port: int = Field(
        default=8765, ge=0, le=65535, description="port of the pages; 0: any free one"
    )
    secret_key: str = Field(
        default="", description="signs the form tokens; empty: made once per home"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources, the strongest first."""
        toml = InitSettingsSource(settings_cls, init_kwargs=_read_toml())
        return init_settings, env_settings, file_secret_settings, toml

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the ledger."""
        if self.ledger_url:
            return self.ledger_url
        return f"sqlite:///{self.home.expanduser().absolute() / 'state' / 'ledger.db'}"


def _read_toml() -> dict[str, Any]:
    path = os.environ.get("ACAFLOW_CONFIG")
    if not path:
        return {}
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as err:
        raise ConfigError(f"ACAFLOW_CONFIG={path}: {err.strerror}") from err
    except tomllib.TOMLDecodeError as err:
        raise ConfigError(f"ACAFLOW_CONFIG={path} is not valid TOML: {err}") from err


def load(**overrides: Any) -> Settings:
    """Read and check all sources.

    Parameters
    ----------
    **overrides
        Values that win over every source (command line options).

    Raises
    ------
    ConfigError
        Lists every unknown name and every unusable value at once.
    """
    problems = [
        f"{name} is not a setting; known: {', '.join(sorted(Settings.model_fields))}"
        for name in sorted(os.environ)
        if name.startswith(PREFIX)
        and name not in NOT_SETTINGS
        and name.removeprefix(PREFIX).lower() not in Settings.model_fields
    ]
    settings = None
    secrets: Any = os.environ.get("ACAFLOW_SECRETS_DIR")
    if secrets and not Path(secrets).is_dir():
        problems.append(f"ACAFLOW_SECRETS_DIR={secrets} is not a folder")
        secrets = None
    try:
        settings = Settings(_secrets_dir=secrets, **overrides)  # type: ignore[call-arg]
    except ValidationError as err:
        for item in err.errors():
            field = ".".join(str(part) for part in item["loc"])
            problems.append(f"setting {field} = {item.get('input')!r}: {item['msg']}")
    if problems or settings is None:
        raise ConfigError("; ".join(problems))
    return settings


_lock = threading.Lock()
_current: Settings | None = None


def current() -> Settings:
    """Return the settings of this process, read at the first call."""
    global _current
    with _lock:
        if _current is None:
            _current = load()
        return _current


def use(settings: Settings) -> Settings:
    """Make `settings` the settings of this process (entry points and tests)."""
    global _current
    with _lock:
        _current = settings
    return settings
