"""Retention of maps, integrity of the tables, backup."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import structlog

from cae_pipeline.adapters.results import database, queries
from cae_pipeline.adapters.storage import files_older_than
from cae_pipeline.errors import CaeError
from cae_pipeline.steps.life.promote import repair_aliases
from cae_pipeline.steps.services import Services

log = structlog.get_logger()


@dataclass(frozen=True)
class Housekeeping:
    """What was done."""

    num_maps_removed: int
    backup: str
    aliases_repaired: tuple[str, ...]


def keep_house(services: Services, *, map_retention_days: int, backup_count: int) -> Housekeeping:
    """Remove old maps of images that were not flagged, check the tables, back them up, mirror champions to MLflow.

    Raises:
        CaeError: If the tables contradict themselves; the backup is made before.
    """
    backup = _back_up(services, backup_count)
    removed = _remove_maps(services, map_retention_days)
    repaired = tuple(repair_aliases(services))
    problems = queries.integrity_problems(services.engine)
    log.info("house_kept", maps_removed=removed, backup=backup, problems=len(problems))
    if problems:
        raise CaeError(
            f"the results database has {len(problems)} problems: {'; '.join(problems[:10])}. "
            f"Compare with the backups in {services.workspace / 'backups'}."
        )
    return Housekeeping(removed, backup, repaired)


def _remove_maps(services: Services, days: int) -> int:
    flagged = queries.flagged_maps(services.engine)
    removed = 0
    for path in files_older_than(services.workspace / "maps", services.clock() - timedelta(days=days)):
        if str(path.relative_to(services.workspace)) not in flagged:
            path.unlink()
            removed += 1
    return removed


def _back_up(services: Services, keep: int) -> str:
    folder = services.workspace / "backups"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"results-{services.clock():%Y%m%dT%H%M%S}.db"
    if not database.back_up(services.engine, target):
        return "left to the database server"
    for old in sorted(folder.glob("results-*.db"))[:-keep]:
        old.unlink()
    return str(target.relative_to(services.workspace))
