"""Run a `cae` command in a fresh process, as Airflow's tasks do.

TensorFlow and Great Expectations are heavy to import and not made to be forked; a process of its
own also gives all memory back. Only the standard library is imported here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import Any

from cae_pipeline.errors import StepFailedError, StepRefusedError

EXIT_WRONG_WORDS, EXIT_REFUSED = 2, 3


def run_cae(*arguments: str) -> dict[str, Any]:
    """Run `cae` with an argument list, hand its log lines on, and read the result it prints.

    Returns:
        The JSON object the command printed last.

    Raises:
        StepRefusedError: If it refused for a reason that a retry would meet again.
        StepFailedError: If it failed otherwise.
    """
    command = [sys.executable, "-m", "cae_pipeline", *arguments]
    # an argument list, never a shell: names of lines and batches come from outside
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603
    said: list[str] = []
    listener = threading.Thread(target=_hand_on, args=(process.stderr, said), daemon=True)
    listener.start()
    try:
        assert process.stdout is not None
        printed = process.stdout.read()
        code = process.wait()
    finally:
        # a task that is stopped takes its process along
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=30)
    listener.join()
    if code == 0:
        return _result(printed, arguments)
    reasons = [line.removeprefix("cae: ") for line in said if line.startswith("cae: ")]
    reason = reasons[-1] if reasons else "\n".join(said[-15:])
    failure = StepRefusedError if code in (EXIT_WRONG_WORDS, EXIT_REFUSED) else StepFailedError
    raise failure(f"`cae {' '.join(arguments)}` ended with exit code {code}: {reason}")


def _hand_on(lines: Any, said: list[str]) -> None:
    for line in lines:
        print(line, end="", flush=True)
        said.append(line.rstrip("\n"))


def _result(printed: str, arguments: tuple[str, ...]) -> dict[str, Any]:
    lines = [line for line in printed.splitlines() if line.strip()]
    if not lines:
        raise StepFailedError(f"`cae {' '.join(arguments)}` printed nothing; expected one JSON object")
    result: dict[str, Any] = json.loads(lines[-1])
    return result
