"""Connect settings to the outside world; the only place that does."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TypeVar

from cae_pipeline.adapters.decoding import DecodeLimits
from cae_pipeline.adapters.results.database import open_database
from cae_pipeline.adapters.storage import LandingZone
from cae_pipeline.settings import Settings
from cae_pipeline.steps.services import Services

T = TypeVar("T")


def connect(settings: Settings) -> Services:
    """Open what the steps work with; creates the workspace and the tables where they are not there.

    Raises:
        ConfigurationError: If the results database cannot be used.
    """
    workspace = settings.path()
    workspace.mkdir(parents=True, exist_ok=True)
    return Services(
        landing=LandingZone(workspace / "landing", settings.settling_seconds),
        engine=open_database(settings.results_database),
        tracking_uri=settings.tracking,
        # a server keeps its artefacts where it was told to
        artifact_root=None if settings.tracking.startswith("http") else (workspace / "mlartifacts").as_uri(),
        workspace=workspace,
        limits=DecodeLimits(
            max_bytes=settings.max_bytes,
            max_pixels=settings.max_pixels,
            timeout_seconds=settings.decode_timeout_seconds,
            num_processes=settings.decode_processes,
        ),
        clock=lambda: datetime.now(UTC),
        progress=show_progress,
        author=settings.author,
        dag_run_id=settings.dag_run_id,
        runtime=settings.runtime,
        webhook_url=settings.webhook_url,
    )


def show_progress(items: Iterable[T], *, total: int, doing: str) -> Iterator[T]:
    """Show a bar in a terminal; elsewhere only hand the items through."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, description=doing, total=total, console=Console(stderr=True), transient=True)
