"""`make demo`: the whole job on real images – deliver, train, inspect four nights, look at the results.

It runs the DAGs of `dags/` as they are, one after the other, with Airflow's own `dag.test`; their
runs stand in Airflow's database afterwards, for `make up` to show.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.demo.deliver import LINES, NIGHTS, REJECTED_BATCH, deliver
from infra.local.environment import REPOSITORY, local_environment

CREDIT = (
    "Images: elpv-dataset 1.0.0.post1, electroluminescence images of solar cells by ZAE Bayern\n"
    "(Buerhop-Lutz et al. 2018, Deitsch et al. 2019 and 2021), CC BY-NC-SA 4.0: not for commercial use."
)


def main() -> None:
    """Run the demo; a second run finds everything done and says so."""
    started = time.monotonic()
    os.environ.update(local_environment(Path(os.environ.get("CAE_WORKSPACE", REPOSITORY / "workspace"))))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from cae_pipeline.lines_file import read_lines
    from cae_pipeline.settings import read_settings
    from cae_pipeline.wiring import connect

    settings = read_settings()
    log = settings.path("demo.log")
    say(f"Workspace {settings.path()}; everything Airflow says goes to {log.name} there.")
    if not settings.lines_path.exists():
        settings.lines_path.parent.mkdir(parents=True, exist_ok=True)
        settings.lines_path.write_text((REPOSITORY / "infra/demo/lines.toml").read_text())
    new, old, labels = deliver(settings.path("landing"))
    say(f"Delivered {len(new)} batches to the landing zone; {len(old)} were there already.")
    services = connect(settings)
    before = _row_counts(services)
    with quiet(log):
        subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True)
        dags = _load_dags()
    _train(dags, services, log)
    for night in NIGHTS:
        _inspect(dags, night, services, log)
    _run(dags["rescore_batches"], log, conf={"line": "cells-mono", "since": NIGHTS[0], "until": NIGHTS[0]})
    say("rescore_batches: the first night judged again by the champion; nothing had to be added.")
    _run(dags["housekeeping"], log)
    say("housekeeping: tables checked and backed up.")
    _print_rows(before, _row_counts(services))
    _print_quality(services, labels, list(read_lines(settings.lines_path).values()))
    print(f"\n{CREDIT}\n")
    print(f"Reports:  {settings.path('reports')}/{NIGHTS[0]}.html and the nights after it")
    print("Query:    .venv/bin/cae anomalies --line cells-mono --since 2026-01-13")
    print("Look:     make up (Airflow and MLflow in the browser)")
    print(f"Took {time.monotonic() - started:.0f} s.")


def say(text: str) -> None:
    """Tell a person where the demo is."""
    print(f"{datetime.now():%H:%M:%S}  {text}", flush=True)  # noqa: DTZ005


@contextlib.contextmanager
def quiet(log: Path) -> Iterator[None]:
    """Send everything this process and its children print to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for copy, original in zip(kept, (1, 2), strict=True):
                os.dup2(copy, original)
                os.close(copy)


def _load_dags() -> dict[str, Any]:
    from airflow.dag_processing.dagbag import BundleDagBag

    folder = REPOSITORY / "dags"
    bag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags-folder")
    if bag.import_errors:
        raise SystemExit(f"DAGs cannot be imported: {bag.import_errors}")
    return dict(bag.dags)


def _run(dag: Any, log: Path, *, logical_date: datetime | None = None, conf: dict[str, Any] | None = None) -> Any:
    with quiet(log):
        return dag.test(logical_date=logical_date or datetime.now(UTC), run_conf=conf or {})


