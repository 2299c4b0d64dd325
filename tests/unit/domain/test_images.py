from __future__ import annotations

import numpy as np

from cae_pipeline.domain.images import Floats, resized


def test_a_map_is_enlarged_between_the_centres_of_its_cells() -> None:
    cells: Floats = np.array([[[0.0, 4.0]]], np.float32)
    np.testing.assert_allclose(resized(cells, (1, 4))[0, 0], [0, 1, 3, 4])
    assert resized(cells, (3, 6)).shape == (1, 3, 6)
