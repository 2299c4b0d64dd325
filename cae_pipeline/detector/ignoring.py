"""Which places of each tile are ignored, at the sizes that the parts of a detector work at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from cae_pipeline.detector.tiling import CELL_PX, cut
from cae_pipeline.domain.ignoring import Ignored, filled, resized_ignored, visible_box
from cae_pipeline.domain.images import Pixels
from cae_pipeline.domain.line import AutoencoderSettings

MIN_VISIBLE_SHARE = 0.05
"""Of the smallest rectangle around all that counts in a tile: with less a training cannot place defects in it."""


@dataclass(frozen=True, eq=False)
class IgnoredPlaces:
    """What is ignored in some tiles.

    Attributes:
        pixels: Of each tile of an image, shape `(tiles, *tile_px)`; all images of a line share them.
        numbers: Which tile of its image each of the tiles in question is, shape `(n,)`.
    """

    pixels: Ignored
    numbers: NDArray[np.intp]
    _pooled: dict[tuple[int, ...], Ignored] = field(default_factory=dict, repr=False)

    @classmethod
    def of_images(cls, ignored: Ignored, model: AutoencoderSettings, *, count: int) -> IgnoredPlaces:
        """Cut a mask as images are cut.

        Args:
            ignored: At the size of images as delivered, or another of this aspect, shape `(h, w)`.
            model: With `tiles` settled.
            count: Number of images, whose tiles lie one behind the other.
        """
        read = resized_ignored(ignored, model.read_px)
        pixels = cut(read[None, :, :, None].astype(np.uint8), model)[..., 0] > 0
        return cls(pixels, np.tile(np.arange(len(pixels)), count))

    def of(self, positions: NDArray[np.int_] | NDArray[np.bool_] | slice) -> IgnoredPlaces:
        """The same for some of the tiles."""
        return replace(self, numbers=self.numbers[positions])

    def at(self, size_px: Sequence[int]) -> Ignored:
        """Say which places of maps of the tiles are ignored: those that see ignored pixels alone.

        Args:
            size_px: Rows and columns of the maps, divisors of those of a tile.

        Returns:
            Shape `(n, *size_px)`.
        """
        rows, columns = size_px
        if (rows, columns) not in self._pooled:
            count, height, width = self.pixels.shape
            blocks = self.pixels.reshape(count, rows, height // rows, columns, width // columns)
            self._pooled[rows, columns] = np.asarray(blocks.all(axis=(2, 4)))
        return self._pooled[rows, columns][self.numbers]

    @property
    def in_pixels(self) -> Ignored:
        """The ignored pixels of each tile, shape `(n, *tile_px)`."""
        return self.pixels[self.numbers]

    def filled(self, tiles: Pixels) -> Pixels:
        """Take away what the ignored pixels of the tiles show; shape `(n, *tile_px, c)`."""
        return filled(tiles, self.in_pixels)

    @property
    def is_usable(self) -> NDArray[np.bool_]:
        """Which of the tiles show enough to learn from, shape `(n,)`."""
        return np.array([_shows_enough(one) for one in self.pixels])[self.numbers]


def _shows_enough(ignored: Ignored) -> bool:
    counts = ~ignored[visible_box(ignored)]
    return min(counts.shape) >= CELL_PX and float(counts.mean()) >= MIN_VISIBLE_SHARE
