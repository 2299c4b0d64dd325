from __future__ import annotations

import numpy as np
import pytest

from cae_pipeline.detector.fusion import check_finite, fit_profile, fuse, scores_of, to_common_unit
from cae_pipeline.domain.line import Head
from cae_pipeline.errors import NonFiniteScoreError


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_map_that_is_not_finite_has_no_score_and_its_neighbour_has_one(broken: float) -> None:
    maps = np.zeros((2, 8, 8), np.float32)
    maps[0, 1, 1] = 2
    maps[1, 3, 3] = broken
    np.testing.assert_array_equal(scores_of(maps), [2, np.nan])


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_scores_that_must_all_be_finite_are_an_error_where_one_is_not(broken: float) -> None:
    check_finite(np.array([1.0, 2.0]))
    with pytest.raises(NonFiniteScoreError, match="1 of 2 scores"):
        check_finite(np.array([1.0, broken]))


def test_what_is_not_finite_in_one_head_is_not_finite_in_the_map() -> None:
    errors = np.random.default_rng(0).random((4, 8, 8)).astype(np.float32)
    profile = fit_profile("texture", errors)
    errors[2, 1, 1] = np.nan
    maps = {
        "texture": to_common_unit("texture", errors, profile, size_px=(8, 8)),
        "defect": np.ones((4, 8, 8), np.float32),
    }
    scores = scores_of(fuse(maps, {"texture": 0.5, "defect": 0.5}))  # type: ignore[arg-type]
    assert np.isnan(scores).tolist() == [False, False, True, False]


@pytest.mark.parametrize("head", ["intensity", "structure", "texture"])
def test_an_error_that_is_usual_at_its_place_does_not_count(head: Head) -> None:
    random = np.random.default_rng(0)
    usual = np.zeros((16, 16), np.float32)
    usual[:, 8] = 0.5
    errors = (usual + random.normal(0, 0.01, (400, 16, 16))).astype(np.float32)
    profile = fit_profile(head, errors[:200])
    same = scores_of(to_common_unit(head, errors[200:], profile, size_px=(16, 16)))
    moved = errors[200:].copy()
    moved[:, 2:6, 2:6] += 0.5
    assert scores_of(to_common_unit(head, moved, profile, size_px=(16, 16))).min() > 3 * same.max()
    assert np.median(same) == pytest.approx(1, abs=0.1)  # the worst place of a usual normal image is the unit


def test_few_images_tell_places_apart_less_than_many() -> None:
    errors = np.zeros((600, 8, 8), np.float32)
    errors[:, 3, 3] = 1
    errors += np.random.default_rng(0).normal(0, 0.1, errors.shape).astype(np.float32)
    few, many = (fit_profile("texture", errors[:count]).mean for count in (8, 600))
    assert many[3, 3] > 0.9
    assert few[3, 3] < 0.2


def test_no_head_drowns_the_others_however_far_it_leaps() -> None:
    calm, leap = np.ones((1, 4, 4), np.float32), np.full((1, 4, 4), 1e6, np.float32)
    fused = fuse({"texture": calm, "defect": leap}, {"texture": 0.9, "defect": 0.1})
    assert fused.max() < 10
    alone = fuse({"texture": calm}, {"texture": 0.2, "defect": 0.8})
    np.testing.assert_allclose(alone, calm, rtol=1e-6)


def test_two_heads_that_see_a_defect_a_little_apart_count_as_at_one_place() -> None:
    one, other = np.zeros((2, 1, 8, 8), np.float32)
    one[0, 2, 2] = other[0, 2, 3] = 3
    apart = fuse({"texture": one, "defect": other}, {"texture": 0.5, "defect": 0.5})
    assert apart.max() == pytest.approx(3, rel=1e-5)
    assert fuse({"texture": one}, {"texture": 1.0}).max() == pytest.approx(3, rel=1e-5)
