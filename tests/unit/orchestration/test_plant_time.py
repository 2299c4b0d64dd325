"""Schedules and the nights of runs follow CAE_TIME_ZONE."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cae_pipeline.errors import ConfigurationError
from cae_pipeline.orchestration import tasks

REPOSITORY = Path(__file__).parents[3]
# what Airflow would run next, by its own reckoning
NEXT_RUNS = """
import runpy, sys
import airflow.sdk
made = []
class Remembered(airflow.sdk.CronTriggerTimetable):
    def __init__(self, *words, **named):
        super().__init__(*words, **named)
        made.append(self)
airflow.sdk.CronTriggerTimetable = Remembered
runpy.run_path(sys.argv[1])
from airflow.timetables.trigger import CronTriggerTimetable
from datetime import datetime
timetable = CronTriggerTimetable(made[0].expression, timezone=made[0].timezone)
for text in sys.argv[2:]:
    print("NEXT", timetable._align_to_next(datetime.fromisoformat(text)).isoformat())
"""


@dataclass
class Run:
    """A run of Airflow's, as far as it is used here."""

    logical_date: datetime | None
    run_after: datetime = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "moment", "night"),
    [
        (None, datetime(2026, 1, 31, 23, 30, tzinfo=UTC), "2026-01-31"),
        ("", datetime(2026, 1, 31, 23, 30, tzinfo=UTC), "2026-01-31"),
        ("Europe/Berlin", datetime(2026, 1, 31, 22, 30, tzinfo=UTC), "2026-01-31"),
        ("Europe/Berlin", datetime(2026, 3, 29, 21, 30, tzinfo=UTC), "2026-03-29"),
        ("Europe/Berlin", datetime(2026, 10, 25, 22, 30, tzinfo=UTC), "2026-10-25"),
        ("America/Sao_Paulo", datetime(2026, 2, 1, 2, 30, tzinfo=UTC), "2026-01-31"),
        ("Asia/Kolkata", datetime(2026, 1, 31, 18, 0, tzinfo=UTC), "2026-01-31"),
        ("Asia/Kolkata", datetime(2026, 1, 31, 19, 0, tzinfo=UTC), "2026-02-01"),
    ],
)
def test_the_night_of_a_run_is_the_date_at_the_plant(
    monkeypatch: pytest.MonkeyPatch, zone: str | None, moment: datetime, night: str
) -> None:
    monkeypatch.delenv("CAE_TIME_ZONE", raising=False)
    if zone is not None:
        monkeypatch.setenv("CAE_TIME_ZONE", zone)
    assert str(tasks.night_of(Run(moment), {"night": None})) == night
    assert str(tasks.night_of(Run(None, moment), {})) == night


def test_a_night_that_was_asked_for_is_taken_whatever_the_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAE_TIME_ZONE", "Asia/Kolkata")
    assert str(tasks.night_of(Run(None), {"night": "2026-01-15"})) == "2026-01-15"


def test_a_wrong_zone_is_what_airflow_shows_of_the_dag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAE_TIME_ZONE", "Europe/Berln")
    with pytest.raises(ConfigurationError, match="Do you mean Europe/Berlin"):
        tasks.plant_time_zone()


def test_the_nightly_run_starts_at_half_past_eleven_on_the_plants_wall_all_year() -> None:
    asked = ("2026-01-31T12:00:00+00:00", "2026-03-29T12:00:00+00:00", "2026-10-25T12:00:00+00:00")
    done = subprocess.run(
        [sys.executable, "-c", NEXT_RUNS, "dags/nightly_inspection.py", *asked],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        env={**os.environ, "CAE_TIME_ZONE": "Europe/Berlin"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    starts = [datetime.fromisoformat(row.split()[1]) for row in done.stdout.splitlines() if row.startswith("NEXT")]
    wanted = ("2026-01-31T22:30:00+00:00", "2026-03-29T21:30:00+00:00", "2026-10-25T22:30:00+00:00")
    assert starts == [datetime.fromisoformat(moment) for moment in wanted]
