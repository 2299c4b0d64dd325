"""Training, the gate, evaluation, and what the network looks like."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cae_pipeline.cli.shared import Format, LineArgument, OutOption, open_line, print_result, print_rows

if TYPE_CHECKING:
    from cae_pipeline.core.line import Line

model_app = typer.Typer(no_args_is_help=True, help="The network of a line.")
champion_app = typer.Typer(no_args_is_help=True, help="Who serves a line.")

SeedOption = Annotated[int | None, typer.Option("--seed", min=0, help="Instead of the line's.")]
EpochsOption = Annotated[int | None, typer.Option("--epochs", min=1, help="Instead of the line's.")]


def add_to(app: typer.Typer) -> None:
    """Give the commands to the application."""
    for command in (train, promote, evaluate):
        app.command(rich_help_panel="Models")(command)
    app.add_typer(model_app, name="model", rich_help_panel="Models")
    app.add_typer(champion_app, name="champion", rich_help_panel="Models")


def train(
    line: LineArgument,
    refresh: Annotated[bool, typer.Option(help="Start from the champion's weights.")] = False,
    epochs: EpochsOption = None,
    seed: SeedOption = None,
    note: Annotated[str, typer.Option(help="What should be remembered of this training.")] = "",
    promote_it: Annotated[bool, typer.Option("--promote/--no-promote", help="Ask the gate afterwards.")] = True,
) -> None:
    """Train a challenger on the line's normal images and let it through the gate, or not."""
    from cae_pipeline.steps.promote import promote_challenger
    from cae_pipeline.steps.train import train_model

    settings_of_line, _, services = open_line(line)
    settings_of_line = _with(settings_of_line, seed=seed, epochs=epochs)
    version = train_model(settings_of_line, services, refresh=refresh, note=note)
    result: dict[str, Any] = {"model_version": version.model_version, "run_id": version.run_id, **version.figures}
    if promote_it:
        decision = promote_challenger(settings_of_line, version.model_version, services)
        result |= {"promoted": decision.promote, "reasons": list(decision.reasons)}
    print_result(result)


def promote(line: LineArgument, model_version: Annotated[str, typer.Argument(help="Such as cae-mono/3.")]) -> None:
    """Ask the gate whether a challenger becomes champion."""
    from cae_pipeline.steps.promote import promote_challenger

    settings_of_line, _, services = open_line(line)
    decision = promote_challenger(settings_of_line, model_version, services)
    print_result({"model_version": model_version, "promoted": decision.promote, "reasons": list(decision.reasons)})


def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Images in the layout of MVTec AD.")],
    seed: SeedOption = None,
    config: Annotated[Path | None, typer.Option(help="TOML with the knobs of one line: [model], [training], …")] = None,
    out: OutOption = None,
    how: Annotated[Format, typer.Option("--format", "-f", help="table or json.")] = Format.TABLE,
) -> None:
    """Train on a folder's normal images and work out how well its defects are found."""
    from cae_pipeline.adapters.decoding import DecodeLimits
    from cae_pipeline.settings import read_settings
    from cae_pipeline.steps.evaluate import evaluate_set
    from cae_pipeline.steps.image_set import channels_of, find_image_set
    from cae_pipeline.wiring import show_progress

    images = find_image_set(folder)
    settings = read_settings()
    limits = DecodeLimits(max_bytes=settings.max_bytes, max_pixels=settings.max_pixels)
    line = _with(_line_of(config, channels=channels_of(images.train, limits)), seed=seed)
    epochs = show_progress(range(line.training.epochs), total=line.training.epochs, doing="train")
    next(epochs, None)

    def on_epoch(_epoch: int, _metrics: object) -> None:
        next(epochs, None)

    result = evaluate_set(images, line, limits, progress=show_progress, on_epoch=on_epoch)
    target = out or settings.path("evaluations", f"{images.name}-seed{line.training.seed}.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if how is Format.JSON:
        print(json.dumps(result, indent=2))
        return
    _print_evaluation(result)
    print(f"\nwritten to {target}")


@model_app.command("describe")
def describe_model(line: LineArgument, how: Annotated[Format, typer.Option("--format", "-f")] = Format.TABLE) -> None:
    """Print each layer with its output shape, parameters and receptive field."""
    from cae_pipeline.core.convolution import describe
    from cae_pipeline.settings import find_line, read_lines, read_settings

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
    print_rows(rows, how=how, columns=list(rows[0]))
    if how is Format.TABLE:
        total = sum(layer.num_parameters for layer in layers)
        pixels = settings_of_line.model.height_px * settings_of_line.model.width_px * settings_of_line.model.channels
        print(f"\n{total:,} parameters; {pixels:,} numbers are squeezed into {settings_of_line.model.code_size}")


@champion_app.command("show")
def show_champion(
    line: LineArgument, as_of: Annotated[str | None, typer.Option(help="Who it was on this date.")] = None
) -> None:
    """Say which model version serves a line, or served it on a date."""
    from cae_pipeline.adapters.results import models
    from cae_pipeline.cli.shared import as_moment

    settings_of_line, _, services = open_line(line)
    moment = as_moment(as_of) if as_of else None
    version = models.champion_of(services.engine, settings_of_line.name, as_of=moment)
    print(json.dumps(asdict(version), indent=2))


def _with(line: Line, *, seed: int | None = None, epochs: int | None = None) -> Line:
    given: dict[str, Any] = {name: value for name, value in (("seed", seed), ("epochs", epochs)) if value is not None}
    return replace(line, training=replace(line.training, **given))


def _line_of(config: Path | None, *, channels: int) -> Line:
    import tomllib

    from cae_pipeline.errors import NotFoundError
    from cae_pipeline.settings import parse_lines

    if config is not None and not config.is_file():
        raise NotFoundError("file", str(config))
    knobs = tomllib.loads(config.read_text(encoding="utf-8")) if config else {}
    knobs = {**knobs, "model": {"channels": channels, **knobs.get("model", {})}}
    return parse_lines({"lines": {"evaluated": knobs}}, where=str(config or "built-in knobs"))["evaluated"]


def _print_evaluation(result: dict[str, Any]) -> None:
    low, high = result["false_alarm_rate_interval_95"]
    print(
        f"{result['set']}, seed {result['seed']}: {result['num_train']} normal images trained on, "
        f"{result['num_normal']} normal and {result['num_defective']} defective tested\n"
    )
    for name in ("image_auroc", "average_precision", "f1", "pixel_auroc", "pro"):
        if name in result:
            print(f"{name:20} {result[name]:.3f}")
    target = result["chosen"]["threshold"]["target_false_alarm_rate"]
    rate = result["false_alarm_rate"]
    print(f"{'false_alarm_rate':20} {rate:.3f}   95 % interval {low:.3f} to {high:.3f}, target {target:g}")
    print(f"{'train_seconds':20} {result['train_seconds']:.1f}")
    print(f"{'images_per_second':20} {result['images_per_second']:.0f}")
    print(f"{'peak_memory':20} {result['peak_memory_bytes'] / 2**20:.0f} MiB\n")
    rows = [{"defect_type": kind, **figures} for kind, figures in result["per_defect_type"].items()]
    names = ["defect_type", "num_images", "image_auroc", "average_precision", "detected", "pixel_auroc", "pro"]
    print_rows(rows, how=Format.TABLE, columns=[name for name in names if any(name in row for row in rows)])
