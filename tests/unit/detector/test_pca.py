from __future__ import annotations

import numpy as np
import pytest

from cae_pipeline.detector.pca import fit_pca, texture_error
from tests.unit.detector.features import on_a_plane


def test_what_lies_on_the_plane_of_normal_images_is_rebuilt_and_what_does_not_is_left() -> None:
    pca = fit_pca(on_a_plane(60, seed=1))
    normal = on_a_plane(20, seed=2)
    strange = normal.copy()
    strange[:, 1, 2] += 3
    left = np.sqrt((pca.residual(normal) ** 2).mean(axis=3))
    assert left.max() < 0.5
    assert (np.sqrt((pca.residual(strange) ** 2).mean(axis=3))[:, 1, 2] > 1.5).all()


def test_the_texture_error_is_the_root_mean_square_over_the_features() -> None:
    residual = np.zeros((1, 2, 2, 2), np.float32)
    residual[0, 1, 0] = (3.0, 4.0)
    assert texture_error(residual)[0, 1, 0] == pytest.approx(np.sqrt(12.5))
