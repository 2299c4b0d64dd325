"""MLflow: runs, datasets, pictures, model versions and aliases.

A person who opens the MLflow UI must be able to judge a run without opening code.

Importing this module does not load MLflow: that takes seconds, and a night without news needs none of it.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cae_pipeline.errors import ArtefactError, ConfigurationError, TrackingSilentError

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

CHAMPION, CHALLENGER = "champion", "challenger"
SCORER_FOLDER = "scorer"
ASK_ONCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""What MLflow is told while it is found out whether it answers."""
RUNS_PER_REQUEST = 1000


@dataclass(frozen=True)
class TrackingRun:
    """An open MLflow run; everything of one training goes through it."""

    client: MlflowClient
    run_id: str

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Record what the run was asked for."""
        _mlflow().log_params(dict(parameters), run_id=self.run_id)

    def log_metrics(self, metrics: Mapping[str, float], *, step: int | None = None) -> None:
        """Record figures, of an epoch where a step is given."""
        _mlflow().log_metrics(dict(metrics), step=step, run_id=self.run_id)

    def log_dataset(self, members: pd.DataFrame, *, name: str, sha256: str, source: str) -> None:
        """Record which images were trained on: the table as an artefact, its digest as the dataset's."""
        mlflow = _mlflow()
        dataset = mlflow.data.from_pandas(members, source=source, name=name, digest=sha256[:32])
        mlflow.log_input(dataset, context="training")
        mlflow.log_text(members.to_csv(index=False), "snapshot.csv", run_id=self.run_id)

    def log_text(self, text: str, name: str) -> None:
        """Keep a text file with the run."""
        _mlflow().log_text(text, name, run_id=self.run_id)

    def log_figure(self, figure: Any, name: str) -> None:
        """Keep a matplotlib figure with the run."""
        _mlflow().log_figure(figure, name)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Mark the run with what people filter by."""
        _mlflow().set_tags(dict(tags))

    def log_scorer(self, folder: Path) -> str:
        """Keep the files that scoring loads; returns where."""
        _mlflow().log_artifacts(str(folder), SCORER_FOLDER, run_id=self.run_id)
        return f"runs:/{self.run_id}/{SCORER_FOLDER}"

    def register(self, network: Any, *, registered_name: str, shape: Sequence[int], tags: Mapping[str, str]) -> int:
        """Log the Keras model with its signature and register it; returns its version number.

        Args:
            network: The Keras model, for people and other tools; our scoring never loads it.
            shape: Of one image: height, width, channels.
        """
        mlflow = _mlflow()
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

        spec = TensorSpec(np.dtype("float32"), (-1, *shape))
        # requirements by hand: working them out costs MLflow 45 s in another process
        info = mlflow.keras.log_model(
            network,
            name="model",
            signature=ModelSignature(Schema([spec]), Schema([spec])),
            pip_requirements=[f"{name}=={_version(name)}" for name in ("keras", "numpy")],
        )
        return int(mlflow.register_model(info.model_uri, registered_name, tags=dict(tags)).version)


def _mlflow() -> Any:
    """Load MLflow, told first to report nothing and to do without git; it reads both when it is loaded."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import mlflow

    return mlflow


def _problems() -> tuple[type[Exception], ...]:
    """What is raised where MLflow does not answer or refuses: its own, and those of its database and files."""
    from sqlalchemy.exc import SQLAlchemyError

    return _mlflow().exceptions.MlflowException, SQLAlchemyError, OSError


def registered_name(line: str) -> str:
    """Name of a line's model in MLflow's registry."""
    return f"cae-{line}"


@contextmanager
def start_run(tracking_uri: str, *, experiment: str, run_name: str, artifact_root: str | None) -> Iterator[TrackingRun]:
    """Open a run; it ends as FAILED if the body raises.

    Args:
        tracking_uri: A server, or a database such as `sqlite:///workspace/mlflow.db`.
        experiment: Made if it is not there.
        artifact_root: Where a new experiment keeps its files; None leaves that to the server.

    Raises:
        ConfigurationError: If the tracking store cannot be reached.
    """
    client = _connect(tracking_uri)
    found = client.get_experiment_by_name(experiment)
    experiment_id = (
        found.experiment_id if found else client.create_experiment(experiment, artifact_location=artifact_root)
    )
    with _mlflow().start_run(experiment_id=experiment_id, run_name=run_name) as run:
        yield TrackingRun(client, run.info.run_id)


def set_alias(tracking_uri: str, registered_name: str, alias: str, version: int) -> None:
    """Point an alias at a version; the results table is the truth, the alias mirrors it.

    Raises:
        ConfigurationError: If MLflow does not answer or knows no such version, as all that follow.
    """
    with _asked(tracking_uri) as client:
        client.set_registered_model_alias(registered_name, alias, str(version))
        if alias == CHAMPION:
            # who has become champion is no challenger any more
            held = client.get_registered_model(registered_name).aliases.get(CHALLENGER)
            if str(held) == str(version):
                client.delete_registered_model_alias(registered_name, CHALLENGER)


