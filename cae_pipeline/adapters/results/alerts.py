"""Alerts: each is raised once, and kept until somebody has received it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import sqlalchemy as sa

from cae_pipeline.adapters.results.database import insert_new
from cae_pipeline.adapters.results.schema import alerts
from cae_pipeline.domain.alerts import Alert

MAX_ATTEMPTS = 50
"""After so many the alert stays in the table, but nobody is told any more."""


@dataclass(frozen=True)
class AlertRow:
    """One alert, and how often somebody tried to deliver it."""

    alert_key: str
    kind: str
    line: str
    night: date
    message: str
    raised_at: datetime
    delivered_at: datetime | None
    num_attempts: int


def record_alerts(connection: sa.Connection, raised: Sequence[Alert], *, raised_at: datetime) -> None:
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
    insert_new(connection, alerts, rows)


def was_raised(connection: sa.Connection, *raised: Alert) -> bool:
    """Tell whether any of some alerts is known already."""
    keys = [alert.alert_key for alert in raised]
    return connection.scalar(sa.select(alerts.c.alert_key).where(alerts.c.alert_key.in_(keys)).limit(1)) is not None


def undelivered(connection: sa.Connection) -> list[AlertRow]:
    """Alerts that nobody has received, oldest first."""
    query = (
        sa.select(alerts)
        .where(alerts.c.delivered_at.is_(None), alerts.c.num_attempts < MAX_ATTEMPTS)
        .order_by(alerts.c.raised_at, alerts.c.alert_key)
    )
    return [AlertRow(**row) for row in connection.execute(query).mappings()]


def record_attempt(connection: sa.Connection, alert_key: str, *, delivered_at: datetime | None) -> None:
    """Count an attempt to deliver, and whether it succeeded; what was delivered stays so."""
    connection.execute(
        sa.update(alerts)
        .where(alerts.c.alert_key == alert_key)
        .values(
            num_attempts=alerts.c.num_attempts + 1,
            delivered_at=sa.func.coalesce(
                alerts.c.delivered_at, sa.bindparam("moment", delivered_at, alerts.c.delivered_at.type)
            ),
        )
    )
