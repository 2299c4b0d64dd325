"""How well anomaly maps tell defective pixels from normal ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cae_pipeline.domain.images import Floats

PRO_MAX_FALSE_POSITIVE_RATE = 0.3
NUM_BINS = 2048
"""Resolution of the pixel figures: maps are ranked into this many bins, so memory does not grow with the set."""


@dataclass(frozen=True)
class PixelFigures:
    """Figures over pixels, for images that have a mask.

    Attributes:
        pixel_auroc: Chance that a defective pixel is marked above a normal one.
        pro: Mean overlap with each defective region, averaged over false-positive rates up to 0.3.
    """

    pixel_auroc: float
    pro: float
    num_masks: int


def pixel_figures(maps: Sequence[Floats], masks: Sequence[NDArray[np.bool_]]) -> PixelFigures | None:
    """Work out pixel AUROC and PRO.

    Args:
        maps: One anomaly map `(h, w)` per image, at the size of its mask; sizes may differ.
        masks: True where defective; all False for a normal image.

    Returns:
        None if no mask marks a pixel.

    Source:
        PRO: Bergmann et al., "Uninformed Students", CVPR 2020, section 4.
    """
    edges = _rank_edges(maps)
    negatives = np.zeros(NUM_BINS)
    regions = []
    for anomaly_map, mask in zip(maps, masks, strict=True):
        binned = np.searchsorted(edges, anomaly_map.ravel()).reshape(anomaly_map.shape)
        negatives += np.bincount(binned[~mask], minlength=NUM_BINS)
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
        regions += [np.bincount(binned[labels == index], minlength=NUM_BINS) for index in range(1, count + 1)]
    if not regions:
        return None
    false_positive_rate = _share_above(negatives)
    true_positive_rate = _share_above(np.sum(regions, axis=0))
    overlap = np.mean([_share_above(region) for region in regions], axis=0)
    return PixelFigures(
        pixel_auroc=float(np.trapezoid(true_positive_rate, false_positive_rate)),
        pro=_area_up_to(false_positive_rate, overlap, PRO_MAX_FALSE_POSITIVE_RATE),
        num_masks=sum(bool(mask.any()) for mask in masks),
    )


def _rank_edges(maps: Sequence[Floats]) -> NDArray[np.float64]:
    """Edges that share all pixels out evenly, from a regular sample of each map."""
    sample = np.concatenate([anomaly_map.ravel()[:: max(1, anomaly_map.size // 4096)] for anomaly_map in maps])
    # half the bins for the upper tenth: defects are rare, and their end of the curve decides
    levels = np.concatenate([np.linspace(0, 0.9, NUM_BINS // 2), np.linspace(0.9, 1, NUM_BINS // 2)[1:]])
    edges: NDArray[np.float64] = np.quantile(sample, levels)
    return edges


def _share_above(histogram: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.float64]:
    """Share of the mass at or above each bin, from none to all."""
    from_above: NDArray[np.float64] = np.cumsum(histogram[::-1]) / histogram.sum()
    return np.concatenate([[0.0], from_above])


def _area_up_to(x: NDArray[np.float64], y: NDArray[np.float64], limit: float) -> float:
    inside = x < limit
    x_cut = np.append(x[inside], limit)
    y_cut = np.append(y[inside], np.interp(limit, x, y))
    return float(np.trapezoid(y_cut, x_cut) / limit)
