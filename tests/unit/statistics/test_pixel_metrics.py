from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from cae_pipeline.statistics.pixel_metrics import pixel_figures


def _masks_and_maps(seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    random = np.random.default_rng(seed)
    masks, maps = [], []
    for index in range(12):
        mask = np.zeros((40, 50 + index), bool)
        if index % 2:
            mask[5:15, 10:20] = mask[25:28, 30:45] = True
        masks.append(mask)
        maps.append((random.normal(0, 1, mask.shape) + 1.5 * mask).astype(np.float32))
    return maps, masks


def test_pixel_auroc_is_that_of_scikit_learn() -> None:
    maps, masks = _masks_and_maps(0)
    figures = pixel_figures(maps, masks)
    flat = np.concatenate([m.ravel() for m in maps])
    truth = np.concatenate([m.ravel() for m in masks])
    assert figures is not None
    assert figures.pixel_auroc == pytest.approx(roc_auc_score(truth, flat), abs=2e-3)
    assert figures.num_masks == 6


def test_pro_is_that_of_the_definition() -> None:
    maps, masks = _masks_and_maps(1)
    normal = np.sort(np.concatenate([m[~k] for m, k in zip(maps, masks, strict=True)]))
    rates = np.linspace(0, 0.3, 200)
    overlaps = []
    for rate in rates:
        limit = normal[len(normal) - int(rate * len(normal)) - 1]
        parts = []
        for anomaly_map, mask in zip(maps, masks, strict=True):
            labels, count = ndimage.label(mask)
            parts += [(anomaly_map[labels == i] > limit).mean() for i in range(1, count + 1)]
        overlaps.append(np.mean(parts))
    figures = pixel_figures(maps, masks)
    assert figures is not None
    assert figures.pro == pytest.approx(np.trapezoid(overlaps, rates) / 0.3, abs=5e-3)


def test_without_a_marked_pixel_there_are_no_pixel_figures() -> None:
    maps, masks = _masks_and_maps(0)
    assert pixel_figures(maps, [np.zeros_like(mask) for mask in masks]) is None
