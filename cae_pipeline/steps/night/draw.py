"""Draw what a model said of one image over the picture itself: its map, its boxes, and what it ignores."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import structlog

from cae_pipeline.adapters.decoding import decode
from cae_pipeline.adapters.results.model_versions import find_version
from cae_pipeline.detector.artefact import load_artefact
from cae_pipeline.domain.ignoring import Ignored
from cae_pipeline.domain.images import Pixels
from cae_pipeline.domain.outcome import ScoredImage
from cae_pipeline.errors import ArtefactError
from cae_pipeline.reporting import pictures
from cae_pipeline.steps.night.load import read_artefact
from cae_pipeline.steps.services import Services

log = structlog.get_logger()

IGNORED_SHARE = "ignored_share"
"""Figure of a model version: the share of the image that it ignores; only a model that ignores something has it."""


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
    pixels, mode = decode(content, services.limits)
    problem = ""
    try:
        # a map has a unit of its own; the threshold may be another one by now
        multiples = pictures.decode_map(services.workspace / row.map_uri) * np.float32(row.map_unit / row.threshold)
    except ArtefactError as error:
        multiples, problem = np.zeros((1, 1), np.float32), str(error)
    painted = pictures.overlay(pixels, multiples, ignored=ignored_by(row.model_version, services))
    return DrawnImage(content, mode, pixels, pictures.framed(painted, row.regions), problem)


def ignored_by(model_version: str, services: Services) -> Ignored | None:
    """What of the images a model ignores; None also where its files are gone, which stops no picture."""
    with services.read() as connection:
        version = find_version(connection, model_version)
    if IGNORED_SHARE not in version.figures:
        return None
    try:
        return _mask_in(services.model_folder(version.artefact_sha256), version.artefact_sha256)
    except ArtefactError:
        pass
    try:
        return read_artefact(version, services).ignored
    except ArtefactError as error:
        log.warning("ignore_mask_not_drawn", model_version=model_version, problem=str(error))
        return None


@lru_cache(maxsize=8)
def _mask_in(folder: Path, sha256: str) -> Ignored | None:
    """Read a mask once for all pictures; a folder named by its digest does not change."""
    return load_artefact(folder, sha256=sha256).ignored
