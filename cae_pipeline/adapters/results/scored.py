"""Scores, verdicts and drift reports."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.database import insert, insert_new, reading
from cae_pipeline.adapters.results.schema import drift_reports, images, scores, verdicts
from cae_pipeline.errors import NotFoundError


def record_scores(engine: sa.Engine, rows: Sequence[dict[str, Any]]) -> None:
    """Write the scores of one chunk in one transaction; rows that are there already stay."""
    with engine.begin() as connection:
        insert_new(connection, scores, rows)


def scored_images(engine: sa.Engine, batch_keys: Sequence[str], model_version: str) -> set[tuple[str, str]]:
    """`(batch_key, image_id)` of what this model has judged already."""
    query = sa.select(scores.c.batch_key, scores.c.image_id).where(
        scores.c.batch_key.in_(batch_keys), scores.c.model_version == model_version
    )
    with reading(engine) as connection:
        return {(row.batch_key, row.image_id) for row in connection.execute(query)}


def record_verdict(
    engine: sa.Engine, image_id: str, verdict: str, *, author: str, note: str, created_at: datetime
) -> None:
    """Append what a person says of an image; earlier verdicts stay.

    Raises:
        NotFoundError: If no batch ever held that image.
    """
    row = {"image_id": image_id, "verdict": verdict, "author": author, "note": note, "created_at": created_at}
    with engine.begin() as connection:
        if connection.scalar(sa.select(images.c.name).where(images.c.image_id == image_id).limit(1)) is None:
            raise NotFoundError("image", image_id, advice="List images with `cae anomalies`.")
        connection.execute(sa.insert(verdicts), [row])


def record_drift(engine: sa.Engine, row: dict[str, Any]) -> None:
    """Write a line's drift report of one night, replacing an earlier one of the same night."""
    statement = insert(engine, drift_reports).values(**row)
    keys = ["line", "night", "model_version"]
    changed = {name: statement.excluded[name] for name in row if name not in keys}
    with engine.begin() as connection:
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed))
