"""One image → overlapping tiles, and the maps of the tiles → one map.

A defect of a few pixels vanishes when a large image is shrunk to what the network sees. Large images are therefore cut
into tiles that are judged one by one. They overlap, so that a defect on a seam is whole in one of them.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from cae_pipeline.domain.images import Floats, Pixels
from cae_pipeline.domain.line import TILE_OVERLAP, AutoencoderSettings
from cae_pipeline.errors import ConfigurationError

CELL_PX = 16
"""Side of the cells that have local features, in pixels of a tile."""
VISIBLE_PX = 4
"""Pixels a defect must still measure, in the image as it is read, to be seen."""
MAX_TILES = 8
"""Along one side: more would cost more than they show."""


def with_tiles(model: AutoencoderSettings, *, delivered_px: tuple[int, int]) -> AutoencoderSettings:
    """Work out how many tiles images are cut into, where the knob does not say it.

    Args:
        model: The knobs; `tiles` given is kept.
        delivered_px: Rows and columns of the images as delivered.

    Returns:
        The knobs with `tiles` set.

    Example:
        >>> with_tiles(AutoencoderSettings(smallest_defect_px=8), delivered_px=(1024, 1024)).tiles
        (2, 2)
        >>> with_tiles(AutoencoderSettings(), delivered_px=(1024, 1024)).tiles
        (1, 1)
    """
    if model.tiles is not None:
        return model
    if model.smallest_defect_px is None:
        return replace(model, tiles=(1, 1))
    needed = [side * VISIBLE_PX / model.smallest_defect_px for side in delivered_px]
    down, across = (
        min(MAX_TILES, max(1, math.ceil(needed_px / tile_px)))
        for needed_px, tile_px in zip(needed, model.tile_px, strict=True)
    )
    return replace(model, tiles=(down, across))


def check_cells(model: AutoencoderSettings) -> None:
    """Make sure that a tile consists of whole cells.

    Raises:
        ConfigurationError: If it is not; says which values of `feature_resolution` would fit.
    """
    if any(side % CELL_PX for side in model.tile_px):
        fitting = [
            resolution
            for resolution in range(1, 17)
            if not (model.height_px * resolution % CELL_PX or model.width_px * resolution % CELL_PX)
        ]
        raise ConfigurationError(
            f"feature_resolution {model.feature_resolution} times {model.height_px} × {model.width_px} px is "
            f"{model.tile_px[0]} × {model.tile_px[1]} px, expected multiples of {CELL_PX}. "
            f"Values that fit: {fitting or 'none'}."
        )


def cut(images: Pixels, model: AutoencoderSettings) -> Pixels:
    """Cut images into tiles.

    Args:
        images: Shape `(n, *model.read_px, c)`, of the type that the model says.
        model: With `tiles` settled, or none.

    Returns:
        Shape `(n * tiles, *model.tile_px, c)`, the tiles of an image side by side.
    """
    down, across = model.tiles or (1, 1)
    if (down, across) == (1, 1):
        return images
    height, width = model.tile_px
    starts = [(row, column) for row in _starts(down, height) for column in _starts(across, width)]
    parts = [images[:, top : top + height, left : left + width] for top, left in starts]
    return np.stack(parts, axis=1).reshape(-1, height, width, images.shape[3])


def join(maps: Floats, model: AutoencoderSettings) -> Floats:
    """Put the maps of tiles together. Where tiles overlap, the larger value counts.

    Args:
        maps: Shape `(n * tiles, height_px, width_px, c)`, float32.
        model: As they were cut by.

    Returns:
        Shape `(n, h, w, c)`.
    """
    down, across = model.tiles or (1, 1)
    if (down, across) == (1, 1):
        return maps
    height, width, channels = maps.shape[1:]
    tops, lefts = _starts(down, height), _starts(across, width)
    per_image = maps.reshape(-1, down * across, height, width, channels)
    whole = np.full((len(per_image), tops[-1] + height, lefts[-1] + width, channels), -np.inf, np.float32)
    for number, (top, left) in enumerate((row, column) for row in tops for column in lefts):
        place = whole[:, top : top + height, left : left + width]
        np.maximum(place, per_image[:, number], out=place)
    return whole


def _starts(count: int, side: int) -> list[int]:
    return [number * (side - side // TILE_OVERLAP) for number in range(count)]
