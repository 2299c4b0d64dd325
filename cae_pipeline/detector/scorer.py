"""A trained model ready to score: every head of the error, fused into one map and one score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from cae_pipeline.concurrency.parallel import in_order
from cae_pipeline.detector import fusion as scoring
from cae_pipeline.detector.error_maps import NetworkOutputs, error_maps
from cae_pipeline.detector.fusion import HeadProfile
from cae_pipeline.detector.tiling import cut, join
from cae_pipeline.domain.images import Floats, Pixels
from cae_pipeline.domain.line import AutoencoderSettings, Head
from cae_pipeline.statistics.conformal import Scores

MINIBATCH_SIZE = 16
"""Tiles the networks see at once: enough to keep a core busy, few enough to stay in its cache."""

Forward: TypeAlias = Callable[[Pixels], NetworkOutputs]
"""Runs all networks on `MINIBATCH_SIZE` tiles, shape `(16, *tile_px, c)`, uint8."""


@dataclass(frozen=True)
class ScoredImages:
    """What a model says of some images, in their order.

    Attributes:
        inputs: What was judged: even gain, size of the map; shape `(n, h, w, c)`, float32 in [0, 1].
        reconstructions: The same shape and range.
        maps: Anomaly maps, shape `(n, h, w)`, float32, ≥ 0.
        scores: Shape `(n,)`, float64, finite, ≥ 0.
        latents: Narrow middle of the autoencoder, the mean over tiles, shape `(n, latent_size)`, float32.
    """

    inputs: Floats
    reconstructions: Floats
    maps: Floats
    scores: Scores
    latents: Floats


@dataclass(frozen=True)
class Scorer:
    """Networks, what is usual for them, and what they say of held-out normal images.

    Attributes:
        normal_scores: What p-values rest on, shape `(n,)`.
        normal_latents: What drift is held against, shape `(n, latent_size)`.
        nuisance_directions: How the mean latent moves when the camera does, shape `(k, latent_size)`.
    """

    settings: AutoencoderSettings
    forward: Forward
    profiles: Mapping[Head, HeadProfile]
    normal_scores: Scores
    normal_latents: Floats
    nuisance_directions: Floats

    @classmethod
    def fresh(cls, settings: AutoencoderSettings, forward: Forward, profiles: Mapping[Head, HeadProfile]) -> Scorer:
        """Judge with networks of which nobody knows yet what they say of normal images."""
        no_latents = np.zeros((0, settings.latent_size), np.float32)
        return cls(settings, forward, profiles, np.zeros(0), no_latents, no_latents)

    @property
    def images_per_minibatch(self) -> int:
        """How many images `score_few` is best given."""
        down, across = self.settings.tiles or (1, 1)
        return max(1, MINIBATCH_SIZE // (down * across))

    def score(self, images: Pixels) -> ScoredImages:
        """Rebuild images and judge the errors, on all cores.

        Args:
            images: Shape `(n, *settings.read_px, c)`, uint8; n may be 0.

        Raises:
            NonFiniteScoreError: If the model's weights are broken.
        """
        step = self.images_per_minibatch
        parts = [images[start : start + step] for start in range(0, max(len(images), 1), step)]
        judged = list(in_order(self.score_few, parts))
        return ScoredImages(
            *(np.concatenate([getattr(part, name) for part in judged]) for name in ScoredImages.__dataclass_fields__)
        )

    def score_few(self, images: Pixels) -> ScoredImages:
        """Judge images on the core that asks; otherwise as `score`."""
        tiles = cut(images, self.settings)
        parts = [self._judge(tiles[start : start + MINIBATCH_SIZE]) for start in range(0, len(tiles), MINIBATCH_SIZE)]
        if not parts:
            parts = [self._judge(np.zeros((0, *self.settings.tile_px, self.settings.channels), np.uint8))]
        *pictures, latents = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        inputs, rebuilt, maps = (join(tiled, self.settings) for tiled in pictures)
        latents = latents.reshape(len(images), -1, latents.shape[1]).mean(axis=1) if len(images) else latents
        return ScoredImages(inputs, rebuilt, maps[..., 0], scoring.scores(maps[..., 0]), latents)

    def _judge(self, tiles: Pixels) -> tuple[Floats, Floats, Floats, Floats]:
        outputs = run_padded(self.forward, tiles)
        size = (self.settings.height_px, self.settings.width_px)
        maps = {
            head: scoring.to_common_unit(head, errors, self.profiles[head], size_px=size)
            for head, errors in error_maps(outputs, self.settings.heads).items()
        }
        fused = scoring.fuse(maps, {head: profile.fusion_weight for head, profile in self.profiles.items()})
        return outputs.inputs, outputs.reconstructions, fused[..., None], outputs.latent


def run_padded(forward: Forward, tiles: Pixels) -> NetworkOutputs:
    """Run the networks on at most `MINIBATCH_SIZE` tiles.

    They always see a full minibatch: what they say of a tile then does not depend on how many came with it.
    """
    padding = [(0, MINIBATCH_SIZE - len(tiles))] + [(0, 0)] * (tiles.ndim - 1)
    outputs = forward(np.pad(tiles, padding))
    return NetworkOutputs(*(getattr(outputs, name)[: len(tiles)] for name in NetworkOutputs.__dataclass_fields__))
