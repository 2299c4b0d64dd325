"""Batches and where their deliveries stand: waiting, finished, in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.database import IDS_PER_QUERY
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
from cae_pipeline.domain.outcome import ImageStatus
from cae_pipeline.errors import NotFoundError


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
    number: int
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
    reported_night: date | None
    reported_at: datetime | None


def latest_of_content(connection: sa.Connection, delivery: Delivery) -> DeliveryRow | None:
    """Return the newest delivery of a batch with the same files, or None if there never was one."""
    same = (deliveries.c.batch_key == delivery.batch_key, deliveries.c.manifest_sha256 == delivery.manifest_sha256)
    rows = as_deliveries(connection, select_deliveries().where(*same).order_by(deliveries.c.number.desc()).limit(1))
    return rows[0] if rows else None


def find_in_force(connection: sa.Connection, line: str, batch_id: str) -> DeliveryRow | None:
    """Return the delivery of a batch that counts, or None if none was ever validated."""
    of_batch = (batches.c.line == line, batches.c.batch_id == batch_id, deliveries.c.is_in_force)
    rows = as_deliveries(connection, select_deliveries().where(*of_batch))
    return rows[0] if rows else None


def delivery_in_force(connection: sa.Connection, line: str, batch_id: str) -> DeliveryRow:
    """Return the delivery of a batch that counts.

    Raises:
        NotFoundError: If none was ever validated.
    """
    found = find_in_force(connection, line, batch_id)
    if found is None:
        raise NotFoundError("validated batch", f"{line}/{batch_id}", advice="List batches with `cae batches`.")
    return found


def settled_batches(connection: sa.Connection, line: str) -> dict[str, DeliveryRow]:
    """The delivery in force of each batch_id of a line that is finished or rejected."""
    of_line = (batches.c.line == line, deliveries.c.is_in_force, deliveries.c.status != DeliveryStatus.VALIDATED)
    return {row.batch_id: row for row in as_deliveries(connection, select_deliveries().where(*of_line))}


def record_looked_at(connection: sa.Connection, delivery_keys: Sequence[str], looked_at: datetime) -> None:
    """Keep that the folders of some deliveries held nothing new at a moment: only what changes later is looked at."""
    for some in batched(delivery_keys, IDS_PER_QUERY):
        older = deliveries.c.delivery_key.in_(some) & (deliveries.c.listed_at < looked_at)
        connection.execute(sa.update(deliveries).where(older).values(listed_at=looked_at))


def unfinished_deliveries(connection: sa.Connection, line: str) -> list[DeliveryRow]:
    """Deliveries in force of a line whose accepted images still wait, oldest night first."""
    waiting = (batches.c.line == line, deliveries.c.is_in_force, deliveries.c.status == DeliveryStatus.VALIDATED)
    return as_deliveries(connection, select_deliveries().where(*waiting).order_by(batches.c.night, batches.c.batch_id))


def deliveries_of_nights(connection: sa.Connection, line: str, nights: tuple[date, date]) -> list[DeliveryRow]:
    """Deliveries in force of a line's batches of some nights, both ends included."""
    wanted = (batches.c.line == line, batches.c.night.between(*nights), deliveries.c.is_in_force)
    return as_deliveries(connection, select_deliveries().where(*wanted).order_by(batches.c.night, batches.c.batch_id))


def validated_since(connection: sa.Connection, line: str, since: datetime, *, up_to: date) -> list[DeliveryRow]:
    """Deliveries in force of a line that were validated after a moment, of nights up to one, by night and name."""
    wanted = (batches.c.line == line, batches.c.night <= up_to, deliveries.c.is_in_force)
    query = select_deliveries().where(*wanted, deliveries.c.validated_at >= since)
    return as_deliveries(connection, query.order_by(batches.c.night, batches.c.batch_id))


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


def select_deliveries() -> sa.Select[Any]:
    """Start a query for what `as_deliveries` reads."""
    return sa.select(deliveries, batches.c.line, batches.c.batch_id, batches.c.night).join(
        batches, batches.c.batch_key == deliveries.c.batch_key
    )


def as_deliveries(connection: sa.Connection, query: sa.Select[Any]) -> list[DeliveryRow]:
    """Read the rows of `select_deliveries`."""
    found = connection.execute(query).mappings()
    return [DeliveryRow(**{**row, "status": DeliveryStatus(row["status"])}) for row in found]
