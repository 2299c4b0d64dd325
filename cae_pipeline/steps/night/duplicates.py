"""Which images of a delivery came before, byte for byte or almost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cae_pipeline.adapters.decoding import Measured
from cae_pipeline.adapters.results import images
from cae_pipeline.adapters.results.images import EarlierImage
from cae_pipeline.domain.batch import Delivery
from cae_pipeline.domain.facts import ImageFacts, hash_bytes
from cae_pipeline.domain.limits import FactLimits
from cae_pipeline.domain.line import Line
from cae_pipeline.domain.repeats import neighbour_distances, run_lengths
from cae_pipeline.steps.night.find import is_normal_batch
from cae_pipeline.steps.services import Services

COMPARED_NIGHTS = timedelta(days=7)
"""A camera that hangs repeats what it has just seen: older images are not looked through for near-duplicates."""
MAX_COMPARED = 20_000
"""Nor are more than so many, the newest: the cost of an image must not grow with the size of the nights."""


MAX_UNTAUGHT_STUCK = 0.2
"""Where nothing is learnt yet: a batch of which more than this share stands in rows shows parts that look alike."""


@dataclass(frozen=True)
class Duplicates:
    """Earlier images that members repeat, by the member's position.

    Attributes:
        exact: The image_id of the same bytes.
        near: The image_id of the same picture, or almost; members in `exact` are not in here.
        frames_in_a_row: Images in a row, by name, that are one picture; only those after the first of a row.
    """

    exact: dict[int, str]
    near: dict[int, str]
    frames_in_a_row: dict[int, int] = field(default_factory=dict)


def find_duplicates(
    line: Line, delivery: Delivery, measured: Sequence[Measured], limits: FactLimits, services: Services
) -> Duplicates:
    """Hold the members that could be decoded against the line's earlier images and against those before them."""
    since = delivery.night - COMPARED_NIGHTS
    with services.read() as connection:
        known = images.known_images(connection, delivery, is_normal=partial(is_normal_batch, line))
        recent = (
            images.recent_images(connection, delivery, since=since, limit=MAX_COMPARED)
            if limits.near_duplicates
            else []
        )
    facts = {row: result.facts for row, result in enumerate(measured) if result.facts is not None}
    exact: dict[int, str] = {}
    for row in facts:
        digest = delivery.members[row].sha256
        if digest in known:
            exact[row] = digest
        known.add(digest)
    others = {
        row: EarlierImage(delivery.members[row].sha256, one.difference_hash, one.pixel_digest)
        for row, one in facts.items()
        if row not in exact
    }
    same = _same_pixels(recent, others) if limits.near_duplicates else {}
    almost = _almost_same(recent, others, limits.max_near_duplicate_bits) if limits.near_duplicates else {}
    return Duplicates(exact, almost | same, _frames_in_a_row(delivery, facts, limits))


def _same_pixels(recent: Sequence[EarlierImage], others: Mapping[int, EarlierImage]) -> dict[int, str]:
    """Find the first image with the same pixels in another file; by the member's position."""
    first = {image.pixel_digest: image.image_id for image in reversed(recent) if image.pixel_digest}
    same: dict[int, str] = {}
    for row, image in others.items():
        if image.pixel_digest in first:
            same[row] = first[image.pixel_digest]
        elif image.pixel_digest:
            first[image.pixel_digest] = image.image_id
    return same


def _almost_same(
    recent: Sequence[EarlierImage], others: Mapping[int, EarlierImage], max_bits: int | None
) -> dict[int, str]:
    """Find the image whose hash is nearest, where it is near enough; by the member's position."""
    if max_bits is None:
        return {}
    compared = [*recent, *others.values()]
    hashes = _as_words([image.difference_hash for image in compared])
    almost: dict[int, str] = {}
    for position, row in enumerate(others, start=len(recent)):
        nearest = _nearest(hashes[:, :position], hashes[:, position], max_bits=max_bits)
        # a picture without any edge has an empty hash, and is no more like another than like itself
        if nearest is not None and np.any(hashes[:, position]):
            almost[row] = compared[nearest].image_id
    return almost


def _frames_in_a_row(delivery: Delivery, facts: Mapping[int, ImageFacts], limits: FactLimits) -> dict[int, int]:
    """Count the images in a row, by name, that are one picture; by the position of each member after the first."""
    in_order = sorted(facts, key=lambda row: delivery.members[row].name)
    if len(in_order) < 2:
        return {}
    digests = [facts[row].pixel_digest for row in in_order]
    repeats = np.array([one is not None and one == other for one, other in pairwise(digests)])
    if limits.max_stuck_bits is not None:
        hashes = [facts[row].difference_hash for row in in_order]
        has_edges = np.array([bool(int(one, 16)) for one in hashes[1:]])
        alike = repeats | (neighbour_distances(hashes) <= limits.max_stuck_bits) & has_edges
        # with nothing learnt, a batch must say itself whether its pictures are alike because the parts are
        if limits.is_learnt or alike.mean() <= MAX_UNTAUGHT_STUCK:
            repeats = alike
    lengths = run_lengths(repeats)
    return {row: length for row, length in zip(in_order, lengths, strict=True) if length > 1}


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
