from __future__ import annotations

import numpy as np
import pytest

from cae_pipeline.defects.masks import MASKS, draw_mask
from cae_pipeline.defects.sources import SOURCES
from cae_pipeline.defects.synthesis import with_defects
from cae_pipeline.domain.images import to_floats
from tests.conftest import washer


@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_is_changed_where_the_mask_says_and_nowhere_else(channels: int) -> None:
    images = np.repeat(np.stack([washer(seed) for seed in range(60)])[..., None], channels, axis=3)
    defective = with_defects(images, seed=0)
    assert defective.images.shape == images.shape
    assert defective.images.dtype == np.uint8
    changed = np.abs(defective.images.astype(int) - images).max(axis=3)
    assert all(mask.any() for mask in defective.masks)
    assert (changed[defective.masks] > 0).all()
    assert changed[~defective.masks].max() <= 0.06 * 255


def test_the_same_seed_puts_in_the_same_defects_and_another_seed_in_another() -> None:
    images = np.stack([washer(seed) for seed in range(20)])[..., None]
    first, again, other = (with_defects(images, seed=seed).images for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_defects_are_small_and_large_dark_and_bright() -> None:
    images = np.full((300, 48, 48, 1), 110, np.uint8) + np.arange(48, dtype=np.uint8)[:, None] % 7
    defective = with_defects(images, seed=0)
    shares = defective.masks.mean(axis=(1, 2))
    assert np.quantile(shares, 0.1) < 0.02
    assert np.quantile(shares, 0.9) > 0.05
    change = defective.images.astype(int) - images
    assert (change.min(axis=(1, 2, 3)) < -40).sum() > 20
    assert (change.max(axis=(1, 2, 3)) > 40).sum() > 20


@pytest.mark.parametrize("size", [(16, 16), (256, 128)])
def test_every_mask_covers_a_part_of_any_image(size: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    for shape in MASKS:
        drawn = [shape(size, random) for _ in range(20)]
        assert all(opacity.shape == size and opacity.dtype == np.float32 for opacity in drawn)
        assert 0 < np.mean([opacity.mean() for opacity in drawn]) < 0.6
    assert all(draw_mask(size, random).max() > 0.3 for _ in range(100))


@pytest.mark.parametrize("shape", [(16, 16, 1), (64, 48, 3)])
def test_every_source_is_as_large_as_the_image_and_not_the_image(shape: tuple[int, int, int]) -> None:
    random = np.random.default_rng(0)
    image, other_image = (to_floats(random.integers(0, 255, shape).astype(np.uint8)) for _ in "ab")
    for draw in SOURCES:
        source = draw(image, other_image, random)
        assert source.shape == shape
        assert np.isfinite(source).all()
        assert np.abs(source - image).max() > 0.02, draw.__name__
