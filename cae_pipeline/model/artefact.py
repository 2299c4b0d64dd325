"""Save a scorer and load it back, by digest.

Loading runs no code from the artefact: our code builds the networks from the specification and
fills in arrays whose digest the results table knows. No pickle, no `load_model`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from cae_pipeline.core.line import AutoencoderSettings, View
from cae_pipeline.core.scoring import ViewProfile
from cae_pipeline.core.texture import LinearAutoencoder
from cae_pipeline.errors import ArtefactError
from cae_pipeline.model.autoencoder import build_autoencoder
from cae_pipeline.model.discriminator import build_discriminator
from cae_pipeline.model.scorer import Scorer, TextureModel
from cae_pipeline.model.texture import build_encoder

SPECIFICATION, ARRAYS = "specification.json", "arrays.npz"
FORMAT = 2

Arrays = Mapping[str, NDArray[Any]]


def save_scorer(scorer: Scorer, folder: Path, *, lineage: Mapping[str, Any]) -> str:
    """Write the specification and the arrays.

    Args:
        scorer: What to keep.
        folder: Made if it is not there.
        lineage: Anything of JSON's types that a reader of the specification should know.

    Returns:
        The digest that `load_scorer` must be given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    specification = {
        "format": FORMAT,
        "model": asdict(scorer.settings),
        "num_discriminators": len(scorer.texture.discriminators),
        "views": list(scorer.profiles),
        "lineage": dict(lineage),
    }
    (folder / SPECIFICATION).write_text(json.dumps(specification, indent=2, sort_keys=True), encoding="utf-8")
    with (folder / ARRAYS).open("wb") as file:
        np.savez(file, allow_pickle=False, **_arrays(scorer))
    return digest(folder)


def load_scorer(folder: Path, *, sha256: str) -> Scorer:
    """Read a scorer back, if it is the one that was registered.

    Raises:
        ArtefactError: If a file is missing, the digest is another, or an older version wrote it.
    """
    received = digest(folder)
    if received != sha256:
        raise ArtefactError(
            f"the model in {folder} has sha256 {received[:12]}…, expected {sha256[:12]}… as registered. "
            "Somebody changed the files: restore them from a backup, or train again."
        )
    specification = json.loads((folder / SPECIFICATION).read_text(encoding="utf-8"))
    if specification["format"] != FORMAT:
        raise ArtefactError(
            f"the model in {folder} has format {specification['format']}, expected {FORMAT}: an earlier version of "
            "this program wrote it. Train the line again."
        )
    knobs = specification["model"].items()
    known: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in knobs}
    settings = AutoencoderSettings(**known)
    with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
        network = _filled(build_autoencoder(settings, seed=0), arrays, "autoencoder")
        return Scorer(
            settings,
            network,
            _texture(settings, specification["num_discriminators"], arrays),
            {view: _profile(view, arrays) for view in specification["views"]},
            arrays["normal_scores"],
        )


def digest(folder: Path) -> str:
    """Digest the specification and the arrays together.

    Raises:
        ArtefactError: If one of them is not there.
    """
    total = hashlib.sha256()
    for name in (SPECIFICATION, ARRAYS):
        path = folder / name
        if not path.is_file():
            raise ArtefactError(f"no {name} in {folder}. Restore the folder from a backup, or train again.")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _arrays(scorer: Scorer) -> dict[str, NDArray[Any]]:
    texture, plane = scorer.texture, scorer.texture.plane
    networks = {
        "autoencoder": scorer.network,
        "encoder": texture.encoder,
        **{f"discriminator_{number}": network for number, network in enumerate(texture.discriminators)},
    }
    return {
        "normal_scores": scorer.normal_scores,
        "texture.scale": texture.scale,
        "texture.spread": texture.spread,
        "plane.mean": plane.mean,
        "plane.directions": plane.directions,
        "plane.gains": plane.gains,
        **{
            f"view_{view}.{field.name}": np.asarray(getattr(profile, field.name))
            for view, profile in scorer.profiles.items()
            for field in fields(profile)
        },
        **{
            f"{name}.{index:03d}": array
            for name, network in networks.items()
            for index, array in enumerate(network.get_weights())
        },
    }


def _texture(settings: AutoencoderSettings, num_discriminators: int, arrays: Arrays) -> TextureModel:
    spread = arrays["texture.spread"]
    return TextureModel(
        _filled(build_encoder(settings), arrays, "encoder"),
        arrays["texture.scale"],
        LinearAutoencoder(arrays["plane.mean"], arrays["plane.directions"], arrays["plane.gains"]),
        spread,
        tuple(
            _filled(build_discriminator(spread.shape[2] + 1, seed=0), arrays, f"discriminator_{number}")
            for number in range(num_discriminators)
        ),
    )


def _profile(view: View, arrays: Arrays) -> ViewProfile:
    ground, ceiling, weight = (float(arrays[f"view_{view}.{name}"]) for name in ("ground", "ceiling", "weight"))
    return ViewProfile(arrays[f"view_{view}.mean"], arrays[f"view_{view}.spread"], ground, ceiling, weight)


def _filled(network: keras.Model, arrays: Arrays, name: str) -> keras.Model:
    network.set_weights([arrays[key] for key in sorted(arrays) if key.startswith(f"{name}.")])
    return network
