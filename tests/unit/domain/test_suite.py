from __future__ import annotations

from dataclasses import fields

import pytest

from cae_pipeline.domain.facts import FACTS
from cae_pipeline.domain.limits import FactLimits
from cae_pipeline.domain.line import ValidationSettings
from cae_pipeline.domain.outcome import Reason
from cae_pipeline.domain.suite import batch_expectations, image_expectations, shown

LIMITS = FactLimits(
    300, 200, ("L", "RGB"), 0.1, 0.9, 0.01, 1e-5, 5, max_repeated_share=0.1, max_turn_gain=0.0, max_line_distance=1.5,
    max_stuck_bits=10, max_frames_in_a_row=4, min_used_bits=15, max_used_bits=16,
)  # fmt: skip
NO_LIMITS = FactLimits(None, None, None, 0.0, 1.0, 0.0, 0.0, None, near_duplicates=False)
NO_EXPECTATION = {"max_near_duplicate_bits", "max_stuck_bits", "is_learnt"}
"""What is taken into account before the table is made."""


def test_each_limit_is_one_expectation_with_its_reason() -> None:
    told = [(one.column, one.wanted, one.reason) for one in image_expectations(LIMITS)]
    assert told == [
        ("decoding", "decoded", None),
        ("width_px", "300", Reason.WRONG_SIZE),
        ("height_px", "200", Reason.WRONG_SIZE),
        ("mode", "L or RGB", Reason.WRONG_MODE),
        ("used_bits", "at least 15", Reason.UNUSED_RANGE),
        ("used_bits", "at most 16", Reason.BEYOND_RANGE),
        ("brightness", "at least 0.1", Reason.TOO_DARK),
        ("brightness", "at most 0.9", Reason.TOO_BRIGHT),
        ("contrast", "at least 0.01", Reason.BLANK),
        ("repeated_share", "at most 0.1", Reason.HALF_FRAME),
        ("sharpness", "at least 1e-05", Reason.BLURRED),
        ("turn_gain", "at most 0", Reason.ROTATED),
        ("line_distance", "at most 1.5", Reason.UNLIKE_LINE),
        ("duplicate_of", "none", Reason.DUPLICATE),
        ("frames_in_a_row", "at most 4", Reason.STUCK_FRAME),
        ("near_duplicate_of", "none", Reason.NEAR_DUPLICATE),
    ]
    # decoding and duplicates are no limits; each other field of the limits makes one expectation
    assert len(told) - 2 == len({one.name for one in fields(FactLimits)} - NO_EXPECTATION)


def test_limits_that_are_none_make_no_expectation() -> None:
    columns = [one.column for one in image_expectations(NO_LIMITS)]
    assert columns == ["decoding", "brightness", "brightness", "contrast", "sharpness", "duplicate_of"]


def test_whatever_is_expected_is_a_fact_or_known_of_the_row() -> None:
    assert {one.column for one in image_expectations(LIMITS)} <= {
        *FACTS, "decoding", "duplicate_of", "near_duplicate_of", "line_distance", "turn_gain", "frames_in_a_row",
    }  # fmt: skip


def test_a_batch_is_expected_to_have_enough_images_and_few_quarantined() -> None:
    settings = ValidationSettings(min_images=3, max_images=9, max_quarantined_share=0.3)
    assert [(one.subject, one.wanted) for one in batch_expectations(settings)] == [
        ("number of images", "at least 3 and at most 9"),
        ("share of images unreadable or out of limits", "at most 0.3"),
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(None, "none"), (float("nan"), "none"), ("L", "L"), (100_000, "100000"), (0.15494, "0.1549")]
)
def test_values_are_written_for_people(value: float | str | None, text: str) -> None:
    assert shown(value) == text
