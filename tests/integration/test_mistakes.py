"""Ordinary mistakes: one sentence with what was expected and received, and the exit code that Airflow reads."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cae_pipeline.cli import logs, main
from tests.conftest import LINES_TOML

Cae = Callable[..., tuple[int, str]]

RETRY, WRONG_WORDS = 1, 2


@pytest.fixture
def cae(workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cae:
    """Run a command as the shell does; returns its exit code and its only sentence."""
    monkeypatch.setattr(logs, "configure_logs", lambda: None)

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["cae", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        [told] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cae: ")]
        assert isinstance(ended.value.code, int)
        return ended.value.code, told

    return run


@pytest.mark.parametrize(
    ("words", "expected", "received"),
    [
        (["champion", "show", "washers", "--as-of", "yesterday"], "2026-01-31T22:00", "'yesterday'"),
        (["champion", "show", "washers", "--as-of", "2026-01-3"], "2026-01-31T22:00", "'2026-01-3'"),
        (["find", "--night", "tonight"], "2026-01-31", "'tonight'"),
        (["rescore", "washers", "--since", "x", "--until", "2026-01-31"], "2026-01-31", "'x'"),
        (["anomalies", "--since", "x"], "2026-01-31", "'x'"),
        (["benchmark", ".", "--seeds", "a"], "0,1,2", "'a'"),
        (["benchmark", ".", "--seeds", "1,,2"], "0,1,2", "'1,,2'"),
        (["benchmark", ".", "--seeds", "-1"], "0,1,2", "'-1'"),
        (["score", "washers", "--slice", "x"], "key:start:stop", "'x'"),
        (["score", "washers", "--slice", "key:one:2"], "key:start:stop", "'key:one:2'"),
        (["verdict", "abc", "perhaps"], "defect, normal, unsure", "'perhaps'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_words(cae: Cae, words: list[str], expected: str, received: str) -> None:
    code, told = cae(*words)
    assert code == WRONG_WORDS
    assert f"expected {expected}" in told or expected in told.split("expected")[1]
    assert received in told.split("received")[1]


def test_unknown_commands_and_options_are_one_sentence_too(cae: Cae) -> None:
    assert cae("fnid")[0] == cae("find", "--nigth", "2026-01-31")[0] == cae("find")[0] == WRONG_WORDS


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[model\n", "knobs.toml is not TOML"),
        ("model = 'large'", "lines.evaluated.model"),
        ("[model]\nheight_px = 65", "knobs.toml: lines.evaluated.model: "),
        ("[modle]\n", "modle"),
    ],
)
def test_knobs_that_cannot_be_used(cae: Cae, tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "knobs.toml").write_text(content)
    code, told = cae("evaluate", str(tmp_path), "--config", str(tmp_path / "knobs.toml"))
    assert code == WRONG_WORDS
    assert sentence in told
    assert cae("evaluate", str(tmp_path), "--config", str(tmp_path / "none.toml"))[0] == WRONG_WORDS


@pytest.mark.parametrize(
    ("content", "received"),
    [
        ("[lines]\nwashers = 'on'", "[lines.washers], received 'on'"),
        ("lines = 'washers'", "received ['lines']"),
        ("[lines.washers]\nmodel = 'on'", "received 'on'"),
    ],
)
def test_a_word_where_the_lines_file_needs_a_table(cae: Cae, workspace: Path, content: str, received: str) -> None:
    (workspace / "lines.toml").write_text(content)
    code, told = cae("lines", "check")
    assert code == WRONG_WORDS
    assert received in told


@pytest.mark.parametrize(
    ("url", "code", "sentence"),
    [
        ("postgres//cae:s3cret@db/cae", WRONG_WORDS, "expected an SQLAlchemy URL"),
        ("postgre://cae:s3cret@db/cae", WRONG_WORDS, "expected an SQLAlchemy URL"),
        ("mssql+pymssql://cae:s3cret@db/cae", WRONG_WORDS, "expected an SQLAlchemy URL"),
        ("postgresql+psycopg://cae:s3cret@127.0.0.1:9/cae?password=s3cret", RETRY, "cannot be used: "),
        ("sqlite:////proc/none/results.db", WRONG_WORDS, "cannot be opened"),
    ],
)
def test_a_results_database_that_cannot_be_used(
    cae: Cae, monkeypatch: pytest.MonkeyPatch, url: str, code: int, sentence: str
) -> None:
    monkeypatch.setenv("CAE_RESULTS_URL", url)
    answer = cae("batches")
    assert answer[0] == code
    assert "CAE_RESULTS_URL" in answer[1]
    assert sentence in answer[1]
    assert "s3cret" not in answer[1]


def test_a_missing_driver_of_postgresql_says_what_to_install(cae: Cae, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.setenv("CAE_RESULTS_URL", "postgresql+psycopg://cae:s3cret@db/cae")
    code, told = cae("batches")
    assert code == WRONG_WORDS
    assert "pip install cae-pipeline[postgres]" in told
    assert "s3cret" not in told


def test_a_results_database_that_is_none(cae: Cae, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("no database, but long enough to be taken for the head of one" * 9)
    monkeypatch.setenv("CAE_RESULTS_URL", f"sqlite:///{tmp_path / 'notes.db'}")
    assert "file is not a database" in cae("batches")[1]


def test_a_folder_that_is_a_file(cae: Cae, workspace: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    below = str(tmp_path / "file" / "out.csv")
    for words in (
        ["batches", "--format", "csv", "--out", below],
        ["verdicts", "export", "washers", below],
        ["lines", "init", below],
    ):
        code, told = cae(*words)
        assert code == WRONG_WORDS, words
        assert f"{below} cannot be written: a part of its folder is a file. Expected a file" in told
    assert cae("batches", "--out", str(tmp_path))[0] == WRONG_WORDS
    monkeypatch.setenv("CAE_WORKSPACE", str(tmp_path / "file"))
    monkeypatch.setenv("CAE_LINES_FILE", str(workspace / "lines.toml"))
    code, told = cae("batches")
    assert code == WRONG_WORDS
    assert "CAE_WORKSPACE: expected a folder" in told


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_lines_file_that_may_not_be_read(cae: Cae, workspace: Path) -> None:
    (workspace / "lines.toml").chmod(0)
    assert cae("lines", "check")[0] == WRONG_WORDS


def test_help_shows_the_names_of_sections(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(logs, "configure_logs", lambda: None)
    for command in ("evaluate", "benchmark"):
        monkeypatch.setattr(sys, "argv", ["cae", command, "--help"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        printed = capsys.readouterr().out
        assert "[model]" in printed
        assert "[training]" in printed


def test_what_is_right_ends_well(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    monkeypatch.setattr(logs, "configure_logs", lambda: None)
    (workspace / "lines.toml").write_text(LINES_TOML)
    monkeypatch.setattr(sys, "argv", ["cae", "lines", "names"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
