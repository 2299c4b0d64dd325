"""What a report or a reviewer sees of scores: of some deliveries, near a threshold, of new kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.judgements import scored_nights
from cae_pipeline.adapters.results.model_versions import ModelVersion
from cae_pipeline.adapters.results.queries.paging import count_rows
from cae_pipeline.adapters.results.schema import IS_CURRENT, batches, deliveries, images, judgements, verdicts
from cae_pipeline.adapters.results.verdicts import latest_verdict
from cae_pipeline.adapters.results.views import in_force
from cae_pipeline.domain.outcome import Region, ScoredImage
from cae_pipeline.domain.verdict import Verdict


@dataclass(frozen=True)
class DeliveryScores:
    """All scores of some deliveries, and the model version and threshold of the one judged last."""

    scores: tuple[float, ...]
    model_version: str
    threshold: float


@dataclass(frozen=True)
class LatentRow:
    """The latent of one image, little-endian float16."""

    image_id: str
    latent: bytes


def scores_of(connection: sa.Connection, delivery_keys: Sequence[str]) -> DeliveryScores | None:
    """All scores of some deliveries as judged last; None where nothing is scored."""
    query = _current(judgements.c.score, judgements.c.model_version, judgements.c.judged_at)
    rows = connection.execute(query.where(deliveries.c.delivery_key.in_(delivery_keys))).all()
    if not rows:
        return None
    last = max(rows, key=lambda row: row.judged_at).model_version
    threshold = connection.execute(sa.select(in_force.c.value).where(in_force.c.model_version == last)).scalar_one()
    return DeliveryScores(tuple(row.score for row in rows), last, threshold)


def flagged_of(connection: sa.Connection, delivery_keys: Sequence[str], *, limit: int) -> list[ScoredImage]:
    """Flagged images of some deliveries, highest scores first."""
    wanted = (deliveries.c.delivery_key.in_(delivery_keys), judgements.c.score > in_force.c.value)
    return _scored(connection, _details().where(*wanted).order_by(judgements.c.score.desc()).limit(limit))


def count_flagged(connection: sa.Connection, delivery_keys: Sequence[str]) -> int:
    """How many images of some deliveries are flagged, those out of their limits too."""
    above = (deliveries.c.delivery_key.in_(delivery_keys), judgements.c.score > in_force.c.value)
    query = _current(sa.func.count()).join(in_force, in_force.c.model_version == judgements.c.model_version)
    return connection.scalar(query.where(*above)) or 0


def count_unreviewed(connection: sa.Connection, version: ModelVersion) -> int:
    """How many pictures without a verdict one model has judged, as `count_rows` counts."""
    of_version = sa.select(judgements.c.image_id).where(
        judgements.c.model_version == version.model_version,
        IS_CURRENT,
        judgements.c.score.is_not(None),
        latest_verdict(judgements.c.image_id).is_(None),
    )
    return count_rows(connection, of_version.distinct())


def nearest_to_threshold(connection: sa.Connection, version: ModelVersion, *, limit: int) -> list[ScoredImage]:
    """Images without a verdict as one model judged them, nearest to its threshold first.

    Near means by ratio: twice the threshold is as far as half of it. The index of scores is read upwards and
    downwards from the threshold.
    """
    score = judgements.c.score
    of_version = sa.select(judgements.c.delivery_key, judgements.c.name).where(
        judgements.c.model_version == version.model_version,
        IS_CURRENT,
        latest_verdict(judgements.c.image_id).is_(None),
    )
    above = of_version.where(score > version.threshold).order_by(score)
    below = of_version.where(score <= version.threshold).order_by(score.desc())
    found = [row for query in (above, below) for row in _of_keys(connection, query.limit(limit), version)]
    return sorted(found, key=lambda row: (times_from(row.score, version.threshold), row.image_id))[:limit]


def _of_keys(connection: sa.Connection, keys: sa.Select[Any], version: ModelVersion) -> list[ScoredImage]:
    """Look the rest up for images whose keys are known, as one model judged them."""
    wanted = keys.subquery()
    on_keys = (judgements.c.delivery_key == wanted.c.delivery_key) & (judgements.c.name == wanted.c.name)
    query = _details().join(wanted, on_keys).where(judgements.c.model_version == version.model_version)
    return _scored(connection, query)


def times_from(score: float, threshold: float) -> float:
    """How many times a score is as far from the threshold as the threshold itself; 1 is on it.

    Example:
        >>> times_from(4.0, 2.0), times_from(1.0, 2.0)
        (2.0, 2.0)
    """
    # a score of 0 is as far from the threshold as can be
    ratio = max(score, 1e-12) / max(threshold, 1e-12)
    return max(ratio, 1 / ratio)


def scored_images(connection: sa.Connection, version: ModelVersion, image_ids: Sequence[str]) -> list[ScoredImage]:
    """Images by their digests, as one model judged them last."""
    of_version = _details().where(judgements.c.model_version == version.model_version)
    return _scored(connection, of_version.where(judgements.c.image_id.in_(image_ids)))


def flagged_latents(connection: sa.Connection, version: ModelVersion, *, limit: int) -> list[LatentRow]:
    """Latents of flagged images without a verdict, of the newest nights and at most so many."""
    found: list[LatentRow] = []
    for _, delivery_key in scored_nights(connection, version.line):
        query = (
            sa.select(judgements.c.image_id, judgements.c.latent)
            .where(judgements.c.delivery_key == delivery_key, judgements.c.model_version == version.model_version)
            .where(IS_CURRENT, judgements.c.score > version.threshold, judgements.c.latent.is_not(None))
            .where(latest_verdict(judgements.c.image_id).is_(None))
            .limit(limit - len(found))
        )
        found += [LatentRow(*row) for row in connection.execute(query)]
        if len(found) >= limit:
            break
    return sorted(found, key=lambda row: row.image_id)


def reviewed_latents(connection: sa.Connection, version: ModelVersion, *, limit: int) -> list[LatentRow]:
    """Latents of images that people have given verdicts on, the newest verdicts and at most so many."""
    newest = sa.select(verdicts.c.image_id, sa.func.max(verdicts.c.verdict_id).label("verdict_id"))
    given = newest.group_by(verdicts.c.image_id).order_by(sa.text("verdict_id DESC")).limit(limit).subquery()
    query = (
        sa.select(judgements.c.model_version, judgements.c.image_id, judgements.c.latent)
        .join(given, given.c.image_id == judgements.c.image_id)
        .where(judgements.c.latent.is_not(None))
        .order_by(judgements.c.image_id)
    )
    # asked for one version, SQLite would look through all that this has judged instead of the few verdicts
    rows = connection.execute(query)
    return [LatentRow(row.image_id, row.latent) for row in rows if row.model_version == version.model_version]


def all_of_line(connection: sa.Connection, line: str) -> list[ScoredImage]:
    """Every scored image of a line as it was judged last."""
    order = (batches.c.night, judgements.c.delivery_key, judgements.c.name)
    return _scored(connection, _details().where(batches.c.line == line).order_by(*order))


def verdicts_of_line(connection: sa.Connection, line: str) -> dict[str, list[Verdict]]:
    """All that was said of the scored images of a line, oldest first, by image."""
    of_line = _current(judgements.c.image_id).where(batches.c.line == line)
    query = sa.select(verdicts).where(verdicts.c.image_id.in_(of_line)).order_by(verdicts.c.verdict_id)
    said: dict[str, list[Verdict]] = {}
    for row in connection.execute(query).mappings():
        verdict = Verdict(**{name: row[name] for name in Verdict.__dataclass_fields__})
        said.setdefault(verdict.image_id, []).append(verdict)
    return said


def _current(*columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Scores that count, with their batch."""
    return (
        sa.select(*columns)
        .select_from(batches)
        .join(deliveries, deliveries.c.batch_key == batches.c.batch_key)
        .join(judgements, judgements.c.delivery_key == deliveries.c.delivery_key)
        .where(IS_CURRENT, judgements.c.score.is_not(None))
    )


def _details() -> sa.Select[Any]:
    plain = ("name", "image_id", "score", "p_value", "model_version", "regions", "map_uri", "map_unit", "judged_at")
    of_image = (images.c.delivery_key == judgements.c.delivery_key) & (images.c.name == judgements.c.name)
    return (
        _current(
            batches.c.line,
            batches.c.batch_id,
            batches.c.night,
            *(judgements.c[name] for name in plain),
            in_force.c.value.label("threshold"),
            images.c.reason,
            images.c.width_px,
            images.c.height_px,
        )
        .join(in_force, in_force.c.model_version == judgements.c.model_version)
        .join(images, of_image)
    )


def _scored(connection: sa.Connection, query: sa.Select[Any]) -> list[ScoredImage]:
    rows = connection.execute(query).mappings()
    return [ScoredImage(**{**row, "regions": tuple(Region(**one) for one in row["regions"])}) for row in rows]
