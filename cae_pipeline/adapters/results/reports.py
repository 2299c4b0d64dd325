"""Which night's report tells of a delivery: each is told of once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

import sqlalchemy as sa

from cae_pipeline.adapters.results.batches import DeliveryRow, as_deliveries, select_deliveries
from cae_pipeline.adapters.results.schema import batches, deliveries
from cae_pipeline.domain.batch import DeliveryStatus


def deliveries_told_by(connection: sa.Connection, line: str, night: date) -> list[DeliveryRow]:
    """What the report of a line's night tells of, by night and name.

    That are the batches of that night, unless the report of a later night tells of them because they were late, and
    what has been finished or rejected since of earlier nights and stands in no report yet.
    """
    untold = deliveries.c.reported_night.is_(None)
    settled = deliveries.c.status != DeliveryStatus.VALIDATED
    own = (batches.c.night == night) & untold
    late = (batches.c.night < night) & untold & settled
    # each of the three is found by an index of its own
    queries = [
        select_deliveries().where(batches.c.line == line, deliveries.c.is_in_force, wanted)
        for wanted in (own, late, deliveries.c.reported_night == night)
    ]
    found = {row.delivery_key: row for query in queries for row in as_deliveries(connection, query)}
    return sorted(found.values(), key=lambda row: (row.night, row.batch_id))


def told_later(connection: sa.Connection, line: str, night: date) -> list[DeliveryRow]:
    """Batches of a line's night that the report of another night tells of."""
    of_night = (batches.c.line == line, batches.c.night == night, deliveries.c.is_in_force)
    query = select_deliveries().where(*of_night, deliveries.c.reported_night != night)
    return as_deliveries(connection, query.order_by(batches.c.batch_id))


def stale_nights(connection: sa.Connection) -> list[date]:
    """Nights whose report tells of a delivery that was finished anew after the report was made."""
    stale = sa.select(deliveries.c.reported_night).where(
        deliveries.c.is_in_force, sa.literal_column("finished_at > reported_at")
    )
    return sorted({night for night in connection.scalars(stale) if night is not None})


def mark_told(connection: sa.Connection, delivery_keys: Sequence[str], night: date, *, at: datetime) -> None:
    """Say that the report of a night tells of some deliveries; one that waits for a model will be told of later."""
    told = (deliveries.c.delivery_key.in_(delivery_keys), deliveries.c.status != DeliveryStatus.VALIDATED)
    connection.execute(sa.update(deliveries).where(*told).values(reported_night=night, reported_at=at))
