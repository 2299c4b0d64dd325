"""Keep a trained model where scoring finds it, proven and timed, and tell MLflow and the results table."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import structlog

from cae_pipeline.adapters import tracking
from cae_pipeline.adapters.results import model_versions
from cae_pipeline.adapters.results.model_versions import ModelVersion, Registration
from cae_pipeline.detector.artefact import save_artefact
from cae_pipeline.detector.scorer import MINIBATCH_SIZE
from cae_pipeline.detector.sessions import has_openvino, onnx_forward, openvino_forward
from cae_pipeline.detector.tiling import cut
from cae_pipeline.detector.timing import speedup
from cae_pipeline.domain.images import Pixels
from cae_pipeline.domain.line import Line
from cae_pipeline.errors import ArtefactError
from cae_pipeline.steps.life.fit import FittedModel
from cae_pipeline.steps.life.snapshot import Snapshot
from cae_pipeline.steps.night.load import OPENVINO_SPEEDUP
from cae_pipeline.steps.services import Services
from cae_pipeline.training.export import check_agreement
from cae_pipeline.training.parts import arrays_of
from cae_pipeline.training.reference import keras_forward

log = structlog.get_logger()


def register_model(
    run: tracking.TrackingRun, line: Line, snapshot: Snapshot, model: FittedModel, services: Services
) -> ModelVersion:
    """Register a model as the line's challenger.

    Raises:
        ArtefactError: If the exported networks say something else than the trained ones.
    """
    sha256 = _store(model, services, lineage={"line": line.name, "run_id": run.run_id})
    figures = {**figures_of(model), **_runtime_figures(snapshot, model)}
    shape = (line.model.height_px, line.model.width_px, line.model.channels)
    number = run.register(
        model.fit.parts.autoencoder,
        registered_name=tracking.registered_name(line.name),
        shape=shape,
        tags={name: f"{value:.6g}" for name, value in figures.items()},
    )
    model_version = f"{tracking.registered_name(line.name)}/{number}"
    run.set_tags({"model_version": model_version})
    made = Registration(
        model_version=model_version,
        line=line.name,
        version=number,
        run_id=run.run_id,
        artefact_uri=run.log_scorer(services.model_folder(sha256)),
        artefact_sha256=sha256,
        snapshot_sha256=snapshot.sha256,
        figures=figures,
        registered_at=services.clock(),
    )
    members = [
        (*snapshot.images[position].key, part)
        for part, positions in asdict(model.split).items()
        for position in positions
    ]
    with services.write() as work:
        version = model_versions.register(work.connection, made, model.threshold, members=members)
        work.commit()
    tracking.set_alias(services.tracking_uri, tracking.registered_name(line.name), tracking.CHALLENGER, number)
    return version


def _store(model: FittedModel, services: Services, *, lineage: dict[str, str]) -> str:
    """Put the model's files where scoring looks for them; returns their digest."""
    models_folder = services.workspace / "models"
    models_folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=models_folder) as temporary:
        fresh = Path(temporary) / "scorer"
        sha256 = save_artefact(
            model.scorer, fresh, graph=model.graph, weights=arrays_of(model.fit.parts), lineage=lineage
        )
        kept = services.model_folder(sha256)
        if not kept.exists():
            fresh.rename(kept)
    return sha256


def figures_of(model: FittedModel) -> dict[str, float]:
    """What a training is judged by, as numbers."""
    fitted, threshold = model.fit.fitted_autoencoder, model.threshold
    return {
        "synthetic_auroc": model.synthetic_auroc,
        "threshold": threshold.value,
        "target_false_alarm_rate": threshold.target_false_alarm_rate,
        "num_normal": threshold.num_normal,
        "score_spread": float(model.scorer.normal_scores.std()),
        "validation_loss": fitted.validation_loss,
        "epochs": fitted.epochs,
        "best_epoch": fitted.best_epoch,
        "train_seconds": model.train_seconds,
        "num_outliers": len(model.fit.outliers),
        **({} if model.scorer.ignored is None else {"ignored_share": float(model.scorer.ignored.mean())}),
        **{f"head_auroc_of_{head}": auroc for head, auroc in model.fit.head_aurocs.items()},
        "images_per_second": fitted.images_per_second,
    }


def _runtime_figures(snapshot: Snapshot, model: FittedModel) -> dict[str, float]:
    """Prove on real images that the exported model says what the trained one does, and time its runtimes."""
    pixels = snapshot.pixels[list(model.split.calibration)]
    agreement = check_agreement(model.scorer, replace(model.scorer, forward=keras_forward(model.fit.parts)), pixels)
    return {
        "export_reconstruction_difference": agreement.reconstruction,
        "export_score_difference": agreement.score,
        **_openvino_figures(model, pixels),
    }


def _openvino_figures(model: FittedModel, pixels: Pixels) -> dict[str, float]:
    if not has_openvino():
        return {}
    onnx, openvino = onnx_forward(model.graph), openvino_forward(model.graph)
    try:
        agreement = check_agreement(replace(model.scorer, forward=openvino), model.scorer, pixels)
    except ArtefactError as error:
        log.warning("openvino_differs", problem=str(error))
        return {OPENVINO_SPEEDUP: 0.0}
    tiles = cut(pixels[:MINIBATCH_SIZE], model.scorer.settings)[:MINIBATCH_SIZE]
    return {
        OPENVINO_SPEEDUP: speedup(openvino, onnx, tiles),
        "openvino_score_difference": agreement.score,
    }
