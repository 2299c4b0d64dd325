from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cae_pipeline.adapters.expectations import validate_facts
from cae_pipeline.domain.facts import ImageFacts, measure
from cae_pipeline.domain.limits import FactLimits
from cae_pipeline.domain.line import ValidationSettings
from cae_pipeline.domain.outcome import Reason
from cae_pipeline.domain.validation import BatchValidation, FactsRow, ImageResult
from tests.conftest import washer

LIMITS = FactLimits(
    300, 200, ("L",), 0.1, 0.9, 0.01, 1e-5, 5,
    max_repeated_share=0.5, max_turn_gain=0.0, max_line_distance=1.5, max_stuck_bits=10, max_frames_in_a_row=4,
)  # fmt: skip
GOOD = replace(measure(washer(1), mode="L"), width_px=300, height_px=200, brightness=0.5, contrast=0.2, sharpness=1e-3)
UNDECODED = (
    Reason.MISSING, Reason.CHANGED, Reason.TOO_LARGE, Reason.NOT_AN_IMAGE, Reason.TRUNCATED, Reason.UNREADABLE,
    Reason.DECODE_TIMEOUT, Reason.DECODER_CRASHED, Reason.MULTIPLE_FRAMES, Reason.WRONG_MODE,
)  # fmt: skip


def _row(name: str = "x.png", **facts: Any) -> FactsRow:
    return FactsRow(name, replace(GOOD, **facts))


def _validate(*rows: FactsRow, limits: FactLimits = LIMITS, **settings: Any) -> BatchValidation:
    knobs = {"max_quarantined_share": 1.0, **settings}
    return validate_facts(rows, suite_name="test", limits=limits, settings=ValidationSettings(**knobs))


def _about(validation: BatchValidation, column: str) -> ImageResult:
    return next(result for result in validation.of_images if result.expectation.column == column)


FAILING: list[tuple[Reason, FactsRow]] = [
    *((reason, FactsRow("x.png", None, reason=reason, detail="why")) for reason in UNDECODED),
    (Reason.WRONG_SIZE, _row(width_px=299)),
    (Reason.WRONG_SIZE, _row(height_px=201)),
    (Reason.WRONG_MODE, _row(mode="RGB")),
    (Reason.TOO_DARK, _row(brightness=0.05)),
    (Reason.TOO_BRIGHT, _row(brightness=0.95)),
    (Reason.BLANK, _row(contrast=0.001)),
    (Reason.BLURRED, _row(sharpness=1e-6)),
    (Reason.HALF_FRAME, _row(repeated_share=0.51)),
    (Reason.ROTATED, FactsRow("x.png", GOOD, turn_gain=0.1)),
    (Reason.UNLIKE_LINE, FactsRow("x.png", GOOD, line_distance=1.6, turn_gain=-0.1)),
    (Reason.DUPLICATE, FactsRow("x.png", GOOD, duplicate_of="abc")),
    (Reason.STUCK_FRAME, FactsRow("x.png", GOOD, frames_in_a_row=5)),
    (Reason.NEAR_DUPLICATE, FactsRow("x.png", GOOD, near_duplicate_of="abc")),
]


def test_every_failing_image_gets_its_reason_and_the_others_none() -> None:
    rows = [row for _, row in FAILING]
    # each twice, and good ones between: several failures of one expectation must all be named
    validation = _validate(*rows, _row(), *rows, _row())
    reasons = {failure.row_id: failure.reason for failure in reversed(validation.failures)}
    expected = [reason for reason, _ in FAILING]
    count = len(expected)
    assert [reasons.get(row) for row in range(2 * count + 2)] == [*expected, None, *expected, None]
    assert validation.rejected_for == ()


def test_the_first_expectation_of_the_suite_that_fails_is_the_reason() -> None:
    validation = _validate(_row(brightness=0.0, contrast=0.0, sharpness=0.0))
    assert [failure.reason for failure in validation.failures] == [Reason.TOO_DARK, Reason.BLANK, Reason.BLURRED]
    assert validation.failures[0].detail == "brightness 0, wanted at least 0.1"


def test_a_failure_says_which_image_and_what_it_is_like() -> None:
    validation = _validate(
        FactsRow("torn.png", None, reason=Reason.TRUNCATED, detail="stops early"),
        FactsRow("again.png", GOOD, duplicate_of="abc"),
        FactsRow("nearly.png", GOOD, near_duplicate_of="def"),
        FactsRow("foreign.png", GOOD, line_distance=2.5),
        FactsRow("stuck.png", GOOD, frames_in_a_row=12),
    )
    assert [(failure.name, failure.detail) for failure in validation.failures] == [
        ("torn.png", "stops early"),
        ("again.png", "same as abc"),
        ("nearly.png", "almost the same as def"),
        ("foreign.png", "line_distance 2.5, wanted at most 1.5"),
        ("stuck.png", "frames_in_a_row 12, wanted at most 4"),
    ]


def test_each_result_tells_what_was_seen_and_how_many_images_were_checked() -> None:
    torn = FactsRow("torn.png", None, reason=Reason.TRUNCATED)
    twin = FactsRow("again.png", GOOD, duplicate_of="abc")
    validation = _validate(_row(brightness=0.05), _row(brightness=0.75), twin, torn)
    brightness, decoding = _about(validation, "brightness"), _about(validation, "decoding")
    assert (brightness.seen, brightness.num_checked, len(brightness.failures)) == ("0.05 to 0.75", 3, 1)
    assert (decoding.seen, decoding.num_checked) == ("decoded (3), truncated (1)", 4)
    assert (_about(validation, "width_px").seen, _about(validation, "duplicate_of").seen) == ("300", "1 image")
    assert (validation.num_images, validation.num_quarantined, validation.num_odd) == (4, 2, 1)
    assert (validation.num_met, validation.num_expectations) == (13, 16)


def test_a_batch_that_is_too_small_is_rejected_with_what_was_seen_and_wanted() -> None:
    validation = _validate(_row(), _row(), min_images=3, max_images=9)
    assert validation.rejected_for == ("number of images: seen 2, wanted at least 3 and at most 9",)


def test_a_batch_with_too_large_a_share_of_quarantined_images_is_rejected() -> None:
    dark = _row(brightness=0.0)
    validation = _validate(_row(), dark, dark, _row(), _row(), max_quarantined_share=0.3)
    assert validation.rejected_for == ("share of images unreadable or out of limits: seen 0.4, wanted at most 0.3",)


def test_an_empty_batch_is_rejected_and_not_an_error() -> None:
    assert "number of images: seen 0, wanted at least 1 and at most 100000" in _validate().rejected_for


def test_a_batch_of_which_nothing_can_be_decoded_is_judged_all_the_same() -> None:
    validation = _validate(FactsRow("a.png", None, reason=Reason.MISSING), max_quarantined_share=0.5)
    assert validation.rejected_for == ("share of images unreadable or out of limits: seen 1, wanted at most 0.5",)
    assert _about(validation, "brightness").seen == "none"


@pytest.mark.parametrize("facts", [None, GOOD])
def test_limits_that_are_none_fail_nothing(facts: ImageFacts | None) -> None:
    free = FactLimits(None, None, None, 0.0, 1.0, 0.0, 0.0, None, near_duplicates=False)
    odd = None if facts is None else replace(facts, width_px=7, height_px=9, mode="CMYK")
    row = FactsRow("x.png", odd, reason=Reason.MISSING if odd is None else None, near_duplicate_of="abc")
    assert [failure.reason for failure in _validate(row, limits=free).failures] == ([] if odd else [Reason.MISSING])
