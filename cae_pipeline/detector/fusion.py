"""Errors of the heads → anomaly map → regions → score.

Each head measures in its own unit. Held-out normal images give all of them one: how far a place lies
above what is usual there, relative to the worst place that a normal image usually shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cae_pipeline.domain.images import Floats, resized
from cae_pipeline.domain.line import Head
from cae_pipeline.errors import NonFiniteScoreError

BLUR_CELLS: dict[Head, float] = {"intensity": 1.5, "structure": 1.5, "texture": 1.2, "defect": 0.7}
"""Gaussian blur of each head in its own cells: a patch counts more than a noisy pixel."""
SPREAD_BLUR_CELLS = 1.5
"""Blur of the usual spread: few images teach each place's variance, its neighbours help."""
PRIOR_IMAGES = 50.0
"""Images as many as which the statistics of the whole image count against those of a place."""
MIN_SPREAD_SHARE = 0.02
"""Of the spread of the whole image: a place that never errs must not turn noise into alarms."""
REGION_SHARE = 0.5
"""A region reaches out to where the map falls below this share of the threshold."""
PEAK_SHARE = 0.25
"""Nor does it reach to where the map falls below this share of the region's own peak: a glaring defect
raises everything around it above the threshold."""


@dataclass(frozen=True)
class HeadProfile:
    """What one head says of normal images.

    Attributes:
        mean: Usual value at each place, shape `(h, w)`, float32.
        spread: Its standard deviation, shape `(h, w)`, float32, > 0.
        zero_level: Median place of normal images, in spreads.
        one_level: Median of the worst places of normal images, in spreads, > zero_level.
        fusion_weight: Share of this head in the anomaly map, in [0, 1].
    """

    mean: Floats
    spread: Floats
    zero_level: float
    one_level: float
    fusion_weight: float


@dataclass(frozen=True)
class Region:
    """One connected place of an image that is not normal, in pixels of the image as delivered."""

    x_px: int
    y_px: int
    width_px: int
    height_px: int
    area_px: int
    peak: float


def fit_profile(head: Head, errors: Floats) -> HeadProfile:
    """Learn what a head usually says from held-out normal images.

    With few images, places are told apart less: the statistics of the whole image count as much as
    `PRIOR_IMAGES` of them.

    Args:
        head: Which one it is.
        errors: Shape `(n, h, w)`, float32.
    """
    prior = PRIOR_IMAGES / (PRIOR_IMAGES + len(errors))
    variance = (1 - prior) * ndimage.gaussian_filter(errors.var(axis=0), SPREAD_BLUR_CELLS) + prior * errors.var()
    # the mean stays sharp: the usual error of an edge must not leak to the places beside it
    mean = (1 - prior) * errors.mean(axis=0) + prior * errors.mean()
    spread = np.sqrt(variance) + MIN_SPREAD_SHARE * errors.std() + 1e-6
    fresh = HeadProfile(mean.astype(np.float32), spread.astype(np.float32), 0.0, 1.0, 1.0)
    excess = _excess(head, errors, fresh)
    ground, ceiling = float(np.median(excess)), float(np.median(excess.reshape(len(excess), -1).max(axis=1)))
    return HeadProfile(fresh.mean, fresh.spread, ground, max(ceiling, ground + 1e-3), 1.0)


def to_common_unit(head: Head, errors: Floats, profile: HeadProfile, *, size_px: tuple[int, int]) -> Floats:
    """Bring a head to the common unit: 0 is usual, 1 is the worst place of a usual normal image.

    Args:
        head: Which one it is.
        errors: Shape `(n, h, w)`, float32.
        profile: Of normal images, of the same `(h, w)`.
        size_px: Rows and columns of the anomaly map.

    Returns:
        Shape `(n, *size_px)`, float32, ≥ 0.
    """
    level = (_excess(head, errors, profile) - profile.zero_level) / (profile.one_level - profile.zero_level)
    return resized(np.maximum(level, 0), size_px)


