"""What a PCA leaves over of images that it was not fitted to.

A model says little of the images it was fitted to: it rebuilds them too well. The images are therefore dealt out to
folds, and the residual of each image comes from a PCA that was fitted to the other folds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cae_pipeline.detector.ignoring import IgnoredPlaces
from cae_pipeline.detector.pca import MAX_IMAGES, fit_pca
from cae_pipeline.domain.images import AnyFloats, Floats

NUM_FOLDS = 10
"""The residual of an image comes from a PCA of the other nine tenths."""
OUTLIER_SPREADS = 2.5
"""Robust standard deviations above the median, of the logarithm, from which an image is an outlier."""
CONSTANT_SHARE = 0.02
"""Of the spread over the whole image, added to that of each place: a place that never errs is not sharper."""


@dataclass(frozen=True)
class Features:
    """Local features of some tiles.

    Attributes:
        values: As the encoder gives them, shape `(n, h, w, f)`, half or single precision.
        folds: The fold that the image of each tile was dealt to, shape `(n,)`.
    """

    values: AnyFloats
    folds: NDArray[np.int_]

    @classmethod
    def of(cls, values: AnyFloats, origins: NDArray[np.int_]) -> Features:
        """Deal tiles out to folds by the position of the image that each comes from, shape `(n,)`."""
        return cls(values, origins % NUM_FOLDS)

    def scaled(self, chosen: NDArray[np.int_], scale: Floats) -> AnyFloats:
        """Bring the features of the chosen tiles to the unit `scale`; the precision stays."""
        return np.asarray(self.values[chosen] / scale, self.values.dtype)


def held_out_residuals(
    normal: Features, *others: Features, scale: Floats, is_usable: NDArray[np.bool_]
) -> list[AnyFloats]:
    """Work out the residual of each tile by a PCA that was fitted without its image.

    Args:
        normal: Of normal tiles, which the PCA are fitted to.
        others: Of altered copies of these tiles, in the folds of their originals.
        scale: Standard deviation of each feature, shape `(f,)`: the unit of what is fitted and of the residuals.
        is_usable: Which of the normal tiles a PCA may be fitted to, shape `(n,)`.

    Returns:
        The residuals of `normal`, then of each of `others`, each in the shape and precision of its features. The
        arrays are new, and the features stay as they are.
    """
    every = (normal, *others)
    residuals = [np.empty_like(features.values) for features in every]
    for fold in range(NUM_FOLDS):
        members = [np.flatnonzero(features.folds == fold) for features in every]
        if not any(map(len, members)):
            continue
        fitted_to = np.flatnonzero(is_usable & (normal.folds != fold))[:MAX_IMAGES]
        pca = fit_pca(normal.scaled(fitted_to, scale))
        for features, held_out, residual in zip(every, members, residuals, strict=True):
            if len(held_out):
                residual[held_out] = pca.residual(features.scaled(held_out, scale))
    return residuals


def feature_scale(values: AnyFloats, ignored: IgnoredPlaces | None = None) -> Floats:
    """Standard deviation of each feature over all tiles and cells.

    Args:
        values: Shape `(n, h, w, f)`.
        ignored: Cells that are left out.

    Returns:
        Shape `(f,)`, float32, > 0.
    """
    if ignored is not None:
        values = values[~ignored.at(values.shape[1:3])][:, None, None]
    scale: Floats = values.std(axis=(0, 1, 2)) + np.float32(1e-6)
    return scale


def residual_spread(residuals: AnyFloats, *, prior_images: float, ignored: IgnoredPlaces | None = None) -> Floats:
    """Learn the usual size of each residual from held-out normal images.

    Args:
        residuals: Shape `(n, h, w, f)`.
        prior_images: How many images the statistics of the whole image count as.
        ignored: Cells that are left out; one that is left out of every image is as spread as the whole image.

    Returns:
        Shape `(h, w, f)`, float32, > 0.
    """
    squares = residuals**2
    if ignored is None:
        prior: Any = prior_images / (prior_images + len(residuals))
        whole, of_place = squares.mean(axis=(0, 1, 2)), squares.mean(axis=0)
    else:
        counts = ~ignored.at(residuals.shape[1:3])
        num_seen = counts.sum(axis=0)[..., None]
        prior = prior_images / (prior_images + num_seen)
        whole = squares[counts].mean(axis=0)
        of_place = np.where(counts[..., None], squares, 0).sum(axis=0) / np.maximum(num_seen, 1)
    place = (1 - prior) * of_place + prior * whole
    spread: Floats = (np.sqrt(place) + CONSTANT_SHARE * np.sqrt(whole) + 1e-6).astype(np.float32)
    return spread


def find_outliers(errors: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Find the images called normal that look unlike all others.

    An image is an outlier where the logarithm of its error lies more than 2.5 standard deviations above the middle.
    Middle and standard deviation are the median and the median absolute deviation, which a few defective images among
    the normal ones cannot move.

    Args:
        errors: One held-out error per image, shape `(n,)`, > 0.

    Returns:
        Shape `(n,)`, True for outliers.
    """
    logarithm = np.log(np.maximum(errors, 1e-9))
    middle = np.median(logarithm)
    spread = 1.4826 * np.median(np.abs(logarithm - middle)) + 1e-6
    return np.asarray((logarithm - middle) / spread > OUTLIER_SPREADS)
