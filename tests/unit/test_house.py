"""The rules of the house that import-linter does not hold: imports that cost, and sizes."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DAGS = sorted((REPOSITORY / "dags").glob("*.py"))
# a migration is a list of what changes, however long
SOURCES = sorted(path for path in (REPOSITORY / "cae_pipeline").rglob("*.py") if "versions" not in path.parts)
HEAVY = {"tensorflow", "keras", "mlflow", "great_expectations", "pandas", "numpy"}


def _modules_after(code: str) -> set[str]:
    script = f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    return {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.parametrize("path", DAGS, ids=lambda path: path.stem)
def test_importing_a_dag_file_loads_nothing_heavy(path: Path) -> None:
    loaded = _modules_after(f"import runpy; runpy.run_path({str(path)!r})")
    assert "airflow" in loaded
    assert not loaded & HEAVY


def test_cae_help_loads_nothing_heavy() -> None:
    run = "from cae_pipeline.cli import main\ntry: main()\nexcept SystemExit: pass"
    code = f"import sys; sys.argv = ['cae', '--help']\n{run}"
    loaded = _modules_after(code)
    assert "typer" in loaded
    assert not loaded & (HEAVY | {"airflow", "sqlalchemy", "pydantic_settings", "scipy", "matplotlib"})


@pytest.mark.parametrize("path", DAGS, ids=lambda path: path.stem)
def test_a_dag_file_is_short_and_named_as_its_dag(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 80
    assert f"\n{path.stem}()\n" in text


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_rooms_are_not_crowded(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 300
    for function in _functions(ast.parse(text)):
        lines = (function.end_lineno or 0) - function.body[0].lineno + 1
        assert lines <= 45, f"{function.name} has {lines} lines"


def test_no_committed_file_names_an_index_address() -> None:
    for path in (REPOSITORY / "requirements").iterdir():
        assert "://" not in path.read_text(), path.name


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
