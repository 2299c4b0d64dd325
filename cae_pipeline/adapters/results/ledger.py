"""The ledger of everything that happened to champions and thresholds, and the changes of state it tells of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results import batches, model_versions
from cae_pipeline.adapters.results.model_versions import ModelVersion
from cae_pipeline.adapters.results.schema import ledger
from cae_pipeline.domain.promotion import Decision, Event, ModelState
from cae_pipeline.domain.stamp import Stamp
from cae_pipeline.errors import NoChampionError, NotFoundError


@dataclass(frozen=True)
class LedgerEntry:
    """One row of the ledger."""

    entry_id: int
    line: str
    event: Event
    from_version: str
    to_version: str
    from_threshold_id: int | None
    to_threshold_id: int | None
    decision_id: int | None
    reasons: tuple[str, ...]
    figures: Mapping[str, Any]
    author: str
    note: str
    dag_run_id: str
    decided_at: datetime


@dataclass(frozen=True)
class Change:
    """From what to what: the same model version twice where its threshold changed, None where nobody served."""

    before: ModelVersion | None
    after: ModelVersion


def champion_of(connection: sa.Connection, line: str, *, as_of: datetime | None = None) -> ModelVersion:
    """Look up who serves a line, now or at a moment of the past, with the threshold in force then.

    Raises:
        NoChampionError: If nobody does, or did.
    """
    if as_of is None:
        champion = model_versions.champion_or_none(connection, line)
        if champion is None:
            raise NoChampionError(line)
        return champion
    query = (
        sa.select(ledger.c.to_version)
        .where(ledger.c.line == line, ledger.c.event.in_((Event.PROMOTION, Event.ROLLBACK)))
        .where(ledger.c.decided_at <= as_of)
        .order_by(ledger.c.entry_id.desc())
        .limit(1)
    )
    name = connection.scalar(query)
    if name is None:
        raise NoChampionError(line)
    return model_versions.find_version(connection, name, as_of=as_of)


def record_decision(
    connection: sa.Connection, change: Change, decision: Decision, stamp: Stamp, *, decision_id: int | None = None
) -> None:
    """Write a decision of the gate into the ledger and move the states of those it is about.

    Args:
        connection: Of a unit of work.
        change: From the champion that the decision was taken against, to the challenger.
        decision: Of the gate.
        stamp: Who, when, why.
        decision_id: The entry that a person answers by this one, if it is an answer.

    Raises:
        ConcurrentChangeError: If somebody else promoted in between.
    """
    event, state = Event.REFUSAL, ModelState.REFUSED
    if decision.promote:
        event, state = Event.PROMOTION, ModelState.PROMOTED
        if decision.awaits_approval:
            event, state = Event.AWAITS_APPROVAL, ModelState.AWAITING
    if event is Event.PROMOTION:
        _swap(connection, change, ModelState.SUPERSEDED)
    elif change.before is None or change.before.model_version != change.after.model_version:
        model_versions.change_state(connection, change.after, state)
    reasons, figures = list(decision.reasons), dict(decision.figures)
    write_event(connection, event, change, stamp, reasons=reasons, figures=figures, decision_id=decision_id)


def record_rollback(connection: sa.Connection, change: Change, stamp: Stamp) -> None:
    """Let a former champion serve again; raises as `record_decision`."""
    _swap(connection, change, ModelState.ROLLED_BACK)
    write_event(connection, Event.ROLLBACK, change, stamp)


def former_champion(connection: sa.Connection, champion: ModelVersion) -> ModelVersion:
    """Look up who served before the champion came to serve last.

    Raises:
        NotFoundError: If nobody did.
    """
    query = (
        sa.select(ledger.c.from_version)
        .where(ledger.c.line == champion.line, ledger.c.to_version == champion.model_version)
        .where(ledger.c.event == Event.PROMOTION, ledger.c.from_version != "")
        .order_by(ledger.c.entry_id.desc())
        .limit(1)
    )
    name = connection.scalar(query)
    if name is None:
        raise NotFoundError(
            "former champion of line", champion.line, advice="Name one with --to; `cae versions` lists them."
        )
    return model_versions.find_version(connection, name)


def last_event(connection: sa.Connection, line: str, event: Event) -> LedgerEntry | None:
    """The newest entry of one kind in a line's ledger."""
    of_kind = sa.select(ledger).where(ledger.c.line == line, ledger.c.event == event)
    found = _entries(connection, of_kind.order_by(ledger.c.entry_id.desc()).limit(1))
    return found[0] if found else None


def refusals_since(connection: sa.Connection, line: str, since: datetime) -> list[LedgerEntry]:
    """Challengers of a line that the gate has refused after a moment."""
    refused = sa.select(ledger).where(ledger.c.line == line, ledger.c.event == Event.REFUSAL)
    return _entries(connection, refused.where(ledger.c.decided_at > since).order_by(ledger.c.entry_id))


def write_event(connection: sa.Connection, event: Event, change: Change, stamp: Stamp, **more: Any) -> None:
    """Add an entry to the ledger.

    Args:
        connection: Of a unit of work.
        event: What happened.
        change: To whom.
        stamp: Who, when, why.
        more: Further columns: `reasons`, `figures`, `decision_id`.
    """
    before, after = change.before, change.after
    row = {
        "line": after.line,
        "event": event,
        "from_version": before.model_version if before else "",
        "to_version": after.model_version,
        "from_threshold_id": before.threshold_id if before else None,
        "to_threshold_id": after.threshold_id,
        "author": stamp.author,
        "note": stamp.note,
        "dag_run_id": stamp.dag_run_id,
        "decided_at": stamp.at,
        "reasons": [],
        "figures": {},
        **more,
    }
    connection.execute(sa.insert(ledger), [row])


def _swap(connection: sa.Connection, change: Change, left_as: ModelState) -> None:
    """Let one version serve instead of another, and images that could not be judged wait for it."""
    if change.before is not None:
        model_versions.change_state(connection, change.before, left_as)
    model_versions.change_state(connection, change.after, ModelState.PROMOTED)
    batches.reopen_failed(connection, change.after.line)


def _entries(connection: sa.Connection, query: sa.Select[Any]) -> list[LedgerEntry]:
    return [
        LedgerEntry(**{**row, "event": Event(row["event"]), "reasons": tuple(row["reasons"])})
        for row in connection.execute(query).mappings()
    ]
