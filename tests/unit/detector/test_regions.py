from __future__ import annotations

import numpy as np

from cae_pipeline.detector.regions import regions


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


def test_a_glaring_defect_does_not_make_its_whole_surroundings_a_region() -> None:
    anomaly_map = np.full((20, 20), 8, np.float32)  # all of it above half the threshold
    anomaly_map[4:6, 9:12] = 100
    [region] = regions(anomaly_map, threshold=10, delivered_px=(20, 20))
    assert (region.x_px, region.y_px, region.width_px, region.height_px) == (9, 4, 3, 2)
