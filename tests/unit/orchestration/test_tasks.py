from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from cae_pipeline.errors import StepFailedError, StepRefusedError
from cae_pipeline.orchestration import tasks


class TaskInstance:
    """Airflow's, as far as it is used here."""

    def __init__(self) -> None:
        self.try_number, self.max_tries = 1, 2
        self.kept: dict[str, Any] = {}

    def xcom_push(self, *, key: str, value: Any) -> None:
        self.kept[key] = value

    def xcom_pull(self, *, task_ids: str, key: str) -> Any:
        return self.kept.get(key) if task_ids == "watch_drift" else None


@pytest.fixture
def ti(monkeypatch: pytest.MonkeyPatch) -> TaskInstance:
    instance = TaskInstance()
    monkeypatch.setattr(tasks, "get_current_context", lambda: {"ti": instance})
    return instance


def _fail(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def run_cae(*_arguments: str) -> dict[str, Any]:
        raise error

    monkeypatch.setattr(tasks, "run_cae", run_cae)


def test_where_every_line_was_done_nothing_fails(ti: TaskInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "run_cae", lambda *words: {"words": words, "failed": {}})
    assert tasks.run_for_lines("watch")["words"] == ("watch",)
    tasks.check_lines("watch_drift", "plan_chunks")


def test_a_line_that_cannot_be_done_keeps_no_task_from_going_on_but_fails_the_run(
    ti: TaskInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = {"retrain": [], "failed": {"bolts": "broken"}}
    _fail(monkeypatch, StepRefusedError("exit code 3", result=result))
    assert tasks.run_for_lines("watch") == result
    with pytest.raises(AirflowFailException, match=r"bolts \(watch_drift\): broken"):
        tasks.check_lines("find_batches", "watch_drift")


def test_a_failure_that_may_pass_is_retried_before_the_line_is_left_out(
    ti: TaskInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = {"chunks": [], "failed": {"bolts": "locked"}}
    _fail(monkeypatch, StepFailedError("exit code 1", result=result))
    for attempt in (1, 2):
        ti.try_number = attempt
        with pytest.raises(StepFailedError):
            tasks.run_for_lines("plan")
    ti.try_number = 3
    assert tasks.run_for_lines("plan") == result


@pytest.mark.parametrize("once", ["retrain", "new"])
def test_what_is_said_only_once_is_not_lost_in_a_retry(
    ti: TaskInstance, monkeypatch: pytest.MonkeyPatch, once: str
) -> None:
    result = {once: [{"line": "washers"}], "failed": {"bolts": "locked"}}
    _fail(monkeypatch, StepFailedError("exit code 1", result=result))
    assert tasks.run_for_lines("watch") == result


@pytest.mark.parametrize("result", [None, {"failed": {}}])
def test_a_command_that_fails_as_a_whole_fails_its_task(
    ti: TaskInstance, monkeypatch: pytest.MonkeyPatch, result: dict[str, Any] | None
) -> None:
    _fail(monkeypatch, StepRefusedError("no lines file", result=result))
    with pytest.raises(StepRefusedError):
        tasks.run_for_lines("plan")


FOUND = [{"line": "cells", "batch_id": "2026-01-30"}, {"line": "cells", "batch_id": "2026-01-31"}]


@pytest.mark.parametrize("nothing", [None, [], [" "]])
def test_without_names_what_was_found_is_validated(nothing: list[str] | None) -> None:
    assert tasks.with_repeated(FOUND, nothing) == FOUND
    assert tasks.arguments_of(FOUND[0]) == ["--", "cells", "2026-01-30"]


def test_a_named_batch_comes_first_and_once() -> None:
    first, *others = tasks.with_repeated(FOUND, [" cells/2026-01-31"])
    assert tasks.arguments_of(first) == ["--again", "--", "cells", "2026-01-31"]
    assert others == FOUND[:1]


def test_a_batch_whose_name_holds_a_slash_or_begins_with_a_dash_is_one_argument() -> None:
    [batch] = tasks.with_repeated([], ["cells/-2026/01"])
    assert tasks.arguments_of(batch) == ["--again", "--", "cells", "-2026/01"]


def test_a_name_without_a_line_is_refused_at_once() -> None:
    with pytest.raises(AirflowFailException, match=r"expected LINE/BATCH, received '2026-01-31', 'cells/'"):
        tasks.with_repeated(FOUND, ["2026-01-31", "cells/"])


def test_the_form_does_not_ask_for_it() -> None:
    assert tasks.VALIDATE_AGAIN.resolve() is None
    assert tasks.VALIDATE_AGAIN.resolve(["cells/2026-01-31"]) == ["cells/2026-01-31"]
