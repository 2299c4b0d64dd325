"""What a night does, step by step; Airflow's tasks run these commands."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cae_pipeline.cli.shared import (
    LineArgument,
    RuntimeOption,
    as_date,
    as_moment,
    open_line,
    open_services,
    print_result,
)
from cae_pipeline.errors import NoChampionError

NightOption = Annotated[str, typer.Option("--night", help="UTC date of the night, such as 2026-01-31.")]


def add_to(app: typer.Typer) -> None:
    """Give the commands to the application."""
    for command in (find, validate, plan, score, rescore, watch, publish, alert, housekeeping):
        app.command(rich_help_panel="The night")(command)


def find(night: NightOption) -> None:
    """List the batches of all lines that a night is due to look at."""
    from cae_pipeline.settings import read_lines
    from cae_pipeline.steps.night.find import find_batches

    settings, services = open_services()
    found = {
        line.name: find_batches(line, as_date(night), services) for line in read_lines(settings.lines_path).values()
    }
    print_result(
        {
            "batches": [
                {"line": name, "batch_id": batch_id} for name, one in found.items() for batch_id in one.batch_ids
            ],
            "num_already_there": sum(one.num_finished for one in found.values()),
            "not_ready": [f"{name}/{batch_id}" for name, one in found.items() for batch_id in one.not_ready],
        }
    )


def validate(line: LineArgument, batch_id: Annotated[str, typer.Argument(help="Folder under landing/LINE.")]) -> None:
    """Measure a batch's images, hold them against the expectations, quarantine what fails."""
    from cae_pipeline.steps.night.validate import validate_batch

    settings_of_line, _, services = open_line(line)
    print_result(asdict(validate_batch(settings_of_line, batch_id, services)))


def plan() -> None:
    """Share the images that wait for a score out over scoring tasks, for all lines."""
    import structlog

    from cae_pipeline.settings import read_lines
    from cae_pipeline.steps.night.score import plan_line

    settings, services = open_services()
    tasks = []
    for name, line in read_lines(settings.lines_path).items():
        try:
            version, chunks = plan_line(line, chunk_size=settings.chunk_size, services=services)
        except NoChampionError as error:
            structlog.get_logger().warning("line_waits", line=name, reason=str(error))
            continue
        tasks += [
            {"line": name, "model_version": version.model_version, "slices": [str(part) for part in chunk]}
            for chunk in chunks
        ]
    print_result({"chunks": tasks})


def score(
    line: LineArgument,
    slices: Annotated[
        list[str] | None,
        typer.Option("--slice", help="Part of a batch as `cae plan` names it; without: all that waits."),
    ] = None,
    model_version: Annotated[str | None, typer.Option(help="Who judges; without: the champion.")] = None,
    runtime: RuntimeOption = None,
) -> None:
    """Judge accepted images and write scores, maps and regions."""
    from cae_pipeline.adapters.results import ledger, models
    from cae_pipeline.steps.night.score import Slice, plan_line, score_slices

    settings_of_line, settings, services = open_line(line, runtime=runtime)
    if model_version:
        version = models.find_version(services.engine, model_version)
    else:
        version = ledger.champion_of(services.engine, settings_of_line.name)
    if slices:
        chunk = [Slice.parse(text) for text in slices]
    else:
        _, chunks = plan_line(settings_of_line, chunk_size=settings.chunk_size, services=services)
        chunk = [part for chunk in chunks for part in chunk]
    print_result(asdict(score_slices(chunk, version, services)))


def rescore(
    line: LineArgument,
    since: Annotated[str, typer.Option(help="First night.")],
    until: Annotated[str, typer.Option(help="Last night.")],
    model_version: Annotated[str | None, typer.Option(help="Who judges, such as cae-mono/2.")] = None,
    champion_as_of: Annotated[str | None, typer.Option(help="… or who was champion on this date.")] = None,
    plan_only: Annotated[bool, typer.Option("--plan", help="Only say which tasks it would take.")] = False,
    runtime: RuntimeOption = None,
) -> None:
    """Judge old batches again; scores of other model versions stay."""
    from cae_pipeline.steps.night.rescore import plan_rescoring
    from cae_pipeline.steps.night.score import score_slices

    if model_version and champion_as_of:
        raise typer.BadParameter("give --model-version or --champion-as-of, not both")
    settings_of_line, settings, services = open_line(line, runtime=runtime)
    planned = plan_rescoring(
        settings_of_line.name,
        (as_date(since), as_date(until)),
        judge=as_moment(champion_as_of) if champion_as_of else model_version,
        chunk_size=settings.chunk_size,
        services=services,
    )
    name = planned.version.model_version
    if plan_only:
        chunks = [{"line": line, "model_version": name, "slices": list(map(str, chunk))} for chunk in planned.chunks]
        print_result({"chunks": chunks})
        return
    parts = [part for chunk in planned.chunks for part in chunk]
    print_result(asdict(score_slices(parts, planned.version, services)))


def watch(night: NightOption) -> None:
    """Say of each line what has moved since its champion was trained, and which lines should be trained again."""
    import structlog

    from cae_pipeline.settings import read_lines
    from cae_pipeline.steps.night.watch import ask_for_retraining, watch_drift

    settings, services = open_services()
    diagnoses: dict[str, dict[str, str]] = {}
    retrain = []
    for line in read_lines(settings.lines_path).values():
        try:
            report = watch_drift(line, as_date(night), services)
        except NoChampionError as error:
            structlog.get_logger().warning("line_waits", line=line.name, reason=str(error))
            continue
        diagnoses[line.name] = {"diagnosis": report.diagnosis, "reason": report.reasons[0]}
        wanted = ask_for_retraining(line, report, services)
        retrain += [asdict(wanted)] if wanted else []
    print_result({"diagnoses": diagnoses, "retrain": retrain})


def publish(night: NightOption) -> None:
    """Write the night's report, one HTML file."""
    from cae_pipeline.settings import read_lines
    from cae_pipeline.steps.night.publish import publish_night

    settings, services = open_services()
    print_result(asdict(publish_night(as_date(night), list(read_lines(settings.lines_path).values()), services)))


def alert(night: NightOption) -> None:
    """Tell people what a night calls for, each thing once; what nobody received is told again."""
    from cae_pipeline.settings import read_lines
    from cae_pipeline.steps.night.alert import raise_alerts

    settings, services = open_services()
    done = raise_alerts(as_date(night), list(read_lines(settings.lines_path).values()), services)
    print_result({**asdict(done), "notifiers": [notifier.model_dump() for notifier in settings.notifiers]})


def housekeeping() -> None:
    """Remove old maps, check the tables, back them up, repair MLflow's aliases."""
    from cae_pipeline.steps.housekeeping import keep_house

    settings, services = open_services()
    done = keep_house(services, map_retention_days=settings.map_retention_days, backup_count=settings.backup_count)
    print_result(asdict(done))
