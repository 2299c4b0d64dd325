"""The product lines file: read once, checked whole, and its schema for editors."""

from __future__ import annotations

import json
import re
import tomllib
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cae_pipeline.detector.convolution import encoder_sizes
from cae_pipeline.detector.tiling import check_cells
from cae_pipeline.domain.calendar import calendar_of
from cae_pipeline.domain.image_settings import ImageSettings
from cae_pipeline.domain.line import Line
from cae_pipeline.errors import ConfigurationError, NotFoundError

_LINE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_LINES = TypeAdapter(dict[str, Line])

RENAMED_KNOBS = {
    "model": {"code_size": "latent_size", "detail": "feature_resolution", "views": "heads"},
    "training": {"effort": "preset", "turns": "augmentations"},
}
"""Table of a line → old name of a knob → what it is called now. The old names are read for one release."""


def read_lines(path: Path) -> dict[str, Line]:
    """Read and check the product lines file.

    Raises:
        ConfigurationError: If it is missing or wrong; names the line, the knob, what was received and expected.
    """
    if not path.is_file():
        raise ConfigurationError(
            f"no product lines file at {path}. Write one with `cae lines init`, or set CAE_LINES_FILE."
        )
    lines = parse_lines(read_toml(path), where=str(path))
    return {name: replace(line, area=line.area.beside(path.parent)) for name, line in lines.items()}


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigurationError: If it cannot be read or is not TOML; says where.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(f"expected a TOML file, received {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error


def parse_lines(content: dict[str, Any], *, where: str) -> dict[str, Line]:
    """Turn the parsed file into lines; see `read_lines`."""
    unknown = sorted(set(content) - {"lines"})
    if unknown or not isinstance(content.get("lines"), dict):
        raise ConfigurationError(f"{where}: expected tables [lines.<name>] only, received {sorted(content)}")
    named: dict[str, Any] = {}
    for name, knobs in content["lines"].items():
        if not _LINE_NAME.fullmatch(name):
            raise ConfigurationError(
                f"{where}: line {name!r} has a name that cannot be used; expected lower-case letters, digits and dashes"
            )
        if not isinstance(knobs, dict):
            raise ConfigurationError(f"{where}: expected a table [lines.{name}], received {knobs!r}")
        named[name] = {**_with_names_of_today(knobs, where=f"{where}: lines.{name}"), "name": name}
    try:
        lines = _LINES.validate_python(named)
    except ValidationError as error:
        told = "; ".join(
            f"lines.{'.'.join(_place(e['loc']))}: {e['msg']}, received {e['input']!r}" for e in error.errors()
        )
        raise ConfigurationError(f"{where}: {told}") from error
    for name, line in lines.items():
        try:
            encoder_sizes(line.model)
            check_cells(line.model)
        except ConfigurationError as error:
            error.args = (f"{where}: lines.{name}.model: {error}",)
            raise
        try:
            calendar_of(line, time_zone="UTC")
        except ConfigurationError as error:
            error.args = (f"{where}: lines.{name}.{error}",)
            raise
        _check_images(line, where=f"{where}: lines.{name}")
    return lines


def _check_images(line: Line, *, where: str) -> None:
    """Refuse what no single knob can tell by itself.

    Raises:
        ConfigurationError: If the range of floats is empty, or the table stands in the wrong place.
    """
    if line.model.images != ImageSettings():
        raise ConfigurationError(f"{where}.model.images: expected the table [lines.{line.name}.images] instead")
    if line.images.float_range and line.images.float_range[0] >= line.images.float_range[1]:
        black, white = line.images.float_range
        raise ConfigurationError(
            f"{where}.images.float_range: expected [black, white] with black lower, received [{black}, {white}]"
        )


def warn_of_old_name(old: str, new: str, *, where: str) -> None:
    """Tell people that a name which they wrote is read for the last time.

    A `FutureWarning` is shown on standard error whoever reads the file, and once for each place.
    """
    warnings.warn(f"{where}: {old} is called {new} now; the old name will be refused", FutureWarning, stacklevel=2)


def _with_names_of_today(knobs: dict[str, Any], *, where: str) -> dict[str, Any]:
    """Give the knobs of one line that bear an old name the one of today; leaves what it is given as it was.

    Raises:
        ConfigurationError: If both names of a knob are given.
    """
    renamed = dict(knobs)
    for table, new_names in RENAMED_KNOBS.items():
        given = knobs.get(table)
        if not isinstance(given, dict):
            continue
        for old in sorted(set(given) & set(new_names)):
            new = new_names[old]
            if new in given:
                raise ConfigurationError(
                    f"{where}.{table}: received both {old} and {new}, expected {new} alone: {old} is its old name."
                )
            warn_of_old_name(old, new, where=f"{where}.{table}")
        renamed[table] = {new_names.get(name, name): value for name, value in given.items()}
    return renamed


def find_line(lines: dict[str, Line], name: str) -> Line:
    """Look a line up.

    Raises:
        NotFoundError: If the file has none of that name; lists those it has.
    """
    if name not in lines:
        raise NotFoundError("line", name, known=sorted(lines), advice="Lines are described in lines.toml.")
    return lines[name]


def lines_schema() -> str:
    """The JSON schema of the lines file, for editors."""
    schema = _LINES.json_schema()
    definitions = schema.pop("$defs")
    # the name is the key of the table, not a knob in it
    line = definitions["Line"]
    line["properties"].pop("name")
    line.pop("required", None)
    # settled by a training, not set by people
    definitions["AutoencoderSettings"]["properties"].pop("images")
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "cae-pipeline product lines",
        "type": "object",
        "properties": {"lines": schema},
        "required": ["lines"],
        "additionalProperties": False,
        "$defs": definitions,
    }
    return json.dumps(whole, indent=2) + "\n"


def _place(location: tuple[int | str, ...]) -> list[str]:
    """Without the names of the alternatives that pydantic tried, such as `constrained-int`."""
    return [str(part) for part in location if not re.search(r"[\[(]|^(int|constrained-int|tuple|literal)$", str(part))]
