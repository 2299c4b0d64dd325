"""What each head says of held-out normal images, and how much it counts in the anomaly map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from cae_pipeline.detector.error_maps import NetworkOutputs, error_maps
from cae_pipeline.detector.fusion import HeadProfile, fit_profile, to_common_unit
from cae_pipeline.detector.ignoring import IgnoredPlaces
from cae_pipeline.detector.pca import texture_error
from cae_pipeline.domain.images import AnyFloats, Floats
from cae_pipeline.domain.line import Head
from cae_pipeline.statistics.metrics import auroc
from cae_pipeline.training.discriminator import discriminator_inputs
from cae_pipeline.training.parts import Parts
from cae_pipeline.training.reference import compiled, run_all

MIN_AUROC_ABOVE_CHANCE = 0.02
"""AUROC above 0.5 that every head is granted, so that none is ever silent."""


@dataclass(frozen=True)
class HeldOutMaps:
    """Error maps of tiles that no network was trained on.

    Attributes:
        errors: Of each head, shape `(n, h, w)`; n may differ from head to head.
        ignored: Places of the tiles of each head that say nothing; no head is named if all places do.
    """

    errors: Mapping[Head, Floats]
    ignored: Mapping[Head, IgnoredPlaces | None] = field(default_factory=dict)


def held_out_error_maps(parts: Parts, inputs: AnyFloats, residuals: AnyFloats) -> dict[Head, Floats]:
    """Work out the error maps of tiles that no network was trained on.

    Args:
        parts: The trained networks.
        inputs: What the autoencoder is given, shape `(n, h, w, c)`.
        residuals: Of a PCA that never saw the tiles, shape `(n, cells, cells, f)`.
    """
    floats = inputs.astype(np.float32)
    reconstructions = run_all(compiled(parts.autoencoder, floats.shape[1:]), floats)
    judged = np.concatenate([discriminator_inputs(one[None], parts.spread) for one in residuals])
    logits = [run_all(compiled(network, judged.shape[1:]), judged) for network in parts.discriminators]
    no_latents = np.zeros((len(floats), 0), np.float32)
    outputs = NetworkOutputs(
        floats, reconstructions, texture_error(residuals), np.mean(logits, axis=0)[..., 0], no_latents
    )
    return error_maps(outputs, parts.settings.heads)


def fit_head_profiles(
    normal: HeldOutMaps, defective: HeldOutMaps, *, size_px: tuple[int, int]
) -> tuple[dict[Head, HeadProfile], dict[Head, float]]:
    """Learn what each head says of normal tiles, and let it count by how well it finds synthetic defects.

    Args:
        normal: Of normal tiles.
        defective: Of tiles with synthetic defects.
        size_px: Rows and columns of the anomaly map.

    Returns:
        The profile of each head with its fusion weight, and the AUROC of each head alone.
    """
    profiles = {head: fit_profile(head, errors, normal.ignored.get(head)) for head, errors in normal.errors.items()}
    aurocs = {}
    for head, profile in profiles.items():
        normal_scores, defective_scores = (
            _scores_of_one_head(head, maps, profile, size_px) for maps in (normal, defective)
        )
        aurocs[head] = auroc(normal_scores, defective_scores)
    weights = fusion_weights(aurocs)
    return {head: replace(profile, fusion_weight=weights[head]) for head, profile in profiles.items()}, aurocs


def fusion_weights(aurocs: Mapping[Head, float]) -> dict[Head, float]:
    """Share the anomaly map out over the heads: by the square of how far the AUROC of each is above chance.

    A head that finds no more than chance does, or less, still gets a small weight: what it misses of synthetic defects
    it may see of real ones.

    Args:
        aurocs: How well each head tells synthetic defects from normal images, in [0, 1].

    Returns:
        Weights > 0 that add up to 1.
    """
    earned = {head: max(value - 0.5, MIN_AUROC_ABOVE_CHANCE) ** 2 for head, value in aurocs.items()}
    total = sum(earned.values())
    return {head: weight / total for head, weight in earned.items()}


def _scores_of_one_head(
    head: Head, held_out: HeldOutMaps, profile: HeadProfile, size_px: tuple[int, int]
) -> NDArray[np.float64]:
    """The worst place of each tile, if this head alone decided; shape `(n,)`."""
    maps = to_common_unit(head, held_out.errors[head], profile, size_px=size_px, ignored=held_out.ignored.get(head))
    worst: NDArray[np.float64] = maps.max(axis=(1, 2)).astype(np.float64)
    return worst
