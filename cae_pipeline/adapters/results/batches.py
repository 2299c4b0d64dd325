"""Batches, their images, and what is released from quarantine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, datetime
from fnmatch import fnmatchcase
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.database import insert_new, reading
from cae_pipeline.adapters.results.schema import batches, images, releases, scores, verdicts
from cae_pipeline.core.batch import Batch, BatchStatus, ImageRecord, ImageStatus, Reason
from cae_pipeline.core.facts import ImageFacts
from cae_pipeline.errors import CaeError, NotFoundError

_FACTS = tuple(ImageFacts.__dataclass_fields__)


def record_batch(
    engine: sa.Engine, batch: Batch, records: Sequence[ImageRecord], *, outcome: dict[str, Any], validated_at: datetime
) -> None:
    """Write one validated batch with all its images, or nothing if it is there already.

    Args:
        outcome: `status`, `rejected_for`, `data_docs_uri` and `dag_run_id` of the batch's row.
    """
    row = {
        "batch_key": batch.batch_key,
        "line": batch.line,
        "batch_id": batch.batch_id,
        "night": batch.night,
        "manifest_sha256": batch.manifest_sha256,
        "num_images": len(records),
        "num_quarantined": sum(record.status is ImageStatus.QUARANTINED for record in records),
        "num_bytes": sum(record.num_bytes for record in records),
        "validated_at": validated_at,
        **outcome,
    }
    with engine.begin() as connection:
        insert_new(connection, batches, [row])
        insert_new(connection, images, [_image_row(batch, record) for record in records])


def find_batch(engine: sa.Engine, batch_key: str) -> sa.RowMapping | None:
    """Return the batch's row, or None if it was never validated."""
    with reading(engine) as connection:
        return connection.execute(sa.select(batches).where(batches.c.batch_key == batch_key)).mappings().first()


def settled_batches(engine: sa.Engine, line: str) -> dict[str, datetime]:
    """When each finished or rejected batch_id of a line was last validated."""
    query = (
        sa.select(batches.c.batch_id, sa.func.max(batches.c.validated_at).label("validated_at"))
        .where(batches.c.line == line)
        .group_by(batches.c.batch_id)
        .having(sa.func.min(sa.case((batches.c.status == BatchStatus.VALIDATED, 0), else_=1)) == 1)
    )
    with reading(engine) as connection:
        return {row.batch_id: row.validated_at for row in connection.execute(query)}


def unfinished_batches(engine: sa.Engine, line: str) -> list[sa.RowMapping]:
    """Validated batches of a line whose accepted images still wait, oldest night first."""
    query = (
        sa.select(batches)
        .where(batches.c.line == line, batches.c.status == BatchStatus.VALIDATED)
        .order_by(batches.c.night, batches.c.batch_id)
    )
    with reading(engine) as connection:
        return list(connection.execute(query).mappings())


def batches_of_nights(engine: sa.Engine, line: str, nights: tuple[date, date]) -> list[str]:
    """Keys of a line's batches of some nights, both ends included, that were not rejected."""
    query = (
        sa.select(batches.c.batch_key)
        .where(batches.c.line == line, batches.c.night.between(*nights), batches.c.status != BatchStatus.REJECTED)
        .order_by(batches.c.night, batches.c.batch_id)
    )
    with reading(engine) as connection:
        return list(connection.scalars(query))


def accepted_images(
    engine: sa.Engine, batch_keys: Sequence[str], *, part: tuple[int, int] | None = None
) -> list[sa.RowMapping]:
    """Images that may be scored or trained on: accepted, or released from quarantine.

    Args:
        batch_keys: Of the batches; each row has the columns of `images` and the batch's `line` and `batch_id`.
        part: First and last position, the last excluded, among all members of one batch in the order
            of their names. Positions of all members never shift, whatever becomes of single ones.
    """
    members = sa.select(images).where(images.c.batch_key.in_(batch_keys)).order_by(images.c.batch_key, images.c.name)
    if part is not None:
        members = members.offset(part[0]).limit(part[1] - part[0])
    member = members.subquery()
    released = (releases.c.batch_key == member.c.batch_key) & (releases.c.name == member.c.name)
    query = (
        sa.select(member, batches.c.line, batches.c.batch_id)
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


def judged_images(engine: sa.Engine, line: str, verdict: str) -> list[sa.RowMapping]:
    """Decodable images of a line whose latest verdict is a given one, each picture once."""
    latest = (
        sa.select(sa.func.max(verdicts.c.verdict_id)).where(verdicts.c.image_id == images.c.image_id).scalar_subquery()
    )
    query = (
        sa.select(images, batches.c.line, batches.c.batch_id)
        .join(batches, batches.c.batch_key == images.c.batch_key)
        .join(verdicts, verdicts.c.verdict_id == latest)
        .where(batches.c.line == line, verdicts.c.verdict == verdict, images.c.width_px.is_not(None))
        .order_by(images.c.batch_key, images.c.name)
    )
    with reading(engine) as connection:
        return list({row["image_id"]: row for row in connection.execute(query).mappings()}.values())


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


def finish_if_complete(engine: sa.Engine, batch_key: str, *, finished_at: datetime) -> bool:
    """Mark a batch as scored once no accepted or released image of it waits for a score."""
    judged = sa.exists().where(scores.c.batch_key == images.c.batch_key, scores.c.image_id == images.c.image_id)
    released = sa.exists().where(releases.c.batch_key == images.c.batch_key, releases.c.name == images.c.name)
    waiting = (
        sa.select(sa.literal(1))
        .where(images.c.batch_key == batch_key, ~judged, images.c.status != ImageStatus.FAILED)
        .where((images.c.status == ImageStatus.ACCEPTED) | released)
    )
    with engine.begin() as connection:
        done = connection.execute(
            sa.update(batches)
            .where(batches.c.batch_key == batch_key, batches.c.status == BatchStatus.VALIDATED, ~waiting.exists())
            .values(status=BatchStatus.SCORED, finished_at=finished_at)
        )
    return bool(done.rowcount)


def fail_images(engine: sa.Engine, failures: Sequence[tuple[str, str, str]]) -> None:
    """Mark accepted images that could not be scored: `(batch_key, name, detail)` each."""
    with engine.begin() as connection:
        for batch_key, name, detail in failures:
            connection.execute(
                sa.update(images)
                .where(images.c.batch_key == batch_key, images.c.name == name)
                .values(status=ImageStatus.FAILED, reason=Reason.SCORING_FAILED, detail=detail)
            )


def newest_delivery(engine: sa.Engine, line: str, batch_id: str) -> sa.RowMapping:
    """Return the row of the delivery of a batch_id that was validated last.

    Raises:
        NotFoundError: If none was.
    """
    query = (
        sa.select(batches)
        .where(batches.c.line == line, batches.c.batch_id == batch_id)
        .order_by(batches.c.validated_at.desc())
    )
    with reading(engine) as connection:
        row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFoundError("validated batch", f"{line}/{batch_id}", advice="List batches with `cae batches`.")
    return row


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
    return ImageFacts(**{name: row[name] for name in _FACTS})


def _image_row(batch: Batch, record: ImageRecord) -> dict[str, Any]:
    facts = asdict(record.facts) if record.facts else dict.fromkeys(_FACTS)
    return {
        "batch_key": batch.batch_key,
        "name": record.name,
        "image_id": record.image_id,
        "num_bytes": record.num_bytes,
        "status": record.status,
        "reason": record.reason or "",
        "detail": record.detail,
        "duplicate_of": record.duplicate_of or "",
        **facts,
    }
