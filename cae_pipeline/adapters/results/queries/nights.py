"""Nights, batches, and the images that no model has judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.queries.paging import Page, count_rows, each_row
from cae_pipeline.adapters.results.schema import (
    HAS_FAILED,
    IS_CURRENT,
    IS_QUARANTINED,
    batches,
    deliveries,
    images,
    judgements,
    releases,
)
from cae_pipeline.adapters.results.views import COUNTS, daily_rates
from cae_pipeline.statistics.metrics import share_with_interval


@dataclass(frozen=True)
class BatchRow:
    """One batch and what became of its delivery in force."""

    night: date
    line: str
    batch_id: str
    status: str
    num_images: int
    num_quarantined: int
    num_bytes: int
    rejected_for: str
    data_docs_uri: str
    dag_run_id: str
    delivery_key: str
    manifest_sha256: str
    listed_at: datetime
    validated_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class UnscoredRow:
    """An image that is quarantined, or that a model has failed on, and why."""

    line: str
    batch_id: str
    night: date
    name: str
    status: str
    reason: str
    detail: str
    released_by: str


@dataclass(frozen=True)
class RateRow:
    """What a line's night looked like, with the precision people have found.

    Attributes:
        precision: Confirmed share of the flagged images with a verdict of defect or normal; None without verdicts.
        precision_low: Lower end of its 95 % interval.
        precision_high: Upper end.
    """

    line: str
    night: date
    num_images: int
    num_quarantined: int
    num_failed: int
    num_scored: int
    num_flagged: int
    num_confirmed: int
    num_false_alarms: int
    precision: float | None = None
    precision_low: float | None = None
    precision_high: float | None = None

    @property
    def num_waiting(self) -> int:
        """Images that wait for a model; the members of a batch always add up."""
        return self.num_images - self.num_quarantined - self.num_failed - self.num_scored


def list_batches(connection: sa.Connection, line: str | None, page: Page) -> list[BatchRow]:
    """Batches with their status, newest night first unless sorted otherwise."""
    return list(each_batch(connection, line, page))


def each_batch(connection: sa.Connection, line: str | None, page: Page) -> Iterator[BatchRow]:
    """What `list_batches` lists, row by row."""
    return (BatchRow(**row) for row in each_row(connection, page.of(_of_line(_batches(), line))))


def count_batches(connection: sa.Connection, line: str | None) -> int:
    """How many batches there are, as `count_rows` counts."""
    return count_rows(connection, _of_line(_batches(), line))


def batches_of_night(connection: sa.Connection, line: str, night: date) -> list[BatchRow]:
    """A line's batches of one night, in the order of their names."""
    query = _of_line(_batches(), line).where(batches.c.night == night).order_by(batches.c.batch_id)
    return [BatchRow(**row) for row in connection.execute(query).mappings()]


def list_unscored(connection: sa.Connection, line: str | None, page: Page) -> list[UnscoredRow]:
    """Quarantined and failed images with their reason, and who released them since."""
    return list(each_unscored(connection, line, page))


def each_unscored(connection: sa.Connection, line: str | None, page: Page) -> Iterator[UnscoredRow]:
    """What `list_unscored` lists, row by row."""
    return _unscored(connection, page.of(_all_unscored(line)))


def count_unscored(connection: sa.Connection, line: str | None) -> int:
    """How many images are quarantined or failed, as `count_rows` counts."""
    return count_rows(connection, _all_unscored(line))


def unscored_of_night(connection: sa.Connection, line: str, night: date) -> list[UnscoredRow]:
    """Quarantined and failed images of a line's night, by their reasons."""
    found = _all_unscored(line, night=night)
    columns = found.selected_columns
    return list(_unscored(connection, found.order_by(columns["reason"], columns["batch_id"], columns["name"])))


def list_daily_rates(
    connection: sa.Connection, line: str | None, page: Page, *, since: date | None = None
) -> list[RateRow]:
    """Images, quarantined, flagged and confirmed per line and night."""
    return list(each_daily_rate(connection, line, page, since=since))


