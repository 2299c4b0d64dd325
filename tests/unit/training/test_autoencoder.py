"""The arithmetic of convolutions, held against the layers Keras really builds."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cae_pipeline.detector.convolution import convolved_px, describe, transposed_px
from cae_pipeline.domain.line import AutoencoderSettings
from cae_pipeline.errors import ConfigurationError
from cae_pipeline.training.autoencoder import build_autoencoder


def _conv(x: np.ndarray, kernel: np.ndarray, *, strides: int, padding: str) -> np.ndarray:
    layer = keras.layers.Conv2D(kernel.shape[3], kernel.shape[0], strides=strides, padding=padding, use_bias=False)
    layer.build(x.shape)
    layer.set_weights([kernel])
    return np.asarray(layer(x))


def _transpose(y: np.ndarray, kernel: np.ndarray, *, strides: int, padding: str) -> np.ndarray:
    layer = keras.layers.Conv2DTranspose(
        kernel.shape[2], kernel.shape[0], strides=strides, padding=padding, use_bias=False
    )
    layer.build(y.shape)
    # the same numbers: Keras keeps a transpose's kernel as (rows, columns, out, in)
    layer.set_weights([kernel])
    return np.asarray(layer(y))


@pytest.mark.parametrize(
    ("size_px", "strides", "padding", "expected_px"), [(4, 1, "valid", 2), (5, 1, "same", 5), (5, 2, "valid", 2)]
)
def test_keras_gives_the_sizes_of_the_textbook(size_px: int, strides: int, padding: str, expected_px: int) -> None:
    x, kernel = np.ones((1, size_px, size_px, 1), np.float32), np.ones((3, 3, 1, 1), np.float32)
    assert _conv(x, kernel, strides=strides, padding=padding).shape == (1, expected_px, expected_px, 1)


def test_the_transpose_gives_five_by_five_back_from_two_by_two() -> None:
    y, kernel = np.ones((1, 2, 2, 1), np.float32), np.ones((3, 3, 1, 1), np.float32)
    assert _transpose(y, kernel, strides=2, padding="valid").shape == (1, 5, 5, 1)


@settings(max_examples=25, deadline=None)
@given(st.integers(4, 16), st.integers(1, 5), st.integers(1, 3), st.sampled_from(["same", "valid"]))
def test_our_arithmetic_is_that_of_keras(size_px: int, kernel_size: int, strides: int, padding: str) -> None:
    if kernel_size > size_px:
        return
    knobs = {"kernel_size": kernel_size, "strides": strides, "padding": padding}
    x, kernel = np.ones((1, size_px, size_px, 1), np.float32), np.ones((kernel_size, kernel_size, 1, 1), np.float32)
    y = _conv(x, kernel, strides=strides, padding=padding)
    assert y.shape[1] == convolved_px(size_px, **knobs)  # type: ignore[arg-type]
    back = _transpose(y, kernel, strides=strides, padding=padding)
    assert back.shape[1] == transposed_px(y.shape[1], **knobs)  # type: ignore[arg-type]


@pytest.mark.parametrize(("size_px", "strides", "padding"), [(5, 2, "valid"), (8, 2, "same"), (6, 1, "same")])
def test_a_transposed_convolution_is_the_adjoint_of_the_convolution(size_px: int, strides: int, padding: str) -> None:
    random = np.random.default_rng(0)
    kernel = random.normal(size=(3, 3, 2, 4)).astype(np.float32)
    x = random.normal(size=(1, size_px, size_px, 2)).astype(np.float32)
    forward = _conv(x, kernel, strides=strides, padding=padding)
    y = random.normal(size=forward.shape).astype(np.float32)
    backward = _transpose(y, kernel, strides=strides, padding=padding)
    assert backward.shape == x.shape
    assert float((forward * y).sum()) == pytest.approx(float((x * backward).sum()), rel=1e-4)


def test_a_transposed_convolution_is_not_the_inverse_of_the_convolution() -> None:
    random = np.random.default_rng(0)
    kernel = random.normal(size=(3, 3, 1, 1)).astype(np.float32)
    x = random.normal(size=(1, 5, 5, 1)).astype(np.float32)
    back = _transpose(_conv(x, kernel, strides=2, padding="valid"), kernel, strides=2, padding="valid")
    assert back.shape == x.shape
    assert float(np.abs(back - x).max()) > 0.5


@pytest.mark.parametrize(
    "knobs",
    [
        AutoencoderSettings(),
        AutoencoderSettings(height_px=32, width_px=48, channels=3, filters=(8, 12), kernel_size=(3, 5), latent_size=7),
        AutoencoderSettings(height_px=19, width_px=19, filters=(4, 6), padding="valid", strides=(2, 2)),
        AutoencoderSettings(height_px=16, width_px=16, filters=(4,), kernel_regularizer=1e-3, activation="tanh"),
    ],
)
def test_the_description_is_that_of_the_network_that_is_built(knobs: AutoencoderSettings) -> None:
    network = build_autoencoder(knobs, seed=0)
    described = [layer for layer in describe(knobs) if layer.num_parameters]
    built = [layer for layer in network.layers if layer.count_params()]
    assert [layer.num_parameters for layer in described] == [layer.count_params() for layer in built]
    assert [layer.name for layer in described] == [layer.name for layer in built]
    convolutions = [layer for layer in described if layer.kind.startswith("Conv")]
    assert [layer.output_shape for layer in convolutions] == [
        network.get_layer(c.name).output.shape[1:] for c in convolutions
    ]
    assert network.output.shape[1:] == (knobs.height_px, knobs.width_px, knobs.channels)
    assert network.get_layer("latent").output.shape[1] == knobs.latent_size


def test_the_l2_strength_reaches_every_kernel() -> None:
    network = build_autoencoder(AutoencoderSettings(kernel_regularizer=0.01), seed=0)
    kernels = [layer for layer in network.layers if hasattr(layer, "kernel_regularizer")]
    assert len(kernels) == 10
    assert all(float(layer.kernel_regularizer.l2) == pytest.approx(0.01) for layer in kernels)


def test_the_receptive_field_is_what_a_changed_pixel_reaches() -> None:
    knobs = AutoencoderSettings(height_px=64, width_px=64, filters=(2, 2, 2), kernel_size=(3, 5, 3), activation="tanh")
    network = build_autoencoder(knobs, seed=0)
    encoder = keras.Model(network.input, network.get_layer("encoder_3").output)
    still = np.asarray(encoder(np.zeros((1, 64, 64, 1), np.float32)))
    reached = []
    for column in range(64):
        image = np.zeros((1, 64, 64, 1), np.float32)
        image[0, :, column] = 1
        if np.abs(np.asarray(encoder(image)) - still)[0, 4, 4].max() > 1e-7:
            reached.append(column)
    [field] = [layer.receptive_field_px for layer in describe(knobs) if layer.name == "encoder_3"]
    assert max(reached) - min(reached) + 1 == field


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = (build_autoencoder(AutoencoderSettings(), seed=seed).get_weights() for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_knobs_that_do_not_fit_together_are_refused_before_anything_is_built() -> None:
    with pytest.raises(ConfigurationError):
        build_autoencoder(AutoencoderSettings(height_px=30), seed=0)
