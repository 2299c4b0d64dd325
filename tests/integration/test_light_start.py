"""Commands that need no TensorFlow do not load it, and the command line answers at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from cae_pipeline.adapters.results.schema import model_versions, thresholds
from tests.conftest import Plant

# written at the end of the process, however it ends
HOOK = """
import atexit, os, pathlib, sys
def tell():
    path = os.environ.get("LOADED_MODULES")
    if path:
        with open(path, "a") as file:
            file.write("\\n".join(sys.modules) + "\\n")
atexit.register(tell)
"""
COMMANDS = (
    ("housekeeping",),
    ("promote", "washers", "cae-washers/1"),
    ("champion", "rollback", "washers", "--to", "cae-washers/1"),
    ("watch", "--night", "2026-01-31"),
    ("publish", "--night", "2026-01-31"),
)
PLUGIN = (
    "from cae_pipeline.orchestration.plugin import CaePlugin; CaePlugin.on_load(); "
    "import sys; assert CaePlugin.fastapi_apps; "
    "print([name for name in ('tensorflow', 'keras', 'tf2onnx') if name in sys.modules])"
)
HALF_A_SECOND = 500_000


@pytest.fixture
def hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that every Python started from here on adds the names of its modules to when it ends."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "hook"), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("LOADED_MODULES", str(tmp_path / "modules.txt"))
    return tmp_path / "modules.txt"


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_a_command_that_trains_nothing_loads_neither_tensorflow_nor_keras(
    plant: Plant, hook: Path, words: tuple[str, ...]
) -> None:
    with plant.services.engine.begin() as connection:
        if words[0] == "promote":
            # the gate has something to decide where nobody serves yet
            connection.execute(sa.update(model_versions).values(state="candidate"))
        if words[0] == "champion":
            _let_another_serve(connection)
    done = subprocess.run([sys.executable, "-m", "cae_pipeline", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # those of the process that measures what a model costs, too
    loaded = {name.split(".")[0] for name in hook.read_text().splitlines()}
    assert {"cae_pipeline", "structlog", "sqlalchemy", "numpy"} <= loaded
    assert not loaded & {"tensorflow", "keras", "tf2onnx"}


def _let_another_serve(connection: sa.Connection) -> None:
    [row] = connection.execute(sa.select(model_versions)).mappings()
    connection.execute(sa.update(model_versions).values(state="superseded"))
    connection.execute(sa.insert(model_versions), [{**row, "version": 2, "model_version": "cae-washers/2"}])
    [row] = connection.execute(sa.select(thresholds)).mappings()
    connection.execute(sa.insert(thresholds), [{**row, "threshold_id": 99, "model_version": "cae-washers/2"}])


def test_the_plugin_of_airflow_loads_neither_tensorflow_nor_keras(workspace: Path) -> None:
    environment = {**os.environ, "AIRFLOW_HOME": str(workspace / "airflow"), "AIRFLOW__CORE__UNIT_TEST_MODE": "True"}
    done = subprocess.run(
        [sys.executable, "-c", PLUGIN], env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_is_there_within_half_a_second() -> None:
    # the fastest of several: others may be working on this machine
    assert min(_microseconds_of_imports() for _ in range(5)) < HALF_A_SECOND


def _microseconds_of_imports() -> int:
    command = [sys.executable, "-X", "importtime", "-m", "cae_pipeline", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [row.removeprefix("import time:").split("|") for row in done.stderr.splitlines() if "|" in row]
    return sum(int(own) for own, *_ in rows if own.strip().isdigit())
