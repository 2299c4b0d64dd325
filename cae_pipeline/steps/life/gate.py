"""Measure champion and challenger on the same images, none of which either was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import structlog

from cae_pipeline.adapters.results import images as image_rows
from cae_pipeline.adapters.results import models, pool, verdicts
from cae_pipeline.adapters.results.models import ModelVersion
from cae_pipeline.defects.synthesis import SyntheticDefects, with_defects
from cae_pipeline.detector.cost import measure_cost
from cae_pipeline.detector.scorer import ScoredImages, Scorer
from cae_pipeline.domain.images import Floats, Pixels, resized
from cae_pipeline.domain.line import Line
from cae_pipeline.domain.promotion import BROKEN, GateFigures
from cae_pipeline.domain.verdict import Use, use_of
from cae_pipeline.errors import ArtefactError, NonFiniteScoreError
from cae_pipeline.statistics.metrics import auroc
from cae_pipeline.steps.night.load import load_model
from cae_pipeline.steps.night.read import read_images, stack
from cae_pipeline.steps.services import Services

log = structlog.get_logger()

MEASURED = (
    "synthetic_auroc",
    "detected",
    "explained",
    "undone",
    "held_out_flagged",
    "score_spread",
    "score_difference",
)
USUAL = 0.25
"""Lowest p-value of an image that may stand for recent normal ones: what hardly escaped being flagged may as well be a
defect that the champion missed, and to flag it is no fault."""
MAX_RECENT = 300
"""Recent normal images that are looked at, newest first."""


@dataclass(frozen=True)
class Exam:
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


def set_exam(
    line: Line, challenger: ModelVersion, champion: ModelVersion | None, scorer: Scorer, services: Services
) -> Exam:
    """Collect the images; the golden set is left empty where it is too small to say anything."""
    seen = pool.pictures_seen_by(
        services.engine, challenger.model_version, *([champion.model_version] if champion else [])
    )
    members = models.snapshot_members(services.engine, challenger.model_version, part="calibration")
    accepted = image_rows.accepted_images(services.engine, sorted({batch_key for batch_key, _ in members}))
    held_out = [row for row in accepted if (row["batch_key"], row["name"]) in members]
    recent = [
        row
        for row in pool.presumably_normal(services.engine, line.name, newest_nights=line.retraining.newest_nights)
        if row["image_id"] not in seen and row["p_value"] >= USUAL
    ]
    judged = [
        row
        for row in verdicts.judged_images(services.engine, line.name, "defect", "normal")
        if use_of(row["image_id"], row["verdict"]) is Use.GOLDEN and row["image_id"] not in seen
    ]
    golden = {word: [row for row in judged if row["verdict"] == word] for word in ("normal", "defect")}
    if min(map(len, golden.values())) < line.gate.min_golden_images:
        golden = {word: [] for word in golden}

    def read(rows: Sequence[Any]) -> Pixels:
        return stack(list(read_images(rows, scorer.settings, services, doing=f"gate {line.name}")), scorer.settings)

    pixels = read(held_out)
    return Exam(
        pixels,
        with_defects(pixels, seed=line.training.seed),
        read(recent[:MAX_RECENT]),
        read(golden["normal"]),
        read(golden["defect"]),
    )


def challenger_figures(scorer: Scorer, version: ModelVersion, exam: Exam, services: Services) -> GateFigures:
    """Measure a challenger, and what it costs."""
    figures = model_figures(scorer, version.threshold, exam)
    try:
        cost = measure_cost(services.model_folder(version.artefact_sha256), sha256=version.artefact_sha256)
    except ArtefactError as error:
        log.warning("cost_unknown", model_version=version.model_version, problem=str(error))
        return replace(figures, milliseconds_per_image=np.inf, peak_mib=np.inf)
    return replace(figures, **asdict(cost))


def champion_figures(champion: ModelVersion, challenger: Scorer, exam: Exam, services: Services) -> GateFigures | None:
    """Measure the champion; one of another image size cannot judge these pixels, one whose files are broken nothing."""
    try:
        scorer = load_model(champion, services)
    except ArtefactError as error:
        log.warning("champion_unreadable", model_version=champion.model_version, problem=str(error))
        return None
    then, now = scorer.settings, challenger.settings
    if (then.read_px, then.channels) != (now.read_px, now.channels):
        return None
    return model_figures(scorer, champion.threshold, exam)


def model_figures(scorer: Scorer, threshold: float, exam: Exam) -> GateFigures:
    """Measure a model; NaN where its networks are broken."""
    try:
        normal, defective = scorer.score(exam.held_out), scorer.score(exam.defective.images)
        recent = scorer.score(exam.recent).scores
        golden = [scorer.score(images).scores for images in (exam.golden_normal, exam.golden_defective)]
    except NonFiniteScoreError:
        return replace(BROKEN, threshold=threshold)
    return GateFigures(
        synthetic_auroc=auroc(normal.scores, defective.scores),
        detected=float((defective.scores > threshold).mean()),
        explained=_explained(normal),
        undone=_undone(normal.inputs, defective, exam.defective),
        threshold=threshold,
        held_out_flagged=float((normal.scores > threshold).mean()),
        score_spread=float(normal.scores.std()),
        score_difference=_difference(normal, scorer),
        recent_flagged=int((recent > threshold).sum()),
        num_recent=len(recent),
        golden_auroc=auroc(*golden) if all(map(len, golden)) else None,
    )


def _explained(normal: ScoredImages) -> float:
    error = np.mean((normal.reconstructions - normal.inputs) ** 2, dtype=np.float64)
    return float(1 - error / max(np.var(normal.inputs, dtype=np.float64), 1e-12))


def _undone(wanted: Floats, defective: ScoredImages, exam: SyntheticDefects) -> float:
    where = resized(exam.masks.astype(np.float32), wanted.shape[1:3])[..., None]
    before, after = (
        np.sum(where * (images - wanted) ** 2, dtype=np.float64)
        for images in (defective.inputs, defective.reconstructions)
    )
    return float(1 - after / max(before, 1e-12))


def _difference(normal: ScoredImages, scorer: Scorer) -> float:
    """Hold scores of the calibration images against those that the training wrote down, in the order of size."""
    then, now = np.sort(scorer.normal_scores), np.sort(normal.scores)
    if len(then) != len(now):
        return float("inf")
    return float((np.abs(now - then) / np.maximum(then, 1e-9)).max())
