from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from cae_pipeline.concurrency.parallel import in_order
from cae_pipeline.detector.artefact import digest, load_artefact, save_artefact
from cae_pipeline.detector.error_maps import NetworkOutputs
from cae_pipeline.detector.scorer import Scorer
from cae_pipeline.detector.sessions import onnx_forward, openvino_forward
from cae_pipeline.domain.images import Pixels
from cae_pipeline.domain.line import HEADS, AutoencoderSettings, TrainingSettings
from cae_pipeline.errors import ArtefactError, ConfigurationError, NonFiniteScoreError
from cae_pipeline.statistics.metrics import auroc
from cae_pipeline.statistics.split import Split
from cae_pipeline.training.export import check_agreement, to_onnx
from cae_pipeline.training.fit_detector import FittedDetector, fit_detector
from cae_pipeline.training.parts import Parts, arrays_of, parts_of
from cae_pipeline.training.reference import keras_forward
from tests.conftest import washer

KNOBS = AutoencoderSettings(height_px=24, width_px=24, feature_resolution=2, filters=(8, 16), latent_size=12)
TRAINING = TrainingSettings(preset="quick", epochs=6, learning_rate=5e-3)
SPLIT = Split(train=tuple(range(60)), validation=tuple(range(60, 76)), calibration=tuple(range(76, 100)))


def _images(seeds: range) -> Pixels:
    return np.stack([washer(seed) for seed in seeds])[..., None]


def _fit(images: Pixels, split: Split = SPLIT, knobs: AutoencoderSettings = KNOBS) -> FittedDetector:
    return fit_detector(images, split=split, model=knobs, training=TRAINING, on_epoch=lambda epoch, metrics: None)


def _ready(fit: FittedDetector) -> Scorer:
    return Scorer.fresh(fit.parts.settings, onnx_forward(to_onnx(fit.parts)), fit.profiles)


@pytest.fixture(scope="module")
def parts() -> FittedDetector:
    return _fit(_images(range(100)))


@pytest.fixture(scope="module")
def scorer(parts: FittedDetector) -> Scorer:
    fresh = _ready(parts)
    return replace(fresh, normal_scores=fresh.score(_images(range(100))[76:]).scores)


@pytest.fixture
def artefact(parts: FittedDetector, scorer: Scorer, tmp_path: Path) -> tuple[Path, str]:
    return tmp_path, _save(parts.parts, scorer, tmp_path)


def _save(parts: Parts, scorer: Scorer, folder: Path) -> str:
    return save_artefact(scorer, folder, graph=to_onnx(parts), weights=arrays_of(parts), lineage={"line": "washers"})


def _load(folder: Path, sha256: str) -> Scorer:
    artefact = load_artefact(folder, sha256=sha256)
    return artefact.scorer(onnx_forward(artefact.graph))


def test_a_saved_model_gives_the_same_scores_after_loading(scorer: Scorer, artefact: tuple[Path, str]) -> None:
    fresh = _images(range(500, 540))
    before, after = scorer.score(fresh), _load(*artefact).score(fresh)
    np.testing.assert_array_equal(before.scores, after.scores)
    np.testing.assert_array_equal(before.maps, after.maps)


def test_saving_twice_gives_the_same_digest(parts: FittedDetector, scorer: Scorer, tmp_path: Path) -> None:
    graph, weights = to_onnx(parts.parts), arrays_of(parts.parts)
    one, two = (
        save_artefact(scorer, tmp_path / name, graph=graph, weights=weights, lineage={"line": "washers"})
        for name in ("a", "b")
    )
    assert one == two


def test_what_is_rebuilt_from_its_arrays_says_the_same_when_it_is_exported_again(
    parts: FittedDetector, scorer: Scorer
) -> None:
    rebuilt = parts_of(parts.parts.settings, arrays_of(parts.parts))
    before, after = (
        replace(scorer, forward=onnx_forward(to_onnx(one))).score(_images(range(500, 540)))
        for one in (parts.parts, rebuilt)
    )
    np.testing.assert_allclose(after.scores, before.scores, rtol=1e-5)
    np.testing.assert_allclose(after.latents, before.latents, rtol=1e-4, atol=1e-5)


