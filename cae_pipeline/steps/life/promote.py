"""Let a challenger through the gate, or not; bring a former champion back. The ledger says why."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from cae_pipeline.adapters import storage, tracking
from cae_pipeline.adapters.results import ledger, model_versions
from cae_pipeline.adapters.results.ledger import Change
from cae_pipeline.adapters.results.model_versions import ModelVersion
from cae_pipeline.domain.line import Line
from cae_pipeline.domain.promotion import Decision, Event, decide
from cae_pipeline.errors import CaeError
from cae_pipeline.reporting import night as report
from cae_pipeline.steps.life.gate import challenger_figures, champion_figures, collect_evaluation_set
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
    with services.read() as connection:
        challenger = model_versions.find_version(connection, model_version)
        champion = model_versions.champion_or_none(connection, line.name)
    if champion is not None and champion.model_version == challenger.model_version:
        return Decision(True, ("ok: it is the champion already",))
    scorer = load_model(challenger, services)
    evaluation = collect_evaluation_set(line, challenger, champion, scorer, services)
    decision = decide(
        challenger_figures(scorer, challenger, evaluation, services),
        champion_figures(champion, scorer, evaluation, services) if champion else None,
        line.gate,
        target_false_alarm_rate=line.target_false_alarm_rate,
    )
    change = Change(champion, challenger)
    with services.write() as work:
        ledger.record_decision(work.connection, change, decision, services.stamp())
        work.commit()
    word = "refused"
    if decision.promote:
        word = "awaits approval" if decision.awaits_approval else "promoted"
    _publish(change, decision, word, services)
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
    with services.write() as work:
        challenger = model_versions.find_version(work.connection, model_version)
        waiting = ledger.last_event(work.connection, line.name, Event.AWAITS_APPROVAL)
        champion = model_versions.champion_or_none(work.connection, line.name)
        if waiting is None or waiting.to_version != model_version:
            raise CaeError(
                f"model version {model_version!r} does not wait for approval on line {line.name!r}; the gate must have "
                f"let it through, and no other one after it. Ask the gate with `cae promote {line.name} "
                f"{model_version}`."
            )
        if waiting.from_version != (champion.model_version if champion else ""):
            raise CaeError(
                f"the gate held {model_version!r} against {waiting.from_version or 'nobody'}, but line {line.name!r} "
                f"is served by another champion now. Ask the gate again with `cae promote {line.name} {model_version}`."
            )
        decision = Decision(True, ("ok: approved by a person", *waiting.reasons), waiting.figures)
        change = Change(champion, challenger)
        stamp = services.stamp(note)
        ledger.record_decision(work.connection, change, decision, stamp, decision_id=waiting.entry_id)
        work.commit()
    _publish(change, decision, "promoted", services)
    log.info("challenger_approved", line=line.name, model_version=model_version, note=note)
    return challenger


def roll_back(line: Line, services: Services, *, to: str | None = None, note: str = "") -> ModelVersion:
    """Let a former champion serve again; scores that others have written stay.

    Images that the champion has failed on wait for the former one.

    Args:
        line: The product line.
        services: The outside world.
        to: A model version; None is the one that served before.
        note: Why.

    Raises:
        NoChampionError: If the line has no champion.
        NotFoundError: If there is nobody to go back to.
        ArtefactError: If the files of the former champion cannot be used.
        ConcurrentChangeError: If somebody else promoted in between.
    """
    with services.read() as connection:
        champion = ledger.champion_of(connection, line.name)
        former = model_versions.find_version(connection, to) if to else ledger.former_champion(connection, champion)
    if former.line != line.name:
        raise CaeError(f"model version {former.model_version!r} is of line {former.line!r}, expected {line.name!r}")
    if former.model_version == champion.model_version:
        raise CaeError(f"{former.model_version!r} serves line {line.name!r} already; name another one with --to")
    load_model(former, services)  # before anything is changed: a model that cannot be loaded cannot serve
    with services.write() as work:
        # the swap checks that both are still what they were when they were read
        ledger.record_rollback(work.connection, Change(champion, former), services.stamp(note))
        work.commit()
    mirror(former, {"decision": "rolled back to"}, services)
    log.info("rolled_back", line=line.name, model_version=former.model_version, instead_of=champion.model_version)
    return former


def mirror(champion: ModelVersion, tags: Mapping[str, str], services: Services) -> None:
    """Tell MLflow who is champion; if it does not answer, housekeeping will."""
    name, number = tracking.registered_name(champion.line), champion.version
    try:
        tracking.set_alias(services.tracking_uri, name, tracking.CHAMPION, number)
        tracking.tag_version(services.tracking_uri, name, number, tags)
    except CaeError as error:
        log.warning("mlflow_not_told", model_version=champion.model_version, problem=str(error))


def repair_aliases(services: Services) -> list[str]:
    """Point MLflow's aliases to the champions of the table where they point elsewhere; returns the lines repaired."""
    repaired = []
    with services.read() as connection:
        champions = model_versions.all_champions(connection)
    for line, model_version in champions.items():
        name, number = tracking.registered_name(line), int(model_version.rsplit("/", 1)[1])
        if tracking.alias_of(services.tracking_uri, name, tracking.CHAMPION) != number:
            tracking.set_alias(services.tracking_uri, name, tracking.CHAMPION, number)
            log.warning("alias_repaired", line=line, model_version=model_version)
            repaired.append(line)
    return repaired


def decision_page(model_version: str) -> str:
    """Where the page about a decision lies, relative to the workspace."""
    return f"reports/gate/{model_version.replace('/', '-v')}.html"


def _publish(change: Change, decision: Decision, word: str, services: Services) -> None:
    """Write the decision's page, and tell MLflow what the table says."""
    challenger = change.after
    page = {
        "challenger": challenger,
        "champion": change.before,
        "decision": decision,
        "word": word,
        "author": services.author,
    }
    html = report.render_decision(page, made_at=services.local_time())
    storage.write_atomically(services.workspace / decision_page(challenger.model_version), html.encode())
    tags = {"decision": word, "reasons": " | ".join(decision.reasons)[:5000]}
    if word == "promoted":
        mirror(challenger, tags, services)
    name = tracking.registered_name(challenger.line)
    try:
        tracking.tag_version(services.tracking_uri, name, challenger.version, tags)
        tracking.tag_run(services.tracking_uri, challenger.run_id, {"decision": word})
        tracking.log_page(services.tracking_uri, challenger.run_id, html, "gate.html")
    except CaeError as error:
        log.warning("mlflow_not_told", model_version=challenger.model_version, problem=str(error))
