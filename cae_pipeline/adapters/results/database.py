"""Open the results database and bring its schema up to date."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from cae_pipeline.errors import ConfigurationError

HEAD = "0007"
"""The newest migration; a test holds it against the migrations folder."""
IDS_PER_QUERY = 500
"""Values that one question names at most: databases take some thousands, and plan worse with each."""
MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_SECONDS, RETRY_SECONDS = 60, 0.02
CONNECT_TIMEOUT_SECONDS = 10
"""How long a server may take to answer; without it a host that swallows packets would be waited for for minutes."""


def open_database(url: str) -> sa.Engine:
    """Connect, and create or migrate the schema where it is not the newest.

    Args:
        url: SQLAlchemy's, such as `sqlite:///workspace/results.db` or `postgresql+psycopg://…`.

    Raises:
        ConfigurationError: If the database was written by a newer version of this package.
    """
    engine = connect(url)
    if schema_version(engine) != HEAD:
        migrate(engine)
    return engine


def connect(url: str) -> sa.Engine:
    """Connect to a database as it is."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database and not parsed.database.startswith("file:"):
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    waits = parsed.drivername == "postgresql+psycopg" and "connect_timeout" not in parsed.query
    arguments = {"connect_timeout": CONNECT_TIMEOUT_SECONDS} if waits else {}
    engine = sa.create_engine(parsed, json_serializer=as_json, connect_args=arguments)
    if engine.dialect.name == "sqlite":
        _use_transactions(engine)
    else:
        _compile_nothing(engine)
    return engine


def as_json(value: object) -> str:
    """Write a JSON column.

    Raises:
        ValueError: If a number is NaN or infinite: SQLite would keep what is no JSON, PostgreSQL refuses it.
    """
    return json.dumps(value, allow_nan=False)


def schema_version(engine: sa.Engine) -> str | None:
    """Which migration the database stands at; None if it is empty."""
    with engine.connect().execution_options(reads_only=True) as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def migrate(engine: sa.Engine) -> None:
    """Run the migrations that are missing; two processes at once end as if one had run."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(7203771)"))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise ConfigurationError(
                f"the results database stands at another schema than this version knows ({HEAD!r}): {error}. "
                "Install the version that wrote it, or a newer one."
            ) from error


def insert(engine: sa.Engine, table: sa.Table) -> Any:
    """INSERT of the database at hand, which knows ON CONFLICT on both."""
    return postgresql.insert(table) if engine.dialect.name == "postgresql" else sqlite.insert(table)


def insert_new(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows whose key is not there yet; leave those that are."""
    if rows:
        connection.execute(insert(connection.engine, table).on_conflict_do_nothing(), list(rows))


def _use_transactions(engine: sa.Engine) -> None:
    """Make SQLite's transactions real: the driver's own begin too late for a read-then-write."""

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        # first: the next one may have to wait already
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000}")
        _write_ahead(connection)
        for pragma in ("foreign_keys = ON", "synchronous = NORMAL"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # a write lock from the start: two writers queue up instead of failing half-way
        reads_only = connection.get_execution_options().get("reads_only", False)
        connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


def _compile_nothing(engine: sa.Engine) -> None:
    """Switch PostgreSQL's compiler of queries off: it takes longer than all that a night asks, four times over."""

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET jit = off")
        # else a rollback would take the setting back
        connection.commit()


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch a database to write-ahead logging, which a new one does not have.

    SQLite does not wait, whatever its timeout, where two connections switch at the same time: one of them is told
    at once that the database is locked.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # what is not locked but read-only stays so
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(RETRY_SECONDS)
        else:
            return


def back_up(engine: sa.Engine, target: Path) -> bool:
    """Copy an SQLite database as of one moment; False for a server, which has backups of its own."""
    if engine.dialect.name != "sqlite":
        return False
    with engine.connect() as connection:
        source: Any = connection.connection.driver_connection
        with sqlite3.connect(target) as copy:
            source.backup(copy)
        copy.close()
    return True
