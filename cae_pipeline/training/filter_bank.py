"""Images → local features, cell by cell: what the PCA works on.

The features are how strongly filters answer in each cell, at five scales. The filters are learnt: they are those that
best explain small patches of the line's own images. Where somebody has a weights file at hand, the feature maps of a
pretrained network take their place.

Source:
    Filters from PCA of patches: Chan et al., "PCANet", 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from cae_pipeline.detector.tiling import CELL_PX
from cae_pipeline.domain.images import EVEN_BRIGHTNESS, Floats
from cae_pipeline.domain.line import AutoencoderSettings
from cae_pipeline.errors import ConfigurationError

KERNEL_PX = 5
NUM_FILTERS = 8
ROUNDING_VARIANCE = 1 / 255**2 / 12
"""Of a grey value that was rounded to 8 bits: filters must not amplify what is weaker than that."""
PATCHES_PER_IMAGE = 60
MAX_IMAGES_FOR_FILTERS = 200
NUM_SCALES = 5
"""The coarsest sees one pixel per cell."""
MEAN_FLOOR, PEAK_FLOOR = 0.05, 0.1
"""Added before the logarithm: answers of filters have unit variance, these are a flat place's."""
BACKBONE_LAYERS = ("block_3_expand_relu", "block_6_expand_relu")
"""Of MobileNetV2: strides 4 and 8, what PaDiM's and DFR's middle layers are."""


def build_encoder(model: AutoencoderSettings) -> keras.Model:
    """Build the encoder without its weights.

    Args:
        model: Gives the size of a tile, its channels and whether there is a backbone.

    Returns:
        A model from float32 `(n, *model.tile_px, c)` of even gain to `(n, h / 16, w / 16, f)`.
    """
    image = keras.Input((*model.tile_px, model.channels), name="image")
    features = _backbone_features(image) if model.backbone_weights else _filter_features(image)
    return keras.Model(image, features, name="texture")


def fit_encoder(model: AutoencoderSettings, images: Floats, *, seed: int, leaves_out_flat: bool = False) -> keras.Model:
    """Learn the filters from normal images, or load the backbone.

    Args:
        model: Gives size, channels and weights file.
        images: Normal images of even gain, shape `(n, *model.tile_px, c)`, float32.
        seed: Chooses the patches.
        leaves_out_flat: Whether patches of one grey are no part of the images, but of what is ignored in them.

    Raises:
        ConfigurationError: If the weights file is missing or is of another network.
    """
    encoder = build_encoder(model)
    if model.backbone_weights:
        _load_backbone(encoder, Path(model.backbone_weights))
        return encoder
    random = np.random.default_rng(seed)
    scaled = images
    for scale in range(NUM_SCALES):
        encoder.get_layer(f"filters_{scale}").set_weights(
            [learn_filters(scaled, random, leaves_out_flat=leaves_out_flat)]
        )
        if min(scaled.shape[1:3]) // 2 < KERNEL_PX:
            # nothing is left to learn from: the filters of the scale before see what there is
            for rest in range(scale + 1, NUM_SCALES):
                encoder.get_layer(f"filters_{rest}").set_weights(encoder.get_layer(f"filters_{scale}").get_weights())
            break
        scaled = _halved(scaled)
    return encoder


def learn_filters(images: Floats, random: np.random.Generator, *, leaves_out_flat: bool = False) -> Floats:
    """Find the filters that explain small patches best.

    Args:
        images: Shape `(n, h, w, c)`, float32; the first 200 are enough.
        random: Chooses the patches.
        leaves_out_flat: Whether patches of one grey teach nothing.

    Returns:
        Shape `(5, 5, c, 8)`, float32; the answer of each filter has unit variance on these images.
    """
    channels = images.shape[3]
    patches = np.concatenate([_draw_patches(image, random) for image in images[:MAX_IMAGES_FOR_FILTERS]])
    if leaves_out_flat and (np.ptp(patches, axis=1) > 0).any():
        patches = patches[np.ptp(patches, axis=1) > 0]
    patches = patches - patches.mean(axis=1, keepdims=True)
    variances, vectors = np.linalg.eigh(patches.T @ patches / len(patches))
    best, spread = vectors[:, ::-1][:, :NUM_FILTERS], variances[::-1][:NUM_FILTERS]
    filters: Floats = (best / np.sqrt(np.maximum(spread, 0) + ROUNDING_VARIANCE)).astype(np.float32)
    return filters.reshape(KERNEL_PX, KERNEL_PX, channels, NUM_FILTERS)


