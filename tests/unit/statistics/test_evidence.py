from __future__ import annotations

import numpy as np
import pytest

from cae_pipeline.statistics.evidence import (
    best_cosine,
    chance_of_latent_shift,
    find_exceedances,
    measure_latent_shift,
    scores_moved_everywhere,
)

NORMAL = np.random.default_rng(0).normal(0, 1, (300, 8)).astype(np.float32)
SCORES = np.linspace(0.01, 1, 100)
THRESHOLD = 0.955


def test_a_shift_of_the_latent_is_measured_in_standard_deviations_and_told_from_chance() -> None:
    tonight = np.random.default_rng(1).normal(0, 1, (100, 8)).astype(np.float32)
    quiet, moved = measure_latent_shift(NORMAL, tonight), measure_latent_shift(3 * NORMAL, 3 * (tonight + 1))
    assert quiet.excess < 0.1
    assert moved.excess == pytest.approx(1, abs=0.15)
    assert chance_of_latent_shift(quiet, NORMAL, num_images=100) > 0.05
    assert chance_of_latent_shift(moved, 3 * NORMAL, num_images=100) == 0


def test_the_cosine_is_that_of_the_nearest_direction_and_zero_without_any() -> None:
    shift = measure_latent_shift(NORMAL, NORMAL + np.eye(8, dtype=np.float32)[0])
    assert best_cosine(shift, np.eye(8, dtype=np.float32)[:3], NORMAL) > 0.99
    assert best_cosine(shift, np.eye(8, dtype=np.float32)[4:], NORMAL) < 0.2
    assert best_cosine(shift, np.zeros((0, 8), np.float32), NORMAL) == 0


@pytest.mark.parametrize(("change", "direction"), [(0.0, None), (0.3, "rose"), (-0.3, "fell")])
def test_scores_move_everywhere_where_a_quarter_of_the_usual_ones_is_missing(
    change: float, direction: str | None
) -> None:
    assert scores_moved_everywhere(SCORES, SCORES + change, THRESHOLD, level=0.001) == direction


def test_many_glaring_images_are_no_stale_threshold() -> None:
    risen = SCORES + 0.3
    risen[:5] = 2 * THRESHOLD + 0.01
    assert scores_moved_everywhere(SCORES, risen, THRESHOLD, level=0.001) is None


def test_as_many_high_scores_as_usual_are_no_exceedances_and_a_fifth_of_them_are() -> None:
    assert find_exceedances(SCORES, SCORES, THRESHOLD, level=0.006) is None
    many = SCORES.copy()
    many[:20] = 3
    found = find_exceedances(SCORES, many, THRESHOLD, level=0.006)
    assert found is not None
    assert found.count == 25
    assert found.limit == pytest.approx(0.95)
    assert found.usual_share == pytest.approx(6 / 101)
