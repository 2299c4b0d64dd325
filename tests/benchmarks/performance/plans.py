"""How a database goes about a question."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results.unit_of_work import reading
from tests.benchmarks.performance.questions import Question


def explain(engine: sa.Engine, question: Question, *, sequential_scans: bool = True) -> list[str]:
    """Ask a question, and have the database explain each of its statements.

    Args:
        engine: Of a filled database.
        question: What is asked.
        sequential_scans: Whether PostgreSQL may read a table from end to end where it has another way.

    Returns:
        The lines of all plans, in the order of the statements.
    """
    statements = _statements(engine, question)
    word = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
    with reading(engine) as connection:
        if engine.dialect.name == "postgresql" and not sequential_scans:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        return [
            str(row[-1])
            for statement, parameters in statements
            for row in connection.exec_driver_sql(f"{word} {statement}", parameters)
        ]


def _statements(engine: sa.Engine, question: Question) -> list[tuple[str, Any]]:
    """What a question says to the database, with its parameters."""
    statements: list[tuple[str, Any]] = []

    def listen(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if statement.lstrip().startswith(("SELECT", "WITH")):
            statements.append((statement, parameters))

    sa.event.listen(engine, "before_cursor_execute", listen)
    try:
        with reading(engine) as connection:
            question(connection)
    finally:
        sa.event.remove(engine, "before_cursor_execute", listen)
    return statements
