"""Deliveries: recorded with all their images, put in force, and what that does to those before them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.batches import reopen
from cae_pipeline.adapters.results.database import IDS_PER_QUERY, insert, insert_new
from cae_pipeline.adapters.results.images import may_be_scored
from cae_pipeline.adapters.results.schema import (
    IS_CURRENT,
    IS_QUARANTINED,
    batches,
    deliveries,
    images,
    judgements,
    releases,
)
from cae_pipeline.concurrency.parallel import batched
from cae_pipeline.domain.batch import Delivery, DeliveryStatus
from cae_pipeline.domain.facts import FACTS
from cae_pipeline.domain.outcome import ImageStatus, Reason, ValidatedImage

_NO_FACTS = dict.fromkeys(FACTS)


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
        "number": delivery.number,
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
        _carry_over(connection, former, delivery.delivery_key)
    _restore_current(connection, delivery.delivery_key)
    if former is not None:
        _accept_lost_duplicates(connection, former, delivery)


def _carry_over(connection: sa.Connection, former: str, delivery_key: str) -> None:
    """Let what people and models said of images that come again unchanged be said of them in their new delivery too."""
    same_release = (images.c.name == releases.c.name) & (images.c.delivery_key == delivery_key)
    former_image = images.alias()
    same_bytes = sa.exists().where(
        former_image.c.delivery_key == former,
        former_image.c.name == images.c.name,
        former_image.c.image_id == images.c.image_id,
    )
    released = [column for column in releases.c if column.name != "delivery_key"]
    let_go = (
        sa.select(sa.literal(delivery_key), *released)
        .join(images, same_release)
        .where(releases.c.delivery_key == former, IS_QUARANTINED, images.c.width_px.is_not(None), same_bytes)
    )
    _insert_new_from(connection, releases, ["delivery_key", *(column.name for column in released)], let_go)
    same = (images.c.name == judgements.c.name) & (images.c.image_id == judgements.c.image_id)
    copied = [column for column in judgements.c if column.name not in ("delivery_key", "is_current")]
    said = (
        sa.select(sa.literal(delivery_key), sa.false(), *copied)
        .join(images, same)
        .where(judgements.c.delivery_key == former, judgements.c.outcome == "scored")
        .where(images.c.delivery_key == delivery_key, may_be_scored())
    )
    names = ["delivery_key", "is_current", *(column.name for column in copied)]
    _insert_new_from(connection, judgements, names, said)


def _insert_new_from(connection: sa.Connection, table: sa.Table, names: Sequence[str], query: sa.Select[Any]) -> None:
    statement = insert(connection.engine, table).from_select(list(names), query)
    connection.execute(statement.on_conflict_do_nothing())


def _accept_lost_duplicates(connection: sa.Connection, former: str, delivery: Delivery) -> None:
    """Accept images that were kept from scoring as the same as one which is not there any more.

    A product is judged once. When the picture that was judged goes with its delivery, one of those that pointed at it
    takes its place.
    """
    accepted = sa.select(images.c.image_id).where(images.c.status == ImageStatus.ACCEPTED)
    kept = accepted.where(images.c.delivery_key == delivery.delivery_key)
    before = accepted.where(images.c.delivery_key == former, images.c.image_id.not_in(kept))
    for image_ids in batched(sorted(connection.scalars(before)), IDS_PER_QUERY):
        duplicates = (
            sa.select(images.c.delivery_key, images.c.name, images.c.image_id)
            .join(deliveries, deliveries.c.delivery_key == images.c.delivery_key)
            .join(batches, batches.c.batch_key == deliveries.c.batch_key)
            .where(images.c.image_id.in_(image_ids), images.c.reason == Reason.DUPLICATE, deliveries.c.is_in_force)
            .where(batches.c.line == delivery.line, deliveries.c.status != DeliveryStatus.REJECTED)
            .order_by(images.c.image_id, batches.c.night, batches.c.batch_id, images.c.name)
        )
        first = {row.image_id: row for row in reversed(connection.execute(duplicates).all())}
        for row in first.values():
            this = (images.c.delivery_key == row.delivery_key, images.c.name == row.name)
            taken = {"status": ImageStatus.ACCEPTED, "reason": "", "detail": "", "duplicate_of": ""}
            connection.execute(sa.update(images).where(*this).values(**taken))
            of_delivery = deliveries.c.delivery_key == row.delivery_key
            fewer = deliveries.c.num_quarantined - 1
            connection.execute(sa.update(deliveries).where(of_delivery).values(num_quarantined=fewer))
        reopen(connection, sorted({row.delivery_key for row in first.values()}))


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
