"""Share the images of all lines that wait for a score out over scoring tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cae_pipeline.domain.line import Line
from cae_pipeline.steps.night.each_line import LinesDone, for_each_line
from cae_pipeline.steps.night.plan import plan_line
from cae_pipeline.steps.night.score import Slice
from cae_pipeline.steps.services import Services


@dataclass(frozen=True)
class LinePlan:
    """Which model version judges which parts of batches; each chunk is one scoring task."""

    model_version: str
    chunks: tuple[tuple[Slice, ...], ...]


def plan_lines(lines: Sequence[Line], *, chunk_size: int, services: Services) -> LinesDone[LinePlan]:
    """Plan what the champion of every line has to judge; a line without one waits.

    Args:
        lines: All lines.
        chunk_size: Images that one scoring task takes at most.
        services: The outside world.
    """

    def plan(line: Line) -> LinePlan:
        version, chunks = plan_line(line, chunk_size=chunk_size, services=services)
        return LinePlan(version.model_version, tuple(map(tuple, chunks)))

    return for_each_line(lines, plan)
