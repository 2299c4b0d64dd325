"""How many cores this process may use."""

from __future__ import annotations

import os


def num_cores() -> int:
    """Count the cores this process may run on, which a container or a scheduler may have made fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
