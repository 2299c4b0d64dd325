from __future__ import annotations

import numpy as np
import pytest

from cae_pipeline.domain.images import Floats
from cae_pipeline.domain.line import Head
from cae_pipeline.training.head_profiles import HeldOutMaps, fit_head_profiles, fusion_weights


def test_a_head_counts_by_the_square_of_how_far_it_is_above_chance() -> None:
    weights = fusion_weights({"texture": 0.9, "defect": 0.7})
    assert weights == {"texture": pytest.approx(0.8), "defect": pytest.approx(0.2)}


def test_a_head_that_finds_nothing_is_never_silent() -> None:
    weights = fusion_weights({"texture": 1.0, "defect": 0.3})
    assert weights["defect"] == pytest.approx(0.02**2 / (0.5**2 + 0.02**2))


def test_a_head_that_sees_the_defects_counts_more_than_one_that_does_not() -> None:
    random = np.random.default_rng(0)
    normal: dict[Head, Floats] = {
        "texture": random.random((40, 8, 8), np.float32),
        "intensity": random.random((40, 16, 16), np.float32),
    }
    defective = {head: errors.copy() for head, errors in normal.items()}
    defective["texture"][:, 2:5, 2:5] += 3
    profiles, aurocs = fit_head_profiles(HeldOutMaps(normal), HeldOutMaps(defective), size_px=(16, 16))
    assert aurocs == {"texture": pytest.approx(1.0), "intensity": pytest.approx(0.5)}
    assert profiles["texture"].fusion_weight > 0.99
    assert sum(profile.fusion_weight for profile in profiles.values()) == pytest.approx(1)
