"""What every step works with; made once, in `wiring.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar

import sqlalchemy as sa

from cae_pipeline.adapters.decoding import DecodeLimits
from cae_pipeline.adapters.results.unit_of_work import UnitOfWork, reading, unit_of_work
from cae_pipeline.adapters.storage import LandingZone
from cae_pipeline.detector import Runtime
from cae_pipeline.domain.calendar import Calendar, calendar_of, find_zone
from cae_pipeline.domain.line import Line
from cae_pipeline.domain.outcome import AcceptedImage
from cae_pipeline.domain.stamp import Stamp

T = TypeVar("T")


class Progress(Protocol):
    """Shows how far a loop is: a bar in a terminal, nothing elsewhere."""

    def __call__(self, items: Iterable[T], *, total: int, doing: str) -> Iterator[T]:
        """Hand the items through, one by one."""
        ...


@dataclass(frozen=True)
class Services:
    """The outside world of the steps.

    Attributes:
        workspace: Where maps, reports, models and backups are written.
        clock: Tells the time, aware and in UTC.
        author: Who ledger rows, verdicts and releases are signed by.
        dag_run_id: Airflow's run that this process works for; empty if a person does.
        runtime: What runs the networks.
        webhook_url: Where alerts are posted; empty for nowhere.
        time_zone: The plant's, an IANA name; a line may have another one.
    """

    landing: LandingZone
    engine: sa.Engine
    tracking_uri: str
    artifact_root: str | None
    workspace: Path
    limits: DecodeLimits
    clock: Callable[[], datetime]
    progress: Progress
    author: str
    dag_run_id: str
    runtime: Runtime = "auto"
    webhook_url: str = ""
    time_zone: str = "UTC"

    @property
    def calendar(self) -> Calendar:
        """The calendar that schedules, reports and pages follow."""
        return Calendar(find_zone(self.time_zone, where="CAE_TIME_ZONE"))

    def calendar_of(self, line: Line) -> Calendar:
        """The calendar that a line's batches and deadlines follow."""
        return calendar_of(line, time_zone=self.time_zone)

    def local_time(self) -> datetime:
        """The time on the wall of the plant, aware: for what people read. Rows take `clock`."""
        return self.clock().astimezone(self.calendar.zone)

    def read(self) -> AbstractContextManager[sa.Connection]:
        """Connect to the results database for reading only."""
        return reading(self.engine)

    def write(self) -> AbstractContextManager[UnitOfWork]:
        """Open a unit of work; nothing of it is kept unless its `commit` is called."""
        return unit_of_work(self.engine)

    def stamp(self, note: str = "") -> Stamp:
        """Sign a row of the ledger."""
        return Stamp(self.author, self.clock(), self.dag_run_id, note)

    def model_folder(self, sha256: str) -> Path:
        """Where a model's files are kept for scoring."""
        return self.workspace / "models" / sha256[:32]

    def map_path(self, image: AcceptedImage, model_version: str) -> Path:
        """Where the anomaly map of one image and model lies, relative to the workspace."""
        number = model_version.rsplit("/", 1)[-1]
        return Path("maps") / image.line / image.delivery_key / f"{image.image_id[:32]}-v{number}.png"
