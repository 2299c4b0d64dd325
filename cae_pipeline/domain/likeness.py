"""How unlike a line's normal images a picture is, and whether it would be more like them turned by a quarter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cae_pipeline.domain.facts import ImageFacts
from cae_pipeline.domain.texture import log_texture, turned

MIN_IMAGES = 40
"""Fewer normal images than this do not tell how far apart a line's images may lie."""
MAX_IMAGES = 2_000
"""More than so many are learnt from in equal strides: the cost of a batch must not grow with the years."""
USUAL_CHANGE = 0.2
"""Change of a steepness, as a share, that means nothing even on a line whose images are all alike."""
SHRINKAGE = 0.1
"""Share by which correlations are drawn towards none, so that few images do not feign precise ones."""
FOLDS = 4
"""Parts of the normal images, each measured by what the others teach."""
USUAL_QUANTILE, DISTANCE_MARGIN = 0.99, 1.25
"""A picture is unlike a line beyond this many times what so many of the held-out normal images keep within."""
MIN_DISTANCE_LIMIT = 0.8
"""Where parts in a fixture are all but equal, a defect is the farthest thing: no limit lies below this."""
COLOUR_WEIGHT = 20.0
"""A twentieth of all colour moved from one colour to the others counts as much as a steepness changed by e."""


@dataclass(frozen=True)
class Likeness:
    """Where a line's normal images lie, and how they spread.

    Attributes:
        centre: Their mean, shape `(20,)`.
        precision: Inverse of their shrunken covariance, shape `(20, 20)`.
    """

    centre: NDArray[np.float64]
    precision: NDArray[np.float64]

    def distances(self, images: Sequence[ImageFacts], *, turn: bool = False) -> NDArray[np.float64]:
        """Measure how far pictures lie from the line's normal images; about 1 is usual.

        Args:
            images: Facts of the pictures.
            turn: Whether to measure them as if they were turned by a quarter.

        Returns:
            Shape `(n,)`; NaN where a picture's texture was never measured.
        """
        distances = np.full(len(images), np.nan)
        known = [row for row, facts in enumerate(images) if facts.texture is not None]
        if known:
            distances[known] = self.distances_of(_vectors([images[row] for row in known], turn=turn))
        return distances

    def distances_of(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Measure how far vectors of what is compared lie from the centre: `(n, 20)` to `(n,)`."""
        apart = vectors - self.centre
        squares = np.einsum("ij,jk,ik->i", apart, self.precision, apart)
        distances: NDArray[np.float64] = np.sqrt(squares / vectors.shape[1])
        return distances


@dataclass(frozen=True)
class LikenessLimits:
    """How unlike a line pictures may be.

    Attributes:
        max_distance: Farthest distance from the line's normal images.
        max_turn_gain: By how much a picture may come nearer to them if it is turned by a quarter; None where the
            line's images do not show which way up they are.
    """

    max_distance: float
    max_turn_gain: float | None


@dataclass(frozen=True)
class Comparison:
    """One picture held against a line's normal images; see `FactsRow`."""

    line_distance: float | None = None
    turn_gain: float | None = None


def compare(
    images: Sequence[ImageFacts], normal: Sequence[ImageFacts], *, max_distance: float | None
) -> list[Comparison]:
    """Hold pictures against a line's normal images.

    Args:
        images: Facts of the pictures.
        normal: Facts of the line's normal images; too few of them compare with nothing.
        max_distance: Beyond which a picture is unlike the line. Only what would be like it when turned has a gain.
    """
    likeness = learn_likeness(normal)
    if likeness is None or max_distance is None:
        return [Comparison()] * len(images)
    as_is, if_turned = likeness.distances(images), likeness.distances(images, turn=True)
    return [
        Comparison(None if np.isnan(one) else float(one), float(one - other) if other <= max_distance else None)
        for one, other in zip(as_is, if_turned, strict=True)
    ]


def learn_likeness(normal: Sequence[ImageFacts]) -> Likeness | None:
    """Learn where a line's normal images lie; None if there are too few whose texture was measured."""
    measured = _measured(normal)
    return _fit(_vectors(measured)) if len(measured) >= MIN_IMAGES else None


def likeness_limits(normal: Sequence[ImageFacts]) -> LikenessLimits | None:
    """Learn how far from a line its images may lie, from normal images that are held out in turn.

    A limit is well beyond what held-out normal images show: it is meant for another product or a camera that was
    turned, never for a defect.
    """
    measured = _measured(normal)
    if len(measured) < MIN_IMAGES:
        return None
    as_is, if_turned = _vectors(measured), _vectors(measured, turn=True)
    distances, gains = np.empty(len(measured)), np.empty(len(measured))
    for fold in range(FOLDS):
        held_out = np.arange(len(measured)) % FOLDS == fold
        likeness = _fit(as_is[~held_out])
        distances[held_out] = likeness.distances_of(as_is[held_out])
        gains[held_out] = distances[held_out] - likeness.distances_of(if_turned[held_out])
    # turned, a normal image must lie farther away than it does: else nothing says which way up a picture is
    shows_which_way_up = float(np.quantile(gains, USUAL_QUANTILE)) < 0
    return LikenessLimits(
        max_distance=max(MIN_DISTANCE_LIMIT, DISTANCE_MARGIN * float(np.quantile(distances, USUAL_QUANTILE))),
        max_turn_gain=max(0.0, float(gains.max())) if shows_which_way_up else None,
    )


def _measured(normal: Sequence[ImageFacts]) -> list[ImageFacts]:
    measured = [facts for facts in normal if facts.texture is not None]
    return measured[:: max(1, -(-len(measured) // MAX_IMAGES))]


def _vectors(images: Sequence[ImageFacts], *, turn: bool = False) -> NDArray[np.float64]:
    """What pictures are compared by, shape `(n, 20)`; a lamp that gets weaker changes none of it."""
    texture = log_texture([facts.texture or "" for facts in images])
    light = np.log([255 * facts.brightness + 1 for facts in images])
    fine = np.log([255 * facts.sharpness**0.5 + 0.5 for facts in images])
    relative = np.column_stack([turned(texture) if turn else texture, fine]) - light[:, None]
    colours = [[facts.red_share, facts.blue_share] for facts in images]
    return np.column_stack([relative, COLOUR_WEIGHT * np.array(colours)])


def _fit(vectors: NDArray[np.float64]) -> Likeness:
    covariance = np.cov(vectors, rowvar=False)
    shrunken = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.diag(np.diag(covariance))
    precision = np.linalg.inv(shrunken + USUAL_CHANGE**2 * np.eye(len(covariance)))
    return Likeness(vectors.mean(axis=0), precision.astype(np.float64))
