"""How the latent moves when only the camera or the light does: what tells a moved camera from another product."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from cae_pipeline.detector.scorer import Scorer
from cae_pipeline.domain.images import Floats, Pixels, white_of

SHIFT, DIAGONAL, DEGREES, ZOOM = 0.05, 0.035, 3.0, 0.06
"""Shares of the sides of an image, an angle, and a share of the distance: how far a bumped camera moves."""
STRAY_LIGHT = 14
"""Grey values of 255 added to every pixel, or taken from it."""
MAX_IMAGES = 64


def measure_nuisance_directions(scorer: Scorer, images: Pixels) -> Floats:
    """Move and light normal images as a bumped camera or a stray lamp would, and see where their mean latent goes.

    Args:
        scorer: Its networks give the latents.
        images: Shape `(n, *read_px, c)`, uint8 or uint16; the first 64 are enough.

    Returns:
        One direction for each change, shape `(14, latent_size)`, float32.
    """
    sample = images[:MAX_IMAGES]
    usual_mean = scorer.score(sample).latents.mean(axis=0)
    moved = [_moved(sample, matrix) for matrix in _matrices(sample.shape[1:3])]
    white = white_of(sample.dtype)
    stray = STRAY_LIGHT * white // 255
    lit = [np.clip(sample.astype(np.int32) + light, 0, white).astype(sample.dtype) for light in (stray, -stray)]
    return np.stack([scorer.score(changed).latents.mean(axis=0) - usual_mean for changed in (*moved, *lit)])


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
