"""Everything known of one picture."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.schema import batches, deliveries, images, judgements, model_versions, verdicts
from cae_pipeline.adapters.results.views import in_force
from cae_pipeline.domain.facts import ImageFacts
from cae_pipeline.domain.verdict import Verdict
from cae_pipeline.errors import CaeError, NotFoundError

MAX_NAMED = 9
"""Images that are named where too few digits were given."""


@dataclass(frozen=True)
class MemberRow:
    """One delivery of a picture: where it came, what was measured, and whether it may be used."""

    line: str
    batch_id: str
    night: date
    delivery_key: str
    is_in_force: bool
    name: str
    num_bytes: int
    status: str
    reason: str
    detail: str
    duplicate_of: str
    facts: ImageFacts


@dataclass(frozen=True)
class JudgementRow:
    """What one model version says of a picture, and the threshold it is held against."""

    delivery_key: str
    name: str
    model_version: str
    outcome: str
    reason: str
    detail: str
    score: float | None
    p_value: float | None
    threshold: float
    is_anomalous: bool
    is_current: bool
    regions: list[dict[str, Any]]
    map_uri: str
    run_id: str
    dag_run_id: str
    judged_at: datetime


@dataclass(frozen=True)
class ImageHistory:
    """Everything known of one picture, by its sha256."""

    image_id: str
    deliveries: tuple[MemberRow, ...]
    judgements: tuple[JudgementRow, ...]
    verdicts: tuple[Verdict, ...]


def find_image_id(connection: sa.Connection, digits: str) -> str:
    """Complete an image's id from its first digits.

    Raises:
        NotFoundError: If no image begins so.
        CaeError: If several do.
    """
    # a range, which the index answers; all digits are below g
    begins_so = images.c.image_id.between(digits, f"{digits}g")
    found = list(connection.scalars(sa.select(images.c.image_id).where(begins_so).distinct().limit(MAX_NAMED)))
    if not found or not digits:
        raise NotFoundError("image", digits, advice="List images with `cae anomalies` or `cae quarantine list`.")
    if len(found) > 1:
        shown = ", ".join(image_id[:16] for image_id in found)
        raise CaeError(f"{digits!r} begins {len(found)} images or more ({shown}); give more digits.")
    [image_id] = found
    return str(image_id)


def show_image(connection: sa.Connection, digits: str) -> ImageHistory:
    """Tell everything known of one picture.

    Args:
        connection: To the results database.
        digits: Its sha256, or enough of the first digits to be the only one.

    Raises:
        NotFoundError: If there is none.
        CaeError: If several begin so.
    """
    image_id = find_image_id(connection, digits)
    members = (
        sa.select(images, batches.c.line, batches.c.batch_id, batches.c.night, deliveries.c.is_in_force)
        .join(deliveries, deliveries.c.delivery_key == images.c.delivery_key)
        .join(batches, batches.c.batch_key == deliveries.c.batch_key)
        .where(images.c.image_id == image_id)
        .order_by(batches.c.night, images.c.delivery_key, images.c.name)
    )
    judged = (
        sa.select(judgements, model_versions.c.run_id, in_force.c.value.label("threshold"))
        .join(model_versions, model_versions.c.model_version == judgements.c.model_version)
        .join(in_force, in_force.c.model_version == judgements.c.model_version)
        .where(judgements.c.image_id == image_id)
        .order_by(judgements.c.judged_at)
    )
    given = sa.select(verdicts).where(verdicts.c.image_id == image_id).order_by(verdicts.c.verdict_id)
    return ImageHistory(
        image_id,
        tuple(_member(row) for row in connection.execute(members).mappings()),
        tuple(_judgement(row) for row in connection.execute(judged).mappings()),
        tuple(Verdict(**{name: row[name] for name in _VERDICT}) for row in connection.execute(given).mappings()),
    )


_VERDICT = tuple(Verdict.__dataclass_fields__)


def _member(row: sa.RowMapping) -> MemberRow:
    facts = ImageFacts(**{name: row[name] for name in ImageFacts.__dataclass_fields__})
    plain = {name: row[name] for name in MemberRow.__dataclass_fields__ if name != "facts"}
    return MemberRow(**plain, facts=facts)


def _judgement(row: sa.RowMapping) -> JudgementRow:
    is_anomalous = row["score"] is not None and row["score"] > row["threshold"]
    named = {name: row[name] for name in JudgementRow.__dataclass_fields__ if name != "is_anomalous"}
    return JudgementRow(**named, is_anomalous=is_anomalous)
