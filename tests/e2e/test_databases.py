"""Both databases under a few thousand rows: the same answers, and the index where it should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.performance import rows

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("kind", ["SQLite", "PostgreSQL"])
def test_what_people_ask_for_is_found_by_the_index_of_flagged_scores(tmp_path: Path, kind: str) -> None:
    if kind == "SQLite":
        figures = rows.load(f"sqlite:///{tmp_path / 'results.db'}", 20_000)
    else:
        with rows.postgresql() as url:
            assert url, "PostgreSQL is not installed; expected initdb and pg_ctl, as from `apt install postgresql`"
            figures = rows.load(url, 20_000)
    assert figures["rows_per_second"] > 0
    for question, answer in figures["queries"].items():
        plan = "\n".join(answer["plan"])
        assert "flagged_scores" in plan, f"{question}: {plan}"
        assert "Seq Scan on scores" not in plan, f"{question}: {plan}"
        assert "SCAN scores" not in plan, f"{question}: {plan}"
