"""Judge old batches again, with a given model or with the champion of a moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from cae_pipeline.adapters.results import batches, ledger, model_versions
from cae_pipeline.adapters.results.model_versions import ModelVersion
from cae_pipeline.domain.batch import DeliveryStatus
from cae_pipeline.errors import CaeError
from cae_pipeline.steps.night.plan import plan_chunks
from cae_pipeline.steps.night.score import Slice
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
        line: The product line.
        nights: First and last.
        judge: A model version, a moment whose champion is meant, or None for today's champion.
        chunk_size: Images that one task takes.
        services: The outside world.

    Raises:
        NotFoundError: If there is no such model version.
        NoChampionError: If the line had none at that moment.
        CaeError: If the model is another line's.
    """
    with services.read() as connection:
        if isinstance(judge, str):
            version = model_versions.find_version(connection, judge)
        else:
            version = ledger.champion_of(connection, line, as_of=judge)
        of_nights = batches.deliveries_of_nights(connection, line, nights)
    if version.line != line:
        raise CaeError(
            f"model version {version.model_version!r} is of line {version.line!r}, expected one of line {line!r}"
        )
    keys = [row.delivery_key for row in of_nights if row.status is not DeliveryStatus.REJECTED]
    return RescorePlan(version, plan_chunks(keys, version, chunk_size=chunk_size, services=services))
