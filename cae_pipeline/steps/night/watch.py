"""Compare a line's night with what its champion was trained on, and ask for a training where that is called for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta

import numpy as np
import structlog
from numpy.typing import NDArray

from cae_pipeline.adapters.results import (
    drift_reports,
    images,
    judgements,
    ledger,
    model_versions,
    reports,
    verdicts,
)
from cae_pipeline.domain.facts import WATCHED_FACTS
from cae_pipeline.domain.line import Line
from cae_pipeline.domain.outcome import AcceptedImage
from cae_pipeline.statistics.drift import DriftReport, Measures, Reference, diagnose
from cae_pipeline.steps.night.each_line import LinesDone, for_each_line
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


@dataclass(frozen=True)
class WatchedLine:
    """What has moved on one line, the first reason for saying so, and the training that is asked for, if any."""

    diagnosis: str
    reason: str
    retraining: Retraining | None


def watch_lines(lines: Sequence[Line], night: date, services: Services) -> LinesDone[WatchedLine]:
    """Say of every line what has moved in a night; a line without a champion has nothing to be compared with."""

    def watch(line: Line) -> WatchedLine:
        report = watch_drift(line, night, services)
        return WatchedLine(report.diagnosis, report.reasons[0], ask_for_retraining(line, report, services))

    return for_each_line(lines, watch)


def watch_drift(line: Line, night: date, services: Services) -> DriftReport:
    """Say what has moved in a night; the report is kept.

    Raises:
        NoChampionError: If there is nothing to compare with.
        ArtefactError: If the champion's files are not those that were registered.
    """
    with services.read() as connection:
        champion = ledger.champion_of(connection, line.name)
        trained_on = [row.image for row in model_versions.snapshot_images(connection, champion.model_version)]
        # what the night's report will tell of: what came late is in it
        keys = [row.delivery_key for row in reports.deliveries_told_by(connection, line.name, night)]
        usual = images.usual_images(connection, keys)
        judged = judgements.scores_of(connection, keys, champion.model_version)
    artefact = read_artefact(champion, services)
    normal = Measures(facts_as_arrays(trained_on), artefact.normal_latents, artefact.normal_scores)
    latents = [np.frombuffer(row.latent, "<f2") for row in judged if row.latent is not None]
    tonight = Measures(
        facts_as_arrays(usual),
        np.array(latents, np.float32).reshape(-1, artefact.normal_latents.shape[1]),
        np.array([row.score for row in judged], np.float64),
    )
    report = diagnose(Reference(normal, artefact.nuisance_directions, champion.threshold), tonight)
    with services.write() as work:
        drift_reports.record_drift(
            work.connection, line.name, night, champion.model_version, report, watched_at=services.clock()
        )
        work.commit()
    told = {"num_images": report.num_images, "diagnosis": report.diagnosis, "reason": report.reasons[0]}
    log.info("drift_watched", line=line.name, night=str(night), **told)
    return report


def ask_for_retraining(line: Line, report: DriftReport, services: Services) -> Retraining | None:
    """Ask for a training if the night's diagnosis or new verdicts call for it, unless the line is cooling down.

    What is asked for is kept; it promotes nobody, the gate does.
    """
    policy = line.retraining
    with services.write() as work:
        since = drift_reports.last_training(work.connection, line.name)
        if since is not None and services.clock() - since < timedelta(days=policy.cool_down_days):
            return None
        champion = ledger.champion_of(work.connection, line.name)
        num_reviewed = verdicts.count_reviewed_since(work.connection, line.name, champion.registered_at)
        if report.diagnosis != "none" and report.diagnosis in policy.on_drift:
            wanted = Retraining(line.name, "drift", f"{report.diagnosis}: {report.reasons[0]}", policy.mode)
        elif 0 < policy.min_verdicts <= num_reviewed:
            told = f"{num_reviewed} images were judged since {champion.model_version} was registered"
            wanted = Retraining(line.name, "verdicts", told, policy.mode)
        else:
            return None
        drift_reports.record_request(
            work.connection, line.name, trigger=wanted.trigger, reason=wanted.reason, stamp=services.stamp()
        )
        work.commit()
    log.info("retraining_asked_for", **asdict(wanted))
    return wanted


def facts_as_arrays(images: Sequence[AcceptedImage]) -> dict[str, NDArray[np.float64]]:
    """Facts of images, NaN where an earlier version of this program did not measure one."""
    return {
        name: np.array([getattr(image.facts, name) for image in images], dtype=np.float64) for name in WATCHED_FACTS
    }
