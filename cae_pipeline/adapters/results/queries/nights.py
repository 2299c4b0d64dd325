"""Nights, batches, and the images that are not as they should be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.queries.paging import Page, count_rows, each_row
from cae_pipeline.adapters.results.schema import (
    HAS_FAILED,
    IS_CURRENT,
    IS_ODD,
    IS_QUARANTINED,
    batches,
    deliveries,
    images,
    judgements,
    releases,
)
from cae_pipeline.adapters.results.views import COUNTS, daily_rates, delivery_rates
from cae_pipeline.domain.outcome import UNUSUAL
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
class OddImageRow:
    """An image that is quarantined, that a model has failed on, or that was scored out of its limits, and why.

    Attributes:
        status: quarantined, failed, or accepted.
        score: What a model said of it all the same; None of a quarantined or failed one, or while it waits.
    """

    line: str
    batch_id: str
    night: date
    name: str
    status: str
    reason: str
    detail: str
    released_by: str
    score: float | None


@dataclass(frozen=True)
class RateRow:
    """What a line's night looked like, with the precision people have found.

    Attributes:
        num_out_of_limits: Scored although a fact lies outside its limits; in none of the counts after it.
        precision: Confirmed share of the flagged images with a verdict of defect or normal; None without verdicts.
        precision_low: Lower end of its 95 % interval.
        precision_high: Upper end.
    """

    line: str
    night: date
    num_images: int
    num_quarantined: int
    num_failed: int
    num_out_of_limits: int
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
        return self.num_images - self.num_quarantined - self.num_failed - self.num_out_of_limits - self.num_scored


def list_batches(connection: sa.Connection, line: str | None, page: Page) -> list[BatchRow]:
    """Batches with their status, newest night first unless sorted otherwise."""
    return list(each_batch(connection, line, page))


def each_batch(connection: sa.Connection, line: str | None, page: Page) -> Iterator[BatchRow]:
    """What `list_batches` lists, row by row."""
    return (BatchRow(**row) for row in each_row(connection, page.of(_of_line(_batches(), line))))


def count_batches(connection: sa.Connection, line: str | None) -> int:
    """How many batches there are, as `count_rows` counts."""
    return count_rows(connection, _of_line(_batches(), line))


def batches_of(connection: sa.Connection, delivery_keys: Sequence[str]) -> list[BatchRow]:
    """Batches by the keys of their deliveries, by night and name."""
    query = _batches().where(deliveries.c.delivery_key.in_(delivery_keys)).order_by(batches.c.night, batches.c.batch_id)
    return [BatchRow(**row) for row in connection.execute(query).mappings()]


def list_odd_images(connection: sa.Connection, line: str | None, page: Page) -> list[OddImageRow]:
    """Quarantined and failed images and those out of their limits, with their reason, and who released them since."""
    return list(each_odd_image(connection, line, page))


def each_odd_image(connection: sa.Connection, line: str | None, page: Page) -> Iterator[OddImageRow]:
    """What `list_odd_images` lists, row by row."""
    return _odd(connection, page.of(_odd_images(_of_line_condition(line))))


def count_odd_images(connection: sa.Connection, line: str | None) -> int:
    """How many images are quarantined, failed or out of their limits, as `count_rows` counts."""
    return count_rows(connection, _odd_images(_of_line_condition(line)))


def odd_images_of(connection: sa.Connection, delivery_keys: Sequence[str], *, limit: int) -> list[OddImageRow]:
    """The same of some deliveries, by their reasons, and at most so many."""
    found = _odd_images(deliveries.c.delivery_key.in_(delivery_keys))
    columns = found.selected_columns
    order = (columns["reason"], columns["batch_id"], columns["name"])
    return list(_odd(connection, found.order_by(*order).limit(limit)))


def reasons_of(connection: sa.Connection, delivery_keys: Sequence[str]) -> dict[str, int]:
    """How many images of some deliveries have each reason, the most frequent first."""
    count = sa.func.count()
    query = sa.select(images.c.reason, count.label("number")).where(
        images.c.delivery_key.in_(delivery_keys), images.c.reason != ""
    )
    rows = connection.execute(query.group_by(images.c.reason).order_by(count.desc(), images.c.reason))
    return {row.reason: row.number for row in rows}


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


def rates_of(connection: sa.Connection, line: str, night: date, delivery_keys: Sequence[str]) -> RateRow:
    """What some deliveries of a line have come to, counted together under a night."""
    sums = [sa.func.coalesce(sa.func.sum(delivery_rates.c[f"num_{name}"]), 0).label(f"num_{name}") for name in COUNTS]
    query = sa.select(*sums).where(delivery_rates.c.delivery_key.in_(delivery_keys))
    counts = connection.execute(query).mappings().one()
    return _rate({"line": line, "night": night, **{name: int(count) for name, count in counts.items()}})


def _rate(row: sa.RowMapping | Mapping[str, Any]) -> RateRow:
    counts: dict[str, Any] = {**row}
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


def _odd_images(*where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    of_image = (releases.c.delivery_key == images.c.delivery_key) & (releases.c.name == images.c.name)
    nobody, no_score = sa.literal("").label("released_by"), sa.cast(sa.null(), sa.Float).label("score")
    quarantined = (
        _members(images, images.c.status)
        .add_columns(sa.func.coalesce(releases.c.author, "").label("released_by"), no_score)
        .outerjoin(releases, of_image)
        .where(IS_QUARANTINED, *where)
    )
    judged = (judgements.c.delivery_key == images.c.delivery_key) & (judgements.c.name == images.c.name)
    out_of_limits = (
        _members(images, images.c.status)
        .add_columns(nobody, judgements.c.score)
        .outerjoin(judgements, judged & IS_CURRENT)
        .where(IS_ODD, images.c.reason.in_(UNUSUAL), *where)
    )
    # few: found by their own index, before anything is joined to them
    columns = (judgements.c.delivery_key, judgements.c.name, judgements.c.reason, judgements.c.detail)
    failures = sa.select(*columns).where(IS_CURRENT, HAS_FAILED).cte("failures").prefix_with("MATERIALIZED")
    failed = _members(failures, sa.literal("failed").label("status")).add_columns(nobody, no_score).where(*where)
    return sa.select(sa.union_all(quarantined, out_of_limits, failed).subquery())


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
    return query.where(_of_line_condition(line))


def _of_line_condition(line: str | None) -> sa.ColumnElement[bool]:
    return sa.true() if line is None else batches.c.line == line


def _odd(connection: sa.Connection, query: sa.Select[Any]) -> Iterator[OddImageRow]:
    return (OddImageRow(**row) for row in each_row(connection, query))
