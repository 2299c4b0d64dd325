"""What tests ask the results database, each in one line."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results import batches, ledger, model_versions, schema
from cae_pipeline.adapters.results.batches import DeliveryRow
from cae_pipeline.adapters.results.model_versions import ModelVersion, SnapshotImage
from cae_pipeline.adapters.results.queries import models, nights
from cae_pipeline.adapters.results.queries.anomalies import AnomalyFilter, AnomalyRow, list_anomalies
from cae_pipeline.adapters.results.queries.models import LedgerRow
from cae_pipeline.adapters.results.queries.nights import BatchRow, OddImageRow, RateRow
from cae_pipeline.adapters.results.queries.paging import Page
from cae_pipeline.steps.services import Services

ALL = 9_999


def champion(services: Services, line: str = "washers", *, as_of: datetime | None = None) -> ModelVersion:
    """Who serves a line."""
    with services.read() as connection:
        return ledger.champion_of(connection, line, as_of=as_of)


def version(services: Services, model_version: str) -> ModelVersion:
    """A model version by its name."""
    with services.read() as connection:
        return model_versions.find_version(connection, model_version)


def snapshot(services: Services, model_version: str) -> list[SnapshotImage]:
    """What a model was trained on."""
    with services.read() as connection:
        return model_versions.snapshot_images(connection, model_version)


def delivery(services: Services, batch_id: str = "2026-01-31", *, line: str = "washers") -> DeliveryRow:
    """The delivery of a batch that counts."""
    with services.read() as connection:
        return batches.delivery_in_force(connection, line, batch_id)


def anomalies(services: Services, *, sort: str = "-score", **wanted: Any) -> list[AnomalyRow]:
    """Flagged images."""
    with services.read() as connection:
        return list_anomalies(connection, AnomalyFilter(**wanted), Page(sort, page_size=ALL))


def odd_images(services: Services, line: str = "washers", *, sort: str = "name") -> list[OddImageRow]:
    """Quarantined and failed images, and those scored out of their limits."""
    with services.read() as connection:
        return nights.list_odd_images(connection, line, Page(sort, page_size=ALL))


def rates(services: Services, line: str = "washers") -> list[RateRow]:
    """What a line's nights looked like, oldest first."""
    with services.read() as connection:
        return nights.list_daily_rates(connection, line, Page("night", page_size=ALL))


def batch_rows(services: Services, line: str | None = "washers") -> list[BatchRow]:
    """A line's batches, oldest night first."""
    with services.read() as connection:
        return nights.list_batches(connection, line, Page("night", page_size=ALL))


def ledger_rows(services: Services, line: str = "washers") -> list[LedgerRow]:
    """A line's ledger, oldest first."""
    with services.read() as connection:
        return models.list_ledger(connection, line, Page("entry_id", page_size=ALL))


def judged(services: Services, **wanted: Any) -> list[sa.RowMapping]:
    """Rows of the table of judgements, in the order of their names, with the `threshold` that is in force."""
    from cae_pipeline.adapters.results.views import in_force

    query = sa.select(schema.judgements, in_force.c.value.label("threshold")).join(
        in_force, in_force.c.model_version == schema.judgements.c.model_version
    )
    for name, value in wanted.items():
        query = query.where(schema.judgements.c[name] == value)
    with services.read() as connection:
        return list(connection.execute(query.order_by(schema.judgements.c.name)).mappings())
