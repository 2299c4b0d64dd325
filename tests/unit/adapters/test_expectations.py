from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from cae_pipeline.adapters.expectations import COLUMNS, image_expectations, validate_facts
from cae_pipeline.domain.limits import FactLimits
from cae_pipeline.domain.line import ValidationSettings
from cae_pipeline.domain.outcome import Reason
from cae_pipeline.errors import CaeError

LIMITS = FactLimits(300, 200, ("L",), 0.1, 0.9, 0.01, 1e-5, 5)
GOOD = {
    "decoding": "decoded",
    "detail": "",
    "width_px": 300.0,
    "height_px": 200.0,
    "mode": "L",
    "brightness": 0.5,
    "contrast": 0.2,
    "sharpness": 1e-3,
    "entropy": 6.0,
    "duplicate_of": None,
    "near_duplicate_of": None,
}
NOTHING = dict.fromkeys(["width_px", "height_px", "mode", "brightness", "contrast", "sharpness", "entropy"])


def _facts(*changes: dict[str, Any]) -> pd.DataFrame:
    rows = [{**GOOD, **change, "row_id": i, "name": f"{i}.png"} for i, change in enumerate(changes)]
    numbers = ["width_px", "height_px", "brightness", "contrast", "sharpness", "entropy"]
    return pd.DataFrame(rows, columns=[*COLUMNS, "detail"]).astype(dict.fromkeys(numbers, "float64"))


def _validate(facts: pd.DataFrame, **settings: Any) -> Any:
    knobs = {"max_quarantined_share": 1.0, **settings}
    return validate_facts(facts, suite_name="test", limits=LIMITS, settings=ValidationSettings(**knobs))


FAILING: list[tuple[Reason, dict[str, Any]]] = [
    *((reason, {**NOTHING, "decoding": reason.value, "detail": "why"}) for reason in (
        Reason.MISSING, Reason.CHANGED, Reason.TOO_LARGE, Reason.NOT_AN_IMAGE, Reason.TRUNCATED, Reason.UNREADABLE,
        Reason.DECODE_TIMEOUT, Reason.DECODER_CRASHED, Reason.MULTIPLE_FRAMES, Reason.WRONG_MODE)),
    (Reason.WRONG_SIZE, {"width_px": 299.0}),
    (Reason.WRONG_SIZE, {"height_px": 201.0}),
    (Reason.WRONG_MODE, {"mode": "RGB"}),
    (Reason.TOO_DARK, {"brightness": 0.05}),
    (Reason.TOO_BRIGHT, {"brightness": 0.95}),
    (Reason.BLANK, {"contrast": 0.001}),
    (Reason.BLURRED, {"sharpness": 1e-6}),
    (Reason.DUPLICATE, {"duplicate_of": "abc"}),
    (Reason.NEAR_DUPLICATE, {"near_duplicate_of": "abc"}),
]  # fmt: skip


def test_every_failing_image_gets_its_reason_and_the_others_none() -> None:
    changes = [change for _, change in FAILING]
    # each twice, and good ones between: several failures of one expectation must all be named
    outcome = _validate(_facts(*changes, {}, *changes, {}))
    found = {failure.row_id: failure.reason for failure in reversed(outcome.failures)}
    expected = [reason for reason, _ in FAILING]
    count = len(expected)
    assert [found.get(row) for row in range(2 * count + 2)] == [*expected, None, *expected, None]
    assert outcome.rejected_for == ()


def test_the_first_expectation_of_the_suite_that_fails_is_the_reason() -> None:
    outcome = _validate(_facts({"brightness": 0.0, "contrast": 0.0, "sharpness": 0.0}))
    assert [failure.reason for failure in outcome.failures] == [Reason.TOO_DARK, Reason.BLANK, Reason.BLURRED]
    assert outcome.failures[0].detail == "brightness 0, wanted at least 0.1"


def test_a_batch_that_is_too_small_is_rejected_with_what_was_seen_and_wanted() -> None:
    outcome = _validate(_facts({}, {}), min_images=3, max_images=9)
    assert outcome.rejected_for == ("expect_table_row_count_to_be_between: seen 2, wanted at least 3 and at most 9",)


def test_a_batch_with_too_large_a_share_of_quarantined_images_is_rejected() -> None:
    outcome = _validate(_facts({}, {"brightness": 0.0}, {"brightness": 0.0}, {}, {}), max_quarantined_share=0.3)
    assert outcome.rejected_for == ("expect_column_mean_to_be_between of is_quarantined: seen 0.4, wanted at most 0.3",)


def test_an_empty_batch_is_rejected_and_not_an_error() -> None:
    outcome = _validate(_facts())
    assert any("row_count" in text for text in outcome.rejected_for)


def test_a_table_without_a_column_is_refused_by_name() -> None:
    with pytest.raises(CaeError, match="sharpness"):
        _validate(_facts({}).drop(columns="sharpness"))


def test_limits_that_are_none_make_no_expectation() -> None:
    free = FactLimits(None, None, None, 0.1, 0.9, 0.01, 1e-5, None)
    reasons = {expectation.meta["reason"] for expectation in image_expectations(free)}
    assert "wrong_size" not in reasons
    assert "near_duplicate" not in reasons


def test_the_page_needs_no_network_and_shows_every_column() -> None:
    page = _validate(_facts({}, {"brightness": 0.0})).page
    for tag in ("<script src=", '<link rel="stylesheet" href="http', '<img src="http', "cdn"):
        assert tag not in page
    for column in ("brightness", "is_quarantined", "near_duplicate_of"):
        assert column in page
