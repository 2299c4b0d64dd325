"""Trouble with one line never reaches its neighbour."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from cae_pipeline.adapters.results.schema import model_versions, thresholds
from cae_pipeline.cli import app
from cae_pipeline.domain.line import Line
from cae_pipeline.errors import ConcurrentChangeError, LinesFailedError
from cae_pipeline.steps.night import alert, find, plan
from tests.conftest import LINES_TOML, Plant, deliver, washers

NIGHT = "2026-01-31"


@pytest.fixture
def two_lines(plant: Plant) -> Plant:
    """A plant whose first line has a champion that cannot be loaded, and whose second line is whole."""
    first = LINES_TOML.replace("washers", "bolts") + LINES_TOML
    (plant.workspace / "lines.toml").write_text(first)
    with plant.services.engine.begin() as connection:
        for table, changes in (
            (model_versions, {"line": "bolts", "artefact_sha256": "0" * 64, "artefact_uri": "file:///nowhere"}),
            (thresholds, {"threshold_id": 99}),
        ):
            [row] = connection.execute(sa.select(table)).mappings()
            connection.execute(sa.insert(table), [{**row, **changes, "model_version": "cae-bolts/1"}])
    deliver(plant.landing, "washers", NIGHT, washers(range(300, 320)))
    for command in (["validate", "washers", NIGHT], ["score", "washers"]):
        assert CliRunner().invoke(app, command).exit_code == 0
    return plant


def _answer(*words: str) -> tuple[dict[str, Any], BaseException | None]:
    done = CliRunner().invoke(app, list(words))
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result, done.exception


def test_the_lines_after_a_broken_artefact_are_watched_and_the_command_says_what_failed(two_lines: Plant) -> None:
    result, error = _answer("watch", "--night", NIGHT)
    assert list(result["diagnoses"]) == ["washers"]
    assert list(result["failed"]) == ["bolts"]
    assert isinstance(error, LinesFailedError)
    assert "bolts: " in str(error)
    assert not error.retryable


def test_the_other_lines_are_planned_and_found(two_lines: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(two_lines.landing, "washers", "2026-02-01", washers(range(330, 340)))

    def broken(module: Any, name: str) -> None:
        whole = getattr(module, name)

        def work(line: Line, *arguments: Any, **named: Any) -> Any:
            if line.name == "bolts":
                raise ConcurrentChangeError("somebody is changing it")
            return whole(line, *arguments, **named)

        monkeypatch.setattr(module, name, work)

    broken(find, "find_batches")
    broken(plan, "plan_line")
    result, error = _answer("find", "--night", "2026-02-01")
    assert result["batches"] == [{"line": "washers", "batch_id": "2026-02-01"}]
    assert CliRunner().invoke(app, ["validate", "washers", "2026-02-01"]).exit_code == 0
    planned, refused = _answer("plan")
    assert [chunk["line"] for chunk in planned["chunks"]] == ["washers"]
    for answer, raised in ((result, error), (planned, refused)):
        assert answer["failed"] == {"bolts": "somebody is changing it"}
        assert isinstance(raised, LinesFailedError)
        assert raised.retryable


def test_the_other_lines_alerts_are_told_once(two_lines: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = alert._jump

    def broken_jump(line: Line, *arguments: Any) -> Any:
        if line.name == "bolts":
            raise PermissionError("landing/bolts")
        return whole(line, *arguments)

    monkeypatch.setattr(alert, "_jump", broken_jump)
    lines = [replace(two_lines.line, name=name, expected_by=time(0)) for name in ("bolts", "nuts", "washers")]
    alarm = alert.raise_alerts(date(2026, 1, 30), lines, two_lines.services)
    assert sorted(row["line"] for row in alarm.alerts) == ["nuts", "washers"]
    assert alarm.new == alarm.alerts
    assert (alarm.num_delivered, alarm.lines.failed) == (2, {"bolts": "PermissionError: landing/bolts"})
    result, error = _answer("alert", "--night", "2026-01-30")
    assert (result["alerts"], list(result["failed"])) == ([], ["bolts"])
    assert isinstance(error, LinesFailedError)


def test_nothing_fails_where_every_line_is_whole(plant: Plant, workspace: Path) -> None:
    for words in (["find", "--night", NIGHT], ["plan"], ["watch", "--night", NIGHT], ["alert", "--night", NIGHT]):
        result, error = _answer(*words)
        assert (result["failed"], error) == ({}, None), words
