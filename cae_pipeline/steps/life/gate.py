"""Measure champion and challenger on the same images, none of which either was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import structlog

from cae_pipeline.adapters.results import model_versions
from cae_pipeline.adapters.results.model_versions import ModelVersion
from cae_pipeline.defects.synthesis import SyntheticDefects, with_defects
from cae_pipeline.detector.cost import measure_cost
from cae_pipeline.detector.scorer import ScoredImages, Scorer
from cae_pipeline.domain.images import Floats, Pixels, resized
from cae_pipeline.domain.line import Line
from cae_pipeline.domain.outcome import AcceptedImage
from cae_pipeline.domain.promotion import BROKEN, GateFigures
from cae_pipeline.errors import ArtefactError, NonFiniteScoreError
from cae_pipeline.statistics.metrics import auroc
from cae_pipeline.steps.life import normal
from cae_pipeline.steps.night.load import load_model
from cae_pipeline.steps.night.read import read_images, stack
from cae_pipeline.steps.services import Services

log = structlog.get_logger()

MAX_RECENT = 300
"""Recent normal images that are looked at, newest first."""


@dataclass(frozen=True)
class EvaluationSet:
    """The images that models are held against each other on.

    Attributes:
        held_out: The challenger's calibration images.
        defective: The same with synthetic defects.
        recent: Newest images that nobody takes for defects and every model so far found quite usual.
        golden_normal: Images judged normal that no model learns from.
        golden_defective: Confirmed defects.
    """

    held_out: Pixels
    defective: SyntheticDefects
    recent: Pixels
    golden_normal: Pixels
    golden_defective: Pixels


def collect_evaluation_set(
    line: Line, challenger: ModelVersion, champion: ModelVersion | None, scorer: Scorer, services: Services
) -> EvaluationSet:
    """Collect the images; the golden set is left empty where it is too small to say anything."""
    trained = [challenger.model_version, *([champion.model_version] if champion else [])]
    with services.read() as connection:
        seen = model_versions.pictures_seen_by(connection, *trained)
        snapshot = model_versions.snapshot_images(connection, challenger.model_version)
        recent = normal.recent_usual(connection, line, unseen_by=seen, limit=MAX_RECENT)
        golden = normal.golden_set(connection, line.name, unseen_by=seen)
    held_out = [row.image for row in snapshot if row.part == "calibration"]
    if min(map(len, golden.values())) < line.gate.min_golden_images:
        golden = {word: [] for word in golden}

    def read(images: Sequence[AcceptedImage]) -> Pixels:
        return stack(list(read_images(images, scorer.settings, services, doing=f"gate {line.name}")), scorer.settings)

    pixels = read(held_out)
    defective = with_defects(pixels, seed=line.training.seed, ignored=scorer.ignored_in_read)
    return EvaluationSet(pixels, defective, read(recent), read(golden["normal"]), read(golden["defect"]))


def challenger_figures(
    scorer: Scorer, version: ModelVersion, evaluation: EvaluationSet, services: Services
) -> GateFigures:
    """Measure a challenger, whether it says what it said when it was trained, and what it costs."""
    figures = model_figures(scorer, version.threshold, evaluation)
    try:
        cost = measure_cost(services.model_folder(version.artefact_sha256), sha256=version.artefact_sha256)
    except ArtefactError as error:
        log.warning("cost_unknown", model_version=version.model_version, problem=str(error))
        return replace(figures, milliseconds_per_image=np.inf, peak_mib=np.inf)
    return replace(figures, **asdict(cost), score_difference=_difference(scorer, evaluation))


def champion_figures(
    champion: ModelVersion, challenger: Scorer, evaluation: EvaluationSet, services: Services
) -> GateFigures | None:
    """Measure the champion; one that reads otherwise cannot judge these pixels, one whose files are broken nothing."""
    try:
        scorer = load_model(champion, services)
    except ArtefactError as error:
        log.warning("champion_unreadable", model_version=champion.model_version, problem=str(error))
        return None
    if scorer.settings.reading != challenger.settings.reading:
        return None
    return model_figures(scorer, champion.threshold, evaluation)


def model_figures(scorer: Scorer, threshold: float, evaluation: EvaluationSet) -> GateFigures:
    """Measure a model; NaN where its networks are broken."""
    try:
        clean, defective = scorer.score(evaluation.held_out), scorer.score(evaluation.defective.images)
        recent = scorer.score(evaluation.recent).scores
        golden = [scorer.score(images).scores for images in (evaluation.golden_normal, evaluation.golden_defective)]
    except NonFiniteScoreError:
        return replace(BROKEN, threshold=threshold)
    return GateFigures(
        synthetic_auroc=auroc(clean.scores, defective.scores),
        detected=float((defective.scores > threshold).mean()),
        explained=_explained(clean),
        undone=_undone(clean.inputs, defective, evaluation.defective),
        threshold=threshold,
        held_out_flagged=float((clean.scores > threshold).mean()),
        score_spread=float(clean.scores.std()),
        recent_flagged=int((recent > threshold).sum()),
        num_recent=len(recent),
        golden_auroc=auroc(*golden) if all(map(len, golden)) else None,
    )


def _explained(clean: ScoredImages) -> float:
    error = np.mean((clean.reconstructions - clean.inputs) ** 2, dtype=np.float64)
    return float(1 - error / max(np.var(clean.inputs, dtype=np.float64), 1e-12))


def _undone(wanted: Floats, defective: ScoredImages, defects: SyntheticDefects) -> float:
    where = resized(defects.masks.astype(np.float32), wanted.shape[1:3])[..., None]
    before, after = (
        np.sum(where * (images - wanted) ** 2, dtype=np.float64)
        for images in (defective.inputs, defective.reconstructions)
    )
    return float(1 - after / max(before, 1e-12))


def _difference(scorer: Scorer, evaluation: EvaluationSet) -> float:
    """Largest relative difference of the scores of the calibration images from those the training wrote down.

    Both are taken in the order of size. Infinite if there is another number of them: then the scores written down are
    not those of these images. NaN if the model's networks are broken.
    """
    try:
        then, now = np.sort(scorer.normal_scores), np.sort(scorer.score(evaluation.held_out).scores)
    except NonFiniteScoreError:
        return float("nan")
    if len(then) != len(now):
        return float("inf")
    return float((np.abs(now - then) / np.maximum(then, 1e-9)).max())
