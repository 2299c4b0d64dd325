from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cae_pipeline.domain.batch_dates import batch_night, date_in_name
from cae_pipeline.domain.calendar import Calendar, find_zone

ARRIVED_AT = datetime(2026, 2, 1, 3, tzinfo=UTC)
FORMS = ("%Y-%m-%d", "%Y_%m_%d", "%Y.%m.%d", "%Y%m%d", "%Y%m%d220500", "%Y%m%d2205", "%Y%m%dT220500", "%d.%m.%Y")


@pytest.mark.parametrize(
    "batch_id",
    [
        "2026-01-31",
        "20260131",
        "2026_01_31",
        "2026.01.31",
        "31.01.2026",
        "2026-01-31_shift2",
        "2026-01-31-late",
        "2026-01-31T22-05-00",
        "cam1_20260131",
        "cam20260131",
        "20260131_220500",
        "20260131220500",
        "line 3 – 2026-01-31 (night)",
        "20261332_2026-01-31",
        "4711_20260131_88",
        "2026-01-31_until_2026-02-01",
    ],
)
def test_a_date_is_read_in_every_usual_form(batch_id: str) -> None:
    assert date_in_name(batch_id) == date(2026, 1, 31)


@pytest.mark.parametrize(
    "batch_id",
    [
        "shift-7",
        "20261332",
        "2026-02-30",
        "2026-1-31",
        "2026-01-311",
        "120260131",
        "2026013",
        "202601319",
        "20260131999999",
        "2026-01_31",
        "01/31/2026",
        "31-01-2026",
        "31012026",
        "310126",
        "10.31.01.2026",
        "1970-01-01",
        "",
    ],
)
def test_what_is_not_surely_a_date_is_none(batch_id: str) -> None:
    assert date_in_name(batch_id) is None


@settings(deadline=None)
@given(
    day=st.dates(date(2000, 1, 1), date(2099, 12, 31)),
    form=st.sampled_from(FORMS),
    before=st.text("abcXYZ _-ä", max_size=8),
    after=st.text("abcXYZ _-ä", max_size=8),
)
def test_any_date_is_read_whatever_text_is_around_it(day: date, form: str, before: str, after: str) -> None:
    assert date_in_name(before + day.strftime(form) + after) == day


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_name_has_a_night_and_is_due_when_it_is_there(batch_id: str) -> None:
    dated = batch_night(batch_id, arrived_at=ARRIVED_AT, calendar=Calendar())
    assert dated.due <= date(2026, 2, 1)
    assert dated.night <= date(2026, 2, 2)


@pytest.mark.parametrize(
    ("zone", "night"), [("UTC", 1), ("Europe/Berlin", 1), ("America/Sao_Paulo", 0), ("Pacific/Apia", 1)]
)
def test_a_batch_without_a_date_is_of_the_night_in_which_it_arrived_at_the_plant(zone: str, night: int) -> None:
    # three o'clock in the night UTC is midnight in São Paulo: one minute before it is the day before
    arrived_at = ARRIVED_AT - timedelta(minutes=1)
    dated = batch_night("shift-7", arrived_at=arrived_at, calendar=Calendar(find_zone(zone, where="time_zone")))
    assert dated.night == dated.due == date(2026, 1, 31) + timedelta(days=night)
    assert not dated.remark


def test_after_midnight_a_batch_keeps_the_date_of_its_name() -> None:
    dated = batch_night("20260131", arrived_at=ARRIVED_AT, calendar=Calendar())
    assert (dated.night, dated.due, dated.remark) == (date(2026, 1, 31), date(2026, 1, 31), "")


def test_the_date_of_tomorrow_counts_and_is_not_waited_for() -> None:
    dated = batch_night("2026-02-02", arrived_at=ARRIVED_AT, calendar=Calendar())
    assert (dated.night, dated.due, dated.remark) == (date(2026, 2, 2), date(2026, 2, 1), "")


@pytest.mark.parametrize(("batch_id", "days"), [("2026-02-03", 2), ("2062-01-31", 13_148)])
def test_a_date_in_the_future_is_said_and_the_night_is_that_of_the_arrival(batch_id: str, days: int) -> None:
    dated = batch_night(batch_id, arrived_at=ARRIVED_AT, calendar=Calendar())
    assert dated.night == dated.due == date(2026, 2, 1)
    assert f"its name says {batch_id}, it arrived on 2026-02-01, {days} days before" in dated.remark


def test_a_name_days_before_the_arrival_is_said_and_counts() -> None:
    nights = {name: batch_night(name, arrived_at=ARRIVED_AT, calendar=Calendar()) for name in ("20260130", "20260129")}
    assert not nights["20260130"].remark
    assert "2026-01-29, it arrived on 2026-02-01, 3 days later: it is late" in nights["20260129"].remark
    assert nights["20260129"].night == date(2026, 1, 29)
