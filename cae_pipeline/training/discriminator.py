"""A small network that tells the residual of a defect from the residual of a normal place.

It never sees the image, only what the PCA could not rebuild, in units of what is usual at that place. What it learns
about synthetic defects therefore holds for real ones too.

Source:
    A discriminator on what a reconstruction missed, trained on synthetic defects: Zavrtanik et al.,
    "DRAEM", ICCV 2021 (0.98 image AUROC on MVTec AD), there on image and reconstruction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from cae_pipeline.domain.images import AnyFloats, Floats
from cae_pipeline.domain.presets import Preset
from cae_pipeline.training.minibatches import joined, minibatches

WIDTH = 64
DEFECTIVE_SHARE, CLEAN_SHARE = 0.12, 0.01
"""Defective share of a cell from which it is a defect, and below which it is normal; in between it teaches nothing."""
MINIBATCH_SIZE = 16
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-3
PATIENCE = 3
LARGEST = 1_000.0
"""Residuals are clipped to so many times the usual, which half precision holds."""

_Tensors: TypeAlias = tuple[tf.Tensor, ...]


@dataclass(frozen=True)
class Examples:
    """Residuals of tiles, and what is true of each cell.

    Attributes:
        inputs: As `discriminator_inputs` gives them, shape `(n, h, w, f + 1)`, float16; a tensor, since Keras makes
            one of an array for every training and does not let go of it.
        defective_share: Of each cell, in [0, 1], shape `(n, h, w)`.
    """

    inputs: tf.Tensor
    defective_share: Floats

    @classmethod
    def of(cls, parts: Sequence[tuple[AnyFloats, AnyFloats]], spread: Floats) -> Examples:
        """Bring residuals into units of what is usual, tile by tile: they are the bulk of a training's memory.

        Args:
            parts: Residuals, shape `(n, h, w, f)`, and the defective share of their cells, shape `(n, h, w)`.
            spread: Usual size of each residual, shape `(h, w, f)`.
        """
        described = (
            (keras.ops.convert_to_numpy(discriminator_inputs(one[None], spread)).astype(np.float16), defective[None])
            for residuals, share in parts
            for one, defective in zip(residuals, share, strict=True)
        )
        inputs, defective_share = joined(described, sum(len(share) for _, share in parts))
        return cls(tf.convert_to_tensor(inputs), defective_share)


def discriminator_inputs(residuals: Any, spread: Floats) -> Any:
    """Bring residuals into units of what is usual, and add how large they are together in each cell.

    Args:
        residuals: Array or tensor of shape `(n, h, w, f)`.
        spread: Usual size of each residual, shape `(h, w, f)`.

    Returns:
        A tensor of shape `(n, h, w, f + 1)`, float32.
    """
    relative = keras.ops.clip(residuals / spread, -LARGEST, LARGEST)
    size = keras.ops.log(keras.ops.mean(relative**2, axis=3, keepdims=True) + 0.01)
    return keras.ops.concatenate([relative, size], axis=3)


def build_discriminator(num_inputs: int, *, seed: int, number: int = 0) -> keras.Model:
    """Build the untrained network, from `(n, h, w, num_inputs)` to logits `(n, h, w, 1)`.

    Args:
        num_inputs: Residuals of a cell and their size.
        seed: Of the weights.
        number: Tells the discriminators of one model apart.
    """
    seeds = keras.random.SeedGenerator(seed)

    def layer(filters: int, kernel_size: int, name: str, activation: str | None = "relu") -> keras.layers.Layer:
        initial = keras.initializers.GlorotUniform(seeds)
        return keras.layers.Conv2D(
            filters, kernel_size, padding="same", activation=activation, kernel_initializer=initial, name=name
        )

    residual = keras.Input((None, None, num_inputs), name="residual")
    mixed = layer(WIDTH, 1, "mix")(residual)
    return keras.Model(
        residual, layer(1, 1, "logit", None)(layer(WIDTH, 3, "neighbours")(mixed)), name=f"discriminator_{number}"
    )


def fit_discriminators(
    training_set: Examples, validation_set: Examples, plan: Preset, *, seed: int
) -> tuple[keras.Model, ...]:
    """Train several from different weights, each until the loss on held-out synthetic defects stops falling.

    Args:
        training_set: What they learn from.
        validation_set: What they stop by.
        plan: How many, and for how many epochs at most.
        seed: Of the first; each has its own.
    """
    to_learn_from, to_stop_by = _tensors(training_set), _tensors(validation_set)
    return tuple(
        _fit(to_learn_from, to_stop_by, epochs=plan.discriminator_epochs, seed=seed + number, number=number)
        for number in range(plan.discriminators)
    )


def _fit(training_set: _Tensors, validation_set: _Tensors, *, epochs: int, seed: int, number: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    num_tiles, _, _, num_inputs = training_set[0].shape
    network = build_discriminator(num_inputs, seed=seed, number=number)
    size = min(MINIBATCH_SIZE, num_tiles)
    steps = epochs * (num_tiles // size)
    network.compile(
        optimizer=keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(LEARNING_RATE, max(steps, 1)), weight_decay=WEIGHT_DECAY
        ),
        loss=keras.losses.BinaryFocalCrossentropy(from_logits=True, gamma=1.0),
        jit_compile=True,
    )
    stopping = keras.callbacks.EarlyStopping("val_loss", patience=PATIENCE, restore_best_weights=True)
    network.fit(
        minibatches(training_set, size, seed=seed),
        validation_data=minibatches(validation_set, min(size, len(validation_set[0])), seed=None),
        epochs=epochs,
        callbacks=[stopping],
        shuffle=False,  # the minibatches are shuffled already
        verbose=0,
    )
    return network


def _tensors(examples: Examples) -> _Tensors:
    """Inputs, whether each cell is a defect, and whether that is certain enough to learn from."""
    share = examples.defective_share[..., None]
    labels = share > DEFECTIVE_SHARE
    arrays = (examples.inputs, labels, labels | (share < CLEAN_SHARE))
    return tuple(tf.convert_to_tensor(array) for array in arrays)