def test_onnx_and_openvino_give_what_keras_gives(parts: FittedDetector, scorer: Scorer) -> None:
    images = np.concatenate([_images(range(500, 530)), np.stack([washer(1, defect=True)])[..., None]])
    reference = replace(scorer, forward=keras_forward(parts.parts))
    graph = to_onnx(parts.parts)
    for forward in (onnx_forward(graph), openvino_forward(graph)):
        agreement = check_agreement(replace(scorer, forward=forward), reference, images)
        assert agreement.reconstruction <= 1e-5
        assert agreement.score <= 1e-4


def test_several_threads_may_ask_one_runtime_at_once(parts: FittedDetector, scorer: Scorer) -> None:
    images, graph = _images(range(500, 516)), to_onnx(parts.parts)
    for forward in (onnx_forward(graph), openvino_forward(graph)):
        ready = replace(scorer, forward=forward)
        expected = ready.score_few(images).scores
        for scored in in_order(ready.score_few, [images] * 200):
            np.testing.assert_array_equal(scored.scores, expected)


def test_several_discriminators_are_exported_as_their_mean(parts: FittedDetector, scorer: Scorer) -> None:
    arrays = arrays_of(parts.parts)
    twice = arrays | {name.replace("_0.", "_1."): array for name, array in arrays.items() if name.startswith("disc")}
    two = parts_of(parts.parts.settings, twice)
    assert len(two.discriminators) == 2
    images = _images(range(500, 520))
    scores = replace(scorer, forward=onnx_forward(to_onnx(two))).score(images).scores
    np.testing.assert_allclose(scores, scorer.score(images).scores, rtol=1e-4)


def test_an_export_that_differs_is_refused(parts: FittedDetector, scorer: Scorer) -> None:
    arrays = arrays_of(parts.parts)
    other = {name: array * (1.01 if name == "autoencoder.000" else 1) for name, array in arrays.items()}
    reference = replace(scorer, forward=keras_forward(parts_of(parts.parts.settings, other)))
    with pytest.raises(ArtefactError, match=r"differs from the trained one"):
        check_agreement(scorer, reference, _images(range(500, 510)))


@pytest.mark.parametrize("name", ["arrays.npz", "weights.npz", "networks.onnx", "specification.json"])
def test_a_changed_artefact_is_refused(artefact: tuple[Path, str], name: str) -> None:
    folder, sha256 = artefact
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ArtefactError, match=r"expected .* as registered"):
        load_artefact(folder, sha256=sha256)


def test_a_missing_artefact_is_refused(artefact: tuple[Path, str]) -> None:
    folder, sha256 = artefact
    (folder / "arrays.npz").unlink()
    with pytest.raises(ArtefactError, match=r"no arrays.npz"):
        load_artefact(folder, sha256=sha256)


def test_an_artefact_holds_no_code(artefact: tuple[Path, str]) -> None:
    folder, _ = artefact
    names = ["arrays.npz", "networks.onnx", "specification.json", "weights.npz"]
    assert sorted(path.name for path in folder.iterdir()) == names
    specification = json.loads((folder / "specification.json").read_text())
    assert set(specification) == {"format", "model", "lineage", "heads"}
    for name in ("arrays.npz", "weights.npz"):
        with np.load(folder / name, allow_pickle=False) as arrays:
            assert all(arrays[key].dtype.kind == "f" for key in arrays.files)
    graph = onnx.load(folder / "networks.onnx")
    assert {node.domain for node in graph.graph.node} == {""}
    assert not graph.functions


@pytest.mark.parametrize("part", ["autoencoder", "pca", "discriminator"])
def test_broken_weights_are_an_error_and_never_a_score(parts: FittedDetector, scorer: Scorer, part: str) -> None:
    arrays = arrays_of(parts.parts)
    broken = {name: arrays[name] * (np.nan if name.startswith(part) else 1) for name in arrays}
    graph = to_onnx(parts_of(parts.parts.settings, broken))
    with pytest.raises(NonFiniteScoreError):
        replace(scorer, forward=onnx_forward(graph)).score(_images(range(3)))


