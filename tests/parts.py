"""Computed pictures of striped parts, which show which way up they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def striped_part(seed: int, *, light: float = 1.0) -> NDArray[np.uint8]:
    """Draw a part with three bars across, some grain and noise of the sensor; shape `(128, 128)`."""
    random = np.random.default_rng(seed)
    image = 150 + ndimage.gaussian_filter(random.normal(0, 60, (128, 128)), 2)
    for bar in (24, 64, 104):
        start = bar + int(random.integers(-2, 3))
        image[start : start + 5] -= random.uniform(40, 70)
    image = light * image + random.normal(0, 2, image.shape)
    return np.asarray(np.clip(image, 0, 255), np.uint8)


def speckled_part(seed: int) -> NDArray[np.uint8]:
    """Draw another product: coarse speckles that run no way in particular; shape `(128, 128)`."""
    random = np.random.default_rng(seed)
    speckles = ndimage.gaussian_filter(random.normal(0, 1, (128, 128)), 2)
    return np.asarray(np.clip(120 + 300 * speckles + random.normal(0, 2, speckles.shape), 0, 255), np.uint8)


def scratched(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Add a defect: a dark scratch down the part."""
    part = image.copy()
    part[20:60, 50:54] = 40
    return part
