"""Importing a module has no effect but on `sys.modules`, and a night loads nothing that it may not need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "cae_pipeline"
# Airflow sets up logging by itself, when it is imported
OF_AIRFLOW = ("orchestration/plugin.py", "orchestration/tasks.py")
# these change the environment by themselves, so that they are loaded before ours are watched
FOREIGN = ("cv2", "keras", "sklearn", "tensorflow")
SWITCHES = ("GX_ANALYTICS_ENABLED", "MLFLOW_DISABLE_TELEMETRY", "GIT_PYTHON_REFRESH")

WATCH = """
import importlib, json, logging, os, sys

def state():
    root = logging.getLogger()
    files = {number: os.readlink(f"/proc/self/fd/{number}") for number in "012"}
    ours = {name: (one.level, len(one.handlers)) for name, one in root.manager.loggerDict.items()
            if isinstance(one, logging.Logger) and name.startswith("cae")}
    return {"environment": dict(os.environ), "files": files, "loggers": ours,
            "root": (root.level, [repr(one) for one in root.handlers], root.manager.disable)}

foreign, ours = json.loads(sys.argv[1])
for name in foreign:
    importlib.import_module(name)
changes, before = [], state()
for name in ours:
    importlib.import_module(name)
    after = state()
    for part in before:
        if after[part] != before[part]:
            changes.append((name, part, str([one for one in after[part] if one not in before[part]])))
    before = after
print(json.dumps([changes, sorted(sys.modules)]))
"""


def _modules(folder: str = "") -> list[str]:
    paths = [path.relative_to(PACKAGE) for path in sorted((PACKAGE / folder).rglob("*.py"))]
    kept = [
        path
        for path in paths
        if str(path) not in OF_AIRFLOW and "migrations" not in path.parts and path.name != "__main__.py"
    ]
    return [".".join(("cae_pipeline", *path.with_suffix("").parts)).removesuffix(".__init__") for path in kept]


def _import(modules: list[str], *, foreign: Sequence[str] = (), **environment: str) -> tuple[list[list[str]], set[str]]:
    ran = subprocess.run(
        [sys.executable, "-c", WATCH, json.dumps([foreign, modules])],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
        env={**{name: value for name, value in os.environ.items() if name not in SWITCHES}, **environment},
    )
    changes, loaded = json.loads(ran.stdout.splitlines()[-1])
    return changes, set(loaded)


def test_importing_a_module_changes_neither_environment_nor_files_nor_logging() -> None:
    modules = _modules()
    assert len(modules) > 60
    changes, _ = _import(modules, foreign=FOREIGN)
    assert changes == []


@pytest.mark.parametrize("library", ["mlflow", "great_expectations", "pandas"])
def test_the_steps_of_a_night_do_not_load_what_only_some_nights_need(library: str) -> None:
    modules = _modules("steps/night")
    assert "cae_pipeline.steps.night.validate" in modules
    _, loaded = _import(modules)
    assert library not in loaded


def test_switches_are_set_before_a_library_that_reads_them_is_loaded() -> None:
    code = (
        "import os; from cae_pipeline.adapters import expectations, tracking\n"
        "expectations._great_expectations(); tracking._mlflow()\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled\n"
        "print(os.environ['GX_ANALYTICS_ENABLED'], is_telemetry_disabled())"
    )
    environment = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=PACKAGE.parent
    )
    assert ran.stdout.split() == ["False", "True"]
