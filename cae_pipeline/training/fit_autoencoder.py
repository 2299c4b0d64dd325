"""Fit the autoencoder to normal images."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from cae_pipeline.domain.images import HalfFloats
from cae_pipeline.domain.line import AutoencoderSettings, TrainingSettings
from cae_pipeline.errors import NonFiniteScoreError
from cae_pipeline.training.autoencoder import build_autoencoder
from cae_pipeline.training.minibatches import minibatches

OnEpoch = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True)
class Pairs:
    """What the autoencoder is given, and what it should give back.

    Attributes:
        inputs: Shape `(n, h, w, c)`, float16 in [0, 1].
        targets: The same shape.
    """

    inputs: HalfFloats
    targets: HalfFloats


@dataclass(frozen=True)
class FittedAutoencoder:
    """A trained network and how it got there.

    Attributes:
        epochs: How many were run.
        best_epoch: The one whose weights were kept, from 1.
        validation_loss: Mean squared error on the validation pairs at that epoch.
    """

    network: keras.Model
    epochs: int
    best_epoch: int
    validation_loss: float
    train_seconds: float
    images_per_second: float


def fit_autoencoder(
    train: Pairs,
    validation: Pairs,
    *,
    model: AutoencoderSettings,
    training: TrainingSettings,
    on_epoch: OnEpoch = lambda epoch, metrics: None,
    initial: keras.Model | None = None,
) -> FittedAutoencoder:
    """Train the autoencoder to restore images, until the loss on held-out ones stops falling.

    Args:
        train: Images with synthetic defects and what they were before, and normal ones.
        validation: Others of the same size; decide when to stop, never trained on.
        model: The network.
        training: Seed, minibatches, epochs (or those of the preset), patience.
        on_epoch: Told the epoch (from 1) and its `loss`, `val_loss` and `learning_rate`.
        initial: Weights to start from (a refresh); None starts afresh.

    Raises:
        NonFiniteScoreError: If the loss is NaN; the learning rate is too high.
    """
    keras.utils.set_random_seed(training.seed)
    network = build_autoencoder(model, seed=training.seed)
    if initial is not None:
        network.set_weights(initial.get_weights())
    minibatch_size = min(training.minibatch_size, len(train.inputs))
    steps, epochs = len(train.inputs) // minibatch_size, training.plan.epochs
    _compile(network, training, num_steps=epochs * steps)
    stopping = keras.callbacks.EarlyStopping("val_loss", patience=training.patience, restore_best_weights=True)
    telling = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: on_epoch(epoch + 1, _plain(logs)))
    started = time.perf_counter()
    history = network.fit(
        minibatches((train.inputs, train.targets), minibatch_size, seed=training.seed),
        validation_data=_in_order(validation, minibatch_size),
        epochs=epochs,
        callbacks=[stopping, telling, keras.callbacks.TerminateOnNaN()],
        shuffle=False,  # the minibatches are shuffled already
        verbose=0,
    ).history
    seconds = time.perf_counter() - started
    _check_finite(history, training.learning_rate)
    losses = history["val_loss"]
    best = int(np.argmin(losses))
    images_per_second = len(losses) * steps * minibatch_size / seconds
    return FittedAutoencoder(network, len(losses), best + 1, losses[best], seconds, images_per_second)


def _in_order(pairs: Pairs, minibatch_size: int) -> tf.data.Dataset:
    return minibatches((pairs.inputs, pairs.targets), min(minibatch_size, len(pairs.inputs)), seed=None)


def _compile(network: keras.Model, training: TrainingSettings, *, num_steps: int) -> None:
    schedule = keras.optimizers.schedules.CosineDecay(training.learning_rate, num_steps, alpha=0.02)
    # XLA fuses the whole step: fewer passes over memory, which is what CPUs wait for
    network.compile(optimizer=keras.optimizers.Adam(schedule), loss="mse", jit_compile=True)


def _check_finite(history: Mapping[str, list[float]], learning_rate: float) -> None:
    if not np.isfinite([*history["loss"], *history["val_loss"]]).all():
        raise NonFiniteScoreError(
            f"the loss is not finite after {len(history['loss'])} epochs; expected a number. "
            f"Lower training.learning_rate (now {learning_rate:g})."
        )


def _plain(logs: Mapping[str, float] | None) -> dict[str, float]:
    return {name: float(value) for name, value in (logs or {}).items()}
