"""Who is champion, and the ledger of everything that happened to champions and thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.database import insert_new, reading
from cae_pipeline.adapters.results.models import ModelVersion, find_version
from cae_pipeline.adapters.results.schema import champions, promotions
from cae_pipeline.domain.promotion import Decision
from cae_pipeline.errors import ConcurrentChangeError, NoChampionError, NotFoundError


class Event(StrEnum):
    """What a row of the ledger tells."""

    PROMOTION = "promotion"
    REFUSAL = "refusal"
    AWAITS_APPROVAL = "awaits_approval"
    ROLLBACK = "rollback"
    THRESHOLD = "threshold"


@dataclass(frozen=True)
class Stamp:
    """Who or what did it, when, for which run of Airflow, and why."""

    author: str
    at: datetime
    dag_run_id: str = ""
    note: str = ""


def champion_of(engine: sa.Engine, line: str, *, as_of: datetime | None = None) -> ModelVersion:
    """Look up who serves a line, now or at a moment of the past, with the threshold in force then.

    Raises:
        NoChampionError: If nobody does, or did.
    """
    if as_of is None:
        query = sa.select(champions.c.model_version).where(champions.c.line == line)
    else:
        query = (
            sa.select(promotions.c.to_version)
            .where(promotions.c.line == line, promotions.c.event.in_((Event.PROMOTION, Event.ROLLBACK)))
            .where(promotions.c.decided_at <= as_of)
            .order_by(promotions.c.promotion_id.desc())
            .limit(1)
        )
    with reading(engine) as connection:
        name = connection.scalar(query)
    if name is None:
        raise NoChampionError(line)
    return find_version(engine, name, as_of=as_of)


def all_champions(engine: sa.Engine) -> dict[str, str]:
    """Which model version serves each line."""
    with reading(engine) as connection:
        rows = connection.execute(sa.select(champions.c.line, champions.c.model_version).order_by(champions.c.line))
        return {row.line: row.model_version for row in rows}


def champion_or_none(engine: sa.Engine, line: str) -> ModelVersion | None:
    """Look up who serves a line, where it is all right that nobody does."""
    try:
        return champion_of(engine, line)
    except NoChampionError:
        return None


def record_decision(
    engine: sa.Engine, challenger: ModelVersion, champion: ModelVersion | None, decision: Decision, stamp: Stamp
) -> None:
    """Write a decision of the gate into the ledger and, if it was to promote, swap the champion.

    Args:
        champion: Who served when the decision was taken; another one by now stops the swap.

    Raises:
        ConcurrentChangeError: If somebody else promoted in between.
    """
    event = Event.REFUSAL
    if decision.promote:
        event = Event.AWAITS_APPROVAL if decision.awaits_approval else Event.PROMOTION
    with engine.begin() as connection:
        if event is Event.PROMOTION:
            _swap(connection, challenger, champion)
        write_event(
            connection, event, (champion, challenger), stamp, reasons=decision.reasons, figures=decision.figures
        )


def record_rollback(engine: sa.Engine, champion: ModelVersion, former: ModelVersion, stamp: Stamp) -> None:
    """Let a former champion serve again; raises as `record_decision`."""
    with engine.begin() as connection:
        _swap(connection, former, champion)
        write_event(connection, Event.ROLLBACK, (champion, former), stamp)


def former_champion(engine: sa.Engine, champion: ModelVersion) -> ModelVersion:
    """Look up who served before the champion came to serve last.

    Raises:
        NotFoundError: If nobody did.
    """
    query = (
        sa.select(promotions.c.from_version)
        .where(promotions.c.line == champion.line, promotions.c.to_version == champion.model_version)
        .where(promotions.c.event == Event.PROMOTION, promotions.c.from_version != "")
        .order_by(promotions.c.promotion_id.desc())
        .limit(1)
    )
    with reading(engine) as connection:
        name = connection.scalar(query)
    if name is None:
        raise NotFoundError(
            "former champion of line", champion.line, advice="Name one with --to; `cae versions` lists them."
        )
    return find_version(engine, name)


def last_event(engine: sa.Engine, line: str, event: Event) -> sa.RowMapping | None:
    """The newest row of one kind in a line's ledger."""
    query = (
        sa.select(promotions)
        .where(promotions.c.line == line, promotions.c.event == event)
        .order_by(promotions.c.promotion_id.desc())
    )
    with reading(engine) as connection:
        return connection.execute(query.limit(1)).mappings().first()


def write_event(
    connection: sa.Connection,
    event: Event,
    change: tuple[ModelVersion | None, ModelVersion],
    stamp: Stamp,
    **more: Any,
) -> None:
    """Add a row to the ledger.

    Args:
        change: From and to; the same model version twice where its threshold changed.
        more: Further columns, such as `reasons` and `figures`.
    """
    before, after = change
    row = {
        "line": after.line,
        "event": event,
        "from_version": before.model_version if before else "",
        "to_version": after.model_version,
        "from_threshold_id": before.threshold_id if before else None,
        "to_threshold_id": after.threshold_id,
        "author": stamp.author,
        "decided_at": stamp.at,
        "dag_run_id": stamp.dag_run_id,
        "note": stamp.note,
        "reasons": list(more.pop("reasons", ())),
        "figures": dict(more.pop("figures", {})),
        **more,
    }
    connection.execute(sa.insert(promotions), [row])


def _swap(connection: sa.Connection, successor: ModelVersion, champion: ModelVersion | None) -> None:
    now = {"model_version": successor.model_version, "threshold_id": successor.threshold_id}
    before = champion.model_version if champion else None
    if before is None:
        insert_new(connection, champions, [{"line": successor.line, **now}])
    else:
        connection.execute(
            sa.update(champions)
            .where(champions.c.line == successor.line, champions.c.model_version == before)
            .values(**now)
        )
    serving = connection.scalar(sa.select(champions.c.model_version).where(champions.c.line == successor.line))
    if serving != successor.model_version:
        raise ConcurrentChangeError(
            f"line {successor.line!r}: expected champion {before!r}, found {serving!r}; somebody promoted in between. "
            "Nothing was changed: compare with the new champion and try again."
        )
