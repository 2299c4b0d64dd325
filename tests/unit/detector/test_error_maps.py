from __future__ import annotations

import numpy as np
import pytest

from cae_pipeline.detector.error_maps import intensity_error, structure_error


def test_the_intensity_error_is_averaged_over_the_channels() -> None:
    images = np.zeros((1, 2, 2, 3), np.float32)
    rebuilt = images.copy()
    rebuilt[0, 0, 0] = (0.3, 0.0, 0.6)
    assert intensity_error(images, rebuilt)[0, 0, 0] == pytest.approx(0.3)


def test_a_missing_edge_is_a_structure_error_and_another_brightness_is_none() -> None:
    image = np.full((1, 16, 16, 1), 0.2, np.float32)
    image[:, :, 8:] = 0.8
    brighter = image + np.float32(0.1)
    flat = np.full_like(image, 0.5)
    assert structure_error(image, brighter).max() == pytest.approx(0, abs=1e-5)
    assert structure_error(image, flat)[0, 8, 8] > 0.8
    assert structure_error(image, flat)[0, 8, 1] < 0.1
