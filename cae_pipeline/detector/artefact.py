"""A model as files, known by their digest.

Loading runs no code from the artefact: a graph of known operations for ONNX Runtime, a
specification, and arrays. No pickle, no `load_model`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cae_pipeline.detector.fusion import ViewProfile
from cae_pipeline.detector.scorer import Forward, Scorer
from cae_pipeline.domain.images import Floats
from cae_pipeline.domain.line import AutoencoderSettings, View
from cae_pipeline.errors import ArtefactError

SPECIFICATION, ARRAYS, WEIGHTS, NETWORKS = "specification.json", "arrays.npz", "weights.npz", "networks.onnx"
FORMAT = 4


@dataclass(frozen=True)
class Artefact:
    """What scoring loads.

    Attributes:
        folder: Where it came from; `weights.npz` there is what Keras would need.
        graph: All networks, for ONNX Runtime.
    """

    folder: Path
    settings: AutoencoderSettings
    profiles: Mapping[View, ViewProfile]
    normal_scores: NDArray[np.float64]
    normal_codes: Floats
    movements: Floats
    graph: bytes

    def scorer(self, forward: Forward) -> Scorer:
        """Judge with these networks."""
        return Scorer(self.settings, forward, self.profiles, self.normal_scores, self.normal_codes, self.movements)

    def weights(self) -> dict[str, NDArray[Any]]:
        """Read the arrays that Keras networks are filled with."""
        return _read_arrays(self.folder / WEIGHTS)


def save_artefact(
    scorer: Scorer,
    folder: Path,
    *,
    graph: bytes,
    weights: Mapping[str, NDArray[Any]],
    lineage: Mapping[str, Any],
) -> str:
    """Write a model's files.

    Args:
        scorer: Its profiles and normal scores are kept; its networks are `graph` and `weights`.
        folder: Made if it is not there.
        graph: The networks for ONNX Runtime.
        weights: The networks for Keras.
        lineage: Anything of JSON's types that a reader of the specification should know.

    Returns:
        The digest that `load_artefact` must be given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    specification = {
        "format": FORMAT,
        "model": asdict(scorer.settings),
        "views": list(scorer.profiles),
        "lineage": dict(lineage),
    }
    (folder / SPECIFICATION).write_text(json.dumps(specification, indent=2, sort_keys=True), encoding="utf-8")
    (folder / NETWORKS).write_bytes(graph)
    _write_arrays(folder / WEIGHTS, weights)
    profiles = {
        f"view_{view}.{field.name}": np.asarray(getattr(profile, field.name))
        for view, profile in scorer.profiles.items()
        for field in fields(profile)
    }
    normal: dict[str, NDArray[Any]] = {
        name: getattr(scorer, name) for name in ("normal_scores", "normal_codes", "movements")
    }
    _write_arrays(folder / ARRAYS, {**normal, **profiles})
    return digest(folder)


def load_artefact(folder: Path, *, sha256: str) -> Artefact:
    """Read a model back, if it is the one that was registered.

    Raises:
        ArtefactError: If a file is missing, the digest is another, or an older version wrote it.
    """
    _check_format(folder)
    received = digest(folder)
    if received != sha256:
        raise ArtefactError(
            f"the model in {folder} has sha256 {received[:12]}…, expected {sha256[:12]}… as registered. "
            "Somebody changed the files: remove the folder, and they are fetched from MLflow again, or train again."
        )
    specification = json.loads((folder / SPECIFICATION).read_text(encoding="utf-8"))
    knobs = specification["model"].items()
    known: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in knobs}
    arrays = _read_arrays(folder / ARRAYS)
    return Artefact(
        folder,
        replace(AutoencoderSettings(), **known),
        {view: _profile(view, arrays) for view in specification["views"]},
        arrays["normal_scores"],
        arrays["normal_codes"],
        arrays["movements"],
        (folder / NETWORKS).read_bytes(),
    )


def is_complete(folder: Path) -> bool:
    """Tell whether every file of a model is there, whatever is in it."""
    return all((folder / name).is_file() for name in (SPECIFICATION, ARRAYS, WEIGHTS, NETWORKS))


def digest(folder: Path) -> str:
    """Digest all files of a model together.

    Raises:
        ArtefactError: If one of them is not there.
    """
    total = hashlib.sha256()
    for name in (SPECIFICATION, ARRAYS, WEIGHTS, NETWORKS):
        path = folder / name
        if not path.is_file():
            raise ArtefactError(f"no {name} in {folder}. Restore the folder from a backup, or train again.")
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _check_format(folder: Path) -> None:
    """Refuse the files of an earlier version for what they are, before any is missed."""
    try:
        written = json.loads((folder / SPECIFICATION).read_text(encoding="utf-8"))["format"]
    except (OSError, ValueError, KeyError, TypeError):
        return  # a missing or broken specification is the digest's to tell
    if written != FORMAT:
        raise ArtefactError(
            f"the model in {folder} has format {written}, expected {FORMAT}: another version of this program wrote "
            "it. Train the line again."
        )


def _profile(view: View, arrays: Mapping[str, NDArray[Any]]) -> ViewProfile:
    ground, ceiling, weight = (float(arrays[f"view_{view}.{name}"]) for name in ("ground", "ceiling", "weight"))
    return ViewProfile(arrays[f"view_{view}.mean"], arrays[f"view_{view}.spread"], ground, ceiling, weight)


def _write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
