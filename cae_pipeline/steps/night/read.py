"""Rows of images → pixels for the network; the same in training and in scoring."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa

from cae_pipeline.adapters.decoding import read_for_network
from cae_pipeline.concurrency.parallel import in_order
from cae_pipeline.domain.batch import Reason
from cae_pipeline.domain.images import Pixels
from cae_pipeline.domain.line import AutoencoderSettings
from cae_pipeline.errors import UnreadableImageError
from cae_pipeline.steps.services import Services


@dataclass(frozen=True)
class ReadImage:
    """One row and its pixels, or why it has none."""

    row: sa.RowMapping
    pixels: Pixels | None
    problem: str = ""


def read_images(
    rows: Sequence[sa.RowMapping], model: AutoencoderSettings, services: Services, *, doing: str
) -> Iterator[ReadImage]:
    """Read accepted images in their order, on all cores."""
    found = in_order(lambda row: read_image(row, model, services), rows)
    yield from services.progress(found, total=len(rows), doing=doing)


def stack(images: Sequence[ReadImage], model: AutoencoderSettings) -> Pixels:
    """Stack pixels, shape `(n, h, w, c)`, uint8; rows without pixels are left out."""
    pixels = [image.pixels for image in images if image.pixels is not None]
    return np.stack(pixels) if pixels else np.zeros((0, *model.read_px, model.channels), np.uint8)


def read_image(row: sa.RowMapping, model: AutoencoderSettings, services: Services) -> ReadImage:
    """Read one accepted image, checked against the digest it was accepted with."""
    try:
        content = services.landing.path(row["line"], row["batch_id"], row["name"]).read_bytes()
        if hashlib.sha256(content).hexdigest() != row["image_id"]:
            return ReadImage(row, None, f"{Reason.CHANGED}: other bytes than those that were validated")
        height_px, width_px = model.read_px
        pixels = read_for_network(
            content, services.limits, height_px=height_px, width_px=width_px, channels=model.channels
        )
        return ReadImage(row, pixels)
    except (UnreadableImageError, OSError) as error:
        return ReadImage(row, None, str(error))
