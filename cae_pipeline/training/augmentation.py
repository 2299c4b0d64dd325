"""Which flips leave the images of a line as normal as they were.

A part that always lies the same way must not be flipped in training: the model would learn that lying the other way is
normal. The images tell it themselves. If a flipped image is no further from its nearest neighbour among the others than
it was before, the flip is harmless.
"""

from __future__ import annotations

import numpy as np

from cae_pipeline.domain.ignoring import Ignored
from cae_pipeline.domain.images import Floats
from cae_pipeline.domain.line import Augmentation

HARMLESS = 1.05
"""A harmless flip puts an image at most so many times as far from the others as it was, in the median."""
MAX_IMAGES = 400

AUGMENTATIONS: dict[Augmentation, tuple[int, ...]] = {
    "flip_horizontal": (2,),
    "flip_vertical": (1,),
    "rotate_180": (1, 2),
}
"""The axes of `(n, h, w, c)` that each augmentation reverses."""


def harmless_augmentations(images: Floats, ignored: Ignored | None = None) -> tuple[Augmentation, ...]:
    """Find the flips that the images themselves show to be harmless.

    Args:
        images: Normal images of even gain, shape `(n, h, w, c)`, float32 in [0, 1].
        ignored: Pixels that have no say, wherever a flip takes them to, shape `(h, w)`.

    Returns:
        Their names; none for fewer than 8 images.
    """
    sample = images[:MAX_IMAGES]
    if len(sample) < 8:
        return ()
    return tuple(name for name, axes in AUGMENTATIONS.items() if _ratio(sample, axes, ignored) <= HARMLESS)


def draw_augmentations(
    count: int, augmentations: tuple[Augmentation, ...], random: np.random.Generator
) -> list[tuple[int, ...]]:
    """Draw for each of `count` images `(h, w, c)` the axes to reverse: those of one of the augmentations, or none."""
    choices: list[tuple[int, ...]] = [(), *(tuple(axis - 1 for axis in AUGMENTATIONS[name]) for name in augmentations)]
    return [choices[int(random.integers(len(choices)))] for _ in range(count)]


def _ratio(sample: Floats, axes: tuple[int, ...], ignored: Ignored | None) -> float:
    """How many times as far from the others a flip puts an image, in the median."""
    if ignored is not None:
        either = ignored | np.flip(ignored, tuple(axis - 1 for axis in axes))
        sample = np.where(either[:, :, None], np.float32(0), sample)
    return float(np.median(_nearest(np.flip(sample, axes), sample) / _nearest(sample, sample)))


def _nearest(images: Floats, among: Floats) -> Floats:
    """Distance of each image to the nearest other; an image is never its own neighbour."""
    one, other = images.reshape(len(images), -1), among.reshape(len(among), -1)
    squares = (one**2).sum(1)[:, None] + (other**2).sum(1)[None] - 2 * one @ other.T
    np.fill_diagonal(squares, np.inf)
    nearest: Floats = np.sqrt(np.maximum(squares.min(axis=1), 1e-12))
    return nearest
