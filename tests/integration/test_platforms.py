"""On Windows and macOS: commands go on where the system cannot limit the memory of a process, and say so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cae_pipeline.concurrency import memory
from tests.conftest import deliver, washers

REPOSITORY = Path(__file__).parents[2]
SYSTEMS = {
    # Windows has none of these modules
    "windows": "import sys\nfor name in ('resource', 'fcntl', 'grp', 'pwd', 'termios'): sys.modules[name] = None",
    "macos": "import resource\ndef refuse(*limit): raise ValueError('current limit exceeds maximum limit')\n"
    "resource.setrlimit = refuse",
}


@pytest.fixture(params=sorted(SYSTEMS))
def elsewhere(request: pytest.FixtureRequest, bare_workspace: Path, tmp_path: Path) -> dict[str, str]:
    """An environment in which every Python process, those it starts included, has what such a system has."""
    folder = tmp_path / request.param
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SYSTEMS[request.param])
    return {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{REPOSITORY}", "CAE_WORKSPACE": str(bare_workspace)}


def _cae(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cae_pipeline", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_batch_is_validated_with_a_warning_and_a_broken_file_costs_one_row(
    elsewhere: dict[str, str], bare_workspace: Path
) -> None:
    files = washers(range(300, 304)) | {"broken.png": b"camera 2: no trigger signal\n"}
    deliver(bare_workspace / "landing", "washers", "2026-01-31", files)
    done = _cae("validate", "washers", "2026-01-31", environment=elsewhere)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("memory_of_decoders_not_limited") == 1
    assert "Traceback" not in done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["num_images"], told["num_quarantined"]) == (5, 1)


@pytest.mark.parametrize("module", ["cae_pipeline.detector.cost", "cae_pipeline.steps.offline.benchmark"])
def test_what_measures_memory_can_be_imported(module: str, elsewhere: dict[str, str]) -> None:
    code = f"import {module}\nfrom cae_pipeline.concurrency.memory import peak_memory_bytes\nprint(peak_memory_bytes())"
    done = subprocess.run([sys.executable, "-c", code], env=elsewhere, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) >= 0


def test_asking_whether_memory_can_be_limited_changes_no_limit() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_AS)
    memory.can_limit_memory()
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_on_linux_memory_can_be_limited() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("says something of Linux")
    assert memory.can_limit_memory()
