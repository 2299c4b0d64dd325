"""`make up` for real: scheduler, API server, MLflow; a run triggered over REST, seen through to rows."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from cae_pipeline.settings import Settings
from cae_pipeline.wiring import connect
from tests import asking
from tests.conftest import LINES_TOML, deliver, png, washer, washers

REPOSITORY = Path(__file__).parents[2]
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Installation:
    """Everything that `make up` has started, spoken to over HTTP."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.airflow, self.mlflow = _free_port(), _free_port()
        environment = {
            **os.environ,
            "CAE_WORKSPACE": str(workspace),
            "AIRFLOW_PORT": str(self.airflow),
            "MLFLOW_PORT": str(self.mlflow),
        }
        self.log = (workspace.parent / "up.log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "infra.local.up"], cwd=REPOSITORY, env=environment, stdout=self.log, stderr=self.log
        )
        self.token = ""

    def said(self) -> str:
        """What it has printed so far."""
        return (self.workspace.parent / "up.log").read_text()

    def wait_until_up(self) -> None:
        """Wait for the addresses and the login."""
        deadline = time.monotonic() + 300
        while "Ctrl-C stops both" not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.5)
        passwords = json.loads((self.workspace / "airflow/simple_auth_manager_passwords.json.generated").read_text())
        assert passwords["admin"] in self.said()
        login = {"username": "admin", "password": passwords["admin"]}
        self.token = self.ask("/auth/token", login)["access_token"]

    def ask(self, path: str, body: dict[str, Any] | None = None, *, method: str | None = None) -> Any:
        """Call Airflow's REST API."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.airflow}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    def unpause(self, *dag_ids: str) -> None:
        """Let DAGs run, and wait for the last tick, which Airflow may make up for."""
        deadline = time.monotonic() + 120
        while not set(dag_ids) <= {dag["dag_id"] for dag in self.ask("/api/v2/dags")["dags"]}:
            assert time.monotonic() < deadline, "the DAGs were never parsed"
            time.sleep(1)
        for dag_id in dag_ids:
            self.ask(f"/api/v2/dags/{dag_id}", {"is_paused": False}, method="PATCH")
        quiet_since = time.monotonic()
        deadline = quiet_since + 300
        while time.monotonic() - quiet_since < 15:
            states = [run["state"] for dag_id in dag_ids for run in self.runs(dag_id)]
            if {"queued", "running"} & set(states):
                quiet_since = time.monotonic()
            assert time.monotonic() < deadline, states
            time.sleep(1)

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """List the runs of a DAG, oldest first."""
        found: list[dict[str, Any]] = self.ask(f"/api/v2/dags/{dag_id}/dagRuns?order_by=id")["dag_runs"]
        return found

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> str:
        """Trigger a run and wait for its end; returns its state."""
        return self.wait_for(self.begin(dag_id, conf), "success", "failed")

    def begin(self, dag_id: str, conf: dict[str, Any]) -> str:
        """Trigger a run; returns its address."""
        run = self.ask(f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})
        return f"/api/v2/dags/{dag_id}/dagRuns/{quote(run['dag_run_id'])}"

    def wait_for(self, address: str, *states: str) -> str:
        """Wait until a run or a task is in one of some states; returns which."""
        deadline = time.monotonic() + 600
        state = None
        while time.monotonic() < deadline:
            with contextlib.suppress(urllib.error.HTTPError):  # a task that is not expanded yet
                state = self.ask(address)["state"]
            if state in states:
                return str(state)
            time.sleep(1)
        raise AssertionError(f"{address} is {state}, expected {states}; logs in {self.workspace}")

    def stop(self) -> None:
        """Stop it as Ctrl-C does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(timeout=90)
            finally:
                # whatever became of it, nothing may go on after the test
                self.process.terminate()
        self.log.close()


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    workspace = tmp_path_factory.mktemp("e2e") / "workspace"
    workspace.mkdir()
    careful = LINES_TOML.replace("lines.washers", "lines.careful") + "\n[lines.careful.gate]\napproval = true\n"
    (workspace / "lines.toml").write_text(LINES_TOML + careful)
    for line in ("washers", "careful"):
        deliver(workspace / "landing", line, "normal-1", washers(range(100, 180)))
    installation = Installation(workspace)
    try:
        installation.wait_until_up()
        yield installation
    finally:
        installation.stop()


def _listening() -> dict[int, set[str]]:
    """Addresses that processes of this machine listen on, by port."""
    found: dict[int, set[str]] = {}
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = row.split()
            if fields[3] == "0A":
                address, port = fields[1].rsplit(":", 1)
                found.setdefault(int(port, 16), set()).add(address)
    return found


BEFORE = _listening()


