from __future__ import annotations

import numpy as np
import pytest

from cae_pipeline.detector.pca import (
    find_outliers,
    fit_pca,
    folds_of,
    held_out_residuals,
    learn_filters,
    texture_error,
)
from cae_pipeline.detector.tiling import cut, join, with_tiles
from cae_pipeline.domain.images import EVEN_BRIGHTNESS, Floats, even_gain
from cae_pipeline.domain.line import AutoencoderSettings
from cae_pipeline.statistics.baseline import floor_scores
from cae_pipeline.statistics.metrics import auroc
from cae_pipeline.training.augmentation import draw_augmentations, harmless_augmentations


def _on_a_plane(count: int, *, seed: int) -> Floats:
    """Features of normal images: three directions and a little noise."""
    plane = np.random.default_rng(0).normal(size=(3, 4 * 4 * 5))
    random = np.random.default_rng(seed)
    flat = random.normal(size=(count, 3)) @ plane + random.normal(0, 0.05, (count, 80))
    return flat.reshape(count, 4, 4, 5).astype(np.float32)


def test_what_lies_on_the_plane_of_normal_images_is_rebuilt_and_what_does_not_is_left() -> None:
    autoencoder = fit_pca(_on_a_plane(60, seed=1))
    normal = _on_a_plane(20, seed=2)
    strange = normal.copy()
    strange[:, 1, 2] += 3
    left = np.sqrt((autoencoder.residual(normal) ** 2).mean(axis=3))
    assert left.max() < 0.5
    assert (np.sqrt((autoencoder.residual(strange) ** 2).mean(axis=3))[:, 1, 2] > 1.5).all()


def test_an_image_is_judged_by_an_autoencoder_that_never_saw_it() -> None:
    features = _on_a_plane(40, seed=1)
    features[7] += np.random.default_rng(3).normal(0, 2, features[7].shape)
    usable = np.ones(40, bool)
    [held_out] = held_out_residuals(features, folds_of(np.arange(40)), usable=usable)
    seen = fit_pca(features).residual(features)
    assert (held_out[7] ** 2).mean() > 2 * (seen[7] ** 2).mean()
    worst = np.sqrt((held_out**2).mean(axis=3)).max(axis=(1, 2)).astype(np.float64)
    assert worst.argmax() == 7
    assert find_outliers(worst)[7]


def test_a_copy_is_judged_in_the_fold_of_its_original() -> None:
    features = _on_a_plane(30, seed=1)
    folds = folds_of(np.arange(30))
    one, copy = held_out_residuals(features, folds, [(features[4:9].copy(), folds[4:9])], usable=np.ones(30, bool))
    np.testing.assert_allclose(copy, one[4:9], atol=1e-5)


def test_nothing_is_suspected_among_ordinary_images() -> None:
    worst = np.random.default_rng(0).lognormal(0, 0.3, 500)
    assert find_outliers(worst).sum() <= 0.02 * 500


def test_filters_answer_with_unit_variance_on_what_they_were_learnt_from() -> None:
    random = np.random.default_rng(0)
    images = random.random((20, 32, 32, 1), np.float32)
    filters = learn_filters(images, random)
    assert filters.shape == (5, 5, 1, 8)
    windows = np.lib.stride_tricks.sliding_window_view(images[..., 0], (5, 5), axis=(1, 2))
    answers = np.einsum("nhwij,ijf->nhwf", windows, filters[:, :, 0])
    np.testing.assert_allclose(answers.std(axis=(0, 1, 2)), 1, atol=0.15)


def test_images_of_another_exposure_are_the_same_once_the_gain_is_even() -> None:
    image = np.random.default_rng(0).uniform(0.1, 0.4, (1, 8, 8, 1)).astype(np.float32)
    np.testing.assert_allclose(even_gain(image), even_gain(image * np.float32(0.6)), rtol=1e-5)
    assert even_gain(image).mean() == pytest.approx(EVEN_BRIGHTNESS, rel=1e-3)
    assert np.isfinite(even_gain(np.zeros((1, 8, 8, 1), np.float32))).all()


def test_a_part_that_always_lies_the_same_way_is_not_flipped() -> None:
    random = np.random.default_rng(0)
    arrow = np.zeros((40, 16, 16, 1), np.float32)
    for index in range(40):
        arrow[index, 4:12, 3 : 8 + int(random.integers(3))] = 1
    noise = random.normal(0, 0.02, arrow.shape).astype(np.float32)
    assert harmless_augmentations(arrow + noise) == ("flip_vertical",)
    grains = random.random((40, 16, 16, 1), np.float32)
    assert set(harmless_augmentations(grains)) == {"flip_horizontal", "flip_vertical", "rotate_180"}
    assert harmless_augmentations(grains[:5]) == ()
    assert set(draw_augmentations(50, ("rotate_180",), random)) == {(), (0, 1)}


@pytest.mark.parametrize("tiles", [(1, 1), (2, 3)])
def test_tiles_put_together_give_the_image_again(tiles: tuple[int, int]) -> None:
    model = AutoencoderSettings(height_px=16, width_px=16, feature_resolution=1, tiles=tiles)
    images = np.random.default_rng(0).integers(0, 255, (3, *model.read_px, 1)).astype(np.uint8)
    parts = cut(images, model)
    assert parts.shape == (3 * tiles[0] * tiles[1], 16, 16, 1)
    np.testing.assert_array_equal(join(parts.astype(np.float32), model), images)


def test_as_many_tiles_are_cut_as_the_smallest_defect_needs() -> None:
    assert with_tiles(AutoencoderSettings(smallest_defect_px=4), delivered_px=(1024, 512)).tiles == (4, 2)
    assert with_tiles(AutoencoderSettings(smallest_defect_px=1), delivered_px=(4096, 4096)).tiles == (8, 8)
    assert with_tiles(AutoencoderSettings(tiles=(1, 2), smallest_defect_px=1), delivered_px=(64, 64)).tiles == (1, 2)


def test_the_floors_tell_a_square_from_none() -> None:
    random = np.random.default_rng(0)
    train, test = (random.normal(0.5, 0.02, (40, 64, 64)).astype(np.float32) for _ in "ab")
    test[20:, 10:20, 10:20] += 0.3
    found = floor_scores(train, test)
    assert auroc(found.mse[:20], found.mse[20:]) > 0.95
    assert auroc(found.z_blur_max[:20], found.z_blur_max[20:]) > 0.95


def test_the_texture_error_is_the_root_mean_square_over_the_features() -> None:
    residual = np.zeros((1, 2, 2, 2), np.float32)
    residual[0, 1, 0] = (3.0, 4.0)
    assert texture_error(residual)[0, 1, 0] == pytest.approx(np.sqrt(12.5))
