"""Local features of normal images, and the linear autoencoder that rebuilds them.

An image is described cell by cell: how strongly the filters that best explain its own small patches
answer there, at five scales. Normal images lie near a low-dimensional plane in this space; what a
linear autoencoder of that plane cannot rebuild is unusual texture at an unusual place. The
autoencoder is fitted in closed form, and each normal image is judged by one that never saw it.

Source:
    Rebuilding feature maps instead of pixels: Yang, Shi, Qi, "DFR", 2020 (0.95 pixel AUROC on
    MVTec AD, there with a pretrained backbone). A linear autoencoder is PCA: Baldi, Hornik,
    "Neural networks and principal component analysis", 1989. Filters from PCA of patches: Chan et
    al., "PCANet", 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cae_pipeline.domain.images import AnyFloats, Floats

KERNEL_PX = 5
NUM_FILTERS = 8
ROUNDING_VARIANCE = 1 / 255**2 / 12
"""Of a grey value that was rounded to 8 bits: filters must not amplify what is weaker than that."""
PATCHES_PER_IMAGE = 60
MAX_IMAGES_FOR_FILTERS = 200
NUM_FOLDS = 10
"""An image is judged by the autoencoder of the other nine tenths."""
MAX_IMAGES = 2000
"""More teach the model nothing new but cost the cube of their number."""
MAX_COMPONENTS = 320
SHRINKAGE_RANK = 0.4
"""Of the components; those beyond are rebuilt to less than half, since few images cannot tell them from noise."""
OUTLIER_SPREADS = 2.5
"""Robust standard deviations above the median, of the logarithm, from which an image is suspected."""

CONSTANT_SHARE = 0.02
"""Of the spread over the whole image, added to that of each place: a place that never errs is not sharper."""


@dataclass(frozen=True)
class Pca:
    """A plane through the features of normal images.

    Attributes:
        mean: Shape `(d,)`, float32, d = cells × features.
        components: Orthonormal rows, shape `(k, d)`, float32.
        gains: How much of each direction is rebuilt, shape `(k,)`, in (0, 1).
    """

    mean: Floats
    components: Floats
    gains: Floats

    def residual(self, features: AnyFloats) -> Floats:
        """What is left of features, shape `(n, h, w, f)`, when their reconstruction is taken away."""
        centred = features.reshape(len(features), len(self.mean)) - self.mean
        latent = (centred @ self.components.T) * self.gains
        return np.asarray(centred - latent @ self.components, np.float32).reshape(features.shape)


def learn_filters(images: Floats, random: np.random.Generator) -> Floats:
    """Find the filters that explain small patches best.

    Args:
        images: Shape `(n, h, w, c)`, float32.
        random: Chooses the patches.

    Returns:
        Shape `(5, 5, c, 8)`, each answering with unit variance on these images.
    """
    channels = images.shape[3]
    patches = np.concatenate([_patches(image, random) for image in images[:MAX_IMAGES_FOR_FILTERS]])
    patches = patches - patches.mean(axis=1, keepdims=True)
    variances, vectors = np.linalg.eigh(patches.T @ patches / len(patches))
    best, spread = vectors[:, ::-1][:, :NUM_FILTERS], variances[::-1][:NUM_FILTERS]
    filters: Floats = (best / np.sqrt(np.maximum(spread, 0) + ROUNDING_VARIANCE)).astype(np.float32)
    return filters.reshape(KERNEL_PX, KERNEL_PX, channels, NUM_FILTERS)


def fit_pca(features: AnyFloats) -> Pca:
    """Fit the PCA in closed form.

    Args:
        features: Shape `(n, h, w, f)`, float32, n ≥ 2.
    """
    flat = features.reshape(len(features), -1)
    mean = flat.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = flat - mean
    variances, vectors = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    rank = len(flat) - 1
    variances, vectors = np.maximum(variances[::-1][:rank], 1e-9), vectors[:, ::-1][:, :rank]
    pivot = variances[min(int(SHRINKAGE_RANK * rank), rank - 1)]
    size = min(rank, MAX_COMPONENTS)
    gains = (variances / (variances + pivot))[:size].astype(np.float32)
    components = (vectors[:, :size] / np.sqrt(variances[:size])).astype(np.float32).T @ centred
    return Pca(mean, components, gains)


def folds_of(groups: NDArray[np.int_]) -> NDArray[np.int_]:
    """Deal groups (the tiles of one image) out to folds, by their number."""
    return groups % NUM_FOLDS


def held_out_residuals(
    features: AnyFloats,
    folds: NDArray[np.int_],
    others: Sequence[tuple[AnyFloats, NDArray[np.int_]]] = (),
    *,
    usable: NDArray[np.bool_],
) -> list[AnyFloats]:
    """Judge each image by an autoencoder fitted without it.

    Args:
        features: Of normal images, shape `(n, h, w, f)`.
        folds: Of each, shape `(n,)`.
        others: Features of altered copies with the folds of their originals; overwritten by their residuals.
        usable: Which of the normal images autoencoders are fitted to, shape `(n,)`.

    Returns:
        The residuals of `features`, then of each of `others`.
    """
    pairs = [(features, folds), *others]
    # every altered copy is read once, so that its residual can take its place
    residuals = [np.empty_like(features), *(array for array, _ in others)]
    for fold in range(NUM_FOLDS):
        if not any((held == fold).any() for _, held in pairs):
            continue
        autoencoder = fit_pca(features[usable & (folds != fold)][:MAX_IMAGES])
        for (array, held), residual in zip(pairs, residuals, strict=True):
            if (held == fold).any():
                residual[held == fold] = autoencoder.residual(array[held == fold])
    return residuals


def texture_error(residuals: AnyFloats) -> Floats:
    """Root mean square of what is left of the features of each cell.

    Args:
        residuals: Shape `(n, h, w, f)`.

    Returns:
        Shape `(n, h, w)`, float32, ≥ 0.
    """
    size: Floats = np.sqrt(np.square(residuals, dtype=np.float32).mean(axis=3))
    return size


def residual_spread(residuals: AnyFloats, *, prior_images: float) -> Floats:
    """Learn the usual size of each residual from held-out normal images.

    Args:
        residuals: Shape `(n, h, w, f)`.
        prior_images: As many as the statistics of the whole image count.

    Returns:
        Shape `(h, w, f)`, float32, > 0.
    """
    prior = prior_images / (prior_images + len(residuals))
    squares = residuals**2
    whole = squares.mean(axis=(0, 1, 2))
    place = (1 - prior) * squares.mean(axis=0) + prior * whole
    spread: Floats = (np.sqrt(place) + CONSTANT_SHARE * np.sqrt(whole) + 1e-6).astype(np.float32)
    return spread


def find_outliers(errors: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say which of the images called normal look unlike all others.

    Args:
        errors: One held-out error of each, shape `(n,)`, > 0.

    Returns:
        Shape `(n,)`, True where the error is far outside, by median and median absolute deviation,
        which a few defective images among them cannot move.
    """
    logarithm = np.log(np.maximum(errors, 1e-9))
    middle = np.median(logarithm)
    spread = 1.4826 * np.median(np.abs(logarithm - middle)) + 1e-6
    return np.asarray((logarithm - middle) / spread > OUTLIER_SPREADS)


def _patches(image: Floats, random: np.random.Generator) -> NDArray[np.float64]:
    height, width = image.shape[:2]
    tops = random.integers(height - KERNEL_PX + 1, size=PATCHES_PER_IMAGE)
    lefts = random.integers(width - KERNEL_PX + 1, size=PATCHES_PER_IMAGE)
    windows = np.lib.stride_tricks.sliding_window_view(image, (KERNEL_PX, KERNEL_PX), axis=(0, 1))
    some = windows[tops, lefts].transpose(0, 2, 3, 1).reshape(PATCHES_PER_IMAGE, -1)
    return np.asarray(some, np.float64)
