"""Deliveries as factories make them, from the landing zone to the results table."""

from __future__ import annotations

import json
import os
import shutil
import time
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest
from typer.testing import CliRunner, Result

from cae_pipeline.adapters.storage import LandingZone, digest_file
from cae_pipeline.cli import app
from cae_pipeline.domain.line import Line
from cae_pipeline.errors import BatchNotReadyError, BatchRejectedError, StorageError
from cae_pipeline.steps.life.exchange import export_verdicts
from cae_pipeline.steps.life.snapshot import take_snapshot
from cae_pipeline.steps.night.find import CLOCK_GRAIN, find_batches, find_lines
from cae_pipeline.steps.night.plan import plan_line, plan_lines
from cae_pipeline.steps.night.publish import publish_night
from cae_pipeline.steps.night.score import score_slices
from cae_pipeline.steps.night.validate import validate_batch
from cae_pipeline.steps.services import Services
from tests import asking
from tests.conftest import Plant, deliver, png, washer, washers

NIGHT = date(2026, 1, 31)
BATCH = str(NIGHT)
DAY = timedelta(days=1)


def _inspect(plant: Plant, batch_id: str = BATCH) -> int:
    validate_batch(plant.line, batch_id, plant.services)
    version, chunks = plan_line(plant.line, chunk_size=512, services=plant.services)
    return sum(score_slices(chunk, version, plant.services).num_scored for chunk in chunks)


def _due(plant: Plant, night: date = NIGHT) -> tuple[str, ...]:
    return find_batches(plant.line, night, plant.services).batch_ids


def _marked(plant: Plant, files: dict[str, bytes], batch_id: str = BATCH) -> Path:
    folder = deliver(plant.landing, "washers", batch_id, files, manifest=False)
    (folder / "_SUCCESS").touch()
    return folder


def _age(folder: Path) -> None:
    """Let everything in a folder have been quiet for an hour."""
    moment = (datetime.now(UTC) - timedelta(hours=1)).timestamp()
    for path in (*folder.iterdir(), folder):
        os.utime(path, (moment, moment))


@pytest.mark.parametrize("night", [NIGHT, NIGHT + 100 * DAY])
def test_litter_in_a_finished_batch_and_a_touched_marker_make_nothing_due(plant: Plant, night: date) -> None:
    folder = _marked(plant, washers(range(300, 306)))
    assert _inspect(plant) == 6
    assert _due(plant, night) == ()
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / "_SUCCESS").touch()
    assert _due(plant, night) == ()
    (folder / "late.png").write_bytes(png(washer(999)))
    assert _due(plant, night) == (BATCH,)