def each_daily_rate(
    connection: sa.Connection, line: str | None, page: Page, *, since: date | None = None
) -> Iterator[RateRow]:
    """What `list_daily_rates` lists, row by row."""
    query = sa.select(daily_rates)
    if line is not None:
        query = query.where(daily_rates.c.line == line)
    if since is not None:
        query = query.where(daily_rates.c.night >= since)
    return (_rate(row) for row in each_row(connection, page.of(query)))


def count_daily_rates(connection: sa.Connection, line: str | None) -> int:
    """How many nights of lines have a row, as `count_rows` counts; the rates themselves are not worked out."""
    return count_rows(connection, _of_line(sa.select(batches.c.line, batches.c.night).distinct(), line))


def rates_of_night(connection: sa.Connection, line: str, night: date) -> RateRow:
    """What a line's night looked like; all zero where no batch has arrived."""
    query = sa.select(daily_rates).where(daily_rates.c.line == line, daily_rates.c.night == night)
    row = connection.execute(query).mappings().first()
    return _rate(row) if row else RateRow(line, night, **{f"num_{name}": 0 for name in COUNTS})


def _rate(row: sa.RowMapping) -> RateRow:
    counts: dict[str, Any] = dict(row)
    share = share_with_interval(row["num_confirmed"], row["num_confirmed"] + row["num_false_alarms"])
    if share is None:
        return RateRow(**counts)
    precision, low, high = share
    return RateRow(**counts, precision=precision, precision_low=low, precision_high=high)


def _batches() -> sa.Select[Any]:
    names = [name for name in BatchRow.__dataclass_fields__ if name not in ("night", "line", "batch_id")]
    return (
        sa.select(batches.c.night, batches.c.line, batches.c.batch_id, *(deliveries.c[name] for name in names))
        .select_from(batches)
        .join(deliveries, deliveries.c.batch_key == batches.c.batch_key)
        .where(deliveries.c.is_in_force)
    )


def _all_unscored(line: str | None, *, night: date | None = None) -> sa.Select[Any]:
    where = [] if night is None else [batches.c.night == night]
    of_image = (releases.c.delivery_key == images.c.delivery_key) & (releases.c.name == images.c.name)
    quarantined = (
        _members(images, images.c.status)
        .add_columns(sa.func.coalesce(releases.c.author, "").label("released_by"))
        .outerjoin(releases, of_image)
        .where(IS_QUARANTINED, *where)
    )
    # few: found by their own index, before anything is joined to them
    columns = (judgements.c.delivery_key, judgements.c.name, judgements.c.reason, judgements.c.detail)
    failures = sa.select(*columns).where(IS_CURRENT, HAS_FAILED).cte("failures").prefix_with("MATERIALIZED")
    failed = (
        _members(failures, sa.literal("failed").label("status"))
        .add_columns(sa.literal("").label("released_by"))
        .where(*where)
    )
    return sa.select(sa.union_all(_of_line(quarantined, line), _of_line(failed, line)).subquery())


def _members(table: sa.FromClause, status: sa.ColumnElement[str]) -> sa.Select[Any]:
    """Rows about images in the deliveries in force."""
    return (
        sa.select(
            batches.c.line,
            batches.c.batch_id,
            batches.c.night,
            table.c.name,
            status,
            table.c.reason,
            table.c.detail,
        )
        .select_from(batches)
        .join(deliveries, deliveries.c.batch_key == batches.c.batch_key)
        .join(table, table.c.delivery_key == deliveries.c.delivery_key)
        .where(deliveries.c.is_in_force)
    )


def _of_line(query: sa.Select[Any], line: str | None) -> sa.Select[Any]:
    return query if line is None else query.where(batches.c.line == line)


def _unscored(connection: sa.Connection, query: sa.Select[Any]) -> Iterator[UnscoredRow]:
    return (UnscoredRow(**row) for row in each_row(connection, query))
