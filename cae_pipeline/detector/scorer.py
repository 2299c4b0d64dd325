"""A trained model that is ready to score: the error maps of all heads, fused to one anomaly map and one score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np

from cae_pipeline.concurrency.parallel import in_order
from cae_pipeline.detector.error_maps import NetworkOutputs, error_maps
from cae_pipeline.detector.fusion import HeadProfile, check_finite, fuse, scores_of, to_common_unit
from cae_pipeline.detector.ignoring import IgnoredPlaces
from cae_pipeline.detector.tiling import cut, join
from cae_pipeline.domain.ignoring import Ignored, resized_ignored
from cae_pipeline.domain.images import Floats, Pixels
from cae_pipeline.domain.line import AutoencoderSettings, Head
from cae_pipeline.statistics.conformal import Scores

MINIBATCH_SIZE = 16
"""Tiles the networks see at once: enough to keep a core busy, few enough to stay in its cache."""

Forward: TypeAlias = Callable[[Pixels], NetworkOutputs]
"""Runs all networks on `MINIBATCH_SIZE` tiles, shape `(16, *tile_px, c)`, of the type that the settings say."""


@dataclass(frozen=True)
class ScoredImages:
    """What a model says of some images, in their order.

    Attributes:
        inputs: What the autoencoder was given: even gain, size of the map; shape `(n, h, w, c)`, float32 in [0, 1].
        reconstructions: What it gave back; the same shape and range.
        maps: Anomaly maps, shape `(n, h, w)`, float32, ≥ 0.
        scores: Shape `(n,)`, float64, ≥ 0; NaN for an image whose map is not finite.
        latents: Latent of the autoencoder, the mean over the tiles of an image, shape `(n, latent_size)`, float32.
    """

    inputs: Floats
    reconstructions: Floats
    maps: Floats
    scores: Scores
    latents: Floats


class _JudgedTiles(NamedTuple):
    """What a model says of some tiles, in their order.

    Attributes:
        inputs: Shape `(n, h, w, c)`, float32 in [0, 1].
        reconstructions: The same shape and range.
        maps: Anomaly maps with one channel, shape `(n, h, w, 1)`, float32, ≥ 0.
        latents: Shape `(n, latent_size)`, float32.
    """

    inputs: Floats
    reconstructions: Floats
    maps: Floats
    latents: Floats


@dataclass(frozen=True)
class Scorer:
    """Networks, what is usual for them, and what they say of held-out normal images.

    Attributes:
        forward: Runs the networks.
        profiles: What is usual for each head.
        normal_scores: Scores of held-out normal images, which p-values rest on, shape `(n,)`.
        normal_latents: Latents of normal images, which drift is held against, shape `(m, latent_size)`.
        nuisance_directions: How the mean latent moves when the camera or the light does, shape `(k, latent_size)`.
        ignored: Pixels of images as delivered that have no say, shape `(h, w)`; None if all have.
    """

    settings: AutoencoderSettings
    forward: Forward
    profiles: Mapping[Head, HeadProfile]
    normal_scores: Scores
    normal_latents: Floats
    nuisance_directions: Floats
    ignored: Ignored | None = None

    @classmethod
    def fresh(
        cls,
        settings: AutoencoderSettings,
        forward: Forward,
        profiles: Mapping[Head, HeadProfile],
        *,
        ignored: Ignored | None = None,
    ) -> Scorer:
        """Make a scorer of which nobody knows yet what it says of normal images."""
        no_latents = np.zeros((0, settings.latent_size), np.float32)
        return cls(
            settings,
            forward,
            profiles,
            normal_scores=np.zeros(0),
            normal_latents=no_latents,
            nuisance_directions=no_latents,
            ignored=ignored,
        )

    @cached_property
    def ignored_in_read(self) -> Ignored | None:
        """Pixels of images as they are read that have no say, shape `read_px`; None if all have."""
        return None if self.ignored is None else resized_ignored(self.ignored, self.settings.read_px)

    @property
    def images_per_minibatch(self) -> int:
        """How many images `score_few` is best given."""
        return max(1, MINIBATCH_SIZE // self._tiles_per_image)

    def score(self, images: Pixels) -> ScoredImages:
        """Score images on all cores, every one of which must get a score.

        Args:
            images: Shape `(n, *settings.read_px, c)`, of the type that the settings say; n may be 0.

        Raises:
            NonFiniteScoreError: If a score is not finite, since the weights of the model are broken.
        """
        step = self.images_per_minibatch
        minibatches = [images[start : start + step] for start in range(0, max(len(images), 1), step)]
        scored = list(in_order(self.score_few, minibatches))
        whole = ScoredImages(
            *(np.concatenate([getattr(part, name) for part in scored]) for name in ScoredImages.__dataclass_fields__)
        )
        check_finite(whole.scores)
        return whole

    def score_few(self, images: Pixels) -> ScoredImages:
        """Score images on the core that asks.

        An image whose anomaly map is not finite gets the score NaN, and its neighbours the scores they get without it.

        Args:
            images: Shape `(n, *settings.read_px, c)`, of the type that the settings say; n may be 0.
        """
        tiles, ignored = cut(images, self.settings), self._ignored_in(len(images))
        if ignored is not None:
            tiles = ignored.filled(tiles)
        # without any image, one minibatch of no tiles still tells the shapes of the results
        starts = range(0, max(len(tiles), 1), MINIBATCH_SIZE)
        parts = [slice(start, start + MINIBATCH_SIZE) for start in starts]
        minibatches = [self._judge_tiles(tiles[part], ignored.of(part) if ignored else None) for part in parts]
        judged = _JudgedTiles(*(np.concatenate(arrays) for arrays in zip(*minibatches, strict=True)))
        maps = join(judged.maps, self.settings)[..., 0]
        latent_size = judged.latents.shape[1]
        return ScoredImages(
            inputs=join(judged.inputs, self.settings),
            reconstructions=join(judged.reconstructions, self.settings),
            maps=maps,
            scores=scores_of(maps),
            latents=judged.latents.reshape(-1, self._tiles_per_image, latent_size).mean(axis=1),
        )

    @property
    def _tiles_per_image(self) -> int:
        down, across = self.settings.tiles or (1, 1)
        return down * across

    @cached_property
    def _ignored_in_one(self) -> IgnoredPlaces | None:
        return None if self.ignored is None else IgnoredPlaces.of_images(self.ignored, self.settings, count=1)

    def _ignored_in(self, count: int) -> IgnoredPlaces | None:
        one = self._ignored_in_one
        return one and one.of(np.tile(one.numbers, count))

    def _judge_tiles(self, tiles: Pixels, ignored: IgnoredPlaces | None) -> _JudgedTiles:
        """Run the networks on at most `MINIBATCH_SIZE` tiles and fuse what the heads say of them."""
        outputs = run_padded(self.forward, tiles)
        size_px = (self.settings.height_px, self.settings.width_px)
        maps = {
            head: to_common_unit(head, errors, self.profiles[head], size_px=size_px, ignored=ignored)
            for head, errors in error_maps(outputs, self.settings.heads).items()
        }
        fused = fuse(maps, {head: profile.fusion_weight for head, profile in self.profiles.items()})
        return _JudgedTiles(outputs.inputs, outputs.reconstructions, fused[..., None], outputs.latent)


def run_padded(forward: Forward, tiles: Pixels) -> NetworkOutputs:
    """Run the networks on at most `MINIBATCH_SIZE` tiles.

    They always see a full minibatch: what they say of a tile then does not depend on how many came with it.
    """
    padding = [(0, MINIBATCH_SIZE - len(tiles))] + [(0, 0)] * (tiles.ndim - 1)
    outputs = forward(np.pad(tiles, padding))
    return NetworkOutputs(*(getattr(outputs, name)[: len(tiles)] for name in NetworkOutputs.__dataclass_fields__))
