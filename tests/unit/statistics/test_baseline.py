from __future__ import annotations

import numpy as np

from cae_pipeline.statistics.baseline import floor_scores
from cae_pipeline.statistics.metrics import auroc


def test_the_floors_tell_a_square_from_none() -> None:
    random = np.random.default_rng(0)
    train, test = (random.normal(0.5, 0.02, (40, 64, 64)).astype(np.float32) for _ in "ab")
    test[20:, 10:20, 10:20] += 0.3
    found = floor_scores(train, test)
    assert auroc(found.mse[:20], found.mse[20:]) > 0.95
    assert auroc(found.z_blur_max[:20], found.z_blur_max[20:]) > 0.95
