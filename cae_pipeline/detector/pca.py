"""The linear model of local features: what normal images are made of, and what is left over.

An image is described cell by cell, by the features of `training.filter_bank`. The features of normal images lie near a
plane of few dimensions. What the plane cannot rebuild of an image, the residual, is unusual texture at an unusual
place.

Source:
    Rebuilding feature maps instead of pixels: Yang, Shi, Qi, "DFR", 2020 (0.95 pixel AUROC on MVTec AD, there with a
    pretrained backbone). PCA is a linear autoencoder that is fitted in closed form: Baldi, Hornik, "Neural networks and
    principal component analysis", 1989.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cae_pipeline.domain.images import AnyFloats, Floats

MAX_IMAGES = 2000
"""Images that a PCA is fitted to: more teach it nothing new but cost the cube of their number."""
MAX_COMPONENTS = 320
SHRINKAGE_RANK = 0.4
"""Of the components; those beyond are rebuilt to less than half, since few images cannot tell them from noise."""


@dataclass(frozen=True)
class Pca:
    """The principal components of the features of normal images.

    Attributes:
        mean: Mean of the features, shape `(d,)`, float32, where d is cells × features.
        components: Orthonormal rows, the one of most variance first, shape `(k, d)`, float32.
        gains: How much of each component is rebuilt, shape `(k,)`, in (0, 1).
    """

    mean: Floats
    components: Floats
    gains: Floats

    def residual(self, features: AnyFloats) -> Floats:
        """Take away from features what the components rebuild of them.

        Args:
            features: Shape `(n, h, w, f)`.

        Returns:
            The same shape, float32.
        """
        centred = features.reshape(len(features), len(self.mean)) - self.mean
        coordinates = (centred @ self.components.T) * self.gains
        return np.asarray(centred - coordinates @ self.components, np.float32).reshape(features.shape)


def fit_pca(features: AnyFloats) -> Pca:
    """Fit the components in closed form.

    Args:
        features: Shape `(n, h, w, f)`, float32, n ≥ 2.
    """
    flat = features.reshape(len(features), -1)
    mean = flat.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = flat - mean
    # there are far fewer images than features: the n × n matrix has the same eigenvalues as the d × d one
    variances, vectors = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    rank = len(flat) - 1
    variances, vectors = np.maximum(variances[::-1][:rank], 1e-9), vectors[:, ::-1][:, :rank]
    half_rebuilt = variances[min(int(SHRINKAGE_RANK * rank), rank - 1)]
    num_components = min(rank, MAX_COMPONENTS)
    gains = (variances / (variances + half_rebuilt))[:num_components].astype(np.float32)
    scaled_vectors = (vectors[:, :num_components] / np.sqrt(variances[:num_components])).astype(np.float32)
    return Pca(mean, scaled_vectors.T @ centred, gains)


def texture_error(residuals: AnyFloats) -> Floats:
    """Work out how large the residual of each cell is: the root mean square over its features.

    Args:
        residuals: Shape `(n, h, w, f)`.

    Returns:
        Shape `(n, h, w)`, float32, ≥ 0.
    """
    size: Floats = np.sqrt(np.square(residuals, dtype=np.float32).mean(axis=3))
    return size
