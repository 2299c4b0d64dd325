from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cae_pipeline.domain.facts import ImageFacts, measure
from cae_pipeline.domain.repeats import near_duplicate_bits, neighbour_distances, run_lengths, stuck_bits

FACTS = measure(np.zeros((4, 4), np.uint8), mode="L")


def _images(*hashes: int) -> list[ImageFacts]:
    return [replace(FACTS, difference_hash=f"{one:064x}", pixel_digest=f"{row:016x}") for row, one in enumerate(hashes)]


def _bits(count: int) -> int:
    return (1 << count) - 1


@pytest.mark.parametrize(("apart", "bits"), [(5, None), (6, 3), (8, 4), (40, 10)])
def test_near_duplicates_differ_by_less_than_half_of_what_normal_images_do(apart: int, bits: int | None) -> None:
    assert near_duplicate_bits(_images(0, _bits(apart))) == bits


def test_different_pictures_with_one_hash_are_as_alike_as_near_duplicates() -> None:
    assert near_duplicate_bits(_images(0, 0, 0, _bits(40))) is None


def test_the_same_picture_twice_is_no_sign_that_different_ones_look_alike() -> None:
    one, other = _images(0, _bits(40))
    assert near_duplicate_bits([one, one, other, other]) == 10
    early = [replace(image, pixel_digest=None) for image in (one, one, other)]
    assert near_duplicate_bits(early) == 10


def test_one_picture_alone_tells_nothing() -> None:
    assert near_duplicate_bits(_images(5)) is None


@pytest.mark.parametrize(("apart", "bits"), [(25, 24), (11, 10), (10, None)])
def test_neighbours_in_a_row_may_differ_by_less_than_normal_ones_do(apart: int, bits: int | None) -> None:
    assert stuck_bits(_images(*[0, _bits(apart)] * 5), min_frames=5) == bits


def test_a_few_alike_neighbours_among_the_normal_images_are_no_row() -> None:
    pair = [0, 0, 0, _bits(60), _bits(120), _bits(180)]
    assert stuck_bits(_images(*pair), min_frames=5) == 24
    assert stuck_bits(_images(0, *pair), min_frames=5) is None


def test_the_distance_of_neighbours_is_the_number_of_bits() -> None:
    images = _images(0, 1, 7)
    assert neighbour_distances([image.difference_hash for image in images]).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("repeats", "lengths"),
    [([], [1]), ([False], [1, 1]), ([True], [1, 2]), ([True, False, True, True], [1, 2, 1, 3, 3])],
)
def test_each_image_after_the_first_of_a_run_has_its_length(repeats: list[bool], lengths: list[int]) -> None:
    assert run_lengths(np.array(repeats, bool)) == lengths
