"""Thresholds: versioned rows; the newest of a model version is the one its scores are held against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results import ledger
from cae_pipeline.adapters.results.ledger import Change
from cae_pipeline.adapters.results.model_versions import ModelVersion, find_version
from cae_pipeline.adapters.results.schema import IS_CURRENT, images, judgements, model_versions, thresholds
from cae_pipeline.domain.outcome import Region
from cae_pipeline.domain.promotion import Event
from cae_pipeline.domain.stamp import Stamp
from cae_pipeline.statistics.conformal import Threshold


@dataclass(frozen=True)
class ThresholdRow:
    """One threshold of a model version, what it rests on, and who put it in force."""

    threshold_id: int
    model_version: str
    value: float
    target_false_alarm_rate: float
    rank: int
    num_normal: int
    created_at: datetime
    method: str
    num_defective: int
    author: str
    note: str


@dataclass(frozen=True)
class ThresholdChange:
    """What a new threshold changed; the numbers count each image as it was judged last."""

    model_version: str
    threshold_id: int
    before: float
    threshold: float
    num_newly_flagged: int
    num_no_longer_flagged: int


@dataclass(frozen=True)
class FlaggedMap:
    """The map of an image that came to be flagged by a change of threshold.

    Attributes:
        key: `(delivery_key, name)` of the image.
        score: Of the image.
        map_uri: File of its map, relative to the workspace.
        map_unit: The score that 1.0 in the file stands for.
        delivered_px: Rows and columns of the image as delivered.
    """

    key: tuple[str, str]
    score: float
    map_uri: str
    map_unit: float
    delivered_px: tuple[int, int]


def change_threshold(
    connection: sa.Connection, version: ModelVersion, threshold: Threshold, stamp: Stamp, *, figures: Mapping[str, Any]
) -> ThresholdChange:
    """Put a threshold in force, and say how many images are flagged by it that were not, and the other way round.

    No score is written: each is held against the threshold in force whenever somebody looks.
    """
    named = model_versions.c.model_version == version.model_version
    connection.execute(sa.select(model_versions.c.model_version).where(named).with_for_update())
    version = find_version(connection, version.model_version)
    signed = {"created_at": stamp.at, "author": stamp.author, "note": stamp.note}
    new = sa.insert(thresholds).values(model_version=version.model_version, **signed, **asdict(threshold))
    threshold_id: int = connection.execute(new.returning(thresholds.c.threshold_id)).scalar_one()
    counts = {
        "num_newly_flagged": _count_between(connection, version, threshold.value, version.threshold),
        "num_no_longer_flagged": _count_between(connection, version, version.threshold, threshold.value),
    }
    after = replace(version, threshold_id=threshold_id, threshold=threshold.value)
    told = {**asdict(threshold), "before": version.threshold, **figures, **counts}
    ledger.write_event(connection, Event.THRESHOLD, Change(version, after), stamp, figures=told)
    return ThresholdChange(version.model_version, threshold_id, version.threshold, threshold.value, **counts)


def threshold_history(connection: sa.Connection, model_version: str) -> list[ThresholdRow]:
    """All thresholds of a model version, oldest first.

    Raises:
        NotFoundError: If there is no such model version.
    """
    find_version(connection, model_version)
    query = sa.select(thresholds).where(thresholds.c.model_version == model_version).order_by(thresholds.c.threshold_id)
    return [ThresholdRow(**row) for row in connection.execute(query).mappings()]


def maps_without_regions(
    connection: sa.Connection, version: ModelVersion, *, below: float, limit: int
) -> Iterator[list[FlaggedMap]]:
    """Flagged images whose regions nobody has looked for, since they were not flagged when they were scored.

    Args:
        connection: To the results database.
        version: With the threshold in force.
        below: The threshold before: what scored above it has its regions.
        limit: Images at once.

    Yields:
        So many of them at once, by falling score.
    """
    score, highest = judgements.c.score, below
    after: tuple[float, str, str] | None = None
    while highest > version.threshold:
        of_image = (images.c.delivery_key == judgements.c.delivery_key) & (images.c.name == judgements.c.name)
        query = (
            sa.select(judgements, images.c.height_px, images.c.width_px)
            .join(images, of_image)
            .where(judgements.c.model_version == version.model_version, IS_CURRENT)
            .where(score > version.threshold, score <= highest)
            .order_by(score.desc(), judgements.c.delivery_key, judgements.c.name)
            .limit(limit)
        )
        if after is not None:
            place = sa.tuple_(judgements.c.delivery_key, judgements.c.name)
            query = query.where((score < after[0]) | ((score == after[0]) & (place > sa.tuple_(*after[1:]))))
        rows = connection.execute(query).mappings().all()
        if not rows:
            return
        after = (rows[-1]["score"], rows[-1]["delivery_key"], rows[-1]["name"])
        highest = rows[-1]["score"]
        yield [_flagged_map(row) for row in rows if not row["regions"]]


def record_regions(
    connection: sa.Connection, model_version: str, found: Sequence[tuple[FlaggedMap, Sequence[Region]]]
) -> None:
    """Write the regions of images that came to be flagged by a change of threshold."""
    for flagged, regions in found:
        delivery_key, name = flagged.key
        connection.execute(
            sa.update(judgements)
            .where(judgements.c.delivery_key == delivery_key, judgements.c.name == name)
            .where(judgements.c.model_version == model_version)
            .values(regions=[asdict(region) for region in regions])
        )


def _count_between(connection: sa.Connection, version: ModelVersion, low: float, high: float) -> int:
    """How many images as judged last score above one value and not above another."""
    of_version = judgements.c.model_version == version.model_version
    query = (
        sa.select(sa.func.count())
        .select_from(judgements)
        .where(of_version, IS_CURRENT, judgements.c.score > low, judgements.c.score <= high)
    )
    return (connection.scalar(query) or 0) if low < high else 0


def _flagged_map(row: sa.RowMapping) -> FlaggedMap:
    size = (row["height_px"], row["width_px"])
    return FlaggedMap((row["delivery_key"], row["name"]), row["score"], row["map_uri"], row["map_unit"], size)
