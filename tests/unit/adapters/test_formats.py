"""Every format and mode of the documentation is written, read, and held against the picture it was made from."""

from __future__ import annotations

import numpy as np
import pytest

from cae_pipeline.adapters.decoding import measure_content
from cae_pipeline.errors import UnreadableImageError
from tests import formats
from tests.formats import EXAMPLES, LIMITS, Example

READABLE = [example for example in EXAMPLES if not isinstance(example.expected, str)]
REFUSED = [example for example in EXAMPLES if isinstance(example.expected, str)]


@pytest.mark.parametrize("example", READABLE, ids=lambda one: f"{one.kind}: {one.holds}")
def test_a_picture_comes_out_as_it_was_put_in(example: Example) -> None:
    pixels = formats.as_read(example)
    expected = np.asarray(example.expected)
    assert pixels.dtype == np.uint16
    assert pixels.shape == expected.shape
    assert np.abs(pixels / 257 - expected).max() <= example.tolerance


@pytest.mark.parametrize("example", REFUSED, ids=lambda one: f"{one.kind}: {one.holds}")
def test_what_cannot_be_read_says_why(example: Example) -> None:
    with pytest.raises(UnreadableImageError) as caught:
        measure_content(example.content, LIMITS, example.images)
    assert caught.value.reason == example.expected


def test_the_page_of_the_documentation_says_what_the_code_does() -> None:
    assert formats.PAGE.read_text(encoding="utf-8") == formats.page()
