"""The networks of a model as one function on arrays, run by ONNX Runtime or OpenVINO.

A run of ONNX Runtime takes one core: scoring keeps the cores busy with several minibatches at once, which loses
nothing to waiting, as threads inside one run would. OpenVINO spreads one run over all cores instead: two of its runs
asked for from two Python threads can wait for each other for ever.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from types import ModuleType
from typing import Any, cast

# from version 1.32 on it reports to its maker as soon as it is imported, unless it is told not to
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime
from joblib import cpu_count

from cae_pipeline.detector.error_maps import NetworkOutputs
from cae_pipeline.detector.scorer import Forward
from cae_pipeline.domain.images import Floats, Pixels
from cae_pipeline.errors import ArtefactError, ConfigurationError

INPUT = "tiles"
OUTPUTS = ("shown", "reconstructions", "texture", "defect", "code")


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
    # it would report to its maker, as soon as it is imported; without this module it does without
    sys.modules.setdefault("openvino_telemetry", cast("ModuleType", None))
    import openvino

    knobs = {"INFERENCE_NUM_THREADS": cpu_count(), "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(openvino.Core().read_model(graph), "CPU", knobs)

    request, one_at_a_time = compiled.create_infer_request(), threading.Lock()

    def forward(tiles: Pixels) -> NetworkOutputs:
        with one_at_a_time:
            results = request.infer({INPUT: tiles})
            return _outputs({name: np.array(results[name]) for name in OUTPUTS})

    return forward


def _outputs(arrays: Mapping[str, Any]) -> NetworkOutputs:
    named: dict[str, Floats] = {name: arrays[name] for name in OUTPUTS}
    return NetworkOutputs(**named)
