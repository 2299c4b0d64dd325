"""What several commands need: their options, and the outside world."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, time, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cae_pipeline.cli.printing import Format
from cae_pipeline.errors import ConfigurationError, NotFoundError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from cae_pipeline.domain.line import Line
    from cae_pipeline.settings import Settings
    from cae_pipeline.steps.services import Services

MAX_NUMBER = 1_000_000_000
"""Above what any list is long, and far below where a database runs out of digits."""
FormatOption = Annotated[Format, typer.Option("--format", "-f", help="How to print.")]
OutOption = Annotated[Path | None, typer.Option("--out", "-o", help="Write to this file instead of printing.")]
SortOption = Annotated[str, typer.Option("--sort", help="Column to sort by; a minus before it turns the order around.")]
PageOption = Annotated[int, typer.Option("--page", min=1, max=MAX_NUMBER, help="Which page.", metavar="NUMBER")]
PageSizeOption = Annotated[
    int | None,
    typer.Option(
        "--page-size",
        min=1,
        max=MAX_NUMBER,
        metavar="NUMBER",
        help="Rows on a page; without: 50 in a table, all in the other formats.",
    ),
]
LineOption = Annotated[str | None, typer.Option("--line", "-l", help="Only this line.")]
SeedOption = Annotated[
    int | None, typer.Option("--seed", min=0, max=2**32 - 1, metavar="NUMBER", help="Instead of the line's.")
]
EpochsOption = Annotated[
    int | None, typer.Option("--epochs", min=1, max=MAX_NUMBER, metavar="NUMBER", help="Instead of the preset's.")
]
PresetOption = Annotated[
    str | None, typer.Option("--preset", help="quick, normal or thorough, instead of the line's.", metavar="PRESET")
]
EffortOption = Annotated[str | None, typer.Option("--effort", hidden=True, help="The old name of --preset.")]
RuntimeOption = Annotated[
    str | None,
    typer.Option("--runtime", help="onnx, openvino, keras or auto, instead of CAE_RUNTIME.", metavar="RUNTIME"),
]
LineArgument = Annotated[str, typer.Argument(metavar="LINE", help="A line of lines.toml.")]


def open_services() -> tuple[Settings, Services]:
    """Read the environment and connect."""
    from cae_pipeline.settings import read_settings
    from cae_pipeline.wiring import connect

    settings = read_settings()
    return settings, connect(settings)


def open_line(name: str, *, runtime: str | None = None) -> tuple[Line, Settings, Services]:
    """Read the environment and the line, and connect; `runtime` instead of the environment's, if it is given."""
    from cae_pipeline.lines_file import find_line, read_lines
    from cae_pipeline.settings import read_settings
    from cae_pipeline.wiring import connect

    settings = read_settings(**({"runtime": runtime} if runtime else {}))
    line = find_line(read_lines(settings.lines_path), name)
    return line, settings, connect(settings)


def open_known_line(name: str) -> tuple[Line, Settings, Services]:
    """As `open_line`, for questions about a line: one that has rows but left lines.toml is known, too."""
    from cae_pipeline.domain.line import Line

    settings, services = open_services()
    with services.read() as connection:
        described = check_line(connection, name, settings)
    return described or Line(name), settings, services


def check_line(connection: sa.Connection, name: str | None, settings: Settings) -> Line | None:
    """Make sure that a line is known: it has rows, or lines.toml describes it.

    Returns:
        The line as lines.toml describes it; None where it does not, or no name is given.

    Raises:
        NotFoundError: If nobody knows it; says which known name is nearest.
    """
    from cae_pipeline.adapters.results.queries.names import lines_with_rows
    from cae_pipeline.lines_file import read_lines

    if name is None:
        return None
    known = lines_with_rows(connection)
    described = read_lines(settings.lines_path) if settings.lines_path.is_file() else {}
    if name not in known and name not in described:
        advice = "Lines are described in lines.toml."
        raise NotFoundError("line", name, known=sorted({*known, *described}), advice=advice)
    return described.get(name)


def check_batch(connection: sa.Connection, batch_id: str | None, line: str | None, services: Services) -> None:
    """Make sure that a batch was validated or lies in the landing zone, of one line or of any.

    Raises:
        NotFoundError: If nobody knows it; says which known name is nearest.
    """
    from cae_pipeline.adapters.results.queries.names import has_batch, lines_with_rows, newest_batches

    if batch_id is None or has_batch(connection, batch_id, line=line):
        return
    lines = [line] if line else sorted(lines_with_rows(connection))
    landed = {name for one in lines for name in services.landing.batch_ids(one)}
    if batch_id not in landed:
        known = [*newest_batches(connection, line=line), *sorted(landed, reverse=True)]
        raise NotFoundError("batch", batch_id, known=list(dict.fromkeys(known)), advice="`cae batches` lists them.")


def with_training(line: Line, *, seed: int | None = None, epochs: int | None = None, preset: str | None = None) -> Line:
    """Put what was said on the command line in place of the line's own knobs.

    Raises:
        ConfigurationError: If there is no such preset.
    """
    from cae_pipeline.domain.presets import PRESETS

    if preset is not None and preset not in PRESETS:
        raise ConfigurationError(f"--preset is {preset!r}; expected one of {', '.join(PRESETS)}")
    said = {"seed": seed, "epochs": epochs, "preset": preset}
    given: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    return replace(line, training=replace(line.training, **given))


def preset_of(preset: str | None, effort: str | None) -> str | None:
    """Read `--preset`, or `--effort` as it was called before, with a warning.

    Raises:
        ConfigurationError: If both are given.
    """
    from cae_pipeline.lines_file import warn_of_old_name

    if effort is None:
        return preset
    if preset is not None:
        raise ConfigurationError("received both --preset and --effort, expected --preset alone: that is its name now")
    warn_of_old_name("--effort", "--preset", where="command line")
    return effort


def as_date(text: str) -> date:
    """Read `2026-01-31`, or a time of that day; a time with a zone means its day in the plant's zone."""
    moment = _moment(text, "a date like 2026-01-31")
    return (moment.astimezone(_plant_zone()) if moment.tzinfo else moment).date()


def as_moment(text: str) -> datetime:
    """Read a date or time; without a zone it is the plant's, a date alone is its end."""
    moment = _moment(text, "a date like 2026-01-31 or a time like 2026-01-31T22:00")
    if _is_date(text):
        moment = datetime.combine(moment.date(), time.max)
    return moment if moment.tzinfo else moment.replace(tzinfo=_plant_zone())


def _plant_zone() -> tzinfo:
    from cae_pipeline.domain.calendar import find_zone
    from cae_pipeline.settings import read_settings

    return find_zone(read_settings().time_zone, where="CAE_TIME_ZONE")


def _moment(text: str, expected: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"expected {expected}, received {text!r}") from error


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
