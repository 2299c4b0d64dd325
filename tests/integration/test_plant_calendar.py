"""What is found, missed and written follows the plant's clock, on both databases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pytest

from cae_pipeline.adapters.results.queries import nights
from cae_pipeline.adapters.results.queries.paging import Page
from cae_pipeline.domain.calendar import Weekday
from cae_pipeline.domain.line import Line
from cae_pipeline.errors import BatchRejectedError
from cae_pipeline.steps.night.alert import raise_alerts
from cae_pipeline.steps.night.find import find_batches
from cae_pipeline.steps.night.publish import publish_night
from cae_pipeline.steps.night.validate import validate_batch
from cae_pipeline.steps.services import Services
from tests.conftest import deliver, washers

WEEK: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri")


def _at(services: Services, *moment: int, zone: str = "Europe/Berlin") -> Services:
    return replace(services, clock=lambda: datetime(*moment, tzinfo=UTC), time_zone=zone)  # type: ignore[misc,arg-type]


def _arrive(services: Services, batch_id: str, *moment: int, seed: int = 1) -> None:
    folder = deliver(services.landing.folder, "washers", batch_id, washers(range(seed, seed + 4)))
    seconds = datetime(*moment, tzinfo=UTC).timestamp()  # type: ignore[misc,arg-type]
    for path in (*folder.iterdir(), folder):
        os.utime(path, (seconds, seconds))


def _missed(services: Services, line: Line, night: date) -> list[str]:
    return [alert["message"] for alert in raise_alerts(night, [line], services).new]


def _nights(services: Services) -> dict[str, str]:
    with services.read() as connection:
        return {row.batch_id: str(row.night) for row in nights.list_batches(connection, None, Page("batch_id"))}


def test_a_batch_is_missed_by_the_plants_clock_and_told_in_its_zone(services: Services, line: Line) -> None:
    line = replace(line, expected_by=time(22))
    night = date(2026, 7, 31)
    assert _missed(_at(services, 2026, 7, 31, 19, 59), line, night) == []
    assert _missed(_at(services, 2026, 7, 31, 20, 0), line, night) == [
        "no batch of 2026-07-31 has arrived by 22:00 CEST"
    ]
    west = replace(line, time_zone="America/Sao_Paulo")
    assert _missed(_at(services, 2026, 8, 2, 1, 0), west, date(2026, 8, 1)) == [
        "no batch of 2026-08-01 has arrived by 22:00 UTC-03"
    ]


def test_a_batch_that_is_due_after_midnight_is_missed_the_next_day_and_told_once(
    services: Services, line: Line
) -> None:
    line = replace(line, expected_by=time(2), expected_next_day=True, working_days=("sat",))
    assert _missed(_at(services, 2026, 1, 31, 22, 30), line, date(2026, 1, 31)) == []
    assert _missed(_at(services, 2026, 2, 1, 0, 30), line, date(2026, 2, 1)) == []
    told = ["no batch of 2026-01-31 has arrived by 02:00 CET of 2026-02-01"]
    assert _missed(_at(services, 2026, 2, 1, 1, 0), line, date(2026, 2, 1)) == told
    assert _missed(_at(services, 2026, 2, 1, 1, 30), line, date(2026, 2, 1)) == []


@pytest.mark.parametrize("batch_id", ["2026-01-31", "20260131_shift2", "cam1_2026_01_31", "31.01.2026", "shift-7"])
def test_a_batch_in_any_form_that_arrived_is_not_missed(services: Services, line: Line, batch_id: str) -> None:
    line = replace(line, expected_by=time(23, 59), time_zone="Europe/Berlin")
    # half past twelve at night in Berlin
    _arrive(services, batch_id, 2026, 1, 31, 22, 30)
    assert _missed(_at(services, 2026, 1, 31, 23, 0), replace(line, working_days=("sat",)), date(2026, 1, 31)) == []


def test_images_known_to_be_normal_are_no_batch_of_a_night(services: Services, line: Line) -> None:
    _arrive(services, "normal-20260131", 2026, 1, 31, 12)
    line = replace(line, expected_by=time(22))
    assert len(_missed(_at(services, 2026, 1, 31, 22, 0), line, date(2026, 1, 31))) == 1


def test_a_sunday_and_a_holiday_without_images_raise_no_alarm(services: Services, line: Line) -> None:
    line = replace(line, expected_by=time(22), working_days=WEEK, closed_dates=("2026-01-30",))
    for day in (30, 31):
        assert _missed(_at(services, 2026, 1, day, 22, 30), line, date(2026, 1, day)) == []
    assert _missed(_at(services, 2026, 2, 1, 22, 30), line, date(2026, 2, 1)) == []
    assert len(_missed(_at(services, 2026, 2, 2, 22, 30), line, date(2026, 2, 2))) == 1


def test_every_batch_is_found_in_one_night_and_counts_by_the_plants_date(services: Services, line: Line) -> None:
    late = _at(services, 2026, 1, 31, 23, 30)  # half past twelve at night in Berlin
    _arrive(services, "20260131_shift3", 2026, 1, 31, 23, 20)
    _arrive(services, "shift-4", 2026, 1, 31, 23, 20, seed=5)
    assert find_batches(line, date(2026, 1, 31), late).batch_ids == ("20260131_shift3",)
    assert find_batches(line, date(2026, 2, 1), late).batch_ids == ("20260131_shift3", "shift-4")
    for batch_id in ("20260131_shift3", "shift-4"):
        validate_batch(line, batch_id, late)
    assert _nights(services) == {"20260131_shift3": "2026-01-31", "shift-4": "2026-02-01"}


def test_a_batch_dated_in_the_future_is_said_and_looked_at_at_once(services: Services, line: Line) -> None:
    now = _at(services, 2026, 1, 31, 22, 30)
    _arrive(services, "2062-01-31", 2026, 1, 31, 20)
    _arrive(services, "2026-02-01", 2026, 1, 31, 21, seed=5)
    _arrive(services, "2026-01-20", 2026, 1, 31, 21, seed=9)
    found = find_batches(line, date(2026, 1, 31), now)
    assert found.batch_ids == ("2026-01-20", "2062-01-31", "2026-02-01")
    assert [remark.split(",")[0] for remark in found.remarks] == [
        "washers/2026-01-20: its name says 2026-01-20",
        "washers/2062-01-31: its name says 2062-01-31",
    ]
    for batch_id in found.batch_ids:
        validate_batch(line, batch_id, now)
    assert _nights(services) == {"2026-01-20": "2026-01-20", "2026-02-01": "2026-02-01", "2062-01-31": "2026-01-31"}


def test_a_backlog_of_years_makes_a_few_remarks(services: Services, line: Line) -> None:
    for day in range(1, 29):
        (services.landing.folder / "washers" / f"202501{day:02}").mkdir(parents=True)
    found = find_batches(
        line, date(2026, 1, 31), replace(services, landing=replace(services.landing, settling_seconds=0))
    )
    assert len(found.batch_ids) == 28
    assert len(found.remarks) == 21
    assert found.remarks[-1] == "washers: 8 more batches have an odd date."


def test_the_rejection_of_a_batch_that_comes_late_is_told_once(services: Services, line: Line) -> None:
    line = replace(line, validation=replace(line.validation, min_images=5))
    # a batch of Saturday that comes on Monday morning, and one of tomorrow
    morning, night = _at(services, 2026, 2, 2, 8), _at(services, 2026, 2, 2, 22, 30)
    for seed, batch_id in enumerate(("2026-01-31", "2026-02-03")):
        _arrive(services, batch_id, 2026, 2, 2, 7, seed=10 * seed)
        with pytest.raises(BatchRejectedError):
            validate_batch(line, batch_id, morning)
    told = raise_alerts(date(2026, 2, 2), [line], night).new
    assert [(alert["night"], alert["kind"]) for alert in told] == [
        ("2026-01-31", "batch_rejected"),
        ("2026-02-03", "batch_rejected"),
    ]
    for day in (2, 3, 4):
        assert raise_alerts(date(2026, 2, day), [line], _at(services, 2026, 2, day, 23)).new == []


def test_the_report_says_when_it_was_made_by_the_plants_clock(services: Services, line: Line) -> None:
    made = publish_night(date(2026, 7, 31), [line], _at(services, 2026, 7, 31, 21, 40))
    assert "made 2026-07-31 23:40 CEST by" in made.path.read_text(encoding="utf-8")


def test_a_time_with_a_zone_is_a_night_of_the_plant_on_the_command_line(
    workspace: Path, make_services: Callable[[], Services], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAE_TIME_ZONE", "Asia/Kolkata")
    services = make_services()
    assert services.time_zone == "Asia/Kolkata"
    _arrive(services, "cam1_20270131", 2026, 1, 31, 20)
    found = _cae("find", "--night", "2026-01-31T19:00:00+00:00")
    assert found["batches"] == [{"line": "washers", "batch_id": "cam1_20270131"}]
    [remark] = found["remarks"]
    assert "it arrived on 2026-02-01" in remark
    assert _cae("find", "--night", "2026-01-31")["batches"] == []


def _cae(*words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "cae_pipeline", *words], capture_output=True, text=True, check=False, cwd=Path.cwd()
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result
