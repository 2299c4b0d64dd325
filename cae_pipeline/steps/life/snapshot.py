"""The normal images that one training sees."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import sqlalchemy as sa
import structlog

from cae_pipeline.adapters.results import images, model_versions
from cae_pipeline.adapters.results.model_versions import ModelVersion, SnapshotImage
from cae_pipeline.detector.tiling import with_tiles
from cae_pipeline.domain.ignoring import Ignored
from cae_pipeline.domain.image_settings import settled
from cae_pipeline.domain.images import Pixels
from cae_pipeline.domain.line import AutoencoderSettings, Line
from cae_pipeline.domain.outcome import AcceptedImage
from cae_pipeline.errors import ArtefactError, BatchRejectedError, TooFewNormalImagesError
from cae_pipeline.steps.life import normal
from cae_pipeline.steps.life.ignored import read_ignored
from cae_pipeline.steps.night.find import is_normal_batch
from cae_pipeline.steps.night.read import read_images, stack
from cae_pipeline.steps.night.validate import has_other_limits, validate_batch
from cae_pipeline.steps.services import Services

log = structlog.get_logger()


@dataclass(frozen=True)
class Snapshot:
    """The images one training sees, and the network's knobs with the tiles those images need.

    Attributes:
        images: Where they lie, in their order.
        pixels: Shape `(n, *model.read_px, c)`, of the type that the model says.
        model: The line's knobs, with the number of tiles and the reading of images settled.
        sha256: Digest of which pictures they are.
        parts: Which part the images of the champion's snapshot played, by digest; they keep it in a refresh.
        ignored: Pixels of images as delivered that have no say, shape `(h, w)`; None if all have.
    """

    images: tuple[AcceptedImage, ...]
    pixels: Pixels
    model: AutoencoderSettings
    sha256: str
    parts: Mapping[str, str]
    ignored: Ignored | None = None

    @property
    def image_ids(self) -> list[str]:
        """Digests of the images, in their order."""
        return [image.image_id for image in self.images]


def take_snapshot(line: Line, services: Services, *, refresh_of: ModelVersion | None = None) -> Snapshot:
    """Validate the line's normal batches where that has not been done, and read what a training sees.

    A full training sees the images somebody vouches for and false alarms; a refresh sees what the champion was
    trained on, newly accepted images that nobody flagged, and false alarms. Images that a person has judged a
    defect, or that the golden set needs, are not learnt from.

    Args:
        line: The product line.
        services: The outside world.
        refresh_of: The champion, for a refresh; None for a full training.

    Raises:
        TooFewNormalImagesError: If there is none.
        ConfigurationError: If the ignore mask or the region of interest does not fit the images.
        StorageError: If the landing zone cannot be read just now.
    """
    rejected = _validate_normal_batches(line, services)
    with services.read() as connection:
        chosen, parts = _members(line, connection, refresh_of)
    delivered_px = _delivered_px(chosen)
    model = with_tiles(line.model, delivered_px=delivered_px) if delivered_px else line.model
    model = replace(model, images=settled(line.images, [image.facts for image in chosen]))
    # before the images, which take long to read
    ignored = read_ignored(line, delivered_px=delivered_px, limits=services.limits) if delivered_px else None
    read = list(read_images(chosen, model, services, doing=f"read {line.name}"))
    good = [one for one in read if one.pixels is not None]
    for one in read:
        if one.failure is not None:
            log.warning("normal_image_left_out", name=one.image.name, problem=one.failure.detail)
    if not good:
        patterns = " or ".join(line.training.normal_batches)
        told = "".join(f" Batch {batch_id} is rejected: {reason}." for batch_id, reason in rejected.items())
        raise TooFewNormalImagesError(
            f"training line {line.name!r}",
            received=0,
            needed=1,
            advice=f"Put normal images into {services.landing.folder / line.name}/<batch_id>/ with a batch_id like "
            f"{patterns}.{told}",
        )
    kept = tuple(one.image for one in good)
    return Snapshot(kept, stack(good, model), model, snapshot_digest(kept), parts, ignored)


def _validate_normal_batches(line: Line, services: Services) -> dict[str, str]:
    """Validate the line's normal batches where that has not been done, and again where the limits are others now.

    A batch that was rejected beside the normal images of before may be all that the line is to learn from now: a new
    camera, another resolution.

    Returns:
        Why a batch is rejected, by its batch_id. The others are learnt from.
    """
    rejected: dict[str, str] = {}
    for batch_id in services.landing.batch_ids(line.name):
        if not is_normal_batch(line, batch_id):
            continue
        try:
            try:
                validate_batch(line, batch_id, services)
            except BatchRejectedError:
                if not has_other_limits(line, batch_id, services):
                    raise
                validate_batch(line, batch_id, services, again=True)
        except BatchRejectedError as error:
            rejected[batch_id] = str(error)
            log.warning(
                "normal_batch_left_out",
                line=line.name,
                batch_id=batch_id,
                reason=str(error),
                advice=f"to learn from it alone, name it: [lines.{line.name}.training] normal_batches = "
                f'["{batch_id}"], then train again',
            )
    return rejected


def snapshot_digest(members: Iterable[AcceptedImage]) -> str:
    """Digest which pictures there are, by their bytes, and their names."""
    rows = sorted((image.image_id, image.name) for image in members)
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def rebuild_snapshot(model_version: str, services: Services) -> list[SnapshotImage]:
    """Find every image a model was trained on in the landing zone, byte for byte.

    Returns:
        Each image with the part it played.

    Raises:
        NotFoundError: If there is no such model version.
        ArtefactError: If a file is gone or has other bytes, or the list is not the one that was registered.
    """
    with services.read() as connection:
        version = model_versions.find_version(connection, model_version)
        members = model_versions.snapshot_images(connection, model_version)
    lost = [f"{row.image.batch_id}/{row.image.name}" for row in members if not _is_there(row.image, services)]
    if lost:
        raise ArtefactError(
            f"{len(lost)} of the {len(members)} images {version.model_version!r} was trained on are gone or have other "
            f"bytes now: {', '.join(lost[:5])}. Restore them to the landing zone."
        )
    received = snapshot_digest(row.image for row in members)
    if received != version.snapshot_sha256:
        raise ArtefactError(
            f"the images listed for {version.model_version!r} have digest {received[:12]}…, expected "
            f"{version.snapshot_sha256[:12]}…. Restore the results database from a backup."
        )
    return members


def _is_there(image: AcceptedImage, services: Services) -> bool:
    path = services.landing.path(image.line, image.batch_id, image.name)
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == image.image_id


def _members(
    line: Line, connection: sa.Connection, refresh_of: ModelVersion | None
) -> tuple[list[AcceptedImage], dict[str, str]]:
    """The images to learn from, each picture once, and the part that is settled for some of them."""
    parts: dict[str, str] = {}
    if refresh_of is None:
        vouched = images.normal_images(connection, line.name, line.training.normal_batches)
        new = normal.confirmed(connection, line.name)
    else:
        before = model_versions.snapshot_images(connection, refresh_of.model_version)
        vouched, parts = [row.image for row in before], {row.image.image_id: row.part for row in before}
        new = normal.newly_accepted(connection, line)
    unusable = normal.not_to_learn_from(connection, line.name)
    by_picture = {image.image_id: image for image in (*new, *vouched) if image.image_id not in unusable}
    return sorted(by_picture.values(), key=lambda image: (image.batch_id, image.name)), parts


def _delivered_px(chosen: Sequence[AcceptedImage]) -> tuple[int, int] | None:
    """Median rows and columns of the images; None if there are none."""
    if not chosen:
        return None
    height_px, width_px = np.median([(image.facts.height_px, image.facts.width_px) for image in chosen], axis=0)
    return int(height_px), int(width_px)
