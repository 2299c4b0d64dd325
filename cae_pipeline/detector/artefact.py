"""A model as four files, known by one digest.

Loading a model runs no code from its files. They are a graph of operations that ONNX Runtime knows, a specification in
JSON, and two files of arrays. There is no pickle and no `load_model`.
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

from cae_pipeline.detector import format_four
from cae_pipeline.detector.fusion import HeadProfile
from cae_pipeline.detector.scorer import Forward, Scorer
from cae_pipeline.domain.ignoring import Ignored
from cae_pipeline.domain.image_settings import ImageSettings
from cae_pipeline.domain.images import Floats
from cae_pipeline.domain.line import AutoencoderSettings, Head
from cae_pipeline.errors import ArtefactError

SPECIFICATION, ARRAYS, WEIGHTS, NETWORKS = "specification.json", "arrays.npz", "weights.npz", "networks.onnx"
FORMAT = 6
"""Written by this version. Formats 4 and 5 are read as well; format 5 is this one without an ignore mask."""
FORMATS_READ = (format_four.FORMAT, 5, FORMAT)
ARRAYS_OF_THE_MODEL = ("normal_scores", "normal_latents", "nuisance_directions")
IGNORED_BITS, IGNORED_SIZE = "ignored.bits", "ignored.size_px"
"""Eight pixels of the ignore mask in a byte, row by row, and its rows and columns; both are there or none."""


@dataclass(frozen=True)
class Artefact:
    """What scoring loads.

    Attributes:
        folder: Where it was read from; `weights.npz` there is what Keras would need.
        profiles: What is usual for each head.
        normal_scores: Scores of held-out normal images, shape `(n,)`.
        normal_latents: Latents of normal images, shape `(m, latent_size)`.
        nuisance_directions: How the mean latent moves when the camera or the light does, shape `(k, latent_size)`.
        graph: All networks, as the bytes of an ONNX graph.
        format: The format that the files were written in.
        ignored: Pixels of images as delivered that have no say, shape `(h, w)`; None if all have.
    """

    folder: Path
    settings: AutoencoderSettings
    profiles: Mapping[Head, HeadProfile]
    normal_scores: NDArray[np.float64]
    normal_latents: Floats
    nuisance_directions: Floats
    graph: bytes
    format: int = FORMAT
    ignored: Ignored | None = None

    def scorer(self, forward: Forward) -> Scorer:
        """Make a scorer of this model that runs its networks with `forward`."""
        return Scorer(
            self.settings,
            forward,
            self.profiles,
            normal_scores=self.normal_scores,
            normal_latents=self.normal_latents,
            nuisance_directions=self.nuisance_directions,
            ignored=self.ignored,
        )

    def weights(self) -> dict[str, NDArray[Any]]:
        """Read the arrays that Keras networks are filled with, by their names of today."""
        weights = _read_arrays(self.folder / WEIGHTS)
        return format_four.translated_weights(weights) if self.format == format_four.FORMAT else weights


def save_artefact(
    scorer: Scorer,
    folder: Path,
    *,
    graph: bytes,
    weights: Mapping[str, NDArray[Any]],
    lineage: Mapping[str, Any],
) -> str:
    """Write the files of a model.

    Args:
        scorer: Its settings, profiles and normal scores are written; its networks are `graph` and `weights`.
        folder: Where to write; it is made if it is not there.
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
        "heads": list(scorer.profiles),
        "lineage": dict(lineage),
    }
    (folder / SPECIFICATION).write_text(json.dumps(specification, indent=2, sort_keys=True), encoding="utf-8")
    (folder / NETWORKS).write_bytes(graph)
    _write_arrays(folder / WEIGHTS, weights)
    profiles = {
        f"head_{head}.{field.name}": np.asarray(getattr(profile, field.name))
        for head, profile in scorer.profiles.items()
        for field in fields(profile)
    }
    of_the_model: dict[str, NDArray[Any]] = {name: getattr(scorer, name) for name in ARRAYS_OF_THE_MODEL}
    _write_arrays(folder / ARRAYS, {**of_the_model, **profiles, **_packed(scorer.ignored)})
    return digest(folder)


def load_artefact(folder: Path, *, sha256: str) -> Artefact:
    """Read a model back, if it is the one that was registered.

    Args:
        folder: Where `save_artefact` wrote it, in this version or one before (formats 4 and 5).
        sha256: The digest that was registered.

    Raises:
        ArtefactError: If a file is missing, the digest is another, or the format is unknown.
    """
    _check_format(folder)
    received = digest(folder)
    if received != sha256:
        raise ArtefactError(
            f"the model in {folder} has sha256 {received[:12]}…, expected {sha256[:12]}… as registered. "
            "Somebody changed the files: remove the folder, and they are fetched from MLflow again, or train again."
        )
    specification = json.loads((folder / SPECIFICATION).read_text(encoding="utf-8"))
    arrays = _read_arrays(folder / ARRAYS)
    if specification["format"] == format_four.FORMAT:
        specification = format_four.translated_specification(specification)
        arrays = format_four.translated_arrays(arrays)
    known = _with_tuples(specification["model"])
    # models of earlier versions have none
    known["images"] = ImageSettings(**_with_tuples(known.get("images", {})))
    return Artefact(
        folder,
        replace(AutoencoderSettings(), **known),
        {head: _profile(head, arrays) for head in specification["heads"]},
        graph=(folder / NETWORKS).read_bytes(),
        format=specification["format"],
        ignored=_unpacked(arrays),
        **{name: arrays[name] for name in ARRAYS_OF_THE_MODEL},
    )


def _with_tuples(knobs: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has lists where the settings have tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in knobs.items()}


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
    """Refuse a format that this version cannot read, before a missing file is complained of."""
    try:
        written = json.loads((folder / SPECIFICATION).read_text(encoding="utf-8"))["format"]
    except (OSError, ValueError, KeyError, TypeError):
        return  # a missing or broken specification is the digest's to tell
    if written not in FORMATS_READ:
        raise ArtefactError(
            f"the model in {folder} has format {written}, expected one of {', '.join(map(str, FORMATS_READ))}: another "
            "version of this program wrote it. Train the line again."
        )


def _profile(head: Head, arrays: Mapping[str, NDArray[Any]]) -> HeadProfile:
    mean, spread, *numbers = (arrays[f"head_{head}.{field.name}"] for field in fields(HeadProfile))
    return HeadProfile(mean, spread, *(float(number) for number in numbers))


def _packed(ignored: Ignored | None) -> dict[str, NDArray[Any]]:
    if ignored is None:
        return {}
    return {IGNORED_BITS: np.packbits(ignored), IGNORED_SIZE: np.array(ignored.shape, np.int64)}


def _unpacked(arrays: Mapping[str, NDArray[Any]]) -> Ignored | None:
    if IGNORED_BITS not in arrays:
        return None
    height, width = (int(side) for side in arrays[IGNORED_SIZE])
    return np.unpackbits(arrays[IGNORED_BITS], count=height * width).reshape(height, width).astype(np.bool_)


def _write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
