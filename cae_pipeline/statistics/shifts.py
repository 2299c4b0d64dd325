"""How far the distribution of one measure has moved: a fact of the images, or their score."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Values: TypeAlias = NDArray[np.float64]

MIN_IMAGES = 20
"""Fewer images than this say nothing about a distribution."""
MIN_DISTANCE = 0.3
"""Kolmogorov-Smirnov distance from which a measure has moved as a whole: a fifth of the images cannot cause it."""
NUM_BINS = 24
EDGE_SHARES = (0.005, 0.995)
"""What lies outside these quantiles is drawn in the outermost bins."""


@dataclass(frozen=True)
class Shift:
    """How far one measure has moved.

    Attributes:
        measure: Its name.
        distance: Largest difference of the two cumulative distributions, in [0, 1].
        p_value: Chance of such a distance with nothing moved.
        has_moved: Whether the distance is large and chance does not explain it.
        then: Shares of the normal images in each of 24 bins.
        now: Shares of tonight's images.
        low: Lower edge of the bins, in the unit of the measure.
        high: Upper edge of the bins.
    """

    measure: str
    distance: float
    p_value: float
    has_moved: bool
    then: tuple[float, ...] = ()
    now: tuple[float, ...] = ()
    low: float = 0.0
    high: float = 0.0


def compare(measure: str, then: Values, now: Values) -> Shift | None:
    """Compare the values of one measure by the two-sample Kolmogorov-Smirnov test.

    The hypothesis is that both come from one distribution. Whether to drop it is for `with_decision`.

    Args:
        measure: Its name.
        then: Values of normal images, shape `(n,)`; those that are not finite were not measured.
        now: Values of tonight's images, shape `(m,)`.

    Returns:
        A shift that has not moved yet; None where either side has fewer than 20 finite values.
    """
    then, now = then[np.isfinite(then)], now[np.isfinite(now)]
    if min(len(then), len(now)) < MIN_IMAGES:
        return None
    test = stats.ks_2samp(then, now)
    low, high = (float(value) for value in np.quantile(np.concatenate([then, now]), EDGE_SHARES))
    high = max(high, low + 1e-9)
    return Shift(
        measure,
        float(test.statistic),
        float(test.pvalue),
        has_moved=False,
        then=_shares(then, low, high),
        now=_shares(now, low, high),
        low=low,
        high=high,
    )


def with_decision(shift: Shift, *, level: float) -> Shift:
    """Decide whether a measure has moved.

    It has moved where the hypothesis of one distribution is dropped at the level, and the distance is at least
    `MIN_DISTANCE`: of many images, a test is sure of differences that matter to nobody.

    Args:
        shift: The comparison.
        level: Share of quiet nights in which the hypothesis may be dropped.
    """
    return replace(shift, has_moved=shift.p_value < level and shift.distance >= MIN_DISTANCE)


def _shares(values: Values, low: float, high: float) -> tuple[float, ...]:
    """Share of the values in each of the bins between two edges."""
    counts = np.histogram(np.clip(values, low, high), NUM_BINS, (low, high))[0]
    return tuple((counts / len(values)).tolist())