def test_a_training_and_a_night_triggered_over_rest_end_as_rows(up: Installation) -> None:
    up.unpause("train_model", "nightly_inspection")
    landing = up.workspace / "landing"
    deliver(landing, "washers", "2026-01-31", washers(range(300, 320)) | washers(range(400, 410), defect=True))
    assert up.trigger("train_model", {"line": "washers", "note": "over REST"}) == "success"
    services = connect(Settings(workspace=up.workspace))
    assert asking.champion(services).model_version == "cae-washers/1"
    assert up.trigger("nightly_inspection", {"night": "2026-01-31"}) == "success"
    flagged = asking.anomalies(services, line="washers")
    assert sum(row.name.startswith("bad") for row in flagged) >= 9
    assert all(row.dag_run_id for row in flagged)
    # a rejected batch turns its run red
    deliver(landing, "washers", "2026-02-01", {f"d{i}.png": png((washer(i) * 0.02).astype("uint8")) for i in range(9)})
    assert up.trigger("nightly_inspection", {"night": "2026-02-01"}) == "failed"
    run_id = quote(up.runs("nightly_inspection")[-1]["dag_run_id"])
    tasks = up.ask(f"/api/v2/dags/nightly_inspection/dagRuns/{run_id}/taskInstances")["task_instances"]
    [rejected] = [task for task in tasks if task["task_id"] == "validate"]
    assert (rejected["state"], rejected["try_number"]) == ("failed", 1)
    assert rejected["rendered_map_index"] == "washers/2026-02-01"
    log = up.ask(f"/api/v2/dags/nightly_inspection/dagRuns/{run_id}/taskInstances/validate/logs/1?map_index=0")
    assert "share of images unreadable or out of limits: seen 1, wanted at most 0.7" in json.dumps(log)


def test_the_report_is_linked_from_the_task_and_shown_only_to_who_may_see_it(up: Installation) -> None:
    [run] = [run for run in up.runs("nightly_inspection") if run["conf"] == {"night": "2026-01-31"}]
    run_id = quote(run["dag_run_id"])
    links = up.ask(f"/api/v2/dags/nightly_inspection/dagRuns/{run_id}/taskInstances/publish/links")["extra_links"]
    address = f"http://127.0.0.1:{up.airflow}{links['Night report']}"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(address, timeout=30)
    assert refused.value.code == 401
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {up.token}"})
    with urllib.request.urlopen(request, timeout=30) as response:
        assert "Night of 2026-01-31" in response.read().decode()


def test_where_a_line_wants_it_a_person_approves_in_airflow_before_a_challenger_serves(up: Installation) -> None:
    services = connect(Settings(workspace=up.workspace))
    run = up.begin("train_model", {"line": "careful"})
    asked = f"{run}/taskInstances/life.approve/0"
    up.wait_for(asked, "awaiting_input", "deferred")
    assert asking.version(services, "cae-careful/1").state == "awaiting"
    # nobody answers within a second: the scheduler would not have heard yet that the task only waits, and ask again
    time.sleep(10)
    details = up.ask(f"{asked}/hitlDetails")
    assert details["subject"] == "May cae-careful/1 serve? See the gate's page."
    up.ask(f"{asked}/hitlDetails", {"chosen_options": ["Approve"], "params_input": {}}, method="PATCH")
    assert up.wait_for(run, "success", "failed") == "success"
    assert asking.champion(services, "careful").model_version == "cae-careful/1"
    events = [row.event for row in asking.ledger_rows(services, "careful")]
    assert events == ["awaits_approval", "promotion"]


def test_a_verdict_over_the_api_of_airflow_is_signed_by_its_user(up: Installation) -> None:
    queue = up.ask("/cae/api/lines/washers/queue?count=1")
    [image] = queue
    said = up.ask(f"/cae/api/images/{image['image_id']}/verdicts", {"verdict": "normal", "note": "dust"})
    assert said["author"] == "admin"
    [verdict] = up.ask(f"/cae/api/images/{image['image_id']}")["verdicts"]
    assert (verdict["verdict"], verdict["author"]) == ("normal", "admin")
    request = urllib.request.Request(
        f"http://127.0.0.1:{up.airflow}/cae/api/images/{image['image_id']}/verdicts",
        b'{"verdict": "defect"}',
        {"Content-Type": "application/json"},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    assert refused.value.code == 401


def test_nothing_listens_on_anything_but_loopback(up: Installation) -> None:
    loopback = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
    opened = {port: addresses for port, addresses in _listening().items() if port not in BEFORE}
    assert {up.airflow, up.mlflow} <= set(opened)
    assert {port: addresses for port, addresses in opened.items() if not addresses <= loopback} == {}


def test_mlflow_answers_and_shows_the_run(up: Installation) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{up.mlflow}/health", timeout=30) as response:
        assert response.status == 200
    body = json.dumps({"max_results": 10, "filter": "name = 'cae-washers'"}).encode()
    headers = {"Content-Type": "application/json"}
    address = f"http://127.0.0.1:{up.mlflow}/api/2.0/mlflow/experiments/search"
    with urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=30) as response:
        assert [one["name"] for one in json.load(response)["experiments"]] == ["cae-washers"]


def test_ctrl_c_stops_everything_it_started(up: Installation) -> None:
    up.stop()
    assert "Stopped." in up.said()
    assert not {up.airflow, up.mlflow} & set(_listening())
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            assert f"CAE_WORKSPACE={up.workspace}".encode() not in environment, (entry / "cmdline").read_bytes()
