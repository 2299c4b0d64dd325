"""What must never be in the tables, and what housekeeping must not remove."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from cae_pipeline.adapters.results.images import may_be_scored
from cae_pipeline.adapters.results.schema import batches, deliveries, images, judgements
from cae_pipeline.adapters.results.views import in_force


def flagged_maps(connection: sa.Connection) -> set[str]:
    """Maps of images that are flagged by the threshold in force, which are kept for good."""
    query = sa.select(judgements.c.map_uri).join(in_force, in_force.c.model_version == judgements.c.model_version)
    return set(connection.scalars(query.where(judgements.c.score > in_force.c.value)))


def integrity_problems(connection: sa.Connection) -> list[str]:
    """Look for members of finished deliveries that nobody accounts for, lost rows, and a damaged file."""
    return [*_unaccounted(connection), *_miscounted(connection), *_damage(connection)]


def _unaccounted(connection: sa.Connection) -> Iterator[str]:
    has_outcome = sa.exists().where(
        judgements.c.delivery_key == images.c.delivery_key, judgements.c.name == images.c.name
    )
    query = (
        sa.select(batches.c.line, batches.c.batch_id, images.c.name)
        .join(deliveries, deliveries.c.batch_key == batches.c.batch_key)
        .join(images, images.c.delivery_key == deliveries.c.delivery_key)
        .where(deliveries.c.status == "scored", may_be_scored(), ~has_outcome)
    )
    for row in connection.execute(query):
        yield f"{row.line}/{row.batch_id}/{row.name} is neither scored nor quarantined nor failed"


def _miscounted(connection: sa.Connection) -> Iterator[str]:
    query = (
        sa.select(batches.c.line, batches.c.batch_id)
        .join(deliveries, deliveries.c.batch_key == batches.c.batch_key)
        .outerjoin(images, images.c.delivery_key == deliveries.c.delivery_key)
        .group_by(deliveries.c.delivery_key, batches.c.line, batches.c.batch_id, deliveries.c.num_images)
        .having(sa.func.count(images.c.name) != deliveries.c.num_images)
    )
    for row in connection.execute(query):
        yield f"{row.line}/{row.batch_id} has lost rows of images"


def _damage(connection: sa.Connection) -> Iterator[str]:
    if connection.dialect.name == "sqlite":
        told = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        yield from (text for text in told if text != "ok")
