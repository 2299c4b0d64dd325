"""The networks of a model as one function on arrays, run by ONNX Runtime or OpenVINO.

A run of ONNX Runtime takes one core. Scoring keeps all cores busy with several minibatches at once: threads inside one
run would wait for each other. A run of OpenVINO is spread over all cores instead: two runs of it that two Python
threads ask for can wait for each other for ever.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from types import ModuleType
from typing import Any, cast

import numpy as np
from joblib import cpu_count

from cae_pipeline.detector import format_four
from cae_pipeline.detector.error_maps import NetworkOutputs
from cae_pipeline.detector.scorer import Forward
from cae_pipeline.domain.images import Floats, Pixels
from cae_pipeline.errors import ArtefactError, ConfigurationError

INPUT = "tiles"
OUTPUTS = ("inputs", "reconstructions", "texture", "defect", "latent")
"""Names of the outputs of the graph; those of `NetworkOutputs`."""


def onnx_forward(graph: bytes) -> Forward:
    """Make a function of a graph that ONNX Runtime runs.

    Args:
        graph: The bytes of an ONNX graph, as `to_onnx` gives them.

    Raises:
        ArtefactError: If it is not a graph that ONNX Runtime can run.
    """
    # from version 1.32 on it reports to its maker as soon as it is imported, unless it is told not to
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common class
        raise ArtefactError(f"ONNX Runtime cannot run the model: {error}. Train again.") from error
    names = _names_in_graph(output.name for output in session.get_outputs())

    def forward(tiles: Pixels) -> NetworkOutputs:
        arrays = session.run(list(names.values()), {INPUT: tiles})
        return _outputs(dict(zip(names, arrays, strict=True)))

    return forward


def has_openvino() -> bool:
    """Tell whether OpenVINO, which is optional, is installed."""
    return find_spec("openvino") is not None


def openvino_forward(graph: bytes) -> Forward:
    """Make a function of a graph that OpenVINO runs.

    Args:
        graph: The bytes of an ONNX graph, as `to_onnx` gives them.

    Raises:
        ConfigurationError: If OpenVINO is not installed.
    """
    if not has_openvino():
        raise ConfigurationError("OpenVINO is not installed; expected `pip install cae-pipeline[openvino]`.")
    # it would report to its maker, as soon as it is imported; without this module it does without
    sys.modules.setdefault("openvino_telemetry", cast("ModuleType", None))
    import openvino

    knobs = {"INFERENCE_NUM_THREADS": cpu_count(), "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(openvino.Core().read_model(graph), "CPU", knobs)

    names = _names_in_graph(output.any_name for output in compiled.outputs)
    request, one_at_a_time = compiled.create_infer_request(), threading.Lock()

    def forward(tiles: Pixels) -> NetworkOutputs:
        with one_at_a_time:
            results = request.infer({INPUT: tiles})
            return _outputs({name: np.array(results[in_graph]) for name, in_graph in names.items()})

    return forward


def _outputs(arrays: Mapping[str, Any]) -> NetworkOutputs:
    named: dict[str, Floats] = {name: arrays[name] for name in OUTPUTS}
    return NetworkOutputs(**named)


def _names_in_graph(available: Iterable[str]) -> dict[str, str]:
    """Find each of `OUTPUTS` among the outputs of a graph, which bear other names in a model of format 4.

    Raises:
        ArtefactError: If one of them is not there.
    """
    found = {format_four.GRAPH_OUTPUTS.get(name, name): name for name in available}
    missing = [name for name in OUTPUTS if name not in found]
    if missing:
        raise ArtefactError(
            f"the model's graph has outputs {sorted(found)}, expected {', '.join(missing)} as well. Train again."
        )
    return {name: found[name] for name in OUTPUTS}
