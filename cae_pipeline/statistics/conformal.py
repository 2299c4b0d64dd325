"""Normal scores → threshold and p-values, with the finite-sample guarantee."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cae_pipeline.errors import ConfigurationError, TooFewNormalImagesError

Scores: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Threshold:
    """The limit a score is held against: an image is anomalous if its score is above it.

    Attributes:
        target_false_alarm_rate: Expected share of normal images above it, at most.
        rank: Which of the sorted normal scores it is, or lies above; counted from 1.
        num_normal: How many normal scores it rests on.
        method: conformal, f1, cost, or given by a person.
        num_defective: How many defects it rests on besides.
    """

    value: float
    target_false_alarm_rate: float
    rank: int
    num_normal: int
    method: str = "conformal"
    num_defective: int = 0


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


def imply_threshold(value: float, normal_scores: Scores, *, method: str, num_defective: int = 0) -> Threshold:
    """Work out what a threshold that was not fitted to a rate promises all the same.

    Args:
        value: The threshold, > 0 and finite.
        normal_scores: Scores of held-out normal images, shape `(n,)`, finite.
        method: How it was found.
        num_defective: On how many defects it rests besides.

    Returns:
        With the rank among the normal scores that it lies at, and the rate that rank keeps.

    Raises:
        ConfigurationError: If the value flags everything or nothing for ever.

    Example:
        >>> imply_threshold(18.5, np.arange(1.0, 20.0), method="given").target_false_alarm_rate
        0.1
    """
    if not (math.isfinite(value) and value > 0):
        raise ConfigurationError(f"the threshold is {value}; expected a finite number above 0, as scores are.")
    count = len(normal_scores)
    rank = int((normal_scores <= value).sum())
    return Threshold(value, (count + 1 - rank) / (count + 1), rank, count, method, num_defective)


def fit_to_f1(normal_scores: Scores, defective_scores: Scores, *, defect_rate: float) -> Threshold:
    """Choose the threshold with the highest F1 at a given rate of defects; see `fit_to_cost` for the arguments."""

    def f1(detected: Scores, false_alarms: Scores) -> Scores:
        hits = defect_rate * detected
        best: Scores = 2 * hits / (hits + (1 - defect_rate) * false_alarms + defect_rate)
        return best

    return _best(normal_scores, defective_scores, f1, method="f1")


def fit_to_cost(
    normal_scores: Scores, defective_scores: Scores, *, defect_rate: float, miss_cost: float, false_alarm_cost: float
) -> Threshold:
    """Choose the threshold with the lowest expected cost of an image.

    Args:
        normal_scores: Scores of held-out normal images, shape `(n,)`, n > 0, finite.
        defective_scores: Scores of images that people called defects, shape `(m,)`, m > 0, finite.
        defect_rate: Share of defects among the images to come, in (0, 1).
        miss_cost: Of a defect that is not flagged, ≥ 0, in any unit.
        false_alarm_cost: Of a normal image that is flagged, ≥ 0, in the same unit.

    Example:
        >>> normal, defective = np.arange(1.0, 20.0), np.array([15.5, 30.0, 40.0])
        >>> costs = {"defect_rate": 0.5, "miss_cost": 1.0}
        >>> fit_to_cost(normal, defective, **costs, false_alarm_cost=100.0).value
        24.5
        >>> fit_to_cost(normal, defective, **costs, false_alarm_cost=0.1).value
        15.25
    """

    def saved(detected: Scores, false_alarms: Scores) -> Scores:
        cost: Scores = defect_rate * (1 - detected) * miss_cost + (1 - defect_rate) * false_alarms * false_alarm_cost
        return -cost

    return _best(normal_scores, defective_scores, saved, method="cost")


def _best(
    normal_scores: Scores, defective_scores: Scores, worth: Callable[[Scores, Scores], Scores], *, method: str
) -> Threshold:
    """Try the middle between any two neighbouring scores; among equals the highest, which flags least."""
    seen = np.unique(np.concatenate([normal_scores, defective_scores]))
    tried = np.append((seen[:-1] + seen[1:]) / 2, seen[-1])[::-1]
    above = (
        1 - np.searchsorted(np.sort(scores), tried, side="right") / len(scores)
        for scores in (defective_scores, normal_scores)
    )
    value = float(tried[int(np.argmax(worth(*above)))])
    return imply_threshold(value, normal_scores, method=method, num_defective=len(defective_scores))
