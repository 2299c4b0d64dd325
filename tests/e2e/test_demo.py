"""`make demo`, twice, as a newcomer runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def _demo(workspace: Path) -> str:
    environment = {**os.environ, "CAE_WORKSPACE": str(workspace)}
    done = subprocess.run(
        [sys.executable, "-m", "infra.demo.run"],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout)
    tail = (workspace / "demo.log").read_text()[-3000:] if (workspace / "demo.log").exists() else ""
    assert done.returncode == 0, done.stdout + done.stderr + tail
    return done.stdout


def test_the_demo_does_the_whole_job_and_a_second_run_adds_nothing(tmp_path: Path) -> None:
    first = _demo(tmp_path)
    for line, floor in (("cells-mono", 0.92), ("cells-poly", 0.82)):
        figures = re.search(rf"^{line}\s+(\d+)\s+(\d+)\s+([\d.]+)\s+([\d.]+)%", first, re.MULTILINE)
        assert figures, first
        assert int(figures[1]) > 150
        assert float(figures[3]) > floor
        assert float(figures[4]) < 15
    assert "2026-01-14-late-shift: share of images unreadable or out of limits: seen 0.8" in first
    assert "CC BY-NC-SA 4.0" in first
    assert len(list((tmp_path / "reports").glob("2026-01-*.html"))) == 4
    second = _demo(tmp_path)
    assert "champion cae-cells-mono/1 is there already" in second
    counts = re.findall(r"(\w+) (\d+) \((\d+) new\)", second)
    assert {name for name, _, _ in counts} == {"deliveries", "images", "judgements", "ledger"}
    assert [int(new) for _, _, new in counts] == [0, 0, 0, 0]
    assert [count for _, count, _ in counts] == [
        count for _, count, _ in re.findall(r"(\w+) (\d+) \((\d+) new\)", first)
    ]
