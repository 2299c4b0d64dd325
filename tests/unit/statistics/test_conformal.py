from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cae_pipeline.errors import TooFewNormalImagesError
from cae_pipeline.statistics.conformal import fit_threshold, min_normal_images, p_values


def test_too_few_normal_images_say_how_many_are_needed() -> None:
    with pytest.raises(TooFewNormalImagesError, match="at least 19 normal images, received 18") as caught:
        fit_threshold(np.arange(18.0), target_false_alarm_rate=0.05)
    assert caught.value.needed == 19


@given(st.integers(1, 400), st.floats(0.005, 0.45))
def test_as_many_images_as_needed_are_enough(extra: int, rate: float) -> None:
    fit_threshold(np.arange(float(min_normal_images(rate) + extra)), target_false_alarm_rate=rate)


@pytest.mark.parametrize("rate", [0.1, 0.05, 0.02])
def test_the_mean_false_alarm_rate_over_many_draws_is_at_most_the_target(rate: float) -> None:
    random = np.random.default_rng(0)
    # heavy tails: the promise must hold for any distribution
    draws = random.standard_t(2, size=(4000, 99 + 50))
    alarms = [
        (new > fit_threshold(held_out, target_false_alarm_rate=rate).value).mean()
        for held_out, new in zip(draws[:, :99], draws[:, 99:], strict=True)
    ]
    error = np.std(alarms) / np.sqrt(len(alarms))
    assert np.mean(alarms) <= rate + 3 * error
    assert np.mean(alarms) >= rate - 0.01 - 3 * error


@given(st.lists(st.floats(0, 1e6), min_size=19, max_size=60), st.floats(0, 1e6))
def test_whoever_is_above_the_threshold_has_a_p_value_within_the_target(normal: list[float], score: float) -> None:
    threshold = fit_threshold(np.array(normal), target_false_alarm_rate=0.05)
    [p_value] = p_values(np.array([score]), np.array(normal))
    assert 0 < p_value <= 1
    if score > threshold.value:
        assert p_value <= 0.05 + 1e-12
