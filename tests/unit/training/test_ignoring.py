"""A model with an ignore mask: what lies under the mask says nothing, to training or to scoring."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cae_pipeline.defects.synthesis import with_defects
from cae_pipeline.detector.artefact import digest, load_artefact, save_artefact
from cae_pipeline.detector.regions import regions
from cae_pipeline.detector.sessions import onnx_forward
from cae_pipeline.domain.ignoring import Ignored, outside_of
from cae_pipeline.domain.images import Pixels
from cae_pipeline.domain.line import AutoencoderSettings, Line, TrainingSettings
from cae_pipeline.errors import ConfigurationError
from cae_pipeline.statistics.metrics import auroc
from cae_pipeline.steps.life.fit import FittedModel, fit_model
from cae_pipeline.training.parts import arrays_of
from tests.conftest import washer

KNOBS = AutoencoderSettings(
    height_px=24, width_px=24, feature_resolution=2, filters=(8, 16), latent_size=12, tiles=(1, 1)
)
TRAINING = TrainingSettings(preset="quick", epochs=3, learning_rate=5e-3)
LINE = Line("washers", model=KNOBS, training=TRAINING)
CORNER = np.zeros((48, 48), np.bool_)
CORNER[:14, :22] = True
"""Where a camera writes the time."""


def _images(seeds: range, *, noise: int | None = None) -> Pixels:
    """Washers; with noise, a corner shows something else in every image."""
    images = np.stack([washer(seed) for seed in seeds])[..., None]
    if noise is not None:
        random = np.random.default_rng(noise)
        images[:, CORNER] = random.integers(0, 2, (len(images), CORNER.sum(), 1)) * 255
    return images


def _fit(images: Pixels, ignored: Ignored | None, line: Line = LINE) -> FittedModel:
    ids = [f"{number:064x}" for number in range(len(images))]
    return fit_model(images, ids, line, on_epoch=lambda epoch, metrics: None, ignored=ignored)


@pytest.fixture(scope="module")
def masked() -> FittedModel:
    """A model that was trained on washers with a noisy corner, which it ignores."""
    return _fit(_images(range(110), noise=1), CORNER)


def test_what_lies_under_the_mask_changes_nothing_that_a_model_says(masked: FittedModel) -> None:
    one, other = (masked.scorer.score(_images(range(500, 520), noise=noise)) for noise in (2, 3))
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(one.maps, other.maps)
    np.testing.assert_array_equal(one.latents, other.latents)


def test_what_lies_under_the_mask_changes_nothing_that_a_training_learns(masked: FittedModel) -> None:
    other = _fit(_images(range(110), noise=7), CORNER)
    for one, two in zip(arrays_of(masked.fit.parts).values(), arrays_of(other.fit.parts).values(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert other.threshold == masked.threshold
    np.testing.assert_array_equal(other.synthetic_scores, masked.synthetic_scores)


def test_a_noisy_corner_spoils_the_threshold_unless_it_is_ignored(masked: FittedModel) -> None:
    bad = np.stack([washer(seed, defect=True) for seed in range(600, 640)])[..., None]
    bad[:, CORNER] = _images(range(40), noise=5)[:, CORNER]
    good = _images(range(500, 540), noise=4)
    blind = _fit(_images(range(110), noise=1), None)
    found, found_blind = (
        auroc(model.scorer.score(good).scores, model.scorer.score(bad).scores) for model in (masked, blind)
    )
    assert found > 0.95
    assert found > found_blind


def test_a_defect_under_the_mask_is_not_flagged_and_the_same_one_beside_it_is(masked: FittedModel) -> None:
    images = _images(range(500, 503))
    images[1, 3:11, 4:12] = 255
    images[2, 36:44, 34:42] = 255
    scored = masked.scorer.score(images)
    clean, under, beside = (score > masked.threshold.value for score in scored.scores)
    assert (clean, under, beside) == (False, False, True)
    boxes = regions(scored.maps[2], threshold=masked.threshold.value, delivered_px=(48, 48))
    assert boxes
    assert all(not CORNER[box.y_px + box.height_px // 2, box.x_px + box.width_px // 2] for box in boxes)
    assert scored.maps[:, :7, :11].max() == 0


def test_a_region_of_interest_hides_what_lies_around_it() -> None:
    model = _fit(_images(range(110)), outside_of((20, 0, 28, 48), (48, 48)))
    images = _images(range(500, 503))
    images[1, 36:44, 4:12] = 255
    images[2, 36:44, 34:42] = 255
    flagged = model.scorer.score(images).scores > model.threshold.value
    assert flagged.tolist() == [False, False, True]


def test_tiles_respect_the_mask_and_a_tile_that_is_ignored_altogether_is_no_trouble() -> None:
    line = replace(LINE, model=replace(KNOBS, tiles=(2, 2)))
    height, width = line.model.read_px
    large = np.stack([np.kron(image[..., 0], np.ones((2, 2), np.uint8)) for image in _images(range(110))])
    images = large[:, :height, :width, None]
    ignored = np.zeros((height, width), np.bool_)
    ignored[:50, :50] = True
    model = _fit(images, ignored, line)
    under, beside = images[:1].copy(), images[:1].copy()
    under[0, 10:30, 10:30] = 255
    beside[0, 60:80, 60:80] = 255
    expected = model.scorer.score(images[:1])
    np.testing.assert_array_equal(model.scorer.score(under).maps, expected.maps)
    scored = model.scorer.score(beside)
    assert scored.scores[0] > model.threshold.value > expected.scores[0]
    assert scored.maps[0, :25, :25].max() == 0


def test_a_mask_that_leaves_too_little_is_an_error_that_says_how_much_is_left() -> None:
    with pytest.raises(ConfigurationError, match=r"leave 4\.34% of the image"):
        _fit(_images(range(110)), outside_of((0, 0, 10, 10), (48, 48)))


def test_synthetic_defects_stay_clear_of_the_mask() -> None:
    defective = with_defects(_images(range(30), noise=1), seed=0, ignored=CORNER)
    assert not defective.masks[:, CORNER].any()
    assert defective.masks.any(axis=(1, 2)).all()


def test_the_mask_is_part_of_the_artefact_and_of_its_digest(masked: FittedModel, tmp_path: Path) -> None:
    graph, weights = masked.graph, arrays_of(masked.fit.parts)
    without = replace(masked.scorer, ignored=None)
    digests = [
        save_artefact(scorer, tmp_path / name, graph=graph, weights=weights, lineage={})
        for name, scorer in (("with", masked.scorer), ("without", without))
    ]
    assert digests[0] != digests[1]
    loaded = load_artefact(tmp_path / "with", sha256=digests[0])
    assert loaded.ignored is not None
    np.testing.assert_array_equal(loaded.ignored, CORNER)
    images = _images(range(500, 510), noise=2)
    again = loaded.scorer(onnx_forward(loaded.graph)).score(images)
    np.testing.assert_array_equal(again.scores, masked.scorer.score(images).scores)
    specification = tmp_path / "without" / "specification.json"
    for written in (6, 5):
        specification.write_text(json.dumps({**json.loads(specification.read_text()), "format": written}))
        earlier = load_artefact(tmp_path / "without", sha256=digest(tmp_path / "without"))
        assert earlier.ignored is None
        assert earlier.format == written
