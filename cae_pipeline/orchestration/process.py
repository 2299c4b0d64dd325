"""Run a `cae` command in a fresh process, as Airflow's tasks do."""

from __future__ import annotations

from typing import Any

from cae_pipeline.concurrency.fresh_process import run_module
from cae_pipeline.errors import ProcessFailedError, StepFailedError, StepRefusedError

EXIT_WRONG_WORDS, EXIT_REFUSED = 2, 3


def run_cae(*arguments: str) -> dict[str, Any]:
    """Run `cae` with an argument list, hand its log lines on to standard output, and read the result it prints.

    Airflow shows what a task writes to standard output as information, and the rest as errors.

    Returns:
        The JSON object the command printed last.

    Raises:
        StepRefusedError: If it refused for a reason that a retry would meet again (exit codes 2 and 3).
        StepFailedError: If it failed otherwise. Both hold the result, if the command printed one.
    """
    try:
        return run_module("cae_pipeline", *arguments, hand_on=_to_standard_output)
    except ProcessFailedError as error:
        failure = StepRefusedError if error.exit_code in (EXIT_WRONG_WORDS, EXIT_REFUSED) else StepFailedError
        told = f"`cae {' '.join(arguments)}` {error.ending}"
        raise failure(told, result=error.result) from error


def _to_standard_output(line: str) -> None:
    print(line, flush=True)
