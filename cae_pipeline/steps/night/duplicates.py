"""Which images of a delivery came before, byte for byte or almost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cae_pipeline.adapters.decoding import Measured
from cae_pipeline.adapters.results import images
from cae_pipeline.domain.batch import Delivery
from cae_pipeline.domain.facts import hash_bytes
from cae_pipeline.domain.limits import FactLimits
from cae_pipeline.domain.line import Line
from cae_pipeline.steps.night.find import is_normal_batch
from cae_pipeline.steps.services import Services

COMPARED_NIGHTS = timedelta(days=7)
"""A camera that hangs repeats what it has just seen: older images are not looked through for near-duplicates."""
MAX_COMPARED = 20_000
"""Nor are more than so many, the newest: the cost of an image must not grow with the size of the nights."""


@dataclass(frozen=True)
class Duplicates:
    """Earlier images that members repeat, by the member's position.

    Attributes:
        exact: The image_id of the same bytes.
        near: The image_id of almost the same picture; members in `exact` are not in here.
    """

    exact: dict[int, str]
    near: dict[int, str]


def find_duplicates(
    line: Line, delivery: Delivery, measured: Sequence[Measured], limits: FactLimits, services: Services
) -> Duplicates:
    """Hold the members that could be decoded against the line's earlier images and against those before them."""
    since = delivery.night - COMPARED_NIGHTS
    wants_near = limits.max_near_duplicate_bits is not None
    with services.read() as connection:
        known = images.known_images(connection, delivery, is_normal=partial(is_normal_batch, line))
        recent = images.recent_images(connection, delivery, since=since, limit=MAX_COMPARED) if wants_near else []
    decoded = [row for row, result in enumerate(measured) if result.facts is not None]
    exact: dict[int, str] = {}
    for row in decoded:
        digest = delivery.members[row].sha256
        if digest in known:
            exact[row] = digest
        known.add(digest)
    if limits.max_near_duplicate_bits is None:
        return Duplicates(exact, {})
    others = [row for row in decoded if row not in exact]
    ids = [image.image_id for image in recent] + [delivery.members[row].sha256 for row in others]
    hashes = _as_words([image.difference_hash for image in recent] + [_hash(measured[row]) for row in others])
    near: dict[int, str] = {}
    for number, row in enumerate(others):
        position = len(recent) + number
        nearest = _nearest(hashes[:, :position], hashes[:, position], max_bits=limits.max_near_duplicate_bits)
        # a picture without any edge has an empty hash, and is no more like another than like itself
        if nearest is not None and np.any(hashes[:, position]):
            near[row] = ids[nearest]
    return Duplicates(exact, near)


def _as_words(hashes: list[str]) -> NDArray[np.uint64]:
    """Turn hexadecimal hashes into words of 64 bits, which are compared at once; shape `(4, n)`."""
    words = hash_bytes(hashes).view(np.uint64) if hashes else np.zeros((0, 4), np.uint64)
    # the first words of all hashes side by side: they are all that most comparisons look at
    return np.ascontiguousarray(words.T)


def _nearest(hashes: NDArray[np.uint64], wanted: NDArray[np.uint64], *, max_bits: int) -> int | None:
    """Position of the hash that differs in the fewest bits, the first of several; None where all differ in more.

    Hashes that differ in more than `max_bits` of their first 64 bits alone are out before the rest is compared.
    """
    alike = np.flatnonzero(np.bitwise_count(hashes[0] ^ wanted[0]) <= max_bits)
    if not len(alike):
        return None
    distances = np.bitwise_count(hashes[:, alike] ^ wanted[:, None]).sum(axis=0, dtype=np.uint16)
    nearest = int(distances.argmin())
    return int(alike[nearest]) if distances[nearest] <= max_bits else None


def _hash(result: Measured) -> str:
    assert result.facts is not None
    return result.facts.difference_hash
