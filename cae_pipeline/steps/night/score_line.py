"""Judge images of one line: parts of batches that were planned, or all that wait."""

from __future__ import annotations

from collections.abc import Sequence

from cae_pipeline.adapters.results import ledger, model_versions
from cae_pipeline.domain.line import Line
from cae_pipeline.errors import CaeError
from cae_pipeline.steps.night.plan import plan_line
from cae_pipeline.steps.night.score import ScoredChunk, Slice, score_slices
from cae_pipeline.steps.services import Services


def score_line(
    line: Line,
    services: Services,
    *,
    slices: Sequence[Slice],
    model_version: str | None,
    chunk_size: int,
    again: bool = False,
) -> ScoredChunk:
    """Score accepted images of a line.

    Args:
        line: The line.
        services: The outside world.
        slices: Parts of batches; empty for all that waits.
        model_version: Who judges; None is the champion.
        again: Score also what other models have scored.
        chunk_size: Images that are planned together where no slices are given.

    Raises:
        NotFoundError: If there is no such model version.
        NoChampionError: If nobody may judge.
        CaeError: If the model is another line's.
    """
    with services.read() as connection:
        if model_version is None:
            version = ledger.champion_of(connection, line.name)
        else:
            version = model_versions.find_version(connection, model_version)
    if version.line != line.name:
        raise CaeError(
            f"model version {version.model_version!r} is of line {version.line!r}, expected one of line {line.name!r}"
        )
    if not slices:
        _, chunks = plan_line(line, chunk_size=chunk_size, services=services)
        slices = [part for chunk in chunks for part in chunk]
    return score_slices(slices, version, services, again=again)
