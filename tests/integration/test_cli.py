"""The commands people type, and the examples of the documentation."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from cae_pipeline.adapters.results.schema import metadata
from cae_pipeline.cli import app
from cae_pipeline.errors import NotFoundError
from cae_pipeline.steps.night.plan import plan_line
from cae_pipeline.steps.night.score import score_slices
from cae_pipeline.steps.night.validate import validate_batch
from tests.conftest import Plant, deliver, washers

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def night(plant: Plant) -> Plant:
    """A plant after one night with ten defects and a text file."""
    files = washers(range(300, 320)) | washers(range(400, 410), defect=True) | {"note.png": b"no image"}
    deliver(plant.landing, "washers", "2026-01-31", files)
    validate_batch(plant.line, "2026-01-31", plant.services)
    version, chunks = plan_line(plant.line, chunk_size=99, services=plant.services)
    for chunk in chunks:
        score_slices(chunk, version, plant.services)
    return plant


def cae(*words: str) -> str:
    """Run a command that must succeed; returns what it printed."""
    done = CliRunner().invoke(app, list(words))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def rows(*words: str) -> list[dict[str, Any]]:
    """Run a query; returns its rows."""
    found: list[dict[str, Any]] = json.loads(cae(*words, "--format", "json"))
    return found


def test_anomalies_are_filtered_sorted_and_paged(night: Plant) -> None:
    everything = rows("anomalies")
    scores = [row["score"] for row in everything]
    assert scores == sorted(scores, reverse=True)
    assert len(everything) >= 9
    pages = [rows("anomalies", "--page", str(page), "--page-size", "4", "--sort", "name") for page in (1, 2, 3, 4, 5)]
    names = [row["name"] for page in pages for row in page]
    assert names == sorted(row["name"] for row in everything)
    limit = scores[3]
    assert len(rows("anomalies", "--min-score", str(limit))) == 4
    assert rows("anomalies", "--since", "2026-02-01") == []
    assert len(rows("anomalies", "--since", "2026-01-31", "--until", "2026-01-31")) == len(everything)
    assert len(rows("anomalies", "--model-version", "cae-washers/1")) == len(everything)
    with pytest.raises(NotFoundError, match="Known: line, batch_id"):
        cae("anomalies", "--sort", "colour")


def test_every_format_holds_the_same_rows(night: Plant, tmp_path: Path) -> None:
    expected = [row["image_id"] for row in rows("anomalies")]
    printed = csv.DictReader(io.StringIO(cae("anomalies", "--format", "csv")))
    assert [row["image_id"] for row in printed] == expected
    cae("anomalies", "--format", "parquet", "--out", str(tmp_path / "a.parquet"))
    assert pd.read_parquet(tmp_path / "a.parquet")["image_id"].tolist() == expected
    table = cae("anomalies")
    assert table.splitlines()[0].split()[:4] == ["night", "line", "batch_id", "name"]
    assert len(table.splitlines()) == len(expected) + 2


def test_an_image_is_shown_with_where_it_came_from_and_how_it_was_judged(night: Plant) -> None:
    first = rows("anomalies")[0]
    shown = json.loads(cae("images", "show", first["image_id"][:12]))
    assert shown["deliveries"][0]["name"] == first["name"]
    assert shown["judgements"][0]["score"] == first["score"]
    with pytest.raises(NotFoundError, match="cae anomalies"):
        cae("images", "show", "0000notthere")


def test_a_verdict_is_found_by_its_word(night: Plant) -> None:
    image_id = rows("anomalies")[0]["image_id"]
    cae("verdict", image_id[:10], "defect", "--note", "a bite")
    assert [row["image_id"] for row in rows("anomalies", "--verdict", "defect")] == [image_id]
    assert CliRunner().invoke(app, ["verdict", image_id, "perhaps"]).exit_code == 2


def test_batches_rates_quarantine_runs_versions_and_ledger_answer(night: Plant) -> None:
    [batch] = [row for row in rows("batches") if row["batch_id"] == "2026-01-31"]
    assert (batch["status"], batch["num_quarantined"]) == ("scored", 1)
    assert (night.workspace / batch["data_docs_uri"]).is_file()
    [rate] = [row for row in rows("rates") if row["night"] == "2026-01-31"]
    assert (rate["num_images"], rate["num_scored"], rate["num_quarantined"]) == (31, 30, 1)
    [quarantined] = rows("quarantine", "list")
    assert (quarantined["name"], quarantined["reason"]) == ("note.png", "not_an_image")
    assert [row["model_version"] for row in rows("runs", "--line", "washers")] == ["cae-washers/1"]
    assert [row["serves_as"] for row in rows("versions")] == ["champion"]
    assert [row["event"] for row in rows("ledger")] == ["promotion"]
    assert json.loads(cae("champion", "show", "washers"))["model_version"] == "cae-washers/1"


def test_an_empty_answer_says_so(workspace: Path) -> None:
    assert cae("anomalies") == "nothing found\n"


def test_a_threshold_is_fitted_shown_and_listed(night: Plant) -> None:
    before = json.loads(cae("threshold", "show", "washers"))
    assert (before["method"], before["target_false_alarm_rate"]) == ("conformal", 0.1)
    done = json.loads(cae("threshold", "fit", "washers", "--rate", "0.2", "--note", "stricter").splitlines()[-1])
    assert done["threshold"] <= before["value"]
    assert [row["note"] for row in rows("threshold", "history", "washers")] == ["", "stricter"]
    for wrong in (["--rate", "2"], ["--miss-cost", "1"], ["--f1", "--rate", "0.1"]):
        assert CliRunner().invoke(app, ["threshold", "fit", "washers", *wrong]).exit_code == 2, wrong


def test_the_network_is_described_layer_by_layer(bare_workspace: Path) -> None:
    table = cae("model", "describe", "washers")
    assert re.search(r"encoder_2\s+Conv2D\s+8 × 8 × 16\s+1168\s+7 px", table)
    assert "1,024 numbers are squeezed into 12" in table


def test_lines_are_checked_and_an_example_is_written_once(bare_workspace: Path) -> None:
    assert "washers" in cae("lines", "check")
    target = bare_workspace / "example.toml"
    cae("lines", "init", str(target))
    assert "[lines.cells]" in target.read_text()
    assert CliRunner().invoke(app, ["lines", "init", str(target)]).exit_code != 0


def test_every_sql_example_of_the_documentation_runs_and_finds_something(night: Plant) -> None:
    image_id = rows("anomalies")[0]["image_id"]
    cae("verdict", image_id, "defect")
    examples = re.findall(r"```sql\n(.*?)```", (DOCS / "results.md").read_text(), re.DOTALL)
    assert len(examples) >= 5
    with night.services.engine.connect() as connection:
        for example in examples:
            text = example.replace("cells-mono", "washers").replace("2026-01-12", "2026-01-31")
            text = text.replace("2026-01-14", str(datetime.now(UTC).date()))
            found = connection.execute(sa.text(text)).all()
            assert found, example


def test_every_table_and_column_is_documented() -> None:
    text = (DOCS / "results.md").read_text()
    for table in metadata.tables.values():
        section = text.split(f"### `{table.name}`")[1].split("###")[0]
        for column in table.columns:
            assert f"`{column.name}`" in section, f"{table.name}.{column.name}"


def test_every_command_of_the_readme_exists() -> None:
    text = (DOCS.parent / "README.md").read_text()
    commands = re.findall(r"^\s*(?:\.venv/bin/)?cae ([a-z]+(?: [a-z]+)?)", text, re.MULTILINE)
    assert len(commands) >= 8
    for command in set(commands):
        words = command.split()
        helps = [CliRunner().invoke(app, [*words[:count], "--help"]).exit_code for count in (1, len(words))]
        assert 0 in helps, command


def test_the_night_of_the_run_is_a_date(workspace: Path) -> None:
    assert CliRunner().invoke(app, ["find", "--night", "yesterday"]).exit_code == 2
    assert json.loads(cae("find", "--night", str(date(2026, 1, 31))).splitlines()[-1])["batches"] == []