def _draw_patches(image: Floats, random: np.random.Generator) -> NDArray[np.float64]:
    """Draw small patches of one image `(h, w, c)`; each is a row, its pixels one behind the other."""
    height, width = image.shape[:2]
    tops = random.integers(height - KERNEL_PX + 1, size=PATCHES_PER_IMAGE)
    lefts = random.integers(width - KERNEL_PX + 1, size=PATCHES_PER_IMAGE)
    windows = np.lib.stride_tricks.sliding_window_view(image, (KERNEL_PX, KERNEL_PX), axis=(0, 1))
    drawn = windows[tops, lefts].transpose(0, 2, 3, 1).reshape(PATCHES_PER_IMAGE, -1)
    return np.asarray(drawn, np.float64)


def _filter_features(image: keras.KerasTensor) -> keras.KerasTensor:
    # filters see contrast, not brightness: without it their sums round to a tenth of the error
    tensor, features = image - EVEN_BRIGHTNESS, []
    for scale in range(NUM_SCALES):
        answers = _answers(tensor, scale)
        cell = CELL_PX >> scale
        mean = keras.layers.AveragePooling2D(cell, name=f"mean_{scale}")(answers)
        features.append(keras.ops.log(mean + MEAN_FLOOR))
        if cell > 1:
            peak = keras.layers.MaxPooling2D(cell, name=f"peak_{scale}")(answers)
            features.append(keras.ops.log(peak + PEAK_FLOOR))
        tensor = keras.layers.AveragePooling2D(2, name=f"half_{scale}")(tensor) if cell > 1 else tensor
    features.append(keras.ops.log(tensor + (EVEN_BRIGHTNESS + MEAN_FLOOR)))
    return keras.layers.Concatenate(name="features")(features)


def _answers(tensor: keras.KerasTensor, scale: int) -> keras.KerasTensor:
    margin = KERNEL_PX // 2
    reflect = "reflect" if min(tensor.shape[1:3]) > margin else "constant"
    padded = keras.ops.pad(tensor, [(0, 0), (margin, margin), (margin, margin), (0, 0)], mode=reflect)
    answers = keras.layers.Conv2D(NUM_FILTERS, KERNEL_PX, use_bias=False, trainable=False, name=f"filters_{scale}")
    return keras.ops.absolute(answers(padded))


def _backbone_features(image: keras.KerasTensor) -> keras.KerasTensor:
    backbone = _backbone(image.shape[1:3])
    colour = image if image.shape[3] == 3 else keras.layers.Concatenate()([image] * 3)
    maps: Sequence[keras.KerasTensor] = backbone(colour * 2 - 1)
    cells = (image.shape[1] // CELL_PX, image.shape[2] // CELL_PX)
    pooled = [
        keras.layers.AveragePooling2D((tensor.shape[1] // cells[0], tensor.shape[2] // cells[1]))(tensor)
        for tensor in maps
    ]
    return keras.layers.Concatenate(name="features")(pooled)


def _backbone(size_px: tuple[int, int]) -> keras.Model:
    whole = keras.applications.MobileNetV2(input_shape=(*size_px, 3), include_top=False, weights=None)
    outputs = [whole.get_layer(name).output for name in BACKBONE_LAYERS]
    return keras.Model(whole.input, outputs, name="backbone", trainable=False)


def _load_backbone(encoder: keras.Model, path: Path) -> None:
    if not path.is_file():
        raise ConfigurationError(
            f"model.backbone_weights names {path}, which is not there; expected a local weights file of Keras' "
            "MobileNetV2 without top (mobilenet_v2_weights_…_no_top.h5). It is never downloaded: "
            "copy it there, or leave the knob empty."
        )
    size = encoder.input.shape[1:3]
    whole = keras.applications.MobileNetV2(input_shape=(*size, 3), include_top=False, weights=None)
    try:
        whole.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise ConfigurationError(
            f"{path} does not hold the weights of Keras' MobileNetV2 without top (alpha 1.0): {error}"
        ) from error
    backbone = encoder.get_layer("backbone")
    for layer in backbone.layers:
        layer.set_weights(whole.get_layer(layer.name).get_weights() if layer.get_weights() else [])


def _halved(images: Floats) -> Floats:
    count, height, width, channels = images.shape
    rows, columns = height // 2, width // 2
    even = images[:, : rows * 2, : columns * 2]
    halved: Floats = even.reshape(count, rows, 2, columns, 2, channels).mean(axis=(2, 4))
    return halved
