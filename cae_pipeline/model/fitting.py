"""Normal images → a model: every part fitted, each judged on images it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from cae_pipeline.core import scoring
from cae_pipeline.core.evaluation import auroc
from cae_pipeline.core.images import Floats, Pixels, even_gain, gain_of, to_floats
from cae_pipeline.core.line import AutoencoderSettings, TrainingSettings, Turn, View
from cae_pipeline.core.scoring import PRIOR_IMAGES, ViewProfile
from cae_pipeline.core.split import Split
from cae_pipeline.core.symmetry import draw_turns, harmless_turns
from cae_pipeline.core.texture import (
    MAX_IMAGES,
    MAX_IMAGES_FOR_FILTERS,
    find_suspects,
    fit_linear_autoencoder,
    folds_of,
    held_out_residuals,
    residual_spread,
    texture_error,
)
from cae_pipeline.core.tiling import cut
from cae_pipeline.core.views import NetworkOutputs, view_errors
from cae_pipeline.model.corruption import with_defects
from cae_pipeline.model.discriminator import Examples, discriminator_inputs, fit_discriminator
from cae_pipeline.model.forward import compiled, network_images, run_all
from cae_pipeline.model.parts import Parts
from cae_pipeline.model.texture import fit_encoder
from cae_pipeline.model.training import FittedAutoencoder, OnEpoch, Pairs, fit_autoencoder
from cae_pipeline.runtime.parallel import in_order

MIN_EXAM = 60
"""Damaged copies of the validation images, at least; where there are few, each is damaged several times."""
LOWEST_MERIT = 0.02
"""AUROC above chance that every view is granted, so that none is ever silent."""
CHUNK_SIZE = 64
"""Tiles that are in memory at full size as floats at once."""


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
class _Tiles:
    """Tiles of some images, as every part of the model sees them.

    Attributes:
        origins: Position of the image each comes from, shape `(n,)`.
        shown: For the autoencoder, shape `(n, height_px, width_px, c)`.
        wanted: What `shown` was before it was damaged.
        features: Shape `(n, cells, cells, f)`.
        damaged_share: Of each cell, shape `(n, cells, cells)`.
    """

    origins: NDArray[np.int_]
    shown: Floats
    wanted: Floats
    features: Floats
    damaged_share: Floats


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
    chosen = np.array([*split.train, *split.validation])
    tiles = cut(images[chosen], model)
    origins = np.arange(len(chosen)).repeat(len(tiles) // len(chosen))
    learns = origins < len(split.train)
    encoder = fit_encoder(model, even_gain(to_floats(tiles[learns][:MAX_IMAGES_FOR_FILTERS])), seed=training.seed)
    maker = _Maker(tiles, origins, model, compiled(encoder, encoder.input.shape[1:]))
    clean = maker.clean()
    suspected = _suspects(clean)
    usable = ~suspected[origins]
    lessons = maker.damaged(np.flatnonzero(learns & usable), count=training.plan.damaged_images, seed=training.seed)
    exam = maker.damaged(np.flatnonzero(~learns), count=MIN_EXAM, seed=training.seed + 1)

    seen = _pick(clean, learns & usable)
    turns = harmless_turns(seen.shown) if training.turns is None else training.turns
    fitted = fit_autoencoder(
        _pairs([seen, lessons], turns, seed=training.seed),
        _pairs([_pick(clean, ~learns), exam], (), seed=training.seed),
        model=model,
        training=training,
        on_epoch=on_epoch,
        initial=initial,
    )
    parts, of_clean, of_exam = _fit_texture(
        model, (fitted.network, encoder), (clean, lessons, exam), (learns, usable), training
    )
    normal = _errors(parts, clean.shown[~learns], of_clean[~learns])
    if "texture" in normal:
        # judged without having been seen, every image says what is usual
        normal["texture"] = texture_error(of_clean[usable])
    profiles, merits = _profiles(normal, _errors(parts, exam.shown, of_exam), model)
    return FittedParts(parts, profiles, fitted, tuple(chosen[suspected].tolist()), turns, merits)


@dataclass(frozen=True)
class _Maker:
    """Turns tiles into what every part of the model sees, a chunk at a time."""

    tiles: Pixels
    origins: NDArray[np.int_]
    model: AutoencoderSettings
    encoder: Any

    def clean(self) -> _Tiles:
        chunks = [self._described(self.tiles[start : start + CHUNK_SIZE]) for start in _starts(len(self.tiles))]
        shown, features, _ = (np.concatenate(arrays) for arrays in zip(*chunks, strict=True))
        return _Tiles(self.origins, shown, shown, features, np.zeros(features.shape[:3], np.float32))

    def damaged(self, positions: NDArray[np.int_], *, count: int, seed: int) -> _Tiles:
        """Damage tiles, each as often as the others, at least `count` in all."""
        times = -(-max(count, len(positions)) // len(positions))
        random = np.random.default_rng(seed)
        order = np.concatenate([random.permutation(positions) for _ in range(times)])[: max(count, len(positions))]
        starts = enumerate(_starts(len(order)))
        # the numbers of the chunks are their seeds: whoever is first, the damage is the same
        made = in_order(lambda one: self._damaged(order[one[1] : one[1] + CHUNK_SIZE], seed * 100_003 + one[0]), starts)
        shown, wanted, features, share = (np.concatenate(arrays) for arrays in zip(*made, strict=True))
        return _Tiles(self.origins[order], shown, wanted, features, share)

    def _damaged(self, positions: NDArray[np.int_], seed: int) -> tuple[Floats, Floats, Floats, Floats]:
        before = self.tiles[positions]
        after = with_defects(before, seed=seed)
        shown, features, gain = self._described(after.images)
        wanted = network_images(np.clip(to_floats(before) * gain, 0, 1), self.model)
        return shown, wanted, features, _share(after.masks, features.shape[1:3])

    def _described(self, tiles: Pixels) -> tuple[Floats, Floats, Floats]:
        floats = to_floats(tiles)
        even = even_gain(floats)
        return network_images(even, self.model), run_all(self.encoder, even), gain_of(floats)


def _suspects(clean: _Tiles) -> NDArray[np.bool_]:
    """Judge each image by the others, on texture alone."""
    scaled = clean.features / _scale(clean.features)
    [residuals] = held_out_residuals(scaled, folds_of(clean.origins), usable=np.ones(len(scaled), np.bool_))
    worst = np.zeros(clean.origins.max() + 1)
    np.maximum.at(worst, clean.origins, texture_error(residuals).max(axis=(1, 2)))
    return find_suspects(worst)


def _fit_texture(
    model: AutoencoderSettings,
    networks: tuple[keras.Model, keras.Model],
    tiles: tuple[_Tiles, _Tiles, _Tiles],
    chosen: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    training: TrainingSettings,
) -> tuple[Parts, Floats, Floats]:
    """Fit plane and discriminators to what autoencoder and encoder give.

    The features of the tiles are used up.

    Returns:
        All parts, and the held-out residuals of the clean tiles and of the exam.
    """
    learns, usable = chosen
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
    plan = training.plan
    discriminators = tuple(
        fit_discriminator(
            taught, asked, epochs=plan.discriminator_epochs, seed=training.seed * 1_009 + number, number=number
        )
        for number in range(plan.discriminators)
    )
    plane = fit_linear_autoencoder(clean.features[usable][:MAX_IMAGES])
    return Parts(model, *networks, scale, plane, spread, discriminators), of_clean, of_exam


def _errors(parts: Parts, shown: Floats, residuals: Floats) -> dict[View, Floats]:
    """What the views say of tiles whose residuals are those of autoencoders that never saw them."""
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


def _pairs(parts: Sequence[_Tiles], turns: tuple[Turn, ...], *, seed: int) -> Pairs:
    shown = np.concatenate([part.shown.astype(np.float16) for part in parts])
    wanted = np.concatenate([part.wanted.astype(np.float16) for part in parts])
    for index, axes in enumerate(draw_turns(len(shown), turns, np.random.default_rng(seed))):
        shown[index], wanted[index] = np.flip(shown[index], axes), np.flip(wanted[index], axes)
    return Pairs(shown, wanted)


def _pick(tiles: _Tiles, chosen: NDArray[np.bool_]) -> _Tiles:
    return _Tiles(*(getattr(tiles, field.name)[chosen] for field in fields(tiles)))


def _scale(features: Floats) -> Floats:
    scale: Floats = features.std(axis=(0, 1, 2)) + np.float32(1e-6)
    return scale


def _share(masks: NDArray[np.bool_], cells: tuple[int, ...]) -> Floats:
    count, height, width = masks.shape
    share: Floats = masks.reshape(count, cells[0], height // cells[0], cells[1], width // cells[1]).mean(
        axis=(2, 4), dtype=np.float32
    )
    return share


def _starts(count: int) -> range:
    return range(0, count, CHUNK_SIZE)
