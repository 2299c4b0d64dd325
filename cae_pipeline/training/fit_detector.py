"""Normal images → a model: every part fitted, each judged on images it has not seen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import keras
import numpy as np
from numpy.typing import NDArray

from cae_pipeline.detector import fusion as scoring
from cae_pipeline.detector.error_maps import NetworkOutputs, view_errors
from cae_pipeline.detector.fusion import PRIOR_IMAGES, ViewProfile
from cae_pipeline.detector.pca import (
    MAX_IMAGES,
    MAX_IMAGES_FOR_FILTERS,
    LinearAutoencoder,
    find_suspects,
    fit_linear_autoencoder,
    folds_of,
    held_out_residuals,
    residual_spread,
    texture_error,
)
from cae_pipeline.detector.tiling import cut
from cae_pipeline.domain.images import AnyFloats, Floats, Pixels, even_gain, to_floats
from cae_pipeline.domain.line import AutoencoderSettings, TrainingSettings, Turn, View
from cae_pipeline.statistics.metrics import auroc
from cae_pipeline.statistics.split import Split
from cae_pipeline.training.augmentation import draw_turns, harmless_turns
from cae_pipeline.training.dataset import TileMaker, Tiles
from cae_pipeline.training.discriminator import Examples, discriminator_inputs, fit_discriminators
from cae_pipeline.training.filter_bank import fit_encoder
from cae_pipeline.training.fit_autoencoder import FittedAutoencoder, OnEpoch, Pairs, fit_autoencoder
from cae_pipeline.training.parts import Parts
from cae_pipeline.training.reference import compiled, run_all

MIN_EXAM = 60
"""Damaged copies of the validation images, at least; where there are few, each is damaged several times."""
LOWEST_MERIT = 0.02
"""AUROC above chance that every view is granted, so that none is ever silent."""


@dataclass(frozen=True)
class FittedParts:
    """A model without normal scores, and how it came about.

    Attributes:
        profiles: What is usual for each view, and how much it counts.
        suspects: Positions of images that look unlike all others called normal; nothing was fitted to them.
        turns: Flips that training used.
        merits: How well each view tells held-out synthetic defects from normal images, as AUROC.
    """

    parts: Parts
    profiles: dict[View, ViewProfile]
    fitted: FittedAutoencoder
    suspects: tuple[int, ...]
    turns: tuple[str, ...]
    merits: dict[View, float]


@dataclass(frozen=True)
class _Texture:
    """The plane through local features, and what it leaves of tiles it was not fitted to.

    Attributes:
        scale: Standard deviation of each feature, shape `(f,)`.
        spread: Usual size of each residual at each cell, shape `(cells, cells, f)`.
        of_clean: Residuals of the clean tiles, shape `(n, cells, cells, f)`.
        of_exam: The same of the tiles to be examined on.
        taught: What discriminators learn from.
        asked: What they stop by.
    """

    scale: Floats
    plane: LinearAutoencoder
    spread: Floats
    of_clean: AnyFloats
    of_exam: AnyFloats
    taught: Examples
    asked: Examples


def fit_parts(
    images: Pixels,
    *,
    split: Split,
    model: AutoencoderSettings,
    training: TrainingSettings,
    on_epoch: OnEpoch,
    initial: keras.Model | None = None,
) -> FittedParts:
    """Fit every part of a model to normal images.

    Args:
        images: Shape `(n, *model.read_px, c)`, uint8.
        split: Positions to learn from, and to stop by; calibration is not looked at.
        model: The networks.
        training: Effort, seed, turns.
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
    lessons = maker.damaged(np.flatnonzero(learns & usable), count=plan.damaged_images, seed=training.seed)
    exam = maker.damaged(np.flatnonzero(~learns), count=MIN_EXAM, seed=training.seed + 1)

    seen, kept_back = clean.shown[learns & usable], clean.shown[~learns]
    turns = harmless_turns(seen) if training.turns is None else training.turns
    pairs = [_pairs(seen, lessons, turns, seed=training.seed), _pairs(kept_back, exam, (), seed=training.seed)]
    fitted = fit_autoencoder(*pairs, model=model, training=training, on_epoch=on_epoch, initial=initial)
    texture = _fit_texture((clean, lessons, exam), learns=learns, usable=usable)
    del lessons, pairs  # most of a training's memory, and `texture.taught` holds what is still needed of it
    discriminators = fit_discriminators(texture.taught, texture.asked, plan, seed=training.seed * 1_009)
    parts = Parts(model, fitted.network, encoder, texture.scale, texture.plane, texture.spread, discriminators)
    normal = _errors(parts, kept_back, texture.of_clean[~learns])
    if "texture" in normal:
        # judged without having been seen, every image says what is usual
        normal["texture"] = texture_error(texture.of_clean[usable])
    profiles, merits = _profiles(normal, _errors(parts, exam.shown, texture.of_exam), model)
    return FittedParts(parts, profiles, fitted, tuple(chosen[suspected].tolist()), turns, merits)


