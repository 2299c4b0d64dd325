"""Which images of past nights may be taken for normal: to learn from, or to check a promise on."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from cae_pipeline.adapters.results.database import reading
from cae_pipeline.adapters.results.schema import batches, images, scores, snapshots
from cae_pipeline.adapters.results.verdicts import latest_verdict


def presumably_normal(engine: sa.Engine, line: str, *, newest_nights: int) -> list[sa.RowMapping]:
    """Scored images that were never quarantined, flagged or judged a defect, and those judged normal.

    Args:
        engine: Of the results database.
        line: Whose images.
        newest_nights: Days up to the newest night that was scored; of older images only those judged normal count.

    Returns:
        Each picture once, newest night first: the columns of `images`, the batch's `line`, `batch_id` and
        `night`, the latest `verdict` (or None), and the lowest `p_value` any model gave it.
    """
    of_image = (scores.c.batch_key == images.c.batch_key) & (scores.c.image_id == images.c.image_id)
    p_value = sa.select(sa.func.min(scores.c.p_value)).where(of_image).scalar_subquery()
    was_flagged = sa.exists().where(of_image, scores.c.is_anomalous)
    verdict = latest_verdict(images.c.image_id)
    with reading(engine) as connection:
        # batches for training have a night too, but nobody scores them
        was_scored = sa.exists().where(scores.c.batch_key == batches.c.batch_key)
        newest = connection.scalar(sa.select(sa.func.max(batches.c.night)).where(batches.c.line == line, was_scored))
        if newest is None:
            return []
        is_recent = batches.c.night > newest - timedelta(days=newest_nights)
        query = (
            sa.select(
                images,
                batches.c.line,
                batches.c.batch_id,
                batches.c.night,
                p_value.label("p_value"),
                verdict.label("verdict"),
            )
            .join(batches, batches.c.batch_key == images.c.batch_key)
            .where(batches.c.line == line, images.c.status == "accepted", p_value.is_not(None))
            .where((verdict == "normal") | (is_recent & verdict.is_(None) & ~was_flagged))
            # oldest first, so that of a picture that came twice the newest delivery stays
            .order_by(batches.c.night, images.c.batch_key, images.c.name)
        )
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
