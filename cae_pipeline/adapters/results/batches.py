"""Batches: recorded once with all their images, found, finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.database import insert_new, reading
from cae_pipeline.adapters.results.schema import batches, images, releases, scores
from cae_pipeline.domain.batch import Batch, BatchStatus, ImageRecord, ImageStatus
from cae_pipeline.domain.facts import FACTS
from cae_pipeline.errors import NotFoundError


def record_batch(
    engine: sa.Engine, batch: Batch, records: Sequence[ImageRecord], *, outcome: dict[str, Any], validated_at: datetime
) -> None:
    """Write one validated batch with all its images, or nothing if it is there already.

    Args:
        outcome: `status`, `rejected_for`, `data_docs_uri` and `dag_run_id` of the batch's row.
    """
    row = {
        "batch_key": batch.batch_key,
        "line": batch.line,
        "batch_id": batch.batch_id,
        "night": batch.night,
        "manifest_sha256": batch.manifest_sha256,
        "num_images": len(records),
        "num_quarantined": sum(record.status is ImageStatus.QUARANTINED for record in records),
        "num_bytes": sum(record.num_bytes for record in records),
        "validated_at": validated_at,
        **outcome,
    }
    with engine.begin() as connection:
        insert_new(connection, batches, [row])
        insert_new(connection, images, [_image_row(batch, record) for record in records])


def find_batch(engine: sa.Engine, batch_key: str) -> sa.RowMapping | None:
    """Return the batch's row, or None if it was never validated."""
    with reading(engine) as connection:
        return connection.execute(sa.select(batches).where(batches.c.batch_key == batch_key)).mappings().first()


def settled_batches(engine: sa.Engine, line: str) -> dict[str, datetime]:
    """When each finished or rejected batch_id of a line was last validated."""
    query = (
        sa.select(batches.c.batch_id, sa.func.max(batches.c.validated_at).label("validated_at"))
        .where(batches.c.line == line)
        .group_by(batches.c.batch_id)
        .having(sa.func.min(sa.case((batches.c.status == BatchStatus.VALIDATED, 0), else_=1)) == 1)
    )
    with reading(engine) as connection:
        return {row.batch_id: row.validated_at for row in connection.execute(query)}


def unfinished_batches(engine: sa.Engine, line: str) -> list[sa.RowMapping]:
    """Validated batches of a line whose accepted images still wait, oldest night first."""
    query = (
        sa.select(batches)
        .where(batches.c.line == line, batches.c.status == BatchStatus.VALIDATED)
        .order_by(batches.c.night, batches.c.batch_id)
    )
    with reading(engine) as connection:
        return list(connection.execute(query).mappings())


def batches_of_nights(engine: sa.Engine, line: str, nights: tuple[date, date]) -> list[str]:
    """Keys of a line's batches of some nights, both ends included, that were not rejected."""
    query = (
        sa.select(batches.c.batch_key)
        .where(batches.c.line == line, batches.c.night.between(*nights), batches.c.status != BatchStatus.REJECTED)
        .order_by(batches.c.night, batches.c.batch_id)
    )
    with reading(engine) as connection:
        return list(connection.scalars(query))


def finish_if_complete(engine: sa.Engine, batch_key: str, *, finished_at: datetime) -> bool:
    """Mark a batch as scored once no accepted or released image of it waits for a score."""
    judged = sa.exists().where(scores.c.batch_key == images.c.batch_key, scores.c.image_id == images.c.image_id)
    released = sa.exists().where(releases.c.batch_key == images.c.batch_key, releases.c.name == images.c.name)
    waiting = (
        sa.select(sa.literal(1))
        .where(images.c.batch_key == batch_key, ~judged, images.c.status != ImageStatus.FAILED)
        .where((images.c.status == ImageStatus.ACCEPTED) | released)
        # from the end, which is scored last: while anything waits it is found at once, however large the batch
        .order_by(images.c.name.desc())
        .limit(1)
    )
    with engine.begin() as connection:
        done = connection.execute(
            sa.update(batches)
            .where(batches.c.batch_key == batch_key, batches.c.status == BatchStatus.VALIDATED, ~waiting.exists())
            .values(status=BatchStatus.SCORED, finished_at=finished_at)
        )
    return bool(done.rowcount)


def newest_delivery(engine: sa.Engine, line: str, batch_id: str) -> sa.RowMapping:
    """Return the row of the delivery of a batch_id that was validated last.

    Raises:
        NotFoundError: If none was.
    """
    query = (
        sa.select(batches)
        .where(batches.c.line == line, batches.c.batch_id == batch_id)
        .order_by(batches.c.validated_at.desc())
    )
    with reading(engine) as connection:
        row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFoundError("validated batch", f"{line}/{batch_id}", advice="List batches with `cae batches`.")
    return row


def _image_row(batch: Batch, record: ImageRecord) -> dict[str, Any]:
    facts = asdict(record.facts) if record.facts else dict.fromkeys(FACTS)
    return {
        "batch_key": batch.batch_key,
        "name": record.name,
        "image_id": record.image_id,
        "num_bytes": record.num_bytes,
        "status": record.status,
        "reason": record.reason or "",
        "detail": record.detail,
        "duplicate_of": record.duplicate_of or "",
        **facts,
    }
