"""Query strategies: which images people should be asked about first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cae_pipeline.domain.images import Floats


def choose_k_centers(latents: Floats, known: Floats, *, count: int) -> list[int]:
    """Choose images that are unlike all that people have judged, and unlike each other.

    Args:
        latents: Of the images to choose from, shape `(n, latent_size)`, finite.
        known: Of the images with a verdict, shape `(m, latent_size)`; m may be 0.
        count: How many to choose at most.

    Returns:
        Positions in `latents`, most unlike first.

    Example:
        >>> latents = np.array([[0.0], [0.1], [9.0], [5.0]], np.float32)
        >>> choose_k_centers(latents, np.array([[0.0]], np.float32), count=2)
        [2, 3]

    Source:
        k-center by farthest-first traversal: Gonzalez, "Clustering to minimize the maximum intercluster distance",
        1985.
    """
    spread = np.concatenate([latents, known]).std(axis=0) + 1e-6
    scaled, seen = latents / spread, known / spread
    if len(seen):
        distance = np.full(len(scaled), np.inf)
        for one in seen:
            distance = np.minimum(distance, _distance(scaled, one))
    else:
        # with nobody judged yet, the most unusual of them goes first
        distance = _distance(scaled, scaled.mean(axis=0))
    chosen: list[int] = []
    while len(chosen) < min(count, len(scaled)):
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, _distance(scaled, scaled[chosen[-1]]))
        distance[chosen] = -1
    return chosen


def _distance(latents: Floats, one: Floats) -> NDArray[np.float64]:
    distance: NDArray[np.float64] = np.sqrt(((latents - one) ** 2).mean(axis=1, dtype=np.float64))
    return distance
