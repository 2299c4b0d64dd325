"""The array contract: uint8 `(h, w[, c])` as decoded, float32 `(n, h, w, c)` in [0, 1] for the network."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]

# ITU-R BT.601, the weights of JPEG and of Pillow's convert("L")
LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def with_channels(image: Pixels, channels: int) -> Pixels:
    """Give an image the number of channels the network was built for.

    Args:
        image: Shape `(h, w)`, `(h, w, 1)` or `(h, w, 3)`, uint8.
        channels: 1 (greyscale, by luminance) or 3 (colour; greys are repeated).

    Returns:
        Shape `(h, w, channels)`, uint8.

    Example:
        >>> with_channels(np.zeros((4, 6, 3), np.uint8), 1).shape
        (4, 6, 1)
    """
    cube = image[..., None] if image.ndim == 2 else image
    if cube.shape[2] == channels:
        return cube
    if channels == 1:
        grey: Pixels = np.rint(cube.astype(np.float32) @ LUMINANCE).astype(np.uint8)
        return grey[..., None]
    return np.repeat(cube, channels, axis=2)


def to_floats(images: Pixels) -> Floats:
    """Scale uint8 in [0, 255] to float32 in [0, 1]; the shape stays."""
    return images.astype(np.float32) / np.float32(255)


def to_pixels(images: Floats) -> Pixels:
    """Scale float32 in [0, 1] to uint8 in [0, 255], clipping what lies outside; the shape stays."""
    pixels: Pixels = np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)
    return pixels
