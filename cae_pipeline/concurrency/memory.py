"""How much memory this process has taken at most."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def peak_memory_bytes() -> int:
    """Read the largest resident memory of this process since it started, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # what the kernel counts for getrusage begins with the memory of whoever started this process
        [peak] = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(peak) * 1024
    peak_used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_used if sys.platform == "darwin" else peak_used * 1024
