"""Is the rate of false alarms what was asked for?"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from cae_pipeline.statistics.conformal import fit_threshold
from tests.benchmarks.promises.cells import Cells

RATES = (0.10, 0.05, 0.02, 0.01)
NUM_SPLITS = 1_000
NUM_CALIBRATION = 99
"""With 99 every one of the rates is a whole rank, so that what is promised can be met exactly."""


def measure(cells: Cells) -> list[dict[str, Any]]:
    """Split scores of unseen normal images at random, fit a threshold to one part, count in the other.

    `low` and `high` hold 95 % of splits if the promise is kept (beta-binomial); `standard_error` is that of the mean.
    """
    rows = []
    for line in cells.lines:
        scorer = cells.scorer(line)
        tested = scorer.score(cells.pixels(line, cells.images(line, label=0.0))).scores
        scores = np.concatenate([scorer.normal_scores, tested])
        random = np.random.default_rng(0)
        for rate in RATES:
            seen = []
            for _ in range(NUM_SPLITS):
                order = random.permutation(scores)
                threshold = fit_threshold(order[:NUM_CALIBRATION], target_false_alarm_rate=rate)
                seen.append(float((order[NUM_CALIBRATION:] > threshold.value).mean()))
            count = len(scores) - NUM_CALIBRATION
            above = NUM_CALIBRATION + 1 - threshold.rank
            low, high = (stats.betabinom.ppf(end, count, above, threshold.rank) / count for end in (0.025, 0.975))
            rows.append(
                {
                    "line": line,
                    "target": rate,
                    "seen": float(np.mean(seen)),
                    "standard_error": float(np.std(seen) / np.sqrt(NUM_SPLITS)),
                    "low": float(low),
                    "high": float(high),
                    "n": NUM_SPLITS,
                    "num_calibration": NUM_CALIBRATION,
                    "num_tested": count,
                }
            )
    return rows
