"""Which night a batch is of: by the date in its name, else by its arrival, in the plant's time zone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time

from cae_pipeline.domain.calendar import FAR_FROM_ARRIVAL, ONE_DAY, Calendar

# years of this century only: a number of eight digits is often a serial number, and 1970 is a clock that was never set
_YEAR, _MONTH, _DAY = r"(?P<year>20[0-9]{2})", r"(?P<month>[0-9]{2})", r"(?P<day>[0-9]{2})"
_FORMS = (
    re.compile(rf"(?<![0-9]){_YEAR}(?P<mark>[-_.]){_MONTH}(?P=mark){_DAY}(?![0-9])"),
    re.compile(rf"(?<![0-9]){_YEAR}{_MONTH}{_DAY}(?P<hour>[0-9]{{4}}(?:[0-9]{{2}})?)?(?![0-9])"),
    # between dots the day comes first wherever this is written; 01/02/2026 and 01-02-2026 mean two days
    re.compile(rf"(?<![0-9])(?<![0-9]\.){_DAY}\.{_MONTH}\.{_YEAR}(?![0-9])"),
)


@dataclass(frozen=True)
class BatchNight:
    """Where a batch belongs in time.

    Attributes:
        night: The date it counts under, in every table and report.
        due: The first night whose run looks at it.
        remark: What is odd about its date, for people; empty if nothing is.
    """

    night: date
    due: date
    remark: str = ""


def batch_night(batch_id: str, *, arrived_at: datetime, calendar: Calendar) -> BatchNight:
    """Tell which night a batch is of.

    The date in its name counts. Without one it is the date of its arrival, and so it is where the name bears a date
    that is more than a day after the arrival, because nobody photographs in the future. The date of the next day is
    taken as it is: a night shift may bear the date on which it ends. No batch is waited for once it is there.

    Args:
        batch_id: Its folder's name.
        arrived_at: When the folder was last written, aware.
        calendar: The line's.

    Example:
        >>> from datetime import UTC
        >>> arrived_at = datetime(2026, 2, 1, 3, tzinfo=UTC)
        >>> batch_night("cam1_20260131", arrived_at=arrived_at, calendar=Calendar()).night
        datetime.date(2026, 1, 31)
    """
    arrived_on = calendar.date_of(arrived_at)
    named = date_in_name(batch_id)
    if named is None:
        return BatchNight(arrived_on, due=arrived_on)
    away = abs(named - arrived_on)
    if named - arrived_on > ONE_DAY:
        remark = (
            f"its name says {named}, it arrived on {arrived_on}, {away.days} days before: the clock that named it is "
            f"wrong, or it was named ahead. It counts to the night of its arrival"
        )
        return BatchNight(arrived_on, due=arrived_on, remark=remark)
    remark = (
        f"its name says {named}, it arrived on {arrived_on}, {away.days} days later: it is late, was copied, or a "
        f"clock is wrong. It counts to the night of the date in its name"
    )
    return BatchNight(named, due=min(named, arrived_on), remark=remark if away > FAR_FROM_ARRIVAL else "")


def date_in_name(batch_id: str) -> date | None:
    """Find the first date in a folder's name; None if there is none that exists.

    Forms: 2026-01-31, 2026_01_31, 2026.01.31, 20260131 (a time of day may follow, as in 20260131220500) and 31.01.2026,
    with any text before and after that is no further digit.

    Example:
        >>> date_in_name("line3_20260131_shift2")
        datetime.date(2026, 1, 31)
        >>> date_in_name("20261332") is None
        True
    """
    return min(_dates(batch_id), default=(0, None), key=lambda found: found[0])[1]


def _dates(batch_id: str) -> Iterator[tuple[int, date | None]]:
    for form in _FORMS:
        for found in form.finditer(batch_id):
            parts = found.groupdict()
            try:
                if digits := parts.get("hour"):
                    time(int(digits[:2]), int(digits[2:4]), int(digits[4:] or 0))
                yield found.start(), date(*(int(parts[name]) for name in ("year", "month", "day")))
            except ValueError:
                continue
