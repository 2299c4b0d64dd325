from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from cae_pipeline.domain.ignoring import filled, outside_of, resized_ignored, visible_box


@pytest.mark.parametrize("size_px", [(64, 64), (30, 41), (7, 200), (100, 90), (97, 91)])
def test_no_pixel_that_counts_holds_anything_of_an_ignored_one(size_px: tuple[int, int]) -> None:
    ignored = np.zeros((90, 100), np.bool_)
    ignored[13:31, 40:77] = True
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (90, 100), np.uint8)
    other = np.where(ignored, random.integers(0, 256, image.shape, np.uint8), image)
    one, two = (cv2.resize(each, size_px[::-1], interpolation=cv2.INTER_AREA) for each in (image, other))
    counts = ~resized_ignored(ignored, size_px)
    np.testing.assert_array_equal(one[counts], two[counts])
    assert counts.mean() > 0.7


def test_a_mask_of_the_right_size_stays_as_it_is() -> None:
    ignored = outside_of((2, 3, 4, 5), (20, 10))
    assert resized_ignored(ignored, (20, 10)) is ignored
    assert (~ignored).sum() == 20
    assert visible_box(ignored) == (slice(3, 8), slice(2, 6))


def test_ignored_pixels_become_the_mean_of_the_others_in_the_type_of_the_image() -> None:
    images: Any = np.full((2, 4, 4, 3), 50, np.uint16)
    ignored = np.zeros((4, 4), np.bool_)
    ignored[:2] = True
    images[:, :2] = 60_000
    images[1, 2:] = (100, 200, 300)
    plain = filled(images, ignored)
    assert plain.dtype == np.uint16
    assert (plain[0] == 50).all()
    assert (plain[1] == (100, 200, 300)).all()
    assert images[0, 0, 0, 0] == 60_000
