"""The real DAGs, run by Airflow's own `dag.test` on a migrated SQLite database of Airflow's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cae_pipeline.adapters.results.schema import drift_reports, model_versions, thresholds
from infra.local.environment import local_environment
from tests import asking
from tests.conftest import LINES_TOML, Plant, deliver, png, washer, washers

REPOSITORY = Path(__file__).parents[2]
# one process for all runs of a test: Airflow takes ten seconds to load
RUNNER = """
import json, sys
from datetime import datetime
from pathlib import Path
from airflow.dag_processing.dagbag import BundleDagBag
folder = Path("dags").absolute()
bag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags-folder")
assert not bag.import_errors, bag.import_errors
for dag_id, date, conf in json.loads(sys.argv[1]):
    run = bag.dags[dag_id].test(logical_date=datetime.fromisoformat(date), run_conf=conf)
    states = {}
    for task in run.get_task_instances():
        states.setdefault(task.task_id, []).append(str(task.state))
    print("RUN", json.dumps([dag_id, str(run.state), states]), flush=True)
"""


def _run(workspace: Path, *runs: tuple[str, str, dict[str, Any]]) -> tuple[list[Any], str]:
    environment = {**os.environ, **local_environment(workspace)}
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=environment, check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, json.dumps(runs)],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    results = [json.loads(row.removeprefix("RUN ")) for row in done.stdout.splitlines() if row.startswith("RUN ")]
    return results, done.stdout + done.stderr


@pytest.mark.timeout(600)
def test_a_night_with_a_rejected_batch_is_red_and_everything_else_is_done(plant: Plant) -> None:
    deliver(plant.landing, "washers", "2026-01-31", washers(range(300, 310)) | washers([400, 401], defect=True))
    dark = {f"d{i}.png": png((washer(i) * 0.02).astype("uint8")) for i in range(10)}
    deliver(plant.landing, "washers", "2026-01-31-late", dark)
    night: tuple[str, str, dict[str, Any]] = ("nightly_inspection", "2026-01-31T23:30:00+00:00", {})
    rescore = (
        "rescore_batches",
        "2026-02-01T08:00:00+00:00",
        {"line": "washers", "since": "2026-01-31", "until": "2026-01-31"},
    )
    house: tuple[str, str, dict[str, Any]] = ("housekeeping", "2026-02-01T09:00:00+00:00", {})
    results, log = _run(plant.workspace, night, night, rescore, house)
    [_, state, tasks] = results[0]
    assert state == "failed"
    assert sorted(tasks["validate"]) == ["failed", "success"]
    assert tasks["score"] == ["success"]
    assert tasks["publish"] == tasks["watch_drift"] == ["success"]
    assert tasks["ask_for_retraining"] == ["skipped"]
    assert tasks["conclude"] == ["upstream_failed"]
    # not retried, and said with expectation, seen and wanted
    assert log.count("share of images unreadable or out of limits: seen 1, wanted at most 0.7") >= 1
    assert "up_for_retry" not in log.lower()
    assert [result[1] for result in results[1:]] == ["success", "success", "success"]
    [rate] = [row for row in asking.rates(plant.services) if str(row.night) == "2026-01-31"]
    assert (rate.num_images, rate.num_quarantined, rate.num_scored) == (22, 10, 12)
    assert asking.delivery(plant.services).dag_run_id.startswith("manual__")
    assert (plant.workspace / "reports" / "2026-01-31.html").is_file()


@pytest.mark.timeout(600)
def test_train_model_trains_the_line_of_the_form_and_promotes(workspace: Path) -> None:
    from cae_pipeline.settings import read_settings
    from cae_pipeline.wiring import connect

    deliver(workspace / "landing", "washers", "normal-1", washers(range(60)))
    form = {"line": "washers", "epochs": 10, "seed": 0, "preset": "quick", "note": "from the form"}
    results, _ = _run(workspace, ("train_model", "2026-01-31T04:00:00+00:00", form))
    [_, state, tasks] = results[0]
    assert state == "success"
    assert tasks["life.train"] == tasks["life.promote"] == ["success"]
    # nobody has to be asked on this line
    assert tasks["life.needs_approval"] == tasks["life.approve"] == tasks["life.serve"] == ["skipped"]
    champion = asking.champion(connect(read_settings()))
    assert champion.model_version == "cae-washers/1"
    assert champion.figures["epochs"] == 10


@pytest.mark.timeout(600)
def test_a_line_that_cannot_be_watched_stops_no_other_and_makes_the_night_red(plant: Plant) -> None:
    (plant.workspace / "lines.toml").write_text(LINES_TOML.replace("washers", "bolts") + LINES_TOML)
    broken = {"line": "bolts", "artefact_sha256": "0" * 64, "artefact_uri": "file:///nowhere"}
    with plant.services.engine.begin() as connection:
        for table, changes in ((model_versions, broken), (thresholds, {})):
            [row] = connection.execute(sa.select(table)).mappings()
            copy = {**row, **changes, "threshold_id": 99, "model_version": "cae-bolts/1"}
            connection.execute(sa.insert(table), [{name: copy[name] for name in row}])
    deliver(plant.landing, "washers", "2026-01-31", washers(range(300, 310)))
    results, log = _run(plant.workspace, ("nightly_inspection", "2026-01-31T23:30:00+00:00", {}))
    [_, state, tasks] = results[0]
    assert state == "failed"
    assert tasks["score"] == tasks["watch_drift"] == tasks["publish"] == tasks["alert"] == ["success"]
    assert tasks["conclude"] == ["failed"]
    assert "bolts (watch_drift): " in log
    with plant.services.engine.begin() as connection:
        assert connection.scalars(sa.select(drift_reports.c.line)).all() == ["washers"]
