"""Questions to the results table, verdicts, and releases from quarantine."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from cae_pipeline.cli.shared import (
    Format,
    FormatOption,
    LineOption,
    OutOption,
    PageOption,
    PageSizeOption,
    SortOption,
    as_date,
    open_services,
    print_result,
    print_rows,
)

images_app = typer.Typer(no_args_is_help=True, help="Single images.")
quarantine_app = typer.Typer(no_args_is_help=True, help="Images that were kept from scoring.")


def add_to(app: typer.Typer) -> None:
    """Give the commands to the application."""
    for command in (anomalies, batches, rates, runs, versions, ledger, verdict):
        app.command(rich_help_panel="Queries")(command)
    app.add_typer(images_app, name="images", rich_help_panel="Queries")
    app.add_typer(quarantine_app, name="quarantine", rich_help_panel="Queries")


def anomalies(
    line: LineOption = None,
    since: Annotated[str | None, typer.Option(help="First night.")] = None,
    until: Annotated[str | None, typer.Option(help="Last night.")] = None,
    batch: Annotated[str | None, typer.Option(help="Only this batch_id.")] = None,
    model_version: Annotated[str | None, typer.Option(help="As judged by this one; without: as judged last.")] = None,
    min_score: Annotated[float | None, typer.Option(help="Only scores from here.")] = None,
    verdict: Annotated[str | None, typer.Option(help="defect, normal, unsure, or none for not judged yet.")] = None,
    sort: SortOption = "-score",
    page: PageOption = 1,
    page_size: PageSizeOption = 50,
    how: FormatOption = Format.TABLE,
    out: OutOption = None,
) -> None:
    """List flagged images."""
    from cae_pipeline.adapters.results.queries import AnomalyFilter, Page, list_anomalies

    _, services = open_services()
    wanted = AnomalyFilter(
        line,
        as_date(since) if since else None,
        as_date(until) if until else None,
        batch,
        model_version,
        min_score,
        verdict,
    )
    rows = list_anomalies(services.engine, wanted, Page(sort, page, page_size))
    for row in rows:
        row["num_regions"] = len(row["regions"])
        row["image"] = row["image_id"][:12]
    columns = ["night", "line", "batch_id", "name", "image", "score", "threshold", "p_value", "num_regions"]
    print_rows(rows, how=how, columns=[*columns, "verdict", "model_version"], out=out)


def batches(
    line: LineOption = None,
    sort: SortOption = "-night",
    page: PageOption = 1,
    page_size: PageSizeOption = 50,
    how: FormatOption = Format.TABLE,
    out: OutOption = None,
) -> None:
    """List batches, what became of them, and where their Data Docs are."""
    from cae_pipeline.adapters.results.queries import Page, list_batches

    _, services = open_services()
    rows = list_batches(services.engine, line, Page(sort, page, page_size))
    columns = ["night", "line", "batch_id", "status", "num_images", "num_quarantined", "rejected_for", "data_docs_uri"]
    print_rows(rows, how=how, columns=columns, out=out)


def rates(
    line: LineOption = None,
    sort: SortOption = "-night",
    page: PageOption = 1,
    page_size: PageSizeOption = 50,
    how: FormatOption = Format.TABLE,
    out: OutOption = None,
) -> None:
    """Count images, quarantined, flagged and confirmed per line and night; names the night's report."""
    from cae_pipeline.adapters.results.queries import Page, list_daily_rates

    _, services = open_services()
    rows = list_daily_rates(services.engine, line, Page(sort, page, page_size))
    for row in rows:
        report = services.workspace / "reports" / f"{row['night']}.html"
        row["report"] = str(report) if report.exists() else ""
    counts = [f"num_{what}" for what in ("images", "quarantined", "failed", "scored", "flagged", "confirmed")]
    print_rows(rows, how=how, columns=["night", "line", *counts, "report"], out=out)


def runs(
    line: LineOption = None,
    max_results: Annotated[int, typer.Option("--page-size", min=1, help="How many.")] = 50,
    how: FormatOption = Format.TABLE,
    out: OutOption = None,
) -> None:
    """List trainings as MLflow knows them, newest first."""
    from cae_pipeline.adapters.tracking import list_runs
    from cae_pipeline.steps.train import registered_name

    _, services = open_services()
    experiment = registered_name(line) if line else None
    rows = list_runs(services.tracking_uri, experiment=experiment, max_results=max_results)
    columns = [
        "started_at",
        "experiment",
        "run_name",
        "status",
        "model_version",
        "decision",
        "synthetic_auroc",
        "validation_loss",
        "epochs",
    ]
    print_rows(rows, how=how, columns=columns, out=out)