def alias_of(tracking_uri: str, registered_name: str, alias: str) -> int | None:
    """Which version an alias points at; None where there is no such alias or model."""
    with _asked(tracking_uri) as client:
        try:
            return int(client.get_model_version_by_alias(registered_name, alias).version)
        except _mlflow().exceptions.MlflowException as error:
            # a missing alias is the first, a missing model the second
            if error.error_code in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
                return None
            raise


def tag_version(tracking_uri: str, registered_name: str, version: int, tags: Mapping[str, str]) -> None:
    """Mark a registered version."""
    with _asked(tracking_uri) as client:
        for key, value in tags.items():
            client.set_model_version_tag(registered_name, str(version), key, value)


def tag_run(tracking_uri: str, run_id: str, tags: Mapping[str, str]) -> None:
    """Mark a run that has ended."""
    with _asked(tracking_uri) as client:
        for key, value in tags.items():
            client.set_tag(run_id, key, value)


def log_page(tracking_uri: str, run_id: str, html: str, name: str) -> None:
    """Keep a page with a run that has ended."""
    with _asked(tracking_uri) as client:
        client.log_text(run_id, html, name)


def fetch_artefact(tracking_uri: str, artefact_uri: str, folder: Path) -> Path:
    """Copy a model's files from the run that made them; returns the folder they are in.

    Raises:
        ArtefactError: If they are gone.
    """
    mlflow = _mlflow()
    mlflow.set_tracking_uri(tracking_uri)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return Path(mlflow.artifacts.download_artifacts(artefact_uri, dst_path=str(folder)))
    except _problems() as error:
        raise ArtefactError(
            f"{artefact_uri} cannot be read: {error}. Restore MLflow's artefacts, or train again."
        ) from error


def list_runs(tracking_uri: str, *, experiment: str | None, max_results: int | None) -> Iterator[dict[str, Any]]:
    """Trainings, newest first, with what a person chooses by; None is all of them."""
    with _asked(tracking_uri) as client:
        experiments = client.search_experiments(filter_string=f"name = '{experiment}'" if experiment else None)
        names = {one.experiment_id: one.name for one in experiments}
        left, token = max_results, None
        while names and (left is None or left > 0):
            size = RUNS_PER_REQUEST if left is None else min(left, RUNS_PER_REQUEST)
            runs = client.search_runs(
                list(names), order_by=["attributes.start_time DESC"], max_results=size, page_token=token
            )
            yield from (_run_row(run, names[run.info.experiment_id]) for run in runs)
            left, token = None if left is None else left - len(runs), runs.token
            if not token:
                return


def _run_row(run: Any, experiment: str) -> dict[str, Any]:
    return {
        "run_id": run.info.run_id,
        "run_name": run.info.run_name,
        "experiment": experiment,
        "status": run.info.status,
        "started_at": datetime.fromtimestamp(run.info.start_time / 1000, UTC),
        "model_version": run.data.tags.get("model_version", ""),
        "decision": run.data.tags.get("decision", ""),
        "synthetic_auroc": run.data.metrics.get("synthetic_auroc"),
        "validation_loss": run.data.metrics.get("validation_loss"),
        "epochs": run.data.metrics.get("epochs"),
    }


@contextmanager
def _asked(tracking_uri: str) -> Iterator[MlflowClient]:
    client = _connect(tracking_uri)
    try:
        yield client
    except _problems() as error:
        raise ConfigurationError(f"MLflow at {tracking_uri} refused: {error}") from error


def _connect(tracking_uri: str) -> MlflowClient:
    # alembic and MLflow tell every migration of a fresh database at INFO
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    mlflow = _mlflow()
    mlflow.set_tracking_uri(tracking_uri)
    if tracking_uri.startswith("sqlite:///"):
        Path(tracking_uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    shown = _without_password(tracking_uri)
    try:
        return _answering_client(tracking_uri)
    except ImportError as error:
        raise ConfigurationError(f"CAE_TRACKING_URI: the driver {error.name!r} for {shown} is not installed") from error
    except _problems() as error:
        raise TrackingSilentError(
            f"MLflow at {shown} does not answer: {_first_line(error)}. "
            "Check CAE_TRACKING_URI, or start it with `make up`."
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"CAE_TRACKING_URI: expected an address, received {shown!r}: {error}") from error


def _answering_client(tracking_uri: str) -> MlflowClient:
    """Connect, and ask once: MLflow goes on asking who does not answer for minutes, and people wait for it."""
    if not tracking_uri.startswith("http"):
        import sqlalchemy as sa

        engine = sa.create_engine(tracking_uri)
        engine.connect().close()
        engine.dispose()
    client = _mlflow().MlflowClient(tracking_uri)
    before = {name: os.environ.get(name) for name in ASK_ONCE}
    os.environ.update(ASK_ONCE)
    try:
        client.search_experiments(max_results=1)
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
    return client


def _without_password(tracking_uri: str) -> str:
    return re.sub(r"//[^/]*@", "//***@", tracking_uri)


def _first_line(error: Exception) -> str:
    return _without_password(str(getattr(error, "orig", error)).partition("\n")[0])


def _version(distribution: str) -> str:
    from importlib.metadata import version

    return version(distribution)
