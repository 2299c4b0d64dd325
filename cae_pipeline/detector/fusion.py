"""Error maps of the heads → one anomaly map → one score.

Each head measures in a unit of its own. Held-out normal images give all heads a common unit: how far a place lies above
what is usual there, relative to the worst place that a normal image usually shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cae_pipeline.detector.ignoring import IgnoredPlaces
from cae_pipeline.domain.images import Floats, resized
from cae_pipeline.domain.line import Head
from cae_pipeline.errors import NonFiniteScoreError

BLUR_CELLS: dict[Head, float] = {"intensity": 1.5, "structure": 1.5, "texture": 1.2, "defect": 0.7}
"""Gaussian blur of each error map in its own cells: a patch counts more than a noisy pixel."""
SPREAD_BLUR_CELLS = 1.5
"""Blur of the usual spread: few images teach each place's variance, its neighbours help."""
PRIOR_IMAGES = 50.0
"""Images as many as which the statistics of the whole image count against those of a place."""
MIN_SPREAD_SHARE = 0.02
"""Of the spread of the whole image: a place that never errs must not turn noise into alarms."""
MIN_LEVEL_RANGE = 1e-3
"""Least distance of `one_level` from `zero_level`, so that a head which never varies is not divided by zero."""


@dataclass(frozen=True)
class HeadProfile:
    """What the error map of one head looks like on normal images.

    The excess of a place is its error less the mean there, in spreads. The common unit is a line through two excesses:
    `zero_level` becomes 0 and `one_level` becomes 1.

    Attributes:
        mean: Usual error at each place, shape `(h, w)`, float32.
        spread: Its standard deviation, shape `(h, w)`, float32, > 0.
        zero_level: Median excess of all places of normal images.
        one_level: Median of the worst excess of each normal image, > `zero_level`.
        fusion_weight: Share of this head in the anomaly map, in [0, 1].
    """

    mean: Floats
    spread: Floats
    zero_level: float
    one_level: float
    fusion_weight: float


def fit_profile(head: Head, errors: Floats, ignored: IgnoredPlaces | None = None) -> HeadProfile:
    """Learn what a head usually says from error maps of held-out normal images.

    The statistics of each place are blended with those of the whole image, which count as much as `PRIOR_IMAGES` images
    do. With few images places are therefore told apart less.

    Args:
        head: Whose error maps they are.
        errors: Shape `(n, h, w)`, float32.
        ignored: Places of the maps that teach nothing.

    Returns:
        A profile with the fusion weight 1.
    """
    visible, prior, place_mean, place_variance = _of_places(errors, ignored)
    # the mean stays sharp: the usual error of an edge must not leak to the places beside it
    mean = (1 - prior) * place_mean + prior * visible.mean()
    variance = (1 - prior) * ndimage.gaussian_filter(place_variance, SPREAD_BLUR_CELLS) + prior * visible.var()
    spread = np.sqrt(variance) + MIN_SPREAD_SHARE * visible.std() + 1e-6
    profile = HeadProfile(
        mean.astype(np.float32), spread.astype(np.float32), zero_level=0.0, one_level=1.0, fusion_weight=1.0
    )
    excess = _excess(head, errors, profile, ignored)
    worst_places = _worst_places(excess)
    if ignored is not None:
        hidden = ignored.at(errors.shape[1:])
        excess, worst_places = excess[~hidden], _worst_places(np.where(hidden, -np.inf, excess))
    zero_level, one_level = float(np.median(excess)), float(np.median(worst_places))
    return replace(profile, zero_level=zero_level, one_level=max(one_level, zero_level + MIN_LEVEL_RANGE))


def to_common_unit(
    head: Head,
    errors: Floats,
    profile: HeadProfile,
    *,
    size_px: tuple[int, int],
    ignored: IgnoredPlaces | None = None,
) -> Floats:
    """Bring the error maps of a head to the common unit: 0 is usual, 1 is the worst place of a usual normal image.

    Args:
        head: Whose error maps they are.
        errors: Shape `(n, h, w)`, float32.
        profile: What is usual for the head, of the same `(h, w)`.
        size_px: Rows and columns of the anomaly map.
        ignored: Places that say nothing.

    Returns:
        Shape `(n, *size_px)`, float32, ≥ 0; 0 where it is ignored.
    """
    level = (_excess(head, errors, profile, ignored) - profile.zero_level) / (profile.one_level - profile.zero_level)
    maps = resized(np.maximum(level, 0), size_px)
    return maps if ignored is None else np.where(ignored.at(size_px), np.float32(0), maps)


