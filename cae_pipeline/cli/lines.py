"""The product lines file."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from cae_pipeline.cli.shared import Format, FormatOption, open_services, print_result, print_rows
from cae_pipeline.errors import ConfigurationError

lines_app = typer.Typer(no_args_is_help=True, help="The product lines file.")


def add_to(app: typer.Typer) -> None:
    """Give the commands to the application."""
    app.add_typer(lines_app, name="lines", rich_help_panel="Setting up")


@lines_app.command("check")
def check(how: FormatOption = Format.TABLE) -> None:
    """Check the product lines file and list its lines."""
    from cae_pipeline.settings import read_lines, read_settings

    lines = read_lines(read_settings().lines_path)
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
    print_rows(rows, how=how, columns=list(rows[0]) if rows else [])


@lines_app.command("status")
def status(how: FormatOption = Format.TABLE) -> None:
    """Say of each line who serves it, and how many images wait for a score."""
    from cae_pipeline.adapters.results import batches, ledger
    from cae_pipeline.settings import read_lines
    from cae_pipeline.steps.night.find import is_normal_batch

    settings, services = open_services()
    champions = ledger.all_champions(services.engine)
    rows = []
    for line in read_lines(settings.lines_path).values():
        waiting = [
            row
            for row in batches.unfinished_batches(services.engine, line.name)
            if not is_normal_batch(line, row["batch_id"])
        ]
        rows.append(
            {
                "line": line.name,
                "state": "served" if line.name in champions else "waits for a champion",
                "champion": champions.get(line.name, ""),
                "batches_waiting": len(waiting),
                "images_waiting": sum(row["num_images"] - row["num_quarantined"] for row in waiting),
            }
        )
    print_rows(rows, how=how, columns=list(rows[0]) if rows else [])


@lines_app.command("names")
def names() -> None:
    """Print the names of all lines, for Airflow."""
    from cae_pipeline.settings import read_lines, read_settings

    print_result({"lines": sorted(read_lines(read_settings().lines_path))})


@lines_app.command("schema")
def schema() -> None:
    """Print the file's JSON schema, for editors."""
    from cae_pipeline.settings import lines_schema

    print(lines_schema(), end="")


@lines_app.command("init")
def init(
    path: Annotated[Path | None, typer.Argument(help="Without: where CAE_LINES_FILE or the workspace says.")] = None,
) -> None:
    """Write a commented example to start from."""
    from cae_pipeline.settings import read_settings

    target = path or read_settings().lines_path
    if target.exists():
        raise ConfigurationError(f"{target} is there already; it is left as it is.")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(
        files("cae_pipeline").joinpath("lines.example.toml").read_text(encoding="utf-8"), encoding="utf-8"
    )
    print(f"written: {target}")
