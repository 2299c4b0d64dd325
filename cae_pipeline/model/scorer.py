"""A trained model ready to score: run fast, save, load, with digest.

Loading runs no code from the artefact: our code builds the network from the specification and
fills in arrays whose digest the results table knows. No pickle, no `load_model`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cae_pipeline.core import scoring
from cae_pipeline.core.images import Floats, Pixels, to_floats
from cae_pipeline.core.line import AutoencoderSettings
from cae_pipeline.core.scoring import ErrorProfile
from cae_pipeline.core.threshold import Scores
from cae_pipeline.errors import ArtefactError
from cae_pipeline.model.autoencoder import build_autoencoder

MINIBATCH_SIZE = 32
SPECIFICATION, ARRAYS = "specification.json", "arrays.npz"
FORMAT = 1


@dataclass(frozen=True)
class ScoredImages:
    """What a model says of some images, in their order.

    Attributes:
        reconstructions: Shape `(n, h, w, c)`, float32 in [0, 1].
        maps: Anomaly maps, shape `(n, h, w)`, float32, ≥ 0.
        scores: Shape `(n,)`, float64, finite, ≥ 0.
    """

    reconstructions: Floats
    maps: Floats
    scores: Scores


@dataclass(frozen=True)
class Scorer:
    """A network, what errors are usual for it, and the normal scores its p-values rest on."""

    settings: AutoencoderSettings
    network: keras.Model
    profile: ErrorProfile
    normal_scores: Scores

    def score(self, images: Pixels) -> ScoredImages:
        """Reconstruct images and judge the errors.

        Args:
            images: Shape `(n, h, w, c)`, uint8, as the network was built for; n may be 0.

        Raises:
            NonFiniteScoreError: If the model's weights are broken.
        """
        floats = to_floats(images)
        reconstructions = self.reconstruct(floats)
        errors = scoring.reconstruction_error(floats, reconstructions)
        maps = scoring.anomaly_maps(errors, self.profile)
        return ScoredImages(reconstructions, maps, scoring.scores(maps) if len(maps) else np.zeros(0))

    def reconstruct(self, images: Floats) -> Floats:
        """Run the network in minibatches of one fixed shape, so that it is compiled once."""
        rebuilt = np.empty_like(images)
        for start in range(0, len(images), MINIBATCH_SIZE):
            part = images[start : start + MINIBATCH_SIZE]
            padding = [(0, MINIBATCH_SIZE - len(part)), (0, 0), (0, 0), (0, 0)]
            rebuilt[start : start + len(part)] = self._compiled(np.pad(part, padding)).numpy()[: len(part)]
        return rebuilt

    @cached_property
    def _compiled(self) -> Any:
        shape = (MINIBATCH_SIZE, self.settings.height_px, self.settings.width_px, self.settings.channels)
        return tf.function(
            lambda images: self.network(images, training=False), input_signature=[tf.TensorSpec(shape, tf.float32)]
        )


def fit_scorer(network: keras.Model, settings: AutoencoderSettings, *, profile: Pixels, calibration: Pixels) -> Scorer:
    """Learn usual errors and normal scores from two sets of held-out normal images.

    Args:
        network: The trained network.
        settings: What it was built from.
        profile: Images that the usual error of each pixel is learnt from, `(n, h, w, c)` uint8.
        calibration: Other images, that threshold and p-values rest on.
    """
    nobody = np.zeros(0)
    flat = ErrorProfile(np.zeros(1, np.float32), np.ones(1, np.float32))
    floats = to_floats(profile)
    errors = scoring.reconstruction_error(floats, Scorer(settings, network, flat, nobody).reconstruct(floats))
    fitted = Scorer(settings, network, scoring.fit_profile(errors), nobody)
    return Scorer(settings, network, fitted.profile, fitted.score(calibration).scores)


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
    specification = {"format": FORMAT, "model": asdict(scorer.settings), "lineage": dict(lineage)}
    (folder / SPECIFICATION).write_text(json.dumps(specification, indent=2, sort_keys=True), encoding="utf-8")
    weights = {f"weight_{index:03d}": array for index, array in enumerate(scorer.network.get_weights())}
    with (folder / ARRAYS).open("wb") as file:
        np.savez(
            file,
            profile_mean=scorer.profile.mean,
            profile_spread=scorer.profile.spread,
            normal_scores=scorer.normal_scores,
            **weights,
        )
    return digest(folder)


def load_scorer(folder: Path, *, sha256: str) -> Scorer:
    """Read a scorer back, if it is the one that was registered.

    Raises:
        ArtefactError: If a file is missing or the digest is another.
    """
    received = digest(folder)
    if received != sha256:
        raise ArtefactError(
            f"the model in {folder} has sha256 {received[:12]}…, expected {sha256[:12]}… as registered. "
            "Somebody changed the files: restore them from a backup, or train again."
        )
    specification = json.loads((folder / SPECIFICATION).read_text(encoding="utf-8"))
    knobs = specification["model"].items()
    known: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in knobs}
    settings = AutoencoderSettings(**known)
    network = build_autoencoder(settings, seed=0)
    with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
        network.set_weights([arrays[name] for name in sorted(arrays.files) if name.startswith("weight_")])
        profile = ErrorProfile(arrays["profile_mean"], arrays["profile_spread"])
        return Scorer(settings, network, profile, arrays["normal_scores"])


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
