"""Pixels that do not count: what an ignore mask covers, and what lies outside of the region of interest.

An array of such pixels is True where a pixel is ignored. It is made at the size of an image as delivered, and brought
to the size at which images are read in such a way that no pixel that counts holds anything of one that does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cae_pipeline.domain.images import Pixels

Ignored = NDArray[np.bool_]
"""True where a pixel is ignored, shape `(h, w)` or `(n, h, w)`."""


def outside_of(region_px: tuple[int, int, int, int], size_px: tuple[int, int]) -> Ignored:
    """Mark everything outside of a rectangle.

    Args:
        region_px: Left edge, top edge, width and height of the rectangle.
        size_px: Rows and columns of the image.

    Example:
        >>> outside_of((1, 0, 2, 1), (2, 3)).astype(int).tolist()
        [[1, 0, 0], [1, 1, 1]]
    """
    left, top, width, height = region_px
    ignored = np.ones(size_px, np.bool_)
    ignored[top : top + height, left : left + width] = False
    return ignored


def resized_ignored(ignored: Ignored, size_px: tuple[int, int]) -> Ignored:
    """Bring a mask to another size; a pixel of the result is ignored if any pixel that it is made of is.

    Args:
        ignored: Shape `(h, w)`.
        size_px: Rows and columns of the result.

    Example:
        >>> resized_ignored(np.array([[True, False, False, False]]), (1, 2)).tolist()
        [[True, False]]
    """
    if ignored.shape == tuple(size_px):
        return ignored
    (height, width), (rows, columns) = ignored.shape, size_px
    of_rows = np.stack([ignored[first:last].any(axis=0) for first, last in _seen(height, rows)])
    return np.stack([of_rows[:, first:last].any(axis=1) for first, last in _seen(width, columns)], axis=1)


def filled(images: Pixels, ignored: Ignored) -> Pixels:
    """Give the ignored pixels of each image the mean of its other pixels, so that nothing is left of what they showed.

    The mean of an image, which its gain follows, is then that of the pixels that count.

    Args:
        images: Shape `(n, h, w, c)`, integers.
        ignored: Shape `(h, w)` or `(n, h, w)`.

    Returns:
        Copies of the same shape and type; an image that is ignored altogether is black.
    """
    hidden = np.broadcast_to(ignored, images.shape[:3])
    counts = np.maximum((~hidden).sum(axis=(1, 2)), 1)[:, None]
    sums = np.where(hidden[..., None], 0, images).sum(axis=(1, 2), dtype=np.float64)
    means = np.rint(sums / counts).astype(images.dtype)
    return np.where(hidden[..., None], means[:, None, None, :], images)


def visible_box(ignored: Ignored) -> tuple[slice, slice]:
    """Find the smallest rectangle that holds all pixels that count; nothing of an image that is ignored altogether.

    Example:
        >>> visible_box(np.array([[True, False, False], [True, True, True]]))
        (slice(0, 1, None), slice(1, 3, None))
    """
    rows, columns = (np.flatnonzero((~ignored).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _seen(before: int, after: int) -> Iterator[tuple[int, int]]:
    """First and last (exclusive) of the pixels that each pixel of a resized side is made of."""
    scale = before / after
    # shrinking takes the mean of what a pixel covers, enlarging blends the two nearest
    reach = scale / 2 if scale >= 1 else 1.0
    for number in range(after):
        centre = (number + 0.5) * scale
        # a little less, so that an edge on a pixel's border takes no other pixel in
        yield max(0, math.floor(centre - reach + 1e-6)), min(before, math.ceil(centre + reach - 1e-6))
