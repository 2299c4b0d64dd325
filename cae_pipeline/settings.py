"""What one installation is told: the environment (prefix `CAE_`), read once."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from joblib import cpu_count
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from cae_pipeline.detector import Runtime
from cae_pipeline.domain.calendar import find_zone
from cae_pipeline.errors import ConfigurationError

TRACKING_SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")
"""What an address of MLflow may begin with."""


class Notifier(BaseModel):
    """One of Airflow's notifiers, and what it is made with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    notifier: str
    arguments: dict[str, Any] = {}


class Settings(BaseSettings):
    """What one installation is told. Every field is the environment variable `CAE_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix="CAE_", frozen=True, extra="ignore")

    workspace: Path = Path("workspace")
    """Folder of everything that is written at run time."""
    lines_file: Path | None = None
    """The product lines; unset: `lines.toml` in the workspace."""
    results_url: str = ""
    """SQLAlchemy URL of the results database; unset: SQLite in the workspace."""
    tracking_uri: str = ""
    """MLflow's tracking server or database; unset: SQLite in the workspace."""
    time_zone: str = "UTC"
    """The plant's time zone, an IANA name such as Europe/Berlin: nights, schedules and reports follow it."""
    settling_seconds: float = Field(default=300.0, ge=0)
    """How long a batch without manifest and marker must have been quiet to be ready."""
    max_bytes: int = Field(default=64 * 2**20, ge=1)
    """Size of an image file above which it is not decoded."""
    max_pixels: int = Field(default=64_000_000, ge=1)
    """Columns times rows above which an image is not decoded."""
    decode_timeout_seconds: float = Field(default=20.0, gt=0)
    """Wall time after which the decoding of one image is given up."""
    decode_processes: int = Field(default_factory=cpu_count, ge=1)
    """Decoding processes at once in validation; unset: one per core."""
    runtime: Runtime = "auto"
    """What runs the networks when images are scored: onnx, openvino, keras (the reference, slow to start),
    or auto: what was faster when the model was registered."""
    chunk_size: int = Field(default=4096, ge=1)
    """Images that one scoring task takes."""
    max_mapped_tasks: int = Field(default=1000, ge=1)
    """Batches, and then chunks, that one run takes on; the others wait for the next one. Airflow maps 1,024 at most,
    unless its own `core.max_map_length` says otherwise."""
    map_retention_days: int = Field(default=90, ge=1)
    """Days after which housekeeping deletes anomaly maps of images that were not flagged."""
    backup_count: int = Field(default=4, ge=1)
    """Backups of the results database that housekeeping keeps."""
    webhook_url: str = ""
    """Where alerts are posted as JSON; unset: nowhere."""
    notifiers: tuple[Notifier, ...] = ()
    """Airflow's notifiers that alerts are handed to, as JSON: [{"notifier": "module.Class", "arguments": {…}}];
    arguments may hold {{ alert.text }}, {{ alert.line }}, {{ alert.kind }}."""
    author: str = Field(default_factory=lambda: os.environ.get("USER", "cae"))
    """Who the ledger, verdicts and releases are signed by."""
    dag_run_id: str = Field(default_factory=lambda: os.environ.get("AIRFLOW_CTX_DAG_RUN_ID", ""))
    """Airflow's run that rows are written for; Airflow tells it to its tasks."""

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        find_zone(name or "UTC", where="CAE_TIME_ZONE")
        return name or "UTC"

    @field_validator("workspace", "lines_file")
    @classmethod
    def _from_home(cls, path: Path | None) -> Path | None:
        try:
            return path.expanduser() if path else path
        except RuntimeError as error:
            raise ValueError("expected a path, ~ alone for the own home folder") from error

    @field_validator("results_url", "tracking_uri")
    @classmethod
    def _file_from_home(cls, url: str) -> str:
        """Let the file of a SQLite URL begin with ~, as people write it."""
        return re.sub(r"(?<=:///)~(?=/)", lambda _: str(Path.home()), url, count=1)

    @field_validator("tracking_uri")
    @classmethod
    def _no_file_store(cls, uri: str) -> str:
        scheme, separator, _ = uri.partition("://")
        if uri and not (separator and scheme.partition("+")[0] in TRACKING_SCHEMES):
            raise ValueError(
                "expected http(s)://host:port of an MLflow server or the URL of a database such as "
                "sqlite:////folder/mlflow.db; MLflow keeps nothing in folders of files any more"
            )
        return uri

    def path(self, *parts: str) -> Path:
        """A place in the workspace."""
        return self.workspace.absolute().joinpath(*parts)

    @property
    def lines_path(self) -> Path:
        """Where the product lines are described."""
        return self.lines_file or self.path("lines.toml")

    @property
    def results_database(self) -> str:
        """URL of the results database."""
        return self.results_url or f"sqlite:///{self.path('results.db')}"

    @property
    def tracking(self) -> str:
        """URI of MLflow."""
        return self.tracking_uri or f"sqlite:///{self.path('mlflow.db')}"


def read_settings(**said: Any) -> Settings:
    """Read the environment.

    Args:
        said: Fields whose values are given instead.

    Raises:
        ConfigurationError: If a variable cannot be used; names it.
    """
    try:
        return Settings(**said)
    except ValidationError as error:
        told = "; ".join(
            f"CAE_{str(e['loc'][0]).upper()}: {e['msg'].removeprefix('Value error, ')}, "
            f"received {_without_secrets(e['input'])!r}"
            for e in error.errors()
        )
        raise ConfigurationError(f"the environment cannot be used: {told}") from error
    except SettingsError as error:
        raise ConfigurationError(f"the environment cannot be used: {error}; expected JSON") from error


def _without_secrets(value: Any) -> Any:
    """Hide who an address is entered as."""
    return re.sub(r"^.*@", "***@", value) if isinstance(value, str) else value
