from __future__ import annotations

import json
from datetime import time
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter
from typer.testing import CliRunner

from cae_pipeline.adapters.decoding import DecodeLimits
from cae_pipeline.cli import app
from cae_pipeline.domain.line import GateSettings, Line, TrainingSettings
from cae_pipeline.errors import CaeError, ConfigurationError
from cae_pipeline.steps.offline.benchmark import run_benchmark
from cae_pipeline.steps.offline.evaluate_folder import EvaluationSettings
from cae_pipeline.steps.offline.image_set import find_image_set
from tests.conftest import png, washer

KNOBS = """
target_false_alarm_rate = 0.1
[model]
height_px = 24
width_px = 24
feature_resolution = 2
filters = [8, 16]
latent_size = 12
[training]
preset = "quick"
epochs = 6
learning_rate = 5e-3
"""


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Build a set in the layout of MVTec AD; sizes differ, one image is broken, one mask is empty."""
    root = tmp_path / "washers"
    for seed in range(80):
        _write(root / f"train/good/{seed:03}.png", png(washer(seed)))
    _write(root / "train/good/broken.png", b"x")
    for seed in range(100, 130):
        _write(root / f"test/good/{seed}.png", png(washer(seed)))
    for seed in range(200, 215):
        clean, bitten = washer(seed), washer(seed, defect=True)
        mask = (np.abs(clean.astype(int) - bitten) > 25).astype(np.uint8) * 255
        if seed == 200:
            clean, bitten, mask = (np.repeat(np.repeat(a, 2, 0), 2, 1) for a in (clean, bitten, mask))
        _write(root / f"test/bite/{seed}.png", png(bitten))
        _write(root / f"ground_truth/bite/{seed}_mask.png", png(mask))
        _write(root / f"test/unmarked/{seed}.png", png(bitten[::-1].copy()))
    _write(root / "ground_truth/unmarked/201_mask.png", png(np.zeros((48, 48), np.uint8)))
    return root


def test_a_folder_is_evaluated_down_to_its_defect_types(folder: Path, tmp_path: Path, bare_workspace: Path) -> None:
    (tmp_path / "knobs.toml").write_text(KNOBS)
    out = tmp_path / "figures.json"
    done = CliRunner().invoke(
        app, ["evaluate", str(folder), "--seed", "1", "--config", str(tmp_path / "knobs.toml"), "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    figures = json.loads(out.read_text())
    assert figures["image_auroc"] > 0.95
    assert figures["pixel_auroc"] > 0.9
    assert 0 < figures["pro"] <= 1
    assert figures["num_masks"] == 15
    low, high = figures["false_alarm_rate_interval_95"]
    assert low <= figures["false_alarm_rate"] <= high
    assert set(figures["per_defect_type"]) == {"bite", "unmarked"}
    assert "pixel_auroc" not in figures["per_defect_type"]["unmarked"]
    assert [Path(path).name for path in figures["unreadable"]] == ["broken.png"]
    assert (figures["num_train"], figures["num_normal"], figures["num_defective"]) == (80, 30, 30)
    assert (figures["seed"], figures["chosen"]["model"]["channels"]) == (1, 1)
    assert min(figures[name] for name in ("train_seconds", "images_per_second", "peak_memory_bytes", "f1")) > 0
    assert "image_auroc" in done.output
    assert "bite" in done.output


def test_a_small_set_gets_the_lowest_rate_it_can_promise(folder: Path, tmp_path: Path, bare_workspace: Path) -> None:
    for path in sorted((folder / "train/good").iterdir())[30:]:
        path.unlink()
    (tmp_path / "knobs.toml").write_text(
        KNOBS.replace("target_false_alarm_rate = 0.1", "target_false_alarm_rate = 0.01")
    )
    done = CliRunner().invoke(
        app, ["evaluate", str(folder), "--config", str(tmp_path / "knobs.toml"), "--format", "json"]
    )
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout[done.stdout.index("{\n") :])
    assert figures["chosen"]["threshold"]["target_false_alarm_rate"] == pytest.approx(1 / 11)
    assert figures["image_auroc"] > 0.7


def test_a_benchmark_writes_one_table_with_floors_spread_and_ablation(
    folder: Path, tmp_path: Path, bare_workspace: Path
) -> None:
    (tmp_path / "knobs.toml").write_text(KNOBS.replace("epochs = 6", "epochs = 2"))
    out = tmp_path / "quality.json"
    options = ["--config", str(tmp_path / "knobs.toml"), "--ablation", "--contamination", "0.05", "--out", str(out)]
    done = CliRunner().invoke(app, ["benchmark", str(folder), "--seeds", "0,1", *options])
    assert done.exit_code == 0, done.output
    row = json.loads(out.read_text())["sets"]["washers"]
    assert [run["seed"] for run in row["runs"]] == [0, 1]
    scores = [run["image_auroc"] for run in row["runs"]]
    assert row["mean"]["image_auroc"] == pytest.approx(sum(scores) / 2)
    assert row["spread"]["image_auroc"] == pytest.approx(abs(scores[0] - scores[1]))
    assert 0.5 < row["floors"]["z_blur_max"] <= 1
    for run in row["runs"]:
        assert len(run["hidden"]) == 4
        assert run["num_train"] == 84
        assert set(run["ablation"]["alone"]) == set(run["ablation"]["without"]) == set(run["chosen"]["fusion_weights"])
        assert sum(run["chosen"]["fusion_weights"].values()) == pytest.approx(1)
    table = out.with_suffix(".md").read_text()
    assert "| washers | 84 | 30 + 26 |" in table
    assert "| without texture |" in table
    assert table.strip() in done.output


def test_an_evaluation_that_fails_stops_the_benchmark_and_says_why(folder: Path) -> None:
    for path in sorted((folder / "train/good").iterdir())[10:]:
        path.unlink()
    settings = EvaluationSettings(Line("evaluated"), DecodeLimits())
    with pytest.raises(CaeError, match=r"washers with seed 7 ended with exit code 3: .*expected at least"):
        run_benchmark([folder], seeds=[7], settings=settings)


def test_a_process_of_its_own_is_told_every_setting(folder: Path) -> None:
    line = Line("evaluated", expected_by=time(22), training=TrainingSettings(seed=3), gate=GateSettings(approval=True))
    settings = EvaluationSettings(line, DecodeLimits(max_pixels=7), contamination=0.1, ablation=True)
    assert TypeAdapter(EvaluationSettings).validate_python(settings.as_json()) == settings


def test_a_folder_without_normal_images_says_what_is_expected(tmp_path: Path) -> None:
    _write(tmp_path / "train/bad/1.png", png(washer(1)))
    with pytest.raises(ConfigurationError, match=r"no images in train/good. Expected the layout of MVTec AD"):
        find_image_set(tmp_path)


def test_masks_are_found_by_the_name_of_their_image_or_reported(tmp_path: Path) -> None:
    _write(tmp_path / "train/good/1.JPG", b"")
    _write(tmp_path / "test/good/1.bmp", b"")
    names = {"a.PNG": "A_mask.png", "b.jpg": "b.tif", "c.png": "c-GT.png", "d.Tiff": "mask_d.png", "e.png": "other.png"}
    for image, mask in names.items():
        _write(tmp_path / "test/bite" / image, b"")
        _write(tmp_path / "ground_truth/bite" / mask, b"")
    images = find_image_set(tmp_path)
    found = {path.name: mask.name for path, _, mask in images.test if mask}
    assert found == {image: mask for image, mask in names.items() if image != "e.png"}
    assert [path.name for path in images.unused_masks] == ["other.png"]
    assert [path.name for path in images.without_mask] == ["e.png"]


def test_normal_images_alone_give_a_threshold_false_alarms_outliers_and_maps(
    tmp_path: Path, bare_workspace: Path
) -> None:
    for seed in range(60):
        _write(tmp_path / "parts" / f"{seed:03}.{'PNG' if seed % 2 else 'png'}", png(washer(seed)))
    (tmp_path / "knobs.toml").write_text(KNOBS.replace("epochs = 6", "epochs = 2"))
    out = tmp_path / "figures.json"
    options = ["--config", str(tmp_path / "knobs.toml"), "--out", str(out)]
    done = CliRunner().invoke(app, ["evaluate", str(tmp_path / "parts"), *options])
    assert done.exit_code == 0, done.output
    figures = json.loads(out.read_text())
    assert (figures["num_train"], figures["num_normal"], figures["num_held_out"]) == (48, 12, 12)
    assert "image_auroc" not in figures
    assert 0 <= figures["false_alarm_rate"] <= figures["false_alarm_rate_interval_95"][1]
    assert figures["chosen"]["threshold"]["value"] > 0
    assert isinstance(figures["outliers"], list)
    assert len(figures["sample_maps"]) == 8
    assert all(Path(name).is_file() for name in figures["sample_maps"])
    assert "12 of the normal images were set aside" in done.output
    for option in (["--ablation"], ["--contamination", "0.1"]):
        refused = CliRunner().invoke(app, ["evaluate", str(tmp_path / "parts"), *options, *option])
        assert isinstance(refused.exception, ConfigurationError)