def test_a_tile_that_is_not_finite_costs_its_own_image_the_score_and_no_other(scorer: Scorer) -> None:
    images = _images(range(500, 510))

    def breaks_the_fourth(tiles: Pixels) -> NetworkOutputs:
        outputs = scorer.forward(tiles)
        texture = outputs.texture.copy()
        texture[3, 0, 0] = np.nan
        return replace(outputs, texture=texture)

    broken, expected = replace(scorer, forward=breaks_the_fourth), scorer.score_few(images)
    scored = broken.score_few(images)
    assert np.flatnonzero(np.isnan(scored.scores)).tolist() == [3]
    others = np.arange(10) != 3
    np.testing.assert_array_equal(scored.scores[others], expected.scores[others])
    np.testing.assert_array_equal(scored.maps[others], expected.maps[others])
    with pytest.raises(NonFiniteScoreError, match="1 of 10 scores"):
        broken.score(images)


def test_what_is_no_graph_is_an_error_with_what_to_do() -> None:
    with pytest.raises(ArtefactError, match="Train again"):
        onnx_forward(b"not a graph")


def test_a_model_of_an_earlier_format_is_refused_with_what_to_do(artefact: tuple[Path, str]) -> None:
    folder, sha256 = artefact
    path = folder / "specification.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 1}))
    with pytest.raises(ArtefactError, match="Train the line again"):
        load_artefact(folder, sha256=sha256)


def test_a_model_of_format_four_is_read_by_its_old_names(
    parts: FittedDetector, scorer: Scorer, artefact: tuple[Path, str]
) -> None:
    folder, _ = artefact
    images = _images(range(500, 520))
    expected, weights = _load(folder, digest(folder)).score(images), arrays_of(parts.parts)
    _rewrite_as_format_four(folder)
    model = load_artefact(folder, sha256=digest(folder))
    assert model.settings == scorer.settings
    for forward in (onnx_forward(model.graph), openvino_forward(model.graph)):
        np.testing.assert_allclose(model.scorer(forward).score(images).scores, expected.scores, rtol=1e-4)
    np.testing.assert_array_equal(model.normal_latents, scorer.normal_latents)
    np.testing.assert_array_equal(model.nuisance_directions, scorer.nuisance_directions)
    assert {name: array.tolist() for name, array in model.weights().items()} == {
        name: array.tolist() for name, array in weights.items()
    }


def _rewrite_as_format_four(folder: Path) -> None:
    """Give everything in a folder the names that it had in format 4."""
    specification = json.loads((folder / "specification.json").read_text())
    model = specification["model"]
    for new, old in (("latent_size", "code_size"), ("feature_resolution", "detail"), ("heads", "views")):
        model[old] = model.pop(new)
    old_specification = {"format": 4, "model": model, "views": specification["heads"], "lineage": {}}
    (folder / "specification.json").write_text(json.dumps(old_specification))
    old_names = {
        "normal_latents": "normal_codes",
        "nuisance_directions": "movements",
        "pca.mean": "plane.mean",
        "pca.components": "plane.directions",
        "pca.gains": "plane.gains",
        **{
            f"head_{head}.{new}": f"view_{head}.{old}"
            for head in HEADS
            for new, old in (
                ("mean", "mean"),
                ("spread", "spread"),
                ("zero_level", "ground"),
                ("one_level", "ceiling"),
                ("fusion_weight", "weight"),
            )
        },
    }
    for name in ("arrays.npz", "weights.npz"):
        with np.load(folder / name) as arrays:
            renamed = {old_names.get(key, key): arrays[key] for key in arrays.files}
        np.savez(folder / name, **renamed)
    graph = onnx.load(folder / "networks.onnx")
    for node in graph.graph.node:
        node.output[:] = [{"inputs": "shown", "latent": "code"}.get(name, name) for name in node.output]
        node.input[:] = [{"inputs": "shown", "latent": "code"}.get(name, name) for name in node.input]
    for output in graph.graph.output:
        output.name = {"inputs": "shown", "latent": "code"}.get(output.name, output.name)
    onnx.save(graph, folder / "networks.onnx")


