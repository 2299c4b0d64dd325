"""All networks of a model as one Keras model, from the bytes of tiles to what the heads need.

This is the reference: what ONNX Runtime or OpenVINO run is exported from it and compared with it.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from cae_pipeline.detector.error_maps import NetworkOutputs
from cae_pipeline.detector.scorer import MINIBATCH_SIZE, Forward
from cae_pipeline.domain.images import DARKEST, EVEN_BRIGHTNESS, Floats, Pixels, white_of
from cae_pipeline.domain.line import AutoencoderSettings
from cae_pipeline.training.discriminator import discriminator_inputs
from cae_pipeline.training.parts import Parts


def build_forward(parts: Parts, *, components_apart: bool = False) -> keras.Model:
    """Join all networks of a model to one.

    Args:
        parts: The networks.
        components_apart: Whether the components of the PCA are a second input instead of a constant.

    Returns:
        A model from `(n, *tile_px, c)`, uint8 or uint16 as the settings say, to the arrays of `NetworkOutputs`, in
        their order.
    """
    settings = parts.settings
    tiles = keras.Input((*settings.tile_px, settings.channels), dtype=settings.pixel_type, name="tiles")
    pixels = ops.cast(tiles, "float32") / float(white_of(np.dtype(settings.pixel_type)))
    # axis by axis: one long sum would round differently in every runtime
    mean = ops.mean(ops.mean(ops.mean(pixels, axis=3, keepdims=True), axis=2, keepdims=True), axis=1, keepdims=True)
    even = ops.clip(pixels * (EVEN_BRIGHTNESS / ops.maximum(mean, DARKEST)), 0.0, 1.0)
    inputs = keras.layers.AveragePooling2D(settings.feature_resolution)(even)
    components = keras.Input(batch_shape=parts.pca.components.shape, name="components") if components_apart else None
    residuals = _residuals(parts, parts.encoder(even), parts.pca.components if components is None else components)
    judged = discriminator_inputs(residuals, parts.spread)
    logits = [network(judged) for network in parts.discriminators]
    rebuilt, latent = _with_latent(parts.autoencoder)(inputs)
    return keras.Model(
        tiles if components is None else [tiles, components],
        [
            inputs,
            rebuilt,
            ops.sqrt(ops.mean(residuals**2, axis=3)),
            ops.mean(ops.concatenate(logits, axis=3), axis=3),
            latent,
        ],
        name="forward",
    )


def keras_forward(parts: Parts) -> Forward:
    """Make a function of a model that TensorFlow runs."""
    settings = parts.settings
    run = compiled(build_forward(parts), (*settings.tile_px, settings.channels), dtype=tf.as_dtype(settings.pixel_type))

    def forward(tiles: Pixels) -> NetworkOutputs:
        return NetworkOutputs(*(array.numpy() for array in run(tiles)))

    return forward


def compiled(network: keras.Model, shape: tuple[int, ...], *, dtype: Any = tf.float32) -> Any:
    """Trace a network once for minibatches of `MINIBATCH_SIZE` arrays of one shape."""
    traced = tf.function(lambda arrays: network(arrays, training=False))
    return traced.get_concrete_function(tf.TensorSpec((MINIBATCH_SIZE, *shape), dtype))


def run_all(function: Any, arrays: Floats) -> Floats:
    """Run a compiled network over arrays of any number, the last minibatch padded."""
    results = []
    for start in range(0, max(len(arrays), 1), MINIBATCH_SIZE):
        part = arrays[start : start + MINIBATCH_SIZE]
        padding = [(0, MINIBATCH_SIZE - len(part))] + [(0, 0)] * (arrays.ndim - 1)
        results.append(function(np.pad(part, padding)).numpy()[: len(part)])
    return np.concatenate(results)


def network_images(even: Floats, settings: AutoencoderSettings) -> Floats:
    """Shrink tiles to inputs of the autoencoder, by the mean of their pixels.

    Args:
        even: Tiles of even gain, shape `(n, *tile_px, c)`, float32.
        settings: How far they are shrunk.

    Returns:
        Shape `(n, height_px, width_px, c)`.
    """
    height, width, factor = settings.height_px, settings.width_px, settings.feature_resolution
    shrunk: Floats = even.reshape(len(even), height, factor, width, factor, settings.channels).mean(axis=(2, 4))
    return shrunk


def _with_latent(autoencoder: keras.Model) -> keras.Model:
    return keras.Model(autoencoder.inputs, [autoencoder.output, autoencoder.get_layer("latent").output])


def _residuals(parts: Parts, features: Any, components: Any) -> Any:
    """Take away from features what the components rebuild of them: `Pca.residual` in Keras' words."""
    pca = parts.pca
    centred = ops.reshape(features / parts.scale, (-1, len(pca.mean))) - pca.mean
    coordinates = ops.matmul(centred, ops.transpose(components)) * pca.gains
    return ops.reshape(centred - ops.matmul(coordinates, components), (-1, *features.shape[1:]))
