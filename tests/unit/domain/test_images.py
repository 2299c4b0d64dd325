from __future__ import annotations

import numpy as np
import pytest

from cae_pipeline.domain.images import EVEN_BRIGHTNESS, Floats, even_gain, resized


def test_a_map_is_enlarged_between_the_centres_of_its_cells() -> None:
    cells: Floats = np.array([[[0.0, 4.0]]], np.float32)
    np.testing.assert_allclose(resized(cells, (1, 4))[0, 0], [0, 1, 3, 4])
    assert resized(cells, (3, 6)).shape == (1, 3, 6)


def test_images_of_another_exposure_are_the_same_once_the_gain_is_even() -> None:
    image = np.random.default_rng(0).uniform(0.1, 0.4, (1, 8, 8, 1)).astype(np.float32)
    np.testing.assert_allclose(even_gain(image), even_gain(image * np.float32(0.6)), rtol=1e-5)
    assert even_gain(image).mean() == pytest.approx(EVEN_BRIGHTNESS, rel=1e-3)
    assert np.isfinite(even_gain(np.zeros((1, 8, 8, 1), np.float32))).all()
