"""The trained parts of a model, as Keras and numpy hold them, and as named arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
from numpy.typing import NDArray

from cae_pipeline.detector.pca import Pca
from cae_pipeline.domain.images import Floats
from cae_pipeline.domain.line import AutoencoderSettings
from cae_pipeline.training.autoencoder import build_autoencoder
from cae_pipeline.training.discriminator import build_discriminator
from cae_pipeline.training.filter_bank import build_encoder

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Parts:
    """Everything of a model that is learnt, but for what is usual of its scores.

    Attributes:
        autoencoder: Restores images; its layer `latent` is the narrow middle.
        encoder: From tiles of even gain to local features.
        scale: Standard deviation of each feature on normal images, shape `(f,)`.
        pca: Of the features of normal images, in units of `scale`.
        spread: Usual size of each residual at each cell, shape `(h, w, f)`.
        discriminators: Their mean logit tells defects from normal residuals.
    """

    settings: AutoencoderSettings
    autoencoder: keras.Model
    encoder: keras.Model
    scale: Floats
    pca: Pca
    spread: Floats
    discriminators: tuple[keras.Model, ...]


def arrays_of(parts: Parts) -> dict[str, NDArray[Any]]:
    """Give every array of a model a name; `parts_of` is the way back."""
    networks = {
        "autoencoder": parts.autoencoder,
        "encoder": parts.encoder,
        **{f"discriminator_{number}": network for number, network in enumerate(parts.discriminators)},
    }
    return {
        "texture.scale": parts.scale,
        "texture.spread": parts.spread,
        "pca.mean": parts.pca.mean,
        "pca.components": parts.pca.components,
        "pca.gains": parts.pca.gains,
        **{
            f"{name}.{index:03d}": array
            for name, network in networks.items()
            for index, array in enumerate(network.get_weights())
        },
    }


def parts_of(settings: AutoencoderSettings, arrays: Arrays) -> Parts:
    """Build the networks anew and fill the arrays in; nothing of a file is run.

    Args:
        settings: The knobs that the networks were built with.
        arrays: As `arrays_of` named them.
    """
    spread = arrays["texture.spread"]
    num_discriminators = len({name.split(".")[0] for name in arrays if name.startswith("discriminator_")})
    return Parts(
        settings,
        _filled(build_autoencoder(settings, seed=0), arrays, "autoencoder"),
        _filled(build_encoder(settings), arrays, "encoder"),
        arrays["texture.scale"],
        Pca(arrays["pca.mean"], arrays["pca.components"], arrays["pca.gains"]),
        spread,
        tuple(
            _filled(build_discriminator(spread.shape[2] + 1, seed=0, number=number), arrays, f"discriminator_{number}")
            for number in range(num_discriminators)
        ),
    )


def _filled(network: keras.Model, arrays: Arrays, name: str) -> keras.Model:
    network.set_weights([arrays[key] for key in sorted(arrays) if key.startswith(f"{name}.")])
    return network
