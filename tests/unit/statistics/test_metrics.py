from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.metrics import average_precision_score, roc_auc_score

from cae_pipeline.statistics.metrics import auroc, average_precision, f1_score, image_figures


def test_auroc_counts_pairs_and_halves_ties() -> None:
    normal, defective = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0])
    wins = sum((d > n) + 0.5 * (d == n) for d in defective for n in normal)
    assert auroc(normal, defective) == pytest.approx(wins / 6)


def test_false_alarms_come_with_an_interval_around_them() -> None:
    figures = image_figures(np.arange(40.0), np.arange(40) >= 18, np.arange(40) >= 20)
    assert figures.false_alarm_rate == pytest.approx(2 / 20)
    assert figures.false_alarm_low < 0.1 < figures.false_alarm_high
    assert figures.f1 == pytest.approx(2 * 20 / (2 * 20 + 2))


SCORED = st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.booleans()), min_size=2, max_size=40).filter(
    lambda rows: {defective for _, defective, _ in rows} == {True, False}
)
"""Score (with many ties), whether it is defective, whether it was flagged."""


@given(SCORED)
def test_the_figures_of_images_are_those_of_scikit_learn(rows: list[tuple[int, bool, bool]]) -> None:
    scores, defective, flags = (np.array(column) for column in zip(*rows, strict=True))
    floats = scores.astype(np.float64)
    assert auroc(floats[~defective], floats[defective]) == pytest.approx(roc_auc_score(defective, floats), abs=1e-12)
    expected = average_precision_score(defective, floats)
    assert average_precision(floats, defective) == pytest.approx(expected, abs=1e-12)
    assert f1_score(flags, defective) == pytest.approx(metrics.f1_score(defective, flags, zero_division=0.0))


def test_f1_of_nothing_is_zero() -> None:
    nothing = np.zeros(3, bool)
    assert f1_score(nothing, nothing) == 0


def test_auroc_of_one_kind_alone_is_an_error() -> None:
    with pytest.raises(ValueError, match="received 0 normal and 2 defective scores"):
        auroc(np.zeros(0), np.ones(2))
