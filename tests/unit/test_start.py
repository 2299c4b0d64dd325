from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("tensorflow", "keras", "mlflow", "great_expectations", "matplotlib", "pandas", "airflow", "sklearn")


def test_a_scoring_process_loads_nothing_that_is_slow_to_start() -> None:
    code = (
        "import sys; import cae_pipeline.cli.nightly, cae_pipeline.wiring, cae_pipeline.steps.night.score; "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_core_loads_neither_pandas_nor_scikit_learn_nor_a_runtime() -> None:
    code = (
        "import importlib, pkgutil, sys; import cae_pipeline\n"
        "for room in ('domain', 'statistics', 'detector', 'defects'):\n"
        "    package = importlib.import_module(f'cae_pipeline.{room}')\n"
        "    for module in pkgutil.walk_packages(package.__path__, f'{package.__name__}.'):\n"
        "        importlib.import_module(module.name)\n"
        f"print([name for name in (*{HEAVY}, 'onnxruntime', 'openvino') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_runtime_neither_reports_to_its_maker_nor_keeps_a_diary(tmp_path: Path, runtime: str) -> None:
    code = (
        "import sys; from cae_pipeline.detector.sessions import onnx_forward, openvino_forward\n"
        "try: {'openvino': openvino_forward, 'onnxruntime': onnx_forward}[sys.argv[1]](b'')\n"
        "except Exception: assert sys.argv[1] in sys.modules\n"
        "else: raise SystemExit('nothing was refused')"
    )
    subprocess.run(
        [sys.executable, "-c", code, runtime],
        env={**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        check=True,
    )
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
