"""Batches and their deliveries: recorded once with all their images, put in force, finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.database import insert_new
from cae_pipeline.adapters.results.schema import (
    HAS_FAILED,
    IS_CURRENT,
    batches,
    deliveries,
    images,
    judgements,
    model_versions,
    releases,
)
from cae_pipeline.concurrency.parallel import batched
from cae_pipeline.domain.batch import Delivery, DeliveryStatus
from cae_pipeline.domain.facts import FACTS
from cae_pipeline.domain.outcome import ImageStatus, ValidatedImage
from cae_pipeline.errors import NotFoundError

KEYS_PER_QUERY = 500
_NO_FACTS = dict.fromkeys(FACTS)


@dataclass(frozen=True)
class DeliveryRow:
    """One delivery of a batch, as the tables know it."""

    delivery_key: str
    batch_key: str
    line: str
    batch_id: str
    night: date
    manifest_sha256: str
    is_in_force: bool
    status: DeliveryStatus
    num_images: int
    num_quarantined: int
    num_bytes: int
    limits: Mapping[str, Any]
    rejected_for: str
    data_docs_uri: str
    dag_run_id: str
    listed_at: datetime
    validated_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class Validation:
    """What validating a delivery has come to.

    Attributes:
        images: One row for each member.
        limits: What they were held against, ready for JSON.
        rejected_for: One sentence per expectation that the batch as a whole failed; none if it is not rejected.
        data_docs_uri: The page about it, relative to the workspace.
        dag_run_id: Airflow's run; empty if a person asked for it.
        validated_at: When, aware and in UTC.
    """

    images: Sequence[ValidatedImage]
    limits: Mapping[str, Any]
    rejected_for: Sequence[str]
    data_docs_uri: str
    dag_run_id: str
    validated_at: datetime


def record_delivery(connection: sa.Connection, delivery: Delivery, validation: Validation) -> None:
    """Write a validated delivery with all its images and put it in force; one that is there already stays as it is."""
    batch = {"batch_key": delivery.batch_key, "line": delivery.line, "batch_id": delivery.batch_id}
    insert_new(connection, batches, [{**batch, "night": delivery.night}])
    # whoever else delivers the same batch waits here
    connection.execute(
        sa.select(batches.c.batch_key).where(batches.c.batch_key == delivery.batch_key).with_for_update()
    )
    rejected = bool(validation.rejected_for)
    row = {
        "delivery_key": delivery.delivery_key,
        "batch_key": delivery.batch_key,
        "manifest_sha256": delivery.manifest_sha256,
        "is_in_force": False,
        "status": DeliveryStatus.REJECTED if rejected else DeliveryStatus.VALIDATED,
        "num_images": len(validation.images),
        "num_quarantined": sum(image.status is ImageStatus.QUARANTINED for image in validation.images),
        "num_bytes": sum(image.num_bytes for image in validation.images),
        "limits": dict(validation.limits),
        "rejected_for": "; ".join(validation.rejected_for),
        "data_docs_uri": validation.data_docs_uri,
        "dag_run_id": validation.dag_run_id,
        "listed_at": delivery.listed_at,
        "validated_at": validation.validated_at,
    }
    insert_new(connection, deliveries, [row])
    insert_new(connection, images, [_image_row(delivery.delivery_key, image) for image in validation.images])
    put_in_force(connection, delivery)


def put_in_force(connection: sa.Connection, delivery: Delivery) -> None:
    """Let a delivery that is recorded count, and those before it be history; its listing is as new as this one."""
    of_batch = deliveries.c.batch_key == delivery.batch_key
    this = deliveries.c.delivery_key == delivery.delivery_key
    former = connection.scalar(
        sa.select(deliveries.c.delivery_key).where(of_batch, deliveries.c.is_in_force).with_for_update()
    )
    connection.execute(sa.update(deliveries).where(this).values(listed_at=delivery.listed_at))
    if former == delivery.delivery_key:
        return
    connection.execute(sa.update(deliveries).where(of_batch, ~this, deliveries.c.is_in_force).values(is_in_force=False))
    connection.execute(sa.update(deliveries).where(this).values(is_in_force=True))
    if former is not None:
        of_former = judgements.c.delivery_key == former
        connection.execute(sa.update(judgements).where(of_former, IS_CURRENT).values(is_current=False))
    _restore_current(connection, delivery.delivery_key)


def _restore_current(connection: sa.Connection, delivery_key: str) -> None:
    """Let the newest score of each image count again; a delivery may come back after it was history."""
    later = judgements.alias()
    replaced = sa.exists().where(
        later.c.delivery_key == judgements.c.delivery_key,
        later.c.name == judgements.c.name,
        later.c.outcome == "scored",
        later.c.judged_at > judgements.c.judged_at,
    )
    connection.execute(
        sa.update(judgements)
        .where(judgements.c.delivery_key == delivery_key, judgements.c.outcome == "scored", ~replaced)
        .values(is_current=True)
    )


def find_delivery(connection: sa.Connection, delivery_key: str) -> DeliveryRow | None:
    """Return a delivery, or None if it was never validated."""
    rows = _rows(connection, _deliveries().where(deliveries.c.delivery_key == delivery_key))
    return rows[0] if rows else None


def delivery_in_force(connection: sa.Connection, line: str, batch_id: str) -> DeliveryRow:
    """Return the delivery of a batch that counts.

    Raises:
        NotFoundError: If none was ever validated.
    """
    of_batch = (batches.c.line == line, batches.c.batch_id == batch_id, deliveries.c.is_in_force)
    rows = _rows(connection, _deliveries().where(*of_batch))
    if not rows:
        raise NotFoundError("validated batch", f"{line}/{batch_id}", advice="List batches with `cae batches`.")
    return rows[0]


def settled_batches(connection: sa.Connection, line: str) -> dict[str, DeliveryRow]:
    """The delivery in force of each batch_id of a line that is finished or rejected."""
    of_line = (batches.c.line == line, deliveries.c.is_in_force, deliveries.c.status != DeliveryStatus.VALIDATED)
    return {row.batch_id: row for row in _rows(connection, _deliveries().where(*of_line))}


def record_looked_at(connection: sa.Connection, delivery_keys: Sequence[str], looked_at: datetime) -> None:
    """Keep that the folders of some deliveries held nothing new at a moment: only what changes later is looked at."""
    for some in batched(delivery_keys, KEYS_PER_QUERY):
        older = deliveries.c.delivery_key.in_(some) & (deliveries.c.listed_at < looked_at)
        connection.execute(sa.update(deliveries).where(older).values(listed_at=looked_at))


def unfinished_deliveries(connection: sa.Connection, line: str) -> list[DeliveryRow]:
    """Deliveries in force of a line whose accepted images still wait, oldest night first."""
    waiting = (batches.c.line == line, deliveries.c.is_in_force, deliveries.c.status == DeliveryStatus.VALIDATED)
    return _rows(connection, _deliveries().where(*waiting).order_by(batches.c.night, batches.c.batch_id))


def deliveries_of_nights(connection: sa.Connection, line: str, nights: tuple[date, date]) -> list[DeliveryRow]:
    """Deliveries in force of a line's batches of some nights, both ends included."""
    wanted = (batches.c.line == line, batches.c.night.between(*nights), deliveries.c.is_in_force)
    return _rows(connection, _deliveries().where(*wanted).order_by(batches.c.night, batches.c.batch_id))


