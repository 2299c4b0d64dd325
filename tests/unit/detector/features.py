"""Features to fit a PCA to."""

from __future__ import annotations

import numpy as np

from cae_pipeline.domain.images import Floats


def on_a_plane(count: int, *, seed: int) -> Floats:
    """Features of normal images: three directions, and a little noise."""
    plane = np.random.default_rng(0).normal(size=(3, 4 * 4 * 5))
    random = np.random.default_rng(seed)
    flat = random.normal(size=(count, 3)) @ plane + random.normal(0, 0.05, (count, 80))
    return flat.reshape(count, 4, 4, 5).astype(np.float32)
