"""Flagged images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.queries.paging import Page
from cae_pipeline.adapters.results.schema import batches, deliveries, judgements, model_versions
from cae_pipeline.adapters.results.verdicts import latest_verdict
from cae_pipeline.adapters.results.views import in_force

KEYS = ("delivery_key", "name", "model_version")


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
    "regions": judgements.c.regions,
    "map_uri": judgements.c.map_uri,
    "run_id": model_versions.c.run_id,
    "dag_run_id": judgements.c.dag_run_id,
    "scored_at": judgements.c.judged_at,
}
"""Of the view `anomalies`, one for one, from its tables: the view works every column out before it is cut."""


def list_anomalies(connection: sa.Connection, wanted: AnomalyFilter, page: Page) -> list[AnomalyRow]:
    """Flagged images; without a model version each image as it was judged last.

    Only the keys of all that match are sorted; the rest is looked up for those on the page.

    Raises:
        NotFoundError: If there is no such column to sort by.
    """
    order = page.order(_COLUMNS)
    keys = _joined(sa.select(*(judgements.c[name].label(f"key_{name}") for name in KEYS))).where(*_conditions(wanted))
    on_page = page.cut(keys.order_by(*order)).subquery()
    rows = _joined(sa.select(*(column.label(name) for name, column in _COLUMNS.items()))).join(
        on_page, sa.and_(*(judgements.c[name] == on_page.c[f"key_{name}"] for name in KEYS))
    )
    return [AnomalyRow(**row) for row in connection.execute(rows.order_by(*order)).mappings()]


def _joined(query: sa.Select[Any]) -> sa.Select[Any]:
    """Scores with what they are held against and where their images came from."""
    return (
        query.select_from(in_force)
        .join(model_versions, model_versions.c.model_version == in_force.c.model_version)
        .join(judgements, judgements.c.model_version == in_force.c.model_version)
        .join(deliveries, deliveries.c.delivery_key == judgements.c.delivery_key)
        .join(batches, batches.c.batch_key == deliveries.c.batch_key)
    )


def _conditions(wanted: AnomalyFilter) -> Iterator[sa.ColumnElement[bool]]:
    yield judgements.c.score > in_force.c.value
    if wanted.model_version is None:
        yield judgements.c.is_current
    else:
        yield judgements.c.model_version == wanted.model_version
    if wanted.line is not None:
        yield batches.c.line == wanted.line
        # the same in other words: scores are looked up by their model version
        yield model_versions.c.line == wanted.line
    if wanted.since is not None:
        yield batches.c.night >= wanted.since
    if wanted.until is not None:
        yield batches.c.night <= wanted.until
    if wanted.batch_id is not None:
        yield batches.c.batch_id == wanted.batch_id
    if wanted.min_score is not None:
        yield judgements.c.score >= wanted.min_score
    if wanted.verdict == "none":
        yield latest_verdict(judgements.c.image_id).is_(None)
    elif wanted.verdict is not None:
        yield latest_verdict(judgements.c.image_id) == wanted.verdict
