from __future__ import annotations

import numpy as np
import pytest

from cae_pipeline.reporting.histogram import NUM_BARS, sort_into_bars
from cae_pipeline.reporting.night import histogram_of


def test_every_score_stands_in_one_bar_of_its_group() -> None:
    scores = np.random.default_rng(0).gamma(4, 0.2, 500)
    bars = sort_into_bars({"night": scores, "defects": scores * 3}, threshold=1.0)
    assert [float(shares.sum()) for shares in bars.shares.values()] == pytest.approx([1, 1])
    inside = (scores >= bars.edges[4]) & (scores < bars.edges[5])
    assert bars.shares["night"][4] == pytest.approx(inside.mean())


@pytest.mark.parametrize(("scores", "highest"), [([0.1, 0.2], 1.6), ([0.1, *[5.0] * 99], 5.0)])
def test_the_scale_holds_the_threshold_and_nearly_all_scores(scores: list[float], highest: float) -> None:
    assert sort_into_bars({"night": np.array(scores)}, threshold=1.0).edges[-1] == pytest.approx(highest)


def test_scores_beyond_the_scale_stand_in_the_last_bar() -> None:
    bars = sort_into_bars({"night": np.array([*[0.1] * 99, 1000.0])}, threshold=1.0)
    assert bars.edges[-1] == pytest.approx(1.6)
    assert bars.shares["night"][-1] == pytest.approx(0.01)


def test_the_night_draws_its_tallest_bar_in_full_and_colours_what_lies_above_the_threshold() -> None:
    drawn = histogram_of([0.1, 0.1, 1.5], 1.0)
    assert drawn is not None
    assert len(drawn.bars) == NUM_BARS
    assert {round(height, 2): above for _, _, height, above in drawn.bars if height} == {1.0: False, 0.5: True}
    assert drawn.threshold_at == pytest.approx(1 / 1.6)


def test_a_night_without_scores_draws_nothing() -> None:
    assert histogram_of([], 1.0) is None
