"""Chunks → one array → minibatches of one shape, with each array in memory once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from cae_pipeline.domain.images import AnyFloats


def joined(chunks: Iterable[Sequence[AnyFloats]], count: int) -> list[AnyFloats]:
    """Put chunks behind each other as they come: to collect them first would hold everything twice.

    Args:
        chunks: Arrays of some rows each, in the same order in every chunk.
        count: Rows of all chunks together.
    """
    whole: list[AnyFloats] = []
    start = 0
    for chunk in chunks:
        whole = whole or [np.empty((count, *part.shape[1:]), part.dtype) for part in chunk]
        for array, part in zip(whole, chunk, strict=True):
            array[start : start + len(part)] = part
        start += len(chunk[0])
    return whole


def minibatches(arrays: tuple[NDArray[Any] | tf.Tensor, ...], size: int, *, seed: int | None) -> tf.data.Dataset:
    """Give float32 minibatches of equal size, so that one compiled step serves all.

    Args:
        arrays: Of the same length, of NumPy or tensors; half precision is enough, and half the memory.
        size: Of a minibatch; what does not fill the last one is left for the next epoch.
        seed: Of the order, which changes with every epoch; None keeps the order.
    """
    tensors = [tf.convert_to_tensor(array) for array in arrays]
    # positions are shuffled, not arrays: a buffer of those would be one more copy of everything
    order = tf.data.Dataset.range(len(arrays[0]))
    if seed is not None:
        order = order.shuffle(len(arrays[0]), seed=seed, reshuffle_each_iteration=True)
    order = order.batch(size, drop_remainder=True)
    return order.map(lambda rows: tuple(tf.cast(tf.gather(tensor, rows), tf.float32) for tensor in tensors)).prefetch(2)
