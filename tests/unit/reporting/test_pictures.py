from __future__ import annotations

import cv2
import numpy as np

from cae_pipeline.domain.ignoring import outside_of
from cae_pipeline.reporting.pictures import encode_png, overlay


def test_what_is_ignored_is_grey_and_hatched_and_shows_nothing_of_the_map() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    ignored = outside_of((20, 10, 50, 40), (60, 80))
    hot, cold = np.full((12, 16), 2, np.float32), np.zeros((12, 16), np.float32)
    painted, unpainted = (overlay(image, multiples, ignored=ignored) for multiples in (hot, cold))
    np.testing.assert_array_equal(painted[ignored], unpainted[ignored])
    assert (np.ptp(painted[ignored], axis=1) == 0).all()
    assert len(np.unique(painted[ignored][:, 0])) > 2
    np.testing.assert_array_equal(unpainted[~ignored], image[~ignored])
    np.testing.assert_array_equal(painted[~ignored], overlay(image, hot)[~ignored])


def test_a_mask_of_another_size_is_drawn_where_it_belongs() -> None:
    image = np.full((60, 80), 100, np.uint8)
    ignored = outside_of((0, 0, 8, 12), (12, 16))
    drawn = overlay(image, np.zeros((3, 4), np.float32), ignored=ignored)
    # what is enlarged blends with its neighbour, which is ignored too
    assert (drawn[:, :35] == 100).all()
    assert (drawn[:, 40:] != 100).all()


def test_a_png_keeps_its_colours() -> None:
    image = np.zeros((4, 5, 3), np.uint8)
    image[..., 0] = 200
    read = cv2.imdecode(np.frombuffer(encode_png(image), np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(read, image)
