"""Normal tiles → what every part of a model sees of them, whole and with synthetic defects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cae_pipeline.concurrency.parallel import in_order
from cae_pipeline.defects.synthesis import with_defects
from cae_pipeline.domain.images import AnyFloats, Floats, Pixels, even_gain, gain_of, to_floats
from cae_pipeline.domain.line import AutoencoderSettings
from cae_pipeline.training.minibatches import joined
from cae_pipeline.training.reference import network_images, run_all

CHUNK_SIZE = 64
"""Tiles that are in memory at full size as floats at once."""


@dataclass(frozen=True)
class Tiles:
    """Tiles of some images, as every part of the model sees them.

    Damaged ones, of which there may be many, are kept in half precision.

    Attributes:
        origins: Position of the image each comes from, shape `(n,)`.
        inputs: For the autoencoder, shape `(n, height_px, width_px, c)`.
        targets: What `inputs` was before it was defective.
        features: Shape `(n, cells, cells, f)`.
        defective_share: Of each cell, shape `(n, cells, cells)`.
    """

    origins: NDArray[np.int_]
    inputs: AnyFloats
    targets: AnyFloats
    features: AnyFloats
    defective_share: Floats


@dataclass(frozen=True)
class TileMaker:
    """Turns tiles into what every part of the model sees, a chunk at a time.

    Attributes:
        tiles: Normal ones, shape `(n, *tile_px, c)`.
        origins: Position of the image each comes from, shape `(n,)`.
        encoder: Compiled, from tiles of even gain to local features.
    """

    tiles: Pixels
    origins: NDArray[np.int_]
    model: AutoencoderSettings
    encoder: Any

    def clean(self) -> Tiles:
        """Take every tile as it is."""
        chunks = (self._described(self.tiles[start : start + CHUNK_SIZE]) for start in _starts(len(self.tiles)))
        inputs, features, _ = joined(chunks, len(self.tiles))
        return Tiles(self.origins, inputs, inputs, features, np.zeros(features.shape[:3], np.float32))

    def defective(self, positions: NDArray[np.int_], *, count: int, seed: int) -> Tiles:
        """Damage tiles, each as often as the others, at least `count` in all."""
        times = -(-max(count, len(positions)) // len(positions))
        random = np.random.default_rng(seed)
        order = np.concatenate([random.permutation(positions) for _ in range(times)])[: max(count, len(positions))]
        starts = enumerate(_starts(len(order)))
        # the numbers of the chunks are their seeds: whoever is first, the damage is the same
        made = in_order(lambda one: self._damaged(order[one[1] : one[1] + CHUNK_SIZE], seed * 100_003 + one[0]), starts)
        inputs, targets, features, share = joined(made, len(order))
        return Tiles(self.origins[order], inputs, targets, features, share)

    def _damaged(self, positions: NDArray[np.int_], seed: int) -> tuple[AnyFloats, ...]:
        before = self.tiles[positions]
        after = with_defects(before, seed=seed)
        inputs, features, gain = self._described(after.images)
        targets = network_images(np.clip(to_floats(before) * gain, 0, 1), self.model)
        share = _share(after.masks, features.shape[1:3])
        return inputs.astype(np.float16), targets.astype(np.float16), features.astype(np.float16), share

    def _described(self, tiles: Pixels) -> tuple[Floats, ...]:
        floats = to_floats(tiles)
        even = even_gain(floats)
        return network_images(even, self.model), run_all(self.encoder, even), gain_of(floats)


def _share(masks: NDArray[np.bool_], cells: tuple[int, ...]) -> Floats:
    count, height, width = masks.shape
    share: Floats = masks.reshape(count, cells[0], height // cells[0], cells[1], width // cells[1]).mean(
        axis=(2, 4), dtype=np.float32
    )
    return share


def _starts(count: int) -> range:
    return range(0, count, CHUNK_SIZE)
