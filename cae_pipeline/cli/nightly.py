"""What a night does, step by step; Airflow's tasks run these commands."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cae_pipeline.cli.printing import print_result
from cae_pipeline.cli.shared import LineArgument, RuntimeOption, as_date, as_moment, open_line, open_services

if TYPE_CHECKING:
    from cae_pipeline.steps.night.score import Slice

NightOption = Annotated[
    date,
    typer.Option(
        "--night", parser=as_date, metavar="DATE", help="The night's date in the plant's time zone, such as 2026-01-31."
    ),
]


def add_to(app: typer.Typer) -> None:
    """Give the commands to the application."""
    for command in (find, validate, plan, score, rescore, watch, publish, alert, housekeeping):
        app.command(rich_help_panel="The night")(command)


def find(night: NightOption) -> None:
    """List the batches of all lines that a night is due to look at."""
    from cae_pipeline.lines_file import read_lines
    from cae_pipeline.steps.night.find import find_lines
    from cae_pipeline.steps.night.unclaimed import find_unclaimed

    settings, services = open_services()
    lines = list(read_lines(settings.lines_path).values())
    done = find_lines(lines, night, services, max_batches=settings.max_mapped_tasks)
    found = done.results.items()
    print_result(
        {
            "batches": [{"line": name, "batch_id": batch_id} for name, one in found for batch_id in one.batch_ids],
            "num_already_there": sum(one.num_finished for _, one in found),
            "not_ready": [f"{name}/{batch_id}" for name, one in found for batch_id in one.not_ready],
            "remarks": [remark for _, one in found for remark in one.remarks],
            "num_waiting": sum(one.num_waiting for _, one in found),
            "troubled": {f"{name}/{batch_id}": told for name, one in found for batch_id, told in one.troubled.items()},
            "unclaimed": [asdict(one) for one in find_unclaimed(services.landing.folder, lines)],
            "failed": done.failed,
        }
    )
    done.check()


def validate(
    line: LineArgument,
    batch_id: Annotated[str, typer.Argument(help="Folder under landing/LINE.")],
    again: Annotated[
        bool, typer.Option("--again", help="Judge by today's limits what was validated before; that becomes history.")
    ] = False,
) -> None:
    """Measure a batch's images, hold them against the expectations, quarantine what cannot be scored."""
    from cae_pipeline.domain.names import as_typed
    from cae_pipeline.steps.night.validate import validate_batch

    settings_of_line, _, services = open_line(line)
    print_result(asdict(validate_batch(settings_of_line, as_typed(batch_id), services, again=again)))


def plan() -> None:
    """Share the images that wait for a score out over scoring tasks, for all lines."""
    from cae_pipeline.lines_file import read_lines
    from cae_pipeline.steps.night.plan import plan_lines

    settings, services = open_services()
    lines = list(read_lines(settings.lines_path).values())
    limits = {"chunk_size": settings.chunk_size, "max_chunks": settings.max_mapped_tasks}
    done = plan_lines(lines, **limits, services=services)
    chunks = [
        {"line": name, "model_version": planned.model_version, "slices": list(map(str, chunk))}
        for name, planned in done.results.items()
        for chunk in planned.chunks
    ]
    num_waiting = sum(planned.num_waiting for planned in done.results.values())
    print_result({"chunks": chunks, "num_waiting": num_waiting, "failed": done.failed})
    done.check()


def score(
    line: LineArgument,
    slices: Annotated[
        list[str] | None,
        typer.Option("--slice", help="Part of a batch as `cae plan` names it; without: all that waits."),
    ] = None,
    model_version: Annotated[str | None, typer.Option(help="Who judges; without: the champion.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Also what other models have scored.")] = False,
    runtime: RuntimeOption = None,
) -> None:
    """Judge accepted images and write scores, maps and regions."""
    from cae_pipeline.steps.night.score_line import score_line

    parts = _slices(slices or [])
    settings_of_line, settings, services = open_line(line, runtime=runtime)
    done = score_line(
        settings_of_line,
        services,
        slices=parts,
        model_version=model_version,
        chunk_size=settings.chunk_size,
        again=again,
    )
    print_result(asdict(done))


def _slices(texts: list[str]) -> list[Slice]:
    from cae_pipeline.steps.night.score import Slice

    try:
        return [Slice.parse(text) for text in texts]
    except ValueError as error:
        raise typer.BadParameter(
            f"--slice: expected key:start:stop as `cae plan` prints it, received {texts}"
        ) from error


def rescore(
    line: LineArgument,
    since: Annotated[date, typer.Option(parser=as_date, metavar="DATE", help="First night.")],
    until: Annotated[date, typer.Option(parser=as_date, metavar="DATE", help="Last night.")],
    model_version: Annotated[str | None, typer.Option(help="Who judges, such as cae-mono/2.")] = None,
    champion_as_of: Annotated[
        datetime | None, typer.Option(parser=as_moment, metavar="DATE", help="… or who was champion on this date.")
    ] = None,
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
        (since, until),
        judge=champion_as_of or model_version,
        chunk_size=settings.chunk_size,
        services=services,
    )
    name = planned.version.model_version
    if plan_only:
        chunks = [{"line": line, "model_version": name, "slices": list(map(str, chunk))} for chunk in planned.chunks]
        print_result({"chunks": chunks})
        return
    parts = [part for chunk in planned.chunks for part in chunk]
    print_result(asdict(score_slices(parts, planned.version, services, again=True)))


def watch(night: NightOption) -> None:
    """Say of each line what has moved since its champion was trained, and which lines should be trained again."""
    from cae_pipeline.lines_file import read_lines
    from cae_pipeline.steps.night.watch import watch_lines

    settings, services = open_services()
    done = watch_lines(list(read_lines(settings.lines_path).values()), night, services)
    watched = done.results
    print_result(
        {
            "diagnoses": {name: {"diagnosis": one.diagnosis, "reason": one.reason} for name, one in watched.items()},
            "retrain": [asdict(one.retraining) for one in watched.values() if one.retraining],
            "failed": done.failed,
        }
    )
    done.check()


def publish(night: NightOption) -> None:
    """Write the night's report, one HTML file."""
    from cae_pipeline.lines_file import read_lines
    from cae_pipeline.steps.night.publish import publish_night

    settings, services = open_services()
    print_result(asdict(publish_night(night, list(read_lines(settings.lines_path).values()), services)))


def alert(night: NightOption) -> None:
    """Tell people what a night calls for, each thing once; what nobody received is told again."""
    from cae_pipeline.lines_file import read_lines
    from cae_pipeline.steps.night.alert import raise_alerts

    settings, services = open_services()
    alarm = raise_alerts(night, list(read_lines(settings.lines_path).values()), services)
    print_result(
        {
            "alerts": alarm.alerts,
            "new": alarm.new,
            "num_delivered": alarm.num_delivered,
            "notifiers": [notifier.model_dump() for notifier in settings.notifiers],
            "failed": alarm.lines.failed,
        }
    )
    alarm.lines.check()


def housekeeping() -> None:
    """Remove old maps, check the tables, back them up, repair MLflow's aliases."""
    from cae_pipeline.steps.housekeeping import keep_house

    settings, services = open_services()
    done = keep_house(services, map_retention_days=settings.map_retention_days, backup_count=settings.backup_count)
    print_result(asdict(done))
