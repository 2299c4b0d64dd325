"""Judgements: what each model version says of each image; the newest score of an image counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.database import insert
from cae_pipeline.adapters.results.schema import IS_CURRENT, batches, deliveries, images, judgements
from cae_pipeline.adapters.results.verdicts import latest_verdict
from cae_pipeline.adapters.results.views import in_force
from cae_pipeline.domain.outcome import OUT_OF_LIMITS, UNUSUAL, Failed, ImageStatus, Judgement, Outcome

KEYS = ("delivery_key", "name", "model_version")


@dataclass(frozen=True)
class DeliveryScore:
    """What a champion says of one image of a delivery; the latent is None in rows of early versions."""

    score: float
    latent: bytes | None


@dataclass(frozen=True)
class UnflaggedImage:
    """An image that was scored and never flagged, and the lowest p-value that any model gave it."""

    name: str
    image_id: str
    p_value: float


def record_judgements(connection: sa.Connection, made: Sequence[Judgement]) -> None:
    """Write outcomes: a score that is there stays, a failure gives way.

    The newest score of an image counts, failing that its newest failure; in a delivery that is history none does.
    """
    if not made:
        return
    counting = _counting(connection, made)
    rows = [_row(judgement, is_current=judgement.delivery_key in counting) for judgement in made]
    statement = insert(connection.engine, judgements)
    replaced = {name: statement.excluded[name] for name in rows[0] if name not in KEYS}
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=list(KEYS), set_=replaced, where=judgements.c.outcome == "failed"
        ),
        rows,
    )
    for (key, version), group in groupby(made, lambda judgement: (judgement.delivery_key, judgement.model_version)):
        _settle(connection, key, version, list(group))


def _counting(connection: sa.Connection, made: Sequence[Judgement]) -> set[str]:
    """Which of the deliveries are in force; PostgreSQL keeps them so until the transaction ends."""
    keys = {judgement.delivery_key for judgement in made}
    query = sa.select(deliveries.c.delivery_key).where(deliveries.c.delivery_key.in_(keys), deliveries.c.is_in_force)
    return set(connection.scalars(query.with_for_update(read=True)))


def _settle(connection: sa.Connection, delivery_key: str, version: str, made: Sequence[Judgement]) -> None:
    """Let only one judgement of each image count: these scores, or the score before these failures."""
    failed = [judgement.name for judgement in made if isinstance(judgement.outcome, Failed)]
    scored = [judgement.name for judgement in made if not isinstance(judgement.outcome, Failed)]
    of_delivery = (judgements.c.delivery_key == delivery_key, IS_CURRENT)
    others = judgements.c.model_version != version
    connection.execute(
        sa.update(judgements).where(*of_delivery, others, judgements.c.name.in_(scored)).values(is_current=False)
    )
    if not failed:
        return
    before = judgements.alias()
    has_score = sa.exists().where(
        before.c.delivery_key == delivery_key,
        before.c.name == judgements.c.name,
        before.c.is_current,
        before.c.outcome == "scored",
    )
    lost = judgements.c.name.in_(failed)
    this = sa.update(judgements).where(*of_delivery, judgements.c.model_version == version, lost, has_score)
    connection.execute(this.values(is_current=False))
    older = sa.update(judgements).where(*of_delivery, others, lost, judgements.c.outcome == "failed")
    connection.execute(older.values(is_current=False))


def scores_of(connection: sa.Connection, delivery_keys: Sequence[str], model_version: str) -> list[DeliveryScore]:
    """What a model has said of the images of some deliveries that lie within their limits."""
    of_image = (images.c.delivery_key == judgements.c.delivery_key) & (images.c.name == judgements.c.name)
    query = (
        sa.select(judgements.c.model_version, judgements.c.score, judgements.c.latent)
        .join(images, of_image)
        .where(judgements.c.delivery_key.in_(delivery_keys), judgements.c.outcome == "scored")
        .where(images.c.reason.not_in(OUT_OF_LIMITS))
    )
    # asked for one version, SQLite would look through all that this has ever judged instead of the night
    rows = connection.execute(query)
    return [DeliveryScore(row.score, row.latent) for row in rows if row.model_version == model_version]


def scored_nights(connection: sa.Connection, line: str, *, newest: int | None = None) -> list[tuple[date, str]]:
    """`(night, delivery_key)` of a line's scored deliveries in force, newest first.

    Args:
        connection: To the results database.
        line: The product line.
        newest: Only of so many days up to the newest night; None is all.
    """
    was_scored = sa.exists().where(judgements.c.delivery_key == deliveries.c.delivery_key, IS_CURRENT)
    query = (
        sa.select(batches.c.night, deliveries.c.delivery_key)
        .join(deliveries, deliveries.c.batch_key == batches.c.batch_key)
        .where(batches.c.line == line, deliveries.c.is_in_force, was_scored)
        .order_by(batches.c.night.desc(), batches.c.batch_id)
    )
    if newest is not None:
        last = connection.execute(query.limit(1)).first()
        if last is None:
            return []
        query = query.where(batches.c.night > last.night - timedelta(days=newest))
    return [(row.night, row.delivery_key) for row in connection.execute(query)]


def unflagged_images(connection: sa.Connection, delivery_key: str) -> list[UnflaggedImage]:
    """Accepted images of a delivery, within their limits, that no model flags and nobody has given a verdict on.

    They come in the order of their digests, which is as good as a lot and the same every time.
    """
    lowest = sa.func.min(judgements.c.p_value).label("p_value")
    is_flagged = sa.func.max(sa.case((judgements.c.score > in_force.c.value, 1), else_=0))
    of_image = (images.c.delivery_key == judgements.c.delivery_key) & (images.c.name == judgements.c.name)
    query = (
        sa.select(judgements.c.name, judgements.c.image_id, lowest)
        .join(in_force, in_force.c.model_version == judgements.c.model_version)
        .join(images, of_image)
        .where(judgements.c.delivery_key == delivery_key, judgements.c.outcome == "scored")
        .where(images.c.status == ImageStatus.ACCEPTED, images.c.reason.not_in(UNUSUAL))
        .where(latest_verdict(judgements.c.image_id).is_(None))
        .group_by(judgements.c.name, judgements.c.image_id)
        .having(is_flagged == 0)
        .order_by(judgements.c.image_id)
    )
    return [UnflaggedImage(*row) for row in connection.execute(query)]


def _row(judgement: Judgement, *, is_current: bool) -> dict[str, Any]:
    return {
        "delivery_key": judgement.delivery_key,
        "name": judgement.name,
        "model_version": judgement.model_version,
        "image_id": judgement.image_id,
        "judged_at": judgement.judged_at,
        "dag_run_id": judgement.dag_run_id,
        "is_current": is_current,
        **_outcome(judgement.outcome),
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, Failed):
        nothing = dict.fromkeys(("score", "p_value", "map_unit", "latent"))
        told = {"outcome": "failed", "reason": outcome.reason, "detail": outcome.detail}
        return {**told, **nothing, "regions": [], "map_uri": ""}
    return {
        "outcome": "scored",
        "reason": "",
        "detail": "",
        "score": outcome.score,
        "p_value": outcome.p_value,
        "regions": [asdict(region) for region in outcome.regions],
        "map_uri": outcome.map_uri,
        "map_unit": outcome.map_unit,
        "latent": outcome.latent,
    }
