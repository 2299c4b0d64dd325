"""Verdicts: what people are asked, what they say, and its exchange with Label Studio."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cae_pipeline.cli.shared import (
    Format,
    FormatOption,
    LineArgument,
    OutOption,
    open_line,
    open_services,
    print_result,
    print_rows,
)

verdicts_app = typer.Typer(no_args_is_help=True, help="Exchange verdicts with Label Studio.")


def add_to(app: typer.Typer) -> None:
    """Give the commands to the application."""
    for command in (verdict, queue):
        app.command(rich_help_panel="Review")(command)
    app.add_typer(verdicts_app, name="verdicts", rich_help_panel="Review")


def verdict(
    image_id: Annotated[str, typer.Argument(metavar="IMAGE", help="Its id, or the first digits of it.")],
    word: Annotated[str, typer.Argument(metavar="defect|normal|unsure")],
    note: Annotated[str, typer.Option(help="Why.")] = "",
) -> None:
    """Say what an image really is; earlier verdicts stay."""
    from cae_pipeline.domain.verdict import WORDS
    from cae_pipeline.steps.life.review import say_verdict

    if word not in WORDS:
        raise typer.BadParameter(f"expected one of {', '.join(WORDS)}, received {word!r}")
    _, services = open_services()
    print_result({"image_id": say_verdict(image_id, word, services, note=note), "verdict": word})


def queue(
    line: LineArgument,
    count: Annotated[int, typer.Option("--page-size", min=1, help="How many.")] = 20,
    how: FormatOption = Format.TABLE,
    out: OutOption = None,
) -> None:
    """List the images a verdict on which would teach most: nearest the threshold, and new kinds."""
    from cae_pipeline.steps.life.review import review_queue

    settings_of_line, _, services = open_line(line)
    rows = review_queue(settings_of_line, services, count=count)
    for row in rows:
        row["image"] = row["image_id"][:12]
    columns = ["night", "batch_id", "name", "image", "score", "threshold", "p_value", "why"]
    print_rows(rows, how=how, columns=columns, out=out)


@verdicts_app.command("export")
def export_verdicts(
    line: LineArgument,
    out: Annotated[Path, typer.Argument(help="File to write.")],
    prefix: Annotated[
        str, typer.Option(help="What Label Studio finds the landing zone under.")
    ] = "/data/local-files/?d=",
) -> None:
    """Write every judged image of a line as Label Studio's tasks, with predictions and verdicts."""
    from cae_pipeline.adapters import label_studio
    from cae_pipeline.adapters.results.verdicts import all_verdicts

    settings_of_line, _, services = open_line(line)
    tasks = [label_studio.as_task(row, prefix=prefix) for row in all_verdicts(services.engine, settings_of_line.name)]
    out.write_text(json.dumps(tasks, indent=1), encoding="utf-8")
    config = out.with_suffix(".xml")
    config.write_text(label_studio.LABELLING_CONFIG, encoding="utf-8")
    print_result({"tasks": len(tasks), "file": str(out), "labelling_config": str(config)})


@verdicts_app.command("import")
def import_verdicts(path: Annotated[Path, typer.Argument(help="Label Studio's export as JSON.")]) -> None:
    """Append the verdicts of an export of Label Studio; importing it twice adds nothing."""
    from cae_pipeline.adapters import label_studio
    from cae_pipeline.adapters.results.verdicts import record_verdicts

    _, services = open_services()
    said = label_studio.read_verdicts(path)
    print_result({"verdicts": len(said), "new": record_verdicts(services.engine, said)})
