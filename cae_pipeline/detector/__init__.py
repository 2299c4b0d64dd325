"""From an image to its error maps, anomaly map and score with a trained model, without TensorFlow."""

from __future__ import annotations

from typing import Literal, TypeAlias

Runtime: TypeAlias = Literal["auto", "onnx", "openvino", "keras"]
"""What runs the networks; auto: what was fastest when the model was registered."""
