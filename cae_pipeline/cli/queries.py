"""Questions to the results table, and releases from quarantine."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from cae_pipeline.cli.exports import Kinds, kinds_of
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
from cae_pipeline.cli.listings import TABLE_ROWS, CountedRows, Listing, command_of, page_of, tell_rest
from cae_pipeline.cli.printing import Format, print_result, print_rows
from cae_pipeline.cli.shared import (
    MAX_NUMBER,
    FormatOption,
    LineOption,
    OutOption,
    PageOption,
    PageSizeOption,
    SortOption,
    check_batch,
    check_line,
    open_services,
)

images_app = typer.Typer(no_args_is_help=True, help="Single images.")
quarantine_app = typer.Typer(no_args_is_help=True, help="Images that were kept from scoring.")


def _link(workspace: Path, name: str) -> str:
    """An address that opens a file of the workspace whatever its name; empty without a name."""
    return (workspace / name).as_uri() if name else ""


def _report_of(row: dict[str, Any], workspace: Path) -> dict[str, Any]:
    report = f"reports/{row['night']}.html"
    return {"report": _link(workspace, report if (workspace / report).exists() else "")}


def _data_docs_of(row: dict[str, Any], workspace: Path) -> dict[str, Any]:
    return {"data_docs": _link(workspace, row["data_docs_uri"])}


def _main_figures(row: dict[str, Any], _workspace: Path) -> dict[str, Any]:
    return {name: row["figures"].get(name) for name in ("synthetic_auroc", "threshold")}


def _file_of(row: dict[str, Any], workspace: Path) -> dict[str, Any]:
    return {"file": _link(workspace, f"landing/{row['line']}/{row['batch_id']}/{row['name']}")}


def _of_anomaly(row: dict[str, Any], workspace: Path) -> dict[str, Any]:
    return {
        "num_regions": len(row["regions"]),
        "image": row["image_id"][:12],
        "map": _link(workspace, row["map_uri"]),
        **_file_of(row, workspace),
    }


BATCHES = Listing(
    "nights",
    "BatchRow",
    "each_batch",
    "count_batches",
    "-night",
    "night line batch_id status num_images num_quarantined rejected_for data_docs_uri",
    "List batches, what became of them, and where their Data Docs are.",
    _data_docs_of,
    {"data_docs": str},
)
RATES = Listing(
    "nights",
    "RateRow",
    "each_daily_rate",
    "count_daily_rates",
    "-night",
    "night line num_images num_quarantined num_failed num_out_of_limits num_scored num_flagged num_confirmed "
    "num_false_alarms precision precision_low precision_high report",
    "Count images, quarantined, flagged and confirmed per line and night; names the night's report.",
    _report_of,
    {"report": str},
)
VERSIONS = Listing(
    "models",
    "VersionRow",
    "each_model_version",
    "count_model_versions",
    "-registered_at",
    "registered_at line model_version state serves_as synthetic_auroc threshold run_id",
    "List registered models, where each stands and who of them is champion.",
    _main_figures,
    {"synthetic_auroc": float, "threshold": float},
)
LEDGER = Listing(
    "models",
    "LedgerRow",
    "each_entry",
    "count_entries",
    "-entry_id",
    "decided_at line event from_version to_version author note reasons",
    "List everything that happened to champions and thresholds, with the reasons.",
)
QUARANTINE = Listing(
    "nights",
    "OddImageRow",
    "each_odd_image",
    "count_odd_images",
    "-night",
    "night line batch_id name status reason detail score released_by",
    "List images that are quarantined, failed, or scored out of their limits, with their reasons.",
    _file_of,
    {"file": str},
)


def add_to(app: typer.Typer) -> None:
    """Give the commands to the application."""
    panel = "Queries"
    app.command(rich_help_panel=panel)(anomalies)
    for name, listing in {"batches": BATCHES, "rates": RATES, "versions": VERSIONS, "ledger": LEDGER}.items():
        app.command(name, rich_help_panel=panel, help=listing.help)(command_of(listing))
    app.command(rich_help_panel=panel)(runs)
    quarantine_app.command("list", help=QUARANTINE.help)(command_of(QUARANTINE))
    app.add_typer(images_app, name="images", rich_help_panel="Queries")
    app.add_typer(quarantine_app, name="quarantine", rich_help_panel="Queries")


def anomalies(
    line: LineOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    batch: BatchOption = None,
    model_version: VersionOption = None,
    min_score: MinScoreOption = None,
    verdict: VerdictOption = None,
    sort: SortOption = "-score",
    page: PageOption = 1,
    page_size: PageSizeOption = None,
    how: FormatOption = Format.TABLE,
    out: OutOption = None,
) -> None:
    """List flagged images."""
    from cae_pipeline.adapters.results.queries.anomalies import (
        AnomalyFilter,
        AnomalyRow,
        count_anomalies,
        each_anomaly,
    )

    wanted = AnomalyFilter(line, since, until, batch, model_version, min_score, verdict)
    check_filter(wanted)
    settings, services = open_services()
    on_page = page_of(sort, page, page_size, how=how)
    kinds = {**kinds_of(AnomalyRow), "num_regions": int, "image": str, "map": str, "file": str}
    columns = ["night", "line", "batch_id", "name", "image", "score", "threshold", "p_value", "num_regions", "reason"]
    with services.read() as connection:
        check_names(connection, wanted, settings, services)
        found = map(asdict, each_anomaly(connection, wanted, on_page))
        rows = CountedRows({**row, **_of_anomaly(row, services.workspace)} for row in found)
        print_rows(rows, how=how, kinds=kinds, columns=[*columns, "verdict", "model_version"], out=out)
        tell_rest(rows.num_rows, lambda: count_anomalies(connection, wanted), on_page)


RUN_KINDS: Kinds = {
    "started_at": datetime,
    "experiment": str,
    "run_name": str,
    "status": str,
    "model_version": str,
    "decision": str,
    "synthetic_auroc": float,
    "validation_loss": float,
    "epochs": float,
    "run_id": str,
}


def runs(
    line: LineOption = None,
    page_size: Annotated[
        int | None, typer.Option("--page-size", min=1, max=MAX_NUMBER, metavar="NUMBER", help="How many; see --format.")
    ] = None,
    how: FormatOption = Format.TABLE,
    out: OutOption = None,
) -> None:
    """List trainings as MLflow knows them, newest first."""
    from cae_pipeline.adapters.tracking import list_runs, registered_name

    settings, services = open_services()
    with services.read() as connection:
        check_line(connection, line, settings)
    experiment = registered_name(line) if line else None
    size = page_size or (TABLE_ROWS if how is Format.TABLE else None)
    # one more than is shown says whether there are more
    found = list_runs(services.tracking_uri, experiment=experiment, max_results=size and size + 1)
    rows = CountedRows(islice(found, size))
    print_rows(rows, how=how, kinds=RUN_KINDS, columns=[name for name in RUN_KINDS if name != "run_id"], out=out)
    left = sum(1 for _ in found)
    if left:
        sys.stdout.flush()
        print(
            f"{rows.num_rows} of more runs; --page-size {2 * rows.num_rows} or --format csv for more", file=sys.stderr
        )


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

    settings, services = open_services()
    with services.read() as connection:
        check_line(connection, line, settings)
        check_batch(connection, batch_id, line, services)
    print_result(asdict(release_images(line, batch_id, names or (), services, note=note)))
