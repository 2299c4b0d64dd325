"""A PostgreSQL server of one's own on loopback, for tests and benchmarks, from the system's package.

`python -m tests.postgresql` tells whether the server's programs are there.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

HOST, ROLE = "127.0.0.1", "cae"
DEBIAN_PROGRAMS = Path("/usr/lib/postgresql")
MISSING = (
    f"PostgreSQL is not installed: expected the program initdb in {DEBIAN_PROGRAMS}/*/bin or in PATH, found it in "
    "neither. The tests run on SQLite and on PostgreSQL; install it, on Debian with `apt install postgresql`."
)
UNSAFE_BUT_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
"""Settings of a server whose data nobody needs after a power cut."""


@dataclass(frozen=True)
class PostgresqlServer:
    """A running server; everybody on this machine is trusted as the role `cae`."""

    port: int

    def url(self, database: str) -> str:
        """SQLAlchemy's URL of a database."""
        return f"postgresql+psycopg://{ROLE}@{HOST}:{self.port}/{database}"

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Create a database as a copy of another one, to which nobody may be connected; returns its URL."""
        self._execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, and end the connections that processes of a failed test may have left."""
        self._execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        # CREATE and DROP DATABASE run outside of transactions
        with psycopg.connect(host=HOST, port=self.port, user=ROLE, dbname="postgres", autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def start_postgresql(*, settings: Sequence[str] = ()) -> Iterator[PostgresqlServer]:
    """Start a server with a data directory of its own; it is stopped and its data removed whatever happens.

    Args:
        settings: Of the server, such as `fsync=off`.

    Raises:
        FileNotFoundError: If PostgreSQL is not installed; says how to install it.
        RuntimeError: If the server does not start; says what it wrote.
    """
    programs = find_programs()
    folder = Path(tempfile.mkdtemp(prefix="cae-postgresql-"))
    data, log, port = folder / "data", folder / "log", _free_port()
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    # names are sorted by their bytes, as in SQLite, whatever the language of this machine
    initdb = ["initdb", "-D", str(data), "-U", ROLE, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
    options = [f"listen_addresses={HOST}", f"port={port}", f"unix_socket_directories={folder}", *settings]
    told = " ".join(f"-c {option}" for option in options)
    try:
        _run(programs, initdb, folder)
        _run(programs, ["pg_ctl", "start", "-w", "-D", str(data), "-l", str(log), "-o", told], folder)
        yield PostgresqlServer(port)
    finally:
        try:
            if (data / "postmaster.pid").exists():
                _run(programs, ["pg_ctl", "stop", "-w", "-D", str(data), "-m", "immediate"], folder)
        finally:
            shutil.rmtree(folder)


def find_programs() -> Path:
    """Find the folder of the server's programs; the newest version where there are several.

    Raises:
        FileNotFoundError: If PostgreSQL is not installed; says how to install it.
    """
    by_version = {
        tuple(int(part) for part in path.parts[-3].split(".")): path.parent
        for path in DEBIAN_PROGRAMS.glob("*/bin/initdb")
    }
    if by_version:
        return by_version[max(by_version)]
    in_path = shutil.which("initdb")
    if in_path is None:
        raise FileNotFoundError(MISSING)
    return Path(in_path).resolve().parent


def _run(programs: Path, command: Sequence[str], folder: Path) -> None:
    """Run one of the server's programs, as the user `postgres` where we are root, which it refuses to be."""
    user = "postgres" if os.geteuid() == 0 else None
    done = subprocess.run(
        [str(programs / command[0]), *command[1:]],
        cwd=folder,
        user=user,
        group=user,
        extra_groups=[] if user else None,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        log = folder / "log"
        written = log.read_text() if log.exists() else ""
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}{written}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    try:
        find_programs()
    except FileNotFoundError as error:
        sys.exit(str(error))
