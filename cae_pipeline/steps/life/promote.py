"""Let a challenger through the gate, or not; bring a former champion back. The ledger says why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from cae_pipeline.adapters import storage, tracking
from cae_pipeline.adapters.results import ledger, models
from cae_pipeline.adapters.results.ledger import Event
from cae_pipeline.adapters.results.models import ModelVersion
from cae_pipeline.domain.line import Line
from cae_pipeline.domain.promotion import Decision, decide
from cae_pipeline.errors import CaeError
from cae_pipeline.reporting import night as report
from cae_pipeline.steps.life.gate import challenger_figures, champion_figures, set_exam
from cae_pipeline.steps.night.load import load_model
from cae_pipeline.steps.services import Services

log = structlog.get_logger()


def promote_challenger(line: Line, model_version: str, services: Services) -> Decision:
    """Hold a challenger against the champion on images that neither was trained on.

    Raises:
        NotFoundError: If there is no such model version.
        ArtefactError: If its files are not those that were registered.
        ConcurrentChangeError: If somebody else promoted in between.
    """
    challenger = models.find_version(services.engine, model_version)
    champion = ledger.champion_or_none(services.engine, line.name)
    if champion is not None and champion.model_version == challenger.model_version:
        return Decision(True, ("ok: it is the champion already",))
    scorer = load_model(challenger, services)
    exam = set_exam(line, challenger, champion, scorer, services)
    decision = decide(
        challenger_figures(scorer, challenger, exam, services),
        champion_figures(champion, scorer, exam, services) if champion else None,
        line.gate,
        target_false_alarm_rate=line.target_false_alarm_rate,
    )
    ledger.record_decision(services.engine, challenger, champion, decision, services.stamp())
    word = "refused"
    if decision.promote:
        word = "awaits approval" if decision.awaits_approval else "promoted"
    _publish(challenger, champion, decision, word, services)
    log.info(
        "gate_decided",
        decision=word,
        line=line.name,
        model_version=model_version,
        champion=champion.model_version if champion else None,
        reasons=decision.reasons,
    )
    return decision


def approve_challenger(line: Line, model_version: str, services: Services, *, note: str = "") -> ModelVersion:
    """Let a challenger serve that the gate let through and a person had to agree to.

    Raises:
        CaeError: If the gate has not let it through, or has decided about another one since.
        ConcurrentChangeError: If somebody else promoted in between.
    """
    challenger = models.find_version(services.engine, model_version)
    waiting = ledger.last_event(services.engine, line.name, Event.AWAITS_APPROVAL)
    champion = ledger.champion_or_none(services.engine, line.name)
    if waiting is None or waiting["to_version"] != model_version:
        raise CaeError(
            f"model version {model_version!r} does not wait for approval on line {line.name!r}; the gate must have let "
            f"it through, and no other one after it. Ask the gate with `cae promote {line.name} {model_version}`."
        )
    decided_against = waiting["from_version"]
    if decided_against != (champion.model_version if champion else ""):
        raise CaeError(
            f"the gate held {model_version!r} against {decided_against or 'nobody'}, but line {line.name!r} is served "
            f"by another champion now. Ask the gate again with `cae promote {line.name} {model_version}`."
        )
    decision = Decision(True, ("ok: approved by a person", *waiting["reasons"]), waiting["figures"])
    ledger.record_decision(services.engine, challenger, champion, decision, services.stamp(note))
    _publish(challenger, champion, decision, "promoted", services)
    log.info("challenger_approved", line=line.name, model_version=model_version, note=note)
    return challenger


def roll_back(line: Line, services: Services, *, to: str | None = None, note: str = "") -> ModelVersion:
    """Let a former champion serve again; scores that others have written stay.

    Args:
        to: A model version; None is the one that served before.

    Raises:
        NoChampionError: If the line has no champion.
        NotFoundError: If there is nobody to go back to.
        ArtefactError: If the files of the former champion cannot be used.
        ConcurrentChangeError: If somebody else promoted in between.
    """
    champion = ledger.champion_of(services.engine, line.name)
    former = models.find_version(services.engine, to) if to else ledger.former_champion(services.engine, champion)
    if former.line != line.name:
        raise CaeError(f"model version {former.model_version!r} is of line {former.line!r}, expected {line.name!r}")
    if former.model_version == champion.model_version:
        raise CaeError(f"{former.model_version!r} serves line {line.name!r} already; name another one with --to")
    load_model(former, services)  # before anything is changed: a model that cannot be loaded cannot serve
    ledger.record_rollback(services.engine, champion, former, services.stamp(note))
    mirror(former, {"decision": "rolled back to"}, services)
    log.info("rolled_back", line=line.name, model_version=former.model_version, instead_of=champion.model_version)
    return former


def mirror(champion: ModelVersion, tags: Mapping[str, str], services: Services) -> None:
    """Tell MLflow who is champion; if it does not answer, housekeeping will."""
    name, number = tracking.registered_name(champion.line), int(champion.model_version.rsplit("/", 1)[1])
    try:
        tracking.set_alias(services.tracking_uri, name, tracking.CHAMPION, number)
        tracking.tag_version(services.tracking_uri, name, number, tags)
    except CaeError as error:
        log.warning("mlflow_not_told", model_version=champion.model_version, problem=str(error))


def repair_aliases(services: Services) -> list[str]:
    """Point MLflow's aliases to the champions of the table where they point elsewhere; returns the lines repaired."""
    repaired = []
    for line, model_version in ledger.all_champions(services.engine).items():
        name, number = tracking.registered_name(line), int(model_version.rsplit("/", 1)[1])
        if tracking.alias_of(services.tracking_uri, name, tracking.CHAMPION) != number:
            tracking.set_alias(services.tracking_uri, name, tracking.CHAMPION, number)
            log.warning("alias_repaired", line=line, model_version=model_version)
            repaired.append(line)
    return repaired


def decision_page(model_version: str) -> str:
    """Where the page about a decision lies, relative to the workspace."""
    return f"reports/gate/{model_version.replace('/', '-v')}.html"


def _publish(
    challenger: ModelVersion, champion: ModelVersion | None, decision: Decision, word: str, services: Services
) -> None:
    """Write the decision's page, and tell MLflow what the table says."""
    page: dict[str, Any] = {
        "challenger": challenger,
        "champion": champion,
        "decision": decision,
        "word": word,
        "author": services.author,
    }
    html = report.render_decision(page, made_at=services.clock())
    storage.write_atomically(services.workspace / decision_page(challenger.model_version), html.encode())
    tags = {"decision": word, "reasons": " | ".join(decision.reasons)[:5000]}
    if word == "promoted":
        mirror(challenger, tags, services)
    name, number = tracking.registered_name(challenger.line), int(challenger.model_version.rsplit("/", 1)[1])
    try:
        tracking.tag_version(services.tracking_uri, name, number, tags)
        tracking.tag_run(services.tracking_uri, challenger.run_id, {"decision": word})
        tracking.log_page(services.tracking_uri, challenger.run_id, html, "gate.html")
    except CaeError as error:
        log.warning("mlflow_not_told", model_version=challenger.model_version, problem=str(error))
