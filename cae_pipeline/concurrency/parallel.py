"""Work spread over the cores, with its results in order and its memory bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from joblib import cpu_count

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 2
"""Items per core that are worked on or finished before their turn."""


def in_order(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Work on several items at once and give the results in the order of the items.

    Threads are enough where the work is done in code that lets other threads run: decoders, ONNX Runtime, numpy.
    At most `AHEAD` items per core are under way, however many there are. What one of them raises is raised in its turn;
    those already begun are finished first.
    """
    # what a container or a scheduler leaves this process, not what the machine has
    cores: int = cpu_count()
    waiting = iter(items)
    with ThreadPoolExecutor(cores) as pool:
        begun: deque[Future[R]] = deque(pool.submit(work, item) for item in islice(waiting, AHEAD * cores))
        while begun:
            result = begun.popleft().result()
            begun.extend(pool.submit(work, item) for item in islice(waiting, 1))
            yield result


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Group items into lists of `size`, the last one shorter."""
    waiting = iter(items)
    while some := list(islice(waiting, size)):
        yield some
