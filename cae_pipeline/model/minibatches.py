"""Arrays in memory → minibatches that all have one shape."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from numpy.typing import NDArray


def minibatches(arrays: tuple[NDArray[Any], ...], size: int, *, seed: int | None) -> tf.data.Dataset:
    """Give float32 minibatches of equal size, so that one compiled step serves all.

    Args:
        arrays: Of the same length; half precision is enough to keep them, and half the memory.
        size: Of a minibatch; what does not fill the last one is left for the next epoch.
        seed: Of the order, which changes with every epoch; None keeps the order.
    """
    data = tf.data.Dataset.from_tensor_slices(arrays)
    if seed is not None:
        data = data.shuffle(len(arrays[0]), seed=seed, reshuffle_each_iteration=True)
    data = data.batch(size, drop_remainder=True)
    return data.map(lambda *parts: tuple(tf.cast(part, tf.float32) for part in parts)).prefetch(2)
