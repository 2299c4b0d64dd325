"""The normal images that one training sees."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
import structlog

from cae_pipeline.adapters.results import images as image_rows
from cae_pipeline.core.images import Pixels
from cae_pipeline.core.line import AutoencoderSettings, Line
from cae_pipeline.core.tiling import with_tiles
from cae_pipeline.errors import TooFewNormalImagesError
from cae_pipeline.steps.find import is_normal_batch
from cae_pipeline.steps.read import read_images, stack
from cae_pipeline.steps.services import Services
from cae_pipeline.steps.validate import validate_batch

log = structlog.get_logger()


@dataclass(frozen=True)
class Snapshot:
    """The images one training sees, and the network's knobs with the tiles those images need."""

    rows: tuple[sa.RowMapping, ...]
    pixels: Pixels
    model: AutoencoderSettings
    sha256: str

    @property
    def image_ids(self) -> list[str]:
        """Digests of the images, in their order."""
        return [row["image_id"] for row in self.rows]


def take_snapshot(line: Line, services: Services) -> Snapshot:
    """Validate the line's normal batches where that has not been done, and read their images."""
    patterns = line.training.normal_batches
    for batch_id in services.landing.batch_ids(line.name):
        if is_normal_batch(line, batch_id):
            validate_batch(line, batch_id, services)
    rows = image_rows.normal_images(services.engine, line.name, patterns)
    model = _settled(line, rows)
    read = list(read_images(rows, model, services, doing=f"read {line.name}"))
    good = [image for image in read if image.pixels is not None]
    for image in read:
        if image.pixels is None:
            log.warning("normal_image_left_out", name=image.row["name"], problem=image.problem)
    if not good:
        raise TooFewNormalImagesError(
            f"training line {line.name!r}",
            received=0,
            needed=1,
            advice=f"Put normal images into {services.landing.folder / line.name}/<batch_id>/ with a batch_id like "
            f"{' or '.join(patterns)}.",
        )
    members = [(row["image_id"], row["name"]) for row in (image.row for image in good)]
    sha256 = hashlib.sha256(json.dumps(sorted(members)).encode()).hexdigest()
    return Snapshot(tuple(image.row for image in good), stack(good, model), model, sha256)


def _settled(line: Line, rows: Sequence[sa.RowMapping]) -> AutoencoderSettings:
    if not rows:
        return line.model
    height, width = (int(np.median([row[name] for row in rows])) for name in ("height_px", "width_px"))
    return with_tiles(line.model, delivered_px=(height, width))
