"""What the DAGs share; with `dags/` and the plugin the only code that knows Airflow.

Parsed with every DAG, so it imports nothing beyond Airflow's SDK, the standard library, and rooms of ours that import
nothing else.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from airflow.sdk import (
    Asset,
    BaseOperatorLink,
    ExceptionRetryPolicy,
    Param,
    RetryAction,
    RetryRule,
    get_current_context,
)

from cae_pipeline.domain.calendar import Calendar, find_zone
from cae_pipeline.errors import LinesFailedError, StepFailedError, StepRefusedError
from cae_pipeline.orchestration.process import run_cae

__all__ = [
    "RETRAINING_WANTED",
    "TASK_DEFAULTS",
    "ReportLink",
    "check_lines",
    "night_of",
    "plant_time_zone",
    "run_cae",
    "run_for_lines",
    "tell",
]

FAILED_LINES = "failed_lines"
"""Key of the XCom that keeps which lines a task could not do, and why."""

VALIDATE_AGAIN = Param(
    None,
    # with null, or the form would ask for it
    type=["null", "array"],
    items={"type": "string"},
    description="Batches, one LINE/BATCH a row, that are judged by the limits of today though they were before",
)
"""The field of a run's form."""

RETRAINING_WANTED = Asset(name="retraining_wanted", uri="cae://retraining-wanted")
"""A night or verdicts ask for a training; its event names line, trigger, reason and mode."""

TASK_DEFAULTS: dict[str, Any] = {
    "retries": 2,
    "retry_delay": timedelta(minutes=1),
    "execution_timeout": timedelta(hours=4),
    # a rejected batch is rejected again: retrying it would only hide it for a while
    "retry_policy": ExceptionRetryPolicy(rules=[RetryRule(exception=StepRefusedError, action=RetryAction.FAIL)]),
}


class ReportLink(BaseOperatorLink):
    """The button on the publish task that opens the night's report, which the plugin serves."""

    name = "Night report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Read from what the task returned; empty if it did not."""
        from airflow.sdk.execution_time.xcom import XCom

        done = XCom.get_one(key="return_value", dag_id=ti_key.dag_id, task_id=ti_key.task_id, run_id=ti_key.run_id)
        return f"/cae/{done['report']}" if done else ""


def plant_time_zone() -> str:
    """Name the zone that schedules follow: CAE_TIME_ZONE, as every process of Airflow sees it.

    Raises:
        ConfigurationError: If it is no time zone; Airflow shows it as what is wrong with the DAG.
    """
    name = os.environ.get("CAE_TIME_ZONE") or "UTC"
    find_zone(name, where="CAE_TIME_ZONE")
    return name


def night_of(dag_run: Any, params: Mapping[str, Any]) -> str:
    """Tell which night a run is for: the date asked for, else the run's own date in the plant's time zone.

    Args:
        dag_run: Airflow's; a run that was triggered by hand may have no logical date.
        params: `night` is the date asked for, such as 2026-01-31, or nothing.
    """
    if params.get("night"):
        return str(date.fromisoformat(params["night"]))
    moment = dag_run.logical_date or dag_run.run_after
    return str(Calendar(find_zone(plant_time_zone(), where="CAE_TIME_ZONE")).date_of(moment))


def with_repeated(found: Sequence[Mapping[str, Any]], repeated: Sequence[str] | None) -> list[dict[str, Any]]:
    """Put batches that are to be judged again, each a `LINE/BATCH`, before those that are due anyway.

    Raises:
        AirflowFailException: If one is written otherwise.
    """
    from airflow.sdk.exceptions import AirflowFailException

    wanted = [text.strip() for text in repeated or () if text.strip()]
    if wrong := [text for text in wanted if not all(text.partition("/"))]:
        raise AirflowFailException(f"validate_again: expected LINE/BATCH, received {', '.join(map(repr, wrong))}")
    again = [dict(zip(("line", "batch_id"), text.split("/", 1), strict=True)) for text in wanted]
    return [{**batch, "again": True} for batch in again] + [dict(batch) for batch in found if batch not in again]


def arguments_of(batch: Mapping[str, Any]) -> list[str]:
    """What `cae validate` is called with; `--` because the name of a folder may begin with a dash."""
    return [*(["--again"] if batch.get("again") else []), "--", batch["line"], batch["batch_id"]]


def run_for_lines(*arguments: str) -> dict[str, Any]:
    """Run a `cae` command that works on all lines, and go on with the others where some of them fail.

    Where a retry may help, it is tried first: the task fails while Airflow has tries left. Then the task succeeds with
    what there is, and keeps what failed for `check_lines`.

    Raises:
        StepFailedError: If the command failed as a whole, or for lines that a retry may help.
    """
    ti: Any = get_current_context()["ti"]
    try:
        result = run_cae(*arguments)
    except StepFailedError as error:
        result = dict(error.result or {})
        # a training that was asked for and an alert that is new would not be so again: a retry would forget them
        would_forget = result.get("retrain") or result.get("new")
        may_retry = error.retryable and ti.try_number <= ti.max_tries and not would_forget
        if may_retry or not result.get("failed"):
            raise
        logging.getLogger(__name__).error("%s", error)  # noqa: TRY400  # it says all there is to say
    ti.xcom_push(key=FAILED_LINES, value=result["failed"])
    return result


def check_lines(*task_ids: str) -> None:
    """Fail where a line failed in one of these tasks: such a run must not look clean.

    Raises:
        AirflowFailException: If any did. It is not retried, because those tasks were.
    """
    from airflow.sdk.exceptions import AirflowFailException

    ti: Any = get_current_context()["ti"]
    failed = {
        f"{line} ({task_id})": reason
        for task_id in task_ids
        for line, reason in (ti.xcom_pull(task_ids=task_id, key=FAILED_LINES) or {}).items()
    }
    if failed:
        raise AirflowFailException(str(LinesFailedError(failed, retryable=False)))


def tell(alarm: Mapping[str, Any], context: Any) -> None:
    """Hand alerts to Airflow's notifiers; one that fails fails nothing else.

    Args:
        alarm: What `cae alert` printed: the new alerts, and the notifiers of CAE_NOTIFIERS. Those that only the
            webhook has missed are not told here again.
        context: The task's; the notifiers' templates see it, and `alert`.
    """
    for alert in alarm["new"]:
        for wanted in alarm["notifiers"]:
            module, _, name = wanted["notifier"].rpartition(".")
            try:
                notifier = getattr(importlib.import_module(module), name)(**wanted["arguments"])
                notifier({**context, "alert": alert})
            except Exception:
                logging.getLogger(__name__).exception("notifier %s failed", wanted["notifier"])
