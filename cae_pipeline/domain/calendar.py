"""The plant's calendar: the date of a moment, the days on which images are expected, and the night of a batch.

Stored times are UTC. People, folder names and schedules follow the clock on the wall of the plant, which jumps twice a
year in most places. Everything here is a function of its arguments: the clock and the environment are told.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cae_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from cae_pipeline.domain.line import Line

Weekday: TypeAlias = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

ONE_DAY = timedelta(days=1)
FAR_FROM_ARRIVAL = timedelta(days=2)
"""A batch whose name is further than this from the day it arrived is late, was copied, or comes from a wrong clock."""
_RANGE = re.compile(r"\s*(?:/|\.\.|\bto\b)\s*")


@dataclass(frozen=True)
class Calendar:
    """When a line works, by the clock on its wall.

    Attributes:
        zone: Its time zone.
        working_days: Days of the week on which images are expected.
        closed: First and last date of each time without images, both included.
    """

    zone: tzinfo = UTC
    working_days: frozenset[Weekday] = frozenset(WEEKDAYS)
    closed: tuple[tuple[date, date], ...] = ()

    def date_of(self, moment: datetime) -> date:
        """Tell the date on the wall at an aware moment.

        Example:
            >>> Calendar(ZoneInfo("Asia/Kolkata")).date_of(datetime(2026, 1, 31, 20, tzinfo=UTC))
            datetime.date(2026, 2, 1)
        """
        return moment.astimezone(self.zone).date()

    def moment_of(self, day: date, hour: time) -> datetime:
        """Turn a time on the wall into a moment, aware and in UTC: around a jump times of a zone do not compare.

        Of an hour that comes twice the second one is meant, and an hour that the clock jumps over means as long after
        the jump: a deadline never passes too early.

        Example:
            >>> berlin = Calendar(ZoneInfo("Europe/Berlin"))
            >>> for day in (date(2026, 3, 29), date(2026, 10, 25)):
            ...     print(berlin.moment_of(day, time(2, 30)).astimezone(berlin.zone))
            2026-03-29 03:30:00+02:00
            2026-10-25 02:30:00+01:00
        """
        both = (datetime.combine(day, hour.replace(fold=fold), tzinfo=self.zone) for fold in (0, 1))
        return max(moment.astimezone(UTC) for moment in both)

    def works_on(self, day: date) -> bool:
        """Tell whether images are expected on a date; a date that the zone left out has none."""
        is_closed = any(first <= day <= last for first, last in self.closed)
        return WEEKDAYS[day.weekday()] in self.working_days and not is_closed and self._exists(day)

    def _exists(self, day: date) -> bool:
        """Tell whether the date was ever on the wall: Samoa went from 29 to 31 December 2011."""
        return self.date_of(datetime.combine(day, time(12), tzinfo=self.zone).astimezone(UTC)) == day


EVERY_DAY_UTC = Calendar()
"""The calendar of an installation that was told nothing."""


def calendar_of(line: Line, *, time_zone: str) -> Calendar:
    """Make the calendar of a line from its knobs.

    Args:
        line: Its own `time_zone` comes first.
        time_zone: That of the installation.

    Raises:
        ConfigurationError: If a knob of the line cannot be used; names it.
    """
    if line.expected_by and line.expected_by.tzinfo:
        raise ConfigurationError(
            f"expected_by: expected a time of day such as 22:00:00, received {line.expected_by} with a zone. "
            "It is a time in the line's time_zone."
        )
    name, where = (line.time_zone, "time_zone") if line.time_zone else (time_zone, "CAE_TIME_ZONE")
    closed = tuple(_range(text) for text in line.closed_dates)
    return Calendar(find_zone(name, where=where), frozenset(line.working_days), closed)


def find_zone(name: str, *, where: str) -> tzinfo:
    """Look a time zone up by its IANA name.

    Args:
        name: Such as Europe/Berlin.
        where: The knob that holds the name.

    Raises:
        ConfigurationError: If there is no such zone, with names that are near; or no zone data on this computer.
    """
    if name == "UTC":
        return UTC  # needs no zone data
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        known = available_timezones()
        if not known:
            told = (
                f"{where}: {name} cannot be looked up: this computer has no time zone data. Run `pip install tzdata`."
            )
            raise ConfigurationError(told) from error
        near = _near_zones(name, known)
        advice = f"Do you mean {' or '.join(near)}?" if near else "Every zone is listed in the IANA time zone database."
        raise ConfigurationError(
            f"{where}: expected an IANA time zone such as Europe/Berlin, received {name!r}. {advice}"
        ) from error


def told(moment: datetime) -> str:
    """Write an aware moment for people, with its zone.

    Example:
        >>> told(datetime(2026, 7, 1, 22, 5, tzinfo=ZoneInfo("Europe/Berlin")))
        '2026-07-01 22:05 CEST'
        >>> told(datetime(2026, 7, 1, 22, 5, tzinfo=ZoneInfo("America/Sao_Paulo")))
        '2026-07-01 22:05 UTC-03'
    """
    return f"{moment:%Y-%m-%d %H:%M} {zone_name(moment)}"


def zone_name(moment: datetime) -> str:
    """The zone's short name; some zones have a number alone, which says nothing by itself."""
    name = moment.strftime("%Z")
    return name if name[:1].isalpha() else f"UTC{name}"


def _range(text: date | str) -> tuple[date, date]:
    if isinstance(text, date):
        return text, text
    try:
        days = [date.fromisoformat(part) for part in _RANGE.split(text.strip())]
    except ValueError as error:
        raise _no_range(text) from error
    if len(days) > 2 or days[0] > days[-1]:
        raise _no_range(text)
    return days[0], days[-1]


def _no_range(text: str) -> ConfigurationError:
    return ConfigurationError(
        f'closed_dates: expected a date such as "2026-05-01" or a first and a last one, '
        f'"2026-12-24/2027-01-01", received {text!r}'
    )


def _near_zones(name: str, known: set[str]) -> list[str]:
    """Zones of the same city, else with a similar name; Etc/GMT+1 lies west of Greenwich, so it is never meant."""
    places = sorted(zone for zone in known if not zone.startswith("Etc/"))
    wanted = name.casefold().replace(" ", "_")
    city = wanted.rpartition("/")[2]
    same_city = [zone for zone in places if zone.casefold().rpartition("/")[2] == city]
    by_spelling = {zone.casefold(): zone for zone in places}
    return (same_city or [by_spelling[one] for one in get_close_matches(wanted, by_spelling, cutoff=0.75)])[:3]
