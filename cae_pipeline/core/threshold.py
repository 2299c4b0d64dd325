"""Normal scores → threshold and p-values, with the finite-sample guarantee."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cae_pipeline.errors import TooFewNormalImagesError

Scores: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Threshold:
    """The limit a score is held against: an image is anomalous if its score is above it.

    Attributes:
        rank: Which of the sorted normal scores it is, counted from 1.
        num_normal: How many normal scores it rests on.
    """

    value: float
    target_false_alarm_rate: float
    rank: int
    num_normal: int


def fit_threshold(normal_scores: Scores, *, target_false_alarm_rate: float) -> Threshold:
    """Choose the score above which at most the target share of normal images falls.

    The rank is the conformal one, so the promise holds for any score distribution
    as long as tomorrow's normal images look like these.

    Args:
        normal_scores: Scores of held-out normal images, shape `(n,)`, finite.
        target_false_alarm_rate: Wanted share of normal images flagged, in (0, 1).

    Returns:
        The threshold, the rank it was taken at and how many scores it rests on.

    Raises:
        TooFewNormalImagesError: If `n < 1 / target_false_alarm_rate - 1`; says how many are needed.

    Example:
        >>> fit_threshold(np.arange(1.0, 20.0), target_false_alarm_rate=0.1).value
        18.0

    Source:
        Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005, ch. 2.
    """
    count = len(normal_scores)
    needed = min_normal_images(target_false_alarm_rate)
    if count < needed:
        raise TooFewNormalImagesError(
            f"a threshold for a target_false_alarm_rate of {target_false_alarm_rate:g}",
            received=count,
            needed=needed,
            advice=f"Hold out more images, or ask for {1 / (count + 1):.3f} at the least.",
        )
    # the small allowance keeps (n + 1)(1 - rate) = 18.000000000000004 from being rounded up to 19
    rank = math.ceil((count + 1) * (1 - target_false_alarm_rate) - 1e-9)
    value = float(np.sort(normal_scores)[rank - 1])
    return Threshold(value, target_false_alarm_rate, rank, count)


def min_normal_images(target_false_alarm_rate: float) -> int:
    """How many held-out normal images a target needs.

    Example:
        >>> min_normal_images(0.05)
        19
    """
    return math.ceil(1 / target_false_alarm_rate - 1 - 1e-9)


def p_values(scores: Scores, normal_scores: Scores) -> NDArray[np.float64]:
    """Share of held-out normal images that score at least as high, the image itself counted in.

    Args:
        scores: Shape `(m,)`, finite.
        normal_scores: Shape `(n,)`, finite, in any order.

    Returns:
        Shape `(m,)`, in (0, 1]; at most the target exactly where the score is above the threshold.

    Example:
        >>> p_values(np.array([0.5, 9.0]), np.array([1.0, 2.0, 3.0])).tolist()
        [1.0, 0.25]
    """
    ordered = np.sort(normal_scores)
    at_least_as_high = len(ordered) - np.searchsorted(ordered, scores, side="left")
    p_value: NDArray[np.float64] = (at_least_as_high + 1) / (len(ordered) + 1)
    return p_value
