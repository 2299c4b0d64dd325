from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cae_pipeline.statistics.drift import DriftReport, Measures, Reference, diagnose

LATENT_SIZE = 16
RIGHT = np.eye(LATENT_SIZE, dtype=np.float32)[:2]
"""A camera that moves moves the first two numbers of the latent."""


def _measures(seed: int, count: int = 100, **changes: Any) -> Measures:
    random = np.random.default_rng(seed)
    facts = {"brightness": random.normal(0.5, 0.05, count), "contrast": random.normal(0.2, 0.02, count)}
    latents = random.normal(0, 1, (count, LATENT_SIZE)).astype(np.float32)
    usual = Measures(facts, latents, random.gamma(4, 0.3, count))
    return replace(usual, **changes)


NORMAL = _measures(0, 400)
REFERENCE = Reference(NORMAL, RIGHT, float(np.quantile(NORMAL.scores, 0.95)))


def _diagnosis(tonight: Measures) -> str:
    return diagnose(REFERENCE, tonight).diagnosis


def test_a_brighter_night_is_the_cameras_and_the_fact_is_named() -> None:
    usual = _measures(1)
    report = diagnose(REFERENCE, replace(usual, facts={**usual.facts, "brightness": usual.facts["brightness"] + 0.1}))
    assert (report.diagnosis, report.moved) == ("camera", ("brightness",))
    assert report.reasons[1] == "moved as a whole: brightness"


def test_a_code_that_moves_as_a_moved_camera_moves_it_is_the_cameras_else_the_products() -> None:
    usual = _measures(2)
    for direction, diagnosis in ((RIGHT[0], "camera"), (np.eye(LATENT_SIZE, dtype=np.float32)[5], "product")):
        assert _diagnosis(replace(usual, latents=usual.latents + 2 * direction)) == diagnosis


def test_scores_that_rise_or_fall_everywhere_are_a_stale_threshold() -> None:
    usual = _measures(3)
    assert _diagnosis(replace(usual, scores=usual.scores * 1.7)) == "threshold"
    assert _diagnosis(replace(usual, scores=usual.scores * 0.4)) == "threshold"


def test_a_fifth_of_high_scores_and_odd_codes_is_defects_and_nothing_else() -> None:
    usual = _measures(4)
    scores, latents = usual.scores.copy(), usual.latents.copy()
    scores[:20] += 4
    latents[:20] += 1
    brightness = usual.facts["brightness"].copy()
    brightness[:20] -= 0.3
    night = replace(usual, scores=scores, latents=latents, facts={**usual.facts, "brightness": brightness})
    report = diagnose(REFERENCE, night)
    assert (report.diagnosis, report.moved) == ("defects", ())


def test_quiet_nights_hardly_ever_raise_an_alarm() -> None:
    alarms = sum(_diagnosis(_measures(seed)) != "none" for seed in range(10, 310))
    assert alarms <= 3


@pytest.mark.parametrize("count", [0, 1, 19])
def test_a_handful_of_images_says_nothing(count: int) -> None:
    few = _measures(5, count)
    report = diagnose(REFERENCE, replace(few, scores=few.scores + 99, latents=few.latents + 99))
    assert (report.diagnosis, report.shifts) == ("none", ())
    assert f"{count} images are too few" in report.reasons[0]


def test_what_was_not_measured_then_is_not_held_against_tonight() -> None:
    usual = _measures(6)
    unknown = {name: np.full(400, np.nan) for name in NORMAL.facts}
    reference = replace(REFERENCE, normal=replace(NORMAL, facts=unknown))
    report: DriftReport = diagnose(reference, usual)
    assert [shift.measure for shift in report.shifts] == ["score"]


def test_what_is_drawn_of_a_measure_are_shares_of_both_nights() -> None:
    [brightness, *_] = diagnose(REFERENCE, _measures(7)).shifts
    assert sum(brightness.then) == pytest.approx(1)
    assert sum(brightness.now) == pytest.approx(1)
    assert brightness.low < 0.5 < brightness.high
