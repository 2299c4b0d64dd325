"""Members of deliveries: which may be scored or trained on, which came before, which are released."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results import batches as batch_rows
from cae_pipeline.adapters.results.database import IDS_PER_QUERY, insert_new
from cae_pipeline.adapters.results.schema import IS_QUARANTINED, batches, deliveries, images, judgements, releases
from cae_pipeline.concurrency.parallel import batched
from cae_pipeline.domain.batch import Delivery, DeliveryStatus, HeldFile
from cae_pipeline.domain.facts import FACTS, ImageFacts
from cae_pipeline.domain.outcome import UNUSUAL, AcceptedImage, ImageStatus, Reason, ValidatedImage
from cae_pipeline.domain.stamp import Stamp
from cae_pipeline.errors import CaeError, NotFoundError


@dataclass(frozen=True)
class EarlierImage:
    """What a new image may be a near-duplicate of."""

    image_id: str
    difference_hash: str
    pixel_digest: str | None = None


def usual_images(connection: sa.Connection, delivery_keys: Sequence[str]) -> list[AcceptedImage]:
    """Images of some deliveries that may be trained on: accepted and usual, or released."""
    query = select_images().where(images.c.delivery_key.in_(delivery_keys), may_train())
    return as_images(connection.execute(query.order_by(images.c.delivery_key, images.c.name)))


def accepted_part(
    connection: sa.Connection, delivery_key: str, *, start: int, stop: int, judged_by: str | None = None
) -> list[tuple[AcceptedImage, bool]]:
    """Accepted images among the members at some positions of a delivery, and whether each has a score already.

    Args:
        connection: To the results database.
        delivery_key: The delivery.
        start: First position among all its members in the order of their names; positions never shift, whatever
            becomes of single images.
        stop: The position after the last.
        judged_by: Only a score of this model version is asked for; None is of any.
    """
    members = (
        sa.select(images.c.name)
        .where(images.c.delivery_key == delivery_key)
        .order_by(images.c.name)
        .offset(start)
        .limit(stop - start)
    ).subquery()
    scored = sa.exists().where(
        judgements.c.delivery_key == images.c.delivery_key,
        judgements.c.name == images.c.name,
        judgements.c.outcome == "scored",
    )
    if judged_by is not None:
        scored = scored.where(judgements.c.model_version == judged_by)
    query = (
        select_images()
        .add_columns(scored.label("is_scored"))
        .join(members, members.c.name == images.c.name)
        .where(images.c.delivery_key == delivery_key, may_be_scored())
        .order_by(images.c.name)
    )
    return [(as_image(row), bool(row["is_scored"])) for row in connection.execute(query).mappings()]


def images_named(connection: sa.Connection, delivery_key: str, names: Sequence[str]) -> list[AcceptedImage]:
    """Images of a delivery by their names, in the order of these."""
    found: dict[str, AcceptedImage] = {}
    for some in batched(names, IDS_PER_QUERY):
        query = select_images().where(images.c.delivery_key == delivery_key, images.c.name.in_(some))
        found.update((image.name, image) for image in as_images(connection.execute(query)))
    return [found[name] for name in names if name in found]


def members_of(connection: sa.Connection, delivery_key: str) -> list[ValidatedImage]:
    """All files of a delivery and what validation said of them, in the order of their names."""
    query = sa.select(images).where(images.c.delivery_key == delivery_key).order_by(images.c.name)
    return [_validated(row) for row in connection.execute(query).mappings()]


def held_files(connection: sa.Connection, delivery_key: str) -> dict[str, HeldFile]:
    """All files of a delivery by their names, as validation found them."""
    columns = (images.c.name, images.c.num_bytes, images.c.image_id, images.c.reason)
    query = sa.select(*columns).where(images.c.delivery_key == delivery_key)
    return {
        row.name: HeldFile(row.num_bytes, row.image_id, row.reason not in (Reason.MISSING, Reason.CHANGED))
        for row in connection.execute(query)
    }


def count_members(connection: sa.Connection, delivery_key: str) -> int:
    """How many files a delivery holds, whatever became of them."""
    query = sa.select(sa.func.count()).select_from(images).where(images.c.delivery_key == delivery_key)
    return connection.scalar(query) or 0


def normal_images(connection: sa.Connection, line: str, patterns: Sequence[str]) -> list[AcceptedImage]:
    """Accepted images of the batches that somebody vouches for, each picture once.

    Args:
        connection: To the results database.
        line: The product line.
        patterns: Shell patterns of batch_id.
    """
    query = (
        sa.select(deliveries.c.delivery_key, batches.c.batch_id)
        .join(batches, batches.c.batch_key == deliveries.c.batch_key)
        .where(batches.c.line == line, deliveries.c.is_in_force, deliveries.c.status != DeliveryStatus.REJECTED)
    )
    known = connection.execute(query).all()
    keys = [row.delivery_key for row in known if any(fnmatchcase(row.batch_id, pattern) for pattern in patterns)]
    by_picture = {image.image_id: image for image in usual_images(connection, keys)}
    return sorted(by_picture.values(), key=lambda image: (image.batch_id, image.name))


def known_images(connection: sa.Connection, delivery: Delivery, *, is_normal: Callable[[str], bool]) -> set[str]:
    """Which pictures of a delivery were accepted for its line in other batches of its kind that came no later.

    Other deliveries of the same batch do not count: sending a batch again is no duplicate. Nor does a batch that
    trains for one that is scored: what only trains was never judged.

    Args:
        connection: To the results database.
        delivery: What has come.
        is_normal: Whether a batch_id is one of those that train.
    """
    found: set[str] = set()
    this_trains = is_normal(delivery.batch_id)
    others = connection.execute(_earlier(delivery).add_columns(batches.c.batch_id)).all()
    earlier = {row.delivery_key for row in others if is_normal(row.batch_id) is this_trains}
    # in two steps: joined, SQLite reads every image of the line
    for ids in batched(sorted({member.sha256 for member in delivery.members if member.sha256}), IDS_PER_QUERY):
        query = sa.select(images.c.image_id, images.c.delivery_key).where(
            images.c.image_id.in_(ids), images.c.status == ImageStatus.ACCEPTED
        )
        found.update(row.image_id for row in connection.execute(query) if row.delivery_key in earlier)
    return found


def recent_images(connection: sa.Connection, delivery: Delivery, *, since: date, limit: int) -> list[EarlierImage]:
    """Accepted images of the line's other batches from a night on, the newest first and at most so many."""
    newest_first = (batches.c.night.desc(), deliveries.c.delivery_key)
    query = _earlier(delivery).where(batches.c.night >= since).order_by(*newest_first)
    found: list[EarlierImage] = []
    # one delivery after the other: sorting all at once costs more than reading the few that are wanted
    for delivery_key in connection.scalars(query).all():
        some = (
            sa.select(images.c.image_id, images.c.difference_hash, images.c.pixel_digest)
            .where(images.c.delivery_key == delivery_key, images.c.status == ImageStatus.ACCEPTED)
            .where(images.c.difference_hash.is_not(None))
            .order_by(images.c.name)
            .limit(limit - len(found))
        )
        found.extend(EarlierImage(*row) for row in connection.execute(some))
        if len(found) >= limit:
            break
    return found


