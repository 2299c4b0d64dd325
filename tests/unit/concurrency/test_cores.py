from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to a core")
def test_work_is_spread_over_the_cores_that_this_process_may_use() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from cae_pipeline.concurrency.parallel import AHEAD, in_order\n"
        "from cae_pipeline.settings import Settings\n"
        "taken = []\n"
        "results = in_order(lambda item: item, (taken.append(item) or item for item in range(100)))\n"
        "next(results); results.close()\n"
        "print(Settings().decode_processes, len(taken) - AHEAD)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    decoding, ahead = map(int, done.stdout.split())
    assert decoding == 1
    # one core's share ahead, and the one that took the place of the first result at most
    assert ahead <= 1
