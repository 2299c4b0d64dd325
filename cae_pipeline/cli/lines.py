"""The product lines file."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cae_pipeline.cli.exports import Kinds, kinds_of
from cae_pipeline.cli.printing import Format, print_result, print_rows
from cae_pipeline.cli.shared import FormatOption, OutOption, open_services

if TYPE_CHECKING:
    from cae_pipeline.domain.line import Line

LINE_KINDS: Kinds = {
    "line": str,
    "description": str,
    "image": str,
    "latent_size": int,
    "target_false_alarm_rate": float,
    "normal_batches": str,
}

lines_app = typer.Typer(no_args_is_help=True, help="The product lines file.")


def add_to(app: typer.Typer) -> None:
    """Give the commands to the application."""
    app.add_typer(lines_app, name="lines", rich_help_panel="Setting up")


@lines_app.command("check")
def check(how: FormatOption = Format.TABLE, out: OutOption = None) -> None:
    """Check the product lines file and list its lines."""
    from cae_pipeline.lines_file import read_lines
    from cae_pipeline.settings import read_settings

    settings = read_settings()
    lines = read_lines(settings.lines_path)
    rows = [
        {
            "line": line.name,
            "description": line.description,
            "image": f"{line.model.height_px}×{line.model.width_px}×{line.model.channels}",
            "latent_size": line.model.latent_size,
            "target_false_alarm_rate": line.target_false_alarm_rate,
            "normal_batches": ", ".join(line.training.normal_batches),
        }
        for line in lines.values()
    ]
    print_rows(rows, how=how, kinds=LINE_KINDS, out=out)
    _name_unclaimed(settings.path("landing"), lines.values())


@lines_app.command("status")
def status(how: FormatOption = Format.TABLE, out: OutOption = None) -> None:
    """Say of each line who serves it, and how many images wait for a score."""
    from cae_pipeline.lines_file import read_lines
    from cae_pipeline.steps.life.serving import LineState, line_states

    settings, services = open_services()
    lines = read_lines(settings.lines_path).values()
    states = line_states(lines, services)
    print_rows([asdict(state) for state in states], how=how, kinds=kinds_of(LineState), out=out)
    _name_unclaimed(services.landing.folder, lines)


def _name_unclaimed(landing: Path, lines: Iterable[Line]) -> None:
    """Say on standard error what lies in the landing zone and belongs to no line."""
    from cae_pipeline.steps.night.unclaimed import find_unclaimed

    for one in find_unclaimed(landing, list(lines)):
        print(f"cae: {one}", file=sys.stderr)


@lines_app.command("names")
def names() -> None:
    """Print the names of all lines, for Airflow."""
    from cae_pipeline.lines_file import read_lines
    from cae_pipeline.settings import read_settings

    print_result({"lines": sorted(read_lines(read_settings().lines_path))})


@lines_app.command("schema")
def schema() -> None:
    """Print the file's JSON schema, for editors."""
    from cae_pipeline.lines_file import lines_schema

    print(lines_schema(), end="")


@lines_app.command("init")
def init(
    path: Annotated[Path | None, typer.Argument(help="Without: where CAE_LINES_FILE or the workspace says.")] = None,
) -> None:
    """Write a commented example to start from."""
    from cae_pipeline.settings import read_settings
    from cae_pipeline.steps.offline.example import write_example

    target = path or read_settings().lines_path
    write_example(target)
    print(f"written: {target}")
