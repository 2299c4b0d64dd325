"""What a hundred times as many images cost: memory, time, rows; and what a second run costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from cae_pipeline.adapters.results.schema import judgements
from tests.asking import delivery
from tests.benchmarks.performance.plant import SMALL, Child, Plant, run_cae


@dataclass(frozen=True)
class Night:
    """What one batch has cost.

    Attributes:
        score: The process that scored it.
        again: The processes that found nothing left to do.
        database_bytes: By which the results database has grown.
    """

    count: int
    score: Child
    again: Child
    database_bytes: int


def night(plant: Plant, batch_id: str, count: int) -> Night:
    """Deliver, validate and score a batch, then score it again."""
    before = _database_bytes(plant)
    plant.deliver(SMALL, batch_id, count)
    score = run_cae(plant, ["score", SMALL])
    after = _database_bytes(plant)
    again = run_cae(plant, ["rescore", SMALL, "--since", batch_id, "--until", batch_id])
    key = delivery(plant.services, batch_id, line=SMALL).delivery_key
    scored = sa.select(sa.func.count()).where(judgements.c.delivery_key == key, judgements.c.outcome == "scored")
    with plant.services.read() as connection:
        done = connection.scalar(scored)
    assert done == count, f"{done} of {count} images were scored"
    return Night(count, score, again, after - before)


def _database_bytes(plant: Plant) -> int:
    with plant.services.read() as connection:
        pages, free, size = (
            int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
            for name in ("page_count", "freelist_count", "page_size")
        )
    return (pages - free) * size


def map_bytes(plant: Plant) -> int:
    """Bytes of all anomaly maps."""
    return sum(path.stat().st_size for path in Path(plant.workspace / "maps").rglob("*.png"))
