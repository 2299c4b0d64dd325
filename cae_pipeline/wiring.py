"""Connect settings to the outside world; the only place that does."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TypeVar

import sqlalchemy as sa

from cae_pipeline.adapters.decoding import DecodeLimits
from cae_pipeline.adapters.results.database import open_database
from cae_pipeline.adapters.storage import LandingZone
from cae_pipeline.errors import ConfigurationError, DatabaseSilentError
from cae_pipeline.settings import Settings
from cae_pipeline.steps.services import Services

T = TypeVar("T")

BACKENDS = ("sqlite", "postgresql")
"""Kinds of database that the tables are made for."""


def connect(settings: Settings) -> Services:
    """Open what the steps work with; creates the workspace and the tables where they are not there.

    Raises:
        ConfigurationError: If the workspace or the results database cannot be used.
        DatabaseSilentError: If the results database does not answer.
    """
    workspace = settings.path()
    try:
        workspace.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"CAE_WORKSPACE: expected a folder that can be written, received {workspace}: {error.strerror}"
        ) from error
    return Services(
        landing=LandingZone(workspace / "landing", settings.settling_seconds),
        engine=_open_database(settings.results_database),
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
        time_zone=settings.time_zone,
    )


def _open_database(url: str) -> sa.Engine:
    """Open the results database; says in our own words what cannot be used, and never a password."""
    shown = _without_password(url)
    try:
        if sa.make_url(url).get_backend_name() not in BACKENDS:
            raise sa.exc.ArgumentError("a database that the migrations do not know")
        return open_database(url)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"CAE_RESULTS_URL: the driver {error.name!r} for {shown} is not installed. "
            "For PostgreSQL run `pip install cae-pipeline[postgres]` and begin the URL with postgresql+psycopg://"
        ) from error
    except OSError as error:
        raise ConfigurationError(f"CAE_RESULTS_URL: {shown} cannot be opened: {error.strerror}") from error
    except sa.exc.DBAPIError as error:
        told = f"CAE_RESULTS_URL: the results database {shown} cannot be used: {error.orig}"
        may_pass = isinstance(error, sa.exc.OperationalError) and not _is_wrong_for_good(str(error.orig))
        raise (DatabaseSilentError if may_pass else ConfigurationError)(told) from error
    except (sa.exc.SQLAlchemyError, ValueError) as error:
        raise ConfigurationError(
            "CAE_RESULTS_URL: expected an SQLAlchemy URL such as sqlite:////folder/results.db or "
            f"postgresql+psycopg://user:password@host/database, received {shown!r}"
        ) from error


def _is_wrong_for_good(problem: str) -> bool:
    """Whether no second try helps, by the words of SQLite and PostgreSQL, which give one class to all of these."""
    return any(words in problem for words in ("readonly", "read-only", "unable to open database file", "invalid port"))


def _without_password(url: str) -> str:
    try:
        return sa.make_url(url).set(query={}).render_as_string(hide_password=True)
    except (sa.exc.ArgumentError, ValueError):
        # what cannot be read may hold a password anywhere before the host or among the options
        return re.sub(r"^.*@", "***@", url).partition("?")[0]


def show_progress(items: Iterable[T], *, total: int, doing: str) -> Iterator[T]:
    """Show a bar in a terminal; elsewhere only hand the items through."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, description=doing, total=total, console=Console(stderr=True), transient=True)
