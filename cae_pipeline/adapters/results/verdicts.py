"""Verdicts: appended, never changed; the latest one of an image counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from cae_pipeline.adapters.results.database import insert_new
from cae_pipeline.adapters.results.images import as_image, has_image, select_images
from cae_pipeline.adapters.results.schema import batches, deliveries, images, judgements, verdicts
from cae_pipeline.adapters.results.views import latest_verdicts
from cae_pipeline.domain.outcome import AcceptedImage
from cae_pipeline.domain.verdict import Verdict
from cae_pipeline.errors import NotFoundError


@dataclass(frozen=True)
class ReviewedImage:
    """A decodable image and the verdict on it that counts."""

    image: AcceptedImage
    verdict: str


def append(connection: sa.Connection, given: Sequence[Verdict]) -> int:
    """Append verdicts; what the same author said of an image at the same time is there already.

    Returns:
        How many are new.

    Raises:
        NotFoundError: If no batch ever held one of the images.
    """
    for image_id in {verdict.image_id for verdict in given}:
        if not has_image(connection, image_id):
            raise NotFoundError("image", image_id, advice="List images with `cae anomalies`.")
    count = sa.select(sa.func.count()).select_from(verdicts)
    before = connection.scalar(count) or 0
    insert_new(connection, verdicts, [vars(verdict) for verdict in given])
    return (connection.scalar(count) or 0) - before


def latest_verdict(image_id: sa.ColumnElement[str]) -> sa.ScalarSelect[str]:
    """The verdict that counts for an image, NULL where there is none."""
    given = verdicts.alias()
    newest = sa.select(given.c.verdict).where(given.c.image_id == image_id).order_by(given.c.verdict_id.desc())
    return newest.limit(1).scalar_subquery()


def reviewed_images(connection: sa.Connection, line: str, *words: str) -> list[ReviewedImage]:
    """Decodable images of a line whose latest verdict is one of some words, each picture once."""
    query = (
        select_images()
        .add_columns(latest_verdicts.c.verdict)
        .join(latest_verdicts, latest_verdicts.c.image_id == images.c.image_id)
        .where(batches.c.line == line, latest_verdicts.c.verdict.in_(words), images.c.width_px.is_not(None))
        # oldest first, so that of a picture that came twice the newest delivery stays
        .order_by(batches.c.night, images.c.delivery_key, images.c.name)
    )
    rows = connection.execute(query).mappings()
    return list({row["image_id"]: ReviewedImage(as_image(row), row["verdict"]) for row in rows}.values())


def lowest_p_value(connection: sa.Connection, image_id: str) -> float | None:
    """The lowest p-value that any model gave a picture; None where none has scored it."""
    lowest = sa.select(sa.func.min(judgements.c.p_value)).where(judgements.c.image_id == image_id)
    return connection.execute(lowest).scalar_one_or_none()


def reviewed_scores(connection: sa.Connection, model_version: str, verdict: str) -> list[float]:
    """Scores of a model version for images whose latest verdict is this word, each picture once."""
    query = (
        sa.select(judgements.c.image_id, sa.func.max(judgements.c.score))
        .join(latest_verdicts, latest_verdicts.c.image_id == judgements.c.image_id)
        .where(judgements.c.model_version == model_version, latest_verdicts.c.verdict == verdict)
        .where(judgements.c.outcome == "scored")
        .group_by(judgements.c.image_id)
        .order_by(judgements.c.image_id)
    )
    return [score for _, score in connection.execute(query)]


def count_reviewed_since(connection: sa.Connection, line: str, since: datetime) -> int:
    """How many images of a line got a verdict of defect or normal after a moment."""
    # verdicts are few: the line is looked up for those alone
    of_line = (
        sa.select(sa.literal(1))
        .select_from(images)
        .join(deliveries, deliveries.c.delivery_key == images.c.delivery_key)
        .join(batches, batches.c.batch_key == deliveries.c.batch_key)
        .where(images.c.image_id == verdicts.c.image_id, batches.c.line == line)
    ).exists()
    query = sa.select(sa.func.count(verdicts.c.image_id.distinct())).where(
        verdicts.c.created_at > since, verdicts.c.verdict != "unsure", of_line
    )
    return connection.scalar(query) or 0
