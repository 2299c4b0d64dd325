"""Lines by the hundred, and lines without a champion."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cae_pipeline.cli import app
from cae_pipeline.lines_file import read_lines
from tests.conftest import LINES_TOML, Plant, deliver, washers

REPOSITORY = Path(__file__).parents[2]
PARSE = """
import json, sys, time
from pathlib import Path
from airflow.dag_processing.dagbag import BundleDagBag
folder = Path("dags").absolute()
seconds = []
for _ in range(3):
    started = time.perf_counter()
    bag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags-folder")
    seconds.append(time.perf_counter() - started)
    assert not bag.import_errors, bag.import_errors
print("RESULT", json.dumps([min(seconds), sorted(bag.dags), sum(len(dag.tasks) for dag in bag.dags.values())]))
"""


def _parsed(workspace: Path, num_lines: int) -> tuple[float, list[str], int]:
    from infra.local.environment import local_environment

    lines = "".join(f'[lines.line-{number}]\ndescription = "number {number}"\n' for number in range(num_lines))
    (workspace / "lines.toml").write_text(lines)
    environment = local_environment(workspace)
    done = subprocess.run(
        [sys.executable, "-c", PARSE], env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    [told] = [row.removeprefix("RESULT ") for row in done.stdout.splitlines() if row.startswith("RESULT ")]
    seconds, dags, tasks = json.loads(told)
    return seconds, dags, tasks


@pytest.mark.timeout(300)
def test_two_hundred_lines_parse_into_the_same_dags_as_one_and_take_no_longer(bare_workspace: Path) -> None:
    one_seconds, one_dags, one_tasks = _parsed(bare_workspace, 1)
    many_seconds, many_dags, many_tasks = _parsed(bare_workspace, 200)
    assert len(read_lines(bare_workspace / "lines.toml")) == 200
    # lines are found when a run begins, not when a file is parsed
    assert (many_dags, many_tasks) == (one_dags, one_tasks)
    assert many_seconds < one_seconds + 2


def test_adding_a_line_is_one_entry_and_its_images_wait_for_a_champion(plant: Plant) -> None:
    (plant.workspace / "lines.toml").write_text(LINES_TOML + "\n[lines.newcomer]\n")
    for line in ("washers", "newcomer"):
        deliver(plant.landing, line, "2026-01-31", washers(range(300, 305)))
    runner = CliRunner()
    for line in ("washers", "newcomer"):
        assert runner.invoke(app, ["validate", line, "2026-01-31"]).exit_code == 0
    planned = json.loads(runner.invoke(app, ["plan"]).stdout.splitlines()[-1])
    assert {chunk["line"] for chunk in planned["chunks"]} == {"washers"}
    for command in ("watch", "publish", "alert"):
        assert runner.invoke(app, [command, "--night", "2026-01-31"]).exit_code == 0, command
    rows = {row["line"]: row for row in json.loads(runner.invoke(app, ["lines", "status", "-f", "json"]).stdout)}
    assert rows["newcomer"]["state"] == "waits for a champion"
    assert rows["newcomer"]["images_waiting"] == 5
    assert rows["washers"]["champion"] == "cae-washers/1"
