"""What has moved on each night, and the trainings that this or verdicts have asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.database import insert
from cae_pipeline.adapters.results.schema import drift_reports, model_versions, retrainings
from cae_pipeline.domain.stamp import Stamp
from cae_pipeline.statistics.drift import DriftReport
from cae_pipeline.statistics.shifts import Shift


@dataclass(frozen=True)
class DriftRow:
    """The drift report of one line, night and champion."""

    line: str
    night: date
    model_version: str
    num_images: int
    diagnosis: str
    reasons: tuple[str, ...]
    shifts: tuple[Shift, ...]
    has_drifted: bool
    watched_at: datetime


def record_drift(
    connection: sa.Connection, line: str, night: date, model_version: str, report: DriftReport, *, watched_at: datetime
) -> None:
    """Write a line's drift report of one night, replacing an earlier one of the same night and champion."""
    keys = {"line": line, "night": night, "model_version": model_version}
    found = {
        "num_images": report.num_images,
        "shifts": [asdict(shift) for shift in report.shifts],
        "has_drifted": report.diagnosis != "none",
        "diagnosis": report.diagnosis,
        "reasons": list(report.reasons),
        "watched_at": watched_at,
    }
    statement = insert(connection.engine, drift_reports).values(**keys, **found)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=list(keys), set_={name: statement.excluded[name] for name in found}
        )
    )


def last_drift_report(connection: sa.Connection, line: str, *, until: date) -> DriftRow | None:
    """What was found last on a line, up to a night."""
    query = (
        sa.select(drift_reports)
        .where(drift_reports.c.line == line, drift_reports.c.night <= until)
        .order_by(drift_reports.c.night.desc(), drift_reports.c.watched_at.desc())
        .limit(1)
    )
    found = _rows(connection, query)
    return found[0] if found else None


def drift_of_night(connection: sa.Connection, night: date) -> dict[str, DriftRow]:
    """What was found last on each line about a night."""
    query = sa.select(drift_reports).where(drift_reports.c.night == night).order_by(drift_reports.c.watched_at)
    return {row.line: row for row in _rows(connection, query)}


def record_request(connection: sa.Connection, line: str, *, trigger: str, reason: str, stamp: Stamp) -> None:
    """Remember that a training was asked for."""
    row = {"line": line, "trigger": trigger, "reason": reason, "dag_run_id": stamp.dag_run_id, "asked_at": stamp.at}
    connection.execute(sa.insert(retrainings), [row])


def last_training(connection: sa.Connection, line: str) -> datetime | None:
    """When a line was last trained, or a training was last asked for, whatever became of it."""
    trained = sa.select(sa.func.max(model_versions.c.registered_at)).where(model_versions.c.line == line)
    asked = sa.select(sa.func.max(retrainings.c.asked_at)).where(retrainings.c.line == line)
    moments = [connection.scalar(query) for query in (trained, asked)]
    return max((moment for moment in moments if moment is not None), default=None)


def _rows(connection: sa.Connection, query: sa.Select[Any]) -> list[DriftRow]:
    return [
        DriftRow(**{**row, "reasons": tuple(row["reasons"]), "shifts": tuple(_shift(one) for one in row["shifts"])})
        for row in connection.execute(query).mappings()
    ]


def _shift(stored: dict[str, Any]) -> Shift:
    return Shift(**{**stored, "then": tuple(stored.get("then", ())), "now": tuple(stored.get("now", ()))})
