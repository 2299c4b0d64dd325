"""Bring a registered model into memory, from the workspace or, failing that, from MLflow."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cae_pipeline.adapters.results.model_versions import ModelVersion
from cae_pipeline.detector import Runtime
from cae_pipeline.detector.artefact import Artefact, digest, is_complete, load_artefact
from cae_pipeline.detector.scorer import Forward, Scorer
from cae_pipeline.detector.sessions import has_openvino, onnx_forward, openvino_forward
from cae_pipeline.detector.timing import WORTH_CHANGING
from cae_pipeline.errors import ArtefactError
from cae_pipeline.steps.services import Services

if TYPE_CHECKING:
    from cae_pipeline.training.parts import Parts

OPENVINO_SPEEDUP = "openvino_speedup"
"""Figure of a model version: how many times as fast as ONNX Runtime OpenVINO was at registration."""


def load_model(version: ModelVersion, services: Services) -> Scorer:
    """Load the files whose digest the results table knows, ready to score with `services.runtime`.

    Raises:
        ArtefactError: If they are gone, or are not those that were registered.
        ConfigurationError: If the runtime that was asked for is not installed.
    """
    artefact = read_artefact(version, services)
    return artefact.scorer(_forward(artefact, _chosen(services.runtime, version)))


def load_parts(version: ModelVersion, services: Services) -> Parts:
    """Load the Keras networks of a model, to train them further; raises as `load_model`."""
    # imported where it is needed: scoring does without TensorFlow
    from cae_pipeline.training.quiet import import_tensorflow_quietly

    import_tensorflow_quietly()
    from cae_pipeline.training.parts import parts_of

    artefact = read_artefact(version, services)
    return parts_of(artefact.settings, artefact.weights())


def read_artefact(version: ModelVersion, services: Services) -> Artefact:
    """Read a model's files without making its networks ready; raises as `load_model`."""
    folder = services.model_folder(version.artefact_sha256)
    if not is_complete(folder):
        _fetch(version, folder, services)
    return load_artefact(folder, sha256=version.artefact_sha256)


def _chosen(runtime: Runtime, version: ModelVersion) -> Runtime:
    if runtime != "auto":
        return runtime
    faster = version.figures.get(OPENVINO_SPEEDUP, 0) >= WORTH_CHANGING
    return "openvino" if faster and has_openvino() else "onnx"


def _forward(artefact: Artefact, runtime: Runtime) -> Forward:
    if runtime == "openvino":
        return openvino_forward(artefact.graph)
    if runtime == "onnx":
        return onnx_forward(artefact.graph)
    from cae_pipeline.training.quiet import import_tensorflow_quietly

    import_tensorflow_quietly()
    from cae_pipeline.training.parts import parts_of
    from cae_pipeline.training.reference import keras_forward

    return keras_forward(parts_of(artefact.settings, artefact.weights()))


def _fetch(version: ModelVersion, folder: Path, services: Services) -> None:
    """Fetch a model beside its place, make sure that it is the one that was registered, and move it there whole.

    What is there by halves, because somebody was stopped while copying, makes room.
    """
    # imported where it is needed: scoring from the workspace does without MLflow
    from cae_pipeline.adapters import tracking

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as temporary:
        fetched = tracking.fetch_artefact(services.tracking_uri, version.artefact_uri, Path(temporary) / "fetched")
        received = digest(fetched)
        if received != version.artefact_sha256:
            raise ArtefactError(
                f"the files of {version.model_version!r} in MLflow have sha256 {received[:12]}…, expected "
                f"{version.artefact_sha256[:12]}… as registered. Restore MLflow's artefacts, or train again."
            )
        halves = Path(temporary) / "halves"
        if folder.exists() and not is_complete(folder):
            folder.rename(halves)
        try:
            fetched.rename(folder)
        except OSError:
            # somebody else was faster; what is there is whole, or the next call says why not
            if not is_complete(folder):
                raise
        shutil.rmtree(halves, ignore_errors=True)
