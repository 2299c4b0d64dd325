"""Which flagged images a command is about: the options, and what is checked before anything is asked."""

from __future__ import annotations

import math
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from cae_pipeline.cli.shared import as_date, check_batch, check_line

if TYPE_CHECKING:
    import sqlalchemy as sa

    from cae_pipeline.adapters.results.queries.anomalies import AnomalyFilter
    from cae_pipeline.settings import Settings
    from cae_pipeline.steps.services import Services

SinceOption = Annotated[date | None, typer.Option("--since", parser=as_date, metavar="DATE", help="First night.")]
UntilOption = Annotated[date | None, typer.Option("--until", parser=as_date, metavar="DATE", help="Last night.")]
BatchOption = Annotated[str | None, typer.Option("--batch", help="Only this batch_id.")]
VersionOption = Annotated[
    str | None, typer.Option("--model-version", help="As judged by this one; without: as judged last.")
]
MinScoreOption = Annotated[float | None, typer.Option("--min-score", help="Only scores from here.")]
VerdictOption = Annotated[
    str | None, typer.Option("--verdict", help="defect, normal, unsure, or none for not judged yet.")
]


def check_filter(wanted: AnomalyFilter) -> None:
    """Refuse what cannot be meant, before anything is opened.

    Raises:
        typer.BadParameter: Names the option, what was expected and what was received.
    """
    from cae_pipeline.domain.verdict import WORDS
    from cae_pipeline.errors import nearest_name

    if wanted.since and wanted.until and wanted.since > wanted.until:
        raise typer.BadParameter(f"expected --since before --until, received {wanted.since} and {wanted.until}")
    if wanted.min_score is not None and math.isnan(wanted.min_score):
        raise typer.BadParameter("--min-score: expected a number, received nan")
    words = (*WORDS, "none")
    if wanted.verdict is not None and wanted.verdict not in words:
        nearest = nearest_name(wanted.verdict, words)
        meant = f". Did you mean {nearest!r}?" if nearest else ""
        raise typer.BadParameter(f"--verdict: expected one of {', '.join(words)}, received {wanted.verdict!r}{meant}")


def check_names(connection: sa.Connection, wanted: AnomalyFilter, settings: Settings, services: Services) -> None:
    """Make sure that line, batch and model version are known.

    Raises:
        NotFoundError: If one is not; says which known name is nearest.
    """
    from cae_pipeline.adapters.results.model_versions import find_version

    check_line(connection, wanted.line, settings)
    check_batch(connection, wanted.batch_id, wanted.line, services)
    if wanted.model_version is not None:
        find_version(connection, wanted.model_version)
