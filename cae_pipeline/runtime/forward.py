"""The networks of a model as one function on arrays, run by ONNX Runtime or OpenVINO.

A run takes one core: scoring keeps the cores busy with several minibatches at once, which loses
nothing to waiting, as threads inside one run would.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import onnxruntime

from cae_pipeline.core.images import Floats, Pixels
from cae_pipeline.core.views import NetworkOutputs
from cae_pipeline.errors import ArtefactError, ConfigurationError
from cae_pipeline.runtime.scorer import Forward

INPUT = "tiles"
OUTPUTS = ("shown", "reconstructions", "texture", "defect")


def onnx_forward(graph: bytes) -> Forward:
    """Run a graph with ONNX Runtime.

    Raises:
        ArtefactError: If it is not a graph that ONNX Runtime can run.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common class
        raise ArtefactError(f"ONNX Runtime cannot run the model: {error}. Train again.") from error

    def forward(tiles: Pixels) -> NetworkOutputs:
        return _outputs(dict(zip(OUTPUTS, session.run(list(OUTPUTS), {INPUT: tiles}), strict=True)))

    return forward


def has_openvino() -> bool:
    """Tell whether OpenVINO, which is optional, is installed."""
    return find_spec("openvino") is not None


def openvino_forward(graph: bytes) -> Forward:
    """Run a graph with OpenVINO.

    Raises:
        ConfigurationError: If it is not installed.
    """
    if not has_openvino():
        raise ConfigurationError("OpenVINO is not installed; expected `pip install cae-pipeline[openvino]`.")
    import openvino

    knobs = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(openvino.Core().read_model(graph), "CPU", knobs)

    def forward(tiles: Pixels) -> NetworkOutputs:
        # a request of its own for every call: one must not be used by two threads at once
        results = compiled.create_infer_request().infer({INPUT: tiles})
        return _outputs({name: results[name] for name in OUTPUTS})

    return forward


def _outputs(arrays: Mapping[str, Any]) -> NetworkOutputs:
    named: dict[str, Floats] = {name: arrays[name] for name in OUTPUTS}
    return NetworkOutputs(**named)
