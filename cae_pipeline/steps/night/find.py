"""Find the batches that a night is due to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from fnmatch import fnmatchcase

import structlog

from cae_pipeline.adapters.landing import has_news
from cae_pipeline.adapters.results import batches, images
from cae_pipeline.adapters.results.batches import DeliveryRow
from cae_pipeline.adapters.storage import digest_file
from cae_pipeline.domain.batch_dates import BatchNight, batch_night
from cae_pipeline.domain.line import Line
from cae_pipeline.errors import BatchNotReadyError, CaeError, NotFoundError, StorageError
from cae_pipeline.steps.night.each_line import LinesDone, for_each_line
from cae_pipeline.steps.night.portions import MAX_MAPPED_TASKS, share_out
from cae_pipeline.steps.services import Services

log = structlog.get_logger()

CLOCK_GRAIN = timedelta(milliseconds=100)
"""A system stamps files by a clock that moves in steps: what comes right after a look may be stamped before it."""
MAX_REMARKS = 20
"""Of one line; of a backlog of years nobody reads more."""
CLOSELY_WATCHED = timedelta(days=7)
"""For so long after its night every file of a finished batch is looked at for changes. Of older ones only the folder,
the manifest and the marker are: a night must not cost more the longer the history is."""


@dataclass(frozen=True)
class FoundBatches:
    """Batches of one line up to a night.

    Attributes:
        batch_ids: Ready and not finished, oldest first; those that were validated before come last.
        num_finished: Already there from earlier runs.
        not_ready: Still arriving; looked at again next time.
        remarks: What is odd about the dates of batches that are not finished, one sentence each.
        troubled: What is wrong with batches that cannot be looked at or whose manifest cannot be used.
        num_waiting: Ready as well, and left for the next run.
    """

    batch_ids: tuple[str, ...]
    num_finished: int
    not_ready: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    troubled: Mapping[str, str] = field(default_factory=dict)
    num_waiting: int = 0


def find_batches(line: Line, night: date, services: Services) -> FoundBatches:
    """Look for batches that were due up to a night and are not finished, late ones among them.

    Batches of normal images train the model and are left alone. A finished batch is only due again if there is
    something in its folder that it did not hold. Trouble with one batch never reaches another.
    """
    search = _Search(line, night, services)
    for batch_id in services.landing.batch_ids(line.name):
        if not is_normal_batch(line, batch_id):
            search.look_at(batch_id)
    search.keep_looked_at()
    due = tuple(batch_id for _, _, batch_id in sorted(search.due))
    found = FoundBatches(due, search.num_finished, tuple(search.not_ready), search.few_remarks(), search.troubled)
    for remark in found.remarks:
        log.warning("batch_date_is_odd", line=line.name, remark=remark)
    told = {"already_there": found.num_finished, "not_ready": found.not_ready}
    log.info("batches_found", line=line.name, night=str(night), due=due, **told)
    return found


def batches_of(line: Line, night: date, services: Services) -> list[str]:
    """Name the batches of a night whose folders are there, validated or not; images known to be normal are none."""
    named = []
    for batch_id in services.landing.batch_ids(line.name):
        try:
            if not is_normal_batch(line, batch_id) and _night_of(line, batch_id, services).night == night:
                named.append(batch_id)
        except (NotFoundError, StorageError) as error:
            log.warning("folder_not_looked_at", line=line.name, batch_id=batch_id, reason=str(error))
    return named


def find_lines(
    lines: Sequence[Line], night: date, services: Services, *, max_batches: int = MAX_MAPPED_TASKS
) -> LinesDone[FoundBatches]:
    """Look for batches of every line, and hand out a portion that one run can work off; see `find_batches`.

    Args:
        lines: All lines.
        night: Batches up to this date.
        services: The outside world.
        max_batches: Of all lines together. The others wait for the next run.
    """
    done = for_each_line(lines, lambda line: find_batches(line, night, services))
    shares = share_out({name: len(found.batch_ids) for name, found in done.results.items()}, max_batches)
    return replace(done, results={name: _portion(found, shares[name]) for name, found in done.results.items()})


def is_normal_batch(line: Line, batch_id: str) -> bool:
    """Tell whether somebody vouches for this batch's images as normal."""
    return any(fnmatchcase(batch_id, pattern) for pattern in line.training.normal_batches)


