from __future__ import annotations

import numpy as np

from cae_pipeline.training.augmentation import draw_augmentations, harmless_augmentations


def test_a_part_that_always_lies_the_same_way_is_not_flipped() -> None:
    random = np.random.default_rng(0)
    arrow = np.zeros((40, 16, 16, 1), np.float32)
    for index in range(40):
        arrow[index, 4:12, 3 : 8 + int(random.integers(3))] = 1
    noise = random.normal(0, 0.02, arrow.shape).astype(np.float32)
    assert harmless_augmentations(arrow + noise) == ("flip_vertical",)
    grains = random.random((40, 16, 16, 1), np.float32)
    assert set(harmless_augmentations(grains)) == {"flip_horizontal", "flip_vertical", "rotate_180"}
    assert harmless_augmentations(grains[:5]) == ()
    assert set(draw_augmentations(50, ("rotate_180",), random)) == {(), (0, 1)}
