"""Verdicts: appended, never changed; the latest one of an image counts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.database import insert_new, reading
from cae_pipeline.adapters.results.schema import batches, images, scores, verdicts
from cae_pipeline.adapters.results.thresholds import in_force
from cae_pipeline.domain.verdict import Verdict
from cae_pipeline.errors import NotFoundError

Row = dict[str, Any]


def record_verdicts(engine: sa.Engine, said: Sequence[Verdict]) -> int:
    """Append verdicts; what the same author said of an image at the same time is there already.

    Returns:
        How many are new.

    Raises:
        NotFoundError: If no batch ever held one of the images; nothing is written then.
    """
    rows = [vars(verdict) for verdict in said]
    count = sa.select(sa.func.count()).select_from(verdicts)
    with engine.begin() as connection:
        for image_id in {verdict.image_id for verdict in said}:
            if connection.scalar(sa.select(images.c.name).where(images.c.image_id == image_id).limit(1)) is None:
                raise NotFoundError("image", image_id, advice="List images with `cae anomalies`.")
        before = connection.scalar(count) or 0
        insert_new(connection, verdicts, rows)
        return (connection.scalar(count) or 0) - before


def latest_verdict(image_id: sa.ColumnElement[str]) -> sa.ScalarSelect[str]:
    """The verdict that counts for an image, NULL where there is none."""
    said = verdicts.alias()
    return (
        sa.select(said.c.verdict)
        .where(said.c.image_id == image_id)
        .order_by(said.c.verdict_id.desc())
        .limit(1)
        .scalar_subquery()
    )


def judged_images(engine: sa.Engine, line: str, *words: str) -> list[sa.RowMapping]:
    """Decodable images of a line whose latest verdict is one of some words, each picture once.

    Returns:
        Rows with the columns of `images`, the batch's `line` and `batch_id`, and `verdict`.
    """
    verdict = latest_verdict(images.c.image_id)
    query = (
        sa.select(images, batches.c.line, batches.c.batch_id, verdict.label("verdict"))
        .join(batches, batches.c.batch_key == images.c.batch_key)
        # few of a line's images have a verdict: the latest is looked up for those alone
        .where(images.c.image_id.in_(sa.select(verdicts.c.image_id)))
        .where(batches.c.line == line, verdict.in_(words), images.c.width_px.is_not(None))
        .order_by(images.c.batch_key, images.c.name)
    )
    with reading(engine) as connection:
        return list({row["image_id"]: row for row in connection.execute(query).mappings()}.values())


def judged_scores(engine: sa.Engine, model_version: str) -> list[tuple[float, str]]:
    """Scores of a model version for images with a verdict, and that verdict, each picture once."""
    verdict = latest_verdict(scores.c.image_id)
    query = (
        sa.select(scores.c.image_id, scores.c.score, verdict.label("verdict"))
        .where(scores.c.model_version == model_version, verdict.is_not(None))
        .order_by(scores.c.image_id)
    )
    with reading(engine) as connection:
        return list({row.image_id: (row.score, row.verdict) for row in connection.execute(query)}.values())


def count_verdicts_since(engine: sa.Engine, line: str, since: datetime) -> int:
    """How many images of a line got a verdict of defect or normal after a moment."""
    query = (
        sa.select(sa.func.count(verdicts.c.image_id.distinct()))
        .join(images, images.c.image_id == verdicts.c.image_id)
        .join(batches, batches.c.batch_key == images.c.batch_key)
        .where(batches.c.line == line, verdicts.c.created_at > since, verdicts.c.verdict != "unsure")
    )
    with reading(engine) as connection:
        return connection.scalar(query) or 0


def all_verdicts(engine: sa.Engine, line: str) -> list[Row]:
    """Every scored or judged image of a line as it was judged last, with all that was said of it."""
    judged = _latest_scores(line).add_columns(latest_verdict(scores.c.image_id).label("verdict"))
    with reading(engine) as connection:
        rows = [dict(row) for row in connection.execute(judged).mappings()]
        said = connection.execute(
            sa.select(verdicts)
            .where(verdicts.c.image_id.in_(sa.select(scores.c.image_id).join(batches).where(batches.c.line == line)))
            .order_by(verdicts.c.verdict_id)
        ).mappings()
        by_image: dict[str, list[Row]] = {}
        for row in said:
            by_image.setdefault(row["image_id"], []).append(dict(row))
    return [{**row, "verdicts": by_image.get(row["image_id"], [])} for row in rows]


def unjudged_scores(
    engine: sa.Engine, line: str, model_version: str, *, limit: int, among: Sequence[str] | None = None
) -> list[Row]:
    """Images without a verdict as one model judged them, nearest to its threshold first.

    Near means by ratio: twice the threshold is as far as half of it.

    Args:
        among: Digests of the images that are asked for; None is all.
    """
    value = in_force(scores.c.model_version)
    # a score of 0 is as far from the threshold as can be
    score = sa.case((scores.c.score > 0, scores.c.score), else_=1e-12)
    ratio = sa.case((score > value, score / value), else_=value / score)
    query = (
        _latest_scores(line)
        .add_columns(ratio.label("times_from_threshold"), value.label("threshold"))
        .where(scores.c.model_version == model_version, latest_verdict(scores.c.image_id).is_(None))
        .order_by(ratio, scores.c.image_id)
        .limit(limit)
    )
    if among is not None:
        query = query.where(scores.c.image_id.in_(among))
    with reading(engine) as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def codes_of(engine: sa.Engine, model_version: str, *, judged: bool) -> list[sa.RowMapping]:
    """Codes of flagged images that have, or have not, got a verdict."""
    verdict = latest_verdict(scores.c.image_id)
    query = sa.select(scores.c.image_id, scores.c.code).where(
        scores.c.model_version == model_version,
        scores.c.code.is_not(None),
        verdict.is_not(None) if judged else (verdict.is_(None) & scores.c.is_anomalous),
    )
    with reading(engine) as connection:
        return list(connection.execute(query.order_by(scores.c.image_id)).mappings())


def _latest_scores(line: str) -> sa.Select[Any]:
    later = scores.alias()
    replaced = sa.exists().where(
        later.c.batch_key == scores.c.batch_key,
        later.c.image_id == scores.c.image_id,
        later.c.scored_at > scores.c.scored_at,
    )
    return (
        sa.select(
            batches.c.line,
            batches.c.batch_id,
            batches.c.night,
            scores.c.name,
            scores.c.image_id,
            scores.c.score,
            scores.c.p_value,
            scores.c.is_anomalous,
            scores.c.regions,
            scores.c.model_version,
            images.c.width_px,
            images.c.height_px,
        )
        .join(batches, batches.c.batch_key == scores.c.batch_key)
        .join(images, (images.c.batch_key == scores.c.batch_key) & (images.c.name == scores.c.name))
        .where(batches.c.line == line, ~replaced)
    )
