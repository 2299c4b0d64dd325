"""Training, the gate, and what the network looks like."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cae_pipeline.cli.exports import Kinds
from cae_pipeline.cli.json_text import as_json
from cae_pipeline.cli.printing import Format, print_result, print_rows
from cae_pipeline.cli.shared import (
    EffortOption,
    EpochsOption,
    FormatOption,
    LineArgument,
    OutOption,
    PresetOption,
    SeedOption,
    as_moment,
    open_known_line,
    open_line,
    preset_of,
    with_training,
)

if TYPE_CHECKING:
    from cae_pipeline.domain.promotion import Decision

model_app = typer.Typer(no_args_is_help=True, help="The network of a line.")
champion_app = typer.Typer(no_args_is_help=True, help="Who serves a line.")

LAYER_KINDS: Kinds = {"layer": str, "kind": str, "output_shape": str, "parameters": int, "receptive_field": str}


def add_to(app: typer.Typer) -> None:
    """Give the commands to the application."""
    for command in (train, promote):
        app.command(rich_help_panel="Models")(command)
    app.add_typer(model_app, name="model", rich_help_panel="Models")
    app.add_typer(champion_app, name="champion", rich_help_panel="Models")


def train(
    line: LineArgument,
    refresh: Annotated[bool, typer.Option(help="Start from the champion's weights.")] = False,
    epochs: EpochsOption = None,
    seed: SeedOption = None,
    preset: PresetOption = None,
    effort: EffortOption = None,
    note: Annotated[str, typer.Option(help="What should be remembered of this training.")] = "",
    promote_it: Annotated[bool, typer.Option("--promote/--no-promote", help="Ask the gate afterwards.")] = True,
) -> None:
    """Train a challenger on the line's normal images and let it through the gate, or not."""
    from cae_pipeline.training.quiet import import_tensorflow_quietly

    # first: wrong words need not wait for TensorFlow
    settings_of_line, _, services = open_line(line)
    settings_of_line = with_training(settings_of_line, seed=seed, epochs=epochs, preset=preset_of(preset, effort))
    import_tensorflow_quietly()
    from cae_pipeline.steps.life.promote import promote_challenger
    from cae_pipeline.steps.life.train import train_model

    version = train_model(settings_of_line, services, refresh=refresh, note=note)
    result: dict[str, Any] = {"model_version": version.model_version, "run_id": version.run_id, **version.figures}
    if promote_it:
        decision = promote_challenger(settings_of_line, version.model_version, services)
        result |= _told(decision)
    print_result(result)


def promote(line: LineArgument, model_version: Annotated[str, typer.Argument(help="Such as cae-mono/3.")]) -> None:
    """Ask the gate whether a challenger becomes champion."""
    from cae_pipeline.steps.life.promote import promote_challenger

    settings_of_line, _, services = open_line(line)
    decision = promote_challenger(settings_of_line, model_version, services)
    print_result({"model_version": model_version, **_told(decision)})


def _told(decision: Decision) -> dict[str, Any]:
    return {
        "promoted": decision.promote and not decision.awaits_approval,
        "awaits_approval": decision.awaits_approval,
        "reasons": list(decision.reasons),
    }


@model_app.command("snapshot")
def show_snapshot(
    model_version: Annotated[str, typer.Argument(help="Such as cae-mono/3.")],
    how: FormatOption = Format.TABLE,
    out: OutOption = None,
) -> None:
    """List what a model was trained on, after every image has been found byte for byte in the landing zone."""
    from cae_pipeline.cli.shared import open_services
    from cae_pipeline.steps.life.snapshot import rebuild_snapshot

    _, services = open_services()
    columns = ("line", "batch_id", "name", "part", "image_id")
    found = rebuild_snapshot(model_version, services)
    rows = [{name: getattr(row.image, name, row.part) for name in columns} for row in found]
    print_rows(rows, how=how, kinds=dict.fromkeys(columns, str), out=out)


@model_app.command("describe")
def describe_model(line: LineArgument, how: FormatOption = Format.TABLE, out: OutOption = None) -> None:
    """Print each layer with its output shape, parameters and receptive field."""
    from cae_pipeline.detector.convolution import describe
    from cae_pipeline.lines_file import find_line, read_lines
    from cae_pipeline.settings import read_settings

    settings_of_line = find_line(read_lines(read_settings().lines_path), line)
    layers = describe(settings_of_line.model)
    rows = [
        {
            "layer": layer.name,
            "kind": layer.kind,
            "output_shape": " × ".join(map(str, layer.output_shape)),
            "parameters": layer.num_parameters,
            "receptive_field": f"{layer.receptive_field_px} px" if layer.receptive_field_px else "whole image",
        }
        for layer in layers
    ]
    print_rows(rows, how=how, kinds=LAYER_KINDS, out=out)
    if how is Format.TABLE and out is None:
        total = sum(layer.num_parameters for layer in layers)
        pixels = settings_of_line.model.height_px * settings_of_line.model.width_px * settings_of_line.model.channels
        print(f"\n{total:,} parameters; {pixels:,} numbers are squeezed into {settings_of_line.model.latent_size}")


@champion_app.command("rollback")
def roll_back(
    line: LineArgument,
    to: Annotated[str | None, typer.Option(help="Who; without: who served before.")] = None,
    note: Annotated[str, typer.Option(help="Why.")] = "",
) -> None:
    """Let a former champion serve again; scores that are there stay."""
    from cae_pipeline.steps.life import promote as gate

    settings_of_line, _, services = open_line(line)
    print_result({"line": line, "champion": gate.roll_back(settings_of_line, services, to=to, note=note).model_version})


@champion_app.command("approve")
def approve(
    line: LineArgument,
    model_version: Annotated[str, typer.Argument(help="A challenger that the gate let through.")],
    note: Annotated[str, typer.Option(help="Why.")] = "",
) -> None:
    """Agree that a challenger serves, on a line whose gate wants a person to."""
    from cae_pipeline.steps.life import promote as gate

    settings_of_line, _, services = open_line(line)
    champion = gate.approve_challenger(settings_of_line, model_version, services, note=note)
    print_result({"line": line, "champion": champion.model_version})


@champion_app.command("show")
def show_champion(
    line: LineArgument,
    as_of: Annotated[
        datetime | None, typer.Option(parser=as_moment, metavar="DATE", help="Who it was on this date.")
    ] = None,
) -> None:
    """Say which model version serves a line, or served it on a date."""
    from cae_pipeline.steps.life.serving import serving_version

    settings_of_line, _, services = open_known_line(line)
    print(as_json(asdict(serving_version(settings_of_line, services, as_of=as_of)), indent=2))
