"""Print rows as a table, CSV, JSON or Parquet, and results as one line of JSON."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cae_pipeline.errors import ConfigurationError
from cae_pipeline.steps.outputs import write_output

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

Row = Mapping[str, Any]

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


def print_rows(rows: Sequence[Row], *, how: Format, columns: Sequence[str], out: Path | None = None) -> None:
    """Print rows, or write them to a file.

    Args:
        rows: What is printed, in this order.
        how: The format.
        columns: What a table shows, and what every format has where there are no rows; with rows, the other formats
            hold every column.
        out: A file that is written instead; Parquet needs one.

    Raises:
        ConfigurationError: If the file cannot be written, or Parquet was asked for without a file.
    """
    if how is Format.PARQUET:
        if out is None:
            raise ConfigurationError("--format parquet writes a binary file; expected --out FILE as well")
        write_output(out, _frame(rows, columns).to_parquet(index=False))
        return
    if how is Format.TABLE and rows and out is None and sys.stdout.isatty():
        from rich.console import Console

        Console().print(_table(rows, columns))
        return
    if how is Format.TABLE:
        text = _plain_text(_table(rows, columns)) if rows else "nothing found\n"
    elif how is Format.JSON:
        text = as_json(list(rows), indent=2) + "\n"
    else:
        text = _frame(rows, columns).to_csv(index=False, lineterminator="\n")
    if out is None:
        sys.stdout.write(text)
    else:
        write_output(out, text)


def as_json(value: object, *, indent: int | None = None) -> str:
    """Write a value as JSON: times and paths as text, NaN and infinity as null, because JSON has no word for them."""
    return json.dumps(_without_nan(value), default=str, indent=indent, allow_nan=False)


def _without_nan(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return value


def _frame(rows: Sequence[Row], columns: Sequence[str]) -> pd.DataFrame:
    """Put rows into a data frame whose cells stay what they are: no integer becomes a float beside a missing one."""
    import pandas as pd

    if not rows:
        return pd.DataFrame(columns=list(columns), dtype=object)
    flat = [
        {name: as_json(cell) if isinstance(cell, (dict, list, tuple)) else cell for name, cell in row.items()}
        for row in rows
    ]
    return pd.DataFrame(flat, dtype=object)


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
