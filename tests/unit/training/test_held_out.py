from __future__ import annotations

import numpy as np

from cae_pipeline.detector.pca import fit_pca
from cae_pipeline.training.held_out import Features, feature_scale, find_outliers, held_out_residuals
from tests.unit.detector.features import on_a_plane

ONE = np.ones(5, np.float32)


def test_an_image_is_judged_by_a_pca_that_never_saw_it() -> None:
    values = on_a_plane(40, seed=1)
    values[7] += np.random.default_rng(3).normal(0, 2, values[7].shape)
    features = Features.of(values, np.arange(40))
    [held_out] = held_out_residuals(features, scale=ONE, is_usable=np.ones(40, bool))
    seen = fit_pca(values).residual(values)
    assert (held_out[7] ** 2).mean() > 2 * (seen[7] ** 2).mean()
    worst = np.sqrt((held_out**2).mean(axis=3)).max(axis=(1, 2)).astype(np.float64)
    assert worst.argmax() == 7
    assert find_outliers(worst)[7]


def test_a_copy_is_judged_in_the_fold_of_its_original() -> None:
    normal = Features.of(on_a_plane(30, seed=1), np.arange(30))
    copies = Features(normal.values[4:9].copy(), normal.folds[4:9])
    residuals, of_copies = held_out_residuals(normal, copies, scale=ONE, is_usable=np.ones(30, bool))
    np.testing.assert_allclose(of_copies, residuals[4:9], atol=1e-5)


def test_no_pca_is_fitted_to_what_is_not_usable() -> None:
    values = on_a_plane(30, seed=1)
    odd = values.copy()
    odd[5] += 100
    is_usable = np.arange(30) != 5
    without, with_odd = (
        held_out_residuals(Features.of(some, np.arange(30)), scale=ONE, is_usable=is_usable)[0]
        for some in (values, odd)
    )
    np.testing.assert_array_equal(np.delete(without, 5, axis=0), np.delete(with_odd, 5, axis=0))


def test_residuals_are_in_the_unit_of_the_scale_and_the_features_stay_as_they_were() -> None:
    values = on_a_plane(30, seed=1).astype(np.float16)
    kept = values.copy()
    scale = feature_scale(values.astype(np.float32))
    [scaled] = held_out_residuals(Features.of(values, np.arange(30)), scale=scale, is_usable=np.ones(30, bool))
    again = Features.of((values / scale).astype(np.float16), np.arange(30))
    [expected] = held_out_residuals(again, scale=ONE, is_usable=np.ones(30, bool))
    assert scaled.dtype == np.float16
    np.testing.assert_array_equal(scaled, expected)
    np.testing.assert_array_equal(values, kept)


def test_nothing_is_an_outlier_among_ordinary_images() -> None:
    worst = np.random.default_rng(0).lognormal(0, 0.3, 500)
    assert find_outliers(worst).sum() <= 0.02 * 500
