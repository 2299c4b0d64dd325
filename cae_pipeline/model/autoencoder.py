"""The convolutional autoencoder, in Keras' words.

Conv2D layers shrink the image, a Dense layer squeezes it into the code, Conv2DTranspose layers
mirror the way back. What does not fit through the code – anything normal images never showed –
is missing from the reconstruction.

Source:
    Masci et al., "Stacked Convolutional Auto-Encoders for Hierarchical Feature Extraction", ICANN 2011.
"""

from __future__ import annotations

import math

import keras

from cae_pipeline.core.convolution import encoder_layers, encoder_sizes
from cae_pipeline.core.line import AutoencoderSettings


def build_autoencoder(settings: AutoencoderSettings, *, seed: int) -> keras.Model:
    """Build the untrained network.

    Args:
        settings: Every knob; see `AutoencoderSettings`.
        seed: Of the weights; the same seed gives the same weights.

    Returns:
        A model from float32 `(n, h, w, c)` in [0, 1] to the same shape and range; its layer
        `code` gives `(n, code_size)`.

    Raises:
        ConfigurationError: If the knobs do not fit together; see `encoder_sizes`.
    """
    sizes, layers = encoder_sizes(settings), encoder_layers(settings)
    seeds = keras.random.SeedGenerator(seed)
    knobs = {
        "kernel_regularizer": keras.regularizers.L2(settings.kernel_regularizer)
        if settings.kernel_regularizer
        else None,
    }
    tensor = image = keras.Input((*sizes[0], settings.channels), name="image")
    for index, layer in enumerate(layers):
        tensor = keras.layers.Conv2D(
            layer.filters,
            layer.kernel_size,
            strides=layer.strides,
            padding=layer.padding,
            activation=settings.activation,
            kernel_initializer=keras.initializers.GlorotUniform(seeds),
            name=f"encoder_{index + 1}",
            **knobs,
        )(tensor)
    narrowest = tensor.shape[1:]
    tensor = keras.layers.Flatten(name="flatten")(tensor)
    tensor = keras.layers.Dense(
        settings.code_size, kernel_initializer=keras.initializers.GlorotUniform(seeds), name="code", **knobs
    )(tensor)
    tensor = keras.layers.Dense(
        math.prod(narrowest),
        activation=settings.activation,
        kernel_initializer=keras.initializers.GlorotUniform(seeds),
        name="unfold",
        **knobs,
    )(tensor)
    tensor = keras.layers.Reshape(narrowest, name="reshape")(tensor)
    for index, layer in reversed(list(enumerate(layers))):
        tensor = keras.layers.Conv2DTranspose(
            layers[index - 1].filters if index else settings.channels,
            layer.kernel_size,
            strides=layer.strides,
            padding=layer.padding,
            activation=settings.activation if index else "sigmoid",
            kernel_initializer=keras.initializers.GlorotUniform(seeds),
            name=f"decoder_{len(layers) - index}",
            **knobs,
        )(tensor)
    return keras.Model(image, tensor, name="convolutional_autoencoder")