def _night_of(line: Line, batch_id: str, services: Services) -> BatchNight:
    arrived_at = services.landing.arrived_at(line.name, batch_id, now=services.clock())
    return batch_night(batch_id, arrived_at=arrived_at, calendar=services.calendar_of(line))


def _portion(found: FoundBatches, share: int) -> FoundBatches:
    return replace(found, batch_ids=found.batch_ids[:share], num_waiting=len(found.batch_ids) - share)


class _Search:
    """Looks at the batches of one line, one after the other."""

    def __init__(self, line: Line, night: date, services: Services) -> None:
        self.line, self.night, self.services = line, night, services
        self.ignored = line.validation.ignored_files
        self.started_at: datetime = services.clock()
        with services.read() as connection:
            self.settled = batches.settled_batches(connection, line.name)
            self.validated = {row.batch_id for row in batches.unfinished_deliveries(connection, line.name)}
        self.due: list[tuple[bool, date, str]] = []
        self.num_finished = 0
        self.not_ready: list[str] = []
        self.remarks: list[str] = []
        self.troubled: dict[str, str] = {}
        self.unchanged: list[str] = []

    def look_at(self, batch_id: str) -> None:
        """Sort one batch in."""
        settled = self.settled.get(batch_id)
        night = settled.night if settled else self.night
        is_late = batch_id in self.validated
        try:
            dated = _night_of(self.line, batch_id, self.services)
            night = dated.night
            if dated.due > self.night:
                return
            if settled and not self._has_news(settled):
                self.num_finished += 1
                return
            if dated.remark:
                self.remarks.append(f"{self.line.name}/{batch_id}: {dated.remark}.")
            self.services.landing.check_ready(self.line.name, batch_id, now=self.services.clock(), ignored=self.ignored)
        except BatchNotReadyError as reason:
            log.info("batch_not_ready", line=self.line.name, batch_id=batch_id, reason=str(reason))
            self.not_ready.append(batch_id)
            return
        except (NotFoundError, FileNotFoundError):
            log.warning("batch_gone", line=self.line.name, batch_id=batch_id)
            return
        except (CaeError, OSError) as problem:
            log.error("batch_in_trouble", line=self.line.name, batch_id=batch_id, reason=str(problem))  # noqa: TRY400
            self.troubled[batch_id] = str(problem)
            if settled and isinstance(problem, (StorageError, OSError)):
                return
            # its own task says what is wrong, and fails alone
            is_late = True
        self.due.append((is_late, night, batch_id))

    def few_remarks(self) -> tuple[str, ...]:
        """What is odd about the dates of batches, the first of them in full."""
        more = len(self.remarks) - MAX_REMARKS
        if more <= 0:
            return tuple(self.remarks)
        return (*self.remarks[:MAX_REMARKS], f"{self.line.name}: {more} more batches have an odd date.")

    def keep_looked_at(self) -> None:
        """Remember which folders were looked through and held nothing new, so that the next night need not."""
        if self.unchanged:
            with self.services.write() as work:
                batches.record_looked_at(work.connection, self.unchanged, self.started_at)
                work.commit()

    def _has_news(self, delivery: DeliveryRow) -> bool:
        landing, place = self.services.landing, (delivery.line, delivery.batch_id)
        is_close = self.night - delivery.night <= CLOSELY_WATCHED
        listed_at = delivery.listed_at - CLOCK_GRAIN
        if not is_close and not landing.may_have_changed(*place, listed_at):
            return False
        landed = landing.look(*place, now=self.services.clock(), ignored=self.ignored)
        since = listed_at.timestamp()
        if landed.changed_at < since:
            return False
        with self.services.read() as connection:
            held = images.held_files(connection, delivery.delivery_key)
        if has_news(landed, held, since=since, digest=digest_file):
            return True
        self.unchanged.append(delivery.delivery_key)
        return False
