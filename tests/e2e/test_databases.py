"""Both databases under a few thousand rows: the index where it should be."""

from __future__ import annotations

import pytest

from tests.benchmarks.performance import rows

pytestmark = pytest.mark.e2e


def test_what_people_ask_for_is_found_by_the_index_of_flagged_scores(results_url: str) -> None:
    figures = rows.load(results_url, 20_000)
    assert figures["rows_per_second"] > 0
    for question, answer in figures["queries"].items():
        plan = "\n".join(answer["plan"])
        assert "flagged_scores" in plan, f"{question}: {plan}"
        assert "Seq Scan on scores" not in plan, f"{question}: {plan}"
        assert "SCAN scores" not in plan, f"{question}: {plan}"