def finish_if_complete(connection: sa.Connection, delivery_key: str, *, judged_by: str, finished_at: datetime) -> bool:
    """Mark a delivery as scored once no accepted or released image of it waits.

    An image waits while no model has scored it, unless the one that is at work has failed on it.

    Args:
        connection: Of a unit of work.
        delivery_key: The delivery.
        judged_by: The model version at work.
        finished_at: Now, aware and in UTC.

    Returns:
        Whether it is finished now and was not before.
    """
    done = sa.exists().where(
        judgements.c.delivery_key == images.c.delivery_key,
        judgements.c.name == images.c.name,
        (judgements.c.outcome == "scored") | (judgements.c.model_version == judged_by),
    )
    released = sa.exists().where(releases.c.delivery_key == images.c.delivery_key, releases.c.name == images.c.name)
    waiting = (
        sa.select(sa.literal(1))
        .where(images.c.delivery_key == delivery_key, ~done)
        .where((images.c.status == ImageStatus.ACCEPTED) | released)
        # from the end, which is scored last: while anything waits it is found at once, however large the batch
        .order_by(images.c.name.desc())
        .limit(1)
    )
    finished = connection.execute(
        sa.update(deliveries)
        .where(deliveries.c.delivery_key == delivery_key, deliveries.c.status == DeliveryStatus.VALIDATED)
        .where(~waiting.exists())
        .values(status=DeliveryStatus.SCORED, finished_at=finished_at)
    )
    return bool(finished.rowcount)


def reopen(connection: sa.Connection, delivery_keys: sa.Select[tuple[str]] | Sequence[str]) -> None:
    """Let the images of some deliveries wait for an outcome again."""
    connection.execute(
        sa.update(deliveries)
        .where(deliveries.c.delivery_key.in_(delivery_keys))
        .values(status=DeliveryStatus.VALIDATED, finished_at=None)
    )


def reopen_failed(connection: sa.Connection, line: str) -> None:
    """Let the images that a line's models have failed on wait for its new champion."""
    of_line = sa.select(model_versions.c.model_version).where(model_versions.c.line == line)
    reopen(
        connection,
        sa.select(judgements.c.delivery_key).where(IS_CURRENT, HAS_FAILED, judgements.c.model_version.in_(of_line)),
    )


def _deliveries() -> sa.Select[Any]:
    return sa.select(deliveries, batches.c.line, batches.c.batch_id, batches.c.night).join(
        batches, batches.c.batch_key == deliveries.c.batch_key
    )


def _rows(connection: sa.Connection, query: sa.Select[Any]) -> list[DeliveryRow]:
    found = connection.execute(query).mappings()
    return [DeliveryRow(**{**row, "status": DeliveryStatus(row["status"])}) for row in found]


def _image_row(delivery_key: str, image: ValidatedImage) -> dict[str, Any]:
    return {
        "delivery_key": delivery_key,
        "name": image.name,
        "image_id": image.image_id,
        "num_bytes": image.num_bytes,
        "status": image.status,
        "reason": image.reason or "",
        "detail": image.detail,
        "duplicate_of": image.duplicate_of or "",
        **(asdict(image.facts) if image.facts else _NO_FACTS),
    }