def versions(
    line: LineOption = None,
    sort: SortOption = "-registered_at",
    page: PageOption = 1,
    page_size: PageSizeOption = 50,
    how: FormatOption = Format.TABLE,
    out: OutOption = None,
) -> None:
    """List registered models and who of them is champion."""
    from cae_pipeline.adapters.results.queries import Page, list_model_versions

    _, services = open_services()
    rows = list_model_versions(services.engine, line, Page(sort, page, page_size))
    for row in rows:
        row |= {name: row["figures"][name] for name in ("synthetic_auroc", "threshold")}
    columns = ["registered_at", "line", "model_version", "serves_as", "synthetic_auroc", "threshold", "run_id"]
    print_rows(rows, how=how, columns=columns, out=out)


def ledger(
    line: LineOption = None,
    sort: SortOption = "-promotion_id",
    page: PageOption = 1,
    page_size: PageSizeOption = 50,
    how: FormatOption = Format.TABLE,
    out: OutOption = None,
) -> None:
    """List every decision about a champion, with its reasons."""
    from cae_pipeline.adapters.results.queries import Page, list_promotions

    _, services = open_services()
    rows = list_promotions(services.engine, line, Page(sort, page, page_size))
    columns = ["decided_at", "line", "from_version", "to_version", "promoted", "author", "reasons"]
    print_rows(rows, how=how, columns=columns, out=out)


def verdict(
    image_id: Annotated[str, typer.Argument(metavar="IMAGE", help="Its id, or the first digits of it.")],
    word: Annotated[str, typer.Argument(metavar="defect|normal|unsure")],
    note: Annotated[str, typer.Option(help="Why.")] = "",
) -> None:
    """Say what an image really is; earlier verdicts stay."""
    from cae_pipeline.adapters.results import queries, scored

    if word not in ("defect", "normal", "unsure"):
        raise typer.BadParameter(f"expected defect, normal or unsure, received {word!r}")
    _, services = open_services()
    full = queries.show_image(services.engine, image_id)["image_id"]
    scored.record_verdict(services.engine, full, word, author=services.author, note=note, created_at=services.clock())
    print_result({"image_id": full, "verdict": word})


@images_app.command("show")
def show_image(
    image_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the first digits of it.")],
) -> None:
    """Print everything known of one image."""
    from cae_pipeline.adapters.results import queries

    _, services = open_services()
    print(json.dumps(queries.show_image(services.engine, image_id), default=str, indent=2))


@quarantine_app.command("list")
def list_quarantine(
    line: LineOption = None,
    sort: SortOption = "-night",
    page: PageOption = 1,
    page_size: PageSizeOption = 50,
    how: FormatOption = Format.TABLE,
    out: OutOption = None,
) -> None:
    """List quarantined and failed images with their reasons."""
    from cae_pipeline.adapters.results.queries import Page, list_quarantined

    _, services = open_services()
    rows = list_quarantined(services.engine, line, Page(sort, page, page_size))
    print_rows(rows, how=how, columns=["night", "line", "batch_id", "name", "reason", "detail", "released_by"], out=out)


@quarantine_app.command("release")
def release(
    line: Annotated[str, typer.Argument(metavar="LINE")],
    batch_id: Annotated[str, typer.Argument(metavar="BATCH")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Without: all that can be decoded.")
    ] = None,
    note: Annotated[str, typer.Option(help="Why.")] = "",
) -> None:
    """Let quarantined images be scored after all; the record that they were quarantined stays."""
    from cae_pipeline.adapters.results import batches as batch_rows

    _, services = open_services()
    row = batch_rows.newest_delivery(services.engine, line, batch_id)
    chosen = list(names or batch_rows.releasable(services.engine, row["batch_key"]))
    count = batch_rows.release(
        services.engine, row["batch_key"], chosen, author=services.author, note=note, released_at=services.clock()
    )
    print_result({"line": line, "batch_id": batch_id, "released": count, "asked": len(chosen)})