def _suspects(clean: Tiles) -> NDArray[np.bool_]:
    """Judge each image by the others, on texture alone."""
    scaled = clean.features / _scale(clean.features)
    [residuals] = held_out_residuals(scaled, folds_of(clean.origins), usable=np.ones(len(scaled), np.bool_))
    worst = np.zeros(clean.origins.max() + 1)
    np.maximum.at(worst, clean.origins, texture_error(residuals).max(axis=(1, 2)))
    return find_suspects(worst)


def _fit_texture(
    tiles: tuple[Tiles, Tiles, Tiles], *, learns: NDArray[np.bool_], usable: NDArray[np.bool_]
) -> _Texture:
    """Fit the plane, and judge every tile by one that has not seen it.

    Args:
        tiles: Clean ones, damaged ones to learn from, others to be examined on. Their features are used up.
        learns: Which of the clean tiles are learnt from.
        usable: Which of them are not suspected.
    """
    clean, lessons, exam = tiles
    scale = _scale(clean.features[usable])
    for part in tiles:
        # in place: these are the largest arrays of a training, and nobody needs them in other units
        np.divide(part.features, scale, out=part.features)
    of_clean, of_lessons, of_exam = held_out_residuals(
        clean.features,
        folds_of(clean.origins),
        [(lessons.features, folds_of(lessons.origins)), (exam.features, folds_of(exam.origins))],
        usable=usable,
    )
    seen = learns & usable
    spread = residual_spread(of_clean[seen], prior_images=PRIOR_IMAGES)
    taught = Examples.of([(of_clean[seen], clean.damaged_share[seen]), (of_lessons, lessons.damaged_share)], spread)
    asked = Examples.of([(of_clean[~learns], clean.damaged_share[~learns]), (of_exam, exam.damaged_share)], spread)
    plane = fit_linear_autoencoder(clean.features[usable][:MAX_IMAGES])
    return _Texture(scale, plane, spread, of_clean, of_exam, taught, asked)


def _errors(parts: Parts, shown: AnyFloats, residuals: AnyFloats) -> dict[View, Floats]:
    """What the views say of tiles whose residuals are those of autoencoders that never saw them."""
    shown = shown.astype(np.float32)
    rebuilt = run_all(compiled(parts.autoencoder, shown.shape[1:]), shown)
    inputs = np.concatenate([discriminator_inputs(one[None], parts.spread) for one in residuals])
    logits = [run_all(compiled(network, inputs.shape[1:]), inputs) for network in parts.discriminators]
    defect, no_code = np.mean(logits, axis=0)[..., 0], np.zeros((len(shown), 0), np.float32)
    outputs = NetworkOutputs(shown, rebuilt, texture_error(residuals), defect, no_code)
    return view_errors(outputs, parts.settings.views)


def _profiles(
    normal: dict[View, Floats], defective: dict[View, Floats], model: AutoencoderSettings
) -> tuple[dict[View, ViewProfile], dict[View, float]]:
    """Learn what each view says of normal images, and let it count by how well it finds synthetic defects."""
    profiles, merits, size = {}, {}, (model.height_px, model.width_px)
    for view, errors in normal.items():
        profile = scoring.fit_profile(view, errors)
        worst = [
            scoring.view_maps(view, some, profile, size_px=size).reshape(len(some), -1).max(axis=1)
            for some in (errors, defective[view])
        ]
        merits[view] = auroc(worst[0].astype(np.float64), worst[1].astype(np.float64))
        profiles[view] = replace(profile, weight=max(merits[view] - 0.5, LOWEST_MERIT) ** 2)
    total = sum(profile.weight for profile in profiles.values())
    return {view: replace(profile, weight=profile.weight / total) for view, profile in profiles.items()}, merits


def _pairs(clean: AnyFloats, damaged: Tiles, turns: tuple[Turn, ...], *, seed: int) -> Pairs:
    """Clean tiles are shown as they are wanted, damaged ones as they were before; all of them turned by chance."""
    half = clean.astype(np.float16)
    shown, wanted = np.concatenate([half, damaged.shown]), np.concatenate([half, damaged.wanted])
    for index, axes in enumerate(draw_turns(len(shown), turns, np.random.default_rng(seed))):
        shown[index], wanted[index] = np.flip(shown[index], axes), np.flip(wanted[index], axes)
    return Pairs(shown, wanted)


def _scale(features: AnyFloats) -> Floats:
    scale: Floats = features.std(axis=(0, 1, 2)) + np.float32(1e-6)
    return scale
