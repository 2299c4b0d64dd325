"""Normal tiles → what every part of a model sees of them, as they are and with synthetic defects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cae_pipeline.concurrency.parallel import in_order
from cae_pipeline.defects.synthesis import with_defects
from cae_pipeline.detector.ignoring import IgnoredPlaces
from cae_pipeline.domain.images import AnyFloats, Floats, Pixels, even_gain, gain_of, to_floats
from cae_pipeline.domain.line import AutoencoderSettings
from cae_pipeline.training.minibatches import joined
from cae_pipeline.training.reference import network_images, run_all

CHUNK_SIZE = 64
"""Tiles that are in memory at full size as floats at once."""


@dataclass(frozen=True)
class Tiles:
    """Tiles of some images, as every part of the model sees them.

    Tiles with synthetic defects, of which there may be many, are kept in half precision.

    Attributes:
        origins: Position of the image that each tile comes from, shape `(n,)`.
        inputs: What the autoencoder is given, shape `(n, height_px, width_px, c)`.
        targets: What it should give back: the inputs before a synthetic defect was put into them.
        features: Local features, shape `(n, cells, cells, f)`.
        defective_share: Share of each cell that is defective, shape `(n, cells, cells)`, in [0, 1]; NaN where a cell
            is ignored.
        ignored: Places of the tiles that are not learnt from; None if all are.
    """

    origins: NDArray[np.int_]
    inputs: AnyFloats
    targets: AnyFloats
    features: AnyFloats
    defective_share: Floats
    ignored: IgnoredPlaces | None = None

    def ignored_in(self, chosen: NDArray[np.bool_]) -> IgnoredPlaces | None:
        """What is ignored in some of the tiles, shape `(n,)`."""
        return None if self.ignored is None else self.ignored.of(chosen)

    def without_features(self) -> Tiles:
        """The same tiles once their features are used up: those are most of a training's memory."""
        return replace(self, features=np.empty((0, *self.features.shape[1:]), self.features.dtype))


@dataclass(frozen=True)
class TrainingData:
    """Everything that a training learns from and stops by.

    Attributes:
        clean: The tiles of the training and the validation set as they are.
        is_training: Which of the clean tiles are of the training set, shape `(n,)`; training stops by the others.
        is_usable: Which of the clean tiles are not of an outlier, shape `(n,)`.
        training_defects: Copies of the usable tiles of the training set, with synthetic defects.
        validation_defects: Copies of the tiles of the validation set, with synthetic defects.
    """

    clean: Tiles
    is_training: NDArray[np.bool_]
    is_usable: NDArray[np.bool_]
    training_defects: Tiles
    validation_defects: Tiles

    @property
    def is_learnt_from(self) -> NDArray[np.bool_]:
        """Which of the clean tiles networks learn from, shape `(n,)`."""
        return self.is_training & self.is_usable

    def without_features(self) -> TrainingData:
        """The same data once the features are used up."""
        return replace(
            self,
            clean=self.clean.without_features(),
            training_defects=self.training_defects.without_features(),
            validation_defects=self.validation_defects.without_features(),
        )


@dataclass(frozen=True)
class TileMaker:
    """Turns tiles into what every part of the model sees, a chunk at a time.

    Attributes:
        tiles: Normal ones, shape `(n, *tile_px, c)`.
        origins: Position of the image that each tile comes from, shape `(n,)`.
        compiled_encoder: From tiles of even gain to local features, as `compiled` gives it.
        ignored: Places of the tiles that are not learnt from, and that `tiles` shows nothing of; None if all are.
    """

    tiles: Pixels
    origins: NDArray[np.int_]
    model: AutoencoderSettings
    compiled_encoder: Any
    ignored: IgnoredPlaces | None = None

    def clean(self) -> Tiles:
        """Take every tile as it is."""
        chunks = (self._described(self.tiles[chosen]) for chosen in _chunks(np.arange(len(self.tiles))))
        inputs, features, _ = joined(chunks, len(self.tiles))
        share = _unless_ignored(np.zeros(features.shape[:3], np.float32), self.ignored)
        return Tiles(self.origins, inputs, inputs, features, share, self.ignored)

    def with_defects(self, positions: NDArray[np.int_], *, count: int, seed: int) -> Tiles:
        """Put synthetic defects into copies of tiles.

        Args:
            positions: Which tiles are copied, each as often as the others.
            count: How many copies are made at least; every tile is copied at least once.
            seed: Of the order and of the defects.
        """
        num_copies = max(count, len(positions))
        num_rounds = -(-num_copies // len(positions))
        random = np.random.default_rng(seed)
        order = np.concatenate([random.permutation(positions) for _ in range(num_rounds)])[:num_copies]
        # the number of a chunk is part of its seed: whichever thread is first, the defects are the same
        made = in_order(
            lambda numbered: self._with_defects(numbered[1], seed=seed * 100_003 + numbered[0]),
            enumerate(_chunks(order)),
        )
        inputs, targets, features, share = joined(made, num_copies)
        ignored = self.ignored.of(order) if self.ignored else None
        return Tiles(self.origins[order], inputs, targets, features, _unless_ignored(share, ignored), ignored)

    def _with_defects(self, positions: NDArray[np.int_], *, seed: int) -> tuple[AnyFloats, ...]:
        """Inputs, targets, features and defective share of copies of some tiles."""
        before = self.tiles[positions]
        hidden = self.ignored.of(positions).in_pixels if self.ignored else None
        after = with_defects(before, seed=seed, ignored=hidden)
        if hidden is not None:
            before = np.where(hidden[..., None], after.images, before)
        inputs, features, gain = self._described(after.images)
        # the gain is that of the image with the defect: only the defect may tell target from input
        targets = network_images(np.clip(to_floats(before) * gain, 0, 1), self.model)
        share = _share_per_cell(after.masks, features.shape[1:3])
        return inputs.astype(np.float16), targets.astype(np.float16), features.astype(np.float16), share

    def _described(self, tiles: Pixels) -> tuple[Floats, ...]:
        """Inputs of the autoencoder, features and gain of some tiles."""
        floats = to_floats(tiles)
        even = even_gain(floats)
        return network_images(even, self.model), run_all(self.compiled_encoder, even), gain_of(floats)


def _share_per_cell(masks: NDArray[np.bool_], cells: tuple[int, ...]) -> Floats:
    count, height, width = masks.shape
    share: Floats = masks.reshape(count, cells[0], height // cells[0], cells[1], width // cells[1]).mean(
        axis=(2, 4), dtype=np.float32
    )
    return share


def _unless_ignored(share: Floats, ignored: IgnoredPlaces | None) -> Floats:
    return share if ignored is None else np.where(ignored.at(share.shape[1:]), np.float32(np.nan), share)


def _chunks(positions: NDArray[np.int_]) -> Iterator[NDArray[np.int_]]:
    return (positions[start : start + CHUNK_SIZE] for start in range(0, len(positions), CHUNK_SIZE))
