"""Both databases as after twenty nights of 1,000 images: no question reads a whole table of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pytest

from cae_pipeline.adapters.results.database import open_database
from tests.benchmarks.performance import million
from tests.benchmarks.performance.plans import explain
from tests.benchmarks.performance.questions import ask_all, questions

pytestmark = pytest.mark.e2e

FEW_ROWS = ("failed_judgements", "quarantined_images")
"""Indexes of some rows alone, which may be walked along from end to end."""
SQLITE_SCAN = re.compile(r"\bSCAN (?:judgements|images)(?:\b|_\d)")
SQLITE_VERSION = re.compile(r"\bSEARCH judgements\S* .*\(model_version=\?\)")
"""All that a model version has judged: nearly every row, where the champion has served for long."""
POSTGRESQL_SCAN = re.compile(r"\bScan\b.* on (?:judgements|images)\b")


def whole_reads(plan: Sequence[str]) -> Iterator[str]:
    """The lines of a plan, of SQLite or PostgreSQL, that read all rows of a table of images or judgements."""
    for line, below in zip(plan, [*plan[1:], ""], strict=True):
        if any(index in line for index in FEW_ROWS):
            continue
        has_no_condition = POSTGRESQL_SCAN.search(line) and " Cond:" not in below
        if SQLITE_SCAN.search(line) or SQLITE_VERSION.search(line) or has_no_condition:
            yield line


@pytest.mark.parametrize(
    "plan",
    [
        ["SCAN judgements"],
        ["SCAN judgements_1"],
        ["SCAN images USING COVERING INDEX images_by_id"],
        ["->  Parallel Seq Scan on judgements judgements_1  (cost=0.00..1.00)", "Filter: is_current"],
        ["Index Scan using images_pkey on images  (cost=0.00..1.00)"],
        ["SEARCH judgements USING INDEX scores_of_version (model_version=?)"],
    ],
)
def test_what_reads_a_whole_table_is_seen(plan: list[str]) -> None:
    assert list(whole_reads(plan)) == plan[:1]


@pytest.mark.parametrize(
    "plan",
    [
        ["SEARCH judgements USING INDEX judgements_by_image (image_id=?)", "SCAN verdicts"],
        ["SCAN judgements USING INDEX failed_judgements"],
        ["Index Scan using images_pkey on images  (cost=0.00..1.00)", "Index Cond: (name = 'a.png')"],
        ["Bitmap Heap Scan on images  (cost=0.00..1.00)", "Recheck Cond: (name = 'a.png')"],
    ],
)
def test_what_an_index_answers_is_left_alone(plan: list[str]) -> None:
    assert list(whole_reads(plan)) == []


def test_no_question_reads_a_whole_table_of_images_or_judgements(results_url: str) -> None:
    engine = open_database(results_url)
    filled = million.fill(engine, 20_000, num_batches=20)
    # Of so few rows PostgreSQL rightly reads some tables from end to end: that costs less than an index. What is held
    # here is that there is another way, which it takes as soon as it costs less; times would tell of the machine.
    plans = {
        name: explain(engine, question, sequential_scans=False)
        for name, question in questions(engine, filled.last_night).items()
    }
    assert all(plans.values())
    assert {name: whole for name, plan in plans.items() if (whole := list(whole_reads(plan)))} == {}


def test_every_question_has_an_answer(results_url: str) -> None:
    engine = open_database(results_url)
    filled = million.fill(engine, 400, num_batches=2)
    assert filled.rows_per_second > 0
    assert all(min(taken) > 0 for taken in ask_all(engine, filled.last_night).values())
