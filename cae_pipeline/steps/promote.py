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
from cae_pipeline.steps.load import load_model
from cae_pipeline.steps.read import read_images, stack
from cae_pipeline.steps.services import Services
from cae_pipeline.steps.train import registered_name

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
    pixels = _calibration_images(line, challenger, services)
    seed = line.training.seed
    decision = decide(
        _figures(challenger, pixels, seed, services),
        _figures(champion, pixels, seed, services)
        if champion and _comparable(champion, challenger, services)
        else None,
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


def _calibration_images(line: Line, challenger: ModelVersion, services: Services) -> Pixels:
    members = models.snapshot_members(services.engine, challenger.model_version, part="calibration")
    rows = image_rows.accepted_images(services.engine, sorted({batch_key for batch_key, _ in members}))
    chosen = [row for row in rows if (row["batch_key"], row["name"]) in members]
    model = load_model(challenger, services).settings
    return stack(list(read_images(chosen, model, services, doing=f"gate {line.name}")), model)


def _comparable(champion: ModelVersion, challenger: ModelVersion, services: Services) -> bool:
    """A champion of another image size cannot judge these pixels, one whose files are broken nothing."""
    try:
        then = load_model(champion, services).settings
    except ArtefactError as error:
        log.warning("champion_unreadable", model_version=champion.model_version, problem=str(error))
        return False
    now = load_model(challenger, services).settings
    return (then.read_px, then.channels) == (now.read_px, now.channels)


def _figures(version: ModelVersion, pixels: Pixels, seed: int, services: Services) -> GateFigures:
    scorer = load_model(version, services)
    try:
        normal = scorer.score(pixels).scores
        damaged = scorer.score(with_defects(pixels, seed=seed).images).scores
    except NonFiniteScoreError:
        return GateFigures(math.nan, version.threshold, math.nan)
    return GateFigures(auroc(normal, damaged), version.threshold, float(normal.std()))


def _mirror(line: Line, challenger: ModelVersion, decision: Decision, services: Services) -> None:
    """Tell MLflow what the table says."""
    name, number = registered_name(line.name), int(challenger.model_version.rsplit("/", 1)[1])
    if decision.promote:
        tracking.set_alias(services.tracking_uri, name, tracking.CHAMPION, number)
    word = "promoted" if decision.promote else "refused"
    tracking.tag_version(
        services.tracking_uri, name, number, {"decision": word, "reasons": " | ".join(decision.reasons)}
    )
    tracking.tag_run(services.tracking_uri, challenger.run_id, {"decision": word})
