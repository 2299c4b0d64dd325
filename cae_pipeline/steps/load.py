"""Bring a registered model into memory, from the workspace or, failing that, from MLflow."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from cae_pipeline.adapters.results.models import ModelVersion
from cae_pipeline.model.artefact import digest, load_scorer
from cae_pipeline.model.scorer import Scorer
from cae_pipeline.steps.services import Services


def load_model(version: ModelVersion, services: Services) -> Scorer:
    """Load the files whose digest the results table knows.

    Raises:
        ArtefactError: If they are gone, or are not those that were registered.
    """
    folder = services.model_folder(version.artefact_sha256)
    if not folder.is_dir():
        _fetch(version, folder, services)
    return load_scorer(folder, sha256=version.artefact_sha256)


def _fetch(version: ModelVersion, folder: Path, services: Services) -> None:
    # imported where it is needed: scoring from the workspace does without MLflow
    from cae_pipeline.adapters import tracking

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        fetched = tracking.fetch_artefact(services.tracking_uri, version.artefact_uri, Path(temporary))
        digest(fetched)
        shutil.copytree(fetched, folder, dirs_exist_ok=True)
