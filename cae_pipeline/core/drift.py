"""Has something moved since the champion was trained?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

MIN_IMAGES = 20
"""Fewer images than this say nothing about a distribution."""
MIN_SHIFT = 0.3
"""Kolmogorov-Smirnov distance below which a shift, however certain, is too small to matter."""
FALSE_ALARM_RATE = 0.01
"""Share of quiet nights that may raise an alarm, over all measures together."""


@dataclass(frozen=True)
class Shift:
    """How far one measure has moved.

    Attributes:
        distance: Largest difference of the two cumulative distributions, in [0, 1].
        p_value: Chance of such a distance with nothing moved.
    """

    measure: str
    distance: float
    p_value: float
    has_moved: bool


@dataclass(frozen=True)
class DriftReport:
    """All measures of one line and night."""

    shifts: tuple[Shift, ...]
    num_images: int

    @property
    def moved(self) -> tuple[str, ...]:
        """Names of the measures that have moved."""
        return tuple(shift.measure for shift in self.shifts if shift.has_moved)


def compare(then: Mapping[str, NDArray[np.float64]], now: Mapping[str, NDArray[np.float64]]) -> DriftReport:
    """Compare tonight's distributions with those at training.

    Args:
        then: Measure → values of the normal images the champion was trained on.
        now: The same measures of tonight's images.

    Returns:
        No shifts where either side has fewer than 20 values.

    Source:
        Two-sample Kolmogorov-Smirnov test; the rate is shared out over the measures (Bonferroni).
    """
    count = min((len(values) for values in now.values()), default=0)
    measures = [name for name in now if min(len(now[name]), len(then.get(name, ()))) >= MIN_IMAGES]
    shifts = []
    for name in measures:
        test = stats.ks_2samp(then[name], now[name])
        certain = test.pvalue < FALSE_ALARM_RATE / len(measures)
        shifts.append(
            Shift(name, float(test.statistic), float(test.pvalue), bool(certain and test.statistic >= MIN_SHIFT))
        )
    return DriftReport(tuple(shifts), count)
