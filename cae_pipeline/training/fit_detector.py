"""Normal images → a model: every part fitted, each judged on images it has not seen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import keras
import numpy as np
from numpy.typing import NDArray

from cae_pipeline.detector import fusion as scoring
from cae_pipeline.detector.error_maps import NetworkOutputs, error_maps
from cae_pipeline.detector.fusion import PRIOR_IMAGES, HeadProfile
from cae_pipeline.detector.pca import (
    MAX_IMAGES,
    MAX_IMAGES_FOR_FILTERS,
    Pca,
    find_outliers,
    fit_pca,
    folds_of,
    held_out_residuals,
    residual_spread,
    texture_error,
)
from cae_pipeline.detector.tiling import cut
from cae_pipeline.domain.images import AnyFloats, Floats, Pixels, even_gain, to_floats
from cae_pipeline.domain.line import Augmentation, AutoencoderSettings, Head, TrainingSettings
from cae_pipeline.statistics.metrics import auroc
from cae_pipeline.statistics.split import Split
from cae_pipeline.training.augmentation import draw_augmentations, harmless_augmentations
from cae_pipeline.training.dataset import TileMaker, Tiles
from cae_pipeline.training.discriminator import Examples, discriminator_inputs, fit_discriminators
from cae_pipeline.training.filter_bank import fit_encoder
from cae_pipeline.training.fit_autoencoder import FittedAutoencoder, OnEpoch, Pairs, fit_autoencoder
from cae_pipeline.training.parts import Parts
from cae_pipeline.training.reference import compiled, run_all

MIN_VALIDATION_DEFECTS = 60
"""Damaged copies of the validation images, at least; where there are few, each is used several times."""
LOWEST_MERIT = 0.02
"""AUROC above chance that every head is granted, so that none is ever silent."""


@dataclass(frozen=True)
class FittedDetector:
    """A model without normal scores, and how it came about.

    Attributes:
        profiles: What is usual for each head, and how much it counts.
        outliers: Positions of images that look unlike all others called normal; nothing was fitted to them.
        augmentations: Flips that training used.
        head_aurocs: How well each head tells held-out synthetic defects from normal images, as AUROC.
    """

    parts: Parts
    profiles: dict[Head, HeadProfile]
    fitted_autoencoder: FittedAutoencoder
    outliers: tuple[int, ...]
    augmentations: tuple[str, ...]
    head_aurocs: dict[Head, float]


@dataclass(frozen=True)
class _Texture:
    """The PCA through local features, and what it leaves of tiles it was not fitted to.

    Attributes:
        scale: Standard deviation of each feature, shape `(f,)`.
        spread: Usual size of each residual at each cell, shape `(cells, cells, f)`.
        of_clean: Residuals of the clean tiles, shape `(n, cells, cells, f)`.
        of_validation_defects: The same of the tiles to be examined on.
        training_set: What discriminators learn from.
        validation_set: What they stop by.
    """

    scale: Floats
    pca: Pca
    spread: Floats
    of_clean: AnyFloats
    of_validation_defects: AnyFloats
    training_set: Examples
    validation_set: Examples


def fit_detector(
    images: Pixels,
    *,
    split: Split,
    model: AutoencoderSettings,
    training: TrainingSettings,
    on_epoch: OnEpoch,
    initial: keras.Model | None = None,
) -> FittedDetector:
    """Fit every part of a model to normal images.

    Args:
        images: Shape `(n, *model.read_px, c)`, uint8.
        split: Positions to learn from, and to stop by; calibration is not looked at.
        model: The networks.
        training: Preset, seed, augmentations.
        on_epoch: Told about every epoch of the autoencoder.
        initial: Autoencoder to start from; None starts afresh.

    Raises:
        NonFiniteScoreError: If the loss is NaN.
    """
    plan = training.plan
    chosen = np.array([*split.train, *split.validation])
    tiles = cut(images[chosen], model)
    origins = np.arange(len(chosen)).repeat(len(tiles) // len(chosen))
    learns = origins < len(split.train)
    encoder = fit_encoder(model, even_gain(to_floats(tiles[learns][:MAX_IMAGES_FOR_FILTERS])), seed=training.seed)
    maker = TileMaker(tiles, origins, model, compiled(encoder, encoder.input.shape[1:]))
    clean = maker.clean()
    suspected = _suspects(clean)
    usable = ~suspected[origins]
    training_defects = maker.defective(np.flatnonzero(learns & usable), count=plan.synthetic_images, seed=training.seed)
    validation_defects = maker.defective(np.flatnonzero(~learns), count=MIN_VALIDATION_DEFECTS, seed=training.seed + 1)

    seen, kept_back = clean.inputs[learns & usable], clean.inputs[~learns]
    augmentations = harmless_augmentations(seen) if training.augmentations is None else training.augmentations
    pairs = [
        _pairs(seen, training_defects, augmentations, seed=training.seed),
        _pairs(kept_back, validation_defects, (), seed=training.seed),
    ]
    fitted = fit_autoencoder(*pairs, model=model, training=training, on_epoch=on_epoch, initial=initial)
    texture = _fit_texture((clean, training_defects, validation_defects), learns=learns, usable=usable)
    del (
        training_defects,
        pairs,
    )  # most of a training's memory, and `texture.training_set` holds what is still needed of it
    discriminators = fit_discriminators(texture.training_set, texture.validation_set, plan, seed=training.seed * 1_009)
    parts = Parts(model, fitted.network, encoder, texture.scale, texture.pca, texture.spread, discriminators)
    normal = _errors(parts, kept_back, texture.of_clean[~learns])
    if "texture" in normal:
        # judged without having been seen, every image says what is usual
        normal["texture"] = texture_error(texture.of_clean[usable])
    profiles, head_aurocs = _profiles(
        normal, _errors(parts, validation_defects.inputs, texture.of_validation_defects), model
    )
    return FittedDetector(parts, profiles, fitted, tuple(chosen[suspected].tolist()), augmentations, head_aurocs)


def _suspects(clean: Tiles) -> NDArray[np.bool_]:
    """Judge each image by the others, on texture alone."""
    scaled = clean.features / _scale(clean.features)
    [residuals] = held_out_residuals(scaled, folds_of(clean.origins), usable=np.ones(len(scaled), np.bool_))
    worst = np.zeros(clean.origins.max() + 1)
    np.maximum.at(worst, clean.origins, texture_error(residuals).max(axis=(1, 2)))
    return find_outliers(worst)


def _fit_texture(
    tiles: tuple[Tiles, Tiles, Tiles], *, learns: NDArray[np.bool_], usable: NDArray[np.bool_]
) -> _Texture:
    """Fit the PCA, and judge every tile by one that has not seen it.

    Args:
        tiles: Clean ones, defective ones to learn from, others to be examined on. Their features are used up.
        learns: Which of the clean tiles are learnt from.
        usable: Which of them are not suspected.
    """
    clean, training_defects, validation_defects = tiles
    scale = _scale(clean.features[usable])
    for part in tiles:
        # in place: these are the largest arrays of a training, and nobody needs them in other units
        np.divide(part.features, scale, out=part.features)
    of_clean, of_training_defects, of_validation_defects = held_out_residuals(
        clean.features,
        folds_of(clean.origins),
        [
            (training_defects.features, folds_of(training_defects.origins)),
            (validation_defects.features, folds_of(validation_defects.origins)),
        ],
        usable=usable,
    )
    seen = learns & usable
    spread = residual_spread(of_clean[seen], prior_images=PRIOR_IMAGES)
    training_set = Examples.of(
        [(of_clean[seen], clean.defective_share[seen]), (of_training_defects, training_defects.defective_share)], spread
    )
    validation_set = Examples.of(
        [
            (of_clean[~learns], clean.defective_share[~learns]),
            (of_validation_defects, validation_defects.defective_share),
        ],
        spread,
    )
    pca = fit_pca(clean.features[usable][:MAX_IMAGES])
    return _Texture(scale, pca, spread, of_clean, of_validation_defects, training_set, validation_set)


def _errors(parts: Parts, inputs: AnyFloats, residuals: AnyFloats) -> dict[Head, Floats]:
    """What the heads say of tiles whose residuals are those of autoencoders that never saw them."""
    inputs = inputs.astype(np.float32)
    rebuilt = run_all(compiled(parts.autoencoder, inputs.shape[1:]), inputs)
    judged = np.concatenate([discriminator_inputs(one[None], parts.spread) for one in residuals])
    logits = [run_all(compiled(network, judged.shape[1:]), judged) for network in parts.discriminators]
    defect, no_latents = np.mean(logits, axis=0)[..., 0], np.zeros((len(inputs), 0), np.float32)
    outputs = NetworkOutputs(inputs, rebuilt, texture_error(residuals), defect, no_latents)
    return error_maps(outputs, parts.settings.heads)


def _profiles(
    normal: dict[Head, Floats], defective: dict[Head, Floats], model: AutoencoderSettings
) -> tuple[dict[Head, HeadProfile], dict[Head, float]]:
    """Learn what each head says of normal images, and let it count by how well it finds synthetic defects."""
    profiles, head_aurocs, size = {}, {}, (model.height_px, model.width_px)
    for head, errors in normal.items():
        profile = scoring.fit_profile(head, errors)
        worst = [
            scoring.to_common_unit(head, some, profile, size_px=size).reshape(len(some), -1).max(axis=1)
            for some in (errors, defective[head])
        ]
        head_aurocs[head] = auroc(worst[0].astype(np.float64), worst[1].astype(np.float64))
        profiles[head] = replace(profile, fusion_weight=max(head_aurocs[head] - 0.5, LOWEST_MERIT) ** 2)
    total = sum(profile.fusion_weight for profile in profiles.values())
    return {
        head: replace(profile, fusion_weight=profile.fusion_weight / total) for head, profile in profiles.items()
    }, head_aurocs


def _pairs(clean: AnyFloats, defective: Tiles, augmentations: tuple[Augmentation, ...], *, seed: int) -> Pairs:
    """Clean tiles are their own targets, defective ones have what they were before; all are flipped by chance."""
    half = clean.astype(np.float16)
    inputs, targets = np.concatenate([half, defective.inputs]), np.concatenate([half, defective.targets])
    for index, axes in enumerate(draw_augmentations(len(inputs), augmentations, np.random.default_rng(seed))):
        inputs[index], targets[index] = np.flip(inputs[index], axes), np.flip(targets[index], axes)
    return Pairs(inputs, targets)


def _scale(features: AnyFloats) -> Floats:
    scale: Floats = features.std(axis=(0, 1, 2)) + np.float32(1e-6)
    return scale
