"""One transaction of a step: what it reads and writes is kept together, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa


@dataclass(frozen=True)
class UnitOfWork:
    """An open transaction; nothing of it is kept unless `commit` is called.

    Attributes:
        connection: What the modules of this package read and write through.
    """

    connection: sa.Connection
    _transaction: sa.RootTransaction

    def commit(self) -> None:
        """Keep everything that was written; nothing can be written afterwards."""
        self._transaction.commit()


@contextmanager
def unit_of_work(engine: sa.Engine) -> Iterator[UnitOfWork]:
    """Open a transaction for a step that writes.

    On SQLite it waits for the writer before it, so that what is read stays true until it is written. On PostgreSQL a
    module that decides from what it reads locks the row it decides about.

    Example::

        with unit_of_work(engine) as work:
            verdicts.append(work.connection, said)
            work.commit()
    """
    with engine.connect() as connection, connection.begin() as transaction:
        yield UnitOfWork(connection, transaction)
        if transaction.is_active:
            transaction.rollback()


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Connect for reading only: one consistent picture; on SQLite it waits for nobody."""
    with engine.connect().execution_options(reads_only=True) as connection:
        yield connection
