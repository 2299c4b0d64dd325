"""Print rows as a table, CSV, JSON or Parquet, and results as one line of JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from cae_pipeline.cli.exports import Kinds, Row, as_text_file, write_csv, write_json, write_parquet
from cae_pipeline.cli.json_text import as_json
from cae_pipeline.errors import ConfigurationError
from cae_pipeline.steps.outputs import open_output, write_output

if TYPE_CHECKING:
    from rich.table import Table

UNLIMITED_WIDTH = 1_000_000
"""Characters in a line of a table that no terminal shows: nothing is wrapped or cut off."""


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def print_result(result: object) -> None:
    """Print one line of JSON that Airflow's tasks read; standard output holds nothing else."""
    print(as_json(result))


def print_rows(
    rows: Iterable[Row], *, how: Format, kinds: Kinds, columns: Sequence[str] = (), out: Path | None = None
) -> None:
    """Print rows, or write them to a file.

    Args:
        rows: What is printed, in this order; all formats but the table take them one by one.
        how: The format.
        kinds: Every column with what it holds: CSV, JSON and Parquet have all of these, with rows or without.
        columns: Those that a table shows; none means all.
        out: A file that is written instead; Parquet needs one.

    Raises:
        ConfigurationError: If the file cannot be written, or Parquet was asked for without a file.
    """
    if how is Format.TABLE:
        _print_table(list(rows), columns or list(kinds), out)
        return
    if out is None:
        if how is Format.PARQUET:
            raise ConfigurationError("--format parquet writes a binary file; expected --out FILE as well")
        (write_csv if how is Format.CSV else write_json)(rows, kinds, sys.stdout)
        return
    with open_output(out) as file:
        if how is Format.PARQUET:
            write_parquet(rows, kinds, file)
            return
        text = as_text_file(file)
        (write_csv if how is Format.CSV else write_json)(rows, kinds, text)
        # or closing it would close the file, which is closed where it was opened
        text.detach()


def _print_table(rows: Sequence[Row], columns: Sequence[str], out: Path | None) -> None:
    if rows and out is None and sys.stdout.isatty():
        from rich.console import Console

        Console().print(_table(rows, columns))
        return
    text = _plain_text(_table(rows, columns)) if rows else "nothing found\n"
    if out is None:
        sys.stdout.write(text)
    else:
        write_output(out, text)


def _table(rows: Sequence[Row], columns: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    # without edges and outer spaces: a pipe sees a head, a rule, and one line a row
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        cells = [row.get(column) for row in rows]
        table.add_column(Text(column), justify="right" if _is_numeric(cells) else "left", overflow="fold")
    for row in rows:
        # as Text, which takes no bracket for a style
        table.add_row(*(Text(_cell(row.get(column))) for column in columns))
    return table


def _plain_text(table: Table) -> str:
    import io

    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=UNLIMITED_WIDTH, force_terminal=False, color_system=None).print(table)
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def _is_numeric(cells: Sequence[object]) -> bool:
    given = [cell for cell in cells if cell is not None]
    return bool(given) and all(isinstance(cell, (int, float)) and not isinstance(cell, bool) for cell in given)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    # names of files come from outside: what would break a line or command a terminal is spelt out
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in str(value)
    )
