"""When a night's first batch should have arrived, and which nights have waited in vain."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING

from cae_pipeline.domain.calendar import ONE_DAY, Calendar, zone_name

if TYPE_CHECKING:
    from cae_pipeline.domain.line import Line

LAST_LOOK = time(23)
"""From this hour on nobody may look at a night again before its date ends: the nightly run begins at 23:30."""
LOOKED_BACK = timedelta(hours=36)
"""So long after its hour a missing batch of an earlier night is still told: until the next nightly run is through, and
not when an old date is run again."""


def missed_nights(night: date, line: Line, calendar: Calendar, *, now: datetime, installation: Calendar) -> list[date]:
    """List the nights whose batch should be there by now, as far as it is time to say so.

    The night that is asked about is one of them once its hour has passed. An earlier one is where its hour came too
    late to be seen on its own date, as 02:00 of the next day does.

    Args:
        night: The one that is looked at.
        line: Its `expected_by` and `expected_next_day` are the hour.
        calendar: The line's.
        now: Aware.
        installation: The calendar that runs follow.

    Returns:
        Working days, the oldest first; none where the line expects nothing.
    """
    missed = []
    for day in (night - 2 * ONE_DAY, night - ONE_DAY, night):
        hour = deadline(day, line, calendar)
        if hour is None or now < hour or not calendar.works_on(day):
            continue
        came_late = hour >= installation.moment_of(day, LAST_LOOK) and now - hour < LOOKED_BACK
        if day == night or came_late:
            missed.append(day)
    return missed


def deadline(night: date, line: Line, calendar: Calendar) -> datetime | None:
    """Tell when a night's first batch should have arrived, aware and in UTC; None where nothing is expected."""
    if line.expected_by is None:
        return None
    return calendar.moment_of(night + ONE_DAY * line.expected_next_day, line.expected_by)


def told_hour(night: date, line: Line, calendar: Calendar) -> str:
    """Write a night's deadline for people: the hour and its zone, and the date where it is that of another day."""
    moment = deadline(night, line, calendar)
    if moment is None:
        return "any hour"
    hour = moment.astimezone(calendar.zone)
    return f"{hour:%H:%M} {zone_name(hour)}" + (f" of {hour.date()}" if hour.date() != night else "")
