"""What several commands need: the outside world, and ways to print rows."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cae_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from cae_pipeline.domain.line import Line
    from cae_pipeline.settings import Settings
    from cae_pipeline.steps.services import Services


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


FormatOption = Annotated[Format, typer.Option("--format", "-f", help="How to print.")]
OutOption = Annotated[Path | None, typer.Option("--out", "-o", help="Write to this file instead of printing.")]
SortOption = Annotated[str, typer.Option("--sort", help="Column to sort by; a minus before it turns the order around.")]
PageOption = Annotated[int, typer.Option("--page", min=1, help="Which page.")]
PageSizeOption = Annotated[int, typer.Option("--page-size", min=1, help="Rows on a page.")]
LineOption = Annotated[str | None, typer.Option("--line", "-l", help="Only this line.")]
SeedOption = Annotated[int | None, typer.Option("--seed", min=0, help="Instead of the line's.")]
EpochsOption = Annotated[int | None, typer.Option("--epochs", min=1, help="Instead of the preset's.")]
PresetOption = Annotated[
    str | None, typer.Option("--preset", help="quick, normal or thorough, instead of the line's.", metavar="PRESET")
]
EffortOption = Annotated[str | None, typer.Option("--effort", hidden=True, help="The old name of --preset.")]
RuntimeOption = Annotated[
    str | None,
    typer.Option("--runtime", help="onnx, openvino, keras or auto, instead of CAE_RUNTIME.", metavar="RUNTIME"),
]
LineArgument = Annotated[str, typer.Argument(metavar="LINE", help="A line of lines.toml.")]


def open_services() -> tuple[Settings, Services]:
    """Read the environment and connect."""
    from cae_pipeline.settings import read_settings
    from cae_pipeline.wiring import connect

    settings = read_settings()
    return settings, connect(settings)


def open_line(name: str, *, runtime: str | None = None) -> tuple[Line, Settings, Services]:
    """Read the environment and the line, and connect; `runtime` instead of the environment's, if it is given."""
    from cae_pipeline.settings import find_line, read_lines, read_settings
    from cae_pipeline.wiring import connect

    settings = read_settings(**({"runtime": runtime} if runtime else {}))
    line = find_line(read_lines(settings.lines_path), name)
    return line, settings, connect(settings)


def with_training(line: Line, *, seed: int | None = None, epochs: int | None = None, preset: str | None = None) -> Line:
    """Put what was said on the command line in place of the line's own knobs.

    Raises:
        ConfigurationError: If there is no such preset.
    """
    from cae_pipeline.domain.line import PRESETS

    if preset is not None and preset not in PRESETS:
        raise ConfigurationError(f"--preset is {preset!r}; expected one of {', '.join(PRESETS)}")
    said = {"seed": seed, "epochs": epochs, "preset": preset}
    given: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    return replace(line, training=replace(line.training, **given))


def preset_of(preset: str | None, effort: str | None) -> str | None:
    """Read `--preset`, or `--effort` as it was called before, with a warning.

    Raises:
        ConfigurationError: If both are given.
    """
    from cae_pipeline.settings import warn_of_old_name

    if effort is None:
        return preset
    if preset is not None:
        raise ConfigurationError("received both --preset and --effort, expected --preset alone: that is its name now")
    warn_of_old_name("--effort", "--preset", where="command line")
    return effort


def as_date(text: str) -> date:
    """Read `2026-01-31`, or a time of that day."""
    try:
        return datetime.fromisoformat(text).date()
    except ValueError as error:
        raise typer.BadParameter(f"expected a date like 2026-01-31, received {text!r}") from error


def as_moment(text: str) -> datetime:
    """Read a date or time; without a zone it is UTC, a date alone is its end."""
    moment = datetime.combine(as_date(text), datetime.max.time()) if len(text) == 10 else datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def print_result(result: object) -> None:
    """Print one JSON line that Airflow's tasks read; standard output holds nothing else."""
    print(json.dumps(result, default=str))


def print_rows(rows: Sequence[dict[str, Any]], *, how: Format, columns: Sequence[str], out: Path | None = None) -> None:
    """Print rows, or write them to a file.

    Args:
        columns: What a table shows; the other formats hold every column.
    """
    if how is Format.PARQUET:
        _write_parquet(rows, out)
        return
    if how is Format.TABLE:
        text = _table(rows, columns)
    elif how is Format.JSON:
        text = json.dumps(list(rows), default=str, indent=2) + "\n"
    else:
        text = _csv(rows, columns)
    if out:
        out.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


def _csv(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    import io

    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {key: json.dumps(value) if isinstance(value, (dict, list)) else value for key, value in row.items()}
        for row in rows
    )
    return text.getvalue()


def _table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    if not rows:
        return "nothing found\n"
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in [list(columns), *cells]) for i in range(len(columns))]
    numeric = [all(isinstance(row.get(column), (int, float)) for row in rows) for column in columns]
    lines = [list(columns), ["─" * width for width in widths], *cells]
    return "".join(
        "  ".join(
            text.rjust(w) if right else text.ljust(w) for text, w, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        + "\n"
        for line in lines
    )


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return str(value)


def _write_parquet(rows: Sequence[dict[str, Any]], out: Path | None) -> None:
    import pandas as pd

    if out is None:
        raise ConfigurationError("--format parquet writes a binary file; expected --out FILE as well")
    table = pd.DataFrame(
        [{k: json.dumps(v) if isinstance(v, (dict, list)) else v for k, v in row.items()} for row in rows]
    )
    table.to_parquet(out, index=False)
