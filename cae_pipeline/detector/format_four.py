"""The names that models of format 4 bear on disk, and what they are called now.

The numbers in both formats are the same. A model that was registered with format 4 therefore still serves: its names
are translated while it is read, and its files stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

FORMAT = 4

KNOBS = {"code_size": "latent_size", "detail": "feature_resolution", "views": "heads"}
"""Old to new names of the network's knobs in `specification.json`."""
NORMAL = {"normal_codes": "normal_latents", "movements": "nuisance_directions"}
"""Old to new names of arrays in `arrays.npz` that belong to the whole model."""
PROFILE = {"ground": "zero_level", "ceiling": "one_level", "weight": "fusion_weight"}
"""Old to new names of the fields of a profile in `arrays.npz`; `view_texture.mean` is now `head_texture.mean`."""
WEIGHTS = {"plane.mean": "pca.mean", "plane.directions": "pca.components", "plane.gains": "pca.gains"}
"""Old to new names of arrays in `weights.npz`."""
GRAPH_OUTPUTS = {"shown": "inputs", "code": "latent"}
"""Old to new names of the outputs of the ONNX graph."""


def translated_specification(specification: Mapping[str, Any]) -> dict[str, Any]:
    """Give the knobs and the heads of a specification their names of today."""
    model = {KNOBS.get(name, name): value for name, value in specification["model"].items()}
    others = {name: value for name, value in specification.items() if name != "views"}
    return {**others, "model": model, "heads": specification["views"]}


def translated_arrays(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Give the arrays of `arrays.npz` their names of today."""
    return {_translated(name): array for name, array in arrays.items()}


def translated_weights(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Give the arrays of `weights.npz` their names of today."""
    return {WEIGHTS.get(name, name): array for name, array in arrays.items()}


def _translated(name: str) -> str:
    if not name.startswith("view_"):
        return NORMAL.get(name, name)
    head, field = name.removeprefix("view_").split(".")
    return f"head_{head}.{PROFILE.get(field, field)}"
