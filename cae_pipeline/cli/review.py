"""Verdicts: what people are asked, what they say, and its exchange with Label Studio."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cae_pipeline.cli.listings import tell_left_out
from cae_pipeline.cli.printing import Format, print_result, print_rows
from cae_pipeline.cli.shared import FormatOption, LineArgument, OutOption, open_known_line, open_services

QUEUE_ROWS, MAX_QUEUE = 20, 10_000
"""Images of the queue in a table, and at most: nobody judges more before the queue is another one."""

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
    from cae_pipeline.errors import nearest_name
    from cae_pipeline.steps.life.review import say_verdict

    if word not in WORDS:
        nearest = nearest_name(word, WORDS)
        meant = f". Did you mean {nearest!r}?" if nearest else ""
        raise typer.BadParameter(f"expected one of {', '.join(WORDS)}, received {word!r}{meant}")
    _, services = open_services()
    print_result({"image_id": say_verdict(image_id, word, services, note=note), "verdict": word})


def queue(
    line: LineArgument,
    page_size: Annotated[
        int | None,
        typer.Option(
            "--page-size",
            min=1,
            max=MAX_QUEUE,
            metavar="NUMBER",
            help=f"How many; without: {QUEUE_ROWS} in a table, up to {MAX_QUEUE:,} in the other formats.",
        ),
    ] = None,
    how: FormatOption = Format.TABLE,
    out: OutOption = None,
) -> None:
    """List the images a verdict on which would teach most: nearest the threshold, and new kinds."""
    from cae_pipeline.cli.exports import kinds_of
    from cae_pipeline.domain.outcome import ScoredImage
    from cae_pipeline.steps.life.review import count_unreviewed, review_queue

    settings_of_line, _, services = open_known_line(line)
    count = page_size or (QUEUE_ROWS if how is Format.TABLE else MAX_QUEUE)
    queued = review_queue(settings_of_line, services, count=count)
    rows = [{**one.as_row(), "image": one.image.image_id[:12]} for one in queued]
    kinds = {**kinds_of(ScoredImage), "times_from_threshold": float, "why": str, "image": str}
    columns = ["night", "batch_id", "name", "image", "score", "threshold", "p_value", "why"]
    print_rows(rows, how=how, kinds=kinds, columns=columns, out=out)
    total = count_unreviewed(settings_of_line, services) if len(rows) == count else len(rows)
    if total > len(rows):
        tell_left_out(len(rows), total, how_to="these teach most, ")


@verdicts_app.command("export")
def export_verdicts(
    line: LineArgument,
    out: Annotated[Path, typer.Argument(help="File to write.")],
    prefix: Annotated[
        str, typer.Option(help="What Label Studio finds the landing zone under.")
    ] = "/data/local-files/?d=",
) -> None:
    """Write every judged image of a line as Label Studio's tasks, with predictions and verdicts."""
    from cae_pipeline.steps.life import exchange

    settings_of_line, _, services = open_known_line(line)
    print_result(asdict(exchange.export_verdicts(settings_of_line, out, services, prefix=prefix)))


@verdicts_app.command("import")
def import_verdicts(path: Annotated[Path, typer.Argument(help="Label Studio's export as JSON.")]) -> None:
    """Append the verdicts of an export of Label Studio; importing it twice adds nothing."""
    from cae_pipeline.steps.life import exchange

    _, services = open_services()
    print_result(asdict(exchange.import_verdicts(path, services)))
