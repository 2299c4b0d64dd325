"""Fit the linear model of local features, and judge every tile by one that has not seen it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cae_pipeline.detector.fusion import PRIOR_IMAGES
from cae_pipeline.detector.pca import MAX_IMAGES, Pca, fit_pca, texture_error
from cae_pipeline.domain.images import AnyFloats, Floats
from cae_pipeline.training.dataset import Tiles, TrainingData
from cae_pipeline.training.held_out import (
    Features,
    feature_scale,
    find_outliers,
    held_out_residuals,
    residual_spread,
)


@dataclass(frozen=True)
class Texture:
    """The PCA of local features, and what is left over of tiles that it was not fitted to.

    Attributes:
        scale: Standard deviation of each feature, shape `(f,)`.
        pca: Fitted to all usable tiles; this one will serve.
        spread: Usual size of each residual at each cell, shape `(cells, cells, f)`.
        clean: Held-out residuals of the clean tiles, shape `(n, cells, cells, f)`.
        training_defects: The same of the tiles with synthetic defects to learn from.
        validation_defects: The same of those to stop by.
    """

    scale: Floats
    pca: Pca
    spread: Floats
    clean: AnyFloats
    training_defects: AnyFloats
    validation_defects: AnyFloats


def find_outlying_images(clean: Tiles) -> NDArray[np.bool_]:
    """Find the images called normal that look unlike all others, by their texture alone.

    The error of an image is that of its worst cell, by a PCA of the other images.

    Args:
        clean: Tiles of images without synthetic defects.

    Returns:
        True for outliers, shape `(images,)`.
    """
    [residuals] = held_out_residuals(
        Features.of(clean.features, clean.origins),
        scale=feature_scale(clean.features, clean.ignored),
        is_usable=np.ones(len(clean.features), np.bool_),
    )
    worst_cells = np.zeros(clean.origins.max() + 1)
    np.maximum.at(worst_cells, clean.origins, texture_error(residuals).max(axis=(1, 2)))
    return find_outliers(worst_cells)


def fit_texture(data: TrainingData) -> Texture:
    """Fit the PCA to the usable clean tiles, and work out the held-out residuals of all tiles."""
    scale = feature_scale(data.clean.features[data.is_usable], data.clean.ignored_in(data.is_usable))
    clean, training_defects, validation_defects = (
        Features.of(tiles.features, tiles.origins)
        for tiles in (data.clean, data.training_defects, data.validation_defects)
    )
    residuals = held_out_residuals(clean, training_defects, validation_defects, scale=scale, is_usable=data.is_usable)
    fitted_to = np.flatnonzero(data.is_usable)[:MAX_IMAGES]
    return Texture(
        scale,
        fit_pca(clean.scaled(fitted_to, scale)),
        residual_spread(
            residuals[0][data.is_learnt_from],
            prior_images=PRIOR_IMAGES,
            ignored=data.clean.ignored_in(data.is_learnt_from),
        ),
        *residuals,
    )
