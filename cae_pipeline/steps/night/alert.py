"""Find what people should be told of a night, and tell them once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import sqlalchemy as sa
import structlog

from cae_pipeline.adapters import webhook
from cae_pipeline.adapters.results import alerts, batches, drift_reports, ledger
from cae_pipeline.adapters.results.alerts import AlertRow
from cae_pipeline.adapters.results.queries import nights
from cae_pipeline.adapters.results.queries.paging import Page
from cae_pipeline.domain.alerts import Alert, AlertKind, flag_rate_jump
from cae_pipeline.domain.batch import DeliveryStatus
from cae_pipeline.domain.deadlines import missed_nights, told_hour
from cae_pipeline.domain.line import Line
from cae_pipeline.steps.night.each_line import LinesDone, for_each_line
from cae_pipeline.steps.night.find import batches_of
from cae_pipeline.steps.services import Services

log = structlog.get_logger()

REFUSALS_OF = timedelta(days=2)
REMINDED_AFTER = timedelta(days=7)
"""Of drift that goes on."""
ONE_DAY = timedelta(days=1)
LATE_FOR = timedelta(days=7)
"""So long after it was validated a batch is looked at whatever night it belongs to: it may have come late, or bear the
date of the next morning."""
NIGHTS_BEFORE = 14
"""Nights with images that say how many flags are usual."""
LOOKED_BACK = timedelta(days=60)
"""No further: the question comes every half hour, and a line's whole history is long."""


@dataclass(frozen=True)
class Alarm:
    """What was raised and told.

    Attributes:
        alerts: Every alert that was still to be delivered, as receivers are told it.
        new: Those of them that nobody was told before.
        num_delivered: How many of them somebody has received now.
        lines: What was found on each line, and which lines could not be looked at.
    """

    alerts: list[dict[str, str]]
    new: list[dict[str, str]]
    num_delivered: int
    lines: LinesDone[list[Alert]]


def raise_alerts(night: date, lines: Sequence[Line], services: Services) -> Alarm:
    """Raise what a night calls for and deliver what nobody has received yet.

    A dead receiver fails nothing, and a line that cannot be looked at keeps nobody from being told of the others.

    Without a webhook (CAE_WEBHOOK_URL) alerts count as delivered once they are returned, for Airflow's notifiers.
    """

    def look(line: Line) -> list[Alert]:
        # without keeping other writers waiting: an alert has the same key whoever finds it
        with services.read() as connection:
            return list(_alerts(line, night, services, connection))

    found = for_each_line(lines, look)
    raised = [alert for of_line in found.results.values() for alert in of_line]
    with services.write() as work:
        alerts.record_alerts(work.connection, raised, raised_at=services.clock())
        waiting = alerts.undelivered(work.connection)
        work.commit()
    delivered = sum(_deliver(row, services) for row in waiting)
    log.info("alerts_raised", night=str(night), waiting=len(waiting), delivered=delivered)
    new = [_body(row) for row in waiting if not row.num_attempts]
    return Alarm([_body(row) for row in waiting], new, delivered, found)


def _alerts(line: Line, night: date, services: Services, connection: sa.Connection) -> Iterator[Alert]:
    of_night = batches.deliveries_of_nights(connection, line.name, (night, night))
    came_late = batches.validated_since(connection, line.name, services.clock() - LATE_FOR, up_to=night + ONE_DAY)
    for delivery in {row.delivery_key: row for row in (*of_night, *came_late)}.values():
        if delivery.status is DeliveryStatus.REJECTED:
            told = (
                f"batch {delivery.batch_id} is rejected: {delivery.rejected_for}. Once the cause is mended, "
                f"`cae validate {line.name} {delivery.batch_id} --again` judges it anew."
            )
            yield Alert(AlertKind.BATCH_REJECTED, line.name, delivery.night, delivery.delivery_key, told)
    if drift := _drift(line, night, connection):
        yield drift
    for when in sorted({night, *(row.night for row in came_late)}):
        if jump := _jump(line, when, connection):
            yield Alert(AlertKind.FLAG_RATE_JUMP, line.name, when, "", jump)
    for refusal in ledger.refusals_since(connection, line.name, services.clock() - REFUSALS_OF):
        reasons = "; ".join(reason for reason in refusal.reasons if reason.startswith("REFUSED"))
        told = f"challenger {refusal.to_version} is refused: {reasons}"
        decided_on = services.calendar_of(line).date_of(refusal.decided_at)
        yield Alert(AlertKind.CHALLENGER_REFUSED, line.name, decided_on, str(refusal.entry_id), told)
    yield from _missing_batches(line, night, services, connection)


def _missing_batches(line: Line, night: date, services: Services, connection: sa.Connection) -> Iterator[Alert]:
    """Tell of nights whose hour has passed without a batch; a folder counts as soon as it is there."""
    calendar = services.calendar_of(line)
    now, plant = services.clock(), services.calendar
    for missed in missed_nights(night, line, calendar, now=now, installation=plant):
        if batches.deliveries_of_nights(connection, line.name, (missed, missed)) or batches_of(line, missed, services):
            continue
        told = f"no batch of {missed} has arrived by {told_hour(missed, line, calendar)}"
        yield Alert(AlertKind.NO_BATCH, line.name, missed, "", told)


def _drift(line: Line, night: date, connection: sa.Connection) -> Alert | None:
    """What a night's report found, unless it goes on for less than a week: whoever was told need not hear it daily."""
    found = drift_reports.last_drift_report(connection, line.name, until=night)
    if not found or found.night != night or found.diagnosis == "none":
        return None
    told = f"drift: {found.diagnosis}: {'; '.join(found.reasons)}"
    alert = Alert(AlertKind.DRIFT, line.name, night, found.diagnosis, told)
    before = drift_reports.last_drift_report(connection, line.name, until=night - timedelta(days=1))
    goes_on = before is not None and before.diagnosis == found.diagnosis
    lately = [replace(alert, night=night - timedelta(days=days)) for days in range(1, REMINDED_AFTER.days)]
    return None if goes_on and alerts.was_raised(connection, *lately) else alert


def _jump(line: Line, night: date, connection: sa.Connection) -> str | None:
    page = Page("-night", page_size=2 * LOOKED_BACK.days)
    rates = nights.list_daily_rates(connection, line.name, page, since=night - LOOKED_BACK)
    counted = {row.night: (row.num_flagged, row.num_scored) for row in rates if row.num_scored}
    before = [counts for when, counts in counted.items() if when < night][:NIGHTS_BEFORE]
    return flag_rate_jump(counted.get(night, (0, 0)), before)


def _deliver(row: AlertRow, services: Services) -> bool:
    problem = webhook.post(services.webhook_url, _body(row)) if services.webhook_url else None
    if problem:
        log.warning("alert_not_delivered", kind=row.kind, line=row.line, problem=problem)
    with services.write() as work:
        alerts.record_attempt(work.connection, row.alert_key, delivered_at=None if problem else services.clock())
        work.commit()
    return problem is None


def _body(row: AlertRow) -> dict[str, str]:
    # Slack, Mattermost and Teams show `text`
    text = f"cae-pipeline, line {row.line}: {row.message}"
    told = {"kind": row.kind, "line": row.line, "message": row.message, "alert_key": row.alert_key}
    return {**told, "night": str(row.night), "text": text}
