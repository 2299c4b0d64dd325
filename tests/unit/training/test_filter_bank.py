from __future__ import annotations

import numpy as np

from cae_pipeline.training.filter_bank import learn_filters


def test_filters_answer_with_unit_variance_on_what_they_were_learnt_from() -> None:
    random = np.random.default_rng(0)
    images = random.random((20, 32, 32, 1), np.float32)
    filters = learn_filters(images, random)
    assert filters.shape == (5, 5, 1, 8)
    windows = np.lib.stride_tricks.sliding_window_view(images[..., 0], (5, 5), axis=(1, 2))
    answers = np.einsum("nhwij,ijf->nhwf", windows, filters[:, :, 0])
    np.testing.assert_allclose(answers.std(axis=(0, 1, 2)), 1, atol=0.15)