def test_a_graph_that_lacks_an_output_is_refused(artefact: tuple[Path, str]) -> None:
    graph = onnx.load(artefact[0] / "networks.onnx")
    del graph.graph.output[-1]
    with pytest.raises(ArtefactError, match="expected latent as well"):
        onnx_forward(graph.SerializeToString())


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


def test_each_head_can_be_switched_off_and_the_others_still_find_defects(scorer: Scorer) -> None:
    bad = np.stack([washer(seed, defect=True) for seed in range(600, 620)])[..., None]
    good = _images(range(500, 520))
    for head in HEADS:
        others = tuple(other for other in HEADS if other != head)
        part = replace(scorer, settings=replace(scorer.settings, heads=others))
        assert auroc(part.score(good).scores, part.score(bad).scores) > 0.9, head


def test_training_twice_with_one_seed_gives_equal_scores_and_another_seed_others() -> None:
    images = _images(range(60))
    split = Split(train=tuple(range(40)), validation=tuple(range(40, 60)), calibration=())
    short = replace(TRAINING, epochs=2)
    first, again, other = (
        fit_detector(images, split=split, model=KNOBS, training=training, on_epoch=lambda epoch, metrics: None)
        for training in (short, short, replace(short, seed=1))
    )
    for one, two in zip(arrays_of(first.parts).values(), arrays_of(again.parts).values(), strict=True):
        np.testing.assert_array_equal(one, two)
    fresh = _images(range(500, 510))
    np.testing.assert_array_equal(_ready(first).score(fresh).scores, _ready(again).score(fresh).scores)
    assert (_ready(first).score(fresh).scores != _ready(other).score(fresh).scores).all()


def test_defects_hidden_among_the_normal_images_are_suspected() -> None:
    images = _images(range(76))
    hidden = (3, 20, 41, 66)
    for position in hidden:
        images[position] = washer(900 + position, defect=True)[..., None]
    outliers = _fit(images).outliers
    assert set(hidden) <= set(outliers)
    assert len(outliers) <= len(hidden) + 3


def test_a_small_defect_in_a_large_image_is_found_tile_by_tile() -> None:
    random = np.random.default_rng(0)
    knobs = AutoencoderSettings(
        height_px=16, width_px=16, feature_resolution=2, filters=(8, 16), latent_size=8, tiles=(2, 3)
    )
    images = np.clip(random.normal(120, 8, (60, *knobs.read_px, 1)), 0, 255).astype(np.uint8)
    scorer = _ready(_fit(images, Split(tuple(range(40)), tuple(range(40, 60)), ()), knobs))
    fresh = np.clip(random.normal(120, 8, (20, *knobs.read_px, 1)), 0, 255).astype(np.uint8)
    bad = fresh.copy()
    bad[:, 40:45, 60:65] = 250
    normal, defective = scorer.score(fresh), scorer.score(bad)
    assert normal.maps.shape == normal.inputs.shape[:3] == (20, 30, 44)
    assert auroc(normal.scores, defective.scores) > 0.95
    row, column = np.unravel_index(int(defective.maps[0].argmax()), defective.maps.shape[1:])
    assert abs(int(row) - 21) <= 6
    assert abs(int(column) - 31) <= 6


def test_a_backbone_replaces_the_filters_and_a_missing_file_is_never_downloaded(tmp_path: Path) -> None:
    import keras

    weights = tmp_path / "mobilenet_v2.weights.h5"
    knobs = AutoencoderSettings(
        height_px=16, width_px=16, feature_resolution=2, filters=(8, 16), latent_size=8, backbone_weights=str(weights)
    )
    images = np.stack([cv2.resize(washer(seed), (32, 32)) for seed in range(40)])[..., None]
    split = Split(tuple(range(24)), tuple(range(24, 40)), ())
    with pytest.raises(ConfigurationError, match="never downloaded"):
        _fit(images, split, knobs)
    keras.applications.MobileNetV2(input_shape=(32, 32, 3), include_top=False, weights=None).save_weights(weights)
    fit = _fit(images, split, knobs)
    scorer = _ready(fit)
    sha256 = _save(fit.parts, scorer, tmp_path / "kept")
    weights.unlink()
    before, after = scorer.score(images), _load(tmp_path / "kept", sha256).score(images)
    np.testing.assert_array_equal(before.scores, after.scores)
