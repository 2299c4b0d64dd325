"""Tell people what a night calls for on all lines, also where one of them cannot be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from cae_pipeline.domain.line import Line
from cae_pipeline.steps.night.alert import Alarm, raise_alerts
from cae_pipeline.steps.night.each_line import LinesDone, for_each_line
from cae_pipeline.steps.services import Services


def alert_lines(night: date, lines: Sequence[Line], services: Services) -> tuple[Alarm, LinesDone[Alarm]]:
    """Raise and deliver alerts of every line.

    All lines are asked at once, which delivers each alert once. Only where that fails they are asked one by one.

    Returns:
        What was raised and told, and which lines could not be asked.
    """
    try:
        return raise_alerts(night, lines, services), LinesDone({}, {}, retryable=False)
    except Exception:  # noqa: BLE001  # it is met again, named and told of below, with its line
        asked = for_each_line(lines, lambda line: raise_alerts(night, [line], services))
    return _together(asked.results), asked


def _together(alarms: Mapping[str, Alarm]) -> Alarm:
    """What several alarms raised and told, each alert once: one that is not received waits in every later alarm."""
    alerts, new = (
        list({row["alert_key"]: row for alarm in alarms.values() for row in getattr(alarm, name)}.values())
        for name in ("alerts", "new")
    )
    return Alarm(alerts, new, sum(alarm.num_delivered for alarm in alarms.values()))
