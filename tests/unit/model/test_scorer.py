from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from cae_pipeline.core.evaluation import auroc
from cae_pipeline.core.images import Pixels
from cae_pipeline.core.line import VIEWS, AutoencoderSettings, TrainingSettings
from cae_pipeline.core.split import Split
from cae_pipeline.errors import ArtefactError, ConfigurationError, NonFiniteScoreError
from cae_pipeline.model.artefact import digest, load_scorer, save_scorer
from cae_pipeline.model.fitting import FittedScorer, fit_scorer
from cae_pipeline.model.scorer import Scorer
from tests.conftest import washer

KNOBS = AutoencoderSettings(height_px=24, width_px=24, detail=2, filters=(8, 16), code_size=12)
TRAINING = TrainingSettings(effort="quick", epochs=6, learning_rate=5e-3)
SPLIT = Split(train=tuple(range(60)), validation=tuple(range(60, 76)), calibration=tuple(range(76, 100)))


def _images(seeds: range) -> Pixels:
    return np.stack([washer(seed) for seed in seeds])[..., None]


def _fit(images: Pixels, split: Split = SPLIT, knobs: AutoencoderSettings = KNOBS) -> FittedScorer:
    return fit_scorer(images, split=split, model=knobs, training=TRAINING, on_epoch=lambda epoch, metrics: None)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    images = _images(range(100))
    fitted = _fit(images).scorer
    return replace(fitted, normal_scores=fitted.score(images[76:]).scores)


def test_a_saved_scorer_gives_the_same_scores_after_loading(scorer: Scorer, tmp_path: Path) -> None:
    sha256 = save_scorer(scorer, tmp_path, lineage={"line": "washers"})
    fresh = _images(range(500, 540))
    before, after = scorer.score(fresh), load_scorer(tmp_path, sha256=sha256).score(fresh)
    np.testing.assert_array_equal(before.scores, after.scores)
    np.testing.assert_array_equal(before.maps, after.maps)


def test_saving_twice_gives_the_same_digest(scorer: Scorer, tmp_path: Path) -> None:
    digests = {save_scorer(scorer, tmp_path / name, lineage={}) for name in ("a", "b")}
    assert len(digests) == 1


@pytest.mark.parametrize("name", ["arrays.npz", "specification.json"])
def test_a_changed_artefact_is_refused(scorer: Scorer, tmp_path: Path, name: str) -> None:
    sha256 = save_scorer(scorer, tmp_path, lineage={})
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArtefactError, match=r"expected .* as registered"):
        load_scorer(tmp_path, sha256=sha256)


def test_a_missing_artefact_is_refused(scorer: Scorer, tmp_path: Path) -> None:
    sha256 = save_scorer(scorer, tmp_path, lineage={})
    (tmp_path / "arrays.npz").unlink()
    with pytest.raises(ArtefactError, match=r"no arrays.npz"):
        load_scorer(tmp_path, sha256=sha256)


def test_an_artefact_holds_no_code(scorer: Scorer, tmp_path: Path) -> None:
    save_scorer(scorer, tmp_path, lineage={})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arrays.npz", "specification.json"]
    specification = json.loads((tmp_path / "specification.json").read_text())
    assert set(specification) == {"format", "model", "lineage", "num_discriminators", "views"}
    with np.load(tmp_path / "arrays.npz", allow_pickle=False) as arrays:
        assert all(arrays[name].dtype.kind == "f" for name in arrays.files)


@pytest.mark.parametrize("part", ["autoencoder", "plane", "discriminator"])
def test_broken_weights_are_an_error_and_never_a_score(scorer: Scorer, tmp_path: Path, part: str) -> None:
    save_scorer(scorer, tmp_path, lineage={})
    with np.load(tmp_path / "arrays.npz") as arrays:
        broken = {name: arrays[name] * (np.nan if name.startswith(part) else 1) for name in arrays.files}
    np.savez(tmp_path / "arrays.npz", allow_pickle=False, **broken)
    with pytest.raises(NonFiniteScoreError):
        load_scorer(tmp_path, sha256=digest(tmp_path)).score(_images(range(3)))


def test_a_model_of_an_earlier_format_is_refused_with_what_to_do(scorer: Scorer, tmp_path: Path) -> None:
    save_scorer(scorer, tmp_path, lineage={})
    path = tmp_path / "specification.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 1}))
    with pytest.raises(ArtefactError, match="Train the line again"):
        load_scorer(tmp_path, sha256=digest(tmp_path))


