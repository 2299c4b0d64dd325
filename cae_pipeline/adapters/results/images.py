"""Images of batches: which may be scored or trained on, which came before, which are released."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from fnmatch import fnmatchcase

import sqlalchemy as sa

from cae_pipeline.adapters.results.database import insert_new, reading
from cae_pipeline.adapters.results.schema import batches, images, releases, scores, snapshots
from cae_pipeline.domain.batch import Batch, BatchStatus, ImageStatus, Reason
from cae_pipeline.domain.facts import FACTS, ImageFacts
from cae_pipeline.errors import CaeError, NotFoundError


def accepted_images(
    engine: sa.Engine,
    batch_keys: Sequence[str],
    *,
    part: tuple[int, int] | None = None,
    judged_by: str | None = None,
) -> list[sa.RowMapping]:
    """Images that may be scored or trained on: accepted, or released from quarantine.

    Args:
        batch_keys: Of the batches; each row has the columns of `images` and the batch's `line` and `batch_id`.
        part: First and last position, the last excluded, among all members of one batch in the order
            of their names. Positions of all members never shift, whatever becomes of single ones.
        judged_by: A model version; each row then also has `is_judged`, whether it has scored that image already.
    """
    members = sa.select(images).where(images.c.batch_key.in_(batch_keys)).order_by(images.c.batch_key, images.c.name)
    if part is not None:
        members = members.offset(part[0]).limit(part[1] - part[0])
    member = members.subquery()
    released = (releases.c.batch_key == member.c.batch_key) & (releases.c.name == member.c.name)
    judged = sa.exists().where(
        scores.c.batch_key == member.c.batch_key,
        scores.c.image_id == member.c.image_id,
        scores.c.model_version == judged_by,
    )
    known = [judged.label("is_judged")] if judged_by else []
    query = (
        sa.select(member, batches.c.line, batches.c.batch_id, *known)
        .join(batches, batches.c.batch_key == member.c.batch_key)
        .outerjoin(releases, released)
        .where((member.c.status == ImageStatus.ACCEPTED) | releases.c.name.is_not(None))
        .order_by(member.c.batch_key, member.c.name)
    )
    with reading(engine) as connection:
        return list(connection.execute(query).mappings())


def count_members(engine: sa.Engine, batch_key: str) -> int:
    """How many files a batch holds, whatever became of them."""
    query = sa.select(sa.func.count()).select_from(images).where(images.c.batch_key == batch_key)
    with reading(engine) as connection:
        return connection.scalar(query) or 0


def normal_images(engine: sa.Engine, line: str, patterns: Sequence[str]) -> list[sa.RowMapping]:
    """Accepted images of the batches that somebody vouches for, each picture once.

    Args:
        patterns: Shell patterns of batch_id.
    """
    query = sa.select(batches.c.batch_key, batches.c.batch_id).where(
        batches.c.line == line, batches.c.status != BatchStatus.REJECTED
    )
    with reading(engine) as connection:
        known = connection.execute(query).all()
    keys = [row.batch_key for row in known if any(fnmatchcase(row.batch_id, pattern) for pattern in patterns)]
    by_picture = {row["image_id"]: row for row in accepted_images(engine, keys)}
    return sorted(by_picture.values(), key=lambda row: (row["batch_id"], row["name"]))


def snapshot_images(engine: sa.Engine, model_version: str) -> list[sa.RowMapping]:
    """Images a model was trained on, each with the `part` it played; otherwise as `accepted_images`."""
    query = (
        sa.select(images, batches.c.line, batches.c.batch_id, snapshots.c.part)
        .join(batches, batches.c.batch_key == images.c.batch_key)
        .join(snapshots, (snapshots.c.batch_key == images.c.batch_key) & (snapshots.c.name == images.c.name))
        .where(snapshots.c.model_version == model_version)
        .order_by(batches.c.batch_id, images.c.name)
    )
    with reading(engine) as connection:
        return list(connection.execute(query).mappings())


def earlier_images(engine: sa.Engine, batch: Batch) -> list[tuple[str, str]]:
    """Ids and difference hashes of images that were accepted for the line before this batch came.

    Earlier deliveries of the same batch_id do not count: sending a batch again is no duplicate.
    """
    query = (
        sa.select(images.c.image_id, images.c.difference_hash)
        .join(batches)
        .where(
            batches.c.line == batch.line,
            batches.c.batch_id != batch.batch_id,
            batches.c.night <= batch.night,
            images.c.status == ImageStatus.ACCEPTED,
        )
        .order_by(images.c.image_id)
    )
    with reading(engine) as connection:
        return [(row.image_id, row.difference_hash) for row in connection.execute(query)]


def fail_images(engine: sa.Engine, failures: Sequence[tuple[str, str, str]]) -> None:
    """Mark accepted images that could not be scored: `(batch_key, name, detail)` each."""
    if not failures:
        return
    with engine.begin() as connection:
        for batch_key, name, detail in failures:
            connection.execute(
                sa.update(images)
                .where(images.c.batch_key == batch_key, images.c.name == name)
                .values(status=ImageStatus.FAILED, reason=Reason.SCORING_FAILED, detail=detail)
            )


def releasable(engine: sa.Engine, batch_key: str) -> list[str]:
    """Names of quarantined images of a batch that could be decoded."""
    query = (
        sa.select(images.c.name)
        .where(images.c.batch_key == batch_key, images.c.status == ImageStatus.QUARANTINED)
        .where(images.c.width_px.is_not(None))
        .order_by(images.c.name)
    )
    with reading(engine) as connection:
        return list(connection.scalars(query))


def release(
    engine: sa.Engine, batch_key: str, names: Sequence[str], *, author: str, note: str, released_at: datetime
) -> int:
    """Let quarantined images of a batch be scored after all; the quarantine rows stay.

    Returns:
        How many were released now; those released before are left as they are.

    Raises:
        NotFoundError: If an image is not quarantined in that batch.
        CaeError: If one could never be decoded.
    """
    with engine.begin() as connection:
        query = sa.select(images).where(images.c.batch_key == batch_key, images.c.status == ImageStatus.QUARANTINED)
        quarantined = {row["name"]: row for row in connection.execute(query).mappings()}
        before = set(connection.scalars(sa.select(releases.c.name).where(releases.c.batch_key == batch_key)))
        for name in names:
            if name not in quarantined:
                raise NotFoundError("quarantined image", name, known=sorted(quarantined))
            if quarantined[name]["width_px"] is None:
                raise CaeError(
                    f"{name!r} is quarantined as {quarantined[name]['reason']}: what cannot be decoded "
                    "cannot be scored. Have it delivered again."
                )
        new = [name for name in names if name not in before]
        stamp = {"batch_key": batch_key, "author": author, "note": note, "released_at": released_at}
        insert_new(
            connection, releases, [{**stamp, "name": name, "reason": quarantined[name]["reason"]} for name in new]
        )
        if new:
            # back among those that wait for a score
            connection.execute(
                sa.update(batches)
                .where(batches.c.batch_key == batch_key)
                .values(status=BatchStatus.VALIDATED, finished_at=None)
            )
    return len(new)


def facts_of(row: sa.RowMapping) -> ImageFacts:
    """Read the facts back from a row of `images`."""
    return ImageFacts(**{name: row[name] for name in FACTS})
