"""Model versions: what was registered, what it was trained on, and the threshold in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.database import insert_new, reading
from cae_pipeline.adapters.results.schema import model_versions, snapshots, thresholds
from cae_pipeline.errors import NotFoundError
from cae_pipeline.statistics.conformal import Threshold


@dataclass(frozen=True)
class ModelVersion:
    """A registered artefact and the threshold in force, which is the newest."""

    model_version: str
    line: str
    run_id: str
    artefact_uri: str
    artefact_sha256: str
    snapshot_sha256: str
    figures: dict[str, Any]
    registered_at: datetime
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


def find_version(engine: sa.Engine, model_version: str, *, as_of: datetime | None = None) -> ModelVersion:
    """Look a model version up.

    Args:
        as_of: With the threshold that was in force then; None is now.

    Raises:
        NotFoundError: If there is none of that name; lists those there are.
    """
    with reading(engine) as connection:
        query = _versions(as_of).where(model_versions.c.model_version == model_version)
        row = connection.execute(query).mappings().first()
        if row is None:
            known = connection.scalars(
                sa.select(model_versions.c.model_version).order_by(model_versions.c.registered_at)
            )
            raise NotFoundError("model version", model_version, known=list(known))
    return ModelVersion(**{name: row[name] for name in ModelVersion.__dataclass_fields__})


def snapshot_members(engine: sa.Engine, model_version: str, *, part: str | None = None) -> set[tuple[str, str]]:
    """`(batch_key, name)` of each image a model has seen, or of those that played one part in its training."""
    query = sa.select(snapshots.c.batch_key, snapshots.c.name).where(snapshots.c.model_version == model_version)
    if part is not None:
        query = query.where(snapshots.c.part == part)
    with reading(engine) as connection:
        return {(row.batch_key, row.name) for row in connection.execute(query)}


def _versions(as_of: datetime | None) -> sa.Select[Any]:
    newest = sa.select(thresholds.c.model_version, sa.func.max(thresholds.c.threshold_id).label("threshold_id"))
    if as_of is not None:
        newest = newest.where(thresholds.c.created_at <= as_of)
    in_force = newest.group_by(thresholds.c.model_version).subquery()
    return (
        sa.select(model_versions, thresholds.c.threshold_id, thresholds.c.value.label("threshold"))
        .join(in_force, in_force.c.model_version == model_versions.c.model_version)
        .join(thresholds, thresholds.c.threshold_id == in_force.c.threshold_id)
    )