def test_a_score_does_not_depend_on_its_neighbours_in_the_minibatch(scorer: Scorer) -> None:
    images = _images(range(500, 540))
    together = scorer.score(images).scores
    alone = np.concatenate([scorer.score(images[i : i + 1]).scores for i in range(0, 40, 13)])
    np.testing.assert_allclose(together[::13], alone, rtol=1e-5)


def test_no_images_give_no_scores(scorer: Scorer) -> None:
    assert scorer.score(np.zeros((0, 48, 48, 1), np.uint8)).scores.shape == (0,)


def test_defects_score_above_normal_images(scorer: Scorer) -> None:
    bad = np.stack([washer(seed, defect=True) for seed in range(600, 640)])[..., None]
    normal, defective = scorer.score(_images(range(500, 540))).scores, scorer.score(bad).scores
    assert auroc(normal, defective) > 0.95


def test_each_view_can_be_switched_off_and_the_others_still_find_defects(scorer: Scorer) -> None:
    bad = np.stack([washer(seed, defect=True) for seed in range(600, 620)])[..., None]
    good = _images(range(500, 520))
    for view in VIEWS:
        others = tuple(other for other in VIEWS if other != view)
        part = replace(scorer, settings=replace(scorer.settings, views=others))
        assert auroc(part.score(good).scores, part.score(bad).scores) > 0.9, view


def test_training_twice_with_one_seed_gives_equal_scores_and_another_seed_others() -> None:
    images = _images(range(60))
    split = Split(train=tuple(range(40)), validation=tuple(range(40, 60)), calibration=())
    short = replace(TRAINING, epochs=2)
    first, again, other = (
        fit_scorer(images, split=split, model=KNOBS, training=training, on_epoch=lambda epoch, metrics: None).scorer
        for training in (short, short, replace(short, seed=1))
    )
    fresh = _images(range(500, 510))
    np.testing.assert_array_equal(first.score(fresh).scores, again.score(fresh).scores)
    for one, two in zip(first.network.get_weights(), again.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert (first.score(fresh).scores != other.score(fresh).scores).all()


def test_defects_hidden_among_the_normal_images_are_suspected() -> None:
    images = _images(range(76))
    hidden = (3, 20, 41, 66)
    for position in hidden:
        images[position] = washer(900 + position, defect=True)[..., None]
    assert set(hidden) <= set(_fit(images).suspects)
    assert len(_fit(images).suspects) <= len(hidden) + 3


def test_a_small_defect_in_a_large_image_is_found_tile_by_tile() -> None:
    random = np.random.default_rng(0)
    knobs = AutoencoderSettings(height_px=16, width_px=16, detail=2, filters=(8, 16), code_size=8, tiles=(2, 3))
    images = np.clip(random.normal(120, 8, (60, *knobs.read_px, 1)), 0, 255).astype(np.uint8)
    scorer = _fit(images, Split(tuple(range(40)), tuple(range(40, 60)), ()), knobs).scorer
    fresh = np.clip(random.normal(120, 8, (20, *knobs.read_px, 1)), 0, 255).astype(np.uint8)
    bad = fresh.copy()
    bad[:, 40:45, 60:65] = 250
    normal, defective = scorer.score(fresh), scorer.score(bad)
    assert normal.maps.shape == normal.shown.shape[:3] == (20, 30, 44)
    assert auroc(normal.scores, defective.scores) > 0.95
    row, column = np.unravel_index(int(defective.maps[0].argmax()), defective.maps.shape[1:])
    assert abs(int(row) - 21) <= 6
    assert abs(int(column) - 31) <= 6


def test_a_backbone_replaces_the_filters_and_a_missing_file_is_never_downloaded(tmp_path: Path) -> None:
    import keras

    weights = tmp_path / "mobilenet_v2.weights.h5"
    knobs = AutoencoderSettings(
        height_px=16, width_px=16, detail=2, filters=(8, 16), code_size=8, backbone_weights=str(weights)
    )
    images = np.stack([cv2.resize(washer(seed), (32, 32)) for seed in range(40)])[..., None]
    split = Split(tuple(range(24)), tuple(range(24, 40)), ())
    with pytest.raises(ConfigurationError, match="never downloaded"):
        _fit(images, split, knobs)
    keras.applications.MobileNetV2(input_shape=(32, 32, 3), include_top=False, weights=None).save_weights(weights)
    scorer = _fit(images, split, knobs).scorer
    sha256 = save_scorer(scorer, tmp_path / "kept", lineage={})
    weights.unlink()
    before, after = scorer.score(images), load_scorer(tmp_path / "kept", sha256=sha256).score(images)
    np.testing.assert_array_equal(before.scores, after.scores)