def fuse(maps: Mapping[Head, Floats], weights: Mapping[Head, float]) -> Floats:
    """Fuse the maps of several heads to one anomaly map per image.

    A place of the anomaly map is the weighted geometric mean of that place in all maps: a mean of logarithms, in which
    no head drowns the others, however far it leaps.

    The whole map is then scaled, so that its worst place is the same mean of the worst places of the maps, wherever
    each of them lies. Two heads that see one defect a little apart then count as much as two that see it at one place.

    Args:
        maps: In the common unit, each of shape `(n, h, w)`, ≥ 0.
        weights: ≥ 0, not all 0; those of heads without a map are left out.

    Returns:
        Shape `(n, h, w)`, float32, ≥ 0; not finite where one of the maps is not.

    Source:
        Maps brought to one scale on held-out normal images before they are combined: Batzner et al., "EfficientAD",
        2023, there by quantiles.
    """
    total = sum(weights[head] for head in maps)
    # log(1 + x), so that a place without any error is a zero and not minus infinity
    logarithms = [np.log1p(one) * np.float32(weights[head] / total) for head, one in maps.items()]
    fused: Floats = np.expm1(np.sum(logarithms, axis=0))
    wanted_peak = np.expm1(np.sum([_worst_places(logarithm) for logarithm in logarithms], axis=0))
    scaled: Floats = fused * (wanted_peak / np.maximum(_worst_places(fused), np.float32(1e-9)))
    return scaled


def scores_of(maps: Floats) -> NDArray[np.float64]:
    """Take the worst place of each anomaly map as the score of its image.

    Args:
        maps: Shape `(n, h, w)`, float32.

    Returns:
        Shape `(n,)`, float64, ≥ 0; NaN for an image whose map holds NaN or infinity. Such an image is not normal, it is
        unknown.
    """
    worst: NDArray[np.float64] = maps.max(axis=(1, 2)).astype(np.float64)
    return np.where(np.isfinite(worst), worst, np.nan)


def check_finite(scores: NDArray[np.float64]) -> None:
    """Make sure that every image has a score.

    Raises:
        NonFiniteScoreError: If a score is NaN or infinite.
    """
    num_broken = int((~np.isfinite(scores)).sum())
    if num_broken:
        raise NonFiniteScoreError(
            f"{num_broken} of {len(scores)} scores are not finite, expected a number for each image. "
            "The weights of this model are broken: roll back, or train again."
        )


def _of_places(
    errors: Floats, ignored: IgnoredPlaces | None
) -> tuple[Floats, float | NDArray[np.float32], Floats, Floats]:
    """What each place shows by itself.

    Returns:
        The errors that count, in any shape; the weight of the whole image against that of a place; mean and variance of
        each place. A place that is ignored in all images has the weight 1 of the whole image, and its variance.
    """
    if ignored is None:
        return errors, PRIOR_IMAGES / (PRIOR_IMAGES + len(errors)), errors.mean(axis=0), errors.var(axis=0)
    hidden = ignored.at(errors.shape[1:])
    places, visible = np.ma.array(errors, mask=hidden), errors[~hidden]
    prior = (PRIOR_IMAGES / (PRIOR_IMAGES + (~hidden).sum(axis=0))).astype(np.float32)
    return visible, prior, places.mean(axis=0).filled(0), places.var(axis=0).filled(visible.var())


def _excess(head: Head, errors: Floats, profile: HeadProfile, ignored: IgnoredPlaces | None) -> Floats:
    """How far each place lies above what is usual there, in spreads, blurred within its own image."""
    blur, excess = BLUR_CELLS[head], (errors - profile.mean) / profile.spread
    if ignored is not None:
        excess = np.where(ignored.at(errors.shape[1:]), np.float32(0), excess)
    blurred: Floats = ndimage.gaussian_filter(excess, (0, blur, blur))
    return blurred


def _worst_places(maps: Floats) -> Floats:
    """The highest value of each map, shape `(n, 1, 1)`."""
    worst: Floats = maps.max(axis=(1, 2), keepdims=True)
    return worst
