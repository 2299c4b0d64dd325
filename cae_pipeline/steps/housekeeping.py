"""Retention of maps, integrity of the tables, backup."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import structlog

from cae_pipeline.adapters.results import database, integrity
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

    Each is done whatever became of the others.

    Raises:
        CaeError: If the tables contradict themselves, or MLflow does not answer; all else is done then.
    """
    backup = _back_up(services, backup_count)
    removed = _remove_maps(services, map_retention_days)
    with services.read() as connection:
        problems = integrity.integrity_problems(connection)
    repaired, dead = _repair_aliases(services)
    log.info("house_kept", maps_removed=removed, backup=backup, problems=len(problems))
    if problems:
        raise CaeError(
            f"the results database has {len(problems)} problems: {'; '.join(problems[:10])}. "
            f"Compare with the backups in {services.workspace / 'backups'}."
        )
    if dead is not None:
        raise dead
    return Housekeeping(removed, backup, repaired)


def _repair_aliases(services: Services) -> tuple[tuple[str, ...], CaeError | None]:
    try:
        return tuple(repair_aliases(services)), None
    except CaeError as error:
        log.warning("aliases_not_repaired", problem=str(error))
        return (), error


def _remove_maps(services: Services, days: int) -> int:
    with services.read() as connection:
        flagged = integrity.flagged_maps(connection)
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
