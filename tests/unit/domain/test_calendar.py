"""Real zones, across their changes of the clock."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cae_pipeline.domain.calendar import Calendar, calendar_of, find_zone, told
from cae_pipeline.domain.deadlines import missed_nights, told_hour
from cae_pipeline.domain.line import Line
from cae_pipeline.errors import ConfigurationError
from cae_pipeline.lines_file import parse_lines
from cae_pipeline.settings import read_settings

ZONES = ("UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kolkata", "Pacific/Apia", "America/St_Johns")
NIGHT = date(2026, 1, 31)


def _calendar(zone: str, **knobs: Any) -> Calendar:
    return calendar_of(Line("cells", time_zone=zone, **knobs), time_zone="UTC")


def _utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("zone", "moment", "day"),
    [
        ("Europe/Berlin", _utc(2026, 1, 31, 22, 59), "2026-01-31"),
        ("Europe/Berlin", _utc(2026, 1, 31, 23, 0), "2026-02-01"),
        ("Europe/Berlin", _utc(2026, 7, 31, 22, 0), "2026-08-01"),
        ("America/Sao_Paulo", _utc(2026, 2, 1, 2, 59), "2026-01-31"),
        ("Asia/Kolkata", _utc(2026, 1, 31, 18, 30), "2026-02-01"),
        # Samoa went over the date line: no 30 December 2011
        ("Pacific/Apia", _utc(2011, 12, 30, 9, 59), "2011-12-29"),
        ("Pacific/Apia", _utc(2011, 12, 30, 10, 0), "2011-12-31"),
    ],
)
def test_the_date_is_that_on_the_wall_of_the_plant(zone: str, moment: datetime, day: str) -> None:
    assert str(_calendar(zone).date_of(moment)) == day


@pytest.mark.parametrize(
    ("zone", "day", "hour", "moment"),
    [
        ("Europe/Berlin", date(2026, 3, 28), time(22), _utc(2026, 3, 28, 21)),
        ("Europe/Berlin", date(2026, 3, 29), time(22), _utc(2026, 3, 29, 20)),
        ("Europe/Berlin", date(2026, 3, 29), time(2, 30), _utc(2026, 3, 29, 1, 30)),  # does not exist: 03:30
        ("Europe/Berlin", date(2026, 10, 25), time(2, 30), _utc(2026, 10, 25, 1, 30)),  # twice: the second
        ("Europe/Berlin", date(2026, 10, 25), time(1, 30), _utc(2026, 10, 24, 23, 30)),
        ("America/Sao_Paulo", date(2018, 11, 4), time(0), _utc(2018, 11, 4, 3)),  # the day began at 01:00
        ("America/Sao_Paulo", date(2018, 2, 17), time(23, 30), _utc(2018, 2, 18, 2, 30)),  # the hour before midnight
        ("Asia/Kolkata", date(2026, 1, 31), time(22), _utc(2026, 1, 31, 16, 30)),
    ],
)
def test_an_hour_on_the_wall_is_one_moment_and_never_too_early(
    zone: str, day: date, hour: time, moment: datetime
) -> None:
    assert _calendar(zone).moment_of(day, hour) == moment


@settings(deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    day=st.dates(date(2000, 1, 1), date(2037, 12, 31)),
    minute=st.integers(0, 24 * 60 - 1),
)
def test_before_its_hour_the_wall_never_shows_a_later_date_and_hour(zone: str, day: date, minute: int) -> None:
    calendar = _calendar(zone)
    hour = time(minute // 60, minute % 60)
    moment = calendar.moment_of(day, hour)
    wall = moment.astimezone(calendar.zone).replace(tzinfo=None)
    # exact, but where the clock jumped over the hour: then later by the jump
    assert wall >= datetime.combine(day, hour)
    assert wall - datetime.combine(day, hour) in {timedelta(0), timedelta(hours=1), timedelta(days=1)}
    assert calendar.date_of(moment) == wall.date()


@settings(deadline=None)
@given(zone=st.sampled_from(ZONES), seconds=st.integers(0, 2**31 - 1))
def test_every_moment_lies_between_the_midnights_of_its_date(zone: str, seconds: int) -> None:
    calendar, moment = _calendar(zone), datetime.fromtimestamp(seconds, UTC)
    day = calendar.date_of(moment)
    assert moment < calendar.moment_of(day + timedelta(days=1), time(0))
    assert calendar.works_on(day)


def test_days_off_and_closed_dates_have_no_images() -> None:
    calendar = _calendar(
        "Europe/Berlin",
        working_days=("mon", "tue", "wed", "thu", "fri"),
        closed_dates=("2026-12-24/2027-01-01", date(2026, 5, 1), "2026-08-03 to 2026-08-07", "2026-09-01..2026-09-01"),
    )
    shut = ("2026-02-01", "2026-12-24", "2026-12-31", "2027-01-01", "2026-05-01", "2026-08-05", "2026-09-01")
    assert not any(calendar.works_on(date.fromisoformat(day)) for day in shut)
    assert all(calendar.works_on(date.fromisoformat(day)) for day in ("2026-01-30", "2026-12-23", "2026-09-02"))


def test_a_date_that_a_zone_left_out_is_no_working_day() -> None:
    days = [date(2011, 12, day) for day in (29, 30, 31)]
    assert [_calendar("Pacific/Apia").works_on(day) for day in days] == [True, False, True]


@pytest.mark.parametrize(
    ("said", "near"),
    [
        ("Europe/Berln", "Do you mean Europe/Berlin"),
        ("berlin", "Do you mean Europe/Berlin?"),
        ("Sao Paulo", "America/Sao_Paulo"),
        ("Europe", "such as Europe/Berlin"),
        ("../../etc/passwd", "Every zone is listed"),
        ("GMT+1", "such as Europe/Berlin"),
        ("UTC\0", "such as Europe/Berlin"),
    ],
)
def test_a_wrong_zone_is_answered_with_those_that_are_near(said: str, near: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        find_zone(said, where="CAE_TIME_ZONE")
    assert str(caught.value).startswith(
        f"CAE_TIME_ZONE: expected an IANA time zone such as Europe/Berlin, received {said!r}"
    )
    assert near in str(caught.value)
    assert "Etc/" not in str(caught.value)


def test_where_a_computer_has_no_zone_data_it_is_said_and_utc_works() -> None:
    script = (
        "import sys, zoneinfo; sys.modules['tzdata'] = None; zoneinfo.reset_tzpath(())\n"
        "from cae_pipeline.domain.calendar import find_zone\n"
        "find_zone('UTC', where='x')\n"
        "try: find_zone('Europe/Berlin', where='CAE_TIME_ZONE')\n"
        "except Exception as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "no time zone data. Run `pip install tzdata`" in done.stdout


@pytest.mark.parametrize("zone", sorted(available_timezones())[::40])
def test_every_zone_of_the_database_is_taken(zone: str) -> None:
    assert find_zone(zone, where="time_zone").utcoffset(datetime(2026, 1, 31)) is not None  # noqa: DTZ001  # on its wall


def test_the_installation_has_a_zone_and_a_wrong_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAE_TIME_ZONE", "Asia/Kolkata")
    assert read_settings().time_zone == "Asia/Kolkata"
    monkeypatch.setenv("CAE_TIME_ZONE", "")
    assert read_settings().time_zone == "UTC"
    monkeypatch.setenv("CAE_TIME_ZONE", "Asia/Kolkatta")
    with pytest.raises(ConfigurationError, match=r"CAE_TIME_ZONE: .*Do you mean Asia/Kolkata"):
        read_settings()


@pytest.mark.parametrize(
    ("knob", "value", "told_of"),
    [
        ("time_zone", "Europe/Berln", r"lines\.cells\.time_zone: .*Do you mean Europe/Berlin"),
        ("working_days", ["monday"], r"lines\.cells\.working_days\.0: .*'mon'.*received 'monday'"),
        ("working_days", [], r"lines\.cells\.working_days: .*at least 1"),
        ("closed_dates", ["2026-02-30"], r"lines\.cells\.closed_dates: .*received '2026-02-30'"),
        ("closed_dates", ["2027-01-01/2026-12-24"], r"lines\.cells\.closed_dates: expected a date"),
        ("closed_dates", ["1/2/3"], r"lines\.cells\.closed_dates: expected a date"),
        ("closed_dates", [7], r"lines\.cells\.closed_dates\.0"),
        ("expected_by", "22:00+02:00", r"lines\.cells\.expected_by: expected a time of day .*with a zone"),
    ],
)
def test_a_wrong_knob_of_the_calendar_is_named_with_its_line(knob: str, value: Any, told_of: str) -> None:
    with pytest.raises(ConfigurationError, match=told_of):
        parse_lines({"lines": {"cells": {knob: value}}}, where="lines.toml")


def test_a_line_has_its_own_zone_before_that_of_the_installation() -> None:
    assert calendar_of(Line("cells"), time_zone="Asia/Kolkata").zone == ZoneInfo("Asia/Kolkata")
    assert calendar_of(Line("cells", time_zone="Europe/Berlin"), time_zone="Asia/Kolkata").zone == ZoneInfo(
        "Europe/Berlin"
    )


def _missed(line: Line, night: date, now: datetime, installation: str = "UTC") -> list[str]:
    calendar = calendar_of(line, time_zone=installation)
    found = missed_nights(night, line, calendar, now=now, installation=_calendar(installation))
    return [str(day) for day in found]


def test_a_night_is_missed_from_its_hour_on_the_plants_wall() -> None:
    line = Line("cells", expected_by=time(22), time_zone="Europe/Berlin")
    assert _missed(line, NIGHT, _utc(2026, 1, 31, 20, 59)) == []
    assert _missed(line, NIGHT, _utc(2026, 1, 31, 21, 0)) == ["2026-01-31"]
    assert _missed(Line("cells"), NIGHT, _utc(2026, 2, 5)) == []


def test_an_hour_after_the_nightly_run_is_not_forgotten() -> None:
    at_two = Line("cells", expected_by=time(2), expected_next_day=True)
    assert _missed(at_two, NIGHT, _utc(2026, 1, 31, 23, 30)) == ["2026-01-30"]
    assert _missed(at_two, NIGHT + timedelta(days=1), _utc(2026, 2, 1, 1, 30)) == ["2026-01-30"]
    assert _missed(at_two, NIGHT + timedelta(days=1), _utc(2026, 2, 1, 2, 0)) == ["2026-01-30", "2026-01-31"]
    before_midnight = Line("cells", expected_by=time(23, 45))
    # by the alerts of every half hour, and by the nightly run alone
    assert _missed(before_midnight, NIGHT + timedelta(days=1), _utc(2026, 2, 1, 0, 0)) == ["2026-01-30", "2026-01-31"]
    assert _missed(before_midnight, NIGHT + timedelta(days=1), _utc(2026, 2, 1, 23, 30)) == ["2026-01-31"]
    both = Line("cells", expected_by=time(23, 45), expected_next_day=True)
    assert _missed(both, NIGHT + timedelta(days=2), _utc(2026, 2, 2, 23, 30)) == ["2026-01-31"]


def test_an_earlier_night_is_not_told_again_by_a_run_of_an_old_date() -> None:
    line = Line("cells", expected_by=time(23, 45))
    assert _missed(line, NIGHT, _utc(2026, 6, 1)) == ["2026-01-31"]
    # seen on its own date already
    assert _missed(Line("cells", expected_by=time(22)), NIGHT, _utc(2026, 1, 31, 22)) == ["2026-01-31"]


def test_a_line_west_of_the_installation_is_missed_after_the_installations_midnight() -> None:
    line = Line("cells", expected_by=time(22), time_zone="America/Sao_Paulo", working_days=("sat",))
    assert _missed(line, NIGHT, _utc(2026, 1, 31, 22, 30), "Europe/Berlin") == []
    assert _missed(line, NIGHT + timedelta(days=1), _utc(2026, 2, 1, 1, 0), "Europe/Berlin") == ["2026-01-31"]


def test_a_day_off_misses_nothing() -> None:
    line = Line("cells", expected_by=time(22), working_days=("mon", "tue", "wed", "thu", "fri"))
    nights = [date(2026, 1, 30) + timedelta(days=days) for days in range(4)]  # Friday to Monday
    missed = [_missed(line, night, datetime.combine(night, time(23, 30), UTC)) for night in nights]
    assert missed == [["2026-01-30"], [], [], ["2026-02-02"]]


def test_times_for_people_carry_their_zone() -> None:
    moment = _utc(2026, 7, 1, 20, 5)
    zones = ("UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kolkata")
    assert [told(moment.astimezone(_calendar(zone).zone)) for zone in zones] == [
        "2026-07-01 20:05 UTC",
        "2026-07-01 22:05 CEST",
        "2026-07-01 17:05 UTC-03",
        "2026-07-02 01:35 IST",
    ]
    at_two = Line("cells", expected_by=time(2), expected_next_day=True, time_zone="Europe/Berlin")
    assert told_hour(NIGHT, at_two, calendar_of(at_two, time_zone="UTC")) == "02:00 CET of 2026-02-01"
