"""Synthetic defects: damage whose place is known, made from the images themselves.

A defect is a shape filled with something that does not belong there. Ten shapes times ten fillings
give a hundred families, so that a model learns what is unusual rather than how one kind of damage
looks. They teach the autoencoder what to undo and the discriminator what to find, and judge a model
where nobody has labelled a real defect.

Source:
    Shapes from thresholded noise, and damage as a yardstick: Zavrtanik et al., "DRAEM", ICCV 2021
    (0.98 image AUROC on MVTec AD). Pieces and scars of the same image: Li et al., "CutPaste", CVPR
    2021 (0.952). Restoring what was taken out: Zavrtanik et al., "RIAD", 2021 (0.917).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cae_pipeline.defects.masks import draw_mask
from cae_pipeline.defects.sources import draw_source
from cae_pipeline.domain.images import Floats, Pixels, gain_of, to_floats, to_pixels

VISIBLE = 0.02
"""Change of a pixel, of the range of an image of even gain, from which it counts as defective."""
MORE_THAN_ONE = 0.35
"""Chance that an image gets a further defect."""


@dataclass(frozen=True)
class SyntheticDefects:
    """Copies of normal images with synthetic defects.

    Attributes:
        images: Shape `(n, h, w, c)`, uint8.
        masks: True where defective, shape `(n, h, w)`.
    """

    images: Pixels
    masks: NDArray[np.bool_]


def with_defects(images: Pixels, *, seed: int) -> SyntheticDefects:
    """Put one synthetic defect, sometimes two, into each image.

    Args:
        images: Normal images, shape `(n, h, w, c)`, uint8.
        seed: The same seed damages the same images in the same way.
    """
    random = np.random.default_rng(seed)
    defective, masks = images.copy(), np.zeros(images.shape[:3], np.bool_)
    for index in range(len(images)):
        other_image = images[int(random.integers(len(images)))]
        defective[index], masks[index] = damage(images[index], other_image, random)
    return SyntheticDefects(defective, masks)


def damage(image: Pixels, other_image: Pixels, random: np.random.Generator) -> tuple[Pixels, NDArray[np.bool_]]:
    """Damage one image visibly.

    Args:
        image: Shape `(h, w, c)`, uint8.
        other_image: Another normal image of the same shape, from which foreign texture is taken.
        random: Draws shape, source and place.

    Returns:
        The defective copy and where it was defective, shape `(h, w)`.
    """
    gain = gain_of(to_floats(image[None]))[0]
    before, foreign = to_floats(image) * gain, to_floats(other_image) * gain_of(to_floats(other_image[None]))[0]
    after, mask = before, np.zeros(image.shape[:2], np.bool_)
    while not mask.any() or random.random() < MORE_THAN_ONE:
        after, mask = _once(after, foreign, mask, random)
        after = np.clip(after, 0, gain)
    defective = to_pixels(after / gain)
    mask &= (defective != image).any(axis=2)
    return (defective, mask) if mask.any() else damage(image, other_image, random)


def _once(
    image: Floats, other_image: Floats, mask: NDArray[np.bool_], random: np.random.Generator
) -> tuple[Floats, NDArray[np.bool_]]:
    opacity = draw_mask(image.shape[:2], random) * (1.0 if random.random() < 0.5 else random.uniform(0.25, 1))
    source = draw_source(image, other_image, random)
    after = (image + opacity[..., None] * (source - image)).astype(np.float32)
    return after, mask | (np.abs(after - image).max(axis=2) > VISIBLE)
