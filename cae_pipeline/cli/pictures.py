"""Pictures for people: flagged images as a folder, and one image with its map."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from cae_pipeline.cli import queries
from cae_pipeline.cli.filters import (
    BatchOption,
    MinScoreOption,
    SinceOption,
    UntilOption,
    VerdictOption,
    VersionOption,
    check_filter,
    check_names,
)
from cae_pipeline.cli.printing import print_result
from cae_pipeline.cli.shared import LineOption, SortOption, open_services


def add_to(app: typer.Typer) -> None:
    """Give `anomalies` its subcommand, and `images` another one; the room `queries` comes before this one."""
    [listing] = [one for one in app.registered_commands if one.callback is queries.anomalies]
    app.registered_commands.remove(listing)
    group = typer.Typer(invoke_without_command=True, help="List flagged images, or export them with their pictures.")
    group.callback()(_unless_subcommand(queries.anomalies))
    group.command("export")(export)
    app.add_typer(group, name="anomalies", rich_help_panel=listing.rich_help_panel)
    queries.images_app.command("picture")(picture)


def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or an empty one.")],
    line: LineOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    batch: BatchOption = None,
    model_version: VersionOption = None,
    min_score: MinScoreOption = None,
    verdict: VerdictOption = None,
    sort: SortOption = "-score",
    limit: Annotated[int | None, typer.Option(min=1, help="Images at most; without: all.")] = None,
) -> None:
    """Write flagged images, overlays with boxes, a CSV and a page for somebody without this program."""
    from cae_pipeline.adapters.results.queries.anomalies import AnomalyFilter
    from cae_pipeline.steps.offline.export_anomalies import export_anomalies

    wanted = AnomalyFilter(line, since, until, batch, model_version, min_score, verdict)
    check_filter(wanted)
    settings, services = open_services()
    with services.read() as connection:
        check_names(connection, wanted, settings, services)
    print_result(asdict(export_anomalies(folder.expanduser(), wanted, services, sort=sort, limit=limit)))


def picture(
    image_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the first digits of it.")],
    path: Annotated[Path, typer.Argument(metavar="FILE", help="PNG that is written.")],
) -> None:
    """Write one image with its anomaly map and boxes as a PNG, flagged or not."""
    from cae_pipeline.steps.offline.export_anomalies import draw_one

    _, services = open_services()
    print_result({"picture": str(draw_one(image_id, path.expanduser(), services))})


def _unless_subcommand(command: Callable[..., None]) -> Callable[..., None]:
    """Make of a command the callback of a group, which does nothing where a subcommand follows.

    Raises:
        typer.BadParameter: When it is run with options and a subcommand, which would not see them.
    """

    @functools.wraps(command)
    def callback(ctx: typer.Context, **options: Any) -> None:
        if ctx.invoked_subcommand is None:
            command(**options)
            return
        given = [name for name in options if str(ctx.get_parameter_source(name)).endswith("COMMANDLINE")]
        if given:
            options_said = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise typer.BadParameter(f"expected {options_said} behind {ctx.invoked_subcommand}, received it before")

    # Typer reads options from the signature, whose annotations are text until they are resolved
    hints = typing.get_type_hints(command, include_extras=True)
    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    told = [one.replace(annotation=hints[name]) for name, one in inspect.signature(command).parameters.items()]
    callback.__signature__ = inspect.Signature([context, *told])  # type: ignore[attr-defined]
    callback.__annotations__ = {"ctx": typer.Context, **hints}
    return callback
