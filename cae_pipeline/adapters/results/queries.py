"""What people ask the results database; every answer is a list of rows, sorted and paged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.database import reading
from cae_pipeline.adapters.results.schema import (
    batches,
    champions,
    drift_reports,
    images,
    model_versions,
    promotions,
    releases,
    scores,
    thresholds,
    verdicts,
)
from cae_pipeline.adapters.results.thresholds import in_force
from cae_pipeline.domain.batch import ImageStatus
from cae_pipeline.errors import CaeError, NotFoundError
from cae_pipeline.statistics.metrics import share_with_interval

Row = dict[str, Any]

anomalies = sa.table(
    "anomalies",
    *(sa.column(name, batches.c[name].type) for name in ("line", "batch_id", "night")),
    *(sa.column(name, scores.c[name].type) for name in ("name", "image_id", "score", "p_value")),
    sa.column("threshold", thresholds.c.value.type),
    *(sa.column(name, sa.String) for name in ("model_version", "verdict")),
    sa.column("is_latest", sa.Integer),
    *(sa.column(name, scores.c[name].type) for name in ("regions", "map_uri", "run_id", "dag_run_id", "scored_at")),
)
daily_rates = sa.table(
    "daily_rates",
    *(sa.column(name, batches.c[name].type) for name in ("line", "night")),
    *(
        sa.column(f"num_{name}", sa.Integer)
        for name in ("images", "quarantined", "failed", "scored", "flagged", "confirmed", "false_alarms")
    ),
)


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


@dataclass(frozen=True)
class AnomalyFilter:
    """Which flagged images are wanted; None is any."""

    line: str | None = None
    since: date | None = None
    until: date | None = None
    batch_id: str | None = None
    model_version: str | None = None
    min_score: float | None = None
    verdict: str | None = None


def list_anomalies(engine: sa.Engine, wanted: AnomalyFilter, page: Page) -> list[Row]:
    """Flagged images; without a model version each image as it was judged last."""
    columns = anomalies.c
    conditions = {
        columns.line: wanted.line,
        columns.batch_id: wanted.batch_id,
        columns.model_version: wanted.model_version,
        columns.verdict: {"none": ""}.get(wanted.verdict, wanted.verdict) if wanted.verdict else None,
    }
    query = sa.select(anomalies)
    for column, value in conditions.items():
        if value is not None:
            query = query.where(column == value)
    if wanted.since is not None:
        query = query.where(columns.night >= wanted.since)
    if wanted.until is not None:
        query = query.where(columns.night <= wanted.until)
    if wanted.min_score is not None:
        query = query.where(columns.score >= wanted.min_score)
    if wanted.model_version is None:
        query = query.where(columns.is_latest == 1)
    return _paged(engine, query, page)


def list_batches(engine: sa.Engine, line: str | None, page: Page) -> list[Row]:
    """Batches with their status, newest night first unless sorted otherwise."""
    return _paged(engine, _of_line(sa.select(batches), batches.c.line, line), page)


def list_quarantined(engine: sa.Engine, line: str | None, page: Page) -> list[Row]:
    """Quarantined and failed images with their reason, and who released them since."""
    query = (
        sa.select(
            batches.c.line,
            batches.c.batch_id,
            batches.c.night,
            images.c.name,
            images.c.status,
            images.c.reason,
            images.c.detail,
            sa.func.coalesce(releases.c.author, "").label("released_by"),
        )
        .join(batches, batches.c.batch_key == images.c.batch_key)
        .outerjoin(releases, (releases.c.batch_key == images.c.batch_key) & (releases.c.name == images.c.name))
        .where(images.c.status != ImageStatus.ACCEPTED)
    )
    return _paged(engine, _of_line(query, batches.c.line, line), page)


def list_model_versions(engine: sa.Engine, line: str | None, page: Page) -> list[Row]:
    """Registered models with their figures, and whether each is champion."""
    query = (
        sa.select(
            model_versions.c.model_version,
            model_versions.c.line,
            sa.case((champions.c.model_version.is_not(None), "champion"), else_="").label("serves_as"),
            model_versions.c.figures,
            model_versions.c.run_id,
            model_versions.c.registered_at,
        )
        .select_from(model_versions)
        .outerjoin(champions, champions.c.model_version == model_versions.c.model_version)
    )
    return _paged(engine, _of_line(query, model_versions.c.line, line), page)


def list_promotions(engine: sa.Engine, line: str | None, page: Page) -> list[Row]:
    """The ledger: every decision about a champion."""
    return _paged(engine, _of_line(sa.select(promotions), promotions.c.line, line), page)


def list_daily_rates(engine: sa.Engine, line: str | None, page: Page, *, since: date | None = None) -> list[Row]:
    """Images, quarantined, flagged and confirmed per line and night, with the precision people have found.

    That is the confirmed share of the flagged images with a verdict of defect or normal, with its 95 % interval;
    None where there is no verdict.
    """
    query = _of_line(sa.select(daily_rates), daily_rates.c.line, line)
    rows = _paged(engine, query if since is None else query.where(daily_rates.c.night >= since), page)
    return [{**row, **_precision(row["num_confirmed"], row["num_false_alarms"])} for row in rows]


def _precision(confirmed: int, false_alarms: int) -> Row:
    share = share_with_interval(confirmed, confirmed + false_alarms)
    return dict(zip(("precision", "precision_low", "precision_high"), share or (None, None, None), strict=True))


def show_image(engine: sa.Engine, image_id: str) -> Row:
    """Everything known of one picture: where it came, its facts, scores and verdicts.

    Args:
        image_id: The sha256, or enough of its first digits to be the only one.

    Raises:
        NotFoundError: If there is none.
        CaeError: If several begin so.
    """
    with reading(engine) as connection:
        found = connection.scalars(
            sa.select(images.c.image_id)
            .where(images.c.image_id.startswith(image_id, autoescape=True))
            .distinct()
            .limit(9)
        ).all()
        if not found or not image_id:
            raise NotFoundError("image", image_id, advice="List images with `cae anomalies` or `cae quarantine list`.")
        if len(found) > 1:
            raise CaeError(
                f"{image_id!r} begins {len(found)} images ({', '.join(i[:16] for i in found)}); give more digits."
            )
        [full] = found
        deliveries = sa.select(batches.c.line, batches.c.batch_id, batches.c.night, images).join(batches)
        columns = [column for column in scores.c if column is not scores.c.code]
        judged = sa.select(*columns, in_force(scores.c.model_version).label("threshold"))
        return {
            "image_id": full,
            "deliveries": _rows(connection, deliveries.where(images.c.image_id == full)),
            "scores": _rows(connection, judged.where(scores.c.image_id == full).order_by(scores.c.scored_at)),
            "verdicts": _rows(connection, sa.select(verdicts).where(verdicts.c.image_id == full)),
        }


def night_rows(engine: sa.Engine, night: date) -> dict[str, list[Row]]:
    """Everything one night's report is made of: batches, images, scores and drift."""
    of_night = batches.c.night == night
    columns = (batches.c.line, batches.c.batch_id)
    with reading(engine) as connection:
        return {
            "batches": _rows(connection, sa.select(batches).where(of_night).order_by(*columns)),
            "images": _rows(connection, sa.select(*columns, images).join(batches).where(of_night)),
            "scores": _rows(
                connection,
                sa.select(
                    *columns,
                    scores,
                    thresholds.c.value.label("map_unit"),
                    in_force(scores.c.model_version).label("threshold"),
                )
                .join(batches, batches.c.batch_key == scores.c.batch_key)
                .join(thresholds)
                .where(of_night)
                .order_by(scores.c.scored_at),
            ),
            "drift": _rows(connection, sa.select(drift_reports).where(drift_reports.c.night == night)),
        }


