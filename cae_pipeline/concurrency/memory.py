"""How much memory this process has taken at most, and may take."""

from __future__ import annotations

import sys
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

HARMLESS_BYTES = 2**46
"""More address space than any process here takes."""


def peak_memory_bytes() -> int:
    """Read the largest resident memory of this process since it started, in bytes; 0 where the system does not say."""
    status = Path("/proc/self/status")
    if status.exists():
        # what the kernel counts for getrusage begins with the memory of whoever started this process
        [peak] = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(peak) * 1024
    if resource is None:
        return 0
    peak_used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_used if sys.platform == "darwin" else peak_used * 1024


def limit_memory(max_bytes: int) -> bool:
    """Limit the address space of this process; it then meets a MemoryError instead of taking the machine's memory.

    Returns:
        Whether the system did it: Windows has no such limit, and macOS refuses it.
    """
    if resource is None:
        return False
    try:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (max_bytes, hard))
    except (OSError, ValueError, AttributeError):
        return False
    return True


def can_limit_memory() -> bool:
    """Tell whether `limit_memory` works on this system; afterwards the limits are what they were."""
    if resource is None:
        return False
    try:
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        is_limited = limit_memory(HARMLESS_BYTES if hard == resource.RLIM_INFINITY else hard)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    except (OSError, ValueError, AttributeError):
        return False
    return is_limited
