"""Models to put before the gate: seeded faults of many kinds, each made from a real champion or by a real training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from cae_pipeline.detector.fusion import HeadProfile
from cae_pipeline.detector.scorer import Scorer
from cae_pipeline.detector.sessions import onnx_forward
from cae_pipeline.domain.images import Pixels
from cae_pipeline.domain.line import Line
from cae_pipeline.domain.outcome import AcceptedImage
from cae_pipeline.steps.life.fit import FittedModel, fit_model
from cae_pipeline.steps.night.load import read_artefact
from cae_pipeline.training.export import to_onnx
from cae_pipeline.training.parts import arrays_of, parts_of
from tests.benchmarks.promises.cells import Cells

Arrays = dict[str, NDArray[Any]]
Members = list[tuple[str, str, str]]


@dataclass(frozen=True)
class Candidate:
    """A model with everything that is registered of it.

    Attributes:
        members: `(delivery_key, name, part)` of what it says it was trained on.
    """

    kind: str
    scorer: Scorer
    graph: bytes
    weights: Arrays
    threshold: float
    members: Members


class Faults:
    """Faults of a champion: the file is whole, the model is not."""

    def __init__(self, cells: Cells, line: str) -> None:
        self.cells, self.line = cells, line
        self.champion = cells.champion(line)
        self.artefact = read_artefact(self.champion, cells.services)
        self.weights = self.artefact.weights()
        self.members: Members = [(*row.image.key, row.part) for row in cells.trained_on(line)]

    def seeded(self) -> Iterator[Candidate]:
        """Every kind."""
        random = np.random.default_rng(0)
        changed: dict[str, Callable[[str, NDArray[Any]], NDArray[Any]]] = {
            "NaN weights": _on("autoencoder", lambda array: np.full_like(array, np.nan)),
            "infinite weights": _on("autoencoder", lambda array: np.full_like(array, np.inf)),
            "constant: all weights of the autoencoder zero": _on("autoencoder", np.zeros_like),
            "untrained autoencoder": _on("autoencoder", lambda array: random.normal(0, 0.1, array.shape)),
            "noise on the autoencoder's weights": _on(
                "autoencoder", lambda array: array + random.normal(0, array.std() + 0.05, array.shape)
            ),
            "filters of the encoder shuffled": _on("encoder", lambda array: random.permutation(array, axis=-1)),
            "components forgotten": _on("pca.components", np.zeros_like),
            "features in wrong units": _on("texture.scale", lambda array: array * 20),
            "discriminators' weights noise": _on("discriminator", lambda array: random.normal(0, 1, array.shape)),
        }
        for kind, change in changed.items():
            weights = {name: change(name, array).astype(array.dtype) for name, array in self.weights.items()}
            yield self._candidate(kind, to_onnx(parts_of(self.artefact.settings, weights)), weights)
        yield self._candidate("identity: gives back what it is shown", _identity(self.artefact.graph))
        usual = self.champion.threshold
        for kind, threshold in (
            ("threshold 0", 0.0),
            ("threshold infinite", np.inf),
            ("threshold a tenth", usual / 10),
            ("threshold tenfold", usual * 10),
        ):
            yield replace(self._candidate(kind, self.artefact.graph), threshold=threshold)
        yield from self._changed_scorers()

    def _changed_scorers(self) -> Iterator[Candidate]:
        scorer = self._candidate("", self.artefact.graph).scorer
        profiles = scorer.profiles
        for kind, wrong in (
            ("normal scores of another scale", replace(scorer, normal_scores=scorer.normal_scores * 3)),
            ("normal scores of fewer images", replace(scorer, normal_scores=scorer.normal_scores[:20])),
            ("what is usual ten times too wide", _profiled(scorer, {v: _wider(p) for v, p in profiles.items()})),
            ("places of what is usual upside down", _profiled(scorer, {v: _turned(p) for v, p in profiles.items()})),
            ("one head only, the weakest", replace(scorer, settings=replace(scorer.settings, heads=("intensity",)))),
        ):
            yield replace(self._candidate(kind, self.artefact.graph), scorer=wrong)

    def of_another_line(self, other: str) -> Candidate:
        """A good model of the wrong line."""
        champion = self.cells.champion(other)
        artefact = read_artefact(champion, self.cells.services)
        scorer = artefact.scorer(onnx_forward(artefact.graph))
        kind = "another line's model"
        return Candidate(kind, scorer, artefact.graph, artefact.weights(), champion.threshold, self.members)

    def _candidate(self, kind: str, graph: bytes, weights: Arrays | None = None) -> Candidate:
        scorer = self.artefact.scorer(onnx_forward(graph))
        return Candidate(kind, scorer, graph, weights or self.weights, self.champion.threshold, self.members)


def badly_trained(cells: Cells, line: Line) -> Iterator[Candidate]:
    """Real trainings on the wrong images, or hardly any."""
    normal = [row.image for row in cells.trained_on(line.name)]
    normal_pixels = cells.pixels(line.name, normal)
    # of those nobody has judged yet
    defects = cells.images(line.name, label=1.0)[1::2]
    bad = cells.pixels(line.name, defects)
    lazy = replace(line, training=replace(line.training, epochs=1, learning_rate=1e-6))
    half = len(defects)
    random = np.random.default_rng(0)
    for kind, settings, pixels, images in (
        ("trained on defects", line, bad, defects),
        ("labels swapped: more defects than normal images", line, np.concatenate([bad, normal_pixels[: half // 2]]),
         [*defects, *normal[: half // 2]]),
        ("wrong preprocessing: inverted", line, 255 - normal_pixels, normal),
        ("wrong preprocessing: turned by 90 degrees", line, np.rot90(normal_pixels, axes=(1, 2)), normal),
        ("underfitted: one epoch, no step size", lazy, normal_pixels, normal),
        ("overfitted: forty images", line, normal_pixels[:40], normal[:40]),
        ("trained on noise", line, random.integers(0, 256, normal_pixels.shape, np.uint8), normal),
    ):  # fmt: skip
        yield trained(kind, settings, np.ascontiguousarray(pixels), images)


def trained(kind: str, line: Line, pixels: Pixels, images: Sequence[AcceptedImage]) -> Candidate:
    """Train as the pipeline does."""
    model: FittedModel = fit_model(
        pixels, [image.image_id for image in images], line, on_epoch=lambda _epoch, _metrics: None
    )
    members = [(*images[position].key, part) for part, positions in vars(model.split).items() for position in positions]
    return Candidate(kind, model.scorer, model.graph, arrays_of(model.fit.parts), model.threshold.value, members)


def _on(part: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Callable[[str, NDArray[Any]], NDArray[Any]]:
    return lambda name, array: change(array) if name.startswith(part) else array


def _identity(graph: bytes) -> bytes:
    """Let the reconstruction be what went in, whatever the network says."""
    model = onnx.load_from_string(graph)
    for node in model.graph.node:
        node.output[:] = ["unheard" if name == "reconstructions" else name for name in node.output]
        node.input[:] = ["unheard" if name == "reconstructions" else name for name in node.input]
    model.graph.node.append(onnx.helper.make_node("Identity", ["inputs"], ["reconstructions"], name="as_it_was"))
    return bytes(model.SerializeToString(deterministic=True))


def _profiled(scorer: Scorer, profiles: dict[Any, HeadProfile]) -> Scorer:
    return replace(scorer, profiles=profiles)


def _wider(profile: HeadProfile) -> HeadProfile:
    return replace(profile, spread=profile.spread * 10)


def _turned(profile: HeadProfile) -> HeadProfile:
    return replace(profile, mean=profile.mean[::-1].copy(), spread=profile.spread[::-1].copy())
