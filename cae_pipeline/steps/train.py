"""Train a challenger on a line's normal images, tracked in MLflow and registered."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
import structlog

from cae_pipeline import __version__
from cae_pipeline.adapters import pictures, tracking
from cae_pipeline.adapters.results import images as image_rows
from cae_pipeline.adapters.results import models
from cae_pipeline.adapters.results.models import ModelVersion
from cae_pipeline.core.convolution import describe
from cae_pipeline.core.evaluation import auroc
from cae_pipeline.core.images import Pixels
from cae_pipeline.core.line import AutoencoderSettings, Line
from cae_pipeline.core.tiling import with_tiles
from cae_pipeline.errors import TooFewNormalImagesError
from cae_pipeline.model.artefact import save_scorer
from cae_pipeline.model.corruption import with_defects
from cae_pipeline.model.scorer import Scorer
from cae_pipeline.steps.find import is_normal_batch
from cae_pipeline.steps.fit import FittedModel, fit_model, settings_as_parameters
from cae_pipeline.steps.load import load_model
from cae_pipeline.steps.read import read_images, stack
from cae_pipeline.steps.services import Services
from cae_pipeline.steps.validate import validate_batch

log = structlog.get_logger()

NUM_EXAMPLES = 6
"""Rows of the contact sheet."""


@dataclass(frozen=True)
class Snapshot:
    """The images one training sees, and the network's knobs with the tiles those images need."""

    rows: tuple[sa.RowMapping, ...]
    pixels: Pixels
    model: AutoencoderSettings
    sha256: str

    @property
    def image_ids(self) -> list[str]:
        """Digests of the images, in their order."""
        return [row["image_id"] for row in self.rows]


def registered_name(line: str) -> str:
    """Name of a line's model in MLflow's registry."""
    return f"cae-{line}"


def train_model(line: Line, services: Services, *, refresh: bool = False, note: str = "") -> ModelVersion:
    """Train, evaluate and register a challenger; whether it serves is for the gate.

    Args:
        refresh: Start from the champion's weights instead of afresh.
        note: What a person wants remembered of this training.

    Raises:
        TooFewNormalImagesError: If the line has too few normal images.
        NoChampionError: If a refresh has nobody to start from.
    """
    snapshot = take_snapshot(line, services)
    line = replace(line, model=snapshot.model)
    champion = models.champion_of(services.engine, line.name) if refresh else None
    initial = load_model(champion, services) if champion else None
    name = f"{'refresh' if refresh else 'full'} {services.clock():%Y-%m-%d %H:%M:%S}"
    with tracking.start_run(
        services.tracking_uri,
        experiment=registered_name(line.name),
        run_name=name,
        artifact_root=services.artifact_root,
    ) as run:
        _log_inputs(run, line, snapshot, note=note, services=services)
        progress = services.progress(
            range(line.training.plan.epochs), total=line.training.plan.epochs, doing=f"train {line.name}"
        )
        next(progress, None)

        def on_epoch(epoch: int, metrics: Any) -> None:
            run.log_metrics(metrics, step=epoch)
            next(progress, None)

        model = fit_model(snapshot.pixels, snapshot.image_ids, line, on_epoch=on_epoch, initial=initial)
        _log_outcome(run, line, snapshot, model)
        _log_histogram(run, line, model, services)
        version = _register(run, line, snapshot, model, services)
    log.info("model_trained", line=line.name, model_version=version.model_version, **version.figures)
    return version


def take_snapshot(line: Line, services: Services) -> Snapshot:
    """Validate the line's normal batches where that has not been done, and read their images."""
    patterns = line.training.normal_batches
    for batch_id in services.landing.batch_ids(line.name):
        if is_normal_batch(line, batch_id):
            validate_batch(line, batch_id, services)
    rows = image_rows.normal_images(services.engine, line.name, patterns)
    model = _settled(line, rows)
    read = list(read_images(rows, model, services, doing=f"read {line.name}"))
    good = [image for image in read if image.pixels is not None]
    for image in read:
        if image.pixels is None:
            log.warning("normal_image_left_out", name=image.row["name"], problem=image.problem)
    if not good:
        raise TooFewNormalImagesError(
            f"training line {line.name!r}",
            received=0,
            needed=1,
            advice=f"Put normal images into {services.landing.folder / line.name}/<batch_id>/ with a batch_id like "
            f"{' or '.join(patterns)}.",
        )
    members = [(row["image_id"], row["name"]) for row in (image.row for image in good)]
    sha256 = hashlib.sha256(json.dumps(sorted(members)).encode()).hexdigest()
    return Snapshot(tuple(image.row for image in good), stack(good, model), model, sha256)


def _settled(line: Line, rows: Sequence[sa.RowMapping]) -> AutoencoderSettings:
    if not rows:
        return line.model
    height, width = (int(np.median([row[name] for row in rows])) for name in ("height_px", "width_px"))
    return with_tiles(line.model, delivered_px=(height, width))


