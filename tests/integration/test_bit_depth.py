"""Twelve bits in files of sixteen, from the landing zone to the network."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from numpy.typing import NDArray
from PIL import Image

from cae_pipeline.adapters.results.schema import images, judgements
from cae_pipeline.domain.image_settings import ImageSettings
from cae_pipeline.domain.line import Line, ValidationSettings
from cae_pipeline.lines_file import read_lines
from cae_pipeline.settings import read_settings
from cae_pipeline.statistics.metrics import auroc
from cae_pipeline.steps.life.promote import promote_challenger
from cae_pipeline.steps.life.snapshot import take_snapshot
from cae_pipeline.steps.life.train import train_model
from cae_pipeline.steps.night.load import load_model
from cae_pipeline.steps.night.plan import plan_line
from cae_pipeline.steps.night.read import read_image
from cae_pipeline.steps.night.score import score_slices
from cae_pipeline.steps.night.validate import validate_batch
from cae_pipeline.wiring import connect
from tests.conftest import NORMAL, Plant, deliver, png, washer

TWELVE = ImageSettings(bit_depth=12)


def _deep(seed: int, *, defect: bool = False, light: float = 1.0) -> NDArray[np.uint16]:
    """A washer of 12 bits: the lower four are noise that 8 bits do not hold."""
    noise = np.random.default_rng(seed).integers(0, 16, (48, 48))
    return ((washer(seed, defect=defect).astype(np.uint32) * 16 + noise) * light).astype(np.uint16)


def _png(pixels: NDArray[np.uint16]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _files(seeds: range, *, light: float = 1.0, defect: bool = False) -> dict[str, bytes]:
    word = "bad" if defect else "ok"
    return {f"{word}{seed}.png": _png(_deep(seed, light=light, defect=defect)) for seed in seeds}


@pytest.fixture
def fresh(workspace: Path) -> Plant:
    """An installation whose line has seen no image yet."""
    return Plant(read_lines(workspace / "lines.toml")["washers"], connect(read_settings()), workspace)


def _rows(plant: Plant, batch_id: str, line: Line | None = None) -> list[sa.RowMapping]:
    key = validate_batch(line or plant.line, batch_id, plant.services).delivery_key
    with plant.services.read() as connection:
        query = sa.select(images).where(images.c.delivery_key == key).order_by(images.c.name)
        return list(connection.execute(query).mappings())


def test_sixteen_bits_that_leave_a_range_unused_are_not_judged_without_a_word(fresh: Plant) -> None:
    deliver(fresh.landing, "washers", "2026-01-31", {**_files(range(300, 304)), "black.png": _png(_deep(1) // 64)})
    line = replace(fresh.line, validation=ValidationSettings(max_quarantined_share=1))
    black, *rows = _rows(fresh, "2026-01-31", line)
    for row in rows:
        assert (row["reason"], row["bit_depth"], row["used_bits"]) == ("unused_range", 16, 12)
        # neither dark nor blank is said besides: both follow
        told = "unused_range: values 0 to 4095 of 65535: set bit_depth = 12 in the line's table images"
        assert row["detail"] == told
    assert black["reason"] == "too_dark"


def test_with_the_knob_twelve_bits_look_like_eight(fresh: Plant) -> None:
    eight = {f"eight{seed}.png": png(washer(seed)) for seed in range(300, 305)}
    deliver(fresh.landing, "washers", "2026-01-31", eight | _files(range(310, 315)))
    rows = _rows(fresh, "2026-01-31", replace(fresh.line, images=TWELVE))
    assert [row["reason"] for row in rows] == [""] * 10
    assert max(row["brightness"] for row in rows) - min(row["brightness"] for row in rows) < 0.1


def test_the_normal_images_teach_the_depth_and_training_and_scoring_read_all_of_it(fresh: Plant) -> None:
    line, services = fresh.line, fresh.services
    deliver(fresh.landing, "washers", "normal-1", _files(NORMAL))
    normal = _rows(fresh, "normal-1")
    assert {row["reason"] for row in normal} == {""}
    assert 0.2 < np.mean([row["brightness"] for row in normal]) < 0.8

    snapshot = take_snapshot(line, services)
    assert (snapshot.model.images.bit_depth, snapshot.model.images.network_bits) == (12, 16)
    assert snapshot.pixels.dtype == np.uint16
    assert len(np.unique(snapshot.pixels)) > 1000

    version = train_model(line, services)
    promote_challenger(line, version.model_version, services)
    scorer = load_model(version, services)
    assert scorer.settings.images == snapshot.model.images
    scored_on = read_image(snapshot.images[0], scorer.settings, services).pixels
    np.testing.assert_array_equal(scored_on, snapshot.pixels[0])

    # a dark night is no camera of fewer bits: it stays dark
    deliver(fresh.landing, "washers", "2026-01-30", _files(range(400, 410), light=0.25))
    no_limits = ValidationSettings(min_brightness=0.0, min_contrast=0.0, min_sharpness=0.0, max_line_distance=1000.0)
    dark = replace(line, validation=no_limits)
    rows = _rows(fresh, "2026-01-30", dark)
    assert {row["used_bits"] for row in rows} <= {9, 10}
    assert max(row["brightness"] for row in rows) < 0.2

    deliver(fresh.landing, "washers", "2026-01-31", _files(range(300, 310)) | _files(range(310, 320), defect=True))
    assert {row["status"] for row in _rows(fresh, "2026-01-31")} == {"accepted"}
    version, chunks = plan_line(line, chunk_size=64, services=services)
    assert sum(score_slices(chunk, version, services).num_scored for chunk in chunks) == 30
    with services.read() as connection:
        query = sa.select(judgements.c.name, judgements.c.score).where(judgements.c.name.like("%3__.png"))
        scores = {row.name: row.score for row in connection.execute(query)}
    bad = np.array([score for name, score in scores.items() if name.startswith("bad")])
    good = np.array([score for name, score in scores.items() if name.startswith("ok")])
    assert auroc(good, bad) > 0.8


def test_values_above_the_depth_are_told(fresh: Plant) -> None:
    deliver(fresh.landing, "washers", "2026-01-31", {**_files(range(300, 303)), "a.png": _png(_deep(300) * 4)})
    [row, *others] = _rows(fresh, "2026-01-31", replace(fresh.line, images=TWELVE))
    assert row["reason"] == "beyond_range"
    assert "values up to 16383, bit_depth = 12 ends at 4095" in row["detail"]
    assert {other["reason"] for other in others} == {""}
