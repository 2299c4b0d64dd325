"""Who serves which line, under which thresholds, and what waits for a score."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cae_pipeline.adapters.results import batches, ledger, model_versions, thresholds
from cae_pipeline.adapters.results.model_versions import ModelVersion
from cae_pipeline.adapters.results.thresholds import ThresholdRow
from cae_pipeline.domain.line import Line
from cae_pipeline.steps.night.find import is_normal_batch
from cae_pipeline.steps.services import Services


@dataclass(frozen=True)
class LineState:
    """Who serves a line, and what waits for a score.

    Attributes:
        champion: Model version; empty where the line waits for one.
        images_waiting: Accepted images of batches that are not finished; batches that train are not counted.
    """

    line: str
    state: str
    champion: str
    batches_waiting: int
    images_waiting: int


def line_states(lines: Iterable[Line], services: Services) -> list[LineState]:
    """Say of each line who serves it, and how many images wait for a score."""
    with services.read() as connection:
        champions = model_versions.all_champions(connection)
    return [_state(line, champions.get(line.name, ""), services) for line in lines]


def _state(line: Line, champion: str, services: Services) -> LineState:
    with services.read() as connection:
        unfinished = batches.unfinished_deliveries(connection, line.name)
    waiting = [row for row in unfinished if not is_normal_batch(line, row.batch_id)]
    return LineState(
        line=line.name,
        state="served" if champion else "waits for a champion",
        champion=champion,
        batches_waiting=len(waiting),
        images_waiting=sum(row.num_images - row.num_quarantined for row in waiting),
    )


def serving_version(line: Line, services: Services, *, as_of: datetime | None = None) -> ModelVersion:
    """Look up who serves a line, now or at a moment of the past.

    Raises:
        NoChampionError: If nobody does, or did.
    """
    with services.read() as connection:
        return ledger.champion_of(connection, line.name, as_of=as_of)


def list_thresholds(line: Line, services: Services, *, model_version: str | None = None) -> list[ThresholdRow]:
    """List all thresholds of a model version, oldest first; the last one is in force.

    Args:
        line: The line whose champion is meant where no model version is named.
        services: The outside world.
        model_version: Such as `cae-mono/3`; None is the champion.

    Raises:
        NoChampionError: If the line has no champion and none is named.
        NotFoundError: If there is no such model version.
    """
    with services.read() as connection:
        name = model_version or ledger.champion_of(connection, line.name).model_version
        return thresholds.threshold_history(connection, name)
