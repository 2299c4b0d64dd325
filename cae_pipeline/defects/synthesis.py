"""Synthetic defects: places that are not normal and are known exactly, made from normal images.

A synthetic defect is an anomaly source, something that does not belong there, shown within an anomaly mask. Ten kinds
of mask times ten kinds of source give a hundred families, so that a model learns what is unusual rather than how one
kind of defect looks. They teach the autoencoder what to restore and the discriminators what to find, and judge a model
where nobody has labelled a real defect.

Source:
    Masks from thresholded noise, and synthetic defects as a yardstick: Zavrtanik et al., "DRAEM", ICCV 2021 (0.98 image
    AUROC on MVTec AD). Pieces and scars of the same image: Li et al., "CutPaste", CVPR 2021 (0.952). Restoring what was
    taken out: Zavrtanik et al., "RIAD", 2021 (0.917).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cae_pipeline.defects.masks import draw_mask
from cae_pipeline.defects.sources import draw_source
from cae_pipeline.domain.ignoring import Ignored, filled, visible_box
from cae_pipeline.domain.images import Floats, Pixels, gain_of, to_floats, to_pixels

VISIBLE = 0.02
"""Change of a pixel, of the range of an image of even gain, from which it counts as defective."""
MORE_THAN_ONE = 0.35
"""Chance that an image gets a further defect."""
OPAQUE = 0.5
"""Chance that a defect hides the image; the others let it shine through."""


@dataclass(frozen=True)
class SyntheticDefects:
    """Copies of normal images with synthetic defects.

    Attributes:
        images: Shape `(n, h, w, c)`, of the type of the normal images.
        masks: True where defective, shape `(n, h, w)`; in each mask somewhere.
    """

    images: Pixels
    masks: NDArray[np.bool_]


def with_defects(images: Pixels, *, seed: int, ignored: Ignored | None = None) -> SyntheticDefects:
    """Put one synthetic defect, sometimes more, into a copy of each image.

    Args:
        images: Normal images, shape `(n, h, w, c)`, uint8 or uint16.
        seed: The same seed puts the same defects into the same images.
        ignored: Pixels that get no defect, shape `(h, w)` or `(n, h, w)`; some of each image must be left. In the
            copies they are filled with the mean of the others.
    """
    random = np.random.default_rng(seed)
    if ignored is not None:
        return _with_defects_in_boxes(images, np.broadcast_to(ignored, images.shape[:3]), random)
    copies, masks = images.copy(), np.zeros(images.shape[:3], np.bool_)
    for index, image in enumerate(images):
        other_image = images[int(random.integers(len(images)))]
        copies[index], masks[index] = add_defects(image, other_image, random)
    return SyntheticDefects(copies, masks)


def _with_defects_in_boxes(images: Pixels, ignored: Ignored, random: np.random.Generator) -> SyntheticDefects:
    """Put defects into the smallest rectangle around what counts of each image: they are then as large as it wants."""
    plain = filled(images, ignored)
    copies, masks = plain.copy(), np.zeros(images.shape[:3], np.bool_)
    for index, image in enumerate(plain):
        box, other_image = visible_box(ignored[index]), plain[int(random.integers(len(plain)))]
        counts = ~ignored[index][box]
        while not masks[index].any():
            changed, mask = add_defects(image[box], other_image[box], random)
            copies[index][box] = np.where(counts[..., None], changed, image[box])
            masks[index][box] = mask & counts
    # the mean has moved with the defects
    return SyntheticDefects(filled(copies, ignored), masks)


def add_defects(image: Pixels, other_image: Pixels, random: np.random.Generator) -> tuple[Pixels, NDArray[np.bool_]]:
    """Put at least one visible defect into a copy of one image.

    Args:
        image: Shape `(h, w, c)`, uint8 or uint16.
        other_image: Another normal image of the same shape, which foreign texture is taken from.
        random: Draws masks, sources and places.

    Returns:
        The copy with its defects, and where they are, shape `(h, w)`.
    """
    floats, other_floats = to_floats(image), to_floats(other_image)
    gain = gain_of(floats[None])[0]
    other_even = other_floats * gain_of(other_floats[None])[0]
    while True:
        changed, mask = _draw_defects(floats * gain, other_even, gain, random)
        copy = to_pixels(changed / gain, image.dtype)
        # what rounding to grey values undoes is no defect
        mask = mask & (copy != image).any(axis=2)
        if mask.any():
            return copy, mask


def _draw_defects(
    image: Floats, other_image: Floats, brightest: Floats, random: np.random.Generator
) -> tuple[Floats, NDArray[np.bool_]]:
    """Draw defects into an image of even gain until one is visible, and by chance further ones.

    Args:
        image: Shape `(h, w, c)`, float32.
        other_image: Another normal image of even gain.
        brightest: The value of white at this gain, to which the result is clipped.
        random: Draws everything.
    """
    mask = np.zeros(image.shape[:2], np.bool_)
    while not mask.any() or random.random() < MORE_THAN_ONE:
        opacity = draw_mask(image.shape[:2], random) * (1.0 if random.random() < OPAQUE else random.uniform(0.25, 1))
        source = draw_source(image, other_image, random)
        blended = (image + opacity[..., None] * (source - image)).astype(np.float32)
        mask = mask | (np.abs(blended - image).max(axis=2) > VISIBLE)
        image = np.clip(blended, 0, brightest)
    return image, mask
