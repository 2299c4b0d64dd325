from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cae_pipeline.domain.facts import to_grey
from cae_pipeline.domain.texture import log_texture, longest_repeat, mean_cells, texture_of, turned
from tests.parts import striped_part


def test_each_cell_holds_the_mean_of_its_pixels() -> None:
    grey = np.arange(24, dtype=np.float32).reshape(4, 6)
    assert mean_cells(grey, rows=2, columns=3).tolist() == [[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]]


@given(st.integers(1, 9), st.integers(1, 9))
def test_a_grid_finer_than_the_picture_repeats_its_pixels(height: int, width: int) -> None:
    grey = np.arange(height * width, dtype=np.float32).reshape(height, width)
    assert np.array_equal(mean_cells(grey, rows=18, columns=18)[:: 18 // 9, :: 18 // 9].shape, (9, 9))
    assert set(mean_cells(grey, rows=9 * height, columns=9 * width).ravel()) == set(grey.ravel())


def test_a_picture_turned_by_a_quarter_has_across_and_down_exchanged() -> None:
    image = striped_part(1)[:64, :64]
    as_is, quarter = (texture_of(to_grey(one)) for one in (image, np.ascontiguousarray(np.rot90(image))))
    assert np.allclose(turned(log_texture([as_is])), log_texture([quarter]), atol=0.05)
    assert not np.allclose(log_texture([as_is]), log_texture([quarter]), atol=0.5)


def test_twice_the_light_is_twice_as_steep() -> None:
    grey = to_grey(striped_part(1))
    darker, brighter = log_texture([texture_of(grey / np.float32(2)), texture_of(grey)])
    assert np.allclose(brighter - darker, np.log(2), atol=0.3)


@pytest.mark.parametrize("where", [np.s_[40:], np.s_[:40], np.s_[:, 40:], np.s_[:, :40]])
@pytest.mark.parametrize("colours", [(), (3,)])
def test_half_a_frame_that_is_missing_is_half_a_frame_that_repeats(where: slice, colours: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (80, 80, *colours), np.uint8)
    assert longest_repeat(image) == 0
    image[where] = 128
    assert longest_repeat(image) == 0.5


def test_rows_that_repeat_the_last_one_that_arrived_count_too() -> None:
    image = np.random.default_rng(0).integers(0, 256, (80, 80), np.uint8)
    image[60:] = image[59]
    assert longest_repeat(image) == 21 / 80


@pytest.mark.parametrize(("image", "share"), [(np.zeros((1, 1), np.uint8), 0.0), (np.zeros((5, 7), np.uint8), 1.0)])
def test_a_constant_picture_repeats_all_of_itself(image: np.ndarray, share: float) -> None:
    assert longest_repeat(image) == share
