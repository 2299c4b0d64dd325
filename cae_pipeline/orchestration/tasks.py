"""What the DAGs share; with `dags/` and the plugin the only code that knows Airflow.

Parsed with every DAG, so it imports nothing beyond Airflow's SDK and the standard library.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, BaseOperatorLink, ExceptionRetryPolicy, RetryAction, RetryRule

from cae_pipeline.errors import StepRefusedError
from cae_pipeline.orchestration.process import run_cae

__all__ = ["RETRAINING_WANTED", "TASK_DEFAULTS", "ReportLink", "run_cae", "tell"]

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
