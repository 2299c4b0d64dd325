from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cae_pipeline.core.evaluation import auroc
from cae_pipeline.core.images import Pixels
from cae_pipeline.core.line import AutoencoderSettings, TrainingSettings
from cae_pipeline.errors import ArtefactError, NonFiniteScoreError
from cae_pipeline.model.corruption import with_defects
from cae_pipeline.model.scorer import Scorer, fit_scorer, load_scorer, save_scorer
from cae_pipeline.model.training import fit_autoencoder
from tests.conftest import washer

KNOBS = AutoencoderSettings(height_px=48, width_px=48, filters=(8, 16), code_size=12)
TRAINING = TrainingSettings(epochs=15, learning_rate=5e-3)


def _images(seeds: range) -> Pixels:
    return np.stack([washer(seed) for seed in seeds])[..., None]


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    fitted = fit_autoencoder(_images(range(60)), _images(range(60, 76)), model=KNOBS, training=TRAINING)
    return fit_scorer(fitted.network, KNOBS, profile=_images(range(60, 76)), calibration=_images(range(76, 100)))


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
    assert set(json.loads((tmp_path / "specification.json").read_text())) == {"format", "model", "lineage"}
    with np.load(tmp_path / "arrays.npz", allow_pickle=False) as arrays:
        assert all(arrays[name].dtype.kind == "f" for name in arrays.files)


def test_broken_weights_are_an_error_and_never_a_score(scorer: Scorer) -> None:
    weights = [np.full_like(array, np.nan) for array in scorer.network.get_weights()]
    broken = Scorer(
        scorer.settings,
        type(scorer.network).from_config(scorer.network.get_config()),
        scorer.profile,
        scorer.normal_scores,
    )
    broken.network.set_weights(weights)
    with pytest.raises(NonFiniteScoreError):
        broken.score(_images(range(3)))


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


def test_training_twice_with_one_seed_gives_equal_weights() -> None:
    knobs = AutoencoderSettings(height_px=48, width_px=48, filters=(4, 8), code_size=4)
    short = TrainingSettings(epochs=2)
    first, again = (
        fit_autoencoder(_images(range(40)), _images(range(40, 50)), model=knobs, training=short) for _ in "ab"
    )
    for one, other in zip(first.network.get_weights(), again.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_synthetic_defects_change_every_image_and_depend_on_the_seed() -> None:
    images = _images(range(30))
    damaged = with_defects(images, seed=0)
    assert damaged.shape == images.shape
    assert damaged.dtype == np.uint8
    assert all((a != b).any() for a, b in zip(images, damaged, strict=True))
    np.testing.assert_array_equal(damaged, with_defects(images, seed=0))
    assert (damaged != with_defects(images, seed=1)).any()
