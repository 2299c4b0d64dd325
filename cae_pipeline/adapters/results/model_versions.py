"""Model versions: what was registered, what it was trained on, its state, and the threshold in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.database import insert_new
from cae_pipeline.adapters.results.images import as_image, select_images
from cae_pipeline.adapters.results.schema import images, model_versions, snapshots, thresholds
from cae_pipeline.domain.outcome import AcceptedImage
from cae_pipeline.domain.promotion import ModelState
from cae_pipeline.errors import ConcurrentChangeError, NotFoundError
from cae_pipeline.statistics.conformal import Threshold


@dataclass(frozen=True)
class Registration:
    """What a training hands over.

    Attributes:
        model_version: Its name, such as cae-mono/3.
        line: The product line.
        version: MLflow's number.
        run_id: MLflow's run.
        artefact_uri: Where MLflow keeps the files that scoring loads.
        artefact_sha256: Their digest.
        snapshot_sha256: Digest of what it was trained on.
        figures: What a training is judged by, all finite.
        registered_at: When, aware and in UTC.
    """

    model_version: str
    line: str
    version: int
    run_id: str
    artefact_uri: str
    artefact_sha256: str
    snapshot_sha256: str
    figures: Mapping[str, float]
    registered_at: datetime


@dataclass(frozen=True)
class ModelVersion(Registration):
    """A registered model, where it stands, and the threshold in force, which is its newest.

    Attributes:
        state: Where it stands; at most one version of a line is promoted.
        threshold_id: Number of the threshold in force.
        threshold: Its value; a score above it is flagged.
    """

    state: ModelState
    threshold_id: int
    threshold: float


@dataclass(frozen=True)
class SnapshotImage:
    """An image a model was trained on, and the part it played: train, validation or calibration."""

    image: AcceptedImage
    part: str


def register(
    connection: sa.Connection, made: Registration, threshold: Threshold, *, members: Sequence[tuple[str, str, str]]
) -> ModelVersion:
    """Write a model version as a candidate, its threshold and the images it was trained on.

    Args:
        connection: Of a unit of work.
        made: What was trained.
        threshold: Its first one.
        members: `(delivery_key, name, part)` of each image of the training snapshot.
    """
    row = {**asdict(made), "figures": dict(made.figures), "state": ModelState.CANDIDATE}
    connection.execute(sa.insert(model_versions), [row])
    first = {"model_version": made.model_version, "created_at": made.registered_at, **asdict(threshold)}
    connection.execute(sa.insert(thresholds), [first])
    version = made.model_version
    rows = [{"model_version": version, "delivery_key": key, "name": name, "part": part} for key, name, part in members]
    insert_new(connection, snapshots, rows)
    return find_version(connection, version)


def find_version(connection: sa.Connection, model_version: str, *, as_of: datetime | None = None) -> ModelVersion:
    """Look a model version up.

    Args:
        connection: To the results database.
        model_version: Its name, such as cae-mono/3.
        as_of: With the threshold that was in force then; None is now.

    Raises:
        NotFoundError: If there is none of that name; lists those there are.
    """
    found = connection.execute(_versions(as_of).where(model_versions.c.model_version == model_version)).mappings()
    row = found.first()
    if row is None:
        known = connection.scalars(sa.select(model_versions.c.model_version).order_by(model_versions.c.registered_at))
        raise NotFoundError("model version", model_version, known=list(known))
    return _version(row)


def versions_of(connection: sa.Connection, line: str | None) -> list[ModelVersion]:
    """All versions of a line, or of all lines, oldest first."""
    query = _versions(None).order_by(model_versions.c.registered_at, model_versions.c.model_version)
    if line is not None:
        query = query.where(model_versions.c.line == line)
    return [_version(row) for row in connection.execute(query).mappings()]


def champion_or_none(connection: sa.Connection, line: str) -> ModelVersion | None:
    """Look up who serves a line, where it is all right that nobody does."""
    query = _versions(None).where(model_versions.c.line == line, model_versions.c.state == ModelState.PROMOTED)
    row = connection.execute(query).mappings().first()
    return _version(row) if row else None


def all_champions(connection: sa.Connection) -> dict[str, str]:
    """Which model version serves each line."""
    query = sa.select(model_versions.c.line, model_versions.c.model_version)
    serving = query.where(model_versions.c.state == ModelState.PROMOTED).order_by(model_versions.c.line)
    return {row.line: row.model_version for row in connection.execute(serving)}


def change_state(connection: sa.Connection, version: ModelVersion, state: ModelState) -> None:
    """Move a model version from the state it was read in to another.

    Raises:
        ConcurrentChangeError: If somebody else has changed it since, or another version of the line serves by now.
    """
    try:
        # apart, so that PostgreSQL can go on after the index has refused a second champion
        with connection.begin_nested():
            changed = connection.execute(
                sa.update(model_versions)
                .where(model_versions.c.model_version == version.model_version, model_versions.c.state == version.state)
                .values(state=state)
            ).rowcount
    except sa.exc.IntegrityError:
        changed = 0
    if not changed:
        serving = champion_or_none(connection, version.line)
        raise ConcurrentChangeError(
            f"line {version.line!r}: expected {version.model_version!r} to be {version.state.value} still and "
            f"nobody else to become champion, found champion {serving.model_version if serving else None!r}; "
            "somebody promoted in between. Nothing was changed: compare with the new champion and try again."
        )


def snapshot_images(connection: sa.Connection, model_version: str) -> list[SnapshotImage]:
    """Images a model was trained on, each with the part it played."""
    of_image = (snapshots.c.delivery_key == images.c.delivery_key) & (snapshots.c.name == images.c.name)
    query = (
        select_images()
        .add_columns(snapshots.c.part)
        .join(snapshots, of_image)
        .where(snapshots.c.model_version == model_version)
        .order_by(sa.text("batch_id"), images.c.name)
    )
    return [SnapshotImage(as_image(row), row["part"]) for row in connection.execute(query).mappings()]


def pictures_seen_by(connection: sa.Connection, *names: str) -> set[str]:
    """Digests of the images that played a part in some trainings."""
    query = (
        sa.select(images.c.image_id)
        .join(snapshots, (snapshots.c.delivery_key == images.c.delivery_key) & (snapshots.c.name == images.c.name))
        .where(snapshots.c.model_version.in_(names))
    )
    return set(connection.scalars(query))


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


def _version(row: sa.RowMapping) -> ModelVersion:
    return ModelVersion(**{**row, "state": ModelState(row["state"])})
