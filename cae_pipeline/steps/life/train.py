"""Train a challenger on a line's normal images, tracked in MLflow and registered."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from typing import Any

import pandas as pd
import structlog

from cae_pipeline import __version__
from cae_pipeline.adapters import tracking
from cae_pipeline.adapters.results import ledger, verdicts
from cae_pipeline.adapters.results.model_versions import ModelVersion
from cae_pipeline.defects.synthesis import with_defects
from cae_pipeline.detector.convolution import describe
from cae_pipeline.domain.line import Line
from cae_pipeline.errors import NoChampionError
from cae_pipeline.reporting import pictures
from cae_pipeline.statistics.metrics import auroc
from cae_pipeline.steps.life.fit import FittedModel, fit_model, settings_as_parameters
from cae_pipeline.steps.life.ignored import tell_changes
from cae_pipeline.steps.life.register import figures_of, register_model
from cae_pipeline.steps.life.snapshot import Snapshot, take_snapshot
from cae_pipeline.steps.night.load import load_parts
from cae_pipeline.steps.night.read import read_images, stack
from cae_pipeline.steps.services import Services

log = structlog.get_logger()

NUM_EXAMPLES = 6
"""Rows of the contact sheet."""


def train_model(line: Line, services: Services, *, refresh: bool = False, note: str = "") -> ModelVersion:
    """Train, evaluate and register a challenger; whether it serves is for the gate.

    Args:
        refresh: Start from the champion's weights and snapshot instead of afresh.
        note: What a person wants remembered of this training.

    Raises:
        TooFewNormalImagesError: If the line has too few normal images.
        NoChampionError: If a refresh has nobody to start from.
    """
    champion = _champion(line, services) if refresh else None
    snapshot = take_snapshot(line, services, refresh_of=champion)
    tell_changes(line, champion or _champion_if_any(line, services), snapshot.ignored, services)
    line = replace(line, model=snapshot.model)
    initial = load_parts(champion, services) if champion else None
    with _start_run(line, services, refresh=refresh) as run:
        _log_inputs(run, line, snapshot, note=note, services=services)
        progress = services.progress(
            range(line.training.plan.epochs), total=line.training.plan.epochs, doing=f"train {line.name}"
        )
        next(progress, None)

        def on_epoch(epoch: int, metrics: Any) -> None:
            run.log_metrics(metrics, step=epoch)
            next(progress, None)

        model = fit_model(
            snapshot.pixels,
            snapshot.image_ids,
            line,
            on_epoch=on_epoch,
            initial=initial,
            settled=snapshot.parts,
            ignored=snapshot.ignored,
        )
        _log_outcome(run, line, snapshot, model)
        _log_histogram(run, line, model, services)
        version = register_model(run, line, snapshot, model, services)
    log.info("model_trained", line=line.name, model_version=version.model_version, **version.figures)
    return version


def _start_run(line: Line, services: Services, *, refresh: bool) -> AbstractContextManager[tracking.TrackingRun]:
    return tracking.start_run(
        services.tracking_uri,
        experiment=tracking.registered_name(line.name),
        run_name=f"{'refresh' if refresh else 'full'} {services.clock():%Y-%m-%d %H:%M:%S}",
        artifact_root=services.artifact_root,
    )


def _champion(line: Line, services: Services) -> ModelVersion:
    with services.read() as connection:
        return ledger.champion_of(connection, line.name)


def _champion_if_any(line: Line, services: Services) -> ModelVersion | None:
    try:
        return _champion(line, services)
    except NoChampionError:
        return None


def _log_inputs(run: tracking.TrackingRun, line: Line, snapshot: Snapshot, *, note: str, services: Services) -> None:
    run.log_parameters({**settings_as_parameters(line), "num_images": len(snapshot.images)})
    run.set_tags(
        {
            "line": line.name,
            "code_version": __version__,
            "author": services.author,
            "dag_run_id": services.dag_run_id,
            "mlflow.note.content": note,
        }
    )
    run.log_text(_layers(line), "layers.txt")
    rows = [
        {"batch_id": image.batch_id, "name": image.name, "image_id": image.image_id, **asdict(image.facts)}
        for image in snapshot.images
    ]
    run.log_dataset(
        pd.DataFrame(rows),
        name=f"normal images of {line.name}",
        sha256=snapshot.sha256,
        source=str(services.landing.folder / line.name),
    )


def _log_outcome(run: tracking.TrackingRun, line: Line, snapshot: Snapshot, model: FittedModel) -> None:
    run.log_metrics(figures_of(model))
    if model.fit.outliers:
        outliers = [snapshot.images[position] for position in model.fit.outliers]
        run.log_text("".join(f"{image.batch_id}/{image.name}\n" for image in outliers), "outliers.txt")
        log.warning(
            "normal_images_suspected",
            line=line.name,
            names=[image.name for image in outliers],
            advice="they look unlike all others called normal and were not learnt from: look at them",
        )
    held_out = snapshot.pixels[list(model.split.calibration[:NUM_EXAMPLES])]
    defective = with_defects(held_out, seed=line.training.seed, ignored=model.scorer.ignored_in_read).images
    for pixels, name in ((held_out, "normal"), (defective, "synthetic-defects")):
        scored = model.scorer.score(pixels)
        sheet = pictures.contact_sheet(scored, threshold=model.threshold.value, ignored=model.scorer.ignored)
        run.log_figure(sheet, f"contact-sheet-{name}.png")


def _log_histogram(run: tracking.TrackingRun, line: Line, model: FittedModel, services: Services) -> None:
    """Draw the scores of normal images, of synthetic defects and of those that people called defects."""
    normal = model.scorer.normal_scores
    groups = {"normal, held out": normal, "synthetic defects": model.synthetic_scores}
    title = f"{line.name}: synthetic AUROC {model.synthetic_auroc:.3f}"
    with services.read() as connection:
        defects = [row.image for row in verdicts.reviewed_images(connection, line.name, "defect")]
    pixels = stack(list(read_images(defects, line.model, services, doing=f"defects of {line.name}")), line.model)
    if len(pixels):
        confirmed = model.scorer.score(pixels).scores
        groups["defects by verdict"] = confirmed
        run.log_metrics({"verdict_auroc": auroc(normal, confirmed), "num_defects_by_verdict": len(confirmed)})
        title += f", AUROC by verdict {auroc(normal, confirmed):.3f}"
    figure = pictures.score_histogram(groups, threshold=model.threshold.value, title=title)
    run.log_figure(figure, "score-histogram.png")


def _layers(line: Line) -> str:
    rows: Sequence[Any] = [asdict(layer) for layer in describe(line.model)]
    return pd.DataFrame(rows).to_string(index=False)
