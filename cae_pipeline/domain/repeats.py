"""How alike pictures may be before they are called the same one, as a line's normal images allow it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cae_pipeline.domain.facts import ImageFacts, hash_bytes, hash_distances

MAX_NEAR_DUPLICATE_BITS = 10
"""4 % of the 256 bits: what recompression and slight noise change."""
MIN_NEAR_DUPLICATE_BITS = 3
"""Where less would be left, different normal images are as alike as one picture with another noise."""
STUCK_BITS = (24, 10)
"""Tried in turn: bits in which images of a camera that is stuck may differ, each having a noise of its own."""
UNTAUGHT_STUCK_BITS = 10
"""As long as no normal images say how alike parts of the line look."""
NEAREST_QUANTILE = 0.002
"""Among how many normal images the most similar two are looked for, so that fewer than one in 500 is remarked on."""
MAX_COMPARED = 1_000
"""Normal images that are compared with each other, in equal strides."""


def near_duplicate_bits(normal: Sequence[ImageFacts]) -> int | None:
    """Stay below half of what the most similar different normal images differ by.

    Args:
        normal: Facts of the normal images.

    Returns:
        Bits of 256; None where different normal images are as alike as near-duplicates, so that hashes tell nothing.
    """
    different = _different(normal)
    compared = different[:: max(1, -(-len(different) // MAX_COMPARED))]
    hashes = hash_bytes([facts.difference_hash for facts in compared])
    nearest = [int(np.partition(hash_distances(hashes, row), 1)[1]) for row in hashes] if len(hashes) > 1 else [0]
    bits = min(MAX_NEAR_DUPLICATE_BITS, int(np.quantile(nearest, NEAREST_QUANTILE)) // 2)
    return bits if bits >= MIN_NEAR_DUPLICATE_BITS else None


def stuck_bits(normal: Sequence[ImageFacts], *, min_frames: int) -> int | None:
    """Find the bits in which neighbours of a row may differ while normal images form no row of that kind.

    Args:
        normal: Facts of the normal images, in the order they were taken.
        min_frames: Images in a row that make a camera a stuck one.

    Returns:
        Bits of 256; None where normal images themselves come in such rows, so that only equal pixels tell.
    """
    different = _different(normal)
    distances = neighbour_distances([facts.difference_hash for facts in different])
    for bits in STUCK_BITS:
        if max(run_lengths(distances <= bits), default=0) < min_frames - 1:
            return bits
    return None


def neighbour_distances(hashes: Sequence[str]) -> NDArray[np.int64]:
    """Count the bits in which each hash differs from the one before; shape `(n - 1,)`."""
    rows = hash_bytes(list(hashes))
    distances: NDArray[np.int64] = np.bitwise_count(rows[1:] ^ rows[:-1]).sum(axis=1, dtype=np.int64)
    return distances


def run_lengths(repeats: NDArray[np.bool_]) -> list[int]:
    """Turn "is the same as the one before" of all but the first into the length of the run each one stands in.

    Args:
        repeats: Shape `(n - 1,)`, of the second image and those that follow.

    Returns:
        `n` numbers, at least 1 each; the first image of each run has 1, since only those after it repeat anything.

    Example:
        >>> run_lengths(np.array([False, True, True]))
        [1, 1, 3, 3]
    """
    lengths, start = [1] * (len(repeats) + 1), 0
    for position, repeated in enumerate([*repeats.tolist(), False], start=1):
        if not repeated:
            lengths[start + 1 : position] = [position - start] * (position - start - 1)
            start = position
    return lengths


def _different(normal: Sequence[ImageFacts]) -> list[ImageFacts]:
    """Leave each picture once: the same one twice is no sign that different ones look alike."""
    # rows of early versions hold no digest of the pixels
    return list({facts.pixel_digest or facts.difference_hash: facts for facts in normal}.values())
