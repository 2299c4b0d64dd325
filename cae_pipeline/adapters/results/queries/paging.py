"""Lists: sorted by a column, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cae_pipeline.errors import NotFoundError

TIES = ("line", "batch_id", "name", "model_version")
"""Columns of text that a list is sorted by where its own column does not decide: pages must not overlap."""


@dataclass(frozen=True)
class Page:
    """How a list is sorted and which part of it is wanted.

    Attributes:
        sort: A column; a minus before it turns the order around.
        page: From 1.
        page_size: Rows on a page.
    """

    sort: str
    page: int = 1
    page_size: int = 50

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
        return query.limit(self.page_size).offset((self.page - 1) * self.page_size)

    def of(self, query: sa.Select[Any]) -> sa.Select[Any]:
        """Sort a query by one of its own columns, and keep the rows of this page."""
        columns = {column.key: column for column in query.selected_columns if column.key}
        return self.cut(query.order_by(*self.order(columns)))