def releasable(connection: sa.Connection, delivery_key: str) -> list[str]:
    """Names of quarantined images of a delivery that could be decoded."""
    query = (
        sa.select(images.c.name)
        .where(images.c.delivery_key == delivery_key, IS_QUARANTINED)
        .where(images.c.width_px.is_not(None))
        .order_by(images.c.name)
    )
    return list(connection.scalars(query))


def release(connection: sa.Connection, delivery_key: str, names: Sequence[str], stamp: Stamp) -> int:
    """Let quarantined images of a delivery be scored after all; that they were quarantined stays on record.

    Returns:
        How many were released now; those released before are left as they are.

    Raises:
        NotFoundError: If an image is not quarantined in that delivery.
        CaeError: If one could never be decoded.
    """
    query = sa.select(images).where(images.c.delivery_key == delivery_key, IS_QUARANTINED)
    quarantined = {row["name"]: row for row in connection.execute(query).mappings()}
    before = set(connection.scalars(sa.select(releases.c.name).where(releases.c.delivery_key == delivery_key)))
    for name in names:
        if name not in quarantined:
            raise NotFoundError("quarantined image", name, known=sorted(quarantined))
        if quarantined[name]["width_px"] is None:
            raise CaeError(
                f"{name!r} is quarantined as {quarantined[name]['reason']}: what cannot be decoded "
                "cannot be scored. Have it delivered again."
            )
    new = [name for name in names if name not in before]
    signed = {
        "delivery_key": delivery_key, "author": stamp.author, "note": stamp.note, "released_at": stamp.at
    }  # fmt: skip
    rows = [{**signed, "name": name, "reason": quarantined[name]["reason"]} for name in new]
    insert_new(connection, releases, rows)
    if new:
        batch_rows.reopen(connection, [delivery_key])
    return len(new)


