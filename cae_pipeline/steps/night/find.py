"""Find the batches that a night is due to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fnmatch import fnmatchcase

import structlog

from cae_pipeline.adapters.results import batches
from cae_pipeline.adapters.results.batches import DeliveryRow
from cae_pipeline.domain.batch_dates import BatchNight, batch_night
from cae_pipeline.domain.line import Line
from cae_pipeline.errors import BatchNotReadyError, StorageError
from cae_pipeline.steps.night.each_line import LinesDone, for_each_line
from cae_pipeline.steps.services import Services

log = structlog.get_logger()

MAX_REMARKS = 20
"""Of one line; of a backlog of years nobody reads more."""
CLOSELY_WATCHED = timedelta(days=7)
"""For so long after its night every file of a finished batch is looked at for changes. Of older ones only the folder,
the manifest and the marker are: a night must not cost more the longer the history is."""


@dataclass(frozen=True)
class FoundBatches:
    """Batches of one line up to a night.

    Attributes:
        batch_ids: Ready and not finished.
        num_finished: Already there from earlier runs.
        not_ready: Still arriving; looked at again next time.
        remarks: What is odd about the dates of batches that are not finished, one sentence each.
    """

    batch_ids: tuple[str, ...]
    num_finished: int
    not_ready: tuple[str, ...]
    remarks: tuple[str, ...] = ()


def find_batches(line: Line, night: date, services: Services) -> FoundBatches:
    """Look for batches that were due up to a night and are not finished, late ones among them.

    Batches of normal images train the model and are left alone. A finished batch is only looked
    at again if something in its folder was written since it was listed.
    """
    with services.read() as connection:
        settled = batches.settled_batches(connection, line.name)
    due, finished, waiting, remarks = [], 0, [], []
    for batch_id in services.landing.batch_ids(line.name):
        if is_normal_batch(line, batch_id):
            continue
        dated = _night_of(line, batch_id, services)
        if dated.due > night:
            continue
        if batch_id in settled and not _has_changed(settled[batch_id], night, services):
            finished += 1
            continue
        if dated.remark:
            remarks.append(f"{line.name}/{batch_id}: {dated.remark}.")
        try:
            services.landing.check_ready(line.name, batch_id, now=services.clock())
            due.append(batch_id)
        except BatchNotReadyError as reason:
            log.info("batch_not_ready", line=line.name, batch_id=batch_id, reason=str(reason))
            waiting.append(batch_id)
    if len(remarks) > MAX_REMARKS:
        remarks[MAX_REMARKS:] = [f"{line.name}: {len(remarks) - MAX_REMARKS} more batches have an odd date."]
    for remark in remarks:
        log.warning("batch_date_is_odd", line=line.name, remark=remark)
    found = FoundBatches(tuple(due), finished, tuple(waiting), tuple(remarks))
    log.info("batches_found", line=line.name, night=str(night), due=due, already_there=finished, not_ready=waiting)
    return found


def batches_of(line: Line, night: date, services: Services) -> list[str]:
    """Name the batches of a night whose folders are there, validated or not; images known to be normal are none."""
    named = []
    for batch_id in services.landing.batch_ids(line.name):
        try:
            if not is_normal_batch(line, batch_id) and _night_of(line, batch_id, services).night == night:
                named.append(batch_id)
        except StorageError as error:
            log.warning("folder_not_looked_at", line=line.name, batch_id=batch_id, reason=str(error))
    return named


def find_lines(lines: Sequence[Line], night: date, services: Services) -> LinesDone[FoundBatches]:
    """Look for batches of every line; see `find_batches`."""
    return for_each_line(lines, lambda line: find_batches(line, night, services))


def is_normal_batch(line: Line, batch_id: str) -> bool:
    """Tell whether somebody vouches for this batch's images as normal."""
    return any(fnmatchcase(batch_id, pattern) for pattern in line.training.normal_batches)


def _night_of(line: Line, batch_id: str, services: Services) -> BatchNight:
    arrived_at = services.landing.arrived_at(line.name, batch_id, now=services.clock())
    return batch_night(batch_id, arrived_at=arrived_at, calendar=services.calendar_of(line))


def _has_changed(delivery: DeliveryRow, night: date, services: Services) -> bool:
    closely = night - delivery.night <= CLOSELY_WATCHED
    last_change = services.landing.last_change(delivery.line, delivery.batch_id, every_file=closely)
    return last_change >= delivery.listed_at
