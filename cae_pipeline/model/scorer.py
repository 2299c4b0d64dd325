"""A trained model ready to score: every view of the error, fused into one map and one score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cae_pipeline.core import scoring
from cae_pipeline.core.images import Floats, Pixels, even_gain, to_floats
from cae_pipeline.core.line import VIEWS, AutoencoderSettings, View
from cae_pipeline.core.scoring import ViewProfile
from cae_pipeline.core.texture import LinearAutoencoder
from cae_pipeline.core.threshold import Scores
from cae_pipeline.core.tiling import cut, join
from cae_pipeline.model.discriminator import discriminator_inputs

MINIBATCH_SIZE = 16
CHUNK_SIZE = 64
"""Tiles that are in memory as floats at once."""


@dataclass(frozen=True)
class ScoredImages:
    """What a model says of some images, in their order.

    Attributes:
        shown: What was judged: even gain, size of the map; shape `(n, h, w, c)`, float32 in [0, 1].
        reconstructions: The same shape and range.
        maps: Anomaly maps, shape `(n, h, w)`, float32, ≥ 0.
        scores: Shape `(n,)`, float64, finite, ≥ 0.
    """

    shown: Floats
    reconstructions: Floats
    maps: Floats
    scores: Scores


@dataclass(frozen=True)
class TextureModel:
    """What judges local features.

    Attributes:
        encoder: From tiles of even gain to features.
        scale: Standard deviation of each feature on normal images, shape `(f,)`.
        plane: Rebuilds features of normal images, in units of `scale`.
        spread: Usual size of each residual at each cell, shape `(h, w, f)`.
        discriminators: Their mean logit tells defects from normal residuals.
    """

    encoder: keras.Model
    scale: Floats
    plane: LinearAutoencoder
    spread: Floats
    discriminators: tuple[keras.Model, ...]


@dataclass(frozen=True)
class Scorer:
    """Networks, what is usual for them, and the normal scores that p-values rest on."""

    settings: AutoencoderSettings
    network: keras.Model
    texture: TextureModel
    profiles: Mapping[View, ViewProfile]
    normal_scores: Scores

    def score(self, images: Pixels) -> ScoredImages:
        """Rebuild images and judge the errors.

        Args:
            images: Shape `(n, *settings.read_px, c)`, uint8; n may be 0.

        Raises:
            NonFiniteScoreError: If the model's weights are broken.
        """
        tiles = cut(images, self.settings)
        parts = [self._judge(tiles[start : start + CHUNK_SIZE]) for start in range(0, max(len(tiles), 1), CHUNK_SIZE)]
        shown, rebuilt, maps = (join(np.concatenate(arrays), self.settings) for arrays in zip(*parts, strict=True))
        return ScoredImages(shown, rebuilt, maps[..., 0], scoring.scores(maps[..., 0]) if len(maps) else np.zeros(0))

    def reconstruct(self, images: Floats) -> Floats:
        """Run the autoencoder; from `(n, height_px, width_px, c)` to the same shape."""
        return run(self._autoencoder, images)

    def errors(self, shown: Floats, residuals: Floats) -> dict[View, Floats]:
        """Give each view that is switched on in its own unit.

        Args:
            shown: What the autoencoder sees, shape `(n, height_px, width_px, c)`.
            residuals: Of the features of the same tiles, shape `(n, cells, cells, f)`.

        Returns:
            Shape `(n, height_px, width_px)` for the views of the reconstruction, `(n, cells, cells)` for
            those of the residual.
        """
        return self._errors(shown, self.reconstruct(shown), residuals)

    def _judge(self, tiles: Pixels) -> tuple[Floats, Floats, Floats]:
        even = even_gain(to_floats(tiles))
        shown = network_images(even, self.settings)
        rebuilt = self.reconstruct(shown)
        residuals = self.texture.plane.residual(run(self._encoder, even) / self.texture.scale)
        size = (self.settings.height_px, self.settings.width_px)
        maps = {
            view: scoring.view_maps(view, errors, self.profiles[view], size_px=size)
            for view, errors in self._errors(shown, rebuilt, residuals).items()
        }
        fused = scoring.fuse(maps, {view: profile.weight for view, profile in self.profiles.items()})
        return shown, rebuilt, fused[..., None]

    def _errors(self, shown: Floats, rebuilt: Floats, residuals: Floats) -> dict[View, Floats]:
        work_out: dict[View, Callable[[], Floats]] = {
            "intensity": lambda: scoring.intensity_error(shown, rebuilt),
            "structure": lambda: scoring.structure_error(shown, rebuilt),
            "texture": lambda: scoring.texture_error(residuals),
            "defect": lambda: self._discriminate(discriminator_inputs(residuals, self.texture.spread)),
        }
        return {view: work_out[view]() for view in VIEWS if view in self.settings.views}

    def _discriminate(self, inputs: Floats) -> Floats:
        logits: Floats = np.mean([run(network, inputs) for network in self._discriminators], axis=0, dtype=np.float32)
        return logits[..., 0]

    @cached_property
    def _autoencoder(self) -> Any:
        return compiled(self.network)

    @cached_property
    def _encoder(self) -> Any:
        return compiled(self.texture.encoder)

    @cached_property
    def _discriminators(self) -> list[Any]:
        return [compiled(network) for network in self.texture.discriminators]


def network_images(even: Floats, model: AutoencoderSettings) -> Floats:
    """Shrink tiles, shape `(n, *tile_px, c)`, to what the autoencoder sees, by the mean of their pixels."""
    height, width, detail = model.height_px, model.width_px, model.detail
    shrunk: Floats = even.reshape(len(even), height, detail, width, detail, model.channels).mean(axis=(2, 4))
    return shrunk


def compiled(network: keras.Model) -> Any:
    """Trace a network once for minibatches of one fixed shape."""
    shape = (MINIBATCH_SIZE, *network.input.shape[1:])
    traced = tf.function(lambda images: network(images, training=False))
    return traced.get_concrete_function(tf.TensorSpec(shape, tf.float32))


def run(function: Any, images: Floats) -> Floats:
    """Run a compiled network in minibatches, the last one padded."""
    parts = []
    for start in range(0, max(len(images), 1), MINIBATCH_SIZE):
        part = images[start : start + MINIBATCH_SIZE]
        padding = [(0, MINIBATCH_SIZE - len(part))] + [(0, 0)] * (images.ndim - 1)
        parts.append(function(np.pad(part, padding)).numpy()[: len(part)])
    return np.concatenate(parts)