def has_image(connection: sa.Connection, image_id: str) -> bool:
    """Tell whether any delivery ever held a picture."""
    query = sa.select(images.c.name).where(images.c.image_id == image_id).limit(1)
    return connection.scalar(query) is not None


def _validated(row: sa.RowMapping) -> ValidatedImage:
    return ValidatedImage(
        name=row["name"],
        image_id=row["image_id"],
        num_bytes=row["num_bytes"],
        status=ImageStatus(row["status"]),
        reason=Reason(row["reason"]) if row["reason"] else None,
        detail=row["detail"],
        facts=None if row["width_px"] is None else ImageFacts(**{name: row[name] for name in FACTS}),
        duplicate_of=row["duplicate_of"] or None,
    )


def select_images() -> sa.Select[Any]:
    """Start a query for what `as_image` reads: images with the line and batch_id of their delivery."""
    return (
        sa.select(images, batches.c.line, batches.c.batch_id)
        .join(deliveries, deliveries.c.delivery_key == images.c.delivery_key)
        .join(batches, batches.c.batch_key == deliveries.c.batch_key)
    )


def may_be_scored() -> sa.ColumnElement[bool]:
    """An image is accepted, or was released from quarantine."""
    return (images.c.status == ImageStatus.ACCEPTED) | _was_released()


def may_train() -> sa.ColumnElement[bool]:
    """An image is accepted and usual, or was released from quarantine."""
    return ((images.c.status == ImageStatus.ACCEPTED) & images.c.reason.not_in(UNUSUAL)) | _was_released()


def _was_released() -> sa.ColumnElement[bool]:
    return sa.exists().where(releases.c.delivery_key == images.c.delivery_key, releases.c.name == images.c.name)


def as_image(row: sa.RowMapping) -> AcceptedImage:
    """Read one row of `select_images`."""
    return AcceptedImage(
        row["line"],
        row["batch_id"],
        row["delivery_key"],
        row["name"],
        row["image_id"],
        ImageFacts(**{name: row[name] for name in FACTS}),
    )


def as_images(rows: sa.CursorResult[Any]) -> list[AcceptedImage]:
    """Read the rows of `select_images`."""
    return [as_image(row) for row in rows.mappings()]


def unique_pictures(found: Iterable[AcceptedImage]) -> list[AcceptedImage]:
    """Keep each picture once, the last one of it."""
    return list({image.image_id: image for image in found}.values())


def _earlier(delivery: Delivery) -> sa.Select[tuple[str]]:
    """Keys of the deliveries in force of the line's other batches of the same night or earlier."""
    return (
        sa.select(deliveries.c.delivery_key)
        .join(batches, batches.c.batch_key == deliveries.c.batch_key)
        .where(batches.c.line == delivery.line, batches.c.batch_id != delivery.batch_id)
        .where(batches.c.night <= delivery.night, deliveries.c.is_in_force)
    )
