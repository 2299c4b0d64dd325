"""Accepted images → pixels for the network; the same in training and in scoring."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cae_pipeline.adapters.decoding import read_for_network
from cae_pipeline.concurrency.parallel import in_order
from cae_pipeline.domain.images import Pixels
from cae_pipeline.domain.line import AutoencoderSettings
from cae_pipeline.domain.outcome import AcceptedImage, Failed, FailureReason
from cae_pipeline.errors import StorageError, UnreadableImageError
from cae_pipeline.steps.services import Services


@dataclass(frozen=True)
class ReadImage:
    """One image and its pixels, or why it can have none.

    Attributes:
        image: Where it lies.
        pixels: Shape `(*read_px, c)`, of the type that the model says; None if there are none.
        failure: Why there are none, for good; None if there are some.
    """

    image: AcceptedImage
    pixels: Pixels | None
    failure: Failed | None = None


def read_images(
    images: Sequence[AcceptedImage], model: AutoencoderSettings, services: Services, *, doing: str
) -> Iterator[ReadImage]:
    """Read accepted images in their order, on all cores; raises as `read_image`."""
    found = in_order(lambda image: read_image(image, model, services), images)
    yield from services.progress(found, total=len(images), doing=doing)


def stack(images: Sequence[ReadImage], model: AutoencoderSettings) -> Pixels:
    """Stack pixels, shape `(n, h, w, c)`, of the type that the model says; images without pixels are left out."""
    pixels = [image.pixels for image in images if image.pixels is not None]
    return np.stack(pixels) if pixels else np.zeros((0, *model.read_px, model.channels), model.pixel_type)


def read_image(image: AcceptedImage, model: AutoencoderSettings, services: Services) -> ReadImage:
    """Read one accepted image, checked against the digest it was accepted with.

    Raises:
        StorageError: If the landing zone cannot be read just now, or memory is short; a retry may help, so that this
            decides nothing about the image.
    """
    path = services.landing.path(image.line, image.batch_id, image.name)
    try:
        content = _content(path, services.landing.batch_folder(image.line, image.batch_id))
        if content is None:
            return ReadImage(image, None, Failed(FailureReason.MISSING, "the file is gone, its batch is still there"))
        if hashlib.sha256(content).hexdigest() != image.image_id:
            told = "other bytes than those that were validated"
            return ReadImage(image, None, Failed(FailureReason.CHANGED, told))
        height_px, width_px = model.read_px
        pixels = read_for_network(
            content,
            services.limits,
            height_px=height_px,
            width_px=width_px,
            channels=model.channels,
            images=model.images,
        )
        return ReadImage(image, pixels)
    except UnreadableImageError as error:
        return ReadImage(image, None, Failed(FailureReason.UNREADABLE, str(error)))
    except (OSError, MemoryError) as error:
        raise StorageError(path, error) from error


def _content(path: Path, batch_folder: Path) -> bytes | None:
    """Read a file; None if it is gone, or is none any more but a pipe or a folder, which nobody should wait for.

    A share that is not there takes the whole folder of the batch along, which is no answer.
    """
    try:
        return path.read_bytes() if stat.S_ISREG(path.stat().st_mode) else None
    except (FileNotFoundError, NotADirectoryError):
        if not batch_folder.is_dir():
            raise
        return None
