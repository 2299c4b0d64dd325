"""Synthetic defects: damage whose place is known, made from the images themselves.

They judge a model where nobody has labelled a real defect. Three families: foreign patches,
thin scratches and stains.

Source:
    Patches from other images: Li et al., "CutPaste", CVPR 2021. Damage as a yardstick without
    labels: Zavrtanik et al., "DRAEM", ICCV 2021.
"""

from __future__ import annotations

import cv2
import numpy as np

from cae_pipeline.core.images import Pixels


def with_defects(images: Pixels, *, seed: int) -> Pixels:
    """Put one synthetic defect into each image, the families taking turns.

    Args:
        images: Normal images, shape `(n, h, w, c)`, uint8.
        seed: The same seed damages the same images in the same way.

    Returns:
        Damaged copies of the same shape.
    """
    random = np.random.default_rng(seed)
    damaged = images.copy()
    families = (_patch, _scratch, _stain)
    for index in range(len(images)):
        donor = images[int(random.integers(len(images)))]
        damaged[index] = families[index % len(families)](images[index], donor, random)
    return damaged


def _patch(image: Pixels, donor: Pixels, random: np.random.Generator) -> Pixels:
    """Paste a turned piece of another image somewhere else."""
    height, width = image.shape[:2]
    rows, columns = (max(2, int(size * random.uniform(0.08, 0.25))) for size in (height, width))
    top, left = int(random.integers(height - rows + 1)), int(random.integers(width - columns + 1))
    from_top, from_left = int(random.integers(height - rows + 1)), int(random.integers(width - columns + 1))
    result = image.copy()
    result[top : top + rows, left : left + columns] = donor[
        from_top : from_top + rows, from_left : from_left + columns
    ][::-1, ::-1]
    return result


def _scratch(image: Pixels, donor: Pixels, random: np.random.Generator) -> Pixels:
    """Draw a thin jagged line, darker or brighter than what it crosses."""
    height, width = image.shape[:2]
    steps = random.normal(0, 0.06, (6, 2)).cumsum(axis=0) + random.uniform(0.2, 0.8, 2)
    points = np.clip(steps, 0, 1) * (width - 1, height - 1)
    mask = np.zeros((height, width), np.uint8)
    thickness = max(1, round(min(height, width) / 64))
    cv2.polylines(mask, [points.astype(np.int32)], isClosed=False, color=255, thickness=thickness)
    return _shade(image, mask, random)


def _stain(image: Pixels, donor: Pixels, random: np.random.Generator) -> Pixels:
    """Lay a soft ellipse over the image, darker or brighter than what it covers."""
    height, width = image.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    centre = (int(random.integers(width)), int(random.integers(height)))
    axes = (max(2, int(width * random.uniform(0.04, 0.15))), max(2, int(height * random.uniform(0.04, 0.15))))
    cv2.ellipse(mask, centre, axes, float(random.uniform(0, 180)), 0, 360, 255, -1)
    return _shade(image, cv2.GaussianBlur(mask, (0, 0), max(1.0, min(height, width) / 64)), random)


def _shade(image: Pixels, mask: Pixels, random: np.random.Generator) -> Pixels:
    change = random.uniform(40, 110) * random.choice((-1, 1))
    shaded = image + (mask[..., None].astype(np.float32) / 255) * change
    pixels: Pixels = np.clip(shaded, 0, 255).astype(np.uint8)
    return pixels