def test_a_folder_that_was_looked_through_is_not_looked_through_again(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _marked(plant, washers(range(300, 306)))
    time.sleep(2 * CLOCK_GRAIN.total_seconds())
    _inspect(plant)
    (folder / "ok00300.png").touch()
    time.sleep(2 * CLOCK_GRAIN.total_seconds())
    read: list[Path] = []

    def counted(path: Path) -> str:
        read.append(path)
        return digest_file(path)

    monkeypatch.setattr("cae_pipeline.steps.night.find.digest_file", counted)
    assert _due(plant) == ()
    assert [path.name for path in read] == ["ok00300.png"]
    assert _due(plant) == ()
    assert len(read) == 1


def test_pictures_deleted_after_they_were_scored_make_nothing_due(plant: Plant) -> None:
    folder = _marked(plant, washers(range(300, 306)))
    _inspect(plant)
    (folder / "ok00300.png").unlink()
    assert _due(plant) == ()
    for path in folder.glob("*.png"):
        path.unlink()
    assert _due(plant) == ()


def test_a_manifest_that_is_touched_makes_nothing_due_and_what_was_missing_does(plant: Plant) -> None:
    files = washers(range(300, 306))
    folder = deliver(plant.landing, "washers", BATCH, files)
    (folder / "ok00305.png").unlink()
    with pytest.raises(BatchNotReadyError, match=r"ok00305\.png"):
        validate_batch(plant.line, BATCH, plant.services)
    assert find_batches(plant.line, NIGHT, plant.services).not_ready == (BATCH,)
    _age(folder)
    assert _inspect(plant) == 5
    assert {row.name: row.reason for row in asking.odd_images(plant.services)} == {"ok00305.png": "missing"}
    (folder / "manifest.json").touch()
    assert _due(plant) == ()
    (folder / "ok00305.png").write_bytes(files["ok00305.png"])
    assert _due(plant) == (BATCH,)


def test_sub_folders_names_of_any_bytes_and_of_any_signs_are_scored_and_shown(plant: Plant) -> None:
    folder = _marked(plant, washers(range(300, 303)))
    (folder / "cam2").mkdir()
    names = [b"cam2/ok.png", b"st\xfcck.png", "part #1 100% + ä.png".encode(), b"a&b?c.png", b"a\nb.png"]
    names.append(unicodedata.normalize("NFD", "Größe.png").encode())
    for number, name in enumerate(names):
        (folder / os.fsdecode(name)).write_bytes(png(washer(400 + number, defect=True)))
    assert _inspect(plant) == 3 + len(names)
    flagged = {row.name for row in asking.anomalies(plant.services)}
    assert flagged >= {"cam2/ok.png", r"st\xfcck.png", "a&b?c.png", r"a\x0ab.png", "Größe.png"}
    html = publish_night(NIGHT, [plant.line], plant.services).path.read_text()
    assert html.count("data:image/jpeg;base64,") == 2 * len(flagged)


def test_links_to_pictures_open_whatever_their_names(plant: Plant, tmp_path: Path) -> None:
    folder = _marked(plant, washers(range(300, 303)))
    for number, name in enumerate([b"st\xfcck.png", b"part #1 100% + a&b?.png"]):
        (folder / os.fsdecode(name)).write_bytes(png(washer(400 + number)))
    _inspect(plant)
    export_verdicts(plant.line, tmp_path / "tasks.json", plant.services, prefix="/data/local-files/?d=")
    for task in json.loads((tmp_path / "tasks.json").read_text()):
        query = parse_qs(urlparse(task["data"]["image"]).query, errors="surrogateescape")
        assert (plant.landing / query["d"][0]).is_file()


def test_names_of_any_bytes_are_learnt_from(line: Line, services: Services, workspace: Path) -> None:
    folder = deliver(workspace / "landing", "washers", "normal-1", washers(range(100, 103)), manifest=False)
    (folder / os.fsdecode(b"\xfc.png")).write_bytes(png(washer(1)))
    (folder / "_SUCCESS").touch()
    snapshot = take_snapshot(line, services)
    assert [image.name for image in snapshot.images] == [r"\xfc.png", "ok00100.png", "ok00101.png", "ok00102.png"]


def test_a_sub_folder_that_goes_fails_its_own_images_and_no_task(plant: Plant) -> None:
    folder = _marked(plant, washers(range(300, 303)))
    (folder / "cam2").mkdir()
    (folder / "cam2" / "a.png").write_bytes(png(washer(400)))
    validate_batch(plant.line, BATCH, plant.services)
    shutil.rmtree(folder / "cam2")
    version, chunks = plan_line(plant.line, chunk_size=512, services=plant.services)
    done = [score_slices(chunk, version, plant.services) for chunk in chunks]
    assert [(one.num_scored, one.num_failed) for one in done] == [(3, 1)]


def test_a_picture_that_became_a_pipe_hangs_no_task(plant: Plant) -> None:
    folder = _marked(plant, washers(range(300, 303)))
    validate_batch(plant.line, BATCH, plant.services)
    (folder / "ok00300.png").unlink()
    os.mkfifo(folder / "ok00300.png")
    version, chunks = plan_line(plant.line, chunk_size=512, services=plant.services)
    assert [score_slices(chunk, version, plant.services).num_failed for chunk in chunks] == [1]


def test_a_batch_without_images_says_what_there_is_instead(line: Line, services: Services, workspace: Path) -> None:
    folder = deliver(workspace / "landing", "washers", BATCH, {"a.xml": b"x"}, manifest=False)
    (folder / "_SUCCESS").touch()
    (folder / "cam1").mkdir()
    with pytest.raises(BatchRejectedError, match=r"holds no images.*a\.xml \(ignored_files\), cam1/ \(an empty folder"):
        validate_batch(line, BATCH, services)


def test_a_batch_in_trouble_keeps_no_other_batch_from_being_found(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    for batch_id in ("2026-01-29", "2026-01-30", BATCH):
        deliver(plant.landing, "washers", batch_id, washers([300]))
    (plant.landing / "washers" / "2026-01-29" / "manifest.json").write_text('{"images": []}')
    whole = LandingZone.check_ready

    def check_ready(zone: LandingZone, line: str, batch_id: str, **options: Any) -> Any:
        if batch_id == "2026-01-30":
            raise StorageError(zone.folder, OSError(5, "Input/output error"))
        return whole(zone, line, batch_id, **options)

    monkeypatch.setattr(LandingZone, "check_ready", check_ready)
    found = find_batches(plant.line, NIGHT, plant.services)
    # what is in trouble comes last, and its own task says what is wrong
    assert found.batch_ids == (BATCH, "2026-01-29", "2026-01-30")
    assert set(found.troubled) == {"2026-01-29", "2026-01-30"}
    assert "is not a manifest" in found.troubled["2026-01-29"]


def test_a_batch_that_goes_while_it_is_looked_for_costs_nothing(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(plant.landing, "washers", BATCH, washers([300]))
    monkeypatch.setattr(LandingZone, "batch_ids", lambda *_: ("2026-01-30", BATCH))
    found = find_batches(plant.line, NIGHT, plant.services)
    assert (found.batch_ids, dict(found.troubled)) == ((BATCH,), {})


def test_years_to_catch_up_on_are_handed_out_in_portions_and_keep_no_other_line_waiting(
    line: Line, make_services: Callable[[], Services], workspace: Path
) -> None:
    services = make_services()
    days = [str(NIGHT - number * DAY) for number in range(1100)]
    for batch_id in days:
        folder = workspace / "landing" / "washers" / batch_id
        folder.mkdir(parents=True)
        (folder / "_SUCCESS").touch()
    deliver(workspace / "landing", "bolts", BATCH, washers([300]))
    found = find_lines([line, replace(line, name="bolts")], NIGHT, services).results
    assert found["washers"].batch_ids == tuple(sorted(days)[:999])
    assert (found["washers"].num_waiting, found["bolts"].batch_ids) == (101, (BATCH,))


def test_batches_that_wait_for_a_champion_let_new_ones_go_first(
    line: Line, services: Services, workspace: Path
) -> None:
    for batch_id, first in (("2026-01-29", 300), ("2026-01-30", 303)):
        deliver(workspace / "landing", "washers", batch_id, washers(range(first, first + 3)))
        validate_batch(line, batch_id, services)
    deliver(workspace / "landing", "washers", BATCH, washers([310]))
    [found] = find_lines([line], NIGHT, services, max_batches=1).results.values()
    assert (found.batch_ids, found.num_waiting) == ((BATCH,), 2)


def test_chunks_are_handed_out_in_portions_too(plant: Plant) -> None:
    _marked(plant, washers(range(300, 306)))
    validate_batch(plant.line, BATCH, plant.services)
    [planned] = plan_lines([plant.line], chunk_size=1, services=plant.services, max_chunks=4).results.values()
    assert (len(planned.chunks), planned.num_waiting) == (4, 2)


def _cae(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def _answer(*words: str) -> Any:
    """What a command answers: its last line, after what is logged here."""
    return json.loads(_cae(*words).stdout.splitlines()[-1])


def test_find_names_what_belongs_to_no_line_and_how_much_waits(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAE_MAX_MAPPED_TASKS", "1")
    for line, batch_id in (("washers", "2026-01-30"), ("washers", BATCH), ("Washers", BATCH)):
        deliver(workspace / "landing", line, batch_id, washers([300]))
    (workspace / "landing" / "washers" / BATCH / "manifest.json").write_text("[]")
    answer = _answer("find", "--night", BATCH)
    assert answer["batches"] == [{"line": "washers", "batch_id": "2026-01-30"}]
    assert answer["num_waiting"] == 1
    assert list(answer["troubled"]) == [f"washers/{BATCH}"]
    assert [(one["entry"], one["nearest"]) for one in answer["unclaimed"]] == [("Washers", "washers")]


@pytest.mark.parametrize("words", [("lines", "check"), ("lines", "status")])
def test_the_lines_are_listed_with_what_belongs_to_none_beside_them(workspace: Path, words: tuple[str, str]) -> None:
    deliver(workspace / "landing", "washer", BATCH, washers([300]))
    listed = _cae(*words, "--format", "json")
    assert [row["line"] for row in json.loads(listed.stdout)] == ["washers"]
    assert "cae: landing/washer: no line has this name" in listed.stderr
    assert "Is line 'washers' meant?" in listed.stderr


def test_a_lines_file_from_windows_is_read(workspace: Path) -> None:
    path = workspace / "lines.toml"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert _answer("lines", "names") == {"lines": ["washers"]}


def test_a_batch_may_be_named_as_the_shell_gives_it(workspace: Path) -> None:
    typed = os.fsdecode(b"2026-01-31 \xfc")
    deliver(workspace / "landing", "washers", typed, washers(range(300, 303)))
    validated = _answer("validate", "washers", typed)
    assert (validated["batch_id"], validated["num_images"]) == (r"2026-01-31 \xfc", 3)
    found = _answer("find", "--night", BATCH)
    assert found["batches"] == [{"line": "washers", "batch_id": r"2026-01-31 \xfc"}]
