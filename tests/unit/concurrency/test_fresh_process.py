from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cae_pipeline.concurrency import fresh_process
from cae_pipeline.concurrency.fresh_process import run_module
from cae_pipeline.errors import ProcessFailedError

Write = Callable[[str], str]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a module that a process of its own can run; returns its name."""
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")

    def write(code: str) -> str:
        (tmp_path / "errand.py").write_text(code)
        return "errand"

    return write


def test_the_last_line_is_the_result_and_log_lines_are_handed_on(module: Write) -> None:
    name = module("import sys, json; print('hello'); print('a', file=sys.stderr); print(json.dumps(sys.argv[1:]))")
    with pytest.raises(ProcessFailedError, match="printed no JSON object"):
        run_module(name, "x")
    name = module("import sys; print('hello'); print('a\\nb', file=sys.stderr); print('{\"x\": 1}')")
    heard: list[str] = []
    assert run_module(name, hand_on=heard.append) == {"x": 1}
    assert heard == ["a", "b"]


def test_arguments_are_no_commands(module: Write, tmp_path: Path) -> None:
    name = module("import sys, json; print(json.dumps({'words': sys.argv[1:]}))")
    words = ["; touch injected", "$(touch injected)", "a b"]
    assert run_module(name, *words) == {"words": words}
    assert not list(tmp_path.rglob("injected"))


def test_much_output_on_both_streams_blocks_nobody(module: Write) -> None:
    name = module("import sys\nfor n in range(20000): print(n); print(n, file=sys.stderr)\nprint('{}')")
    assert run_module(name, hand_on=lambda line: None) == {}


def test_a_failure_says_the_exit_code_the_last_words_and_what_was_done_nevertheless(module: Write) -> None:
    name = module("import sys; print('{\"done\": 2}'); print('cae: no bread', file=sys.stderr); sys.exit(3)")
    with pytest.raises(ProcessFailedError, match="ended with exit code 3: no bread") as caught:
        run_module(name)
    assert (caught.value.exit_code, caught.value.last_words) == (3, ("cae: no bread",))
    assert caught.value.result == {"done": 2}
    name = module("1 / 0")
    with pytest.raises(ProcessFailedError, match="ZeroDivisionError"):
        run_module(name)


def test_a_process_that_takes_too_long_is_stopped(module: Write) -> None:
    name = module("import time; time.sleep(60)")
    started = time.monotonic()
    with pytest.raises(ProcessFailedError, match=r"took over 0.5 s") as caught:
        run_module(name, timeout_seconds=0.5)
    assert caught.value.exit_code is None
    assert time.monotonic() - started < 20


def test_a_process_that_does_not_end_when_it_is_told_to_is_killed(
    module: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh_process, "TERMINATION_SECONDS", 0.5)
    name = module("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)")
    started = time.monotonic()
    with pytest.raises(ProcessFailedError):
        run_module(name, timeout_seconds=3)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_caller_that_is_stopped_takes_its_process_along(module: Write, tmp_path: Path, sign: signal.Signals) -> None:
    name = module(
        "import os, pathlib, sys, time\n"
        "pathlib.Path(sys.argv[1] + '.part').write_text(str(os.getpid()))\n"
        "os.replace(sys.argv[1] + '.part', sys.argv[1])\n"
        "time.sleep(60)"
    )
    note = tmp_path / "process-id"
    code = (
        # a shell without job control has what it starts in the background ignore the interrupt, and all below it
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"from cae_pipeline.concurrency.fresh_process import run_module; run_module({name!r}, {str(note)!r})"
    )
    caller = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL, start_new_session=True)
    _wait_until(note.exists)
    child = int(note.read_text())
    caller.send_signal(sign)
    assert caller.wait(20) != 0
    _wait_until(lambda: not _is_running(child))


def _wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True