def _train(dags: dict[str, Any], services: Any, log: Path) -> None:
    from cae_pipeline.adapters.results import ledger, model_versions

    for line in LINES:
        with services.read() as connection:
            serving = model_versions.champion_or_none(connection, line)
        if serving is not None:
            say(f"{line}: champion {serving.model_version} is there already, nothing to train.")
            continue
        say(f"train_model: training {line} …")
        started = time.monotonic()
        run = _run(dags["train_model"], log, conf={"line": line, "note": "First model of the demo"})
        if str(run.state) != "success":
            raise SystemExit(f"train_model ended as {run.state}; see {log}")
        with services.read() as connection:
            champion = ledger.champion_of(connection, line)
        say(
            f"train_model: {champion.model_version} is champion after {time.monotonic() - started:.0f} s "
            f"({champion.figures['epochs']:.0f} epochs, {champion.figures['train_seconds']:.0f} s of them in training)."
        )


def _inspect(dags: dict[str, Any], night: str, services: Any, log: Path) -> None:
    from cae_pipeline.adapters.results.queries.nights import list_daily_rates
    from cae_pipeline.adapters.results.queries.paging import Page

    done = _batches(services, night)
    moment = datetime.fromisoformat(f"{night}T23:30:00+00:00")
    run = _run(dags["nightly_inspection"], log, logical_date=moment)
    with services.read() as connection:
        rates = list_daily_rates(connection, None, Page("line", page_size=999))
    told = "; ".join(
        f"{row.line} {row.num_images} images, {row.num_quarantined} quarantined, {row.num_flagged} flagged"
        for row in rates
        if str(row.night) == night
    )
    already = f" ({len(done)} batches were there already)" if done else ""
    say(f"nightly_inspection {night}: {told}{already}")
    for batch in _batches(services, night):
        if batch.status == "rejected":
            say(f"  rejected as a whole: {batch.line}/{batch.batch_id}: {batch.rejected_for}")
    expected = "failed" if night in REJECTED_BATCH[1] and not done else "success"
    if str(run.state) != expected:
        raise SystemExit(f"nightly_inspection of {night} ended as {run.state}, expected {expected}; see {log}")


def _batches(services: Any, night: str) -> list[Any]:
    from cae_pipeline.adapters.results.queries.nights import list_batches
    from cae_pipeline.adapters.results.queries.paging import Page

    with services.read() as connection:
        found = list_batches(connection, None, Page("batch_id", page_size=999))
    return [row for row in found if str(row.night) == night]


def _row_counts(services: Any) -> dict[str, int]:
    import sqlalchemy as sa

    from cae_pipeline.adapters.results.schema import deliveries, images, judgements, ledger

    with services.read() as connection:
        tables = (deliveries, images, judgements, ledger)
        return {table.name: connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0 for table in tables}


def _print_rows(before: dict[str, int], after: dict[str, int]) -> None:
    told = ", ".join(f"{name} {count} ({count - before[name]} new)" for name, count in after.items())
    say(f"Rows in the results database: {told}.")


def _print_quality(services: Any, labels: dict[str, float], lines: list[Any]) -> None:
    """Hold scores against the dataset's labels; no model has seen one of these images in training."""
    import numpy as np

    from cae_pipeline.adapters.results.queries.flagged import all_of_line
    from cae_pipeline.statistics.metrics import image_figures

    print("\nOn labelled images never trained on (normal: defect probability 0, defective: 1):\n")
    print("line         normal  defective  image AUROC  false alarms seen (95 % interval)  promised")
    for line in lines:
        with services.read() as connection:
            rows = all_of_line(connection, line.name)
        known = [row for row in rows if labels.get(row.image_id) in (0.0, 1.0)]
        figures = image_figures(
            np.array([row.score for row in known]),
            np.array([row.is_anomalous for row in known], dtype=bool),
            np.array([labels[row.image_id] == 1.0 for row in known]),
        )
        print(
            f"{line.name:12} {figures.num_normal:6}  {figures.num_defective:9}  {figures.image_auroc:11.3f}  "
            f"{figures.false_alarm_rate:9.1%} ({figures.false_alarm_low:.1%} to {figures.false_alarm_high:.1%})"
            f"{'':9}{line.target_false_alarm_rate:8.0%}"
        )


if __name__ == "__main__":
    main()
