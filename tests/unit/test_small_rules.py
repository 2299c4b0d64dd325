"""Rules of a few lines each: images, batches, splits."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from cae_pipeline.domain.batch import Delivery, Member, digest_members
from cae_pipeline.domain.images import to_floats, to_pixels, with_channels
from cae_pipeline.domain.line import TrainingSettings
from cae_pipeline.errors import TooFewNormalImagesError
from cae_pipeline.statistics.split import split_normal


def test_grey_becomes_colour_by_repeating_and_colour_grey_by_luminance() -> None:
    assert with_channels(np.full((2, 3), 7, np.uint8), 3).tolist() == [[[7] * 3] * 3] * 2
    green = np.zeros((1, 1, 3), np.uint8)
    green[..., 1] = 200
    assert with_channels(green, 1)[0, 0, 0] == round(200 * 0.587)


def test_pixels_survive_the_trip_to_floats_and_back() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    assert np.array_equal(to_pixels(to_floats(pixels)), pixels)


def test_a_batch_is_known_by_its_content_and_not_by_the_order_it_was_listed_in() -> None:
    one, two = Member("a", 1, "aa"), Member("b", 2, "bb")
    assert digest_members((one, two)) == digest_members((two, one))
    assert digest_members((one,)) != digest_members((one, two))
    moment = datetime(2026, 1, 31, tzinfo=UTC)
    keys = {Delivery(*names, moment.date(), (), "d", moment).delivery_key for names in (("a", "b-c"), ("a-b", "c"))}
    assert len(keys) == 2


def test_the_split_does_not_depend_on_the_order_of_delivery() -> None:
    ids = [f"{index:04}" for index in range(200)]
    knobs = TrainingSettings(seed=3)
    there = split_normal(ids, knobs, target_false_alarm_rate=0.05)
    back = split_normal(ids[::-1], knobs, target_false_alarm_rate=0.05)
    assert {ids[i] for i in there.calibration} == {ids[::-1][i] for i in back.calibration}
    parts = [*there.train, *there.validation, *there.calibration]
    assert sorted(parts) == list(range(200))


def test_seed_zero_is_a_seed() -> None:
    ids = [f"{index:04}" for index in range(200)]
    zero, one = (split_normal(ids, TrainingSettings(seed=seed), target_false_alarm_rate=0.05) for seed in (0, 1))
    assert zero != one
    assert zero == split_normal(ids, TrainingSettings(seed=0), target_false_alarm_rate=0.05)


def test_too_few_normal_images_to_train_on_are_refused_with_the_number_needed() -> None:
    with pytest.raises(TooFewNormalImagesError, match="at least 32 normal images, received 30"):
        split_normal([str(i) for i in range(30)], TrainingSettings(), target_false_alarm_rate=0.05)


def test_an_image_keeps_the_part_it_has_played_and_only_new_ones_are_shared_out() -> None:
    ids = [f"{number}" for number in range(100)]
    before = split_normal(ids, TrainingSettings(), target_false_alarm_rate=0.1)
    settled = {ids[index]: part for part in ("train", "validation", "calibration") for index in getattr(before, part)}
    more = [*ids, *(f"new{number}" for number in range(40))]
    after = split_normal(more, TrainingSettings(seed=9), target_false_alarm_rate=0.1, settled=settled)
    for part in ("train", "validation", "calibration"):
        assert set(getattr(before, part)) <= set(getattr(after, part))
    assert [len(getattr(after, part)) for part in ("train", "validation", "calibration")] == [91, 21, 28]
