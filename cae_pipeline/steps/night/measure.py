"""Measure the members of a delivery, from the bytes that were announced and no others."""

from __future__ import annotations

from collections.abc import Sequence

from cae_pipeline.adapters import storage
from cae_pipeline.adapters.decoding import Measured, measure_files
from cae_pipeline.domain.batch import Delivery
from cae_pipeline.domain.image_settings import ImageSettings
from cae_pipeline.domain.outcome import Reason, ValidatedImage
from cae_pipeline.errors import StorageError
from cae_pipeline.steps.services import Services


def measure_members(
    delivery: Delivery, earlier: Sequence[ValidatedImage], how: ImageSettings, services: Services
) -> list[Measured]:
    """Measure the members that are there, and hold each one's bytes against those that were announced.

    What was measured of a member in an earlier delivery, and is not there any more, is measured still.

    Args:
        delivery: What has come.
        earlier: The members of the delivery before it.
        how: How pixels are read.
        services: The outside world.

    Raises:
        StorageError: If a file cannot be read just now.
    """
    folder = services.landing.folder / delivery.line / delivery.batch_id
    paths = [services.landing.path(delivery.line, delivery.batch_id, member.name) for member in delivery.members]
    is_there = [storage.is_readable(path) for path in paths]
    present = [path for path, there in zip(paths, is_there, strict=True) if there]
    before = {(image.name, image.image_id): _as_before(image) for image in earlier if image.image_id}
    doing = f"validate {delivery.line}/{delivery.batch_id}"
    try:
        measured = measure_files(present, services.limits, how)
        decoded = iter(services.progress(measured, total=len(present), doing=doing))
        found = [
            next(decoded) if there else before.get((member.name, member.sha256), _MISSING)
            for member, there in zip(delivery.members, is_there, strict=True)
        ]
    except OSError as error:
        raise StorageError(folder, error) from error
    return [
        _changed(member.sha256) if result.sha256 and result.sha256 != member.sha256 else result
        for member, result in zip(delivery.members, found, strict=True)
    ]


def _as_before(image: ValidatedImage) -> Measured:
    return Measured(image.facts, image.reason if image.facts is None else None, image.detail, image.image_id)


_MISSING = Measured(None, Reason.MISSING, "named in the manifest, not there")


def _changed(announced: str) -> Measured:
    return Measured(None, Reason.CHANGED, f"not the bytes of sha256 {announced[:12]}… as announced")
