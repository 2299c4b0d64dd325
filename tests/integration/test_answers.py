"""Answers that do not mislead: whole exports, counted tables, names that are known, links that open, mistakes."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from cae_pipeline.adapters.label_studio import address_of, as_task
from cae_pipeline.adapters.results import database, deliveries, judgements
from cae_pipeline.adapters.results.deliveries import Validation
from cae_pipeline.adapters.results.queries import flagged, paging
from cae_pipeline.adapters.results.queries.nights import list_batches
from cae_pipeline.adapters.results.schema import images
from cae_pipeline.cli import logs, main
from cae_pipeline.cli.endings import ending_of
from cae_pipeline.domain.batch import Delivery, Member
from cae_pipeline.domain.outcome import ImageStatus, Judgement, Reason, Scored, ValidatedImage
from cae_pipeline.errors import NotFoundError
from cae_pipeline.settings import read_settings
from cae_pipeline.steps.services import Services
from cae_pipeline.wiring import connect
from tests.benchmarks.performance import million

NUM_BATCHES, NUM_FLAGGED, NUM_QUARANTINED = 60, 118, 60
Answer = tuple[int, str, str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Run a command as the shell does; returns its exit code and what it wrote to both streams."""
    monkeypatch.setattr(logs, "configure_logs", lambda: None)

    def _run(*words: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["cae", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return _run


@pytest.fixture(scope="session")
def filled_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with sixty nights of a line that lines.toml does not have."""
    path = tmp_path_factory.mktemp("filled") / "results.db"
    engine = database.open_database(f"sqlite:///{path}")
    million.fill(engine, 100 * NUM_BATCHES, num_batches=NUM_BATCHES)
    engine.dispose()
    return path


@pytest.fixture
def filled(filled_file: Path, bare_workspace: Path, use_copy: Callable[[str, Path | None], None]) -> Services:
    """An installation of one's own with those nights."""
    use_copy("filled", filled_file)
    shutil.copy(filled_file, bare_workspace / "results.db")
    return connect(read_settings())


def test_exports_hold_all_rows_and_tables_say_how_many(
    filled: Services, run: Callable[..., Answer], tmp_path: Path
) -> None:
    listings = {
        ("anomalies",): NUM_FLAGGED,
        ("batches",): NUM_BATCHES,
        ("rates",): NUM_BATCHES,
        ("quarantine", "list"): NUM_QUARANTINED,
    }
    for words, total in listings.items():
        code, printed, err = run(*words, "-f", "csv")
        names = [list(csv.DictReader(io.StringIO(printed)).fieldnames or ())]
        assert (code, len(printed.splitlines()), err) == (0, total + 1, ""), words
        assert len(json.loads(run(*words, "-f", "json")[1])) == total, words
        assert run(*words, "-f", "parquet", "-o", str(tmp_path / "full.parquet"))[0] == 0, words
        assert pq.read_metadata(tmp_path / "full.parquet").num_rows == total, words
        code, printed, err = run(*words)
        assert (len(printed.splitlines()), err.split(";")[0]) == (52, f"50 of {total} rows"), words
        assert f"--page-size {total} or --format csv for all" in err
        assert run(*words, "--page-size", "999")[2] == ""
        second = run(*words, "--page", "2", "-f", "csv")[2]
        assert second.startswith(f"{min(total - 50, 50)} of {total} rows; ")
        assert ("--page 3" in second) == (total > 100)
        assert run(*words, "--page-size", "7", "-f", "csv")[2].startswith(f"7 of {total} rows")
        # an empty answer has the columns and types of a full one
        empty = run(*words, "--line", "washers", "-f", "csv")[1]
        names.append(empty.strip().split(","))
        assert names[0] == names[1], words
        run(*words, "--line", "washers", "-f", "parquet", "-o", str(tmp_path / "empty.parquet"))
        assert pq.read_schema(tmp_path / "empty.parquet").equals(pq.read_schema(tmp_path / "full.parquet")), words


def test_the_queue_says_how_many_wait(
    filled: Services, run: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, printed, err = run("queue", "mono")
    assert (code, len(printed.splitlines())) == (0, 22)
    assert err.startswith("20 of 5,880 rows; these teach most, ")
    monkeypatch.setattr(paging, "MAX_COUNTED", 100)
    assert run("queue", "mono")[2].startswith("20 of more than 100 rows")
    assert run("anomalies")[2].startswith("50 of more than 100 rows")


def test_rows_are_read_as_they_are_printed(filled: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "ROWS_AT_ONCE", 10)
    with filled.read() as connection:
        rows = paging.each_row(connection, sa.select(images.c.name))
        assert next(rows)["name"]
        assert len(list_batches(connection, None, paging.Page("night", page_size=None))) == NUM_BATCHES


MISSPELT = {
    "anomalies export folder --line mon": "mono",
    "anomalies export folder --verdict defekt": "defect",
    "anomalies --line Mnoo": "mono",
    "batches --line wahsers": "washers",
    "anomalies --batch 2026-01-1": "2026-0",
    "anomalies --verdict defects": "defect",
    "anomalies --model-version cae-mono/11": "cae-mono/1",
    "anomalies --sort -scor": "score",
    "rates --sort nights": "night",
    "queue monos": "mono",
    "threshold history mono --model-version cae-mno/1": "cae-mono/1",
    "quarantine release mono 2026-01-1": "2026-0",
    "runs --line mon": "mono",
}
"""Command → how the name begins that was meant."""


def test_a_misspelt_name_is_an_error_that_names_the_nearest(filled: Services, run: Callable[..., Answer]) -> None:
    for words, nearest in MISSPELT.items():
        code, printed, err = run(*words.split())
        assert (code, printed) == (2, ""), words
        assert f"Did you mean '{nearest}" in err, words


def test_a_known_name_without_rows_is_an_empty_answer(filled: Services, run: Callable[..., Answer]) -> None:
    assert run("anomalies", "--line", "washers") == (0, "nothing found\n", "")
    assert run("champion", "show", "mono")[0] == 0
    (filled.landing.folder / "mono" / "2026-12-31").mkdir(parents=True)
    assert run("anomalies", "--batch", "2026-12-31")[0] == 0
    (filled.workspace / "lines.toml").unlink()
    assert run("batches", "--line", "mono")[0] == 0


NAMES = ("part #1 100% + ä.png", "a&b?c.png", "plain.png")


def test_links_open_the_file_whatever_its_name(services: Services, run: Callable[..., Answer]) -> None:
    members = tuple(Member(name, 3, f"{number}" * 64) for number, name in enumerate((*NAMES, "dark #.png")))
    delivery = Delivery("mono", "31 #1", date(2026, 1, 31), members, "f" * 64, listed_at=million.NOW)
    version = million._champion(services.engine)
    accepted = [
        ValidatedImage(one.name, one.sha256, 3, ImageStatus.ACCEPTED, facts=million.FACTS) for one in members[:3]
    ]
    broken = ValidatedImage(members[3].name, members[3].sha256, 3, ImageStatus.QUARANTINED, Reason.TRUNCATED, "half")
    scored = Scored(3.0, 0.05, (), "maps/a #1.png", 1.0)
    with services.write() as work:
        validation = Validation((*accepted, broken), {}, (), "reports/a #1.html", "", million.NOW)
        deliveries.record_delivery(work.connection, delivery, validation)
        made = [
            Judgement(delivery.delivery_key, one.name, one.image_id, version.model_version, scored, million.NOW)
            for one in accepted
        ]
        judgements.record_judgements(work.connection, made)
        work.commit()
    shown = json.loads(run("anomalies", "-f", "json")[1]) + json.loads(run("quarantine", "list", "-f", "json")[1])
    assert {row["name"] for row in shown} == {*NAMES, "dark #.png"}
    assert shown[0]["map"].endswith("/maps/a%20%231.png")
    for row in shown:
        address = urlparse(row["file"])
        assert (address.scheme, address.query, address.fragment) == ("file", "", "")
        place = services.workspace / "landing" / row["line"] / row["batch_id"] / row["name"]
        assert unquote(address.path) == str(place)
    with services.read() as connection:
        judged = flagged.all_of_line(connection, "mono")
    assert len(judged) == 3
    for image in judged:
        place = PurePath("mono", image.batch_id, image.name)
        address = address_of(place, prefix="/data/local-files/?d=")
        assert parse_qs(urlparse(address).query)["d"] == [str(place)]
        assert address_of(place, prefix="s3://cae/").endswith(f"/{image.name}")
        assert as_task(image, [], address=address)["data"]["image"] == address


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CAE_WORKSPACE", "~/plant")
    monkeypatch.setenv("CAE_LINES_FILE", "~/lines.toml")
    monkeypatch.setenv("CAE_RESULTS_URL", "sqlite:///~/results.db")
    monkeypatch.setenv("CAE_TRACKING_URI", "sqlite:///~/mlflow.db")
    settings = read_settings()
    assert (settings.workspace, settings.lines_file) == (tmp_path / "plant", tmp_path / "lines.toml")
    assert settings.results_database == f"sqlite:///{tmp_path}/results.db"
    assert settings.tracking == f"sqlite:///{tmp_path}/mlflow.db"


@pytest.mark.parametrize("address", ["./mlruns", "file:///tmp/mlruns", "mlruns", "ftp://me:s3cret@host/mlruns"])
def test_a_tracking_address_that_is_a_file_store(
    bare_workspace: Path, run: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("CAE_TRACKING_URI", address)
    code, _, err = run("runs")
    assert code == 2
    assert "CAE_TRACKING_URI: expected http(s)://" in err
    assert "s3cret" not in err


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "postgresql+psycopg://me:s3cret@127.0.0.1:9/mlflow"])
def test_a_tracking_server_that_does_not_answer_is_asked_once(
    bare_workspace: Path, run: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("CAE_TRACKING_URI", address)
    code, _, err = run("runs")
    assert code == 1
    assert "does not answer" in err
    assert "s3cret" not in err


def test_a_port_that_is_a_word_is_a_wrong_address(
    bare_workspace: Path, run: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    for url in ("postgresql+psycopg://me:s3cret@host:port/cae", "sqlite+aiosqlite:////tmp/x.db"):
        monkeypatch.setenv("CAE_RESULTS_URL", url)
        code, _, err = run("batches")
        assert code == 2
        assert "expected an SQLAlchemy URL" in err
        assert "s3cret" not in err


def test_a_read_only_database_is_answered_at_once(
    bare_workspace: Path, run: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sqlite3.connect(tmp_path / "old.db").execute("CREATE TABLE a (b)").connection.close()
    monkeypatch.setenv("CAE_RESULTS_URL", f"sqlite:///file:{tmp_path}/old.db?mode=ro&uri=true")
    began = time.monotonic()
    code, _, err = run("batches")
    assert code == 2
    assert "readonly" in err
    assert time.monotonic() - began < 5


def test_a_locked_database_is_an_error_that_a_retry_may_help(
    bare_workspace: Path, run: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("batches")[0] == 0
    monkeypatch.setattr(database, "BUSY_TIMEOUT_SECONDS", 0)
    with sqlite3.connect(bare_workspace / "results.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        code, _, err = run("verdict", "abc", "defect")
    assert code == 1
    assert "database is locked" in err


def test_a_database_that_goes_away_in_the_middle_is_one_sentence(
    filled: Services, run: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any) -> Iterator[Any]:
        raise sa.exc.OperationalError("SELECT 1", {}, Exception("server closed the connection unexpectedly"))

    monkeypatch.setattr("cae_pipeline.adapters.results.queries.nights.each_batch", gone)
    code, printed, err = run("batches")
    assert (code, printed) == (1, "")
    assert err.startswith("cae: the database: server closed the connection unexpectedly. ")
    assert len(err.splitlines()) == 1


def test_a_full_disk_is_one_sentence(bare_workspace: Path, run: Callable[..., Answer]) -> None:
    code, _, err = run("lines", "check", "-f", "csv", "-o", "/dev/full")
    assert code == 1
    assert err.startswith("cae: /dev/full: No space left on device. ")


def test_a_batch_whose_name_begins_with_a_dash(bare_workspace: Path, run: Callable[..., Answer]) -> None:
    code, _, err = run("validate", "washers", "-2026-01-31")
    assert code == 2
    assert "cae validate LINE -- -2026-01-31" in err
    assert "no batch 'washers/-2026-01-31'" in run("validate", "washers", "--", "-2026-01-31")[2]


def test_what_is_our_mistake_keeps_its_traceback() -> None:
    assert ending_of(KeyError("name")) is None
    assert ending_of(sa.exc.ProgrammingError("SELECT", {}, Exception("syntax"))) is None
    assert ending_of(NotFoundError("line", "x")) == (2, "no line 'x'.")
    assert ending_of(KeyboardInterrupt()) == (130, "interrupted; what was committed before is kept")


def test_a_reader_that_has_seen_enough_and_an_interruption_leave_no_traceback(bare_workspace: Path) -> None:
    command = f"{sys.executable} -m cae_pipeline"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    head = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{command} lines schema | head -n 0"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (head.returncode, head.stderr) == (0, "")
    code = (
        "import os, signal, sys; from cae_pipeline.cli import endings; "
        "sys.exit(endings.run_to_its_end(lambda: os.kill(os.getpid(), signal.SIGINT)))"
    )
    stopped = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert stopped.returncode in (130, -signal.SIGINT)
    assert stopped.stderr.startswith("cae: interrupted")
