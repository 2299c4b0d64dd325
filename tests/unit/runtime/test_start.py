from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HEAVY = ("tensorflow", "keras", "mlflow", "great_expectations", "matplotlib", "pandas", "airflow", "sklearn")


def test_a_scoring_process_loads_nothing_that_is_slow_to_start() -> None:
    code = (
        "import sys; import cae_pipeline.cli.nightly, cae_pipeline.wiring, cae_pipeline.steps.score; "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_onnx_runtime_neither_reports_to_its_maker_nor_keeps_a_diary(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import cae_pipeline.runtime.forward"],
        env={**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        check=True,
    )
    assert done.returncode == 0
    assert not [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name]
