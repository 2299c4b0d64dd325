"""Draw what a model said of one image over the picture itself: its map, its boxes, and what it ignores."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import structlog

from cae_pipeline.adapters.decoding import decode
from cae_pipeline.adapters.results.model_versions import find_version
from cae_pipeline.detector.artefact import Artefact, load_artefact
from cae_pipeline.domain.ignoring import Ignored
from cae_pipeline.domain.image_settings import ImageSettings
from cae_pipeline.domain.images import Pixels
from cae_pipeline.domain.outcome import ScoredImage
from cae_pipeline.errors import ArtefactError
from cae_pipeline.reporting import pictures
from cae_pipeline.steps.night.load import read_artefact
from cae_pipeline.steps.services import Services

log = structlog.get_logger()


@dataclass(frozen=True)
class DrawnImage:
    """One image and what a model said of it.

    Attributes:
        content: Of the file, the bytes that were scored.
        mode: Pillow's name of the format as delivered.
        pixels: As delivered, shape `(h, w)` or `(h, w, 3)`, uint8.
        overlay: The same with map, boxes and hatched ignored places, shape `(h, w, 3)`, uint8, RGB.
        problem: What could not be drawn, for people; empty if everything could.
    """

    content: bytes
    mode: str
    pixels: Pixels
    overlay: Pixels
    problem: str = ""


def draw_image(row: ScoredImage, services: Services) -> DrawnImage:
    """Draw one image; without its map, which may have been removed, the boxes alone are drawn.

    Raises:
        OSError: If the file cannot be read.
        ArtefactError: If it holds other bytes than those that were scored.
        UnreadableImageError: If it cannot be decoded.
    """
    content = services.landing.path(row.line, row.batch_id, row.name).read_bytes()
    if hashlib.sha256(content).hexdigest() != row.image_id:
        raise ArtefactError("other bytes than those that were scored")
    sight = _sight_of(row.model_version, services)
    pixels, mode = decode(content, services.limits, sight.images)
    problem = ""
    try:
        # a map has a unit of its own; the threshold may be another one by now
        multiples = pictures.decode_map(services.workspace / row.map_uri) * np.float32(row.map_unit / row.threshold)
    except ArtefactError as error:
        multiples, problem = np.zeros((1, 1), np.float32), str(error)
    painted = pictures.overlay(pixels, multiples, ignored=sight.ignored)
    return DrawnImage(content, mode, pixels, pictures.framed(painted, row.regions), problem)


@dataclass(frozen=True)
class _Sight:
    """How a model reads images, and what of them it ignores."""

    images: ImageSettings = field(default_factory=ImageSettings)
    ignored: Ignored | None = None


def _sight_of(model_version: str, services: Services) -> _Sight:
    """How a model sees; where its files are gone, as the image states itself, which stops no picture."""
    with services.read() as connection:
        version = find_version(connection, model_version)
    try:
        return _sight_in(services.model_folder(version.artefact_sha256), version.artefact_sha256)
    except ArtefactError:
        pass
    try:
        return _sight(read_artefact(version, services))
    except ArtefactError as error:
        log.warning("model_not_looked_at", model_version=model_version, problem=str(error))
        return _Sight()


@lru_cache(maxsize=8)
def _sight_in(folder: Path, sha256: str) -> _Sight:
    """Read a model's files once for all pictures; a folder named by its digest does not change."""
    return _sight(load_artefact(folder, sha256=sha256))


def _sight(artefact: Artefact) -> _Sight:
    return _Sight(artefact.settings.images, artefact.ignored)
