"""Model versions, their thresholds, who is champion, and the ledger of promotions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.database import insert_new, reading
from cae_pipeline.adapters.results.schema import champions, model_versions, promotions, snapshots, thresholds
from cae_pipeline.core.promotion import Decision
from cae_pipeline.core.threshold import Threshold
from cae_pipeline.errors import ConcurrentChangeError, NoChampionError, NotFoundError


@dataclass(frozen=True)
class ModelVersion:
    """A registered artefact and the newest threshold fitted for it."""

    model_version: str
    line: str
    run_id: str
    artefact_uri: str
    artefact_sha256: str
    snapshot_sha256: str
    figures: dict[str, Any]
    threshold_id: int
    threshold: float


def register(
    engine: sa.Engine, row: dict[str, Any], threshold: Threshold, *, members: Sequence[tuple[str, str, str]]
) -> ModelVersion:
    """Write a model version, its threshold and the images it was trained on.

    Args:
        row: Columns of `model_versions`.
        members: `(batch_key, name, part)` of each image of the training snapshot; the part is
            train, validation or calibration.
    """
    with engine.begin() as connection:
        connection.execute(sa.insert(model_versions), [row])
        connection.execute(
            sa.insert(thresholds),
            [{"model_version": row["model_version"], "created_at": row["registered_at"], **asdict(threshold)}],
        )
        version = row["model_version"]
        rows = [{"model_version": version, "batch_key": key, "name": name, "part": part} for key, name, part in members]
        insert_new(connection, snapshots, rows)
    return find_version(engine, row["model_version"])


def find_version(engine: sa.Engine, model_version: str) -> ModelVersion:
    """Look a model version up.

    Raises:
        NotFoundError: If there is none of that name; lists those there are.
    """
    with reading(engine) as connection:
        row = connection.execute(_versions().where(model_versions.c.model_version == model_version)).mappings().first()
        if row is None:
            known = connection.scalars(
                sa.select(model_versions.c.model_version).order_by(model_versions.c.registered_at)
            )
            raise NotFoundError("model version", model_version, known=list(known))
    return _version(row)


def champion_of(engine: sa.Engine, line: str, *, as_of: datetime | None = None) -> ModelVersion:
    """Look up who serves a line, now or at a moment of the past.

    Raises:
        NoChampionError: If nobody does, or did.
    """
    if as_of is None:
        query = sa.select(champions.c.model_version).where(champions.c.line == line)
    else:
        query = (
            sa.select(promotions.c.to_version)
            .where(promotions.c.line == line, promotions.c.promoted, promotions.c.decided_at <= as_of)
            .order_by(promotions.c.promotion_id.desc())
            .limit(1)
        )
    with reading(engine) as connection:
        name = connection.scalar(query)
    if name is None:
        raise NoChampionError(line)
    return find_version(engine, name)


def record_decision(
    engine: sa.Engine,
    challenger: ModelVersion,
    champion: ModelVersion | None,
    decision: Decision,
    *,
    stamp: tuple[str, datetime],
) -> None:
    """Write a decision into the ledger and, if it was to promote, swap the champion.

    Args:
        champion: Who served when the decision was taken; another one by now stops the swap.
        stamp: Author and time.

    Raises:
        ConcurrentChangeError: If somebody else promoted in between.
    """
    author, decided_at = stamp
    before = champion.model_version if champion else None
    with engine.begin() as connection:
        if decision.promote:
            _swap(connection, challenger, before)
        connection.execute(
            sa.insert(promotions),
            [
                {
                    "line": challenger.line,
                    "from_version": before or "",
                    "to_version": challenger.model_version,
                    "promoted": decision.promote,
                    "reasons": list(decision.reasons),
                    "author": author,
                    "decided_at": decided_at,
                }
            ],
        )


def snapshot_members(engine: sa.Engine, model_version: str, *, part: str | None = None) -> set[tuple[str, str]]:
    """`(batch_key, name)` of each image a model has seen, or of those that played one part in its training."""
    query = sa.select(snapshots.c.batch_key, snapshots.c.name).where(snapshots.c.model_version == model_version)
    if part is not None:
        query = query.where(snapshots.c.part == part)
    with reading(engine) as connection:
        return {(row.batch_key, row.name) for row in connection.execute(query)}


def _swap(connection: sa.Connection, challenger: ModelVersion, before: str | None) -> None:
    now = {"model_version": challenger.model_version, "threshold_id": challenger.threshold_id}
    if before is None:
        insert_new(connection, champions, [{"line": challenger.line, **now}])
    else:
        connection.execute(
            sa.update(champions)
            .where(champions.c.line == challenger.line, champions.c.model_version == before)
            .values(**now)
        )
    serving = connection.scalar(sa.select(champions.c.model_version).where(champions.c.line == challenger.line))
    if serving != challenger.model_version:
        raise ConcurrentChangeError(
            f"line {challenger.line!r}: expected champion {before!r}, found {serving!r}; somebody promoted in between. "
            "Nothing was changed: compare with the new champion and try again."
        )


def _versions() -> sa.Select[Any]:
    newest = (
        sa.select(thresholds.c.model_version, sa.func.max(thresholds.c.threshold_id).label("threshold_id"))
        .group_by(thresholds.c.model_version)
        .subquery()
    )
    return (
        sa.select(model_versions, thresholds.c.threshold_id, thresholds.c.value.label("threshold"))
        .join(newest, newest.c.model_version == model_versions.c.model_version)
        .join(thresholds, thresholds.c.threshold_id == newest.c.threshold_id)
    )


def _version(row: sa.RowMapping) -> ModelVersion:
    return ModelVersion(**{name: row[name] for name in ModelVersion.__dataclass_fields__})
