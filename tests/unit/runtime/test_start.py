from __future__ import annotations

import subprocess
import sys

HEAVY = ("tensorflow", "keras", "mlflow", "great_expectations", "matplotlib", "pandas", "airflow", "sklearn")


def test_a_scoring_process_loads_nothing_that_is_slow_to_start() -> None:
    code = (
        "import sys; import cae_pipeline.cli.nightly, cae_pipeline.wiring, cae_pipeline.steps.score; "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
