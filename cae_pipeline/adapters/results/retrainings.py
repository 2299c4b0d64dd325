"""Trainings that were asked for, and when a line was trained last."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from cae_pipeline.adapters.results.database import reading
from cae_pipeline.adapters.results.ledger import Stamp
from cae_pipeline.adapters.results.schema import model_versions, retrainings


def record_request(engine: sa.Engine, line: str, *, trigger: str, reason: str, stamp: Stamp) -> None:
    """Remember that a training was asked for."""
    row = {
        "line": line,
        "trigger": trigger,
        "reason": reason,
        "dag_run_id": stamp.dag_run_id,
        "asked_at": stamp.at,
    }
    with engine.begin() as connection:
        connection.execute(sa.insert(retrainings), [row])


def last_training(engine: sa.Engine, line: str) -> datetime | None:
    """When a line was last trained, or a training was last asked for, whatever became of it."""
    trained = sa.select(sa.func.max(model_versions.c.registered_at)).where(model_versions.c.line == line)
    asked = sa.select(sa.func.max(retrainings.c.asked_at)).where(retrainings.c.line == line)
    with reading(engine) as connection:
        moments = [connection.scalar(query) for query in (trained, asked)]
    return max((moment for moment in moments if moment is not None), default=None)
