"""Alerts: each is raised once, and kept until somebody has received it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.database import insert_new, reading
from cae_pipeline.adapters.results.schema import alerts, batches, drift_reports, promotions
from cae_pipeline.domain.alerts import Alert

MAX_ATTEMPTS = 50
"""After so many the alert stays in the table, but nobody is told any more."""

Row = dict[str, Any]


def record_alerts(engine: sa.Engine, raised: Sequence[Alert], *, raised_at: datetime) -> None:
    """Keep alerts; those that are there already stay as they are."""
    rows = [
        {
            "alert_key": alert.alert_key,
            "kind": alert.kind,
            "line": alert.line,
            "night": alert.night,
            "message": alert.message,
            "raised_at": raised_at,
            "num_attempts": 0,
        }
        for alert in raised
    ]
    with engine.begin() as connection:
        insert_new(connection, alerts, rows)


def was_raised(engine: sa.Engine, *raised: Alert) -> bool:
    """Tell whether any of some alerts is known already."""
    query = sa.select(alerts.c.alert_key).where(alerts.c.alert_key.in_([alert.alert_key for alert in raised])).limit(1)
    with reading(engine) as connection:
        return connection.scalar(query) is not None


def undelivered(engine: sa.Engine) -> list[Row]:
    """Alerts that nobody has received, oldest first."""
    query = (
        sa.select(alerts)
        .where(alerts.c.delivered_at.is_(None), alerts.c.num_attempts < MAX_ATTEMPTS)
        .order_by(alerts.c.raised_at, alerts.c.alert_key)
    )
    with reading(engine) as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def record_attempt(engine: sa.Engine, alert_key: str, *, delivered_at: datetime | None) -> None:
    """Count an attempt to deliver, and whether it succeeded."""
    with engine.begin() as connection:
        connection.execute(
            sa.update(alerts)
            .where(alerts.c.alert_key == alert_key)
            .values(num_attempts=alerts.c.num_attempts + 1, delivered_at=delivered_at)
        )


def rejected_batches(engine: sa.Engine, line: str, night: date) -> list[Row]:
    """Batches of a night that failed as a whole."""
    query = sa.select(batches).where(batches.c.line == line, batches.c.night == night, batches.c.status == "rejected")
    with reading(engine) as connection:
        return [dict(row) for row in connection.execute(query.order_by(batches.c.batch_id)).mappings()]


def has_batch(engine: sa.Engine, line: str, night: date) -> bool:
    """Tell whether any batch of a night has been validated."""
    query = sa.select(batches.c.batch_key).where(batches.c.line == line, batches.c.night == night).limit(1)
    with reading(engine) as connection:
        return connection.scalar(query) is not None


def last_drift_report(engine: sa.Engine, line: str, *, until: date) -> Row | None:
    """What was found last on a line, up to a night."""
    query = (
        sa.select(drift_reports)
        .where(drift_reports.c.line == line, drift_reports.c.night <= until)
        .order_by(drift_reports.c.night.desc(), drift_reports.c.watched_at.desc())
        .limit(1)
    )
    with reading(engine) as connection:
        row = connection.execute(query).mappings().first()
    return dict(row) if row else None


def refusals_since(engine: sa.Engine, line: str, since: datetime) -> list[Row]:
    """Challengers of a line that the gate has refused after a moment."""
    query = (
        sa.select(promotions)
        .where(promotions.c.line == line, promotions.c.event == "refusal", promotions.c.decided_at > since)
        .order_by(promotions.c.promotion_id)
    )
    with reading(engine) as connection:
        return [dict(row) for row in connection.execute(query).mappings()]
