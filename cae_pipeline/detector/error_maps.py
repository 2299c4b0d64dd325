"""What the networks give back → the error maps of the heads, each in its own unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cae_pipeline.domain.images import Floats, resized
from cae_pipeline.domain.line import HEADS, Head

SIMILARITY_FLOOR = 0.0026
"""Keeps the similarity of two flat places at one; the constant of Xue et al. for gradients in [0, 1]."""


@dataclass(frozen=True)
class NetworkOutputs:
    """What the networks say of some tiles.

    Attributes:
        inputs: What the autoencoder was given: even gain, shape `(n, h, w, c)`, float32 in [0, 1].
        reconstructions: What it gave back; the same shape and range.
        texture: Size of the residual of the PCA in each cell, shape `(n, rows, columns)`, float32, ≥ 0.
        defect: What the discriminators say of each cell, shape `(n, rows, columns)`, float32, a logit.
        latent: Narrow middle of the autoencoder, shape `(n, latent_size)`, float32.
    """

    inputs: Floats
    reconstructions: Floats
    texture: Floats
    defect: Floats
    latent: Floats


def error_maps(outputs: NetworkOutputs, heads: Sequence[Head]) -> dict[Head, Floats]:
    """Work out the error maps of the heads that are switched on, each in its own unit.

    Args:
        outputs: What the networks say of n tiles.
        heads: Which ones are switched on.

    Returns:
        Shape `(n, h, w)` for the heads that compare the reconstruction, `(n, rows, columns)` for the others.
    """
    compute: dict[Head, Callable[[], Floats]] = {
        "intensity": lambda: intensity_error(outputs.inputs, outputs.reconstructions),
        "structure": lambda: structure_error(outputs.inputs, outputs.reconstructions),
        "texture": lambda: outputs.texture,
        "defect": lambda: outputs.defect,
    }
    return {head: compute[head]() for head in HEADS if head in heads}


def intensity_error(images: Floats, reconstructions: Floats) -> Floats:
    """Absolute difference, averaged over the channels.

    Args:
        images: Shape `(n, h, w, c)`, float32 in [0, 1].
        reconstructions: The same shape and range.

    Returns:
        Shape `(n, h, w)`, float32 in [0, 1].
    """
    return _grey(np.abs(images - reconstructions))


def structure_error(images: Floats, reconstructions: Floats) -> Floats:
    """One minus the similarity of gradient magnitudes, averaged over two scales.

    Args:
        images: Shape `(n, h, w, c)`, float32 in [0, 1]; h and w even.
        reconstructions: The same shape and range.

    Returns:
        Shape `(n, h, w)`, float32 in [0, 1].

    Source:
        Xue et al., "Gradient magnitude similarity deviation", 2014; as an error map of an
        autoencoder at several scales: Zavrtanik et al., "RIAD", 2021 (0.917 image AUROC on MVTec AD).
    """
    one, other = _grey(images), _grey(reconstructions)
    fine = _dissimilarity(one, other)
    height, width = one.shape[1] // 2 * 2, one.shape[2] // 2 * 2
    coarse = _dissimilarity(_halved(one[:, :height, :width]), _halved(other[:, :height, :width]))
    return np.float32(0.5) * (fine + resized(coarse, one.shape[1:]))


def _grey(images: Floats) -> Floats:
    """Mean over the channels; as a product of matrices, which NumPy works out ten times as fast as a short mean."""
    channels = images.shape[3]
    return images[..., 0] if channels == 1 else images @ np.full(channels, 1 / channels, np.float32)


def _dissimilarity(one: Floats, other: Floats) -> Floats:
    first, second = _gradient(one), _gradient(other)
    similar = (2 * first * second + SIMILARITY_FLOOR) / (first**2 + second**2 + SIMILARITY_FLOOR)
    different: Floats = 1 - similar
    return different


def _gradient(images: Floats) -> Floats:
    """Prewitt's operator, image by image: scipy's own would blend each image with its neighbours in the stack."""
    down, across = (
        ndimage.correlate1d(ndimage.correlate1d(images, [-1, 0, 1], axis=axis), [1, 1, 1], axis=3 - axis)
        for axis in (1, 2)
    )
    magnitude: Floats = np.sqrt(down**2 + across**2) / 6
    return magnitude


def _halved(images: Floats) -> Floats:
    count, height, width = images.shape
    halved: Floats = images.reshape(count, height // 2, 2, width // 2, 2).mean(axis=(2, 4))
    return halved
