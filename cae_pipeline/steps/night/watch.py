"""Compare a line's night with what its champion was trained on, and ask for a training where that is called for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta

import numpy as np
import sqlalchemy as sa
import structlog
from numpy.typing import NDArray

from cae_pipeline.adapters.results import batches, ledger, retrainings, scored, verdicts
from cae_pipeline.adapters.results import images as image_rows
from cae_pipeline.domain.facts import WATCHED_FACTS
from cae_pipeline.domain.line import Line
from cae_pipeline.statistics.drift import DriftReport, Measures, Reference, diagnose
from cae_pipeline.steps.night.load import read_artefact
from cae_pipeline.steps.services import Services

log = structlog.get_logger()


@dataclass(frozen=True)
class Retraining:
    """A training that is asked for: `line`, what asked (drift or verdicts), why, and full or refresh."""

    line: str
    trigger: str
    reason: str
    mode: str


def watch_drift(line: Line, night: date, services: Services) -> DriftReport:
    """Say what has moved in a night; the report is kept.

    Raises:
        NoChampionError: If there is nothing to compare with.
        ArtefactError: If the champion's files are not those that were registered.
    """
    champion = ledger.champion_of(services.engine, line.name)
    artefact = read_artefact(champion, services)
    trained_on = image_rows.snapshot_images(services.engine, champion.model_version)
    normal = Measures(facts_as_arrays(trained_on), artefact.normal_codes, artefact.normal_scores)
    keys = batches.batches_of_nights(services.engine, line.name, (night, night))
    judged = scored.scores_of_night(services.engine, line.name, night, champion.model_version)
    codes = [np.frombuffer(row["code"], "<f2") for row in judged if row["code"] is not None]
    tonight = Measures(
        facts_as_arrays(image_rows.accepted_images(services.engine, keys)),
        np.array(codes, np.float32).reshape(-1, artefact.normal_codes.shape[1]),
        np.array([row["score"] for row in judged], np.float64),
    )
    report = diagnose(Reference(normal, artefact.movements, champion.threshold), tonight)
    scored.record_drift(
        services.engine,
        {
            "line": line.name,
            "night": night,
            "model_version": champion.model_version,
            "num_images": report.num_images,
            "shifts": [asdict(shift) for shift in report.shifts],
            "has_drifted": report.diagnosis != "none",
            "watched_at": services.clock(),
            "diagnosis": report.diagnosis,
            "reasons": list(report.reasons),
        },
    )
    log.info(
        "drift_watched",
        line=line.name,
        night=str(night),
        num_images=report.num_images,
        diagnosis=report.diagnosis,
        reason=report.reasons[0],
    )
    return report


def ask_for_retraining(line: Line, report: DriftReport, services: Services) -> Retraining | None:
    """Ask for a training if the night's diagnosis or new verdicts call for it, unless the line is cooling down.

    What is asked for is kept; it promotes nobody, the gate does.
    """
    engine, policy = services.engine, line.retraining
    champion = ledger.champion_of(engine, line.name)
    since = retrainings.last_training(engine, line.name)
    if since is not None and services.clock() - since < timedelta(days=policy.cool_down_days):
        return None
    num_verdicts = verdicts.count_verdicts_since(engine, line.name, champion.registered_at)
    if report.diagnosis != "none" and report.diagnosis in policy.on_drift:
        wanted = Retraining(line.name, "drift", f"{report.diagnosis}: {report.reasons[0]}", policy.mode)
    elif 0 < policy.min_verdicts <= num_verdicts:
        told = f"{num_verdicts} images were judged since {champion.model_version} was registered"
        wanted = Retraining(line.name, "verdicts", told, policy.mode)
    else:
        return None
    retrainings.record_request(engine, line.name, trigger=wanted.trigger, reason=wanted.reason, stamp=services.stamp())
    log.info("retraining_asked_for", **asdict(wanted))
    return wanted


def facts_as_arrays(rows: Sequence[sa.RowMapping]) -> dict[str, NDArray[np.float64]]:
    """Facts of images, NaN where an earlier version of this program did not measure one."""
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in WATCHED_FACTS}
