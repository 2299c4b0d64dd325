"""Which images of past nights may be taken for normal: to learn from, or to check a promise on."""

from __future__ import annotations

import sqlalchemy as sa

from cae_pipeline.adapters.results.database import reading
from cae_pipeline.adapters.results.schema import batches, images, scores, snapshots
from cae_pipeline.adapters.results.verdicts import latest_verdict


def presumably_normal(engine: sa.Engine, line: str) -> list[sa.RowMapping]:
    """Scored images that were never quarantined, flagged or judged a defect, and those judged normal.

    Returns:
        Each picture once, newest night first: the columns of `images`, the batch's `line`, `batch_id` and
        `night`, the latest `verdict` (or None), and the lowest `p_value` any model gave it.
    """
    judged = (
        sa.select(
            scores.c.batch_key,
            scores.c.image_id,
            sa.func.min(scores.c.p_value).label("p_value"),
            sa.func.max(sa.case((scores.c.is_anomalous, 1), else_=0)).label("was_flagged"),
        )
        .group_by(scores.c.batch_key, scores.c.image_id)
        .subquery()
    )
    verdict = latest_verdict(images.c.image_id)
    query = (
        sa.select(
            images,
            batches.c.line,
            batches.c.batch_id,
            batches.c.night,
            judged.c.p_value,
            verdict.label("verdict"),
        )
        .join(batches, batches.c.batch_key == images.c.batch_key)
        .join(judged, (judged.c.batch_key == images.c.batch_key) & (judged.c.image_id == images.c.image_id))
        .where(batches.c.line == line, images.c.status == "accepted")
        .where((verdict == "normal") | (verdict.is_(None) & (judged.c.was_flagged == 0)))
        # oldest first, so that of a picture that came twice the newest delivery stays
        .order_by(batches.c.night, images.c.batch_key, images.c.name)
    )
    with reading(engine) as connection:
        by_picture = {row["image_id"]: row for row in connection.execute(query).mappings()}
    return list(by_picture.values())[::-1]


def pictures_seen_by(engine: sa.Engine, *model_versions: str) -> set[str]:
    """Digests of the images that played a part in some trainings."""
    query = (
        sa.select(images.c.image_id)
        .join(snapshots, (snapshots.c.batch_key == images.c.batch_key) & (snapshots.c.name == images.c.name))
        .where(snapshots.c.model_version.in_(model_versions))
    )
    with reading(engine) as connection:
        return set(connection.scalars(query))
