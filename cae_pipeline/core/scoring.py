"""Reconstruction error → anomaly map → regions → score.

Usual errors are learnt per pixel: edges of a part are never rebuilt exactly and must not
count as anomalies. What exceeds the usual error, in its own spread, is the anomaly map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cae_pipeline.core.images import Floats
from cae_pipeline.errors import NonFiniteScoreError

MAP_BLUR_SHARE = 0.025
"""Gaussian blur of the map in shares of the image side: 1.6 px at 64 px."""
SPREAD_BLUR_PX = 2.0
"""Blur of the usual spread: few images teach each pixel's variance, its neighbours help."""
MIN_SPREAD = 2e-3
"""Half a grey value of 255: a pixel that never errs must not turn noise into alarms."""
REGION_SHARE = 0.5
"""A region reaches out to where the map falls below this share of the threshold."""


@dataclass(frozen=True)
class ErrorProfile:
    """What error is usual at each pixel of normal images.

    Attributes:
        mean: Shape `(h, w)`, float32, ≥ 0.
        spread: Standard deviation, shape `(h, w)`, float32, > 0.
    """

    mean: Floats
    spread: Floats


@dataclass(frozen=True)
class Region:
    """One connected place of an image that is not normal, in pixels of the image as delivered."""

    x_px: int
    y_px: int
    width_px: int
    height_px: int
    area_px: int
    peak: float


def reconstruction_error(images: Floats, reconstructions: Floats) -> Floats:
    """Absolute difference, averaged over the channels.

    Args:
        images: Shape `(n, h, w, c)`, float32 in [0, 1].
        reconstructions: The same shape and range.

    Returns:
        Shape `(n, h, w)`, float32 in [0, 1].
    """
    error: Floats = np.abs(images - reconstructions).mean(axis=3)
    return error


def fit_profile(errors: Floats) -> ErrorProfile:
    """Learn the usual error of each pixel from held-out normal images.

    Args:
        errors: Shape `(n, h, w)`, float32.
    """
    variance = ndimage.gaussian_filter(errors.var(axis=0), SPREAD_BLUR_PX)
    # the mean stays sharp: the usual error of an edge must not leak to the pixels beside it
    return ErrorProfile(errors.mean(axis=0), np.sqrt(variance) + np.float32(MIN_SPREAD))


def anomaly_maps(errors: Floats, profile: ErrorProfile) -> Floats:
    """Say how many spreads each place errs more than usual.

    Args:
        errors: Shape `(n, h, w)`, float32.
        profile: Usual errors of the same `(h, w)`.

    Returns:
        Shape `(n, h, w)`, float32, ≥ 0; blurred, so that a patch counts more than a noisy pixel.
    """
    excess = np.maximum((errors - profile.mean) / profile.spread, 0)
    sigma = MAP_BLUR_SHARE * min(errors.shape[1:])
    maps: Floats = ndimage.gaussian_filter(excess, sigma=(0, sigma, sigma))
    return maps


def scores(maps: Floats) -> NDArray[np.float64]:
    """Take the worst place of each map.

    Args:
        maps: Shape `(n, h, w)`, float32.

    Returns:
        Shape `(n,)`, float64, finite, ≥ 0.

    Raises:
        NonFiniteScoreError: If a map holds NaN or infinity; such an image is not normal, it is unknown.
    """
    worst: NDArray[np.float64] = maps.reshape(len(maps), -1).max(axis=1).astype(np.float64)
    if not np.isfinite(worst).all():
        raise NonFiniteScoreError(
            f"{int((~np.isfinite(worst)).sum())} of {len(worst)} scores are not finite. "
            "The weights of this model are broken: roll back, or train again."
        )
    return worst


def regions(anomaly_map: Floats, *, threshold: float, delivered_px: tuple[int, int]) -> tuple[Region, ...]:
    """Find the connected places that a flagged image is flagged for.

    Each holds a place above the threshold and reaches out to where the map falls below half of it.

    Args:
        anomaly_map: Shape `(h, w)`, float32.
        threshold: Of the score; an image without a place above it has no regions.
        delivered_px: Height and width of the image as delivered, to which boxes are scaled.

    Returns:
        Worst first.
    """
    labels, _ = ndimage.label(anomaly_map > REGION_SHARE * threshold, structure=np.ones((3, 3)))
    down, across = delivered_px[0] / anomaly_map.shape[0], delivered_px[1] / anomaly_map.shape[1]
    found = []
    for index, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        inside = labels[rows, columns] == index
        peak = float(anomaly_map[rows, columns][inside].max())
        if peak > threshold:
            top, left = round(rows.start * down), round(columns.start * across)
            found.append(
                Region(
                    x_px=left,
                    y_px=top,
                    width_px=round(columns.stop * across) - left,
                    height_px=round(rows.stop * down) - top,
                    area_px=round(int(inside.sum()) * down * across),
                    peak=peak,
                )
            )
    return tuple(sorted(found, key=lambda region: -region.peak))
