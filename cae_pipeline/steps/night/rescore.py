"""Judge old batches again, with a given model or with the champion of a moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from cae_pipeline.adapters.results import batches, ledger, models
from cae_pipeline.adapters.results.models import ModelVersion
from cae_pipeline.errors import CaeError
from cae_pipeline.steps.night.score import Slice, plan_chunks
from cae_pipeline.steps.services import Services


@dataclass(frozen=True)
class RescorePlan:
    """Which model judges what."""

    version: ModelVersion
    chunks: list[list[Slice]]


def plan_rescoring(
    line: str,
    nights: tuple[date, date],
    *,
    judge: str | datetime | None,
    chunk_size: int,
    services: Services,
) -> RescorePlan:
    """Plan the scoring of a line's batches of some nights, both ends included.

    Args:
        judge: A model version, a moment whose champion is meant, or None for today's champion.

    Raises:
        NotFoundError: If there is no such model version.
        NoChampionError: If the line had none at that moment.
        CaeError: If the model is another line's.
    """
    if isinstance(judge, str):
        version = models.find_version(services.engine, judge)
    else:
        version = ledger.champion_of(services.engine, line, as_of=judge)
    if version.line != line:
        raise CaeError(
            f"model version {version.model_version!r} is of line {version.line!r}, expected one of line {line!r}"
        )
    keys = batches.batches_of_nights(services.engine, line, nights)
    return RescorePlan(version, plan_chunks(keys, chunk_size=chunk_size, services=services))
