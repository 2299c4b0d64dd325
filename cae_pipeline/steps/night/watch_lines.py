"""Watch all lines for drift, and ask for the trainings that are called for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from cae_pipeline.domain.line import Line
from cae_pipeline.steps.night.each_line import LinesDone, for_each_line
from cae_pipeline.steps.night.watch import Retraining, ask_for_retraining, watch_drift
from cae_pipeline.steps.services import Services


@dataclass(frozen=True)
class WatchedLine:
    """What has moved on one line, the first reason for saying so, and the training that is asked for, if any."""

    diagnosis: str
    reason: str
    retraining: Retraining | None


def watch_lines(lines: Sequence[Line], night: date, services: Services) -> LinesDone[WatchedLine]:
    """Say of every line what has moved in a night; a line without a champion has nothing to be compared with."""

    def watch(line: Line) -> WatchedLine:
        report = watch_drift(line, night, services)
        return WatchedLine(report.diagnosis, report.reasons[0], ask_for_retraining(line, report, services))

    return for_each_line(lines, watch)
