"""How well scores and maps tell defects from normal images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats


@dataclass(frozen=True)
class ImageFigures:
    """Figures over images.

    Attributes:
        image_auroc: Chance that a defective image scores above a normal one; NaN-free, in [0, 1].
        average_precision: Area under precision over recall, defects being positive.
        f1: Of the flags as given, not of the best threshold in hindsight.
        false_alarm_rate: Flagged share of the normal images.
        false_alarm_low: Lower end of its 95 % interval.
        false_alarm_high: Upper end of its 95 % interval.
    """

    image_auroc: float
    average_precision: float
    f1: float
    false_alarm_rate: float
    false_alarm_low: float
    false_alarm_high: float
    num_normal: int
    num_defective: int


def auroc(normal_scores: NDArray[np.float64], defective_scores: NDArray[np.float64]) -> float:
    """Chance that a defective image scores above a normal one, ties counting half.

    Args:
        normal_scores: Shape `(n,)`, finite, n > 0.
        defective_scores: Shape `(m,)`, finite, m > 0.

    Raises:
        ValueError: If there is no normal or no defective score.

    Example:
        >>> auroc(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
        0.875

    Source:
        The rank sum of Mann and Whitney, "On a test of whether one of two random variables is stochastically larger
        than the other", 1947.
    """
    num_normal, num_defective = len(normal_scores), len(defective_scores)
    if not num_normal or not num_defective:
        raise ValueError(f"received {num_normal} normal and {num_defective} defective scores, expected some of each")
    ranks = stats.rankdata(np.concatenate([normal_scores, defective_scores]))
    pairs_won = ranks[num_normal:].sum() - num_defective * (num_defective + 1) / 2
    return float(pairs_won / (num_normal * num_defective))


def average_precision(scores: NDArray[np.float64], defective: NDArray[np.bool_]) -> float:
    """Mean precision over the recalls that are reached when the threshold falls from score to score.

    Args:
        scores: Shape `(n,)`, finite.
        defective: What is true, shape `(n,)`; at least one is defective.

    Example:
        >>> average_precision(np.array([3.0, 2.0, 1.0]), np.array([True, False, True]))
        0.8333333333333333
    """
    order = np.argsort(-scores, kind="stable")
    ordered, num_found = scores[order], np.cumsum(defective[order])
    # images of one score are flagged together: only the last of them is a place to stop
    stops = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    precision, recall = num_found[stops] / (stops + 1), num_found[stops] / num_found[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def f1_score(flags: NDArray[np.bool_], defective: NDArray[np.bool_]) -> float:
    """Harmonic mean of precision and recall of some flags; 0 where nothing is flagged or defective.

    Example:
        >>> f1_score(np.array([True, True, False]), np.array([True, False, False]))
        0.6666666666666666
    """
    num_flagged_and_defective = int(flags.sum()) + int(defective.sum())
    return 2 * int((flags & defective).sum()) / num_flagged_and_defective if num_flagged_and_defective else 0.0


def image_figures(scores: NDArray[np.float64], flags: NDArray[np.bool_], defective: NDArray[np.bool_]) -> ImageFigures:
    """Work out the figures of one evaluation set.

    Args:
        scores: Shape `(n,)`.
        flags: What the pipeline said, shape `(n,)`.
        defective: What is true, shape `(n,)`; both kinds must be there.
    """
    false_alarms, num_normal = int(flags[~defective].sum()), int((~defective).sum())
    _, low, high = share_with_interval(false_alarms, num_normal) or (0.0, 0.0, 1.0)
    return ImageFigures(
        image_auroc=auroc(scores[~defective], scores[defective]),
        average_precision=average_precision(scores, defective),
        f1=f1_score(flags, defective),
        false_alarm_rate=false_alarms / num_normal,
        false_alarm_low=low,
        false_alarm_high=high,
        num_normal=num_normal,
        num_defective=int(defective.sum()),
    )


def share_with_interval(count: int, total: int) -> tuple[float, float, float] | None:
    """A share with the lower and upper end of its 95 % interval; None of nothing.

    Example:
        >>> [round(value, 3) for value in share_with_interval(5, 100)]
        [0.05, 0.022, 0.112]

    Source:
        Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
    """
    if not total:
        return None
    interval = stats.binomtest(count, total).proportion_ci(method="wilson")
    return count / total, float(interval.low), float(interval.high)
