from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from joblib import cpu_count

from cae_pipeline.concurrency.parallel import AHEAD, batched, in_order


def test_results_come_in_the_order_of_the_items_whoever_is_first() -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.05 if number == 0 else 0)
        return number

    assert list(in_order(slow_first, range(20))) == list(range(20))


def test_no_more_than_a_few_items_are_taken_ahead() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1_000):
            taken.append(number)
            yield number

    results = in_order(lambda number: number, items())
    next(results)
    assert len(taken) <= AHEAD * cpu_count() + 1
    results.close()  # type: ignore[attr-defined]


def test_several_items_are_worked_on_at_once() -> None:
    if cpu_count() < 2:
        pytest.skip("this process may use one core only")
    together = threading.Barrier(2, timeout=10)

    def work(number: int) -> int:
        together.wait()
        return number

    assert list(in_order(work, range(4))) == [0, 1, 2, 3]


def test_what_one_item_raises_is_raised_in_its_turn() -> None:
    def work(number: int) -> int:
        if number == 2:
            raise ValueError("the third")
        return number

    results = in_order(work, range(5))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="the third"):
        next(results)


def test_batches_hold_every_item_once() -> None:
    assert list(batched(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
