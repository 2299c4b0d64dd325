"""Flagged images as a folder for somebody without our software."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from cae_pipeline.adapters.results.queries.anomalies import AnomalyFilter, list_anomalies
from cae_pipeline.adapters.results.queries.paging import Page
from cae_pipeline.cli import app
from cae_pipeline.errors import ConfigurationError, NotFoundError
from cae_pipeline.reporting import pictures
from cae_pipeline.reporting.export import safe_name
from cae_pipeline.steps.night.plan import plan_line
from cae_pipeline.steps.night.score import score_slices
from cae_pipeline.steps.night.validate import validate_batch
from cae_pipeline.steps.offline import export_anomalies as step
from cae_pipeline.steps.offline.export_anomalies import draw_one, export_anomalies
from tests.conftest import Plant, deliver, png, washer, washers

EVERYTHING = AnomalyFilter()
BAD = "part #1 100% + ä.png"
FORMULA = "=HYPERLINK(1).png"


@pytest.fixture
def night(plant: Plant) -> Plant:
    """A plant after a night with defects in files of several kinds and names."""
    jpeg = io.BytesIO()
    Image.fromarray(washer(404, defect=True)).save(jpeg, "JPEG", quality=95)
    tiff = io.BytesIO()
    Image.fromarray(washer(405, defect=True)).save(tiff, "TIFF")
    odd = {
        BAD: png(washer(410, defect=True)),
        FORMULA: png(washer(411, defect=True)),
        "<script>&.png": png(washer(412, defect=True)),
        "photo.jpg": jpeg.getvalue(),
        "scan.tif": tiff.getvalue(),
    }
    deliver(plant.landing, "washers", "2026-01-31", washers(range(300, 320)) | odd)
    validate_batch(plant.line, "2026-01-31", plant.services)
    version, chunks = plan_line(plant.line, chunk_size=99, services=plant.services)
    for chunk in chunks:
        score_slices(chunk, version, plant.services)
    return plant


def _rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "anomalies.csv").open(encoding="utf-8-sig", newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def _read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_every_flagged_image_is_exported_with_picture_overlay_boxes_and_figures(night: Plant, tmp_path: Path) -> None:
    folder = tmp_path / "for a customer"
    told = export_anomalies(folder, EVERYTHING, night.services)
    rows = _rows(folder)
    with night.services.read() as connection:
        flagged = list_anomalies(connection, EVERYTHING, Page("-score", 1, 1000))
    assert told.num_images == len(flagged) == len(rows) >= 5
    assert [float(row["score"]) for row in rows.values()] == [row.score for row in flagged]
    assert told.num_problems == 0
    for row in rows.values():
        picture, overlay = (_read(folder / row[name]) for name in ("picture", "overlay"))
        assert picture.shape == overlay.shape == (48, 48, 3)
        assert (picture != overlay).any()
        boxes = json.loads(row["regions"])
        assert len(boxes) == int(row["num_regions"])
        assert [str(boxes[0][name]) for name in ("x_px", "width_px")] == [row["region_x_px"], row["region_width_px"]]
        assert re.fullmatch(r"[A-Za-z0-9_./-]+", row["picture"] + row["overlay"])
    assert (folder / rows["photo.jpg"]["picture"]).read_bytes()[:3] == b"\xff\xd8\xff"
    assert rows["scan.tif"]["picture"].endswith(".png")
    assert BAD in rows


def test_a_name_is_neither_a_formula_nor_markup(night: Plant, tmp_path: Path) -> None:
    export_anomalies(tmp_path / "out", EVERYTHING, night.services)
    assert f"'{FORMULA}" in _rows(tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;&amp;.png" in page
    assert "default-src &#39;none&#39;" in page
    for link in re.findall(r'href="([^"]+)"', page):
        assert (tmp_path / "out" / link).is_file(), link


def test_a_picture_that_is_gone_or_changed_costs_itself_and_is_named(night: Plant, tmp_path: Path) -> None:
    batch = night.landing / "washers" / "2026-01-31"
    (batch / BAD).unlink()
    (batch / "photo.jpg").write_bytes(png(washer(1)))
    with night.services.read() as connection:
        [scan] = [row for row in list_anomalies(connection, EVERYTHING, Page("name")) if row.name == "scan.tif"]
    (night.workspace / scan.map_uri).unlink()
    told = export_anomalies(tmp_path / "out", EVERYTHING, night.services)
    rows = _rows(tmp_path / "out")
    assert told.num_problems == 3
    assert rows[BAD]["problem"] == "the image's file is gone"
    assert rows["photo.jpg"]["problem"] == "other bytes than those that were scored"
    assert rows["photo.jpg"]["picture"] == rows["photo.jpg"]["overlay"] == ""
    assert "no anomaly map" in rows["scan.tif"]["problem"]
    assert (tmp_path / "out" / rows["scan.tif"]["overlay"]).is_file()
    assert "Of 3 images something could not be exported" in (tmp_path / "out" / "index.html").read_text()


def test_nothing_is_overwritten_and_nothing_is_left_behind_by_halves(
    night: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "kept.txt").write_text("kept")
    (tmp_path / "empty").mkdir()
    for target, expected in (
        (tmp_path / "full", "holds files already"),
        (tmp_path / "full" / "kept.txt", "is a file"),
        (tmp_path / "full" / "kept.txt" / "below", "cannot be written"),
        (night.landing / "washers" / "export", "lies in the landing zone"),
    ):
        with pytest.raises(ConfigurationError, match=expected):
            export_anomalies(target, EVERYTHING, night.services)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["kept.txt"]
    export_anomalies(tmp_path / "empty", EVERYTHING, night.services)
    assert (tmp_path / "empty" / "index.html").is_file()
    monkeypatch.setattr(pictures, "encode_png", lambda image: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_anomalies(tmp_path / "broken", EVERYTHING, night.services)
    assert sorted(path.name for path in tmp_path.iterdir() if "broken" in path.name) == []


def test_an_export_takes_all_pages_unless_it_is_limited(
    night: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "ROWS_AT_ONCE", 2)
    monkeypatch.setattr(step, "MAX_CARDS", 1)
    everything = export_anomalies(tmp_path / "all", EVERYTHING, night.services)
    assert everything.num_images == len(_rows(tmp_path / "all")) >= 5
    assert "This page shows the first 1" in (tmp_path / "all" / "index.html").read_text()
    assert export_anomalies(tmp_path / "three", EVERYTHING, night.services, limit=3).num_images == 3
    nothing = export_anomalies(tmp_path / "none", AnomalyFilter(line="others"), night.services)
    assert nothing.num_images == 0
    assert "Nothing was flagged" in (tmp_path / "none" / "index.html").read_text()


def test_the_command_takes_the_filters_and_the_list_works_as_before(night: Plant, tmp_path: Path) -> None:
    run = CliRunner().invoke
    done = run(app, ["anomalies", "export", str(tmp_path / "out"), "--line", "washers", "--since", "2026-01-31"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["num_images"] == len(_rows(tmp_path / "out"))
    listed = json.loads(run(app, ["anomalies", "--line", "washers", "--format", "json"]).stdout)
    assert len(listed) == len(_rows(tmp_path / "out"))
    misplaced = run(app, ["anomalies", "--line", "washers", "export", str(tmp_path / "other")])
    assert misplaced.exit_code == 2
    assert not (tmp_path / "other").exists()


def test_one_image_is_drawn_flagged_or_not(night: Plant, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["anomalies", "--format", "json", "--page-size", "1"])
    [worst] = json.loads(done.stdout)
    draw_one(worst["image_id"][:12], tmp_path / "worst.png", night.services)
    drawn = _read(tmp_path / "worst.png")
    assert drawn.shape == (48, 48, 3)
    assert (np.ptp(drawn.astype(int), axis=2) > 50).any()
    with pytest.raises(NotFoundError, match="image"):
        draw_one("0" * 64, tmp_path / "none.png", night.services)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CON.png", "00001_CON"),
        ("a.b:c*?.tif", "00001_a_b_c"),
        ("...", "00001"),
        ("日本.png", "00001"),
        ("x" * 300 + ".png", "00001_" + "x" * 60),
    ],
)
def test_names_are_safe_on_every_system(name: str, expected: str) -> None:
    assert safe_name(1, name) == expected
