"""Flagged images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.queries.paging import Page, count_rows, each_row
from cae_pipeline.adapters.results.schema import IS_CURRENT, batches, deliveries, images, judgements, model_versions
from cae_pipeline.adapters.results.verdicts import latest_verdict
from cae_pipeline.adapters.results.views import in_force

KEYS = ("delivery_key", "name", "model_version")
MAX_VERSIONS_LISTED = 100
"""Model versions whose thresholds are written into a question one by one; of more they are looked up for each score."""


@dataclass(frozen=True)
class AnomalyFilter:
    """Which flagged images are wanted; None is any.

    Attributes:
        line: Of this product line.
        since: From this night on.
        until: Up to this night.
        batch_id: Of this batch.
        model_version: As judged by this one; None is as judged last.
        min_score: Scores from here.
        verdict: Whose latest verdict is this word; `none` for images without one.
    """

    line: str | None = None
    since: date | None = None
    until: date | None = None
    batch_id: str | None = None
    model_version: str | None = None
    min_score: float | None = None
    verdict: str | None = None


@dataclass(frozen=True)
class AnomalyRow:
    """One flagged image, as the view `anomalies` has it."""

    line: str
    batch_id: str
    night: date
    name: str
    image_id: str
    score: float
    p_value: float
    threshold: float
    model_version: str
    verdict: str
    is_latest: int
    reason: str
    regions: list[dict[str, Any]]
    map_uri: str
    run_id: str
    dag_run_id: str
    scored_at: datetime


_COLUMNS: dict[str, sa.ColumnElement[Any]] = {
    **{name: batches.c[name] for name in ("line", "batch_id", "night")},
    **{name: judgements.c[name] for name in ("name", "image_id", "score", "p_value")},
    "threshold": in_force.c.value,
    "model_version": judgements.c.model_version,
    "verdict": sa.func.coalesce(latest_verdict(judgements.c.image_id), ""),
    "is_latest": sa.case((judgements.c.is_current, 1), else_=0),
    "reason": images.c.reason,
    "regions": judgements.c.regions,
    "map_uri": judgements.c.map_uri,
    "run_id": model_versions.c.run_id,
    "dag_run_id": judgements.c.dag_run_id,
    "scored_at": judgements.c.judged_at,
}
"""Of the view `anomalies`, one for one, from its tables: the view works every column out before it is cut."""


def list_anomalies(connection: sa.Connection, wanted: AnomalyFilter, page: Page) -> list[AnomalyRow]:
    """Flagged images; without a model version each image as it was judged last.

    Raises:
        NotFoundError: If there is no such column to sort by.
    """
    return list(each_anomaly(connection, wanted, page))


def count_anomalies(connection: sa.Connection, wanted: AnomalyFilter) -> int:
    """How many flagged images there are, as `count_rows` counts."""
    limits = _thresholds(connection, wanted)
    return count_rows(connection, sa.select(judgements.c.score).where(*_conditions(wanted, limits))) if limits else 0


def each_anomaly(connection: sa.Connection, wanted: AnomalyFilter, page: Page) -> Iterator[AnomalyRow]:
    """What `list_anomalies` lists, row by row.

    The thresholds are looked up first, so that an index of scores answers; only the keys of all that match are sorted,
    and the rest is looked up for those on the page.

    Raises:
        NotFoundError: If there is no such column to sort by.
    """
    order = [*page.order(_COLUMNS, ties=()), *(judgements.c[name] for name in KEYS)]
    limits = _thresholds(connection, wanted)
    if not limits:
        return iter(())
    if page.column == "night" and page.page_size is not None:
        wanted = _nights_up_to(connection, page, wanted, limits, num_rows=page.page * page.page_size)
    keys = sa.select(*(judgements.c[name].label(f"key_{name}") for name in KEYS)).select_from(judgements)
    if page.column in ("threshold", "run_id"):
        keys = _with_version(keys)
    if page.column in ("line", "batch_id", "night"):
        keys = _with_batch(keys)
    if page.column == "reason":
        keys = _with_image(keys)
    on_page = page.cut(keys.where(*_conditions(wanted, limits)).order_by(*order)).subquery()
    rows = (
        sa.select(*(column.label(name) for name, column in _COLUMNS.items()))
        .select_from(on_page)
        .join(judgements, sa.and_(*(judgements.c[name] == on_page.c[f"key_{name}"] for name in KEYS)))
    )
    query = _with_image(_with_batch(_with_version(rows))).order_by(*order)
    return (AnomalyRow(**row) for row in each_row(connection, query))


def _nights_up_to(
    connection: sa.Connection, page: Page, wanted: AnomalyFilter, limits: Mapping[str, float], *, num_rows: int
) -> AnomalyFilter:
    """Leave out the nights that come after a page of a list sorted by night: they may be a long history."""
    night = batches.c.night.desc() if page.is_descending else batches.c.night.asc()
    query = sa.select(batches.c.night).join(deliveries, deliveries.c.batch_key == batches.c.batch_key)
    nights = query.where(deliveries.c.delivery_key.in_(_deliveries(wanted))).distinct().order_by(night)
    num_seen = 0
    for last in connection.scalars(nights).all():
        of_night = _conditions(replace(wanted, since=last, until=last), limits)
        num_seen += connection.scalar(sa.select(sa.func.count()).select_from(judgements).where(*of_night)) or 0
        if num_seen >= num_rows:
            return replace(wanted, since=last) if page.is_descending else replace(wanted, until=last)
    return wanted


def _thresholds(connection: sa.Connection, wanted: AnomalyFilter) -> dict[str, float]:
    """The threshold in force of each model version that may have judged what is wanted."""
    query = sa.select(in_force.c.model_version, in_force.c.value)
    if wanted.model_version is not None:
        query = query.where(in_force.c.model_version == wanted.model_version)
    if wanted.line is not None:
        of_line = sa.select(model_versions.c.model_version).where(model_versions.c.line == wanted.line)
        query = query.where(in_force.c.model_version.in_(of_line))
    return {row.model_version: row.value for row in connection.execute(query)}


def _conditions(wanted: AnomalyFilter, limits: Mapping[str, float]) -> Iterator[sa.ColumnElement[bool]]:
    yield from _above(limits)
    if wanted.model_version is None:
        yield IS_CURRENT
    if any(one is not None for one in (wanted.since, wanted.until, wanted.batch_id)):
        yield judgements.c.delivery_key.in_(_deliveries(wanted))
    if wanted.min_score is not None:
        yield judgements.c.score >= wanted.min_score
    if wanted.verdict == "none":
        yield latest_verdict(judgements.c.image_id).is_(None)
    elif wanted.verdict is not None:
        yield latest_verdict(judgements.c.image_id) == wanted.verdict


def _above(limits: Mapping[str, float]) -> Iterator[sa.ColumnElement[bool]]:
    """Scores above the threshold of their own model version, the lowest of all first: an index knows that one."""
    version, score = judgements.c.model_version, judgements.c.score
    yield score > min(limits.values())
    if len(limits) == 1:
        yield version == next(iter(limits))
    elif len(limits) <= MAX_VERSIONS_LISTED:
        yield version.in_(list(limits))
        yield sa.or_(*((version == name) & (score > value) for name, value in limits.items()))
    else:
        of_version = sa.select(in_force.c.value).where(in_force.c.model_version == version)
        yield score > of_version.scalar_subquery()


def _deliveries(wanted: AnomalyFilter) -> sa.Select[tuple[str]]:
    query = sa.select(deliveries.c.delivery_key).join(batches, batches.c.batch_key == deliveries.c.batch_key)
    if wanted.line is not None:
        query = query.where(batches.c.line == wanted.line)
    if wanted.since is not None:
        query = query.where(batches.c.night >= wanted.since)
    if wanted.until is not None:
        query = query.where(batches.c.night <= wanted.until)
    if wanted.batch_id is not None:
        query = query.where(batches.c.batch_id == wanted.batch_id)
    return query


def _with_batch(query: sa.Select[Any]) -> sa.Select[Any]:
    return query.join(deliveries, deliveries.c.delivery_key == judgements.c.delivery_key).join(
        batches, batches.c.batch_key == deliveries.c.batch_key
    )


def _with_version(query: sa.Select[Any]) -> sa.Select[Any]:
    return query.join(in_force, in_force.c.model_version == judgements.c.model_version).join(
        model_versions, model_versions.c.model_version == judgements.c.model_version
    )


def _with_image(query: sa.Select[Any]) -> sa.Select[Any]:
    of_image = (images.c.delivery_key == judgements.c.delivery_key) & (images.c.name == judgements.c.name)
    return query.join(images, of_image)
