"""Model versions and the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.queries.paging import Page
from cae_pipeline.adapters.results.schema import ledger, model_versions


@dataclass(frozen=True)
class VersionRow:
    """A registered model, its state, and what a person chooses by."""

    registered_at: datetime
    line: str
    model_version: str
    state: str
    serves_as: str
    run_id: str
    figures: Mapping[str, float]


@dataclass(frozen=True)
class LedgerRow:
    """One entry of the ledger."""

    entry_id: int
    decided_at: datetime
    line: str
    event: str
    from_version: str
    to_version: str
    from_threshold_id: int | None
    to_threshold_id: int | None
    decision_id: int | None
    author: str
    note: str
    dag_run_id: str
    reasons: list[str]
    figures: Mapping[str, Any]


def list_model_versions(connection: sa.Connection, line: str | None, page: Page) -> list[VersionRow]:
    """Registered models with their figures, and whether each is champion."""
    columns = model_versions.c
    serves_as = sa.case((columns.state == "promoted", "champion"), else_="").label("serves_as")
    plain = ("registered_at", "line", "model_version", "state", "run_id", "figures")
    query = sa.select(*(columns[name] for name in plain), serves_as)
    if line is not None:
        query = query.where(columns.line == line)
    return [VersionRow(**row) for row in connection.execute(page.of(query)).mappings()]


def list_ledger(connection: sa.Connection, line: str | None, page: Page) -> list[LedgerRow]:
    """Every decision about a champion or a threshold."""
    query = sa.select(ledger) if line is None else sa.select(ledger).where(ledger.c.line == line)
    return [LedgerRow(**row) for row in connection.execute(page.of(query)).mappings()]
