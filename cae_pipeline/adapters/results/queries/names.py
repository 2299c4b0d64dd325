"""Names that people type: whether they are known, and which known ones a misspelt one may mean."""

from __future__ import annotations

import sqlalchemy as sa

from cae_pipeline.adapters.results.schema import batches, ledger, model_versions

MAX_BATCHES_COMPARED = 2000
"""Batches, the newest first, that a misspelt name is compared with."""


def lines_with_rows(connection: sa.Connection) -> set[str]:
    """Lines that have a batch, a model or an entry of the ledger, whether or not lines.toml still has them."""
    queries = (sa.select(table.c.line).distinct() for table in (batches, model_versions, ledger))
    return {str(line) for query in queries for line in connection.scalars(query)}


def has_batch(connection: sa.Connection, batch_id: str, *, line: str | None = None) -> bool:
    """Whether any line, or this one, has a batch of that name."""
    query = sa.select(batches.c.batch_id).where(batches.c.batch_id == batch_id)
    return connection.scalar(_of_line(query, line).limit(1)) is not None


def newest_batches(connection: sa.Connection, *, line: str | None = None) -> list[str]:
    """Names of the newest batches of any line, or of this one."""
    query = _of_line(sa.select(batches.c.batch_id), line).order_by(batches.c.night.desc()).limit(MAX_BATCHES_COMPARED)
    return list(dict.fromkeys(connection.scalars(query)))


def _of_line(query: sa.Select[tuple[str]], line: str | None) -> sa.Select[tuple[str]]:
    return query if line is None else query.where(batches.c.line == line)
