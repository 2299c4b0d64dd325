"""Every knob: the environment (prefix `CAE_`) and the product lines file; each read once."""

from __future__ import annotations

import json
import os
import re
import tomllib
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from joblib import cpu_count
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from cae_pipeline.detector import Runtime
from cae_pipeline.detector.convolution import encoder_sizes
from cae_pipeline.detector.tiling import check_cells
from cae_pipeline.domain.calendar import calendar_of, find_zone
from cae_pipeline.domain.image_settings import ImageSettings
from cae_pipeline.domain.line import Line
from cae_pipeline.errors import ConfigurationError, NotFoundError

_LINE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_LINES = TypeAdapter(dict[str, Line])

RENAMED_KNOBS = {
    "model": {"code_size": "latent_size", "detail": "feature_resolution", "views": "heads"},
    "training": {"effort": "preset", "turns": "augmentations"},
}
"""Table of a line → old name of a knob → what it is called now. The old names are read for one release."""

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


def read_lines(path: Path) -> dict[str, Line]:
    """Read and check the product lines file.

    Raises:
        ConfigurationError: If it is missing or wrong; names the line, the knob, what was received and expected.
    """
    if not path.is_file():
        raise ConfigurationError(
            f"no product lines file at {path}. Write one with `cae lines init`, or set CAE_LINES_FILE."
        )
    lines = parse_lines(read_toml(path), where=str(path))
    return {name: replace(line, area=line.area.beside(path.parent)) for name, line in lines.items()}


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigurationError: If it cannot be read or is not TOML; says where.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(f"expected a TOML file, received {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error


def parse_lines(content: dict[str, Any], *, where: str) -> dict[str, Line]:
    """Turn the parsed file into lines; see `read_lines`."""
    unknown = sorted(set(content) - {"lines"})
    if unknown or not isinstance(content.get("lines"), dict):
        raise ConfigurationError(f"{where}: expected tables [lines.<name>] only, received {sorted(content)}")
    named: dict[str, Any] = {}
    for name, knobs in content["lines"].items():
        if not _LINE_NAME.fullmatch(name):
            raise ConfigurationError(
                f"{where}: line {name!r} has a name that cannot be used; expected lower-case letters, digits and dashes"
            )
        if not isinstance(knobs, dict):
            raise ConfigurationError(f"{where}: expected a table [lines.{name}], received {knobs!r}")
        named[name] = {**_with_names_of_today(knobs, where=f"{where}: lines.{name}"), "name": name}
    try:
        lines = _LINES.validate_python(named)
    except ValidationError as error:
        told = "; ".join(
            f"lines.{'.'.join(_place(e['loc']))}: {e['msg']}, received {e['input']!r}" for e in error.errors()
        )
        raise ConfigurationError(f"{where}: {told}") from error
    for name, line in lines.items():
        try:
            encoder_sizes(line.model)
            check_cells(line.model)
        except ConfigurationError as error:
            error.args = (f"{where}: lines.{name}.model: {error}",)
            raise
        try:
            calendar_of(line, time_zone="UTC")
        except ConfigurationError as error:
            error.args = (f"{where}: lines.{name}.{error}",)
            raise
        _check_images(line, where=f"{where}: lines.{name}")
    return lines


def _check_images(line: Line, *, where: str) -> None:
    """Refuse what no single knob can tell by itself.

    Raises:
        ConfigurationError: If the range of floats is empty, or the table stands in the wrong place.
    """
    if line.model.images != ImageSettings():
        raise ConfigurationError(f"{where}.model.images: expected the table [lines.{line.name}.images] instead")
    if line.images.float_range and line.images.float_range[0] >= line.images.float_range[1]:
        black, white = line.images.float_range
        raise ConfigurationError(
            f"{where}.images.float_range: expected [black, white] with black lower, received [{black}, {white}]"
        )


def warn_of_old_name(old: str, new: str, *, where: str) -> None:
    """Tell people that a name which they wrote is read for the last time.

    A `FutureWarning` is shown on standard error whoever reads the file, and once for each place.
    """
    warnings.warn(f"{where}: {old} is called {new} now; the old name will be refused", FutureWarning, stacklevel=2)


def _with_names_of_today(knobs: dict[str, Any], *, where: str) -> dict[str, Any]:
    """Give the knobs of one line that bear an old name the one of today; leaves what it is given as it was.

    Raises:
        ConfigurationError: If both names of a knob are given.
    """
    renamed = dict(knobs)
    for table, new_names in RENAMED_KNOBS.items():
        given = knobs.get(table)
        if not isinstance(given, dict):
            continue
        for old in sorted(set(given) & set(new_names)):
            new = new_names[old]
            if new in given:
                raise ConfigurationError(
                    f"{where}.{table}: received both {old} and {new}, expected {new} alone: {old} is its old name."
                )
            warn_of_old_name(old, new, where=f"{where}.{table}")
        renamed[table] = {new_names.get(name, name): value for name, value in given.items()}
    return renamed


def find_line(lines: dict[str, Line], name: str) -> Line:
    """Look a line up.

    Raises:
        NotFoundError: If the file has none of that name; lists those it has.
    """
    if name not in lines:
        raise NotFoundError("line", name, known=sorted(lines), advice="Lines are described in lines.toml.")
    return lines[name]


def lines_schema() -> str:
    """The JSON schema of the lines file, for editors."""
    schema = _LINES.json_schema()
    definitions = schema.pop("$defs")
    # the name is the key of the table, not a knob in it
    line = definitions["Line"]
    line["properties"].pop("name")
    line.pop("required", None)
    # settled by a training, not set by people
    definitions["AutoencoderSettings"]["properties"].pop("images")
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "cae-pipeline product lines",
        "type": "object",
        "properties": {"lines": schema},
        "required": ["lines"],
        "additionalProperties": False,
        "$defs": definitions,
    }
    return json.dumps(whole, indent=2) + "\n"


def _place(location: tuple[int | str, ...]) -> list[str]:
    """Without the names of the alternatives that pydantic tried, such as `constrained-int`."""
    return [str(part) for part in location if not re.search(r"[\[(]|^(int|constrained-int|tuple|literal)$", str(part))]
