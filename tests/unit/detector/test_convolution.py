from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cae_pipeline.detector.convolution import convolved_px, describe, encoder_sizes, transposed_px
from cae_pipeline.domain.line import AutoencoderSettings
from cae_pipeline.errors import ConfigurationError, ShapeNotRestoredError


@pytest.mark.parametrize(
    ("size_px", "kernel_size", "strides", "padding", "expected_px"),
    [(4, 3, 1, "valid", 2), (5, 3, 1, "same", 5), (5, 3, 2, "valid", 2), (64, 3, 2, "same", 32), (7, 3, 2, "same", 4)],
)
def test_a_convolution_gives_the_size_of_the_textbook(
    size_px: int, kernel_size: int, strides: int, padding: str, expected_px: int
) -> None:
    assert convolved_px(size_px, kernel_size=kernel_size, strides=strides, padding=padding) == expected_px  # type: ignore[arg-type]


def test_the_transpose_of_a_strided_valid_convolution_gives_five_back() -> None:
    assert transposed_px(2, kernel_size=3, strides=2, padding="valid") == 5


@given(st.integers(1, 200), st.integers(1, 7), st.integers(1, 4))
def test_a_valid_transpose_restores_exactly_the_sizes_whose_rest_is_covered(
    size_px: int, kernel_size: int, strides: int
) -> None:
    after = convolved_px(size_px, kernel_size=kernel_size, strides=strides, padding="valid")
    if after >= 1:
        restored = transposed_px(after, kernel_size=kernel_size, strides=strides, padding="valid")
        rest = (size_px - kernel_size) % strides
        assert restored == size_px - rest + max(0, strides - kernel_size)


def test_a_decoder_that_does_not_restore_names_the_layer_and_how_much_it_is_off() -> None:
    with pytest.raises(ShapeNotRestoredError, match=r"'decoder_1' restores a height of 10 px where 9 px went in.*\+1"):
        encoder_sizes(AutoencoderSettings(height_px=72, width_px=64, filters=(4, 4, 4, 4)))


def test_a_kernel_larger_than_what_is_left_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'encoder_2' has a 5 px kernel"):
        encoder_sizes(
            AutoencoderSettings(height_px=8, width_px=8, filters=(4, 4), kernel_size=5, strides=1, padding="valid")
        )


def test_a_list_of_another_length_than_filters_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"model.strides has 3 values, but model.filters has 2"):
        encoder_sizes(AutoencoderSettings(filters=(4, 4), strides=(2, 2, 2)))


def test_the_receptive_field_grows_by_what_strides_have_jumped() -> None:
    rows = describe(AutoencoderSettings(filters=(4, 4, 4), kernel_size=(3, 5, 3), strides=2))
    assert [row.receptive_field_px for row in rows[:4]] == [1, 3, 11, 19]
