from __future__ import annotations

import numpy as np
import pytest

from cae_pipeline.core.scoring import anomaly_maps, fit_profile, reconstruction_error, regions, scores
from cae_pipeline.errors import NonFiniteScoreError


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_score_that_is_not_finite_is_an_error_and_never_normal(broken: float) -> None:
    maps = np.zeros((2, 8, 8), np.float32)
    maps[1, 3, 3] = broken
    with pytest.raises(NonFiniteScoreError, match="1 of 2 scores"):
        scores(maps)


def test_an_error_that_is_usual_at_its_place_does_not_count() -> None:
    random = np.random.default_rng(0)
    usual = np.zeros((16, 16), np.float32)
    usual[:, 8] = 0.5
    errors = (usual + random.normal(0, 0.01, (40, 16, 16))).astype(np.float32)
    profile = fit_profile(errors[:20])
    same = scores(anomaly_maps(errors[20:], profile))
    moved = errors[20:].copy()
    moved[:, 2:6, 2:6] += 0.5
    assert scores(anomaly_maps(moved, profile)).min() > 3 * same.max()


def test_the_error_is_averaged_over_the_channels() -> None:
    images = np.zeros((1, 2, 2, 3), np.float32)
    rebuilt = images.copy()
    rebuilt[0, 0, 0] = (0.3, 0.0, 0.6)
    assert reconstruction_error(images, rebuilt)[0, 0, 0] == pytest.approx(0.3)


def test_a_region_reaches_out_around_its_peak_and_is_scaled_to_the_delivered_image() -> None:
    anomaly_map = np.zeros((10, 20), np.float32)
    anomaly_map[2:4, 5:8] = 6  # between half the threshold and the threshold
    anomaly_map[3, 6] = 20
    anomaly_map[8, 18] = 6  # no peak: not a region
    [region] = regions(anomaly_map, threshold=10, delivered_px=(100, 200))
    assert (region.x_px, region.y_px, region.width_px, region.height_px) == (50, 20, 30, 20)
    assert region.area_px == 600
    assert region.peak == 20


def test_an_image_below_the_threshold_has_no_regions() -> None:
    assert regions(np.full((8, 8), 9.9, np.float32), threshold=10, delivered_px=(8, 8)) == ()
