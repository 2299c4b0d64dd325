"""How scores are spread: one rule for bars, for the page of a night and for the pictures of a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_BARS = 40
THRESHOLD_AT = 1.6
"""The scale ends at this multiple of the threshold at least."""
SHOWN_SHARE = 0.98
"""The scale holds at least this share of each group; all scores beyond it stand in the last bar."""


@dataclass(frozen=True)
class ScoreBars:
    """Bars of one or several groups of scores on one scale.

    Attributes:
        edges: Of the bars, from 0 up; one more than bars.
        shares: Group → share of its images in each bar.
    """

    edges: NDArray[np.float64]
    shares: Mapping[str, NDArray[np.float64]]


def sort_into_bars(groups: Mapping[str, NDArray[np.float64]], *, threshold: float) -> ScoreBars:
    """Sort scores into bars of one width.

    Args:
        groups: Name → scores, ≥ 0; none of them empty.
        threshold: What the scores are held against, > 0.

    Example:
        >>> bars = sort_into_bars({"night": np.array([0.1, 9.0])}, threshold=1.0)
        >>> float(bars.shares["night"][-1]), len(bars.edges)
        (0.5, 41)
    """
    highest = max(THRESHOLD_AT * threshold, *(float(np.quantile(scores, SHOWN_SHARE)) for scores in groups.values()))
    edges = np.linspace(0, highest, NUM_BARS + 1)
    shares = {
        name: np.histogram(np.minimum(scores, highest), edges)[0] / len(scores) for name, scores in groups.items()
    }
    return ScoreBars(edges, shares)
