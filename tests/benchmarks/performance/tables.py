"""SQLite and PostgreSQL after a hundred nights: how fast rows are written, and how fast every question is answered."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cae_pipeline.adapters.results.database import open_database
from tests.benchmarks.performance import million, validation
from tests.benchmarks.performance.plans import explain
from tests.benchmarks.performance.questions import (
    ask_all,
    judge_all_again,
    questions,
    rates_of_61_nights,
    slowest,
)
from tests.postgresql import start_postgresql

GOALS = {
    "queries_slowest_ms": 100.0,
    "rates_61_nights_seconds": 1.0,
    "rejudge_all_seconds": 10.0,
    "validate_cost_growth": 1.1,
}
"""What is asked of a million images, by the key of the figures; at most."""


def measure(folder: Path, *, count: int, num_batches: int) -> dict[str, Any]:
    """Fill both databases and ask them everything.

    Args:
        folder: An empty one, for SQLite's files and what is validated.
        count: Images in all.
        num_batches: One a night.

    Returns:
        `tables`, which holds the rates of writing and every question by database, and the keys of `GOALS`, each with
        the value and samples of both databases; its own value is the worse of the two.
    """
    measured = {}
    for name, urls in (("SQLite", _sqlite(folder)), ("PostgreSQL", _postgresql())):
        with urls as create:
            measured[name] = measure_database(create, folder / name, count=count, num_batches=num_batches)
    headlines = {key: {name: one.pop(key) for name, one in measured.items()} for key in GOALS}
    worst = {key: {"value": max(one["value"] for one in by_name.values())} for key, by_name in headlines.items()}
    return {"tables": measured, **{key: worst[key] | by_name for key, by_name in headlines.items()}}


def measure_database(create: Callable[[str], str], folder: Path, *, count: int, num_batches: int) -> dict[str, Any]:
    """Fill a database and ask it everything.

    Args:
        create: Makes an empty database of a name; returns its URL.
        folder: Not there yet, for what is validated.
        count: Images in all.
        num_batches: One a night.
    """
    url = create("nights")
    engine = open_database(url)
    try:
        filled = million.fill(engine, count, num_batches=num_batches)
        answers = ask_all(engine, filled.last_night)
        question, _ = slowest(answers)
        asked = questions(engine, filled.last_night)
        plans = {name: explain(engine, one) for name, one in asked.items()}
        figures = {
            "rows_per_second": filled.rows_per_second,
            "rows_per_second_first_tenth": filled.rows_per_second_first_tenth,
            "rows_per_second_last_tenth": filled.rows_per_second_last_tenth,
            "questions": {name: {**_figure(taken), "plan": plans[name]} for name, taken in answers.items()},
            "queries_slowest_ms": {**_figure(answers[question]), "question": question},
            "rates_61_nights_seconds": _figure(rates_of_61_nights(engine, filled.last_night)),
            "rejudge_all_seconds": _figure(judge_all_again(engine)),
        }
    finally:
        engine.dispose()
    growth = validation.cost_growth(folder, many_url=url, none_url=create("none"), last_night=filled.last_night)
    return {**figures, "validate_cost_growth": growth}


def slowest_questions(table: Mapping[str, Any], count: int) -> list[tuple[str, Mapping[str, Any]]]:
    """The questions of a database that took longest, the slowest first."""
    asked: Mapping[str, Mapping[str, Any]] = table["questions"]
    return sorted(asked.items(), key=lambda item: -item[1]["value"])[:count]


def _figure(samples: Sequence[float]) -> dict[str, Any]:
    return {"value": statistics.median(samples), "samples": list(samples)}


@contextmanager
def _sqlite(folder: Path) -> Iterator[Callable[[str], str]]:
    yield lambda name: f"sqlite:///{folder / name}.db"


@contextmanager
def _postgresql() -> Iterator[Callable[[str], str]]:
    """A server that keeps what it is told, as one in a factory does: with fsync, as it comes."""
    with start_postgresql() as server:
        yield server.create_database
