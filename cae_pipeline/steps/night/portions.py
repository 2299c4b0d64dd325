"""Share what one run may hand out among the lines."""

from __future__ import annotations

from collections.abc import Mapping

MAX_MAPPED_TASKS = 1000
"""Tasks that one run makes of a list at most: Airflow maps no more than 1,024 unless it is told to."""


def share_out(waiting: Mapping[str, int], limit: int) -> dict[str, int]:
    """Say how many pieces of work of each line a run takes on.

    The lines take turns: however much one has to catch up on, another one's work of tonight does not wait for it.

    Args:
        waiting: Pieces of work of each line.
        limit: Of all lines together.

    Example:
        >>> share_out({"years": 1100, "tonight": 2}, 1000)
        {'years': 998, 'tonight': 2}
    """
    turns = sorted((turn, order, line) for order, (line, count) in enumerate(waiting.items()) for turn in range(count))
    shares = dict.fromkeys(waiting, 0)
    for _, _, line in turns[:limit]:
        shares[line] += 1
    return shares
