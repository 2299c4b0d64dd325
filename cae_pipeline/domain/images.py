"""The array contract: uint8 or uint16 `(h, w[, c])` as decoded, float32 `(n, h, w, c)` in [0, 1] for the network.

Whole numbers use the range of their type: white is 255 in uint8 and 65535 in uint16, whatever the camera's bit depth.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8 | np.uint16]
"""Of one type within an array: uint16 only where more than 8 bits per sample are kept."""
Floats: TypeAlias = NDArray[np.float32]
HalfFloats: TypeAlias = NDArray[np.float16]
"""How a training keeps what it learns from: an eighth of a grey value is fine enough."""
AnyFloats: TypeAlias = NDArray[np.floating[Any]]
"""Either of them."""

# ITU-R BT.601, the weights of JPEG and of Pillow's convert("L")
LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)

EVEN_BRIGHTNESS = 0.4
"""Mean to which images are scaled: below the middle, since highlights reach further up than shadows down."""
DARKEST = 0.02
"""Means below it are not scaled up any further: what is left there is noise."""


def with_channels(image: Pixels, channels: int) -> Pixels:
    """Give an image the number of channels the network was built for.

    Args:
        image: Shape `(h, w)`, `(h, w, 1)` or `(h, w, 3)`, uint8 or uint16.
        channels: 1 (greyscale, by luminance) or 3 (colour; greys are repeated).

    Returns:
        Shape `(h, w, channels)`, of the same type.

    Example:
        >>> with_channels(np.zeros((4, 6, 3), np.uint8), 1).shape
        (4, 6, 1)
    """
    cube = image[..., None] if image.ndim == 2 else image
    if cube.shape[2] == channels:
        return cube
    if channels == 1:
        grey: Pixels = np.rint(cube.astype(np.float32) @ LUMINANCE).astype(cube.dtype)
        return grey[..., None]
    return np.repeat(cube, channels, axis=2)


def to_floats(images: Pixels) -> Floats:
    """Scale uint8 in [0, 255] or uint16 in [0, 65535] to float32 in [0, 1]; the shape stays."""
    return images.astype(np.float32) / np.float32(white_of(images.dtype))


def white_of(kind: np.dtype[Any]) -> int:
    """The highest value of a type of whole numbers: 255 or 65535."""
    return int(np.iinfo(kind).max)


def full_range(values: NDArray[np.uint16], white: int) -> NDArray[np.uint16]:
    """Stretch samples of fewer bits to all 16, so that each grey level stays one of its own.

    Args:
        values: Any shape, uint16; what is higher than `white` becomes white.
        white: The highest value a sample may have, 1 to 65535.

    Example:
        >>> full_range(np.array([0, 1, 4095], np.uint16), 4095).tolist()
        [0, 16, 65535]
    """
    if white == white_of(values.dtype):
        return values
    levels = np.minimum(np.arange(2**16, dtype=np.uint32), white)
    table = ((levels * np.uint64(65535) + white // 2) // white).astype(np.uint16)
    return table[values]


def to_eight_bits(images: Pixels) -> NDArray[np.uint8]:
    """Round uint16 to the nearest of 256 grey values; uint8 stays as it is, and so does the shape."""
    if images.dtype == np.uint8:
        return images  # type: ignore[return-value]
    table = ((np.arange(2**16, dtype=np.uint32) + 128) // 257).astype(np.uint8)
    return table[images]


def even_gain(images: Floats) -> Floats:
    """Scale each image to one mean brightness, so that the lamp and the exposure have no say.

    Args:
        images: Shape `(n, h, w, c)`, float32 in [0, 1].

    Returns:
        The same shape, clipped to [0, 1].
    """
    evened: Floats = np.clip(images * gain_of(images), 0, 1)
    return evened


def gain_of(images: Floats) -> Floats:
    """Factor that brings each image's mean to `EVEN_BRIGHTNESS`; shape `(n, 1, 1, 1)`, > 0."""
    mean = images.mean(axis=(1, 2, 3), keepdims=True, dtype=np.float64)
    gain: Floats = (EVEN_BRIGHTNESS / np.maximum(mean, DARKEST)).astype(np.float32)
    return gain


def to_pixels(images: Floats, kind: type[np.uint8] | np.dtype[Any] = np.uint8) -> Pixels:
    """Scale float32 in [0, 1] to the whole range of uint8 or uint16, clipping what lies outside; the shape stays."""
    pixels: Pixels = np.rint(np.clip(images, 0, 1) * white_of(np.dtype(kind))).astype(kind)
    return pixels


def resized(maps: Floats, size_px: tuple[int, ...]) -> Floats:
    """Resize maps of shape `(n, h, w)` by linear interpolation between the centres of cells."""
    if maps.shape[1:] == tuple(size_px):
        return maps
    for axis, size in enumerate(size_px, start=1):
        centres = (np.arange(size) + 0.5) * maps.shape[axis] / size - 0.5
        low = np.clip(np.floor(centres).astype(int), 0, maps.shape[axis] - 1)
        high = np.minimum(low + 1, maps.shape[axis] - 1)
        share = np.clip(centres - low, 0, 1).astype(np.float32)
        share = share.reshape(tuple(size if number == axis else 1 for number in range(3)))
        maps = maps.take(low, axis) * (1 - share) + maps.take(high, axis) * share
    return maps
