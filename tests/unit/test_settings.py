from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from cae_pipeline.cli.shared import preset_of
from cae_pipeline.domain.line import Line
from cae_pipeline.errors import ConfigurationError, NotFoundError
from cae_pipeline.lines_file import RENAMED_KNOBS, find_line, lines_schema, parse_lines, read_lines
from cae_pipeline.settings import Settings, read_settings

REPOSITORY = Path(__file__).parents[2]


def _parse(**knobs: Any) -> dict[str, Line]:
    return parse_lines({"lines": {"cells": knobs}}, where="lines.toml")


def test_a_line_without_a_knob_has_every_default() -> None:
    assert _parse()["cells"] == Line("cells")


@pytest.mark.parametrize(
    ("knobs", "told"),
    [
        ({"model": {"padding": "full"}}, "lines.cells.model.padding"),
        ({"model": {"strides": 0}}, "lines.cells.model.strides"),
        ({"model": {"filtres": [8]}}, "lines.cells.model.filtres"),
        ({"model": {"channels": 4}}, "lines.cells.model.channels"),
        ({"target_false_alarm_rate": 0}, "lines.cells.target_false_alarm_rate"),
        ({"training": {"seed": -1}}, "lines.cells.training.seed"),
        ({"validation": {"max_quarantined_share": 2}}, "received 2"),
        (
            {"model": {"feature_resolution": 3, "width_px": 40, "filters": [4, 4]}},
            r"192 × 120 px, expected multiples of 16.*\[2, 4",
        ),
        ({"model": {"height_px": 65}}, r"lines.cells.model: layer 'decoder_1' restores a height"),
        ({"colour": "red"}, "lines.cells.colour"),
    ],
)
def test_a_wrong_knob_is_named_with_what_was_received(knobs: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        _parse(**knobs)


@pytest.mark.parametrize("name", ["../up", "Cells", "a b", "-a", ""])
def test_a_name_that_could_leave_its_folder_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be used"):
        parse_lines({"lines": {name: {}}}, where="lines.toml")


def test_a_missing_lines_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cae lines init"):
        read_lines(tmp_path / "lines.toml")


def test_an_unknown_line_lists_the_known_ones() -> None:
    with pytest.raises(NotFoundError, match="Known: cells"):
        find_line(_parse(), "wells")


def test_seed_zero_is_kept() -> None:
    assert _parse(training={"seed": 0})["cells"].training.seed == 0


@pytest.mark.parametrize("path", ["infra/demo/lines.toml", "cae_pipeline/lines.example.toml"])
def test_the_examples_are_files_that_can_be_read(path: str) -> None:
    assert read_lines(REPOSITORY / path)


def test_the_example_shows_the_defaults() -> None:
    example = tomllib.loads((REPOSITORY / "cae_pipeline/lines.example.toml").read_text())
    [line] = parse_lines(example, where="example").values()
    assert line.model == Line("cells").model
    assert line.training == Line("cells").training
    assert line.validation == Line("cells").validation


def test_the_committed_schema_is_that_of_the_code() -> None:
    committed = (REPOSITORY / "docs/lines.schema.json").read_text()
    assert committed == lines_schema()
    assert "max_quarantined_share" in json.loads(committed)["$defs"]["ValidationSettings"]["properties"]


OLD_NAMES = [
    ("model", "code_size", "latent_size", 8),
    ("model", "detail", "feature_resolution", 2),
    ("model", "views", "heads", ["texture"]),
    ("training", "effort", "preset", "quick"),
    ("training", "turns", "augmentations", ["rotate_180"]),
]


@pytest.mark.parametrize(("table", "old", "new", "value"), OLD_NAMES)
def test_an_old_name_of_a_knob_is_read_and_the_new_one_is_told(table: str, old: str, new: str, value: Any) -> None:
    with pytest.warns(FutureWarning, match=rf"lines.toml: lines.cells.{table}: {old} is called {new} now"):
        lines = _parse(**{table: {old: value}})
    assert lines == _parse(**{table: {new: value}})


@pytest.mark.parametrize(("table", "old", "new", "value"), OLD_NAMES)
def test_the_old_and_the_new_name_of_a_knob_at_once_are_refused(table: str, old: str, new: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"lines.cells.{table}: received both {old} and {new}"):
        _parse(**{table: {old: value, new: value}})


def test_every_renamed_knob_is_tested_and_documented() -> None:
    renamed = {(table, old, new) for table, names in RENAMED_KNOBS.items() for old, new in names.items()}
    assert renamed == {(table, old, new) for table, old, new, _ in OLD_NAMES}
    text = (REPOSITORY / "docs/lines.md").read_text()
    for table, old, new in renamed:
        assert f"| `{table}` | `{old}` | `{new}` |" in text


def test_the_old_name_of_the_preset_is_taken_on_the_command_line_with_a_warning() -> None:
    with pytest.warns(FutureWarning, match="--effort is called --preset now"):
        assert preset_of(None, "quick") == "quick"
    assert preset_of("quick", None) == "quick"
    with pytest.raises(ConfigurationError, match="received both"):
        preset_of("quick", "quick")


def test_every_setting_is_documented() -> None:
    text = (REPOSITORY / "docs/settings.md").read_text()
    for name in Settings.model_fields:
        assert f"`CAE_{name.upper()}`" in text, name


def test_every_knob_is_documented() -> None:
    text = (REPOSITORY / "docs/lines.md").read_text()
    for definition in json.loads(lines_schema())["$defs"].values():
        for name in definition["properties"]:
            assert f"`{name}`" in text, name


def test_a_wrong_environment_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAE_CHUNK_SIZE", "many")
    with pytest.raises(ConfigurationError, match=r"CAE_CHUNK_SIZE.*'many'"):
        read_settings()
