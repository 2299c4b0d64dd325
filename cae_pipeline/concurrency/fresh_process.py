"""Run one of our modules in a process of its own and read the result that it prints.

TensorFlow and Great Expectations are heavy to import and not made to be forked. A fresh process gives all its memory
back when it ends, and its peak of memory is its own. Only the standard library is imported here, because every DAG
file is parsed with this module.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from types import FrameType
from typing import IO, Any

from cae_pipeline.errors import ProcessFailedError

MAX_LAST_WORDS = 50
"""Lines of standard error that an error keeps."""
TERMINATION_SECONDS = 30
"""How long a process may take to end after SIGTERM, before it is killed."""
LISTENING_SECONDS = 10
"""How long output is read after the process has ended: a process that it started may hold the pipe open."""


def run_module(
    module: str, *arguments: str, timeout_seconds: float | None = None, hand_on: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Run `python -m module arguments…`, without a shell.

    The process is terminated when the caller is stopped: by an exception, Ctrl-C, SIGTERM or the time limit.

    Args:
        module: Name of a module that prints one JSON object as the last line of standard output.
        arguments: Handed over as they are, whatever characters they hold.
        timeout_seconds: Wall time after which the process is terminated; None for no limit.
        hand_on: Is called with every line the process writes to standard error, without the line break; None writes
            it to our own standard error.

    Returns:
        The JSON object that the process printed last.

    Raises:
        ProcessFailedError: If it ended with another exit code than 0, took too long, or printed no JSON object. The
            error holds the exit code, the last lines of standard error and the result, if there is one.
    """
    process = _start(module, *arguments)
    last_line: deque[str] = deque(maxlen=1)
    last_words: deque[str] = deque(maxlen=MAX_LAST_WORDS)
    told = hand_on or _to_standard_error

    def remember(line: str) -> None:
        told(line)
        last_words.append(line)

    exit_code = _wait(process, timeout_seconds, on_output=last_line.append, on_error=remember)
    result = _parsed(last_line)
    if exit_code == 0 and result is not None:
        return result
    raise ProcessFailedError(
        " ".join([module, *arguments]),
        exit_code=exit_code,
        timeout_seconds=timeout_seconds,
        last_words=tuple(last_words),
        result=result,
    )


def _start(module: str, *arguments: str) -> subprocess.Popen[str]:
    # an argument list, never a shell: names of lines and batches come from outside
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
    )


def _wait(
    process: subprocess.Popen[str],
    timeout_seconds: float | None,
    *,
    on_output: Callable[[str], None],
    on_error: Callable[[str], None],
) -> int | None:
    """Read both streams until the process ends; returns its exit code, None where it took too long."""
    listeners = [
        threading.Thread(target=_listen, args=heard, daemon=True)
        for heard in ((process.stdout, on_output), (process.stderr, on_error))
    ]
    for listener in listeners:
        listener.start()
    try:
        with _stopped_together(process):
            exit_code: int | None = process.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        exit_code = None
    finally:
        _end(process)
        for listener in listeners:
            listener.join(LISTENING_SECONDS)
    return exit_code


def _listen(lines: IO[str], take: Callable[[str], None]) -> None:
    for line in lines:
        if text := line.rstrip():
            take(text)


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(TERMINATION_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _stopped_together(process: subprocess.Popen[str]) -> Iterator[None]:
    """Hand SIGTERM on to the process, then do what would have been done without us.

    Python ends at once on SIGTERM and runs no `finally`; Airflow's task runner goes on waiting.
    """
    previous = signal.getsignal(signal.SIGTERM)
    # only the main thread may say what a signal does; what ignores the signal goes on ignoring it
    if threading.current_thread() is not threading.main_thread() or previous in (None, signal.SIG_IGN):
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        process.terminate()
        if not callable(previous):
            sys.exit(128 + number)
        previous(number, frame)

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _parsed(last_line: deque[str]) -> dict[str, Any] | None:
    try:
        result = json.loads(last_line[-1]) if last_line else None
    except ValueError:
        return None
    return result if isinstance(result, dict) else None


def _to_standard_error(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
