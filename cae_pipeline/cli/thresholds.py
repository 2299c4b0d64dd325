"""Thresholds: set, fitted, shown."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Annotated

import typer

from cae_pipeline.cli.printing import Format, print_result, print_rows
from cae_pipeline.cli.shared import FormatOption, LineArgument, OutOption, open_known_line, open_line

threshold_app = typer.Typer(no_args_is_help=True, help="The score above which an image is flagged.")
NoteOption = Annotated[str, typer.Option("--note", help="Why.")]
COLUMNS = "threshold_id created_at value target_false_alarm_rate method rank num_normal num_defective author note"


def add_to(app: typer.Typer) -> None:
    """Give the commands to the application."""
    app.add_typer(threshold_app, name="threshold", rich_help_panel="Models")


@threshold_app.command("set")
def set_value(
    line: LineArgument, value: Annotated[float, typer.Argument(help="Above 0, as scores are.")], note: NoteOption = ""
) -> None:
    """Put a threshold in force for the line's champion; past scores are judged again."""
    from cae_pipeline.steps.life.threshold import set_threshold

    settings_of_line, _, services = open_line(line)
    print_result(asdict(set_threshold(settings_of_line, value, services, note=note)))


@threshold_app.command("fit")
def fit(
    line: LineArgument,
    rate: Annotated[float | None, typer.Option(help="Share of normal images that may be flagged.")] = None,
    f1: Annotated[bool, typer.Option("--f1", help="For the highest F1 on confirmed defects.")] = False,
    miss_cost: Annotated[float | None, typer.Option(min=0, help="For the lowest cost: of a missed defect.")] = None,
    false_alarm_cost: Annotated[float | None, typer.Option(min=0, help="… and of a false alarm.")] = None,
    defect_rate: Annotated[float | None, typer.Option(help="Share of defects to expect.")] = None,
    note: NoteOption = "",
) -> None:
    """Fit the champion's threshold to a rate of false alarms (the line's own, or --rate), to F1 or to costs."""
    from cae_pipeline.steps.life.threshold import fit_to_rate, fit_to_verdicts

    if (miss_cost is None) != (false_alarm_cost is None):
        raise typer.BadParameter("give --miss-cost and --false-alarm-cost together")
    if sum((rate is not None, f1, miss_cost is not None)) > 1:
        raise typer.BadParameter("give one of --rate, --f1 and the two costs")
    if any(cost is not None and not math.isfinite(cost) for cost in (miss_cost, false_alarm_cost)):
        raise typer.BadParameter("--miss-cost and --false-alarm-cost: expected finite numbers from 0")
    for name, share in (("--rate", rate), ("--defect-rate", defect_rate)):
        if share is not None and not 0 < share < 1:
            raise typer.BadParameter(f"{name} is {share}; expected a share between 0 and 1")
    settings_of_line, _, services = open_line(line)
    if f1 or miss_cost is not None:
        costs = (miss_cost, false_alarm_cost) if miss_cost is not None and false_alarm_cost is not None else None
        done = fit_to_verdicts(settings_of_line, services, costs=costs, defect_rate=defect_rate, note=note)
    else:
        done = fit_to_rate(settings_of_line, services, rate=rate, note=note)
    print_result(asdict(done))


@threshold_app.command("show")
def show(line: LineArgument) -> None:
    """Say which threshold is in force for the line's champion, and what it rests on."""
    from cae_pipeline.steps.life.serving import list_thresholds

    settings_of_line, _, services = open_known_line(line)
    print_result({"line": line, **asdict(list_thresholds(settings_of_line, services)[-1])})


@threshold_app.command("history")
def history(
    line: LineArgument,
    model_version: Annotated[str | None, typer.Option(help="Of this one; without: of the champion.")] = None,
    how: FormatOption = Format.TABLE,
    out: OutOption = None,
) -> None:
    """List all thresholds of a model version, oldest first."""
    from cae_pipeline.adapters.results.thresholds import ThresholdRow
    from cae_pipeline.cli.exports import kinds_of
    from cae_pipeline.steps.life.serving import list_thresholds

    settings_of_line, _, services = open_known_line(line)
    rows = [asdict(row) for row in list_thresholds(settings_of_line, services, model_version=model_version)]
    print_rows(rows, how=how, kinds=kinds_of(ThresholdRow), columns=COLUMNS.split(), out=out)
