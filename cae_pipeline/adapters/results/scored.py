"""Scores and drift reports."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.database import insert, insert_new, reading
from cae_pipeline.adapters.results.schema import batches, drift_reports, scores
from cae_pipeline.adapters.results.thresholds import in_force, lock_version


def record_scores(engine: sa.Engine, rows: Sequence[dict[str, Any]]) -> int:
    """Write the scores of one chunk in one transaction; rows that are there already stay.

    They are judged by the threshold in force at that moment, whatever it was when the images were scored.

    Returns:
        How many of the rows are above it.
    """
    flagged = 0
    with engine.begin() as connection:
        for version in {row["model_version"] for row in rows}:
            lock_version(connection, version)
            value: float = connection.execute(sa.select(in_force(sa.literal(version)))).scalar_one()
            # a score that is none is left for the database to refuse
            judged = [
                {**row, "is_anomalous": (row["score"] or 0) > value} for row in rows if row["model_version"] == version
            ]
            insert_new(connection, scores, judged)
            flagged += sum(row["is_anomalous"] for row in judged)
    return flagged


def scores_of_night(engine: sa.Engine, line: str, night: date, model_version: str) -> list[sa.RowMapping]:
    """Score, code and flag of what a model has judged of a line's night."""
    query = (
        sa.select(scores.c.score, scores.c.code, scores.c.is_anomalous)
        .join(batches, batches.c.batch_key == scores.c.batch_key)
        .where(batches.c.line == line, batches.c.night == night, scores.c.model_version == model_version)
    )
    with reading(engine) as connection:
        return list(connection.execute(query).mappings())


def record_drift(engine: sa.Engine, row: dict[str, Any]) -> None:
    """Write a line's drift report of one night, replacing an earlier one of the same night."""
    statement = insert(engine, drift_reports).values(**row)
    keys = ["line", "night", "model_version"]
    changed = {name: statement.excluded[name] for name in row if name not in keys}
    with engine.begin() as connection:
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed))
