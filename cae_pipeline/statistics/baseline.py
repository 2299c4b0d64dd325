"""The floor that no model may fall below: figures of methods that cost next to nothing.

Source:
    Reconstruction of small grey pictures from their principal components: Turk, Pentland,
    "Eigenfaces for recognition", 1991.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cae_pipeline.domain.images import Floats

SIDE_PX = 64
NUM_COMPONENTS = 32
BLUR_PX = 1.5


@dataclass(frozen=True)
class FloorScores:
    """Scores of test images, shape `(n,)` each: mean squared error, and the worst standardised place."""

    mse: NDArray[np.float64]
    z_blur_max: NDArray[np.float64]


def floor_scores(train: Floats, test: Floats) -> FloorScores:
    """Score images by what 32 principal components of the normal ones miss.

    Args:
        train: Normal images, grey, shape `(n, 64, 64)`, float32 in [0, 1].
        test: Others of that size.
    """
    # imported where it is needed: scikit-learn brings pandas along, which nobody else here needs
    from sklearn.decomposition import PCA

    components = PCA(min(NUM_COMPONENTS, len(train) - 1), random_state=0).fit(train.reshape(len(train), -1))

    def errors(images: Floats) -> Floats:
        rebuilt = components.inverse_transform(components.transform(images.reshape(len(images), -1)))
        difference: Floats = np.abs(rebuilt.reshape(images.shape) - images)
        return difference

    usual, of_test = errors(train), errors(test)
    excess = np.maximum((of_test - usual.mean(axis=0)) / (usual.std(axis=0) + 1e-3), 0)
    blurred = ndimage.gaussian_filter(excess, (0, BLUR_PX, BLUR_PX))
    return FloorScores(
        (of_test**2).mean(axis=(1, 2), dtype=np.float64),
        blurred.reshape(len(test), -1).max(axis=1).astype(np.float64),
    )
