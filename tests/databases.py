"""Fixtures that let a test run on SQLite and on PostgreSQL, each time with a database of its own.

Whatever uses `database_kind`, directly or through another fixture, runs once on each database; the mark
`sqlite_only("why")` keeps a test to SQLite.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from cae_pipeline.adapters.results import database
from cae_pipeline.adapters.results.schema import metadata
from tests.postgresql import UNSAFE_BUT_FAST, PostgresqlServer, find_programs, start_postgresql

KINDS = ("sqlite", "postgresql")
EMPTY, MIGRATED = "template1", "migrated"
"""What a test's PostgreSQL database may be a copy of: nothing, and the tables; `make_template` makes more."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that uses a database once on each kind."""
    if "database_kind" not in metafunc.fixturenames:
        return
    mark = metafunc.definition.get_closest_marker("sqlite_only")
    if mark and not mark.args:
        pytest.fail(f"{metafunc.definition.nodeid}: expected sqlite_only to say why, received no reason")
    # the session's scope keeps what is trained on one database until all tests of that database have run
    metafunc.parametrize("database_kind", KINDS[:1] if mark else KINDS, indirect=True, scope="session")


@pytest.fixture(scope="session")
def database_kind(request: pytest.FixtureRequest) -> str:
    """`sqlite` or `postgresql`."""
    kind: str = request.param
    return kind


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """A PostgreSQL server, started when the first test asks for it; without PostgreSQL that test fails."""
    try:
        find_programs()
    except FileNotFoundError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    with start_postgresql(settings=UNSAFE_BUT_FAST) as server:
        yield server


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql_server: PostgresqlServer) -> PostgresqlServer:
    """The server with a database whose tables are those of the newest migration."""
    from cae_pipeline.adapters.results.database import open_database

    open_database(postgresql_server.create_database(MIGRATED)).dispose()
    return postgresql_server


@pytest.fixture
def copy_postgresql(migrated_postgresql: PostgresqlServer) -> Iterator[Callable[[str], str]]:
    """Copy a database of the server for one test; returns its URL. The copies are removed after the test."""
    names: list[str] = []

    def copy(template: str) -> str:
        name = f"test_{next(_NUMBERS)}"
        url = migrated_postgresql.create_database(name, template=template)
        names.append(name)
        return url

    with _engines_disposed():
        yield copy
    for name in names:
        migrated_postgresql.drop_database(name)


@pytest.fixture
def results_url(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """URL of a results database with the newest tables, or of a SQLite file that gets them when it is opened."""
    if database_kind == "sqlite":
        return f"sqlite:///{tmp_path / 'results.db'}"
    url: str = request.getfixturevalue("copy_postgresql")(MIGRATED)
    return url


@pytest.fixture
def new_database_url(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """URL of a database without any table."""
    if database_kind == "sqlite":
        return f"sqlite:///{tmp_path / 'new.db'}"
    url: str = request.getfixturevalue("copy_postgresql")(EMPTY)
    return url


@pytest.fixture
def use_copy(
    database_kind: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Callable[[str, Path | None], None]:
    """Let the environment name a copy of a PostgreSQL database, by its name there.

    One that does not exist yet is made from the rows of a SQLite file. On SQLite nothing is to be done: the workspace
    holds its own file.
    """

    def use(template: str, original: Path | None) -> None:
        if database_kind == "postgresql":
            if original is not None:
                request.getfixturevalue("make_template")(template, original)
            monkeypatch.setenv("CAE_RESULTS_URL", request.getfixturevalue("copy_postgresql")(template))

    return use


@pytest.fixture(scope="session")
def make_template(migrated_postgresql: PostgresqlServer) -> Iterator[Callable[[str, Path], None]]:
    """Create a PostgreSQL database under a name with the rows of a SQLite file, if it is not there yet."""
    names: list[str] = []

    def make(name: str, original: Path) -> None:
        if name not in names:
            url = migrated_postgresql.create_database(name, template=MIGRATED)
            names.append(name)
            _copy_rows(f"sqlite:///{original}", url)

    yield make
    for name in names:
        migrated_postgresql.drop_database(name)


def _copy_rows(source_url: str, target_url: str) -> None:
    """Copy every row of every table, and let the numbers that the target gives go on after them."""
    source, target = database.connect(source_url), database.connect(target_url)
    with source.connect() as reading, target.begin() as writing:
        for table in metadata.sorted_tables:
            rows = [dict(row) for row in reading.execute(sa.select(table)).mappings()]
            if rows:
                writing.execute(sa.insert(table), rows)
            for column in table.primary_key.columns:
                if column.autoincrement is True:
                    last = max((row[column.name] for row in rows), default=0)
                    sequence = sa.func.pg_get_serial_sequence(table.name, column.name)
                    writing.execute(sa.select(sa.func.setval(sequence, last + 1, False)))
    source.dispose()
    target.dispose()


@contextmanager
def _engines_disposed() -> Iterator[None]:
    """Close, at the end, the connections of every engine that was used meanwhile, whoever made it."""
    engines: set[sa.Engine] = set()

    def remember(connection: sa.Connection) -> None:
        engines.add(connection.engine)

    sa.event.listen(sa.Engine, "engine_connect", remember)
    try:
        yield
    finally:
        sa.event.remove(sa.Engine, "engine_connect", remember)
        for engine in engines:
            engine.dispose()


_NUMBERS = itertools.count(1)
