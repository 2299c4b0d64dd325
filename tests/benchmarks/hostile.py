"""Deliver a folder of broken files beside 50 good images as one batch, and see what becomes of each.

    python -m tests.benchmarks.hostile DIR

Exits with 1 unless every file ends scored or quarantined with a reason and all 50 good images are scored.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import sqlalchemy as sa

from cae_pipeline.adapters.results.schema import images
from cae_pipeline.lines_file import read_lines
from cae_pipeline.settings import Settings
from cae_pipeline.steps.life.promote import promote_challenger
from cae_pipeline.steps.life.train import train_model
from cae_pipeline.steps.night.plan import plan_line
from cae_pipeline.steps.night.score import score_slices
from cae_pipeline.steps.night.validate import validate_batch
from cae_pipeline.wiring import connect
from tests.asking import judged
from tests.conftest import LINES_TOML, deliver, washers

NUM_GOOD = 50


def main(folder: Path) -> int:
    """Run it; returns the exit code."""
    with tempfile.TemporaryDirectory() as temporary:
        workspace = Path(temporary)
        (workspace / "lines.toml").write_text(
            LINES_TOML.replace("max_quarantined_share = 0.7", "max_quarantined_share = 1")
        )
        services = connect(Settings(workspace=workspace))
        line = read_lines(workspace / "lines.toml")["washers"]
        deliver(workspace / "landing", "washers", "normal-1", washers(range(100, 180)))
        promote_challenger(line, train_model(line, services).model_version, services)
        broken = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "MANIFEST.tsv"}
        good = washers(range(1000, 1000 + NUM_GOOD))
        deliver(workspace / "landing", "washers", "2026-01-31", broken | good)
        started = time.perf_counter()
        key = validate_batch(line, "2026-01-31", services).delivery_key
        version, chunks = plan_line(line, chunk_size=512, services=services)
        for chunk in chunks:
            score_slices(chunk, version, services)
        seconds = time.perf_counter() - started
        with services.read() as connection:
            rows = connection.execute(sa.select(images).where(images.c.delivery_key == key)).mappings().all()
        outcomes = {row["name"]: row for row in judged(services, delivery_key=key)}
    scored = {name for name, row in outcomes.items() if row["outcome"] == "scored"}
    ends = Counter(_told(row, outcomes.get(row["name"])) for row in rows)
    for end, count in ends.most_common():
        print(f"{count:5}  {end}")
    lost = [row["name"] for row in rows if row["name"] not in scored and row["status"] != "quarantined"]
    waiting = sorted(set(good) - scored)
    print(f"{len(broken)} broken and {len(good)} good files in {seconds:.1f} s")
    print(f"not accounted for: {lost}; good and not scored: {waiting}")
    return 1 if lost or waiting or len(rows) != len(broken) + len(good) else 0


def _told(image: sa.RowMapping, judgement: sa.RowMapping | None) -> str:
    """What became of a file, and why."""
    if judgement is None:
        return f"{image['status']}: {image['reason']}"
    return "scored" if judgement["outcome"] == "scored" else f"failed: {judgement['reason']}"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
