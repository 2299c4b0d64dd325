"""Change a champion's threshold; past scores are judged again without being worked out again."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import structlog

from cae_pipeline.adapters.results import ledger, model_versions, thresholds, verdicts
from cae_pipeline.adapters.results.model_versions import ModelVersion
from cae_pipeline.adapters.results.thresholds import FlaggedMap, ThresholdChange
from cae_pipeline.detector.regions import regions
from cae_pipeline.domain.line import Line
from cae_pipeline.domain.outcome import Region
from cae_pipeline.errors import ArtefactError, TooFewVerdictsError
from cae_pipeline.reporting import pictures
from cae_pipeline.statistics.conformal import (
    Scores,
    Threshold,
    fit_threshold,
    fit_to_cost,
    fit_to_f1,
    imply_threshold,
)
from cae_pipeline.steps.night.load import read_artefact
from cae_pipeline.steps.services import Services

log = structlog.get_logger()

MIN_DEFECTS = 10
"""Confirmed defects that a threshold by F1 or cost needs at least."""
REGIONS_PER_WRITE = 500


def set_threshold(line: Line, value: float, services: Services, *, note: str = "") -> ThresholdChange:
    """Put a threshold in force that a person has chosen.

    Raises:
        NoChampionError: If the line has no champion.
        ConfigurationError: If it is not a finite number above 0.
    """
    champion = _champion(line, services)
    threshold = imply_threshold(value, _normal_scores(champion, services), method="given")
    return change(champion, threshold, services, note=note)


def fit_to_rate(line: Line, services: Services, *, rate: float | None = None, note: str = "") -> ThresholdChange:
    """Fit the threshold for a rate of false alarms; None is the line's own.

    Raises:
        NoChampionError: If the line has no champion.
        TooFewNormalImagesError: If the held-out normal images cannot promise that rate; names the lowest they can.
    """
    champion = _champion(line, services)
    target = rate if rate is not None else line.target_false_alarm_rate
    threshold = fit_threshold(_normal_scores(champion, services), target_false_alarm_rate=target)
    return change(champion, threshold, services, note=note)


def fit_to_verdicts(
    line: Line,
    services: Services,
    *,
    costs: tuple[float, float] | None = None,
    defect_rate: float | None = None,
    note: str = "",
) -> ThresholdChange:
    """Fit the threshold to what people have said, against held-out normal images.

    False alarms do not stand for normal images here: they were looked at because they scored high.

    Args:
        costs: Of a missed defect and of a false alarm; None asks for the highest F1 instead.
        defect_rate: Share of defects to expect; None is that among confirmed defects and held-out normal images.

    Raises:
        NoChampionError: If the line has no champion.
        TooFewVerdictsError: If fewer than 10 defects are confirmed that the champion has scored.
    """
    with services.read() as connection:
        champion = ledger.champion_of(connection, line.name)
        defective = np.array(verdicts.reviewed_scores(connection, champion.model_version, "defect"))
    if len(defective) < MIN_DEFECTS:
        raise TooFewVerdictsError(line.name, received=len(defective), needed=MIN_DEFECTS)
    normal = _normal_scores(champion, services)
    share = defect_rate if defect_rate is not None else len(defective) / (len(defective) + len(normal))
    if costs is None:
        threshold = fit_to_f1(normal, defective, defect_rate=share)
    else:
        miss, false_alarm = costs
        threshold = fit_to_cost(normal, defective, defect_rate=share, miss_cost=miss, false_alarm_cost=false_alarm)
    rests_on = {
        "defect_rate": share,
        "costs": list(costs or ()),
        "detected": float((defective > threshold.value).mean()),
    }
    return change(champion, threshold, services, note=note, figures=rests_on)


def change(
    version: ModelVersion, threshold: Threshold, services: Services, *, note: str, figures: dict[str, Any] | None = None
) -> ThresholdChange:
    """Put a threshold in force, and find the regions of images that it flags anew."""
    with services.write() as work:
        done = thresholds.change_threshold(
            work.connection, version, threshold, services.stamp(note), figures=figures or {}
        )
        work.commit()
    _find_regions(done, services)
    log.info("threshold_changed", line=version.line, **asdict(done), method=threshold.method)
    return done


def _find_regions(done: ThresholdChange, services: Services) -> None:
    """Read them from the maps; a map that housekeeping has removed leaves its image without."""
    with services.read() as connection:
        version = model_versions.find_version(connection, done.model_version)
        flagged = thresholds.maps_without_regions(connection, version, below=done.before, limit=REGIONS_PER_WRITE)
        for maps in flagged:
            found = [(one, _regions(one, version, services)) for one in maps]
            with services.write() as work:
                thresholds.record_regions(work.connection, version.model_version, found)
                work.commit()


def _regions(flagged: FlaggedMap, version: ModelVersion, services: Services) -> tuple[Region, ...]:
    try:
        anomaly_map = pictures.decode_map(services.workspace / flagged.map_uri) * flagged.map_unit
    except (OSError, ArtefactError):
        return ()
    return regions(anomaly_map, threshold=version.threshold, delivered_px=flagged.delivered_px)


def _champion(line: Line, services: Services) -> ModelVersion:
    with services.read() as connection:
        return ledger.champion_of(connection, line.name)


def _normal_scores(version: ModelVersion, services: Services) -> Scores:
    return read_artefact(version, services).normal_scores
