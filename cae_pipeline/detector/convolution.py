"""The arithmetic of convolutions: sizes, parameters and receptive fields, without a framework.

Source:
    Dumoulin, Visin, "A guide to convolution arithmetic for deep learning", 2016. Keras' rules for
    "same" and "valid" are held against the real layers by tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from cae_pipeline.domain.line import AutoencoderSettings, Padding
from cae_pipeline.errors import ConfigurationError, ShapeNotRestoredError

T = TypeVar("T")


@dataclass(frozen=True)
class ConvolutionSettings:
    """One Conv2D of the encoder and, mirrored, one Conv2DTranspose of the decoder."""

    filters: int
    kernel_size: int
    strides: int
    padding: Padding


@dataclass(frozen=True)
class LayerDescription:
    """One row of `cae model describe`.

    Attributes:
        output_shape: Without the minibatch axis.
        receptive_field_px: Side of the square of input pixels one output sees; the whole
            image for everything behind the latent layer.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    num_parameters: int
    receptive_field_px: int | None


def convolved_px(size_px: int, *, kernel_size: int, strides: int, padding: Padding) -> int:
    """Size after a convolution.

    Example:
        >>> convolved_px(4, kernel_size=3, strides=1, padding="valid")
        2
        >>> convolved_px(5, kernel_size=3, strides=1, padding="same")
        5
        >>> convolved_px(5, kernel_size=3, strides=2, padding="valid")
        2
    """
    if padding == "same":
        return math.ceil(size_px / strides)
    return (size_px - kernel_size) // strides + 1 if size_px >= kernel_size else 0


def transposed_px(size_px: int, *, kernel_size: int, strides: int, padding: Padding) -> int:
    """Size after a transposed convolution.

    Example:
        >>> transposed_px(2, kernel_size=3, strides=2, padding="valid")
        5
    """
    if padding == "same":
        return size_px * strides
    return (size_px - 1) * strides + max(kernel_size, strides)


def encoder_layers(model: AutoencoderSettings) -> tuple[ConvolutionSettings, ...]:
    """Spread the knobs over the layers of the encoder.

    Raises:
        ConfigurationError: If a list has another length than `filters`.
    """
    depth = len(model.filters)
    paddings: tuple[Padding, ...] = _per_layer("padding", model.padding, depth)
    return tuple(
        ConvolutionSettings(filters, kernel_size, strides, padding)
        for filters, kernel_size, strides, padding in zip(
            model.filters,
            _per_layer("kernel_size", model.kernel_size, depth),
            _per_layer("strides", model.strides, depth),
            paddings,
            strict=True,
        )
    )


def encoder_sizes(model: AutoencoderSettings) -> tuple[tuple[int, int], ...]:
    """Height and width before the first and after every layer of the encoder.

    Raises:
        ConfigurationError: If a layer has nothing left to look at.
        ShapeNotRestoredError: If the mirrored decoder would not give the sizes back.
    """
    sizes = [(model.height_px, model.width_px)]
    for index, layer in enumerate(encoder_layers(model)):
        before = sizes[-1]
        after = _after(before, layer)
        if min(after) < 1:
            raise ConfigurationError(
                f"layer 'encoder_{index + 1}' has a {layer.kernel_size} px kernel with padding 'valid' but only "
                f"{before[0]}×{before[1]} px to look at. Use a larger image, a smaller kernel or padding 'same'."
            )
        sizes.append(after)
    _check_restored(sizes, encoder_layers(model))
    return tuple(sizes)


def describe(model: AutoencoderSettings) -> tuple[LayerDescription, ...]:
    """Lay out the network layer by layer.

    Raises:
        ConfigurationError: If it cannot be built; see `encoder_sizes`.
    """
    layers, sizes = encoder_layers(model), encoder_sizes(model)
    rows = [LayerDescription("image", "Input", (*sizes[0], model.channels), 0, 1)]
    field, jump, channels = 1, 1, int(model.channels)
    for index, layer in enumerate(layers):
        field, jump = field + (layer.kernel_size - 1) * jump, jump * layer.strides
        parameters = layer.kernel_size**2 * channels * layer.filters + layer.filters
        shape = (*sizes[index + 1], layer.filters)
        rows.append(LayerDescription(f"encoder_{index + 1}", "Conv2D", shape, parameters, field))
        channels = layer.filters
    flat = math.prod(rows[-1].output_shape)
    rows.append(LayerDescription("latent", "Dense", (model.latent_size,), (flat + 1) * model.latent_size, None))
    rows.append(LayerDescription("unfold", "Dense", (*sizes[-1], channels), (model.latent_size + 1) * flat, None))
    for index in reversed(range(len(layers))):
        filters = layers[index - 1].filters if index else model.channels
        parameters = layers[index].kernel_size ** 2 * channels * filters + filters
        name = f"decoder_{len(layers) - index}"
        rows.append(LayerDescription(name, "Conv2DTranspose", (*sizes[index], filters), parameters, None))
        channels = filters
    return tuple(rows)


def _after(size: tuple[int, int], layer: ConvolutionSettings) -> tuple[int, int]:
    height, width = (
        convolved_px(px, kernel_size=layer.kernel_size, strides=layer.strides, padding=layer.padding) for px in size
    )
    return height, width


def _check_restored(sizes: Sequence[tuple[int, int]], layers: Sequence[ConvolutionSettings]) -> None:
    for index in reversed(range(len(layers))):
        layer = layers[index]
        for axis, before, after in zip(("height", "width"), sizes[index], sizes[index + 1], strict=True):
            restored = transposed_px(after, kernel_size=layer.kernel_size, strides=layer.strides, padding=layer.padding)
            if restored != before:
                raise ShapeNotRestoredError(
                    f"decoder_{len(layers) - index}",
                    expected_px=before,
                    received_px=restored,
                    axis=axis,
                    advice=f"It mirrors encoder_{index + 1} (kernel_size {layer.kernel_size}, strides {layer.strides}, "
                    f"padding {layer.padding!r}). Change model.{axis}_px, or the strides of that layer.",
                )


def _per_layer(knob: str, value: T | tuple[T, ...], depth: int) -> tuple[T, ...]:
    if not isinstance(value, tuple):
        return (value,) * depth
    if len(value) != depth:
        raise ConfigurationError(
            f"model.{knob} has {len(value)} values, but model.filters has {depth}. "
            "Give one value for all layers, or one per layer."
        )
    return value
