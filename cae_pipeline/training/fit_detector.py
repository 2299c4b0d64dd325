"""Normal images → a detector: every part fitted, and each judged on images that it has not seen.

The order matters, since each part is fitted to what the one before leaves over:

1. Images that look unlike all others are set aside as outliers.
2. Synthetic defects are put into copies of the tiles.
3. The autoencoder learns to restore these copies.
4. The PCA of local features is fitted, and the residual of each tile taken from a PCA that has not seen it.
5. Discriminators learn to tell residuals of synthetic defects from those of normal places.
6. The error maps of held-out tiles say what is usual for each head, and how much it counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from cae_pipeline.detector.fusion import HeadProfile
from cae_pipeline.detector.ignoring import IgnoredPlaces
from cae_pipeline.detector.pca import texture_error
from cae_pipeline.detector.tiling import CELL_PX, cut
from cae_pipeline.domain.ignoring import Ignored
from cae_pipeline.domain.images import AnyFloats, Pixels, even_gain, to_floats
from cae_pipeline.domain.line import Augmentation, AutoencoderSettings, Head, TrainingSettings
from cae_pipeline.errors import ConfigurationError
from cae_pipeline.statistics.split import Split
from cae_pipeline.training.augmentation import draw_augmentations, harmless_augmentations
from cae_pipeline.training.dataset import TileMaker, Tiles, TrainingData
from cae_pipeline.training.discriminator import Examples, fit_discriminators
from cae_pipeline.training.filter_bank import MAX_IMAGES_FOR_FILTERS, fit_encoder
from cae_pipeline.training.fit_autoencoder import FittedAutoencoder, OnEpoch, Pairs, fit_autoencoder
from cae_pipeline.training.head_profiles import HeldOutMaps, fit_head_profiles, held_out_error_maps
from cae_pipeline.training.parts import Parts
from cae_pipeline.training.reference import compiled
from cae_pipeline.training.texture import Texture, find_outlying_images, fit_texture

MIN_VALIDATION_DEFECTS = 60
"""Tiles with synthetic defects that training stops by, at least: where there are few tiles, each is copied often."""


@dataclass(frozen=True)
class FittedDetector:
    """A model without normal scores, and how it came about.

    Attributes:
        profiles: What is usual for each head, and how much it counts.
        outliers: Positions of images that look unlike all others called normal; nothing was fitted to them.
        augmentations: Flips that training used.
        head_aurocs: How well each head tells held-out synthetic defects from normal images.
    """

    parts: Parts
    profiles: dict[Head, HeadProfile]
    fitted_autoencoder: FittedAutoencoder
    outliers: tuple[int, ...]
    augmentations: tuple[str, ...]
    head_aurocs: dict[Head, float]


def fit_detector(  # noqa: PLR0913  # the images, how they are split and what of them counts are three arrays
    images: Pixels,
    *,
    split: Split,
    model: AutoencoderSettings,
    training: TrainingSettings,
    on_epoch: OnEpoch,
    initial: keras.Model | None = None,
    ignored: Ignored | None = None,
) -> FittedDetector:
    """Fit every part of a model to normal images.

    Args:
        images: Shape `(n, *model.read_px, c)`, of the type that the model says.
        split: Positions to learn from, and to stop by; the calibration set is not looked at.
        model: The networks.
        training: Preset, seed, augmentations.
        on_epoch: Told about every epoch of the autoencoder.
        initial: Autoencoder to start from; None starts afresh.
        ignored: Pixels of images as delivered that nothing is learnt from, shape `(h, w)`; None if there are none.

    Raises:
        ConfigurationError: If too little is left that counts.
        NonFiniteScoreError: If the loss is NaN.
    """
    chosen = np.array([*split.train, *split.validation])
    encoder, maker, is_training = _describe_tiles(images[chosen], split, model, seed=training.seed, ignored=ignored)
    data, is_outlier = _make_data(maker, is_training, training)
    augmentations = training.augmentations
    if augmentations is None:
        augmentations = _harmless(data)
    fitted = fit_autoencoder(
        *_pairs_to_restore(data, augmentations, seed=training.seed),
        model=model,
        training=training,
        on_epoch=on_epoch,
        initial=initial,
    )
    texture = fit_texture(data)
    data = data.without_features()
    discriminators = fit_discriminators(*_examples(data, texture), training.plan, seed=training.seed * 1_009)
    parts = Parts(model, fitted.network, encoder, texture.scale, texture.pca, texture.spread, discriminators)
    profiles, head_aurocs = _fit_profiles(parts, data, texture)
    outliers = tuple(chosen[is_outlier].tolist())
    return FittedDetector(parts, profiles, fitted, outliers, augmentations, head_aurocs)


def _describe_tiles(
    images: Pixels, split: Split, model: AutoencoderSettings, *, seed: int, ignored: Ignored | None
) -> tuple[keras.Model, TileMaker, NDArray[np.bool_]]:
    """Cut images into tiles and fit the filters that describe them.

    Args:
        images: Those of the training set, then those of the validation set.
        split: Says how many of them are of the training set.
        model: How images are cut, and what describes them.
        seed: Chooses the patches that filters are learnt from.
        ignored: Pixels that are taken out of the tiles; tiles that show next to nothing else are left out.

    Returns:
        The filters, what makes tiles with them, and which tiles are of the training set.
    """
    tiles = cut(images, model)
    origins = np.arange(len(images)).repeat(len(tiles) // len(images))
    places = IgnoredPlaces.of_images(ignored, model, count=len(images)) if ignored is not None else None
    if places is not None:
        usable = places.is_usable
        _check_enough_is_left(usable, places)
        tiles, origins, places = tiles[usable], origins[usable], places.of(usable)
        tiles = places.filled(tiles)
    is_training = origins < len(split.train)
    to_learn_from = even_gain(to_floats(tiles[is_training][:MAX_IMAGES_FOR_FILTERS]))
    encoder = fit_encoder(model, to_learn_from, seed=seed, leaves_out_flat=places is not None)
    return encoder, TileMaker(tiles, origins, model, compiled(encoder, encoder.input.shape[1:]), places), is_training


def _check_enough_is_left(usable: NDArray[np.bool_], places: IgnoredPlaces) -> None:
    if not usable.any():
        raise ConfigurationError(
            f"the ignore mask and the region of interest leave {1 - places.pixels.mean():.2%} of the image, in which "
            f"no rectangle of at least {CELL_PX} px, as images are read, is left to learn from. Ignore less, or see "
            "more: raise model.feature_resolution, or set model.smallest_defect_px."
        )


def _harmless(data: TrainingData) -> tuple[Augmentation, ...]:
    """Ask the images which flips are harmless; a pixel that is ignored in any tile is left out of all."""
    ignored = data.clean.ignored_in(data.is_learnt_from)
    anywhere = np.asarray(ignored.at(data.clean.inputs.shape[1:3]).any(axis=0)) if ignored else None
    return harmless_augmentations(data.clean.inputs[data.is_learnt_from], anywhere)


def _make_data(
    maker: TileMaker, is_training: NDArray[np.bool_], training: TrainingSettings
) -> tuple[TrainingData, NDArray[np.bool_]]:
    """Set outliers aside, and put synthetic defects into copies of the other tiles.

    Returns:
        What the training learns from and stops by, and which images are outliers, shape `(images,)`.
    """
    clean = maker.clean()
    is_outlier = find_outlying_images(clean)
    is_usable = ~is_outlier[clean.origins]
    learnt_from, stopped_by = np.flatnonzero(is_training & is_usable), np.flatnonzero(~is_training)
    data = TrainingData(
        clean,
        is_training,
        is_usable,
        maker.with_defects(learnt_from, count=training.plan.synthetic_images, seed=training.seed),
        maker.with_defects(stopped_by, count=MIN_VALIDATION_DEFECTS, seed=training.seed + 1),
    )
    return data, is_outlier


def _pairs_to_restore(data: TrainingData, augmentations: tuple[Augmentation, ...], *, seed: int) -> tuple[Pairs, Pairs]:
    """Inputs and targets of the autoencoder: those to learn from are flipped at random, those to stop by are not."""
    learnt_from, stopped_by = data.clean.inputs[data.is_learnt_from], data.clean.inputs[~data.is_training]
    return (
        _pairs(learnt_from, data.training_defects, augmentations, seed=seed),
        _pairs(stopped_by, data.validation_defects, (), seed=seed),
    )


def _pairs(clean: AnyFloats, defects: Tiles, augmentations: tuple[Augmentation, ...], *, seed: int) -> Pairs:
    """Pair inputs with targets, each pair flipped along the same axes.

    Clean tiles are their own targets; the target of a tile with a synthetic defect is what it was before.
    """
    half = clean.astype(np.float16)
    inputs, targets = np.concatenate([half, defects.inputs]), np.concatenate([half, defects.targets])
    for index, axes in enumerate(draw_augmentations(len(inputs), augmentations, np.random.default_rng(seed))):
        inputs[index], targets[index] = np.flip(inputs[index], axes), np.flip(targets[index], axes)
    return Pairs(inputs, targets)


def _examples(data: TrainingData, texture: Texture) -> tuple[Examples, Examples]:
    """What discriminators learn from and stop by: held-out residuals of clean tiles and of synthetic defects."""
    clean_share = data.clean.defective_share
    training_set = [
        (texture.clean[data.is_learnt_from], clean_share[data.is_learnt_from]),
        (texture.training_defects, data.training_defects.defective_share),
    ]
    validation_set = [
        (texture.clean[~data.is_training], clean_share[~data.is_training]),
        (texture.validation_defects, data.validation_defects.defective_share),
    ]
    return Examples.of(training_set, texture.spread), Examples.of(validation_set, texture.spread)


def _fit_profiles(
    parts: Parts, data: TrainingData, texture: Texture
) -> tuple[dict[Head, HeadProfile], dict[Head, float]]:
    """Learn from the validation set what is usual for each head, and how well it finds synthetic defects."""
    stopped_by = ~data.is_training
    normal = held_out_error_maps(parts, data.clean.inputs[stopped_by], texture.clean[stopped_by])
    defective = held_out_error_maps(parts, data.validation_defects.inputs, texture.validation_defects)
    ignored: dict[Head, IgnoredPlaces | None] = dict.fromkeys(normal, data.clean.ignored_in(stopped_by))
    if "texture" in normal:
        # the residual of every usable tile is a held-out one: more of them say better what is usual
        normal["texture"] = texture_error(texture.clean[data.is_usable])
        ignored["texture"] = data.clean.ignored_in(data.is_usable)
    return fit_head_profiles(
        HeldOutMaps(normal, ignored),
        HeldOutMaps(defective, dict.fromkeys(defective, data.validation_defects.ignored)),
        size_px=(parts.settings.height_px, parts.settings.width_px),
    )