def flagged_maps(engine: sa.Engine) -> set[str]:
    """Maps of flagged images, which are kept for good."""
    with reading(engine) as connection:
        return set(connection.scalars(sa.select(scores.c.map_uri).where(scores.c.is_anomalous)))


def integrity_problems(engine: sa.Engine) -> list[str]:
    """Look for what must never be: members of finished batches that nobody accounts for, and orphans."""
    unaccounted = (
        sa.select(batches.c.line, batches.c.batch_id, images.c.name)
        .join(images, images.c.batch_key == batches.c.batch_key)
        .outerjoin(scores, (scores.c.batch_key == images.c.batch_key) & (scores.c.image_id == images.c.image_id))
        .where(batches.c.status == "scored", images.c.status == ImageStatus.ACCEPTED, scores.c.score.is_(None))
    )
    miscounted = (
        sa.select(batches.c.line, batches.c.batch_id)
        .outerjoin(images, images.c.batch_key == batches.c.batch_key)
        .group_by(batches.c.batch_key, batches.c.line, batches.c.batch_id, batches.c.num_images)
        .having(sa.func.count(images.c.name) != batches.c.num_images)
    )
    with reading(engine) as connection:
        problems = [
            f"{row.line}/{row.batch_id}/{row.name} is neither scored nor quarantined nor failed"
            for row in connection.execute(unaccounted)
        ]
        problems += [f"{row.line}/{row.batch_id} has lost rows of images" for row in connection.execute(miscounted)]
        if engine.dialect.name == "sqlite":
            said = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
            problems += [text for text in said if text != "ok"]
    return problems


def _paged(engine: sa.Engine, query: sa.Select[Any], page: Page) -> list[Row]:
    name = page.sort.removeprefix("-")
    columns = query.selected_columns
    if name not in columns:
        raise NotFoundError("column to sort by", name, known=list(columns.keys()))
    key = columns[name].desc() if page.sort.startswith("-") else columns[name].asc()
    # all columns of text behind it: pages must not overlap where the key is the same
    ties = [columns[tie] for tie in ("line", "batch_id", "name", "model_version") if tie in columns]
    with reading(engine) as connection:
        return _rows(
            connection, query.order_by(key, *ties).limit(page.page_size).offset((page.page - 1) * page.page_size)
        )


def _of_line(query: sa.Select[Any], column: sa.ColumnElement[str], line: str | None) -> sa.Select[Any]:
    return query if line is None else query.where(column == line)


def _rows(connection: sa.Connection, query: sa.Select[Any]) -> list[Row]:
    rows: list[Mapping[str, Any]] = list(connection.execute(query).mappings())  # type: ignore[arg-type]
    return [dict(row) for row in rows]
