"""Find the batches of all lines that a night is due to look at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from cae_pipeline.domain.line import Line
from cae_pipeline.steps.night.each_line import LinesDone, for_each_line
from cae_pipeline.steps.night.find import FoundBatches, find_batches
from cae_pipeline.steps.services import Services


def find_lines(lines: Sequence[Line], night: date, services: Services) -> LinesDone[FoundBatches]:
    """Look for batches of every line dated up to a night; see `find_batches`."""
    return for_each_line(lines, lambda line: find_batches(line, night, services))
