from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from cae_pipeline.domain.facts import ImageFacts, measure
from cae_pipeline.domain.likeness import MIN_IMAGES, Comparison, compare, likeness_limits
from tests.parts import scratched, speckled_part, striped_part


def _facts(*images: NDArray[np.uint8]) -> list[ImageFacts]:
    return [measure(np.ascontiguousarray(image), mode="L") for image in images]


NORMAL = _facts(*(striped_part(seed) for seed in range(80)))
LIMITS = likeness_limits(NORMAL)


def _compare(*images: NDArray[np.uint8]) -> list[Comparison]:
    assert LIMITS is not None
    return compare(_facts(*images), NORMAL, max_distance=LIMITS.max_distance)


def _is_unlike(compared: Comparison) -> bool:
    assert LIMITS is not None
    assert compared.line_distance is not None
    return compared.line_distance > LIMITS.max_distance


def _is_rotated(compared: Comparison) -> bool:
    assert LIMITS is not None
    assert LIMITS.max_turn_gain is not None
    return compared.turn_gain is not None and compared.turn_gain > LIMITS.max_turn_gain


def test_fresh_parts_of_the_line_are_like_it_and_the_right_way_up() -> None:
    compared = _compare(*(striped_part(seed) for seed in range(1000, 1200)))
    assert sum(map(_is_unlike, compared)) <= 2
    assert not any(map(_is_rotated, compared))


def test_a_part_of_another_line_is_unlike() -> None:
    compared = _compare(*(speckled_part(seed) for seed in range(50)))
    assert all(map(_is_unlike, compared))
    assert not any(map(_is_rotated, compared))


@pytest.mark.parametrize("quarters", [1, 3])
def test_a_part_turned_by_a_quarter_is_rotated(quarters: int) -> None:
    turned = (np.rot90(striped_part(seed), quarters) for seed in range(1000, 1050))
    assert all(map(_is_rotated, _compare(*turned)))


def test_a_defect_is_no_other_part() -> None:
    compared = _compare(*(scratched(striped_part(seed)) for seed in range(1000, 1050)))
    assert sum(map(_is_unlike, compared)) <= 1


def test_a_lamp_that_gets_weaker_makes_no_other_part() -> None:
    compared = _compare(*(striped_part(seed, light=0.75) for seed in range(1000, 1050)))
    assert sum(map(_is_unlike, compared)) <= 1


def test_parts_in_a_fixture_may_differ_by_their_defects() -> None:
    random = np.random.default_rng(0)
    part = striped_part(1).astype(np.float32)

    def shot() -> NDArray[np.uint8]:
        return np.asarray(np.clip(part + random.normal(0, 2, part.shape), 0, 255), np.uint8)

    normal = _facts(*(shot() for _ in range(60)))
    limits = likeness_limits(normal)
    assert limits is not None
    compared = compare(_facts(*(scratched(shot()) for _ in range(20))), normal, max_distance=limits.max_distance)
    assert sum((one.line_distance or 0) > limits.max_distance for one in compared) == 0


def test_a_line_whose_parts_lie_any_way_has_no_limit_of_turning() -> None:
    limits = likeness_limits(_facts(*(np.rot90(striped_part(seed), seed % 2) for seed in range(80))))
    assert limits is not None
    assert limits.max_turn_gain is None


def test_too_few_normal_images_compare_with_nothing() -> None:
    few = NORMAL[: MIN_IMAGES - 1]
    assert likeness_limits(few) is None
    assert compare(NORMAL[:2], few, max_distance=1.0) == [Comparison(), Comparison()]
    assert likeness_limits(NORMAL[:MIN_IMAGES]) is not None


def test_images_of_early_versions_are_left_out() -> None:
    old = [replace(facts, texture=None) for facts in NORMAL]
    assert likeness_limits([*old, *NORMAL[:10]]) is None
    assert compare(old[:1], NORMAL, max_distance=1.0) == [Comparison()]
