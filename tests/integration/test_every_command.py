"""All commands, found by looking at the application: wrong words end in one sentence, helps show every bracket."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cae_pipeline.cli import app, logs, main
from cae_pipeline.cli.printing import Format
from tests.conftest import LINES_TOML

Words = list[str]

NEEDED = {
    "line": "washers",
    "night": "2026-01-31",
    "since": "2026-01-31",
    "until": "2026-01-31",
    "model_version": "cae-washers/1",
    "image_id": "abc123",
    "word": "defect",
    "value": "1.5",
    "batch_id": "2026-01-31",
}
"""What a command is given for an argument that it needs and that is not the wrong one."""
WRONG: dict[type, tuple[str, ...]] = {
    int: ("a", "-1", "99999999999999999999"),
    float: ("a", "nan", "-1"),
    date: ("yesterday", ""),
    datetime: ("yesterday", ""),
    Format: ("yesterday", "CSVX"),
}
"""What a parameter holds → words that are wrong for it."""
FREE_TEXT = ("note", "prefix")
"""Parameters for which no word is wrong."""
WRONG_NAMES = ("wahsers", "-2026-01-31", "ü#?%[red]", "\udc80")
"""For parameters that take any text, and for paths."""


@cache
def every_command() -> dict[str, Any]:
    """All commands by the words they are called with."""

    def walk(command: Any, words: Words) -> Iterator[tuple[str, Any]]:
        yield " ".join(words), command
        for name, child in getattr(command, "commands", {}).items():
            yield from walk(child, [*words, name])

    return dict(walk(typer.main.get_command(app), []))


LEAVES = [name for name, command in every_command().items() if not hasattr(command, "commands")]


def _words_for(parameter: Any, value: str) -> Words:
    if parameter.param_type_name == "argument":
        # behind two dashes whatever comes is an argument
        return ["--", value] if value.startswith("-") else [value]
    return [f"{max(parameter.opts, key=len)}={value}"]


def _needed(parameter: Any, folder: Path) -> str:
    return NEEDED.get(parameter.name) or str(folder / "nothing")


def wrong_calls(name: str, folder: Path) -> Iterator[Words]:
    """Calls of a command that are wrong in one thing each."""
    parameters = [one for one in every_command()[name].params if one.name != "help"]
    yield [*name.split(), "--no-such-option"]
    yield [*name.split(), *["one too many"] * 9]
    for wrong in parameters:
        if getattr(wrong, "is_flag", False) or wrong.name in FREE_TEXT:
            continue
        values = WRONG.get(wrong.type_descriptor.annotation, WRONG_NAMES)
        for value in values:
            given = {one.name: _needed(one, folder) for one in parameters if one.required} | {wrong.name: value}
            by_name = {one.name: one for one in parameters}
            options = [one for one in given if by_name[one].param_type_name == "option"]
            arguments = [one for one in given if by_name[one].param_type_name == "argument"]
            arguments.sort(key=list(by_name).index)
            yield [
                *name.split(),
                *(word for one in [*options, *arguments] for word in _words_for(by_name[one], given[one])),
            ]


@pytest.fixture(scope="module")
def shared_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace for all these tests: wrong words change nothing in it, and its tables are made once."""
    folder = tmp_path_factory.mktemp("shared") / "workspace"
    folder.mkdir()
    (folder / "lines.toml").write_text(LINES_TOML)
    return folder


@pytest.fixture
def run(
    shared_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """Run a command as the shell does; returns its exit code and what it wrote to both streams."""
    for name in [name for name in os.environ if name.startswith("CAE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CAE_WORKSPACE", str(shared_workspace))
    monkeypatch.setattr(logs, "configure_logs", lambda: None)
    # made anew it takes longer than most of these calls
    monkeypatch.setattr(typer.main, "get_command", lambda _: every_command()[""])
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def _run(words: Words) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cae", *words])
        capsys.readouterr()
        # whatever else is raised would be a traceback
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return _run


@pytest.mark.parametrize("name", LEAVES)
def test_wrong_words_end_in_one_sentence(name: str, run: Callable[..., Any], tmp_path: Path) -> None:
    num_refused = 0
    for words in wrong_calls(name, tmp_path):
        code, _, err = run(words)
        sentences = [line for line in err.splitlines() if line.startswith("cae: ")]
        assert code in (0, 1, 2, 3), words
        assert "Traceback" not in err, words
        assert len(sentences) == (1 if code else 0), (words, err)
        num_refused += code == 2
    assert num_refused >= 2


@pytest.mark.parametrize("name", every_command())
def test_a_help_shows_every_bracket(name: str, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    command = every_command()[name]
    monkeypatch.setenv("COLUMNS", "400")
    code, shown, _ = run([*name.split(), "--help"])
    assert code == 0
    texts = [command.help or "", *(getattr(one, "help", None) or "" for one in command.params)]
    for text in texts:
        for bracket in re.findall(r"\[[^\[\]]+\]", text.replace("\\[", "[")):
            assert bracket in shown, (name, bracket)
