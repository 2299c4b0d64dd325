"""Let a challenger through the gate, or not; either way the ledger says why."""

from __future__ import annotations

import math

import structlog

from cae_pipeline.adapters import tracking
from cae_pipeline.adapters.results import images as image_rows
from cae_pipeline.adapters.results import models
from cae_pipeline.adapters.results.models import ModelVersion
from cae_pipeline.core.evaluation import auroc
from cae_pipeline.core.images import Pixels
from cae_pipeline.core.line import Line
from cae_pipeline.core.promotion import Decision, GateFigures, decide
from cae_pipeline.errors import ArtefactError, NoChampionError, NonFiniteScoreError
from cae_pipeline.model.corruption import with_defects
from cae_pipeline.runtime.scorer import Scorer
from cae_pipeline.steps.load import load_model
from cae_pipeline.steps.read import read_images, stack
from cae_pipeline.steps.services import Services

log = structlog.get_logger()


def promote_challenger(line: Line, model_version: str, services: Services) -> Decision:
    """Hold a challenger against the champion on images the challenger was not trained to reconstruct.

    Both judge its calibration images, as they are and with synthetic defects.

    Raises:
        NotFoundError: If there is no such model version.
        ConcurrentChangeError: If somebody else promoted in between.
    """
    challenger = models.find_version(services.engine, model_version)
    champion = _champion(line, services)
    if champion is not None and champion.model_version == challenger.model_version:
        return Decision(True, ("ok: it is the champion already",))
    scorer = load_model(challenger, services)
    yardstick = _yardstick(champion, scorer, services) if champion else None
    pixels = _calibration_images(line, challenger, scorer, services)
    seed = line.training.seed
    decision = decide(
        _figures(scorer, challenger.threshold, pixels, seed),
        _figures(yardstick, champion.threshold, pixels, seed) if champion and yardstick else None,
    )
    models.record_decision(services.engine, challenger, champion, decision, stamp=(services.author, services.clock()))
    _mirror(line, challenger, decision, services)
    log.info(
        "challenger_promoted" if decision.promote else "challenger_refused",
        line=line.name,
        model_version=model_version,
        champion=champion.model_version if champion else None,
        reasons=decision.reasons,
    )
    return decision


def _champion(line: Line, services: Services) -> ModelVersion | None:
    try:
        return models.champion_of(services.engine, line.name)
    except NoChampionError:
        return None


def _calibration_images(line: Line, challenger: ModelVersion, scorer: Scorer, services: Services) -> Pixels:
    members = models.snapshot_members(services.engine, challenger.model_version, part="calibration")
    rows = image_rows.accepted_images(services.engine, sorted({batch_key for batch_key, _ in members}))
    chosen = [row for row in rows if (row["batch_key"], row["name"]) in members]
    return stack(list(read_images(chosen, scorer.settings, services, doing=f"gate {line.name}")), scorer.settings)


def _yardstick(champion: ModelVersion, challenger: Scorer, services: Services) -> Scorer | None:
    """A champion of another image size cannot judge these pixels, one whose files are broken nothing."""
    try:
        scorer = load_model(champion, services)
    except ArtefactError as error:
        log.warning("champion_unreadable", model_version=champion.model_version, problem=str(error))
        return None
    then, now = scorer.settings, challenger.settings
    return scorer if (then.read_px, then.channels) == (now.read_px, now.channels) else None


def _figures(scorer: Scorer, threshold: float, pixels: Pixels, seed: int) -> GateFigures:
    try:
        normal = scorer.score(pixels).scores
        damaged = scorer.score(with_defects(pixels, seed=seed).images).scores
    except NonFiniteScoreError:
        return GateFigures(math.nan, threshold, math.nan)
    return GateFigures(auroc(normal, damaged), threshold, float(normal.std()))


def _mirror(line: Line, challenger: ModelVersion, decision: Decision, services: Services) -> None:
    """Tell MLflow what the table says."""
    name, number = tracking.registered_name(line.name), int(challenger.model_version.rsplit("/", 1)[1])
    if decision.promote:
        tracking.set_alias(services.tracking_uri, name, tracking.CHAMPION, number)
    word = "promoted" if decision.promote else "refused"
    tracking.tag_version(
        services.tracking_uri, name, number, {"decision": word, "reasons": " | ".join(decision.reasons)}
    )
    tracking.tag_run(services.tracking_uri, challenger.run_id, {"decision": word})
