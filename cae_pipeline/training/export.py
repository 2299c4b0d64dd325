"""Keras → ONNX, and the proof that both give the same scores."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import tensorflow as tf

from cae_pipeline.detector.scorer import MINIBATCH_SIZE, Scorer
from cae_pipeline.detector.sessions import INPUT, OUTPUTS
from cae_pipeline.domain.images import Pixels
from cae_pipeline.errors import ArtefactError
from cae_pipeline.training.parts import Parts
from cae_pipeline.training.reference import build_forward

COMPONENTS = "components"
MAX_RECONSTRUCTION_DIFFERENCE = 1e-5
"""Of a pixel, in the range [0, 1] of an image."""
MAX_SCORE_DIFFERENCE = 1e-4
"""Of a score, relative to the score itself."""


@dataclass(frozen=True)
class Agreement:
    """How far an exported model is from its reference, on real images.

    Attributes:
        reconstruction: Largest difference of a pixel, in the range [0, 1].
        score: Largest relative difference of a score.
    """

    reconstruction: float
    score: float


def to_onnx(parts: Parts) -> bytes:
    """Export all networks as one ONNX graph.

    The same parts mostly give the same bytes. Now and then the optimisers of TensorFlow and the exporter, which work in
    several threads and in the order of their hashes, put the same sums into other nodes; what they say is the same to
    rounding, and `check_agreement` holds every graph against Keras.
    """
    settings = parts.settings
    shape = (MINIBATCH_SIZE, *settings.tile_px, settings.channels)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras tries what numpy 2 no longer has before it helps itself
        path = Path(folder) / "networks.onnx"
        components = parts.pca.components
        signature = [
            [
                tf.TensorSpec(shape, tf.as_dtype(settings.pixel_type), name=INPUT),
                tf.TensorSpec(components.shape, name=COMPONENTS),
            ]
        ]
        # apart, because the exporter copies constants many times over, and this one is most of the model
        build_forward(parts, components_apart=True).export(
            path, format="onnx", verbose=False, input_signature=signature
        )
        graph = onnx.load(path)
    _name_by_order(graph)
    del graph.graph.input[1]
    graph.graph.initializer.append(onnx.numpy_helper.from_array(components, COMPONENTS))
    return bytes(graph.SerializeToString(deterministic=True))


def check_agreement(exported: Scorer, reference: Scorer, images: Pixels) -> Agreement:
    """Hold an exported model against its reference.

    Args:
        exported: The model as it will serve.
        reference: The same model, run by Keras.
        images: Shape `(n, *read_px, c)`, of the type that the settings say, n > 0.

    Raises:
        ArtefactError: If they differ by more than rounding can explain.
    """
    ours, theirs = exported.score(images), reference.score(images)
    agreement = Agreement(
        float(np.abs(ours.reconstructions - theirs.reconstructions).max()),
        float((np.abs(ours.scores - theirs.scores) / np.maximum(theirs.scores, 1e-9)).max()),
    )
    if agreement.reconstruction > MAX_RECONSTRUCTION_DIFFERENCE or agreement.score > MAX_SCORE_DIFFERENCE:
        raise ArtefactError(
            f"the exported model differs from the trained one by {agreement.reconstruction:.1e} in its reconstructions "
            f"and by {agreement.score:.1e} of its scores; expected at most {MAX_RECONSTRUCTION_DIFFERENCE:g} and "
            f"{MAX_SCORE_DIFFERENCE:g}. Score with --runtime keras, and report this."
        )
    return agreement


def _name_by_order(graph: onnx.ModelProto) -> None:
    """Name tensors by their order: the exporter's names count what else the process has built."""
    names = dict(zip((given.name for given in graph.graph.input), (INPUT, COMPONENTS), strict=True))
    names.update(zip((output.name for output in graph.graph.output), OUTPUTS, strict=True))

    def renamed(name: str) -> str:
        return names.setdefault(name, f"t{len(names)}") if name else ""

    for number, node in enumerate(graph.graph.node):
        node.name = f"n{number}"
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]
    for named in (*graph.graph.initializer, *graph.graph.input, *graph.graph.output):
        named.name = renamed(named.name)
    del graph.graph.value_info[:]
    graph.graph.initializer.sort(key=lambda initializer: initializer.name)
    graph.graph.name = "cae"
    graph.doc_string = graph.graph.doc_string = ""
