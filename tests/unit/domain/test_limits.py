from __future__ import annotations

from dataclasses import replace

import numpy as np

from cae_pipeline.domain.facts import ImageFacts, measure
from cae_pipeline.domain.limits import limits_for
from cae_pipeline.domain.line import ValidationSettings
from tests.conftest import washer


def _normal() -> list[ImageFacts]:
    return [measure(washer(seed), mode="L") for seed in range(30)]


def test_limits_are_learnt_from_what_normal_images_look_like() -> None:
    limits = limits_for(ValidationSettings(), _normal())
    assert (limits.width_px, limits.height_px, limits.modes) == (48, 48, ("L",))
    fresh = [measure(washer(seed), mode="L") for seed in range(1000, 1100)]
    assert all(limits.min_brightness < facts.brightness < limits.max_brightness for facts in fresh)
    assert all(facts.sharpness > limits.min_sharpness for facts in fresh)
    dark = measure((washer(1) * 0.05).astype(np.uint8), mode="L")
    assert dark.brightness < limits.min_brightness


def test_what_is_configured_wins_over_what_is_learnt() -> None:
    limits = limits_for(ValidationSettings(width_px=640, min_brightness=0.3, modes=("RGB",)), _normal())
    assert (limits.width_px, limits.height_px, limits.min_brightness, limits.modes) == (640, 48, 0.3, ("RGB",))


def test_too_few_normal_images_teach_nothing() -> None:
    limits = limits_for(ValidationSettings(), _normal()[:19])
    assert (limits.width_px, limits.modes, limits.min_sharpness) == (None, None, 0.0)
    # hashes of different pictures of this line may be alike: only a row of them tells anything
    assert (limits.max_near_duplicate_bits, limits.max_stuck_bits, limits.is_learnt) == (None, 10, False)


def test_sizes_that_differ_are_no_limit() -> None:
    normal = _normal()
    normal[3] = replace(normal[3], width_px=50)
    limits = limits_for(ValidationSettings(), normal)
    assert (limits.width_px, limits.height_px) == (None, 48)


def test_lines_whose_pictures_look_alike_get_a_stricter_near_duplicate_limit() -> None:
    alike = [replace(facts, difference_hash=f"{0b1111 << 4 * index:064x}") for index, facts in enumerate(_normal())]
    assert limits_for(ValidationSettings(), alike).max_near_duplicate_bits == 4
    off = limits_for(ValidationSettings(near_duplicates=False), alike)
    assert (off.max_near_duplicate_bits, off.near_duplicates) == (None, False)


def test_a_line_of_parts_in_a_fixture_gets_no_near_duplicate_limit_of_hashes() -> None:
    alike = [replace(facts, difference_hash=f"{1 << index:064x}") for index, facts in enumerate(_normal())]
    limits = limits_for(ValidationSettings(), alike)
    assert (limits.max_near_duplicate_bits, limits.max_stuck_bits, limits.near_duplicates) == (None, None, True)


def test_a_frame_may_repeat_a_tenth_more_than_normal_images_do() -> None:
    normal = [replace(facts, repeated_share=0.25) for facts in _normal()]
    assert limits_for(ValidationSettings(), normal).max_repeated_share == 0.35
    assert limits_for(ValidationSettings(max_repeated_share=0.5), normal).max_repeated_share == 0.5


def test_normal_images_of_early_versions_set_no_limit_of_facts_they_do_not_have() -> None:
    early = [replace(facts, repeated_share=None, texture=None, pixel_digest=None) for facts in _normal()]
    limits = limits_for(ValidationSettings(), early * 2)
    assert (limits.max_repeated_share, limits.max_line_distance, limits.max_turn_gain) == (None, None, None)
    assert limits.max_near_duplicate_bits is not None