def fuse(maps: Mapping[Head, Floats], weights: Mapping[Head, float]) -> Floats:
    """Make one anomaly map of several heads: their geometric mean, by weight.

    In the mean of logarithms no head drowns the others, however far it leaps. The worst place of the
    map is then set to the same mean of the heads' own worst places: two heads that see one defect a
    little apart count as much as two that see it at one place.

    Args:
        maps: In the common unit, each of shape `(n, h, w)`, ≥ 0.
        weights: ≥ 0, not all 0.

    Returns:
        Shape `(n, h, w)`, float32, ≥ 0.

    Source:
        Maps brought to one scale on held-out normal images before they are combined: Batzner et al.,
        "EfficientAD", 2023, there by quantiles.
    """
    total = sum(weights[head] for head in maps)
    logarithms = [np.log1p(errors) * np.float32(weights[head] / total) for head, errors in maps.items()]
    fused: Floats = np.expm1(np.sum(logarithms, axis=0))
    worst = np.expm1(np.sum([_worst(logarithm) for logarithm in logarithms], axis=0))
    scaled: Floats = fused * (worst / np.maximum(_worst(fused), np.float32(1e-9)))
    return scaled


def scores(maps: Floats) -> NDArray[np.float64]:
    """Take the worst place of each map.

    Args:
        maps: Shape `(n, h, w)`, float32.

    Returns:
        Shape `(n,)`, float64, finite, ≥ 0.

    Raises:
        NonFiniteScoreError: If a map holds NaN or infinity; such an image is not normal, it is unknown.
    """
    worst: NDArray[np.float64] = maps.max(axis=(1, 2)).astype(np.float64)
    if not np.isfinite(worst).all():
        raise NonFiniteScoreError(
            f"{int((~np.isfinite(worst)).sum())} of {len(worst)} scores are not finite. "
            "The weights of this model are broken: roll back, or train again."
        )
    return worst


def regions(anomaly_map: Floats, *, threshold: float, delivered_px: tuple[int, int]) -> tuple[Region, ...]:
    """Find the connected places that a flagged image is flagged for.

    Each holds a place above the threshold and reaches out to where the map falls below half of it, or below
    a quarter of the region's own peak.

    Args:
        anomaly_map: Shape `(h, w)`, float32.
        threshold: Of the score; an image without a place above it has no regions.
        delivered_px: Height and width of the image as delivered, to which boxes are scaled.

    Returns:
        Worst first.
    """
    if anomaly_map.max() <= threshold:
        return ()
    labels, _ = ndimage.label(anomaly_map > REGION_SHARE * threshold, structure=np.ones((3, 3)))
    down, across = delivered_px[0] / anomaly_map.shape[0], delivered_px[1] / anomaly_map.shape[1]
    found = []
    for index, box in enumerate(ndimage.find_objects(labels), start=1):
        whole = labels[box] == index
        peak = float(anomaly_map[box][whole].max())
        if peak <= threshold:
            continue
        inside = whole & (anomaly_map[box] >= PEAK_SHARE * peak)
        rows, columns = _span(box[0], inside.any(axis=1)), _span(box[1], inside.any(axis=0))
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


def _span(outer: slice, inside: NDArray[np.bool_]) -> slice:
    """Narrow a slice to where something is."""
    there = np.flatnonzero(inside)
    return slice(outer.start + int(there[0]), outer.start + int(there[-1]) + 1)


def _worst(maps: Floats) -> Floats:
    worst: Floats = maps.max(axis=(1, 2), keepdims=True)
    return worst


def _excess(head: Head, errors: Floats, profile: HeadProfile) -> Floats:
    blur = BLUR_CELLS[head]
    excess: Floats = ndimage.gaussian_filter((errors - profile.mean) / profile.spread, (0, blur, blur))
    return excess
