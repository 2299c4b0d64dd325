"""Thresholds: versioned rows that past scores are judged by again, without being worked out again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.database import reading
from cae_pipeline.adapters.results.ledger import Event, Stamp, write_event
from cae_pipeline.adapters.results.models import ModelVersion, find_version
from cae_pipeline.adapters.results.schema import champions, images, model_versions, scores, thresholds
from cae_pipeline.statistics.conformal import Threshold


@dataclass(frozen=True)
class ThresholdChange:
    """What a new threshold changed."""

    model_version: str
    threshold_id: int
    before: float
    threshold: float
    num_newly_flagged: int
    num_no_longer_flagged: int


def change_threshold(
    engine: sa.Engine, version: ModelVersion, threshold: Threshold, stamp: Stamp, *, figures: dict[str, Any]
) -> ThresholdChange:
    """Put a threshold in force and judge all scores of the model version by it again, in one transaction."""
    of_version = scores.c.model_version == version.model_version
    # two plain comparisons: what stays as it is is not written
    rises = of_version & ~scores.c.is_anomalous & (scores.c.score > threshold.value)
    falls = of_version & scores.c.is_anomalous & (scores.c.score <= threshold.value)
    with engine.begin() as connection:
        lock_version(connection, version.model_version, for_change=True)
        row = {
            "model_version": version.model_version,
            "created_at": stamp.at,
            "author": stamp.author,
            "note": stamp.note,
            **asdict(threshold),
        }
        new = sa.insert(thresholds).values(**row).returning(thresholds.c.threshold_id)
        threshold_id = connection.execute(new).scalar_one()
        flagged = connection.execute(sa.update(scores).where(rises).values(is_anomalous=True)).rowcount
        cleared = connection.execute(sa.update(scores).where(falls).values(is_anomalous=False)).rowcount
        connection.execute(
            sa.update(champions)
            .where(champions.c.model_version == version.model_version)
            .values(threshold_id=threshold_id)
        )
        after = ModelVersion(**{**vars(version), "threshold_id": threshold_id, "threshold": threshold.value})
        counts = {"num_newly_flagged": flagged, "num_no_longer_flagged": cleared}
        said = {**asdict(threshold), "before": version.threshold, **figures, **counts}
        write_event(connection, Event.THRESHOLD, (version, after), stamp, figures=said)
    return ThresholdChange(version.model_version, threshold_id, version.threshold, threshold.value, flagged, cleared)


def lock_version(connection: sa.Connection, model_version: str, *, for_change: bool = False) -> None:
    """Keep the threshold in force from changing until the transaction ends.

    SQLite's writers stand in a queue anyhow; PostgreSQL's lock the row of the version.
    """
    row = sa.select(model_versions.c.model_version).where(model_versions.c.model_version == model_version)
    connection.execute(row.with_for_update(read=not for_change))


def in_force(model_version: sa.ColumnElement[str]) -> sa.ScalarSelect[float]:
    """The newest threshold of a model version, which is the one that counts."""
    rows = thresholds.alias()
    newest = sa.select(rows.c.value).where(rows.c.model_version == model_version).order_by(rows.c.threshold_id.desc())
    return newest.limit(1).scalar_subquery()


def threshold_history(engine: sa.Engine, model_version: str) -> list[dict[str, Any]]:
    """All thresholds of a model version, oldest first.

    Raises:
        NotFoundError: If there is no such model version.
    """
    find_version(engine, model_version)
    query = sa.select(thresholds).where(thresholds.c.model_version == model_version).order_by(thresholds.c.threshold_id)
    with reading(engine) as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def flagged_without_regions(engine: sa.Engine, version: ModelVersion) -> list[sa.RowMapping]:
    """Flagged scores that were not flagged when they were scored, with the threshold their map was drawn for."""
    query = (
        sa.select(
            scores.c.batch_key,
            scores.c.image_id,
            scores.c.map_uri,
            thresholds.c.value.label("unit"),
            images.c.height_px,
            images.c.width_px,
        )
        .join(thresholds, thresholds.c.threshold_id == scores.c.threshold_id)
        .join(images, (images.c.batch_key == scores.c.batch_key) & (images.c.name == scores.c.name))
        .where(scores.c.model_version == version.model_version, scores.c.is_anomalous)
        .where(scores.c.score <= thresholds.c.value)
    )
    with reading(engine) as connection:
        rows = connection.execute(query.add_columns(scores.c.regions)).mappings()
        return [row for row in rows if not row["regions"]]


def record_regions(
    engine: sa.Engine, model_version: str, found: Sequence[tuple[sa.RowMapping, list[dict[str, Any]]]]
) -> None:
    """Write the regions of images that came to be flagged by a change of threshold."""
    with engine.begin() as connection:
        for row, regions in found:
            connection.execute(
                sa.update(scores)
                .where(
                    scores.c.batch_key == row["batch_key"],
                    scores.c.image_id == row["image_id"],
                    scores.c.model_version == model_version,
                )
                .values(regions=regions)
            )
