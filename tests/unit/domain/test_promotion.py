from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from cae_pipeline.domain.line import GateSettings
from cae_pipeline.domain.promotion import Decision, GateFigures, decide

GOOD = GateFigures(
    synthetic_auroc=0.9,
    detected=0.6,
    explained=0.9,
    undone=0.7,
    threshold=5.0,
    held_out_flagged=0.04,
    score_spread=1.0,
    score_difference=1e-7,
    recent_flagged=4,
    num_recent=100,
    golden_auroc=0.9,
    milliseconds_per_image=9.0,
    peak_mib=400.0,
)


def _decide(challenger: GateFigures, champion: GateFigures | None = None, **limits: Any) -> Decision:
    return decide(challenger, champion, GateSettings(**limits), target_false_alarm_rate=0.05)


def test_a_first_model_that_sees_synthetic_defects_passes() -> None:
    assert _decide(GOOD).promote


def test_a_challenger_that_is_a_little_worse_passes_and_all_figures_are_kept() -> None:
    decision = _decide(replace(GOOD, synthetic_auroc=0.87, golden_auroc=0.89), GOOD)
    assert decision.promote
    assert decision.figures["challenger"]["golden_auroc"] == 0.89
    assert decision.figures["champion"]["golden_auroc"] == 0.9


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"synthetic_auroc": 0.5}, "synthetic AUROC 0.500, wanted at least 0.600"),
        ({"synthetic_auroc": 0.8}, "champion's 0.900"),
        ({"golden_auroc": 0.85}, "AUROC on the golden set 0.850, wanted at most 0.02 less than"),
        ({"undone": 0.3}, "synthetic damage undone 0.300"),
        ({"undone": 0.0}, "wanted at least 0.100"),
        ({"explained": -0.2}, "variance of normal images explained"),
        ({"detected": 0.0}, "share of synthetic defects flagged"),
        ({"synthetic_auroc": math.nan}, "not finite: synthetic_auroc"),
        ({"threshold": 0.0}, "wanted both above 0"),
        ({"threshold": math.inf}, "not finite: threshold"),
        ({"score_spread": 0.0}, "wanted both above 0"),
        ({"held_out_flagged": 0.2}, "flags 20.0% of held-out normal images"),
        ({"recent_flagged": 15}, "flags 15 of 100 recent normal images"),
        ({"score_difference": 0.01}, "after save, load and export differ by 1.0e-02"),
        ({"milliseconds_per_image": 5000.0}, "milliseconds per image 5000"),
        ({"peak_mib": 9000.0}, "MiB of memory 9000"),
    ],
)
def test_a_bad_challenger_is_refused_with_a_reason(changes: dict[str, float], reason: str) -> None:
    decision = _decide(replace(GOOD, **changes), GOOD)  # type: ignore[arg-type]
    assert not decision.promote
    assert any(said.startswith("REFUSED") and reason in said for said in decision.reasons), decision.reasons


def test_a_handful_of_recent_images_is_said_and_not_weighed() -> None:
    decision = _decide(replace(GOOD, recent_flagged=5, num_recent=5))
    assert decision.promote
    assert "not weighed: false alarms on 5 recent normal images, wanted 20" in decision.reasons


def test_a_golden_set_that_is_too_small_is_said_and_not_weighed() -> None:
    decision = _decide(replace(GOOD, golden_auroc=None), GOOD)
    assert decision.promote
    assert "not weighed: the golden set: there are fewer than 20 images of a kind" in decision.reasons


def test_a_broken_champion_is_no_yardstick() -> None:
    assert _decide(GOOD, replace(GOOD, synthetic_auroc=math.nan, undone=math.nan, detected=math.nan)).promote


def test_a_line_that_wants_a_person_to_agree_waits_for_one_only_when_nothing_speaks_against() -> None:
    assert _decide(GOOD, approval=True).awaits_approval
    assert not _decide(replace(GOOD, undone=0.0), approval=True).awaits_approval
