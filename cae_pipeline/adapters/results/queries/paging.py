"""Lists: sorted by a column, a page at a time or all of it as it is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cae_pipeline.errors import NotFoundError

TIES = ("line", "batch_id", "name", "model_version")
"""Columns of text that a list is sorted by where its own column does not decide: pages must not overlap."""

ROWS_AT_ONCE = 2000
"""Rows that are held in memory while a list is read."""
MAX_COUNTED = 10_000
"""A list is counted up to here: what a person asks a page of must not cost the length of the history."""


@dataclass(frozen=True)
class Page:
    """How a list is sorted and which part of it is wanted.

    Attributes:
        sort: A column; a minus before it turns the order around.
        page: From 1.
        page_size: Rows on a page; None is all rows.
    """

    sort: str
    page: int = 1
    page_size: int | None = 50

    @property
    def column(self) -> str:
        """What it is sorted by, without the minus."""
        return self.sort.removeprefix("-")

    @property
    def is_descending(self) -> bool:
        """Whether the largest comes first."""
        return self.sort.startswith("-")

    def order(
        self, columns: Mapping[str, sa.ColumnElement[Any]], *, ties: Sequence[str] = TIES
    ) -> list[sa.ColumnElement[Any]]:
        """What to sort by.

        Args:
            columns: By their names.
            ties: Names of columns that decide where the page's own does not; those that are not there are left out.

        Raises:
            NotFoundError: If there is no such column; lists those there are.
        """
        name = self.column
        if name not in columns:
            raise NotFoundError("column to sort by", name, known=list(columns))
        key = columns[name].desc() if self.is_descending else columns[name].asc()
        return [key, *(columns[tie] for tie in ties if tie in columns and tie != name)]

    def cut(self, query: sa.Select[Any]) -> sa.Select[Any]:
        """Keep the rows of this page."""
        if self.page_size is None:
            return query
        return query.limit(self.page_size).offset((self.page - 1) * self.page_size)

    def of(self, query: sa.Select[Any]) -> sa.Select[Any]:
        """Sort a query by one of its own columns, and keep the rows of this page."""
        columns = {column.key: column for column in query.selected_columns if column.key}
        return self.cut(query.order_by(*self.order(columns)))


def each_row(connection: sa.Connection, query: sa.Select[Any]) -> Iterator[sa.RowMapping]:
    """Read the rows of a query, some thousands at once, so that a list of any length fits into memory."""
    yield from connection.execute(query, execution_options={"yield_per": ROWS_AT_ONCE}).mappings()


def count_rows(connection: sa.Connection, query: sa.Select[Any]) -> int:
    """Count the rows of a query, but not beyond `MAX_COUNTED` + 1, which means that there are more."""
    counted = query.order_by(None).limit(MAX_COUNTED + 1).subquery()
    return connection.scalar(sa.select(sa.func.count()).select_from(counted)) or 0
