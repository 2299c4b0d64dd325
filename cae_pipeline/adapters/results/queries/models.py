"""Model versions and the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.queries.paging import Page, count_rows, each_row
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
    return list(each_model_version(connection, line, page))


def each_model_version(connection: sa.Connection, line: str | None, page: Page) -> Iterator[VersionRow]:
    """What `list_model_versions` lists, row by row."""
    return (VersionRow(**row) for row in each_row(connection, page.of(_versions(line))))


def count_model_versions(connection: sa.Connection, line: str | None) -> int:
    """How many models are registered, as `count_rows` counts."""
    return count_rows(connection, _versions(line))


def list_ledger(connection: sa.Connection, line: str | None, page: Page) -> list[LedgerRow]:
    """Every decision about a champion or a threshold."""
    return list(each_entry(connection, line, page))


def each_entry(connection: sa.Connection, line: str | None, page: Page) -> Iterator[LedgerRow]:
    """What `list_ledger` lists, row by row."""
    return (LedgerRow(**row) for row in each_row(connection, page.of(_ledger(line))))


def count_entries(connection: sa.Connection, line: str | None) -> int:
    """How many entries the ledger has, as `count_rows` counts."""
    return count_rows(connection, _ledger(line))


def _versions(line: str | None) -> sa.Select[Any]:
    columns = model_versions.c
    serves_as = sa.case((columns.state == "promoted", "champion"), else_="").label("serves_as")
    plain = ("registered_at", "line", "model_version", "state", "run_id", "figures")
    query = sa.select(*(columns[name] for name in plain), serves_as)
    return query if line is None else query.where(columns.line == line)


def _ledger(line: str | None) -> sa.Select[Any]:
    return sa.select(ledger) if line is None else sa.select(ledger).where(ledger.c.line == line)
