"""How the latent of normal images moves when the camera does: what drift is told from another product by."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from cae_pipeline.detector.scorer import Scorer
from cae_pipeline.domain.images import Floats, Pixels

SHIFT, DIAGONAL, DEGREES, ZOOM = 0.05, 0.035, 3.0, 0.06
"""Shares of the image's sides, an angle, and a share of the distance: what a camera that was bumped into shows."""
STRAY_LIGHT = 14
"""Grey values added to every pixel, or taken from it."""
MAX_IMAGES = 64


def measure_nuisance_directions(scorer: Scorer, images: Pixels) -> Floats:
    """Move normal images as a camera would, and see where their mean latent goes.

    Args:
        scorer: Its networks give the latents.
        images: Shape `(n, *read_px, c)`, uint8; the first 64 are enough.

    Returns:
        One direction per movement, shape `(14, latent_size)`, float32.
    """
    some = images[:MAX_IMAGES]
    usual = scorer.score(some).latents.mean(axis=0)
    moved = [_moved(some, matrix) for matrix in _matrices(some.shape[1:3])]
    lit = [np.clip(some.astype(np.int16) + light, 0, 255).astype(np.uint8) for light in (STRAY_LIGHT, -STRAY_LIGHT)]
    return np.stack([scorer.score(images).latents.mean(axis=0) - usual for images in (*moved, *lit)])


def _matrices(size_px: tuple[int, ...]) -> Iterator[Floats]:
    height, width = size_px
    centre = ((width - 1) / 2, (height - 1) / 2)
    for across, down in ((SHIFT, 0.0), (0.0, SHIFT), (DIAGONAL, DIAGONAL), (DIAGONAL, -DIAGONAL)):
        for sign in (1, -1):
            yield np.array([[1, 0, sign * across * width], [0, 1, sign * down * height]], np.float32)
    for angle, zoom in ((DEGREES, 1.0), (-DEGREES, 1.0), (0.0, 1 + ZOOM), (0.0, 1 - ZOOM)):
        yield cv2.getRotationMatrix2D(centre, angle, zoom).astype(np.float32)


def _moved(images: Pixels, matrix: Floats) -> Pixels:
    height, width, channels = images.shape[1:]
    moved = [cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE) for image in images]
    return np.stack(moved).reshape(len(images), height, width, channels)