def _log_inputs(run: tracking.TrackingRun, line: Line, snapshot: Snapshot, *, note: str, services: Services) -> None:
    run.log_parameters({**settings_as_parameters(line), "num_images": len(snapshot.rows)})
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
    members = pd.DataFrame(
        [
            {name: row[name] for name in ("batch_id", "name", "image_id", "brightness", "contrast", "sharpness")}
            for row in snapshot.rows
        ]
    )
    run.log_dataset(
        members,
        name=f"normal images of {line.name}",
        sha256=snapshot.sha256,
        source=str(services.landing.folder / line.name),
    )


def _log_outcome(run: tracking.TrackingRun, line: Line, snapshot: Snapshot, model: FittedModel) -> None:
    run.log_metrics(_figures(model))
    if model.fit.suspects:
        suspects = [snapshot.rows[position] for position in model.fit.suspects]
        run.log_text("".join(f"{row['batch_id']}/{row['name']}\n" for row in suspects), "suspects.txt")
        log.warning(
            "normal_images_suspected",
            line=line.name,
            names=[row["name"] for row in suspects],
            advice="they look unlike all others called normal and were not learnt from: look at them",
        )
    held_out = snapshot.pixels[list(model.split.calibration[:NUM_EXAMPLES])]
    damaged = with_defects(held_out, seed=line.training.seed).images
    for pixels, name in ((held_out, "normal"), (damaged, "synthetic-defects")):
        scored = model.scorer.score(pixels)
        sheet = pictures.contact_sheet(
            scored.shown, scored.reconstructions, scored.maps, scored.scores, threshold=model.threshold.value
        )
        run.log_figure(sheet, f"contact-sheet-{name}.png")


def _log_histogram(run: tracking.TrackingRun, line: Line, model: FittedModel, services: Services) -> None:
    """Draw the scores of normal images, of synthetic defects and of those that people called defects."""
    normal = model.scorer.normal_scores
    groups = {"normal, held out": normal, "synthetic defects": model.synthetic_scores}
    title = f"{line.name}: synthetic AUROC {model.synthetic_auroc:.3f}"
    rows = image_rows.judged_images(services.engine, line.name, "defect")
    pixels = stack(list(read_images(rows, line.model, services, doing=f"defects of {line.name}")), line.model)
    if len(pixels):
        confirmed = model.scorer.score(pixels).scores
        groups["defects by verdict"] = confirmed
        run.log_metrics({"verdict_auroc": auroc(normal, confirmed), "num_defects_by_verdict": len(confirmed)})
        title += f", AUROC by verdict {auroc(normal, confirmed):.3f}"
    figure = pictures.score_histogram(groups, threshold=model.threshold.value, title=title)
    run.log_figure(figure, "score-histogram.png")


def _register(
    run: tracking.TrackingRun, line: Line, snapshot: Snapshot, model: FittedModel, services: Services
) -> ModelVersion:
    sha256 = _store(model.scorer, services, lineage={"line": line.name, "run_id": run.run_id})
    figures = _figures(model)
    shape = (line.model.height_px, line.model.width_px, line.model.channels)
    number = run.register(
        model.scorer.network,
        registered_name=registered_name(line.name),
        shape=shape,
        tags={name: f"{value:.6g}" for name, value in figures.items()},
    )
    model_version = f"{registered_name(line.name)}/{number}"
    run.set_tags({"model_version": model_version})
    version = models.register(
        services.engine,
        {
            "model_version": model_version,
            "line": line.name,
            "version": number,
            "run_id": run.run_id,
            "artefact_uri": run.log_scorer(services.model_folder(sha256)),
            "artefact_sha256": sha256,
            "snapshot_sha256": snapshot.sha256,
            "figures": figures,
            "registered_at": services.clock(),
        },
        model.threshold,
        members=[
            (snapshot.rows[position]["batch_key"], snapshot.rows[position]["name"], part)
            for part, positions in asdict(model.split).items()
            for position in positions
        ],
    )
    tracking.set_alias(services.tracking_uri, registered_name(line.name), tracking.CHALLENGER, number)
    return version


def _store(scorer: Scorer, services: Services, *, lineage: dict[str, str]) -> str:
    """Put the model's files where scoring looks for them; returns their digest."""
    models_folder = services.workspace / "models"
    models_folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=models_folder) as temporary:
        fresh = Path(temporary) / "scorer"
        sha256 = save_scorer(scorer, fresh, lineage=lineage)
        kept = services.model_folder(sha256)
        if not kept.exists():
            fresh.rename(kept)
    return sha256


def _figures(model: FittedModel) -> dict[str, float]:
    fitted, threshold = model.fit.fitted, model.threshold
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
        "num_suspects": len(model.fit.suspects),
        **{f"merit_of_{view}": merit for view, merit in model.fit.merits.items()},
        "images_per_second": fitted.images_per_second,
    }


def _layers(line: Line) -> str:
    rows: Sequence[Any] = [asdict(layer) for layer in describe(line.model)]
    return pd.DataFrame(rows).to_string(index=False)
