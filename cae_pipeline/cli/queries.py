"""Questions to the results table, and releases from quarantine."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from cae_pipeline.cli.printing import Format, print_result, print_rows
from cae_pipeline.cli.shared import (
    FormatOption,
    LineOption,
    OutOption,
    PageOption,
    PageSizeOption,
    SortOption,
    as_date,
    open_services,
)

images_app = typer.Typer(no_args_is_help=True, help="Single images.")
quarantine_app = typer.Typer(no_args_is_help=True, help="Images that were kept from scoring.")


@dataclass(frozen=True)
class Listing:
    """A command that lists rows: which query, sorted how, showing what.

    Attributes:
        query: Module of `adapters.results.queries` and function in it.
        sort: Column, with a minus for falling order.
        columns: Shown in a table, separated by spaces; the other formats hold all.
        help: What `--help` says.
        add: What is added to each row for people, given the workspace.
    """

    query: tuple[str, str]
    sort: str
    columns: str
    help: str
    add: Callable[[dict[str, Any], Path], dict[str, Any]] = lambda row, workspace: {}


def _report_of(row: dict[str, Any], workspace: Path) -> dict[str, Any]:
    report = workspace / "reports" / f"{row['night']}.html"
    return {"report": str(report) if report.exists() else ""}


def _main_figures(row: dict[str, Any], _workspace: Path) -> dict[str, Any]:
    return {name: row["figures"][name] for name in ("synthetic_auroc", "threshold")}


BATCHES = Listing(
    ("nights", "list_batches"),
    "-night",
    "night line batch_id status num_images num_quarantined rejected_for data_docs_uri",
    "List batches, what became of them, and where their Data Docs are.",
)
RATES = Listing(
    ("nights", "list_daily_rates"),
    "-night",
    "night line num_images num_quarantined num_failed num_out_of_limits num_scored num_flagged num_confirmed "
    "num_false_alarms precision precision_low precision_high report",
    "Count images, quarantined, flagged and confirmed per line and night; names the night's report.",
    _report_of,
)
VERSIONS = Listing(
    ("models", "list_model_versions"),
    "-registered_at",
    "registered_at line model_version state serves_as synthetic_auroc threshold run_id",
    "List registered models, where each stands and who of them is champion.",
    _main_figures,
)
LEDGER = Listing(
    ("models", "list_ledger"),
    "-entry_id",
    "decided_at line event from_version to_version author note reasons",
    "List everything that happened to champions and thresholds, with the reasons.",
)
QUARANTINE = Listing(
    ("nights", "list_odd_images"),
    "-night",
    "night line batch_id name status reason detail score released_by",
    "List images that are quarantined, failed, or scored out of their limits, with their reasons.",
)


def add_to(app: typer.Typer) -> None:
    """Give the commands to the application."""
    panel = "Queries"
    app.command(rich_help_panel=panel)(anomalies)
    for name, listing in {"batches": BATCHES, "rates": RATES, "versions": VERSIONS, "ledger": LEDGER}.items():
        app.command(name, rich_help_panel=panel, help=listing.help)(_command(listing))
    app.command(rich_help_panel=panel)(runs)
    quarantine_app.command("list", help=QUARANTINE.help)(_command(QUARANTINE))
    app.add_typer(images_app, name="images", rich_help_panel="Queries")
    app.add_typer(quarantine_app, name="quarantine", rich_help_panel="Queries")


def _command(listing: Listing) -> Callable[..., None]:
    def command(
        line: LineOption = None,
        sort: SortOption = listing.sort,
        page: PageOption = 1,
        page_size: PageSizeOption = 50,
        how: FormatOption = Format.TABLE,
        out: OutOption = None,
    ) -> None:
        from importlib import import_module

        from cae_pipeline.adapters.results.queries.paging import Page

        module, name = listing.query
        query = getattr(import_module(f"cae_pipeline.adapters.results.queries.{module}"), name)
        _, services = open_services()
        with services.read() as connection:
            rows = [asdict(row) for row in query(connection, line, Page(sort, page, page_size))]
        shown = [{**row, **listing.add(row, services.workspace)} for row in rows]
        print_rows(shown, how=how, columns=listing.columns.split(), out=out)

    return command


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
    from cae_pipeline.adapters.results.queries.anomalies import AnomalyFilter, list_anomalies
    from cae_pipeline.adapters.results.queries.paging import Page

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
    with services.read() as connection:
        found = list_anomalies(connection, wanted, Page(sort, page, page_size))
    rows = [asdict(row) for row in found]
    for row in rows:
        row["num_regions"] = len(row["regions"])
        row["image"] = row["image_id"][:12]
    columns = ["night", "line", "batch_id", "name", "image", "score", "threshold", "p_value", "num_regions", "reason"]
    print_rows(rows, how=how, columns=[*columns, "verdict", "model_version"], out=out)


def runs(
    line: LineOption = None,
    max_results: Annotated[int, typer.Option("--page-size", min=1, help="How many.")] = 50,
    how: FormatOption = Format.TABLE,
    out: OutOption = None,
) -> None:
    """List trainings as MLflow knows them, newest first."""
    from cae_pipeline.adapters.tracking import list_runs, registered_name

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


@images_app.command("show")
def show_image(
    image_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the first digits of it.")],
) -> None:
    """Print everything known of one image."""
    from cae_pipeline.adapters.results.queries.images import show_image as ask

    _, services = open_services()
    with services.read() as connection:
        print(json.dumps(asdict(ask(connection, image_id)), default=str, indent=2))


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
    from cae_pipeline.steps.life.review import release_images

    _, services = open_services()
    print_result(asdict(release_images(line, batch_id, names or (), services, note=note)))
