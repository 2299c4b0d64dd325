from __future__ import annotations

import numpy as np
import pytest

from cae_pipeline.detector.tiling import cut, join, with_tiles
from cae_pipeline.domain.line import AutoencoderSettings


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
