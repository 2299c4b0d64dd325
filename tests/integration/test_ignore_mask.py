"""An ignore mask from the knob of a line to the pictures of a night."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from structlog.testing import capture_logs

from cae_pipeline.adapters.results.queries import flagged
from cae_pipeline.domain.line import AreaSettings
from cae_pipeline.errors import ConfigurationError
from cae_pipeline.reporting.pictures import FADED_GREY, HATCHED_GREY, decode_map
from cae_pipeline.steps.life.train import train_model
from cae_pipeline.steps.night.draw import draw_image
from cae_pipeline.steps.night.load import read_artefact
from cae_pipeline.steps.night.plan import plan_line
from cae_pipeline.steps.night.score import score_slices
from cae_pipeline.steps.night.validate import validate_batch
from tests.conftest import Plant, deliver, png, washer


def test_a_mask_holds_from_training_to_the_pictures_of_a_night(plant: Plant) -> None:
    mask = np.zeros((48, 48), np.uint8)
    mask[:14, :22] = 255
    (plant.workspace / "mask.png").write_bytes(png(mask))
    line = replace(plant.line, area=AreaSettings(str(plant.workspace / "mask.png")))
    with capture_logs() as logs:
        version = train_model(line, plant.services)
    [changed] = [entry for entry in logs if entry["event"] == "ignored_pixels_changed"]
    assert (changed["share_ignored_by_champion"], changed["share_ignored_now"]) == (0.0, 0.1337)
    assert version.figures["ignored_share"] == pytest.approx((mask > 0).mean())
    np.testing.assert_array_equal(read_artefact(version, plant.services).ignored, mask > 0)

    under, beside = washer(500), washer(501)
    under[2:12, 3:19] = np.random.default_rng(0).integers(0, 256, (10, 16))
    beside[36:44, 34:42] = 255
    files = {"clean.png": png(washer(502)), "under.png": png(under), "beside.png": png(beside)}
    deliver(plant.landing, "washers", "2026-01-31", files)
    validate_batch(line, "2026-01-31", plant.services)
    _, chunks = plan_line(line, chunk_size=99, services=plant.services)
    for chunk in chunks:
        score_slices(chunk, version, plant.services)
    with plant.services.read() as connection:
        scored = {row.name: row for row in flagged.all_of_line(connection, "washers")}
    is_flagged = {name: row.score > row.threshold for name, row in scored.items()}
    assert is_flagged == {"clean.png": False, "under.png": False, "beside.png": True}
    stored = decode_map(plant.workspace / scored["under.png"].map_uri)
    assert stored[:9, :14].max() == 0

    drawn = draw_image(scored["under.png"], plant.services)
    hatched = drawn.overlay[:14, :22]
    assert set(np.unique(np.ptp(hatched, axis=2))) == {0}
    # between the stripes the picture is faded towards one grey
    between = hatched[..., 0] != HATCHED_GREY
    assert 0.7 < between.mean() < 0.9
    faded = drawn.pixels[:14, :22] * 0.4 + FADED_GREY * 0.6
    np.testing.assert_allclose(hatched[..., 0][between], faded[between], atol=1)
    np.testing.assert_array_equal(drawn.overlay[20:, 30:, 0], drawn.pixels[20:, 30:])


def test_a_mask_that_does_not_fit_stops_the_training_before_images_are_read(plant: Plant) -> None:
    (plant.workspace / "mask.png").write_bytes(png(np.eye(48, 60, dtype=np.uint8)))
    line = replace(plant.line, area=AreaSettings(str(plant.workspace / "mask.png")))
    with pytest.raises(ConfigurationError, match=r"60×48 px .*expected 48×48 px"):
        train_model(line, plant.services)
