"""The convolutional autoencoder, in Keras' words.

Conv2D layers shrink the image, a Dense layer squeezes it into the latent, and Conv2DTranspose layers mirror the way
back. What does not fit through the latent, which is anything that normal images never showed, is missing from the
reconstruction.

Source:
    Masci et al., "Stacked Convolutional Auto-Encoders for Hierarchical Feature Extraction", ICANN 2011.
"""

from __future__ import annotations

import math
from typing import Any

import keras

from cae_pipeline.detector.convolution import encoder_layers, encoder_sizes
from cae_pipeline.domain.line import AutoencoderSettings


def build_autoencoder(settings: AutoencoderSettings, *, seed: int) -> keras.Model:
    """Build the untrained network.

    Args:
        settings: Every knob; see `AutoencoderSettings`.
        seed: Of the weights; the same seed gives the same weights.

    Returns:
        A model from float32 `(n, h, w, c)` in [0, 1] to the same shape and range; its layer
        `latent` gives `(n, latent_size)`.

    Raises:
        ConfigurationError: If the knobs do not fit together; see `encoder_sizes`.
    """
    sizes = encoder_sizes(settings)
    seeds = keras.random.SeedGenerator(seed)
    image = keras.Input((*sizes[0], settings.channels), name="image")
    features = _encoder(image, settings, seeds)
    narrowest = features.shape[1:]
    flat = keras.layers.Flatten(name="flatten")(features)
    latent = keras.layers.Dense(settings.latent_size, name="latent", **_knobs(settings, seeds))(flat)
    unfolded = keras.layers.Dense(
        math.prod(narrowest), activation=settings.activation, name="unfold", **_knobs(settings, seeds)
    )(latent)
    restored = _decoder(keras.layers.Reshape(narrowest, name="reshape")(unfolded), settings, seeds)
    return keras.Model(image, restored, name="convolutional_autoencoder")


def _encoder(tensor: Any, settings: AutoencoderSettings, seeds: keras.random.SeedGenerator) -> Any:
    for number, layer in enumerate(encoder_layers(settings), start=1):
        tensor = keras.layers.Conv2D(
            layer.filters,
            layer.kernel_size,
            strides=layer.strides,
            padding=layer.padding,
            activation=settings.activation,
            name=f"encoder_{number}",
            **_knobs(settings, seeds),
        )(tensor)
    return tensor


def _decoder(tensor: Any, settings: AutoencoderSettings, seeds: keras.random.SeedGenerator) -> Any:
    """Mirror the encoder: each layer undoes the size of its counterpart and gives the channels before it."""
    layers = encoder_layers(settings)
    channels = (settings.channels, *(layer.filters for layer in layers))
    for index, layer in reversed(list(enumerate(layers))):
        tensor = keras.layers.Conv2DTranspose(
            channels[index],
            layer.kernel_size,
            strides=layer.strides,
            padding=layer.padding,
            activation=settings.activation if index else "sigmoid",
            name=f"decoder_{len(layers) - index}",
            **_knobs(settings, seeds),
        )(tensor)
    return tensor


def _knobs(settings: AutoencoderSettings, seeds: keras.random.SeedGenerator) -> dict[str, Any]:
    strength = settings.kernel_regularizer
    return {
        "kernel_initializer": keras.initializers.GlorotUniform(seeds),
        "kernel_regularizer": keras.regularizers.L2(strength) if strength else None,
    }
