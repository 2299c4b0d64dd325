"""Which runtime is faster for one model on this machine."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
from joblib import cpu_count

from cae_pipeline.concurrency.parallel import in_order
from cae_pipeline.detector.scorer import Forward, run_padded
from cae_pipeline.domain.images import Pixels

ROUNDS = 5
MINIBATCHES_PER_CORE = 4
WORTH_CHANGING = 1.1
"""Times as fast another runtime must be to be chosen: less is within what two measurements differ by."""


def speedup(other: Forward, reference: Forward, tiles: Pixels) -> float:
    """Say how many times as fast one runtime is as another on all cores, by the median of rounds taken in turns.

    Args:
        other: A runtime.
        reference: Another, for the same networks.
        tiles: At most a minibatch.
    """
    seconds: dict[str, list[float]] = {"other": [], "reference": []}
    for _ in range(ROUNDS):
        for name, forward in (("other", other), ("reference", reference)):
            started = time.perf_counter()
            for _ in in_order(partial(run_padded, forward), [tiles] * MINIBATCHES_PER_CORE * cpu_count()):
                pass
            seconds[name].append(time.perf_counter() - started)
    return float(np.median(seconds["reference"]) / np.median(seconds["other"]))
