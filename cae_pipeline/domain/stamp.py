"""The signature under whatever a person or a run has decided."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Stamp:
    """Who did it, when and why.

    Attributes:
        author: The person, or the account a run works for.
        at: When, aware and in UTC.
        dag_run_id: Airflow's run; empty if a person did it.
        note: Why.
    """

    author: str
    at: datetime
    dag_run_id: str = ""
    note: str = ""
