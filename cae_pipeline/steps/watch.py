"""Compare a line's night with what its champion was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date

import numpy as np
import sqlalchemy as sa
import structlog
from numpy.typing import NDArray

from cae_pipeline.adapters.results import batches, ledger, models, scored
from cae_pipeline.adapters.results import images as image_rows
from cae_pipeline.core.drift import DriftReport, compare
from cae_pipeline.core.line import Line
from cae_pipeline.steps.services import Services

log = structlog.get_logger()

FACTS = ("brightness", "contrast", "sharpness", "entropy")


def watch_drift(line: Line, night: date, services: Services) -> DriftReport:
    """Say which facts of a night's accepted images have moved; the report is kept.

    Raises:
        NoChampionError: If there is nothing to compare with.
    """
    champion = ledger.champion_of(services.engine, line.name)
    members = models.snapshot_members(services.engine, champion.model_version)
    trained_on = image_rows.accepted_images(services.engine, sorted({key for key, _ in members}))
    then = _facts([row for row in trained_on if (row["batch_key"], row["name"]) in members])
    tonight = batches.batches_of_nights(services.engine, line.name, (night, night))
    report = compare(then, _facts(image_rows.accepted_images(services.engine, tonight)))
    scored.record_drift(
        services.engine,
        {
            "line": line.name,
            "night": night,
            "model_version": champion.model_version,
            "num_images": report.num_images,
            "shifts": [asdict(shift) for shift in report.shifts],
            "has_drifted": bool(report.moved),
            "watched_at": services.clock(),
        },
    )
    log.info("drift_watched", line=line.name, night=str(night), num_images=report.num_images, moved=report.moved)
    return report


def _facts(rows: Sequence[sa.RowMapping]) -> dict[str, NDArray[np.float64]]:
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in FACTS}
